"""Convert a circuit and its inputs into jobs for a device, and counts back into rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit import Parameter
from qiskit.quantum_info import Statevector

from qnn_jax.bridge import angle_columns, to_qiskit
from qnn_jax.bridge.certificate import CertificationError
from qnn_jax.bridge.fractional import folded, folded_angles, with_rzz
from qnn_jax.bridge.kak import template, template_rows
from qnn_jax.bridge.noise import check_size, cut
from qnn_jax.bridge.packing import Place, pack, packed_rows, places, unpacked
from qnn_jax.bridge.steps import measured_qubits
from qnn_jax.circuits import Circuit, PauliSum
from qnn_jax.errors import InputError
from qnn_jax.executors import calibration_states, estimate
from qnn_jax.hardware.cost import split_rows
from qnn_jax.hardware.fake_device import parts
from qnn_jax.hardware.jobs import Chunk, Pub, RegisterCounts, join_counts
from qnn_jax.hardware.plan import Plan, Settings
from qnn_jax.simulate import angles, probabilities


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """What is measured: a circuit's expectation values for rows of inputs."""

    circuit: Circuit  # the circuit
    observables: tuple[PauliSum, ...]  # with letters I and Z only
    weights: np.ndarray  # of the circuit, in radians, shape (num_weights,)
    inputs: np.ndarray  # of the examples, in radians, shape (rows, num_inputs)
    #: Inputs whose exact values correct scale and shift, shape (anchors, num_inputs).
    anchors: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """All rows that run: the examples, then the anchors."""
        return np.concatenate([self.inputs, self.anchors])


