"""Expressions of OpenQASM 3: integers stay integers, reals are angles that may have inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from openqasm3 import ast

from qnn_jax.bridge.qasm3 import FUNCTION_NAMES
from qnn_jax.bridge.qasm_limits import Wrong, check_size
from qnn_jax.circuits.angles import MAX_NESTING, MAX_PARTS, Expression, Number, angle, call
from qnn_jax.errors import InputError


@dataclass(frozen=True, slots=True)
class Real:
    """A real number or an expression of inputs, and how many terms it has, written out."""

    expression: Expression
    num_terms: int = 1

    @property
    def number(self) -> float | None:
        """The value, where no input is in it."""
        return self.expression.value if isinstance(self.expression, Number) else None


class Integer(int):
    """An integer with the type that a constant or a cast has given it; literals are plain ints."""

    bits: int  # how many the type has
    signed: bool  # whether it is int and not uint

    def __new__(cls, value: int, bits: int, signed: bool) -> Integer:
        """Refuse a value that the type cannot hold, because it would wrap around."""
        if not -(2 ** (bits - 1)) * signed <= value < 2 ** (bits - signed):
            name = f"{'int' if signed else 'uint'}[{bits}]"
            raise Wrong(f"{_text(value)} does not fit in {name}; declare a type that can hold it")
        made = super().__new__(cls, value)
        made.bits, made.signed = bits, signed
        return made


#: What an expression may be.
Value: TypeAlias = "bool | int | Real"

CONSTANTS: Mapping[str, Real] = MappingProxyType(
    {
        name: Real(Number(value))
        for names, value in ((("pi", "π"), math.pi), (("tau", "τ"), math.tau))
        for name in names
    }
    | {name: Real(Number(math.e)) for name in ("euler", "ℇ")}
)
#: Floats that are less precise than Python's, by their bits.
_FLOATS: Mapping[int, type[np.floating[Any]]] = MappingProxyType({16: np.float16, 32: np.float32})
#: An angle of so many bits is as precise as a double.
_DOUBLE_BITS = 53
#: The functions that a text may use, and their names here.
_FUNCTIONS: Mapping[str, str] = MappingProxyType({v: k for k, v in FUNCTION_NAMES.items()})
_OPERATORS: Mapping[str, str] = MappingProxyType(
    {"+": "add", "-": "sub", "*": "mul", "/": "div", "**": "pow"}
)


def evaluate(node: ast.Expression, look_up: Callable[[str], Value]) -> Value:
    """The value of an expression, whose names `look_up` knows."""
    chain: list[ast.BinaryExpression] = []
    while isinstance(node, ast.BinaryExpression):
        chain.append(node)
        node = node.lhs
    value = _simple(node, look_up)
    for part in reversed(chain):
        value = _binary(part.op.name, value, evaluate(part.rhs, look_up))
    return value


def real(value: Value) -> Real:
    """A value where the language wants a real number: integers are promoted."""
    if isinstance(value, bool):
        raise Wrong("an angle must be a number, but is a bool")
    return value if isinstance(value, Real) else Real(_finite(value))


def integer(value: Value) -> int:
    """A value where the language wants a constant integer."""
    if isinstance(value, bool | Real):
        raise Wrong(f"a size or an index must be an integer, but is {_text(value)}")
    return value


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, Real):
        return str(value)
    return "an expression of inputs" if value.number is None else repr(value.number)


def _finite(value: float) -> Expression:
    try:
        return angle(value)
    except InputError:
        raise Wrong("a number must be finite") from None


def _simple(node: ast.Expression, look_up: Callable[[str], Value]) -> Value:
    if isinstance(node, ast.Identifier):
        return look_up(node.name)
    if isinstance(node, ast.IntegerLiteral):
        return _in_range(node.value)
    if isinstance(node, ast.FloatLiteral):
        return Real(_finite(node.value))
    if isinstance(node, ast.BooleanLiteral):
        return node.value
    if isinstance(node, ast.UnaryExpression) and node.op.name == "-":
        value = evaluate(node.expression, look_up)
        if isinstance(value, bool | Real):
            return apply("neg", real(value))
        return _typed(-int(value), value, value)
    if isinstance(node, ast.Cast):
        return converted(evaluate(node.argument, look_up), node.type, look_up)
    if isinstance(node, ast.FunctionCall):
        return _function(node, look_up)
    operator = f"operator {node.op.name!r}" if isinstance(node, ast.UnaryExpression) else None
    raise Wrong(f"an expression can have no {operator or _kind(node)}")


def _kind(node: ast.QASMNode) -> str:
    """The name of a node of the tree in words: IndexExpression is an index expression."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in type(node).__name__).strip()


def _in_range(value: int) -> int:
    if abs(value) >= 2**64:
        raise Wrong("an integer must fit in 64 bits")
    return value


