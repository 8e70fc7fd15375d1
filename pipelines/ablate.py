"""What was the quantum part worth? The model beside its twins, over seeds and training sizes.

    make ablate
    make ablate ARGS="--quick"
    make ablate ARGS="--seeds 40 --sizes all --run long"

The model and six twins train on the same data, batches and seeds with the same optimiser: without
entanglement, with the circuit frozen as drawn, with a classical layer of the circuit's size, with
nothing in its place, the classical network alone, and logistic regression on pixels. All seeds of
a twin are one program. Over 20 seeds and four sizes that takes about 20 minutes on two idle cores.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipelines import command
from qnn_jax.configs import ModelConfig, TrainingConfig, check_model, check_training
from qnn_jax.errors import InputError

#: 20 epochs of all images are what 20 seeds and all twins have time for in 20 minutes.
_EPOCHS = 20
_MOST_SEEDS = 100


@dataclasses.dataclass(frozen=True)
class AblateConfig:
    """Train the model and its twins over many seeds, and say what the quantum part was worth."""

    task: Literal["fashion"] = "fashion"
    """What is learned."""
    run: str = "ablate"
    """Name of the run; its files go to RESULTS_DIR/RUN."""
    results_dir: Path = Path("results")
    """Folder of all runs."""
    quick: bool = False
    """A look in two minutes: fewer seeds, sizes and epochs, and the result says so."""
    seed: int = 0
    """The first seed; the others follow it."""
    seeds: int = 20
    """How many; each draws initial parameters, the order of images, and which images train."""
    sizes: tuple[str, ...] = ("50", "200", "1000", "all")
    """Training images, as many of each class; "all" takes all, and keeps none for validation."""
    least_steps: int = 500
    """Few images are gone through several times an epoch, so often that all epochs together have
    this many optimiser steps; the learning rate's schedule so keeps its shape."""
    resume: bool = True
    """Go on with an interrupted run of this name; --no-resume starts over."""
    classes: tuple[str, ...] = ("T-shirt/top", "Trouser")
    """Two or more of the ten classes, by name or number, or "all"."""
    data_dir: Path | None = None
    """Where prepared data are kept; default: TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    manual_dir: Path | None = None
    """A folder with the four official archives, used instead of a download; default:
    QNN_JAX_MANUAL_DIR."""
    model: ModelConfig = ModelConfig()
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")] = TrainingConfig(epochs=_EPOCHS)

    def numbers_of_images(self, available: int) -> tuple[int, ...]:
        """The sizes as numbers, smallest first."""
        return tuple(sorted(available if size == "all" else int(size) for size in self.sizes))

    def training_at(self, size: int) -> TrainingConfig:
        """How `size` images are trained on: no batch is larger than they are."""
        return dataclasses.replace(self.training, batch_size=min(self.training.batch_size, size))

    def passes_at(self, size: int) -> int:
        """How often an epoch goes through `size` images, to have steps enough."""
        steps = self.training.epochs * (size // self.training_at(size).batch_size)
        return max(1, -(-self.least_steps // steps))


_DEFAULT = AblateConfig()
# Eight seeds, since of fewer no difference to six twins could pass the test.
_QUICK = dataclasses.replace(
    _DEFAULT,
    quick=True,
    seeds=8,
    sizes=("50", "200"),
    least_steps=200,
    training=dataclasses.replace(_DEFAULT.training, epochs=5),
)
#: By whether the look is to be quick.
DEFAULTS = {False: _DEFAULT, True: _QUICK}
# These say where and whether, not what: a run goes on under other values of them.
NOT_OF_THE_RUN = ("run", "data_dir", "manual_dir")


def check(config: AblateConfig) -> tuple[int, ...]:
    """Everything that can be refused before JAX loads; the numbers of the classes."""
    from qnn_jax.data import FASHION_MNIST, class_numbers
    from qnn_jax.runs import check_name

    names = FASHION_MNIST.class_names
    given = tuple(names) if [c.lower() for c in config.classes] == ["all"] else config.classes
    numbers = class_numbers(given, names)
    check_name(config.run)
    check_model(config.model)
    available = FASHION_MNIST.train_count // len(names) * len(numbers)
    check_training(config.training, available)
    if config.training.loss == "mse" and len(numbers) > 2:
        raise InputError(
            f"Argument `--loss` must be cross-entropy for more than two classes, but is mse and "
            f"there are {len(numbers)}."
        )
    if config.training.epochs < 1:
        raise InputError(
            f"Argument `--epochs` must be at least 1 here, but is {config.training.epochs}."
        )
    if config.seed < 0:
        raise InputError(f"Argument `--seed` must be at least 0, but is {config.seed}.")
    if not 2 <= config.seeds <= _MOST_SEEDS:
        raise InputError(
            f"Argument `--seeds` must be between 2, for an interval, and {_MOST_SEEDS}, which "
            f"train side by side, but is {config.seeds}."
        )
    if config.least_steps < 1:
        raise InputError(
            f"Argument `--least-steps` must be at least 1, but is {config.least_steps}."
        )
    for size in config.sizes:
        fits = size == "all" or (
            size.isdecimal() and 0 < int(size) <= available and int(size) % len(numbers) == 0
        )
        if not fits:
            raise InputError(
                f"Argument `--sizes` must hold multiples of {len(numbers)}, as many images of each "
                f'class, of at most {available}, or "all", but has {size!r}.'
            )
    counts = config.numbers_of_images(available)
    if not counts or len(set(counts)) < len(counts):
        raise InputError(
            f"Argument `--sizes` must hold one or more different sizes, but is {config.sizes}."
        )
    return numbers


def main(argv: list[str] | None = None) -> int:
    """Parse, check, train, report; the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    default = DEFAULTS["--quick" in arguments]
    config = command.parse(AblateConfig, {"default": default}, argv)
    classes = check(config)
    as_json = {
        k: v for k, v in dataclasses.asdict(config).items() if k not in ("resume", "results_dir")
    }
    from pipelines.ablate_fashion import study
    from pipelines.ablate_run import run_study

    return run_study(study(config, classes), config, as_json, NOT_OF_THE_RUN)


if __name__ == "__main__":
    command.run(main)
