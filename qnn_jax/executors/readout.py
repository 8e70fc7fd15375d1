"""How a device reads basis states, measured on basis states. Imports no JAX."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.checks import at_least, num_qubits_of, of_type, several
from qnn_jax.errors import InputError

#: The most qubits whose counts are read as a table of all outcomes.
_MOST_MEASURED = 30
#: What sums of probabilities may be off by: single precision.
ROUNDING = 1e-3
#: Readout matrices with a larger condition number tell nothing.
_WORST_CONDITION = 100
#: Up to here readout errors of all qubits are measured together, correlations included.
_JOINT_QUBITS = 3


class Readout(NamedTuple):
    """How a device reads basis states.

    Attributes:
        blocks: column-stochastic matrices, entry (read, prepared), shape (2**k, 2**k) each, the
            block of qubit 0 first: one block for all qubits, or one a qubit.
    """

    blocks: tuple[np.ndarray, ...]

    @property
    def num_qubits(self) -> int:
        """How many qubits the blocks are of."""
        return sum(len(block).bit_length() - 1 for block in self.blocks)


def calibration_states(num_qubits: int) -> np.ndarray:
    """The basis states to prepare, shape (states, num_qubits), column q holds qubit q.

    All of them for up to 3 qubits; above, only all zeros and all ones, which tell the errors of
    each qubit but not whether they come together.

    Raises:
        InputError: where `num_qubits` is no number of qubits.
    """
    num_qubits = num_qubits_of(num_qubits)
    if num_qubits <= _JOINT_QUBITS:
        return np.arange(2**num_qubits)[:, None] >> np.arange(num_qubits) & 1
    return np.array([[0] * num_qubits, [1] * num_qubits])


def fit_readout(counts: np.ndarray, num_qubits: int) -> Readout:
    """The readout matrices that counts of `calibration_states` show.

    Args:
        counts: shape (states, 2**num_qubits), the sum of all repetitions of each state; the index
            of an outcome has bit q for qubit q.
        num_qubits: how many were measured.

    Raises:
        InputError: for counts of another shape or below 0, for a state without counts, and where a
            matrix is too near to a coin toss to be inverted.
    """
    num_qubits = at_least("num_qubits", num_qubits, 1, _MOST_MEASURED)
    states = len(calibration_states(num_qubits))
    counts = counted(finite_array("counts", counts, (states, 2**num_qubits), least=0))
    shares = counts / counts.sum(axis=1, keepdims=True)
    if num_qubits <= _JOINT_QUBITS:
        blocks: tuple[np.ndarray, ...] = (shares.T,)
    else:
        bits = np.arange(2**num_qubits)[:, None] >> np.arange(num_qubits) & 1
        ones = shares @ bits  # (2, num_qubits): how often each qubit reads 1
        blocks = tuple(np.array([1 - one, one]) for one in ones.T)
    return Readout(_invertible(blocks))


def _invertible(blocks: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    worst = max(float(np.linalg.cond(block)) for block in blocks)
    if not worst < _WORST_CONDITION:
        raise InputError(
            "The readout calibration must tell the basis states apart, but its matrix has the "
            f"condition number {worst:.3g}: choose other qubits or another backend."
        )
    return blocks


def counted(counts: np.ndarray) -> np.ndarray:
    """Refuse a table with a row in which nothing was counted."""
    total = counts.sum(axis=1)
    if not total.all():
        raise InputError(
            f"Argument `counts` must have a count in each row, but row {int(np.argmin(total))} has "
            "none."
        )
    return counts


def checked_readout(readout: Readout, num_qubits: int) -> Readout:
    """Column-stochastic matrices that can be inverted, of all qubits together, else refused."""
    of_type("readout", readout, Readout, "a Readout, as fit_readout gives it,")
    blocks = []
    for block in several("readout", readout.blocks, "a Readout with a tuple of matrices"):
        size = len(block) if hasattr(block, "__len__") else 0
        matrix = finite_array("readout", block, (size, size), least=-ROUNDING)
        if size < 2 or size & (size - 1) or (np.abs(matrix.sum(axis=0) - 1) > ROUNDING).any():
            raise InputError(
                "Argument `readout` must have square matrices on qubits whose columns sum to 1, "
                f"but one of shape {matrix.shape} has the sums {matrix.sum(axis=0)}."
            )
        blocks.append(matrix)
    checked = Readout(_invertible(tuple(blocks)))
    if checked.num_qubits != num_qubits:
        raise InputError(
            f"Argument `readout` must be of {num_qubits} qubits, as many as the circuit measures, "
            f"but is of {checked.num_qubits}."
        )
    return checked
