"""Reads OpenQASM 2 and 3, and writes OpenQASM 2.

OpenQASM 2 is read by `qiskit.qasm2`, after a check of sizes: Qiskit's parser takes any amount of
memory. OpenQASM 3 is read by `qasm3_reading`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from qiskit import qasm2
from qiskit.exceptions import QiskitError

from qnn_jax.bridge import qasm3_reading
from qnn_jax.bridge.export import bound
from qnn_jax.bridge.qasm3_reading import Names
from qnn_jax.bridge.qasm_limits import (
    MAX_BITS,
    MAX_CHARACTERS,
    MAX_GATES,
    MAX_NESTING,
    MAX_OPERATORS,
    MAX_QUBITS,
    Wrong,
    check_size,
)
from qnn_jax.bridge.reading import from_qiskit
from qnn_jax.circuits.checks import of_type
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.errors import InputError

_VERSION = re.compile(r"OPENQASM\s+(\d{1,3})(\.\d{1,3})?\s*;")
_SPACE = re.compile(r"\s*")
#: What an OpenQASM 2 text is made of; a comment ends with its line.
_TOKEN = re.compile(r'//[^\n]*|"[^"\n]*"|[A-Za-z_]\w*|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\S')


def from_qasm(text: str, inputs: Names = None, weights: Names = None) -> Circuit:
    """OpenQASM 2 or 3 text as a circuit; without a version line it is read as OpenQASM 3.

    Final measurements and barriers are left out, as in `from_qiskit`. The only files that a text
    can include are qelib1.inc and stdgates.inc, which are built in. A text may have 10 million
    characters, 5,000 qubits and, with all definitions written out, 500,000 gates.

    Args:
        text: the text.
        inputs: the input parameters of OpenQASM 3 that become x[0], x[1], …: the name of a vector
            or of a single parameter, or several names in order. The parameters theta_0, theta_1,
            … are the vector theta, in the order of their numbers; theta0 and _theta_0_ are read
            in the same way. By default all parameters that are not in `weights`, sorted by name.
        weights: those that become w[0], w[1], …, in the same way.

    Where neither is given, the rule is that of `from_qiskit`: the vector x is the inputs and all
    other parameters are weights. Without a vector x, a single other vector or parameter is the
    weights, unless its name is one of data, and several are refused.

    Raises:
        InputError: where the text cannot be read, with its line and the reason; where a name is
            unknown, or where inputs and weights cannot be told apart; and what `from_qiskit`
            refuses.

    >>> text = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; h q[0]; cx q[0], q[1];'
    >>> print(from_qasm(text))
    q0: ─H─●─
    q1: ───⊕─
    """
    text = _checked(text)
    start = _first_word(text)
    found = _VERSION.match(text, start)
    if text.startswith("OPENQASM", start) and (found is None or found[1] not in ("2", "3")):
        raise InputError(
            "Argument `text` must be OpenQASM that begins with `OPENQASM 2.0;` or `OPENQASM 3.0;`, "
            f"but begins with {text[start : start + 30]!r}."
        )
    if found is None:
        return qasm3_reading.read(text, "OpenQASM 3 (it has no version line)", inputs, weights)
    if found[1] == "2":
        return _from_qasm2(text, inputs, weights)
    return qasm3_reading.read(text, "OpenQASM 3", inputs, weights)


def _checked(text: str) -> str:
    """Refuse what is no text or too long; without a byte-order mark."""
    of_type("text", text, str, "a string of OpenQASM, as Path.read_text gives it")
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"Argument `text` must have at most {MAX_CHARACTERS:,} characters, but has "
            f"{len(text):,}; from_qiskit reads circuits that are too long for text."
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                "Argument `text` must be Unicode text, but has half a character (a surrogate) at "
                f"position {error.start}."
            ) from None
    return text.removeprefix("\ufeff")


def _first_word(text: str) -> int:
    """Where white space and comments at the beginning end."""
    start = _SPACE.match(text).end()  # type: ignore[union-attr]
    while (end := {"//": "\n", "/*": "*/"}.get(text[start : start + 2])) is not None:
        found = text.find(end, start + 2)
        if found < 0:
            return len(text)
        start = _SPACE.match(text, found + len(end)).end()  # type: ignore[union-attr]
    return start


def to_qasm2(circuit: Circuit, inputs: Any, weights: Any) -> str:
    """The circuit as OpenQASM 2 text, its angles as numbers: the language has no parameters.

    It has no global phase either; `from_qasm` reads back the state up to one.

    Args:
        circuit: the circuit.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).

    Raises:
        InputError: where the shapes do not fit the circuit.
    """
    exported = bound(circuit, inputs, weights)
    exported.global_phase = 0
    return qasm2.dumps(exported)


def _from_qasm2(text: str, inputs: Names, weights: Names) -> Circuit:
    try:
        # Qiskit would take its own gate of that name, or refuse where the parameters differ.
        defined = _defined_gates(text)
        circuit = qasm2.loads(
            text,
            include_path=(),
            custom_instructions=[
                gate for gate in qasm2.LEGACY_CUSTOM_INSTRUCTIONS if gate.name not in defined
            ],
            custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL,
        )
        # Qiskit parses the body of a gate when it is asked for it.
        return from_qiskit(circuit, inputs, weights)
    except InputError as error:
        raise InputError(str(error).replace("`circuit`", "`text`")) from None
    except Wrong as error:
        reason = str(error)
    except TypeError as error:
        # Qiskit's parser does not count the angles of a gate that is written without brackets.
        reason = f"a gate has too few angles (Qiskit says: {error})"
    except QiskitError as error:
        reason = "Qiskit says: " + " ".join(str(error).strip("'\"").split()).removesuffix(".")
    except BaseException as error:
        # A failed assertion in Qiskit's parser is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        reason = f"Qiskit's parser fails with {error}"
    raise InputError(f"Argument `text` must be OpenQASM 2 that can be read, but {reason}.")


def _defined_gates(text: str) -> set[str]:
    """The names of the gates that an OpenQASM 2 text defines, its sizes checked."""
    sizes = {"qreg": 0, "creg": 0}
    lengths: dict[str, int] = {}
    counts: dict[str, int] = {}
    depths: dict[str, int] = {}
    name: str | None = None  # of the gate whose definition is being read
    inside = depth = total = 0
    for words, end in _statements(text):
        if end == "{" and words[:1] == ["gate"] and len(words) > 1:
            name, inside, depth = words[1], 0, 0
        elif end == "}" and name is not None:
            counts[name], depths[name] = max(1, inside), depth + 1
            if depth >= MAX_NESTING:
                raise Wrong(f"gates can call gates {MAX_NESTING} deep at most")
            name = None
        elif end != ";" or not words or words[0] == "barrier":
            continue
        elif name is not None:
            inside += counts.get(words[0], 1)
            depth = max(depth, depths.get(words[0], 0))
        elif words[0] in sizes and words[2:3] == ["["] and words[3:4] and words[3].isdigit():
            lengths[words[1]] = int(words[3])
            sizes[words[0]] += int(words[3])
            kind, most = ("qubits", MAX_QUBITS) if words[0] == "qreg" else ("bits", MAX_BITS)
            check_size(kind, sizes[words[0]], most)
        else:
            total += counts.get(words[0], 1) * _num_broadcast(words, lengths)
            check_size("gates", total, MAX_GATES)
    return set(counts)


def _statements(text: str) -> Iterator[tuple[list[str], str]]:
    """The words of each statement of OpenQASM 2, and what ends it: `;`, `{` or `}`."""
    words: list[str] = []
    brackets = signs = operators = 0
    for found in _TOKEN.finditer(text):
        word = found[0]
        if word.startswith("//"):
            continue
        signs = signs + 1 if word == "-" else 0
        brackets += (word == "(") - (word == ")")
        if max(brackets, signs) > MAX_NESTING:
            raise Wrong(f"brackets and signs can be nested {MAX_NESTING} deep at most")
        operators += word in ("+", "-", "*", "/", "^")
        if operators > MAX_OPERATORS:
            raise Wrong(f"a statement can have {MAX_OPERATORS:,} operators at most")
        if len(word) > 18 and word.isdigit():
            raise Wrong(f"an integer can have 18 digits at most, but one has {len(word)}")
        if word in (";", "{", "}"):
            yield words, word
            words, brackets, operators = [], 0, 0
        else:
            words.append(word)


def _num_broadcast(words: Sequence[str], lengths: dict[str, int]) -> int:
    """How many gates a statement applies: one, or as many as its registers are long."""
    following = (*words[1:], "")
    return max(
        (
            lengths[word]
            for word, after in zip(words, following, strict=True)
            if word in lengths and after != "["
        ),
        default=1,
    )
