"""Observables: Pauli strings and weighted sums of them, as values."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from qnn_jax.circuits.checks import several, shown
from qnn_jax.errors import InputError


@runtime_checkable
class PauliOperator(Protocol):
    """What is read of Qiskit's SparsePauliOp; nothing here imports Qiskit."""

    @property
    def num_qubits(self) -> int | None:
        """How many qubits it acts on."""

    def to_list(self) -> list[tuple[str, complex]]:
        """Pairs of label and coefficient; a label may be there more than once."""


#: What may be written where an observable is wanted: a label ("ZI"), a mapping from labels to
#: coefficients ({"ZI": 0.5, "XX": 2.0}), a PauliSum, or Qiskit's SparsePauliOp. Where a circuit
#: says how many qubits there are, "X1 Z3" is a label too: X on qubit 1, Z on qubit 3, else I.
ObservableLike: TypeAlias = "PauliSum | str | Mapping[str, complex] | PauliOperator"
#: One observable, or several in order.
Observables: TypeAlias = "ObservableLike | Iterable[ObservableLike]"

#: The short form of a label. A longer number than this is no qubit's.
_SHORT = re.compile(r"[XYZ][0-9]{1,9}(?: [XYZ][0-9]{1,9})*")
#: Next to the largest coefficient this is rounding: the imaginary part that products of Paulis
#: leave, and what is left of terms that cancel.
_RESIDUE = 1e-12
#: So many terms stand in a sum's `repr`.
_SHOWN_TERMS = 6


@dataclass(frozen=True)
class PauliSum:
    """Σ coefficient · Pauli string, on as many qubits as the labels have letters.

    Labels are in Qiskit's order: the last letter belongs to qubit 0, so "ZI" is Z on qubit 1.

    Attributes:
        terms: pairs of label and real coefficient.
    """

    terms: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        one = isinstance(self.terms, str) or not isinstance(self.terms, Iterable)
        terms = (self.terms,) if one else several("observable", self.terms, "pairs in an order")
        if not terms:
            raise InputError("Argument `observable` must have at least one term, but has none.")
        checked: list[tuple[str, float]] = []
        for term in terms:
            if not isinstance(term, tuple | list) or len(term) != 2:
                raise InputError(
                    "Argument `observable` must have pairs of a label and a coefficient as terms, "
                    f"but has {shown(term)}."
                )
            label, coefficient = term
            if not isinstance(label, str) or not label or set(label) - set("IXYZ"):
                short = isinstance(label, str) and re.search("[0-9]", label)
                raise InputError(
                    "Argument `observable` must be labels of the letters I, X, Y and Z, "
                    f"but has {shown(label)}"
                    + (
                        "; X on qubit 1 and Z on qubit 3 is 'X1 Z3', where a circuit says how many "
                        "qubits there are."
                        if short
                        else "."
                    )
                )
            if len(label) != len(terms[0][0]):
                raise InputError(
                    "Argument `observable` must have labels of one length, but has "
                    f"{terms[0][0]!r} and {label!r}."
                )
            if isinstance(coefficient, bool) or not isinstance(coefficient, numbers.Real):
                raise InputError(
                    f"Argument `observable` must have real coefficients, but has "
                    f"{shown(coefficient)}."
                )
            try:
                number = float(coefficient)
            except OverflowError:  # an integer of more than 308 digits
                number = math.inf
            if not math.isfinite(number):
                raise InputError(
                    f"Argument `observable` must have finite coefficients, but has {number!r}."
                )
            checked.append((str(label), number))
        object.__setattr__(self, "terms", tuple(checked))

    @property
    def num_qubits(self) -> int:
        """How many qubits it acts on."""
        return len(self.terms[0][0])

    def __repr__(self) -> str:
        terms = [f"{c!r}·{label}" for label, c in self.terms[:_SHOWN_TERMS]]
        if len(self.terms) > _SHOWN_TERMS:
            terms.append(f"… {len(self.terms) - _SHOWN_TERMS} more")
        return f"PauliSum({' + '.join(terms)})"

    def __str__(self) -> str:
        return " + ".join(f"{c:g}·{label}" if c != 1 else label for label, c in self.terms)


def observable(value: ObservableLike, num_qubits: int | None = None) -> PauliSum:
    """Turn a label, a mapping from labels to coefficients or a SparsePauliOp into a `PauliSum`.

    The terms keep their order, and repeated ones stay apart, as `pauli_evolution` needs them.
    Imaginary parts that are rounding next to the largest coefficient are dropped, and so are
    whole terms of a SparsePauliOp.

    Args:
        value: the observable; a PauliSum is returned as it is.
        num_qubits: how many qubits there are, for labels in the short form ("X1 Z3").

    Raises:
        InputError: where it is none, or a coefficient is not real.

    >>> print(observable({"Z0": 0.5, "X1 Z3": 2.0}, 4))
    0.5·IIIZ + 2·ZIXI
    """
    if isinstance(value, PauliSum):
        return value
    if isinstance(value, str):
        return PauliSum(((_label(value, num_qubits), 1.0),))
    if isinstance(value, Mapping):
        terms = _real(value.items())
        return PauliSum(tuple((_label(label, num_qubits), number) for label, number in terms))
    if isinstance(value, PauliOperator):
        total = PauliSum(tuple(_real(_numbers(value))))
        return PauliSum(_without_residues(total.terms, _largest(total)))
    hint = "; SparsePauliOp makes one of Qiskit's operators" if hasattr(value, "num_qubits") else ""
    raise InputError(
        "Argument `observables` must hold Pauli labels, mappings from labels to coefficients, "
        f"PauliSums or SparsePauliOps, but holds {shown(value)}{hint}."
    )


