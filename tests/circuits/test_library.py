"""The library's circuits against Qiskit's, as unitaries."""

import math

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import library as qiskit_library
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.circuit.library.n_local.n_local import get_entangler_map
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector
from qiskit.synthesis import LieTrotter
from reference import in_qiskit, random_vectors

from qnn_jax.circuits import (
    Circuit,
    Op,
    efficient_su2,
    excitation_preserving,
    iqp,
    n_local,
    pauli_evolution,
    pauli_feature_map,
    qaoa_ansatz,
    random_iqp,
    real_amplitudes,
    w,
    x,
    z_feature_map,
    zz_feature_map,
)
from qnn_jax.circuits.library import PATTERNS, connections
from qnn_jax.errors import InputError


def check_same(ours: Circuit, theirs: QuantumCircuit) -> None:
    """The same unitary to 1e-12, parameter k of Qiskit being the k-th of our inputs and weights."""
    inputs, weights = random_vectors(ours, seed=0)
    bound = theirs.assign_parameters([*inputs, *weights])
    difference = Operator(in_qiskit(ours, inputs, weights)).data - Operator(bound).data
    assert np.abs(difference).max() < 1e-12


@pytest.mark.parametrize("entanglement", PATTERNS)
@pytest.mark.parametrize("num_qubits", range(2, 7))
def test_zz_feature_map_is_qiskits(num_qubits: int, entanglement: str) -> None:
    for reps in (1, 2, 3):
        ours = zz_feature_map(num_qubits, reps, entanglement)
        check_same(ours, qiskit_library.zz_feature_map(num_qubits, reps, entanglement))


@pytest.mark.parametrize("num_qubits", range(1, 6))
def test_z_feature_map_is_qiskits(num_qubits: int) -> None:
    for reps, entanglement in ((1, "full"), (2, "reverse_linear"), (3, "sca")):
        ours = z_feature_map(num_qubits, reps, entanglement, alpha=1.5)
        theirs = qiskit_library.z_feature_map(num_qubits, reps, entanglement, alpha=1.5)
        check_same(ours, theirs)


@pytest.mark.parametrize(
    "paulis", [["Z", "ZZ"], ["X", "YZ"], ["xyz"], ["ZIX", "Y", "II"], ["XX", "YY", "ZZ"], ["ZYXX"]]
)
@pytest.mark.parametrize("num_qubits", range(3, 6))
def test_pauli_feature_map_is_qiskits(num_qubits: int, paulis: list[str]) -> None:
    if num_qubits < max(map(len, paulis)):
        with pytest.raises(InputError, match=r"labels of at most 3 letters, .* holds 'ZYXX'"):
            pauli_feature_map(num_qubits, paulis=paulis)
        return
    for entanglement in PATTERNS:
        if entanglement == "pairwise" and max(map(len, paulis)) > 2:
            continue
        for reps in (1, 2):
            ours = pauli_feature_map(num_qubits, reps, entanglement, 0.7, paulis)
            theirs = qiskit_library.pauli_feature_map(num_qubits, reps, entanglement, 0.7, paulis)
            check_same(ours, theirs)


def test_feature_maps_take_connections_functions_and_data_maps() -> None:
    for entanglement in (
        {1: [(0,), (2,)], 2: [(2, 0), (0, 1)]},
        {2: [(0, 1), (2, 1)]},
        lambda layer: "linear" if layer else "full",
        lambda layer: {1: [(layer,)], 2: [(layer, 2)]},
    ):
        ours = pauli_feature_map(3, entanglement=entanglement)
        check_same(ours, qiskit_library.pauli_feature_map(3, entanglement=entanglement))

    def square(values: list) -> object:
        return values[0] * values[-1] + 1

    ours = zz_feature_map(3, data_map_func=square)
    check_same(ours, qiskit_library.zz_feature_map(3, data_map_func=square))
    ours = z_feature_map(2, data_map_func=square)
    check_same(ours, qiskit_library.z_feature_map(2, data_map_func=square))
    # A list is for the labels of more than one letter: Z stays on every qubit.
    pairs = zz_feature_map(3, 1, [(2, 0)])
    check_same(pairs, qiskit_library.zz_feature_map(3, 1, {1: [[0], [1], [2]], 2: [(2, 0)]}))


