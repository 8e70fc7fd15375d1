"""To Qiskit and back, without a wrong number. This package and `hardware` alone import Qiskit.

Names load on first use: `import qnn_jax.bridge` imports neither JAX nor Qiskit.
"""

import importlib
from typing import Any

#: Where every public name lives.
_ROOMS = {
    "qnn_jax.bridge.aer_executor": ("AerRecord", "aer"),
    "qnn_jax.bridge.certificate": ("Certificate", "CertificationError"),
    "qnn_jax.bridge.certification": ("certify",),
    "qnn_jax.bridge.drawing": ("draw",),
    "qnn_jax.bridge.export": ("angle_columns", "to_qiskit"),
    "qnn_jax.bridge.observables": ("from_sparse_pauli_op", "to_sparse_pauli_op"),
    "qnn_jax.bridge.qasm": ("from_qasm", "to_qasm2"),
    "qnn_jax.bridge.qasm3": ("to_qasm3",),
    "qnn_jax.bridge.reading": ("differences", "from_qiskit"),
    "qnn_jax.bridge.torch": ("load_torch",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'qnn_jax.bridge' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0].startswith("qnn_jax"):
            raise
        raise ModuleNotFoundError(
            f"`qnn_jax.bridge.{name}` needs the package {error.name!r}, which is not installed; "
            "pip install 'qnn-jax[bridge]' installs all that the bridge needs.",
            name=error.name,
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
