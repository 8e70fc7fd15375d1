"""The library's circuits against Qiskit's, as unitaries."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes as qiskit_real_amplitudes
from qiskit.circuit.library import zz_feature_map as qiskit_zz_feature_map
from qiskit.circuit.library.n_local.n_local import get_entangler_map
from qiskit.quantum_info import Operator, Statevector
from reference import in_qiskit, random_vectors

from qnn_jax.circuits import Circuit, real_amplitudes, zz_feature_map
from qnn_jax.circuits.library import PATTERNS, entangled_pairs


def check_same(ours: Circuit, theirs: QuantumCircuit) -> None:
    """The same unitary to 1e-12, parameter k of Qiskit being the k-th of our inputs and weights."""
    inputs, weights = random_vectors(ours, seed=0)
    bound = theirs.assign_parameters([*inputs, *weights])
    difference = Operator(in_qiskit(ours, inputs, weights)).data - Operator(bound).data
    assert np.abs(difference).max() < 1e-12


@pytest.mark.parametrize("entanglement", PATTERNS)
@pytest.mark.parametrize("num_qubits", range(2, 7))
def test_zz_feature_map_is_qiskits(num_qubits: int, entanglement: str) -> None:
    for reps in (1, 2, 3):
        ours = zz_feature_map(num_qubits, reps, entanglement)
        check_same(ours, qiskit_zz_feature_map(num_qubits, reps, entanglement))


@pytest.mark.parametrize("entanglement", PATTERNS)
@pytest.mark.parametrize("num_qubits", range(2, 7))
def test_real_amplitudes_is_qiskits(num_qubits: int, entanglement: str) -> None:
    for reps in (0, 1, 3):
        ours = real_amplitudes(num_qubits, reps, entanglement)
        check_same(ours, qiskit_real_amplitudes(num_qubits, entanglement, reps))


def test_a_wrong_entanglement_is_noticed() -> None:
    with pytest.raises(AssertionError):
        check_same(real_amplitudes(3, 2, "linear"), qiskit_real_amplitudes(3, "full", 2))
    swapped = zz_feature_map(3, 1).on([1, 0, 2])
    with pytest.raises(AssertionError):
        check_same(swapped, qiskit_zz_feature_map(3, 1))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_entangled_pairs_are_qiskits(pattern: str) -> None:
    for num_qubits in range(2, 8):
        for layer in range(10):
            theirs = get_entangler_map(2, num_qubits, pattern, layer)
            assert list(entangled_pairs(num_qubits, pattern, layer)) == [tuple(p) for p in theirs]


def test_one_qubit_has_nothing_to_entangle() -> None:
    assert [entangled_pairs(1, pattern) for pattern in PATTERNS] == [()] * len(PATTERNS)
    theirs = Statevector(qiskit_real_amplitudes(1, reps=1).assign_parameters([0.3, 0.4]))
    assert theirs.data == pytest.approx([np.cos(0.35), np.sin(0.35)])
    assert [op.gate for op in real_amplitudes(1, 1).ops] == ["ry", "ry"]
