"""Angles as Qiskit's ParameterExpressions and back.

To Qiskit, an angle is arithmetic on Parameters. From Qiskit, an angle is rebuilt from the list of
instructions that made the expression, `_qpy_replay`, which Qiskit uses to write QPY files and SymPy
expressions. The name is private, but Qiskit 2.2 and later have no better way: `sympify` needs
SymPy, which Qiskit no longer installs and whose parser evaluates strings, and the text of `str` has
no fixed form. For safety, every expression that is read is compared at random points with Qiskit's
own `bind`, and a difference is refused.
"""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from qiskit.circuit import Parameter, ParameterExpression
from qiskit.circuit.parameterexpression import op_code_to_method

from qnn_jax.circuits.angles import (
    FUNCTIONS,
    AngleLike,
    Call,
    Expression,
    Number,
    Symbol,
    angle,
    call,
    evaluate,
    fold,
)
from qnn_jax.circuits.angles import symbols as symbols_of
from qnn_jax.errors import InputError

#: Unary methods of Qiskit's ParameterExpression, and the functions of `circuits.angles.FUNCTIONS`.
_UNARY: Mapping[str, str] = MappingProxyType(
    {row.name: name for name, row in FUNCTIONS.items() if not row.infix}
)
#: How our functions are called on Qiskit's expressions.
_TO_QISKIT: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "add": operator.add,
        "sub": operator.sub,
        "mul": operator.mul,
        "div": operator.truediv,
        "neg": operator.neg,
        "pow": operator.pow,
        **{ours: operator.methodcaller(theirs) for theirs, ours in _UNARY.items()},
    }
)


def _sum(left: AngleLike, right: AngleLike) -> Expression:
    """The sum as people write it.

    Qiskit puts a number first, else a symbol, and has no difference where one of them is negative.
    """
    left, right = angle(left), angle(right)
    if isinstance(left, Number) or (isinstance(left, Symbol) and _is(right, "mul")):
        left, right = right, left
    if isinstance(right, Number) and right.value == 0:
        return left
    if isinstance(right, Number) and right.value < 0:
        return call("sub", left, -right.value)
    if isinstance(left, Call) and _is(left, "neg"):
        return call("sub", right, left.arguments[0])
    return call("add", left, right)


def _is(expression: Expression, function: str) -> bool:
    return isinstance(expression, Call) and expression.function == function


def _product(left: AngleLike, right: AngleLike) -> Expression:
    """A * b as people write it: Qiskit's -a is a * -1, and its a - a is 0 * a."""
    left, right = angle(left), angle(right)
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Number) and one.value == 0:
            return Number(0.0)
        if isinstance(one, Number) and one.value == -1:
            return call("neg", other)
    return call("mul", left, right)


#: Binary methods of Qiskit's ParameterExpression, on ours.
_BINARY: Mapping[str, Callable[[AngleLike, AngleLike], Expression]] = MappingProxyType(
    {
        "__add__": _sum,
        "__sub__": lambda a, b: call("sub", a, b),
        "__rsub__": lambda a, b: call("sub", b, a),
        "__mul__": _product,
        "__truediv__": lambda a, b: call("div", a, b),
        "__rtruediv__": lambda a, b: call("div", b, a),
        "__pow__": lambda a, b: call("pow", a, b),
        "__rpow__": lambda a, b: call("pow", b, a),
    }
)


def to_parameter_expression(
    expression: Expression, parameters: Mapping[str, Any]
) -> ParameterExpression | float:
    """An angle in Qiskit, function by function; `parameters` has sequences for x and w."""

    def leaf(part: Expression) -> ParameterExpression | float:
        if isinstance(part, Number):
            # Qiskit divides by 2, but multiplies by 0.5 where 2.0 is asked for.
            return int(part.value) if part.value.is_integer() else part.value
        assert isinstance(part, Symbol)
        return parameters[part.vector][part.index]

    return fold(expression, leaf, lambda part, values: _TO_QISKIT[part.function](*values))


def from_parameter_expression(value: Any, symbols: Mapping[Parameter, AngleLike]) -> Expression:
    """An angle from Qiskit: a number, a Parameter or any expression of those in `symbols`."""
    if isinstance(value, Parameter):
        return _symbol(value, symbols)
    if not isinstance(value, ParameterExpression):
        return _number(value)
    instructions = value._qpy_replay  # Qiskit makes this list at each access
    expression = _walked(value, instructions, symbols) if instructions else _bare(value, symbols)
    _check(expression, value, symbols)
    return expression


