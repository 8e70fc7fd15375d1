"""Index maps as a linear operation of JAX whose transpose is the inverse map, not a scatter-add.

A gather's transpose is a scatter-add, which is slow and does not know that the map is a bijection.
So moving amplitudes is an operation of its own, whose transpose is the move back.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from qnn_jax.simulate import tuning
from qnn_jax.simulate.gf2 import Affine, IndexMap
from qnn_jax.simulate.xla import linear

_FLAT = 2**31 - 1  # as far as int32 counts


def columns_of(index_map: Affine | IndexMap, num_toffolis: int = 0) -> np.ndarray:
    """A map as numbers: its columns, its offset, and what each Toffoli flips.

    The parities that control Toffoli t are bits n + 2t and n + 2t + 1 of all these numbers, as if
    they were bits of an index: so an affine map yields them beside the index, and each Toffoli
    changes those of the later ones.

    Args:
        index_map: the map.
        num_toffolis: how many it has, or more; those left over flip nothing.

    Returns:
        Shape (n + 1 + num_toffolis,).
    """
    if isinstance(index_map, Affine):
        index_map = IndexMap(index_map)
    affine, toffolis = index_map.affine, index_map.toffolis
    n = len(affine.columns)
    controls = [control for toffoli in toffolis for control in toffoli.controls]

    def with_parities(bits: int, signs: bool = False) -> int:
        parities = [(bits & mask).bit_count() & 1 ^ (sign & signs) for mask, sign in controls]
        return bits | sum(parity << (n + k) for k, parity in enumerate(parities))

    numbers = [*map(with_parities, affine.columns), with_parities(affine.offset, signs=True)]
    numbers += [with_parities(toffoli.flip) for toffoli in toffolis]
    return np.array(numbers + [0] * (num_toffolis - len(toffolis)), np.int32)


def move(state: Array, source: Int[Array, " numbers"], target: Int[Array, " numbers"]) -> Array:
    """Move amplitudes along an affine map over GF(2), and Toffolis behind it.

    Args:
        state: shape (..., 2**n).
        source: the numbers (`columns_of`) of the map from a place to where its amplitude comes
            from; they may be traced.
        target: those of the inverse, from an amplitude to where it goes.

    Returns:
        out[..., j] = state[..., source(j)].
    """
    return _move(state, jnp.asarray(source), jnp.asarray(target))


def _indices(columns: Array, n: int) -> Array:
    """The images of 0, 1, …, 2**n - 1: two small tables, one XOR for each number."""
    low = n // 2

    def table(part: Array) -> Array:
        size = part.shape[0]
        bits = jnp.arange(1 << size, dtype=columns.dtype)[:, None] >> np.arange(size)[None, :] & 1
        return lax.reduce(bits * part[None, :], np.int32(0), lax.bitwise_xor, (1,))

    indices = table(columns[low:n])[:, None] ^ table(columns[:low])[None, :]
    indices = indices.reshape(-1) ^ columns[n]
    num_toffolis = columns.shape[0] - n - 1
    for t in range(num_toffolis):
        on = (indices >> (n + 2 * t)) & (indices >> (n + 2 * t + 1)) & 1
        indices = indices ^ (-on & columns[n + 1 + t])
    return indices & (2**n - 1) if num_toffolis else indices


def _gather(state: Array, source: Array, target: Array) -> Array:
    del target
    amplitudes = state.shape[-1]
    indices = _indices(source, amplitudes.bit_length() - 1)
    rows = state.size // amplitudes
    if rows * amplitudes > _FLAT:
        return state.at[..., indices].get(mode="promise_in_bounds", unique_indices=True)
    # Flat gathers: with leading axes XLA would gather columns and transpose the result. One is
    # a shorter program; one a row takes indices of one row, which are half a state.
    if rows == 2 and amplitudes >= tuning.current().one_row_gather_from:
        return jnp.stack([_taken(part, indices) for part in state.reshape(2, -1)]).reshape(
            state.shape
        )
    places = jnp.arange(rows, dtype=indices.dtype)[:, None] * amplitudes + indices[None, :]
    return _taken(state.reshape(-1), places.reshape(-1)).reshape(state.shape)


def _taken(flat: Array, indices: Array) -> Array:
    return flat.at[indices].get(mode="promise_in_bounds", unique_indices=True)


_move = linear(
    "move_amplitudes", _gather, lambda state, source, target: _gather(state, target, source)
)
