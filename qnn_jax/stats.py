"""Intervals and paired tests of SciPy, in the form of the results' intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qnn_jax.circuits.arrays import as_numbers, finite_array
from qnn_jax.circuits.checks import at_least, real
from qnn_jax.errors import InputError

__all__ = [
    "holm",
    "mcnemar",
    "mean_interval",
    "p_value",
    "paired_t_test",
    "sign_flip_test",
    "wilson_interval",
]

#: The largest count whose neighbours floating-point numbers tell apart.
_MOST = 2**53
#: Of more differences the drawn choices would take many seconds, and say what Student's test says.
_MOST_DIFFERENCES = 500
#: So many choices of signs are counted, or drawn where there are more.
_SIGN_CHOICES = 2**17


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927), valid also near 0 and 1.

    Raises:
        InputError: unless 0 ≤ successes ≤ count.

    >>> tuple(round(bound, 4) for bound in wilson_interval(1990, 2000))
    (0.9908, 0.9973)
    """
    count = at_least("count", count, 0, _MOST)
    successes = at_least("successes", successes, 0, count)
    if count == 0:
        return (0.0, 1.0)
    from scipy.stats import binomtest

    interval = binomtest(successes, count).proportion_ci(method="wilson")
    return (float(interval.low), float(interval.high))


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean of independent values, shape (count,), from their spread.

    Student's, so that it is as wide as it must be for few values: all numbers for one, and for
    values of which one is not finite.

    >>> tuple(round(bound, 2) for bound in mean_interval(np.array([2.0, 3.0, 4.0])))
    (0.52, 5.48)
    """
    values = _row("values", values)
    count = len(values)
    if count < 2 or not np.isfinite(values).all():
        return (-math.inf, math.inf)
    from scipy.stats import t

    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    mean = float(np.mean(values))
    return (mean - half, mean + half)


def sign_flip_test(differences: np.ndarray) -> float:
    """Two-sided p-value of paired differences, shape (count,), without assuming a distribution.

    Were both sides alike, each difference could as well have the other sign (Fisher 1935): the
    share of all 2^count choices of signs whose mean is at least as far from zero. All are counted
    up to 17 differences; of more, 2^17 choices are drawn, always the same. 1 where a difference is
    not finite.

    Raises:
        InputError: for more than 500 differences.

    >>> sign_flip_test(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))  # 2 of 32
    0.0625
    >>> sign_flip_test(np.zeros(3))
    1.0
    """
    values = _row("differences", differences)
    if len(values) > _MOST_DIFFERENCES:
        raise InputError(
            f"Argument `differences` must hold at most {_MOST_DIFFERENCES} values, but holds "
            f"{len(values)}; `paired_t_test` is for many."
        )
    if len(values) < 2 or not np.isfinite(values).all():
        return 1.0
    from scipy.stats import permutation_test

    found = permutation_test(
        (values,),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_SIGN_CHOICES,
        batch=2**14,
        rng=np.random.default_rng(0),
    )
    return float(min(1.0, found.pvalue))


def paired_t_test(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p-value of Student's test on many paired values, shape (count,).

    1 where they are equal, where one is not finite, and for a single pair, which has no spread.

    Raises:
        InputError: where the two differ in length.

    >>> paired_t_test(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0]))
    1.0
    """
    before, after = _row("first", first), _row("second", second)
    if len(before) != len(after):
        raise InputError(
            f"Argument `second` must have as many values as `first`, which has {len(before)}, but "
            f"has {len(after)}."
        )
    if len(before) < 2 or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return 1.0
    difference = before - after
    # What differs by rounding alone has no spread.
    if np.ptp(difference) <= 1e-12 * np.abs(difference).max():
        return float(not difference.any())
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(difference, 0.0).pvalue)


def mcnemar(ahead: int, behind: int) -> float:
    """Two-sided exact McNemar test: the probability of a split at least as uneven by chance.

    Args:
        ahead: of the paired examples, how many only the first got right.
        behind: how many only the second got right.

    >>> mcnemar(3, 3), round(mcnemar(10, 0), 5)
    (1.0, 0.00195)
    """
    ahead = at_least("ahead", ahead, 0, _MOST)
    behind = at_least("behind", behind, 0, _MOST)
    if not ahead + behind:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(ahead, ahead + behind).pvalue)


def p_value(p: float) -> str:
    """A p-value as text; one that underflows is not shown as 0.

    >>> p_value(0.0123), p_value(0.0)
    ('p = 0.012', 'p < 1e-16')
    """
    p = real("p", p, 0, 1)
    return f"p = {p:.2g}" if p >= 1e-16 else "p < 1e-16"


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected for their number (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = finite_array("p_values", p_values, ("tests?",), least=0)
    if values.size and values.max() > 1:
        raise InputError(f"Argument `p_values` must be at most 1, but one is {values.max():g}.")
    corrected, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, (len(values) - rank) * float(values[index]))
        corrected[index] = min(1.0, largest)
    return corrected


def _row(name: str, value: np.ndarray) -> np.ndarray:
    """Numbers of shape (count,) as float64; NaN and infinities pass."""
    values = as_numbers(name, value).astype(np.float64, copy=False)
    if values.ndim != 1:
        raise InputError(
            f"Argument `{name}` must have shape (count,), but has shape {values.shape}."
        )
    return values
