"""OpenQASM 3 read with the meaning that its specification gives it, written out as matrices."""

import cmath
import math
import warnings

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm3
from qiskit.circuit import library
from qiskit.quantum_info import Operator, Statevector
from reference import in_qiskit

from qnn_jax import Circuit, InputError, Op, w, x
from qnn_jax.bridge import from_qasm
from qnn_jax.bridge.qasm3_gates import STANDARD_GATES

HEAD = 'OPENQASM 3.0; include "stdgates.inc"; '


def operator(text, inputs=(), weights=()):
    return Operator(in_qiskit(from_qasm(text), list(inputs), list(weights))).data


def assert_same(text, matrix, inputs=(), weights=()):
    np.testing.assert_allclose(operator(text, inputs, weights), matrix, atol=1e-12)


# -------------------------------------------------------- the specification's matrices, in numpy


def u(theta, phi, lam):
    """The built-in U, as https://openqasm.com/language/gates.html has it."""
    e = cmath.exp(1j * theta)
    return 0.5 * np.array(
        [
            [1 + e, -1j * cmath.exp(1j * lam) * (1 - e)],
            [1j * cmath.exp(1j * phi) * (1 - e), cmath.exp(1j * (phi + lam)) * (1 + e)],
        ]
    )


def gphase(angle):
    return cmath.exp(1j * angle)


def ctrl(matrix):
    """The control is qubit 0, the lowest bit."""
    return np.kron(np.eye(len(matrix)), np.diag([1, 0])) + np.kron(matrix, np.diag([0, 1]))


def negctrl(matrix):
    return np.kron(np.eye(len(matrix)), np.diag([0, 1])) + np.kron(matrix, np.diag([1, 0]))


def p(lam):
    return np.diag([1, gphase(lam)])


def turn(pauli):
    return lambda t: math.cos(t / 2) * np.eye(2) - 1j * math.sin(t / 2) * np.array(pauli)


X, Y, Z = [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]
H = np.array([[1, 1], [1, -1]]) / math.sqrt(2)
SX = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2
SWAP = np.eye(4)[[0, 2, 1, 3]]
rx, ry, rz = turn(X), turn(Y), turn(Z)
T, P, L, G = 0.7, 0.2, -1.3, 2.1  # θ, φ, λ, γ

#: Every gate of stdgates.inc on qubits 0, 1, …, and U.
MEANINGS = {
    f"U({T},{P},{L})": u(T, P, L), f"p({L})": p(L), "x": X, "y": Y, "z": Z, "h": H,
    "s": p(math.pi / 2), "sdg": p(-math.pi / 2), "t": p(math.pi / 4), "tdg": p(-math.pi / 4),
    "sx": SX, f"rx({T})": rx(T), f"ry({T})": ry(T), f"rz({T})": rz(T), "id": np.eye(2),
    f"phase({L})": p(L), f"u1({L})": p(L),
    f"u2({P},{L})": gphase(-(P + L + math.pi / 2) / 2) * u(math.pi / 2, P, L),
    f"u3({T},{P},{L})": gphase(-(T + P + L) / 2) * u(T, P, L),
    "cx": ctrl(X), "CX": ctrl(X), "cy": ctrl(Y), "cz": ctrl(Z), "ch": ctrl(H),
    f"cp({L})": ctrl(p(L)), f"cphase({L})": ctrl(p(L)), f"crx({T})": ctrl(rx(T)),
    f"cry({T})": ctrl(ry(T)), f"crz({T})": ctrl(rz(T)),
    f"cu({T},{P},{L},{G})": ctrl(gphase(G - T / 2) * u(T, P, L)),
    "swap": SWAP, "ccx": ctrl(ctrl(X)), "cswap": ctrl(SWAP),
}  # fmt: skip
#: The definitions of the specification's file stdgates.inc. CX is left out: there it is the
#: controlled U(π, 0, π), which has a phase that the specification's words on CX do not give it.
DEFINITIONS = """
gate p(λ) a { ctrl @ gphase(λ) a; }
gate x a { U(π, 0, π) a; gphase(-π/2);}
gate y a { U(π, π/2, π/2) a; gphase(-π/2);}
gate z a { p(π) a; }
gate h a { U(π/2, 0, π) a; gphase(-π/4);}
gate s a { pow(1/2) @ z a; }
gate sdg b { inv @ pow(1/2) @ z b; }
gate t a { pow(1/2) @ s a; }
gate tdg a { inv @ pow(1/2) @ s a; }
gate sx a { pow(1/2) @ x a; }
gate rx(θ) a { U(θ, -π/2, π/2) a; gphase(-θ/2);}
gate ry(θ) a { U(θ, 0, 0) a; gphase(-θ/2);}
gate rz(λ) a { gphase(-λ/2); U(0, 0, λ) a; }
gate cx a, b { ctrl @ x a, b; }
gate CX a, b { ctrl @ x a, b; }
gate cy a, b { ctrl @ y a, b; }
gate cz a, b { ctrl @ z a, b; }
gate cp(λ) a, b { ctrl @ p(λ) a, b; }
gate crx(θ) a, b { ctrl @ rx(θ) a, b; }
gate cry(θ) a, b { ctrl @ ry(θ) a, b; }
gate crz(θ) a, b { ctrl @ rz(θ) a, b; }
gate ch a, b { ctrl @ h a, b; }
gate swap a, b { cx a, b; cx b, a; cx a, b; }
gate ccx a, b, c { ctrl @ ctrl @ x a, b, c; }
gate cswap a, b, c { ctrl @ swap a, b, c; }
gate cu(θ, φ, λ, γ) a, b { p(γ-θ/2) a; ctrl @ U(θ, φ, λ) a, b; }
gate phase(λ) q { U(0, 0, λ) q; }
gate cphase(λ) a, b { ctrl @ phase(λ) a, b; }
gate id a { U(0, 0, 0) a; }
gate u1(λ) q { U(0, 0, λ) q; }
gate u2(φ, λ) q { gphase(-(φ+λ+π/2)/2); U(π/2, φ, λ) q; }
gate u3(θ, φ, λ) q { gphase(-(φ+λ+θ)/2); U(θ, φ, λ) q; }
"""


