"""Index maps as a linear operation of JAX whose transpose is the inverse map, not a scatter-add.

A gather's transpose is a scatter-add, which is slow and does not know that the map is a bijection.
So moving amplitudes is a primitive of its own: it is its own tangent map, its transpose is the
move back, and a batch is one more leading axis.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Int

from qnn_jax.simulate.bits import Affine

_FLAT = 2**31 - 1  # as far as int32 counts
_LARGE = 2**18  # amplitudes of a state that memory is short for


def columns_of(affine: Affine) -> np.ndarray:
    """The columns of a map and then its offset, shape (n + 1,)."""
    return np.array([*affine.columns, affine.offset], np.int32)


def move(state: Array, source: Int[Array, " columns"], target: Int[Array, " columns"]) -> Array:
    """Move amplitudes along an affine map over GF(2).

    Args:
        state: shape (..., 2**n).
        source: the columns and the offset of the map from a place to where its amplitude comes
            from, shape (n + 1,); they may be traced.
        target: those of the inverse, from an amplitude to where it goes.

    Returns:
        out[..., j] = state[..., source(j)].
    """
    return _move_p.bind(state, jnp.asarray(source), jnp.asarray(target))


def _indices(columns: Array) -> Array:
    """The images of 0, 1, …, 2**n - 1: two small tables, one XOR for each number."""
    n = columns.shape[0] - 1
    low = n // 2

    def table(part: Array) -> Array:
        size = part.shape[0]
        bits = jnp.arange(1 << size, dtype=columns.dtype)[:, None] >> np.arange(size)[None, :] & 1
        return lax.reduce(bits * part[None, :], np.int32(0), lax.bitwise_xor, (1,))

    indices = table(columns[low:n])[:, None] ^ table(columns[:low])[None, :]
    return indices.reshape(-1) ^ columns[n]


def _gather(state: Array, source: Array, target: Array) -> Array:
    del target
    indices = _indices(source)
    amplitudes = state.shape[-1]
    rows = state.size // amplitudes
    if rows * amplitudes > _FLAT:
        return state.at[..., indices].get(mode="promise_in_bounds", unique_indices=True)
    # Flat gathers: with leading axes XLA would gather columns and transpose the result. One is
    # a shorter program; one a row takes indices of one row, which are half a state.
    if rows == 2 and amplitudes >= _LARGE:
        return jnp.stack([_taken(part, indices) for part in state.reshape(2, -1)]).reshape(
            state.shape
        )
    places = jnp.arange(rows, dtype=indices.dtype)[:, None] * amplitudes + indices[None, :]
    return _taken(state.reshape(-1), places.reshape(-1)).reshape(state.shape)


def _taken(flat: Array, indices: Array) -> Array:
    return flat.at[indices].get(mode="promise_in_bounds", unique_indices=True)


_move_p: Any = Primitive("move_amplitudes")


def _abstract(state: Any, source: Any, target: Any) -> Any:
    return ShapedArray(state.shape, state.dtype)


def _jvp(primals: Any, tangents: Any) -> Any:
    state, source, target = primals
    out = _move_p.bind(state, source, target)
    return out, _move_p.bind(tangents[0], source, target)


def _transpose(cotangent: Any, state: Any, source: Any, target: Any) -> Any:
    if isinstance(cotangent, ad.Zero):
        return ad.Zero(state.aval), None, None
    return _move_p.bind(cotangent, target, source), None, None


def _batch(arguments: Any, axes: Any) -> Any:
    state, source, target = arguments
    assert tuple(axes[1:]) == (None, None), "an index map depends on the circuit alone"
    return _move_p.bind(jnp.moveaxis(state, axes[0], 0), source, target), 0


_move_p.def_impl(_gather)
_move_p.def_abstract_eval(_abstract)
mlir.register_lowering(_move_p, mlir.lower_fun(_gather, multiple_results=False))
ad.primitive_jvps[_move_p] = _jvp
ad.primitive_transposes[_move_p] = _transpose
batching.primitive_batchers[_move_p] = _batch
