"""Fused gates, and their matrix at given angles.

`FusedGates` are static. They are equal for every part of a step that has the same gates on the same
bits, so the matrices of all such parts, in all repeats of a scan, are built at once.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from qnn_jax.simulate.gate_forms import NUM_FEATURES, GateForm, Instruction, features
from qnn_jax.simulate.xla import int32, product_of


@dataclass(frozen=True)
class Constant:
    """A constant matrix, compared by value."""

    key: bytes = field(repr=False)
    matrix: np.ndarray = field(compare=False)

    @staticmethod
    def of(matrix: np.ndarray) -> Constant:
        """Wrap a matrix; real where it is."""
        if np.iscomplexobj(matrix) and np.max(abs(matrix.imag), initial=0) < 1e-14:
            matrix = matrix.real
        matrix = np.ascontiguousarray(matrix)
        matrix = matrix + 0.0  # no negative zeros: they compare unequal as bytes
        return Constant(matrix.tobytes(), matrix)


@dataclass(frozen=True)
class FusedLayer:
    """Gates on disjoint bits, and after them a constant matrix."""

    factors: tuple[tuple[GateForm, tuple[int, ...]], ...]
    constant: Constant | None = None


@dataclass(frozen=True)
class FusedGates:
    """A part of a matrix step: a constant, then layers, in the order of application."""

    num_bits: int
    layers: tuple[FusedLayer, ...]
    first: Constant | None = None

    @functools.cached_property
    def num_angles(self) -> int:
        """How many angles it takes."""
        return sum(len(layer.factors) for layer in self.layers)

    @functools.cached_property
    def real(self) -> bool:
        """Is its matrix real at every angle?"""
        constants = [self.first, *(layer.constant for layer in self.layers)]
        return all(form.real for e in self.layers for form, _ in e.factors) and not any(
            c is not None and np.iscomplexobj(c.matrix) for c in constants
        )

    @functools.cached_property
    def is_identity(self) -> bool:
        """Does it do nothing?"""
        return not self.layers and self.first is None


def embed(matrix: np.ndarray, bits: Sequence[int], num_bits: int) -> np.ndarray:
    """A matrix on some bits as a matrix on all; leading axes are kept."""
    delta, inside = _masks(tuple(bits), num_bits)
    rows, columns = inside[:, None], inside[None, :]
    return np.where(delta, matrix[..., rows, columns], 0)


@functools.cache
def _masks(bits: tuple[int, ...], num_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Where all other bits agree; and each number's bits at `bits`."""
    i = np.arange(1 << num_bits)
    inside = sum(((i >> b & 1) << k for k, b in enumerate(bits)), start=np.zeros_like(i))
    rest = i & ~sum(1 << b for b in bits)
    return rest[:, None] == rest[None, :], inside


def fused_gates(
    instructions: Sequence[Instruction | np.ndarray], bit_of: dict[int, int], num_bits: int
) -> tuple[FusedGates, list[Instruction]]:
    """Gates and constant matrices on all bits, fused; and the gates that the angles belong to."""
    constant: np.ndarray | None = None
    first: Constant | None = None
    layers: list[FusedLayer] = []
    members: list[Instruction] = []
    factors: list[tuple[Instruction, tuple[int, ...]]] = []

    def close() -> None:
        nonlocal constant, first, factors
        after = None if constant is None else Constant.of(constant)
        if factors:
            forms = tuple((instruction.form, bits) for instruction, bits in factors)
            layers.append(FusedLayer(forms, after))
            members.extend(instruction for instruction, _ in factors)
        else:
            first = after
        constant, factors = None, []

    for instruction in instructions:
        if isinstance(instruction, np.ndarray):
            constant = instruction if constant is None else instruction @ constant
            continue
        bits = tuple(bit_of[q] for q in instruction.qubits)
        if instruction.angle is None:
            matrix = embed(instruction.form.matrix(), bits, num_bits)
            constant = matrix if constant is None else matrix @ constant
            continue
        busy = {b for _, other in factors for b in other}
        if constant is not None or busy & set(bits):
            close()
        factors.append((instruction, bits))
    close()
    if first is not None and np.allclose(first.matrix, np.eye(1 << num_bits), atol=1e-14, rtol=0):
        first = None
    return FusedGates(num_bits, tuple(layers), first), members


