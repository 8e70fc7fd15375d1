"""The function of a calculator: a function of a and b on the unit square, by name or expression.

An expression is parsed by Python's own parser and then rebuilt from a short list of nodes, so
nothing of it is ever executed. It becomes an angle expression (`qnn_jax.circuits.angles`), with
a as x[0] and b as x[1]. Imports no JAX.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from qnn_jax.circuits.angles import FUNCTIONS, Call, Expression, Number, Symbol, call, symbols, x
from qnn_jax.errors import InputError

#: Operations by name.
NAMED: Mapping[str, str] = MappingProxyType(
    {
        "add": "a + b",
        "subtract": "a - b",
        "multiply": "a * b",
        "mean": "(a + b) / 2",
        "sin-sum": "sin(a + b)",
    }
)
#: <O> is at most 1, so a head of gain g reaches bias ± g. The gain is limited because 4,096 shots
#: give a standard error of up to g/80: this one keeps the mean error at 0.017.
MAX_GAIN = 1.4
#: The fraction of a head's range that targets may fill: <O> is flat in the angles where it is ±1.
MAX_SPAN = 2 * 0.95 * MAX_GAIN
#: Single precision has seven digits: a larger result has none left after the third decimal.
LARGEST = 100.0
_OPERATORS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.USub: "neg",
}
_CALLS = tuple(name for name, row in FUNCTIONS.items() if not row.infix and name != "neg")
_LONGEST = 200  # characters: more than a person writes, and few enough for the parser's recursion
_GRID = 101


@dataclass(frozen=True)
class Operation:
    """A function of a and b."""

    text: str  # as the user wrote it, names replaced by their expressions
    expression: Expression  # the same, a as x[0] and b as x[1]
    low: float  # its minimum on a grid over the unit square
    high: float  # its maximum

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Its values at inputs (count, 2), shape (count,), in double precision."""
        return _evaluate(self.expression, np.asarray(inputs, float))

    @property
    def middle(self) -> float:
        """The middle between its minimum and its maximum."""
        return (self.low + self.high) / 2


def operation(text: str) -> Operation:
    """Read an operation: one of `NAMED`, or an expression of a and b.

    It must be finite all over the unit square, within a range that a head can reach.

    >>> adding = operation("add")
    >>> adding.text, adding.low, adding.high
    ('a + b', 0.0, 2.0)
    >>> print(operation("a*b + sin(a)").expression)
    x[0]*x[1] + sin(x[0])
    """
    written = NAMED.get(text, text)
    if len(written) > _LONGEST:
        raise _refused(text[:20] + "…", f"has {len(written)} characters, more than {_LONGEST}")
    try:
        tree = ast.parse(written.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refused(text, "cannot be read") from None
    try:
        expression = _expression(tree, text)
    except RecursionError:
        raise _refused(text, "is nested too deeply") from None
    except InputError as error:
        if error.argument == "operation":
            raise
        raise _refused(text, "holds a constant that is no finite number") from None
    if not any(True for _ in symbols(expression)):
        raise _refused(text, "depends on neither a nor b")
    side = np.linspace(0, 1, _GRID)
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    values = _evaluate(expression, points)
    if not np.all(np.isfinite(values)):
        a, b = points[np.flatnonzero(~np.isfinite(values))[0]]
        raise _refused(text, f"is no finite number at a = {a:g}, b = {b:g}")
    low, high = float(values.min()), float(values.max())
    if high - low > MAX_SPAN:
        raise InputError(
            f"Argument `operation` must span at most {MAX_SPAN:g} on the unit square, what a "
            f"head of gain {MAX_GAIN:g} can reach, but {text!r} goes from {low:.3g} to "
            f"{high:.3g}; "
            f"divide it by {math.ceil((high - low) / MAX_SPAN * 10) / 10:g}."
        )
    if max(abs(low), abs(high)) > LARGEST:
        raise InputError(
            f"Argument `operation` must stay within ±{LARGEST:g} on the unit square, as single "
            f"precision has seven digits, but {text!r} reaches {max(low, high, key=abs):.3g}; "
            "subtract a constant."
        )
    if high - low < 1e-6:
        raise _refused(text, f"is {low:g} everywhere")
    return Operation(written, expression, low, high)


def _refused(text: str, why: str) -> InputError:
    return InputError(
        f"Argument `operation` must be {', '.join(NAMED)} or an expression of a and b with "
        f"numbers, + - * / **, pi and {', '.join(_CALLS)}, but {text!r} {why}."
    )


def _expression(node: ast.expr, text: str) -> Expression:
    """Convert a syntax tree into an expression; unlisted nodes are refused."""
    match node:
        case ast.Constant(value=bool() | complex() | str() | bytes() | None):
            pass
        case ast.Constant(value=int() | float() as value) if abs(value) < 1e300:
            return Number(float(value))
        case ast.Name(id="a"):
            return x[0]
        case ast.Name(id="b"):
            return x[1]
        case ast.Name(id="pi"):
            return Number(math.pi)
        case ast.Name(id=name):
            raise _refused(text, f"has the unknown name {name!r}")
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _expression(operand, text)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return call(_OPERATORS[type(op)], _expression(operand, text))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return call(_OPERATORS[type(op)], _expression(left, text), _expression(right, text))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            if name not in _CALLS:
                raise _refused(text, f"calls the unknown function {name!r}")
            if len(args) != 1:
                raise _refused(text, f"gives {name} {len(args)} arguments, not 1")
            return call(name, _expression(args[0], text))
        case _:
            pass
    raise _refused(text, f"has {ast.unparse(node)!r}, which is not one of these")


def _evaluate(expression: Expression, inputs: np.ndarray) -> np.ndarray:
    if isinstance(expression, Call):
        parts = (_evaluate(part, inputs) for part in expression.arguments)
        with np.errstate(all="ignore"):  # values that are not finite are refused below
            return np.asarray(getattr(np, FUNCTIONS[expression.function].name)(*parts))
    if isinstance(expression, Number):
        return np.full(len(inputs), expression.value)
    assert isinstance(expression, Symbol)
    return inputs[:, expression.index]
