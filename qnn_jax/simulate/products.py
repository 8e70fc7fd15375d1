"""Products of matrices, of which many are so small that calling a library takes longer."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

_HIGHEST = lax.Precision.HIGHEST  # float32 stays float32 on GPUs too
_TINY, _NARROW = 8, 16  # terms and columns of what is always written as a sum
_FEW = 2048  # multiplications of what is a sum unless it is batched


def of_one_rank(*arrays: Array) -> list[Array]:
    """Arrays with axes of length 1 in front: users may forbid JAX to add them by itself."""
    rank = max(array.ndim for array in arrays)
    return [array.reshape((1,) * (rank - array.ndim) + array.shape) for array in arrays]


def product_of(left: Array, right: Array) -> Array:
    """The matrix product; one of few terms is written as a sum.

    XLA calls a library for every product of matrices, which takes longer than the arithmetic of a
    tiny one; sums fuse with what comes before and after them. Not so for wider results: what is
    fused is computed anew for every entry, cosines included.

    The axes in front become one: the CPU library that jaxlib 0.10 gives such sums to crashes the
    process for some of seven axes, one of them of length 1 (`tests/simulate/test_gradients.py`).
    """
    if left.shape[-1] > _TINY or right.shape[-1] > _NARROW:
        return jnp.matmul(left, right, precision=_HIGHEST)
    if right.ndim == 2:
        flat = left.reshape(math.prod(left.shape[:-1]), left.shape[-1])
        return _sum_of(flat, right).reshape(*left.shape[:-1], right.shape[-1])
    lead = right.shape[:-2]
    left, right = (a.reshape(math.prod(a.shape[:-2]), *a.shape[-2:]) for a in (left, right))
    product = jnp.sum(left[:, :, :, None] * right[:, None, :, :], 2)
    return product.reshape(*lead, *product.shape[1:])


def on_states(
    matrix: Float[Array, "rows size"], states: Float[Array, "*lead size below"]
) -> Float[Array, "*lead rows below"]:
    """out[…, k, l] = Σ_j M[k, j] s[…, j, l]."""
    *lead, size, below = states.shape
    count, rows = math.prod(lead), matrix.shape[0]
    few = rows * states.size <= _FEW
    if below == 1:
        flat = states.reshape(count, size)
        transposed = jnp.swapaxes(matrix, -1, -2)
        # In a batch of states alone one large product, and XLA transposes nothing for its gradient.
        plain = functools.partial(jnp.matmul, precision=_HIGHEST)
        out = (_product if few else plain)(flat, transposed)
        return out.reshape(*lead, rows, 1)
    if few:
        wide = jnp.moveaxis(states.reshape(count, size, below), 0, 1).reshape(size, -1)
        out = _product(matrix, wide).reshape(rows, count, below)
        return jnp.moveaxis(out, 1, 0).reshape(*lead, rows, below)
    # With the matrix repeated: XLA's code for a single product with the index split in two moves
    # the whole state twice.
    matrix = jnp.broadcast_to(matrix, (*lead, *matrix.shape))
    return jnp.matmul(matrix, states, precision=_HIGHEST)


def _sum_of(left: Float[Array, "rows inner"], right: Float[Array, "inner columns"]) -> Array:
    return jnp.sum(left[:, :, None] * right[None, :, :], 1)


def _product(left: Array, right: Array) -> Array:
    """The product of two matrices, as a sum where it is small and alone.

    As a primitive of JAX it knows whether it is alone: for a batch of matrices a library is better.
    """
    found: Array = _product_p.bind(left, right)
    return found


def _computed(left: Array, right: Array) -> Array:
    if left.ndim == 2 and left.size * right.shape[-1] <= _FEW:
        return _sum_of(left, right)
    return jnp.matmul(left, right, precision=_HIGHEST)


def _abstract(left: Any, right: Any) -> Any:
    return ShapedArray((*left.shape[:-1], right.shape[-1]), left.dtype)


def _batch(arguments: Any, axes: Any) -> Any:
    left, right = arguments
    size = next(a.shape[k] for a, k in zip(arguments, axes, strict=True) if k is not None)
    if axes[1] is None and right.ndim == 2:
        left = jnp.moveaxis(left, axes[0], 0)
        flat = _product(left.reshape(-1, left.shape[-1]), right)
        return flat.reshape(*left.shape[:-1], right.shape[-1]), 0
    if axes[0] is None and left.ndim == 2:
        right = jnp.moveaxis(right, axes[1], 1)
        flat = _product(left, right.reshape(right.shape[0], -1))
        return flat.reshape(flat.shape[0], *right.shape[1:]), 1
    left, right = (
        jnp.broadcast_to(a, (size, *a.shape)) if k is None else jnp.moveaxis(a, k, 0)
        for a, k in zip(arguments, axes, strict=True)
    )
    return _product(left, right), 0


_product_p: Any = Primitive("product")
_product_p.def_impl(_computed)
_product_p.def_abstract_eval(_abstract)
mlir.register_lowering(_product_p, mlir.lower_fun(_computed, multiple_results=False))
batching.primitive_batchers[_product_p] = _batch
ad.defbilinear(
    _product_p,
    lambda cotangent, left, right: _product(cotangent, jnp.swapaxes(right, -1, -2)),
    lambda cotangent, left, right: _product(jnp.swapaxes(left, -1, -2), cotangent),
)
