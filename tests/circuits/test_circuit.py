"""Circuits as values: composition, counts, printing, JSON, and refusals."""

import copy
import functools
import json
import math
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from qiskit.circuit import Parameter
from qiskit.quantum_info import Pauli, SparsePauliOp

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
NOT = ((0.0, 1.0), (1.0, 0.0))


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


def test_unused_weights_are_reported() -> None:
    assert SEED.unused_weights == ()
    circuit = Circuit(2, (Op("rx", 0, w[1]), Op("rzz", (0, 1), w[0] * w[3] + x[2])), num_weights=6)
    assert circuit.unused_weights == (2, 4, 5)
    twin = circuit.without_entanglement()
    assert (twin.unused_weights, twin.num_weights, twin.num_inputs) == ((0, 2, 3, 4, 5), 6, 3)
    assert (circuit + circuit).unused_weights == (2, 4, 5, 8, 10, 11)


def test_additions_keep_what_no_gate_reads() -> None:
    bare = Circuit(1, (), num_inputs=3, num_weights=2)
    assert (bare + bare).num_weights == 4
    assert bare.repeat(3).num_weights == 6
    assert bare.shift_inputs(2).num_inputs == 5
    assert bare.shift_weights(2).num_weights == 4
    assert [str(op) for op in Circuit(1, (Op("rx", 0, w[1]),)).shift_weights(3).ops] == ["rx(w[4])"]
    assert bare.power(-4) == bare == bare.inverse()


def test_what_composition_makes_would_pass_every_check() -> None:
    # Composition does not check gates again; a circuit made from scratch does.
    base = SEED + Circuit(2, (Op("unitary", (1, 0), matrix=np.eye(4)[[0, 2, 1, 3]]),))
    for made in (
        base + base,
        base.then(base, weights="shared"),
        base.repeat(3),
        base.repeat(np.int64(2), weights="shared"),
        base.power(np.int64(-2)),
        base.on([np.int64(2), 0], np.int64(4)),
        base.shift_inputs(np.int64(1)),
        base.shift_weights(np.int64(1)),
        base.inverse(),
        base.without_entanglement(),
        base.controlled(np.int64(2)),
    ):
        again = Circuit(made.num_qubits, made.ops, made.num_inputs, made.num_weights)
        assert again == made
        assert hash(again) == hash(made)
        assert Circuit.from_json(made.to_json()) == made


def test_a_pickled_circuit_is_the_same_value_in_another_process() -> None:
    # Python salts the hashes of strings anew in each process: a stored hash would be stale.
    code = (
        "import pickle, sys; from qnn_jax.circuits import zz_feature_map; "
        "read = pickle.loads(bytes.fromhex(sys.argv[1])); made = zz_feature_map(2); "
        "assert read == made and hash(read) == hash(made)"
    )
    circuit = zz_feature_map(2)
    hash(circuit)
    data = pickle.dumps(circuit).hex()
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", code, data], check=True, env=environment)
    assert copy.deepcopy(circuit) == circuit


def test_large_circuits_are_made_hashed_and_compared_quickly() -> None:
    def make() -> Circuit:
        circuit = Circuit(20)
        for _ in range(50):
            circuit = circuit + zz_feature_map(20, 1, "linear") + real_amplitudes(20, 1)
        return circuit

    start = time.process_time()
    circuit = make()
    assert time.process_time() - start < 1  # 0.1 s; it was 1.1 s when every sum was checked again
    assert (len(circuit.ops), circuit.num_weights) == (7800, 2000)
    other = make()
    hash(circuit), hash(other)
    start = time.process_time()
    for _ in range(1000):
        hash(circuit)
        assert circuit == circuit
    assert time.process_time() - start < 0.1
    start = time.process_time()
    assert circuit == other
    assert time.process_time() - start < 0.1


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


