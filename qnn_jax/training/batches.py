"""Apply networks to many examples: a few hundred at a time, to limit memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from jaxtyping import Array

from qnn_jax.circuits.checks import function as checked_function
from qnn_jax.circuits.checks import of_type, shown
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import checked_numbers
from qnn_jax.simulate.measurement import checked_key

#: Examples per evaluation; more would only use more memory.
EVALUATION_BATCH = 500


def map_batches(function: Callable[..., Any], inputs: Array, key: Array | None = None) -> Array:
    """Apply a function of a batch to many inputs, a few hundred at a time.

    Args:
        function: of a batch, and of a key of its own where `key` is given.
        inputs: shape (count, …).
        key: a random key.
    """
    checked_function("function", function)
    inputs = checked_numbers("inputs", inputs)
    if not inputs.ndim:
        raise InputError("Argument `inputs` must have shape (count, …), but has shape ().")
    whole = len(inputs) // EVALUATION_BATCH
    batches = inputs[: whole * EVALUATION_BATCH].reshape(whole, EVALUATION_BATCH, *inputs.shape[1:])
    last: tuple[Array, ...] = (inputs[whole * EVALUATION_BATCH :],)
    every: tuple[Array, ...] = (batches,)
    if key is not None:
        key = checked_key("key", key)
        last += (jax.random.fold_in(key, whole),)
        every += (jax.vmap(lambda k: jax.random.fold_in(key, k))(jnp.arange(whole)),)
    rest = function(*last)
    if not isinstance(rest, jax.Array | np.ndarray):
        raise InputError(
            f"Argument `function` must give an array for a batch, but gives {shown(rest)}."
        )
    mapped = rest[:0]
    if whole:
        mapped = jax.lax.map(lambda row: function(*row), every).reshape(-1, *rest.shape[1:])
    return jnp.concatenate([mapped, rest])


def in_batches(network: Any, params: Any, inputs: Array, key: Array | None = None) -> Array:
    """Outputs of many inputs, shape (count, outputs); an executor with shots needs a `key`."""
    of_type("network", network, nn.Module, "a Flax module")
    if not isinstance(params, Mapping):
        raise InputError(
            f"Argument `params` must hold the network's parameters, but is {shown(params)}."
        )
    try:
        return map_batches(
            lambda batch, own=None: network.apply(
                {"params": params}, batch, rngs=None if own is None else {"shots": own}
            ),
            inputs,
            key,
        )
    except FlaxError as error:
        raise InputError(
            f"Argument `params` must be the parameters of the network, but Flax says: {error}"
        ) from None
