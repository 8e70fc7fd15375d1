"""Tasks as values, training them, and the trained model. Names load on first use."""

from qnn_jax.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "calculator": ("Calculator",),
        "defaults": ("TaskDefaults",),
        "fashion": ("Fashion",),
        "fit": ("train",),
        "splits": ("splits_of",),
        "stored": ("Seeds", "newest"),
        "table": ("TASKS",),
        "tabular": ("Tabular", "predict_file"),
        "trained": ("Trained", "load"),
    },
)
