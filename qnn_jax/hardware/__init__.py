"""Quantum computers of IBM: devices, jobs that are never paid for twice, what they cost.

Names load on first use: `import qnn_jax.hardware` imports neither JAX nor Qiskit.
"""

from qnn_jax.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "accounts": ("Where",),
        "executor": ("DeviceRecord", "device"),
        "jobs": ("DeviceStoppedError",),
        "learning": ("Learned", "check_device", "learn_device"),
        "ledger": ("Ledger",),
        "measurement": ("Visit",),
        "plan": ("LearnSettings", "Settings"),
        "twin": ("DeviceTwin",),
    },
    extra="bridge",
)
