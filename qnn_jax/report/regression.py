"""Pictures of regressions: surfaces over two inputs, residuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qnn_jax.report.figures import COLORS, blank
from qnn_jax.training.task import Examples

_OURS = COLORS[0]
_MOST_POINTS, _MOST_PLACES = 4000, 10_000


def surfaces(test: Examples, predictions: Mapping[str, np.ndarray]) -> Figure:
    """Truth, predictions by the model's name, and their errors, at test points of two inputs."""
    points, truth = np.asarray(test.inputs)[:_MOST_PLACES], np.asarray(test.targets)[:_MOST_PLACES]
    columns = 1 + len(predictions)
    figure, grid = blank(1 + 3.3 * columns, 5.8, 2, columns, grid="", sharex=True, sharey=True)
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
    figure, (left, right) = blank(9, 3.6, 1, 2)
    ends = [float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))]
    left.plot(ends, ends, color="0.6", linewidth=0.8)
    left.plot(truth[:_MOST_POINTS], predicted[:_MOST_POINTS], ".", color=_OURS, markersize=3)
    left.set(xlabel="true", ylabel="predicted")
    right.hist(predicted - truth, bins=41, color=_OURS, alpha=0.8)
    right.set(xlabel="predicted − true", ylabel="test examples", yscale="log")
    return figure
