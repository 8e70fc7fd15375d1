"""From counts to expectation values and their standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qnn_jax.circuits.bases import Basis


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted in one basis: `count[k]` shots of row `row[k]` gave `outcome[k]`.

    Bit q of an outcome is the circuit's qubit q. Only what was seen is listed, so that its size
    is bounded by the shots, not by 2**num_qubits.
    """

    row: np.ndarray
    outcome: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Mapping[int, int]]) -> Counts:
        """From one mapping a row, outcome to count."""
        lengths = [len(row) for row in rows]
        return cls(
            np.repeat(np.arange(len(rows)), lengths),
            np.array([outcome for row in rows for outcome in row], np.int64),
            np.array([count for row in rows for count in row.values()], np.int64),
        )

    def shots(self, num_rows: int) -> np.ndarray:
        """How many shots each row has, shape (num_rows,)."""
        return np.bincount(self.row, self.count, num_rows).astype(np.int64)


def estimate(
    counts: Sequence[Counts], bases: Sequence[Basis], num_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Expectation values and their standard errors, both of shape (num_rows, observables).

    A standard error comes from the shots' own spread: it is 0 where all of them agree, and
    infinite for a single shot.

    Args:
        counts: of each basis.
        bases: what was measured, as `bases_of(observables)` gave it.
        num_rows: how many inputs there were.
    """
    values = np.zeros((num_rows, len(bases[0].coefficients[0])))
    variances = np.zeros_like(values)
    for seen, basis in zip(counts, bases, strict=True):
        odd = np.bitwise_count(seen.outcome[:, None] & np.array(basis.parities, np.int64)) & 1
        each = (1.0 - 2.0 * odd) @ np.array(basis.coefficients)
        shots = seen.shots(num_rows)[:, None]

        def summed(columns: np.ndarray, seen: Counts = seen) -> np.ndarray:
            return np.stack([np.bincount(seen.row, c * seen.count, num_rows) for c in columns.T], 1)

        mean = summed(each) / shots
        squares = summed((each - mean[seen.row]) ** 2)
        values += mean
        with np.errstate(divide="ignore", invalid="ignore"):
            variances += np.where(shots > 1, squares / (shots * (shots - 1.0)), np.inf)
    return values, np.sqrt(variances)
