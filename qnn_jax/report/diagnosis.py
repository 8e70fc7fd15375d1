"""The page and the pictures of a diagnosis of any task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qnn_jax.circuits import Circuit
from qnn_jax.circuits.angles import symbols
from qnn_jax.diagnostics import Spectrum
from qnn_jax.errors import InputError
from qnn_jax.report.figures import COLORS, blank, save
from qnn_jax.report.page import Picture, Section, write_page
from qnn_jax.studies.diagnosis import PAPERS, Diagnosis, Subject, in_a_line
from qnn_jax.training.task import with_interval

_PURPLE, _ORANGE, _GREY = COLORS[0], COLORS[1], "#8a8a94"
_MOST_STEMS = 200


def write_diagnosis(folder: Path, title: str, diagnosis: Diagnosis) -> None:
    """Draw the pictures into `folder`/figures and write diagnose.html.

    Diagnostics that could not be computed come last, with the reason.
    """
    (folder / "figures").mkdir(exist_ok=True)
    subject, found = diagnosis.subject, diagnosis.values
    told = sorted(
        (name for name in _SHOWN if name in found),
        key=lambda name: isinstance(found[name], InputError),
    )
    sections = []
    for name in told:
        shown, value = _SHOWN[name], found[name]
        if isinstance(value, InputError):
            why = f"Not computed for this circuit. The reason: {value}"
            sections.append(Section(shown.title, [why]))
            continue
        picture = Picture(
            f"diagnose-{name.replace('_', '-')}", f"{shown.caption} Source: {PAPERS[name]}"
        )
        save(shown.draw(subject, value), folder / "figures" / f"{picture.name}.png")
        sections.append(Section(shown.title, [shown.words(subject, value)], pictures=[picture]))
    circuit = subject.circuit
    write_page(
        folder / "diagnose.html",
        title,
        "What its circuit can represent, how much of that it uses, and how well it can be trained",
        [
            Section(
                "",
                [
                    f"The circuit has {circuit.num_qubits} qubits, {circuit.num_inputs} inputs and "
                    f"{circuit.num_weights} weights. Brackets are 95 % intervals."
                ],
            ),
            *sections,
            Section("The circuit", text=str(circuit)),
        ],
        "All numbers: diagnose.json in this folder.",
    )


def _representation_in_words(subject: Subject, found: Mapping[str, Any]) -> str:
    best, ansatz, reached = found["any_observable"], found["ansatz"], found["mean_l1"]

    def told(name: str) -> str:
        return with_interval(reached[name], found["interval"][name], ".3g")

    if reached["run"] < reached["ansatz"]:
        limit = "This run is better than all of those trainings, so they are not a limit."
    elif reached["any_observable"] > 0.5 * reached["run"]:
        limit = (
            "The feature map itself is the limit: no training, and no further gate without an "
            "input, gives an error below the first number."
            if _encodes_without_weights(subject.circuit)
            else "No further gate without an input gives an error below the first number, unless "
            "the weights that scale the inputs change."
        )
    elif reached["ansatz"] > 0.5 * reached["run"]:
        limit = "The feature map can represent the target better than the gates after it do."
    else:
        limit = "These gates can reach a lower error than this training did."
    return (
        f"On {len(subject.targets):,} points, the lowest mean L1 with any observable after this "
        f"circuit is {told('any_observable')}, using {best.rank} independent "
        f"features; by duality, none is below {best.at_least:.3g} on these points. "
        f"The lowest of {len(ansatz.starts)} fresh trainings of the same gates is "
        f"{told('ansatz')}; {ansatz.agreeing} of them agree. This run has {told('run')}. {limit}"
    )


def _encodes_without_weights(circuit: Circuit) -> bool:
    """Whether no weights act before the last gate that reads an input."""
    reads = [{s.vector for angle in op.angles for s in symbols(angle)} for op in circuit.ops]
    last = max((k for k, vectors in enumerate(reads) if "x" in vectors), default=-1)
    return not any("w" in vectors for vectors in reads[: last + 1])


def _fourier_in_words(subject: Subject, found: Mapping[str, Any]) -> str:
    variables = dict.fromkeys(name for one in found.values() for name in one.variables)
    shown = (
        "and this is all of it"
        if "all" in found
        else "of too many terms to list; here are cuts along each input, with the others at their "
        "medians"
    )
    return (
        f"The circuit's function is a finite Fourier series, {shown}. "
        f"{in_a_line('fourier', found).capitalize()}. The inputs enter as "
        f"{', '.join(variables) or 'nothing at all'}. A trained scale moves the frequencies, but "
        "no training adds one. Where there are several observables, this is the first one."
    )


def _expressibility_in_words(subject: Subject, found: Any) -> str:
    idle = (2**subject.circuit.num_qubits - 1) * math.log(75)
    return (
        f"Random weights on random data give states that are {in_a_line('expressibility', found)} "
        f"(with the bias of the histogram, as in published values: {found.plain:.3f}). A circuit "
        f"whose state never changes scores {idle:.1f}. Small numbers mean that the circuit reaches "
        "nearly all states. This is not an advantage by itself: such circuits have small gradients."
    )


def _entanglement_in_words(subject: Subject, found: Mapping[str, Any]) -> str:
    random, trained = found["random"], found["trained"]
    change = (
        "The trained weights entangle less than random ones."
        if trained.interval[1] < random.interval[0]
        else "The trained weights entangle more than random ones."
        if trained.interval[0] > random.interval[1]
        else "The trained weights entangle as much as random ones do."
    )
    return (
        f"On the data, the mean Meyer-Wallach measure is {in_a_line('entanglement', found)}. "
        f"{change} A twin without entangling gates tests whether entanglement helps: make "
        "ablate."
    )


def _gradients_in_words(subject: Subject, found: Mapping[int, Any]) -> str:
    return (
        "The circuit is repeated several times. At random weights the "
        f"{in_a_line('gradients', found)}. If it decreases with the number of repetitions, more "
        "layers would train more slowly."
    )


def _gradients_by_size_in_words(subject: Subject, found: Mapping[int, Any]) -> str:
    rates = {kind: _per_qubit(found, kind) for kind in ("global", "local")}
    return (
        "This is not a property of the trained circuit, but of a ZZ feature map with real "
        "amplitudes. At random weights, each further qubit multiplies the variance of a gradient "
        f"by {rates['global']:.2f} if all qubits are measured together and by "
        f"{rates['local']:.2f} if one is. Circuits that are deep enough to be random have a "
        "factor of 0.5: a barren plateau."
    )


def _per_qubit(sizes: Mapping[int, Any], kind: str) -> float:
    qubits = np.array(list(sizes), float)
    logs = np.log([sizes[n][kind].mean for n in sizes])
    return float(np.exp(np.polyfit(qubits, logs, 1)[0]))


def _classical_gradients_in_words(subject: Subject, found: Mapping[str, Any]) -> str:
    return (
        "The gradient of the output with respect to each layer's parameters, at the network's own "
        f"random initialisation, on noise: {in_a_line('classical_gradients', found)}."
    )


def _fisher_in_words(subject: Subject, found: Any) -> str:
    return (
        f"At the trained weights {in_a_line('fisher', found)}. No state of "
        f"{subject.circuit.num_qubits} qubits has more than {found.most}. Each direction that "
        "changes no state corresponds to one redundant weight."
    )


def _effective_dimension_in_words(subject: Subject, found: Any) -> str:
    return (
        "With one measured sign per sample, the circuit has an effective dimension of "
        f"{in_a_line('effective_dimension', found)}, in the mean over random weights."
    )


def _kernel_in_words(subject: Subject, found: Mapping[str, Any]) -> str:
    one = found["alignment"]
    names = subject.class_names
    what = "targets" if names is None else f"two classes ({names[0]}, {names[1]})"
    return (
        "The fidelity of two samples' states measures how similar the circuit makes them. The "
        f"fidelities have a centred alignment with the {what} of "
        f"{with_interval(one.centred, one.centred_interval)}, where 0 is none and 1 is complete. "
        "Centred means that the part common to all samples is subtracted; without that it is "
        f"{one.value:.3f}."
    )


def representation(subject: Subject, found: Mapping[str, Any]) -> Figure:
    """Predictions against targets: any observable, the best of these gates, this run."""
    titles = {
        "any_observable": "any observable",
        "ansatz": "best of fresh trainings of these gates",
        "run": "this run",
    }
    figure, panels = blank(10, 3.5, 1, 3, sharex=True, sharey=True)
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        values = found["predictions"][name]
        axes.scatter(subject.targets, values, s=4, color=_PURPLE, alpha=0.5, linewidths=0)
        axes.axline((float(np.mean(subject.targets)),) * 2, slope=1, color="black", linewidth=0.8)
        axes.set_title(f"{title}\nmean L1 {found['mean_l1'][name]:.2g}", fontsize=9)
        axes.set(xlabel="target")
    panels[0].set_ylabel("prediction")
    return figure


def fourier(found: Mapping[str, Spectrum]) -> Figure:
    """Coefficients by frequency: stems for one input or a cut, points in the plane for two."""
    figure, panels = blank(max(6.4, 5 * len(found)), 4, 1, len(found), squeeze=False)
    for axes, (cut, spectrum) in zip(panels[0], found.items(), strict=True):
        inputs = spectrum.frequencies.shape[1]
        if cut == "all" and inputs > 1:
            _plane(figure, axes, spectrum)
        elif inputs:
            _stems(axes, spectrum, 0 if cut == "all" else int(cut[2:-1]))
        axes.set_title(
            f"{spectrum.used.sum():,} of {len(spectrum.used):,} frequencies in reach are used",
            fontsize=9,
        )
    return figure


def _stems(axes: Axes, spectrum: Spectrum, index: int) -> None:
    size, used = np.abs(spectrum.coefficients), spectrum.used
    places = spectrum.frequencies[:, index]
    axes.scatter(places[~used], size[~used], s=6, color="0.8", linewidths=0)
    if used.sum() <= _MOST_STEMS:  # more stems would overlap
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
    figure, axes = blank(6.4, 3.6)
    axes.bar(edges[:-1], bins * found.histogram, 1 / bins, align="edge", color=_PURPLE, alpha=0.6)
    axes.stairs(bins * found.haar, edges, color=_ORANGE, linewidth=1.6, label="Haar-random")
    axes.set(xlabel="fidelity of two random states", ylabel="density", xlim=(0, 1))
    axes.set_title(f"KL divergence {with_interval(found.kl, found.interval)} nats", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    return figure


def entanglement(found: Mapping[str, Any]) -> Figure:
    """Histograms of the Meyer-Wallach measure at random and at trained weights."""
    figure, axes = blank(6.4, 3.6)
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
    return figure


def gradients(found: Mapping[int, Any]) -> Figure:
    """Variances by repetitions of this circuit."""
    figure, axes = blank(5.2, 3.4)
    _points(axes, list(found), list(found.values()), _PURPLE, "")
    axes.set(xlabel="this circuit, repeated", ylabel="variance", ylim=(0, None))
    axes.set_xticks(list(found))
    return figure


def gradients_by_size(found: Mapping[int, Any]) -> Figure:
    """Variances by qubits, of the 2022 project's kind of circuit."""
    figure, axes = blank(5.2, 3.4)
    for kind, color in (("global", _PURPLE), ("local", _ORANGE)):
        _points(axes, list(found), [one[kind] for one in found.values()], color, kind)
    axes.set(xlabel="qubits of ZZ feature map and real amplitudes", ylabel="variance", yscale="log")
    axes.set_xticks(list(found))
    axes.legend(frameon=False, fontsize=8, title="observable", title_fontsize=8)
    return figure


