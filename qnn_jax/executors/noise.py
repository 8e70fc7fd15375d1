"""Noise inside XLA: errors exactly or by trajectories, with shots or without, and gradients."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax import lax, random
from jaxtyping import Array

from qnn_jax.circuits.checks import at_least, flag, of_type, one_of
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import Observables, observables_on
from qnn_jax.errors import InputError
from qnn_jax.executors.executor import Executor, Expectations
from qnn_jax.executors.shots import (
    Measurement,
    ShotGradient,
    key_for_shots,
    measured,
    measurements,
    moments_of,
    root,
    undifferentiable,
)
from qnn_jax.executors.statevector import checked_batch
from qnn_jax.noise import trajectories as by_trajectories
from qnn_jax.noise.density import factors_of, light_cone, outcome_probabilities
from qnn_jax.noise.model import NoiseModel, kept_as_numbers
from qnn_jax.simulate.angle_table import usual_promotion
from qnn_jax.simulate.measurement import MOST_SHOTS

#: How noise is simulated.
NoiseMethod: TypeAlias = Literal["auto", "exact", "trajectories"]
#: Up to so many qubits "auto" is exact, if they fit into memory: 4**11 numbers are 16 MiB.
MOST_EXACT_QUBITS = 11
#: So many amplitudes of trajectories are held at once.
_AMPLITUDES = 2**22


@jax.tree_util.register_static
@dataclass(frozen=True)
class NoisyRecord:
    """What a noisy run leaves.

    Attributes:
        method: "exact" or "trajectories", which "auto" has chosen.
        backend: the name of the backend whose errors they were, "NoiseModel", or None.
        calibration: the date of that backend's errors, or None.
        layout: the device's qubit for each qubit of the circuit, or None.
        simulated: the device's qubits in the simulation, or None.
    """

    method: str
    backend: str | None = None
    calibration: str | None = None
    layout: tuple[int, ...] | None = None
    simulated: tuple[int, ...] | None = None


@dataclass(frozen=True)
class NoisyRun:
    """How a noisy circuit is run: the arguments of `noisy` but its noise, checked."""

    shots: int | None = None
    gradient: str = "pathwise"
    method: str = "auto"
    trajectories: int = 1000
    twirl: bool = False

    def __post_init__(self) -> None:
        if self.shots is not None:
            shots = at_least("shots", self.shots, 1, MOST_SHOTS)
            object.__setattr__(self, "shots", shots)
        one_of("gradient", self.gradient, get_args(ShotGradient))
        one_of("method", self.method, get_args(NoiseMethod))
        trajectories = at_least("trajectories", self.trajectories, 2, MOST_SHOTS)
        object.__setattr__(self, "trajectories", trajectories)
        if flag("twirl", self.twirl) and self.method != "trajectories":
            raise InputError(
                "Argument `twirl` must be False unless `method` is 'trajectories', but is True "
                f"and `method` is {self.method!r}."
            )

    def chosen(self, parts: Sequence[Measurement], noise: NoiseModel) -> str:
        """The method for some circuits."""
        if self.method != "auto":
            return self.method
        most = max(
            len(light_cone(factors_of(part.circuit, noise), part.qubits)[1]) for part in parts
        )
        return "exact" if most <= MOST_EXACT_QUBITS else "trajectories"


def noisy(
    noise: NoiseModel,
    shots: int | None = None,
    gradient: ShotGradient = "pathwise",
    method: NoiseMethod = "auto",
    trajectories: int = 1000,
    twirl: bool = False,
) -> Executor:
    """A circuit with the errors of a noise model, in XLA.

    Args:
        noise: the errors of gates and readout. Gates that turn a basis onto that of Z, `h` and
            `sdg`, are gates of the circuit, and have the errors that the model gives them.
        shots: None takes expectation values of the noisy circuit; else how often each input is
            measured in each basis.
        gradient: through shots, as `sampled` takes it.
        method: "exact" has the state as the vector of its 4**n numbers Tr(Pρ), differentiable in
            inputs, weights and the numbers of the noise model. "trajectories" has statevectors in
            which each error happens or not, drawn with its probability in that state: each shot is
            one of them. Their gradient would be biased, since what happens depends on the angles,
            so it is refused. "auto" is "exact" for up to 11 qubits that a measured one depends on.
        trajectories: over how many of them expectation values are taken where there are no shots,
            at least 2.
        twirl: replace each error by random Paulis (of the same diagonal of its Pauli-transfer
            matrix): another noise, whose probabilities depend on nothing, so that trajectories
            without shots can be differentiated.

    Returns:
        An executor that works under `jax.jit`, `jax.vmap` and, if exact, `jax.grad`; it needs a
        `key` where it has shots or trajectories. Standard errors are 0 without both. Its `record`,
        a `NoisyRecord`, says which method was chosen.

    Raises:
        InputError: for a bad argument; from the executor where the model is of another number of
            qubits than the circuit, or more qubits than memory holds.

    >>> from qnn_jax import Op
    >>> from qnn_jax.noise import amplitude_damping
    >>> decay = noisy(NoiseModel({"x": amplitude_damping(0.25)}))
    >>> print(decay(Circuit(1, (Op("x", 0),)), ("Z",), jnp.zeros((1, 0)), []).values)
    [[-0.5]]
    """
    of_type("noise", noise, NoiseModel, "a NoiseModel of qnn_jax.noise")
    run = NoisyRun(shots, gradient, method, trajectories, twirl)
    return _Noisy(noise if noise.is_traced else kept_as_numbers(noise), run)


# By identity: arrays have no hash, and Flax hashes the executor of a layer.
@dataclass(frozen=True, eq=False)
class _Noisy:
    noise: NoiseModel
    run: NoisyRun

    def __call__(
        self, circuit: Circuit, observables: Observables, inputs: Any, weights: Any, key: Any = None
    ) -> Expectations:
        sums = observables_on(checked_circuit(circuit).num_qubits, observables)
        self.noise.check_circuit(circuit.num_qubits)
        inputs, weights = checked_batch(circuit, inputs, weights)
        return run_noisy(measurements(circuit, sums), self.noise, self.run, inputs, weights, key)


def run_noisy(
    parts: tuple[Measurement, ...],
    noise: NoiseModel,
    run: NoisyRun,
    inputs: Array,
    weights: Array,
    key: Array | None,
) -> Expectations:
    """What is measured with errors; inputs and weights were checked."""
    method = run.chosen(parts, noise)
    record = NoisyRecord(method)
    if method == "trajectories":
        key = key_for_shots("noisy", key)
        values, stderr = _by_trajectories(noise, parts, run, inputs, weights, key)
        return Expectations(values, stderr, record)
    # Constants are folded while JAX traces; what is traced already is an argument.
    traced = noise.is_traced
    distribution = _Channels(None if traced else noise)
    extra = noise if traced else None
    if run.shots is None:
        values = _exactly(distribution, parts, inputs, weights, extra)
        return Expectations(values, jnp.zeros_like(values), record)
    key = key_for_shots("noisy", key)
    values, stderr = measured(
        distribution, parts, run.shots, run.gradient, inputs, weights, extra, key
    )
    return Expectations(values, stderr, record)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
@usual_promotion
def _by_trajectories(
    noise: NoiseModel,
    parts: tuple[Measurement, ...],
    run: NoisyRun,
    inputs: Array,
    weights: Array,
    key: Array,
) -> tuple[Array, Array]:
    """Means and standard errors over trajectories, one shot each where there are shots."""
    if not run.twirl or run.shots is not None:
        inputs, weights = _without_gradient((inputs, weights))
    count = run.trajectories if run.shots is None else run.shots
    moments = []
    for number, part in enumerate(parts):
        own = random.fold_in(key, number)

        def one(key: Array, part: Measurement = part) -> Array:
            """Of all rows, what one trajectory adds to each observable."""

            def of_row(row: Array, key: Array) -> Array:
                happens, read = random.split(key)
                shares = by_trajectories.outcome_probabilities(
                    part.circuit, part.qubits, row, weights, noise, happens, run.twirl
                )
                if run.shots is not None:
                    outcome = random.categorical(read, jnp.log(shares))
                    drawn = jax.nn.one_hot(outcome, len(shares), dtype=shares.dtype)
                    # Of NaN the draw would look certain.
                    shares = jnp.where(jnp.isfinite(shares.sum()), drawn, jnp.nan)
                return shares

            shares = jax.vmap(of_row)(inputs, random.split(key, len(inputs)))
            return moments_of(part.basis, shares)[0]

        states = max(1, len(inputs)) * 2**part.circuit.num_qubits
        size = max(1, min(count, _AMPLITUDES // states))
        keys = jax.vmap(lambda k, own=own: random.fold_in(own, k))(jnp.arange(count))
        each = lax.map(one, keys, batch_size=size)
        moments.append((each.mean(0), each.var(0)))
    mean, variance = jax.tree.map(lambda *terms: sum(terms), *moments)
    spread = root(variance / (count - 1)) if count > 1 else variance + jnp.inf
    return mean, lax.stop_gradient(spread)


_without_gradient = undifferentiable(
    "Argument `method` must be 'exact' to be differentiated, since the gradient of trajectories is "
    "biased where what happens depends on the state, but is 'trajectories'; twirl=True without "
    "shots can be."
)


@dataclass(frozen=True)
class _Channels:
    """Probabilities of outcomes under noise, as `measured` takes them."""

    noise: NoiseModel | None

    def __call__(
        self,
        circuit: Circuit,
        qubits: tuple[int, ...],
        inputs: Array,
        weights: Array,
        extra: Any,
    ) -> Array:
        noise = extra if self.noise is None else self.noise
        return outcome_probabilities(circuit, qubits, inputs, weights, noise)


@functools.partial(jax.jit, static_argnums=(0, 1))
@usual_promotion
def _exactly(
    distribution: _Channels,
    parts: tuple[Measurement, ...],
    inputs: Array,
    weights: Array,
    extra: Any,
) -> Array:
    total: Any = 0
    for part in parts:
        shares = distribution(part.circuit, part.qubits, inputs, weights, extra)
        total = total + moments_of(part.basis, shares)[0]
    return total
