"""Circuits in a form that every engine reads: `Circuit.to_json`, and the values of its angles.

    {"num_qubits": 2, "num_inputs": 1, "num_weights": 1, "ops": [
        {"gate": "h", "qubits": [0]},
        {"gate": "ry", "qubits": [1], "angles": [["mul", ["w", 0], ["x", 0]]]}]}

An angle is a number, ["x", i] (an input), ["w", j] (a weight), or [function, argument, …].
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

#: The functions in angles of the benchmark's circuits.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
}


def angles_of(circuit: Mapping[str, Any]) -> list[Any]:
    """Every angle of every gate, in order."""
    return [angle for op in circuit["ops"] for angle in op.get("angles", ())]


def depends(angle: Any) -> bool:
    """Whether an angle depends on inputs or weights."""
    return isinstance(angle, list)


def angle_table(m: Any, circuit: Mapping[str, Any], inputs: Any, weights: Any) -> Any:
    """All angles as one array, shape (num_angles,).

    Angles of one form are evaluated together, so that the size of a simulator's program does not
    depend on their number: the simulation is compared, not the evaluation of expressions.

    Args:
        m: numpy or jax.numpy.
        circuit: the neutral form, parsed by `json.loads`.
        inputs: shape (num_inputs,).
        weights: shape (num_weights,).
    """
    groups: dict[str, list[int]] = {}
    angles = angles_of(circuit)
    for position, angle in enumerate(angles):
        groups.setdefault(json.dumps(_shape(angle)), []).append(position)
    if not groups:
        return m.zeros((0,), weights.dtype)
    values = [
        _evaluate(m, [angles[k] for k in members], inputs, weights) for members in groups.values()
    ]
    order = [position for members in groups.values() for position in members]
    back = sorted(range(len(order)), key=order.__getitem__)
    return m.concatenate(values)[m.array(back)]


def _shape(angle: Any) -> Any:
    if not depends(angle):
        return 0
    head, *rest = angle
    return [head] if head in ("x", "w") else [head, *map(_shape, rest)]


def _evaluate(m: Any, angles: list[Any], inputs: Any, weights: Any) -> Any:
    """Angles of one form; the result has one entry for each."""
    first = angles[0]
    if not depends(first):
        return m.array(angles, weights.dtype)
    head = first[0]
    if head in ("x", "w"):
        return (inputs if head == "x" else weights)[m.array([angle[1] for angle in angles])]
    arguments = (
        _evaluate(m, [angle[k] for angle in angles], inputs, weights) for k in range(1, len(first))
    )
    return FUNCTIONS[head](*arguments)
