"""The picture of a learned device: predicted against measured, before the fit and after it."""

from __future__ import annotations

from matplotlib.figure import Figure

from qnn_jax.hardware.learning import Learned
from qnn_jax.report.figures import blank

_NAMES = ("the circuit", "along random axes", "basis states")


def predicted_and_measured(found: Learned) -> Figure:
    """Probabilities and frequencies of held-out settings, by experiment."""
    figure, axes = blank(10, 4, 1, 2, sharey=True)
    checks = (found.fit.before, found.fit.after)
    for number, (ax, check) in enumerate(zip(axes, checks, strict=True)):
        for name, shares, measured, held in zip(
            _NAMES, found.fit.predicted, found.frequencies, found.fit.held, strict=True
        ):
            ax.plot(measured[held].ravel(), shares[number][held].ravel(), "o", ms=3, label=name)
        ax.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        title = ("published errors", "learned errors")[number]
        ax.set_title(f"{title}: {check.ratio:.2f} × shot noise", fontsize=10)
        ax.set(xlabel="measured frequency (held-out settings)", xlim=(-0.02, 1.02))
    axes[0].set(ylabel="predicted probability")
    axes[0].legend(frameon=False, fontsize=8)
    return figure
