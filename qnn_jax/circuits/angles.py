"""Angles are values: small expressions over inputs `x[i]`, weights `w[j]` and numbers.

An expression holds no array and evaluates nothing by itself, so it is hashable, compares by value,
exports exactly to Qiskit and reads back. Its functions are those of Qiskit's ParameterExpression.

An expression may be long: `sum(w[k] * x[k] for k in range(784))` is a chain of 784 additions, each
the first argument of the next. So nothing here recurses. `in_order` walks through an expression
with a list in place of Python's stack, and all else is written with it.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from qnn_jax.circuits.checks import is_integer, real, shortened
from qnn_jax.errors import InputError

#: What may be written where an angle is wanted; plain numbers become `Number`.
AngleLike: TypeAlias = "Expression | float"
_Value = TypeVar("_Value")

#: Functions whose chains, ((a + b) - c) + d, may have any length; all else may be nested this deep,
#: which JSON and the parsers of other programs read without trouble.
_CHAINS = ("add", "sub", "mul", "div")
MAX_NESTING = 200
#: The most numbers, symbols and functions of one expression: 10,000 products and their sum are
#: 40,000 of them. What uses one part twice, `a = a * a` again and again, doubles them every time.
MAX_PARTS = 100_000


@dataclass(frozen=True)
class Function:
    """One row of the function table."""

    name: str  # in NumPy and JAX; in Qiskit and OpenQASM 3 too, where they have such a function
    evaluate: Callable[..., float]  # on floats
    num_arguments: int
    infix: str = ""
    precedence: int = 9


def _sign(value: float) -> float:
    return float((value > 0) - (value < 0))


#: Every function that an angle may use, by name.
FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "add": Function("add", lambda a, b: a + b, 2, " + ", 1),
        "sub": Function("subtract", lambda a, b: a - b, 2, " - ", 1),
        "mul": Function("multiply", lambda a, b: a * b, 2, "*", 2),
        "div": Function("divide", lambda a, b: a / b, 2, "/", 2),
        "neg": Function("negative", lambda a: -a, 1, "-", 3),
        "pow": Function("power", math.pow, 2, "**", 4),
        "sin": Function("sin", math.sin, 1),
        "cos": Function("cos", math.cos, 1),
        "tan": Function("tan", math.tan, 1),
        "asin": Function("arcsin", math.asin, 1),
        "acos": Function("arccos", math.acos, 1),
        "atan": Function("arctan", math.atan, 1),
        "exp": Function("exp", math.exp, 1),
        "log": Function("log", math.log, 1),
        "abs": Function("abs", abs, 1),
        "sign": Function("sign", _sign, 1),
    }
)


class Expression:
    """Base of `Number`, `Symbol` and `Call`; gives them the arithmetic operators."""

    __slots__ = ()

    def __add__(self, other: AngleLike) -> Expression:
        return call("add", self, other)

    def __radd__(self, other: AngleLike) -> Expression:
        return call("add", other, self)

    def __sub__(self, other: AngleLike) -> Expression:
        return call("sub", self, other)

    def __rsub__(self, other: AngleLike) -> Expression:
        return call("sub", other, self)

    def __mul__(self, other: AngleLike) -> Expression:
        return call("mul", self, other)

    def __rmul__(self, other: AngleLike) -> Expression:
        return call("mul", other, self)

    def __truediv__(self, other: AngleLike) -> Expression:
        return call("div", self, other)

    def __rtruediv__(self, other: AngleLike) -> Expression:
        return call("div", other, self)

    def __pow__(self, other: AngleLike) -> Expression:
        return call("pow", self, other)

    def __rpow__(self, other: AngleLike) -> Expression:
        return call("pow", other, self)

    def __neg__(self) -> Expression:
        return call("neg", self)

    def __abs__(self) -> Expression:
        return call("abs", self)

    def __repr__(self) -> str:
        return shortened(str(self))

    # The functions under the names that Qiskit's ParameterExpression has. Numpy knows most of them,
    # so np.sin(x[0]) is x[0].sin().

    def sin(self) -> Expression:
        """The sine."""
        return call("sin", self)

    def cos(self) -> Expression:
        """The cosine."""
        return call("cos", self)

    def tan(self) -> Expression:
        """The tangent."""
        return call("tan", self)

    def arcsin(self) -> Expression:
        """The inverse sine, between -π/2 and π/2."""
        return call("asin", self)

    def arccos(self) -> Expression:
        """The inverse cosine, between 0 and π."""
        return call("acos", self)

    def arctan(self) -> Expression:
        """The inverse tangent, between -π/2 and π/2."""
        return call("atan", self)

    def exp(self) -> Expression:
        """The exponential."""
        return call("exp", self)

    def log(self) -> Expression:
        """The natural logarithm."""
        return call("log", self)

    def abs(self) -> Expression:
        """The absolute value."""
        return call("abs", self)

    def sign(self) -> Expression:
        """-1, 0 or 1."""
        return call("sign", self)


@dataclass(frozen=True, slots=True, repr=False)
class Number(Expression):
    """A constant, in radians where it is an angle by itself; real and finite."""

    value: float

    def __post_init__(self) -> None:
        what = "a real number or an expression of x[i] and w[j]"
        object.__setattr__(self, "value", real("angle", self.value, what=what))

    def __str__(self) -> str:
        return _format_number(self.value)

    def __repr__(self) -> str:
        return f"Number({self.value!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Symbol(Expression):
    """`x[index]`, one of the inputs, or `w[index]`, one of the weights."""

    vector: str
    index: int

    def __post_init__(self) -> None:
        if self.vector not in ("x", "w"):
            raise InputError(
                "Argument `vector` of a symbol must be 'x', the inputs, or 'w', the weights, "
                f"but is {self.vector!r}."
            )
        if not is_integer(self.index) or self.index < 0:
            raise InputError(
                f"Argument `index` of `{self.vector}[index]` must be an integer of at least 0, "
                f"but is {self.index!r}."
            )

    def __str__(self) -> str:
        return f"{self.vector}[{self.index}]"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(Expression):
    """A function of `FUNCTIONS` applied to as many expressions as it takes."""

    function: str
    arguments: tuple[Expression, ...]
    #: How many functions are in each other, it and all chains included.
    depth: int = field(init=False)
    # These too are of all its parts, so that none of them is asked again.
    _hash: int = field(init=False)
    _nesting: int = field(init=False)
    _num_parts: int = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.arguments, tuple):
            raise InputError(
                "Argument `arguments` of a call must be a tuple of expressions, but is "
                f"{self.arguments!r}."
            )
        _function(self.function, len(self.arguments))
        arguments = tuple(map(angle, self.arguments))
        calls = [part if isinstance(part, Call) else None for part in arguments]
        below = [0 if part is None else part._nesting for part in calls]
        # The first argument of a chain is not nested in it, but before it.
        first = max(below[0], 1) if self.function in _CHAINS else below[0] + 1
        nesting = max([first, *(depth + 1 for depth in below[1:])])
        num_parts = 1 + sum(1 if part is None else part._num_parts for part in calls)
        if nesting > MAX_NESTING:
            raise InputError(
                f"Argument `angle` must have at most {MAX_NESTING} functions in each other, but "
                f"`{self.function}` is the {nesting}th; sums and products may be longer where each "
                "result is the first argument of the next: total = total + term."
            )
        if num_parts > MAX_PARTS:
            raise InputError(
                f"Argument `angle` must have at most {MAX_PARTS} numbers, symbols and functions, "
                f"but has {num_parts}."
            )
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "_hash", hash((self.function, arguments)))
        depth = 1 + max(0 if part is None else part.depth for part in calls)
        object.__setattr__(self, "depth", depth)
        object.__setattr__(self, "_nesting", nesting)
        object.__setattr__(self, "_num_parts", num_parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Call):
            return NotImplemented
        if (self._hash, self._num_parts) != (other._hash, other._num_parts):
            return False
        # The arity of every function is known, so equal sequences are equal expressions.
        return all(
            one.function == another.function
            if isinstance(one, Call) and isinstance(another, Call)
            else not isinstance(another, Call) and one == another
            for one, another in zip(in_order(self), in_order(other), strict=True)
        )

    def __reduce__(self) -> tuple[Callable[..., Expression], tuple[tuple[Expression | str, ...]]]:
        # Python salts the hashes of strings, so `_hash` must not travel to another process.
        parts = (part.function if isinstance(part, Call) else part for part in in_order(self))
        return _put_together, (tuple(parts),)

    def __str__(self) -> str:
        return written(self, str, _pieces)


def _pieces(part: Call) -> Iterator[Expression | str]:
    row = FUNCTIONS[part.function]
    if not row.infix:
        yield f"{part.function}("
        yield part.arguments[0]
        yield ")"
    elif row.num_arguments == 1:
        yield row.infix
        yield from in_brackets(part.arguments[0], row.precedence + 1)
    else:
        left, right = part.arguments
        # a - (b - c), a / (b / c) and (a ** b) ** c need their brackets; a + b + c does not.
        yield from in_brackets(left, row.precedence + (part.function == "pow"))
        yield row.infix
        yield from in_brackets(right, row.precedence + (part.function in ("sub", "div")))


def in_brackets(expression: Expression, at_least: int) -> Iterator[Expression | str]:
    """An expression as pieces of text, in brackets where it binds less than `at_least`."""
    precedence = 9
    if isinstance(expression, Call):
        precedence = FUNCTIONS[expression.function].precedence
    elif isinstance(expression, Number) and math.copysign(1, expression.value) < 0:
        precedence = FUNCTIONS["neg"].precedence
    yield from (expression,) if precedence >= at_least else ("(", expression, ")")


def written(
    expression: Expression,
    leaf: Callable[[Expression], str],
    pieces: Callable[[Call], Iterator[Expression | str]],
) -> str:
    """An expression as text: `leaf` writes numbers and symbols, `pieces` functions.

    Where an argument is to stand, `pieces` gives the expression.
    """
    text: list[str] = []
    todo: list[Expression | str] = [expression]
    while todo:
        piece = todo.pop()
        if isinstance(piece, Call):
            todo += reversed(list(pieces(piece)))
        else:
            text.append(piece if isinstance(piece, str) else leaf(piece))
    return "".join(text)


def in_order(expression: Expression) -> Iterator[Expression]:
    """All parts of an expression, from left to right, a function behind its arguments."""
    todo: list[tuple[Expression, bool]] = [(expression, False)]
    while todo:
        part, seen = todo.pop()
        if isinstance(part, Call) and not seen:
            todo.append((part, True))
            todo += [(argument, False) for argument in reversed(part.arguments)]
        else:
            yield part


def fold(
    expression: Expression,
    leaf: Callable[[Expression], _Value],
    function: Callable[[Call, Sequence[_Value]], _Value],
) -> _Value:
    """The value of an expression, from `leaf` of its numbers and symbols upwards.

    `function` takes a call and the values of its arguments.
    """
    if not isinstance(expression, Call):
        return leaf(expression)
    values: list[_Value] = []
    for part in in_order(expression):
        if isinstance(part, Call):
            count = len(part.arguments)
            values[-count:] = [function(part, values[-count:])]
        else:
            values.append(leaf(part))
    return values[0]


def _put_together(parts: Sequence[Expression | str]) -> Expression:
    """The expression whose parts these are, in order, functions by their names."""
    values: list[Expression] = []
    for part in parts:
        if isinstance(part, str):
            count = FUNCTIONS[part].num_arguments
            values[-count:] = [Call(part, tuple(values[-count:]))]
        else:
            values.append(part)
    return values[0]


def _format_number(value: float) -> str:
    """Write multiples of π as such when that is exact: π/2, 3π/4, -π."""
    for denominator in (1, 2, 3, 4, 6, 8):
        numerator = round(value * denominator / math.pi)
        if numerator and abs(numerator) <= 16 and value == numerator * math.pi / denominator:
            sign = "-" if numerator < 0 else ""
            times = "" if abs(numerator) == 1 else str(abs(numerator))
            over = "" if denominator == 1 else f"/{denominator}"
            return f"{sign}{times}π{over}"
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


@dataclass(frozen=True, slots=True)
class Vector:
    """The vector that an angle takes its symbols from: `x[0]` is the first input."""

    name: str

    def __getitem__(self, index: int) -> Symbol:
        return Symbol(self.name, int(index) if is_integer(index) else index)

    # Without this, a loop over x calls __getitem__ with 0, 1, 2, … and does not end.
    __iter__ = None


#: The inputs: the features of one sample.
x = Vector("x")
#: The weights: what is trained.
w = Vector("w")


def angle(value: AngleLike) -> Expression:
    """Turn a number, which must be finite, into a `Number`; leave expressions as they are."""
    return value if isinstance(value, Expression) else Number(value)


def _function(name: str, num_arguments: int) -> Function:
    """The row of a function, its name and how many arguments it is given checked."""
    if not isinstance(name, str) or name not in FUNCTIONS:
        raise InputError(
            f"Argument `function` must be one of {', '.join(FUNCTIONS)}, but is {name!r}."
        )
    row = FUNCTIONS[name]
    if num_arguments != row.num_arguments:
        raise InputError(
            f"Function `{name}` must have as many arguments as it takes, {row.num_arguments}, "
            f"but has {num_arguments}."
        )
    return row


def call(function: str, *arguments: AngleLike) -> Expression:
    """Apply a function of `FUNCTIONS`; constants fold, everything else is kept as written."""
    row = _function(function, len(arguments))
    expressions = tuple(angle(argument) for argument in arguments)
    values = [part.value for part in expressions if isinstance(part, Number)]
    if function == "div" and expressions[1] == Number(0.0):
        raise InputError(f"Function `div` must not divide by 0, but is to divide {expressions[0]}.")
    if len(values) < len(expressions):
        return Call(function, expressions)
    try:
        return angle(row.evaluate(*values))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(
            f"Function `{function}` must be defined at its arguments, but at {values} it is not: "
            f"{error}."
        ) from None


def symbols(expression: Expression) -> Iterator[Symbol]:
    """Every symbol of an expression, from left to right, with repetitions."""
    return (part for part in in_order(expression) if isinstance(part, Symbol))


def substitute(expression: Expression, replace: Callable[[Symbol], AngleLike]) -> Expression:
    """Replace every symbol; constants fold on the way."""
    return fold(
        expression,
        lambda leaf: angle(replace(leaf)) if isinstance(leaf, Symbol) else leaf,
        lambda part, arguments: call(part.function, *arguments),
    )


def evaluate(
    expression: Expression,
    inputs: Mapping[int, float] | list[float],
    weights: Mapping[int, float] | list[float],
) -> float:
    """The value of an expression on plain floats, in radians: the slow and obvious reference."""

    def value(leaf: Expression) -> float:
        if isinstance(leaf, Number):
            return leaf.value
        assert isinstance(leaf, Symbol)
        return float((inputs if leaf.vector == "x" else weights)[leaf.index])

    return fold(
        expression,
        value,
        lambda part, arguments: FUNCTIONS[part.function].evaluate(*arguments),
    )


def to_json(expression: Expression) -> float | list[object]:
    """An expression as lists that JSON can write.

    A number stays a number; `x[0]` is ["x", 0]; a call is [function, argument, …]. Where that
    would be more than MAX_NESTING lists in each other, a chain is one list, from left to right:
    `a + b - c` is [a, "add", b, "sub", c].
    """
    flat = isinstance(expression, Call) and expression.depth > MAX_NESTING

    def leaf(part: Expression) -> Any:
        if isinstance(part, Number):
            return part.value
        assert isinstance(part, Symbol)
        return [part.vector, part.index]

    def function(part: Call, arguments: Sequence[Any]) -> Any:
        if not flat or part.function not in _CHAINS:
            return [part.function, *arguments]
        first, second = arguments
        before = part.arguments[0]
        if isinstance(before, Call) and before.function in _CHAINS:
            # Its list goes on: it is in no other place, as every part makes a list of its own.
            first += [part.function, second]
            return first
        return [first, part.function, second]

    result: float | list[object] = fold(expression, leaf, function)
    return result


def from_json(data: object) -> Expression:
    """Read back what `to_json` wrote."""
    values: list[Expression] = []
    todo: list[tuple[object, bool]] = [(data, False)]
    while todo:
        node, seen = todo.pop()
        if not isinstance(node, list):
            values.append(angle(node))  # type: ignore[arg-type]
        elif len(node) == 2 and node[0] in (x.name, w.name):
            values.append(Vector(node[0])[node[1]])
        elif not seen:
            todo.append((node, True))
            todo += [(argument, False) for argument in reversed(_arguments(node))]
        else:
            count = len(_arguments(node))
            own = values[len(values) - count :]
            del values[len(values) - count :]
            if isinstance(node[0], str):
                values.append(call(node[0], *own))
            else:
                values.append(own[0])
                for name, argument in zip(node[1::2], own[1:], strict=True):
                    values.append(call(name, values.pop(), argument))
    return values[0]


def _arguments(node: list[Any]) -> list[Any]:
    """The arguments of a call in JSON, or of a chain of calls."""
    if node and isinstance(node[0], str) and node[0] in FUNCTIONS:
        return node[1:]
    chain = len(node) > 1 and len(node) % 2 and not isinstance(node[0], str)
    if chain and all(isinstance(name, str) and name in _CHAINS for name in node[1::2]):
        return node[::2]
    raise InputError(
        'Argument `angle` in JSON must be a number, ["x", i], ["w", j], [function, arguments] with '
        f"one of the functions {', '.join(FUNCTIONS)}, or [argument, function, argument, …] with "
        f"{', '.join(_CHAINS)}, but is {reprlib.repr(node)}."
    )
