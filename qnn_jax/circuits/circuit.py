"""`Circuit` and `Op`: what a circuit is. Values only: hashable, compared by value, no arrays."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qnn_jax.circuits import angles as _angles
from qnn_jax.circuits.angles import Expression, Symbol
from qnn_jax.circuits.checks import (
    MAX_PARAMETERS,
    at_least,
    check_num_gates,
    integer,
    num_qubits_of,
    of_type,
    one_of,
    qubits_of,
    several,
    shown,
)
from qnn_jax.circuits.control import controlled
from qnn_jax.circuits.drawing import draw, html
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError

#: So many gates stand in a circuit's `repr`; its drawing has them all.
_SHOWN_OPS = 3
# Errors of reading other JSON: text can be deep, or be lists where objects are meant.
_NO_CIRCUIT = AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError


@dataclass(frozen=True)
class Circuit:
    """Gates in order on `num_qubits` qubits that start in |0…0>.

    Attributes:
        num_qubits: from 1 to 5,000.
        ops: the gates, at most 500,000; barriers are left out, they change no state.
        num_inputs: the length of the vector x; by default as many as the gates use.
        num_weights: the length of the vector w; by default as many as the gates use. Both are at
            most 1,000,000, and stored, so a circuit keeps them when gates are taken out.

    Raises:
        InputError: where a gate names a qubit, an input or a weight that is not there.
    """

    num_qubits: int
    ops: tuple[Op, ...] = ()
    num_inputs: int = -1
    num_weights: int = -1

    def __post_init__(self) -> None:
        num_qubits = num_qubits_of(self.num_qubits)
        ops = several("ops", self.ops, "a sequence of Ops")
        check_num_gates(len(ops))
        used = {"x": 0, "w": 0}
        for op in ops:
            if not isinstance(op, Op):
                raise InputError(
                    f"Argument `ops` must hold values of type Op, but holds {shown(op)}."
                )
            if any(qubit >= num_qubits for qubit in op.qubits):
                raise InputError(
                    f"Argument `qubits` of gate `{op.gate}` must be below {num_qubits}, the number "
                    f"of qubits, but is {op.qubits}."
                )
            for angle in op.angles:
                for symbol in _angles.symbols(angle):
                    used[symbol.vector] = max(used[symbol.vector], symbol.index + 1)
        object.__setattr__(self, "num_qubits", num_qubits)
        object.__setattr__(self, "ops", tuple(op for op in ops if op.gate != "barrier"))
        for name, vector in (("num_inputs", "x"), ("num_weights", "w")):
            given, least = getattr(self, name), used[vector]
            if least > MAX_PARAMETERS:
                raise InputError(
                    f"Argument `ops` must use {vector}[{MAX_PARAMETERS - 1}] at most, but uses "
                    f"{vector}[{least - 1}]."
                )
            default = type(given) is int and given == -1
            given = at_least(name, least if default else given, 0, MAX_PARAMETERS)
            if given < least:
                raise InputError(
                    f"Argument `{name}` must be an integer of at least {least}, because the gates "
                    f"use {vector}[{least - 1}], but is {given}."
                )
            object.__setattr__(self, name, given)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.num_qubits, self.ops, self.num_inputs, self.num_weights

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self._key)  # computed once: jit asks for it at every call

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Circuit):
            return NotImplemented
        return self._hash == other._hash and self._key == other._key

    def __reduce__(self) -> tuple[type[Circuit], tuple[Any, ...]]:
        # Python salts the hashes of strings, so `_hash` must not travel to another process.
        return Circuit, self._key

    @property
    def num_angles(self) -> int:
        """How many angles all gates have together: the length of the angle table."""
        return sum(len(op.angles) for op in self.ops)

    @property
    def angles(self) -> tuple[Expression, ...]:
        """Every gate's angles, in order."""
        return tuple(angle for op in self.ops for angle in op.angles)

    @property
    def unused_weights(self) -> tuple[int, ...]:
        """The weights that no gate reads: trained, they would stay as they are."""
        read = {s.index for a in self.angles for s in _angles.symbols(a) if s.vector == "w"}
        return tuple(j for j in range(self.num_weights) if j not in read)

    def _with(self, ops: Iterable[Op], **changes: int) -> Circuit:
        """Gates that were checked before; checking them again would cost k² for k additions."""
        circuit = object.__new__(Circuit)
        ops = tuple(ops)
        check_num_gates(len(ops))
        circuit.__dict__.update(
            num_qubits=self.num_qubits,
            ops=ops,
            num_inputs=self.num_inputs,
            num_weights=self.num_weights,
        )
        circuit.__dict__.update(changes)
        for name in ("num_inputs", "num_weights"):
            at_least(name, getattr(circuit, name), 0, MAX_PARAMETERS)
        return circuit

    def _shift(self, vector: str, by: int) -> tuple[Op, ...]:
        def shifted(s: Symbol) -> Symbol:
            return Symbol(vector, s.index + by) if s.vector == vector else s

        return tuple(
            op._with(op.qubits, tuple(_angles.substitute(angle, shifted) for angle in op.angles))
            if op.angles and by
            else op
            for op in self.ops
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
        of_type("other", other, Circuit, "a Circuit")
        if other.num_qubits != self.num_qubits:
            raise InputError(
                f"Argument `other` must have {self.num_qubits} qubits, but has "
                f"{other.num_qubits}; place it with `.on(qubits, num_qubits)` first."
            )
        fresh = one_of("weights", weights, ("fresh", "shared")) == "fresh"
        return self._with(
            self.ops + (other._shift("w", self.num_weights) if fresh else other.ops),
            num_inputs=max(self.num_inputs, other.num_inputs),
            num_weights=self.num_weights + other.num_weights
            if fresh
            else max(self.num_weights, other.num_weights),
        )

    def repeat(self, times: int, weights: Literal["fresh", "shared"] = "fresh") -> Circuit:
        """This circuit `times` times in sequence; inputs are shared."""
        times = at_least("times", times, 0)
        check_num_gates(times * max(1, len(self.ops)))
        if one_of("weights", weights, ("fresh", "shared")) == "shared":
            return self._with(self.ops * times)
        ops = (op for k in range(times) for op in self._shift("w", k * self.num_weights))
        return self._with(ops, num_weights=times * self.num_weights)

    def power(self, exponent: int) -> Circuit:
        """This circuit `exponent` times with the same weights; its inverse where negative."""
        exponent = integer("exponent", exponent)
        once = self if exponent >= 0 else self.inverse()
        return once.repeat(abs(exponent), weights="shared")

    def controlled(self, num_controls: int = 1) -> Circuit:
        """This circuit where the first `num_controls` qubits are 1, nothing elsewhere.

        Qubit q becomes qubit q + num_controls. A global phase becomes relative, as in Qiskit's
        `QuantumCircuit.control`. A gate that the table has no controlled form of is rewritten
        exactly, into about 2**num_controls gates.

        >>> from qnn_jax.circuits import w
        >>> print(Circuit(1, (Op("rx", 0, w[0]), Op("global_phase", (), 0.5))).controlled())
        q0: ────●─────P(0.5)─
        q1: ─RX(w[0])────────

        Raises:
            InputError: where a unitary given as an array would act on too many qubits.
        """
        num_controls = num_qubits_of(num_controls, name="num_controls")
        controls = range(num_controls)
        num_qubits = self.num_qubits + num_controls
        placed = self.on(range(num_controls, num_qubits))
        return self._with(
            (gate for op in placed.ops for gate in controlled(op, controls)), num_qubits=num_qubits
        )

    def on(self, qubits: Sequence[int], num_qubits: int | None = None) -> Circuit:
        """This circuit with its qubit k placed on `qubits[k]` of a circuit of `num_qubits`."""
        places = qubits_of(qubits)
        if len(places) != self.num_qubits or len(set(places)) != len(places):
            raise InputError(
                f"Argument `qubits` must name {self.num_qubits} different qubits, but is "
                f"{shown(places)}."
            )
        size = max(places) + 1
        size = num_qubits_of(size if num_qubits is None else num_qubits, size)
        ops = (op._with(tuple(places[q] for q in op.qubits), op.angles) for op in self.ops)
        return self._with(ops, num_qubits=size)

    def shift_inputs(self, by: int) -> Circuit:
        """Read x[i + by] where this circuit reads x[i]: two circuits then take separate inputs."""
        by = at_least("by", by, 0, MAX_PARAMETERS - self.num_inputs)
        return self._with(self._shift("x", by), num_inputs=self.num_inputs + by)

    def shift_weights(self, by: int) -> Circuit:
        """Read w[j + by] where this circuit reads w[j]."""
        by = at_least("by", by, 0, MAX_PARAMETERS - self.num_weights)
        return self._with(self._shift("w", by), num_weights=self.num_weights + by)

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
        """Read a circuit that `to_json` wrote. Raises InputError for any other text."""
        try:
            data = json.loads(text)
            ops = tuple(
                Op(
                    entry["gate"],
                    entry["qubits"],
                    [_angles.from_json(angle) for angle in entry.get("angles", [])],
                    [[complex(real, imag) for real, imag in row] for row in entry["matrix"]]
                    if "matrix" in entry
                    else None,
                )
                for entry in data["ops"]
            )
            return Circuit(data["num_qubits"], ops, data["num_inputs"], data["num_weights"])
        except InputError:
            raise
        except _NO_CIRCUIT as error:
            raise InputError(
                f"Argument `text` must be JSON written by Circuit.to_json, but is not: {error!r}."
            ) from None

    def __repr__(self) -> str:
        shown = [repr(op) for op in self.ops[:_SHOWN_OPS]]
        if len(self.ops) > _SHOWN_OPS:
            shown.append(f"… {len(self.ops) - _SHOWN_OPS} more")
        return (
            f"Circuit(num_qubits={self.num_qubits}, ops=[{', '.join(shown)}], "
            f"num_inputs={self.num_inputs}, num_weights={self.num_weights})"
        )

    def __str__(self) -> str:
        return _drawing(self)

    def _repr_html_(self) -> str:
        return html(str(self))


def checked_circuit(value: Circuit) -> Circuit:
    """Refuse what is no circuit."""
    return of_type("circuit", value, Circuit, "a Circuit")


@functools.lru_cache(maxsize=64)
def _drawing(circuit: Circuit) -> str:
    return draw(circuit.num_qubits, circuit.ops)
