"""From a vector to the inputs of `amplitude_encoding`."""

from __future__ import annotations

import reprlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.errors import InputError


def amplitude_angles(vector: Float[Array, " amplitudes"]) -> Float[Array, " inputs"]:
    """The inputs with which `amplitude_encoding` prepares `vector`, divided by its norm.

    The equations stand in `qnn_jax.circuits.library.amplitude_encoding`. Differentiable, also
    where amplitudes vanish: a branch without amplitude has the angle 0 and the derivative 0.

    Args:
        vector: shape (2**n,) with n of at least 1; real, in Qiskit's order. A complex one is for
            `amplitude_encoding(n, phases=True)`.

    Returns:
        Shape (2**n - 1,), or (2**(n + 1) - 1,) for a complex vector; radians.

    Raises:
        InputError: where the length is no power of 2 of at least 2, or, outside of jit, the vector
            vanishes or holds NaN or infinity.

    >>> from qnn_jax import amplitude_encoding, statevector
    >>> angles = amplitude_angles(jnp.array([3.0, 0.0, 0.0, -4.0]))
    >>> print(statevector(amplitude_encoding(2), angles, []).real.round(3) + 0)
    [ 0.6  0.   0.  -0.8]
    """
    vector = amplitudes_of("vector", vector)
    if vector.ndim != 1 or vector.size < 2 or vector.size & (vector.size - 1):
        raise InputError(
            "Argument `vector` must have shape (2**n,) with n of at least 1, but has shape "
            f"{vector.shape}; pad it with zeros."
        )
    if not isinstance(vector, jax.core.Tracer) and not (
        jnp.isfinite(vector).all() and (vector != 0).any()
    ):
        raise InputError(
            "Argument `vector` must be finite and not 0 everywhere, but is "
            f"{reprlib.repr(vector.tolist())}."
        )
    is_complex = jnp.iscomplexobj(vector)
    levels = vector.size.bit_length() - 1
    square = jnp.square(vector.real) + jnp.square(vector.imag)
    turns = []
    for level in range(levels):
        if level == levels - 1 and not is_complex:
            low, high = vector[0::2], vector[1::2]
        else:
            halves = square.reshape(2 ** (level + 1), -1).sum(axis=1)
            low, high = _root(halves[0::2]), _root(halves[1::2])
        turns.append(_inputs(2 * _angle(high, low)))
    if not is_complex:
        return jnp.concatenate(turns)
    phases = _angle(vector.imag, vector.real)
    for level in range(levels):
        means = phases.reshape(2 ** (level + 1), -1).mean(axis=1)
        turns.append(_inputs(means[1::2] - means[0::2]))
    return jnp.concatenate([*turns, phases.mean()[None]])


def amplitudes_of(name: str, value: Any) -> Array:
    """An argument as an array of floating-point or complex numbers."""
    try:
        array = jnp.asarray(value)
        # Squares of bytes would be taken modulo 256.
        return array.astype(jnp.promote_types(jnp.result_type(array, float), jnp.float32))
    except (TypeError, ValueError):
        raise InputError(
            f"Argument `{name}` must hold numbers, but is {reprlib.repr(value)}."
        ) from None


def _root(value: Array) -> Array:
    """The square root, with the derivative 0 at 0."""
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1)), 0)


def _angle(y: Array, x: Array) -> Array:
    """The angle of the point (x, y): 0 with the derivative 0 at the origin."""
    nowhere = (x == 0) & (y == 0)
    return jnp.where(nowhere, 0, jnp.arctan2(y, jnp.where(nowhere, 1, x)))


def _inputs(branches: Array) -> Array:
    """The Walsh transform of the branches' angles, in the order of the Gray code."""
    size = branches.size
    levels = size.bit_length() - 1
    transformed = branches.reshape((2,) * levels)
    for axis in range(levels):
        zero, one = jnp.split(transformed, 2, axis)
        transformed = jnp.concatenate([zero + one, zero - one], axis)
    number = np.arange(size)
    return transformed.reshape(-1)[number ^ (number >> 1)] / size
