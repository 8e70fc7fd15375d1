"""Intervals and paired tests of SciPy's, in the form that results have: no number stands alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: So many choices of signs are counted, or drawn where there are more.
_SIGN_CHOICES = 2**17


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927), right also near 0 and 1.

    >>> tuple(round(bound, 4) for bound in wilson_interval(1990, 2000))
    (0.9908, 0.9973)
    """
    if count == 0:
        return (0.0, 1.0)
    from scipy.stats import binomtest

    interval = binomtest(successes, count).proportion_ci(method="wilson")
    return (float(interval.low), float(interval.high))


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean of independent values, shape (count,), by their spread.

    Student's, so that it is as wide as it must be for few values: all numbers for one.

    >>> tuple(round(bound, 2) for bound in mean_interval(np.array([2.0, 3.0, 4.0])))
    (0.52, 5.48)
    """
    count = len(values)
    if count < 2:
        return (-math.inf, math.inf)
    from scipy.stats import t

    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    mean = float(np.mean(values))
    return (mean - half, mean + half)


def sign_flip_test(differences: np.ndarray) -> float:
    """Two-sided p-value of paired differences, shape (count,), without a distribution's help.

    Were both sides alike, each difference could as well have the other sign (Fisher 1935): the
    share of all 2^count choices of signs whose mean is at least as far from zero. All are counted
    up to 17 differences; of more, 2^17 choices are drawn, always the same. 1 where a difference is
    not a number.

    >>> sign_flip_test(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))  # 2 of 32
    0.0625
    >>> sign_flip_test(np.zeros(3))
    1.0
    """
    values = np.asarray(differences, np.float64)
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
    """Two-sided p-value of Student's test on many paired values, shape (count,); 1 where equal.

    >>> paired_t_test(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0]))
    1.0
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    # What differs by rounding alone has no spread.
    if len(difference) < 2 or np.ptp(difference) <= 1e-12 * np.abs(difference).max():
        return float(not difference.any())
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(difference, 0.0).pvalue)


def mcnemar(ahead: int, behind: int) -> float:
    """Two-sided exact McNemar test: how likely so uneven a split is, were both equally good.

    >>> mcnemar(3, 3), round(mcnemar(10, 0), 5)
    (1.0, 0.00195)
    """
    if not ahead + behind:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(ahead, ahead + behind).pvalue)


def p_value(p: float) -> str:
    """A p-value in words; one too small for floating-point numbers is no 0.

    >>> p_value(0.0123), p_value(0.0)
    ('p = 0.012', 'p < 1e-16')
    """
    return f"p = {p:.2g}" if p >= 1e-16 else "p < 1e-16"


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected for their number (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(1.0, largest)
    return corrected
