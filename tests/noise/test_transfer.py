"""Pauli-transfer matrices and parameter-shift rules of all gates. Qiskit is the reference."""

import numpy as np
import pytest
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import PTM, Choi, Operator, SuperOp, random_quantum_channel

from qnn_jax import InputError, Op
from qnn_jax.circuits.gates import GATES, Gate
from qnn_jax.noise import transfer
from qnn_jax.noise.transfer import (
    choi,
    constant_transfer,
    evaluated,
    gate_transfer,
    shift_rule,
    transfer_of_kraus,
)

QISKIT = get_standard_gate_name_mapping()
NAMES = sorted(name for name, gate in GATES.items() if gate.num_qubits and name in QISKIT)


@pytest.mark.parametrize("name", NAMES)
def test_a_gate_has_the_matrix_that_qiskit_gives_it(name: str) -> None:
    angles = np.random.default_rng(0).uniform(-7, 7, (3, GATES[name].num_angles))
    found = evaluated(np, gate_transfer(name), angles)
    for row, values in enumerate(angles):
        wanted = PTM(Operator(type(QISKIT[name])(*values))).data.real
        np.testing.assert_allclose(found[row] if len(values) else found, wanted, atol=1e-9)
        op = Op(name, tuple(range(GATES[name].num_qubits)), values.tolist())
        np.testing.assert_allclose(constant_transfer(op), wanted, atol=1e-9)


@pytest.mark.parametrize("num_qubits", [1, 2])
def test_channels_are_qiskits(num_qubits: int) -> None:
    channel = random_quantum_channel(2**num_qubits, rank=3, seed=num_qubits)
    from qiskit.quantum_info import Kraus

    found = transfer_of_kraus(np.array(Kraus(channel).data))
    np.testing.assert_allclose(found, PTM(channel).data.real, atol=1e-12)
    wanted = np.linalg.eigvalsh(Choi(SuperOp(channel)).data) / 2**num_qubits
    np.testing.assert_allclose(np.linalg.eigvalsh(choi(found)), wanted, atol=1e-12)


def slope_by_rule(rule, value, theta: float) -> float:
    return sum(factor * value(theta + shift) for shift, factor in rule)


def two_terms(rule):
    """A rule for one frequency only, as rotations have it."""
    return ((np.pi / 2, 0.5), (-np.pi / 2, -0.5))


WITH_ANGLES = [(name, k) for name in NAMES for k in range(GATES[name].num_angles)]


def check_rule(name: str, number: int, rule) -> None:
    """The rule gives the slope of a random expectation value, by finite differences of Qiskit's."""
    rng = np.random.default_rng(number)
    angles = rng.uniform(-3, 3, GATES[name].num_angles)
    size = 2 ** GATES[name].num_qubits
    draw = rng.normal(size=(2, size, size)) + 1j * rng.normal(size=(2, size, size))
    observable = draw[0] + draw[0].conj().T
    state = draw[1, 0] / np.linalg.norm(draw[1, 0])

    def value(theta: float) -> float:
        turned = [*angles[:number], theta, *angles[number + 1 :]]
        out = Operator(type(QISKIT[name])(*turned)).data @ state
        return (out.conj() @ observable @ out).real

    theta, step = angles[number], 1e-5
    wanted = (value(theta + step) - value(theta - step)) / (2 * step)
    assert slope_by_rule(rule, value, theta) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("name", "number"), WITH_ANGLES)
def test_shift_rules_give_the_slope(name: str, number: int) -> None:
    check_rule(name, number, shift_rule(name, number))


@pytest.mark.parametrize(("name", "number"), [("crx", 0), ("cu", 0), ("xx_plus_yy", 1), ("r", 1)])
def test_a_rule_for_one_frequency_is_rejected_where_there_are_two(name: str, number: int) -> None:
    with pytest.raises(AssertionError):
        check_rule(name, number, two_terms(shift_rule(name, number)))


def test_a_gate_that_is_not_trigonometric_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rx = GATES["rx"]
    bent = Gate("rx", 1, 1, lambda m, angle: rx.matrix(m, angle**2 / 5), rx.inverse)
    monkeypatch.setattr(transfer, "GATES", {"rx": bent})
    gate_transfer.cache_clear()
    with pytest.raises(InputError, match=r"^Argument `circuit` must have gates .* but `rx` is not"):
        shift_rule("rx", 0)
    gate_transfer.cache_clear()
