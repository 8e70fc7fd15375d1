"""Small tasks of the tests, outside the library."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qnn_jax import Circuit, Op, w, x
from qnn_jax.configs import LeastSquaresConfig, ModelConfig, TrainingConfig
from qnn_jax.tasks import TaskDefaults, splits_of
from qnn_jax.tasks.defaults import HYBRID_NUMBERS
from qnn_jax.training import ACCURACY, HYBRID, MEAN_L1, Member


@dataclass(frozen=True)
class Dots(TaskDefaults):
    """Points in space, classified by their side, or by the third of their angle."""

    classes: int = 2
    train_count: int = 0
    model: ModelConfig = ModelConfig(channels=(), hidden=(8,))
    training: TrainingConfig = TrainingConfig(
        epochs=10, batch_size=16, learning_rate=0.03, shift=0, flip=False
    )

    name: ClassVar[str] = "dots"
    metric: ClassVar = ACCURACY
    numbers: ClassVar = HYBRID_NUMBERS

    def load(self, folders, seed, report):
        points = np.random.default_rng(0).normal(size=(320, 3))
        turned = (np.arctan2(points[:, 1], points[:, 0]) + np.pi) / (2 * np.pi)
        labels = np.minimum((turned * self.classes).astype(int), self.classes - 1)
        names = tuple(f"part {k}" for k in range(self.classes))
        return splits_of(
            points, labels, seed, "dots", train_count=self.train_count, class_names=names
        )

    def members(self):
        from qnn_jax.models import HybridClassifier

        def network(middle):
            return HybridClassifier(self.model, self.classes, middle)

        return (
            Member(HYBRID, network("quantum"), "a circuit"),
            Member("classical", network("classical"), "a layer", "the circuit", alongside=True),
            Member("frozen", network("quantum"), "a circuit as drawn", "training it", frozen=True),
        )


@dataclass(frozen=True)
class Wave(TaskDefaults):
    """A cosine, learnt by one qubit: gain · cos(w0 x + w1) + bias."""

    noise: float = 0.0
    train_count: int = 0
    max_gain: float = 0.0
    training: LeastSquaresConfig = LeastSquaresConfig(epochs=3, batch_size=0, restarts=6)

    name: ClassVar[str] = "wave"
    metric: ClassVar = MEAN_L1

    def load(self, folders, seed, report):
        rng = np.random.default_rng(0)
        points = rng.uniform(-1, 1, (60, 1))
        values = 0.7 * np.cos(1.3 * points[:, 0] + 0.4) + 0.2 + self.noise * rng.normal(size=60)
        return splits_of(points, values, seed, "wave", train_count=self.train_count)

    def members(self):
        from qnn_jax.models import HybridRegressor, MLPRegressor

        circuit = Circuit(1, (Op("ry", 0, w[0] * x[0]), Op("ry", 0, w[1])))
        network = HybridRegressor(circuit, ("Z",), weight_bound=1.5, max_gain=self.max_gain)
        return (
            Member(HYBRID, network, "one qubit"),
            Member("frozen", network, "one qubit as drawn", "training it", frozen=True),
            Member("line", MLPRegressor(0), "a line", "the qubit in place of a line"),
        )


def changed(task, **changes):
    """The task with other numbers in its training."""
    return dataclasses.replace(task, training=dataclasses.replace(task.training, **changes))
