"""The picture of an evaluation on hardware."""

from __future__ import annotations

from matplotlib.figure import Figure

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
