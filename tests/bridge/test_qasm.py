"""OpenQASM 2 and 3, in and out."""

import math
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm2, qasm3
from qiskit.quantum_info import Operator, Statevector, random_unitary
from reference import in_qiskit, random_vectors

from qnn_jax import Circuit, InputError, Op, data_reuploading, statevector, w, x
from qnn_jax import zz_feature_map as zz
from qnn_jax.bridge import draw, from_qasm, to_qasm2, to_qasm3
from qnn_jax.circuits import GATES, angles

FILES = Path(__file__).parent / "qasm"
READABLE = ["bell", "ghz", "qft", "adder", "grover", "vqe", "deutsch_jozsa"]


QASM2 = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[1];'


def text_of(name):
    return (FILES / f"{name}.qasm").read_text()


def operator_of(circuit, seed=1):
    return Operator(in_qiskit(circuit, *random_vectors(circuit, seed))).data


# ------------------------------------------------------------------------------------------- in


@pytest.mark.parametrize("name", READABLE)
def test_openqasm_2_files_prepare_qiskits_state(name):
    theirs = qasm2.loads(
        text_of(name),
        custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS,
        custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL,
    )
    theirs.remove_final_measurements()
    read = from_qasm(text_of(name))
    state = statevector(read, [], [])
    np.testing.assert_allclose(state, Statevector(theirs).data, atol=1e-5)
    np.testing.assert_allclose(operator_of(read)[:, 0], Statevector(theirs).data, atol=1e-12)


def probability(name, bits):
    """The chance of a result, by meaning alone: bits of the last qubit first."""
    return abs(np.asarray(statevector(from_qasm(text_of(name)), [], []))[int(bits, 2)]) ** 2


def test_files_do_what_they_are_known_to_do():
    assert probability("ghz", "1111") == pytest.approx(0.5, abs=1e-5)
    # cout, b1, b0, a1, a0, cin: 3 + 2 = 101, a stays 11.
    assert probability("adder", "101110") == pytest.approx(1, abs=1e-5)
    assert probability("grover", "101") == pytest.approx(121 / 128, abs=1e-5)
    both = probability("deutsch_jozsa", "0111") + probability("deutsch_jozsa", "1111")
    assert both == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("definition", "used", "meant"),
    [
        ("cu a, b { h b; cz a, b; }", "cu q[0], q[1];", (Op("h", 1), Op("cz", (0, 1)))),
        ("rxx(t) a, b { rx(2 * t) a; }", "rxx(0.3) q[0], q[1];", (Op("rx", 0, 0.6),)),
        # A comment defines nothing.
        ("g a { h a; } // gate rxx(t) a, b", "\nrxx(0.3) q[0], q[1];", (Op("rxx", (0, 1), 0.3),)),
    ],
)
def test_an_openqasm_2_gate_is_what_its_text_defines_and_not_qiskits_of_that_name(
    definition, used, meant
):
    text = f'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; gate {definition} {used}'
    assert from_qasm(text).ops == meant


def test_openqasm_3_parameters_functions_and_own_gates():
    read = from_qasm(text_of("parametrised"))
    assert (read.num_inputs, read.num_weights) == (3, 3)  # x_0, x_2, x_10; theta, w_0, w_1
    (x0, x2, x10), (theta, w0, w1) = random_vectors(read, 5)

    def turn(tilt, axis):
        block = QuantumCircuit(2, global_phase=tilt)
        block.rz(-axis, 0)
        block.ry(tilt / 2, 0)
        block.cx(0, 1)
        block.rz(axis, 1)
        return block.to_gate()

    theirs = QuantumCircuit(3, global_phase=-x2)
    theirs.h(range(3))
    theirs.append(turn(x0, 2 * x10 - 1), [0, 2])
    theirs.append(turn(0.3, 0.7).control(1, annotated=False), [1, 0, 2])
    theirs.rx(math.sin(w0) ** 2 + math.sqrt(w1**2 + 1), 1)
    theirs.p(theta / 2, 0)
    theirs.sdg(2)
    theirs.s(1)
    theirs.cx(0, 1, ctrl_state=0)
    np.testing.assert_allclose(operator_of(read, 5), Operator(theirs).data, atol=1e-12)


