"""Pictures for any task, drawn without a display."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qnn_jax.circuits import Circuit, Op
from qnn_jax.circuits.drawing import columns, symbol
from qnn_jax.runs import write_bytes_atomic
from qnn_jax.tasks.trained import Trained
from qnn_jax.training.task import Examples, Metric

#: The colours of the hybrid and of its twins, in order.
COLORS = ("#5b3fd6", "#e08a1e", "#2a9d8f", "#8c564b")
_CLASSES = ("#2166ac", "#b2182b", *(f"C{k}" for k in range(10)))
_MOST_MISTAKES = 24
_MOST_CIRCLES = 200
#: With more than two inputs the plane is a slice; this many test images, the nearest, are drawn.
_NEAR_SLICE = 500
#: Maximum width of a circuit picture in inches; longer circuits are wrapped.
_PAGE = 15.0
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_GRID = 101  # points along each side of the plane


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG, atomically."""
    png = BytesIO()
    figure.savefig(png, format="png", dpi=110, bbox_inches="tight")
    write_bytes_atomic(path, png.getvalue())


def blank(
    width: float, height: float, *shape: int, grid: str = "both", **options: Any
) -> tuple[Figure, Any]:
    """A figure of so many inches, and its axes as `Figure.subplots` gives them, with a pale grid.

    `shape` are rows and columns; `grid` is "x", "y", "both", or "" for none.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Any = figure.subplots(*shape, **options)
    for one in np.ravel(axes) if grid else ():
        one.grid(axis=grid, alpha=0.25)
    return figure, axes


def label(name: str) -> str:
    """A member's or a reference's name as text."""
    return name.replace("_", " ").replace("mlp", "MLP")


def curves(rows: Sequence[Mapping[str, Any]], names: Sequence[str], metric: Metric) -> Figure:
    """Loss and validation metric by epoch, of the hybrid and its twins."""
    figure, (left, right) = blank(9, 3.4, 1, 2)
    epochs = [row["epoch"] for row in rows]
    for name, color in zip(names, COLORS, strict=False):

        def series(key: str, name: str = name) -> list[float]:
            found = [row[name].get(key) for row in rows]
            return [np.nan if value is None else value for value in found]

        title = label(name)
        left.plot(epochs, series("loss"), color=color, label=f"{title}, training")
        if any(np.isfinite(series("validation_loss"))):
            left.plot(
                epochs, series("validation_loss"), "--", color=color, label=f"{title}, validation"
            )
        right.plot(epochs, series(f"validation_{metric.name}"), color=color, label=title)
        if any(np.isfinite(series(f"validation_{metric.name}_median"))):
            medians = series(f"validation_{metric.name}_median")
            right.plot(epochs, medians, ":", color=color, label=f"{title}, median restart")
    left.set(xlabel="epoch", ylabel="loss", yscale="log" if rows else "linear")
    right.set(xlabel="epoch", ylabel=f"validation {metric.quantity}")
    if metric.axis == "log" and rows:
        right.set_yscale("log")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if rows:
            axes.legend(frameon=False, fontsize=8)
    return figure


def plane(
    trained: Trained, test: Examples, predicted: np.ndarray, class_names: Sequence[str]
) -> Figure:
    """The learned function over the circuit's first two inputs, with the test images' features.

    The plane covers the images that are drawn.
    """
    features = trained.encode(test.inputs)
    middle = np.median(features, axis=0)
    away = np.linalg.norm(features[:, 2:] - middle[2:], axis=1)
    near = np.arange(len(features))
    if features.shape[1] > 2:
        near = np.sort(np.argsort(away, kind="stable")[:_NEAR_SLICE])
    low, high = np.quantile(features[near, :2], [0.002, 0.998], axis=0)
    margin = np.maximum(0.08 * (high - low), 1e-3)
    low, high = low - margin, high + margin
    first, second = (np.linspace(low[k], high[k], _GRID, dtype=np.float32) for k in (0, 1))
    points = np.tile(middle.astype(np.float32), (_GRID * _GRID, 1))
    points[:, :2] = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    logits = trained.decide(trained.run(points).values)

    figure, axes = blank(5.6, 4.6, grid="")
    extent = (first[0], first[-1], second[0], second[-1])
    if logits.shape[1] == 1:
        share = np.exp(-np.logaddexp(0, -logits.reshape(_GRID, _GRID)))
        image = axes.imshow(
            share, origin="lower", extent=extent, cmap="RdBu_r", vmin=0, vmax=1, aspect="auto"
        )
        axes.contour(first, second, share, levels=[0.5], colors="black", linewidths=0.8)
        figure.colorbar(image, label=f"probability of {class_names[1]}")
    else:
        regions = logits.argmax(axis=1).reshape(_GRID, _GRID)
        axes.imshow(
            regions,
            origin="lower",
            extent=extent,
            cmap="tab10",
            vmin=0,
            vmax=9,
            alpha=0.35,
            aspect="auto",
            interpolation="nearest",
        )
    labels = np.asarray(test.targets)[near]
    shown, wrong = features[near], predicted[near] != labels
    for label, name in enumerate(class_names):
        chosen = shown[labels == label]
        color = _CLASSES[label] if len(class_names) == 2 else f"C{label}"
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=9 if len(class_names) == 2 else 14,
            color=color,
            edgecolors="white",
            linewidths=0.4,
            label=f"{name} ({len(chosen)})",
        )
    # Circles around many points would hide the picture.
    many = wrong.sum() > _MOST_CIRCLES
    axes.plot(
        shown[wrong, 0],
        shown[wrong, 1],
        "x" if many else "o",
        color="black",
        markerfacecolor="none",
        markersize=3 if many else 6,
        markeredgewidth=0.5 if many else 1.1,
        label=f"wrong ({wrong.sum():,})",
    )
    axes.set(xlim=extent[:2], ylim=extent[2:], xlabel="x[0] (radians)", ylabel="x[1] (radians)")
    if features.shape[1] > 2:
        axes.set_title(
            f"a slice: the other inputs at their medians; the {len(near):,} test images nearest "
            f"to it, of {len(features):,}",
            fontsize=8,
        )
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def confusion(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Counts by true class (rows) and predicted class (columns)."""
    count = len(class_names)
    table = np.zeros((count, count), int)
    np.add.at(table, (labels, predicted), 1)
    figure, axes = blank(2.2 + 0.75 * count, 1.8 + 0.6 * count, grid="")
    axes.imshow(table / table.sum(axis=1, keepdims=True), cmap="Purples", vmin=0, vmax=1.2)
    for row in range(count):
        for column in range(count):
            ink = "white" if 2 * table[row, column] > table[row].sum() else "black"
            axes.text(column, row, f"{table[row, column]:,}", color=ink, ha="center", va="center")
    axes.set_xticks(range(count), class_names, rotation=90 if count > 3 else 0)
    axes.set_yticks(range(count), class_names)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def mistakes(
    images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]
) -> Figure:
    """The misclassified images, with their true and predicted classes."""
    wrong = np.flatnonzero(labels != predicted)
    shown = wrong[:_MOST_MISTAKES]
    rows = max(1, -(-len(shown) // 6))
    figure, grid = blank(9, 0.4 + 1.9 * rows, rows, 6, grid="", squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, shown, strict=False):
        axes.imshow(images[index], cmap="gray_r")
        axes.set_title(
            f"{class_names[labels[index]]}\ntaken for {class_names[predicted[index]]}", fontsize=7.5
        )
    more = "" if len(shown) == len(wrong) else f", of which {len(shown)} are shown"
    figure.suptitle(f"{len(wrong):,} of {len(labels):,} test images were wrong{more}", fontsize=9)
    return figure


def circuit_picture(circuit: Circuit) -> Figure:
    """The circuit, qubit 0 on top, wrapped into rows that fit a page."""
    placed = columns(circuit.num_qubits, circuit.ops)
    widths = [
        max(
            0.36,
            *(
                0.22 + 0.068 * len(line)
                for op in column
                for k in range(len(op.qubits))
                for line in _box_text(op, k).splitlines()
                if line not in ("●", "⊕", "✕")
            ),
        )
        if any(op.gate not in ("cx", "cz", "swap", "ccx", "ccz", "cswap") for op in column)
        else 0.36
        for column in placed
    ]
    rows: list[list[int]] = [[]]
    for number, width in enumerate(widths):
        if rows[-1] and sum(widths[k] for k in rows[-1]) + width > _PAGE:
            rows.append([])
        rows[-1].append(number)
    height = 0.62 * circuit.num_qubits + 0.35
    page = max(sum(widths[k] for k in row) for row in rows)
    figure = Figure(figsize=(page + 1, height * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.6, page + 0.4), ylim=(height * len(rows), 0))
    axes.set_axis_off()
    for number, row in enumerate(rows):
        top = number * height + 0.4
        end = sum(widths[k] for k in row)
        for qubit in range(circuit.num_qubits):
            y = top + 0.62 * qubit
            axes.plot([0, end], [y, y], color="0.6", linewidth=0.8, zorder=0)
            axes.text(-0.1, y, f"q{qubit}", ha="right", va="center", fontsize=9)
        left = 0.0
        for k in row:
            _draw_column(axes, placed[k], left + widths[k] / 2, top)
            left += widths[k]
    return figure


def _draw_column(axes: Axes, ops: Sequence[Any], x: float, top: float) -> None:
    for op in ops:
        heights = [top + 0.62 * qubit for qubit in op.qubits]
        axes.plot([x, x], [min(heights), max(heights)], color="black", linewidth=0.9, zorder=1)
        for position, y in enumerate(heights):
            text = _box_text(op, position)
            if text == "●":
                axes.plot(x, y, "o", color="black", markersize=5, zorder=3)
            elif text in "⊕✕":
                marker, face = ("o", "white") if text == "⊕" else ("x", "black")
                axes.plot(
                    x, y, marker, color="black", markerfacecolor=face, markersize=10, zorder=3
                )
                if text == "⊕":
                    axes.plot(x, y, "+", color="black", markersize=10, zorder=4)
            else:
                color = "#d9d2f7" if op.angles else "#eeeeee"
                box = {"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": "0.3"}
                axes.text(
                    x, y, text, ha="center", va="center", fontsize=7.5, bbox=box, zorder=3,
                    linespacing=1.1,
                )  # fmt: skip


def _box_text(op: Op, position: int) -> str:
    """The text in a gate's box: its name, and its angles on a line below."""
    text = symbol(op, position)
    name, bracket, angles = text.partition("(")
    if not bracket:
        return text
    angles, _, place = angles.rpartition(")")
    angles = re.sub(r"\[(\d+)\]", lambda found: found[1].translate(_SUBSCRIPTS), angles)
    angles = angles.replace("**", "^").replace(" - ", " − ")
    angles = re.sub(r"\*(?=[a-zπ(])", "", angles).replace("*", "·")
    return f"{name}{place}\n{angles}"
