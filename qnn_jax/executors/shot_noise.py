"""What shot noise does to decisions, before any shot is taken. Imports no JAX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import erfc, ndtri

from qnn_jax.circuits.arrays import as_numbers, finite_array
from qnn_jax.circuits.checks import real
from qnn_jax.errors import InputError
from qnn_jax.executors.readout import ROUNDING


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
    return 0.5 * np.asarray(erfc(distance / math.sqrt(2)))


def shots_to_settle(outcomes: np.ndarray, scores: np.ndarray, flip: float = 0.01) -> np.ndarray:
    """The shots after which shot noise flips each row's decision with probability `flip` at most.

    Arguments as for `flip_probabilities`, with `flip` above 0 and at most a half; shape (rows,),
    infinite where a decision is a tie.
    """
    flip = real("flip", flip, above=0, most=0.5)
    mean, spread = _moments(outcomes, scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.ceil((ndtri(1 - flip) * spread / np.abs(mean)) ** 2).clip(min=1)
    return np.where(mean == 0, np.inf, found)


def _moments(outcomes: Any, scores: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the scores of each row's outcomes, both checked."""
    outcomes = finite_array("outcomes", outcomes, ("rows", "outcomes"), least=0)
    total = outcomes.sum(axis=1)
    if (np.abs(total - 1) > ROUNDING).any():
        row = int(np.argmax(np.abs(total - 1)))
        raise InputError(
            "Argument `outcomes` must hold probabilities that sum to 1 in each row, but row "
            f"{row} sums to {total[row]:.6g}."
        )
    scores = finite_array("scores", scores, outcomes.shape[1:])
    mean = outcomes @ scores
    return mean, np.sqrt(np.maximum(outcomes @ scores**2 - mean**2, 0))
