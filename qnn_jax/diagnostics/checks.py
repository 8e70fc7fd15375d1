"""Checks that several diagnostics share; each refuses in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.checks import at_least, function, shown
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.errors import InputError

#: What diagnostics take: JAX's arrays or NumPy's.
AnyArray: TypeAlias = Array | np.ndarray
#: As many samples are drawn, or bins counted, at most.
_MOST_SAMPLES = 2**24


def checked_samples(circuit: Circuit, inputs: Any) -> np.ndarray:
    """Inputs of at least one sample, shape (samples, circuit.num_inputs), float64.

    Raises:
        InputError: for another shape, what is no real number, NaN and infinities.
    """
    return finite_array("inputs", inputs, ("samples", circuit.num_inputs))


def checked_targets(targets: Any, samples: int) -> np.ndarray:
    """One real target for each sample, shape (samples,), float64."""
    return finite_array("targets", targets, (samples,))


def checked_weights(circuit: Circuit, weights: Any) -> np.ndarray:
    """The weights, shape (circuit.num_weights,), float64."""
    return finite_array("weights", weights, (circuit.num_weights,))


def checked_count(name: str, value: int, least: int) -> int:
    """How often something is drawn."""
    return at_least(name, value, least, _MOST_SAMPLES)


def circuit_with_weights(circuit: Circuit) -> Circuit:
    """Refuse a circuit without a weight to differentiate by."""
    if not checked_circuit(circuit).num_weights:
        raise InputError("Argument `circuit` must have a weight to differentiate by, but has none.")
    return circuit


def checked_outputs(model: Callable[[Array, Array], Array], weights: Any, row: Any) -> None:
    """Refuse a function of weights and a sample that gives no real numbers of at most one axis."""
    found = jax.eval_shape(function("function", model), jnp.asarray(weights), jnp.asarray(row))
    fits = isinstance(found, jax.ShapeDtypeStruct) and len(found.shape) < 2
    if not fits or not jnp.issubdtype(found.dtype, jnp.floating):
        raise InputError(
            "Argument `function` must return real numbers of shape () or (outputs,), but returns "
            f"{shown(found)}."
        )
