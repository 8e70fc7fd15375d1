"""Rows of numbers, one for each sample of a batch: arrays whose last axis is the batch.

XLA's CPU compiler wants to be helped twice. Whatever is cheap it computes again wherever it is
used, gates within gates, but not a gather (`settle`); and sums over leading axes it adds one number
at a time, unless they are sums of halves (`_added`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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


def _added(array: Array, rows: int) -> Array:
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
_spread_p = _linear("spread_rows", _repeated, _added)


def take_rows(
    array: Float[Array, "rows batch"], source: Sequence[int], target: Sequence[int]
) -> Float[Array, "rows batch"]:
    """Row k of the result is row source[k]; so row k goes to row target[k]."""
    found: Array = _take_p.bind(array, source=tuple(source), target=tuple(target))
    return found


def settle(array: Float[Array, "*lead batch"]) -> Float[Array, "*lead batch"]:
    """The same, computed once."""
    flat = array.reshape(-1, array.shape[-1])
    every = range(len(flat))
    return take_rows(flat, every, every).reshape(array.shape)


def spread(array: Float[Array, "*lead batch"], rows: int) -> Float[Array, "*lead rows batch"]:
    """The same in each of so many rows."""
    found: Array = _spread_p.bind(array, rows=rows)
    return found
