"""The picture of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from qnn_jax.report.figures import blank
from qnn_jax.studies.evaluation import EXACT, Row
from qnn_jax.training.task import Metric

_EXACT, _SHOTS, _NOISY = "#222222", "#5b3fd6", "#e08a1e"
_POINTS = 600  # in the right panel; more would overlap


def scores(title: str, rows: Sequence[Row], metric: Metric) -> Figure:
    """The score of each executor with its interval, and its deviation from the exact values."""
    height = 1.9 + 0.36 * len(rows)
    figure, (left, right) = blank(10, height, 1, 2, grid="x", width_ratios=(1.25, 1))
    first = rows[0]
    left.axvspan(*first.interval, color=_EXACT, alpha=0.07, linewidth=0)
    left.axvline(first.value, color=_EXACT, linewidth=0.8, linestyle=":")
    for place, row in enumerate(rows):
        low, high = row.interval
        sides = [[row.value - low], [high - row.value]]
        left.errorbar(
            row.value, place, xerr=sides, fmt="o", color=color(row), capsize=3, markersize=5
        )
    left.set_yticks(range(len(rows)), [label(row) for row in rows])
    left.set(ylim=(len(rows) - 0.5, -0.5))
    left.set_xlabel(f"{metric.title}, 95 % intervals over the examples")

    count = first.values.size
    shown = np.linspace(0, count - 1, min(count, _POINTS)).astype(int)
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(shown))
    for place, row in enumerate(rows[1:], start=1):
        deviation = (row.values - first.values).ravel()
        right.scatter(
            deviation[shown], place + jitter, s=5, color=color(row), alpha=0.3, linewidths=0
        )
        right.errorbar(0, place, xerr=row.rms(first), color="black", capsize=4, lw=1.4)
    right.axvline(0, color=_EXACT, linewidth=0.8, linestyle=":")
    right.set(ylim=(len(rows) - 0.5, -0.5), yticks=[])
    right.locator_params(axis="x", nbins=6)
    right.set_xlabel("each example's <O> minus exact (bar: ± rms)")
    figure.suptitle(title, fontsize=10)
    return figure


def color(row: Row) -> str:
    """Black for exact, violet for shots, orange for noise."""
    if row.name == EXACT:
        return _EXACT
    return _SHOTS if getattr(row.record, "backend", None) is None else _NOISY


def label(row: Row) -> str:
    """Its name; with noise the number of shots too."""
    noisy = getattr(row.record, "backend", None) is not None
    return f"{row.name}, {row.record.shots:,} shots" if noisy else row.name
