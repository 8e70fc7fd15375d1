"""report.html and the pictures of an ablation of any task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, SymmetricalLogLocator

from qnn_jax.report.figures import blank, save
from qnn_jax.report.page import Picture, Section, Table, write_page
from qnn_jax.studies.ablation_table import Ablation, Row, gains
from qnn_jax.training.task import HYBRID, Metric

# Strong colours for the hybrid and similar twins, pale colours for the others.
_COLORS = ("#5b3fd6", "#c2388f", "#8f7fe0", "#e08a1e", "#3a9e6e", "#2b6cb0", "#8a8a8a")
_TICKS = (0.2, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995,
          0.996, 0.997, 0.998, 0.999)  # fmt: skip
_ROUNDING = 1e-7  # relative rounding error of single precision
_SPREAD = 0.022  # of a decade between the marks of two twins at one size
_QUICK = "This was a quick look: fewer seeds, sizes and steps than a full ablation has."


def write_ablation(folder: Path, found: Ablation) -> None:
    """Draw the pictures of an ablation into its folder `figures` and write report.html."""
    (folder / "figures").mkdir(exist_ok=True)
    examples, metric = found.examples, found.metric
    pictures = []
    for name, figure, caption in (
        (
            "sizes",
            against_size(found),
            f"{metric.title.capitalize()} by number of training {examples}: means over "
            f"{found.seeds} seeds with their 95 % intervals.",
        ),
        (
            "differences",
            differences(found),
            "Difference between the hybrid and each twin: every seed (dots), their mean and its "
            "95 % interval. Right of the line the hybrid is better; a mark is filled if the "
            "difference passes the test corrected for the number of twins.",
        ),
    ):
        save(figure, folder / "figures" / f"{name}.png")
        pictures.append(Picture(name, caption))
    twins = Table((), [(member.name, member.what) for member in found.members])
    write_page(
        folder / "report.html",
        f"What did the quantum part contribute? {found.about}",
        found.headline,
        [
            Section("", [*([_QUICK] if found.quick else []), *found.verdicts], (), pictures),
            Section("The hybrid and its twins", tables=[twins]),
            *(_numbers(found, size) for size in reversed(found.sizes)),
            Section(
                "Method",
                [
                    "Intervals are of 95 % (Student, over seeds). The lead is the hybrid's, paired "
                    f"by seed, in {metric.unit}; its test flips the signs of the differences "
                    "(two-sided), and is corrected for the number of twins of a size (Holm). "
                    "Seconds are of all seeds together, including compilation.",
                    *found.notes,
                ],
            ),
        ],
        "Every seed's score is in ablate.json in this folder, with config.json and manifest.json.",
    )


def _numbers(found: Ablation, size: int) -> Section:
    """All numbers of a size."""
    lines = [line for line in found.summary["table"] if line["size"] == size]
    first, metric = lines[0], found.metric
    heading = ("twin", f"{metric.title}, 95 % interval", "worst seed", f"lead in {metric.unit}",
               "p", "p, corrected", "parameters", "seconds")  # fmt: skip
    return Section(
        f"{size:,} {found.examples}: each seen {first['passes']:,} times in {first['steps']:,} "
        f"steps, batches of {first['batch_size']:,}, {found.seeds} seeds",
        tables=[Table(heading, [_cells(line, metric) for line in lines])],
    )


def _cells(line: Mapping[str, Any], metric: Metric) -> tuple[str, ...]:
    of_twin = (
        metric.lead(line["gain"], line["gain_interval"]),
        f"{line['p']:.2g}",
        f"{line['p_corrected']:.2g}",
    )
    diverged = f"; {line['diverged']} seeds diverged" if line["diverged"] else ""
    return (
        line["twin"],
        metric.score(line["mean"], line["interval"]) + diverged,
        f"{line['worst']:{metric.form}}",
        *(("", "", "") if line["twin"] == HYBRID else of_twin),
        " + ".join(f"{count:,} {kind}" for kind, count in line["parameters"].items() if count),
        f"{line['seconds']:.1f}",
    )


def against_size(found: Ablation) -> Figure:
    """Scores against the number of training examples, one line per twin."""
    figure, axes = blank(9, 5)
    middle = (len(found.members) - 1) / 2
    for number, twin in enumerate(found.members):
        line = [row for row in found.rows if row.twin == twin.name]
        sizes = np.array([row.size for row in line]) * 10 ** (_SPREAD * (number - middle))
        means = _drawn(found, np.array([row.mean for row in line]))
        reach = np.abs(_drawn(found, np.array([row.interval for row in line]).T) - means)
        axes.errorbar(
            sizes,
            means,
            reach,
            marker="o",
            markersize=6 if twin.name == HYBRID else 4,
            linewidth=2.0 if twin.name == HYBRID else 1.1,
            elinewidth=1.2,
            capsize=2.5,
            color=_color(number),
            label=twin.name,
            zorder=3 if twin.name == HYBRID else 2,
        )
    _stretch(axes, found)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(found.sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set(xlabel=f"training {found.examples}", ylabel=found.metric.title)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _color(number: int) -> str:
    return _COLORS[number % len(_COLORS)]


def _drawn(found: Ablation, values: np.ndarray) -> np.ndarray:
    """Errors below the rounding error are all drawn at it."""
    return np.maximum(values, _ROUNDING) if found.metric.axis == "log" else values


def _stretch(axes: Axes, found: Ablation) -> None:
    """Separate accuracies near 1, and errors near 0; means always fit, intervals may not."""
    means = _drawn(found, np.array([row.mean for row in found.rows if np.isfinite(row.mean)]))
    if not len(means) or found.metric.axis == "linear":
        return
    if found.metric.axis == "log":
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


def differences(found: Ablation) -> Figure:
    """The hybrid's lead over each twin, a panel for each training size."""
    twins = found.members[1:]
    width, height = 2.9 * len(found.sizes) + 1.2, 0.42 * len(twins) + 1.3
    figure, (panels,) = blank(
        width, height, 1, len(found.sizes), grid="x", sharey=True, squeeze=False
    )
    for size, axes in zip(found.sizes, panels, strict=True):
        axes.axvline(0, color="black", linewidth=0.8)
        for number, twin in enumerate(twins):
            row = found.row(size, twin.name)
            _lead(axes, found, row, len(twins) - 1 - number, _color(number + 1))
        _spare_outliers(axes, found, size)
        axes.set_title(f"{size:,} {found.examples}", fontsize=10)
    panels[0].set_ylim(-0.5, len(twins) - 0.4)
    panels[0].set_yticks(range(len(twins)), [twin.name for twin in reversed(twins)])
    figure.supxlabel(f"the hybrid's lead, in {found.metric.unit}", fontsize=10)
    return figure


def _spare_outliers(axes: Axes, found: Ablation, size: int) -> None:
    """Fit the axis to nine tenths of every twin's seeds; the others are counted at its edge."""
    twins = found.members[1:]
    leads = [gains(found.scores[size], twin.name, found.metric) for twin in twins]
    # The score of a seed that diverged may be nan.
    finite = [lead[np.isfinite(lead)] for lead in leads]
    reach = 1.15 * max(
        (float(np.quantile(np.abs(lead), 0.9, method="lower")) for lead in finite if len(lead)),
        default=0.0,
    )
    if not reach:
        return
    if found.metric.axis == "log":  # errors differ by powers of ten
        least = min(abs(float(lead.mean())) for lead in finite if len(lead))
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
                    color=_color(number + 1),
                )


def _lead(axes: Axes, found: Ablation, row: Row, height: int, color: str) -> None:
    """One twin's line: dots of all seeds, the mean and its interval."""
    leads = gains(found.scores[row.size], row.twin, found.metric)
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
