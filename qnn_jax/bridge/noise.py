"""The noise of a device on the qubits that a circuit uses.

A noise model of a whole device of 156 qubits takes seconds to build, and cannot be simulated where
a circuit keeps all of them. The circuit runs on few. So it is transpiled for the whole device,
where the layout follows the error rates, and then circuit and device are both cut down to the
qubits in use, with their gates, errors, durations and readout errors. The probabilities are
the same to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import qiskit_ibm_runtime.fake_provider
from qiskit import QuantumCircuit, transpile
from qiskit.exceptions import QiskitError
from qiskit.providers import BackendV2, Options
from qiskit.transpiler import Target
from qiskit_aer.noise import NoiseModel

from qnn_jax.bridge.backend_names import check_fake_backend
from qnn_jax.errors import InputError

#: Of the transpiler, so that the same circuit gets the same layout in every process.
SEED = 0


class Sublattice(NamedTuple):
    """Circuits of a device, and the device, cut down to the qubits that they use.

    Attributes:
        circuits: on `len(qubits)` qubits: qubit k is the device's `qubits[k]`.
        qubits: the device's numbers, rising.
        target: the gates on those qubits, with errors and durations.
    """

    circuits: tuple[QuantumCircuit, ...]
    qubits: tuple[int, ...]
    target: Target


@functools.lru_cache(maxsize=8)
def fake_backend(name: str) -> Any:
    """A fake backend by its name: a snapshot of a device's gates and errors.

    Raises:
        InputError: where there is none of that name; it offers near ones.
    """
    return getattr(qiskit_ibm_runtime.fake_provider, check_fake_backend(name))()


def calibration_date(backend: Any) -> str:
    """When the errors of a fake backend were measured, as YYYY-MM-DD; "unknown" where not said."""
    date = getattr(backend.properties(), "last_update_date", None)
    return date.date().isoformat() if date else "unknown"


def transpiled(circuits: Sequence[QuantumCircuit], backend: Any) -> tuple[QuantumCircuit, ...]:
    """Measured circuits in the device's own gates, all in the layout of the first.

    The transpiler sees the measurements, so that its layout minds readout errors too.

    Raises:
        InputError: where the device has too few qubits, or no such gates.
    """
    for circuit in circuits:
        check_width(circuit.num_qubits, backend)
    found: list[QuantumCircuit] = []
    for circuit in circuits:
        layout = found[0].layout.initial_index_layout(filter_ancillas=True) if found else None
        try:
            isa = transpile(
                circuit,
                backend,
                optimization_level=3,
                seed_transpiler=SEED,
                initial_layout=layout,
            )
        except QiskitError as error:
            raise InputError(
                f"Argument `circuit` must be a circuit that {backend.name} can run, but Qiskit "
                f"cannot transpile it: {' '.join(str(error.message).split())}"
            ) from error
        check_gates(isa, backend.target, backend.name)
        # No count depends on it, and as an expression it would be evaluated for every row.
        isa.global_phase = 0
        found.append(isa)
    return tuple(found)


def check_width(num_qubits: int, backend: Any) -> None:
    """Refuse more qubits than a backend has; those of a simulator are bounded by memory.

    Raises:
        InputError: which says how many there may be.
    """
    if num_qubits > backend.num_qubits:
        raise InputError(
            f"Argument `circuit` must have at most {backend.num_qubits} qubits to run on "
            f"{backend.name}, but has {num_qubits}."
        )


def check_gates(isa: QuantumCircuit, target: Target, name: str) -> None:
    """Refuse a circuit with a gate that the device does not have where it stands.

    Raises:
        InputError: which names gate and qubits.
    """
    for item in isa.data:
        gate, qubits = item.operation.name, tuple(isa.find_bit(q).index for q in item.qubits)
        if gate != "barrier" and not target.instruction_supported(gate, qubits):
            raise InputError(
                f"Argument `circuit` must consist of gates of {name} when it is transpiled, but "
                f"has `{gate}` on {'qubits' if len(qubits) > 1 else 'qubit'} "
                f"{', '.join(map(str, qubits))}."
            )


def cut(circuits: Sequence[QuantumCircuit], target: Target) -> Sublattice:
    """Cut transpiled circuits and their device down to the qubits with gates or measurements."""
    qubits = tuple(
        sorted(
            {
                circuit.find_bit(qubit).index
                for circuit in circuits
                for item in circuit.data
                if item.operation.name != "barrier"
                for qubit in item.qubits
            }
        )
    )
    place = {qubit: k for k, qubit in enumerate(qubits)}
    properties = target.qubit_properties
    small = Target(
        num_qubits=len(qubits),
        dt=target.dt,
        qubit_properties=[properties[qubit] for qubit in qubits] if properties else None,
    )
    for name in target.operation_names:
        everywhere = target[name]
        kept = {
            tuple(place[q] for q in where): found
            for where, found in everywhere.items()
            if where is not None and set(where) <= place.keys()
        }
        if kept:
            small.add_instruction(target.operation_from_name(name), kept, name=name)
    return Sublattice(tuple(_moved(circuit, place) for circuit in circuits), qubits, small)


def noise_model(target: Target) -> NoiseModel:
    """Aer's noise model of a device: depolarising and relaxing gates, readout errors."""
    return NoiseModel.from_backend(_Device(target))


def _moved(circuit: QuantumCircuit, place: dict[int, int]) -> QuantumCircuit:
    moved = QuantumCircuit(len(place), circuit.num_clbits, global_phase=circuit.global_phase)
    for item in circuit.data:
        if item.operation.name != "barrier":
            qubits = [place[circuit.find_bit(q).index] for q in item.qubits]
            clbits = [circuit.find_bit(c).index for c in item.clbits]
            moved.append(item.operation, qubits, clbits)
    return moved


class _Device(BackendV2):  # type: ignore[misc]
    """The least that Qiskit calls a backend."""

    def __init__(self, target: Target) -> None:
        super().__init__(name="sublattice")
        self._target = target

    @property
    def target(self) -> Target:
        return self._target

    @property
    def max_circuits(self) -> None:
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: Any, **options: Any) -> Any:
        raise NotImplementedError
