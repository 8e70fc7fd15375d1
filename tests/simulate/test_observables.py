import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp, Statevector
from simulator_references import qiskit_state, random_circuit, values, x64

from qnn_jax import expectations
from qnn_jax.simulate import observables as module


def random_labels(rng, n, count, letters="IXYZ"):
    return ["".join(rng.choice(list(letters), n)) for _ in range(count)]


@pytest.mark.slow_but_one
@pytest.mark.parametrize("num_qubits", [2, 7])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_pauli_sums_have_qiskits_values(num_qubits, count):
    rng = np.random.default_rng(count)
    circuit = random_circuit(count, num_qubits, 12)
    inputs, weights = values(0, circuit)
    labels = random_labels(rng, num_qubits, count)
    labels += random_labels(rng, num_qubits, count, "IZ")
    several = [*labels, {labels[0]: 0.5, labels[-1]: -2.0, "Y" * num_qubits: 1.0}]
    with x64(True):
        found = expectations(circuit, several, inputs, weights)
    state = Statevector(qiskit_state(circuit, inputs, weights))
    wanted = []
    for one in several:
        terms = [(one, 1.0)] if isinstance(one, str) else list(one.items())
        wanted.append(state.expectation_value(SparsePauliOp.from_list(terms)).real)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_many_strings_do_not_lengthen_the_program():
    import jax

    circuit = random_circuit(0, 4, 5)
    inputs, weights = values(0, circuit)
    lengths = []
    for count in (20, 60):
        labels = list(dict.fromkeys(random_labels(np.random.default_rng(0), 4, count)))
        lower = jax.jit(lambda i, v, o=tuple(labels): expectations(circuit, o, i, v)).lower
        lengths.append(len(lower(inputs, weights).as_text().splitlines()))
    assert lengths[1] < lengths[0] * 1.1


def test_the_comparison_rejects_a_wrong_sign(monkeypatch):
    right = module.masks
    monkeypatch.setattr(module, "masks", lambda label: (*right(label)[:2], 0))
    module_circuit = random_circuit(3, 3, 12)
    inputs, weights = values(0, module_circuit)
    with x64(True):
        found = expectations(module_circuit, {"YIX": 1.0, "ZZY": 1.25}, inputs, weights)
    state = Statevector(qiskit_state(module_circuit, inputs, weights))
    wanted = state.expectation_value(SparsePauliOp.from_list([("YIX", 1.0), ("ZZY", 1.25)])).real
    assert abs(np.asarray(found)[0] - wanted) > 1e-3
