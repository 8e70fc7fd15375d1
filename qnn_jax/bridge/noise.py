"""The noise of a device on the qubits that a circuit uses.

A noise model of a whole device of 156 qubits takes seconds to build, and cannot be simulated where
a circuit keeps all of them. The circuit runs on few. So it is transpiled for the whole device,
where the layout follows the error rates, and then circuit and device are both cut down to the
qubits in use, with their gates, errors, durations and readout errors. The probabilities are
the same to rounding.

A noise model of Aer knows errors but no couplings: a gate between any two qubits can run.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import qiskit_ibm_runtime.fake_provider
from qiskit import QuantumCircuit, transpile
from qiskit.exceptions import QiskitError
from qiskit.providers import BackendV2
from qiskit.transpiler import Target
from qiskit_aer.backends.aerbackend import AerBackend
from qiskit_aer.noise import NoiseModel

from qnn_jax.bridge.backend_names import check_fake_backend
from qnn_jax.bridge.steps import on_qubits, steps, used_qubits
from qnn_jax.bridge.target_backend import TargetBackend
from qnn_jax.circuits.checks import shown
from qnn_jax.circuits.gates import GATES
from qnn_jax.errors import InputError

#: Of the transpiler, so that the same circuit gets the same layout in every process.
SEED = 0


class Sublattice(NamedTuple):
    """Circuits of a device, and the device, cut down to the qubits that they use."""

    #: On `len(qubits)` qubits: qubit k is the device's `qubits[k]`.
    circuits: tuple[QuantumCircuit, ...]
    qubits: tuple[int, ...]  # the device's numbers, rising
    target: Target  # the gates on those qubits, with errors and durations


@dataclass(frozen=True, eq=False)
class NoiseSource:
    """A backend or an Aer noise model that the caller gave, compared by identity."""

    source: Any

    @property
    def name(self) -> str:
        """The backend's name, or "NoiseModel"."""
        return "NoiseModel" if isinstance(self.source, NoiseModel) else str(self.source.name)

    def __repr__(self) -> str:
        return self.name


def checked_noise(noise: Any, argument: str = "noise") -> str | NoiseSource | None:
    """What an executor may be given as noise; messages call it `argument`."""
    if noise is None or isinstance(noise, str):
        return None if noise is None else check_fake_backend(noise, argument)
    if isinstance(noise, AerBackend):
        raise InputError(
            f"Argument `{argument}` must be a device, but is the simulator {noise.name!r}; give "
            "its noise model, which is simulator.options.noise_model."
        )
    if isinstance(noise, BackendV2):
        gates = (noise.target[name] for name in noise.target.operation_names)
        if not any(found and found.error for where in gates for found in where.values()):
            raise InputError(
                f"Argument `{argument}` must be a backend whose gates have errors, but "
                f"{noise.name!r} has none; None runs without errors."
            )
    elif not isinstance(noise, NoiseModel):
        raise InputError(
            f"Argument `{argument}` must be the name of a fake backend, a backend or a NoiseModel "
            f"of qiskit-aer, but is {shown(noise)}."
        )
    return NoiseSource(noise)


@functools.lru_cache(maxsize=8)
def fake_backend(name: str) -> Any:
    """A fake backend by its name: a snapshot of a device's gates and errors."""
    return getattr(qiskit_ibm_runtime.fake_provider, check_fake_backend(name))()


def calibration_date(backend: Any) -> str | None:
    """When the errors of a backend were measured, as YYYY-MM-DD; None where not said."""
    properties = getattr(backend, "properties", lambda: None)()
    date = getattr(properties, "last_update_date", None)
    return date.date().isoformat() if date else None


def transpiled(
    circuits: Sequence[QuantumCircuit], backend: Any, layout: Sequence[int] | None = None
) -> tuple[QuantumCircuit, ...]:
    """Measured circuits in the device's own gates, all in one layout.

    The transpiler sees the measurements, so that its layout minds readout errors too. By default it
    chooses the layout for the first circuit that then has the most gates on several qubits. From
    others it may have removed gates, as diagonal ones before a measurement of Z, and placed those
    qubits far apart.
    """
    for circuit in circuits:
        check_width(circuit.num_qubits, backend)
    if layout is not None:
        return tuple(_transpiled(circuit, backend, layout) for circuit in circuits)
    free = [_transpiled(circuit, backend, None) for circuit in circuits]
    layouts = [isa.layout.initial_index_layout(filter_ancillas=True) for isa in free]
    layout = layouts[max(range(len(free)), key=lambda k: free[k].num_nonlocal_gates())]
    # What is there already is kept: a given layout hinders the transpiler from leaving out swaps.
    return tuple(
        isa if own == layout else _transpiled(circuit, backend, layout)
        for circuit, isa, own in zip(circuits, free, layouts, strict=True)
    )


