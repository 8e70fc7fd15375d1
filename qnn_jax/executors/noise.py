"""Noise inside XLA: a device's errors, exactly or with shots, and gradients through them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qnn_jax.circuits.checks import at_least, of_type, one_of
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import ObservableLike, observables_on
from qnn_jax.executors.executor import Executor, Expectations
from qnn_jax.executors.shots import (
    Measurement,
    ShotGradient,
    key_for_shots,
    measured,
    measurements,
    moments_of,
)
from qnn_jax.executors.statevector import checked_batch
from qnn_jax.noise.density import outcome_probabilities
from qnn_jax.noise.model import NoiseModel, kept_as_numbers
from qnn_jax.simulate.angle_table import usual_promotion
from qnn_jax.simulate.measurement import MOST_SHOTS


def noisy(
    noise: NoiseModel, shots: int | None = None, gradient: ShotGradient = "pathwise"
) -> Executor:
    """A circuit with the errors of a noise model, in XLA.

    The state is the vector of its 4**n numbers Tr(Pρ), so it is exact, and differentiable in
    inputs, weights and the numbers of the noise model.

    Args:
        noise: the errors of gates and readout. Gates that turn a basis onto that of Z, `h` and
            `sdg`, are gates of the circuit, and have the errors that the model gives them.
        shots: None takes exact expectation values of the noisy circuit; else how often each input
            is measured in each basis.
        gradient: through shots, as `sampled` takes it.

    Returns:
        An executor that works under `jax.jit`, `jax.vmap` and `jax.grad`; it needs a `key` where it
        has shots. Standard errors are 0 without shots.

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
    one_of("gradient", gradient, get_args(ShotGradient))
    if shots is not None:
        shots = at_least("shots", shots, 1, MOST_SHOTS)
    return _Noisy(noise if noise.is_traced else kept_as_numbers(noise), shots, gradient)


# By identity: arrays have no hash, and Flax hashes the executor of a layer.
@dataclass(frozen=True, eq=False)
class _Noisy:
    noise: NoiseModel
    shots: int | None
    gradient: str

    def __call__(
        self,
        circuit: Circuit,
        observables: ObservableLike | Sequence[ObservableLike],
        inputs: Float[Array, "batch inputs"],
        weights: Float[Array, " weights"],
        key: Array | None = None,
    ) -> Expectations:
        if self.shots is not None:
            key = key_for_shots("noisy", key)
        sums = observables_on(checked_circuit(circuit).num_qubits, observables)
        self.noise.check_circuit(circuit.num_qubits)
        inputs, weights = checked_batch(circuit, inputs, weights)
        parts = measurements(circuit, sums)
        return run_noisy(parts, self.noise, self.shots, self.gradient, inputs, weights, key)


def run_noisy(
    parts: tuple[Measurement, ...],
    noise: NoiseModel,
    shots: int | None,
    gradient: str,
    inputs: Array,
    weights: Array,
    key: Array | None,
) -> Expectations:
    """What is measured with errors, exactly or with shots; arguments that were checked."""
    # Constants are folded while JAX traces; what is traced already is an argument.
    traced = noise.is_traced
    distribution = _Channels(None if traced else noise)
    extra = noise if traced else None
    if shots is None:
        values = _exactly(distribution, parts, inputs, weights, extra)
        return Expectations(values, jnp.zeros_like(values))
    found = measured(distribution, parts, shots, gradient, inputs, weights, extra, key)
    return Expectations(*found)


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
