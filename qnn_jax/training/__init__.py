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
from qnn_jax.training.population import Knobs, fit_population_epoch, init_population
from qnn_jax.training.statistics import wilson_interval

__all__ = [
    "EpochMetrics",
    "Examples",
    "Knobs",
    "State",
    "Task",
    "TrainingConfig",
    "all_logits",
    "augment",
    "check_training",
    "evaluate",
    "fit_epoch",
    "fit_population_epoch",
    "in_batches",
    "init_population",
    "init_state",
    "predictions",
    "wilson_interval",
]
