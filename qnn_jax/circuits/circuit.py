"""`Circuit` and `Op`: what a circuit is. Values only: hashable, compared by value, no arrays."""

from __future__ import annotations

import difflib
import functools
import json
import numbers
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from qnn_jax.circuits import angles as _angles
from qnn_jax.circuits.angles import AngleLike, Expression, Symbol
from qnn_jax.circuits.gates import GATES, Gate, Matrix
from qnn_jax.errors import InputError

#: A `unitary` given as an array may act on this many qubits.
MAX_UNITARY_QUBITS = 6
_UNITARY_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Op:
    """A gate on some qubits: `Op("cx", (0, 1))`, `Op("rx", 0, x[0])`.

    Attributes:
        gate: the name of a row of the gate table, or "unitary".
        qubits: the qubits it acts on, controls first, as in Qiskit; one qubit may be an integer.
        angles: its angles in radians, in Qiskit's order; a single one needs no tuple.
        matrix: for "unitary" only, rows of numbers; bit k of a row's number is `qubits[k]`.

    Raises:
        InputError: where the gate is unknown, qubits repeat, or the counts do not fit.
    """

    gate: str
    qubits: tuple[int, ...]
    angles: tuple[Expression, ...] = ()
    matrix: Matrix | None = None

    def __init__(
        self,
        gate: str,
        qubits: int | Sequence[int],
        angles: AngleLike | Sequence[AngleLike] = (),
        matrix: Any = None,
    ) -> None:
        several = (qubits,) if isinstance(qubits, numbers.Integral) else tuple(qubits)  # type: ignore[arg-type]
        many = tuple(angles) if isinstance(angles, Sequence) else (angles,)
        object.__setattr__(self, "gate", gate)
        object.__setattr__(self, "qubits", tuple(map(_qubit, several)))
        object.__setattr__(self, "angles", tuple(map(_angles.angle, many)))
        object.__setattr__(self, "matrix", _unitary(gate, matrix, len(self.qubits)))
        row = self.row
        if len(self.qubits) != row.num_qubits:
            raise InputError(
                f"Argument `qubits` of gate `{gate}` must name {row.num_qubits} qubits, "
                f"but is {self.qubits}."
            )
        if len(set(self.qubits)) != len(self.qubits):
            raise InputError(
                f"Argument `qubits` of gate `{gate}` must not repeat a qubit, but is {self.qubits}."
            )
        if len(self.angles) != row.num_angles:
            raise InputError(
                f"Argument `angles` of gate `{gate}` must have {row.num_angles} entries, "
                f"but has {len(self.angles)}."
            )

    @property
    def row(self) -> Gate:
        """The row of the gate table that says what this gate does."""
        if self.matrix is not None:
            matrix = self.matrix
            return Gate("unitary", len(self.qubits), 0, lambda m: matrix, None)
        return GATES[self.gate]

    def inverse(self) -> Op:
        """The gate that undoes this one."""
        row = self.row
        if row.inverse is not None:
            name, inverse_angles = row.inverse(*self.angles)
            return Op(name, self.qubits, inverse_angles)
        entries = [[complex(entry) for entry in line] for line in row.matrix(None)]
        adjoint = tuple(
            tuple(entries[j][i].conjugate() for j in range(len(entries)))
            for i in range(len(entries))
        )
        return Op("unitary", self.qubits, matrix=adjoint)

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.angles))
        return f"{self.gate}({inside})" if inside else self.gate


