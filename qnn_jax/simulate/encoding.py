"""From a vector to the inputs of `amplitude_encoding`."""

from __future__ import annotations

import reprlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.circuits.arrays import as_numbers
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import floating

#: How far from 1 the norm of a state may be: single precision and many amplitudes.
_NORM_TOLERANCE = 1e-3


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
    if not isinstance(vector, jax.core.Tracer) and not (vector != 0).any():
        raise InputError(
            f"Argument `vector` must not be 0 everywhere, but is {reprlib.repr(vector.tolist())}."
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
    """An argument as an array of real or complex numbers, shape (2**n,) with n of at least 1.

    Raises:
        InputError: for what is no number, for another shape, and, where the values are known, for
            NaN and infinities.
    """
    array = value
    if not isinstance(value, jax.Array):
        array = jnp.asarray(as_numbers(name, value, complex_too=True))
    if not jnp.issubdtype(array.dtype, jnp.number):
        raise InputError(f"Argument `{name}` must hold numbers, but has dtype {array.dtype}.")
    if array.ndim != 1 or array.size < 2 or array.size & (array.size - 1):
        raise InputError(
            f"Argument `{name}` must have shape (2**n,) with n of at least 1, but has shape "
            f"{array.shape}; pad it with zeros."
        )
    if not isinstance(array, jax.core.Tracer) and not jnp.isfinite(array).all():
        raise InputError(
            f"Argument `{name}` must be finite, but is {reprlib.repr(array.tolist())}."
        )
    return array.astype(floating(array))


def state_of(name: str, value: Any) -> Array:
    """The amplitudes of a state; refused where they are known and not normalised."""
    state = amplitudes_of(name, value)
    if not isinstance(state, jax.core.Tracer):
        square = float(jnp.sum(jnp.square(state.real) + jnp.square(state.imag)))
        if not abs(square - 1) <= _NORM_TOLERANCE:
            raise InputError(
                f"Argument `{name}` must be a normalised state, but the squares of its amplitudes "
                f"sum to {square:.6g}; divide it by its norm."
            )
    return state


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
