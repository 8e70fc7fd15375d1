"""Training as pure functions: an epoch is one jitted program. Names load on first use."""

import importlib
from typing import Any

_HOME = {
    "ACCURACY": "task",
    "AdamW": "adamw",
    "Examples": "task",
    "Folders": "task",
    "HYBRID": "task",
    "LeastSquares": "least_squares",
    "MEAN_L1": "task",
    "Member": "task",
    "Metric": "task",
    "Reference": "task",
    "Splits": "task",
    "Task": "task",
    "Trainer": "task",
    "augment": "losses",
    "class_losses": "losses",
    "fit_epoch": "epochs",
    "fit_population_epoch": "epochs",
    "in_batches": "batches",
    "init_population": "epochs",
    "init_state": "epochs",
    "map_batches": "batches",
    "squared_errors": "losses",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"qnn_jax.training.{_HOME[name]}"), name)
    raise AttributeError(f"module 'qnn_jax.training' has no attribute {name!r}")