def test_barriers_are_left_out():
    gates = Op("h", 0), Op("barrier", (0, 1)), Op("cx", (0, 1)), Op("barrier", 1).inverse()
    assert Circuit(2, gates) == Circuit(2, (gates[0], gates[2]))
    assert np.array_equal(gates[1].row.matrix(np), np.eye(4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Circuit(0), "Argument `num_qubits` must be an integer of at least 1, but is 0"),
        (lambda: Op("hadamard", 0), "must be one of Qiskit's standard gates, but is 'hadamard'"),
        (lambda: Op("cxx", (0, 1)), "but is 'cxx'; did you mean .*cx"),
        (lambda: Op("measure", 0), "but is 'measure'; a circuit is unitary, .*: leave it out"),
        (lambda: Op("reset", 0), "but is 'reset'; a circuit is unitary, .*: take a fresh qubit"),
        (lambda: Op("delay", 0), "but is 'delay'; a circuit has no clock: leave it out"),
        (lambda: Op("barrier", (0, 0)), "of gate `barrier` must not repeat a qubit"),
        (lambda: Circuit(1, (Op("barrier", (0, 1)),)), "of gate `barrier` must be below 1"),
        (
            lambda: Op("h", 0.5),
            "`qubits` must be an integer of at least 0 or a sequence of them, but is 0.5",
        ),
        (lambda: Op("rx", 0, 1j), "must be a real number or an expression .*, but is 1j"),
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
        (lambda: Op("unitary", 0), r"`matrix` must hold numbers, but is None"),
        (lambda: Op("unitary", 0, matrix=[[1, 1], [0, 1]]), "Argument `matrix` must be unitary"),
        (lambda: Op("unitary", 0, matrix=[[math.nan, 0], [0, 1]]), "must be unitary"),
        (
            lambda: Op("unitary", 0, matrix=np.array([[0.6, 0.8], [-0.8, 0.6]], np.float32)),
            r"is allowed: compute it in double precision\)",
        ),
        (lambda: observables_on(1, 3), "`observables` must hold Pauli labels, .* holds 3"),
        (lambda: PauliSum("ZZ"), "must have pairs of a label and a coefficient .* but has 'ZZ'"),
        (lambda: Op(["h"], 0), r"must be one of Qiskit's standard gates, but is \['h'\]"),
        (
            lambda: Op("cx", "01"),
            "`qubits` must be an integer of at least 0 or a sequence of them, but is '01'",
        ),
        (lambda: Op("rx", 0, "x[0]"), r"must be a real number or an expression .* 'x\[0\]'"),
        (lambda: Circuit(2, "hh"), "`ops` must be a sequence of Ops, but is 'hh'"),
        (
            lambda: observables_on(2, [Pauli("ZZ")]),
            r"must hold Pauli labels, .* holds Pauli\('ZZ'\); SparsePauliOp makes one of Qiskit's",
        ),
        (
            lambda: observables_on(1, SparsePauliOp("Z", np.array([Parameter("a")]))),
            "must have numbers as coefficients, but that of 'Z' is not; assign its parameters",
        ),
        (lambda: observables_on(2, {"ZZ", "XX"}), "must have an order, but is the set .*a tuple"),
        (lambda: observables_on(2, "Z2"), "must name qubits below 2, .* but has 'Z2'"),
        (lambda: observables_on(3, "X1 Z1"), "name a qubit once in a term, but has 'X1 Z1'"),
        (lambda: observables_on(3, "X1Z2"), "must be labels of .* but has 'X1Z2'; X on qubit 1"),
        (lambda: observables_on(3, {"Z0": 1j}), "must have real coefficients, but has 1j"),
        (lambda: observable("Z0"), "must be labels of .* 'X1 Z3', where a circuit says how many"),
        (lambda: observable({"ZZ": 10**400}), "must have finite coefficients, but has inf"),
        (
            lambda: observable({"ZZ": 1.0, "XX": 1e-9j}),
            "must have real coefficients, but has 1e-09j",
        ),
        (
            lambda: observable(SparsePauliOp(["ZZ", "XY"], [1, 1j])),
            "must have real coefficients, but has 1j",
        ),
        (lambda: PauliSum(iter(())), "`observable` must have at least one term, but has none"),
        (lambda: Op("unitary", range(7), matrix=[]), "must name 1 to 6 qubits, but names 7"),
        (lambda: Circuit(1, (Op("h", 1),)), r"of gate `h` must be below 1, .* but is \(1,\)"),
        (lambda: Circuit(1, ("h",)), "`ops` must hold values of type Op, but holds 'h'"),
        (
            lambda: Circuit(1, (Op("rx", 0, x[2]),), 2),
            r"`num_inputs` must be an integer of at least 3, .*x\[2\]",
        ),
        (lambda: Circuit(1, Op("h", 0)), "`ops` must be a sequence of Ops, but is Op"),
        (lambda: SEED.then("h"), "Argument `other` must be a Circuit, but is 'h'"),
        (lambda: SEED.on(1), r"`qubits` must name 2 different qubits, but is \(1,\)"),
        (lambda: SEED.on([0, 2], 2), "`num_qubits` must be an integer of at least 3, but is 2"),
        (lambda: SEED + Circuit(3), "Argument `other` must have 2 qubits, but has 3"),
        (lambda: SEED.then(SEED, weights="new"), r"`weights` must be one of .* but is 'new'"),
        (lambda: SEED.on([1, 1]), r"`qubits` must name 2 different qubits, but is \(1, 1\)"),
        (lambda: Circuit.from_json("[]"), "`text` must be JSON written by Circuit.to_json"),
        (lambda: Circuit.from_json("{"), "`text` must be JSON written by Circuit.to_json"),
        (lambda: observable("ZQ"), "must be labels of the letters I, X, Y and Z, but has 'ZQ'"),
        (lambda: observable(""), "must be labels of the letters"),
        (lambda: observable({}), "must have at least one term"),
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


def test_the_short_form_names_qubits() -> None:
    matrices = {letter: SparsePauliOp(letter).to_matrix() for letter in "IXYZ"}

    def on(letters: dict[int, str]) -> np.ndarray:
        """The Kronecker product by hand: qubit 0 is the last factor."""
        return functools.reduce(np.kron, [matrices[letters.get(q, "I")] for q in (2, 1, 0)])

    wanted = {
        "Z0": on({0: "Z"}),
        "Y2": on({2: "Y"}),
        "X1 Z2": on({1: "X", 2: "Z"}),
        "Z2 X1": on({1: "X", 2: "Z"}),
        "Z0 Y1 X2": on({0: "Z", 1: "Y", 2: "X"}),
    }
    for text, matrix in wanted.items():
        ((terms,),) = (one.terms for one in observables_on(3, text))
        np.testing.assert_array_equal(SparsePauliOp.from_list([terms]).to_matrix(), matrix)
    assert observables_on(12, "Z10")[0].terms == (("IZ" + "I" * 10, 1.0),)
    assert observables_on(3, {"Z0": 2.0, "X0 X2": 1})[0].terms == (("IIZ", 2.0), ("XIX", 1.0))


def test_qiskits_sums_are_observables_with_their_terms_added() -> None:
    operator = SparsePauliOp(["ZZ", "XX", "ZZ"], [0.5, 1, 0.5])
    for given in (operator, [operator], (operator,)):
        assert observables_on(2, given) == (PauliSum((("ZZ", 1.0), ("XX", 1.0))),)
    # Trotter products act term by term: there the order is kept.
    assert observable(operator).terms == (("ZZ", 0.5), ("XX", 1.0), ("ZZ", 0.5))
    assert observables_on(2, {"Z0": 1.0, "IZ": 2.0}) == (observable({"IZ": 3.0}),)
    assert observables_on(2, PauliSum((("ZZ", 1.0), ("ZZ", 2.0)))) == (observable({"ZZ": 3.0}),)


def test_residues_of_rounding_are_dropped() -> None:
    product = SparsePauliOp("XY") @ SparsePauliOp("YX") + SparsePauliOp("ZZ", np.exp(2j * np.pi))
    assert product.coeffs.imag.any()
    (total,) = observables_on(2, product)
    assert total.terms == (("ZZ", 2.0),)
    cancelled = SparsePauliOp(["ZZ", "XX", "ZZ", "ZZ"], [0.1, 1, 0.2, -0.3])
    assert observables_on(2, cancelled)[0].terms == (("XX", 1.0),)
    assert observables_on(2, SparsePauliOp(["ZZ", "XX"], [1, 1e-17]))[0].terms == (("ZZ", 1.0),)
    assert observables_on(2, SparsePauliOp(["ZZ", "ZZ"], [1, -1]))[0].terms == (("ZZ", 0.0),)
    assert observable({"ZZ": 2 + 1e-17j, "XX": np.complex64(1)}).terms == (("ZZ", 2), ("XX", 1))
    # A small coefficient that somebody wrote is no residue.
    assert observable({"ZZ": 1.0, "XX": 1e-20}).terms == (("ZZ", 1.0), ("XX", 1e-20))


def places(value: object, at: tuple = ()) -> list[tuple]:
    """Where something stands in JSON."""
    items = enumerate(value) if isinstance(value, list) else getattr(value, "items", tuple)()
    return [at, *(deeper for key, part in items for deeper in places(part, (*at, key)))]


def test_json_that_is_changed_by_hand_is_refused_or_a_circuit() -> None:
    circuit = Circuit(2, (Op("ry", 0, x[0] * w[0]), Op("cx", (0, 1)), Op("unitary", 0, (), NOT)))
    text, refused = circuit.to_json(), 0
    texts = ["", "1" * 5000, "[" * 100_000, '{"ops":' * 100_000, text[:-3]]
    for at in places(json.loads(text)):
        for value in (None, True, -2, 0.5, "", "x", [], {}, [[]], 10**30, math.nan):
            whole = json.loads(text)
            around = functools.reduce(lambda one, key: one[key], at[:-1], whole)
            if at:
                around[at[-1]] = value
            texts.append(json.dumps(whole if at else value))
    for changed in texts:
        try:
            Circuit.from_json(changed)
        except InputError:
            refused += 1
    assert refused > 200


def test_a_matrix_with_nan_is_refused_wherever_it_stands() -> None:
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        matrix = [list(entries) for entries in NOT]
        matrix[row][column] = math.nan
        with pytest.raises(InputError, match=r"must be unitary, .* orthonormal only to nan"):
            Op("unitary", 0, matrix=matrix)
