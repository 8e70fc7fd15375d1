"""Pictures of regressions: surfaces over two inputs, residuals, error by shots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qnn_jax.report.figures import COLORS
from qnn_jax.training.task import Examples

_OURS, _BASELINE, _BOUND = COLORS[0], COLORS[1], "#b2182b"
_LEAST = {
    "its_ansatz": "2022, best training found",
    "any_observable": "2022, least possible with any observable",
}
_MOST_POINTS, _MOST_PLACES = 4000, 10_000


def surfaces(test: Examples, predictions: Mapping[str, np.ndarray]) -> Figure:
    """Truth, predictions by the model's name, and their errors, at test points of two inputs."""
    points, truth = np.asarray(test.inputs)[:_MOST_PLACES], np.asarray(test.targets)[:_MOST_PLACES]
    columns = 1 + len(predictions)
    figure = Figure(figsize=(1 + 3.3 * columns, 5.8), layout="constrained")
    grid: Any = figure.subplots(2, columns, sharex=True, sharey=True)
    size = float(np.clip(2.2e5 / len(points), 22, 60))  # no gaps between many, dots where few

    def draw(axes: Axes, title: str, values: np.ndarray, cmap: str, ends: Sequence[float]) -> None:
        style: Any = {"s": size, "c": values, "cmap": cmap, "vmin": ends[0], "vmax": ends[1]}
        drawn = axes.scatter(points[:, 0], points[:, 1], marker="s", linewidths=0, **style)
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="x[0]", ylabel="x[1]")
        axes.tick_params(labelbottom=True, labelleft=True)
        axes.margins(0.01)
        figure.colorbar(drawn, ax=axes)

    scale = float(truth.min()), float(truth.max())
    draw(grid[0, 0], "truth", truth, "viridis", scale)
    grid[1, 0].set_axis_off()
    for column, (name, values) in enumerate(predictions.items(), start=1):
        error = values[:_MOST_PLACES] - truth
        most = float(np.abs(error).max()) or 1.0
        draw(grid[0, column], name, values[:_MOST_PLACES], "viridis", scale)
        title = f"its error, mean |·| = {np.abs(error).mean():.2g}"
        draw(grid[1, column], title, error, "RdBu_r", (-most, most))
    return figure


def residuals(test: Examples, predicted: np.ndarray) -> Figure:
    """Predicted against true values, and the distribution of the errors."""
    truth = np.asarray(test.targets)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends = [float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))]
    left.plot(ends, ends, color="0.6", linewidth=0.8)
    left.plot(truth[:_MOST_POINTS], predicted[:_MOST_POINTS], ".", color=_OURS, markersize=3)
    left.set(xlabel="true", ylabel="predicted")
    right.hist(predicted - truth, bins=41, color=_OURS, alpha=0.8)
    right.set(xlabel="predicted − true", ylabel="test examples", yscale="log")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    return figure


def baseline_2022(summary: Mapping[str, Any]) -> Figure:
    """The distribution of the 2022 model's mean L1 by epoch, with the lowest it could reach."""
    found = summary["baseline_2022"]
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    epochs = np.arange(1, len(found["median_by_epoch"]) + 1)
    axes.fill_between(
        epochs,
        found["low_by_epoch"],
        found["high_by_epoch"],
        color=_BASELINE,
        alpha=0.25,
        linewidth=0,
    )
    label = f"2022, {found['seeds']} seeds: median and 95 %"
    axes.plot(epochs, found["median_by_epoch"], color=_BASELINE, label=label)
    if "reported_by_epoch" in found:
        axes.plot(epochs, found["reported_by_epoch"], "k.--", linewidth=0.8, label="as reported")
    for name, style in (("its_ansatz", "-"), ("any_observable", ":")):
        axes.axhline(summary["bounds"][name], color=_BOUND, linestyle=style, label=_LEAST[name])
    # Draw it over the axis if it is close to 0.
    ours: Any = {"color": _OURS, "clip_on": False, "zorder": 5, "label": "this circuit"}
    axes.axhline(summary["test_mean_l1"], **ours)
    axes.set(xlabel="epoch", ylabel="mean L1", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def shots(summary: Mapping[str, Any]) -> Figure:
    """The error against shots: sampled and expected."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    numbers = [int(name) for name in summary["shots"]]
    rows = list(summary["shots"].values())
    means = np.array([row["mean_l1"] for row in rows])
    spread = np.abs(np.array([row["interval"] for row in rows]).T - means)
    axes.errorbar(numbers, means, yerr=spread, fmt="o", color=_OURS, label="sampled")
    axes.plot(numbers, [row["expected"] for row in rows], color=_OURS, label="binomial prediction")
    axes.axhline(summary["test_mean_l1"], color="black", linestyle="--", label="exact")
    axes.set(xlabel="shots", ylabel="mean L1", xscale="log", yscale="log")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    return figure
