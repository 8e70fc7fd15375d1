"""Train a hybrid classifier on Fashion-MNIST, and compare it with its classical twin.

    make train-fashion
    make train-fashion ARGS="--preset slides --run slides"
    python -m pipelines.train_fashion --classes all --model.num-qubits 4 --run ten

The default takes well under a minute on two cores and reaches about 0.995 on the 2,000 test
images of T-shirt/top against Trouser.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from pipelines import command, training
from pipelines.flags import TrackedFlags
from qnn_jax.tasks import Fashion

Preset = Literal["default", "slides", "notebook"]


@dataclasses.dataclass(frozen=True)
class FashionFlags(TrackedFlags):
    """Flags of this command in addition to the task's own fields."""

    run: str = "fashion"
    """Name of the run; its files go to RESULTS_DIR/RUN."""
    preset: Preset = "default"
    """The defaults of all other values: "slides" and "notebook" are the 2022 project's networks and
    training, as its slides show them and as its notebook ran them."""


def main(argv: list[str] | None = None) -> int:
    """Parse, train, report; the exit status."""
    return training.train(*training.parse(Fashion.presets(), FashionFlags(), argv))


if __name__ == "__main__":
    command.run(main)
