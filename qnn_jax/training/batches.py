"""Apply networks to many examples: a few hundred at a time, to limit memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import FlaxError
from jaxtyping import Array

from qnn_jax.circuits.checks import function as checked_function
from qnn_jax.circuits.checks import of_type, shown
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import checked_numbers

#: Examples per evaluation; more would only use more memory.
EVALUATION_BATCH = 500


def map_batches(function: Callable[[Array], Any], inputs: Array) -> Array:
    """Apply a function of a batch to many inputs, a few hundred at a time."""
    checked_function("function", function)
    inputs = checked_numbers("inputs", inputs)
    if not inputs.ndim:
        raise InputError("Argument `inputs` must have shape (count, …), but has shape ().")
    whole = len(inputs) // EVALUATION_BATCH
    batches = inputs[: whole * EVALUATION_BATCH].reshape(whole, EVALUATION_BATCH, *inputs.shape[1:])
    rest = function(inputs[whole * EVALUATION_BATCH :])
    mapped = jax.lax.map(function, batches).reshape(-1, *rest.shape[1:]) if whole else rest[:0]
    return jnp.concatenate([mapped, rest])


def in_batches(network: Any, params: Any, inputs: Array) -> Array:
    """Outputs of many inputs, shape (count, outputs)."""
    of_type("network", network, nn.Module, "a Flax module")
    if not isinstance(params, Mapping):
        raise InputError(
            f"Argument `params` must hold the network's parameters, but is {shown(params)}."
        )
    try:
        return map_batches(lambda batch: network.apply({"params": params}, batch), inputs)
    except FlaxError as error:
        raise InputError(
            f"Argument `params` must be the parameters of the network, but Flax says: {error}"
        ) from None
