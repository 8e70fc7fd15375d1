"""Intervals: no number stands alone."""

import math

import numpy as np


def wilson_interval(successes: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927), right also near 0 and 1.

    >>> tuple(round(bound, 4) for bound in wilson_interval(1990, 2000))
    (0.9908, 0.9973)
    """
    if count == 0:
        return (0.0, 1.0)
    share = successes / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def mean_interval(values: np.ndarray, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a mean of many independent values, shape (count,), by their spread.

    >>> tuple(round(bound, 3) for bound in mean_interval(np.array([0.0, 1.0] * 50)))
    (0.402, 0.598)
    """
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return (mean - z * error, mean + z * error)
