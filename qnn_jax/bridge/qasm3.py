"""Writes a circuit as OpenQASM 3, with inputs and weights as its input parameters.

Qiskit 2.6's own exporter loses global phases and writes functions that OpenQASM 3 does not have,
so this module writes the text. Every gate that is not in `stdgates.inc` is defined by one line of
the table below, exactly and with its phase, because control modifiers make a phase visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from qnn_jax.bridge.export import check_two_names
from qnn_jax.bridge.reading import gates_of_unitary
from qnn_jax.circuits.angles import (
    FUNCTIONS,
    Call,
    Expression,
    Number,
    Symbol,
    in_brackets,
    written,
)
from qnn_jax.circuits.checks import shown
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError

#: Gates whose definition in stdgates.inc is Qiskit's matrix; u2 and u3 have another phase there.
STANDARD = frozenset(
    {"p", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "rx", "ry", "rz", "id"}
    | {"cx", "cy", "cz", "cp", "crx", "cry", "crz", "ch", "cu", "swap", "ccx", "cswap"}
)
#: Second names of gates, with the angles that come first.
_ALIASES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {"u1": ("p", ()), "cu1": ("cp", ()), "u3": ("u", ()), "u2": ("u", ("pi/2",))}
)
#: What all other gates are made of. Their parameters' names are in alphabetical order, since
#: Qiskit's reader, qiskit-qasm3-import 0.6, binds them in that order, whatever their own.
_DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "sxdg": "gate sxdg a { inv @ sx a; }",
        "r": "gate r(p0, p1) a { rz(-p1) a; rx(p0) a; rz(p1) a; }",
        "u": "gate u(p0, p1, p2) a { p(p2) a; ry(p0) a; p(p1) a; }",
        "cu3": "gate cu3(p0, p1, p2) a, b { cu(p0, p1, p2, 0) a, b; }",
        "cs": "gate cs a, b { cp(pi/2) a, b; }",
        "csdg": "gate csdg a, b { cp(-pi/2) a, b; }",
        "csx": "gate csx a, b { ctrl @ sx a, b; }",
        "ccz": "gate ccz a, b, c { h c; ccx a, b, c; h c; }",
        "c3sx": "gate c3sx a, b, c, d { ctrl(3) @ sx a, b, c, d; }",
        "iswap": "gate iswap a, b { s a; s b; h a; cx a, b; cx b, a; h b; }",
        "dcx": "gate dcx a, b { cx a, b; cx b, a; }",
        "rzz": "gate rzz(p0) a, b { cx a, b; rz(p0) b; cx a, b; }",
        "rxx": "gate rxx(p0) a, b { h a; h b; cx a, b; rz(p0) b; cx a, b; h a; h b; }",
        "ryy": (
            "gate ryy(p0) a, b { rx(pi/2) a; rx(pi/2) b; cx a, b; rz(p0) b; cx a, b; "
            "rx(-pi/2) a; rx(-pi/2) b; }"
        ),
        "rzx": "gate rzx(p0) a, b { h b; cx a, b; rz(p0) b; cx a, b; h b; }",
        "ecr": (
            "gate ecr a, b { h b; cx a, b; rz(pi/4) b; cx a, b; h b; x a; "
            "h b; cx a, b; rz(-pi/4) b; cx a, b; h b; }"
        ),
        "xx_plus_yy": (
            "gate xx_plus_yy(p0, p1) a, b { cx a, b; rz(p1) a; crx(p0) b, a; rz(-p1) a; cx a, b; }"
        ),
        "xx_minus_yy": (
            "gate xx_minus_yy(p0, p1) a, b { cx a, b; x b; rz(-p1) a; crx(p0) b, a; rz(p1) a; x b; "
            "cx a, b; }"
        ),
        "rccx": "gate rccx a, b, c { sdg c; ccx a, b, c; h c; ccx a, b, c; h c; cz a, c; s c; }",
        "rcccx": (
            "gate rcccx a, b, c, d { h d; t d; cx c, d; tdg d; h d; cx a, d; t d; cx b, d; tdg d; "
            "cx a, d; t d; cx b, d; tdg d; h d; t d; cx c, d; tdg d; h d; }"
        ),
    }
)
#: Functions of angles under their names in OpenQASM 3, which has no absolute value and no sign.
FUNCTION_NAMES: Mapping[str, str] = MappingProxyType(
    {n: row.name for n, row in FUNCTIONS.items() if not row.infix and n not in ("abs", "sign")}
)

_DIGITS = "0123456789"
_LONGEST_NAME = 100


def to_qasm3(circuit: Circuit, inputs: str = "x", weights: str = "w") -> str:
    """The circuit as OpenQASM 3 text; x[0] is `input float[64] x_0`, w[0] is w_0.

    `from_qasm` reads it back as a circuit that prepares the same state, global phase included,
    with as many inputs and weights. Gates that are not in `stdgates.inc` come back as the gates
    that they are made of. If `inputs` is not "x", give both names to `from_qasm` too.

    Args:
        circuit: the circuit.
        inputs: the name of the inputs.
        weights: the name of the weights; not "x", which `from_qasm` takes for inputs.

    Raises:
        InputError: where an angle uses `sign`, which OpenQASM 3 does not have, and for names that
            `from_qasm` does not read back.

    >>> from qnn_jax.circuits import Circuit, Op, w, x
    >>> print(to_qasm3(Circuit(2, (Op("ry", 0, 2 * x[0] - w[0]), Op("cx", (0, 1))))))
    OPENQASM 3.0;
    include "stdgates.inc";
    input float[64] x_0;
    input float[64] w_0;
    qubit[2] q;
    ry(2*x_0 - w_0) q[0];
    cx q[0], q[1];
    """
    checked_circuit(circuit)
    _check_names(inputs, weights)
    names = {"x": inputs, "w": weights}
    body = [line for op in circuit.ops for line in _statements(op, names)]
    used = {line.partition(" ")[0].partition("(")[0] for line in body}
    lines = [
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        *(f"input float[64] {inputs}_{i};" for i in range(circuit.num_inputs)),
        *(f"input float[64] {weights}_{j};" for j in range(circuit.num_weights)),
        *(definition for name, definition in _DEFINITIONS.items() if name in used),
        f"qubit[{circuit.num_qubits}] q;",
        *body,
    ]
    return "\n".join(lines)


def _check_names(inputs: str, weights: str) -> None:
    """Refuse names of vectors that are no identifiers or that are read back as something else."""
    for argument, name in (("inputs", inputs), ("weights", weights)):
        if not isinstance(name, str) or not _is_vector_name(name):
            raise InputError(
                f"Argument `{argument}` must be a name of at most {_LONGEST_NAME} letters, digits "
                "and underscores, such as theta or layer_a2, that begins with a letter and ends "
                f"with a letter or with digits after a letter, but is {shown(name)}."
            )
    check_two_names(inputs, weights)
    if weights == "x":
        raise InputError(
            "Argument `weights` must not be 'x', because from_qasm takes a vector x for inputs; "
            "choose another name."
        )


def _is_vector_name(name: str) -> bool:
    """Is f"{name}_0" an identifier that `from_qasm` reads as element 0 of the vector `name`?"""
    fits = len(name) <= _LONGEST_NAME and all(c.isalpha() or c in f"_{_DIGITS}" for c in name)
    return fits and element_of(f"{name}_0") == (name, 0)


def element_of(name: str) -> tuple[str, int]:
    """The vector and the number of x_0, x0 or _x_0_, which is how Qiskit writes x[0].

    A name without a number belongs to no vector: the result is the name and -1.
    """
    inner = name.removeprefix("_").removesuffix("_")
    vector = inner.rstrip(_DIGITS)
    number = inner[len(vector) :]
    stem = vector.removesuffix("_")
    letters = stem if stem == vector else stem.rstrip(_DIGITS)  # x1_0 is element 0 of x1
    is_element = 0 < len(number) < 10 and letters[:1].isalpha() and letters[-1:].isalpha()
    return (stem, int(number)) if is_element else (name, -1)


def _statements(op: Op, names: Mapping[str, str]) -> Iterator[str]:
    """A gate as one statement; a unitary as many."""
    if op.matrix is not None:
        for part in gates_of_unitary(op, STANDARD | _DEFINITIONS.keys() | _ALIASES.keys()):
            yield from _statements(part, names)
        return
    angles = tuple(_text(angle, names) for angle in op.angles)
    if op.gate == "global_phase":
        yield f"gphase({angles[0]});"
        return
    name, first = _ALIASES.get(op.gate, (op.gate, ()))
    inside = ", ".join(first + angles)
    qubits = ", ".join(f"q[{qubit}]" for qubit in op.qubits)
    yield f"{name}({inside}) {qubits};" if inside else f"{name} {qubits};"


def _text(expression: Expression, names: Mapping[str, str]) -> str:
    """An angle in OpenQASM 3's syntax."""

    def leaf(part: Expression) -> str:
        if isinstance(part, Symbol):
            return f"{names[part.vector]}_{part.index}"
        assert isinstance(part, Number)
        return repr(part.value).removesuffix(".0")

    return written(expression, leaf, _pieces)


def _pieces(part: Call) -> Iterator[Expression | str]:
    """A function, its arguments in brackets where they bind less."""
    name, first, last = part.function, part.arguments[0], part.arguments[-1]
    row = FUNCTIONS[name]
    if name in FUNCTION_NAMES:
        yield from (f"{FUNCTION_NAMES[name]}(", first, ")")
    elif name == "abs":
        yield from ("sqrt(", *in_brackets(first, 9), "*", *in_brackets(first, 9), ")")
    elif not row.infix:
        raise InputError(
            f"Argument `circuit` must have angles that OpenQASM 3 can write, but {part} uses "
            f"{name!r}, which it does not have; to_qasm2 writes numbers."
        )
    else:
        if row.num_arguments == 2:
            yield from in_brackets(first, row.precedence + (name == "pow"))
        yield row.infix
        yield from in_brackets(last, row.precedence + 1)
