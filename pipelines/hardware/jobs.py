"""From a trained model to a device's jobs, and from counts back to rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit import Parameter
from qiskit.quantum_info import Statevector

import qnn_jax
from pipelines.hardware.plan import Plan
from pipelines.trained import Trained
from qnn_jax.bridge import angle_columns, to_qiskit
from qnn_jax.bridge.certificate import CertificationError
from qnn_jax.bridge.fake_device import parts
from qnn_jax.bridge.fractional import folded, folded_angles, with_rzz
from qnn_jax.bridge.ibm_cost import split_rows
from qnn_jax.bridge.jobs import Chunk, Options, Pub, RegisterCounts, join_counts
from qnn_jax.bridge.kak import template, template_rows
from qnn_jax.bridge.noise import cut
from qnn_jax.bridge.packing import Place, pack, packed_rows, places, unpacked
from qnn_jax.errors import InputError
from qnn_jax.mitigation import calibration_states

if TYPE_CHECKING:
    from pipelines.eval_hardware import HardwareConfig


class Prepared(NamedTuple):
    """What runs on the device.

    Attributes:
        circuit: copies of the transpiled circuit, measured into registers copy_0, copy_1, ….
        parameters: names of one copy's Parameters in their order.
        calibration: prepares basis states on the same qubits; None without readout calibration.
        places: where the copies run.
        two_qubit_depth: layers of two-qubit gates.
    """

    circuit: QuantumCircuit
    parameters: list[str]
    calibration: QuantumCircuit | None
    places: list[Place]
    two_qubit_depth: int


def transpiled(config: HardwareConfig, device: Any, trained: Trained) -> QuantumCircuit:
    """The table form on the device, laid out by its error rates with measurements present."""
    if config.fractional_gates and not {"rx", "rzz"} <= set(device.backend.operation_names):
        raise InputError(
            "Argument `--fractional-gates` must be left out, for the backend must have RX and RZZ "
            f"gates, but {device.name} has {', '.join(sorted(device.backend.operation_names))}."
        )
    if config.recompile:
        bare = template()
    elif config.fractional_gates:
        bare = folded(with_rzz(trained.circuit))
    else:
        bare = to_qiskit(trained.circuit)
    bare.add_register(ClassicalRegister(trained.circuit.num_qubits, "outcome"))
    bare.measure(range(bare.num_qubits), range(bare.num_qubits))
    backend = device.backend
    if bare.num_qubits > backend.num_qubits:
        raise InputError(
            f"Argument `--backend` must have at least {bare.num_qubits} qubits, but {device.name} "
            f"has {backend.num_qubits}."
        )
    return transpile(bare, backend, optimization_level=3, seed_transpiler=config.seed)


def find_places(
    isa: QuantumCircuit, target: Any, copies: int | None, most: int = 10
) -> list[Place]:
    """As many places as are asked for, or up to `most`."""
    found = places(isa, target, copies or most)
    if copies is not None and len(found) < copies:
        raise InputError(
            f"Argument `--copies` must be at most {len(found)}, for which the device has room with "
            f"an idle qubit between, but is {copies}."
        )
    return found


def prepare(isa: QuantumCircuit, chosen: list[Place], target: Any, calibrate: bool) -> Prepared:
    """Copies of the circuit at the chosen places, and what calibrates the readout there."""
    packed, names = pack(isa, chosen), [parameter.name for parameter in isa.parameters]
    depth = isa.depth(lambda item: len(item.qubits) == 2 and item.operation.name != "barrier")
    if not calibrate:
        return Prepared(packed, names, None, chosen, depth)
    where = {
        packed.find_bit(item.clbits[0]).registers[0]: packed.find_bit(item.qubits[0]).index
        for item in packed.data
        if item.operation.name == "measure"
    }
    # RX(π) flips a qubit and RX(0) leaves it, so one circuit prepares every basis state.
    bare = QuantumCircuit(QuantumRegister(len(where)), *packed.cregs)
    flips = [Parameter(f"flip_{bit:03d}") for bit in range(isa.num_clbits)]
    for number, (register, bit) in enumerate(where):
        bare.rx(flips[bit], number)
        bare.measure(number, register[bit])
    calibration = transpile(
        bare, target=target, optimization_level=1, initial_layout=list(where.values())
    )
    return Prepared(packed, names, calibration, chosen, depth)


def properties(target: Any, chosen: Sequence[Place]) -> dict[str, float]:
    """Errors of gates and measurements at the chosen places: what a result is to be judged by.

    >>> from qiskit.providers.fake_provider import GenericBackendV2
    >>> target = GenericBackendV2(2, seed=0).target
    >>> sorted(properties(target, [Place((0,), 0.1)]))
    ['measure 0', 'rz 0', 'sx 0', 'x 0']
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
    config: HardwareConfig,
    trained: Trained,
    prepared: Prepared,
    inputs: np.ndarray,
    plan: Plan,
    shots: int,
) -> list[Chunk]:
    """One chunk a job: its rows, and the readout calibration beside them."""
    bound = _bound(config, trained, inputs)
    # The transpiler drops angles that no measurement sees, for instance of a last RZ.
    rows = packed_rows(np.stack([bound[name] for name in prepared.parameters], 1), plan.copies)
    options = Options(rep_delay=plan.rep_delay)
    chunks = []
    for start, stop in plan.parts:
        pubs = [Pub(prepared.circuit, rows[start:stop])]
        if prepared.calibration is not None:
            states = np.pi * calibration_states(trained.circuit.num_qubits)
            repeats = -(-plan.repeats * plan.shots // shots)
            pubs.append(Pub(prepared.calibration, np.repeat(states, repeats, axis=0)))
        chunks.append(Chunk(tuple(pubs), shots, options))
    return chunks


def check_bound(chunks: Sequence[Chunk], outcomes: np.ndarray, copies: int, target: Any) -> float:
    """The worst deviation of the bound circuits' probabilities from the exact ones.

    The last proof before anything is sent: it sees the circuit as it is sent, with its packing,
    its order of parameters and registers, and the first, middle and last rows of every job.

    Args:
        chunks: whose first PUBs hold the packed rows.
        outcomes: exact probabilities of all examples in order, shape (rows, 2**num_qubits).
        copies: how many run side by side.
        target: of the device.

    Raises:
        CertificationError: where one is off by more than rounding.
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
    measured = {
        small.find_bit(item.clbits[0]).index: small.find_bit(item.qubits[0]).index
        for item in small.data
        if item.operation.name == "measure"
    }
    state = Statevector(small.remove_final_measurements(inplace=False))
    return state.probabilities([measured[bit] for bit in range(len(measured))])


def _bound(
    config: HardwareConfig, trained: Trained, inputs: np.ndarray
) -> Mapping[str, np.ndarray]:
    """The Parameters of one copy by name, shape (rows,) each."""
    circuit, weights = trained.circuit, trained.weights
    if config.recompile:
        angles = template_rows(circuit, inputs, weights)
        return {p.name: angles[:, k] for k, p in enumerate(template().parameters)}
    if config.fractional_gates:
        circuit = with_rzz(circuit)
    table = np.asarray(
        jax.vmap(lambda row: qnn_jax.angles(circuit, row, weights))(inputs), np.float64
    )
    if config.fractional_gates:
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
            # Repetitions of a state stand together.
            states.append(sum(p.reshape(number, -1, p.shape[-1]).sum(axis=1) for p in parts))
    return unpacked(packed, total), states


def by_copy(counts: RegisterCounts, copies: int) -> np.ndarray:
    """Counts (packed rows, copies, outcomes)."""
    return np.stack([counts[name] for name in sorted(counts)], axis=1)


def again(chunks: Sequence[Chunk], rows: np.ndarray, shots: int) -> list[Chunk]:
    """The same circuit for some of the examples, each at its place; gaps repeat other examples."""
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
        Chunk((Pub(circuit, values[part]),), shots, chunks[0].options)
        for part in split_rows(length, shots).slices
    ]


def by_place(rows: np.ndarray, copies: int) -> list[np.ndarray]:
    """The rows that run at each place: row i runs at place i modulo copies, in both stages."""
    return [rows[rows % copies == copy] for copy in range(copies)]
