"""Hybrid quantum neural networks in JAX.

Names load on first use, so that `import qnn_jax` imports neither JAX nor Qiskit.
"""

import importlib
from typing import Any

_HOME = {
    "Circuit": "qnn_jax.circuits",
    "Op": "qnn_jax.circuits",
    "PauliSum": "qnn_jax.circuits",
    "x": "qnn_jax.circuits",
    "w": "qnn_jax.circuits",
    "amplitude_encoding": "qnn_jax.circuits",
    "angle_encoding": "qnn_jax.circuits",
    "data_reuploading": "qnn_jax.circuits",
    "efficient_su2": "qnn_jax.circuits",
    "excitation_preserving": "qnn_jax.circuits",
    "iqp": "qnn_jax.circuits",
    "n_local": "qnn_jax.circuits",
    "pauli_evolution": "qnn_jax.circuits",
    "pauli_feature_map": "qnn_jax.circuits",
    "qaoa_ansatz": "qnn_jax.circuits",
    "qcnn": "qnn_jax.circuits",
    "quantum_volume": "qnn_jax.circuits",
    "random_circuit": "qnn_jax.circuits",
    "random_iqp": "qnn_jax.circuits",
    "real_amplitudes": "qnn_jax.circuits",
    "strongly_entangling_layers": "qnn_jax.circuits",
    "z_feature_map": "qnn_jax.circuits",
    "zz_feature_map": "qnn_jax.circuits",
    "angles": "qnn_jax.simulate",
    "expectations": "qnn_jax.simulate",
    "statevector": "qnn_jax.simulate",
    "InputError": "qnn_jax.errors",
}
_MODULES = ("circuits", "data", "linen", "models", "nnx", "runs", "simulate", "training")

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("qnn-jax")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"qnn_jax.{name}")
    raise AttributeError(f"module 'qnn_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
