"""What the cells of an ablation say: means, paired differences, corrected tests, sentences.

A cell is one twin at one training size, with a score for every seed. No JAX here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from qnn_jax.training.statistics import holm, mean_interval, sign_flip_test

HYBRID = "hybrid"
#: What is held to be a difference.
_LEVEL = 0.05


class Metric(NamedTuple):
    """What a score is.

    Attributes:
        name: in JSON.
        title: on pictures and in tables.
        sign: 1 where more is better, -1 where less is.
        bounds: what no score exceeds, and so no interval of one need.
        scale: from a score's unit to that of a difference, `unit`.
        unit: of a difference.
        form: how a score is written.
        lead_form: how a difference is written.
    """

    name: str
    title: str
    sign: int
    bounds: tuple[float, float]
    scale: float
    unit: str
    form: str
    lead_form: str

    def score(self, mean: float, interval: Sequence[float]) -> str:
        """A mean with its interval, as words."""
        low, high = interval
        return f"{mean:{self.form}} ({low:{self.form}} to {high:{self.form}})"

    def lead(self, gain: float, interval: Sequence[float]) -> str:
        """A difference with its interval, as words."""
        mean, low, high = (f"{number + 0.0:+{self.lead_form}}" for number in (gain, *interval))
        return f"{mean} ({low} to {high})"


ACCURACY = Metric("accuracy", "test accuracy", 1, (0.0, 1.0), 100.0, "points", ".4f", ".2f")
MEAN_L1 = Metric("mean_l1", "test mean L1", -1, (0.0, math.inf), 1.0, "mean L1", ".2e", ".2g")


class Twin(NamedTuple):
    """A twin: its name, what stands in it, and what the hybrid's lead over it is the worth of."""

    name: str
    what: str
    worth_of: str = ""


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        size: training examples.
        twin: its name.
        mean: of the scores over seeds.
        interval: its 95 % interval (Student), as far as scores can reach.
        worst: of the scores over seeds.
        gain: by how much the hybrid is better, in the metric's unit, mean over seeds; positive is
            in the hybrid's favour. 0 for the hybrid itself.
        gain_interval: its 95 % interval (Student, paired by seed).
        p: of all sign flips of the paired differences; 1 for the hybrid itself.
        p_corrected: for the number of twins (Holm).
    """

    size: int
    twin: str
    mean: float
    interval: tuple[float, float]
    worst: float
    gain: float
    gain_interval: tuple[float, float]
    p: float
    p_corrected: float

    @property
    def differs(self) -> bool:
        """Whether the difference passes the corrected test."""
        return self.p_corrected < _LEVEL


#: Scores of all seeds by training size and twin's name.
Scores = Mapping[int, Mapping[str, Sequence[float]]]


def gains(scores: Mapping[str, Sequence[float]], twin: str, metric: Metric) -> np.ndarray:
    """By how much the hybrid is better than a twin, seed by seed, in the metric's unit."""
    lead = np.asarray(scores[HYBRID], float) - np.asarray(scores[twin], float)
    return metric.sign * metric.scale * lead


def bounded_interval(values: np.ndarray, metric: Metric) -> tuple[float, float]:
    """The 95 % interval of a mean of scores, within the scores' bounds."""
    low, high = np.clip(mean_interval(values), *metric.bounds)
    return float(low), float(high)


def compare(scores: Scores, metric: Metric) -> list[Row]:
    """The table: sizes in order, the hybrid first; every test is paired by seed."""
    rows = []
    for size, by_twin in sorted(scores.items()):
        twins = [name for name in by_twin if name != HYBRID]
        differences = {name: gains(by_twin, name, metric) for name in (HYBRID, *twins)}
        p_values = [sign_flip_test(differences[name]) for name in twins]
        tests = dict(zip(twins, zip(p_values, holm(p_values), strict=True), strict=True))
        for name in (HYBRID, *twins):
            values, difference = np.asarray(by_twin[name], float), differences[name]
            p, corrected = tests.get(name, (1.0, 1.0))
            rows.append(
                Row(
                    size,
                    name,
                    float(values.mean()),
                    bounded_interval(values, metric),
                    float(metric.sign * (metric.sign * values).min()),
                    float(difference.mean()),
                    mean_interval(difference),
                    p,
                    corrected,
                )
            )
    return rows


def amount(row: Row, metric: Metric) -> str:
    """A difference as words: ``+0.02 ± 0.11 points``."""
    half = (row.gain_interval[1] - row.gain_interval[0]) / 2
    return f"{row.gain + 0.0:+{metric.lead_form}} ± {half:{metric.lead_form}} {metric.unit}"


def headline(
    rows: Sequence[Row], twins: Sequence[Twin], metric: Metric, seeds: int, what: str
) -> str:
    """The answer: what the gates that entangle were worth, trained on the most examples."""
    most = max(row.size for row in rows)
    row = next(row for row in rows if (row.size, row.twin) == (most, "separable"))
    return (
        f"On this task {_named(twins, row).worth_of} {_found(row)}: {amount(row, metric)} over "
        f"{seeds} seeds, trained on {most:,} {what}."
        + (" Too few seeds to tell." if too_few(len(twins) - 1, seeds) else "")
    )


def verdicts(rows: Sequence[Row], twins: Sequence[Twin], metric: Metric, what: str) -> list[str]:
    """A sentence on all twins for every training size, the largest first."""
    sentences = []
    for size in sorted({row.size for row in rows}, reverse=True):
        of_size = [row for row in rows if row.size == size and row.twin != HYBRID]
        said = [
            f"{_named(twins, row).worth_of} {_found(row)} ({amount(row, metric)}, corrected "
            f"p = {row.p_corrected:.2g})"
            for row in of_size
            if row.differs
        ]
        alike = ", ".join(
            f"{_named(twins, row).worth_of} ({amount(row, metric)})"
            for row in of_size
            if not row.differs
        )
        said += [f"no measurable difference: {alike}"] if alike else []
        sentences.append(f"Trained on {size:,} {what}: {'; '.join(said)}.")
    return sentences


def _named(twins: Sequence[Twin], row: Row) -> Twin:
    return next(twin for twin in twins if twin.name == row.twin)


def _found(row: Row) -> str:
    if not row.differs:
        return "made no measurable difference"
    return "helped" if row.gain > 0 else "did harm"


def too_few(twins: int, seeds: int) -> str | None:
    """Say so where even differences of one sign in all seeds could not pass the test."""
    needed = next(n for n in range(2, 1000) if twins * 2.0 ** (1 - n) < _LEVEL)
    if seeds >= needed:
        return None
    return (
        f"{seeds} seeds are too few to tell: even differences of one sign in all of them would not "
        f"pass the test, which takes {needed} seeds."
    )
