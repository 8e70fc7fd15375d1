"""Quantum computers of IBM's: devices, jobs that are never paid for twice, what they cost.

Names load on first use: `import qnn_jax.hardware` imports neither JAX nor Qiskit.
"""

import importlib
from typing import Any

#: Where each public name lives.
_HOME = {
    "DeviceRecord": "executor",
    "DeviceStoppedError": "jobs",
    "Ledger": "ledger",
    "Settings": "plan",
    "Where": "accounts",
    "device": "executor",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'qnn_jax.hardware' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"qnn_jax.hardware.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0].startswith("qnn_jax"):
            raise
        raise ModuleNotFoundError(
            f"`qnn_jax.hardware.{name}` needs the package {error.name!r}, which is not installed; "
            "pip install 'qnn-jax[bridge]' installs all that it needs.",
            name=error.name,
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
