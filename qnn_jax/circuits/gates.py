"""The gate table: all of Qiskit's standard gates, one row each.

A row says what the gate is: its name (Qiskit's method name), how many qubits and angles it takes,
its matrix and its inverse. Everything else (whether it is diagonal, real, a permutation) follows
from the matrix and is derived where it is needed.

A matrix is a function of a namespace `m` that has cos, sin and exp (numpy, jax.numpy, cmath), and
of the angles; it returns rows of entries. With arrays as angles the entries are arrays, so many
gates of one kind are evaluated at once. Row and column numbers are Qiskit's: bit k of the number
is the k-th qubit that the gate is applied to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from qnn_jax.circuits.angles import Expression

Matrix: TypeAlias = tuple[tuple[Any, ...], ...]
MatrixFunction: TypeAlias = Callable[..., Matrix]
Inverse: TypeAlias = Callable[..., tuple[str, tuple[Any, ...]]]

_ROOT_HALF = math.sqrt(0.5)
_PAULI: Mapping[str, tuple[int, complex, complex]] = {
    # Does it flip the bit; its factor on |0> and on |1>.
    "I": (0, 1, 1),
    "X": (1, 1, 1),
    "Y": (1, 1j, -1j),
    "Z": (0, 1, -1),
}


@dataclass(frozen=True)
class Gate:
    """One row of the table.

    Attributes:
        name: Qiskit's method name.
        num_qubits: how many qubits it acts on, controls first.
        num_angles: how many angles it takes, in radians, in Qiskit's order.
        matrix: `matrix(m, *angles)`, the rows of a 2**num_qubits square matrix.
        inverse: `inverse(*angles)`, the name and the angles of the inverse gate on the same
            qubits; None where no standard gate is the inverse.
    """

    name: str
    num_qubits: int
    num_angles: int
    matrix: MatrixFunction
    inverse: Inverse | None


def _fixed(*rows: tuple[complex, ...]) -> MatrixFunction:
    real = all(complex(entry).imag == 0 for row in rows for entry in row)
    matrix = tuple(tuple(complex(e).real if real else complex(e) for e in row) for row in rows)
    return lambda m: matrix


def _diagonal(*entries: complex) -> MatrixFunction:
    size = range(len(entries))
    return _fixed(*(tuple(entries[i] if i == j else 0 for j in size) for i in size))


def _permutation(images: tuple[int, ...]) -> MatrixFunction:
    """Column j has its 1 in row images[j]."""
    return _sparse(len(images).bit_length() - 1, {(i, j): 1 for j, i in enumerate(images)})


def _sparse(num_qubits: int, entries: Mapping[tuple[int, int], complex]) -> MatrixFunction:
    """The identity, but for the rows that `entries` names: there, these entries and zeros."""
    rows = [[complex(i == j) for j in range(2**num_qubits)] for i in range(2**num_qubits)]
    for row, _ in entries:
        rows[row] = [0j] * 2**num_qubits
    for (row, column), entry in entries.items():
        rows[row][column] = entry
    return _fixed(*map(tuple, rows))


def _rotation(label: str) -> MatrixFunction:
    """exp(-i θ/2 P) = cos(θ/2) I - i sin(θ/2) P, with P in Qiskit's label order."""
    num_qubits = len(label)
    flips, factors = 0, []
    for qubit, letter in enumerate(reversed(label)):
        flips |= _PAULI[letter][0] << qubit
    for column in range(2**num_qubits):
        factor: complex = -1j
        for qubit, letter in enumerate(reversed(label)):
            factor *= _PAULI[letter][1 + (column >> qubit & 1)]
        factors.append(factor.real if factor.imag == 0 else factor)

    def matrix(m: Any, theta: Any) -> Matrix:
        cos, sin = m.cos(theta / 2), m.sin(theta / 2)
        return tuple(
            tuple(
                (cos if row == column else 0)
                + (factors[column] * sin if row == column ^ flips else 0)
                for column in range(2**num_qubits)
            )
            for row in range(2**num_qubits)
        )

    return matrix


def controlled_matrix(base: MatrixFunction, num_controls: int = 1) -> MatrixFunction:
    """Apply `base` to the last qubits where all of the first `num_controls` qubits are 1."""
    ones = 2**num_controls - 1

    def matrix(m: Any, *angles: Any) -> Matrix:
        inner = base(m, *angles)
        size = range(len(inner) << num_controls)
        return tuple(
            tuple(
                inner[row >> num_controls][column >> num_controls]
                if row & ones == ones and column & ones == ones
                else float(row == column)
                for column in size
            )
            for row in size
        )

    return matrix


