"""The pictures of a scan, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from qnn_jax.report.figures import blank, save
from qnn_jax.studies.axes import Axis, value_of
from qnn_jax.studies.course import Course
from qnn_jax.studies.scan import ScanResult
from qnn_jax.training.task import HYBRID

_BEST, _DEFAULT, _OTHER = "#5b3fd6", "#e08a1e", "#8a8f98"
_COLUMNS = 3


def draw_scan(folder: Path, result: ScanResult) -> list[Path]:
    """Draw every picture of a scan into its folder `figures`."""
    course, axes = result.course, result.axes
    (folder / "figures").mkdir(exist_ok=True)
    drawn = []
    for name, figure in (
        ("axes", against_axes(course, axes)),
        ("parallel", parallel(course, axes)),
        ("curves", curves(course)),
    ):
        path = folder / "figures" / f"{name}.png"
        save(figure, path)
        drawn.append(path)
    return drawn


def _title(course: Course) -> str:
    return course.metric.replace("_", " ")


def against_axes(course: Course, axes: Sequence[Axis]) -> Figure:
    """The validation metric against each axis, one point per member."""
    count = len(axes)
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    size = 3.6 * columns, 3.0 * rows + 0.5
    figure, panels = blank(*size, rows, columns, sharey=True, squeeze=False)
    panels = panels.ravel()
    numbers, scores = _scores(course)
    for panel, axis in zip(panels, axes, strict=False):
        places = _places(course, axis, numbers)
        _points(panel, course, numbers, places, scores)
        _label(panel, course, axis, numbers)
    for panel in panels[count:]:
        panel.set_axis_off()
    for panel in panels[::columns]:
        panel.set_ylabel(_title(course))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _scores(course: Course) -> tuple[list[int], np.ndarray]:
    numbers = [member.number for member in course.members[: course.searched]]
    values = [course.value(number) for number in numbers]
    return numbers, np.array([np.nan if value is None else value for value in values], float)


def _floor(scores: np.ndarray) -> float:
    """The lower limit of a picture, for scores of which more is better.

    A few very bad members must not compress the others.
    """
    found = scores[np.isfinite(scores)]
    if not len(found):
        return 0.0
    best, middle = found.max(), np.median(found)
    return float(max(found.min(), middle - 3 * max(best - middle, 0.002 * abs(middle))))


def _points(
    panel: Axes,
    course: Course,
    numbers: Sequence[int],
    places: np.ndarray,
    scores: np.ndarray,
) -> None:
    sign = course.task.metric.sign
    floor = sign * _floor(sign * scores)
    default = np.array([course.members[number].candidate == 0 for number in numbers])
    winner = np.array([course.members[number].candidate == course.winner for number in numbers])
    below = ~(sign * scores >= sign * floor)
    whole = max(course.epochs.values())
    dropped = np.array([course.epochs.get(number, 0) < whole for number in numbers])
    for chosen, color, marker, size, label in (
        (~below & dropped & ~default, "#c9ccd1", "o", 26, "dropped early"),
        (~below & ~dropped & ~default & ~winner, _OTHER, "o", 30, "member"),
        (~below & default, _DEFAULT, "D", 46, _default_label(course)),
        (~below & winner & ~default, _BEST, "*", 150, "winner"),
        (below, "#b2182b", "v", 34, "far worse, or diverged"),
    ):
        if chosen.any():
            heights = np.where(below, floor, scores)
            panel.scatter(
                places[chosen],
                heights[chosen],
                s=size,
                color=color,
                marker=marker,
                label=label,
                edgecolors="white",
                linewidths=0.6,
                zorder=3,
            )


def _default_label(course: Course) -> str:
    return "default, which won" if course.winner == 0 else "default"


def _places(course: Course, axis: Axis, numbers: Sequence[int]) -> np.ndarray:
    """The positions of members along an axis: its numbers, or the indices of its words."""
    values = [_value(course, number, axis) for number in numbers]
    if _is_number(values):
        return np.array(values, float)
    words = _words(values)
    return np.array([words.index(str(value)) for value in values], float)


def _value(course: Course, number: int, axis: Axis) -> Any:
    member = course.members[number]
    return value_of(member.task, member.seeds, axis.name)


def _is_number(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _words(values: Sequence[Any]) -> list[str]:
    return sorted({str(value) for value in values})


def _logarithmic(values: Sequence[Any], axis: Axis) -> bool:
    low, high = min(values), max(values)
    return low > 0 and (axis.spacing == "log" or (bool(axis.values) and high / low > 20))


def _label(panel: Axes, course: Course, axis: Axis, numbers: Sequence[int]) -> None:
    values = [_value(course, number, axis) for number in numbers]
    panel.set_xlabel(axis.name)
    if not _is_number(values):
        panel.set_xticks(range(len(_words(values))), _words(values), fontsize=8)
        panel.margins(x=0.2)
    elif _logarithmic(values, axis):
        panel.set_xscale("log")
        # At most two labels per decade: matplotlib's own overlap within one.
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        panel.xaxis.set_minor_formatter(NullFormatter())
    elif all(isinstance(value, int) for value in values):
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def parallel(course: Course, axes: Sequence[Axis]) -> Figure:
    """One line per member through all axes to its validation metric, the best on top."""
    numbers, scores = _scores(course)
    sign = course.task.metric.sign
    scores = sign * scores
    floor = _floor(scores)
    top = float(np.nanmax(scores)) if np.isfinite(scores).any() else 1.0
    top = top if top > floor else floor + 1e-3
    figure, panel = blank(1.9 * (len(axes) + 1) + 1.2, 4.0, grid="")
    columns, ticks = [], []
    for axis in axes:
        values = [_value(course, number, axis) for number in numbers]
        places = _places(course, axis, numbers)
        if _is_number(values) and _logarithmic(values, axis):
            places = np.log(places)
        low, span = places.min(), max(np.ptp(places), 1e-12)
        columns.append((places - low) / span)
        shown = _words(values) if not _is_number(values) else None
        ends = (min(values), max(values)) if shown is None else (shown[0], shown[-1])
        ticks.append(tuple(f"{end:.3g}" if isinstance(end, float) else str(end) for end in ends))
    heights = np.clip((np.nan_to_num(scores, nan=floor) - floor) / (top - floor), 0, 1)
    columns.append(heights)
    form = course.task.metric.form
    ticks.append((f"{sign * floor:{form}}", f"{sign * top:{form}}"))
    norm = Normalize(floor, top)
    # Without the colour map's pale yellow, which cannot be seen on white.
    shade = ScalarMappable(norm, ListedColormap(colormaps["viridis_r"](np.linspace(0.3, 1, 256))))
    for place in np.argsort(heights):
        number = numbers[place]
        line = [column[place] for column in columns]
        candidate = course.members[number].candidate
        sound = np.isfinite(scores[place])
        style: dict[str, Any] = {"color": shade.to_rgba(scores[place]), "lw": 1.2, "alpha": 0.7}
        if not sound:
            style = {"color": "#b2182b", "lw": 1.0, "ls": ":"}
        if candidate == 0:
            label = _default_label(course)
            style = {"color": _DEFAULT, "lw": 2.4, "label": label, "zorder": 4}
        elif candidate == course.winner:
            style = {"color": _BEST, "lw": 2.8, "label": "winner", "zorder": 5}
        panel.plot(range(len(columns)), line, **style)
    for k, (low_text, high_text) in enumerate(ticks):
        panel.axvline(k, color="0.75", lw=0.8, zorder=0)
        panel.text(k, -0.04, low_text, ha="center", va="top", fontsize=8)
        panel.text(k, 1.03, high_text, ha="center", va="bottom", fontsize=8)
    names = [axis.name.replace(".", ".\n") for axis in axes]
    names.append(_title(course).replace(" ", "\n", 1))
    panel.set_xticks(range(len(columns)), names, fontsize=8)
    panel.tick_params(axis="x", length=0, pad=16)
    panel.set_yticks([])
    panel.set(ylim=(0, 1), xlim=(-0.2, len(columns) - 0.8))
    for spine in panel.spines.values():
        spine.set_visible(False)
    handles = dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8
    )
    bar = figure.colorbar(shade, ax=panel, label=_title(course), pad=0.03)
    bar.ax.yaxis.set_major_formatter(lambda value, place: f"{sign * value:g}")
    return figure


def curves(course: Course) -> Figure:
    """Training loss and validation metric by epoch: median, quantile bands, winner, default."""
    figure, panels = blank(9, 3.4, 1, 2)
    searched = course.searched
    rows = [row for row in course.rows if row["members"][0] < searched]
    best = course.best
    default = course.of_candidate(0)[0]
    for panel, metric, scale in zip(
        panels,
        ("loss", course.metric),
        ("log", "log" if course.task.metric.axis == "log" else "linear"),
        strict=True,
    ):
        by_epoch: dict[int, list[float]] = {}
        for row in rows:
            values = [value for value in row[HYBRID][metric] if value is not None]
            by_epoch.setdefault(row["of_members"], []).extend(values)
        epochs = sorted(epoch for epoch, values in by_epoch.items() if values)
        bands = np.array(
            [np.quantile(by_epoch[epoch], [0.1, 0.25, 0.5, 0.75, 0.9]) for epoch in epochs]
        ).T
        if epochs:
            panel.fill_between(
                epochs, bands[0], bands[4], color=_OTHER, alpha=0.2, lw=0, label="10 to 90 %"
            )
            panel.fill_between(
                epochs, bands[1], bands[3], color=_OTHER, alpha=0.35, lw=0, label="25 to 75 %"
            )
            panel.plot(epochs, bands[2], color="0.35", lw=1.2, label="median")
        lines = [(best, _BEST, "best member"), (default, _DEFAULT, _default_label(course))]
        for number, color, label in lines[best == default :]:
            line = [
                (row["of_members"], row[HYBRID][metric][row["members"].index(number)])
                for row in rows
                if number in row["members"]
            ]
            told = [(epoch, value) for epoch, value in line if value is not None]
            if told:
                panel.plot(*zip(*told, strict=True), color=color, lw=1.8, label=label)
        panel.set(xlabel="epoch", ylabel=metric.replace("_", " "), yscale=scale)
        if scale == "linear" and epochs:
            bottom = float(np.quantile(bands[1], 0.1))
            top = max((value for values in by_epoch.values() for value in values), default=1.0)
            if top > bottom:
                panel.set_ylim(bottom, top + 0.1 * (top - bottom))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure
