"""OpenQASM text in, and OpenQASM 2 out.

OpenQASM 2 is read by `qiskit.qasm2`, OpenQASM 3 by `openqasm3` and `qiskit_qasm3_import`. Between
the two latter the syntax tree is corrected in two places. The importer binds a gate's arguments in
the alphabetical order of its parameters' names, so these are renamed. It knows neither functions
nor powers, so angles that have them are taken out, and each becomes an input of its own.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import openqasm3
from openqasm3 import ast
from openqasm3.parser import QASM3ParsingError
from openqasm3.visitor import QASMVisitor
from qiskit import qasm2
from qiskit.exceptions import QiskitError
from qiskit_qasm3_import import ConversionError, convert

from qnn_jax.bridge.export import bound
from qnn_jax.bridge.qasm3 import FUNCTION_NAMES
from qnn_jax.bridge.reading import from_qiskit, gates_of
from qnn_jax.circuits.angles import AngleLike, Expression, angle, call, w, x
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.errors import InputError

#: Longer texts are refused unread: parsing takes a minute for some million characters.
MAX_CHARACTERS = 10_000_000
_VERSION = re.compile(r"(?:\s|//[^\n]*\n|/\*.*?\*/)*OPENQASM\s+(\d+)", re.DOTALL)
#: x_0, _x_0_ (Qiskit's way to write x[0]) and x0.
_ELEMENT = re.compile(r"_?([^\W\d_](?:\w*?[^\W\d_])?(?:\d+(?=_))?)_?(\d+)_?")
#: A comment, and the name of a gate that an OpenQASM 2 text defines itself.
_COMMENT = re.compile(r"//[^\n]*")
_DEFINED = re.compile(r"\bgate\s+(\w+)")
#: The functions that a text may use, and their names here.
_FUNCTIONS: Mapping[str, str] = MappingProxyType({v: k for k, v in FUNCTION_NAMES.items()})
_OPERATORS: Mapping[str, str] = MappingProxyType(
    {"+": "add", "-": "sub", "*": "mul", "/": "div", "**": "pow"}
)
_CONSTANTS: Mapping[str, float] = MappingProxyType(
    {"pi": math.pi, "π": math.pi, "tau": math.tau, "τ": math.tau, "euler": math.e, "ℇ": math.e}
)


#: What qiskit-qasm3-import raises where a text is wrong: most mistakes reach Qiskit unchecked.
_REFUSALS = (ConversionError, QiskitError, ArithmeticError, LookupError, TypeError, ValueError)


def from_qasm(text: str) -> Circuit:
    """OpenQASM 2 or 3 text as a circuit.

    Final measurements and barriers are left out, as in `from_qiskit`. The input parameters x_0,
    x_1, … of OpenQASM 3 are inputs, all others are weights: by name, and by number where the name
    ends in one. Files that a text includes are not read, but for qelib1.inc and stdgates.inc.

    Raises:
        InputError: where the text cannot be read, with what the parser says, and what
            `from_qiskit` refuses.

    >>> print(from_qasm('OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0]; cx q[0], q[1];'))
    q0: ─H─●─
    q1: ───⊕─
    """
    found = _VERSION.match(text) if isinstance(text, str) else None
    if found is None or found[1] not in "23":
        raise InputError(
            "Argument `text` must be OpenQASM that begins with `OPENQASM 2.0;` or `OPENQASM 3.0;`, "
            f"but begins with {str(text)[:30]!r}."
        )
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"Argument `text` must have at most {MAX_CHARACTERS:,} characters, but has "
            f"{len(text):,}; from_qiskit reads circuits that are too long for text."
        )
    return _from_qasm2(text) if found[1] == "2" else _from_qasm3(text)


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


def _from_qasm2(text: str) -> Circuit:
    # Qiskit would take its own gate of that name, or refuse where the parameters differ.
    defined = set(_DEFINED.findall(_COMMENT.sub("", text)))
    known = [gate for gate in qasm2.LEGACY_CUSTOM_INSTRUCTIONS if gate.name not in defined]
    try:
        circuit = qasm2.loads(
            text,
            include_path=(),
            custom_instructions=known,
            custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL,
        )
    except QiskitError as error:
        raise _unreadable(2, error) from None
    return from_qiskit(circuit)


def _from_qasm3(text: str) -> Circuit:
    try:
        program = openqasm3.parse(text)
    except QASM3ParsingError as error:
        raise _unreadable(3, error) from None
    _IntegerDivision().visit(program)
    inputs, weights = _input_parameters(program)
    meanings: dict[str, AngleLike] = {name: x[i] for i, name in enumerate(inputs)}
    meanings |= {name: w[j] for j, name in enumerate(weights)}
    for statement in program.statements:
        if isinstance(statement, ast.QuantumGateDefinition) and statement.arguments:
            _order_parameters(statement)
    _take_out_functions(program, meanings)
    try:
        with warnings.catch_warnings():
            # The importer calls Gate.control in a way that Qiskit 2.3 deprecates.
            warnings.simplefilter("ignore", DeprecationWarning)
            circuit = convert(program)
    except _REFUSALS as error:
        raise _unreadable(3, error) from None
    ops = gates_of(circuit, {p: meanings[p.name] for p in circuit.parameters})
    return Circuit(circuit.num_qubits, ops, len(inputs), len(weights))


def _input_parameters(program: ast.Program) -> tuple[list[str], list[str]]:
    """The names of inputs and weights, in order: by name, and by number within one vector."""
    keys = {}
    for statement in program.statements:
        if isinstance(statement, ast.IODeclaration):
            name = statement.identifier.name
            element = _ELEMENT.fullmatch(name)
            keys[name] = (element[1], int(element[2])) if element else (name, -1)
    names = sorted(keys, key=lambda name: keys[name])
    inputs = [name for name in names if keys[name][0] == "x" and keys[name][1] >= 0]
    return inputs, [name for name in names if name not in inputs]


class _IntegerDivision(QASMVisitor[None]):
    """Refuses 1/2, which is 0 by the language's rules and hardly ever meant so."""

    def visit_BinaryExpression(self, node: ast.BinaryExpression) -> None:  # noqa: N802
        sides = (node.lhs, node.rhs)
        if node.op.name == "/" and all(isinstance(side, ast.IntegerLiteral) for side in sides):
            raise InputError(
                "Argument `text` must divide integers as 1.0/2, since 1/2 is 0 in OpenQASM 3, but "
                f"has {openqasm3.dumps(node)!r}."
            )
        self.generic_visit(node)


