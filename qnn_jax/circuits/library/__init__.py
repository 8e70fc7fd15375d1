"""The circuits that users expect, with Qiskit's names, defaults and parameter order."""

from qnn_jax.circuits.library.ansatze import qcnn, strongly_entangling_layers
from qnn_jax.circuits.library.encodings import amplitude_encoding, angle_encoding, data_reuploading
from qnn_jax.circuits.library.entanglement import PATTERNS, connections
from qnn_jax.circuits.library.evolution import pauli_evolution, qaoa_ansatz
from qnn_jax.circuits.library.feature_maps import pauli_feature_map, z_feature_map, zz_feature_map
from qnn_jax.circuits.library.layered import (
    efficient_su2,
    excitation_preserving,
    n_local,
    real_amplitudes,
)
from qnn_jax.circuits.library.random_circuits import iqp, quantum_volume, random_circuit, random_iqp

__all__ = [
    "PATTERNS",
    "amplitude_encoding",
    "angle_encoding",
    "connections",
    "data_reuploading",
    "efficient_su2",
    "excitation_preserving",
    "iqp",
    "n_local",
    "pauli_evolution",
    "pauli_feature_map",
    "qaoa_ansatz",
    "qcnn",
    "quantum_volume",
    "random_circuit",
    "random_iqp",
    "real_amplitudes",
    "strongly_entangling_layers",
    "z_feature_map",
    "zz_feature_map",
]
