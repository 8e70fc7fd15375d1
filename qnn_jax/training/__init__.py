"""Training as pure functions: an epoch is one jitted program. Names load on first use."""

from qnn_jax.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "adamw": ("AdamW",),
        "batches": ("in_batches", "map_batches"),
        "epochs": ("fit_epoch", "fit_population_epoch", "init_population", "init_state"),
        "least_squares": ("LeastSquares",),
        "losses": ("augment", "class_losses", "squared_errors"),
        "task": (
            "ACCURACY",
            "Examples",
            "Explanation",
            "Folders",
            "HYBRID",
            "MEAN_L1",
            "Member",
            "Metric",
            "Reference",
            "Result",
            "Splits",
            "Task",
            "Trainer",
        ),
    },
)
