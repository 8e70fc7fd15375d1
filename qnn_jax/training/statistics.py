"""Intervals and paired tests: no number stands alone."""

import functools
import math
from collections.abc import Sequence

import numpy as np

from qnn_jax.circuits.checks import at_least, real

_MOST_COUNTED = 20
_DRAWS, _AT_ONCE = 2**19, 2**14


def wilson_interval(successes: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927), right also near 0 and 1.

    >>> tuple(round(bound, 4) for bound in wilson_interval(1990, 2000))
    (0.9908, 0.9973)
    """
    count = at_least("count", count, 0, 2**53)
    successes = at_least("successes", successes, 0, count)
    z = real("z", z, above=0)
    if count == 0:
        return (0.0, 1.0)
    share = successes / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean of independent values, shape (count,), by their spread.

    Student's, so that it is as wide as it must be for few values: all numbers for one.

    >>> tuple(round(bound, 2) for bound in mean_interval(np.array([2.0, 3.0, 4.0])))
    (0.52, 5.48)
    """
    count = len(values)
    if count < 2:
        return (-math.inf, math.inf)
    mean = float(np.mean(values))
    half = student_quantile(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return (mean - half, mean + half)


@functools.cache
def student_quantile(freedom: int, share: float = 0.95) -> float:
    """What |t| stays below with probability `share`, t of Student's distribution.

    By bisection of the closed form for whole degrees of freedom (Abramowitz and Stegun, 26.7.3
    and 26.7.4), in the angle θ = arctan(t / √freedom).

    >>> round(student_quantile(19), 4)
    2.093
    """
    odd = freedom % 2
    j = np.arange(2 + odd, freedom - 1, 2)

    def below(angle: float) -> float:
        cosine = math.cos(angle)
        series = 1 + float(np.cumprod((j - 1) / j * cosine**2).sum())
        if not odd:
            return math.sin(angle) * series
        return 2 / math.pi * (angle + (math.sin(angle) * cosine * series if freedom > 1 else 0))

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if below(angle) < share else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def sign_flip_test(differences: np.ndarray) -> float:
    """Two-sided p-value of paired differences, shape (count,), without a distribution's help.

    Were both sides alike, each difference could as well have the other sign (Fisher 1935): the
    share of all 2^count choices of signs whose mean is at least as far from zero. All are counted
    up to 20 differences; of more, 2^19 choices are drawn, always the same. NaN proves nothing: 1.

    >>> sign_flip_test(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))  # 2 of 32
    0.0625
    >>> sign_flip_test(np.zeros(3))
    1.0
    """
    size = np.abs(np.asarray(differences, np.float64))
    seen = abs(float(np.sum(differences))) - 1e-9 * float(size.sum())  # ties, however they round
    if len(size) <= _MOST_COUNTED:
        sums = size[:1]  # all signs turned make the same distance: the first one stays
        for value in size[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(~(np.abs(sums) < seen))) if len(sums) else 1.0
    rng = np.random.default_rng(0)
    further = 0
    for _ in range(_DRAWS // _AT_ONCE):
        signs = rng.integers(0, 2, (_AT_ONCE, len(size)), dtype=np.int8) * 2.0 - 1
        further += int(np.sum(~(np.abs(signs @ size) < seen)))
    return (further + 1) / (_DRAWS + 1)


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
