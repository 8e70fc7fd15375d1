"""The noise of a device as a NoiseModel of ours, and an executor in XLA that has it.

A circuit is transpiled as `bridge.aer` does, once, and its angles are put back as expressions of
inputs and weights; then JAX runs what a device would run, gate by gate, with its errors.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.quantum_info import PTM
from qiskit.transpiler import Target
from qiskit_aer.noise import NoiseModel as AerNoiseModel
from qiskit_aer.noise import QuantumError

from qnn_jax.bridge.aer_executor import transpiled_for
from qnn_jax.bridge.export import angle_columns
from qnn_jax.bridge.expressions import from_parameter_expression
from qnn_jax.bridge.noise import NoiseSource, checked_noise, fake_backend, sublattice
from qnn_jax.bridge.noise import noise_model as of_target
from qnn_jax.bridge.steps import measured_qubits, steps
from qnn_jax.circuits.angles import Expression
from qnn_jax.circuits.bases import Basis, bases_of
from qnn_jax.circuits.checks import flag, qubits_of, shown
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.observables import Observables, observables_on
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError
from qnn_jax.executors import Executor, Expectations
from qnn_jax.executors.noise import NoiseMethod, NoisyRecord, NoisyRun, run_noisy
from qnn_jax.executors.shots import Measurement, ShotGradient, measured_at
from qnn_jax.executors.statevector import checked_batch
from qnn_jax.noise import Idle, NoiseModel


def noise_model(
    source: str | BackendV2 | AerNoiseModel, qubits: Sequence[int], idle: bool = False
) -> NoiseModel:
    """The errors of some of a device's qubits, as Aer has them, in Pauli-transfer matrices.

    Args:
        source: a backend, the name of a fake one ("FakeFez"), or a NoiseModel of qiskit-aer.
        qubits: of the device; qubit k of the model is `qubits[k]`.
        idle: include what qubits lose while they wait for others. Aer has that for circuits with
            delays; a noise model of Aer does not say how long gates take.

    Returns:
        Channels after the device's gates, by name and qubits; gates without errors, as a virtual
        RZ, are not in it.

    Raises:
        InputError: for an unknown device, one without errors, and qubits that it does not have.
    """
    if source is None:
        raise InputError(
            "Argument `source` must be the name of a fake backend, a backend or a NoiseModel of "
            "qiskit-aer, but is None."
        )
    device = _device(checked_noise(source, "source"))
    places = qubits_of(qubits)
    if not places or len(set(places)) < len(places):
        raise InputError(f"Argument `qubits` must name different qubits, but is {shown(qubits)}.")
    _check_idle(idle, device)
    if isinstance(device, AerNoiseModel):
        return _of_aer(device, places)
    if max(places) >= device.num_qubits:
        raise InputError(
            f"Argument `qubits` must be below {device.num_qubits}, the number of qubits of "
            f"{device.name}, but is {shown(places)}."
        )
    return _of_target(sublattice(device.target, places), idle)


def noisy(
    device: str | BackendV2 | AerNoiseModel,
    shots: int | None = None,
    gradient: ShotGradient = "pathwise",
    idle: bool = False,
    method: NoiseMethod = "auto",
    trajectories: int = 1000,
    twirl: bool = False,
) -> Executor:
    """A device's errors in XLA: what `bridge.aer` samples, exact or with shots, and differentiable.

    The circuit is transpiled as `bridge.aer` does, once for each basis, and then runs with the
    errors of the device's gates and readout.

    Args:
        device: as `noise` of `bridge.aer`: a backend, the name of a fake one ("FakeFez"), or a
            NoiseModel of qiskit-aer.
        shots: None takes expectation values of the noisy circuit; else how often each input is
            measured in each basis.
        gradient: through shots, as `sampled` takes it.
        idle: include what qubits lose while they wait for others.
        method: as `qnn_jax.executors.noisy` takes it, like the next two.
        trajectories: over how many expectation values are taken without shots.
        twirl: replace errors by random Paulis.

    Returns:
        An executor that works under `jax.jit`, `jax.vmap` and, if exact, `jax.grad`; it needs a
        `key` where it has shots or trajectories. Its `record` is a `NoisyRecord`.

    Raises:
        InputError: for a bad argument or an unknown device; from the executor for too few qubits on
            the device, or more in use than memory holds.
    """
    source = checked_noise(device, "device")
    if source is None:
        raise InputError("Argument `device` must be a device, but is None; `exact` has no errors.")
    _check_idle(idle, _device(source))
    return _NoisyDevice(source, idle, NoisyRun(shots, gradient, method, trajectories, twirl))


@dataclass(frozen=True)
class _NoisyDevice:
    device: str | NoiseSource
    idle: bool
    run: NoisyRun

    def __call__(
        self, circuit: Circuit, observables: Observables, inputs: Any, weights: Any, key: Any = None
    ) -> Expectations:
        sums = observables_on(checked_circuit(circuit).num_qubits, observables)
        inputs, weights = checked_batch(circuit, inputs, weights)
        parts, noise, about = _prepared(circuit, bases_of(sums), self.device, self.idle)
        found = run_noisy(parts, noise, self.run, inputs, weights, key)
        return found._replace(record=replace(about, method=found.record.method))


@functools.lru_cache(maxsize=32)
def _prepared(
    circuit: Circuit, bases: tuple[Basis, ...], source: str | NoiseSource, idle: bool
) -> tuple[tuple[Measurement, ...], NoiseModel, NoisyRecord]:
    """Transpile and read back, once for a circuit and its noise."""
    device = _device(source)
    job = transpiled_for(circuit, bases, device)
    noise = _of_aer(device, job.qubits) if job.target is None else _of_target(job.target, idle)
    parts = tuple(
        measured_at(*read_back(circuit, isa), basis)
        for isa, basis in zip(job.circuits, bases, strict=True)
    )
    name = source if isinstance(source, str) else source.name
    return parts, noise, NoisyRecord("", name, job.calibration, job.layout, job.qubits)


def read_back(circuit: Circuit, isa: QuantumCircuit) -> tuple[Circuit, tuple[int, ...]]:
    """What `as_transpiled` gives for the transpiled table form of a circuit."""
    angles = {name: circuit.angles[column] for name, column in angle_columns(circuit).items()}
    return as_transpiled(isa, angles, circuit.num_inputs, circuit.num_weights)


def as_transpiled(
    isa: QuantumCircuit, angles: Mapping[str, Expression], num_inputs: int, num_weights: int
) -> tuple[Circuit, tuple[int, ...]]:
    """A transpiled and measured circuit of Qiskit's as ours, `angles` in place of its Parameters.

    The result is without its measurements; beside it, the qubit that each classical bit reads.
    """
    ops = tuple(
        Op(gate.name, qubits, _angles(gate.params, angles))
        for gate, qubits, _ in steps(isa)
        if gate.name != "measure"
    )
    places = measured_qubits(isa)
    own = Circuit(isa.num_qubits, ops, num_inputs, num_weights)
    return own, tuple(places[bit] for bit in range(isa.num_clbits))


def _angles(params: Sequence[Any], angles: Mapping[str, Expression]) -> tuple[Expression, ...]:
    return tuple(
        from_parameter_expression(
            param, {p: angles[p.name] for p in getattr(param, "parameters", ())}
        )
        for param in params
    )


def _check_idle(idle: bool, device: Any) -> None:
    if flag("idle", idle) and isinstance(device, AerNoiseModel):
        raise InputError(
            "Argument `idle` must be False for a NoiseModel of qiskit-aer, which does not say how "
            "long gates take, but is True; give the backend."
        )


def _device(source: str | NoiseSource | None) -> Any:
    return fake_backend(source) if isinstance(source, str) else source.source  # type: ignore[union-attr]


def _of_target(target: Target, idle: bool) -> NoiseModel:
    qubits = range(target.num_qubits)
    return _of_aer(of_target(target), qubits, _idle(target) if idle else None)


def _of_aer(model: AerNoiseModel, qubits: Sequence[int], idle: Idle | None = None) -> NoiseModel:
    """The errors of a noise model of Aer on some of its qubits: qubit k is `qubits[k]`."""
    place = {qubit: k for k, qubit in enumerate(qubits)}
    gates: dict[Any, Any] = {}
    readout: dict[Any, Any] = {}
    for error in model.to_dict()["errors"]:
        where = error.get("gate_qubits")
        if where is not None and not set(where[0]) <= place.keys():
            continue
        own = None if where is None else tuple(place[qubit] for qubit in where[0])
        if error["type"] == "roerror":
            # Aer's rows are the prepared states, and the index of several qubits is as ours.
            readout[own] = np.array(error["probabilities"], float).T
            continue
        channel = None
        for name in error["operations"]:
            if name in GATES:
                if channel is None:
                    channel = PTM(QuantumError.from_dict(error)).data.real
                gates[name if own is None else (name, own)] = channel
    return NoiseModel(gates, readout, idle, num_qubits=len(place))


def _idle(target: Target) -> Idle:
    """Durations and relaxation times of a device, as Aer takes them."""
    durations = {
        (name, where): found.duration
        for name in target.operation_names
        if name in GATES
        for where, found in target[name].items()
        if where is not None and found is not None and found.duration
    }
    t1, t2 = [], []
    for own in target.qubit_properties or [None] * target.num_qubits:
        one = getattr(own, "t1", None)
        other = getattr(own, "t2", None)
        t1.append(math.inf if one is None else one)
        # Measured above 2 T1, which no channel is.
        t2.append(min(math.inf if other is None else other, 2 * t1[-1]))
    return Idle(durations, tuple(t1), tuple(t2))
