"""What a circuit is. Values only: this package imports neither JAX nor Qiskit."""

from qnn_jax.circuits.angles import Expression, w, x
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.gates import GATES, Gate
from qnn_jax.circuits.library import (
    amplitude_encoding,
    angle_encoding,
    data_reuploading,
    efficient_su2,
    excitation_preserving,
    iqp,
    n_local,
    pauli_evolution,
    pauli_feature_map,
    qaoa_ansatz,
    qcnn,
    quantum_volume,
    random_circuit,
    random_iqp,
    real_amplitudes,
    strongly_entangling_layers,
    z_feature_map,
    zz_feature_map,
)
from qnn_jax.circuits.observables import PauliSum, observable
from qnn_jax.circuits.op import Op

__all__ = [
    "GATES",
    "Circuit",
    "Expression",
    "Gate",
    "Op",
    "PauliSum",
    "amplitude_encoding",
    "angle_encoding",
    "data_reuploading",
    "efficient_su2",
    "excitation_preserving",
    "iqp",
    "n_local",
    "observable",
    "pauli_evolution",
    "pauli_feature_map",
    "qaoa_ansatz",
    "qcnn",
    "quantum_volume",
    "random_circuit",
    "random_iqp",
    "real_amplitudes",
    "strongly_entangling_layers",
    "w",
    "x",
    "z_feature_map",
    "zz_feature_map",
]
