"""Rows of numbers, one for each sample of a batch: arrays whose last axis is the batch."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.simulate.xla import added, bilinear, int32, linear


def _taken_rows(array: Array, source: tuple[int, ...], target: tuple[int, ...]) -> Array:
    del target
    at = array.at[..., int32(source), :]
    return at.get(mode="promise_in_bounds", unique_indices=True)


def _repeated(array: Array, rows: int) -> Array:
    return jnp.broadcast_to(array[..., None, :], (*array.shape[:-1], rows, array.shape[-1]))


_take = linear(
    "take_rows",
    _taken_rows,
    lambda array, source, target: _taken_rows(array, target, source),
)
_repeat = linear("repeat_rows", _repeated, lambda array, rows: added(array))


def _times(matrix: Array, rows: Array) -> Array:
    """(M s)[c, p, r] = Σ_q: the parts of M at p, q times those of s at q, r."""
    terms = []
    for k in range(rows.shape[-3]):
        terms.append(matrix[..., :1, :, k, None, :] * rows[..., :, None, k, :, :])
        if matrix.shape[-4] == 2:
            terms.append(matrix[..., 1:, :, k, None, :] * _by_i(rows)[..., :, None, k, :, :])
    return functools.reduce(operator.add, terms)


def _moments(left: Array, right: Array, real: bool) -> Array:
    """(l r†)[c, p, q], a sum over rows, r† being conjugate; or no more than its real part."""
    if real:
        products = left[..., :, None, :, :] * right[..., None, :, :, :]
        parts = [products[..., c : c + 1, :, :, :, :] for c in range(left.shape[-4])]
        return added(functools.reduce(operator.add, parts))
    of_re = left[..., :1, :, None, :, :] * _conjugate(right)[..., None, :, :, :]
    of_im = left[..., 1:, :, None, :, :] * right[..., ::-1, None, :, :, :]
    return added(of_re + of_im)


def _conjugate(rows: Array) -> Array:
    return rows * _signs(rows, [1, -1]) if rows.shape[-4] == 2 else rows


def _by_i(rows: Array) -> Array:
    """Complex rows times i."""
    return rows[..., ::-1, :, :, :] * _signs(rows, [-1, 1])


def _signs(rows: Array, signs: Sequence[int]) -> Array:
    shape = (1,) * (rows.ndim - 4) + (2, 1, 1, 1)
    return jnp.asarray(np.array(signs), rows.dtype).reshape(shape)


def _adjoint(matrix: Array) -> Array:
    return _conjugate(jnp.swapaxes(matrix, -2, -3))


# Each one's derivatives are the other: written out, and not left to JAX, for which they would be
# sums over padded slices.
_times_rows: Callable[..., Array] = bilinear(
    "times_rows",
    _times,
    lambda cotangent, matrix, rows: _moments_of_rows(cotangent, rows, real=matrix.shape[-4] == 1),
    lambda cotangent, matrix, rows: _times_rows(_adjoint(matrix), cotangent),
)
_moments_of_rows: Callable[..., Array] = bilinear(
    "moments_of_rows",
    _moments,
    lambda cotangent, left, right, real: _times_rows(cotangent, right),
    lambda cotangent, left, right, real: _times_rows(_adjoint(cotangent), left),
)


def times_rows(
    matrix: Float[Array, "m out inner batch"], rows: Float[Array, "c inner rows batch"]
) -> Float[Array, "c out rows batch"]:
    """Every sample's small matrix times its rows.

    The first axis is that of real and imaginary part; both have it, or neither, or the rows alone.
    """
    return _times_rows(matrix, rows)


def take_rows(
    array: Float[Array, "rows batch"], source: Sequence[int], target: Sequence[int]
) -> Float[Array, "rows batch"]:
    """Row k of the result is row source[k]; so row k goes to row target[k]."""
    return _take(array, source=tuple(source), target=tuple(target))


def repeat_rows(array: Float[Array, "*lead batch"], rows: int) -> Float[Array, "*lead rows batch"]:
    """The same in each of so many rows."""
    return _repeat(array, rows=rows)
