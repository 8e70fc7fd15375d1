"""Circuits as values: composition, counts, printing, JSON, and refusals."""

import math
import subprocess
import sys

import numpy as np
import pytest

from qnn_jax.circuits import (
    Circuit,
    Op,
    PauliSum,
    observable,
    real_amplitudes,
    w,
    x,
    zz_feature_map,
)
from qnn_jax.circuits.observables import observables_on
from qnn_jax.errors import InputError

SEED = zz_feature_map(2) + real_amplitudes(2, reps=2)


def test_the_seeds_circuit_gate_by_gate() -> None:
    names = [op.gate for op in SEED.ops]
    assert (
        names == ["h", "h", "p", "p", "cx", "p", "cx"] * 2 + (["ry"] * 2 + ["cx"]) * 2 + ["ry"] * 2
    )
    assert (SEED.num_inputs, SEED.num_weights, SEED.num_angles) == (2, 6, 12)
    assert SEED.ops[5] == Op("p", 1, 2 * (math.pi - x[0]) * (math.pi - x[1]))


def test_equal_circuits_are_one_value() -> None:
    again = zz_feature_map(2) + real_amplitudes(2, reps=2)
    assert again == SEED
    assert hash(again) == hash(SEED)
    assert len({again, SEED}) == 1
    assert (zz_feature_map(2) + real_amplitudes(2, reps=3)) != SEED
    assert Circuit(2, (Op("h", 0),)) != Circuit(2, (Op("h", 1),))
    assert Circuit(1, (Op("rx", 0, x[0]),)) != Circuit(1, (Op("rx", 0, w[0]),))
    assert Circuit(1, (), num_inputs=1) != Circuit(1, (), num_inputs=2)


def test_addition_shares_inputs_and_appends_weights() -> None:
    a = Circuit(1, (Op("rx", 0, x[0]), Op("ry", 0, w[0])))
    both = a + a
    assert [str(op) for op in both.ops] == ["rx(x[0])", "ry(w[0])", "rx(x[0])", "ry(w[1])"]
    assert (both.num_inputs, both.num_weights) == (1, 2)
    shared = a.then(a, weights="shared")
    assert [str(op) for op in shared.ops][-1] == "ry(w[0])"
    assert shared.num_weights == 1


def test_repeat_on_shift_inverse() -> None:
    a = Circuit(2, (Op("cx", (0, 1)), Op("rx", 0, x[0]), Op("ry", 1, w[0])))
    assert a.repeat(3).num_weights == 3
    assert a.repeat(3, weights="shared").num_weights == 1
    assert a.repeat(0).ops == ()
    placed = a.on([4, 2], num_qubits=6)
    assert [op.qubits for op in placed.ops] == [(4, 2), (4,), (2,)]
    assert placed.num_qubits == 6
    assert str(a.shift_inputs(2).ops[1]) == "rx(x[2])"
    assert a.shift_inputs(2).num_inputs == 3
    assert [str(op) for op in a.inverse().ops] == ["ry(-w[0])", "rx(-x[0])", "cx"]


def test_the_separable_twin_keeps_its_inputs_and_weights() -> None:
    twin = SEED.without_entanglement()
    assert all(len(op.qubits) == 1 for op in twin.ops)
    assert (twin.num_inputs, twin.num_weights) == (2, 6)
    lone = Circuit(2, (Op("rzz", (0, 1), w[0]),)).without_entanglement()
    assert (lone.ops, lone.num_weights) == ((), 1)


def test_json_and_back_is_the_same_value() -> None:
    unitary = np.array([[0, 1j], [1, 0]])
    circuit = Circuit(
        3, (*SEED.on([2, 0], 3).ops, Op("unitary", 1, matrix=unitary), Op("cswap", (2, 0, 1)))
    )
    assert Circuit.from_json(circuit.to_json()) == circuit
    assert Circuit.from_json(Circuit(2, num_inputs=5).to_json()).num_inputs == 5


