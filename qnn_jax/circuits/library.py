"""The circuits that users expect, with Qiskit's names, defaults and parameter order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeAlias

from qnn_jax.circuits.angles import w, x
from qnn_jax.circuits.circuit import Circuit, Op, _at_least
from qnn_jax.errors import InputError

#: Which qubits are entangled: a pattern's name, or the pairs themselves.
Entanglement: TypeAlias = str | Sequence[Sequence[int]]

PATTERNS = ("full", "linear", "reverse_linear", "circular", "sca", "pairwise")


def entangled_pairs(
    num_qubits: int, entanglement: Entanglement, layer: int = 0
) -> tuple[tuple[int, int], ...]:
    """The pairs (control, target) of one entangling layer, in Qiskit's order.

    Args:
        num_qubits: how many qubits there are.
        entanglement: one of `PATTERNS`, or pairs of qubits.
        layer: the number of the layer; only "sca" (shifted circular alternating) depends on it.
    """
    if not isinstance(entanglement, str):
        return tuple((int(a), int(b)) for a, b in entanglement)
    if entanglement not in PATTERNS:
        raise InputError(
            f"Argument `entanglement` must be one of {', '.join(PATTERNS)} or pairs of qubits, "
            f"but is {entanglement!r}."
        )
    linear = tuple((q, q + 1) for q in range(num_qubits - 1))
    if entanglement == "full":
        return tuple(itertools.combinations(range(num_qubits), 2))
    if entanglement == "reverse_linear":
        return linear[::-1]
    if entanglement == "pairwise":
        return linear[::2] + linear[1::2]
    if entanglement == "linear":
        return linear
    circular = ((num_qubits - 1, 0), *linear) if num_qubits > 2 else linear
    if entanglement == "circular" or not circular:
        return circular
    turn = layer % len(circular)
    turned = circular[-turn:] + circular[:-turn] if turn else circular
    return tuple((b, a) for a, b in turned) if layer % 2 else turned


def zz_feature_map(
    num_qubits: int, reps: int = 2, entanglement: Entanglement = "full", alpha: float = 2.0
) -> Circuit:
    """Qiskit's `zz_feature_map`: one input a qubit, no weights.

    Each repetition is H on all qubits, P(α x_i) on qubit i, and for each entangled pair (i, j)
    CX(i, j), P(α (π - x_i)(π - x_j)) on j, CX(i, j).

    Reference: Havlíček et al., arXiv:1804.11326.

    >>> print(zz_feature_map(2, reps=1))
    q0: ─H─P(2*x[0])─●────────────────────────────●─
    q1: ─H─P(2*x[1])─⊕─P(2*(π - x[0])*(π - x[1]))─⊕─
    """
    _at_least("num_qubits", num_qubits, 2)
    _at_least("reps", reps, 1)
    ops = []
    for layer in range(reps):
        ops += [Op("h", q) for q in range(num_qubits)]
        ops += [Op("p", q, alpha * x[q]) for q in range(num_qubits)]
        for i, j in entangled_pairs(num_qubits, entanglement, layer):
            phase = alpha * (math.pi - x[i]) * (math.pi - x[j])
            ops += [Op("cx", (i, j)), Op("p", j, phase), Op("cx", (i, j))]
    return Circuit(num_qubits, tuple(ops), num_inputs=num_qubits)


def real_amplitudes(
    num_qubits: int, reps: int = 3, entanglement: Entanglement = "reverse_linear"
) -> Circuit:
    """Qiskit's `real_amplitudes`: RY layers with CX between, (reps + 1) · num_qubits weights.

    >>> print(real_amplitudes(2, reps=1))
    q0: ─RY(w[0])─●─RY(w[2])─
    q1: ─RY(w[1])─⊕─RY(w[3])─
    """
    _at_least("num_qubits", num_qubits, 1)
    _at_least("reps", reps, 0)
    ops = []
    for layer in range(reps + 1):
        if layer:
            ops += [Op("cx", pair) for pair in entangled_pairs(num_qubits, entanglement, layer - 1)]
        ops += [Op("ry", q, w[layer * num_qubits + q]) for q in range(num_qubits)]
    return Circuit(num_qubits, tuple(ops), num_inputs=0)
