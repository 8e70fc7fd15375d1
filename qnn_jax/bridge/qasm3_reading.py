"""Reads OpenQASM 3: makes a `Circuit` from the syntax tree, statement by statement.

The reader follows the specification. It reads gates, their definitions and modifiers, registers,
aliases, constants, inputs and final measurements. It refuses every other statement, such as
delays, branches and loops, with the line number.

Reference: https://openqasm.com, version 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import openqasm3
from openqasm3 import ast
from qiskit.circuit import Parameter

from qnn_jax.bridge.parameters import Elements, FreeParameters
from qnn_jax.bridge.qasm3 import element_of
from qnn_jax.bridge.qasm3_gates import (
    BUILT_IN,
    GLOBAL_PHASE,
    STANDARD_GATES,
    AnyGate,
    Call,
    Defined,
    Writer,
)
from qnn_jax.bridge.qasm3_parsing import parsed
from qnn_jax.bridge.qasm3_values import CONSTANTS, Real, Value, converted, evaluate, integer, real
from qnn_jax.bridge.qasm_limits import MAX_BITS, MAX_NESTING, MAX_QUBITS, Wrong, check_size
from qnn_jax.circuits.angles import w, x
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.errors import InputError

#: Names of vectors or of single inputs.
Names: TypeAlias = "str | Iterable[str] | None"
#: Why an instruction has no meaning in a circuit, and the way out.
_REFUSED: Mapping[type, str] = MappingProxyType(
    {
        ast.QuantumReset: "a state that is reset is no longer pure; take a fresh qubit",
        ast.DelayInstruction: "a circuit has no clock; leave it out",
        ast.Box: "a circuit has no clock; write its gates without the box",
        ast.BranchingStatement: "a circuit makes no decisions; write the gates out",
        ast.SwitchStatement: "a circuit makes no decisions; write the gates out",
        ast.ForInLoop: "loops are not read; write the gates out",
        ast.WhileLoop: "a circuit makes no decisions; write the gates out",
    }
)
#: Gates that early versions of stdgates.inc define with pow(1/2). There it means the square root,
#: although 1/2 is 0 as a division of integers.
_ROOTS = frozenset(
    {
        "gate s a { pow(1/2) @ z a; }",
        "gate sdg a { inv @ pow(1/2) @ z a; }",
        "gate t a { pow(1/2) @ s a; }",
        "gate tdg a { inv @ pow(1/2) @ s a; }",
        "gate sx a { pow(1/2) @ x a; }",
    }
)


@dataclass(frozen=True, slots=True)
class _Register:
    """Qubits or bits under one name; a single one is no array and cannot be indexed."""

    kind: str
    elements: Sequence[int]
    is_array: bool


def read(text: str, name: str, inputs: Names = None, weights: Names = None) -> Circuit:
    """OpenQASM 3 text as a circuit; messages call the language `name`."""
    place = ""
    try:
        program = parsed(text)
        reader = _Reader(*_free_parameters(program).sorted_into(inputs, weights))
        try:
            return reader.circuit(program)
        except Wrong:
            place = _place(reader.statement, text)
            raise
    except Wrong as error:
        reason = f"{place}{error}"
    except RecursionError:
        reason = "its angles nest too deeply"
    raise InputError(f"Argument `text` must be {name} that can be read, but {reason}.")


def _place(statement: ast.QASMNode | None, text: str) -> str:
    """The line of a statement and its beginning, as it stands in the text."""
    if statement is None or statement.span is None:
        return ""
    span = statement.span
    line = text.split("\n", span.start_line)[span.start_line - 1]
    words = " ".join(line[span.start_column :].partition(";")[0].split())
    words = f"{words[:57]}…" if len(words) > 58 else words
    return f"line {span.start_line} has {words!r}: "


def _free_parameters(program: ast.Program) -> FreeParameters:
    """The inputs that a program declares: vectors by name, their elements by number."""
    names = {
        s.identifier.name
        for s in program.statements
        if isinstance(s, ast.IODeclaration) and s.io_identifier is ast.IOKeyword.input
    }
    parameters = [
        Parameter(name) for name in sorted(names, key=lambda name: (*element_of(name), name))
    ]
    vectors: dict[str, Elements] = {}
    of_parameter = {}
    for parameter in parameters:
        vector, number = element_of(parameter.name)
        if number >= 0:
            of_parameter[parameter] = vectors.setdefault(vector, Elements(vector, []))
            of_parameter[parameter].params.append(parameter)
    return FreeParameters(parameters, of_parameter, "the text")


class _Reader:
    """The state while one program is read."""

    def __init__(self, inputs: Sequence[Parameter], weights: Sequence[Parameter]) -> None:
        self._parameters: dict[str, Real] = {p.name: Real(x[i]) for i, p in enumerate(inputs)}
        self._parameters |= {p.name: Real(w[j]) for j, p in enumerate(weights)}
        self._num_inputs, self._num_weights = len(inputs), len(weights)
        self._values: dict[str, Value] = {}
        self._registers: dict[str, _Register] = {}
        self._gates: dict[str, AnyGate] = dict(BUILT_IN)
        self._num = {"qubit": 0, "bit": 0}
        self._has_hardware_qubits = False
        self._measured: dict[int, int] = {}
        self._writer = Writer(self._angle)

    @property
    def statement(self) -> ast.QASMNode | None:
        """The one that is being read."""
        return self._writer.statement

    def circuit(self, program: ast.Program) -> Circuit:
        """What the whole program makes."""
        for statement in program.statements:
            self._writer.statement = statement
            if isinstance(statement, ast.Pragma):
                raise Wrong("pragmas are not read, since they may change what the text means")
            method = _METHODS.get(type(statement))
            if method is None:
                raise Wrong(_REFUSED.get(type(statement), "this is no part of a circuit"))
            method(self, statement)
        self._writer.statement = None
        if not self._num["qubit"]:
            raise Wrong("it declares no qubit")
        return Circuit(
            self._num["qubit"], tuple(self._writer.ops), self._num_inputs, self._num_weights
        )

    # ------------------------------------------------------------------------------------- names

    def _declare(self, name: str) -> None:
        """Refuse a name that is taken."""
        if name in self._gates:
            raise Wrong(f"the name {name!r} is taken already, by a gate")
        if name in self._values or name in self._registers or name in CONSTANTS:
            raise Wrong(f"the name {name!r} is taken already")

    def _constant(self, name: str) -> Value:
        """The value of a name where a constant is wanted."""
        if name in self._parameters and name in self._values:
            raise Wrong(f"{name!r} is an input, and what stands here must be a constant")
        return self._value(name)

    def _value(self, name: str) -> Value:
        """The value of a name outside of gate definitions."""
        if name in self._values:
            return self._values[name]
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in self._registers or name in self._gates:
            raise Wrong(f"{name!r} is no number")
        raise Wrong(f"{name!r} is not declared")

    def _angle(self, node: ast.Expression, parameters: Mapping[str, Real] | None) -> Real:
        """An angle, in a gate's definition where the values of its parameters are given."""
        if parameters is None:
            return real(evaluate(node, self._value))

        def look_up(name: str) -> Value:
            return parameters[name] if name in parameters else self._constant(name)

        return real(evaluate(node, look_up))

    def _integer(self, node: ast.Expression) -> int:
        return integer(evaluate(node, self._constant))

    # ------------------------------------------------------------------------------ declarations

    def _include(self, node: ast.Include) -> None:
        if node.filename != "stdgates.inc":
            hint = (
                ", which belongs to OpenQASM 2: begin the text with `OPENQASM 2.0;`"
                if node.filename == "qelib1.inc"
                else ": put its text in its place"
            )
            raise Wrong(f"files other than stdgates.inc are not read, nor is {node.filename}{hint}")
        for name, gate in STANDARD_GATES.items():
            self._declare(name)
            self._gates[name] = gate

    def _qubits(self, node: ast.QubitDeclaration) -> None:
        if self._has_hardware_qubits:
            raise Wrong("qubits are declared or have numbers like $0, but not both")
        self._register(node.qubit.name, "qubit", node.size)

    def _register(self, name: str, kind: str, size: ast.Expression | None) -> None:
        self._declare(name)
        length = 1 if size is None else self._integer(size)
        if length < 0:
            raise Wrong(f"a register cannot have {length} {kind}s")
        first = self._num[kind]
        check_size(f"{kind}s", first + length, MAX_BITS if kind == "bit" else MAX_QUBITS)
        self._num[kind] += length
        self._registers[name] = _Register(kind, range(first, first + length), size is not None)

    def _classical(self, node: ast.ClassicalDeclaration) -> None:
        if not isinstance(node.type, ast.BitType):
            raise Wrong("a circuit has no variables but bits; declare a constant: const")
        self._register(node.identifier.name, "bit", node.type.size)
        if isinstance(node.init_expression, ast.QuantumMeasurement):
            self._measure(node.init_expression.qubit, node.identifier)
        elif node.init_expression is not None:
            raise Wrong("bits hold the results of measurements and have no values of their own")

    def _const(self, node: ast.ConstantDeclaration) -> None:
        value = converted(evaluate(node.init_expression, self._constant), node.type, self._constant)
        self._declare(node.identifier.name)
        self._values[node.identifier.name] = value

    def _input(self, node: ast.IODeclaration) -> None:
        name = node.identifier.name
        if node.io_identifier is ast.IOKeyword.output:
            raise Wrong("outputs are not read; declare bits")
        if not isinstance(node.type, ast.FloatType | ast.AngleType):
            raise Wrong("an input must be a float or an angle")
        if node.type.size is not None and self._integer(node.type.size) < 1:
            raise Wrong("an input must have at least 1 bit")
        self._declare(name)
        self._values[name] = self._parameters[name]

    def _alias(self, node: ast.AliasStatement) -> None:
        parts: list[ast.Expression] = []
        value: ast.Expression = node.value
        while isinstance(value, ast.Concatenation):
            parts.append(value.rhs)
            value = value.lhs
        registers = [self._operand(part) for part in (value, *reversed(parts))]
        kinds = {register.kind for register in registers}
        if len(kinds) > 1:
            raise Wrong("an alias is of qubits or of bits, but not of both")
        if len(registers) == 1:
            alias = registers[0]
        else:
            elements = [element for register in registers for element in register.elements]
            self._writer.reserve(len(elements))
            if len(set(elements)) < len(elements):
                raise Wrong("a register cannot be concatenated with a part of itself")
            alias = _Register(kinds.pop(), elements, True)
        self._declare(node.target.name)
        self._registers[node.target.name] = alias

    # ---------------------------------------------------------------------------------- operands

    def _operand(self, node: ast.QASMNode) -> _Register:
        """The qubits or bits that a name, perhaps with indices, stands for."""
        indices: list[ast.IndexElement] = []
        while isinstance(node, ast.IndexExpression):
            indices.insert(0, node.index)
            node = node.collection
        if isinstance(node, ast.IndexedIdentifier):
            indices, node = list(node.indices), node.name
        if not isinstance(node, ast.Identifier):
            raise Wrong("an operand must be a register, with an index or without")
        if node.name.startswith("$"):
            register = self._hardware_qubit(node.name)
        elif node.name in self._registers:
            register = self._registers[node.name]
        else:
            known = node.name in self._values or node.name in self._gates or node.name in CONSTANTS
            raise Wrong(f"{node.name!r} is {'no register' if known else 'not declared'}")
        for index in indices:
            register = self._indexed(register, node.name, index)
        return register

    def _hardware_qubit(self, name: str) -> _Register:
        if self._num["qubit"] and not self._has_hardware_qubits:
            raise Wrong("qubits are declared or have numbers like $0, but not both")
        number = int(name[1:]) if len(name) < 19 else 10**18
        check_size("qubits", number + 1, MAX_QUBITS)
        self._has_hardware_qubits = True
        self._num["qubit"] = max(self._num["qubit"], number + 1)
        return _Register("qubit", (number,), False)

    def _indexed(self, register: _Register, name: str, index: ast.IndexElement) -> _Register:
        if not register.is_array:
            raise Wrong(f"{name!r} is a single {register.kind} and cannot be indexed")
        length = len(register.elements)

        def position(node: ast.Expression) -> int:
            """An index; a negative one counts from the end."""
            number = self._integer(node)
            if not -length <= number < length:
                raise Wrong(f"index {number} is outside of {name!r}, which has {length} elements")
            return number % length

        if isinstance(index, ast.DiscreteSet):
            chosen: Sequence[int] = [position(node) for node in index.values]
            if len(set(chosen)) < len(chosen):
                raise Wrong("a set of indices must name each element once")
        elif len(index) != 1:
            raise Wrong(f"a register has one index, but {name!r} is given {len(index)}")
        elif not isinstance(index[0], ast.RangeDefinition):
            return _Register(register.kind, (register.elements[position(index[0])],), False)
        else:
            chosen = self._range(index[0], length, position)
        if not chosen:
            raise Wrong(f"the indices of {name!r} must name at least one element")
        self._writer.reserve(len(chosen))
        return _Register(register.kind, [register.elements[k] for k in chosen], True)

    def _range(
        self, node: ast.RangeDefinition, length: int, position: Callable[[ast.Expression], int]
    ) -> Sequence[int]:
        """start:step:end, both ends included."""
        step = 1 if node.step is None else self._integer(node.step)
        if step == 0:
            raise Wrong("the step of a range cannot be 0")
        ends = (0, length - 1) if step > 0 else (length - 1, 0)
        start = ends[0] if node.start is None else position(node.start)
        end = ends[1] if node.end is None else position(node.end)
        return range(start, end + (1 if step > 0 else -1), step)

    def _qubit_operand(self, node: ast.QASMNode) -> _Register:
        register = self._operand(node)
        if register.kind != "qubit":
            raise Wrong("an operand must be a qubit, but is a bit")
        return register

    # ------------------------------------------------------------------------------------- gates

    def _definition(self, node: ast.QuantumGateDefinition) -> None:
        name = node.name.name
        parameters = tuple(parameter.name for parameter in node.arguments)
        qubits = [qubit.name for qubit in node.qubits]
        if len({*parameters, *qubits}) < len(parameters) + len(qubits):
            raise Wrong(f"gate {name!r} must give each parameter and each qubit its own name")
        self._declare(name)
        body = []
        for statement in node.body:
            self._writer.statement = statement
            if isinstance(statement, ast.QuantumGate | ast.QuantumPhase):
                positions = tuple(_position(qubit, qubits) for qubit in statement.qubits)
                body.append(self._call(statement, len(positions), positions, _is_root(node)))
                _check_different(positions)
            elif isinstance(statement, ast.QuantumBarrier):
                for qubit in statement.qubits:
                    _position(qubit, qubits)
            else:
                raise Wrong("the body of a gate can have gates and barriers only")
        self._writer.statement = node
        depth = 1 + max((call.gate.depth for call in body), default=0)
        if depth > MAX_NESTING:
            raise Wrong(f"gates can call gates {MAX_NESTING} deep at most")
        self._gates[name] = Defined(parameters, len(qubits), tuple(body), depth)

    def _call(
        self,
        node: ast.QuantumGate | ast.QuantumPhase,
        num_operands: int,
        positions: tuple[int, ...] = (),
        is_root: bool = False,
    ) -> Call:
        """The gate that a statement applies, with its controls and its exponents."""
        gate: AnyGate = GLOBAL_PHASE
        arguments = [node.argument] if isinstance(node, ast.QuantumPhase) else node.arguments
        if isinstance(node, ast.QuantumGate):
            name = node.name.name
            if node.duration is not None:
                raise Wrong("a circuit has no clock; leave the duration out")
            if name not in self._gates:
                hint = (
                    '; stdgates.inc has it: include "stdgates.inc";'
                    if name in STANDARD_GATES
                    else ""
                )
                raise Wrong(f"gate {name!r} is not defined{hint}")
            gate = self._gates[name]
        if len(node.modifiers) > MAX_NESTING:
            raise Wrong(f"a gate can have {MAX_NESTING} modifiers at most")
        controls: list[bool] = []
        powers: list[int | float] = []
        for modifier in node.modifiers:
            kind = modifier.modifier.name
            if kind == "inv":
                powers.insert(0, -1)
            elif kind == "pow":
                powers.insert(0, 0.5 if is_root else self._exponent(modifier.argument))
            else:
                number = 1 if modifier.argument is None else self._integer(modifier.argument)
                if number < 1:
                    raise Wrong(f"a gate must have at least 1 control, but is given {number}")
                check_size("qubits", number, MAX_QUBITS)
                controls += [kind == "ctrl"] * number
        if len(arguments) != gate.num_parameters:
            raise Wrong(
                f"the gate must have {_counted(gate.num_parameters, 'angle')}, but has "
                f"{len(arguments)}"
            )
        wanted = len(controls) + gate.num_qubits
        if num_operands != wanted:
            with_controls = ", controls included" if controls else ""
            raise Wrong(
                f"the gate must have {_counted(wanted, 'qubit')}{with_controls}, but has "
                f"{num_operands}"
            )
        return Call(gate, arguments, tuple(controls), tuple(powers), positions, node)

    def _exponent(self, node: ast.Expression | None) -> int | float:
        assert node is not None
        value = evaluate(node, self._constant)
        if not isinstance(value, Real):
            return integer(value)
        assert value.number is not None
        return int(value.number) if value.number.is_integer() else value.number

    def _gate(self, node: ast.QuantumGate | ast.QuantumPhase) -> None:
        call = self._call(node, len(node.qubits))
        operands = [self._qubit_operand(qubit) for qubit in node.qubits]
        self._writer.write(call, self._broadcast(operands))

    def _broadcast(self, operands: Sequence[_Register]) -> list[tuple[int, ...]]:
        """The qubits of every gate that one statement applies."""
        if not operands:
            return [()]
        lengths = {len(operand.elements) for operand in operands if operand.is_array}
        if len(lengths) > 1:
            raise Wrong(
                "registers in one statement must have the same length, but have "
                f"{' and '.join(map(str, sorted(lengths)))}"
            )
        times = lengths.pop() if lengths else 1
        places = list(
            zip(
                *(
                    operand.elements if operand.is_array else [operand.elements[0]] * times
                    for operand in operands
                ),
                strict=True,
            )
        )
        for qubits in places:
            _check_different(qubits)
        for qubit in {qubit for qubits in places for qubit in qubits} & self._measured.keys():
            raise Wrong(
                f"what follows a measurement is no pure state, and qubit {qubit} is measured in "
                f"line {self._measured[qubit]}; measure at the end only"
            )
        return places

    def _barrier(self, node: ast.QuantumBarrier) -> None:
        for qubit in node.qubits:
            self._qubit_operand(qubit)

    def _measurement(self, node: ast.QuantumMeasurementStatement) -> None:
        self._measure(node.measure.qubit, node.target)

    def _measure(self, qubit: ast.QASMNode, target: ast.QASMNode | None) -> None:
        measured = self._qubit_operand(qubit)
        self._writer.reserve(len(measured.elements))
        self._broadcast([measured])
        if target is not None:
            bits = self._operand(target)
            if bits.kind != "bit":
                raise Wrong("the result of a measurement must go to a bit")
            if len(bits.elements) != len(measured.elements):
                raise Wrong(
                    f"{_counted(len(measured.elements), 'qubit')} cannot be measured into "
                    f"{_counted(len(bits.elements), 'bit')}"
                )
        assert self.statement is not None
        line = 0 if self.statement.span is None else self.statement.span.start_line
        self._measured |= dict.fromkeys(measured.elements, line)