def _points(axes: Any, places: list[int], values: list[Any], color: str, label: str) -> None:
    means = np.array([one.mean for one in values])
    intervals = np.array([one.interval for one in values]).T
    off = np.maximum([means - intervals[0], intervals[1] - means], 0)
    axes.errorbar(places, means, off, color=color, marker="o", capsize=3, label=label)


def classical_gradients(found: Mapping[str, Any]) -> Figure:
    """Variances by layer, those of the circuit's weights in another colour."""
    figure, axes = blank(7.2, 0.8 + 0.34 * len(found))
    for place, (path, one) in enumerate(found.items()):
        low, high = one.interval
        color = _ORANGE if path.startswith("quantum") else _PURPLE
        if not one.mean > 0:  # cannot be drawn on a logarithmic axis
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
    return figure


def fisher(found: Any) -> Figure:
    """Eigenvalues of the quantum Fisher information."""
    figure, axes = blank(6.4, 3.4, grid="y")
    places = np.arange(1, len(found.eigenvalues) + 1)
    moving = places <= found.rank
    floor = float(found.eigenvalues[moving].min(initial=1)) / 10
    heights = np.where(moving, found.eigenvalues, 1.5 * floor)  # stubs in place of zeros
    axes.bar(places, heights, color=np.where(moving, _PURPLE, "0.7").tolist())
    axes.set(xlabel="direction of the weights", ylabel="quantum Fisher information")
    axes.set(yscale="log", ylim=(floor, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"rank {found.rank} of {len(places)}", fontsize=9)
    return figure


def effective_dimension(found: Any) -> Figure:
    """The effective dimension by the number of samples."""
    figure, axes = blank(6.4, 3.4)
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
    return figure


def kernel(names: tuple[str, str] | None, found: Mapping[str, Any]) -> Figure:
    """The kernel matrix, samples sorted by target, or by class under the names of two."""
    figure, axes = blank(4.8, 4, grid="")
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
    one = found["alignment"]
    shown = with_interval(one.centred, one.centred_interval)
    axes.set_title(f"centred alignment {shown}", fontsize=9)
    return figure


class _Shown(NamedTuple):
    """The section of a diagnostic: its title, text and picture."""

    title: str
    words: Callable[[Subject, Any], str]
    draw: Callable[[Subject, Any], Figure]
    caption: str


#: In the order of the page.
_SHOWN = {
    "representation": _Shown(
        "Can it represent the target?",
        _representation_in_words,
        representation,
        "Prediction against target: the closer to the line, the better.",
    ),
    "fourier": _Shown(
        "Which frequencies does it use?",
        _fourier_in_words,
        lambda subject, found: fourier(found),
        "The size of each frequency's coefficient. Grey: frequencies in reach that are not used.",
    ),
    "expressibility": _Shown(
        "How much of the state space does it reach?",
        _expressibility_in_words,
        lambda subject, found: expressibility(found),
        "How similar two random states of the circuit are (bars), and two Haar-random states "
        "(line).",
    ),
    "entanglement": _Shown(
        "Does it use entanglement?",
        _entanglement_in_words,
        lambda subject, found: entanglement(found),
        "Meyer-Wallach entanglement of the circuit's states: 0 is none, 1 is the maximum.",
    ),
    "gradients": _Shown(
        "Would more layers be trainable?",
        _gradients_in_words,
        lambda subject, found: gradients(found),
        "Variance of a gradient of this circuit at random weights, with 95 % intervals.",
    ),
    "gradients_by_size": _Shown(
        "Would more qubits be trainable?",
        _gradients_by_size_in_words,
        lambda subject, found: gradients_by_size(found),
        "Variance of a gradient of ZZ feature map and real amplitudes by the number of qubits: all "
        "qubits measured together (global), or one (local).",
    ),
    "classical_gradients": _Shown(
        "Do gradients reach the layers before it?",
        _classical_gradients_in_words,
        lambda subject, found: classical_gradients(found),
        "Variance of the output's gradient at the initialisation, by layer.",
    ),
    "fisher": _Shown(
        "Do all weights have an effect?",
        _fisher_in_words,
        lambda subject, found: fisher(found),
        "Directions of the weights, by how strongly they change the states. Grey: not at all.",
    ),
    "effective_dimension": _Shown(
        "How many parameters does it effectively have?",
        _effective_dimension_in_words,
        lambda subject, found: effective_dimension(found),
        "The effective dimension by the number of samples.",
    ),
    "kernel": _Shown(
        "Does it map similar samples to similar states?",
        _kernel_in_words,
        lambda subject, found: kernel(subject.class_names, found),
        "How similar the circuit makes two samples; they are sorted by their target.",
    ),
}
