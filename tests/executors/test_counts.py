"""Counts to expectation values, beside Qiskit's states and the closed form of the variance."""

import jax.numpy as jnp
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector, random_statevector

from qnn_jax import InputError
from qnn_jax.circuits.bases import bases_of
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import Counts, Readout, estimate
from qnn_jax.executors.counts import shot_values

#: Each group is read off shots of its own: in the bases ZZX, YXI and ZIZ.
GROUPS = (("ZZI", "IIX", "III"), ("YXI",), ("ZIZ",))
TERMS = (
    {"ZZI": 1.0},
    {"IIX": 1.0, "ZZI": -0.5},
    {"YXI": 2.0, "ZIZ": -0.5, "IIX": 0.25},
    {"III": 1.0, "ZIZ": 0.75, "ZZI": 2.0},
)
OBSERVABLES = observables_on(3, TERMS)
STATES = [random_statevector(8, seed=seed) for seed in range(5)]
SHOTS = 1000.0
# Qubits 0 and 1 are read together, with correlated errors; qubit 2 alone.
PAIR = np.array(
    [[0.90, 0.06, 0.03, 0.02], [0.05, 0.88, 0.02, 0.04], [0.03, 0.02, 0.93, 0.05],
     [0.02, 0.04, 0.02, 0.89]]
)  # fmt: skip
SINGLE = np.array([[0.97, 0.12], [0.03, 0.88]])
READOUT = Readout((PAIR, SINGLE))


def outcomes(state: Statevector, basis: str) -> np.ndarray:
    """Qiskit's probabilities of all outcomes in a basis."""
    turn = QuantumCircuit(3)
    for qubit, letter in enumerate(reversed(basis)):
        if letter == "Y":
            turn.sdg(qubit)
        if letter in "XY":
            turn.h(qubit)
    found: np.ndarray = state.evolve(turn).probabilities()
    return found


def counted(read: np.ndarray) -> list[Counts]:
    """As many shots as probability says, in each basis; `read` is applied to probabilities."""
    return [
        Counts.of_table(SHOTS * np.array([read @ outcomes(state, basis.label) for state in STATES]))
        for basis in bases_of(OBSERVABLES)
    ]


def by_qiskit() -> tuple[np.ndarray, np.ndarray]:
    """<O>, and the variance of one shot in each basis, added over bases."""
    values, variances = np.zeros((5, 4)), np.zeros((5, 4))
    for k, state in enumerate(STATES):
        for column, terms in enumerate(TERMS):
            for group in GROUPS:
                part = SparsePauliOp.from_list([(s, terms.get(s, 0.0)) for s in group])
                mean = state.expectation_value(part).real
                values[k, column] += mean
                variances[k, column] += state.expectation_value(part @ part).real - mean**2
    return values, variances


def test_values_are_qiskits_and_errors_the_closed_form() -> None:
    found = estimate(counted(np.eye(8)), OBSERVABLES)
    values, variances = by_qiskit()
    np.testing.assert_allclose(found.values, values, atol=1e-12)
    np.testing.assert_allclose(found.stderr, np.sqrt(variances / (SHOTS - 1)), atol=1e-12)
    # The broken twin: the bases in another order.
    wrong = estimate(counted(np.eye(8))[::-1], OBSERVABLES)
    assert np.abs(wrong.values - values).max() > 0.1


def test_readout_errors_are_undone_in_every_basis() -> None:
    read = np.kron(SINGLE, PAIR)
    values, _ = by_qiskit()
    found = estimate(counted(read), OBSERVABLES, READOUT)
    np.testing.assert_allclose(found.values, values, atol=1e-12)
    assert np.abs(estimate(counted(read), OBSERVABLES).values - values).max() > 0.1
    # What a shot is read as solves Aᵀc = O, here by the matrix of all qubits at once.
    variances = np.zeros((5, 4))
    for basis, group in zip(bases_of(OBSERVABLES), GROUPS, strict=True):
        for column, terms in enumerate(TERMS):
            diagonal = np.zeros(8)
            for string in group:
                turned = "".join("I" if letter == "I" else "Z" for letter in string)
                sign = SparsePauliOp(turned).to_matrix().diagonal().real
                diagonal += terms.get(string, 0.0) * sign
            reads = np.linalg.inv(read).T @ diagonal
            for k, state in enumerate(STATES):
                chances = read @ outcomes(state, basis.label)
                variances[k, column] += chances @ reads**2 - (chances @ reads) ** 2
    np.testing.assert_allclose(found.stderr, np.sqrt(variances / (SHOTS - 1)), atol=1e-12)
    # A perfect readout changes nothing.
    perfect = Readout((np.eye(2), np.eye(4)))
    plain, same = (estimate(counted(read), OBSERVABLES, one) for one in (None, perfect))
    np.testing.assert_allclose(same, plain, atol=1e-12)


def test_jax_reads_outcomes_as_numpy_does() -> None:
    for basis in bases_of(OBSERVABLES):
        ours = shot_values(basis, jnp.arange(8), dtype=jnp.float32)
        np.testing.assert_allclose(ours, shot_values(basis, np.arange(8)), atol=1e-6)


def test_shots_in_mappings_by_hand() -> None:
    # Two bits, 10 shots of row 0 and 4 of row 1.
    counts = Counts.of([{0b00: 6, 0b01: 3, 0b11: 1}, {0b10: 4}])
    assert counts.shots.tolist() == [10, 4]
    assert counts.table(2).tolist() == [[6, 3, 0, 1], [0, 0, 4, 0]]
    observables = observables_on(2, ["ZZ", {"IZ": 2.0, "II": 1.0}])
    values, stderr = estimate([counts], observables)
    np.testing.assert_allclose(values, [[0.4, 1.4], [-1, 3]])
    spread = np.std([1] * 7 + [-1] * 3, ddof=1) / np.sqrt(10)
    other = np.std([3] * 6 + [-1] * 4, ddof=1) / np.sqrt(10)
    np.testing.assert_allclose(stderr, [[spread, other], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(estimate(counts.table(2), observables), (values, stderr))
    assert np.isinf(estimate([Counts.of([{0: 1}])], observables).stderr).all()
    # Only what was seen is held: 50 qubits would have 2**50 outcomes.
    wide = Counts.of([{2**49: 3, 0: 1}])
    assert estimate([wide], observables_on(50, "Z49")).values == [[-0.5]]


def test_a_readout_of_other_qubits_and_letters_off_the_axis_are_refused() -> None:
    with pytest.raises(InputError, match=r"`readout` must be of 3 qubits, .* but is of 2"):
        estimate(counted(np.eye(8)), OBSERVABLES, Readout((PAIR,)))
    with pytest.raises(InputError, match=r"letters I and Z .* 'XZ'"):
        estimate(np.ones((1, 4)), observables_on(2, "XZ"))
