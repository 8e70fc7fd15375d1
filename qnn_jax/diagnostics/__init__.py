"""What a circuit can do and what it does: diagnostics for designers, each with its paper."""

from qnn_jax.diagnostics.fourier import Spectrum, fourier_spectrum
from qnn_jax.diagnostics.regression import LeastAbsolute, least_absolute
from qnn_jax.diagnostics.representation import (
    AnsatzBound,
    Bound,
    ansatz_bound,
    midpoints,
    representation_bound,
)

__all__ = [
    "AnsatzBound",
    "Bound",
    "LeastAbsolute",
    "Spectrum",
    "ansatz_bound",
    "fourier_spectrum",
    "least_absolute",
    "midpoints",
    "representation_bound",
]
