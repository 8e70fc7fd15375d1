"""Train a hybrid classifier on Fashion-MNIST, and compare it with its classical twin.

    make train-fashion
    make train-fashion ARGS="--preset slides --run slides"
    python -m pipelines.train_fashion --classes all --model.num-qubits 4 --run ten

The default takes well under a minute on two cores and reaches about 0.995 on the 2,000 test
images of T-shirt/top against Trouser.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from pipelines import command, training
from pipelines.flags import RunFlags
from qnn_jax.configs import ModelConfig, TrainingConfig
from qnn_jax.tasks import Fashion

Preset = Literal["default", "slides", "notebook"]


@dataclasses.dataclass(frozen=True)
class FashionFlags(RunFlags):
    """Flags of this command in addition to the task's own fields."""

    run: str = "fashion"
    """Name of the run; its files go to RESULTS_DIR/RUN."""
    preset: Preset = "default"
    """The defaults of all other values: "slides" and "notebook" are the 2022 project's networks and
    training, as its slides show them and as its notebook ran them."""


_SLIDES = Fashion(
    train_images=400,
    model=ModelConfig(hidden=(64,), activation_before_features=True, bound="none", head_gain=0.0),
    training=TrainingConfig(
        epochs=5, batch_size=4, schedule="constant", loss="mse", weight_decay=0, shift=0, flip=False
    ),
)
PRESETS: Mapping[str, Fashion] = {
    "default": Fashion(),
    "slides": _SLIDES,
    "notebook": dataclasses.replace(
        _SLIDES,
        model=dataclasses.replace(
            _SLIDES.model, hidden=(128, 64), activation_before_features=False, dropout=0.5
        ),
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Parse, train, report; the exit status."""
    return training.train(*training.parse(PRESETS, FashionFlags(), argv))


if __name__ == "__main__":
    command.run(main)
