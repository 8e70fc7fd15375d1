"""Random circuits, and the IQP circuits that complexity theory draws at random.

All randomness comes from `numpy.random.default_rng(seed)`: a seed gives the same circuit on every
machine and every Python, as long as NumPy keeps the numbers of its generator (NEP 19 lets a new
release of NumPy change them).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from numpy.random import Generator


def quantum_volume(num_qubits: int, depth: int | None = None, *, seed: int) -> Circuit:
    """Layers of Haar-random SU(4) on random pairs of qubits: the circuits of quantum volume.

    The kind of Qiskit's `quantum_volume`, but no gate is Qiskit's for the same seed.

    Args:
        num_qubits: at least 2; an odd one out rests for a layer.
        depth: how many layers, by default num_qubits.
        seed: of the generator, from 0 to 4294967295.

    References: Cross et al., arXiv:1811.12926; for Haar-random matrices Mezzadri,
    arXiv:math-ph/0609050.
    """
    import numpy as np
    from scipy.stats import unitary_group

    num_qubits = num_qubits_of(num_qubits, 2)
    layers = num_qubits if depth is None else at_least("depth", depth, 1)
    generator = _generator(seed)
    check_num_gates(layers * (num_qubits // 2))
    ops = []
    for _ in range(layers):
        order = generator.permutation(num_qubits).tolist()
        drawn = unitary_group.rvs(4, size=num_qubits // 2, random_state=generator)
        unitaries = drawn.reshape(-1, 4, 4)  # SciPy leaves the first axis out where it is 1
        unitaries /= np.linalg.det(unitaries)[:, None, None] ** (1 / 4)
        for pair, matrix in zip(zip(order[::2], order[1::2], strict=False), unitaries, strict=True):
            ops.append(Op("unitary", pair, matrix=matrix))
    return Circuit(num_qubits, tuple(ops))


def random_circuit(
    num_qubits: int, depth: int, max_operands: int = 4, *, seed: int, trainable: bool = False
) -> Circuit:
    """Layers of random gates of the table on random qubits, with random angles.

    The kind of Qiskit's `random_circuit`, but not its circuit for the same seed. Each layer uses
    every qubit once: it takes gates on 1 to `max_operands` qubits, all sizes and all gates of a
    size being equally likely, until no qubit is left. A seed keeps its circuit for as long as the
    gate table stays the same.

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
        left = generator.permutation(num_qubits).tolist()
        while left:
            size = int(generator.integers(1, min(max_operands, len(left)), endpoint=True))
            row = by_size[size][int(generator.integers(len(by_size[size])))]
            numbers = generator.uniform(0, 2 * math.pi, row.num_angles).tolist()
            angles: list[AngleLike] = [w[used + k] for k in range(row.num_angles)]
            ops.append(Op(row.name, left[:size], angles if trainable else numbers))
            used += row.num_angles
            left = left[size:]
    return Circuit(num_qubits, tuple(ops))


def iqp(interactions: Sequence[Sequence[int]]) -> Circuit:
    """Qiskit's `iqp`: a diagonal of T and CS powers between two layers of H.

    T of qubit i to the power of A[i, i], and CS of qubits i < j to the power of A[i, j].

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
    rows = generator.integers(8, size=(num_qubits, num_qubits)).tolist()
    return iqp([[rows[max(i, j)][min(i, j)] for j in range(num_qubits)] for i in range(num_qubits)])


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


def _generator(seed: int) -> Generator:
    # Imported here, since `import qnn_jax` stays light.
    from numpy.random import default_rng

    return default_rng(checked_seed("seed", seed))
