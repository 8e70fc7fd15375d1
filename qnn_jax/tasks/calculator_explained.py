"""The explanations on a calculator's page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_jax.circuits import Circuit
from qnn_jax.operations import MAX_GAIN
from qnn_jax.tasks.baseline_2022 import circuit_2022
from qnn_jax.training.task import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OURS, _BASELINE, _BOUND = "#5b3fd6", "#e08a1e", "#b2182b"
_LEAST = {
    "its_ansatz": "2022, best training found",
    "any_observable": "2022, least possible with any observable",
}


def explanations(
    summary: Mapping[str, Any], circuit: Circuit, layers: int
) -> tuple[Explanation, ...]:
    """The sections of a run's page besides its numbers."""
    found = [_reuploading(summary, layers), _shots(summary), _noise(circuit)]
    return (_circuit_of_2022(summary), *found) if "bounds" in summary else tuple(found)


def _circuit_of_2022(summary: Mapping[str, Any]) -> Explanation:
    least = summary["bounds"]
    return Explanation(
        "Why the circuit of 2022 could not do this",
        (
            "Here a is x[0] and b is x[1]. The circuit's output is an expectation value: a "
            "weighted sum of sines and cosines of its inputs. The gates that encode the inputs "
            "determine the frequencies; training determines only the weights. The feature map of "
            "2022 encodes a and b in angles 2a, 2b and 2(π − a)(π − b). On the unit square the "
            "last one falls from 2π² to about 9, more than a full period, whereas a + b is linear.",
            f"The lowest mean error with any observable after this feature map is "
            f"{least['any_observable']:.3f} (by regression on all Pauli strings, on a grid of "
            "points). The two-qubit RealAmplitudes with <ZZ> reached "
            f"{least['its_ansatz']:.3f} in the best of several trainings on the same points. More "
            "training or more shots cannot go below the first number, and several trainings found "
            "nothing below the second. One training as in 2022 ends near "
            f"{summary['baseline_2022']['median']:.3f}.",
        ),
        own=(
            (
                "baseline_2022",
                partial(_by_epoch, summary),
                "The model of 2022 over many seeds: mean L1 on 50 samples after each epoch, its "
                "median and the range of 95 % of the seeds.",
            ),
            ("circuit_2022", circuit_2022(), "The circuit of 2022."),
        ),
    )


def _reuploading(summary: Mapping[str, Any], layers: int) -> Explanation:
    return Explanation(
        "What re-uploading changes",
        (
            "Here the angle of every rotation is one input times a weight, and each input is "
            f"encoded again in each of {layers} layers on both qubits (Pérez-Salinas et al., "
            "arXiv:1907.02085). So training also determines the frequencies. They can become so "
            "low that the unit square is a small part of a period, and a sum of several such waves "
            "is almost linear. The inputs pass no classical layer: the output is "
            f"{summary['head_gain']:.3f} · <ZZ> {_signed(summary['head_bias'])}.",
            f"Levenberg-Marquardt trained {summary['restarts']} restarts in parallel; the one with "
            f"the lowest error on the {summary['validation_count']:,} validation points was kept.",
        ),
        ("circuit", "curves"),
    )


def _shots(summary: Mapping[str, Any]) -> Explanation:
    return Explanation(
        "The effect of shots",
        (
            "In theory, tiny angles and a large factor in the head would also work, but no device "
            "could measure the result: <ZZ> from shots has a standard error of "
            "√((1 − <ZZ>²)/shots), and the head multiplies it. The factor is therefore limited to "
            f"±{MAX_GAIN:g}. With 4,096 shots the mean error is "
            f"{summary['test_mean_l1_shots_4096']:.4f} (the binomial distribution predicts "
            f"{summary['shots_4096_expected']:.4f}). Every further digit takes a hundred times the "
            "shots.",
        ),
        own=(
            ("shots", partial(_by_shots, summary), "The error by shots, down to the exact error."),
        ),
    )


def _noise(circuit: Circuit) -> Explanation:
    two_qubit = sum(len(op.qubits) == 2 for op in circuit.ops)
    return Explanation(
        "The effect of device noise",
        (
            "Noise reduces <ZZ> towards zero and readout errors shift it, by nearly the same "
            "amount for every input, so a line through a few known values corrects most of it. The "
            f"circuit has only {two_qubit} two-qubit gates, so the reduction is small. make "
            "eval-aer measures the error without this correction; make eval-hardware also measures "
            'it with the correction, in the row "scale and shift corrected".',
        ),
    )


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'} {abs(value):.3f}"


def _by_epoch(summary: Mapping[str, Any]) -> Figure:
    """The distribution of the 2022 model's mean L1 by epoch, with the lowest it could reach."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

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


def _by_shots(summary: Mapping[str, Any]) -> Figure:
    """The error against shots: sampled and expected."""
    from matplotlib.figure import Figure

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
