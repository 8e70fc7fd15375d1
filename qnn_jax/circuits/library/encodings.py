"""Encodings: inputs written into rotation angles."""

from __future__ import annotations

from collections.abc import Sequence

from qnn_jax.circuits.angles import w, x
from qnn_jax.circuits.checks import at_least, check_num_gates, flag, num_qubits_of, several, shown
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.library.entanglement import BlockEntanglement, connections
from qnn_jax.circuits.multiplexer import multiplexed
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError


def angle_encoding(num_qubits: int, rotation: str = "ry") -> Circuit:
    """One rotation a qubit, by one input: no weights, a product state.

    Args:
        num_qubits: how many qubits and inputs.
        rotation: the name of a one-qubit gate with one angle; after |0⟩, "rz" and "p" do nothing
            that can be measured.

    >>> print(angle_encoding(2))
    q0: ─RY(x[0])─
    q1: ─RY(x[1])─
    """
    num_qubits = num_qubits_of(num_qubits)
    _one_qubit_rotation("rotation", rotation)
    return Circuit(num_qubits, tuple(Op(rotation, q, x[q]) for q in range(num_qubits)))


def amplitude_encoding(num_qubits: int, phases: bool = False) -> Circuit:
    """From |0…0⟩ to any state: the inputs are angles that a vector v of 2**n amplitudes gives.

    A tree of multiplexed RY, from qubit n - 1 down to qubit 0. Level l has 2**l rotations on qubit
    n - 1 - l. Let p be the number that qubits n - l, …, n - 1 hold (bit k is qubit n - l + k), and
    v_{p,b} the amplitudes whose index begins with the bits of p and then b (index j is in Qiskit's
    order, so bit q of j is qubit q). The branches at p have the angle

    `α_{l,p} = 2 atan2(‖v_{p,1}‖, ‖v_{p,0}‖)`

    where a real v keeps its signs on the last level: atan2(v_{2p+1}, v_{2p}). The inputs are, with
    the Gray code g(i) = i ^ (i >> 1), the Walsh transform

    `x[2**l - 1 + i] = 2**-l · Σ_p (-1)**popcount(p & g(i)) · α_{l,p}`

    With `phases`, as many RZ in the same places follow, for v_j = |v_j| exp(iφ_j): their inputs
    begin at x[2**n - 1] and are the same transform of

    `α_{l,p} = mean(φ_{p,1}) - mean(φ_{p,0})`

    and the last input, x[2**(n+1) - 2], is a global phase, the mean of all φ. The state is then v
    exactly, divided by its norm.

    Args:
        num_qubits: n; the circuit has about 2**(n+1) gates, twice as many with phases.
        phases: False for real amplitudes, 2**n - 1 inputs; True for complex ones, 2**(n+1) - 1.

    Reference: Möttönen et al., arXiv:quant-ph/0407010.

    >>> print(amplitude_encoding(2))
    q0: ─RY(x[1])─⊕─RY(x[2])─⊕─
    q1: ─RY(x[0])─●──────────●─
    """
    num_qubits = num_qubits_of(num_qubits)
    flag("phases", phases)
    check_num_gates(2**num_qubits)
    ops: list[Op] = []
    used = 0
    for gate in ("ry", "rz") if phases else ("ry",):
        for level in range(num_qubits):
            target = num_qubits - 1 - level
            angles = [x[used + i] for i in range(2**level)]
            ops += multiplexed(gate, range(target + 1, num_qubits), target, angles)
            used += 2**level
    if phases:
        ops.append(Op("global_phase", (), x[used]))
    return Circuit(num_qubits, tuple(ops))


def data_reuploading(
    num_qubits: int,
    num_inputs: int | None = None,
    reps: int = 3,
    rotations: Sequence[str] = ("ry", "rz", "ry"),
    entanglement: BlockEntanglement = "linear",
) -> Circuit:
    """The inputs again in every layer, scaled and shifted by weights.

    Rotation s of a layer, counted over its qubits and on each over `rotations`, turns by
    w[2k] · x[s mod num_inputs] + w[2k + 1], where k counts the rotations of all layers: with three
    inputs each qubit reads all three. Between layers, not after the last, CZ entangle.

    Args:
        num_qubits: how many qubits.
        num_inputs: how many inputs, by default one a qubit; a layer must have room for all.
        reps: how many layers.
        rotations: names of one-qubit gates with one angle. The default is a general rotation; one
            that begins with "rz" is, too, but after |0⟩ its first weights change nothing.
        entanglement: a pattern's name, or pairs of qubits.

    Layers begin with small scales w[2k] (`qnn_jax.initializers.recommended`).

    Reference: Pérez-Salinas et al., arXiv:1907.02085.

    >>> print(data_reuploading(1, 2, reps=1, rotations=["ry", "rz"]))
    q0: ─RY(w[0]*x[0] + w[1])─RZ(w[2]*x[1] + w[3])─
    """
    num_qubits = num_qubits_of(num_qubits)
    reps = at_least("reps", reps, 1)
    count = num_qubits if num_inputs is None else at_least("num_inputs", num_inputs, 1)
    gates = several("rotations", rotations, "a list of gates")
    check_num_gates(num_qubits * max(1, len(gates)) * reps)
    slots = [(q, _one_qubit_rotation("rotations", g)) for q in range(num_qubits) for g in gates]
    if count > len(slots):
        raise InputError(
            f"Argument `num_inputs` must be at most {len(slots)}, the rotations of one layer, but "
            f"is {shown(count)}."
        )
    ops: list[Op] = []
    for layer in range(reps):
        if layer:
            pairs = connections(num_qubits, 2, entanglement, layer - 1)
            ops += [Op("cz", pair) for pair in pairs]
        for s, (q, gate) in enumerate(slots):
            k = 2 * (layer * len(slots) + s)
            ops.append(Op(gate, q, w[k] * x[s % count] + w[k + 1]))
    return Circuit(num_qubits, tuple(ops))


def _one_qubit_rotation(name: str, gate: str) -> str:
    row = GATES.get(gate) if isinstance(gate, str) else None
    if row is None or (row.num_qubits, row.num_angles) != (1, 1):
        raise InputError(
            f"Argument `{name}` must name one-qubit gates with one angle, but names {shown(gate)}."
        )
    return gate
