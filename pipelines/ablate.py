"""What was the quantum part worth? The model beside its twins, over seeds and training sizes.

    make ablate
    make ablate ARGS="--quick"
    make ablate ARGS="--seeds 40 --sizes all --run long"
    make ablate ARGS="--task calculator"

The model and six twins train on the same data, batches and seeds with the same optimiser: without
entanglement, with the circuit frozen as drawn, with a classical layer of the circuit's size, with
nothing in its place, the classical network alone, and logistic regression on pixels. All seeds of
a twin are one program. Over 20 seeds and four sizes that takes about 20 minutes on two idle cores.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from pipelines import command
from qnn_jax.configs import (
    CalculatorModelConfig,
    CalculatorTrainingConfig,
    ModelConfig,
    TrainingConfig,
    check_calculator,
    check_model,
    check_training,
)
from qnn_jax.errors import InputError

#: 20 epochs of all images are what 20 seeds and all twins have time for in 20 minutes.
_EPOCHS = 20
_MOST_SEEDS, _MOST_POINTS = 100, 10_000


@dataclasses.dataclass(frozen=True)
class AblateConfig:
    """The flags of all tasks."""

    task: Literal["fashion", "calculator"] = "fashion"
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
    """How many; each draws initial parameters, the order of examples, and which of them train."""
    resume: bool = True
    """Go on with an interrupted run of this name; --no-resume starts over."""

    def every_seed(self) -> np.ndarray:
        """All seeds; signed integers would end at half of them."""
        return np.array(range(self.seed, self.seed + self.seeds), np.uint32)


@dataclasses.dataclass(frozen=True)
class FashionConfig(AblateConfig):
    """Train a model and its twins over many seeds, and say what the quantum part was worth.

    These are the flags of Fashion-MNIST; `--task calculator --help` lists the calculator's.
    """

    sizes: tuple[str, ...] = ("50", "200", "1000", "all")
    """Training images, as many of each class; "all" takes all, and keeps none for validation."""
    least_steps: int = 500
    """Few images are gone through several times an epoch, so often that all epochs together have
    this many optimiser steps; the learning rate's schedule so keeps its shape."""
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


@dataclasses.dataclass(frozen=True)
class CalculatorConfig(AblateConfig):
    """Train a calculator and its twins over many seeds; what was the quantum part worth?"""

    task: Literal["fashion", "calculator"] = "calculator"
    """What is learned."""
    run: str = "ablate-calculator"
    """Name of the run; its files go to RESULTS_DIR/RUN."""
    operation: str = "add"
    """add, subtract, multiply, mean, sin-sum, or an expression of a and b, each in [0, 1]."""
    sizes: tuple[int, ...] = (10, 30, 100, 300)
    """Training points; as many more choose one of the restarts."""
    epochs: int = 20
    """Each of 8 Levenberg-Marquardt steps on all training points."""
    learning_rate: float = 1.0
    """Length of a step in units of the full Gauss-Newton step."""
    model: CalculatorModelConfig = CalculatorModelConfig(restarts=8)


_FASHION, _CALCULATOR = FashionConfig(), CalculatorConfig()
# Eight seeds, since of fewer no difference to six twins could pass the test.
_QUICK_FASHION = dataclasses.replace(
    _FASHION,
    quick=True,
    seeds=8,
    sizes=("50", "200"),
    least_steps=200,
    training=dataclasses.replace(_FASHION.training, epochs=5),
)
_QUICK_CALCULATOR = dataclasses.replace(
    _CALCULATOR, quick=True, seeds=8, sizes=(10, 100), epochs=10
)
#: By task: the defaults, and those of a quick look.
DEFAULTS: Mapping[str, tuple[AblateConfig, AblateConfig]] = {
    "fashion": (_FASHION, _QUICK_FASHION),
    "calculator": (_CALCULATOR, _QUICK_CALCULATOR),
}
# These say where and whether, not what: a run goes on under other values of them.
NOT_OF_THE_RUN = ("run", "data_dir", "manual_dir")


