"""The JAX side: circuits as jit-compiled, differentiable functions."""

from qnn_jax.simulate.angle_table import angles
from qnn_jax.simulate.planner import Plan, plan
from qnn_jax.simulate.preflight import bytes_needed
from qnn_jax.simulate.statevector import expectations, statevector

__all__ = ["Plan", "angles", "bytes_needed", "expectations", "plan", "statevector"]