def _bare(value: ParameterExpression, symbols: Mapping[Parameter, AngleLike]) -> Expression:
    """An expression without instructions: a symbol or a number."""
    for parameter in value.parameters:
        if value.is_symbol() and parameter.name == str(value):
            return _symbol(parameter, symbols)
    return _number(value.bind(dict.fromkeys(value.parameters, 0.5)).numeric())


def _symbol(parameter: Parameter, symbols: Mapping[Parameter, AngleLike]) -> Expression:
    if parameter not in symbols:
        raise InputError(
            f"Argument `circuit` has the free parameter {parameter.name!r}, which is named neither "
            "in `inputs` nor in `weights`."
        )
    return angle(symbols[parameter])


def _number(value: Any) -> Expression:
    number = complex(value)
    if number.imag:
        raise InputError(f"Argument `circuit` must have real angles, but has {number:g}.")
    if not math.isfinite(number.real):
        raise InputError(
            f"Argument `circuit` must have finite angles, but one is {number.real}; a number "
            "above 1.8e308 is infinite as a float."
        )
    return angle(number.real)


def _walked(
    value: ParameterExpression, instructions: Sequence[Any], symbols: Mapping[Parameter, AngleLike]
) -> Expression:
    """Repeat the instructions; an operand that is None is the last result."""
    stack: list[Expression] = []
    for instruction in instructions:
        operands = [
            from_parameter_expression(operand, symbols)
            for operand in (instruction.lhs, instruction.rhs)
            if operand is not None
        ]
        method = op_code_to_method(instruction.op)
        if method in _BINARY:
            if instruction.rhs is None:
                operands.append(stack.pop())
            if instruction.lhs is None:
                operands.insert(0, stack.pop())
            stack.append(_BINARY[method](*operands))
        elif method in _UNARY:
            stack.append(call(_UNARY[method], *(operands or [stack.pop()])))
        elif method == "conjugate":  # of a real angle
            stack.append(*(operands or [stack.pop()]))
        else:
            raise InputError(
                "Argument `circuit` must have angles of Qiskit's arithmetic and functions, but "
                f"{value} uses {method!r}."
            )
    return stack.pop()


def _at(expression: Expression, vectors: Mapping[str, dict[int, float]]) -> float:
    return evaluate(expression, vectors["x"], vectors["w"])


#: Ranges of the points at which expressions are compared. The later ones are for functions that are
#: not defined in the first.
_RANGES = ((0.2, 0.9), (0.2, 0.9), (1.1, 3.0), (-0.9, -0.2), (-3.0, -1.1))


def _check(
    expression: Expression, value: ParameterExpression, symbols: Mapping[Parameter, AngleLike]
) -> None:
    """Refuse an expression that is not Qiskit's at random points."""
    draw = random.Random(0)
    compared = 0
    for low, high in _RANGES:
        vectors: dict[str, dict[int, float]] = {"x": {}, "w": {}}
        meanings = {p: angle(symbols[p]) for p in sorted(value.parameters, key=lambda p: p.name)}
        for symbol in (s for meaning in meanings.values() for s in symbols_of(meaning)):
            vectors[symbol.vector].setdefault(symbol.index, draw.uniform(low, high))
        try:
            points = {p: _at(meaning, vectors) for p, meaning in meanings.items()}
            theirs = complex(value.bind(points).numeric(strict=False))
        except (ArithmeticError, RuntimeError, TypeError, ValueError):
            continue
        if theirs.imag or not math.isfinite(theirs.real):
            continue
        try:
            ours = _at(expression, vectors)
        except (ArithmeticError, ValueError):
            ours = math.nan
        if not abs(ours - theirs.real) <= 1e-9 * max(1.0, abs(theirs.real)):
            raise InputError(
                f"Argument `circuit` must have angles that can be read, but {value} was read as "
                f"{expression}, and at one point they are {theirs.real:g} and {ours:g}."
            )
        compared += 1
        if compared == 2:
            return
    if not compared:
        raise InputError(
            f"Argument `circuit` must have real angles, but {value} was not real at any point that "
            "was tried."
        )
