"""Texts that ask for too much are refused at once, before a parser or a reader builds anything."""

import contextlib
import os
import subprocess
import sys
import time

import pytest

from qnn_jax import InputError
from qnn_jax.bridge import from_qasm
from qnn_jax.bridge.qasm_limits import MAX_GATES, MAX_NESTING, MAX_QUBITS

TWO = 'OPENQASM 2.0; include "qelib1.inc"; '
THREE = 'OPENQASM 3.0; include "stdgates.inc"; '


def doubling(number, calls="g{0} a; g{0} a;", first="x a;", head=""):
    """Gates that each call the one before twice."""
    bodies = (f"gate g{k + 1}{head} a {{ {calls.format(k)} }}" for k in range(number))
    return f"gate g0{head} a {{ {first} }} {' '.join(bodies)}"


def nested(depth):
    return "(" * depth + "1" + ")" * depth


BOTH = [
    (f"{doubling(20)} g20 q;", "1,048,57[0-9] gates are more than the 500,000"),
    (f"{doubling(20, first='')} g20 q;", "1,048,57[0-9] gates are more than the 500,000"),
    (f"{doubling(60, 'g{0} a;')} g60 q;", "gates can call gates 50 deep at most"),
    (f"rx({nested(60)}) q;", "50"),
    (f"rx({nested(100_000)}) q;", "50"),
    (f"rx({'-' * 100_000}1) q;", "50"),
]
ONLY_TWO = [
    ("qreg r[1000000000];", "1,000,000,001 qubits are more than the 5,000 that can be read"),
    ("creg r[1000000000];", "1,000,000,000 bits are more than the 10,000 that can be read"),
    (f"qreg r[{MAX_QUBITS}];", "5,001 qubits are more than the 5,000 that can be read"),
    (f"qreg r[{'9' * 30}];", "an integer can have 18 digits at most, but one has 30"),
    (f"x q[{'9' * 30}];", "an integer can have 18 digits at most, but one has 30"),
    (f"qreg r[{MAX_QUBITS - 1}]; {'x r;' * 102}", "504,9[0-9]* gates are more than the 500,000"),
    (f"gate g(t) a {{ rx({'t+' * 10**6}1) a; }} g(1) q;", "10,000 operators at most"),
    ("gate g(t) a { rx(1/t) a; } g(0) q;", "Qiskit cannot decompose .cannot divide by zero"),
]
ONLY_THREE = [
    (f"qubit[{MAX_QUBITS}] r;", "5,001 qubits are more than the 5,000 that can be read"),
    ("qubit[1000000] r;", "1,000,001 qubits are more than the 5,000 that can be read"),
    ("bit[1000000] r;", "1,000,000 bits are more than the 10,000 that can be read"),
    (f"qubit[{'9' * 30}] r;", "an integer must fit in 64 bits"),
    (f"qubit[2] r; x r[{'9' * 30}];", "an integer must fit in 64 bits"),
    (f"rx({'9' * 5000}) q;", "the parser fails with ValueError|must fit in 64 bits"),
    ("rx(2**9**9**9) q;", "an integer must fit in 64 bits"),
    ("pow(1000000000) @ x q;", "gates are more than the 500,000"),
    ("pow(9**19) @ x q;", "so many gates are more than the 500,000"),
    (f"{doubling(30, 'pow(2) @ g{0} a;')} g30 q;", "gates are more than the 500,000"),
    (
        "qubit[60] r; ctrl(60) @ x " + "".join(f"r[{k}], " for k in range(60)) + "q;",
        r"under 60 controls becomes more than 2\*\*60 gates",
    ),
    ("ctrl(1000000000) @ x q;", "1,000,000,000 qubits are more than the 5,000"),
    ("inv @ " * 60 + "x q;", "a gate can have 50 modifiers at most"),
    (
        "input float t0; "
        + doubling(40, "g{0}(b + b) a;", "rx(b) a;", "(b)")
        + "g40(t0) q;",
        "131,071 terms in an angle are more than the 100,000",
    ),
    (f"qubit[{MAX_QUBITS - 1}] r; {'let a = r[0:-1];' * 60}", "the name 'a' is taken already"),
    ("if (true) {} else " * 400 + "x q;", "nest too deeply"),
    (f"rx({'1.0**' * 400}1) q;", "nest too deeply"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [(f"{TWO} qreg q[1]; {text}", message) for text, message in BOTH + ONLY_TWO]
    + [(f"{THREE} qubit q; {text}", message) for text, message in BOTH + ONLY_THREE]
    + [(f"{THREE} x $1{'0' * 30};", "so many qubits are more than the 5,000")],
    ids=lambda part: part[36:70],
)
def test_what_is_too_large_is_refused_at_once(text, message):
    start = time.process_time()
    with pytest.raises(InputError, match=message):
        from_qasm(text)
    assert time.process_time() - start < 3  # a tenth of that is usual


@pytest.mark.parametrize(
    ("text", "num_gates"),
    [
        (f"{TWO} qreg q[1]; {doubling(10)} g10 q;", 1024),
        (f"{THREE} qubit q; {doubling(10)} g10 q;", 1024),
        (f"{THREE} qubit q; {doubling(10, 'inv @ g{0} a; g{0} a;')} inv @ g10 q;", 1024),
        (f"{THREE} qubit q; pow(1000) @ x q;", 1000),
        (f"{THREE} qubit[1000] q; x q;", 1000),
        (f"{THREE} qubit[11] q; ctrl(10) @ z q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7], "
         "q[8], q[9], q[10];", 4 * 2**10),
        (f"{THREE} qubit q; {doubling(MAX_NESTING - 1, 'g{0} a;')} g{MAX_NESTING - 1} q;", 1),
        (f"{THREE} qubit q; rx({nested(MAX_NESTING - 5)}) q;", 1),
    ],
    ids=lambda part: str(part)[40:70],
)  # fmt: skip
def test_what_is_within_the_limits_is_read(text, num_gates):
    assert abs(len(from_qasm(text).ops) - num_gates) <= 0.01 * num_gates


def test_the_count_of_gates_before_is_the_number_of_gates_after(monkeypatch):
    """Exactly so many may be read, and one more may not."""
    from qnn_jax.bridge import qasm3_gates

    text = f"{THREE} qubit[5] q; gate g(t) a, b {{ cx a, b; u3(t, 0, 0) b; ctrl @ swap b, a, c; }}"
    text = text.replace("a, b {", "a, b, c {") + (
        "negctrl @ g(1) q[0], q[1], q[2], q[3]; pow(-3) @ g(1) q[1:3][0], q[2], q[3];"
        "ctrl(2) @ negctrl @ h q[0], q[1], q[2], q[3]; ctrl(4) @ gphase(1) q[0], q[1], q[2], q[3];"
    )
    number = len(from_qasm(text).ops)
    reserved = []
    count = qasm3_gates.Writer.reserve
    monkeypatch.setattr(
        qasm3_gates.Writer, "reserve", lambda self, n: reserved.append(n) or count(self, n)
    )
    from_qasm(text)
    assert sum(reserved) - 3 == number  # the elements of q[1:3] are counted, too
    assert number < MAX_GATES


@pytest.mark.parametrize("prefix", ["/* a */ ", "/**/", "// a\n", "/* a", " \n", "//", "/*/ "])
@pytest.mark.parametrize("end", ["qubit q;", "OPENQASM", "OPENQASM 3.0;", "/", ""])
def test_comments_before_a_missing_version_line_take_linear_time(prefix, end):
    start = time.process_time()
    with contextlib.suppress(InputError):
        from_qasm(prefix * 5000 + end)
    assert time.process_time() - start < 5


@pytest.mark.slow
def test_a_panic_of_qiskits_parser_is_an_input_error(monkeypatch):
    """PanicException is no Exception. No text is known that causes one behind the checks."""
    from qiskit import qasm2

    from qnn_jax.bridge import qasm

    # In a process of its own: the panic writes to the console past Python.
    code = (
        "from qnn_jax.bridge import qasm\n"
        "qasm._defined_gates = lambda text: set()\n"
        "try: qasm.from_qasm('OPENQASM 2.0; qreg q[' + '9' * 30 + '];')\n"
        "except ValueError as error: print(error)\n"
    )
    environment = os.environ | {"RUST_BACKTRACE": "0"}  # a trace takes half a minute
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith(
        "Argument `text` must be OpenQASM 2 that can be read, but Qiskit's parser fails with called"
    )

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(qasm2, "loads", interrupted)
    with pytest.raises(KeyboardInterrupt):
        qasm.from_qasm("OPENQASM 2.0; qreg q[1];")