@functools.lru_cache(maxsize=1024)
def _factor_tables(layer: FusedLayer, num_bits: int) -> list[tuple[list[int], np.ndarray]]:
    """For each factor the features it uses and their coefficients on the whole matrix step.

    The layer's matrix is the product, entry by entry, of its factors' tables: a Kronecker
    product without transposes. Bits that no factor touches must agree; the first table says so.
    """
    size = 1 << num_bits
    tables = []
    touched: tuple[int, ...] = ()
    for form, bits in layer.factors:
        touched += bits
        _, inside = _masks(bits, num_bits)
        wide = form.coefficients[:, inside[:, None], inside[None, :]]
        used = [f for f in range(NUM_FEATURES) if np.any(abs(form.coefficients[f]) > 1e-12)]
        tables.append((used, wide[used].real if form.real else wide[used]))
    delta, _ = _masks(touched, num_bits)
    used, table = tables[0]
    tables[0] = (used, np.where(delta, table, 0))
    return [(used, table.reshape(len(used), size * size)) for used, table in tables]


def build(parts: Sequence[FusedGates], angles: Float[Array, "*lead angles"]) -> Array:
    """Kronecker products of fused gates' matrices.

    Args:
        parts: what they are made of, from the lowest bits up.
        angles: shape (..., angles of all parts), in radians.

    Returns:
        Shape (..., 2**k, 2**k), or (..., 2, 2**k, 2**k) with real and imaginary part where one of
        them is not real.
    """
    lead = angles.shape[:-1]
    stacks = _stacks(parts, angles.reshape(math.prod(lead), angles.shape[-1]))
    product = _product(parts, stacks)
    return product.reshape(*lead, *product.shape[1:])


def build_columns(
    groups: Sequence[Sequence[FusedGates]], angles: Float[Array, " angles"]
) -> list[Float[Array, "c size"]]:
    """What becomes of |0…0>: for each group a Kronecker product, equal fused gates built together.

    Args:
        groups: of fused gates, from the lowest bits up.
        angles: of all groups, one after the other.
    """
    parts = [part for group in groups for part in group]
    stacks = _stacks([part for part in parts if not part.is_identity], angles[None])
    columns = {part: stack[..., 0] for part, stack in stacks.items()}
    for part, count in Counter(part for part in parts if part.is_identity).items():
        idle = jnp.zeros((1, count, 1 << part.num_bits), angles.dtype)
        columns[part] = idle.at[..., 0].set(1)
    products = [_product(group, columns) for group in groups]
    return [product.reshape(-1, product.shape[-1]) for product in products]


def _stacks(
    parts: Sequence[FusedGates], angles: Float[Array, "lead angles"]
) -> dict[FusedGates, Float[Array, "lead places size size"]]:
    """The matrices of all parts, those of equal parts built together, in the order of places."""
    starts: dict[FusedGates, list[int]] = {}
    position = 0
    for part in parts:
        starts.setdefault(part, []).append(position)
        position += part.num_angles
    stacks: dict[FusedGates, Array] = {}
    for part, own in starts.items():
        picked = _picked(angles, np.array(own), part.num_angles)
        matrices = _matrices(part, picked.reshape(len(angles) * len(own), part.num_angles))
        stacks[part] = matrices.reshape(len(angles), len(own), *matrices.shape[1:])
    return stacks


def _product(parts: Sequence[FusedGates], stacks: dict[FusedGates, Array]) -> Array:
    """The Kronecker product of the next of each part's stack, which it takes off."""
    product: Array | None = None
    for part, run in itertools.groupby(parts):
        count = len(list(run))
        row = _kron(stacks[part][:, :count])
        stacks[part] = stacks[part][:, count:]
        product = row if product is None else _kron_of_two(row, product)
    assert product is not None
    if not all(part.real for part in parts):
        product = jnp.stack([product.real, product.imag], 1)
    return product