def _is_root(node: ast.QuantumGateDefinition) -> bool:
    """Is it the root of a gate as early versions of stdgates.inc define it?"""
    if len(node.body) != 1 or len(node.qubits) != 1:
        return False
    name = node.qubits[0].name
    words = " ".join(openqasm3.dumps(node).replace(" / ", "/").split())
    return words.replace(f" {name} {{", " a {").replace(f" {name};", " a;") in _ROOTS


def _position(node: ast.QASMNode, qubits: Sequence[str]) -> int:
    """Which of a gate's own qubits an operand in its body is."""
    if not isinstance(node, ast.Identifier):
        raise Wrong("the qubits of a gate cannot be indexed in its body")
    if node.name not in qubits:
        raise Wrong(f"{node.name!r} is none of the gate's qubits {', '.join(qubits)}")
    return qubits.index(node.name)


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _check_different(qubits: Sequence[int]) -> None:
    if len(set(qubits)) < len(qubits):
        raise Wrong("the qubits of a gate must differ")


#: What reads each kind of statement.
_METHODS: Mapping[type, Callable[..., None]] = MappingProxyType(
    {
        ast.Include: _Reader._include,
        ast.QubitDeclaration: _Reader._qubits,
        ast.ClassicalDeclaration: _Reader._classical,
        ast.ConstantDeclaration: _Reader._const,
        ast.IODeclaration: _Reader._input,
        ast.AliasStatement: _Reader._alias,
        ast.QuantumGateDefinition: _Reader._definition,
        ast.QuantumGate: _Reader._gate,
        ast.QuantumPhase: _Reader._gate,
        ast.QuantumBarrier: _Reader._barrier,
        ast.QuantumMeasurementStatement: _Reader._measurement,
    }
)
