"""Angles that are affine in the inputs, determined from their expressions, not numerically.

An input may be scaled by weights: in w[0]*x[0] + w[1] the rescaled variable is w[0]*x[0].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qnn_jax.circuits.angles import (
    AngleLike,
    Call,
    Expression,
    Number,
    Symbol,
    call,
    evaluate,
    fold,
    substitute,
)
from qnn_jax.circuits.angles import x as _x
from qnn_jax.circuits.checks import at_least, of_type, real
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError


@dataclass(frozen=True)
class Variable:
    """An input times its scales: x[index], or for instance w[0]*x[index]."""

    index: int  # of the input
    #: Expressions of weights that multiply it; empty if there are none.
    scales: tuple[Expression, ...] = ()

    def __str__(self) -> str:
        product: Expression = _x[self.index]
        for scale in reversed(self.scales):
            product = call("mul", scale, product)
        return str(product)

    def scale(self, weights: list[float]) -> float:
        """The factor of the input at these weights."""
        product = 1.0
        for one in self.scales:
            product *= evaluate(one, [], weights)
        return product


#: Coefficients of the variables in an angle.
Slopes = Mapping[Variable, float]


def slopes_of(circuit: Circuit) -> list[tuple[Slopes, ...]]:
    """For every gate, for each of its angles, the coefficients of the rescaled variables."""
    every: list[tuple[Slopes, ...]] = []
    for number, op in enumerate(circuit.ops):
        slopes: list[Slopes] = []
        for angle in op.angles:
            found = _slopes(angle)
            if found is None:
                raise InputError(
                    "Argument `circuit` must have angles that are affine in the inputs for an "
                    f"exact Fourier spectrum, but gate {number}, {op.gate} on {op.qubits}, has the "
                    f"angle {angle}, so that its function is no Fourier series; use a feature map "
                    "without such products, for instance z_feature_map."
                )
            slopes.append(found)
        every.append(tuple(slopes))
    return every


def hold(circuit: Circuit, fixed: Mapping[int, float]) -> Circuit:
    """The same circuit with some inputs, by index, fixed to a value; as many inputs as before."""
    of_type("fixed", fixed, Mapping, "a mapping from numbers of inputs to values")
    values = {
        at_least("fixed", index, 0, circuit.num_inputs - 1): real("fixed", value)
        for index, value in fixed.items()
    }

    def held(s: Symbol) -> AngleLike:
        return values[s.index] if s.vector == "x" and s.index in values else s

    ops = (
        Op(op.gate, op.qubits, [substitute(angle, held) for angle in op.angles], op.matrix)
        for op in circuit.ops
    )
    return Circuit(circuit.num_qubits, tuple(ops), circuit.num_inputs, circuit.num_weights)


def in_variables(circuit: Circuit, variables: tuple[Variable, ...]) -> Circuit:
    """The same circuit with the rescaled variables as its inputs: x[v] is variables[v]."""
    ops = []
    for op, slopes in zip(circuit.ops, slopes_of(circuit), strict=True):
        angles = []
        for angle, slope in zip(op.angles, slopes, strict=True):
            rewritten = substitute(angle, lambda s: 0.0 if s.vector == "x" else s)
            for variable, coefficient in slope.items():
                rewritten = rewritten + coefficient * _x[variables.index(variable)]
            angles.append(rewritten)
        ops.append(Op(op.gate, op.qubits, angles, op.matrix))
    return Circuit(circuit.num_qubits, tuple(ops), len(variables), circuit.num_weights)


def _slopes(angle: Expression) -> dict[Variable, float] | None:
    """The coefficients of an affine expression, without zeros; None if it is not affine."""
    return fold(angle, _of_leaf, _of_call)[1]


#: Whether a part reads inputs, and its coefficients if it is affine.
_Found: TypeAlias = tuple[bool, "dict[Variable, float] | None"]


def _of_leaf(part: Expression) -> _Found:
    if isinstance(part, Symbol) and part.vector == "x":
        return True, {Variable(part.index): 1.0}
    return False, {}


def _of_call(part: Call, parts: Sequence[_Found]) -> _Found:
    if not any(reads for reads, _ in parts):
        return False, {}
    (reads_first, first), (reads_last, last) = parts[0], parts[-1]
    if part.function in ("add", "sub") and first is not None and last is not None:
        sign = 1.0 if part.function == "add" else -1.0
        for variable, coefficient in last.items():
            first[variable] = first.get(variable, 0.0) + sign * coefficient
            if not first[variable]:
                del first[variable]
        return True, first
    if part.function == "neg" and first is not None:
        return True, {variable: -c for variable, c in first.items()}
    if part.function == "mul" and first is not None and not reads_last:
        return True, _scaled(first, part.arguments[1])
    if part.function == "mul" and last is not None and not reads_first:
        return True, _scaled(last, part.arguments[0])
    if part.function == "div" and first is not None and not reads_last:
        return True, _scaled(first, call("div", 1.0, part.arguments[1]))
    return True, None


def _scaled(slopes: Slopes, scale: Expression) -> dict[Variable, float]:
    number, factors = _factors(scale)
    return {
        Variable(one.index, tuple(sorted((*one.scales, *factors), key=str))): number * coefficient
        for one, coefficient in slopes.items()
        if number
    }


def _factors(scale: Expression) -> tuple[float, tuple[Expression, ...]]:
    """A product as its number and its other factors, so that 2*w[0] and w[0]*2 are one scale."""
    return fold(
        scale,
        lambda leaf: (leaf.value, ()) if isinstance(leaf, Number) else (1.0, (leaf,)),
        _factors_of_call,
    )


def _factors_of_call(
    part: Call, parts: Sequence[tuple[float, tuple[Expression, ...]]]
) -> tuple[float, tuple[Expression, ...]]:
    if part.function == "neg":
        ((number, factors),) = parts
        return -number, factors
    if part.function == "mul":
        (a, left), (b, right) = parts
        return a * b, left + right
    return 1.0, (part,)
