"""The pictures of an evaluation on hardware, and of a learned device."""

from __future__ import annotations

from matplotlib.figure import Figure

from qnn_jax.hardware.learning import Learned
from qnn_jax.report.figures import blank
from qnn_jax.studies.hardware import Evaluation

_NAMES = {
    "exact": "exact",
    "shots_only": "shots alone\n(expected)",
    "noisy_simulation": "error rates\n(expected)",
    "plain": "measured",
    "mitigated": "readout\ninverted",
    "recalibrated": "scale, shift\ncorrected",
    "tuned_published": "tuned on\npublished",
    "tuned_learned": "tuned on\nlearned",
    "tuned_device": "tuned on\ndevice",
}
_COLORS = {"plain": "0.25", "mitigated": "tab:orange", "recalibrated": "tab:blue"}
#: Size of the dots: the first ones are larger, so that they remain visible behind equal values.
_DOTS = {"plain": 6.0, "mitigated": 3.6, "recalibrated": 1.6}
#: The experiments by which a device is learned.
_EXPERIMENTS = ("the circuit", "along random axes", "basis states")


def scores_and_values(found: Evaluation) -> Figure:
    """Scores with intervals on the left, measured against exact values on the right."""
    result, exact, metric = found.result, found.exact, found.metric
    figure, (left, right) = blank(10, 4, 1, 2, grid="y", width_ratios=(1.3, 1))
    names = [name for name in _NAMES if name in result]
    for position, name in enumerate(names):
        value, (low, high) = result[name][metric], result[name]["interval"]
        left.errorbar(
            position, value, [[max(value - low, 0)], [max(high - value, 0)]], fmt="o", capsize=4,
            color=_COLORS.get(name, "black"),
        )  # fmt: skip
        left.annotate(
            f"{value:.4f}", (position, value), (7, 0), textcoords="offset points", fontsize=8
        )
    left.set_xticks(range(len(names)), [_NAMES[name] for name in names], fontsize=8)
    left.set_xlim(-0.5, len(names) - 0.2)
    left.set(ylabel=f"{metric.replace('_', ' ')}, 95 % interval")
    where = "simulated " if result["device"] == "simulated" else ""
    size = f"{result['test_count']:,} examples × {result['shots']:,} shots"
    left.set_title(f"{where}{result['backend']}, {size}", fontsize=10)
    span = [float(exact.min()), float(exact.max())]
    right.plot(span, span, color="black", linewidth=0.8)
    for name, color in _COLORS.items():
        values = getattr(found.measured, name)
        if values is not None:
            rms = result[name]["rms"]
            label = f"{_NAMES[name]} (rms {rms:.3f})".replace("\n", " ")
            right.plot(
                exact.ravel(), values.values.ravel(), "o", ms=_DOTS[name], mew=0, color=color,
                label=label,
            )  # fmt: skip
    right.set(xlabel="exact expectation value", ylabel="measured expectation value")
    right.legend(frameon=False, fontsize=8, markerscale=1.5)
    right.grid(axis="x", alpha=0.25)
    return figure


def predicted_and_measured(found: Learned) -> Figure:
    """Probabilities and frequencies of held-out settings, by experiment."""
    figure, axes = blank(10, 4, 1, 2, sharey=True)
    checks = (found.fit.before, found.fit.after)
    for number, (ax, check) in enumerate(zip(axes, checks, strict=True)):
        for name, shares, measured, held in zip(
            _EXPERIMENTS, found.fit.predicted, found.frequencies, found.fit.held, strict=True
        ):
            ax.plot(measured[held].ravel(), shares[number][held].ravel(), "o", ms=3, label=name)
        ax.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        title = ("published errors", "learned errors")[number]
        ax.set_title(f"{title}: {check.ratio:.2f} × shot noise", fontsize=10)
        ax.set(xlabel="measured frequency (held-out settings)", xlim=(-0.02, 1.02))
    axes[0].set(ylabel="predicted probability")
    axes[0].legend(frameon=False, fontsize=8)
    return figure
