"""What a device does with its part of a state: it exchanges amplitudes, and it knows its number."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from qnn_jax.simulate.gf2 import Affine
from qnn_jax.simulate.moves import columns_of
from qnn_jax.simulate.steps import DeviceStep, ExchangeStep, SelectedMatrixStep, Shards
from qnn_jax.simulate.xla import linear


def device_number(shards: Shards) -> Int[Array, ""]:
    """The number of this device: the global bits."""
    return lax.axis_index(shards.axis)


def device_signs(shards: Shards, masks: Sequence[int], dtype: Any) -> Float[Array, " masks"]:
    """(-1)^parity of the global bits under masks of all bits."""
    high = jnp.asarray(np.array([mask >> shards.local_bits for mask in masks], np.int32))
    odd = lax.population_count(high & device_number(shards)) & 1
    return 1 - 2 * odd.astype(dtype)


def option_number(step: SelectedMatrixStep) -> Int[Array, ""]:
    """Which of the matrices this device multiplies by."""
    device = device_number(step.shards)
    bits = [
        (lax.population_count(device & mask) & 1 ^ sign) << k
        for k, (mask, sign) in enumerate(step.controls)
    ]
    return functools.reduce(jnp.bitwise_or, bits)


def local_columns(affine: Affine, shards: Shards) -> Int[Array, "2 numbers"]:
    """The numbers of a map on this device and of its inverse, as `moves.move` takes them."""
    device = device_number(shards)
    found = []
    for one in (affine.inverse(), affine):
        own = Affine(tuple(one.columns[: shards.local_bits]), shards.local(one.offset))
        columns = jnp.asarray(columns_of(own))
        for k in range(shards.num_bits):
            turn = shards.local(one.columns[shards.local_bits + k])
            if turn:
                columns = columns.at[-1].set(columns[-1] ^ (-(device >> k & 1) & turn))
        found.append(columns)
    return jnp.stack(found)


def _exchanged(state: Array, *, step: ExchangeStep) -> Array:
    shards, count = step.shards, len(step.bits)
    assert list(step.bits) == sorted(step.bits), "a group of all devices has them in order"
    mask = sum(1 << bit for bit in step.bits)
    numbers = [
        sum((k >> j & 1) << bit for j, bit in enumerate(step.bits)) for k in range(1 << count)
    ]
    groups = [
        [rest | number for number in numbers]
        for rest in range(1 << shards.num_bits)
        if not rest & mask
    ]
    parts = state.reshape(*state.shape[:-1], 1 << count, -1)
    axis = parts.ndim - 2
    parts = lax.all_to_all(
        parts,
        shards.axis,
        axis,
        axis,
        axis_index_groups=groups if len(groups) > 1 else None,
        tiled=True,
    )
    return parts.reshape(state.shape)


#: `lax.all_to_all` among groups of devices has no rule for batches.
_exchange = linear("exchange_amplitudes", _exchanged, _exchanged)


def exchange(state: Array, step: ExchangeStep) -> Array:
    """The step, which is its own inverse, on a state of shape (..., 2**local_bits)."""
    return _exchange(state, step=step)


def on_other_device(state: Array, step: DeviceStep, inverse: bool) -> Array:
    """The step or its inverse."""
    affine = step.affine.inverse() if inverse else step.affine
    pairs = [(device, affine(device)) for device in range(1 << step.shards.num_bits)]
    return lax.ppermute(state, step.shards.axis, pairs)
