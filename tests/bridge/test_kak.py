"""The template bound with its rows is the circuit itself, up to a global phase."""

import jax
import numpy as np
import pytest
from qiskit.quantum_info import Operator, random_unitary
from reference import distance

import qnn_jax
from qnn_jax import Circuit, Op, w, x
from qnn_jax.bridge import angle_columns, to_qiskit
from qnn_jax.bridge.kak import template, template_rows
from qnn_jax.errors import InputError

CIRCUITS = {
    "the seed's": qnn_jax.zz_feature_map(2) + qnn_jax.real_amplitudes(2, reps=2),
    "local gates only": Circuit(2, (Op("ry", 0, x[0]), Op("x", 1), Op("rz", 1, w[0] * x[1]))),
    "nothing": Circuit(2, (), num_inputs=2),
    "a swap": Circuit(2, (Op("swap", (0, 1)), Op("rx", 0, x[0])), num_inputs=2),
    "a drawn unitary": Circuit(
        2,
        (Op("unitary", (1, 0), matrix=random_unitary(4, seed=3).data), Op("p", 0, x[0])),
        num_inputs=2,
    ),
}


@pytest.mark.slow_but_one
@pytest.mark.parametrize("circuit", CIRCUITS.values(), ids=CIRCUITS)
def test_the_template_is_the_circuit(circuit: Circuit) -> None:
    random = np.random.default_rng(1)
    inputs, weights = random.uniform(-4, 4, (3, 2)), random.normal(size=circuit.num_weights)
    with jax.enable_x64(True):
        rows = template_rows(circuit, inputs, weights)
        for point, row in zip(inputs, rows, strict=True):
            table = np.asarray(qnn_jax.angles(circuit, point, weights))
            columns = list(angle_columns(circuit).values())
            wanted = Operator(to_qiskit(circuit).assign_parameters(table[columns])).data
            assert distance(Operator(template().assign_parameters(row)).data, wanted) < 1e-12
            # The broken twin: the two qubits' angles exchanged.
            swapped = row.reshape(4, 2, 3)[:, ::-1].ravel()
            if circuit.num_weights == 6:
                assert distance(Operator(template().assign_parameters(swapped)).data, wanted) > 0.01


def test_the_template_has_three_cz_and_its_parameters_in_order() -> None:
    assert template().count_ops()["cz"] == 3
    assert [p.name for p in template().parameters] == [f"kak_{k:02d}" for k in range(24)]


def test_other_widths_are_refused() -> None:
    with pytest.raises(InputError, match=r"must have 2 qubits to be recompiled .* but has 3"):
        template_rows(qnn_jax.real_amplitudes(3), np.zeros((1, 0)), np.zeros(12))