@pytest.mark.parametrize("entanglement", PATTERNS)
@pytest.mark.parametrize("num_qubits", range(1, 7))
def test_layered_ansatze_are_qiskits(num_qubits: int, entanglement: str) -> None:
    for reps in (0, 1, 3):
        arguments = {"entanglement": entanglement, "reps": reps}
        check_same(
            real_amplitudes(num_qubits, **arguments),
            qiskit_library.real_amplitudes(num_qubits, **arguments),
        )
        if num_qubits < 6:
            check_same(
                efficient_su2(num_qubits, **arguments),
                qiskit_library.efficient_su2(num_qubits, **arguments),
            )
            for mode in ("iswap", "fsim"):
                check_same(
                    excitation_preserving(num_qubits, mode, **arguments),
                    qiskit_library.excitation_preserving(num_qubits, mode, **arguments),
                )


def test_layered_ansatze_have_qiskits_defaults() -> None:
    for name in ("real_amplitudes", "efficient_su2", "excitation_preserving"):
        for num_qubits in (1, 2, 4):
            ours = {
                "real_amplitudes": real_amplitudes,
                "efficient_su2": efficient_su2,
                "excitation_preserving": excitation_preserving,
            }[name](num_qubits)
            check_same(ours, getattr(qiskit_library, name)(num_qubits))
    for gates in ("ry", ["rx", "y"], ["u"], ["h", "u2"]):
        check_same(efficient_su2(3, gates), qiskit_library.efficient_su2(3, gates))


@pytest.mark.parametrize(
    ("rotations", "entanglers", "entanglement"),
    [
        ("ry", "cx", "full"),
        (["ry", "rz"], ["cz"], "circular"),
        ([], "cry", "pairwise"),
        ("rx", [], "full"),
        ("x", "crx", [[0, 1], [2, 0]]),
        (["crx", "u"], ["ccx"], "linear"),
        ("crx", ["rxx", "cx"], ["full", "linear"]),
        ("ry", ["rxx", "ryy"], [[[0, 1], [2, 1]], "sca"]),
        ("ry", ["cx", "ccx"], "sca"),
        ("ry", "x", "linear"),
        ("ry", "cx", []),
        ("ry", ["cx", "cz"], [[[1, 2]], []]),
        ("ry", ["cu", "rz"], "reverse_linear"),
        ("u3", "cx", lambda layer: [[0, 1 + layer % 2]]),
        ("p", ["cx", "cp"], lambda layer: ["linear", [(2, layer % 2)]]),
        (["rx", "swap"], "cswap", lambda layer: "circular"),
    ],
)
def test_n_local_is_qiskits(rotations: object, entanglers: object, entanglement: object) -> None:
    for num_qubits in (3, 4, 5):
        for reps in (0, 1, 2):
            for skips in ((False, False), (True, False), (False, True)):
                names = ("skip_final_rotation_layer", "skip_unentangled_qubits")
                options = dict(zip(names, skips, strict=True))
                arguments = (num_qubits, rotations, entanglers, entanglement, reps)
                ours = n_local(*arguments, **options)
                check_same(ours, qiskit_library.n_local(*arguments, **options))


def test_blocks_on_several_qubits_are_skipped_unless_all_are_entangled() -> None:
    # Even numbers only: on odd ones Qiskit 2.6.2 makes a circuit that it cannot read itself.
    for num_qubits in (4, 6):
        for pairs in ([[0, 2]], [[0, 1]], [[2, 3], [1, 2]]):
            ours = n_local(num_qubits, ["crx", "ry"], "cx", pairs, 2, skip_unentangled_qubits=True)
            theirs = qiskit_library.n_local(
                num_qubits, ["crx", "ry"], "cx", pairs, 2, skip_unentangled_qubits=True
            )
            check_same(ours, theirs)


def test_n_local_takes_circuits_as_blocks() -> None:
    block = Circuit(2, (Op("rzx", (1, 0), 3 * w[1] + x[0]), Op("ry", 0, w[0])))
    ours = n_local(3, "rx", block, "linear", reps=1)
    assert (ours.num_inputs, ours.num_weights) == (1, 10)
    assert [str(op) for op in ours.ops[3:5]] == ["rzx(3*w[4] + x[0])", "ry(w[3])"]
    assert [op.qubits for op in ours.ops[3:7]] == [(1, 0), (0,), (2, 1), (1,)]


SUMS = [
    {"Z": 0.5},
    {"X": -1.0, "Y": 0.3, "I": 2.0},
    {"ZZ": 1.0, "XI": 0.5, "IY": -0.7, "ZX": 0.2, "XZ": 0.4, "YX": 1.1, "II": -3.0},
    {"ZIZ": 1.0, "XYZ": -0.4, "YIX": 2.0, "IYY": 0.6, "XXI": 1.3},
    {"ZZZZ": 1.0, "XIYI": -0.4, "YYXZ": 2.0, "IIIX": 0.6},
    {"ZIIIZ": 0.8, "XYZXY": -0.4, "IIIII": 1.0},
]


