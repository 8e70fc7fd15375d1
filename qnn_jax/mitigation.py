"""From the counts of a noisy device to better expectation values, and what they are sure of.

Readout errors are measured on basis states and inverted; what noise is left acts on expectation
values roughly as a scale and a shift (QuantumNAT, arXiv:2110.11331), which anchors undo: examples
from the training set whose exact values are known. Only NumPy: counts come from any device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qnn_jax.circuits.observables import PauliSum
from qnn_jax.errors import InputError

#: Up to here readout errors of all qubits are measured together, correlations included.
_JOINT_QUBITS = 3


class Estimate(NamedTuple):
    """Expectation values with standard errors, both of shape (rows, observables)."""

    values: np.ndarray
    stderr: np.ndarray


class Readout(NamedTuple):
    """How a device reads basis states.

    Attributes:
        blocks: column-stochastic matrices, entry (read, prepared), shape (2**k, 2**k) each, the
            block of qubit 0 first: one block for all qubits, or one a qubit.
    """

    blocks: tuple[np.ndarray, ...]


def calibration_states(num_qubits: int) -> np.ndarray:
    """The basis states to prepare, shape (states, num_qubits), column q holds qubit q.

    All of them for up to 3 qubits; above, only all zeros and all ones, which tell the errors of
    each qubit but not whether they come together.
    """
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
        InputError: where a matrix is too near to a coin toss to be inverted.
    """
    shares = counts / counts.sum(axis=1, keepdims=True)
    if num_qubits <= _JOINT_QUBITS:
        blocks: tuple[np.ndarray, ...] = (shares.T,)
    else:
        bits = np.arange(2**num_qubits)[:, None] >> np.arange(num_qubits) & 1
        ones = shares @ bits  # (2, num_qubits): how often each qubit reads 1
        blocks = tuple(np.array([1 - one, one]) for one in ones.T)
    worst = max(float(np.linalg.cond(block)) for block in blocks)
    if not worst < 100:
        raise InputError(
            "The readout calibration must tell the basis states apart, but its matrix has the "
            f"condition number {worst:.3g}: choose other qubits or another backend."
        )
    return Readout(blocks)


def estimate(
    counts: np.ndarray, observables: Sequence[PauliSum], readout: Readout | None = None
) -> Estimate:
    """Expectation values of Z-type observables, with readout errors inverted where given.

    An observable O is read as the mean over shots of a number c(outcome): O's own eigenvalue, or
    with the readout matrix A the solution of Aᵀc = O, so that errors cancel in the mean. The
    spread of c gives the standard error; that of the calibration itself is not in it.

    Args:
        counts: shape (rows, 2**num_qubits); the index of an outcome has bit q for qubit q.
        observables: of letters I and Z only.
        readout: of the measured qubits in this order.
    """
    shots = counts.sum(axis=1, keepdims=True)
    coefficients = np.stack([_read_as(observable, readout) for observable in observables], axis=1)
    values = counts @ coefficients / shots
    squares = counts @ coefficients**2 / shots
    # One shot more in the denominator would be unbiased; it matters only below a dozen shots.
    return Estimate(values, np.sqrt(np.maximum(squares - values**2, 0) / shots))


def _read_as(observable: PauliSum, readout: Readout | None) -> np.ndarray:
    total = np.zeros(2**observable.num_qubits)
    for label, weight in observable.terms:
        letters = label[::-1]  # qubit 0 first, as the blocks
        if set(letters) - set("IZ"):
            raise InputError(
                "Argument `observables` must be of letters I and Z to be read from counts, but "
                f"one has the term {label!r}; rotate it onto Z in the circuit first."
            )
        blocks = readout.blocks if readout else tuple(np.eye(2) for _ in letters)
        start, factors = 0, []
        for block in blocks:
            width = int(math.log2(len(block)))
            diagonal = _signs(letters[start : start + width])
            factors.append(np.linalg.solve(block.T, diagonal) if readout else diagonal)
            start += width
        # Qubit 0 is the lowest bit, so its factor is the last of the Kronecker product.
        total += weight * functools.reduce(np.kron, factors[::-1])
    return total


def _signs(letters: str) -> np.ndarray:
    """The diagonal of a string of I and Z whose first letter is the lowest bit."""
    single = {"I": np.ones(2), "Z": np.array([1.0, -1.0])}
    return functools.reduce(np.kron, [single[letter] for letter in reversed(letters)])


class Affine(NamedTuple):
    """measured ≈ scale · exact + shift, for each observable, shapes (observables,)."""

    scale: np.ndarray
    shift: np.ndarray

    def undo(self, measured: Estimate) -> Estimate:
        """What the exact values were, as far as scale and shift tell."""
        return Estimate(
            (measured.values - self.shift) / self.scale, measured.stderr / np.abs(self.scale)
        )


def fit_affine(measured: Estimate, exact: np.ndarray) -> Affine:
    """Scale and shift from anchors.

    The measured values are fitted as a function of the exact ones, since only they are noisy: the
    other way round their noise would flatten the line.

    Args:
        measured: of the anchors, shape (anchors, observables).
        exact: their exact values, of the same shape.

    Raises:
        InputError: where the exact values of an observable are too alike to fit a line, or where
            the device shows nothing of them.
    """
    spread = exact - exact.mean(axis=0)
    power = (spread**2).sum(axis=0)
    if len(exact) < 3 or (power < 1e-6 * len(exact)).any():
        raise InputError(
            "Argument `anchors` must hold at least 3 examples whose exact values differ, but "
            f"there are {len(exact)} with spreads {np.sqrt(power / max(len(exact), 1))}."
        )
    scale = (spread * measured.values).sum(axis=0) / power
    noise = np.sqrt((spread**2 * measured.stderr**2).sum(axis=0)) / power
    if (np.abs(scale) <= 3 * noise).any():
        raise InputError(
            f"The device's values must follow the exact ones, but their slope is {scale} with a "
            f"standard error of {noise}: use more shots or another backend."
        )
    return Affine(scale, measured.values.mean(axis=0) - scale * exact.mean(axis=0))


def flip_probabilities(
    outcomes: np.ndarray, scores: np.ndarray, shots: int | np.ndarray
) -> np.ndarray:
    """How likely shot noise alone flips the sign of each row's decision.

    A decision is the sign of the mean over shots of a score, normal for tens of shots and more.

    Args:
        outcomes: exact probabilities of all outcomes, shape (rows, 2**num_qubits).
        scores: what a shot with each outcome adds to the decision, shape (2**num_qubits,).
        shots: how many, one number or one a row.
    """
    mean, spread = _moments(outcomes, scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(mean == 0, 0.0, np.abs(mean) * np.sqrt(shots) / spread)
    return 0.5 * np.vectorize(math.erfc)(distance / math.sqrt(2))


def shots_to_settle(outcomes: np.ndarray, scores: np.ndarray, flip: float = 0.01) -> np.ndarray:
    """The shots after which shot noise flips each row's decision with probability `flip` at most.

    Arguments as for `flip_probabilities`; shape (rows,), infinite where a decision is a tie.
    """
    from statistics import NormalDist

    mean, spread = _moments(outcomes, scores)
    with np.errstate(divide="ignore"):
        return np.ceil((NormalDist().inv_cdf(1 - flip) * spread / np.abs(mean)) ** 2).clip(min=1)


def _moments(outcomes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = outcomes @ scores
    return mean, np.sqrt(np.maximum(outcomes @ scores**2 - mean**2, 0))
