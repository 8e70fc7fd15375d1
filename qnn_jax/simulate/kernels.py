"""The kernels of the state-last engine: steps applied to states, or to a device's part of one.

A state is a real array of shape (..., c, 2**n): c = 1 while it is real, else 2 (real and imaginary
part). A real gate acts on all leading axes alike, as one batched matrix product.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from qnn_jax.simulate import tuning
from qnn_jax.simulate.gf2 import Affine, columns_of, parity_signs
from qnn_jax.simulate.matrices import build, chain
from qnn_jax.simulate.steps import (
    DeviceStep,
    DiagonalStep,
    ExchangeStep,
    LocalDiagonalStep,
    MatrixStep,
    PermutationStep,
    ScannedSteps,
    SelectedMatrixStep,
    Shards,
    Step,
    UniformStep,
)
from qnn_jax.simulate.xla import HIGHEST, int32, linear, materialize, on_states, product_of

_FLAT = 2**31 - 1  # as far as int32 counts


def parameters(
    step: Step, angles: Float[Array, "*lead angles"], data: tuple[Array, ...] = ()
) -> Array:
    """What a step needs to know beside its structure: a matrix step's matrix, a phase's parities.

    A complex matrix step's matrix is the real one on real and imaginary parts, twice as wide.
    `data` is the step's part of `ScannedSteps.data`, with the leading axes of the angles.
    """
    if isinstance(step, MatrixStep):
        matrix = build(step.parts, angles)
        return matrix if step.real else _as_real(matrix)
    if isinstance(step, SelectedMatrixStep):
        return _selected_matrix(step, angles)
    if isinstance(step, UniformStep):
        return uniform_matrix(step, angles, *data)
    if isinstance(step, ExchangeStep | DeviceStep):
        return jnp.zeros((0,), angles.dtype)
    if isinstance(step, LocalDiagonalStep):
        every = parameters(step.whole, angles)
        signed = every * device_signs(step.shards, step.whole.masks, every.dtype)
        # Masks that differ on the global bits only are one on the local bits.
        at = [step.masks.index(step.shards.local(mask)) for mask in step.whole.masks]
        together = np.zeros((len(at), len(step.masks)))
        together[range(len(at)), at] = 1
        return jnp.matmul(signed, jnp.asarray(together, every.dtype), precision=HIGHEST)
    if isinstance(step, PermutationStep):
        if step.affine is None:
            return data[0]
        if step.shards is not None:
            return local_columns(step.affine, step.shards)
        return jnp.asarray(
            np.stack([columns_of(step.affine.inverse()), columns_of(step.affine)]), jnp.int32
        )
    assert isinstance(step, DiagonalStep)
    offsets = jnp.asarray(np.array(step.offsets), angles.dtype)
    if not step.terms:
        return jnp.broadcast_to(offsets, (*angles.shape[:-1], len(offsets)))
    slopes = slopes_of(step)
    # Slopes are multiples of 1/4, so whole turns of 8π may go before large sums lose them.
    turned = reduced(angles, 8 * math.pi)
    parities = product_of(turned[..., None, :], jnp.asarray(slopes, angles.dtype))[..., 0, :]
    return offsets + parities


def parameters_of(
    scan: ScannedSteps, own: Sequence[Array], data: Sequence[tuple[Array, ...]]
) -> tuple[Array, ...]:
    """The parameters of a scan's steps that take angles, from these and the data of all steps.

    Equal matrix steps are built together. Those of weights and those of inputs are not equal: under
    `vmap` only the latter are batched.
    """
    steps = [
        (step, (step.parts, reads) if isinstance(step, MatrixStep) else None, its_data)
        for step, reads, its_data in zip(scan.steps, scan.reads_inputs, data, strict=True)
        if step.num_angles
    ]
    equal: dict[object, list[int]] = {}
    for k, (_, kind, _) in enumerate(steps):
        equal.setdefault(k if kind is None else kind, []).append(k)
    found: dict[int, Array] = {}
    for places in equal.values():
        step, _, its_data = steps[places[0]]
        if len(places) == 1:
            found[places[0]] = parameters(step, own[places[0]], its_data)
        else:
            every = parameters(step, jnp.stack([own[k] for k in places]))
            found |= {k: every[j] for j, k in enumerate(places)}
    return tuple(found[k] for k in range(len(steps)))


def slopes_of(phase: DiagonalStep) -> np.ndarray:
    """By how much each angle turns each parity, shape (angles, masks)."""
    slopes = np.zeros((phase.num_angles, len(phase.masks)))
    for mask, angle, slope in phase.terms:
        slopes[angle, mask] += slope
    return slopes


def phase_signs(masks: tuple[int, ...], num_bits: int, dtype: Any) -> Array:
    """(-1)^popcount(i & mask), shape (masks, 2**num_bits)."""
    if num_bits <= tuning.current().direct_bits:
        return jnp.asarray(parity_signs(masks, num_bits), dtype)
    return _traced_signs(np.array(masks), num_bits, dtype)


def uniform_matrix(
    step: UniformStep,
    angles: Float[Array, "*lead angles"],
    scales: Float[Array, "*lead factors"],
    tables: Float[Array, "*lead factors 3 c size size"],
) -> Array:
    """The orthogonal matrix of a step, shape (..., 2**k, 2**k), k one more where not real."""
    product = tables[..., 0, :, :, :]
    if step.num_angles:
        turns = (angles * scales)[..., None, None, None]
        product = product + jnp.cos(turns) * tables[..., 1, :, :, :]
        product = product + jnp.sin(turns) * tables[..., 2, :, :, :]
    product = chain(product, _times, -4)
    if step.real:
        return product[..., 0, :, :]
    return _as_real(product)


def _selected_matrix(step: SelectedMatrixStep, angles: Float[Array, "*lead angles"]) -> Array:
    """The option of this device; all of them are made, which takes little."""
    made, start = [], 0
    for option in step.options:
        matrix = build(option.parts, angles[..., start : start + option.num_angles])
        start += option.num_angles
        if not step.real:
            matrix = jnp.stack([matrix, jnp.zeros_like(matrix)], -3) if option.real else matrix
            matrix = _as_real(matrix)
        made.append(matrix)
    return jnp.take(jnp.stack(made), option_number(step), axis=0)


def _as_real(matrix: Float[Array, "*lead 2 size size"]) -> Float[Array, "*lead wide wide"]:
    """A complex matrix as a real one on the real and then the imaginary parts."""
    re, im = matrix[..., 0, :, :], matrix[..., 1, :, :]
    return jnp.concatenate([jnp.concatenate([re, -im], -1), jnp.concatenate([im, re], -1)], -2)


def _times(left: Array, right: Array) -> Array:
    """Products of matrices in parts, shape (..., 1 or 2, size, size).

    Two wide real products: XLA's complex one takes twice as long.
    """
    if left.shape[-3] == 1:
        return jnp.matmul(left, right, precision=HIGHEST)
    wide = jnp.concatenate([right[..., 0, :, :], right[..., 1, :, :]], -1)
    by_re = jnp.matmul(left[..., 0, :, :], wide, precision=HIGHEST)
    by_im = jnp.matmul(left[..., 1, :, :], wide, precision=HIGHEST)
    size = left.shape[-1]
    return jnp.stack(
        [
            by_re[..., :size] - by_im[..., size:],
            by_re[..., size:] + by_im[..., :size],
        ],
        -3,
    )


def reduced(values: Array, period: float) -> Array:
    """Values modulo a period, nearest to 0; exact in float32, of derivative 1."""
    turns = jnp.round(values / period)
    coarse = float(np.round(period * 256) / 256)  # few bits: its multiples are exact
    return (values - turns * coarse) - turns * (period - coarse)


def apply(step: Step, parameter: Array, state: Array, inverse: bool = False) -> Array:
    """A step, or its inverse, applied to a state of shape (..., c, 2**n)."""
    if isinstance(step, DiagonalStep):
        return _apply_phase(step, parameter, state, inverse)
    if isinstance(step, MatrixStep | SelectedMatrixStep):
        return _apply_block(step, parameter, state, inverse)
    if isinstance(step, ExchangeStep):
        return exchange(state, step)
    if isinstance(step, DeviceStep):
        return on_other_device(state, step, inverse)
    if isinstance(step, UniformStep):
        matrix = jnp.swapaxes(parameter, -1, -2) if inverse else parameter
        return _multiply(matrix, state, matrix.shape[-1], 1)
    source, target = parameter[0], parameter[1]
    return move(state, target, source) if inverse else move(state, source, target)


def phase_angles(masks: tuple[int, ...], parities: Array, num_bits: int) -> Array:
    """Σ_m parities[m] (-1)^popcount(i & masks[m]) for every i, shape (2**num_bits,).

    A mask is a high and a low half, so with T holding the parities at their halves the sum is the
    matrix product H T L, with one row of signs for each half that occurs. For single qubits and
    pairs that is a few dozen rows; where all halves occur it is a Walsh-Hadamard transform.
    """
    if num_bits <= tuning.current().direct_bits:
        signs = jnp.asarray(parity_signs(masks, num_bits), parities.dtype)
        return product_of(parities[..., None, :], signs)[..., 0, :]
    high, low, rows, columns = _halves(masks, num_bits, parities.dtype)
    table = jnp.zeros((high.shape[0], low.shape[0]), parities.dtype)
    table = table.at[rows, columns].set(parities, unique_indices=True)
    inner = jnp.matmul(table, low, precision=HIGHEST)
    return jnp.matmul(high.T, inner, precision=HIGHEST).reshape(-1)


def parity_moments(masks: tuple[int, ...], values: Float[Array, " amplitudes"]) -> Array:
    """Σ_i values[i] (-1)^popcount(i & mask) for every mask: the transpose of `phase_angles`."""
    num_bits = values.shape[-1].bit_length() - 1
    if num_bits <= tuning.current().direct_bits:
        signs = jnp.asarray(parity_signs(masks, num_bits), values.dtype)
        return product_of(values[..., None, :], signs.T)[..., 0, :]
    high, low, rows, columns = _halves(masks, num_bits, values.dtype)
    tensor = values.reshape(high.shape[1], low.shape[1])
    inner = jnp.matmul(high, tensor, precision=HIGHEST)
    return jnp.matmul(inner, low.T, precision=HIGHEST)[rows, columns]


def _halves(
    masks: tuple[int, ...], num_bits: int, dtype: jnp.dtype
) -> tuple[Array, Array, np.ndarray, np.ndarray]:
    """Signs of the high and the low halves of masks, and which two halves each mask has."""
    low_bits = num_bits // 2
    highs, rows = np.unique(np.array(masks) >> low_bits, return_inverse=True)
    lows, columns = np.unique(np.array(masks) & ((1 << low_bits) - 1), return_inverse=True)
    high = _traced_signs(highs, num_bits - low_bits, dtype)
    low = _traced_signs(lows, low_bits, dtype)
    return high, low, int32(rows), int32(columns)


def _traced_signs(masks: np.ndarray, num_bits: int, dtype: jnp.dtype) -> Array:
    i = jnp.arange(1 << num_bits, dtype=jnp.uint32)[None, :]
    odd = lax.population_count(jnp.asarray(masks.astype(np.uint32))[:, None] & i) & 1
    return 1 - 2 * odd.astype(dtype)


def _factor(step: DiagonalStep, parities: Array, num_bits: int) -> tuple[Array, Array]:
    """Cosine and sine of the phases: of one axis, or a high and a low half of the bits as two."""
    low_bits = num_bits // 2
    low = [k for k, mask in enumerate(step.masks) if mask < 1 << low_bits]
    high = [k for k, mask in enumerate(step.masks) if mask & ((1 << low_bits) - 1) == 0 and mask]
    if num_bits <= tuning.current().direct_bits or len(low) + len(high) < len(step.masks):
        phases = phase_angles(step.masks, parities, num_bits)
        return jnp.cos(phases), jnp.sin(phases)
    # No mask crosses the middle: an outer product of two small tables, without a cosine for
    # every amplitude. They are stored, or XLA computes their cosines for every amplitude still.

    def half(own: list[int], shift: int, bits: int) -> tuple[Array, Array]:
        if not own:
            return jnp.ones(1 << bits, parities.dtype), jnp.zeros(1 << bits, parities.dtype)
        masks = tuple(step.masks[k] >> shift for k in own)
        phases = phase_angles(masks, parities[int32(own)], bits)
        both = materialize(jnp.concatenate([jnp.cos(phases), jnp.sin(phases)]))
        return both[: 1 << bits], both[1 << bits :]

    cos_a, sin_a = (of[:, None] for of in half(high, low_bits, num_bits - low_bits))
    cos_b, sin_b = (of[None, :] for of in half(low, 0, low_bits))
    return cos_a * cos_b - sin_a * sin_b, sin_a * cos_b + cos_a * sin_b


def _apply_phase(step: DiagonalStep, parities: Array, state: Array, inverse: bool) -> Array:
    shape = state.shape
    cos, sin = _factor(step, parities, shape[-1].bit_length() - 1)
    state = state.reshape(*shape[:-1], *cos.shape)
    parts = list(jnp.moveaxis(state, len(shape) - 2, 0))
    sin = -sin if inverse else sin
    if step.real:
        out = [part * cos for part in parts]
    elif len(parts) == 1:
        out = [parts[0] * cos, parts[0] * sin]
    else:
        re, im = parts
        out = [re * cos - im * sin, re * sin + im * cos]
    return jnp.stack(out, len(shape) - 2).reshape(*shape[:-2], len(out), shape[-1])


def _apply_block(
    step: MatrixStep | SelectedMatrixStep, matrix: Array, state: Array, inverse: bool
) -> Array:
    size, below = 1 << step.num_bits, 1 << step.base
    if inverse:
        matrix = jnp.swapaxes(matrix, -1, -2)
    if step.real:
        return _multiply(matrix, state, size, below)
    if state.shape[-2] == 1:
        state = jnp.concatenate([state, jnp.zeros_like(state)], -2)
    # One real product on both parts, brought together, instead of four.
    shape = state.shape
    tensor = state.reshape(*shape[:-1], -1, size, below)
    tensor = jnp.moveaxis(tensor, -4, -3).reshape(*shape[:-2], -1, 2 * size, below)
    tensor = on_states(matrix, tensor).reshape(*shape[:-2], -1, 2, size, below)
    return jnp.moveaxis(tensor, -3, -4).reshape(shape)


def _multiply(matrix: Array, state: Array, size: int, below: int) -> Array:
    """out[a, k, l] = Σ_j M[k, j] s[a, j, l]."""
    if size == state.shape[-1]:
        # Of all bits: in a batch, too, a tiny sum fuses with its neighbours.
        return product_of(state, jnp.swapaxes(matrix, -1, -2))
    return on_states(matrix, state.reshape(*state.shape[:-1], -1, size, below)).reshape(state.shape)


# Index maps.


def move(state: Array, source: Int[Array, " numbers"], target: Int[Array, " numbers"]) -> Array:
    """out[..., j] = state[..., source(j)]: move amplitudes along an index map.

    A linear operation whose transpose is the move back. That of a gather would be a scatter-add,
    which is slow and does not know that the map is a bijection.

    Args:
        state: shape (..., 2**n).
        source: the numbers (`columns_of`) of the map from a place to where its amplitude comes
            from; they may be traced.
        target: those of the inverse, from an amplitude to where it goes.
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


# What a device does with its part of a state: it exchanges amplitudes, and it knows its number.


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
    """The numbers of a map on this device and of its inverse, as `move` takes them."""
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