def _kron(stack: Float[Array, "lead parts *size"]) -> Array:
    """The Kronecker product along axis 1, the first on the lowest bits, by halves."""
    lead, count = stack.shape[:2]
    if count == 1:
        return stack[:, 0]
    whole = 1 << (count.bit_length() - 1)
    if whole < count:
        return _kron_of_two(_kron(stack[:, whole:]), _kron(stack[:, :whole]))
    # Not stack[:, k::2], which is a gather; and that is slow backwards.
    low, high = (lax.slice_in_dim(stack, k, None, 2, 1) for k in (0, 1))
    low, high = (half.reshape(-1, *half.shape[2:]) for half in (low, high))
    pairs = _kron_of_two(high, low)
    return _kron(pairs.reshape(lead, count // 2, *pairs.shape[1:]))


def _kron_of_two(high: Array, low: Array) -> Array:
    """Of matrices, shape (lead, rows, columns), or of vectors, shape (lead, rows)."""
    dtype = jnp.result_type(high, low)
    high, low = high.astype(dtype), low.astype(dtype)
    if high.ndim == 2:
        return (high[:, :, None] * low[:, None, :]).reshape(len(high), -1)
    product = high[:, :, None, :, None] * low[:, None, :, None, :]
    rows, columns = (high.shape[k] * low.shape[k] for k in (1, 2))
    return product.reshape(len(high), rows, columns)


def _picked(
    angles: Float[Array, "lead angles"], starts: np.ndarray, count: int
) -> Float[Array, "lead starts count"]:
    """The `count` angles from each start on."""
    if np.array_equal(starts, starts[0] + count * np.arange(len(starts))):
        own = angles[:, starts[0] : starts[0] + count * len(starts)]
        return own.reshape(len(angles), len(starts), count)
    return angles[:, int32(starts[:, None] + np.arange(count))]


def _matrices(fused: FusedGates, angles: Float[Array, "lead angles"]) -> Array:
    """Of fused gates, shape (lead, 2**k, 2**k), of a complex dtype where not real."""
    size = 1 << fused.num_bits
    lead, dtype = len(angles), angles.dtype
    matrices: list[Array] = []
    # Elements of one structure are evaluated together.
    places: dict[FusedLayer, list[tuple[int, int]]] = {}
    position = 0
    for order, layer in enumerate(fused.layers):
        places.setdefault(layer, []).append((order, position))
        position += len(layer.factors)
    order_of: list[int] = []
    for layer, where in places.items():
        starts = np.array([start for _, start in where])
        own = _picked(angles, starts, len(layer.factors)).reshape(-1, len(layer.factors))
        built = _matrix_of_layer(layer, own, fused.num_bits)
        matrices.append(built.reshape(lead, len(where), size, size))
        order_of += [order for order, _ in where]
    product: Array | None = None
    if matrices:
        if any(jnp.iscomplexobj(m) for m in matrices):
            matrices = [m.astype(jnp.result_type(dtype, jnp.complex64)) for m in matrices]
        stack = matrices[0] if len(matrices) == 1 else jnp.concatenate(matrices, -3)
        back = int32(np.argsort(order_of))
        if not np.array_equal(back, np.arange(len(back))):
            stack = stack[..., back, :, :]
        product = chain(stack)
    if fused.first is not None:
        start = jnp.asarray(fused.first.matrix, _like(dtype, fused.first.matrix))
        product = start if product is None else _matmul(product, start)
    if product is None:
        product = jnp.eye(size, dtype=dtype)
    return jnp.broadcast_to(product, (lead, size, size))


def _like(dtype: jnp.dtype, matrix: np.ndarray) -> jnp.dtype:
    return jnp.result_type(dtype, jnp.complex64) if np.iscomplexobj(matrix) else dtype


def _matrix_of_layer(layer: FusedLayer, angles: Array, num_bits: int) -> Array:
    size = 1 << num_bits
    product: Array | None = None
    values = features(jnp, angles)
    for k, (used, table) in enumerate(_factor_tables(layer, num_bits)):
        columns = jnp.stack([values[f][..., k] for f in used], -1)
        parts = [
            product_of(columns, jnp.asarray(part, angles.dtype))
            for part in ([table.real, table.imag] if np.iscomplexobj(table) else [table])
        ]
        factor = lax.complex(*parts) if len(parts) == 2 else parts[0]
        product = factor if product is None else product * factor
    assert product is not None
    product = product.reshape(*product.shape[:-1], size, size)
    if layer.constant is not None:
        constant = layer.constant.matrix
        product = _matmul(jnp.asarray(constant, _like(angles.dtype, constant)), product)
    return product


def _matmul(left: Array, right: Array) -> Array:
    dtype = jnp.result_type(left, right)
    return product_of(left.astype(dtype), right.astype(dtype))


def chain(stack: Array, times: Callable[[Array, Array], Array] = _matmul, axis: int = -3) -> Array:
    """The product … M2 M1 M0 along an axis, pairwise, so that it takes log2 many steps."""
    while (count := stack.shape[axis]) > 1:
        even = count // 2 * 2

        def part(start: int, stop: int, step: int, stack: Array = stack) -> Array:
            return lax.slice_in_dim(stack, start, stop, step, axis)

        pairs = times(part(1, even, 2), part(0, even, 2))
        stack = jnp.concatenate([pairs, part(even, count, 1)], axis) if count > even else pairs
    return lax.index_in_dim(stack, 0, axis, keepdims=False)