def test_printing_draws_the_circuit() -> None:
    assert str(zz_feature_map(2, reps=1)).splitlines() == [
        "q0: ─H─P(2*x[0])─●────────────────────────────●─",
        "q1: ─H─P(2*x[1])─⊕─P(2*(π - x[0])*(π - x[1]))─⊕─",
    ]
    far = str(Circuit(3, (Op("cx", (2, 0)), Op("swap", (0, 1)), Op("global_phase", (), 0.5))))
    assert far.splitlines() == ["global phase: 0.5", "q0: ─⊕─✕─", "q1: ─│─✕─", "q2: ─●───"]
    wide = str(real_amplitudes(2, reps=12))
    assert max(map(len, wide.splitlines())) <= 100
    assert "\n\n" in wide


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Circuit(0), "Argument `num_qubits` must be an integer of at least 1, but is 0"),
        (lambda: Circuit(-1), "must be an integer of at least 1, but is -1"),
        (lambda: Circuit(2.0), "must be an integer of at least 1, but is 2.0"),
        (lambda: Op("hadamard", 0), "must be one of Qiskit's standard gates, but is 'hadamard'"),
        (lambda: Op("cxx", (0, 1)), "but is 'cxx'; did you mean .*cx"),
        (lambda: Op("measure", 0), "must be one of Qiskit's standard gates, but is 'measure'"),
        (
            lambda: Op("cx", (0, 0)),
            r"`qubits` of gate `cx` must not repeat a qubit, but is \(0, 0\)",
        ),
        (lambda: Op("cx", 0), r"`qubits` of gate `cx` must name 2 qubits, but is \(0,\)"),
        (lambda: Op("h", -1), "`qubits` must hold integers of at least 0, but holds -1"),
        (lambda: Op("rx", 0), "`angles` of gate `rx` must have 1 entries, but has 0"),
        (lambda: Op("rx", 0, math.nan), "Argument `angle` must be finite, but is nan"),
        (lambda: Op("h", 0, matrix=[[1]]), 'Argument `matrix` must be given to "unitary" only'),
        (lambda: Op("unitary", 0, matrix=[[1, 0]]), r"must have shape \(2, 2\) for 1 qubits"),
        (lambda: Op("unitary", 0), r"must have shape \(2, 2\) for 1 qubits, but is None"),
        (lambda: Op("unitary", 0, matrix=[[1, 1], [0, 1]]), "Argument `matrix` must be unitary"),
        (lambda: Op("unitary", 0, matrix=[[math.nan, 0], [0, 1]]), "must be unitary"),
        (lambda: Op("unitary", range(7), matrix=[]), "must name 1 to 6 qubits, but names 7"),
        (lambda: Circuit(1, (Op("h", 1),)), r"of gate `h` must be below 1, .* but is \(1,\)"),
        (lambda: Circuit(1, ("h",)), "`ops` must hold values of type Op, but holds 'h'"),
        (lambda: Circuit(1, (Op("rx", 0, x[2]),), 2), r"`num_inputs` must be at least 3, .*x\[2\]"),
        (lambda: SEED + Circuit(3), "Argument `other` must have 2 qubits, but has 3"),
        (lambda: SEED.then(SEED, weights="new"), r"`weights` must be one of .* but is 'new'"),
        (lambda: SEED.on([0]), r"`qubits` must name 2 different qubits, but is \(0,\)"),
        (lambda: SEED.on([1, 1]), r"`qubits` must name 2 different qubits, but is \(1, 1\)"),
        (lambda: SEED.repeat(-1), "`times` must be an integer of at least 0, but is -1"),
        (lambda: SEED.shift_inputs(-1), "`by` must be an integer of at least 0, but is -1"),
        (lambda: zz_feature_map(1), "`num_qubits` must be an integer of at least 2, but is 1"),
        (lambda: zz_feature_map(2, reps=0), "`reps` must be an integer of at least 1, but is 0"),
        (lambda: real_amplitudes(2, entanglement="ring"), "`entanglement` must be one of .*'ring'"),
        (lambda: Circuit.from_json("[]"), "`text` must be JSON written by Circuit.to_json"),
        (lambda: Circuit.from_json("{"), "`text` must be JSON written by Circuit.to_json"),
        (lambda: observable("ZQ"), "must be labels of the letters I, X, Y and Z, but has 'ZQ'"),
        (lambda: observable(""), "must be labels of the letters"),
        (lambda: observable({}), "must have at least one term"),
        (lambda: observable({"ZZ": 1j}), "must have real coefficients, but has 1j"),
        (lambda: observable({"ZZ": math.nan}), "must have finite coefficients, but has nan"),
        (lambda: observable({"ZZ": 1, "Z": 1}), "must have labels of one length"),
        (lambda: observable(3), "must hold Pauli labels, .* but holds 3"),
        (lambda: observables_on(2, ["ZZZ"]), "must have labels of 2 letters, .* 'ZZZ' has 3"),
        (lambda: observables_on(2, []), "must hold at least one observable, but is empty"),
    ],
)
def test_bad_circuits_are_refused_in_one_sentence(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_observables_read_labels_mappings_and_sums() -> None:
    assert observable("ZI") == PauliSum((("ZI", 1.0),))
    assert observables_on(2, "ZI") == (observable("ZI"),)
    assert observables_on(2, [{"ZI": 2, "XX": -0.5}])[0].terms == (("ZI", 2.0), ("XX", -0.5))


def test_circuits_import_neither_jax_nor_qiskit() -> None:
    code = (
        "import sys, qnn_jax.circuits; from qnn_jax import Circuit, x, zz_feature_map; "
        "print(zz_feature_map(2)); "
        "heavy = {'jax', 'numpy', 'qiskit', 'matplotlib', 'tensorflow_datasets'}; "
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
