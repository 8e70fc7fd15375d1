"""Ansätze of the literature that Qiskit has no function for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from qnn_jax.circuits.angles import w
from qnn_jax.circuits.checks import (
    at_least,
    check_num_gates,
    is_integer,
    num_qubits_of,
    one_of,
    several,
    shown,
)
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError


def strongly_entangling_layers(
    num_qubits: int, reps: int = 1, ranges: Sequence[int] | None = None, imprimitive: str = "cx"
) -> Circuit:
    """Layers of general rotations and a ring of two-qubit gates, 3 · reps · num_qubits weights.

    Layer l is RZ(φ), RY(θ), RZ(ω) on every qubit, then the gate `imprimitive` from qubit q to qubit
    (q + r_l) mod num_qubits for every q. Weights are those of PennyLane's
    `StronglyEntanglingLayers`, an array (reps, num_qubits, 3) of (φ, θ, ω), flattened. Its first
    gates are kept for that reason, although they do nothing to |0…0⟩: put an encoding before them.

    Args:
        num_qubits: how many qubits; one alone is not entangled.
        reps: how many layers.
        ranges: r_l for each layer, from 1 to num_qubits - 1; by default l mod (num_qubits - 1) + 1.
        imprimitive: the name of a two-qubit gate without angles.

    Reference: Schuld et al., arXiv:1804.00633.

    >>> print(strongly_entangling_layers(2))
    q0: ─RZ(w[0])─RY(w[1])─RZ(w[2])─●─⊕─
    q1: ─RZ(w[3])─RY(w[4])─RZ(w[5])─⊕─●─
    """
    num_qubits = num_qubits_of(num_qubits)
    reps = at_least("reps", reps, 1)
    known = isinstance(imprimitive, str) and imprimitive in GATES
    if not known or (row := GATES[imprimitive]).num_qubits != 2 or row.num_angles:
        raise InputError(
            "Argument `imprimitive` must be a gate on two qubits without angles, but is "
            f"{shown(imprimitive)}."
        )
    check_num_gates(3 * num_qubits * reps)
    ops: list[Op] = []
    for layer, step in enumerate(_ranges(num_qubits, reps, ranges)):
        for q in range(num_qubits):
            first = 3 * (layer * num_qubits + q)
            ops += [Op(gate, q, w[first + k]) for k, gate in enumerate(("rz", "ry", "rz"))]
        if num_qubits > 1:
            ops += [Op(imprimitive, (q, (q + step) % num_qubits)) for q in range(num_qubits)]
    return Circuit(num_qubits, tuple(ops))


def _ranges(num_qubits: int, reps: int, ranges: Sequence[int] | None) -> list[int]:
    if ranges is None:
        return [layer % max(num_qubits - 1, 1) + 1 for layer in range(reps)]
    rule = f"{reps} integers from 1 to {max(num_qubits - 1, 1)}, one a layer"
    steps = several("ranges", ranges, rule)
    fits = all(is_integer(step) and 1 <= step < max(num_qubits, 2) for step in steps)
    if len(steps) != reps or not fits:
        raise InputError(f"Argument `ranges` must be {rule}, but is {shown(ranges)}.")
    return [int(step) for step in steps]


def qcnn(num_qubits: int, weights: Literal["fresh", "shared"] = "shared") -> Circuit:
    """A quantum convolutional network without measurement; read it on the last qubit.

    Put an encoding before it: two qubits in |00⟩ do not feel the weight γ.

    Layers act on the active qubits, at first all of them, until one is left, qubit num_qubits - 1:

    - a convolution, exp(-i(αXX + βYY + γZZ)/2) on all neighbours in the ring of active qubits, even
      pairs first, 3 weights;
    - a pooling, where each qubit of the first half acts on one of the others by RX · RZ where it
      is 1, 2 weights. The first half is then left alone, which is as good as measuring it.

    Args:
        num_qubits: at least 2; powers of 2 halve evenly.
        weights: "shared" uses the same weights in all blocks of one convolution or one pooling, as
            in the reference, "fresh" has new ones for every block.

    Reference: Cong et al., arXiv:1810.03787.

    >>> print(qcnn(2))
    q0: ─RXX(w[0]):0─RYY(w[1]):0─RZZ(w[2]):0────●────────●─────
    q1: ─RXX(w[0]):1─RYY(w[1]):1─RZZ(w[2]):1─RZ(w[3])─RX(w[4])─
    """
    num_qubits = num_qubits_of(num_qubits, 2)
    fresh = one_of("weights", weights, ("fresh", "shared")) == "fresh"
    ops: list[Op] = []
    used = 0
    for block, pairs in _qcnn_layers(num_qubits):
        for k, pair in enumerate(pairs):
            ops += block.shift_weights(used + fresh * k * block.num_weights).on(pair).ops
        used += block.num_weights * (len(pairs) if fresh else 1)
    return Circuit(num_qubits, tuple(ops))


_PAIR = (0, 1)
_CONVOLUTION = Circuit(2, tuple(Op(f"r{p}{p}", _PAIR, w[k]) for k, p in enumerate("xyz")))
_POOLING = Circuit(2, (Op("crz", _PAIR, w[0]), Op("crx", _PAIR, w[1])))


def _qcnn_layers(num_qubits: int) -> Iterator[tuple[Circuit, list[tuple[int, int]]]]:
    """Each layer's block with the pairs that it acts on."""
    active = range(num_qubits)
    while (size := len(active)) > 1:
        starts = [*range(0, size, 2), *range(1, size, 2)] if size > 2 else [0]
        yield _CONVOLUTION, [(active[i], active[(i + 1) % size]) for i in starts]
        half = size // 2
        yield _POOLING, [(active[i], active[half + i]) for i in range(half)]
        active = active[half:]
