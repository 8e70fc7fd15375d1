"""Train a hybrid classifier on Fashion-MNIST, beside its classical twin.

    make train-fashion
    make train-fashion ARGS="--preset slides --run slides"
    python -m pipelines.train_fashion --classes all --model.num-qubits 4 --run ten

The default takes well under a minute on two cores and reaches about 0.995 on the 2,000 test
images of T-shirt/top against Trouser.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipelines import command
from qnn_jax.configs import ModelConfig, TrainingConfig, check_model, check_training
from qnn_jax.errors import InputError

Preset = Literal["default", "slides", "notebook"]


@dataclasses.dataclass(frozen=True)
class FashionConfig:
    """Train a hybrid quantum-classical classifier on Fashion-MNIST."""

    preset: Preset = "default"
    """Where all other values start: "slides" and "notebook" are the 2022 project's networks and
    training, as its slides show them and as its notebook ran them."""
    run: str = "fashion"
    """Name of the run; its files go to RESULTS_DIR/RUN."""
    results_dir: Path = Path("results")
    """Folder of all runs."""
    seed: int = 0
    """Of the initial parameters, the order of the images and the validation split."""
    order_seed: int | None = None
    """Of the order of the images, their augmentation and dropout alone; default: --seed."""
    split_seed: int | None = None
    """Of the validation split alone; default: --seed."""
    resume: bool = True
    """Go on with an interrupted run of this name; --no-resume starts over."""
    classes: tuple[str, ...] = ("T-shirt/top", "Trouser")
    """Two or more of the ten classes, by name or number, or "all"."""
    train_images: int = 0
    """Train on this many images only, as many of each class; 0 takes all."""
    validation_images: int = 1000
    """Images kept out of training to watch it by; the test images serve the final number only."""
    twin: bool = True
    """Train the same network with a classical layer in place of the circuit alongside."""
    data_dir: Path | None = None
    """Where prepared data are kept; default: TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    manual_dir: Path | None = None
    """A folder with the four official archives, used instead of a download; default:
    QNN_JAX_MANUAL_DIR."""
    model: ModelConfig = ModelConfig()
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")] = TrainingConfig()

    def seeds(self) -> tuple[int, int, int]:
        """Of the initial parameters, of the order of the images, of the validation split."""
        order, split = self.order_seed, self.split_seed
        return (
            self.seed,
            self.seed if order is None else order,
            self.seed if split is None else split,
        )


_SLIDES = FashionConfig(
    preset="slides",
    train_images=400,
    model=ModelConfig(hidden=(64,), activation_before_features=True, bound="none", head_gain=0.0),
    training=TrainingConfig(
        epochs=5, batch_size=4, schedule="constant", loss="mse", weight_decay=0, shift=0, flip=False
    ),
)
PRESETS: Mapping[Preset, FashionConfig] = {
    "default": FashionConfig(),
    "slides": _SLIDES,
    "notebook": dataclasses.replace(
        _SLIDES,
        preset="notebook",
        model=dataclasses.replace(
            _SLIDES.model, hidden=(128, 64), activation_before_features=False, dropout=0.5
        ),
    ),
}
# In config.json only where they are given, and never.
OWN_SEEDS = ("order_seed", "split_seed")
NOT_IN_JSON = ("resume", "results_dir")
# These say where and whether, not what: a run goes on under other values of them. "scan" is no
# flag: it names the scan whose best member the run is.
NOT_OF_THE_RUN = ("run", "data_dir", "manual_dir", "scan")


def as_json(config: FashionConfig) -> dict[str, object]:
    """What config.json holds; a seed of its own only where it is given."""
    fields = dataclasses.asdict(config)
    absent = {name for name in OWN_SEEDS if fields[name] is None}.union(NOT_IN_JSON)
    return {name: value for name, value in fields.items() if name not in absent}


def check(config: FashionConfig) -> tuple[int, ...]:
    """Everything that can be refused before JAX loads; the numbers of the classes."""
    from qnn_jax.data import FASHION_MNIST, class_numbers
    from qnn_jax.runs import check_name

    names = FASHION_MNIST.class_names
    given = tuple(names) if [c.lower() for c in config.classes] == ["all"] else config.classes
    numbers = class_numbers(given, names)
    check_name(config.run)
    check_model(config.model)
    if config.training.loss == "mse" and len(numbers) > 2:
        raise InputError(
            f"Argument `--loss` must be cross-entropy for more than two classes, but is mse and "
            f"there are {len(numbers)}."
        )
    for flag, value in (
        ("--train-images", config.train_images),
        ("--validation-images", config.validation_images),
    ):
        if value < 0:
            raise InputError(f"Argument `{flag}` must be at least 0, but is {value}.")
    for flag, seed in zip(("--seed", "--order-seed", "--split-seed"), config.seeds(), strict=True):
        command.check_seed(flag, seed)
    available = FASHION_MNIST.train_count // len(names) * len(numbers) - config.validation_images
    if available < 1:
        raise InputError(
            f"Argument `--validation-images` must be below {available + config.validation_images}, "
            "the number of images to train and validate on, but is "
            f"{config.validation_images}."
        )
    if config.train_images > available:
        raise InputError(
            f"Argument `--train-images` must be at most {available}, what --validation-images "
            f"leaves, but is {config.train_images}."
        )
    check_training(config.training, config.train_images or available)
    return numbers


def main(argv: list[str] | None = None) -> int:
    """Parse, check, train, report; the exit status."""
    config = command.parse(FashionConfig, PRESETS, argv)
    classes = check(config)
    command.start_jax()
    from pipelines.training_run import train

    return train(config, classes, as_json(config), NOT_OF_THE_RUN)


if __name__ == "__main__":
    command.run(main)
