"""The pictures of an ablation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, SymmetricalLogLocator

from pipelines.ablate_table import HYBRID, Row, Scores, gains
from pipelines.figures import Picture, save
from qnn_jax.runs import RunDirectory

if TYPE_CHECKING:
    from pipelines.ablate_run import Study

# The hybrid and what is closest to it in strong colours, what is far from it in quiet ones.
_COLORS = ("#5b3fd6", "#c2388f", "#8f7fe0", "#e08a1e", "#3a9e6e", "#2b6cb0", "#8a8a8a")
_TICKS = (0.2, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995,
          0.996, 0.997, 0.998, 0.999)  # fmt: skip
_ROUNDING = 1e-7  # of errors in single precision
_SPREAD = 0.022  # of a decade between two twins' marks at one size


def draw_all(run: RunDirectory, study: Study, scores: Scores, rows: Sequence[Row]) -> list[Picture]:
    """Draw every picture into the run's folder `figures`."""
    drawn = []
    for name, figure, caption in (
        (
            "sizes",
            against_size(study, rows),
            f"{study.metric.title.capitalize()} by number of training {study.examples}: means "
            f"over {study.seeds} seeds with their 95 % intervals.",
        ),
        (
            "differences",
            differences(study, scores, rows),
            "By how much the hybrid is ahead of each twin: every seed (dots), their mean and its "
            "95 % interval. Right of the line the hybrid is better; filled where the difference "
            "passes the test corrected for the number of twins.",
        ),
    ):
        path = run.figures / f"{name}.png"
        save(figure, path)
        drawn.append(Picture(path, caption))
    return drawn


def against_size(study: Study, rows: Sequence[Row]) -> Figure:
    """Scores against the number of training examples, one line a twin."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    middle = (len(study.twins) - 1) / 2
    for number, twin in enumerate(study.twins):
        line = [row for row in rows if row.twin == twin.name]
        sizes = np.array([row.size for row in line]) * 10 ** (_SPREAD * (number - middle))
        means = _drawn(study, np.array([row.mean for row in line]))
        reach = np.abs(_drawn(study, np.array([row.interval for row in line]).T) - means)
        axes.errorbar(
            sizes,
            means,
            reach,
            marker="o",
            markersize=6 if twin.name == HYBRID else 4,
            linewidth=2.0 if twin.name == HYBRID else 1.1,
            elinewidth=1.2,
            capsize=2.5,
            color=_COLORS[number % len(_COLORS)],
            label=twin.name,
            zorder=3 if twin.name == HYBRID else 2,
        )
    _stretch(axes, study, rows)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(study.sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set(xlabel=f"training {study.examples}", ylabel=study.metric.title)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _drawn(study: Study, values: np.ndarray) -> np.ndarray:
    """Errors that are rounding are all drawn at the edge of it."""
    return np.maximum(values, _ROUNDING) if study.metric.sign < 0 else values


def _stretch(axes: Axes, study: Study, rows: Sequence[Row]) -> None:
    """Accuracies near 1, and errors near 0, apart; intervals may leave the picture, means not."""
    means = _drawn(study, np.array([row.mean for row in rows]))
    if study.metric.sign < 0:
        axes.set_yscale("log")
        axes.set_ylim(means.min() / 2, means.max() * 2)
        return
    axes.set_yscale("logit", nonpositive="clip")
    wrong = 1 - np.clip(means, 0.05, 0.9995)
    low, high = 1 - min(1.6 * wrong.max(), 0.99), 1 - 0.6 * wrong.min()
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def differences(study: Study, scores: Scores, rows: Sequence[Row]) -> Figure:
    """The hybrid's lead over each twin, a panel for each training size."""
    twins = study.twins[1:]
    figure = Figure(figsize=(2.9 * len(study.sizes) + 1.2, 0.42 * len(twins) + 1.3),
                    layout="constrained")  # fmt: skip
    panels = figure.subplots(1, len(study.sizes), sharey=True, squeeze=False)[0]
    for size, axes in zip(study.sizes, panels, strict=True):
        axes.axvline(0, color="black", linewidth=0.8)
        for number, twin in enumerate(twins):
            row = next(row for row in rows if (row.size, row.twin) == (size, twin.name))
            _lead(axes, study, scores, row, len(twins) - 1 - number, _COLORS[number + 1])
        _spare_outliers(axes, study, scores, size)
        axes.set_title(f"{size:,} {study.examples}", fontsize=10)
        axes.grid(axis="x", alpha=0.25)
    panels[0].set_ylim(-0.5, len(twins) - 0.4)
    panels[0].set_yticks(range(len(twins)), [twin.name for twin in reversed(twins)])
    figure.supxlabel(f"the hybrid's lead, in {study.metric.unit}", fontsize=10)
    return figure


def _spare_outliers(axes: Axes, study: Study, scores: Scores, size: int) -> None:
    """Nine tenths of every twin's seeds fill a panel; those beyond are counted at its edge."""
    twins = study.twins[1:]
    leads = [gains(scores[size], twin.name, study.metric) for twin in twins]
    reach = 1.15 * max(float(np.quantile(np.abs(lead), 0.9, method="lower")) for lead in leads)
    if not reach:
        return
    if study.metric.sign < 0:  # errors differ by powers of ten
        least = min(abs(float(lead.mean())) for lead in leads)
        decade = 10.0 ** np.ceil(np.log10(max(least, _ROUNDING)))
        axes.set_xscale("symlog", linthresh=decade)
        axes.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=decade))
    axes.set_xlim(-reach, reach)
    for number, lead in enumerate(leads):
        for beyond, place, side in ((lead < -reach, 0.02, "left"), (lead > reach, 0.98, "right")):
            if count := int(beyond.sum()):
                axes.text(
                    place,
                    len(twins) - 1 - number + 0.3,
                    f"◂ {count} beyond" if side == "left" else f"{count} beyond ▸",
                    transform=axes.get_yaxis_transform(),
                    ha=side,
                    fontsize=7,
                    color=_COLORS[number + 1],
                )


def _lead(axes: Axes, study: Study, scores: Scores, row: Row, height: int, color: str) -> None:
    """One twin's line: dots of all seeds, the mean and its interval."""
    leads = gains(scores[row.size], row.twin, study.metric)
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(leads))
    axes.plot(leads, height + jitter, ".", color=color, alpha=0.35, markersize=4, zorder=1)
    axes.errorbar(
        row.gain,
        height,
        xerr=(row.gain_interval[1] - row.gain_interval[0]) / 2,
        fmt="o",
        color=color,
        markerfacecolor=color if row.differs else "white",
        markersize=6,
        capsize=3,
        linewidth=1.6,
        zorder=3,
    )
