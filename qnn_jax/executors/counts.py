"""From counts to expectation values and their standard errors. Imports no JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.bases import Basis, bases_of
from qnn_jax.circuits.checks import of_type, several
from qnn_jax.circuits.observables import Observables, PauliSum, observables_on
from qnn_jax.errors import InputError
from qnn_jax.executors.readout import Readout, checked_readout, counted


class Estimate(NamedTuple):
    """Expectation values with standard errors, both of shape (rows, observables)."""

    values: np.ndarray
    stderr: np.ndarray


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted in one basis: `count[k]` shots of row `row[k]` gave `outcome[k]`.

    Bit q of an outcome is the circuit's qubit q. Only what was seen is listed, so that its size
    is bounded by the shots, not by 2**num_qubits.

    Attributes:
        row: shape (seen,), like the next two.
        outcome: as integers.
        count: how often.
        num_rows: how many rows there are, with those of which nothing was seen.
    """

    row: np.ndarray
    outcome: np.ndarray
    count: np.ndarray
    num_rows: int

    @classmethod
    def of(cls, rows: Sequence[Mapping[int, int]]) -> Counts:
        """From one mapping a row, outcome to count."""
        return cls(
            np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
            np.array([outcome for row in rows for outcome in row], np.int64),
            np.array([count for row in rows for count in row.values()], np.int64),
            len(rows),
        )

    @classmethod
    def of_table(cls, table: np.ndarray) -> Counts:
        """From a table of shape (rows, 2**num_qubits), a column for each outcome."""
        row, outcome = np.nonzero(table)
        return cls(row, outcome, table[row, outcome], len(table))

    def table(self, num_qubits: int) -> np.ndarray:
        """The same as a table of shape (num_rows, 2**num_qubits)."""
        table = np.zeros((self.num_rows, 2**num_qubits), self.count.dtype)
        np.add.at(table, (self.row, self.outcome), self.count)
        return table

    @property
    def shots(self) -> np.ndarray:
        """How many shots each row has, shape (num_rows,)."""
        return np.bincount(self.row, self.count, self.num_rows)


def estimate(
    counts: np.ndarray | Sequence[Counts],
    observables: Observables,
    readout: Readout | None = None,
) -> Estimate:
    """Expectation values and their standard errors, with readout errors inverted where given.

    The mean over shots of `shot_values`, summed over bases. A standard error comes from the
    shots' own spread (that of a readout calibration is not in it): it is 0 where all of them
    agree, and infinite for a single shot.

    Args:
        counts: of each basis of `bases_of(observables)`; or a table (rows, 2**num_qubits) of what
            was counted without a change of basis, for observables of letters I and Z.
        observables: what was measured; with `Counts` as PauliSums.
        readout: of the measured qubits, in this order.

    Raises:
        InputError: for counts below 0 or a row without counts, where a table comes with other
            letters than I and Z, and where observables or `readout` do not fit the counts.
    """
    if isinstance(counts, list | tuple) and counts and isinstance(counts[0], Counts):
        pauli_sums = several("observables", observables, "a sequence of PauliSums")
        for one in pauli_sums:
            of_type("observables", one, PauliSum, "a sequence of PauliSums")
        sums = observables_on(pauli_sums[0].num_qubits if pauli_sums else 1, pauli_sums)
        for one in counts:
            of_type("counts", one, Counts, "a table of counts or a sequence of Counts")
            counted(one.shots[:, None])
    else:
        table = counted(finite_array("counts", counts, ("rows?", "outcomes"), least=0))
        sums = diagonal(observables_on(_num_qubits(table), observables))
        counts = (Counts.of_table(table),)
    if readout is not None:
        readout = checked_readout(readout, sums[0].num_qubits)
    bases = bases_of(sums)
    if len(counts) != len(bases):
        raise InputError(
            f"Argument `counts` must hold a Counts for each of the {len(bases)} bases of the "
            f"observables, but holds {len(counts)}."
        )
    values = np.zeros((counts[0].num_rows, len(sums)))
    variances = np.zeros_like(values)
    for seen, basis in zip(counts, bases, strict=True):
        each = shot_values(basis, seen.outcome, readout)
        shots = seen.shots[:, None]

        def summed(columns: np.ndarray, seen: Counts = seen) -> np.ndarray:
            return np.stack(
                [np.bincount(seen.row, c * seen.count, seen.num_rows) for c in columns.T], 1
            )

        mean = summed(each) / shots
        squares = summed((each - mean[seen.row]) ** 2)
        values += mean
        with np.errstate(divide="ignore", invalid="ignore"):
            variances += np.where(shots > 1, squares / (shots * (shots - 1.0)), np.inf)
    return Estimate(values, np.sqrt(variances))


def diagonal(sums: tuple[PauliSum, ...]) -> tuple[PauliSum, ...]:
    """Refuse observables of other letters than I and Z."""
    for label in (label for one in sums for label, _ in one.terms):
        if set(label) - set("IZ"):
            raise InputError(
                "Argument `observables` must be of letters I and Z to be read from counts, but "
                f"one has the term {label!r}; rotate it onto Z in the circuit first."
            )
    return sums


def _num_qubits(table: np.ndarray) -> int:
    """Of a table with a column for each outcome."""
    outcomes = table.shape[1]
    if outcomes < 2 or outcomes & (outcomes - 1):
        raise InputError(
            f"Argument `counts` must have shape (rows, 2**num_qubits), but has shape {table.shape}."
        )
    return outcomes.bit_length() - 1


def shot_values(
    basis: Basis, outcomes: Any, readout: Readout | None = None, dtype: Any = float
) -> Any:
    """What a shot with each outcome adds to each observable, shape (outcomes, observables).

    A Pauli string reads as the parity of its qubits' bits, 1 or -1. With the readout matrix A,
    entry (read, prepared), it reads as the solution c of Aᵀc = parity instead, so that readout
    errors cancel in the mean over shots. Outcomes are integers in an array of NumPy or of JAX,
    with `readout` of NumPy; bit q is qubit q.
    """
    xp = outcomes.__array_namespace__()
    coefficients = xp.asarray(np.array(basis.coefficients), dtype=dtype)
    masks = np.array(basis.parities, np.int64)
    if readout is None:
        return _signs(outcomes, masks, dtype) @ coefficients
    strings, start = np.ones((len(outcomes), len(masks)), dtype), 0
    for block in readout.blocks:
        every = np.arange(len(block))
        # A tensor product is solved factor by factor.
        read_as = np.linalg.solve(block.T, _signs(every, masks >> start & every[-1], dtype))
        strings *= read_as[outcomes >> start & every[-1]]
        start += len(block).bit_length() - 1
    return strings @ coefficients


def _signs(outcomes: Any, masks: np.ndarray, dtype: Any) -> Any:
    """-1 where an outcome (row) has an odd number of a mask's (column) bits, else 1."""
    xp = outcomes.__array_namespace__()
    odd = xp.bitwise_count(outcomes[:, None] & xp.asarray(masks.astype(outcomes.dtype))) & 1
    return 1 - 2 * odd.astype(dtype)
