"""The angle table: every angle of a circuit, evaluated in JAX.

Expressions of one shape (the same functions around different numbers and symbols) are evaluated
together as vectors, so the program that XLA compiles does not grow with the number of gates.
"""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.circuits.angles import Call, Expression, Number, Symbol, symbols
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.errors import InputError

#: The functions of `circuits.angles.FUNCTIONS`, in JAX.
_JAX_FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "add": jnp.add,
        "sub": jnp.subtract,
        "mul": jnp.multiply,
        "div": jnp.divide,
        "neg": jnp.negative,
        "pow": jnp.power,
        "sin": jnp.sin,
        "cos": jnp.cos,
        "tan": jnp.tan,
        "asin": jnp.arcsin,
        "acos": jnp.arccos,
        "atan": jnp.arctan,
        "exp": jnp.exp,
        "log": jnp.log,
        "abs": jnp.abs,
        "sign": jnp.sign,
    }
)

#: Of so few numbers numpy finds out sooner whether they are finite.
_FEW = 2**14

# The shape of an expression: its functions, with "#", "x" and "w" in place of the leaves.
_Shape: TypeAlias = "str | tuple[Any, ...]"


def angles(
    circuit: Circuit, inputs: Float[Array, " inputs"], weights: Float[Array, " weights"]
) -> Float[Array, " angles"]:
    """Every gate's angles in the order of the gates, in radians.

    Args:
        circuit: the circuit.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).

    Returns:
        Shape (circuit.num_angles,).
    """
    inputs, weights = checked_vectors(checked_circuit(circuit), inputs, weights)
    return evaluate(circuit.angles, inputs, weights)


def evaluate(
    expressions: tuple[Expression, ...],
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
) -> Float[Array, " expressions"]:
    """The values of expressions, shape (len(expressions),), evaluated shape by shape."""
    dtype = jnp.result_type(inputs, weights)
    groups, order = _groups(expressions)
    if not groups:
        return jnp.zeros((0,), dtype)
    vectors = {"x": inputs, "w": weights}
    parts = []
    for shape, leaves in groups:
        columns = iter(leaves)
        value = _evaluate_shape(shape, columns, vectors, dtype)
        parts.append(value)
    table = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
    return table if order is None else table[order.astype(np.int32)]


def _evaluate_shape(shape: _Shape, leaves: Any, vectors: Mapping[str, Array], dtype: Any) -> Array:
    if shape == "#":
        return jnp.asarray(next(leaves), dtype)
    if isinstance(shape, str):
        return take(vectors[shape], next(leaves))
    function, *parts = shape
    return _JAX_FUNCTIONS[function](
        *(_evaluate_shape(part, leaves, vectors, dtype) for part in parts)
    )


def take(vector: Array, indices: np.ndarray) -> Array:
    """`vector[indices]` for static indices: a slice where they are a range, else a gather."""
    first, count = int(indices[0]), len(indices)
    if np.array_equal(indices, np.arange(first, first + count)):
        return vector[first : first + count]
    # int32: a 64-bit index does not survive a change of x64 between two traces.
    return vector[indices.astype(np.int32)]


@functools.lru_cache(maxsize=256)
def _groups(
    expressions: tuple[Expression, ...],
) -> tuple[list[tuple[_Shape, list[np.ndarray]]], np.ndarray | None]:
    """Expressions grouped by shape, their leaves as columns, and the way back to their order."""
    by_shape: dict[_Shape, list[tuple[int, list[float]]]] = {}
    for position, expression in enumerate(expressions):
        leaves: list[float] = []
        by_shape.setdefault(_shape(expression, leaves), []).append((position, leaves))
    groups, positions = [], []
    for shape, members in by_shape.items():
        positions += [position for position, _ in members]
        kinds = _leaf_kinds(shape)
        columns = [
            np.array([leaves[k] for _, leaves in members], float if kind == "#" else int)
            for k, kind in enumerate(kinds)
        ]
        groups.append((shape, columns))
    order = np.argsort(positions)
    return groups, None if np.array_equal(order, np.arange(len(order))) else order


def _shape(expression: Expression, leaves: list[float]) -> _Shape:
    if isinstance(expression, Call):
        return (expression.function, *(_shape(part, leaves) for part in expression.arguments))
    if isinstance(expression, Symbol):
        leaves.append(expression.index)
        return expression.vector
    assert isinstance(expression, Number)
    leaves.append(expression.value)
    return "#"


def _leaf_kinds(shape: _Shape) -> list[str]:
    if isinstance(shape, str):
        return [shape]
    return [kind for part in shape[1:] for kind in _leaf_kinds(part)]


def reads_inputs(expressions: Sequence[Expression]) -> bool:
    """Does any of the expressions depend on an input?"""
    return any(s.vector == "x" for expression in expressions for s in symbols(expression))


def checked_vectors(circuit: Circuit, inputs: Any, weights: Any) -> tuple[Array, Array]:
    """The inputs and weights as floating arrays of one dtype, their lengths checked.

    Integers become floats; float64 is kept under x64 only, as everywhere in JAX.

    Raises:
        InputError: for wrong lengths, more than one dimension, complex numbers, and NaN or
            infinities where the values are known (outside jit).
    """
    arrays = []
    for name, value, length in (
        ("inputs", inputs, circuit.num_inputs),
        ("weights", weights, circuit.num_weights),
    ):
        array = checked_numbers(name, value)
        if array.shape != (length,):
            raise InputError(
                f"Argument `{name}` must have shape ({length},), but has shape {array.shape}; "
                "batches go through jax.vmap."
            )
        arrays.append(array)
    dtype = jnp.result_type(*arrays, jnp.float32)
    return arrays[0].astype(dtype), arrays[1].astype(dtype)


def checked_numbers(name: str, value: Any) -> Array:
    """An argument as an array of real and finite numbers, of whatever shape it has.

    Raises:
        InputError: for rows of several lengths, for what is not real, and for NaN or infinities
            where the values are known (outside jit).
    """
    try:
        array = value if isinstance(value, jax.Array) else _as_array(value)
    except ValueError:
        raise InputError(
            f"Argument `{name}` must have rows of one length, but is {reprlib.repr(value)}."
        ) from None
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        if array.size:
            what = (
                f"has dtype {array.dtype}"
                if hasattr(value, "dtype")
                else f"is {reprlib.repr(value)}"
            )
            raise InputError(f"Argument `{name}` must hold real numbers, but {what}.")
        array = np.zeros(array.shape)
    # As JAX will hold them: what is too large for its dtype is infinite.
    with np.errstate(over="ignore"):
        array = jnp.asarray(array)
    if not isinstance(array, jax.core.Tracer) and not _all_finite(array):
        where = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
        place = f"{name}[{', '.join(map(str, where))}]" if where else "it"
        raise InputError(
            f"Argument `{name}` must be finite in {array.dtype}, but {place} is {array[where]}."
        )
    return array


def _as_array(value: Any) -> Any:
    """A value that is no array of JAX as one, of numpy where it holds nothing traced."""
    if not isinstance(value, np.ndarray) and any(
        isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)
    ):
        return jnp.asarray(value)
    return np.asarray(value)


def _all_finite(array: Array) -> bool:
    # Numpy begins sooner, the device is quicker with many.
    few = array.size <= _FEW and array.is_fully_addressable
    return bool((np if few else jnp).isfinite(array).all())