def observables_on(
    num_qubits: int, values: Observables, name: str = "observables"
) -> tuple[PauliSum, ...]:
    """Check observables against a circuit's number of qubits: all that are measured pass here.

    Args:
        num_qubits: how many qubits the circuit has.
        values: one observable, or several in order.
        name: of the argument that they are.

    Returns:
        One PauliSum each, in which every label is there once: repeated terms are added.

    Raises:
        InputError: where there is none, or one does not fit the qubits.

    >>> [str(one) for one in observables_on(3, ["Z0", "X1 Z2", {"IIZ": 0.5}])]
    ['IIZ', 'ZXI', '0.5·IIZ']
    """
    one_alone = isinstance(values, str | Mapping | PauliSum | PauliOperator)
    if isinstance(values, Set):
        raise InputError(
            f"Argument `{name}` must have an order, but is the set {shown(values)}; write a tuple."
        )
    one_alone = one_alone or not isinstance(values, Iterable)
    many: Any = (values,) if one_alone else several(name, values, "observables in order")
    sums = tuple(_added(observable(one, num_qubits)) for one in many)
    if not sums:
        raise InputError(f"Argument `{name}` must hold at least one observable, but is empty.")
    for one in sums:
        if one.num_qubits != num_qubits:
            raise InputError(
                f"Argument `{name}` must have labels of {num_qubits} letters, one a qubit, "
                f"but {str(one)!r} has {one.num_qubits}."
            )
    return sums


def _label(text: str, num_qubits: int | None) -> str:
    """The label that a short form means; whatever is no short form is left to PauliSum's check."""
    if num_qubits is None or not isinstance(text, str) or not _SHORT.fullmatch(text):
        return text
    letters = ["I"] * num_qubits
    for factor in text.split(" "):
        qubit = int(factor[1:])
        if qubit >= num_qubits:
            raise InputError(
                f"Argument `observables` must name qubits below {num_qubits}, the number of "
                f"qubits, but has {text!r}."
            )
        if letters[qubit] != "I":
            raise InputError(
                f"Argument `observables` must name a qubit once in a term, but has {text!r}."
            )
        letters[qubit] = factor[0]
    return "".join(reversed(letters))


def _numbers(operator: PauliOperator) -> Iterable[tuple[str, complex]]:
    """The terms of an operator, whose coefficients may be expressions of parameters."""
    for label, coefficient in operator.to_list():
        try:
            yield label, complex(coefficient)
        except (TypeError, ValueError):
            raise InputError(
                "Argument `observables` must have numbers as coefficients, but that of "
                f"{label!r} is not; assign its parameters first."
            ) from None


def _real(terms: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Terms without imaginary parts that are residues; the others are left to PauliSum's check."""
    terms = list(terms)
    sizes = [_size(number) for _, number in terms if isinstance(number, numbers.Complex)]

    def real(number: Any) -> Any:
        if not isinstance(number, numbers.Complex) or isinstance(number, numbers.Real):
            return number
        return number.real if abs(float(number.imag)) / _RESIDUE <= max(sizes) else number

    return [(label, real(number)) for label, number in terms]


def _size(number: Any) -> Any:
    """As large as the absolute value, which may overflow."""
    return max(abs(number.real), abs(number.imag))


def _without_residues(
    terms: Sequence[tuple[str, float]], largest: float
) -> tuple[tuple[str, float], ...]:
    """Terms that are more than rounding next to `largest`; a zero where none is."""
    kept = tuple((label, number) for label, number in terms if abs(number) > _RESIDUE * largest)
    return kept or ((terms[0][0], 0.0),)


def _largest(total: PauliSum) -> float:
    return max(abs(number) for _, number in total.terms)


def _added(total: PauliSum) -> PauliSum:
    """The sum with every label once."""
    sums: dict[str, float] = {}
    for label, number in total.terms:
        sums[label] = sums.get(label, 0.0) + number
    if len(sums) == len(total.terms):
        return total
    return PauliSum(_without_residues(tuple(sums.items()), _largest(total)))


def masks(label: str) -> tuple[int, int, int]:
    """The X mask, the Z mask and the number of Y of a label; bit q belongs to qubit q."""
    flips = sum(1 << q for q, letter in enumerate(reversed(label)) if letter in "XY")
    signs = sum(1 << q for q, letter in enumerate(reversed(label)) if letter in "YZ")
    return flips, signs, label.count("Y")
