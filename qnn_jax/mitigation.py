"""From the counts of a noisy device to better expectation values, and what they are sure of.

Readout errors are measured on basis states and inverted; what noise is left acts on expectation
values roughly as a scale and a shift (QuantumNAT, arXiv:2110.11331), which anchors undo: examples
from the training set whose exact values are known. Only NumPy: counts come from any device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from qnn_jax.circuits.arrays import as_numbers, finite_array
from qnn_jax.circuits.checks import at_least, num_qubits_of, of_type, real, several
from qnn_jax.circuits.observables import ObservableLike, PauliSum, observables_on
from qnn_jax.errors import InputError

__all__ = [
    "Affine",
    "Estimate",
    "Readout",
    "calibration_states",
    "estimate",
    "fit_affine",
    "fit_readout",
    "flip_probabilities",
    "shots_to_settle",
]

#: The most qubits whose counts are read as a table of all outcomes.
_MOST_MEASURED = 30
#: What sums of probabilities may be off by: single precision.
_ROUNDING = 1e-3
#: Readout matrices with a larger condition number tell nothing.
_WORST_CONDITION = 100
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
    counts = _counts(finite_array("counts", counts, (states, 2**num_qubits), least=0))
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


def _counts(counts: np.ndarray) -> np.ndarray:
    if not counts.sum(axis=1).all():
        raise InputError(
            "Argument `counts` must have a count in each row, but row "
            f"{int(np.argmin(counts.sum(axis=1)))} has none."
        )
    return counts


def _num_qubits(name: str, array: np.ndarray) -> int:
    """Of a table with a column for each outcome."""
    outcomes = array.shape[1]
    if outcomes < 2 or outcomes & (outcomes - 1):
        raise InputError(
            f"Argument `{name}` must have shape (rows, 2**num_qubits), but has shape {array.shape}."
        )
    return outcomes.bit_length() - 1


def _checked_readout(readout: Readout, num_qubits: int) -> Readout:
    """Column-stochastic matrices that can be inverted, of all qubits together."""
    of_type("readout", readout, Readout, "a Readout, as fit_readout gives it,")
    blocks = []
    for block in several("readout", readout.blocks, "a Readout with a tuple of matrices"):
        size = len(block) if hasattr(block, "__len__") else 0
        matrix = finite_array("readout", block, (size, size), least=-_ROUNDING)
        if size < 2 or size & (size - 1) or (np.abs(matrix.sum(axis=0) - 1) > _ROUNDING).any():
            raise InputError(
                "Argument `readout` must have square matrices on qubits whose columns sum to 1, "
                f"but one of shape {matrix.shape} has the sums {matrix.sum(axis=0)}."
            )
        blocks.append(matrix)
    if math.prod(map(len, blocks)) != 2**num_qubits:
        raise InputError(
            f"Argument `readout` must be of the {num_qubits} qubits of the counts, but its "
            f"matrices are of {sum(len(block).bit_length() - 1 for block in blocks)}."
        )
    return Readout(_invertible(tuple(blocks)))


def estimate(
    counts: np.ndarray,
    observables: ObservableLike | Sequence[ObservableLike],
    readout: Readout | None = None,
) -> Estimate:
    """Expectation values of Z-type observables, with readout errors inverted where given.

    An observable O is read as the mean over shots of a number c(outcome): O's own eigenvalue, or
    with the readout matrix A the solution of Aᵀc = O, so that errors cancel in the mean. The
    spread of c gives the standard error; that of the calibration itself is not in it.

    Args:
        counts: shape (rows, 2**num_qubits); the index of an outcome has bit q for qubit q.
        observables: as in `qnn_jax.expectations`, of letters I and Z only.
        readout: of the measured qubits in this order.

    Raises:
        InputError: for counts below 0 or a row without counts, and for observables or a readout
            that do not fit them.
    """
    counts = _counts(finite_array("counts", counts, ("rows", "outcomes"), least=0))
    num_qubits = _num_qubits("counts", counts)
    sums = observables_on(num_qubits, observables)
    if readout is not None:
        readout = _checked_readout(readout, num_qubits)
    shots = counts.sum(axis=1, keepdims=True)
    coefficients = np.stack([_read_as(observable, readout) for observable in sums], axis=1)
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
        """What the exact values were, as far as scale and shift tell.

        Raises:
            InputError: where `measured` is of other observables, or a scale is 0.
        """
        scale = finite_array("scale", self.scale, ("observables",))
        shift = finite_array("shift", self.shift, scale.shape)
        measured = _checked_estimate("measured", measured, ("rows", *scale.shape))
        if not scale.all():
            raise InputError(f"Argument `scale` must not be 0, but is {scale}.")
        return Estimate((measured.values - shift) / scale, measured.stderr / np.abs(scale))


def _checked_estimate(name: str, value: Estimate, shape: tuple[int | str, ...]) -> Estimate:
    of_type(name, value, Estimate, "an Estimate, as mitigation.estimate gives it,")
    values = finite_array(f"{name}.values", value.values, shape)
    return Estimate(values, finite_array(f"{name}.stderr", value.stderr, values.shape, least=0))


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
    exact = finite_array("exact", exact, ("anchors", "observables"))
    measured = _checked_estimate("measured", measured, exact.shape)
    spread = exact - exact.mean(axis=0)
    power = (spread**2).sum(axis=0)
    if len(exact) < 3 or (power < 1e-6 * len(exact)).any():
        raise InputError(
            "Argument `exact` must hold at least 3 anchors whose exact values differ, but "
            f"there are {len(exact)} with spreads {np.sqrt(power / max(len(exact), 1))}."
        )
    scale = (spread * measured.values).sum(axis=0) / power
    noise = np.sqrt((spread**2 * measured.stderr**2).sum(axis=0)) / power
    if (np.abs(scale) <= 3 * noise).any():
        raise InputError(
            f"Argument `measured` must follow the exact values, but its slope is {scale} with a "
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
        shots: how many, one number or one a row, above 0.

    Raises:
        InputError: for outcomes that are no probabilities, and for shapes that do not fit.
    """
    mean, spread = _moments(outcomes, scores)
    number = as_numbers("shots", shots)
    each = finite_array("shots", number, mean.shape if number.ndim else (), least=0)
    if not each.all():
        raise InputError(f"Argument `shots` must be above 0, but is {shots}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(mean == 0, 0.0, np.abs(mean) * np.sqrt(each) / spread)
    return 0.5 * np.vectorize(math.erfc)(distance / math.sqrt(2))


def shots_to_settle(outcomes: np.ndarray, scores: np.ndarray, flip: float = 0.01) -> np.ndarray:
    """The shots after which shot noise flips each row's decision with probability `flip` at most.

    Arguments as for `flip_probabilities`, with `flip` above 0 and at most a half; shape (rows,),
    infinite where a decision is a tie.
    """
    from statistics import NormalDist

    flip = real("flip", flip, above=0, most=0.5)
    mean, spread = _moments(outcomes, scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.ceil((NormalDist().inv_cdf(1 - flip) * spread / np.abs(mean)) ** 2).clip(min=1)
    return np.where(mean == 0, np.inf, found)


def _moments(outcomes: Any, scores: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the scores of each row's outcomes, both checked."""
    outcomes = finite_array("outcomes", outcomes, ("rows", "outcomes"), least=0)
    total = outcomes.sum(axis=1)
    if (np.abs(total - 1) > _ROUNDING).any():
        raise InputError(
            "Argument `outcomes` must hold probabilities that sum to 1 in each row, but row "
            f"{int(np.argmax(np.abs(total - 1)))} sums to "
            f"{total[np.argmax(np.abs(total - 1))]:.6g}."
        )
    scores = finite_array("scores", scores, outcomes.shape[1:])
    mean = outcomes @ scores
    return mean, np.sqrt(np.maximum(outcomes @ scores**2 - mean**2, 0))
