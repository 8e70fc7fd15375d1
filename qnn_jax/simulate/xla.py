"""What is done only because of how JAX transforms programs and how XLA compiles them.

Everything of that kind is here and nowhere else; `tests/simulate/test_xla.py` has a test of each
that fails as soon as it is no longer needed. Measured with jaxlib 0.10.2 on CPU.

- `linear`, `bilinear`: operations with a transpose of their own. JAX derives the transpose of a
  gather as a scatter-add, and that of a product by slices as sums over padded slices: both are
  several times slower than the transpose that we know.
- `materialize`: XLA computes what is cheap again wherever it is used.
- `product_of`: XLA calls a library for every product of matrices, also for tiny ones.
- `on_states`: XLA moves the whole state twice for a product with an index in the middle.
- `zero_of`: XLA's CPU compiler removes barriers before it orders a program. Its test, of the memory
  over eight devices, is in `tests/simulate/test_sharded.py`.
- `added`: XLA adds over a leading axis one number after the other.
- `int32`: users may switch x64 between two traces.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from qnn_jax.simulate import tuning

#: For each `jax.vmap` around an operation, the outermost first, the batch axis of each operand.
Levels: TypeAlias = "tuple[tuple[int | None, ...], ...]"
#: Of every product of matrices: float32 stays float32 on GPUs too, which else round to 10 bits.
HIGHEST = lax.Precision.HIGHEST


def int32(values: Any) -> np.ndarray:
    """Static indices: 64-bit ones do not survive a change of x64 between two traces."""
    return np.asarray(values, np.int32)


def alike(*arrays: Any) -> list[Any]:
    """Arrays that all vary over the same axes of `jax.shard_map`, as an operation needs them.

    JAX's own operations do the same with their operands.
    """
    axes = [jax.typeof(array).mat.varying for array in arrays]
    every = frozenset().union(*axes)
    return [
        lax.pcast(array, tuple(sorted(every - own)), to="varying") if every - own else array
        for array, own in zip(arrays, axes, strict=True)
    ]


def moving(tangents: Sequence[Any]) -> tuple[int, ...]:
    """Which operands have a tangent."""
    return tuple(k for k, tangent in enumerate(tangents) if not isinstance(tangent, ad.Zero))


def of_some(
    function: Callable[..., Any], operands: Sequence[Any], numbers: Sequence[int]
) -> Callable[..., Any]:
    """A function of some of its operands, the others being what they are."""

    def of_them(*values: Any) -> Any:
        every = list(operands)
        for k, value in zip(numbers, values, strict=True):
            every[k] = value
        return function(*every)

    return of_them


def jvp_of_moving(function: Callable[..., Any], primals: Sequence[Any], tangents: Any) -> Any:
    """`jax.jvp` by those operands that have a tangent."""
    numbers = moving(tangents)
    values, along = ([those[k] for k in numbers] for those in (primals, tangents))
    return jax.jvp(of_some(function, primals, numbers), values, along)


def operation(name: str, function: Callable[..., Any]) -> Any:
    """A primitive of JAX that computes one array, without derivatives and batches yet."""
    primitive: Any = Primitive(name)

    def abstract(*operands: Any, **static: Any) -> Any:
        (found,) = jax.make_jaxpr(functools.partial(function, **static))(*operands).out_avals
        return found

    primitive.def_impl(function)
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    return primitive


def _bind(primitive: Any, *operands: Any, **static: Any) -> Array:
    return primitive.bind(*alike(*operands), **static)


def linear(
    name: str, forward: Callable[..., Array], backward: Callable[..., Array]
) -> Callable[..., Array]:
    """An operation that is linear in its first operand, with its transpose.

    Args:
        name: as it is printed in a program.
        forward: of an array and constants; leading axes of the array are left alone.
        backward: the transpose, of the same constants.
    """
    pair = [operation(name, forward), operation(f"{name}_transposed", backward)]
    for one, other in (pair, pair[::-1]):
        batching.primitive_batchers[one] = functools.partial(_batch_of_linear, one)
        ad.primitive_jvps[one] = functools.partial(_jvp_of_linear, one)
        ad.primitive_transposes[one] = functools.partial(_transpose_of_linear, other)
    return functools.partial(_bind, pair[0])


def _batch_of_linear(primitive: Any, operands: Any, axes: Any, **static: Any) -> Any:
    assert not any(axis is not None for axis in axes[1:]), "constants of the circuit"
    first = jnp.moveaxis(operands[0], axes[0], 0)
    return _bind(primitive, first, *operands[1:], **static), 0


def _jvp_of_linear(primitive: Any, primals: Any, tangents: Any, **static: Any) -> Any:
    tangent = _bind(primitive, tangents[0], *primals[1:], **static)
    return _bind(primitive, *primals, **static), tangent


def _transpose_of_linear(
    transposed: Any, cotangent: Any, array: Any, *constants: Any, **static: Any
) -> Any:
    zero = isinstance(cotangent, ad.Zero)
    out = ad.Zero(array.aval) if zero else _bind(transposed, cotangent, *constants, **static)
    return [out, *[None] * len(constants)]


def linear_in_many(
    name: str, forward: Callable[..., Array], backward: Callable[..., list[Array]]
) -> Callable[..., Array]:
    """A linear map of many arrays to one that depends on others, with its transpose.

    So a function with a derivative of its own has both modes: `jax.custom_vjp` has no forward mode,
    and what `jax.custom_jvp` returns JAX transposes by itself.

    Args:
        name: as it is printed in a program.
        forward: of the list of what it depends on, of which the last has the result's type, and of
            the list of tangents.
        backward: of the same list and of the cotangent; a list, as the tangents are.
    """
    primitive: Any = Primitive(name)

    def batched(function: Callable[..., Any], levels: Levels) -> Callable[..., Any]:
        for axes in reversed(levels):
            function = jax.vmap(function, axes)
        return function

    def compute(*operands: Any, count: int, levels: Levels, **static: Any) -> Any:
        def of_one(*operands: Any) -> Any:
            return forward(list(operands[:count]), list(operands[count:]), **static)

        return batched(of_one, levels)(*operands)

    def abstract(*operands: Any, count: int, levels: Levels, **_: Any) -> Any:
        own = sum(axes[count - 1] is not None for axes in levels)
        sizes = operands[count].shape[: len(levels)]
        last = operands[count - 1]
        return last.update(shape=(*sizes, *last.shape[own:]))

    def batch(operands: Any, axes: Any, *, count: int, levels: Levels, **static: Any) -> Any:
        moved = [
            a if k is None else jnp.moveaxis(a, k, 0) for a, k in zip(operands, axes, strict=True)
        ]
        # Every tangent is batched, so that the cotangents are, too; JAX adds up what it repeated.
        size = next(a.shape[0] for a, k in zip(moved, axes, strict=True) if k is not None)
        tangents = [
            jnp.broadcast_to(a, (size, *a.shape)) if k is None else a
            for a, k in zip(moved[count:], axes[count:], strict=True)
        ]
        own = tuple(None if k is None else 0 for k in axes[:count]) + (0,) * len(tangents)
        out = primitive.bind(
            *moved[:count], *tangents, count=count, levels=(own, *levels), **static
        )
        return out, 0

    def jvp(primals: Any, tangents: Any, **static: Any) -> Any:
        if all(k >= static["count"] for k in moving(tangents)):  # linear
            rest = [ad.instantiate_zeros(tangent) for tangent in tangents[static["count"] :]]
            known = primals[: static["count"]]
            return primitive.bind(*primals, **static), primitive.bind(*known, *rest, **static)
        return jvp_of_moving(functools.partial(compute, **static), primals, tangents)

    def transpose(cotangent: Any, *operands: Any, count: int, levels: Levels, **static: Any) -> Any:
        if isinstance(cotangent, ad.Zero):
            return [None] * count + [ad.Zero(a.aval) for a in operands[count:]]

        def of_one(*operands: Any) -> Any:
            return backward(list(operands[:count]), operands[count], **static)

        inner = tuple((*axes[:count], 0) for axes in levels)
        return [None] * count + batched(of_one, inner)(*operands[:count], cotangent)

    primitive.def_impl(compute)
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=False))
    batching.primitive_batchers[primitive] = batch
    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose

    return lambda known, tangents, **static: _bind(
        primitive, *known, *tangents, count=len(known), levels=(), **static
    )


def bilinear(
    name: str,
    function: Callable[..., Array],
    by_left: Callable[..., Array],
    by_right: Callable[..., Array],
    batch: Callable[..., Any] | None = None,
) -> Callable[..., Array]:
    """An operation that is linear in each of two operands, with its transposes.

    Args:
        name: as it is printed in a program.
        function: of both operands; leading axes, which both have, are left alone.
        by_left: of the cotangent, the left operand as `jax.typeof` has it, and the right one.
        by_right: of the cotangent, the left operand, and the right one as `jax.typeof` has it.
        batch: another rule for batches than one more leading axis of both.
    """
    primitive = operation(name, function)

    def leading(operands: Any, axes: Any, **static: Any) -> Any:
        return _bind(primitive, *both_batched(operands, axes), **static), 0

    batching.primitive_batchers[primitive] = batch or leading
    ad.defbilinear(
        primitive,
        lambda cotangent, left, right, **static: by_left(cotangent, left.aval, right, **static),
        lambda cotangent, left, right, **static: by_right(cotangent, left, right.aval, **static),
    )
    return functools.partial(_bind, primitive)


def both_batched(operands: Sequence[Any], axes: Sequence[int | None]) -> list[Any]:
    """Operands with a batch as their first axis, repeated where they have none."""
    size = next(a.shape[k] for a, k in zip(operands, axes, strict=True) if k is not None)
    return [
        jnp.broadcast_to(a, (size, *a.shape)) if k is None else jnp.moveaxis(a, k, 0)
        for a, k in zip(operands, axes, strict=True)
    ]


def _gathered(array: Array) -> Array:
    every = lax.iota(np.int32, array.shape[-2])
    return array.at[..., every, :].get(mode="promise_in_bounds", unique_indices=True)


_materialize = linear("materialize", _gathered, _gathered)


def materialize(array: Array) -> Array:
    """The same array, of any shape, computed once and stored.

    A gather of all rows, because XLA computes again whatever is cheap wherever it is used, gates
    within gates, but not the operand of a gather. `lax.optimization_barrier` prevents a part of
    that: a gradient of a batch took 1.2 to 1.8 times as long with barriers and 1.7 to 4 times as
    long with nothing; for one large state there was little difference (`make bench
    ARGS="--only tuning"`). benchmarks/closed_form.py is served well enough by barriers.
    """
    if not tuning.current().materialize:
        return array
    flat = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
    return _materialize(flat).reshape(array.shape)


def added(array: Float[Array, "*lead rows batch"]) -> Float[Array, "*lead batch"]:
    """The sum over the last axis but one, by halves."""
    if not tuning.current().add_by_halves:
        return jnp.sum(array, -2)
    while (count := array.shape[-2]) > 1:
        half = count // 2
        rest = array[..., 2 * half :, :]
        array = array[..., :half, :] + array[..., half : 2 * half, :]
        if rest.shape[-2]:
            array = jnp.concatenate([array, rest], -2)
    return array[..., 0, :]


def product_of(left: Array, right: Array) -> Array:
    """The matrix product; one of few terms is written as a sum.

    XLA calls a library for every product of matrices, which takes longer than the arithmetic of a
    tiny one; sums fuse with what comes before and after them. Not so for wider results: what is
    fused is computed again for every entry, cosines included.

    The axes in front become one: a CPU library that an earlier jaxlib gave such sums to crashed the
    process for some of seven axes. Not seen again with jaxlib 0.10.2.
    """
    limits = tuning.current()
    if left.shape[-1] > limits.sum_terms or right.shape[-1] > limits.sum_columns:
        return jnp.matmul(left, right, precision=HIGHEST)
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
    limits = tuning.current()
    few = rows * states.size <= limits.sum_products
    if below == 1:
        flat = states.reshape(count, size)
        transposed = jnp.swapaxes(matrix, -1, -2)
        # In a batch of states alone one large product, and XLA transposes nothing for its gradient.
        plain = functools.partial(jnp.matmul, precision=HIGHEST)
        out = (_product if few else plain)(flat, transposed)
        return out.reshape(*lead, rows, 1)
    if few:
        wide = jnp.moveaxis(states.reshape(count, size, below), 0, 1).reshape(size, -1)
        out = _product(matrix, wide).reshape(rows, count, below)
        return jnp.moveaxis(out, 1, 0).reshape(*lead, rows, below)
    # Repeated, it takes rows / below times the memory of the states.
    too_large = rows > below and states.size > limits.repeat_up_to
    if too_large or not limits.repeat_matrices:
        return jnp.einsum("kj,...jl->...kl", matrix, states, precision=HIGHEST)
    # With the matrix repeated: XLA's code for a single product with the index split in two moves
    # the whole state twice.
    matrix = jnp.broadcast_to(matrix, (*lead, *matrix.shape))
    return jnp.matmul(matrix, states, precision=HIGHEST)


def _sum_of(left: Float[Array, "rows inner"], right: Float[Array, "inner columns"]) -> Array:
    return jnp.sum(left[:, :, None] * right[None, :, :], 1)


def _computed(left: Array, right: Array) -> Array:
    if left.ndim == 2 and left.size * right.shape[-1] <= tuning.current().sum_products:
        return _sum_of(left, right)
    return jnp.matmul(left, right, precision=HIGHEST)


def _batch(operands: Any, axes: Any) -> Any:
    left, right = operands
    if axes[1] is None and right.ndim == 2:
        left = jnp.moveaxis(left, axes[0], 0)
        flat = _product(left.reshape(-1, left.shape[-1]), right)
        return flat.reshape(*left.shape[:-1], right.shape[-1]), 0
    if axes[0] is None and left.ndim == 2:
        right = jnp.moveaxis(right, axes[1], 1)
        flat = _product(left, right.reshape(right.shape[0], -1))
        return flat.reshape(flat.shape[0], *right.shape[1:]), 1
    return _product(*both_batched(operands, axes)), 0


#: The product of two matrices, as a sum where it is small and alone. As a primitive of JAX it
#: knows whether it is alone: for a batch of matrices a library is better.
_product: Callable[..., Array] = bilinear(
    "product",
    _computed,
    lambda cotangent, left, right: _product(cotangent, jnp.swapaxes(right, -1, -2)),
    lambda cotangent, left, right: _product(jnp.swapaxes(left, -1, -2), cotangent),
    _batch,
)


@jax.custom_batching.custom_vmap
def zero_of(number: Array) -> Array:
    """Zero, for which XLA waits until the number is there."""
    return 0 * number


@zero_of.def_vmap
def _(size: int, batched: Any, number: Array) -> tuple[Array, bool]:
    # Of one sample, so that parameters that are the same for all stay so.
    del size, batched
    return zero_of(number[0]), False
