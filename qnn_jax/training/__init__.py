"""Training as pure functions: an epoch is one jitted program."""

from qnn_jax.configs import TrainingConfig, check_training
from qnn_jax.training.fit import (
    EpochMetrics,
    Examples,
    State,
    Task,
    all_logits,
    augment,
    evaluate,
    fit_epoch,
    in_batches,
    init_state,
    predictions,
)
from qnn_jax.training.statistics import wilson_interval

__all__ = [
    "EpochMetrics",
    "Examples",
    "State",
    "Task",
    "TrainingConfig",
    "all_logits",
    "augment",
    "check_training",
    "evaluate",
    "fit_epoch",
    "in_batches",
    "init_state",
    "predictions",
    "wilson_interval",
]
