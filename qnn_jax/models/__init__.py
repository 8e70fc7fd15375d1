"""Models: encode, a circuit or its classical twin in the middle, a head."""

from qnn_jax.configs import ModelConfig
from qnn_jax.models.hybrid import (
    HybridClassifier,
    PixelRegression,
    count_parameters,
    twin_width,
)

__all__ = [
    "HybridClassifier",
    "ModelConfig",
    "PixelRegression",
    "count_parameters",
    "twin_width",
]
