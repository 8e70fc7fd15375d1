"""Argument checks that several diagnostics share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from qnn_jax.circuits.checks import at_least, function, shown
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.errors import InputError

#: Arrays that diagnostics accept: JAX's or NumPy's.
AnyArray: TypeAlias = Array | np.ndarray
#: Maximum number of samples or bins.
_MOST_SAMPLES = 2**24


def checked_count(name: str, value: int, least: int) -> int:
    """The number of draws."""
    return at_least(name, value, least, _MOST_SAMPLES)


def circuit_with_weights(circuit: Circuit) -> Circuit:
    """Refuse a circuit without a weight."""
    if not checked_circuit(circuit).num_weights:
        raise InputError("Argument `circuit` must have a weight to differentiate by, but has none.")
    return circuit


def checked_outputs(model: Callable[[Array, Array], Array], weights: Any, row: Any) -> None:
    """Refuse a function that does not return real numbers with at most one axis."""
    found = jax.eval_shape(function("function", model), jnp.asarray(weights), jnp.asarray(row))
    fits = isinstance(found, jax.ShapeDtypeStruct) and len(found.shape) < 2
    if not fits or not jnp.issubdtype(found.dtype, jnp.floating):
        raise InputError(
            "Argument `function` must return real numbers of shape () or (outputs,), but returns "
            f"{shown(found)}."
        )