def qubits(first, matrix):
    number = len(matrix).bit_length() - 1
    return ", ".join(f"q[{k}]" for k in range(first, first + number))


def test_the_table_has_all_gates_of_the_library():
    assert {name.partition("(")[0] for name in MEANINGS} == {*STANDARD_GATES, "U"}


@pytest.mark.parametrize("call", MEANINGS)
def test_a_gate_is_the_specifications_matrix_under_any_modifier(call):
    matrix = np.array(MEANINGS[call])
    adjoint = matrix.conj().T
    for modifiers, meant in [
        ("", matrix),
        ("ctrl @", ctrl(matrix)),
        ("negctrl @", negctrl(matrix)),
        ("inv @", adjoint),
        ("pow(2) @", matrix @ matrix),
        ("pow(-2) @", adjoint @ adjoint),
        ("pow(0) @", np.eye(len(matrix))),
        ("ctrl @ inv @", ctrl(adjoint)),
        ("inv @ ctrl @", ctrl(adjoint)),
        ("ctrl @ negctrl @", ctrl(negctrl(matrix))),
        ("negctrl @ pow(3) @ ctrl @", negctrl(ctrl(matrix @ matrix @ matrix))),
    ]:
        head = f"{HEAD} qubit[{len(meant).bit_length() - 1}] q; "
        assert_same(f"{head} {modifiers} {call} {qubits(0, meant)};", meant)


