"""To Qiskit and back, checked for equality. This package and `hardware` alone import Qiskit.

Names load on first use: `import qnn_jax.bridge` imports neither JAX nor Qiskit.
"""

from qnn_jax.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "aer_executor": ("AerRecord", "aer"),
        "certificate": ("Certificate", "CertificationError"),
        "certification": ("certify",),
        "channels": ("noise_model", "noisy"),
        "drawing": ("draw",),
        "export": ("angle_columns", "to_qiskit"),
        "observables": ("from_sparse_pauli_op", "to_sparse_pauli_op"),
        "qasm": ("from_qasm", "to_qasm2"),
        "qasm3": ("to_qasm3",),
        "reading": ("differences", "from_qiskit"),
        "torch": ("load_torch",),
    },
    extra="bridge",
)
