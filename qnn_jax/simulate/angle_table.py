"""The angle table: every angle of a circuit, evaluated in JAX.

Expressions of one shape (the same functions around different numbers and symbols) are evaluated
together as vectors, so the program that XLA compiles does not grow with the number of gates. The
terms of a long sum or product are evaluated in the same way, so it does not grow with them either.
"""

from __future__ import annotations

import functools
import math
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
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
from qnn_jax.circuits.arrays import as_numbers
from qnn_jax.circuits.checks import shortened, shown
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.errors import InputError, LargeAngleWarning
from qnn_jax.simulate.xla import int32

#: An angle of which float32 knows less than this many radians is large: from 839 radians on.
_PRECISION = 1e-4
#: So many angles are looked at at once.
_AT_ONCE = 2**22
_LONGEST_TEXT = 60
#: Circuits that were warned about.
_WARNED: weakref.WeakSet[Circuit] = weakref.WeakSet()
#: Where all arrays have one of these, it is the dtype of the computation.
_USUAL = {np.dtype(np.float32), np.dtype(np.float64)}
#: Of so few numbers numpy finds out sooner whether they are finite.
_FEW = 2**14

# The shape of an expression: its parts in order, with "#", "x" and "w" in place of the leaves.
_Shape: TypeAlias = tuple[str, ...]
_LEAVES = ("#", "x", "w", "chain")
#: From so many terms on a sum or a product is a reduction, which no longer adds from left to right.
_LONG = 33
#: The reductions, by the functions that chains are made of; a difference is a sum with a sign.
_REDUCTIONS: Mapping[str, str] = MappingProxyType({"add": "sum", "mul": "prod"})


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

    Raises:
        InputError: where shapes do not fit, or, outside jit, an angle is not finite.
    """
    inputs, weights = checked_vectors(checked_circuit(circuit), inputs, weights)
    check_angles(circuit, inputs, weights)
    return evaluate(circuit.angles, inputs, weights)


def evaluate(
    expressions: tuple[Expression, ...],
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
    m: Any = jnp,
) -> Float[Array, " expressions"]:
    """The values of expressions, shape (len(expressions),), evaluated shape by shape.

    Args:
        expressions: what is evaluated.
        inputs: x, or columns of several x.
        weights: w; one column where inputs are columns.
        m: where functions are taken from: jax.numpy, numpy, or what has the same names.
    """
    dtype = jnp.result_type(inputs, weights)
    groups, order, chains = _groups(expressions)
    if not groups:
        return m.zeros((0,), dtype)
    vectors = {"x": inputs, "w": weights}
    if chains:
        vectors["chain"] = _evaluate_chains(chains, inputs, weights, m)
    parts = [_evaluate_shape(shape, iter(leaves), vectors, dtype, m) for shape, leaves in groups]
    return _joined(parts, order, m)


def _joined(parts: list[Array], order: np.ndarray | None, m: Any) -> Array:
    columns = max(part.shape[1:] for part in parts)
    if columns:  # some do not depend on the inputs
        parts = [m.broadcast_to(part, (len(part), *columns)) for part in parts]
    table = parts[0] if len(parts) == 1 else m.concatenate(parts)
    return table if order is None else table[int32(order)]


def _evaluate_chains(chains: tuple[_Chain, ...], inputs: Array, weights: Array, m: Any) -> Array:
    """The values of long chains, all of one function and length at once."""
    groups: dict[tuple[str, int], list[int]] = {}
    for number, chain in enumerate(chains):
        groups.setdefault((chain.function, len(chain.terms)), []).append(number)
    parts = []
    for (function, length), members in groups.items():
        terms = tuple(term for number in members for term in chains[number].terms)
        values = evaluate(terms, inputs, weights, m)
        rows = values.reshape(-1, length, *values.shape[1:])
        parts.append(getattr(m, _REDUCTIONS[function])(rows, axis=1))
    order = _way_back(number for members in groups.values() for number in members)
    return _joined(parts, order, m)


def _way_back(positions: Iterable[int]) -> np.ndarray | None:
    """Where the entries of a shuffled vector belong; None where it is in order."""
    order = np.argsort(list(positions))
    return None if np.array_equal(order, np.arange(len(order))) else order


def _evaluate_shape(
    shape: _Shape, leaves: Any, vectors: Mapping[str, Array], dtype: Any, m: Any
) -> Array:
    columns = (1,) * (vectors["x"].ndim - 1)
    values: list[Array] = []
    for part in shape:
        if part == "#":
            values.append(m.asarray(next(leaves).reshape(-1, *columns), dtype))
        elif part in _LEAVES:
            values.append(take(vectors[part], next(leaves)))
        else:
            count = FUNCTIONS[part].num_arguments
            values[-count:] = [getattr(m, FUNCTIONS[part].name)(*values[-count:])]
    return values[0]


def take(vector: Array, indices: np.ndarray) -> Array:
    """`vector[indices]` for static indices: a slice where they are a range, else a gather."""
    first, count = int(indices[0]), len(indices)
    if np.array_equal(indices, np.arange(first, first + count)):
        return vector[first : first + count]
    return vector[int32(indices)]


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

    All parts of a chain share one list of terms, so that a chain of n terms takes n steps.
    """

    expression: Expression | None  # None where it is a long chain
    kind: str = ""  # the function of the chain
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

    Integers become floats, of 64 bits under x64, half precision float32; float64 is kept under x64
    only, as everywhere in JAX.

    Raises:
        InputError: for wrong lengths, more than one dimension, complex numbers, and NaN or
            infinities where the values are known (outside jit).
    """
    arrays = (
        checked_vector("inputs", inputs, circuit.num_inputs),
        checked_vector("weights", weights, circuit.num_weights),
    )
    dtype = floating(*arrays)
    return arrays[0].astype(dtype), arrays[1].astype(dtype)


def checked_vector(name: str, value: Any, length: int) -> Array:
    """An argument as an array of `length` real and finite numbers."""
    array = checked_numbers(name, value)
    if array.shape != (length,):
        raise InputError(
            f"Argument `{name}` must have shape ({length},), but has shape {array.shape}; "
            "batches go through jax.vmap."
        )
    return array


def floating(*arrays: Array) -> Any:
    """The dtype in which is computed: that of the arrays, and of floats where all are integers.

    Half precision becomes float32. What the caller hands over is promoted as JAX does by default;
    its strict mode is for sums of the caller's own.
    """
    dtypes = {array.dtype for array in arrays}
    if dtypes <= _USUAL and len(dtypes) == 1:
        return dtypes.pop()
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(jnp.result_type(*arrays, float), jnp.float32)


def check_angles(circuit: Circuit, inputs: Array, weights: Array) -> None:
    """Where the values are known, that is outside JAX's transformations, look at all angles.

    Most circuits only compare the largest input and weight with a bound below which no angle can
    be large. The inputs may be a batch of shape (batch, circuit.num_inputs).

    Raises:
        InputError: where an angle is not finite, as log(-1) is.

    Warns:
        LargeAngleWarning: once a circuit, where angles are so large that their dtype has few
            decimals left behind the point.
    """
    if isinstance(inputs, jax.core.Tracer) or isinstance(weights, jax.core.Tracer):
        return
    harmless = _harmless(circuit)
    if _largest(inputs) <= harmless and _largest(weights) <= harmless:
        return
    dtype = floating(inputs, weights)
    columns: Any = np.atleast_2d(np.asarray(inputs, dtype)).T
    column: Any = np.asarray(weights, dtype)[:, None]
    some = max(1, _AT_ONCE // max(circuit.num_angles, 1))
    largest, place = 0.0, (0, 0)
    for first in range(0, columns.shape[1], some):
        with np.errstate(all="ignore"):
            table = evaluate(circuit.angles, columns[:, first : first + some], column, np)
        if not table.size:
            return
        # NaN and infinities come first.
        size = np.where(np.isnan(table), np.inf, abs(table))
        number, sample = np.unravel_index(np.argmax(size), size.shape)
        if size[number, sample] > largest:
            largest, place = float(size[number, sample]), (int(number), first + int(sample))
            value = table[number, sample]
        if math.isinf(largest):
            break
    if not math.isfinite(largest):
        raise InputError(
            f"Arguments `inputs` and `weights` must give finite angles in {dtype}, but "
            f"{_named(circuit, *place, inputs)} is {value}."
        )
    precision = largest * float(np.finfo(dtype).eps)
    if precision <= _PRECISION or circuit in _WARNED:
        return
    double = "" if dtype == np.float64 else ", or compute in double precision with JAX_ENABLE_X64=1"
    warnings.warn(
        f"{_named(circuit, *place, inputs)} is {value:,.0f} radians, which {dtype} knows to about "
        f"{precision:.1g}, so results may be wrong by as much; scale the inputs (or weights)"
        f"{double}.",
        LargeAngleWarning,
        stacklevel=2,
    )
    _WARNED.add(circuit)


def _named(circuit: Circuit, number: int, sample: int, inputs: Array) -> str:
    """An angle in words, by its number in the angle table."""
    of_gate = [(k, op, a) for k, op in enumerate(circuit.ops) for a in op.angles]
    gate, op, found = of_gate[number]
    which = f" of sample {sample}" if inputs.ndim > 1 else ""
    text = shortened(str(found), _LONGEST_TEXT)
    return f"the angle {text} of gate {gate}, {op.gate} on {op.qubits},{which}"


def _largest(array: Array) -> float:
    """The largest magnitude; NaN where there is one, 0 where there is nothing."""
    if not array.size:
        return 0.0
    few = array.size <= _FEW and getattr(array, "is_fully_addressable", True)
    return float(np.max(np.abs(np.asarray(array))) if few else jnp.max(jnp.abs(array)))


@functools.lru_cache(maxsize=256)
def _harmless(circuit: Circuit) -> float:
    """Up to which inputs and weights every angle is finite, and not large in float32.

    0 where a number in the circuit is large. -1 where a function is not defined everywhere: then
    all angles are evaluated, also of zeros.
    """
    most = _PRECISION / float(np.finfo(np.float32).eps)
    for reach in 2.0 ** np.arange(12, -4, -1):
        inputs: Any = np.full(circuit.num_inputs, reach)
        weights: Any = np.full(circuit.num_weights, reach)
        with np.errstate(all="ignore"):
            bounds = evaluate(circuit.angles, inputs, weights, _BOUNDS)
        if np.all(bounds <= most):
            return float(reach)
    return 0.0 if np.all(np.isfinite(bounds)) else -1.0


def _below_2(value: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(value), 2.0, np.inf)


def _undefined(value: np.ndarray, *_: np.ndarray) -> np.ndarray:
    return np.full_like(value, np.inf)


#: Functions of numpy on magnitudes: how large may the result be? Infinite if undefined.
_BOUNDS = SimpleNamespace(
    **dict.fromkeys(("add", "subtract"), np.add),
    **dict.fromkeys(("negative", "abs"), np.abs),
    **dict.fromkeys(("sin", "cos", "arctan", "sign"), _below_2),
    **dict.fromkeys(("divide", "power", "tan", "arcsin", "arccos", "log"), _undefined),
    **{k: getattr(np, k) for k in ("multiply", "exp", "sum", "prod", "zeros", "concatenate")},
    asarray=lambda values, dtype: np.abs(np.asarray(values, dtype)),
)


def usual_promotion(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, traced with JAX's usual promotion of dtypes and ranks.

    The strict modes are for the caller's own sums; ours mix real and complex numbers knowingly.
    """

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function(*args, **kwargs)

    return traced