def test_the_specifications_own_definitions_are_the_same_matrices_under_ctrl():
    """One text with all of them, gate by gate on the same register, is their product."""
    text = f"OPENQASM 3.0; {DEFINITIONS} qubit[4] q;"
    product = np.eye(16)
    for call, matrix in MEANINGS.items():
        meant = ctrl(np.array(matrix))
        text += f"ctrl @ {call} {qubits(0, meant)};"
        product = np.kron(np.eye(16 // len(meant)), meant) @ product
    assert_same(text, product)


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        ("ctrl(2) @ x", ctrl(ctrl(X))),
        (f"ctrl(3) @ u3({T},{P},{L})", ctrl(ctrl(ctrl(MEANINGS[f"u3({T},{P},{L})"])))),
        ("negctrl(2) @ ctrl @ h", negctrl(negctrl(ctrl(H)))),
        ("ctrl @ gphase(0.4)", p(0.4)),
        ("negctrl @ gphase(0.4)", np.diag([gphase(0.4), 1])),
        ("ctrl(2) @ inv @ gphase(0.4)", ctrl(p(-0.4))),
        ("pow(0.5) @ x", SX),
        ("pow(0.5) @ z", p(math.pi / 2)),
        ("inv @ pow(0.5) @ z", p(-math.pi / 2)),
        ("pow(0.5) @ inv @ z", p(math.pi / 2)),  # the root of Z, which is its own inverse
        ("pow(0.5) @ pow(2) @ z", np.eye(2)),
        ("pow(0.25) @ pow(0.5) @ z", p(math.pi / 8)),
        ("ctrl @ pow(1.0/2) @ x", ctrl(SX)),
        ("pow(4/2) @ s", np.array(Z)),
        ("pow(2.0) @ s", np.array(Z)),
        ("pow(0.5) @ rx(3)", rx(1.5)),
        ("ctrl @ pow(-0.5) @ rz(3)", ctrl(rz(-1.5))),
        ("pow(0.5) @ swap", [[1, 0, 0, 0], [0, 0.5 + 0.5j, 0.5 - 0.5j, 0],
                             [0, 0.5 - 0.5j, 0.5 + 0.5j, 0], [0, 0, 0, 1]]),
    ],
)  # fmt: skip
def test_modifiers(call, meant):
    meant = np.array(meant)
    number = len(meant).bit_length() - 1
    assert_same(f"{HEAD} qubit[{number}] q; {call} {qubits(0, meant)};", meant)
    # The same in a gate's body, and the whole of it under one more control.
    own = ", ".join("abcd"[:number])
    wrapped = f"{HEAD} gate g {own} {{ {call} {own}; }} qubit[{number + 1}] q; "
    assert_same(f"{wrapped} ctrl @ g {qubits(0, ctrl(meant))};", ctrl(meant))
    undone = ctrl(meant.conj().T)
    assert_same(f"{wrapped} inv @ ctrl @ g {qubits(0, undone)};", undone)


@pytest.mark.parametrize(
    "name", ["x", "h", "z", "sx", "rz", "cx", "swap", "U2", "p", "global_phase", "unitary"]
)
def test_a_gate_is_what_its_definition_says_whatever_its_name(name):
    text = f"OPENQASM 3.0; gate {name} a {{ U(0, 0, 0.3) a; }} qubit[2] q; "
    assert_same(f"{text} ctrl @ {name} q[0], q[1];", ctrl(p(0.3)))
    assert_same(f"{text} pow(2) @ {name} q[0];", np.kron(np.eye(2), p(0.6)))
    outer = f"{text} gate outer a, b {{ negctrl @ {name} a, b; }}"
    assert_same(f"{outer} inv @ outer q[0], q[1];", negctrl(p(-0.3)))


def test_parameters_are_bound_in_the_order_of_the_definition():
    text = HEAD + "qubit q; gate g(theta, phi) a { rz(theta) a; rx(phi) a; } g(0.1, 0.2) q;"
    assert from_qasm(text).ops == (Op("rz", 0, 0.1), Op("rx", 0, 0.2))


