"""Which qubits are entangled: a pattern's name, or the connections themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeAlias

from qnn_jax.circuits.checks import (
    at_least,
    check_num_gates,
    is_integer,
    num_qubits_of,
    several,
    shown,
)
from qnn_jax.errors import InputError

#: A pattern's name, or connections: [(0, 1), (1, 2)].
BlockEntanglement: TypeAlias = str | Sequence[Sequence[int]]
Connections: TypeAlias = tuple[tuple[int, ...], ...]

PATTERNS = ("full", "linear", "reverse_linear", "circular", "sca", "pairwise")


def connections(
    num_qubits: int, num_block_qubits: int, entanglement: BlockEntanglement, layer: int = 0
) -> Connections:
    """The qubits of every block of one entangling layer, in Qiskit's order.

    Args:
        num_qubits: how many qubits there are.
        num_block_qubits: how many qubits a block acts on; 2 for pairs (control, target).
        entanglement: one of `PATTERNS`, or the connections, which are then checked.
        layer: the number of the layer; only "sca" (shifted circular alternating) depends on it.

    >>> connections(3, 2, "circular")
    ((2, 0), (0, 1), (1, 2))
    """
    num_qubits = num_qubits_of(num_qubits, 0)
    num_block_qubits = num_qubits_of(num_block_qubits, name="num_block_qubits")
    layer = at_least("layer", layer, 0)
    if not isinstance(entanglement, str):
        return _checked(num_qubits, num_block_qubits, entanglement)
    if entanglement not in PATTERNS:
        raise InputError(
            f"Argument `entanglement` must be one of {', '.join(PATTERNS)} or a list of "
            f"connections, but is {shown(entanglement)}."
        )
    if entanglement == "pairwise" and num_block_qubits > 2:
        raise InputError(
            "Argument `entanglement` must not be 'pairwise' for blocks on more than 2 qubits, but "
            f"a block acts on {num_block_qubits}."
        )
    if entanglement == "full":
        check_num_gates(math.comb(num_qubits, num_block_qubits))
        return tuple(itertools.combinations(range(num_qubits), num_block_qubits))
    size = range(num_block_qubits)
    linear = tuple(tuple(q + k for k in size) for q in range(num_qubits - num_block_qubits + 1))
    if entanglement == "reverse_linear":
        return linear[::-1]
    if entanglement == "pairwise" and num_block_qubits == 2:
        return linear[::2] + linear[1::2]
    if entanglement in ("linear", "pairwise") or num_qubits < num_block_qubits:
        return linear
    over_the_end = range(num_qubits - num_block_qubits + 1, num_qubits)
    wrapped = tuple(tuple((q + k) % num_qubits for k in size) for q in over_the_end)
    circular = (wrapped if num_qubits > num_block_qubits else ()) + linear
    if entanglement == "circular":
        return circular
    turn = layer % len(circular)
    turned = circular[-turn:] + circular[:-turn] if turn else circular
    return tuple(block[::-1] for block in turned) if layer % 2 else turned


def _checked(num_qubits: int, num_block_qubits: int, entanglement: object) -> Connections:
    rule = f"connections of {num_block_qubits} different qubits below {num_qubits}"
    found = []
    for connection in several(
        "entanglement", entanglement, f"a pattern's name or {rule}", again=True
    ):
        qubits = several("entanglement", connection, f"a pattern's name or {rule}")
        if not (
            len(qubits) == num_block_qubits
            and all(is_integer(q) and 0 <= q < num_qubits for q in qubits)
            and len(set(qubits)) == num_block_qubits
        ):
            raise InputError(
                f"Argument `entanglement` must hold {rule}, but holds {shown(connection)}."
            )
        found.append(tuple(int(q) for q in qubits))
    return tuple(found)
