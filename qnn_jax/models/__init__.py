"""Models: an encoder, a circuit or its classical twin, a head."""

from qnn_jax.configs import ModelConfig
from qnn_jax.models.hybrid import (
    HybridClassifier,
    HybridFeatures,
    PixelRegression,
    count_parameters,
    twin_width,
)
from qnn_jax.models.network import HybridNetwork
from qnn_jax.models.regressor import HybridRegressor, MLPRegressor

__all__ = [
    "HybridClassifier",
    "HybridFeatures",
    "HybridNetwork",
    "HybridRegressor",
    "MLPRegressor",
    "ModelConfig",
    "PixelRegression",
    "count_parameters",
    "twin_width",
]