# ---------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("4/2", 2), ("-4/2", -2), ("7 - 2*3", 1), ("2**10", 1024), ("2**3**2", 512), ("-2**2", -4),
        ("1.0/2", 0.5), ("1/2.0", 0.5), ("3*pi/4", 3 * math.pi / 4), ("pi/2*3", 1.5 * math.pi),
        ("n/2", 3), ("n/4.0", 1.5), ("float(n)/4", 1.5), ("int(2.0)*n", 12), ("f/2", 1.5),
        ("half*n", 3), ("τ/2 - π", 0), ("ℇ - euler", 0), ("0x1F - 0b11 + 0o7", 35), ("1_000", 1000),
        ("sin(1) + cos(0)**2", math.sin(1) + 1), ("sqrt(16)/8", 0.5), ("arctan(1)*4", math.pi),
        ("2.0**-1", 0.5), ("log(exp(2))", 2), (".5 + 1.e1 + 1e-1", 10.6), ("- -1", 1),
    ],
)  # fmt: skip
def test_constant_expressions(expression, value):
    head = "const int n = 6; const uint[8] m = 2*n; const float f = 3; const float[64] half = 0.5;"
    for text in (f"rz({expression}) q;", f"gate g(a) b {{ rz(a) b; }} g({expression}) q;",
                 f"gate g b {{ rz({expression}) b; }} g q;"):  # fmt: skip
        (op,) = from_qasm(f"{HEAD} {head} qubit q; {text}").ops
        assert float(op.angles[0].value) == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        # angle[4] has multiples of 2π/16: specification 3.1, "Angles".
        ("angle[4] v = 0.3", math.pi / 8), ("angle[4] v = 0.1", 0), ("angle[4] v = 6.2", 0),
        ("angle[1] v = 3", math.pi), ("angle v = 0.3", 0.3), ("angle[64] v = 0.3", 0.3),
        ("angle[20] v = 1", round(2**20 / math.tau) * math.tau / 2**20),
        ("float[32] v = 0.1", 0.100000001490116), ("float[16] v = 0.1", 0.0999755859375),
        ("float[64] v = 0.1", 0.1), ("float v = angle[3](0.5)", math.pi / 4),
        ("uint[4] v = 15", 15), ("int v = uint[8](3) - 5", -2), ("int v = int[4](-8) + 1", -7),
        ("int v = uint[4](15) + 1", 16), ("uint[8] v = uint[4](15) + uint[8](1)", 16),
    ],
)  # fmt: skip
def test_constants_have_the_values_of_their_types(declared, value):
    (op,) = from_qasm(f"{HEAD} const {declared}; qubit q; rz(v) q;").ops
    assert op.angles[0].value == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("u - 5", r"-2 does not fit in uint\[64\]; declare a type that can hold it"),
        ("(u - 5)*0.1", r"-2 does not fit in uint\[64\]"), ("-u", r"-3 does not fit in uint\[64\]"),
        ("k + 1 - 5", None), ("k + k", r"30 does not fit in uint\[4\]"),
        ("k - uint[4](15)*uint[4](2)", r"30 does not fit in uint\[4\]"),
        ("int[4](1)*int[4](7) - uint[4](14)", r"-7 does not fit in uint\[4\]"),
        ("-int[4](-8)", r"8 does not fit in int\[4\]"),
        ("uint[2](2)**uint[2](3)", "8 does not fit"),
        ("uint[4](16)", r"16 does not fit in uint\[4\]"), ("uint(-1)", r"-1 does not fit in uint"),
        ("angle[1 - 1](1.0)", "a number must have at least 1 bit, but has 0"),
        ("float[16](1e6)", "a number must be finite"),
    ],
)  # fmt: skip
def test_integers_that_would_wrap_around_are_refused(expression, message):
    text = f"{HEAD} const uint u = 3; const uint[4] k = 15; qubit q; rz({expression}) q;"
    if message is None:
        assert from_qasm(text).ops == (Op("rz", 0, 11.0),)
        return
    with pytest.raises(InputError, match=message):
        from_qasm(text)


@pytest.mark.parametrize(
    ("expression", "proposal"),
    [
        ("1/2", "1/2 is a division of integers and 0 in OpenQASM 3; write 1.0/2 for the fraction"),
        ("-1/2", "write -1.0/2"), ("-3/4*pi", "write -3.0/4"), ("2*3/4*pi", "write 6.0/4"),
        ("(1+2)/2", "3/2 is a division of integers and 1"), ("7/(2*2)", "write 7.0/4"),
        ("(-7)/2", "-7/2 is a division of integers and -3"), ("sin(1)*(1/2)", "write 1.0/2"),
        ("n/4", "write 6.0/4"),
    ],
)  # fmt: skip
def test_a_division_of_integers_with_a_remainder_is_refused(expression, proposal):
    for text in (f"rz({expression}) q;", f"gphase({expression});", f"pow({expression}) @ x q;",
                 f"gate g b {{ rz({expression}) b; }} g q;"):  # fmt: skip
        with pytest.raises(InputError, match=proposal.replace("(", r"\(")):
            from_qasm(f"{HEAD} const int n = 6; qubit q; {text}")


def test_parameters_of_gates_divide_as_reals():
    text = HEAD + "qubit q; gate g(a) b { rz(a/2) b; } g(1) q; g(4/2) q;"
    assert from_qasm(text).ops == (Op("rz", 0, 0.5), Op("rz", 0, 1.0))


def test_inputs_stay_inputs_in_definitions_and_powers():
    text = HEAD + (
        "input float x_0; input angle[32] x_1; qubit q; const float c = 2;"
        "gate g(x_1) b { rx(c*x_1) b; } g(x_0 + 1) q; pow(0.5) @ rx(x_1) q;"
    )
    circuit = from_qasm(text)
    assert circuit.num_inputs == 2
    assert circuit.ops == (Op("rx", 0, 2.0 * (x[0] + 1)), Op("rx", 0, 0.5 * x[1]))


