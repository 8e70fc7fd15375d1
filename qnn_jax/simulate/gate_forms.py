"""Gates in the form that the planner works with, derived numerically from the gate table.

A gate of several angles is a product of gates of one angle (`_FACTORS`), and a gate of one angle is
a fixed combination of five functions of it (`features`): 1, cos θ/2, sin θ/2, cos θ, sin θ. So
gates of any kind are evaluated together, as one product of features and coefficients. Whether a
gate is diagonal, real, or a permutation is read off its coefficients, never off its name.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from qnn_jax.circuits.angles import Expression, Number, symbols
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.op import Op
from qnn_jax.simulate.gf2 import Affine, Toffoli, affine_of, parity_coefficients, toffoli_of

NUM_FEATURES = 5
_TOLERANCE = 1e-12


def features(m: Any, angle: Any) -> list[Any]:
    """The functions of an angle that the entries of every gate of one angle are made of."""
    return [1 + 0 * angle, m.cos(angle / 2), m.sin(angle / 2), m.cos(angle), m.sin(angle)]


@dataclass(frozen=True)
class GateForm:
    """What a gate of at most one angle does; forms of one key are equal.

    Attributes:
        key: the name of the gate and whatever else tells it from others.
        num_qubits: how many qubits it acts on.
        coefficients: shape (NUM_FEATURES, 2**num_qubits, 2**num_qubits); the gate's matrix is
            their combination with `features(angle)`.
        constant: True where the matrix does not depend on the angle.
        real: True where it is real at every angle.
        phases: where the matrix is diagonal, (mask, slope, offset) for each parity mask: it
            multiplies basis state i by exp(i Σ (slope·angle + offset)·(-1)^popcount(i & mask)).
        affine: where it is a permutation with phases and the permutation is affine over GF(2):
            the map from column to row. `after` is then the diagonal that follows it.
        toffoli: where it is a permutation that flips bits where two parities are 1, like CCX and
            CSWAP: the map from column to row.
    """

    key: tuple[Any, ...]
    num_qubits: int = field(compare=False)
    coefficients: np.ndarray = field(compare=False, repr=False)
    constant: bool = field(compare=False)
    real: bool = field(compare=False)
    phases: tuple[tuple[int, float, float], ...] | None = field(compare=False)
    affine: Affine | None = field(compare=False)
    toffoli: Toffoli | None = field(compare=False)
    after: GateForm | None = field(compare=False, default=None)

    def matrix(self, angle: float = 0.0) -> np.ndarray:
        """The matrix at an angle."""
        return np.asarray(np.tensordot(np.array(features(np, angle)), self.coefficients, 1))


@dataclass(frozen=True)
class Instruction:
    """A form on some qubits, at an angle (None where the form is constant)."""

    form: GateForm
    qubits: tuple[int, ...]
    angle: Expression | None = None

    @property
    def is_dense(self) -> bool:
        """Is it neither diagonal nor a permutation?"""
        return self.form.phases is None and self.form.affine is None

    @property
    def reads_inputs(self) -> bool:
        """Does its angle depend on an input?"""
        return self.angle is not None and any(s.vector == "x" for s in symbols(self.angle))


def _rounded(values: np.ndarray) -> np.ndarray:
    """Take the rounding errors of a fit off: 0, ±1/2, ±1 and √½ come out exact."""
    exact = np.array([0, 0.5, -0.5, 1, -1, math.sqrt(0.5), -math.sqrt(0.5)])

    def snap(part: np.ndarray) -> np.ndarray:
        nearest = exact[np.argmin(abs(part[..., None] - exact), -1)]
        return np.where(abs(part - nearest) < _TOLERANCE, nearest, part)

    return np.asarray(snap(values.real) + 1j * snap(values.imag))


def gate_form(key: tuple[Any, ...], coefficients: np.ndarray) -> GateForm:
    """Derive the structure of a gate from its coefficients."""
    size = coefficients.shape[-1]
    num_qubits = size.bit_length() - 1
    constant = not np.any(abs(coefficients[1:]) > _TOLERANCE)
    real = not np.any(abs(coefficients.imag) > _TOLERANCE)
    support = np.any(abs(coefficients) > _TOLERANCE, axis=0)
    phases, affine, toffoli, after = None, None, None, None
    if not np.any(support & ~np.eye(size, dtype=bool)):
        phases = _phases(coefficients)
    elif constant and np.all(support.sum(0) == 1) and np.all(support.sum(1) == 1):
        images = tuple(int(i) for i in np.argmax(support, axis=0))
        affine = affine_of(images)
        rows = np.sum(coefficients[0], axis=1)
        all_ones = not np.any(abs(rows - 1) > _TOLERANCE)
        if affine is None:
            toffoli = toffoli_of(images) if all_ones else None
        elif not all_ones:
            after = gate_form((*key, "after"), _constant(np.diag(rows)))
    return GateForm(key, num_qubits, coefficients, constant, real, phases, affine, toffoli, after)


def _constant(matrix: np.ndarray) -> np.ndarray:
    coefficients = np.zeros((NUM_FEATURES, *matrix.shape), complex)
    coefficients[0] = matrix
    return coefficients


def _phases(coefficients: np.ndarray) -> tuple[tuple[int, float, float], ...] | None:
    """The phases of a diagonal gate, which are affine in its angle, as parities."""

    def diagonal(angle: float) -> np.ndarray:
        return np.diagonal(np.tensordot(np.array(features(np, angle)), coefficients, 1))

    offset = np.angle(diagonal(0.0))
    # Small enough a step that no phase turns by more than π.
    slope = np.angle(diagonal(0.5) / diagonal(0.0)) / 0.5
    slope = np.where(abs(slope * 4 - np.round(slope * 4)) < 1e-9, np.round(slope * 4) / 4, slope)
    for angle in (0.7, -2.3, 5.1):
        if np.max(abs(np.exp(1j * (slope * angle + offset)) - diagonal(angle))) > 1e-9:
            return None
    slopes, offsets = parity_coefficients(slope), parity_coefficients(offset)
    return tuple(
        (mask, float(a), float(b))
        for mask, (a, b) in enumerate(zip(slopes, offsets, strict=True))
        if abs(a) > _TOLERANCE or abs(b) > _TOLERANCE
    )


def _entries(matrix: Any) -> np.ndarray:
    return np.array([[complex(entry) for entry in row] for row in matrix])


@functools.cache
def _standard(name: str, fixed: tuple[float, ...] = ()) -> GateForm:
    """A gate of the table; `fixed` holds the angles behind the first one."""
    row = GATES[name]
    if row.num_angles == 0:
        return gate_form((name,), _constant(_entries(row.matrix(np))))
    points = np.linspace(-5.9, 6.1, 11)
    samples = np.array([_entries(row.matrix(np, p, *fixed)) for p in points])
    basis = np.array([features(np, p) for p in points])
    flat = samples.reshape(len(points), -1)
    fit = np.linalg.lstsq(basis, flat, rcond=None)[0]
    assert np.max(abs(basis @ fit - flat)) < 1e-9, f"{name} has other entries than `features`"
    size = samples.shape[-1]
    return gate_form((name, *fixed), _rounded(fit).reshape(NUM_FEATURES, size, size))


@functools.lru_cache(maxsize=4096)
def _at(form: GateForm, angle: float) -> GateForm:
    """A form at a fixed angle."""
    return gate_form((*form.key, angle), _constant(form.matrix(angle)))


@functools.lru_cache(maxsize=4096)
def constant_form(matrix: tuple[tuple[complex, ...], ...]) -> GateForm:
    """A matrix as a form."""
    return gate_form(("unitary", matrix), _constant(np.array(matrix, complex)))


_Factors: TypeAlias = Sequence[tuple[str, tuple[int, ...], tuple[Any, ...]]]


def _u(theta: Any, phi: Any, lam: Any) -> _Factors:
    return [("p", (0,), (lam,)), ("ry", (0,), (theta,)), ("p", (0,), (phi,))]


def _cu(theta: Any, phi: Any, lam: Any, gamma: Any = None) -> _Factors:
    inner = [("cp", (0, 1), (lam,)), ("cry", (0, 1), (theta,)), ("cp", (0, 1), (phi,))]
    return inner if gamma is None else [*inner, ("p", (0,), (gamma,))]


def _turned(name: str) -> Callable[..., _Factors]:
    return lambda theta, beta: [
        ("p", (1,), (-beta,)),
        (name, (0, 1), (theta, 0.0)),
        ("p", (1,), (beta,)),
    ]


#: Gates of several angles as gates of one angle, in the order of application.
_FACTORS: Mapping[str, Callable[..., _Factors]] = MappingProxyType(
    {
        "u": _u,
        "u3": _u,
        "u2": lambda phi, lam: _u(math.pi / 2, phi, lam),
        "r": lambda theta, phi: _u(theta, phi - math.pi / 2, math.pi / 2 - phi),
        "cu": _cu,
        "cu3": _cu,
        "xx_plus_yy": _turned("xx_plus_yy"),
        "xx_minus_yy": _turned("xx_minus_yy"),
    }
)


def lower(op: Op) -> list[Instruction]:
    """A gate of a circuit as instructions, in the order of application."""
    if op.matrix is not None:
        form = constant_form(tuple(tuple(complex(e) for e in row) for row in op.matrix))
        return _split_affine(Instruction(form, op.qubits))
    angles = op.angles
    if all(isinstance(angle, Number) for angle in angles) and len(angles) > 1:
        row = op.row.matrix(np, *(a.value for a in angles))  # type: ignore[attr-defined]
        matrix = tuple(tuple(complex(e) for e in line) for line in row)
        return _split_affine(Instruction(constant_form(matrix), op.qubits))
    if op.gate not in _FACTORS:
        return _one_angle(op.gate, op.qubits, angles)
    result = []
    for name, local, factor_angles in _FACTORS[op.gate](*angles):
        result += _one_angle(name, tuple(op.qubits[k] for k in local), factor_angles)
    return result


def _one_angle(name: str, qubits: tuple[int, ...], angles: tuple[Any, ...]) -> list[Instruction]:
    form = _standard(name, tuple(map(float, angles[1:])))
    if not angles:
        return _split_affine(Instruction(form, qubits))
    angle = angles[0]
    if isinstance(angle, int | float):
        angle = Number(float(angle))
    if isinstance(angle, Number):
        return _split_affine(Instruction(_at(form, angle.value), qubits))
    return [Instruction(form, qubits, angle)]


def _split_affine(instruction: Instruction) -> list[Instruction]:
    """Y is X, then a diagonal: take the two apart."""
    form = instruction.form
    if form.after is None:
        return [instruction]
    assert form.affine is not None
    moved = gate_form((*form.key, "moved"), _constant(form.affine.matrix))
    return [Instruction(moved, instruction.qubits), Instruction(form.after, instruction.qubits)]


@functools.lru_cache(maxsize=4096)
def real_frame(form: GateForm) -> tuple[GateForm, GateForm, GateForm] | None:
    """A complex gate as a diagonal, a real gate and a diagonal, in the order of application.

    S on some of its qubits, before and (inverted) after, makes many gates real at every angle:
    RX becomes RY, RXX becomes exp(-iθ/2 YX). A real gate costs half the arithmetic of a complex
    one, and diagonals are cheap. None where no choice of qubits helps.
    """
    nonzero = form.coefficients[abs(form.coefficients) > 1e-6]
    for subset in range(1 << form.num_qubits):
        ones = np.array([(i & subset).bit_count() for i in range(1 << form.num_qubits)])
        turn = 1j**ones
        for phase in {1.0 + 0j, complex(nonzero[0] / abs(nonzero[0]))}:
            inner = form.coefficients * turn[:, None] * turn.conj()[None, :] / phase
            unphased = inner
            if np.any(abs(unphased.imag) > _TOLERANCE):
                # The global phase is that of an entry in the turned frame.
                entry = unphased.flat[np.argmax(abs(unphased))]
                phase = phase * entry / abs(entry)
                unphased = unphased * abs(entry) / entry
            if np.any(abs(unphased.imag) > _TOLERANCE):
                continue
            # inner = D G D† / phase with D = diag(turn), so G = phase · D† inner D.
            key = (*form.key, "real", subset)
            before = gate_form((*key, "before"), _constant(np.diag(turn)))
            after = gate_form((*key, "after"), _constant(np.diag(turn.conj() * phase)))
            return before, gate_form(key, unphased.real + 0j), after
    return None
