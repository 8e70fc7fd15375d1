"""Angles are values: small expressions over inputs `x[i]`, weights `w[j]` and numbers.

An expression holds no array and evaluates nothing by itself, so it is hashable, compares by value,
exports exactly to Qiskit and reads back. Its functions are those of Qiskit's ParameterExpression.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from qnn_jax.circuits.checks import is_integer, shortened
from qnn_jax.errors import InputError

#: What may be written where an angle is wanted; plain numbers become `Number`.
AngleLike: TypeAlias = "Expression | float"


@dataclass(frozen=True)
class Function:
    """One row of the function table: the meaning on floats, the arity and how it is printed."""

    evaluate: Callable[..., float]
    num_arguments: int
    infix: str = ""
    precedence: int = 9


def _sign(value: float) -> float:
    return float((value > 0) - (value < 0))


#: Every function that an angle may use, by name. `simulate/` has the same names in JAX.
FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "add": Function(lambda a, b: a + b, 2, " + ", 1),
        "sub": Function(lambda a, b: a - b, 2, " - ", 1),
        "mul": Function(lambda a, b: a * b, 2, "*", 2),
        "div": Function(lambda a, b: a / b, 2, "/", 2),
        "neg": Function(lambda a: -a, 1, "-", 3),
        "pow": Function(math.pow, 2, "**", 4),
        "sin": Function(math.sin, 1),
        "cos": Function(math.cos, 1),
        "tan": Function(math.tan, 1),
        "asin": Function(math.asin, 1),
        "acos": Function(math.acos, 1),
        "atan": Function(math.atan, 1),
        "exp": Function(math.exp, 1),
        "log": Function(math.log, 1),
        "abs": Function(abs, 1),
        "sign": Function(_sign, 1),
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
        value = self.value
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise InputError(
                "Argument `angle` must be a real number or an expression of x[i] and w[j], "
                f"but is {value!r}."
            )
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise InputError(f"Argument `angle` must be finite, but is {number}.")
        object.__setattr__(self, "value", number)

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


@dataclass(frozen=True, slots=True, repr=False)
class Call(Expression):
    """A function of `FUNCTIONS` applied to expressions."""

    function: str
    arguments: tuple[Expression, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.arguments, tuple):
            raise InputError(
                "Argument `arguments` of a call must be a tuple of expressions, but is "
                f"{self.arguments!r}."
            )
        _function(self.function, len(self.arguments))
        object.__setattr__(self, "arguments", tuple(map(angle, self.arguments)))

    def __str__(self) -> str:
        row = FUNCTIONS[self.function]
        if not row.infix:
            return f"{self.function}({', '.join(map(str, self.arguments))})"
        if row.num_arguments == 1:
            return f"{row.infix}{_in_brackets(self.arguments[0], row.precedence + 1)}"
        left, right = self.arguments
        # a - (b - c), a / (b / c) and (a ** b) ** c need their brackets; a + b + c does not.
        left_needs = row.precedence + (self.function == "pow")
        right_needs = row.precedence + (self.function in ("sub", "div"))
        return f"{_in_brackets(left, left_needs)}{row.infix}{_in_brackets(right, right_needs)}"


def _in_brackets(expression: Expression, at_least: int) -> str:
    precedence = 9
    if isinstance(expression, Call):
        precedence = FUNCTIONS[expression.function].precedence
    elif isinstance(expression, Number) and expression.value < 0:
        precedence = FUNCTIONS["neg"].precedence
    text = str(expression)
    return text if precedence >= at_least else f"({text})"


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

    # Without this Python would try __getitem__ with 0, 1, 2, … for ever.
    __iter__ = None


#: The inputs: what the circuit is told about a sample (features, data).
x = Vector("x")
#: The weights: what is trained.
w = Vector("w")


def angle(value: AngleLike) -> Expression:
    """Turn a number into a `Number` and leave expressions as they are.

    Raises:
        InputError: for anything else, and for NaN and infinities.
    """
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


def sin(value: AngleLike) -> Expression:
    """Sine of an expression."""
    return call("sin", value)


def cos(value: AngleLike) -> Expression:
    """Cosine of an expression."""
    return call("cos", value)


def exp(value: AngleLike) -> Expression:
    """Exponential of an expression."""
    return call("exp", value)


def symbols(expression: Expression) -> Iterator[Symbol]:
    """Every symbol of an expression, from left to right, with repetitions."""
    if isinstance(expression, Symbol):
        yield expression
    elif isinstance(expression, Call):
        for argument in expression.arguments:
            yield from symbols(argument)


def substitute(expression: Expression, replace: Callable[[Symbol], AngleLike]) -> Expression:
    """Replace every symbol; constants fold on the way."""
    if isinstance(expression, Symbol):
        return angle(replace(expression))
    if isinstance(expression, Call):
        return call(
            expression.function, *(substitute(part, replace) for part in expression.arguments)
        )
    return expression


def evaluate(
    expression: Expression,
    inputs: Mapping[int, float] | list[float],
    weights: Mapping[int, float] | list[float],
) -> float:
    """The value of an expression on plain floats, in radians: the slow and obvious reference."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Symbol):
        return float((inputs if expression.vector == "x" else weights)[expression.index])
    assert isinstance(expression, Call)
    row = FUNCTIONS[expression.function]
    return row.evaluate(*(evaluate(part, inputs, weights) for part in expression.arguments))


def to_json(expression: Expression) -> float | list[object]:
    """A number stays a number; `x[0]` is ["x", 0]; a call is [function, argument, …]."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Symbol):
        return [expression.vector, expression.index]
    assert isinstance(expression, Call)
    return [expression.function, *map(to_json, expression.arguments)]


def from_json(data: object) -> Expression:
    """Read back what `to_json` wrote."""
    if not isinstance(data, list):
        return angle(data)  # type: ignore[arg-type]
    if len(data) == 2 and data[0] in (x.name, w.name):
        return Vector(data[0])[data[1]]
    if not data or not isinstance(data[0], str) or data[0] not in FUNCTIONS:
        raise InputError(
            'Argument `angle` in JSON must be a number, ["x", i], ["w", j] or [function, arguments'
            f"] with one of the functions {', '.join(FUNCTIONS)}, but is {data!r}."
        )
    return call(data[0], *map(from_json, data[1:]))
