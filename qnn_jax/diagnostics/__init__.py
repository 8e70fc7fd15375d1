"""Diagnostics of a circuit's properties and training, each with its paper.

They run jitted programs and return NumPy values: call them, do not jit them.
"""

from qnn_jax.diagnostics.entanglement import (
    Entanglement,
    Expressibility,
    entangling_capability,
    expressibility,
    meyer_wallach,
)
from qnn_jax.diagnostics.fisher import (
    EffectiveDimension,
    FisherSpectrum,
    effective_dimension,
    fisher_spectrum,
    signed_fisher_information,
)
from qnn_jax.diagnostics.fourier import Spectrum, fourier_spectrum
from qnn_jax.diagnostics.gradients import (
    GradientVariance,
    circuit_gradient_variances,
    gradient_variance,
)
from qnn_jax.diagnostics.kernels import Alignment, kernel_alignment
from qnn_jax.diagnostics.regression import LeastAbsolute, least_absolute
from qnn_jax.diagnostics.representation import (
    AnsatzBound,
    Bound,
    ansatz_bound,
    midpoints,
    representation_bound,
)
from qnn_jax.diagnostics.sampling import random_states, random_weights

__all__ = [
    "Alignment",
    "AnsatzBound",
    "Bound",
    "EffectiveDimension",
    "Entanglement",
    "Expressibility",
    "FisherSpectrum",
    "GradientVariance",
    "LeastAbsolute",
    "Spectrum",
    "ansatz_bound",
    "circuit_gradient_variances",
    "effective_dimension",
    "entangling_capability",
    "expressibility",
    "fisher_spectrum",
    "fourier_spectrum",
    "gradient_variance",
    "kernel_alignment",
    "least_absolute",
    "meyer_wallach",
    "midpoints",
    "random_states",
    "random_weights",
    "representation_bound",
    "signed_fisher_information",
]
