"""Qiskit's circuits read in: parameters, definitions, refusals, and the way there and back."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit import library as ql
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector, random_unitary
from reference import in_qiskit, random_vectors

from qnn_jax import Circuit, InputError, Op, w, x
from qnn_jax.bridge import differences, from_qiskit, to_qiskit
from qnn_jax.circuits import GATES, angles

# ------------------------------------------------------------------------------ there and back

ANGLES = st.one_of(
    st.integers(0, 2).map(lambda i: x[i]),
    st.integers(0, 3).map(lambda j: w[j]),
    st.floats(-6, 6).map(lambda v: round(v, 3) or 0.5),
    st.builds(lambda i, j: 2 * (math.pi - x[i]) * (math.pi - w[j]), *[st.integers(0, 2)] * 2),
    st.builds(lambda i, j: w[j] * x[i] + w[j + 1], *[st.integers(0, 2)] * 2),
    st.builds(lambda i: x[i].sin() / 2 - 1, st.integers(0, 2)),
    st.builds(lambda j: abs(-w[j]) + angles.call("atan", w[j]) ** 2, st.integers(0, 3)),
)


@st.composite
def circuits(draw, max_gates=12):
    num_qubits = draw(st.integers(1, 4))
    rows = [row for row in GATES.values() if row.num_qubits <= num_qubits]
    ops = []
    for row in draw(st.lists(st.sampled_from(rows), max_size=max_gates)):
        qubits = draw(st.permutations(range(num_qubits)))[: row.num_qubits]
        ops.append(Op(row.name, qubits, [draw(ANGLES) for _ in range(row.num_angles)]))
    if draw(st.booleans()):
        unitary = random_unitary(2**num_qubits, seed=draw(st.integers(0, 9))).data
        ops.append(Op("unitary", range(num_qubits), matrix=unitary))
    return Circuit(num_qubits, tuple(ops), 3, 5)


def state_of(circuit, seed=0):
    return Statevector(in_qiskit(circuit, *random_vectors(circuit, seed))).data


@given(circuits())
def test_there_and_back_the_gates_stay_and_differences_are_named(circuit):
    back = from_qiskit(to_qiskit(circuit, form="named"))
    assert bool(differences(circuit, back)) == (circuit != back)
    assert (back.num_inputs, back.num_weights) == (3, 5)
    mine = [op for op in circuit.ops if op.gate != "global_phase"]
    theirs = [op for op in back.ops if op.gate != "global_phase"]
    assert [(o.gate, o.qubits, o.matrix) for o in mine] == [
        (o.gate, o.qubits, o.matrix) for o in theirs
    ]
    np.testing.assert_allclose(state_of(back), state_of(circuit), atol=1e-12)
    # What Qiskit has rewritten once it does not rewrite again.
    assert from_qiskit(to_qiskit(back, form="named")) == back


@pytest.mark.parametrize("name", [name for name in GATES if name != "global_phase"])
def test_every_gate_is_the_same_value_there_and_back(name):
    row = GATES[name]
    qubits = list(range(row.num_qubits))[::-1]
    written = [2 * x[0] + 0.25, (math.pi - w[1]) / 2, w[0] * x[1], 0.5]
    circuit = Circuit(4, (Op(name, qubits, written[: row.num_angles]),), 2, 2)
    assert from_qiskit(to_qiskit(circuit, form="named")) == circuit


def test_global_phases_come_back_as_their_sum():
    circuit = Circuit(1, (Op("h", 0), Op("global_phase", (), w[0]), Op("global_phase", (), x[0])))
    back = from_qiskit(to_qiskit(circuit, form="named"))
    assert back.ops == (Op("global_phase", (), w[0] + x[0]), Op("h", 0))
    assert "Gate 0 is h on (0,) in the first and global_phase(w[0] + x[0])" in (
        " ".join(differences(circuit, back))
    )


# ---------------------------------------------------------------------------------- expressions

P, Q, R = Parameter("p"), Parameter("q"), Parameter("r")
EXPRESSIONS = [
    P + 1, 1 - P, P - 1, 2 / P, P / 2, P**2, 2**P, P**Q, -P, abs(P), P.abs() * Q,
    P - Q.sin(), Q.sin() - P, P - (Q - R), (P - Q) - R, P / (Q / R), (P / Q) / R,
    (P + 2).arctan() * Q.exp(), (P / 9).arcsin() + (P / 9).arccos(), abs(P).log() + P.sign(),
    P.tan() + Q.cos(), P.conjugate() * Q, (P * Q).gradient(P), (P**3).gradient(P) * 1.0,
    (P * Q).subs({P: Q + R}), (2 * P + Q).assign(Q, 0.5), P - P + Q, -(-1 * P), -(P + Q),
    (P + Q) * -2,
    1 / (1 + P**2) - 3 * Q**-2, P * P - (P + Q) / (P - Q),
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_expressions_keep_their_value(expression):
    circuit = QuantumCircuit(1)
    circuit.p(expression, 0)
    read = from_qiskit(circuit, inputs=[])
    values = {P: 0.7, Q: -1.3, R: 2.1}
    weights = [values[parameter] for parameter in circuit.parameters]
    bound = expression.bind({p: values[p] for p in circuit.parameters}).numeric()
    assert angles.evaluate(read.angles[0], [], weights) == pytest.approx(bound, abs=1e-12)


def test_a_walk_that_goes_wrong_is_caught(monkeypatch):
    """The twin: were Qiskit to mean something else by an instruction, its own value would tell."""
    from qnn_jax.bridge import expressions

    circuit = QuantumCircuit(1)
    circuit.rx(1 - P, 0)
    monkeypatch.setattr(expressions, "_BINARY", {"__rsub__": lambda a, b: angles.call("sub", a, b)})
    with pytest.raises(InputError, match=r"1 - p was read as w\[0\] - 1, and at one point"):
        from_qiskit(circuit)


# ----------------------------------------------------------------------------------- parameters


def three_parameters():
    circuit = QuantumCircuit(1)
    a, features = Parameter("a"), ParameterVector("x", 2)
    circuit.rx(a, 0)
    circuit.ry(features[1], 0)
    circuit.rz(features[0], 0)
    return circuit, a, features


def test_the_vector_x_is_the_inputs_and_all_others_are_weights():
    circuit, _, _ = three_parameters()
    assert from_qiskit(circuit).angles == (w[0], x[1], x[0])


def test_the_caller_says_which_parameters_are_which():
    circuit, a, features = three_parameters()
    assert from_qiskit(circuit, inputs=[a]).angles == (x[0], w[1], w[0])
    assert from_qiskit(circuit, inputs="a").angles == (x[0], w[1], w[0])
    assert from_qiskit(circuit, weights=["x[1]", a]).angles == (w[1], w[0], x[0])
    assert from_qiskit(circuit, [], [features[1], features[0], a]).angles == (w[2], w[0], w[1])


def test_a_whole_vector_keeps_the_elements_that_are_not_used():
    vector = ParameterVector("v", 12)
    circuit = QuantumCircuit(1)
    circuit.rx(vector[10], 0)
    circuit.ry(vector[2], 0)
    assert from_qiskit(circuit).angles == (w[1], w[0])
    read = from_qiskit(circuit, inputs=vector)
    assert (read.angles, read.num_inputs, read.num_weights) == ((x[10], x[2]), 12, 0)


def test_a_named_form_that_was_changed_is_read_by_the_rule():
    named = to_qiskit(Circuit(1, (Op("rx", 0, x[1]),), 3, 2), form="named")
    named.ry(Parameter("extra"), 0)
    read = from_qiskit(named)
    assert (read.num_inputs, read.num_weights, read.angles) == (1, 1, (x[0], w[0]))


def two_vectors():
    circuit = QuantumCircuit(1)
    features, theta = ParameterVector("features", 3), ParameterVector("theta", 2)
    circuit.rx(theta[0], 0)
    circuit.ry(features[2] * theta[1], 0)
    circuit.rz(features[0], 0)
    return circuit, features, theta


def test_vectors_are_named():
    circuit, features, theta = two_vectors()
    # features[1] is read by no gate, but a row of features has it.
    wanted = Circuit(
        1, (Op("rx", 0, w[0]), Op("ry", 0, x[2] * w[1]), Op("rz", 0, x[0])), num_inputs=3
    )
    for names in (
        {"inputs": "features"},
        {"inputs": "features", "weights": "theta"},
        {"inputs": features},
        {"inputs": ["features"], "weights": [theta]},
    ):
        assert from_qiskit(circuit, **names) == wanted
    with pytest.raises(InputError, match=r"must hold free parameters, but has 'features\[1\]'"):
        from_qiskit(circuit, inputs=["features[0]", "features[1]", "features[2]"])
    # By the weights alone, only what the circuit uses is known of the others.
    assert from_qiskit(circuit, weights="theta").num_inputs == 2
    assert from_qiskit(circuit, inputs=["theta", "features[2]"]).angles == (
        x[0], x[2] * x[1], w[0],
    )  # fmt: skip
    assert from_qiskit(circuit, inputs=[]).num_weights == 4


def test_names_come_back_from_the_named_form():
    circuit = Circuit(1, (Op("rx", 0, x[1]), Op("ry", 0, w[0] / 2)), 3, 2)
    named = to_qiskit(circuit, form="named", inputs="features", weights="theta")
    assert [parameter.name for parameter in named.parameters] == ["features[1]", "theta[0]"]
    assert from_qiskit(named) == circuit
    again = io.BytesIO()
    qpy.dump(named, again)
    again.seek(0)
    assert from_qiskit(qpy.load(again)[0]) == circuit
    named.metadata = {}
    assert from_qiskit(named, "features", "theta").angles == circuit.angles
    with pytest.raises(InputError, match="the circuit has 'features', 'theta'; write inputs="):
        from_qiskit(named)


@pytest.mark.parametrize(
    "metadata", [3, [1, 1], {"x": "a", "w": 1}, {"x": 1}, {"x": -1, "w": 2}, {"u": 1, "v": 1}]
)
def test_metadata_of_others_change_nothing(metadata):
    circuit, _, _ = three_parameters()
    circuit.metadata = {"qnn_jax.lengths": metadata}
    assert from_qiskit(circuit).angles == (w[0], x[1], x[0])


@pytest.mark.parametrize("names", [["theta"], ["a"]])
def test_one_vector_or_parameter_alone_is_an_ansatz(names):
    circuit = QuantumCircuit(1)
    circuit.rx(ParameterVector("theta", 1)[0] if names == ["theta"] else Parameter("a"), 0)
    assert from_qiskit(circuit) == Circuit(1, (Op("rx", 0, w[0]),))


def of_parameters(*parameters):
    circuit = QuantumCircuit(1)
    for parameter in parameters:
        circuit.rx(parameter, 0)
    return circuit


V = ParameterVector("v", 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: from_qiskit(two_vectors()[0]),
            "^Argument `inputs` must say which parameters are inputs where no vector is called "
            "x, but the circuit has 'features', 'theta'; write inputs='features' for one "
            r"of them, a list for several, or inputs=\[\] where all are weights\.$",
        ),
        (lambda: from_qiskit(of_parameters(P, Q)), "the circuit has 'p', 'q'; write"),
        (lambda: from_qiskit(of_parameters(Parameter("x"))), "but the circuit has 'x'; write"),
        (
            lambda: from_qiskit(of_parameters(*(Parameter(f"a{k}") for k in range(10)))),
            "the circuit has 'a0', .*'a7' and 2 more; write",
        ),
        (
            lambda: from_qiskit(two_vectors()[0], inputs="feature"),
            "`inputs` must hold free parameters, but has 'feature'; the circuit has 'features', ",
        ),
        (
            lambda: from_qiskit(two_vectors()[0], inputs="features", weights=["features[0]"]),
            "must name every free parameter once, but 'features\\[0\\]' is in both",
        ),
        (
            lambda: from_qiskit(two_vectors()[0], inputs=["features", "features[0]"]),
            r"`inputs` must name each parameter once, but has 'features\[0\]' twice",
        ),
        (
            lambda: from_qiskit(two_vectors()[0], inputs=ParameterVector("features", 3)),
            r"of the circuit, but 'features\[0\]' is another parameter with the same name; g",
        ),
        (
            lambda: from_qiskit(of_parameters(V[0], Parameter("v")), inputs="v"),
            "must have one meaning, but 'v' is the name of several vectors or parameters of the",
        ),
        (
            lambda: from_qiskit(of_parameters(V[0], ParameterVector("v", 2)[1]), inputs="v"),
            "must have one meaning, but 'v' is the name of several vectors or parameters of the",
        ),
        (lambda: from_qiskit(of_parameters(P), inputs=3), "hold free parameters, but has 3; the"),
        (lambda: from_qiskit(of_parameters(P), inputs=[[]]), r"free parameters, but has \[\]; the"),
        (lambda: from_qiskit(of_parameters(P), inputs=[2 * P]), "hold free parameters, but has "),
        (lambda: from_qiskit(of_parameters(P), inputs=[Q]), "hold free parameters, but has 'q'"),
        (
            lambda: from_qiskit(of_parameters(P), inputs=Parameter("p")),
            "of the circuit, but 'p' is another parameter with the same name; give the name inst",
        ),
        *(
            (
                lambda name=name: from_qiskit(of_parameters(ParameterVector(name, 2)[1])),
                f"but the circuit has '{name}'; write inputs='{name}' for one of them",
            )
            for name in ("X", "features", "inputs")
        ),
    ],
)
def test_parameters_that_are_not_told_apart_are_refused(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------- definitions


def composite():
    inner = QuantumCircuit(2, name="inner", global_phase=0.25 - P)
    inner.rzz(P * Q, 0, 1)
    inner.append(ql.CXGate(ctrl_state=0), [0, 1])
    outer = QuantumCircuit(3, global_phase=Q)
    outer.append(inner.to_gate(), [2, 0])
    outer.append(inner.to_gate().control(1, annotated=False), [1, 2, 0])
    return outer


def shadowed():
    """A gate by the name of a standard one that is another."""
    gate = Gate("rx", 1, [0.5])
    gate.definition = QuantumCircuit(1)
    gate.definition.rz(0.5, 0)
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.append(gate, [0])
    return circuit


def built(num_qubits, *appended):
    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    for gate, qubits in appended:
        circuit.append(gate, qubits)
    return circuit


SAMPLES = {
    "composite": composite(),
    "shadowed": shadowed(),
    "open controls": built(3, (ql.XGate().control(2, ctrl_state=1), [0, 2, 1])),
    "large unitary": built(7, (ql.UnitaryGate(random_unitary(128, seed=1)), range(7))),
    "their pauli map": ql.pauli_feature_map(3, paulis=["Z", "YX", "ZZZ"], reps=1),
    "their n local": ql.n_local(3, ["rx", "ry"], "crz", "circular", reps=2),
    "their excitation preserving": ql.excitation_preserving(3, reps=1),
    "their iqp": ql.iqp([[6, 5, 3], [5, 4, 5], [3, 5, 1]]),
    "their quantum volume": ql.quantum_volume(3, seed=1),
    "their evolved ansatz": ql.evolved_operator_ansatz(SparsePauliOp(["ZZ", "XI"]), reps=2),
    "their fourier checking": ql.fourier_checking([1, -1, -1, -1], [1, 1, -1, -1]),
    "their random circuit": random_circuit(4, 6, seed=4),
    "their feature map": ql.zz_feature_map(3).compose(ql.efficient_su2(3, reps=1)),
    "their qaoa": ql.qaoa_ansatz(SparsePauliOp(["ZZI", "IZZ"]), reps=2),
    "their grover": ql.grover_operator(built(3).compose(built(3, (ql.CCZGate(), [0, 1, 2])))),
}  # fmt: skip


# The exact exponential of a PauliEvolutionGate, which is the reference here, warns.
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize(
    "name",
    [
        # Qiskit takes half a minute for the definition of a unitary on 7 qubits.
        pytest.param(name, marks=pytest.mark.slow) if name == "large unitary" else name
        for name in SAMPLES
    ],
)
def test_composite_gates_become_gates_of_the_table_with_the_same_phase(name):
    circuit = SAMPLES[name]
    order = [p for p in circuit.parameters if p.name.startswith("x[")]
    read = from_qiskit(circuit, inputs=None if order else [])
    inputs, weights = random_vectors(read, 1)
    values = dict(zip(order, inputs, strict=True))
    rest = [p for p in circuit.parameters if p not in values]
    values |= dict(zip(rest, weights, strict=True))
    theirs = Operator(circuit.assign_parameters(values)).data
    np.testing.assert_allclose(Operator(in_qiskit(read, inputs, weights)).data, theirs, atol=1e-9)


def test_every_standard_gate_of_qiskit_is_taken_as_it_is():
    for name, gate in get_standard_gate_name_mapping().items():
        if name in ("measure", "reset", "delay", "global_phase"):
            continue
        circuit = QuantumCircuit(gate.num_qubits)
        circuit.append(gate, range(gate.num_qubits))
        assert [op.gate for op in from_qiskit(circuit, inputs=[]).ops] == [name]


def test_barriers_and_final_measurements_are_left_out():
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.measure_all()
    circuit.barrier()
    assert from_qiskit(circuit).ops == (Op("h", 0),)


# ------------------------------------------------------------------------------------- refusals


def mid_measurement():
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    circuit.cx(0, 1)
    return circuit


def with_(call, num_qubits=2):
    circuit = QuantumCircuit(num_qubits, 1)
    circuit.h(0)
    call(circuit)
    return circuit


def inside():
    circuit = QuantumCircuit(2, name="block")
    circuit.reset(1)
    return with_(lambda c: c.append(circuit.to_instruction(), [0, 1]))


class Nested(Gate):
    """A gate that is defined by `calls` gates of its kind one level below, without end at -1."""

    def __init__(self, levels, calls=1):
        super().__init__("nested", 1, [levels, calls])

    def _define(self):
        levels, calls = map(int, self.params)
        self.definition = QuantumCircuit(1)
        for _ in range(calls):
            inside = Nested(levels - 1 if levels > 0 else levels, calls) if levels else ql.XGate()
            self.definition.append(inside, [0])


class Undefined(Gate):
    """A gate whose definition is still to be written."""

    def __init__(self):
        super().__init__("undefined", 1, [])

    def _define(self):
        raise NotImplementedError("to be written")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_qiskit("h q[0];"), "must be a QuantumCircuit, but is 'h q"),
        (lambda: from_qiskit(QuantumCircuit()), "at least one qubit, but has none"),
        (
            lambda: from_qiskit(mid_measurement()),
            r"has instruction 1, 'measure' on qubits \(0,\): measure at the end only",
        ),
        (
            lambda: from_qiskit(with_(lambda c: c.reset(1))),
            r"has instruction 1, 'reset' on qubits \(1,\): a state that is reset is no longer pure",
        ),
        (
            lambda: from_qiskit(inside()),
            r"has 'reset' in instruction 1, 'block' on qubits \(0, 1\): a state that is reset",
        ),
        (
            lambda: from_qiskit(with_(lambda c: c.initialize("01", [0, 1]))),
            "'initialize' .* it resets its qubits; prepare_state or amplitude_encoding",
        ),
        (lambda: from_qiskit(with_(lambda c: c.delay(9, 1))), "'delay' .* has no clock"),
        (
            lambda: from_qiskit(
                with_(lambda c: c.for_loop(range(2), None, QuantumCircuit(1), [0], []))
            ),
            "'for_loop' on qubits .*unroll it",
        ),
        (
            lambda: from_qiskit(with_(lambda c: c.append(Gate("magic", 1, []), [0]))),
            "'magic' on qubits .*which has no definition",
        ),
        (
            lambda: from_qiskit(with_(lambda c: c.append(Nested(-1), [0]))),
            r"has instruction 1, 'nested' on qubits \(0,\), whose definition does not end or nests",
        ),
        (
            lambda: from_qiskit(with_(lambda c: c.append(Undefined(), [0]))),
            r"'undefined' on qubits \(0,\), which Qiskit cannot decompose \(to be written\): give",
        ),
        (
            lambda: from_qiskit(with_(lambda c: c.rx(P, 0)), inputs=[], weights=[]),
            "must name every free parameter once, but 'p' is in neither",
        ),
        (
            lambda: from_qiskit(with_(lambda c: c.rx(P, 0)), weights=[P, P]),
            "Argument `weights` must name each parameter once, but has 'p'",
        ),
        (
            lambda: from_qiskit(with_(lambda c: c.append(ql.RXGate(1j * P), [0]))),
            "must have real angles, but has 0\\+1j",
        ),
        (
            lambda: from_qiskit(with_(lambda c: c.rx((-1) ** P, 0))),
            "must have real angles, but .* was not real at any point that was tried",
        ),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_definitions_that_double_are_refused_before_all_are_there(monkeypatch):
    monkeypatch.setattr("qnn_jax.circuits.checks.MAX_GATES", 1000)
    assert len(from_qiskit(with_(lambda c: c.append(Nested(7, 2), [0]))).ops) == 257
    with pytest.raises(InputError, match="at most 1000 gates, but would hold at least 1001;"):
        from_qiskit(with_(lambda c: c.append(Nested(40, 2), [0])))


def test_lengths_in_metadata_of_others_are_not_believed():
    circuit = with_(lambda c: c.rx(ParameterVector("w", 2)[1], 0))
    circuit.metadata = to_qiskit(Circuit(1, (), 0, 2), form="named").metadata
    assert from_qiskit(circuit).num_weights == 2
    (key,) = circuit.metadata
    circuit.metadata = {key: {"x": 0, "w": 10**12}}
    assert from_qiskit(circuit).num_weights == 1