@pytest.mark.parametrize(
    ("names", "inputs"),
    [
        (("x_10", "x_9", "x_0"), [2, 1, 0]),
        (("_x_1_", "_x_0_", "y_0"), [1, 0]),
        (("x1", "x0", "x"), [1, 0]),
        (("theta_1", "theta_0"), []),
    ],
)
def test_which_names_are_inputs_and_in_which_order(names, inputs):
    declared = "".join(f"input float {name};" for name in names)
    used = "".join(f"U(0, 0, {name}) q;" for name in names)
    circuit = from_qasm(f"OPENQASM 3.0; {declared} qubit q; {used}")
    turns = [op.angles[2] for op in circuit.ops if op.gate == "u"]
    found = [turn.index for turn in turns if turn.vector == "x"]
    assert found == inputs
    assert circuit.num_inputs == len(inputs)


NAMED = (
    f"{HEAD} input float features_2; input float features_0; input angle theta1; "
    "input float theta0; input float shift; qubit q; "
    "U(features_0, features_2, theta0) q; U(theta1, shift, 0) q;"
)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({"inputs": "features"}, (x[0], x[1], w[1], w[2], w[0])),
        ({"inputs": ["shift", "features"]}, (x[1], x[2], w[0], w[1], x[0])),
        ({"weights": ("theta", "shift")}, (x[0], x[1], w[0], w[1], w[2])),
        ({"weights": "features_2"}, (x[0], w[0], x[2], x[3], x[1])),
        (
            {"inputs": "theta", "weights": ["features_2", "shift", "features_0"]},
            (w[2], w[0], x[0], x[1], w[1]),
        ),
        ({"inputs": []}, (w[0], w[1], w[3], w[4], w[2])),
    ],
)
def test_vectors_are_named(names, found):
    first, second = (op.angles for op in from_qasm(NAMED, **names).ops if op.gate != "global_phase")
    assert (*first, *second[:2]) == found


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        (
            NAMED,
            {},
            "^Argument `inputs` must say which parameters are inputs where no vector is called x, "
            "but the text has 'features', 'shift', 'theta'; write inputs='features' for one of "
            r"them, a list for several, or inputs=\[\] where all are weights\.$",
        ),
        (f"{HEAD} input float x; qubit q; rx(x) q;", {}, "but the text has 'x'; write inputs='x'"),
        (f"{HEAD} input float Data_0; qubit q; rx(Data_0) q;", {}, "but the text has 'Data'; wri"),
        (NAMED, {"inputs": "phi"}, "but has 'phi'; the text has 'features', 'shift', 'theta'"),
        (NAMED, {"inputs": 3}, "hold free parameters, but has 3; the text has 'features'"),
        (NAMED, {"inputs": ["theta", "theta0"]}, "name each parameter once, but has 'theta0' twic"),
        (NAMED, {"inputs": "theta", "weights": "shift"}, "but 'features_0' is in neither"),
        ("OPENQASM 2.0; qreg q[1];", {"inputs": "x"}, "hold free parameters, but has 'x'; .* none"),
    ],
)
def test_inputs_that_are_not_told_from_weights_are_refused(text, names, message):
    with pytest.raises(InputError, match=message):
        from_qasm(text, **names)


def test_a_single_vector_of_another_name_is_an_ansatz():
    circuit = from_qasm(f"{HEAD} input float beta_0; qubit q; rx(beta_0) q;")
    assert circuit == Circuit(1, (Op("rx", 0, w[0]),))
    assert from_qasm("OPENQASM 2.0; qreg q[1];", inputs=[]) == Circuit(1)


def test_a_sum_may_have_as_many_terms_as_an_image_row():
    text = f"{HEAD} qubit q; rx({' + '.join(['0.5'] * 784)}) q;"
    assert from_qasm(text).ops == (Op("rx", 0, 392.0),)


# -------------------------------------------------------------------------------------- registers


