"""What is learned: tasks as values, training them, and the trained model."""

import importlib
from typing import Any

#: Where each public name lives; names load on first use, so that flags are read without JAX.
_HOME = {
    "Calculator": "calculator",
    "Fashion": "fashion",
    "TASKS": "table",
    "TaskDefaults": "defaults",
    "Trained": "trained",
    "Seeds": "stored",
    "load": "trained",
    "newest": "stored",
    "splits_of": "splits",
    "train": "fit",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"qnn_jax.tasks.{_HOME[name]}"), name)
    raise AttributeError(f"module 'qnn_jax.tasks' has no attribute {name!r}")
