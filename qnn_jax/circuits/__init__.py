"""What a circuit is. Values only: this package imports neither JAX nor Qiskit."""

from qnn_jax.circuits.angles import Expression, w, x
from qnn_jax.circuits.circuit import Circuit, Op
from qnn_jax.circuits.gates import GATES, Gate
from qnn_jax.circuits.library import real_amplitudes, zz_feature_map
from qnn_jax.circuits.observables import PauliSum, observable

__all__ = [
    "GATES",
    "Circuit",
    "Expression",
    "Gate",
    "Op",
    "PauliSum",
    "observable",
    "real_amplitudes",
    "w",
    "x",
    "zz_feature_map",
]