def check_seeds(config: AblateConfig) -> None:
    """Refuse what no task can do."""
    from qnn_jax.runs import check_name

    check_name(config.run)
    if not 2 <= config.seeds <= _MOST_SEEDS:
        raise InputError(
            f"Argument `--seeds` must be between 2, for an interval, and {_MOST_SEEDS}, which "
            f"train side by side, but is {config.seeds}."
        )
    command.check_seed("--seed", config.seed, config.seeds)


def check_fashion(config: FashionConfig) -> tuple[int, ...]:
    """Everything that can be refused before JAX loads; the numbers of the classes."""
    from qnn_jax.data import FASHION_MNIST, class_numbers

    check_seeds(config)
    names = FASHION_MNIST.class_names
    given = tuple(names) if [c.lower() for c in config.classes] == ["all"] else config.classes
    numbers = class_numbers(given, names)
    check_model(config.model)
    available = FASHION_MNIST.train_count // len(names) * len(numbers)
    check_training(config.training, available)
    if config.training.loss == "mse" and len(numbers) > 2:
        raise InputError(
            f"Argument `--loss` must be cross-entropy for more than two classes, but is mse and "
            f"there are {len(numbers)}."
        )
    _check_epochs(config.training.epochs)
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
    _check_sizes(config.numbers_of_images(available), config.sizes)
    return numbers


def check_calculations(config: CalculatorConfig) -> None:
    """Everything that can be refused, which is all, before JAX loads."""
    from qnn_jax.operations import operation

    check_seeds(config)
    operation(config.operation)
    _check_epochs(config.epochs)
    check_calculator(
        config.model,
        CalculatorTrainingConfig(epochs=config.epochs, learning_rate=config.learning_rate),
    )
    for size in config.sizes:
        if not 2 <= size <= _MOST_POINTS:
            raise InputError(
                f"Argument `--sizes` must hold numbers between 2 and {_MOST_POINTS}, but has "
                f"{size}."
            )
    _check_sizes(config.sizes, config.sizes)


def _check_epochs(epochs: int) -> None:
    if epochs < 1:
        raise InputError(f"Argument `--epochs` must be at least 1 here, but is {epochs}.")


def _check_sizes(counts: Sequence[int], given: Sequence[object]) -> None:
    if not counts or len(set(counts)) < len(counts):
        raise InputError(
            f"Argument `--sizes` must hold one or more different sizes, but is {tuple(given)}."
        )


def defaults(arguments: Sequence[str]) -> AblateConfig:
    """What the other flags start from: the task's, and whether the look is to be quick."""
    task = "fashion"
    for position, word in enumerate(arguments):
        if word.startswith("--task="):
            task = word.partition("=")[2]
        elif word == "--task" and position + 1 < len(arguments):
            task = arguments[position + 1]
    # An unknown task is left to tyro, which names the choices.
    return DEFAULTS.get(task, DEFAULTS["fashion"])["--quick" in arguments]


def main(argv: list[str] | None = None) -> int:
    """Parse, check, train, report; the exit status."""
    default = defaults(sys.argv[1:] if argv is None else argv)
    config = command.parse(type(default), {"default": default}, argv)
    if isinstance(config, CalculatorConfig):
        check_calculations(config)
        command.start_jax()
        from pipelines import ablate_calculator

        study = ablate_calculator.study(config)
    else:
        assert isinstance(config, FashionConfig)
        classes = check_fashion(config)
        command.start_jax()
        from pipelines import ablate_fashion

        study = ablate_fashion.study(config, classes)
    from pipelines.ablate_run import run_study

    as_json = {
        k: v for k, v in dataclasses.asdict(config).items() if k not in ("resume", "results_dir")
    }
    return run_study(study, config, as_json, NOT_OF_THE_RUN)


if __name__ == "__main__":
    command.run(
        main, "Stopped. Every finished program is saved; this goes on from there:\n  {again}"
    )