def checked_numbers(name: str, value: Any) -> Array:
    """An argument as an array of real and finite numbers, of whatever shape it has.

    Raises:
        InputError: for rows of several lengths, for what is not real, and for NaN or infinities
            where the values are known (outside jit).
    """
    array = value if isinstance(value, jax.Array) else _as_array(name, value)
    if not _is_real(array.dtype):
        raise InputError(f"Argument `{name}` must hold real numbers, but has dtype {array.dtype}.")
    # As JAX will hold them: what is too large for its dtype is infinite.
    with np.errstate(over="ignore"):
        array = jnp.asarray(array)
    known = not isinstance(array, jax.core.Tracer) and jnp.issubdtype(array.dtype, jnp.floating)
    if known and not _all_finite(array):
        numbers = np.asarray(array)
        where = tuple(int(k) for k in np.argwhere(~np.isfinite(numbers))[0])
        place = f"{name}[{', '.join(map(str, where))}]" if where else "it"
        raise InputError(
            f"Argument `{name}` must be finite in {array.dtype}, but {place} is {numbers[where]}."
        )
    return array


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _as_array(name: str, value: Any) -> Any:
    """A value that is no array of JAX as one, of numpy where it holds nothing traced."""
    if hasattr(value, "__jax_array__"):  # Flax's variables, which may hold something traced
        return jnp.asarray(value)
    if isinstance(value, list | tuple) and any(
        isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)
    ):
        try:
            return jnp.asarray(value)
        except (TypeError, ValueError):
            raise InputError(
                f"Argument `{name}` must hold real numbers in rows of one length, but is "
                f"{shown(value)}."
            ) from None
    return as_numbers(name, value)


def _all_finite(array: Array) -> bool:
    # Numpy begins sooner, the device is quicker with many.
    few = array.size <= _FEW and array.is_fully_addressable
    return bool((np if few else jnp).isfinite(array).all())
