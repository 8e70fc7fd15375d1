"""The pictures of a diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.figures import Picture, save
from qnn_jax.diagnostics import Spectrum
from qnn_jax.errors import InputError

if TYPE_CHECKING:
    from pipelines.diagnose_run import Subject

_PURPLE, _ORANGE, _GREY = "#5b3fd6", "#e08a1e", "#8a8a94"
_CAPTIONS = {
    "representation": "Prediction against target: the closer to the line, the better.",
    "fourier": "The size of each frequency's coefficient; grey are those in reach and not used.",
    "expressibility": "How alike two random states of the circuit are (bars), and two states drawn "
    "from all there are (line).",
    "entanglement": "Meyer-Wallach entanglement of the circuit's states: 0 is none, 1 is all.",
    "gradients": "Variance of a gradient of this circuit at random weights, with 95 % intervals.",
    "gradients_by_size": "The same for circuits of the 2022 project's kind: all qubits measured "
    "together, or one.",
    "classical_gradients": "Variance of the loss's gradient at the initialisation, by layer.",
    "fisher": "Directions of the weights, by how strongly they move the states.",
    "effective_dimension": "How many parameters the model seems to have, told from n samples.",
    "kernel": "How alike the circuit makes two samples, sorted by their target.",
}


def draw_all(folder: Path, subject: Subject, found: Mapping[str, Any]) -> dict[str, Picture]:
    """Draw what was found into `folder`, a picture for each diagnostic that was not refused."""
    draw: Mapping[str, Callable[[Any], Figure]] = {
        "representation": lambda value: representation(subject, value),
        "fourier": fourier,
        "expressibility": expressibility,
        "entanglement": entanglement,
        "gradients": gradients,
        "gradients_by_size": gradients_by_size,
        "classical_gradients": classical_gradients,
        "fisher": fisher,
        "effective_dimension": effective_dimension,
        "kernel": lambda value: kernel(subject.class_names, value),
    }
    folder.mkdir(exist_ok=True)
    drawn = {}
    for name, value in found.items():
        if isinstance(value, InputError):
            continue
        figure = draw[name](value)
        path = folder / f"diagnose-{name.replace('_', '-')}.png"
        save(figure, path)
        drawn[name] = Picture(path, _CAPTIONS[name])
    return drawn


def representation(subject: Subject, found: Mapping[str, Any]) -> Figure:
    """Predictions against targets: any observable, the best of these gates, the run itself."""
    titles = {
        "any_observable": "any observable",
        "ansatz": "these gates, best of fresh trainings",
        "run": "this run",
    }
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        values = found["predictions"][name]
        axes.scatter(subject.targets, values, s=4, color=_PURPLE, alpha=0.5, linewidths=0)
        axes.axline((float(np.mean(subject.targets)),) * 2, slope=1, color="black", linewidth=0.8)
        axes.set_title(f"{title}: mean L1 {found['mean_l1'][name]:.4f}", fontsize=9)
        axes.set(xlabel="target")
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("prediction")
    return figure


def fourier(found: Mapping[str, Spectrum]) -> Figure:
    """Coefficients by frequency: stems for one input or a cut, places in the plane for two."""
    figure = Figure(figsize=(max(6.4, 5 * len(found)), 4), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (cut, spectrum) in zip(panels, found.items(), strict=True):
        inputs = spectrum.frequencies.shape[1]
        if cut == "all" and inputs > 1:
            _plane(figure, axes, spectrum)
        elif inputs:
            _stems(axes, spectrum, 0 if cut == "all" else int(cut[2:-1]))
        axes.set_title(
            f"{spectrum.used.sum():,} of {len(spectrum.used):,} frequencies in reach are used",
            fontsize=9,
        )
        axes.grid(alpha=0.25)
    return figure


def _stems(axes: Axes, spectrum: Spectrum, index: int) -> None:
    size, used = np.abs(spectrum.coefficients), spectrum.used
    places = spectrum.frequencies[:, index]
    axes.scatter(places[~used], size[~used], s=6, color="0.8", linewidths=0)
    axes.vlines(places[used], 0, size[used], color=_PURPLE, linewidth=1)
    axes.scatter(places[used], size[used], s=8, color=_PURPLE, linewidths=0)
    axes.set(
        xlabel=f"frequency in x[{index}] (radians per unit)",
        ylabel="|coefficient|",
        ylim=(0, None),
    )


def _plane(figure: Figure, axes: Axes, spectrum: Spectrum) -> None:
    size, used, places = np.abs(spectrum.coefficients), spectrum.used, spectrum.frequencies
    axes.scatter(places[~used, 0], places[~used, 1], s=4, color="0.85", linewidths=0)
    rows = np.flatnonzero(used)
    rows = rows[np.argsort(size[rows])]  # the largest on top
    shown = axes.scatter(
        places[rows, 0],
        places[rows, 1],
        s=6 + 220 * size[rows],
        c=np.log10(size[rows]),
        cmap="viridis_r",
        vmin=-4,
        vmax=0,
        linewidths=0,
    )
    figure.colorbar(shown, label="log10 |coefficient|")
    axes.set(
        xlabel="frequency in x[0] (radians per unit)",
        ylabel="frequency in x[1] (radians per unit)",
    )


def expressibility(found: Any) -> Figure:
    """The histogram of fidelities against that of Haar-random states."""
    bins = len(found.histogram)
    edges = np.linspace(0, 1, bins + 1)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.bar(edges[:-1], bins * found.histogram, 1 / bins, align="edge", color=_PURPLE, alpha=0.6)
    axes.stairs(bins * found.haar, edges, color=_ORANGE, linewidth=1.6, label="Haar-random")
    axes.set(xlabel="fidelity of two random states", ylabel="density", xlim=(0, 1))
    low, high = found.interval
    axes.set_title(f"KL divergence {found.kl:.3f} ({low:.3f} to {high:.3f}) nats", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    return figure


def entanglement(found: Mapping[str, Any]) -> Figure:
    """Histograms of the Meyer-Wallach measure at random and at trained weights."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, 1, 41).tolist()
    for key, color in (("random", _GREY), ("trained", _PURPLE)):
        one = found[key]
        label = f"{key} weights, on data: mean {one.mean:.3f}"
        axes.hist(one.values, edges, density=True, color=color, alpha=0.55, label=label)
        axes.axvline(one.mean, color=color, linewidth=1.4)
    haar = found["random"].haar
    axes.axvline(haar, color=_ORANGE, linestyle="--", label=f"Haar-random states: {haar:.3f}")
    axes.set(xlabel="Meyer-Wallach Q of a state", ylabel="density", xlim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    return figure


def gradients(found: Mapping[int, Any]) -> Figure:
    """Variances by repetitions of this circuit."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    _points(axes, list(found), list(found.values()), _PURPLE, "")
    axes.set(xlabel="this circuit, repeated", ylabel="variance", ylim=(0, None))
    axes.set_xticks(list(found))
    axes.grid(alpha=0.25)
    return figure


def gradients_by_size(found: Mapping[int, Any]) -> Figure:
    """Variances by qubits, of the 2022 project's kind of circuit."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for kind, color in (("global", _PURPLE), ("local", _ORANGE)):
        _points(axes, list(found), [one[kind] for one in found.values()], color, kind)
    axes.set(xlabel="qubits of ZZ feature map and real amplitudes", ylabel="variance", yscale="log")
    axes.set_xticks(list(found))
    axes.legend(frameon=False, fontsize=8, title="observable", title_fontsize=8)
    axes.grid(alpha=0.25)
    return figure


def _points(axes: Any, places: list[int], values: list[Any], color: str, label: str) -> None:
    means = np.array([one.mean for one in values])
    intervals = np.array([one.interval for one in values]).T
    off = np.maximum([means - intervals[0], intervals[1] - means], 0)
    axes.errorbar(places, means, off, color=color, marker="o", capsize=3, label=label)


def classical_gradients(found: Mapping[str, Any]) -> Figure:
    """Variances by layer, those of the circuit's weights in another colour."""
    figure = Figure(figsize=(7.2, 0.8 + 0.34 * len(found)), layout="constrained")
    axes = figure.subplots()
    for place, (path, one) in enumerate(found.items()):
        low, high = one.interval
        color = _ORANGE if path.startswith("quantum") else _PURPLE
        if not one.mean > 0:  # no place on a logarithmic axis
            axes.annotate(
                "0: the same at every initialisation",
                (0.02, place),
                xycoords=("axes fraction", "data"),
                fontsize=8,
                va="center",
            )
            continue
        axes.plot([low, high], [place, place], color=color, linewidth=5, alpha=0.35)
        axes.plot(one.mean, place, "o", color=color)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="mean variance of a parameter's gradient")
    axes.grid(alpha=0.25)
    return figure