def _qubit(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise InputError(
            f"Argument `qubits` must hold integers of at least 0, but holds {value!r}."
        )
    return int(value)


def _unitary(gate: str, matrix: Any, num_qubits: int) -> Matrix | None:
    """Check the name of a gate and, for "unitary", its matrix; the matrix as nested tuples."""
    if gate != "unitary":
        if not isinstance(gate, str) or gate not in GATES:
            near = difflib.get_close_matches(str(gate), GATES, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else "."
            raise InputError(
                f"Argument `gate` must be one of Qiskit's standard gates, but is {gate!r}{hint}"
            )
        if matrix is not None:
            raise InputError(f'Argument `matrix` must be given to "unitary" only, not to "{gate}".')
        return None
    if not 1 <= num_qubits <= MAX_UNITARY_QUBITS:
        raise InputError(
            f"Argument `qubits` of a unitary must name 1 to {MAX_UNITARY_QUBITS} qubits, "
            f"but names {num_qubits}."
        )
    size = 2**num_qubits
    rows = matrix.tolist() if hasattr(matrix, "tolist") else matrix
    try:
        entries = [[complex(entry) for entry in row] for row in rows]
    except TypeError:
        entries = []
    if len(entries) != size or any(len(row) != size for row in entries):
        raise InputError(
            f"Argument `matrix` must have shape ({size}, {size}) for {num_qubits} qubits, "
            f"but is {matrix!r}."
        )
    worst = max(
        abs(sum(a.conjugate() * b for a, b in zip(left, right, strict=True)) - (i == j))
        for i, left in enumerate(entries)
        for j, right in enumerate(entries)
    )
    if not worst <= _UNITARY_TOLERANCE:  # `not <=` so that NaN is refused too
        raise InputError(
            "Argument `matrix` must be unitary, but its rows are orthonormal only "
            f"to {worst:.2g} (at most {_UNITARY_TOLERANCE:g} is allowed)."
        )
    real = all(entry.imag == 0 for row in entries for entry in row)
    return tuple(tuple(entry.real if real else entry for entry in row) for row in entries)


@dataclass(frozen=True)
class Circuit:
    """Gates in order on `num_qubits` qubits that start in |0…0>.

    Attributes:
        num_qubits: at least 1.
        ops: the gates.
        num_inputs: the length of the vector x; by default as many as the gates use.
        num_weights: the length of the vector w; by default as many as the gates use. Both are
            stored, so a circuit keeps them when gates are taken out.

    Raises:
        InputError: where a gate names a qubit, an input or a weight that is not there.
    """

    num_qubits: int
    ops: tuple[Op, ...] = ()
    num_inputs: int = -1
    num_weights: int = -1
    _hash: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        num_qubits = self.num_qubits
        if (
            isinstance(num_qubits, bool)
            or not isinstance(num_qubits, numbers.Integral)
            or num_qubits < 1
        ):
            raise InputError(
                f"Argument `num_qubits` must be an integer of at least 1, but is {num_qubits!r}."
            )
        ops = tuple(self.ops)
        for op in ops:
            if not isinstance(op, Op):
                raise InputError(f"Argument `ops` must hold values of type Op, but holds {op!r}.")
            if any(qubit >= num_qubits for qubit in op.qubits):
                raise InputError(
                    f"Argument `qubits` of gate `{op.gate}` must be below {num_qubits}, the number "
                    f"of qubits, but is {op.qubits}."
                )
        object.__setattr__(self, "num_qubits", int(num_qubits))
        object.__setattr__(self, "ops", ops)
        for name, vector in (("num_inputs", "x"), ("num_weights", "w")):
            used = 1 + max((s.index for s in self._symbols() if s.vector == vector), default=-1)
            given = getattr(self, name)
            if given != -1 and given < used:
                raise InputError(
                    f"Argument `{name}` must be at least {used}, because the gates use "
                    f"{vector}[{used - 1}], but is {given}."
                )
            object.__setattr__(self, name, used if given == -1 else int(given))
        object.__setattr__(
            self, "_hash", hash((self.num_qubits, ops, self.num_inputs, self.num_weights))
        )

    def __hash__(self) -> int:
        return self._hash  # computed once: jit asks for it at every call

    def _symbols(self) -> Iterable[Symbol]:
        return (s for op in self.ops for angle in op.angles for s in _angles.symbols(angle))

    @property
    def num_angles(self) -> int:
        """How many angles all gates have together: the length of the angle table."""
        return sum(len(op.angles) for op in self.ops)

    @property
    def angles(self) -> tuple[Expression, ...]:
        """Every gate's angles, in order."""
        return tuple(angle for op in self.ops for angle in op.angles)

    def _with(self, ops: Iterable[Op], **changes: int) -> Circuit:
        fields = {
            "num_qubits": self.num_qubits,
            "num_inputs": self.num_inputs,
            "num_weights": self.num_weights,
            **changes,
        }
        return Circuit(ops=tuple(ops), **fields)

    def _substitute(self, replace: Callable[[Symbol], AngleLike]) -> tuple[Op, ...]:
        return tuple(
            Op(
                op.gate,
                op.qubits,
                tuple(_angles.substitute(angle, replace) for angle in op.angles),
                op.matrix,
            )
            for op in self.ops
        )

    def _shift(self, vector: str, by: int) -> tuple[Op, ...]:
        return self._substitute(
            lambda s: Symbol(s.vector, s.index + by) if s.vector == vector else s
        )

    def __add__(self, other: Circuit) -> Circuit:
        """First this circuit, then the other; inputs are shared, weights are appended."""
        if not isinstance(other, Circuit):
            return NotImplemented
        return self.then(other, weights="fresh")

    def then(self, other: Circuit, weights: Literal["fresh", "shared"] = "fresh") -> Circuit:
        """First this circuit, then `other` on the same qubits and the same inputs.

        Args:
            other: a circuit on as many qubits.
            weights: "fresh" appends the other's weights, "shared" lets w[j] be the same in both.
        """
        if other.num_qubits != self.num_qubits:
            raise InputError(
                f"Argument `other` must have {self.num_qubits} qubits, but has "
                f"{other.num_qubits}; place it with `.on(qubits, num_qubits)` first."
            )
        fresh = _one_of("weights", weights, ("fresh", "shared")) == "fresh"
        return self._with(
            self.ops + (other._shift("w", self.num_weights) if fresh else other.ops),
            num_inputs=max(self.num_inputs, other.num_inputs),
            num_weights=self.num_weights + other.num_weights
            if fresh
            else max(self.num_weights, other.num_weights),
        )

    def repeat(self, times: int, weights: Literal["fresh", "shared"] = "fresh") -> Circuit:
        """This circuit `times` times in sequence; inputs are shared."""
        _at_least("times", times, 0)
        circuit = self._with((), num_weights=0 if weights == "fresh" else self.num_weights)
        for _ in range(times):
            circuit = circuit.then(self, weights)
        return circuit

    def on(self, qubits: Sequence[int], num_qubits: int | None = None) -> Circuit:
        """This circuit with its qubit k placed on `qubits[k]` of a circuit of `num_qubits`."""
        places = tuple(map(_qubit, qubits))
        if len(places) != self.num_qubits or len(set(places)) != len(places):
            raise InputError(
                f"Argument `qubits` must name {self.num_qubits} different qubits, but is {places}."
            )
        return self._with(
            (Op(op.gate, [places[q] for q in op.qubits], op.angles, op.matrix) for op in self.ops),
            num_qubits=max(places) + 1 if num_qubits is None else num_qubits,
        )

    def shift_inputs(self, by: int) -> Circuit:
        """Read x[i + by] where this circuit reads x[i]: two circuits then take separate inputs."""
        _at_least("by", by, 0)
        return self._with(self._shift("x", by), num_inputs=self.num_inputs + by)

    def inverse(self) -> Circuit:
        """The circuit that undoes this one, with the same inputs and weights."""
        return self._with(op.inverse() for op in reversed(self.ops))

    def without_entanglement(self) -> Circuit:
        """The separable twin: every gate on two or more qubits is dropped.

        Inputs and weights keep their numbers, also those that no gate reads any more.
        """
        return self._with(op for op in self.ops if len(op.qubits) < 2)

    def to_json(self) -> str:
        """One line of JSON that `Circuit.from_json` reads back as an equal value."""
        ops = []
        for op in self.ops:
            entry: dict[str, object] = {"gate": op.gate, "qubits": op.qubits}
            if op.angles:
                entry["angles"] = [_angles.to_json(angle) for angle in op.angles]
            if op.matrix is not None:
                entry["matrix"] = [
                    [[complex(e).real, complex(e).imag] for e in row] for row in op.matrix
                ]
            ops.append(entry)
        return json.dumps(
            {
                "num_qubits": self.num_qubits,
                "num_inputs": self.num_inputs,
                "num_weights": self.num_weights,
                "ops": ops,
            },
            ensure_ascii=False,
        )

    @staticmethod
    def from_json(text: str) -> Circuit:
        """Read a circuit that `to_json` wrote."""
        try:
            data = json.loads(text)
            ops = tuple(
                Op(
                    entry["gate"],
                    entry["qubits"],
                    [_angles.from_json(angle) for angle in entry.get("angles", [])],
                    [[complex(*e) for e in row] for row in entry["matrix"]]
                    if "matrix" in entry
                    else None,
                )
                for entry in data["ops"]
            )
            return Circuit(data["num_qubits"], ops, data["num_inputs"], data["num_weights"])
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(
                f"Argument `text` must be JSON written by Circuit.to_json, but is not: {error!r}."
            ) from None

    def __str__(self) -> str:
        return _drawing(self)


@functools.lru_cache(maxsize=64)
def _drawing(circuit: Circuit) -> str:
    from qnn_jax.circuits.drawing import draw

    return draw(circuit)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise InputError(f"Argument `{name}` must be one of {choices}, but is {value!r}.")
    return value


def _at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(
            f"Argument `{name}` must be an integer of at least {least}, but is {value!r}."
        )
