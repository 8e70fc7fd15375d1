"""One contract runs over the whole gate table; broken gates must not pass it."""

import dataclasses
import math

import numpy as np
import pytest
from qiskit.circuit.library import get_standard_gate_name_mapping

from qnn_jax.circuits import GATES, Gate, Op

QISKIT = get_standard_gate_name_mapping()
TOLERANCE = 1e-14


def angles_for(gate: Gate) -> list[float]:
    return list(np.random.default_rng(len(gate.name)).uniform(-6, 6, gate.num_angles))


def check_contract(gate: Gate) -> None:
    """Unitary, equal to Qiskit's operator, undone by its inverse, one matrix for many angles."""
    angles = angles_for(gate)
    matrix = np.array(gate.matrix(np, *angles))
    size = 2**gate.num_qubits
    assert matrix.shape == (size, size), "shape"
    assert np.abs(matrix.conj().T @ matrix - np.eye(size)).max() < TOLERANCE, "unitary"
    assert len(QISKIT[gate.name].params) == gate.num_angles, "angles"
    theirs = type(QISKIT[gate.name])(*angles)
    assert theirs.num_qubits == gate.num_qubits, "qubits"
    assert np.abs(matrix - theirs.to_matrix()).max() < TOLERANCE, "Qiskit"
    if gate.inverse is not None:
        name, inverse_angles = gate.inverse(*angles)
        undo = np.array(GATES[name].matrix(np, *inverse_angles))
        assert np.abs(undo @ matrix - np.eye(size)).max() < TOLERANCE, "inverse"
    if gate.num_angles:
        columns = [np.array([angle, 0.3]) for angle in angles]
        many = gate.matrix(np, *columns)
        first = np.array([[np.broadcast_to(entry, (2,))[0] for entry in row] for row in many])
        assert np.abs(first - matrix).max() < TOLERANCE, "vectorised"


@pytest.mark.parametrize("name", GATES)
def test_every_gate_keeps_the_contract(name: str) -> None:
    check_contract(GATES[name])


def broken(name: str, **changes: object) -> Gate:
    return dataclasses.replace(GATES[name], **changes)


@pytest.mark.parametrize(
    ("gate", "part"),
    [
        (broken("crx", matrix=lambda m, t: GATES["rx"].matrix(m, t)), "shape"),
        # Control and target in the other order: the mistake that ⟨ZZ⟩ cannot see.
        (broken("cx", matrix=lambda m: np.eye(4)[[0, 1, 3, 2]]), "Qiskit"),
        (broken("rx", matrix=lambda m, t: GATES["rx"].matrix(m, 2 * t)), "Qiskit"),
        (broken("h", matrix=lambda m: ((1, 1), (1, -1))), "unitary"),
        (broken("s", inverse=lambda: ("s", ())), "inverse"),
        (broken("u", inverse=lambda a, b, c: ("u", (-a, -b, -c))), "inverse"),
        (broken("p", num_angles=0, matrix=lambda m: ((1, 0), (0, 1j))), "angles"),
        (broken("ry", matrix=lambda m, t: GATES["ry"].matrix(m, np.sum(t))), "vectorised"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_broken_gates_are_rejected(gate: Gate, part: str) -> None:
    with pytest.raises(AssertionError, match=part):
        check_contract(gate)


def test_the_table_is_qiskits_list_without_what_is_no_gate() -> None:
    assert set(QISKIT) - set(GATES) == {"measure", "reset", "delay"}
    assert set(GATES) <= set(QISKIT)


@pytest.mark.parametrize("name", [name for name in GATES if name != "global_phase"])
def test_an_op_is_undone_by_its_inverse_on_its_own_qubits(name: str) -> None:
    gate = GATES[name]
    op = Op(name, range(gate.num_qubits), angles_for(gate))
    undo = op.inverse()
    angles = [angle.value for angle in undo.angles]  # type: ignore[union-attr]
    product = np.array(undo.row.matrix(np, *angles)) @ np.array(
        op.row.matrix(np, *angles_for(gate))
    )
    assert undo.qubits == op.qubits
    assert np.abs(product - np.eye(len(product))).max() < 1e-14


def test_rotations_follow_the_generator() -> None:
    # exp(-iθ/2 P) at θ = π is -iP, and a full turn is -1.
    for name in ("rx", "ry", "rz", "rxx", "ryy", "rzz", "rzx"):
        full = np.array(GATES[name].matrix(np, 2 * math.pi))
        assert np.abs(full + np.eye(len(full))).max() < 1e-14