@pytest.mark.parametrize("terms", SUMS, ids=lambda terms: "+".join(terms))
def test_pauli_evolution_is_qiskits(terms: dict[str, float]) -> None:
    operator = SparsePauliOp(list(terms), list(terms.values()))
    for reps in (1, 2, 3):
        gate = PauliEvolutionGate(operator, 0.7, synthesis=LieTrotter(reps=reps))
        theirs = QuantumCircuit(operator.num_qubits)
        theirs.append(gate, range(operator.num_qubits))
        check_same(pauli_evolution(terms, 0.7, reps), theirs.decompose())
        expression = pauli_evolution(terms, x[0] * 2, reps)
        by_input = in_qiskit(expression, np.array([0.35]), np.array([]))
        check_same(pauli_evolution(terms, 0.7, reps), by_input)


def test_a_sum_of_qiskit_evolves_term_by_term() -> None:
    # A product of second order: added up, X would act once and elsewhere.
    operator = SparsePauliOp(["XI", "ZZ", "XI"], [0.4, 0.9, 0.4])
    theirs = QuantumCircuit(2)
    theirs.append(PauliEvolutionGate(operator, 0.7, synthesis=LieTrotter()), range(2))
    check_same(pauli_evolution(operator, 0.7), theirs.decompose())
    added = pauli_evolution({"XI": 0.8, "ZZ": 0.9}, 0.7)
    with pytest.raises(AssertionError):
        check_same(added, theirs.decompose())


def test_the_mixer_may_name_qubits() -> None:
    assert qaoa_ansatz("ZZ", mixer_operator={"X0": 1.0, "X1": 1.0}) == qaoa_ansatz(
        "ZZ", mixer_operator={"IX": 1.0, "XI": 1.0}
    )


def test_a_single_pauli_evolves_exactly() -> None:
    # Closed form: exp(-itcP) = cos(tc) - i sin(tc) P.
    for label in ("I", "Y", "XZ", "YIX", "ZXYX"):
        ours = Operator(in_qiskit(pauli_evolution({label: 0.8}, 1.7), np.array([]), np.array([])))
        matrix = SparsePauliOp(label).to_matrix()
        wanted = math.cos(1.36) * np.eye(len(matrix)) - 1j * math.sin(1.36) * matrix
        assert np.abs(ours.data - wanted).max() < 1e-14


@pytest.mark.parametrize("terms", SUMS[1:], ids=lambda terms: "+".join(terms))
def test_qaoa_ansatz_is_qiskits(terms: dict[str, float]) -> None:
    operator = SparsePauliOp(list(terms), list(terms.values()))
    n = operator.num_qubits
    for reps in (1, 3):
        ours = qaoa_ansatz(terms, reps)
        assert ours.num_weights == 2 * reps
        check_same(ours, qiskit_library.qaoa_ansatz(operator, reps))
    start, mixer = QuantumCircuit(n), "Y" * n
    start.x(0)
    ours = qaoa_ansatz(terms, 2, Circuit(n, (Op("x", 0),)), mixer)
    check_same(ours, qiskit_library.qaoa_ansatz(operator, 2, start, SparsePauliOp(mixer)))


def test_iqp_is_qiskits() -> None:
    for num_qubits in range(1, 6):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            half = rng.integers(-9, 10, (num_qubits, num_qubits))
            check_same(iqp(half + half.T), qiskit_library.iqp(half + half.T))
    assert random_iqp(4, seed=1) == random_iqp(4, seed=1) != random_iqp(4, seed=2)


