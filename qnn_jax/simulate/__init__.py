"""The JAX side: circuits as jit-compiled, differentiable functions."""

from qnn_jax.simulate.angle_table import angles
from qnn_jax.simulate.caches import clear_caches
from qnn_jax.simulate.encoding import amplitude_angles
from qnn_jax.simulate.geometry import (
    fidelity,
    fisher_information,
    kernel_matrix,
    overlap,
    quantum_geometric_tensor,
)
from qnn_jax.simulate.measurement import probabilities, sample, variances
from qnn_jax.simulate.planner import Plan, plan
from qnn_jax.simulate.preflight import bytes_needed
from qnn_jax.simulate.statevector import expectations, statevector

__all__ = [
    "Plan",
    "amplitude_angles",
    "angles",
    "bytes_needed",
    "clear_caches",
    "expectations",
    "fidelity",
    "fisher_information",
    "kernel_matrix",
    "overlap",
    "plan",
    "probabilities",
    "quantum_geometric_tensor",
    "sample",
    "statevector",
    "variances",
]
