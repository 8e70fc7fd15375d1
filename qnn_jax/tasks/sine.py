"""One period of a sine from two qubits: a regression whose shot-noise floor is known."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from qnn_jax.circuits import Circuit, Op, checks, w, x
from qnn_jax.configs import (
    ExecutionConfig,
    TrainingConfig,
    check_loss,
    check_training,
    check_unaugmented,
)
from qnn_jax.tasks.defaults import TaskDefaults
from qnn_jax.training.execution import check_execution
from qnn_jax.training.task import (
    HYBRID,
    MEAN_L1,
    Examples,
    Folders,
    Member,
    Metric,
    Report,
    Splits,
)

_MOST_LAYERS = 20


def sine_circuit(layers: int) -> Circuit:
    """Data re-uploading on two qubits (arXiv:1907.02085): RY by w·x + w', then a CX."""
    ops: list[Op] = []
    for layer in range(layers):
        if layer:
            ops.append(Op("cx", (0, 1)))
        for qubit in (0, 1):
            k = 2 * (2 * layer + qubit)
            ops.append(Op("ry", qubit, w[k] * x[0] + w[k + 1]))
    return Circuit(2, tuple(ops))


@dataclass(frozen=True)
class Sine(TaskDefaults):
    """Compute sin(x) for x from -π to π by a circuit of two qubits with a linear head.

    Attributes:
        train_count: training points, drawn anew by each seed.
        test_count: test points, the same for all seeds.
        layers: of the circuit.
        weight_bound: initial circuit weights are uniform in ± this, in radians.
        training: settings of the trainer.
        execution: where the circuit runs in training.
    """

    train_count: int = 256
    test_count: int = 1000
    layers: int = 2
    weight_bound: float = 1.0
    training: TrainingConfig = TrainingConfig(
        epochs=400, batch_size=32, learning_rate=0.05, weight_decay=0.0, shift=0, flip=False
    )
    execution: ExecutionConfig = ExecutionConfig()

    name: ClassVar[str] = "sine"
    metric: ClassVar[Metric] = MEAN_L1
    numbers: ClassVar[frozenset[str]] = frozenset(
        {"training.learning_rate", "training.variance_weight"}
    )

    def check(self) -> None:
        """Check the settings before JAX loads."""
        check_execution(self.execution)
        checks.at_least("layers", self.layers, 1, _MOST_LAYERS)
        checks.real("weight_bound", self.weight_bound, above=0)
        for name in ("train_count", "test_count"):
            checks.at_least(name, getattr(self, name), 1)
        checks.of_type("training", self.training, TrainingConfig, "a TrainingConfig")
        check_unaugmented(self.training, "numbers")
        check_loss(self.training, 0)
        check_training(self.training, self.train_count)

    def load(self, folders: Folders, seed: int, report: Report) -> Splits:
        """Uniform training points, and test points in the middle of equal intervals."""
        import numpy as np

        def examples(points: Any) -> Examples:
            inputs = points[:, None].astype(np.float32)
            return Examples(inputs, np.sin(points).astype(np.float32))

        drawn = np.random.default_rng(seed).uniform(-math.pi, math.pi, self.train_count)
        count = self.test_count
        test = examples(((np.arange(count) + 0.5) / count - 0.5) * 2 * math.pi)
        return Splits(
            examples(drawn),
            examples(drawn[:0]),
            test,
            f"{count:,} points of sin(x)",
            hashlib.sha256(test.inputs.tobytes() + test.targets.tobytes()).hexdigest(),
            examples="points",
        )

    def sized(self, count: int) -> Sine:
        """The same task on `count` points; on its own number if it is 0."""
        return replace(self, train_count=count) if count else self

    def members(self) -> tuple[Member, ...]:
        """The circuit with a linear head, and linear regression."""
        from qnn_jax.models import HybridRegressor, MLPRegressor

        circuit = sine_circuit(self.layers)
        return (
            Member(
                HYBRID,
                HybridRegressor(circuit, ("ZZ",), 0.0, self.weight_bound),
                f"the circuit of {len(circuit.ops)} gates with {circuit.num_weights} weights; gain "
                "and bias behind it",
            ),
            Member("bypass", MLPRegressor(0), "linear regression", "the circuit"),
        )
