"""The JAX side: circuits as jit-compiled, differentiable functions.

README.md beside this file takes one circuit through the planner and the engines. Its words:

instruction: a gate form on some qubits, at one angle or none.
gate form: what a gate does: its matrix as a combination of 1, cos θ/2, sin θ/2, cos θ, sin θ.
light cone: the instructions that observables see; all others are left out.
layer: instructions that are done together; even ones hold diagonals and permutations.
fusion: gates of one layer that become one matrix.
step: what is done to all amplitudes at once. A diagonal step turns phases, a permutation step moves
    amplitudes, a matrix step multiplies neighbouring bits by a matrix, a uniform step brings a few
    bits together and multiplies them by any gates' matrix.
scanned steps: steps that repeat, with other angles each time: one `lax.scan`.
state-last, batch-last layout: the amplitudes, or the samples, are the last axis of every array.
shards: the parts of a state on devices. The highest bits of an amplitude's place are the number of
    its device, and those bits are the global parities of its index.
exchange: other parities become global: one all-to-all.
gf2: index maps are affine maps over GF(2) on the bits of an index.
materialize: store an array instead of computing it again wherever it is used.
"""

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