@pytest.mark.parametrize(
    ("statement", "flipped"),
    [
        ("x q;", {0, 1, 2, 3}), ("x q[1];", {1}), ("x q[-1];", {3}), ("x q[-4];", {0}),
        ("x q[0:2];", {0, 1, 2}), ("x q[0:-1];", {0, 1, 2, 3}), ("x q[-2:-1];", {2, 3}),
        ("x q[:];", {0, 1, 2, 3}), ("x q[1:];", {1, 2, 3}), ("x q[:-2];", {0, 1, 2}),
        ("x q[0:2:3];", {0, 2}), ("x q[::2];", {0, 1, 2}), ("x q[3:-1:2];", {2, 3}),
        ("x q[3:-2:0];", {1, 3}), ("x q[{0, -1}];", {0, 3}), ("x q[1:3][0];", {1}),
        ("x q[n];", {2}), ("x q[n - 1:n];", {1, 2}), ("x r;", {4}), ("x r[0];", None),
        ("let a = q[1:2]; x a;", {1, 2}), ("let a = q[-1:-2:-4]; x a[1];", {1}),
        ("let a = q[2:3] ++ q[0:0]; x a[-1];", {0}), ("let a = q ++ more; x a[4:5];", {5, 6}),
        ("let a = q[3]; x a;", {3}), ("let a = more; let b = a[{1}] ++ q[1:1]; x b;", {1, 6}),
        ("gate g a, b { x b; } g r, q;", {0, 1, 2, 3}),
        ("gate g a, b { x b; } g q[0:1], more;", {5, 6}),
        ("cx q[0], r; x q[0]; cx q[0], r;", {0, 4}), ("x q[0]; cx q[0:0], more[1:1];", {0, 6}),
        ("barrier; barrier q[0:1], r; x r;", {4}), ("x q[0:9];", None),
    ],
)  # fmt: skip
def test_indices_ranges_aliases_and_broadcasting(statement, flipped):
    text = f"{HEAD} const int n = 2; qubit[4] q; qubit r; qreg more[2]; bit[4] c; {statement}"
    if flipped is None:
        with pytest.raises(InputError, match="line 1 has"):
            from_qasm(text)
        return
    state = Statevector(in_qiskit(from_qasm(text), [], [])).probabilities()
    assert state[sum(2**q for q in flipped)] == pytest.approx(1)


def test_hardware_qubits_keep_their_numbers():
    circuit = from_qasm(HEAD + "h $1; cx $1, $3;")
    assert circuit.num_qubits == 4
    assert circuit.ops == (Op("h", 1), Op("cx", (1, 3)))


@pytest.mark.parametrize(
    "end",
    [
        "c = measure q;", "c[0:1] = measure q;", "measure q -> c;", "measure q;",
        "c[0] = measure q[1]; c[-1] = measure q[0]; barrier q;",
        "bit[2] d = measure q; barrier q;", "c[1] = measure q[1]; h q[0];",
    ],
)  # fmt: skip
def test_final_measurements_are_left_out(end):
    circuit = from_qasm(f"{HEAD} qubit[2] q; bit[2] c; x q; {end}")
    assert [op for op in circuit.ops if op.gate != "h"] == [Op("x", 0), Op("x", 1)]


def test_comments_a_missing_version_and_a_byte_order_mark():
    body = 'include "stdgates.inc"; qubit q; h q;'
    for before in (
        "OPENQASM 3;", "OPENQASM 3.1;", "// a\n/* b\n */ OPENQASM 3.0;", "", "/* a */ ",
        "/**/" * 1000, "\ufeff", "\ufeffOPENQASM 3.0;", "\n\t// OPENQASM 2.0;\n",
    ):  # fmt: skip
        assert from_qasm(before + body).ops == (Op("h", 0),), before
    old = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; h q[0];'
    for before in ("\ufeff", "// OPENQASM 3.0;\n", " \n"):
        assert from_qasm(before + old).ops == (Op("h", 0),)


# ----------------------------------------------------------------------------- what Qiskit writes


def _modified():
    """Gates whose definitions Qiskit writes with inv, ctrl and negctrl."""
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    circuit.append(library.XGate().control(2, ctrl_state=1), [0, 1, 2])
    circuit.append(library.RYGate(0.3).control(2), [2, 1, 0])
    circuit.append(library.UGate(0.1, 0.2, 0.3).control(1), [2, 1])
    circuit.append(library.SXdgGate(), [0])
    circuit.append(library.RZZGate(0.7), [0, 2])
    circuit.append(library.U3Gate(0.3, 0.4, 0.5), [1])
    circuit.append(library.RGate(0.3, 0.4), [1])
    circuit.append(library.CUGate(0.3, 0.4, 0.5, 0.6), [1, 0])
    return circuit


LIBRARY = {
    "ZZFeatureMap": lambda: library.ZZFeatureMap(3, reps=1),
    "zz_feature_map": lambda: library.zz_feature_map(3),
    "z_feature_map": lambda: library.z_feature_map(2),
    "pauli_feature_map": lambda: library.pauli_feature_map(2, paulis=["Z", "XY"]),
    "RealAmplitudes": lambda: library.RealAmplitudes(3, reps=1),
    "real_amplitudes": lambda: library.real_amplitudes(3),
    "EfficientSU2": lambda: library.EfficientSU2(3, reps=1),
    "efficient_su2": lambda: library.efficient_su2(3),
    "n_local": lambda: library.n_local(3, ["ry", "u"], "crx", reps=1),
    "QFT": lambda: library.QFT(3),
    "iqft": lambda: library.QFT(3, inverse=True),
    "grover": lambda: library.grover_operator(_oracle()),
    "modified": _modified,
}  # fmt: skip