def _transpiled(
    circuit: QuantumCircuit, backend: Any, layout: Sequence[int] | None
) -> QuantumCircuit:
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
    return isa


def check_width(num_qubits: int, backend: Any) -> None:
    """Refuse more qubits than a backend has; those of a simulator are bounded by memory."""
    if num_qubits > backend.num_qubits:
        raise InputError(
            f"Argument `circuit` must have at most {backend.num_qubits} qubits to run on "
            f"{backend.name}, but has {num_qubits}."
        )


def check_size(backend: Any, num_qubits: int, name: str) -> None:
    """Refuse a backend, called by a name, with fewer qubits than a circuit."""
    if backend.num_qubits < num_qubits:
        raise InputError(
            f"Argument `backend` must have at least {num_qubits} qubits, as the circuit has, but "
            f"{name} has {backend.num_qubits}."
        )


def check_gates(isa: QuantumCircuit, target: Target, name: str) -> None:
    """Refuse a circuit with a gate that the device does not have where it stands."""
    for gate, qubits, _ in steps(isa):
        if not target.instruction_supported(gate.name, tuple(qubits)):
            raise InputError(
                f"Argument `circuit` must consist of gates of {name} when it is transpiled, but "
                f"has `{gate.name}` on {'qubits' if len(qubits) > 1 else 'qubit'} "
                f"{', '.join(map(str, qubits))}."
            )


def cut(circuits: Sequence[QuantumCircuit], target: Target) -> Sublattice:
    """Cut transpiled circuits and their device down to the qubits with gates or measurements."""
    qubits = used_qubits(circuits)
    small = tuple(on_qubits(circuit, qubits) for circuit in circuits)
    return Sublattice(small, qubits, sublattice(target, qubits))


def sublattice(target: Target, qubits: Sequence[int]) -> Target:
    """A device cut down to some of its qubits: qubit k is the device's `qubits[k]`."""
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
    return small


def noise_model(target: Target) -> NoiseModel:
    """Aer's noise model of a device: depolarising and relaxing gates, readout errors."""
    return NoiseModel.from_backend(TargetBackend(target, "sublattice"))


def transpiled_to_model(
    circuits: Sequence[QuantumCircuit], model: NoiseModel
) -> tuple[QuantumCircuit, ...]:
    """Measured circuits in the gates of a noise model; qubit k is the model's qubit k.

    Warns where a gate of several qubits runs without error although the model has errors of that
    gate on other qubits: so it is with the model of a device, which has not all the pairs.
    """
    gates = [name for name in model.basis_gates if name in GATES]
    size = max(circuit.num_qubits for circuit in circuits)
    target = Target.from_configuration([*gates, "measure"], num_qubits=size)
    found = transpiled(circuits, TargetBackend(target, "the noise model"), range(size))
    everywhere: set[str] = set()
    places: dict[str, set[tuple[int, ...]]] = {}
    for error in model.to_dict()["errors"]:
        for name in error.get("operations", ()):
            if "gate_qubits" in error:
                places.setdefault(name, set()).update(map(tuple, error["gate_qubits"]))
            else:
                everywhere.add(name)
    for gate in places.keys() - everywhere:
        used = {
            tuple(qubits)
            for isa in found
            for operation, qubits, _ in steps(isa)
            if operation.name == gate
        }
        free = sorted(qubits for qubits in used - places[gate] if len(qubits) > 1)
        if free:
            warnings.warn(
                f"The noise model has errors of `{gate}` on some qubits but none on "
                f"{', '.join(map(str, free))}, where the circuit runs it without error; a backend "
                "as `noise` says which qubits are coupled.",
                stacklevel=2,
            )
    return found
