"""Fashion-MNIST: images of clothes, two or more of its classes (arXiv:1708.07747)."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from qnn_jax.circuits import checks
from qnn_jax.configs import (
    ExecutionConfig,
    ModelConfig,
    TrainingConfig,
    check_loss,
    check_model,
    check_training,
)
from qnn_jax.data import FASHION_MNIST, ImageDataset, class_numbers
from qnn_jax.errors import InputError
from qnn_jax.tasks.defaults import HYBRID_NUMBERS, TaskDefaults
from qnn_jax.training.execution import check_execution
from qnn_jax.training.task import (
    ACCURACY,
    HYBRID,
    Examples,
    Folders,
    Member,
    Metric,
    Report,
    Splits,
    written,
)

#: Minimum number of optimiser steps for few images.
LEAST_STEPS = 500


@dataclass(frozen=True)
class Fashion(TaskDefaults):
    """Classify images of Fashion-MNIST with a hybrid of convolutions and a circuit.

    Attributes:
        classes: two or more of the ten, by name or number, or "all".
        train_images: train on this many images only, as many of each class; 0 takes all.
        validation_images: number of images kept out of training for validation.
        twin: also train the same network with a classical layer in place of the circuit.
        model: the network.
        training: settings of the trainer.
        execution: where the circuit runs in training.
    """

    classes: tuple[str, ...] = ("T-shirt/top", "Trouser")
    train_images: int = 0
    validation_images: int = 1000
    twin: bool = True
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    execution: ExecutionConfig = ExecutionConfig()

    name: ClassVar[str] = "fashion"
    metric: ClassVar[Metric] = ACCURACY
    numbers: ClassVar[frozenset[str]] = HYBRID_NUMBERS

    @classmethod
    def presets(cls) -> dict[str, Fashion]:
        """The default, and the networks and training of the 2022 project.

        "slides" is as its slides show them, "notebook" as its notebook ran them.
        """
        slides = cls(
            train_images=400,
            model=ModelConfig(
                hidden=(64,), activation_before_features=True, bound="none", head_gain=0.0
            ),
            training=TrainingConfig(
                epochs=5,
                batch_size=4,
                schedule="constant",
                loss="mse",
                weight_decay=0,
                shift=0,
                flip=False,
            ),
        )
        model = replace(
            slides.model, hidden=(128, 64), activation_before_features=False, dropout=0.5
        )
        return {"default": cls(), "slides": slides, "notebook": replace(slides, model=model)}

    @property
    def class_numbers(self) -> tuple[int, ...]:
        """The numbers of the classes in the data."""
        names = FASHION_MNIST.class_names
        every = isinstance(self.classes, tuple) and len(self.classes) == 1
        every = every and str(self.classes[0]).lower() == "all"
        return class_numbers(names if every else self.classes, names)

    def check(self) -> None:
        """Check the settings before JAX loads."""
        count = len(self.class_numbers)
        checks.flag("twin", self.twin)
        check_execution(self.execution)
        checks.of_type("model", self.model, ModelConfig, "a ModelConfig")
        check_model(self.model, FASHION_MNIST.image_shape)
        checks.of_type("training", self.training, TrainingConfig, "a TrainingConfig")
        checks.at_least("shift", self.training.shift, 0, min(FASHION_MNIST.image_shape) // 2)
        check_loss(self.training, count)
        for name in ("train_images", "validation_images"):
            checks.at_least(name, getattr(self, name), 0)
        there = FASHION_MNIST.train_count // len(FASHION_MNIST.class_names) * count
        available = there - self.validation_images
        if available < 1:
            raise InputError(
                f"Argument `validation_images` must be below {there}, the number of images to "
                f"train and validate on, but is {self.validation_images}."
            )
        if self.train_images > available:
            raise InputError(
                f"Argument `train_images` must be at most {available}, what `validation_images` "
                f"leaves, but is {self.train_images}."
            )
        if self.train_images % count:
            raise InputError(
                f"Argument `train_images` must be a multiple of {count}, as many of each class, "
                f"but is {self.train_images}."
            )
        check_training(self.training, self.train_images or available)

    def load(self, folders: Folders, seed: int, report: Report) -> Splits:
        """The images of the chosen classes; the seed selects the validation images."""
        import numpy as np

        from qnn_jax.tasks.splits import split

        dataset = _images(folders, self.class_numbers, report)
        whole = Examples(dataset.train_images, dataset.train_labels.astype(np.int32))
        train, validation = split(
            whole,
            seed,
            self.validation_images,
            self.train_images,
            len(dataset.class_names),
            names=("validation_images", "train_images"),
        )
        return Splits(
            train,
            validation,
            Examples(dataset.test_images, dataset.test_labels.astype(np.int32)),
            dataset.name,
            dataset.checksum,
            dataset.class_names,
            "images",
        )

    def sized(self, count: int) -> Fashion:
        """The same task on `count` images, without validation images; on all if it is 0.

        Few images are used several times an epoch, so that all epochs together have
        at least 500 optimiser steps; the shape of the learning rate schedule stays the same.
        """
        whole = replace(self, train_images=count, validation_images=0, twin=True)
        if not count:
            return whole
        size = min(self.training.batch_size, count)
        steps = max(1, self.training.epochs * (count // size))
        training = replace(self.training, batch_size=size, passes=max(1, -(-LEAST_STEPS // steps)))
        return replace(whole, training=training)

    def members(self) -> tuple[Member, ...]:
        """The hybrid and its twins, each with its description."""
        from qnn_jax.models import HybridClassifier, PixelRegression, twin_width

        model, count = self.model, len(self.class_numbers)
        circuit, labels = model.circuit(), model.labels(count)
        separable = circuit.without_entanglement()
        dropped = len(circuit.ops) - len(separable.ops)
        unused = len(separable.unused_weights) - len(circuit.unused_weights)
        features = f"{model.num_qubits} features"
        width = twin_width(model.num_qubits, len(labels), circuit.num_weights)
        size = width * (model.num_qubits + len(labels))
        around, centred = "no bounds", ""
        if model.bound == "tanh":
            center, scale = (
                written(number, ".3g") for number in (model.feature_center, model.feature_scale)
            )
            around = f"{center} ± {scale} radians"
            centred = " centred at 0, from -1 to 1"
        gain = (
            f"a head that starts with gain {model.head_gain:g}"
            if count == 2 and model.head_gain
            else "a head drawn as Flax does"
        )
        moved = (
            "; shifted and mirrored images, made for convolutions, suit it less"
            if self.training.shift or self.training.flip
            else ""
        )
        hidden = model.hidden[-1] if model.hidden else "all"

        def hybrid(middle: Any) -> HybridClassifier:
            return HybridClassifier(model, count, middle)

        return (
            Member(
                HYBRID,
                hybrid("quantum"),
                f"the model as is: {features} ({around}), the circuit of {len(circuit.ops)} gates "
                f"with {circuit.num_weights} weights, and {gain}",
            ),
            Member(
                "separable",
                hybrid("separable"),
                f"the same without the {dropped} gates on several qubits; all others are kept, and "
                f"{unused or 'none'} of the weights {'is' if unused == 1 else 'are'} unused",
                "the entangling gates",
            ),
            Member(
                "frozen",
                hybrid("quantum"),
                f"the same circuit, its weights left as drawn (uniform in "
                f"±{written(model.weight_bound)}): no gradient, no decay; all else trains",
                "training the circuit",
                frozen=True,
            ),
            Member(
                "classical",
                hybrid("classical"),
                f"a layer of {size} weights in place of the circuit (tanh, {model.num_qubits} → "
                f"{width} → {len(labels)}, no bias), which reads the features{centred}, and a head "
                "drawn as Flax does",
                "the circuit in place of a classical layer of its size",
                alongside=self.twin,
            ),
            Member(
                "bypass",
                hybrid("bypass"),
                f"nothing in place of the circuit: the head, drawn as Flax does, reads the "
                f"{features}{centred}",
                "the circuit in place of nothing",
            ),
            Member(
                "network",
                hybrid("network"),
                f"the classical network alone: the same convolutions and hidden layers, and the "
                f"head reads the last one's {hidden} numbers, with no {features} between",
                "features and circuit in place of a plain head",
            ),
            Member(
                "pixels",
                PixelRegression(count),
                "logistic regression on pixels: one Dense layer, same batches and optimiser"
                + moved,
                "the whole hybrid in place of logistic regression",
            ),
        )


# Cached between calls, since an ablation splits the same images by many seeds.
@functools.lru_cache(maxsize=1)
def _images(folders: Folders, classes: tuple[int, ...], report: Report) -> ImageDataset:
    """The images of some classes."""
    from qnn_jax.data import load_fashion_mnist

    data = load_fashion_mnist(folders.data_dir, folders.manual_dir, report, folders.prepare)
    return data.select(classes)
