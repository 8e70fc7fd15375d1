"""Observables: Pauli strings and weighted sums of them, as values."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from qnn_jax.errors import InputError

#: What may be written where an observable is wanted: "ZI", {"ZI": 0.5, "XX": 2.0}, a PauliSum.
ObservableLike: TypeAlias = "PauliSum | str | Mapping[str, float]"


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
        terms = (self.terms,) if one else tuple(self.terms)
        if not terms:
            raise InputError("Argument `observable` must have at least one term, but has none.")
        checked: list[tuple[str, float]] = []
        for term in terms:
            if not isinstance(term, tuple | list) or len(term) != 2:
                raise InputError(
                    "Argument `observable` must have pairs of a label and a coefficient as terms, "
                    f"but has {term!r}."
                )
            label, coefficient = term
            if not isinstance(label, str) or not label or set(label) - set("IXYZ"):
                raise InputError(
                    "Argument `observable` must be labels of the letters I, X, Y and Z, "
                    f"but has {label!r}."
                )
            if len(label) != len(terms[0][0]):
                raise InputError(
                    "Argument `observable` must have labels of one length, but has "
                    f"{terms[0][0]!r} and {label!r}."
                )
            if isinstance(coefficient, bool) or not isinstance(coefficient, numbers.Real):
                raise InputError(
                    f"Argument `observable` must have real coefficients, but has {coefficient!r}."
                )
            if not math.isfinite(coefficient):
                raise InputError(
                    f"Argument `observable` must have finite coefficients, but has {coefficient!r}."
                )
            checked.append((label, float(coefficient)))
        object.__setattr__(self, "terms", tuple(checked))

    @property
    def num_qubits(self) -> int:
        """How many qubits it acts on."""
        return len(self.terms[0][0])

    def __str__(self) -> str:
        return " + ".join(f"{c:g}·{label}" if c != 1 else label for label, c in self.terms)


def observable(value: ObservableLike) -> PauliSum:
    """Turn a label or a mapping from labels to coefficients into a `PauliSum`."""
    if isinstance(value, PauliSum):
        return value
    if isinstance(value, str):
        return PauliSum(((value, 1.0),))
    if isinstance(value, Mapping):
        return PauliSum(tuple(value.items()))
    hint = "; of Qiskit's give dict(observable.to_list())" if hasattr(value, "to_list") else ""
    raise InputError(
        "Argument `observables` must hold Pauli labels, mappings from labels to coefficients or "
        f"PauliSums, but holds {' '.join(repr(value).split())}{hint}."
    )


def observables_on(
    num_qubits: int, values: ObservableLike | Iterable[ObservableLike]
) -> tuple[PauliSum, ...]:
    """Check observables against a circuit's number of qubits.

    Raises:
        InputError: where there is none, or one has another number of qubits.
    """
    one_alone = isinstance(values, str | Mapping | PauliSum) or not isinstance(values, Iterable)
    several: Iterable[Any] = (values,) if one_alone else values  # type: ignore[assignment]
    sums = tuple(map(observable, several))
    if not sums:
        raise InputError("Argument `observables` must hold at least one observable, but is empty.")
    for one in sums:
        if one.num_qubits != num_qubits:
            raise InputError(
                f"Argument `observables` must have labels of {num_qubits} letters, one a qubit, "
                f"but {str(one)!r} has {one.num_qubits}."
            )
    return sums


def masks(label: str) -> tuple[int, int, int]:
    """The X mask, the Z mask and the number of Y of a label; bit q belongs to qubit q."""
    flips = sum(1 << q for q, letter in enumerate(reversed(label)) if letter in "XY")
    signs = sum(1 << q for q, letter in enumerate(reversed(label)) if letter in "YZ")
    return flips, signs, label.count("Y")