def test_qiskits_own_export_is_read_in_the_order_of_its_vectors():
    circuit = Circuit(1, tuple(Op("rx", 0, x[k] * w[10 - k]) for k in range(11)))
    from qnn_jax.bridge import to_qiskit

    read = from_qasm(qasm3.dumps(to_qiskit(circuit, form="named")))
    assert [set(angles.symbols(a)) for a in read.angles] == [{x[k], w[10 - k]} for k in range(11)]


# ------------------------------------------------------------------------------------------ out

WRITTEN = [2 * x[0] - w[0], -(w[1] - x[0]), abs(w[2]) / 3 - -0.25, 0.25]


@pytest.mark.parametrize("name", GATES)
def test_every_gate_is_the_same_operator_through_openqasm(name):
    row = GATES[name]
    gate = Op(name, range(row.num_qubits)[::-1], WRITTEN[: row.num_angles])
    circuit = Circuit(max(row.num_qubits, 1), (Op("h", 0), gate), 3, 3)
    ours = operator_of(circuit)
    read = from_qasm(to_qasm3(circuit))
    assert (read.num_inputs, read.num_weights) == (3, 3)
    np.testing.assert_allclose(operator_of(read), ours, atol=1e-12)
    read = from_qasm(to_qasm2(circuit, *random_vectors(circuit, 1)))
    overlap = np.trace(operator_of(read).conj().T @ ours) / len(ours)
    assert abs(overlap) == pytest.approx(1, abs=1e-12)


def test_a_unitary_is_written_by_standard_gates_phase_included():
    matrix = np.exp(0.4j) * random_unitary(8, seed=3).data
    circuit = Circuit(3, (Op("unitary", (2, 0, 1), matrix=matrix),))
    ours = operator_of(circuit)
    np.testing.assert_allclose(operator_of(from_qasm(to_qasm3(circuit))), ours, atol=1e-9)
    read = operator_of(from_qasm(to_qasm2(circuit, [], [])))
    assert abs(np.trace(read.conj().T @ ours)) == pytest.approx(8, abs=1e-9)


EXPRESSIONS = [
    x[0] - (w[0] - 1), x[0] / (w[0] / 2), (x[0] / w[0]) / 2, (x[0] + 1) * (w[0] - 2) * 3,
    -(x[0] * w[0]), x[0] - -w[0], 2 * -x[0], x[0] ** 2 * w[0],
    2 ** (x[0] * w[0]), x[0].cos().sin() - (w[0] / 9).exp(), abs(x[0] * w[0]),
    angles.call("atan", x[0]) * angles.call("tan", w[0]), angles.call("log", 2 + x[0] ** 2),
    angles.call("asin", x[0] / 9) + angles.call("acos", w[0] / 9), 1e-7 * x[0] + 123456789.125,
    3 - x[0] * -2.5, -(-1 * x[0]) + -0.5, (x[0] ** 2 + 1) ** (w[0] ** 2), (-x[0]) ** 2,
    -(x[0] ** 2), (x[0] ** 2) ** 3 - (-1.5) ** 2,
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_expressions_keep_their_value_through_openqasm_3(expression):
    read = from_qasm(to_qasm3(Circuit(1, (Op("rx", 0, expression),), 1, 1)))
    for inputs, weights in ([[0.7], [1.9]], [[-2.2], [0.4]]):
        assert angles.evaluate(read.angles[0], inputs, weights) == pytest.approx(
            angles.evaluate(expression, inputs, weights), abs=1e-12
        )


def test_a_whole_circuit_through_openqasm_3():
    circuit = zz(3) + data_reuploading(3, 2, 3)
    read = from_qasm(to_qasm3(circuit))
    np.testing.assert_allclose(operator_of(read), operator_of(circuit), atol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "weights"), [("features", "theta"), ("w", "θ2"), ("x1", "x2"), ("x", "a_b")]
)
def test_names_and_unused_elements_come_back_from_openqasm_3(inputs, weights):
    circuit = Circuit(1, (Op("rx", 0, x[1] * w[10]), Op("ry", 0, w[2])), 3, 12)
    text = to_qasm3(circuit, inputs, weights)
    assert f"rx({inputs}_1*{weights}_10) q[0];" in text
    assert from_qasm(text, inputs, weights) == circuit
    if inputs == "x":
        assert from_qasm(text) == circuit
    else:
        with pytest.raises(InputError, match=f"the text has '{inputs}', '{weights}'; write inputs"):
            from_qasm(text)