def _phase(m: Any, angle: Any) -> Any:
    return m.cos(angle) + 1j * m.sin(angle)


def _p(m: Any, lam: Any) -> Matrix:
    return ((1, 0), (0, _phase(m, lam)))


def _u(m: Any, theta: Any, phi: Any, lam: Any) -> Matrix:
    cos, sin = m.cos(theta / 2), m.sin(theta / 2)
    return (
        (cos, -_phase(m, lam) * sin),
        (_phase(m, phi) * sin, _phase(m, phi + lam) * cos),
    )


def _cu(m: Any, theta: Any, phi: Any, lam: Any, gamma: Any) -> Matrix:
    phase = _phase(m, gamma)
    inner = tuple(tuple(phase * entry for entry in row) for row in _u(m, theta, phi, lam))
    return controlled_matrix(lambda m: inner)(m)


def _r(m: Any, theta: Any, phi: Any) -> Matrix:
    return _u(m, theta, phi - math.pi / 2, math.pi / 2 - phi)


def _xx_yy(one: int, other: int) -> MatrixFunction:
    """A rotation in the plane of two basis states; β turns the sense of the `one` state."""

    def matrix(m: Any, theta: Any, beta: Any) -> Matrix:
        cos, sin = m.cos(theta / 2), -1j * m.sin(theta / 2)
        rows: list[list[Any]] = [[float(i == j) for j in range(4)] for i in range(4)]
        rows[one][one] = rows[other][other] = cos
        rows[one][other] = sin * _phase(m, -beta)
        rows[other][one] = sin * _phase(m, beta)
        return tuple(map(tuple, rows))

    return matrix


def _global_phase(m: Any, phase: Any) -> Matrix:
    return ((_phase(m, phase),),)


def _self(name: str) -> Inverse:
    return lambda: (name, ())


def _negated(name: str) -> Inverse:
    return lambda *angles: (name, tuple(-angle for angle in angles))


def _first_negated(name: str) -> Inverse:
    return lambda first, *rest: (name, (-first, *rest))


def _u_inverse(name: str) -> Inverse:
    def inverse(
        theta: Expression, phi: Expression, lam: Expression, *gamma: Expression
    ) -> tuple[str, tuple[Expression, ...]]:
        return name, (-theta, -lam, -phi, *(-angle for angle in gamma))

    return inverse


_SX = ((0.5 + 0.5j, 0.5 - 0.5j), (0.5 - 0.5j, 0.5 + 0.5j))
_sx = _fixed(*_SX)
_x = _permutation((1, 0))
_y = _fixed((0, -1j), (1j, 0))
_h = _fixed((_ROOT_HALF, _ROOT_HALF), (_ROOT_HALF, -_ROOT_HALF))
_swap = _permutation((0, 2, 1, 3))
_T = complex(_ROOT_HALF, _ROOT_HALF)

