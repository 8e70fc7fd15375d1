"""What both Flax layers do with an executor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from qnn_jax.circuits.checks import shown
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import PauliSum
from qnn_jax.errors import InputError
from qnn_jax.executors.executor import Executor
from qnn_jax.simulate.angle_table import checked_numbers


def run_layer(
    executor: Executor,
    circuit: Circuit,
    observables: Sequence[PauliSum],
    inputs: Float[Array, "*batch inputs"],
    weights: Float[Array, " weights"],
    key: Array | None = None,
) -> Float[Array, "*batch observables"]:
    """What both Flax layers do: check the features, flatten the batch, call the executor once."""
    inputs = checked_numbers("inputs", inputs)
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
    batch = inputs.shape[:-1]
    flat = inputs.reshape(math.prod(batch), inputs.shape[-1])
    values: Any = getattr(executor(circuit, observables, flat, weights, key), "values", None)
    shape = (len(flat), len(observables))
    if getattr(values, "shape", None) != shape:
        raise InputError(
            f"Argument `executor` must return Expectations with values of shape {shape}, but "
            f"returns {shown(values)}."
        )
    reshaped: Array = values.reshape(*batch, len(observables))
    return reshaped
