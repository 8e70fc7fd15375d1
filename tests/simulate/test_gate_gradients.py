"""The gradient of every gate of the table: the parameter shift and the finite difference of Qiskit.

Expectation values are trigonometric in each angle, with frequencies 1/2, 1, 3/2 and 2 at most, so a
shift rule of eight terms is exact for all gates: Wierichs et al., arXiv:2107.12390, eq. 17.
"""

import jax
import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp, Statevector
from simulator_references import qiskit_state, x64

from qnn_jax import Circuit, Op, expectations, w
from qnn_jax.circuits import GATES
from qnn_jax.simulate import matrices

TURNED = [name for name, row in GATES.items() if row.num_angles]
CHUNKS = [TURNED[k : k + 5] for k in range(0, len(TURNED), 5)]
TERMS = {"XIZY": 0.7, "ZZXI": -0.4, "YXIZ": 0.9, "IZYX": 0.5}
FREQUENCIES = 4


def circuit_of(names):
    """The gates in a row on four qubits, each angle a weight, between fixed batch_last."""
    rng = np.random.default_rng(len(names))

    def turns():
        return [Op("u", q, rng.normal(size=3).tolist()) for q in range(4)]

    ops, used = turns(), 0
    for name in names:
        row = GATES[name]
        angles = [w[used + k] for k in range(row.num_angles)]
        ops += [Op(name, rng.permutation(4)[: row.num_qubits].tolist(), angles)]
        used += row.num_angles
    return Circuit(4, tuple(ops + turns()))


def qiskit_value(circuit, weights):
    state = Statevector(qiskit_state(circuit, [], weights))
    return state.expectation_value(SparsePauliOp.from_list(list(TERMS.items()))).real


def moved(weights, k, by):
    return [angle + by * (j == k) for j, angle in enumerate(weights)]


def shifted(circuit, weights, k):
    total = 0.0
    for m in range(2 * FREQUENCIES):
        by = (2 * m + 1) * np.pi / (2 * FREQUENCIES)
        share = (-1) ** m / (4 * FREQUENCIES * np.sin(by / 2) ** 2)
        total += share * qiskit_value(circuit, moved(weights, k, 2 * by)) / 2
    return total


def errors(circuit, gradient):
    """By how much each derivative is off the shift rule and the finite difference."""
    weights = np.random.default_rng(1).normal(size=circuit.num_weights)
    with x64(True):
        slope = jax.grad(lambda v: expectations(circuit, TERMS, [], v, gradient=gradient)[0])
        found = np.asarray(slope(weights))
    by_shift = np.array([shifted(circuit, weights, k) for k in range(len(found))])
    step = 1e-5
    by_difference = np.array(
        [
            (qiskit_value(circuit, moved(weights, k, step)) / 2 / step)
            - (qiskit_value(circuit, moved(weights, k, -step)) / 2 / step)
            for k in range(len(found))
        ]
    )
    # A weight that turns nothing tests nothing.
    unseen = sum(op.gate == "global_phase" for op in circuit.ops)
    assert np.sum(abs(by_shift) < 1e-6) == unseen
    return abs(found - by_shift), abs(found - by_difference)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("names", CHUNKS, ids=lambda names: names[0])
def test_the_gradient_of_every_gate(names):
    by_shift, by_difference = errors(circuit_of(names), "reverse")
    assert by_shift.max() < 1e-13
    assert by_difference.max() < 1e-9


@pytest.mark.slow
def test_the_gradient_of_all_gates_in_one_circuit_by_the_adjoint_method():
    by_shift, by_difference = errors(circuit_of(TURNED), "adjoint")
    assert by_shift.max() < 1e-13
    assert by_difference.max() < 1e-9


@pytest.mark.slow_but_one
@pytest.mark.parametrize("name", ["ry", "crx"])
@pytest.mark.usefixtures("fresh_caches")
def test_the_comparison_rejects_a_wrong_derivative(name, monkeypatch):
    """The value is right: the sine of half the angle does not know that it moves."""

    def features(m, angle, of=matrices.features):
        found = of(m, angle)
        return [*found[:2], jax.lax.stop_gradient(found[2]), *found[3:]]

    monkeypatch.setattr(matrices, "features", features)
    by_shift, by_difference = errors(circuit_of([name]), "reverse")
    assert by_shift.max() > 1e-3
    assert by_difference.max() > 1e-3
