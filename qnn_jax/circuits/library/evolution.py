"""Evolution under sums of Pauli strings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from qnn_jax.circuits.angles import AngleLike, Expression, angle, w
from qnn_jax.circuits.checks import at_least, check_num_gates, of_type
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import ObservableLike, PauliSum, observable
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError

#: The gate after which Z means the letter that was there before.
_TO_Z = {"X": "h", "Y": "sx"}


def pauli_rotation(
    core: str, letters: str, qubits: Sequence[int], rotation_angle: AngleLike
) -> list[Op]:
    """The gate "rz" or "p" about a product of Paulis: `letters[k]` acts on `qubits[k]`.

    exp(-iθ/2 P) for "rz" and exp(iθ/2) exp(-iθ/2 P) for "p": bases are changed to Z, CX gather the
    parity on the last qubit, and the gate acts there. Nothing at all where every letter is I.
    """
    active = [(letter, q) for letter, q in zip(letters, qubits, strict=True) if letter != "I"]
    if not active:
        return []
    before = [Op(_TO_Z[letter], q) for letter, q in active if letter in _TO_Z]
    before += [Op("cx", (a, b)) for (_, a), (_, b) in itertools.pairwise(active)]
    after = [op.inverse() for op in reversed(before)]
    return [*before, Op(core, active[-1][1], rotation_angle), *after]


def pauli_evolution(hamiltonian: ObservableLike, time: AngleLike = 1.0, reps: int = 1) -> Circuit:
    """Evolution under H = Σ_k c_k P_k for a time t, to first order in t / reps.

    `(Π_k exp(-i t/r c_k P_k))**r ≈ exp(-i t H)`

    Every factor is exact; the first term acts first, as in Qiskit's `PauliEvolutionGate` with
    `LieTrotter(reps)`. Identities are kept, as a global phase.

    Args:
        hamiltonian: a label, a mapping from labels to coefficients, a `PauliSum`, or Qiskit's
            `SparsePauliOp`, whose repeated terms act one by one.
        time: t, a number or an expression of x[i] and w[j].
        reps: r, how many Trotter steps.

    >>> print(pauli_evolution({"ZZ": 0.5, "IX": 1.0}, w[0]))
    q0: ─RZZ(w[0]):0─RX(2*w[0])─
    q1: ─RZZ(w[0]):1────────────
    """
    reps = at_least("reps", reps, 1)
    total = observable(hamiltonian)
    check_num_gates(reps * len(total.terms))
    return Circuit(total.num_qubits, tuple(_step(total, angle(time), reps)) * reps)


def qaoa_ansatz(
    cost_operator: ObservableLike,
    reps: int = 1,
    initial_state: Circuit | None = None,
    mixer_operator: ObservableLike | None = None,
) -> Circuit:
    """Qiskit's `qaoa_ansatz`: cost and mixer evolutions in turn, 2 · reps weights.

    `Π_k exp(-i β_k B) exp(-i γ_k C)` on `|+⟩` of every qubit, with k = 1 acting first.

    The weights are in the order of Qiskit's parameters: β_1 … β_p, then γ_1 … γ_p.

    Args:
        cost_operator: C, a label, a mapping from labels to coefficients, a `PauliSum`, or Qiskit's
            `SparsePauliOp`.
        reps: p, how many pairs of evolutions.
        initial_state: a circuit to begin with, by default H on all qubits.
        mixer_operator: B, by default the sum of X on every qubit.

    Reference: Farhi et al., arXiv:1411.4028.

    >>> print(qaoa_ansatz("ZZ"))
    q0: ─H─RZZ(2*w[1]):0─RX(2*w[0])─
    q1: ─H─RZZ(2*w[1]):1─RX(2*w[0])─
    """
    reps = at_least("reps", reps, 1)
    cost = observable(cost_operator)
    check_num_gates(2 * reps * len(cost.terms))
    size = range(cost.num_qubits)
    everywhere_x = {"I" * (len(size) - 1 - q) + "X" + "I" * q: 1.0 for q in size}
    mixer = observable(everywhere_x if mixer_operator is None else mixer_operator, len(size))
    start = Circuit(len(size), tuple(Op("h", q) for q in size))
    if initial_state is not None:
        start = of_type("initial_state", initial_state, Circuit, "a Circuit")
    others: tuple[tuple[str, PauliSum | Circuit], ...]
    others = (("mixer_operator", mixer), ("initial_state", start))
    for name, other in others:
        if other.num_qubits != len(size):
            raise InputError(
                f"Argument `{name}` must act on the {len(size)} qubits of the cost operator, but "
                f"is {str(other)!r}."
            )
    ops: list[Op] = []
    for k in range(reps):
        ops += [*_step(cost, w[reps + k]), *_step(mixer, w[k])]
    return start + Circuit(len(size), tuple(ops), num_weights=2 * reps)


def _step(total: PauliSum, time: Expression, reps: int = 1) -> list[Op]:
    """The product of exp(-i time/reps c P) over the terms, the first term first."""
    ops: list[Op] = []
    for label, coefficient in total.terms:
        factor = 2 * coefficient / reps
        ops += _exponential(label, time if factor == 1 else factor * time)
    return ops


def _exponential(label: str, theta: Expression) -> list[Op]:
    """exp(-i theta/2 P), by the table's own gate where there is one."""
    active = [(letter, q) for q, letter in enumerate(reversed(label)) if letter != "I"]
    letters = "".join(letter for letter, _ in active)
    qubits = [q for _, q in active]
    if not letters:
        return [Op("global_phase", (), theta * -0.5)]
    if letters in ("X", "Y", "Z", "XX", "YY", "ZZ"):
        return [Op(f"r{letters.lower()}", qubits, theta)]
    if letters in ("ZX", "XZ"):
        return [Op("rzx", qubits if letters == "ZX" else qubits[::-1], theta)]
    return pauli_rotation("rz", letters, qubits, theta)
