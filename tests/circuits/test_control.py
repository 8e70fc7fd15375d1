"""Controlled circuits and powers, against matrices put together in numpy."""

from collections.abc import Callable

import numpy as np
import pytest
from qiskit.quantum_info import Operator, random_unitary
from reference import in_qiskit, random_vectors

from qnn_jax.circuits import GATES, Circuit, Op, efficient_su2, w, x, zz_feature_map
from qnn_jax.errors import InputError


def unitary(circuit: Circuit, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(Operator(in_qiskit(circuit, inputs, weights)).data)


def check_controlled(base: Circuit, ours: Circuit, num_controls: int) -> None:
    """The base's unitary where the lowest bits are all 1, the identity elsewhere."""
    inputs, weights = random_vectors(base, seed=1)
    inner = unitary(base, inputs, weights)
    wanted = np.eye(len(inner) << num_controls, dtype=complex)
    block = slice(2**num_controls - 1, None, 2**num_controls)
    wanted[block, block] = inner
    assert np.abs(unitary(ours, inputs, weights) - wanted).max() < 1e-13
    assert (ours.num_inputs, ours.num_weights) == (base.num_inputs, base.num_weights)


def one_gate(name: str, symbolic: bool = False) -> Circuit:
    """One gate on its qubits in reversed order, so that no order is right by accident."""
    row = GATES[name]
    numbers = np.random.default_rng(len(name)).uniform(-6, 6, row.num_angles)
    angles = [w[k] * 1.5 + 0.1 for k in range(row.num_angles)] if symbolic else list(numbers)
    qubits = range(row.num_qubits)[::-1]
    return Circuit(max(row.num_qubits, 1), (Op(name, qubits, angles),))


@pytest.mark.parametrize("name", GATES)
def test_every_gate_can_be_controlled(name: str) -> None:
    for symbolic in (False, True):
        base = one_gate(name, symbolic)
        for num_controls in (1, 2, 3):
            check_controlled(base, base.controlled(num_controls), num_controls)


@pytest.mark.parametrize("num_controls", [4, 5])
@pytest.mark.parametrize("name", ["x", "rx", "u", "p", "global_phase", "swap"])
def test_many_controls(name: str, num_controls: int) -> None:
    base = one_gate(name, symbolic=True)
    check_controlled(base, base.controlled(num_controls), num_controls)


@pytest.mark.parametrize(
    ("name", "num_controls", "wanted"),
    [
        ("x", 1, "cx"), ("x", 2, "ccx"), ("cx", 1, "ccx"), ("z", 2, "ccz"), ("cz", 1, "ccz"),
        ("swap", 1, "cswap"), ("sx", 1, "csx"), ("sx", 3, "c3sx"), ("csx", 2, "c3sx"),
        ("h", 1, "ch"), ("p", 1, "cp"), ("ry", 1, "cry"), ("u3", 1, "cu3"), ("s", 1, "cs"),
        ("global_phase", 1, "p"), ("global_phase", 2, "cp"),
    ],
)  # fmt: skip
def test_the_tables_own_name_is_used(name: str, num_controls: int, wanted: str) -> None:
    ops = one_gate(name).controlled(num_controls).ops
    assert [op.gate for op in ops] == [wanted]


def test_a_whole_circuit_and_its_global_phase() -> None:
    base = zz_feature_map(2, 1) + efficient_su2(2, reps=1)
    base += Circuit(2, (Op("global_phase", (), w[0] * x[1]), Op("iswap", (1, 0))))
    for num_controls in (1, 2):
        check_controlled(base, base.controlled(num_controls), num_controls)
    check_controlled(base, base.controlled().controlled(), 2)


def test_a_unitary_stays_one_gate() -> None:
    base = Circuit(2, (Op("unitary", (1, 0), matrix=random_unitary(4, seed=3).data),))
    for num_controls in (1, 2, 3, 4):
        ours = base.controlled(num_controls)
        assert len(ours.ops) == 1
        check_controlled(base, ours, num_controls)
    with pytest.raises(InputError, match=r"at most 6 qubits, .* one on 2 qubits gets 5 controls"):
        base.controlled(5)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda ours: ours.without_entanglement(),
        lambda ours: ours.inverse(),
        lambda ours: ours.on([1, 0, 2]),
        lambda ours: Circuit(3, ours.ops[:-1]),
        # A global phase that stayed global.
        lambda ours: ours + Circuit(3, (Op("global_phase", (), 0.3),)),
        lambda ours: ours + Circuit(3, (Op("p", 0, 0.3),)),
    ],
    ids=range(6),
)
def test_a_broken_controlled_circuit_is_noticed(break_it: Callable[[Circuit], Circuit]) -> None:
    base = Circuit(2, (Op("rx", 0, 0.7), Op("rzx", (0, 1), 0.4), Op("global_phase", (), 0.3)))
    check_controlled(base, base.controlled(), 1)
    with pytest.raises(AssertionError):
        check_controlled(base, break_it(base.controlled()), 1)


def test_powers_are_products() -> None:
    base = zz_feature_map(2, 1) + efficient_su2(2, reps=1)
    inputs, weights = random_vectors(base, seed=2)
    once = unitary(base, inputs, weights)
    for exponent in (-3, -1, 0, 1, 2, 5):
        ours = base.power(exponent)
        assert (ours.num_inputs, ours.num_weights) == (2, 8)
        wanted = np.linalg.matrix_power(once, exponent)
        assert np.abs(unitary(ours, inputs, weights) - wanted).max() < 1e-12
    # The other sense and fresh weights are other unitaries.
    squared = np.linalg.matrix_power(once, 2)
    assert np.abs(unitary(base.power(-2), inputs, weights) - squared).max() > 0.1
    assert base.power(2) != base.repeat(2)


def test_an_exponent_is_an_integer() -> None:
    with pytest.raises(InputError, match=r"Argument `exponent` must be an integer, but is 0\.5"):
        Circuit(1, (Op("rx", 0, 1.0),)).power(0.5)
