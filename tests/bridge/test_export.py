"""Circuits in Qiskit: the table form and observables."""

import time

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import Operator, SparsePauliOp
from reference import in_qiskit

from qnn_jax import Circuit, InputError, Op, w, zz_feature_map
from qnn_jax.bridge import angle_columns, from_sparse_pauli_op, to_qiskit, to_sparse_pauli_op
from qnn_jax.bridge.export import assigned
from qnn_jax.circuits import GATES
from qnn_jax.circuits.angles import evaluate


@pytest.mark.parametrize("name", GATES)
def test_every_gate_in_table_form_is_qiskits_gate_phase_included(name):
    row = GATES[name]
    written = [w[0], 0.25, w[1] * 2, w[2]] if row.num_angles > 1 else [w[0]]
    gate = Op(name, range(row.num_qubits)[::-1], written[: row.num_angles])
    circuit = Circuit(max(row.num_qubits, 1), (gate,), 0, 3)
    weights = [0.7, -1.9, 2.3]
    table = [evaluate(angle, [], weights) for angle in circuit.angles]
    form = to_qiskit(circuit)
    bound = form.assign_parameters(
        {name: table[column] for name, column in angle_columns(circuit).items()}
    )
    theirs = Operator(in_qiskit(circuit, [], weights)).data
    np.testing.assert_allclose(Operator(bound).data, theirs, atol=1e-14)


def test_no_symbolic_phase_is_left_for_the_transpiler_to_add_up():
    """Qiskit 2.6 would need 2**60 steps for these sixty P gates; it would not come back."""
    ops = [op for k in range(60) for op in (Op("h", 0), Op("p", 0, w[k]))]
    device = GenericBackendV2(2, basis_gates=["rz", "sx", "x", "cz"], seed=0)
    isa = transpile(to_qiskit(Circuit(1, tuple(ops))), device, optimization_level=1)
    assert len(isa.parameters) == 60
    assert not {"p", "u", "cp", "cu"} & set(to_qiskit(Circuit(1, tuple(ops))).count_ops())


def test_numbers_stay_numbers():
    table = to_qiskit(Circuit(1, (Op("rx", 0, 0.25), Op("global_phase", (), 0.5))))
    assert not table.parameters
    assert table.global_phase == 0.5
    assert table.data[0].params == [0.25]


@pytest.mark.parametrize("value", ["ZIX", {"ZIX": -0.5, "IYI": 2.0}])
def test_observables_go_to_qiskit_and_back(value):
    from qnn_jax.circuits import observable

    assert from_sparse_pauli_op(to_sparse_pauli_op(value)) == observable(value)


def test_labels_mean_the_same_qubits():
    matrix = to_sparse_pauli_op("ZI").to_matrix()  # Z on qubit 1, the high bit
    np.testing.assert_array_equal(np.diag(matrix), [1, 1, -1, -1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: to_qiskit(zz_feature_map(2), inputs="features"),
            "`inputs` and `weights` must be left out with form='table', .* are 'features' and 'w'",
        ),
        (
            lambda: to_qiskit(zz_feature_map(2), form="named", inputs="w"),
            "`inputs` and `weights` must be two names, but both are 'w'",
        ),
        (
            lambda: to_qiskit(zz_feature_map(2), form="named", weights=["theta"]),
            "`weights` must be the name of a ParameterVector, but is \\['theta'\\]",
        ),
        (
            lambda: to_qiskit(zz_feature_map(2), form="named", inputs=""),
            "`inputs` must be the name of a ParameterVector, but is ''",
        ),
        (lambda: from_sparse_pauli_op("ZZ"), "must be a SparsePauliOp, but is 'ZZ'"),
        (
            lambda: from_sparse_pauli_op(SparsePauliOp(["XY"], [1j])),
            "must have real coefficients, but has 1j",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_assigned_is_qiskits_assignment():
    theta = ParameterVector("theta", 3)
    own = QuantumCircuit(1, name="rx")
    own.ry(theta[0] * 2, 0)
    circuit = QuantumCircuit(2, 1, global_phase=theta[2] - theta[0] / 3)
    circuit.rx(theta[1].sin() + 1, 0)
    circuit.append(own.to_gate(), [1])  # has the name of a standard gate and is another one
    circuit.append(own.to_gate().control(1), [0, 1])
    circuit.cu(theta[0], 0.5, -theta[1], theta[2], 1, 0)
    circuit.cx(0, 1, ctrl_state=0)
    circuit.measure(0, 0)
    values = dict(zip(theta, (0.3, -1.2, 2.5), strict=True))
    made, wanted = assigned(circuit, values), circuit.assign_parameters(values)
    assert circuit.num_parameters == 3
    assert not made.parameters
    assert made.count_ops() == wanted.count_ops()
    for one in (made, wanted):
        one.remove_final_measurements()
    np.testing.assert_allclose(Operator(made).data, Operator(wanted).data, atol=1e-14)


def test_long_sums_are_assigned_in_a_moment():
    """`QuantumCircuit.assign_parameters` takes minutes for each of these."""
    total = sum(((k % 7 + 0.5) * w[k] for k in range(1, 3000)), w[0])
    phases = Circuit(1, (Op("rx", 0, total), *(Op("p", 0, w[k]) for k in range(3000))), 0, 3000)
    values = np.linspace(-1, 1.001, 3000)
    named, table = to_qiskit(phases, form="named"), to_qiskit(phases)
    begin = time.process_time()
    by_name = assigned(named, {p: values[p.index] for p in named.parameters})
    by_column = assigned(
        table, dict(zip(table.parameters, [evaluate(total, [], values), *values], strict=True))
    )
    assert time.process_time() - begin < 10
    assert by_name.data[0].params[0] == pytest.approx(evaluate(total, [], values))
    assert by_column.global_phase == pytest.approx(values.sum() / 2 % (2 * np.pi))
