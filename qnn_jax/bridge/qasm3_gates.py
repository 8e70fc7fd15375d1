"""Gates of OpenQASM 3: what the language and stdgates.inc define, and what a text defines itself.

A gate that a text defines is a macro. A call of it is written out with its modifiers in one walk:
controls and inverses are handed down to the gates at the bottom, so nothing is built twice and
no gate is ever recognised by its name. How many gates a call becomes is counted before.

The phases are those of the specification, whose built-in U carries e^{iθ/2}. `CX` is an alias of
`cx` there, in words; the example file of the specification gives it a phase.

Reference: https://openqasm.com/language/gates.html and standard_library.html, version 3.1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from openqasm3 import ast
from qiskit.quantum_info import Operator

from qnn_jax.bridge.export import to_qiskit
from qnn_jax.bridge.qasm3 import STANDARD
from qnn_jax.bridge.qasm3_values import Real, apply
from qnn_jax.bridge.qasm_limits import MAX_GATES, MAX_TERMS, Wrong, check_size
from qnn_jax.circuits.angles import Expression, Number
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.control import controlled
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.op import MAX_UNITARY_QUBITS, Op


@dataclass(frozen=True, slots=True)
class Given:
    """A gate that the language or stdgates.inc gives: gates of ours as a function of angles."""

    num_parameters: int
    num_qubits: int
    ops: Callable[..., tuple[Op, ...]]
    #: A rotation about a fixed axis: its power is the rotation by a multiple of the angle.
    is_rotation: bool = False
    #: Definitions within definitions.
    depth: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Defined:
    """A gate that the text defines: calls on its own qubits, angles of its own parameters."""

    parameters: tuple[str, ...]
    num_qubits: int
    body: tuple[Call, ...]
    depth: int

    @property
    def num_parameters(self) -> int:
        """How many angles it takes."""
        return len(self.parameters)


AnyGate: TypeAlias = Given | Defined


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """One statement that applies a gate, its modifiers evaluated, its angles not yet."""

    gate: AnyGate  # the gate without modifiers
    arguments: Sequence[ast.Expression]  # its angles
    #: True for ctrl and False for negctrl, one for each of the first qubits.
    controls: tuple[bool, ...]
    powers: tuple[int | float, ...]  # the exponents, the innermost first; inv is -1
    qubits: tuple[int, ...]  # where it acts: in a definition, positions among the gate's own qubits
    statement: ast.Statement  # where it stands

    @property
    def times(self) -> int | None:
        """How often the gate is repeated; None where an exponent is a fraction: a root is taken."""
        if all(isinstance(power, int) for power in self.powers):
            return math.prod(map(int, self.powers))
        return None


def _named(name: str, is_rotation: bool = False) -> Given:
    row = GATES[name]
    qubits = range(row.num_qubits)
    return Given(
        row.num_angles, row.num_qubits, lambda *angles: (Op(name, qubits, angles),), is_rotation
    )


def _u(theta: Expression, phi: Expression, lam: Expression) -> tuple[Op, ...]:
    return Op("u", 0, (theta, phi, lam)), Op("global_phase", (), theta / 2)


def _u3(theta: Expression, phi: Expression, lam: Expression) -> tuple[Op, ...]:
    return Op("u3", 0, (theta, phi, lam)), Op("global_phase", (), -(phi + lam) / 2)


def _u2(phi: Expression, lam: Expression) -> tuple[Op, ...]:
    return Op("u2", 0, (phi, lam)), Op("global_phase", (), -(phi + lam) / 2)


_ROTATIONS = frozenset({"p", "rx", "ry", "rz", "cp", "crx", "cry", "crz"})

#: Stands for any angle where gates are counted.
_ANY = Number(0.5)

#: What every text has; gphase has a statement of its own in the grammar.
BUILT_IN: Mapping[str, Given] = MappingProxyType({"U": Given(3, 1, _u)})
GLOBAL_PHASE = _named("global_phase", is_rotation=True)
#: What `include "stdgates.inc";` defines.
STANDARD_GATES: Mapping[str, Given] = MappingProxyType(
    {name: _named(name, name in _ROTATIONS) for name in sorted(STANDARD)}
    | {"CX": _named("cx"), "phase": _named("p", True), "cphase": _named("cp", True)}
    | {"u1": _named("u1", True), "u2": Given(2, 1, _u2), "u3": Given(3, 1, _u3)}
)


class Writer:
    """Writes calls out as gates."""

    def __init__(self, angle: Callable[[ast.Expression, Mapping[str, Real] | None], Real]) -> None:
        self.ops: list[Op] = []
        self.statement: ast.QASMNode | None = None  # that is being written out
        self._angle = angle
        self._num_gates = 0
        self._num_terms = 0
        self._counts: dict[tuple[Defined, int], int] = {}

    def reserve(self, num_gates: int) -> None:
        """Count gates, or what takes as much time, towards the limit."""
        self._num_gates += num_gates
        check_size("gates", self._num_gates, MAX_GATES)

    def write(self, call: Call, places: Sequence[Sequence[int]]) -> None:
        """Add the gates of a call, once for each of the places that it is broadcast to."""
        self.reserve(self._count(call, 0) * len(places))
        angles = [self._angle(argument, None) for argument in call.arguments]
        for qubits in places:
            self._call(call, angles, qubits, (), False, self.ops)

    def _count(self, call: Call, num_controls: int) -> int:
        """How many gates a call becomes under so many controls."""
        negative = 2 * call.controls.count(False)
        num_controls += len(call.controls)
        if 2 ** min(num_controls, 64) > MAX_GATES:
            raise Wrong(
                f"a gate under {num_controls} controls becomes more than 2**{num_controls} gates, "
                f"and at most {MAX_GATES:,} can be read"
            )
        # With a root it is a rotation, or the matrix of all its gates.
        times = 1 if call.times is None else abs(call.times)
        return negative + times * self._count_gate(call.gate, num_controls)

    def _count_gate(self, gate: AnyGate, num_controls: int) -> int:
        if isinstance(gate, Given):
            ops = gate.ops(*[_ANY] * gate.num_parameters)
            return sum(_count_controlled(op.gate, num_controls) for op in ops)
        key = (gate, num_controls)
        if key not in self._counts:
            # A call that does nothing takes time as well.
            inside = (self._count(call, num_controls) for call in gate.body)
            self._counts[key] = max(1, sum(inside))
        return self._counts[key]

    def _call(
        self,
        call: Call,
        angles: Sequence[Real],
        qubits: Sequence[int],
        controls: tuple[int, ...],
        inverse: bool,
        ops: list[Op],
    ) -> None:
        """Add the gates of one call; its own controls are the first of its qubits."""
        own, targets = qubits[: len(call.controls)], qubits[len(call.controls) :]
        flips = [Op("x", q) for q, positive in zip(own, call.controls, strict=True) if not positive]
        controls = (*controls, *own)
        ops.extend(flips)
        times = call.times
        if times is not None:
            start = len(ops)
            if times:
                self._gate(call.gate, angles, targets, controls, inverse != (times < 0), ops)
            ops.extend(ops[start:] * (abs(times) - 1))
        elif isinstance(call.gate, Given) and call.gate.is_rotation:
            for power in call.powers:
                angles = [apply("mul", Real(Number(power)), angle) for angle in angles]
            self._gate(call.gate, angles, targets, controls, inverse, ops)
        else:
            ops.extend(_under(self._root(call, angles, targets, controls), controls, inverse))
        ops.extend(flips)

    def _gate(
        self,
        gate: AnyGate,
        angles: Sequence[Real],
        qubits: Sequence[int],
        controls: tuple[int, ...],
        inverse: bool,
        ops: list[Op],
    ) -> None:
        if isinstance(gate, Given):
            start = len(ops)
            given = gate.ops(*(angle.expression for angle in angles))
            for op in reversed(given) if inverse else given:
                placed = Op(op.gate, [qubits[q] for q in op.qubits], op.angles)
                ops.extend(_under(placed, controls, inverse))
            self._num_terms += (len(ops) - start) * sum(angle.num_terms for angle in angles)
            check_size("terms in angles", self._num_terms, MAX_TERMS)
            return
        values = dict(zip(gate.parameters, angles, strict=True))
        for call in reversed(gate.body) if inverse else gate.body:
            self.statement = call.statement
            inner = [self._angle(argument, values) for argument in call.arguments]
            places = [qubits[position] for position in call.qubits]
            self._call(call, inner, places, controls, inverse, ops)

    def _root(
        self, call: Call, angles: Sequence[Real], qubits: Sequence[int], controls: Sequence[int]
    ) -> Op:
        """A gate to fractional powers, by its matrix: the principal root, as of Z the gate S."""
        if any(angle.number is None for angle in angles):
            raise Wrong(
                "a fractional power can be taken of gates without inputs, and of rotations, only"
            )
        if len(qubits) + len(controls) > MAX_UNITARY_QUBITS:
            raise Wrong(
                f"a gate to a fractional power can be on {MAX_UNITARY_QUBITS} qubits, controls "
                f"included, but is on {len(qubits) + len(controls)}"
            )
        ops: list[Op] = []
        self._gate(call.gate, angles, range(len(qubits)), (), False, ops)
        operator = Operator(to_qiskit(Circuit(len(qubits), tuple(ops))))
        for power in call.powers:
            operator = operator.power(power, assume_unitary=True)
        return Op("unitary", qubits, matrix=operator.data)


def _under(op: Op, controls: Sequence[int], inverse: bool) -> list[Op]:
    """A gate or its inverse under controls."""
    if not controls:
        return [op.inverse() if inverse else op]
    ops = controlled(op, controls)
    return [part.inverse() for part in reversed(ops)] if inverse else ops


@functools.lru_cache(maxsize=1024)
def _count_controlled(name: str, num_controls: int) -> int:
    """How many gates one of the table becomes; every control beyond a few doubles them."""
    few = min(num_controls, 6)
    row = GATES[name]
    op = Op(name, range(few, few + row.num_qubits), [_ANY] * row.num_angles)
    number = len(controlled(op, range(few))) if few else 1
    return number << (num_controls - few)
