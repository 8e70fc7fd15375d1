"""Hybrid quantum neural networks in JAX.

Names load on first use, so that `import qnn_jax` imports neither JAX nor Qiskit.

Every different circuit is compiled, and JAX keeps compiled programs: a process that uses thousands
of circuits should call `qnn_jax.clear_caches()`, or its memory grows by about 5 MB for each.
"""

from typing import Any

from qnn_jax.lazy import lazy

_get, _dir, _names = lazy(
    __name__,
    {
        "circuits": (
            "Circuit",
            "Op",
            "PauliSum",
            "w",
            "x",
            "amplitude_encoding",
            "angle_encoding",
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
        ),
        "simulate": (
            "amplitude_angles",
            "angles",
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
        ),
        "errors": ("InputError", "LargeAngleWarning"),
        "tasks": ("Trained", "load"),
        "estimators": (
            "QuantumClassifier",
            "QuantumKernel",
            "QuantumRegressor",
            "QuantumSearch",
        ),
    },
    extra="sklearn",
    submodules=(
        "bridge",
        "circuits",
        "configs",
        "data",
        "diagnostics",
        "estimators",
        "executors",
        "hardware",
        "initializers",
        "linen",
        "models",
        "nnx",
        "noise",
        "report",
        "runs",
        "simulate",
        "stats",
        "studies",
        "tasks",
        "training",
    ),
)

#: Names that are elsewhere, because their modules need Flax or Qiskit, or because there are two.
_ELSEWHERE = {
    "QuantumLayer": "qnn_jax.linen or qnn_jax.nnx",
    "Executor": "qnn_jax.executors",
    "exact": "qnn_jax.executors",
    "mitigated": "qnn_jax.executors",
    "noisy": "qnn_jax.executors or qnn_jax.bridge",
    "sampled": "qnn_jax.executors",
    "NoiseModel": "qnn_jax.noise",
    "HybridClassifier": "qnn_jax.models",
    "aer": "qnn_jax.bridge",
    "certify": "qnn_jax.bridge",
    "device": "qnn_jax.hardware",
    "from_qasm": "qnn_jax.bridge",
    "from_qiskit": "qnn_jax.bridge",
    "to_qasm2": "qnn_jax.bridge",
    "to_qasm3": "qnn_jax.bridge",
    "to_qiskit": "qnn_jax.bridge",
}

__all__ = [*_names, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("qnn-jax")
    if name in _ELSEWHERE:
        # An ImportError, because `from qnn_jax import name` drops the text of an AttributeError.
        raise ImportError(
            f"cannot import name {name!r} from 'qnn_jax'; it is in {_ELSEWHERE[name]}: "
            f"from {_ELSEWHERE[name].split()[0]} import {name}"
        )
    return _get(name)


def __dir__() -> list[str]:
    return sorted([*_dir(), "__version__"])