_ROWS = (
    # name, qubits, angles, matrix, inverse
    Gate("global_phase", 0, 1, _global_phase, _negated("global_phase")),
    Gate("id", 1, 0, _diagonal(1, 1), _self("id")),
    Gate("x", 1, 0, _x, _self("x")),
    Gate("y", 1, 0, _y, _self("y")),
    Gate("z", 1, 0, _diagonal(1, -1), _self("z")),
    Gate("h", 1, 0, _h, _self("h")),
    Gate("s", 1, 0, _diagonal(1, 1j), _self("sdg")),
    Gate("sdg", 1, 0, _diagonal(1, -1j), _self("s")),
    Gate("t", 1, 0, _diagonal(1, _T), _self("tdg")),
    Gate("tdg", 1, 0, _diagonal(1, _T.conjugate()), _self("t")),
    Gate("sx", 1, 0, _sx, _self("sxdg")),
    Gate("sxdg", 1, 0, _fixed(_SX[1], _SX[0]), _self("sx")),
    Gate("p", 1, 1, _p, _negated("p")),
    Gate("r", 1, 2, _r, _first_negated("r")),
    Gate("rx", 1, 1, _rotation("X"), _negated("rx")),
    Gate("ry", 1, 1, _rotation("Y"), _negated("ry")),
    Gate("rz", 1, 1, _rotation("Z"), _negated("rz")),
    Gate("u", 1, 3, _u, _u_inverse("u")),
    Gate("u1", 1, 1, _p, _negated("u1")),
    Gate(
        "u2",
        1,
        2,
        lambda m, phi, lam: _u(m, math.pi / 2 + 0 * phi, phi, lam),
        lambda phi, lam: ("u2", (-lam - math.pi, -phi + math.pi)),
    ),
    Gate("u3", 1, 3, _u, _u_inverse("u3")),
    Gate("cx", 2, 0, controlled_matrix(_x), _self("cx")),
    Gate("cy", 2, 0, controlled_matrix(_y), _self("cy")),
    Gate("cz", 2, 0, _diagonal(1, 1, 1, -1), _self("cz")),
    Gate("ch", 2, 0, controlled_matrix(_h), _self("ch")),
    Gate("cs", 2, 0, _diagonal(1, 1, 1, 1j), _self("csdg")),
    Gate("csdg", 2, 0, _diagonal(1, 1, 1, -1j), _self("cs")),
    Gate("csx", 2, 0, controlled_matrix(_sx), None),
    Gate("cp", 2, 1, controlled_matrix(_p), _negated("cp")),
    Gate("cu1", 2, 1, controlled_matrix(_p), _negated("cu1")),
    Gate("crx", 2, 1, controlled_matrix(_rotation("X")), _negated("crx")),
    Gate("cry", 2, 1, controlled_matrix(_rotation("Y")), _negated("cry")),
    Gate("crz", 2, 1, controlled_matrix(_rotation("Z")), _negated("crz")),
    Gate("cu", 2, 4, _cu, _u_inverse("cu")),
    Gate("cu3", 2, 3, controlled_matrix(_u), _u_inverse("cu3")),
    Gate("swap", 2, 0, _swap, _self("swap")),
    Gate(
        "iswap",
        2,
        0,
        _fixed((1, 0, 0, 0), (0, 0, 1j, 0), (0, 1j, 0, 0), (0, 0, 0, 1)),
        lambda: ("xx_plus_yy", (math.pi, 0.0)),
    ),
    Gate("dcx", 2, 0, _permutation((0, 2, 3, 1)), None),
    Gate(
        "ecr",
        2,
        0,
        _fixed(
            (0, _ROOT_HALF, 0, _ROOT_HALF * 1j),
            (_ROOT_HALF, 0, -_ROOT_HALF * 1j, 0),
            (0, _ROOT_HALF * 1j, 0, _ROOT_HALF),
            (-_ROOT_HALF * 1j, 0, _ROOT_HALF, 0),
        ),
        _self("ecr"),
    ),
    Gate("rxx", 2, 1, _rotation("XX"), _negated("rxx")),
    Gate("ryy", 2, 1, _rotation("YY"), _negated("ryy")),
    Gate("rzz", 2, 1, _rotation("ZZ"), _negated("rzz")),
    Gate("rzx", 2, 1, _rotation("XZ"), _negated("rzx")),
    Gate("xx_plus_yy", 2, 2, _xx_yy(1, 2), _first_negated("xx_plus_yy")),
    Gate("xx_minus_yy", 2, 2, _xx_yy(0, 3), _first_negated("xx_minus_yy")),
    Gate("ccx", 3, 0, controlled_matrix(_x, 2), _self("ccx")),
    Gate("ccz", 3, 0, _diagonal(1, 1, 1, 1, 1, 1, 1, -1), _self("ccz")),
    Gate("cswap", 3, 0, controlled_matrix(_swap), _self("cswap")),
    Gate("rccx", 3, 0, _sparse(3, {(3, 7): -1j, (7, 3): 1j, (5, 5): -1}), _self("rccx")),
    Gate(
        "rcccx",
        4,
        0,
        _sparse(4, {(3, 3): 1j, (11, 11): -1j, (7, 15): 1, (15, 7): -1}),
        None,
    ),
    Gate("c3sx", 4, 0, controlled_matrix(_sx, 3), None),
)

#: Every standard gate, by name.
GATES: Mapping[str, Gate] = MappingProxyType({row.name: row for row in _ROWS})


def barrier(num_qubits: int) -> Gate:
    """A barrier, which does nothing, as a row on any number of qubits."""
    return Gate("barrier", num_qubits, 0, lambda m: _sparse(num_qubits, {})(m), _self("barrier"))