def _function(node: ast.FunctionCall, look_up: Callable[[str], Value]) -> Real:
    name = node.name.name
    if name != "sqrt" and name not in _FUNCTIONS:
        raise Wrong(
            f"angles are made of numbers, inputs, arithmetic and the functions "
            f"{', '.join(_FUNCTIONS)} and sqrt, but not of {name!r}"
        )
    arguments = [real(evaluate(argument, look_up)) for argument in node.arguments]
    if len(arguments) != 1:
        raise Wrong(f"function {name!r} takes one argument, but is given {len(arguments)}")
    if name == "sqrt":
        return apply("pow", arguments[0], Real(Number(0.5)))
    return apply(_FUNCTIONS[name], arguments[0])


def _binary(operator: str, left: Value, right: Value) -> Value:
    if operator not in _OPERATORS:
        raise Wrong(f"an expression can have no operator {operator!r}")
    if isinstance(left, bool | Real) or isinstance(right, bool | Real):
        return apply(_OPERATORS[operator], real(left), real(right))
    return _of_integers(operator, left, right)


def _of_integers(operator: str, left: int, right: int) -> int:
    one, other = int(left), int(right)
    if operator == "/":
        return _typed(_quotient(one, other), left, right)
    if operator == "**":
        if other < 0:
            raise Wrong(f"the power of an integer is an integer: write {one}.0**{other}")
        power = one**other if other <= 64 or abs(one) < 2 else 2**64
        return _typed(_in_range(power), left, right)
    results = {"+": one + other, "-": one - other, "*": one * other}
    return _typed(_in_range(results[operator]), left, right)


def _typed(result: int, left: int, right: int) -> int:
    """A result in the type that C's rules give it: the wider one, unsigned before signed."""
    typed = [value for value in (left, right) if isinstance(value, Integer)]
    if not typed:
        return _in_range(result)
    types = [
        (v.bits, not v.signed) if isinstance(v, Integer) else (64, False) for v in (left, right)
    ]
    bits, unsigned = max(types)
    return Integer(result, bits, not unsigned)


def _quotient(left: int, right: int) -> int:
    """An exact quotient. Others are refused: 1/2 is 0 in OpenQASM 3, but people mean 0.5."""
    if right == 0:
        raise Wrong(f"{left}/0 divides by zero")
    if left % right:
        cut = abs(left) // abs(right) * (-1 if (left < 0) != (right < 0) else 1)
        raise Wrong(
            f"{left}/{right} is a division of integers and {cut} in OpenQASM 3; write "
            f"{left}.0/{right} for the fraction"
        )
    return left // right


def apply(function: str, *arguments: Real) -> Real:
    """A function of `FUNCTIONS` on reals."""
    num_terms = 1 + sum(argument.num_terms for argument in arguments)
    check_size("terms in an angle", num_terms, MAX_PARTS)
    try:
        expression = call(function, *(argument.expression for argument in arguments))
    except InputError as error:
        inside = ", ".join(_text(argument) for argument in arguments)
        deep = f"{MAX_NESTING} functions in each other" in str(error)
        why = (
            f"has more than {MAX_NESTING} functions in each other"
            if deep
            else "is no finite real number"
        )
        raise Wrong(f"{function} of {inside} {why}") from None
    return Real(expression) if isinstance(expression, Number) else Real(expression, num_terms)


def converted(value: Value, kind: ast.ClassicalType, look_up: Callable[[str], Value]) -> Value:
    """A value as the type that a constant is declared with or that a cast names.

    An angle[n] is a multiple of 2π/2**n, float[16] and float[32] are rounded; every other real
    number is kept in double precision.
    """
    if isinstance(kind, ast.BoolType) and isinstance(value, bool):
        return value
    precision = None
    if isinstance(kind, ast.FloatType | ast.AngleType) and kind.size is not None:
        precision = integer(evaluate(kind.size, look_up))
        if precision < 1:
            raise Wrong(f"a number must have at least 1 bit, but has {precision}")
    if isinstance(kind, ast.FloatType):
        found = real(value)
        if found.number is None or precision is None or precision not in _FLOATS:
            return found
        with np.errstate(over="ignore"):
            return Real(_finite(float(_FLOATS[precision](found.number))))
    if isinstance(kind, ast.AngleType):
        number = real(value).number
        if number is None or not 0 <= number < math.tau:
            raise Wrong(
                f"an angle is kept modulo 2π, so a constant one must be at least 0 and below 2π, "
                f"but is {_text(value)}; declare a float"
            )
        if precision is not None and precision < _DOUBLE_BITS:
            steps = 2**precision
            number = round(number / math.tau * steps) % steps * math.tau / steps
        return Real(Number(number))
    if isinstance(kind, ast.IntType | ast.UintType):
        size = 64 if kind.size is None else integer(evaluate(kind.size, look_up))
        number = value.number if isinstance(value, Real) else value
        signed = isinstance(kind, ast.IntType)
        if number is None or isinstance(number, bool) or number != math.floor(number):
            raise Wrong(f"an integer cannot be made of {_text(value)}")
        if not 1 <= size <= 64:
            raise Wrong(f"an integer must have 1 to 64 bits, but has {size}")
        return Integer(int(number), size, signed)
    raise Wrong(f"values of {_kind(kind)} can not be read")