class _Rename(QASMVisitor[dict[str, str]]):
    """Renames in the arguments of a gate's body; names of gates and qubits are left alone."""

    def visit_QuantumGate(self, node: ast.QuantumGate, context: dict[str, str]) -> None:  # noqa: N802
        for part in (*node.arguments, *node.modifiers):
            self.visit(part, context)

    def visit_Identifier(self, node: ast.Identifier, context: dict[str, str]) -> None:  # noqa: N802
        node.name = context.get(node.name, node.name)


def _order_parameters(definition: ast.QuantumGateDefinition) -> None:
    """Give a gate's parameters names whose alphabetical order is that of their declaration."""
    names = {p.name: f"parameter_{k:04d}" for k, p in enumerate(definition.arguments)}
    for part in (*definition.arguments, *definition.body):
        _Rename().visit(part, names)


def _take_out_functions(program: ast.Program, meanings: dict[str, AngleLike]) -> None:
    """Replace angles with functions or powers by inputs; `meanings` then says what they are."""
    declarations: list[ast.Statement | ast.Pragma] = []

    def taken_out(node: ast.Expression) -> ast.Expression:
        if not _has_function(node):
            return node
        name = f"taken_out_{len(declarations)}"
        meanings[name] = _expression(node, meanings)
        declarations.extend(openqasm3.parse(f"input float[64] {name};").statements)
        return ast.Identifier(name)

    for statement in program.statements:
        if isinstance(statement, ast.QuantumGate):
            statement.arguments = [taken_out(argument) for argument in statement.arguments]
        elif isinstance(statement, ast.QuantumPhase):
            statement.argument = taken_out(statement.argument)
    program.statements[:0] = declarations


def _has_function(node: ast.Expression) -> bool:
    if isinstance(node, ast.UnaryExpression):
        return _has_function(node.expression)
    if isinstance(node, ast.BinaryExpression):
        return node.op.name == "**" or _has_function(node.lhs) or _has_function(node.rhs)
    return isinstance(node, ast.FunctionCall)


def _expression(node: ast.Expression, meanings: Mapping[str, AngleLike]) -> Expression:
    """An angle in OpenQASM 3 as one of ours."""
    if isinstance(node, ast.Identifier) and node.name in meanings:
        return angle(meanings[node.name])
    if isinstance(node, ast.Identifier) and node.name in _CONSTANTS:
        return angle(_CONSTANTS[node.name])
    if isinstance(node, ast.IntegerLiteral | ast.FloatLiteral):
        return angle(float(node.value))
    if isinstance(node, ast.UnaryExpression) and node.op.name == "-":
        return call("neg", _expression(node.expression, meanings))
    if isinstance(node, ast.BinaryExpression) and node.op.name in _OPERATORS:
        sides = (_expression(side, meanings) for side in (node.lhs, node.rhs))
        return call(_OPERATORS[node.op.name], *sides)
    if isinstance(node, ast.FunctionCall):
        arguments = [_expression(argument, meanings) for argument in node.arguments]
        if node.name.name == "sqrt":
            return call("pow", *arguments, 0.5)
        if node.name.name in _FUNCTIONS:
            return call(_FUNCTIONS[node.name.name], *arguments)
    raise InputError(
        "Argument `text` must have angles of numbers, inputs, arithmetic and the functions "
        f"{', '.join(_FUNCTIONS)} and sqrt, but has {openqasm3.dumps(node)!r}."
    )


def _unreadable(version: int, error: Exception) -> InputError:
    reason = " ".join(str(error).strip('"').split())
    if not reason:  # openqasm3 keeps the place in the cause of its cause
        token = error.__cause__.args[0].offendingToken  # type: ignore[union-attr]
        reason = f"line {token.line}, column {token.column}: unexpected {token.text!r}"
    return InputError(
        f"Argument `text` must be OpenQASM {version} that Qiskit can read, but: "
        f"{reason.removesuffix('.')}."
    )
