"""Random circuits, and the IQP circuits that complexity theory draws at random.

A seed gives the same circuit on every machine and every Python: all randomness comes from
`random.Random(seed).random()`, the one method whose values Python promises to keep.
"""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Sequence
from typing import Any

from qnn_jax.circuits.angles import AngleLike, w
from qnn_jax.circuits.checks import (
    at_least,
    check_num_gates,
    flag,
    is_integer,
    num_qubits_of,
    several,
    shown,
)
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError


def quantum_volume(num_qubits: int, depth: int | None = None, *, seed: int) -> Circuit:
    """Layers of Haar-random SU(4) on random pairs of qubits: the circuits of quantum volume.

    The kind of Qiskit's `quantum_volume`, from a generator of our own: no gate is Qiskit's for the
    same seed.

    Args:
        num_qubits: at least 2; an odd one out rests for a layer.
        depth: how many layers, by default num_qubits.
        seed: of the generator, from 0 to 4294967295.

    Reference: Cross et al., arXiv:1811.12926.
    """
    num_qubits = num_qubits_of(num_qubits, 2)
    layers = num_qubits if depth is None else at_least("depth", depth, 1)
    generator = _generator(seed)
    check_num_gates(layers * (num_qubits // 2))
    ops = []
    for _ in range(layers):
        order = _shuffled(generator, num_qubits)
        for pair in zip(order[::2], order[1::2], strict=False):
            ops.append(Op("unitary", pair, matrix=_special_unitary(generator, 4)))
    return Circuit(num_qubits, tuple(ops))


def random_circuit(
    num_qubits: int, depth: int, max_operands: int = 4, *, seed: int, trainable: bool = False
) -> Circuit:
    """Layers of random gates of the table on random qubits, with random angles.

    The kind of Qiskit's `random_circuit`, from a generator of our own. Each layer uses every qubit
    once: it takes gates on 1 to `max_operands` qubits, all sizes and all gates of a size being
    equally likely, until no qubit is left. A seed keeps its circuit for as long as the gate table
    stays the same.

    Args:
        num_qubits: how many qubits.
        depth: how many layers.
        max_operands: on how many qubits a gate may act, from 1 to 4.
        seed: of the generator, from 0 to 4294967295.
        trainable: False for angles that are numbers in [0, 2π), True for angles w[0], w[1], …
    """
    num_qubits = num_qubits_of(num_qubits)
    depth = at_least("depth", depth, 0)
    max_operands = at_least("max_operands", max_operands, 1, 4)
    flag("trainable", trainable)
    generator = _generator(seed)
    check_num_gates(depth * -(-num_qubits // max_operands))
    by_size = {
        size: [row for row in GATES.values() if row.num_qubits == size]
        for size in range(1, max_operands + 1)
    }
    ops: list[Op] = []
    used = 0
    for _ in range(depth):
        left = _shuffled(generator, num_qubits)
        while left:
            size = 1 + _below(generator, min(max_operands, len(left)))
            row = by_size[size][_below(generator, len(by_size[size]))]
            numbers = [2 * math.pi * generator.random() for _ in range(row.num_angles)]
            angles: list[AngleLike] = [w[used + k] for k in range(row.num_angles)]
            ops.append(Op(row.name, left[:size], angles if trainable else numbers))
            used += row.num_angles
            left = left[size:]
    return Circuit(num_qubits, tuple(ops))


def iqp(interactions: Sequence[Sequence[int]]) -> Circuit:
    r"""Qiskit's `iqp`: a diagonal of T and CS powers between two layers of H.

    $$ H^{⊗n} \prod_i T_i^{A_{ii}} \prod_{i<j} CS_{ij}^{A_{ij}} H^{⊗n} $$

    Args:
        interactions: A, a symmetric square matrix of integers.

    Reference: Bremner et al., arXiv:1504.07999.

    >>> print(iqp([[1, 2], [2, 0]]))
    q0: ─H──●───P(π/4)─H─
    q1: ─H─P(π)───H──────
    """
    rows = _symmetric(interactions)
    size = len(rows)
    layer = [Op("h", q) for q in range(size)]
    pairs = [
        Op("cp", (i, j), math.pi / 2 * rows[i][j])
        for i in range(size)
        for j in range(i + 1, size)
        if rows[i][j] % 4
    ]
    alone = [Op("p", q, math.pi / 4 * rows[q][q]) for q in range(size) if rows[q][q] % 8]
    return Circuit(size, (*layer, *pairs, *alone, *layer))


def random_iqp(num_qubits: int, *, seed: int) -> Circuit:
    """The kind of Qiskit's `random_iqp`: `iqp` of integers drawn from 0 to 7."""
    num_qubits = num_qubits_of(num_qubits)
    generator = _generator(seed)
    check_num_gates(num_qubits * (num_qubits + 1) // 2)
    rows = [[0] * num_qubits for _ in range(num_qubits)]
    for i in range(num_qubits):
        for j in range(i + 1):
            rows[i][j] = rows[j][i] = _below(generator, 8)
    return iqp(rows)


def _symmetric(interactions: Any) -> list[list[int]]:
    """The matrix as lists of integers."""
    rule = "a square matrix"
    rows = [
        several("interactions", row, rule) for row in several("interactions", interactions, rule)
    ]
    if not rows or any(len(row) != len(rows) for row in rows):
        raise InputError(
            f"Argument `interactions` must be a square matrix, but is {shown(interactions)}."
        )
    for i, row in enumerate(rows):
        for j, entry in enumerate(row):
            if not is_integer(entry) or entry != rows[j][i]:
                raise InputError(
                    "Argument `interactions` must be symmetric and hold integers, but holds "
                    f"{shown(entry)} at ({i}, {j}) and {shown(rows[j][i])} at ({j}, {i})."
                )
    return [[int(entry) for entry in row] for row in rows]


def _generator(seed: int) -> random.Random:
    return random.Random(checked_seed("seed", seed))


def _below(generator: random.Random, bound: int) -> int:
    return int(bound * generator.random())


def _shuffled(generator: random.Random, size: int) -> list[int]:
    order = list(range(size))
    for last in range(size - 1, 0, -1):
        other = _below(generator, last + 1)
        order[last], order[other] = order[other], order[last]
    return order


def _normal(generator: random.Random) -> complex:
    """Real and imaginary part of the standard normal distribution (Box and Muller)."""
    radius = math.sqrt(-2 * math.log(1 - generator.random()))
    return cmath.rect(radius, 2 * math.pi * generator.random())


def _special_unitary(generator: random.Random, size: int) -> list[list[complex]]:
    """Haar-random: rows of normal numbers, made orthonormal one after the other, then det = 1."""
    rows: list[list[complex]] = []
    for _ in range(size):
        row = [_normal(generator) for _ in range(size)]
        for done in rows:
            overlap = sum(a.conjugate() * b for a, b in zip(done, row, strict=True))
            row = [b - overlap * a for a, b in zip(done, row, strict=True)]
        norm = math.sqrt(sum(abs(entry) ** 2 for entry in row))
        rows.append([entry / norm for entry in row])
    turn = cmath.exp(-1j * cmath.phase(_determinant(rows)) / size)
    return [[turn * entry for entry in row] for row in rows]


def _determinant(rows: list[list[complex]]) -> complex:
    if len(rows) == 1:
        return rows[0][0]
    minors = ([row[:k] + row[k + 1 :] for row in rows[1:]] for k in range(len(rows)))
    return sum((-1) ** k * rows[0][k] * _determinant(minor) for k, minor in enumerate(minors))
