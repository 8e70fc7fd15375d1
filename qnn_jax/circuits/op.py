"""A gate on some qubits, as a value."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qnn_jax.circuits import angles as _angles
from qnn_jax.circuits.angles import AngleLike, Expression
from qnn_jax.circuits.checks import qubits_of, shortened, shown
from qnn_jax.circuits.gates import GATES, Gate, Matrix, barrier
from qnn_jax.errors import InputError

#: A `unitary` given as an array may act on this many qubits.
MAX_UNITARY_QUBITS = 6
_UNITARY_TOLERANCE = 1e-8
_UNITARITY = "a circuit is unitary, and where it ends its expectations and samples are read"
#: Instructions of Qiskit's circuits that are no gates, and what to do about them.
_NO_GATES = {
    "delay": "a circuit has no clock: leave it out",
    "measure": f"{_UNITARITY}: leave it out",
    "reset": f"{_UNITARITY}: take a fresh qubit",
}


@dataclass(frozen=True)
class Op:
    """A gate on some qubits: `Op("cx", (0, 1))`, `Op("rx", 0, x[0])`.

    Attributes:
        gate: the name of a row of the gate table, or "unitary", or "barrier": a barrier is on any
            qubits and a circuit leaves it out.
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
        one = isinstance(angles, Expression | float | str | bytes | bytearray)
        one = one or not isinstance(angles, Sequence)
        many: Sequence[Any] = (angles,) if one else angles  # type: ignore[assignment]
        object.__setattr__(self, "gate", gate)
        object.__setattr__(self, "qubits", qubits_of(qubits))
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
        return barrier(len(self.qubits)) if self.gate == "barrier" else GATES[self.gate]

    def _with(self, qubits: tuple[int, ...], angles: tuple[Expression, ...]) -> Op:
        """This gate on other qubits or with other angles, which need no check."""
        op = object.__new__(Op)
        op.__dict__.update(gate=self.gate, qubits=qubits, angles=angles, matrix=self.matrix)
        return op

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

    def __repr__(self) -> str:
        parts = [repr(self.gate), str(self.qubits[0] if len(self.qubits) == 1 else self.qubits)]
        angles = [shortened(str(angle), 60) for angle in self.angles]
        if angles:
            parts.append(angles[0] if len(angles) == 1 else f"({', '.join(angles)})")
        if self.matrix is not None:
            parts.append(f"matrix=<{len(self.matrix)} × {len(self.matrix)}>")
        return f"Op({', '.join(parts)})"

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.angles))
        return f"{self.gate}({inside})" if inside else self.gate


def _unitary(gate: str, matrix: Any, num_qubits: int) -> Matrix | None:
    """Check the name of a gate and, for "unitary", its matrix; the matrix as nested tuples."""
    if not isinstance(gate, str):
        raise InputError(
            f"Argument `gate` must be one of Qiskit's standard gates, but is {shown(gate)}."
        )
    if gate != "unitary":
        if gate not in GATES and gate != "barrier":
            if gate in _NO_GATES:
                raise InputError(
                    f"Argument `gate` must be one of Qiskit's standard gates, but is {gate!r}; "
                    f"{_NO_GATES[gate]}."
                )
            near = difflib.get_close_matches(gate, GATES, n=3)
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
    # Not before: circuits without such a matrix import no NumPy.
    from qnn_jax.circuits.arrays import as_numbers

    given = as_numbers("matrix", matrix, complex_too=True)
    if given.shape != (size, size):
        raise InputError(
            f"Argument `matrix` must have shape ({size}, {size}) for {num_qubits} qubits, "
            f"but has shape {given.shape}."
        )
    entries = given.astype(complex).tolist()
    gaps = [
        abs(sum(a.conjugate() * b for a, b in zip(left, right, strict=True)) - (i == j))
        for i, left in enumerate(entries)
        for j, right in enumerate(entries)
    ]
    # NaN is below nothing, but `max` would pass over it.
    if not all(gap <= _UNITARY_TOLERANCE for gap in gaps):
        worst = max(gaps, key=lambda gap: (gap != gap, gap))
        raise InputError(
            "Argument `matrix` must be unitary, but its rows are orthonormal only "
            f"to {worst:.2g} (at most {_UNITARY_TOLERANCE:g} is allowed: compute it in "
            "double precision)."
        )
    real = all(entry.imag == 0 for row in entries for entry in row)
    return tuple(tuple(entry.real if real else entry for entry in row) for row in entries)
