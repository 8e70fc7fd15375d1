"""A task that trains very fast: two clouds of points, classified by a circuit of two qubits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from qnn_jax.circuits import real_amplitudes, z_feature_map
from qnn_jax.configs import TrainingConfig
from qnn_jax.errors import InputError
from qnn_jax.linen import QuantumLayer
from qnn_jax.tasks import TaskDefaults
from qnn_jax.training.task import ACCURACY, HYBRID, Examples, Member, Metric, Splits, written


class Net(nn.Module):
    """A linear map of scale `scale`, a circuit, a linear head."""

    scale: Any = 1.0
    reps: int = 1

    @property
    def circuit(self):
        return z_feature_map(2, 1) + real_amplitudes(2, self.reps)

    @property
    def observables(self):
        return ("ZZ",)

    def setup(self) -> None:
        self.features, self.head = nn.Dense(2), nn.Dense(1)
        self.quantum = QuantumLayer(self.circuit, self.observables)

    def encode(self, inputs):
        return self.scale * jnp.tanh(self.features(inputs))

    def decide(self, expectations):
        return 4 * self.head(expectations)

    def __call__(self, inputs, train: bool = False):
        return self.decide(self.quantum(self.encode(inputs)))


@dataclass(frozen=True)
class Clouds(TaskDefaults):
    """A task of the tests, outside the library."""

    scale: float = 1.0
    reps: int = 1
    kept: int = 64
    twin: bool = False
    training: TrainingConfig = TrainingConfig(
        epochs=3, batch_size=16, learning_rate=0.05, shift=0, flip=False
    )

    name: ClassVar[str] = "clouds"
    metric: ClassVar[Metric] = ACCURACY
    numbers: ClassVar[frozenset[str]] = frozenset(
        {"scale", "training.learning_rate", "training.weight_decay", "training.label_smoothing"}
    )

    def check(self) -> None:
        if self.reps < 1:
            raise InputError(f"Argument `reps` must be at least 1, but is {self.reps}.")

    def load(self, folders, seed, report) -> Splits:
        rng = np.random.default_rng(seed)
        targets = rng.integers(0, 2, 256).astype(np.int32)
        inputs = rng.normal(0, 1, (256, 2)).astype(np.float32) + 2 * targets[:, None]
        train, rest, test = np.split(np.arange(256), [96, 96 + self.kept])
        parts = (Examples(inputs[at], targets[at]) for at in (train, rest, test))
        return Splits(*parts, "two clouds", f"seed {seed}", ("left", "right"), "points")

    def sized(self, count: int):
        return self

    def members(self):
        return (
            Member(HYBRID, Net(self.scale, self.reps), f"scale {written(self.scale)}"),
            Member("wide", Net(self.scale, 2), worth_of="depth", alongside=self.twin),
        )
