"""The angle table: every angle of a circuit, evaluated in JAX.

Expressions of one shape (the same functions around different numbers and symbols) are evaluated
together as vectors, so the program that XLA compiles does not grow with the number of gates. The
terms of a long sum or product are evaluated in the same way, so it does not grow with them either.
"""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.circuits.angles import (
    FUNCTIONS,
    Call,
    Expression,
    Number,
    Symbol,
    call,
    fold,
    in_order,
    symbols,
)
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

# The shape of an expression: its parts in order, with "#", "x" and "w" in place of the leaves.
_Shape: TypeAlias = tuple[str, ...]
_LEAVES = ("#", "x", "w", "chain")
#: From so many terms on a sum or a product is a reduction, which no longer adds from left to right.
_LONG = 33
#: The reductions, by the functions that chains are made of; a difference is a sum with a sign.
_REDUCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType({"add": jnp.sum, "mul": jnp.prod})


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
    groups, order, chains = _groups(expressions)
    if not groups:
        return jnp.zeros((0,), dtype)
    vectors = {"x": inputs, "w": weights}
    if chains:
        vectors["chain"] = _evaluate_chains(chains, inputs, weights)
    parts = [_evaluate_shape(shape, iter(leaves), vectors, dtype) for shape, leaves in groups]
    return _joined(parts, order)


def _joined(parts: list[Array], order: np.ndarray | None) -> Array:
    table = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
    return table if order is None else table[order.astype(np.int32)]


def _evaluate_chains(chains: tuple[_Chain, ...], inputs: Array, weights: Array) -> Array:
    """The values of long chains, all of one function and length at once."""
    groups: dict[tuple[str, int], list[int]] = {}
    for number, chain in enumerate(chains):
        groups.setdefault((chain.function, len(chain.terms)), []).append(number)
    parts = []
    for (function, length), members in groups.items():
        terms = tuple(term for number in members for term in chains[number].terms)
        rows = evaluate(terms, inputs, weights).reshape(-1, length)
        parts.append(_REDUCTIONS[function](rows, axis=1))
    return _joined(parts, _way_back(number for members in groups.values() for number in members))


def _way_back(positions: Iterable[int]) -> np.ndarray | None:
    """Where the entries of a shuffled vector belong; None where it is in order."""
    order = np.argsort(list(positions))
    return None if np.array_equal(order, np.arange(len(order))) else order


def _evaluate_shape(shape: _Shape, leaves: Any, vectors: Mapping[str, Array], dtype: Any) -> Array:
    values: list[Array] = []
    for part in shape:
        if part == "#":
            values.append(jnp.asarray(next(leaves), dtype))
        elif part in _LEAVES:
            values.append(take(vectors[part], next(leaves)))
        else:
            count = FUNCTIONS[part].num_arguments
            values[-count:] = [_JAX_FUNCTIONS[part](*values[-count:])]
    return values[0]


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
) -> tuple[list[tuple[_Shape, list[np.ndarray]]], np.ndarray | None, tuple[_Chain, ...]]:
    """Expressions grouped by shape, their leaves as columns, the way back, and their chains."""
    by_shape: dict[_Shape, list[tuple[int, list[float]]]] = {}
    chains: dict[_Chain, int] = {}
    for position, expression in enumerate(expressions):
        leaves: list[float] = []
        shape = _shape(_with_chains(expression), leaves, chains)
        by_shape.setdefault(shape, []).append((position, leaves))
    groups, positions = [], []
    for shape, members in by_shape.items():
        positions += [position for position, _ in members]
        kinds = [part for part in shape if part in _LEAVES]
        columns = [
            np.array([leaves[k] for _, leaves in members], float if kind == "#" else int)
            for k, kind in enumerate(kinds)
        ]
        groups.append((shape, columns))
    return groups, _way_back(positions), tuple(chains)


@dataclass(frozen=True, slots=True)
class _Chain(Expression):
    """A long sum or product as one leaf."""

    function: str
    terms: tuple[Expression, ...]


def _with_chains(expression: Expression) -> Expression:
    """An expression with its long sums and products as leaves; chains within their terms stay."""
    if not isinstance(expression, Call) or expression.depth < _LONG - 1:
        return expression

    def function(part: Call, arguments: Sequence[_Part]) -> _Part:
        kind = "add" if part.function == "sub" else part.function
        terms: list[Expression] = []
        if kind in _REDUCTIONS:
            first, last = part.arguments
            terms = arguments[0].terms if arguments[0].kind == kind else [first]
            terms.append(call("neg", last) if part.function == "sub" else last)
            if len(terms) >= _LONG:
                return _Part(None, kind, terms)
        return _Part(call(part.function, *(a.settled() for a in arguments)), kind, terms)

    return fold(expression, _Part, function).settled()


@dataclass(slots=True)
class _Part:
    """A part of an expression, and the terms of the chain that it may be the beginning of.

    Attributes:
        expression: itself, None where it is a long chain.
        kind: the function of the chain.
        terms: what the chain adds or multiplies, as it was before.
    """

    expression: Expression | None
    kind: str = ""
    terms: list[Expression] = field(default_factory=list)

    def settled(self) -> Expression:
        """The part, no more to be continued."""
        if self.expression is None:
            return _Chain(self.kind, tuple(self.terms))
        return self.expression


def _shape(expression: Expression, leaves: list[float], chains: dict[_Chain, int]) -> _Shape:
    shape: list[str] = []
    for part in in_order(expression):
        if isinstance(part, Call):
            shape.append(part.function)
        elif isinstance(part, Symbol):
            leaves.append(part.index)
            shape.append(part.vector)
        elif isinstance(part, _Chain):
            leaves.append(chains.setdefault(part, len(chains)))
            shape.append("chain")
        else:
            assert isinstance(part, Number)
            leaves.append(part.value)
            shape.append("#")
    return tuple(shape)


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
