"""Which bases to measure in, so that shots give the expectation values of observables.

Pauli strings that agree on every qubit that both act on are read off the same shots, so their
estimates are correlated as they are on a device; each further basis takes shots of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import PauliSum, masks
from qnn_jax.circuits.op import Op


@dataclass(frozen=True)
class Basis:
    """One way of measuring all qubits, and the Pauli strings that are read off it."""

    label: str  # a letter a qubit in Qiskit's order; where it is I, the outcome does not matter
    #: For each string the mask of its qubits: it is the parity of those bits.
    parities: tuple[int, ...]
    coefficients: tuple[tuple[float, ...], ...]  # of each string (row) in each observable (column)


def bases_of(observables: Sequence[PauliSum]) -> tuple[Basis, ...]:
    """The fewest bases that a greedy search finds for all observables together.

    >>> from qnn_jax.circuits.observables import observable
    >>> [b.label for b in bases_of([observable({"ZZ": 1, "IX": 2}), observable("XI")])]
    ['ZZ', 'XX']
    """
    coefficients: dict[str, list[float]] = {}
    for column, one in enumerate(observables):
        for label, coefficient in one.terms:
            coefficients.setdefault(label, [0.0] * len(observables))[column] += coefficient
    merged: list[tuple[str, list[str]]] = []
    for string in coefficients:
        for number, (label, strings) in enumerate(merged):
            if all(a == b or "I" in (a, b) for a, b in zip(label, string, strict=True)):
                both = "".join(max(pair) for pair in zip(label, string, strict=True))
                merged[number] = (both, [*strings, string])
                break
        else:
            merged.append((string, [string]))
    return tuple(
        Basis(
            label,
            tuple(flips | signs for flips, signs, _ in map(masks, strings)),
            tuple(tuple(coefficients[string]) for string in strings),
        )
        for label, strings in merged
    )


def measured_in(circuit: Circuit, basis: Basis) -> Circuit:
    """The circuit, then gates that take the basis to that of Z; its angles come first.

    >>> print(measured_in(Circuit(2), bases_of([PauliSum((("XY", 1.0),))])[0]))
    q0: ─SDG─H─
    q1: ──H────
    """
    turns: list[Op] = []
    for qubit, letter in enumerate(reversed(basis.label)):
        turns += [Op("sdg", qubit)] * (letter == "Y") + [Op("h", qubit)] * (letter in "XY")
    return circuit + Circuit(circuit.num_qubits, tuple(turns)) if turns else circuit
