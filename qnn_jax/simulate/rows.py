"""Rows of numbers, one for each sample of a batch: arrays whose last axis is the batch.

XLA's CPU compiler wants to be helped twice. Whatever is cheap it computes again wherever it is
used, gates within gates, but not a gather (`settle`); and sums over leading axes it adds one number
at a time, unless they are sums of halves (`_added`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


def _linear(name: str, forward: Callable[..., Array], backward: Callable[..., Array]) -> Any:
    """A linear operation on the last two axes as a primitive, and its transpose as another."""
    pair = []
    for word, function in ((name, forward), (name + "_transposed", backward)):
        primitive: Any = Primitive(word)
        primitive.def_impl(function)
        lowered = mlir.lower_fun(function, multiple_results=False)
        mlir.register_lowering(primitive, lowered)

        def abstract(array: Any, function: Any = function, **static: Any) -> Any:
            found = jax.eval_shape(lambda a: function(a, **static), array)
            return ShapedArray(found.shape, found.dtype)

        def batch(arguments: Any, axes: Any, primitive: Any = primitive, **static: Any) -> Any:
            return primitive.bind(jnp.moveaxis(arguments[0], axes[0], 0), **static), 0

        primitive.def_abstract_eval(abstract)
        batching.primitive_batchers[primitive] = batch
        pair.append(primitive)
    for one, other in (pair, pair[::-1]):
        ad.deflinear2(
            one, lambda cotangent, _, other=other, **static: [other.bind(cotangent, **static)]
        )
    return pair[0]


def _taken_rows(array: Array, source: tuple[int, ...], target: tuple[int, ...]) -> Array:
    del target
    at = array.at[..., np.array(source, np.int32), :]
    return at.get(mode="promise_in_bounds", unique_indices=True)


def _gathered(array: Array) -> Array:
    every = lax.iota(np.int32, array.shape[-2])
    return array.at[..., every, :].get(mode="promise_in_bounds", unique_indices=True)


def _added(array: Array, **_: int) -> Array:
    """The sum over the last axis but one, by halves."""
    while (count := array.shape[-2]) > 1:
        half = count // 2
        rest = array[..., 2 * half :, :]
        array = array[..., :half, :] + array[..., half : 2 * half, :]
        if rest.shape[-2]:
            array = jnp.concatenate([array, rest], -2)
    return array[..., 0, :]


def _repeated(array: Array, rows: int) -> Array:
    return jnp.broadcast_to(array[..., None, :], (*array.shape[:-1], rows, array.shape[-1]))


_take_p = _linear(
    "take_rows",
    _taken_rows,
    lambda array, source, target: _taken_rows(array, target, source),
)
_settle_p = _linear("settle", _gathered, _gathered)
_repeat_p = _linear("repeat_rows", _repeated, _added)


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
        return _added(functools.reduce(operator.add, parts))
    of_re = left[..., :1, :, None, :, :] * _conjugate(right)[..., None, :, :, :]
    of_im = left[..., 1:, :, None, :, :] * right[..., ::-1, None, :, :, :]
    return _added(of_re + of_im)


def _conjugate(rows: Array) -> Array:
    return rows * _signs(rows, [1, -1]) if rows.shape[-4] == 2 else rows


def _by_i(rows: Array) -> Array:
    """Complex rows times i."""
    return rows[..., ::-1, :, :, :] * _signs(rows, [-1, 1])


def _signs(rows: Array, signs: Sequence[int]) -> Array:
    shape = (1,) * (rows.ndim - 4) + (2, 1, 1, 1)
    return jnp.asarray(np.array(signs), rows.dtype).reshape(shape)


def _bilinear(name: str, function: Callable[..., Array]) -> Any:
    """A bilinear operation on the last four axes as a primitive."""
    primitive: Any = Primitive(name)
    primitive.def_impl(function)
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))

    def abstract(left: Any, right: Any, **static: Any) -> Any:
        found = jax.eval_shape(functools.partial(function, **static), left, right)
        return ShapedArray(found.shape, found.dtype)

    def batch(arguments: Any, axes: Any, **static: Any) -> Any:
        size = next(a.shape[k] for a, k in zip(arguments, axes, strict=True) if k is not None)
        both = [
            jnp.broadcast_to(a, (size, *a.shape)) if k is None else jnp.moveaxis(a, k, 0)
            for a, k in zip(arguments, axes, strict=True)
        ]
        return primitive.bind(*both, **static), 0

    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    return primitive


_times_p = _bilinear("times_rows", _times)
_moments_p = _bilinear("moments_of_rows", _moments)


def _adjoint(matrix: Array) -> Array:
    return _conjugate(jnp.swapaxes(matrix, -2, -3))


# Each one's derivatives are the other: written out, and not left to JAX, for which they would be
# sums over padded slices.
ad.defbilinear(
    _times_p,
    lambda cotangent, matrix, rows: _moments_p.bind(
        cotangent, rows, real=matrix.aval.shape[-4] == 1
    ),
    lambda cotangent, matrix, rows: _times_p.bind(_adjoint(matrix), cotangent),
)
ad.defbilinear(
    _moments_p,
    lambda cotangent, left, right, real: _times_p.bind(cotangent, right),
    lambda cotangent, left, right, real: _times_p.bind(_adjoint(cotangent), left),
)


def times_rows(
    matrix: Float[Array, "m out inner batch"], rows: Float[Array, "c inner rows batch"]
) -> Float[Array, "c out rows batch"]:
    """Every sample's small matrix times its rows.

    The first axis is that of real and imaginary part; both have it, or neither, or the rows alone.
    """
    found: Array = _times_p.bind(matrix, rows)
    return found


def take_rows(
    array: Float[Array, "rows batch"], source: Sequence[int], target: Sequence[int]
) -> Float[Array, "rows batch"]:
    """Row k of the result is row source[k]; so row k goes to row target[k]."""
    found: Array = _take_p.bind(array, source=tuple(source), target=tuple(target))
    return found


def settle(array: Array) -> Array:
    """The same, of any shape, computed once."""
    flat = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
    found: Array = _settle_p.bind(flat)
    return found.reshape(array.shape)


def repeat_rows(array: Float[Array, "*lead batch"], rows: int) -> Float[Array, "*lead rows batch"]:
    """The same in each of so many rows."""
    found: Array = _repeat_p.bind(array, rows=rows)
    return found
