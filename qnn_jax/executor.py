"""Executors: the places where a circuit's expectation values are taken.

An executor is any callable of the type `Executor`. A trained model is evaluated elsewhere by
handing it another one; nothing else of the model knows where it runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import PauliSum
from qnn_jax.errors import InputError
from qnn_jax.simulate import expectations


class Expectations(NamedTuple):
    """What an executor returns.

    Attributes:
        values: expectation values, shape (batch, observables).
        stderr: their standard errors, of the same shape; zeros where they are exact.
        record: what must not be lost (counts, layout, job ids), or None.
    """

    values: Float[Array, "batch observables"]
    stderr: Float[Array, "batch observables"]
    record: Any = None


class Executor(Protocol):
    """The type of all executors."""

    def __call__(
        self,
        circuit: Circuit,
        observables: Sequence[PauliSum],
        inputs: Float[Array, "batch inputs"],
        weights: Float[Array, " weights"],
        key: Array | None = None,
    ) -> Expectations:
        """Take the expectation values of all observables for a batch of inputs."""
        ...


def exact(
    circuit: Circuit,
    observables: Sequence[PauliSum],
    inputs: Float[Array, "batch inputs"],
    weights: Float[Array, " weights"],
    key: Array | None = None,
) -> Expectations:
    """The statevector simulator: exact values, differentiable, under any JAX transformation."""

    def one(sample: Array) -> Array:
        return expectations(circuit, tuple(observables), sample, weights)

    values = jax.vmap(one)(inputs)
    return Expectations(values, jnp.zeros_like(values))


def run_layer(
    executor: Executor,
    circuit: Circuit,
    observables: Sequence[PauliSum],
    inputs: Float[Array, "*batch inputs"],
    weights: Float[Array, " weights"],
    key: Array | None = None,
) -> Float[Array, "*batch observables"]:
    """What both Flax layers do: check the features, flatten the batch, call the executor once.

    Raises:
        InputError: where features have the wrong number or dtype, or hold NaN outside of jit.
    """
    inputs = jnp.asarray(inputs)
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise InputError(
            "Argument `inputs` of a QuantumLayer must hold floating-point numbers, but has dtype "
            f"{inputs.dtype}; convert it, for instance with x.astype(float)."
        )
    if inputs.ndim < 1 or inputs.shape[-1] != circuit.num_inputs:
        raise InputError(
            f"Argument `inputs` of a QuantumLayer must have shape (..., {circuit.num_inputs}), "
            f"one feature for each input of the circuit, but has shape {inputs.shape}."
        )
    if not isinstance(inputs, jax.core.Tracer) and not bool(jnp.all(jnp.isfinite(inputs))):
        raise InputError(
            "Argument `inputs` of a QuantumLayer must be finite, but holds NaN or infinity."
        )
    batch = inputs.shape[:-1]
    flat = inputs.reshape(math.prod(batch), inputs.shape[-1])
    values = executor(circuit, observables, flat, weights, key).values
    return values.reshape(*batch, len(observables))
