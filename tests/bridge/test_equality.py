"""What the bridge promises: JAX = the named form bound = the table form bound = the named form read
back, amplitude by amplitude, for every circuit of the library and for 200 generated ones."""

import jax
import numpy as np
import pytest
from qiskit.quantum_info import Statevector
from reference import in_qiskit, random_vectors
from simulate.simulator_references import random_circuit

import qnn_jax
from qnn_jax import Circuit, Op, angles, statevector, w, x
from qnn_jax.bridge import angle_columns, differences, from_qiskit, to_qiskit
from qnn_jax.circuits import library
from qnn_jax.circuits.angles import evaluate

#: Numbers of qubits and seeds.
GENERATED = [(1 + seed % 6, seed) for seed in (*range(3, 200), 0, 1, 2)]

LIBRARY = {
    "amplitude_encoding": qnn_jax.amplitude_encoding(3, phases=True),
    "angle_encoding": qnn_jax.angle_encoding(3),
    "data_reuploading": qnn_jax.data_reuploading(3, 2, 3),
    "efficient_su2": qnn_jax.efficient_su2(3, reps=2),
    "excitation_preserving": qnn_jax.excitation_preserving(3, reps=1),
    "iqp": qnn_jax.iqp([[1, 2, 3], [2, 3, 1], [3, 1, 2]]),
    "n_local": qnn_jax.n_local(3, ["ry", "h"], "cry"),
    "pauli_evolution": qnn_jax.pauli_evolution({"ZXI": 0.5, "IYY": 1.0, "III": 0.25}, w[0]),
    "pauli_feature_map": qnn_jax.pauli_feature_map(3, paulis=["Z", "XY"]),
    "qaoa_ansatz": qnn_jax.qaoa_ansatz({"ZZI": 1.0, "IZZ": 0.5}, reps=2),
    "qcnn": qnn_jax.qcnn(4),
    "quantum_volume": qnn_jax.quantum_volume(4, seed=3),
    "random_circuit": qnn_jax.random_circuit(4, 5, seed=2),
    "random_iqp": qnn_jax.random_iqp(4, seed=2),
    "real_amplitudes": qnn_jax.real_amplitudes(4),
    "strongly_entangling_layers": qnn_jax.strongly_entangling_layers(4, 2),
    "z_feature_map": qnn_jax.z_feature_map(4),
    "zz_feature_map": qnn_jax.zz_feature_map(4),
    "controlled": (qnn_jax.zz_feature_map(2, reps=1) + qnn_jax.real_amplitudes(2)).controlled(),
    "inverse": qnn_jax.efficient_su2(3, reps=1).inverse(),
}


def bound_forms(circuit, table, inputs, weights):
    """The forms' states: bound by column, by the elements of x and w, and read back."""
    form = to_qiskit(circuit)
    columns = angle_columns(circuit)
    assert [p.name for p in form.parameters] == list(columns)
    yield Statevector(form.assign_parameters(table[list(columns.values())])).data
    named = to_qiskit(circuit, form="named")
    vectors = {"x": inputs, "w": weights}
    values = {p: vectors[p.vector.name][p.index] for p in named.parameters}
    yield Statevector(named.assign_parameters(values)).data
    yield Statevector(in_qiskit(from_qiskit(named), inputs, weights)).data


def check(circuit, seed):
    inputs, weights = random_vectors(circuit, seed)
    with jax.enable_x64(True):
        table = np.asarray(angles(circuit, inputs, weights))
        ours = np.asarray(statevector(circuit, inputs, weights))
    for theirs in bound_forms(circuit, table, inputs, weights):
        np.testing.assert_allclose(theirs, ours, atol=1e-12)


def test_every_circuit_of_the_library_is_here():
    assert set(library.__all__) - {"PATTERNS", "connections"} <= set(LIBRARY)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_is_the_same_in_jax_and_in_both_forms(name):
    circuit = LIBRARY[name]
    check(circuit, 1)
    if all(op.gate != "global_phase" for op in circuit.ops):
        assert differences(circuit, from_qiskit(to_qiskit(circuit, form="named"))) == ()


@pytest.mark.slow_but_one
@pytest.mark.parametrize(("num_qubits", "seed"), GENERATED)
def test_generated_circuits_are_the_same_in_jax_and_in_both_forms(num_qubits, seed):
    check(random_circuit(seed, num_qubits, 20), seed)


@pytest.mark.slow
def test_two_hundred_circuits_are_the_same_in_both_forms_and_read_back():
    """Without JAX, whose compilation takes the minutes: the reference is gate by gate in Qiskit."""
    for num_qubits, seed in GENERATED:
        circuit = random_circuit(seed, num_qubits, 20)
        inputs, weights = random_vectors(circuit, seed)
        table = np.array([evaluate(a, inputs, weights) for a in circuit.angles])
        reference = Statevector(in_qiskit(circuit, inputs, weights)).data
        for theirs in bound_forms(circuit, table, inputs, weights):
            np.testing.assert_allclose(theirs, reference, atol=1e-12)


def test_the_comparison_rejects_columns_in_the_order_of_the_alphabet():
    """The twin: with 12 columns 'angle_10' stands before 'angle_2' unless zeros are padded."""
    circuit = Circuit(2, tuple(Op("u", k % 2, (x[k % 4], w[k], w[3 - k])) for k in range(4)))
    inputs, weights = random_vectors(circuit, 0)
    table = np.asarray(angles(circuit, inputs, weights))
    table = table[np.argsort([str(k) for k in range(len(table))])]
    reference = Statevector(in_qiskit(circuit, inputs, weights)).data
    theirs = next(iter(bound_forms(circuit, table, inputs, weights)))
    assert np.abs(theirs - reference).max() > 1e-3