def fisher(found: Any) -> Figure:
    """Eigenvalues of the quantum Fisher information."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(1, len(found.eigenvalues) + 1)
    colors = [_PURPLE if place <= found.rank else "0.8" for place in places]
    axes.bar(places, np.maximum(found.eigenvalues, 0), color=colors)
    axes.set(xlabel="direction of the weights", ylabel="quantum Fisher information")
    axes.set_title(f"rank {found.rank} of {len(places)}", fontsize=9)
    axes.grid(alpha=0.25, axis="y")
    return figure


def effective_dimension(found: Any) -> Figure:
    """The effective dimension by the number of samples."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(found.counts, *found.intervals.T, color=_PURPLE, alpha=0.25, linewidth=0)
    axes.plot(found.counts, found.values, color=_PURPLE, marker="o", markersize=4)
    axes.axhline(found.parameters, color="black", linewidth=0.8, linestyle="--")
    axes.annotate(
        f"{found.parameters} weights", (found.counts[0], found.parameters), fontsize=8, va="bottom"
    )
    axes.set(
        xscale="log",
        xlabel="samples",
        ylabel="effective dimension",
        ylim=(0, 1.12 * max(found.parameters, found.intervals.max())),
    )
    axes.grid(alpha=0.25)
    return figure


def kernel(names: tuple[str, str] | None, found: Mapping[str, Any]) -> Figure:
    """The kernel matrix, samples sorted by target, or by class under the names of two."""
    figure = Figure(figsize=(4.8, 4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(found["matrix"], cmap="magma", vmin=0, vmax=1)
    figure.colorbar(image, label="fidelity of two samples' states")
    targets = found["targets"]
    if names is None:
        ends = [0, len(targets) - 1]
        axes.set_xticks(ends, [f"{targets[k]:.3g}" for k in ends])
        axes.set_yticks(ends, [f"{targets[k]:.3g}" for k in ends])
        axes.set(xlabel="target", ylabel="target")
    else:
        border = np.searchsorted(targets, 0)
        middles = [(border - 1) / 2, (border + len(targets) - 1) / 2]
        axes.set_xticks(middles, names)
        axes.set_yticks(middles, names, rotation=90, va="center")
        axes.set(xlabel="class", ylabel="class")
        for line in (axes.axvline, axes.axhline):
            line(border - 0.5, color="white", linewidth=0.8)
    low, high = found["alignment"].centred_interval
    axes.set_title(
        f"centred alignment {found['alignment'].centred:.3f} ({low:.3f} to {high:.3f})", fontsize=9
    )
    return figure