def _oracle():
    oracle = QuantumCircuit(2)
    oracle.cz(0, 1)
    return oracle


@pytest.mark.parametrize("name", LIBRARY)
def test_what_qiskit_writes_for_its_library_is_the_same_state(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some classes of the library are deprecated
        circuit = LIBRARY[name]()
        text = qasm3.dumps(circuit)
    read = from_qasm(text)
    generator = np.random.default_rng(3)
    values = dict(
        zip(circuit.parameters, generator.uniform(-2, 2, circuit.num_parameters), strict=True)
    )
    inputs = [v for p, v in values.items() if p.name.startswith("x[")]
    weights = [v for p, v in values.items() if not p.name.startswith("x[")]
    assert (read.num_inputs, read.num_weights) == (len(inputs), len(weights))
    # Qiskit's writer loses global phases.
    theirs = Operator(circuit.assign_parameters(values)).data
    overlap = np.trace(theirs.conj().T @ operator(text, inputs, weights)) / len(theirs)
    assert abs(overlap) == pytest.approx(1, abs=1e-9)


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo q;", "line 2 has 'foo q': gate 'foo' is not defined"),
        ("pi q;", "gate 'pi' is not defined"),
        ("c q;", "gate 'c' is not defined"),
        ("x pi;", "'pi' is no register"),
        ("x y;", "'y' is no register"),
        ("x nothing;", "'nothing' is not declared"),
        ("x c;", "an operand must be a qubit, but is a bit"),
        ("x $0;", r"declared or have numbers like \$0, but not both"),
        ("x q[3];", r"'x q\[3\]': index 3 is outside of 'q', which has 3 elements"),
        ("x q[0:9];", "index 9 is outside"),
        ("x q[-9:1];", "index -9 is outside"),
        ("x q[{0, 5}];", "index 5 is outside"),
        ("x q[{0, -3}];", "must name each element once"),
        ("x q[2:1];", "must name at least one element"),
        ("x q[0:0:2];", "the step of a range cannot be 0"),
        ("x q[0, 1];", "has one index, but 'q' is given 2"),
        ("x q[0:pi];", "an index must be an integer, but is 3.14"),
        ("x q[true:1];", "an index must be an integer, but is true"),
        ("x q[0][0];", "'q' is a single qubit and cannot be indexed"),
        ("x q[time];", "'time' is an input, and what stands here must be a constant"),
        ("let z9 = q ++ q[0:1];", "cannot be concatenated with a part of itself"),
        ("let z9 = q ++ c;", "an alias is of qubits or of bits"),
        ("let q = q;", "the name 'q' is taken already"),
        ("qubit x;", "the name 'x' is taken already, by a gate"),
        ("gate h a { x a; }", "the name 'h' is taken already"),
        ("gate g a, a { x a; }", "each qubit its own name"),
        ("gate g a { g a; }", "gate 'g' is not defined"),
        ("gate g a { x b; }", "'b' is none of the gate's qubits a"),
        ("gate g a { x a[0]; }", "cannot be indexed in its body"),
        ("gate g a { rx(time) a; } g q[0];", "'time' is an input, and what stands here"),
        ("gate g a { delay[1ns] a; }", "gates and barriers only"),
        ("gate g(k) a { pow(k) @ x a; }", "'k' is not declared"),
        ("cx q, q;", "the qubits of a gate must differ"),
        ("cx q[0], q[0];", "the qubits of a gate must differ"),
        ("cx q, q[0:1];", "must have the same length, but have 2 and 3"),
        ("rx q;", "the gate must have 1 angle, but has 0"),
        ("cx q[0];", "the gate must have 2 qubits, but has 1"),
        ("ctrl @ x q[0];", "the gate must have 2 qubits, controls included, but has 1"),
        ("gphase(1) q;", "the gate must have no qubits, but has 1"),
        ("ctrl(0) @ x q[0];", "at least 1 control, but is given 0"),
        ("ctrl(1.5) @ x q[0], q[1];", "must be an integer, but is 1.5"),
        ("rx(true) q;", "an angle must be a number, but is a bool"),
        ("rx(1.0/0) q;", "div of 1.0, 0.0 is no finite real number"),
        ("rx(1/0) q;", "1/0 divides by zero"),
        ("rx(log(-1)) q;", "log of -1.0 is no finite real number"),
        ("rx(1e999) q;", "a number must be finite"),
        ("rx(9**9**9) q;", "an integer must fit in 64 bits"),
        ("rx(2**-1) q;", r"write 2.0\*\*-1"),
        ("rx(5 % 3) q;", "can have no operator '%'"),
        ("rx(!true) q;", "can have no operator '!'"),
        ("rx(1im) q;", "can have no imaginary literal"),
        ("rx(c) q;", "'c' is no number"),
        ("rx(nothing) q;", "'nothing' is not declared"),
        ("rx(mod(3, 2)) q;", "functions .* but not of 'mod'"),
        ("rx(sin(1, 2)) q;", "'sin' takes one argument, but is given 2"),
        ("pow(0.5) @ gphase(1) q;", "the gate must have no qubits, but has 1"),
        ("pow(0.5) @ U(time, 0, 0) q[0];", "of gates without inputs, and of rotations, only"),
        ("pow(time) @ x q[0];", "'time' is an input"),
        ("const int k = 2.5;", "an integer cannot be made of 2.5"),
        ("const uint k = -1;", "-1 does not fit in uint\\[64\\]; declare a type"),
        ("const int[4] k = 8;", "8 does not fit in int\\[4\\]; declare"),
        ("const angle k = -1.0;", "must be at least 0 and below 2π, but is -1.0; declare a float"),
        ("const duration k = 1ns;", "can have no duration literal"),
        ("const float k = time;", "'time' is an input"),
        ("float k = 1;", "a circuit has no variables but bits"),
        ('bit[2] b = "01";', "bits hold the results of measurements"),
        ("input int x_0;", "an input must be a float or an angle"),
        ("output bit b;", "outputs are not read"),
        ("input float time;", "the name 'time' is taken already"),
        ("qubit[-1] b;", "a register cannot have -1 qubits"),
        ("qubit[time] b;", "'time' is an input"),
        ("h q; c = measure q; h q[1];", "qubit 1 is measured in line 2; measure at the end only"),
        ("c[0] = measure q;", r"3 qubits cannot be measured into 1 bit\."),
        ("q = measure q;", "the result of a measurement must go to a bit"),
        ("reset q;", "'reset q': a state that is reset is no longer pure; take a fresh qubit"),
        ("delay[1ns] q;", "a circuit has no clock"),
        ("box { x q; }", "write its gates without the box"),
        ("for int i in [0:2] { x q[i]; }", "loops are not read; write the gates out"),
        ("while (true) { x q; }", "a circuit makes no decisions"),
        ("if (c[0]) { x q; }", "a circuit makes no decisions"),
        ("def f(qubit a) { x a; }", "this is no part of a circuit"),
        ("x[10ns] q;", "leave the duration out|unexpected"),
        ('include "qelib1.inc";', "belongs to OpenQASM 2: begin the text with `OPENQASM 2.0;`"),
        ('include "/etc/passwd";', "files other than stdgates.inc are not read, nor is /etc"),
        ("pragma fast", "pragmas are not read"),
        ("U q;", "the gate must have 3 angles, but has 0"),
        ("x q; )", r"but line 2, column 5 has an unexpected '\)'"),
        ("x q", "has an unexpected end of the text"),
        ("x q; \x00", r"column 5 has an unexpected '\\x00'"),
        ("gate g a { int b = 1; }", "line 2, column 11: cannot declare classical variables"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_line(text, message):
    head = 'OPENQASM 3.0; include "stdgates.inc"; input float time; qubit[3] q; bit[3] c;\n'
    with pytest.raises(InputError, match=message):
        from_qasm(head + text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"must be OpenQASM 3 \(it has no version line\) that can be read, but it decl"),
        ("hello world", "has no version line.*unexpected end of the text"),
        ("/* never closed", "line 1 begins a comment that has no end"),
        ("OPENQASM 3.0; qubit q; h q;", '\'h q\': gate \'h\' is not defined; stdgates.inc has it'),
        ("OPENQASM 3.0 qubit q;", "begins with 'OPENQASM 3.0 qubit q;'"),
    ],
)  # fmt: skip
def test_what_is_no_openqasm(text, message):
    with pytest.raises(InputError, match=message):
        from_qasm(text)