class Exact:
    """A circuit's exact probabilities and expectation values, compiled once."""

    def __init__(
        self, circuit: Circuit, observables: Sequence[PauliSum], weights: np.ndarray
    ) -> None:
        self._program = jax.jit(
            jax.vmap(lambda inputs: probabilities(circuit, inputs, jnp.asarray(weights)))
        )
        self.circuit, self._observables = circuit, observables

    def outcomes(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities of all outcomes, shape (rows, 2**num_qubits)."""
        if not len(inputs):
            return np.empty((0, 2**self.circuit.num_qubits))
        found = np.asarray(self._program(jnp.asarray(inputs)), np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def values(self, inputs: np.ndarray) -> np.ndarray:
        """Expectation values, shape (rows, observables)."""
        return estimate(self.outcomes(inputs), self._observables).values


class Prepared(NamedTuple):
    """What runs on the device."""

    #: Copies of the transpiled circuit, measured into registers copy_0, copy_1, ….
    circuit: QuantumCircuit
    parameters: list[str]  # names of one copy's Parameters in their order
    #: Prepares basis states on the same qubits; None without readout calibration.
    calibration: QuantumCircuit | None
    places: list[Place]  # the device's qubits of each copy
    two_qubit_depth: int  # layers of two-qubit gates


def transpiled(
    circuit: Circuit, device: Any, settings: Settings, layout: Sequence[int] | None = None
) -> QuantumCircuit:
    """Transpile the table form, measurements included, to the qubits with the lowest errors.

    With a `layout`, the device's qubit for each of the circuit's, to those instead.
    """
    if settings.fractional_gates and not {"rx", "rzz"} <= set(device.backend.operation_names):
        raise InputError(
            "Argument `fractional_gates` must be False where the backend has no RX and RZZ gates, "
            f"but is True, and the gates of {device.name} are "
            f"{', '.join(sorted(device.backend.operation_names))}."
        )
    if settings.recompile:
        bare = template()
    elif settings.fractional_gates:
        bare = folded(with_rzz(circuit))
    else:
        bare = to_qiskit(circuit)
    bare.add_register(ClassicalRegister(circuit.num_qubits, "outcome"))
    bare.measure(range(bare.num_qubits), range(bare.num_qubits))
    backend = device.backend
    check_size(backend, bare.num_qubits, device.name)
    return transpile(
        bare,
        backend,
        optimization_level=3,
        seed_transpiler=settings.seed,
        initial_layout=None if layout is None else list(layout),
    )


def find_places(isa: QuantumCircuit, target: Any, copies: int | None) -> list[Place]:
    """Find as many places as requested, or up to 10."""
    found = places(isa, target, copies or 10)
    if copies is not None and len(found) < copies:
        raise InputError(
            f"Argument `copies` must be at most {len(found)}, which fit on the device with "
            f"an idle qubit between, but is {copies}."
        )
    return found


def prepare(isa: QuantumCircuit, chosen: list[Place], target: Any, calibrate: bool) -> Prepared:
    """Copies of the circuit at the chosen places, and their readout calibration circuit."""
    packed, names = pack(isa, chosen), [parameter.name for parameter in isa.parameters]
    depth = isa.depth(lambda item: len(item.qubits) == 2 and item.operation.name != "barrier")
    if not calibrate:
        return Prepared(packed, names, None, chosen, depth)
    where = measured_qubits(packed)
    # RX(π) flips a qubit and RX(0) leaves it, so one circuit prepares every basis state.
    bare = QuantumCircuit(QuantumRegister(len(where)), *packed.cregs)
    flips = [Parameter(f"flip_{bit:03d}") for bit in range(isa.num_clbits)]
    for number, bit in enumerate(where):
        bare.rx(flips[bit % isa.num_clbits], number)
        bare.measure(number, bit)
    calibration = transpile(
        bare, target=target, optimization_level=1, initial_layout=list(where.values())
    )
    return Prepared(packed, names, calibration, chosen, depth)


def properties(target: Any, chosen: Sequence[Place]) -> dict[str, float]:
    """Errors of gates and measurements at the chosen places, needed to judge a result.

    >>> from qiskit.providers.fake_provider import GenericBackendV2
    >>> target = GenericBackendV2(2, seed=0).target
    >>> sorted(properties(target, [Place((0,), 0.1)]))
    ['id 0', 'measure 0', 'rz 0', 'sx 0', 'x 0']
    """
    used = [set(place.qubits) for place in chosen]
    return {
        f"{name} {'-'.join(map(str, where))}": found.error
        for name in target.operation_names
        for where, found in (target[name] or {}).items()
        if where and any(set(where) <= qubits for qubits in used)
        if found is not None and found.error is not None
    }


def make_chunks(
    question: Question, settings: Settings, prepared: Prepared, plan: Plan, shots: int
) -> list[Chunk]:
    """One chunk for each job: its rows and the readout calibration."""
    bound = _bound(question, settings)
    # The transpiler drops angles that no measurement sees, for instance of a last RZ.
    columns = [bound[name] for name in prepared.parameters]
    # A circuit without inputs and weights has no Parameter.
    table = np.stack(columns, 1) if columns else np.empty((len(question.rows), 0))
    rows = packed_rows(table, plan.copies)
    chunks = []
    for start, stop in plan.parts:
        pubs = [Pub(prepared.circuit, rows[start:stop])]
        if prepared.calibration is not None:
            states = np.pi * calibration_states(question.circuit.num_qubits)
            repeats = -(-plan.repeats * plan.shots // shots)
            pubs.append(Pub(prepared.calibration, np.repeat(states, repeats, axis=0)))
        chunks.append(Chunk(tuple(pubs), shots, plan.rep_delay, settings.repetition))
    return chunks


def check_bound(chunks: Sequence[Chunk], outcomes: np.ndarray, copies: int, target: Any) -> float:
    """The largest deviation of the bound circuits' probabilities from exact `outcomes`.

    This is the last check before submission. It covers the circuit as it is sent: its packing,
    the order of its parameters and registers, and the first, middle and last rows of every job.
    Raises CertificationError if the deviation exceeds rounding errors.
    """
    worst, start = 0.0, 0
    for pub in (chunk.pubs[0] for chunk in chunks):
        for row in sorted({0, pub.rows // 2, pub.rows - 1}):
            bound = pub.circuit.assign_parameters(pub.values[row])
            for copy, part in enumerate(sorted(parts(bound), key=lambda part: part.cregs[0].name)):
                # The last row is filled up with the first examples.
                example = ((start + row) * copies + copy) % len(outcomes)
                worst = max(worst, float(np.abs(_shares(part, target) - outcomes[example]).max()))
        start += pub.rows
    if worst > 1e-4:  # angles come in single precision
        raise CertificationError(
            "bound", f"probabilities of the circuit that would be sent are off by {worst:.2g}"
        )
    return worst


def _shares(part: QuantumCircuit, target: Any) -> np.ndarray:
    """Exact probabilities of a bound circuit's outcomes."""
    small = cut([part], target).circuits[0]
    measured = measured_qubits(small)
    state = Statevector(small.remove_final_measurements(inplace=False))
    return state.probabilities([measured[bit] for bit in range(len(measured))])


def _bound(question: Question, settings: Settings) -> Mapping[str, np.ndarray]:
    """The Parameters of one copy by name, shape (rows,) each."""
    circuit, weights = question.circuit, question.weights
    if settings.recompile:
        table = template_rows(circuit, question.rows, weights)
        return {p.name: table[:, k] for k, p in enumerate(template().parameters)}
    if settings.fractional_gates:
        circuit = with_rzz(circuit)
    found = jax.vmap(lambda row: angles(circuit, row, jnp.asarray(weights)))(
        jnp.asarray(question.rows)
    )
    table = np.asarray(found, np.float64)
    if settings.fractional_gates:
        return folded_angles(circuit, table)
    return {name: table[:, column] for name, column in angle_columns(circuit).items()}


def counted(
    details: Mapping[str, Any], counts: Sequence[Sequence[RegisterCounts]]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Counts of all rows in order, and of the calibration's states by copy."""
    copies = details["plan"]["copies"]
    packed = by_copy(join_counts(counts, 0), copies)
    total = len(details["test"]) + len(details["anchors"])
    states = []
    if len(counts[0]) > 1:
        number = len(calibration_states(details["num_qubits"]))
        for copy in range(copies):
            parts = [by_copy(job[1], copies)[:, copy] for job in counts]
            # Repetitions of a state are adjacent.
            states.append(sum(p.reshape(number, -1, p.shape[-1]).sum(axis=1) for p in parts))
    return unpacked(packed, total), states


def by_copy(counts: RegisterCounts, copies: int) -> np.ndarray:
    """Counts (packed rows, copies, outcomes)."""
    return np.stack([counts[name] for name in sorted(counts)], axis=1)


def again(chunks: Sequence[Chunk], rows: np.ndarray, shots: int) -> list[Chunk]:
    """The same circuit for some of the examples, each at its place; other examples fill gaps."""
    circuit = chunks[0].pubs[0].circuit
    copies = len(circuit.cregs)
    packed = np.concatenate([chunk.pubs[0].values for chunk in chunks])
    every = packed.reshape(len(packed) * copies, -1)
    members_by_place = by_place(rows, copies)
    length = max(len(members) for members in members_by_place)
    filled = [
        np.resize(members if len(members) else [k], length)
        for k, members in enumerate(members_by_place)
    ]
    values = np.stack([every[members] for members in filled], axis=1).reshape(length, -1)
    return [
        Chunk((Pub(circuit, values[part]),), shots, chunks[0].rep_delay, chunks[0].repetition)
        for part in split_rows(length, shots).slices
    ]


def by_place(rows: np.ndarray, copies: int) -> list[np.ndarray]:
    """The rows that run at each place: row i runs at place i modulo copies, in both stages."""
    return [rows[rows % copies == copy] for copy in range(copies)]