def test_a_controlled_gate_keeps_its_phase_through_openqasm_3():
    circuit = Circuit(1, (Op("u3", 0, WRITTEN[:3]), Op("global_phase", (), w[2])), 3, 3)
    for num_controls in (1, 2, 3):
        controlled = circuit.controlled(num_controls)
        read = from_qasm(to_qasm3(controlled))
        np.testing.assert_allclose(operator_of(read), operator_of(controlled), atol=1e-12)


@pytest.mark.parametrize("name", [name for name in GATES if name != "global_phase"])
def test_the_gates_that_to_qasm3_defines_have_the_right_phase_under_ctrl(name):
    row = GATES[name]
    circuit = Circuit(
        row.num_qubits, (Op(name, range(row.num_qubits), WRITTEN[: row.num_angles]),), 3, 3
    )
    *head, statement = to_qasm3(circuit).splitlines()
    gate, _, qubits = statement.partition(" q[")
    head[-1] = f"qubit[{row.num_qubits + 1}] q;"
    text = "\n".join([*head, f"ctrl @ {gate} q[-1], q[{qubits}"])
    ours = operator_of(circuit)
    both = np.kron(np.diag([1, 0]), np.eye(len(ours))) + np.kron(np.diag([0, 1]), ours)
    np.testing.assert_allclose(operator_of(from_qasm(text)), both, atol=1e-12)


# -------------------------------------------------------------------------------------- pictures


def test_pictures():
    circuit = Circuit(2, (Op("ry", 0, 2 * x[0]), Op("cx", (0, 1))))
    assert "Ry(2*x[0])" in draw(circuit)
    figure = draw(circuit, "mpl")
    assert any("R" in text.get_text() for text in figure.axes[0].texts)
    import matplotlib.pyplot as plt

    plt.close(figure)
    with pytest.raises(InputError, match="Argument `output` must be one of 'text', 'mpl'"):
        draw(circuit, "latex")


# -------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: from_qasm(text_of("teleport")),
            "`text` .* has instruction 5, 'measure' on qubits",
        ),
        (
            lambda: from_qasm(Path("a.qasm")),
            "must be a string of OpenQASM, as Path.read_text gives",
        ),
        (lambda: from_qasm("OPENQASM 4.0;"), "begins with 'OPENQASM 4.0;'"),
        (lambda: from_qasm("OPENQASM 2.0;" + " " * 10**7), "at most 10,000,000 characters"),
        (lambda: from_qasm("OPENQASM 3.0;\ud800"), r"has half a character \(a surrogate\) at pos"),
        (
            lambda: from_qasm("OPENQASM 2.0; foo q;"),
            "read, but Qiskit says: .*'foo' is not defined",
        ),
        (
            lambda: from_qasm(f"{QASM2} rx q[0];"),
            r"read, but a gate has too few angles \(Qiskit says: RXGate.* 'theta'\)\.",
        ),
        (lambda: from_qasm(f"{QASM2} U q[0];"), "read, but a gate has too few angles"),
        *(
            (
                lambda huge=huge: from_qasm(f"{QASM2} rx({huge}) q[0];"),
                "^Argument `text` must have finite angles, but one is inf; a number above 1.8e308",
            )
            for huge in ("1e400", "10^400", "1e200*1e200")
        ),
        (lambda: from_qasm('OPENQASM 2.0; include "/etc/passwd";'), "Qiskit says: .*passwd"),
        (
            lambda: to_qasm3(Circuit(1, (Op("rx", 0, angles.call("sign", x[0])),))),
            r"but sign\(x\[0\]\) uses 'sign', which it does not have; to_qasm2 writes numbers",
        ),
        (lambda: to_qasm3(zz(2), "w"), "must be two names, but both are 'w'"),
        (lambda: to_qasm3(zz(2), "w", "x"), "`weights` must not be 'x', because from_qasm takes"),
        *(
            (
                lambda name=name: to_qasm3(zz(2), name),
                "`inputs` must be a name of at most 100 letters, digits and underscores, such as",
            )
            for name in (3, "", "a b", "a;", "_a", "a_", "1a", "a_1", "a²", "a" * 101, "2")
        ),
        (lambda: to_qasm2(zz(2), [1.0], []), r"`inputs` must have shape \(2,\)"),
        (lambda: to_qasm2(zz(2), [1.0, math.nan], []), "`inputs` must be finite"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