@pytest.mark.parametrize(
    ("broken", "theirs"),
    [
        (real_amplitudes(3, 2, "linear"), qiskit_library.real_amplitudes(3, "full", 2)),
        (zz_feature_map(3, 1).on([1, 0, 2]), qiskit_library.zz_feature_map(3, 1)),
        (z_feature_map(2, alpha=1.0), qiskit_library.z_feature_map(2)),
        (
            pauli_feature_map(3, paulis=["YX"]),  # the label read from the wrong end
            qiskit_library.pauli_feature_map(3, paulis=["XY"]),
        ),
        (
            # su2_gates on each qubit in turn would give the weights another order.
            n_local(2, Circuit(1, (Op("ry", 0, w[0]), Op("rz", 0, w[1]))), "cx", reps=1),
            qiskit_library.efficient_su2(2, reps=1),
        ),
        (
            excitation_preserving(2, reps=1),
            qiskit_library.n_local(2, "rz", "rxx", reps=1),
        ),
        (
            pauli_evolution({"IX": 1.0, "IZ": 1.0}, 0.5),  # the terms in the other order
            pauli_evolution({"IZ": 1.0, "IX": 1.0}, 0.5),
        ),
        (
            qaoa_ansatz("ZZ", 2).inverse(),
            qiskit_library.qaoa_ansatz(SparsePauliOp("ZZ"), 2),
        ),
        (iqp([[1, 2], [2, 3]]), qiskit_library.iqp([[3, 2], [2, 1]])),
    ],
    ids=range(9),
)
def test_a_broken_twin_is_noticed(broken: Circuit, theirs: QuantumCircuit | Circuit) -> None:
    if isinstance(theirs, Circuit):
        theirs = in_qiskit(theirs, np.array([]), np.array([]))
    with pytest.raises(AssertionError):
        check_same(broken, theirs)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_connections_are_qiskits(pattern: str) -> None:
    for size in (1, 2) if pattern == "pairwise" else (1, 2, 3, 4):
        for num_qubits in range(size, 8):
            for layer in range(10):
                theirs = get_entangler_map(size, num_qubits, pattern, layer)
                ours = connections(num_qubits, size, pattern, layer)
                assert list(ours) == [tuple(block) for block in theirs]


def test_one_qubit_has_nothing_to_entangle() -> None:
    assert [connections(1, 2, pattern) for pattern in PATTERNS] == [()] * len(PATTERNS)
    theirs = Statevector(qiskit_library.real_amplitudes(1, reps=1).assign_parameters([0.3, 0.4]))
    assert theirs.data == pytest.approx([np.cos(0.35), np.sin(0.35)])
    assert [op.gate for op in real_amplitudes(1, 1).ops] == ["ry", "ry"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zz_feature_map(3, 1, [(0, 3)]), r"connections of 2 .* below 3, but .* \(0, 3\)"),
        (lambda: pauli_feature_map(2, paulis="ZZ"), "`paulis` must be a list of labels, .*'ZZ'"),
        (lambda: pauli_feature_map(2, paulis=["ZQ"]), "letters I, X, Y and Z, but holds 'ZQ'"),
        (lambda: pauli_feature_map(1), "labels of at most 1 letters, .* but holds 'ZZ'"),
        (lambda: pauli_feature_map(3, 1, "pairwise", 1.0, ["ZZZ"]), "must not be 'pairwise'"),
        (lambda: real_amplitudes(2, entanglement=[(0, 0)]), r"2 different .* holds \(0, 0\)"),
        (lambda: real_amplitudes(2, entanglement=[0, 1]), "connections of 2 .* but is 0"),
        (lambda: real_amplitudes(2, entanglement=3), "connections of 2 .* but is 3"),
        (lambda: real_amplitudes(2, entanglement=["full"] * 2), "each of 1 blocks, but holds 2"),
        (lambda: n_local(2, "hadamard", "cx"), "`rotation_blocks` .* but holds 'hadamard'"),
        (lambda: n_local(2, 3, "cx"), "`rotation_blocks` must be names of gates .* but is 3"),
        (lambda: n_local(2, "ry", "global_phase"), "gates on qubits, .* holds 'global_phase'"),
        (lambda: n_local(2, "ry", "ccx"), "`entanglement_blocks` .* at most 2 qubits, .* on 3"),
        (lambda: pauli_evolution("ZZ", "t"), "Argument `angle` must be a real number or an expres"),
        (lambda: pauli_evolution({"ZZ": 1j}), "must have real coefficients, but has 1j"),
        (lambda: qaoa_ansatz("ZZ", 1, Circuit(3)), "`initial_state` must act on the 2 qubits"),
        (lambda: qaoa_ansatz("ZZ", 1, None, "X"), "`mixer_operator` must act on .* but is 'X'"),
        (lambda: iqp([[1, 2]]), r"`interactions` must be a square matrix, but is \[\[1, 2\]\]"),
        (lambda: iqp(3), "`interactions` must be a square matrix, but is 3"),
        (lambda: iqp([]), r"`interactions` must be a square matrix, but is \[\]"),
        (lambda: iqp([[1, 2], [3, 4]]), r"symmetric .* but holds 2 at \(0, 1\) and 3 at \(1, 0\)"),
        (lambda: iqp([[0.5]]), "must be symmetric and hold integers, but holds 0.5"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
