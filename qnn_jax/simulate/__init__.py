"""The JAX side: circuits as jit-compiled, differentiable functions."""

from qnn_jax.simulate.angle_table import angles
from qnn_jax.simulate.statevector import expectations, statevector

__all__ = ["angles", "expectations", "statevector"]
