"""Aer as an executor: real counts, with the noise of a device or without.

A batch is one parametrised circuit for each basis, transpiled once, and run with many rows at a
time.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from qnn_jax.bridge.export import angle_columns, to_qiskit
from qnn_jax.bridge.noise import (
    NoiseSource,
    calibration_date,
    check_width,
    checked_noise,
    cut,
    fake_backend,
    noise_model,
    transpiled,
    transpiled_to_model,
)
from qnn_jax.circuits.bases import Basis, bases_of, measured_in
from qnn_jax.circuits.checks import at_least, function
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import Observables, observables_on
from qnn_jax.errors import InputError
from qnn_jax.executors import Counts, Executor, Expectations, estimate
from qnn_jax.executors.statevector import checked_batch
from qnn_jax.simulate import angles
from qnn_jax.simulate.measurement import MOST_SHOTS, checked_key

#: Threads go to whole circuits: within a small one they would spend their time waiting.
THREADS: Mapping[str, int] = MappingProxyType(
    {"max_parallel_experiments": 0, "max_parallel_shots": 1}
)

#: Run k of a job draws from the seed `seed + _SEED_STEP * k`: so Aer does by itself.
_SEED_STEP = 2113
#: Rows of the first chunk; later ones double until a chunk takes so many seconds.
_FIRST_RUNS, _SECONDS_A_CHUNK = 16, 2.0


class AerRecord(NamedTuple):
    """What an Aer run leaves.

    Attributes:
        bases: labels of the bases that were measured.
        counts: of each basis of `bases_of(observables)`.
        shots: of each row in each basis.
        seed: Aer's; the same seed gives the same counts.
        backend: the name of the backend whose noise it was, "NoiseModel", or None.
        calibration: the date of that backend's errors, or None.
        layout: the device's qubit for each qubit of the circuit, or None.
    """

    bases: tuple[str, ...]
    counts: tuple[Counts, ...]
    shots: int
    seed: int
    backend: str | None = None
    calibration: str | None = None
    layout: tuple[int, ...] | None = None


def aer(
    shots: int,
    noise: str | BackendV2 | NoiseModel | None = None,
    seed: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Executor:
    """Counts from qiskit-aer, on this machine.

    Args:
        shots: how often each input is measured in each basis, at least 1.
        noise: None is without errors. A backend, or the name of a fake one ("FakeFez"): the
            circuit is transpiled for it at level 3 and runs with its errors on the qubits of its
            layout. A NoiseModel of qiskit-aer: the circuit is transpiled into the model's gates,
            qubit k is the model's qubit k, and since a model has no coupling map, gates between
            any two qubits run; a pair for which it has no error runs without one, with a warning.
            It must not be changed afterwards.
        seed: the same one gives the same counts at every call, with noise of its own for every
            row. None takes it from the executor's `key`, or from the system where there is none.
        progress: called with how many runs are done and how many there are (a run is one row in
            one basis), before the first and after every few seconds of them.

    Returns:
        An executor for arrays with values: under `jax.jit`, `jax.vmap` or `jax.grad` it refuses.
        Its `record` is an `AerRecord`.

    Raises:
        InputError: for a bad number, an unknown backend or one without errors; from the executor
            for too few qubits on the device, or values that are not there yet.
    """
    return _Aer(
        at_least("shots", shots, 1, MOST_SHOTS),
        checked_noise(noise),
        None if seed is None else checked_seed("seed", seed),
        None if progress is None else function("progress", progress),
    )


@dataclass(frozen=True)
class _Aer:
    shots: int
    noise: str | NoiseSource | None
    seed: int | None
    progress: Callable[[int, int], object] | None = None

    def __call__(
        self, circuit: Circuit, observables: Observables, inputs: Any, weights: Any, key: Any = None
    ) -> Expectations:
        check_values("aer", inputs, weights, key)
        sums = observables_on(checked_circuit(circuit).num_qubits, observables)
        bases = bases_of(sums)
        job = prepared(circuit, bases, self.noise)
        table = table_of(circuit, inputs, weights)
        seed = self._seed(key)
        counts = _run(job, table, self.shots, seed, self.progress)
        values, stderr = estimate(counts, sums)
        record = AerRecord(
            tuple(basis.label for basis in bases),
            counts,
            self.shots,
            seed,
            self.noise.name if isinstance(self.noise, NoiseSource) else self.noise,
            job.calibration,
            job.layout,
        )
        return Expectations(jnp.asarray(values), jnp.asarray(stderr), record)

    def _seed(self, key: Any) -> int:
        if self.seed is not None:
            return self.seed
        words = None
        if key is not None:
            words = np.asarray(jax.random.key_data(checked_key("key", key))).ravel().tolist()
        return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def check_values(executor: str, *arrays: Any) -> None:
    """Refuse arrays that have no values yet."""
    if any(isinstance(array, jax.core.Tracer) for array in arrays):
        raise InputError(
            f"Executor `{executor}` must be given arrays with values, but is called under jax.jit, "
            "jax.vmap or jax.grad; call it outside of them, or use `sampled`, which runs inside."
        )


class Job(NamedTuple):
    """Measured circuits as a device runs them: one for each basis."""

    #: Transpiled, and of a backend cut down to the qubits in use.
    circuits: tuple[QuantumCircuit, ...]
    columns: dict[str, int]  # of the angle table, by the Parameters' names
    qubits: tuple[int, ...]  # the device's qubit for each qubit of these circuits
    #: The device's qubit for each qubit of the circuit; None without a device.
    layout: tuple[int, ...] | None = None
    target: Any = None  # the backend's gates on those qubits; None without a backend
    calibration: str | None = None  # date of the backend's errors, or None
    simulator: AerSimulator | None = None  # with the noise model, where Aer runs them


def transpiled_for(circuit: Circuit, bases: tuple[Basis, ...], device: Any) -> Job:
    """Translate and transpile for a backend or a noise model of Aer."""
    measured, columns = measured_forms(circuit, bases), angle_columns(circuit)
    if isinstance(device, NoiseModel):
        own = tuple(range(circuit.num_qubits))
        return Job(transpiled_to_model(measured, device), columns, own, own)
    isa = transpiled(measured, device)
    small = cut(isa, device.target)
    return Job(
        small.circuits,
        columns,
        small.qubits,
        tuple(isa[0].layout.initial_index_layout(filter_ancillas=True)),
        small.target,
        calibration_date(device),
    )


def measured_forms(circuit: Circuit, bases: Sequence[Basis]) -> list[QuantumCircuit]:
    """The table form, measured in each basis."""
    measured = [to_qiskit(measured_in(circuit, basis), form="table") for basis in bases]
    for form in measured:
        form.measure_all()
    return measured


@functools.lru_cache(maxsize=32)
def prepared(circuit: Circuit, bases: tuple[Basis, ...], noise: str | NoiseSource | None) -> Job:
    """Translate and transpile, once for a circuit and its noise."""
    if noise is None:
        simulator = AerSimulator(**THREADS)
        check_width(circuit.num_qubits, simulator)
        measured = transpile(measured_forms(circuit, bases), simulator, optimization_level=0)
        own = tuple(range(circuit.num_qubits))
        return Job(tuple(measured), angle_columns(circuit), own, simulator=simulator)
    source = fake_backend(noise) if isinstance(noise, str) else noise.source
    job = transpiled_for(circuit, bases, source)
    model = source if job.target is None else noise_model(job.target)
    return job._replace(simulator=AerSimulator(noise_model=model, **THREADS))


def table_of(circuit: Circuit, inputs: Any, weights: Any) -> np.ndarray:
    """The angle tables of all inputs, shape (batch, circuit.num_angles), in double precision."""
    return np.asarray(_table(circuit, *checked_batch(circuit, inputs, weights)), float)


@functools.partial(jax.jit, static_argnums=0)
def _table(circuit: Circuit, inputs: Any, weights: Any) -> jax.Array:
    return jax.vmap(lambda row: angles(circuit, row, weights))(inputs)


def _run(
    job: Job,
    table: np.ndarray,
    shots: int,
    seed: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Counts, ...]:
    """Run all rows in all bases, a few seconds of them at a time."""
    assert job.simulator is not None
    rows = len(table)
    every = [(circuit, row) for circuit in job.circuits for row in range(rows)]
    found: list[dict[int, int]] = []
    size = _FIRST_RUNS
    while len(found) < len(every):
        if progress is not None:
            progress(len(found), len(every))
        began = time.monotonic()
        circuit, first = every[len(found)]
        chunk = table[first : first + size]
        # Aer draws every run from a seed of its own, so that chunks make no difference.
        own = seed + _SEED_STEP * len(found)
        found += run_rows(job.simulator, circuit, job.columns, chunk, shots, own)
        if len(chunk) == size and time.monotonic() - began < _SECONDS_A_CHUNK / 2:
            size *= 2
    if progress is not None:
        progress(len(found), len(every))
    return tuple(Counts.of(found[k * rows : (k + 1) * rows]) for k in range(len(job.circuits)))


def run_rows(
    simulator: AerSimulator,
    circuit: QuantumCircuit,
    columns: Mapping[str, int],
    table: np.ndarray,
    shots: int,
    seed: int,
) -> list[dict[int, int]]:
    """Run a measured circuit with each row of a table; `columns` finds its parameters there.

    Every row has all its shots, or it is an error.
    """
    bind = {parameter: table[:, columns[parameter.name]] for parameter in circuit.parameters}
    # Without a parameter nothing tells the rows apart: such a circuit runs row by row.
    result = simulator.run(
        [circuit] if bind else [circuit] * len(table),
        parameter_binds=[bind] if bind else None,
        shots=shots,
        seed_simulator=seed,
    ).result()
    found = [
        {int(outcome, 16): count for outcome, count in row.data.counts.items()}
        for row in result.results
        if row.success
    ]
    if len(found) != len(table) or any(sum(row.values()) != shots for row in found):
        raise RuntimeError(f"Aer did not do all shots of all rows: {result.status}")
    return found
