"""Layered ansätze: rotations on all qubits and entangling blocks in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from qnn_jax.circuits.angles import w
from qnn_jax.circuits.checks import (
    at_least,
    check_num_gates,
    flag,
    num_qubits_of,
    one_of,
    several,
    shown,
)
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.library.entanglement import BlockEntanglement, Connections, connections
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError

#: A gate's name, whose angles become weights, or a circuit, whose weights are fresh in each place.
Block: TypeAlias = str | Circuit
#: For all blocks, or one for each block.
LayerEntanglement: TypeAlias = BlockEntanglement | Sequence[BlockEntanglement]
#: The same in every layer, or a function of the number of the layer.
Entanglement: TypeAlias = LayerEntanglement | Callable[[int], LayerEntanglement]


def n_local(
    num_qubits: int,
    rotation_blocks: Block | Sequence[Block],
    entanglement_blocks: Block | Sequence[Block],
    entanglement: Entanglement = "full",
    reps: int = 3,
    *,
    skip_final_rotation_layer: bool = False,
    skip_unentangled_qubits: bool = False,
) -> Circuit:
    """Qiskit's `n_local`: rotation and entanglement layers in turn, weights in order of the gates.

    Args:
        num_qubits: how many qubits.
        rotation_blocks: names of gates, or circuits; each is stacked side by side on all qubits,
            one block after the other.
        entanglement_blocks: names of gates, or circuits; each acts on all its connections, one
            block after the other.
        entanglement: a pattern's name or connections for all blocks, a list with one of these for
            each block, or a function from the number of the layer to one of these.
        reps: how many entanglement layers.
        skip_final_rotation_layer: leave out the rotation layer at the end.
        skip_unentangled_qubits: leave rotations out on qubits that no layer entangles.

    >>> print(n_local(3, "ry", "cz", "linear", reps=1))
    q0: ─RY(w[0])─●─RY(w[3])──────────
    q1: ─RY(w[1])─●────●─────RY(w[4])─
    q2: ─RY(w[2])──────●─────RY(w[5])─
    """
    num_qubits = num_qubits_of(num_qubits)
    reps = at_least("reps", reps, 0)
    flag("skip_final_rotation_layer", skip_final_rotation_layer)
    flag("skip_unentangled_qubits", skip_unentangled_qubits)
    rotations = _blocks("rotation_blocks", rotation_blocks, num_qubits)
    entanglers = _blocks("entanglement_blocks", entanglement_blocks, num_qubits)
    check_num_gates(reps * max(1, sum(num_qubits // block.num_qubits for block in rotations)))
    layers = []
    for layer in range(reps):
        layers.append(_places(num_qubits, entanglers, entanglement, layer))
        check_num_gates(len(layers[0]) * reps)
    entangled = {q for layer in layers for _, qubits in layer for q in qubits}
    turned = entangled if skip_unentangled_qubits else set(range(num_qubits))
    stacked = [
        (block, qubits)
        for block in rotations
        for qubits in _stacked(num_qubits, block.num_qubits)
        if turned.issuperset(qubits)
    ]
    placed = [place for layer in layers for place in (*stacked, *layer)]
    return _place(num_qubits, placed if skip_final_rotation_layer else placed + stacked)


def real_amplitudes(
    num_qubits: int,
    reps: int = 3,
    entanglement: Entanglement = "reverse_linear",
    *,
    skip_unentangled_qubits: bool = False,
    skip_final_rotation_layer: bool = False,
) -> Circuit:
    """Qiskit's `real_amplitudes`: RY layers with CX between, (reps + 1) · num_qubits weights.

    Arguments as in `n_local`; note that `reps` comes first here.

    >>> print(real_amplitudes(2, reps=1))
    q0: ─RY(w[0])─●─RY(w[2])─
    q1: ─RY(w[1])─⊕─RY(w[3])─
    """
    return n_local(
        num_qubits,
        "ry",
        "cx" if at_least("num_qubits", num_qubits, 1) != 1 else [],
        entanglement,
        reps,
        skip_unentangled_qubits=skip_unentangled_qubits,
        skip_final_rotation_layer=skip_final_rotation_layer,
    )


def efficient_su2(
    num_qubits: int,
    su2_gates: Block | Sequence[Block] = ("ry", "rz"),
    entanglement: Entanglement = "reverse_linear",
    reps: int = 3,
    *,
    skip_unentangled_qubits: bool = False,
    skip_final_rotation_layer: bool = False,
) -> Circuit:
    """Qiskit's `efficient_su2`: layers of one-qubit gates with CX between.

    Arguments as in `n_local`. Reference: Kandala et al., arXiv:1704.05018.

    >>> print(efficient_su2(2, reps=1))
    q0: ─RY(w[0])─RZ(w[2])─●─RY(w[4])─RZ(w[6])─
    q1: ─RY(w[1])─RZ(w[3])─⊕─RY(w[5])─RZ(w[7])─
    """
    return n_local(
        num_qubits,
        su2_gates,
        "cx" if at_least("num_qubits", num_qubits, 1) != 1 else [],
        entanglement,
        reps,
        skip_unentangled_qubits=skip_unentangled_qubits,
        skip_final_rotation_layer=skip_final_rotation_layer,
    )


def excitation_preserving(
    num_qubits: int,
    mode: Literal["iswap", "fsim"] = "iswap",
    entanglement: Entanglement = "full",
    reps: int = 3,
    *,
    skip_unentangled_qubits: bool = False,
    skip_final_rotation_layer: bool = False,
) -> Circuit:
    """Qiskit's `excitation_preserving`: the number of qubits in |1⟩ is kept.

    RZ layers with XX+YY rotations by 2θ between, which are exp(-iθ (XX + YY)/2), each followed by
    CP(φ) where `mode` is "fsim". Other arguments as in `n_local`. As in Qiskit, it begins in |0…0⟩,
    which has no excitation and stays as it is: put a circuit before it that makes some.

    Reference: Barkoutsos et al., arXiv:1805.04340.
    """
    one_of("mode", mode, ("iswap", "fsim"))
    interaction = [Op("xx_plus_yy", (0, 1), (2 * w[0], 0))]
    if mode == "fsim":
        interaction.append(Op("cp", (0, 1), w[1]))
    return n_local(
        num_qubits,
        "rz",
        Circuit(2, tuple(interaction)) if at_least("num_qubits", num_qubits, 1) != 1 else [],
        entanglement,
        reps,
        skip_unentangled_qubits=skip_unentangled_qubits,
        skip_final_rotation_layer=skip_final_rotation_layer,
    )


def _blocks(name: str, blocks: Block | Sequence[Block], num_qubits: int) -> list[Circuit]:
    one = isinstance(blocks, str | Circuit)
    many = (blocks,) if one else several(name, blocks, "names of gates or circuits")
    circuits = [_block(name, block) for block in many]
    for block in circuits:
        if block.num_qubits > num_qubits:
            raise InputError(
                f"Argument `{name}` must hold blocks on at most {num_qubits} qubits, but one acts "
                f"on {block.num_qubits}."
            )
    return circuits


def _block(name: str, block: object) -> Circuit:
    if isinstance(block, Circuit):
        return block
    if not isinstance(block, str) or block not in GATES or not GATES[block].num_qubits:
        raise InputError(
            f"Argument `{name}` must hold names of gates on qubits, or circuits, but holds "
            f"{shown(block)}."
        )
    row = GATES[block]
    op = Op(block, range(row.num_qubits), [w[k] for k in range(row.num_angles)])
    return Circuit(row.num_qubits, (op,))


def _stacked(num_qubits: int, size: int) -> Connections:
    return tuple(tuple(range(q, q + size)) for q in range(0, num_qubits - size + 1, size))


def _places(
    num_qubits: int, blocks: list[Circuit], entanglement: Entanglement, layer: int
) -> list[tuple[Circuit, tuple[int, ...]]]:
    """Every block of one entanglement layer with its qubits."""
    now = entanglement(layer) if callable(entanglement) else entanglement
    each: Sequence[BlockEntanglement]
    if _is_list_of_block_entanglements(now):
        each = now  # type: ignore[assignment]
        if len(each) != len(blocks):
            raise InputError(
                f"Argument `entanglement` must hold one entanglement for each of {len(blocks)} "
                f"blocks, but holds {len(each)}."
            )
    else:
        each = [now] * len(blocks)  # type: ignore[list-item]
    return [
        (block, qubits)
        for block, one in zip(blocks, each, strict=True)
        for qubits in connections(num_qubits, block.num_qubits, one, layer)
    ]


def _is_list_of_block_entanglements(value: object) -> bool:
    """["full", "linear"] or [[(0, 1)], "full"], but neither "full" nor [(0, 1)] nor []."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        return False
    first = value[0]
    return isinstance(first, str) or (
        isinstance(first, Sequence) and (not first or isinstance(first[0], Sequence))
    )


def _place(num_qubits: int, places: Sequence[tuple[Circuit, tuple[int, ...]]]) -> Circuit:
    """The blocks in order, each with weights of its own; inputs are shared."""
    ops: list[Op] = []
    num_weights = num_inputs = 0
    for block, qubits in places:
        ops += block.shift_weights(num_weights).on(qubits).ops
        num_weights += block.num_weights
        num_inputs = max(num_inputs, block.num_inputs)
    return Circuit(num_qubits, tuple(ops), num_inputs, num_weights)
