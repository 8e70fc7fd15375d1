"""Checks that several diagnostics share; each refuses in one sentence."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array

from qnn_jax.circuits.circuit import Circuit
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import checked_vectors

#: What diagnostics take: JAX's arrays or NumPy's.
AnyArray: TypeAlias = Array | np.ndarray


def checked_samples(circuit: Circuit, inputs: Any) -> np.ndarray:
    """Inputs of at least one sample, shape (samples, circuit.num_inputs), float64.

    Raises:
        InputError: for another shape, what is no real number, NaN and infinities.
    """
    array = _real("inputs", inputs)
    if array.ndim != 2 or array.shape[1] != circuit.num_inputs or not len(array):
        raise InputError(
            f"Argument `inputs` must have shape (samples, {circuit.num_inputs}) with at least one "
            f"sample, but has shape {array.shape}."
        )
    return array


def checked_targets(targets: Any, samples: int) -> np.ndarray:
    """One real target for each sample, shape (samples,), float64."""
    array = _real("targets", targets)
    if array.shape != (samples,):
        raise InputError(
            f"Argument `targets` must have shape ({samples},), one for each of the inputs, but has "
            f"shape {array.shape}."
        )
    return array


def checked_weights(circuit: Circuit, weights: Any) -> np.ndarray:
    """The weights, shape (circuit.num_weights,), float64."""
    checked_vectors(circuit, np.zeros(circuit.num_inputs), weights)
    return np.asarray(weights, float).reshape(circuit.num_weights)


def _real(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        raise InputError(f"Argument `{name}` must hold real numbers, but is {value!r}.") from None
    if not np.all(np.isfinite(array)):
        raise InputError(f"Argument `{name}` must be finite, but holds NaN or infinity.")
    return array
