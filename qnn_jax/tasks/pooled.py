"""Fashion-MNIST without a classical network: 4 × 4 pixels are the angles of a circuit."""

from __future__ import annotations

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
from qnn_jax.data import FASHION_MNIST
from qnn_jax.errors import InputError
from qnn_jax.tasks.defaults import TaskDefaults
from qnn_jax.tasks.fashion import Fashion
from qnn_jax.training.execution import check_execution
from qnn_jax.training.task import ACCURACY, HYBRID, Folders, Member, Metric, Report, Splits

#: Qubits, pixels on each side, and the rotations that encode a column of pixels.
QUBITS, SIDE = 4, 4
_ENCODING = ("ry", "rx", "rz", "ry")
#: More blocks than this are not simulated with a device's errors in reasonable time.
_MOST_BLOCKS = 20


def pooled_circuit(blocks: int) -> Circuit:
    """16 pixels on 4 qubits, encoded anew in every block, as in QuantumNAT (arXiv:2110.11331).

    A block rotates qubit k by the pixels 4j + k about Y, X, Z and Y, then turns every qubit by
    weights about Y and Z, and entangles the qubits in a ring of controlled RX with weights.
    """
    blocks = checks.at_least("blocks", blocks, 1, _MOST_BLOCKS)
    ops: list[Op] = []
    for block in range(blocks):
        first = 3 * QUBITS * block
        for row, gate in enumerate(_ENCODING):
            ops += [Op(gate, q, x[QUBITS * row + q]) for q in range(QUBITS)]
        for q in range(QUBITS):
            ops += [Op("ry", q, w[first + q]), Op("rz", q, w[first + QUBITS + q])]
        ops += [Op("crx", (q, (q + 1) % QUBITS), w[first + 2 * QUBITS + q]) for q in range(QUBITS)]
    return Circuit(QUBITS, tuple(ops))


@dataclass(frozen=True)
class Pooled(TaskDefaults):
    """Classify four classes of Fashion-MNIST by a circuit alone, which reads 4 × 4 pixels.

    Attributes:
        classes: four of the ten, by name or number.
        train_images: train on this many images only, as many of each class; 0 takes all.
        validation_images: number of images kept out of training for validation.
        blocks: of the circuit; each encodes the image anew.
        weight_bound: initial circuit weights are uniform in ± this, in radians.
        training: settings of the trainer.
        execution: where the circuit runs in training.
    """

    classes: tuple[str, ...] = ("T-shirt/top", "Trouser", "Pullover", "Dress")
    train_images: int = 2000
    validation_images: int = 1000
    blocks: int = 2
    weight_bound: float = 1.0
    training: TrainingConfig = TrainingConfig(
        epochs=30, batch_size=32, learning_rate=0.05, weight_decay=0.0, shift=0, flip=False
    )
    execution: ExecutionConfig = ExecutionConfig()

    name: ClassVar[str] = "pooled"
    metric: ClassVar[Metric] = ACCURACY
    numbers: ClassVar[frozenset[str]] = frozenset(
        {
            "training.learning_rate",
            "training.weight_decay",
            "training.variance_weight",
            "weight_bound",
        }
    )

    @property
    def _images(self) -> Fashion:
        """The task of the same images in full."""
        plain = TrainingConfig(batch_size=self.training.batch_size)
        return Fashion(self.classes, self.train_images, self.validation_images, training=plain)

    def check(self) -> None:
        """Check the settings before JAX loads."""
        check_execution(self.execution)
        checks.at_least("blocks", self.blocks, 1, _MOST_BLOCKS)
        checks.real("weight_bound", self.weight_bound, above=0)
        checks.of_type("training", self.training, TrainingConfig, "a TrainingConfig")
        check_loss(self.training, QUBITS)
        check_unaugmented(self.training, f"images pooled to {SIDE} × {SIDE} pixels")
        if len(self._images.class_numbers) != QUBITS:
            raise InputError(
                f"Argument `classes` must name {QUBITS} classes, one for each qubit, but is "
                f"{self.classes}."
            )
        self._images.check()
        if self.train_images:
            check_training(self.training, self.train_images)

    def load(self, folders: Folders, seed: int, report: Report) -> Splits:
        """Means over 7 × 7 pixels as angles from 0 to π, shape (count, 16)."""
        import numpy as np

        splits = self._images.load(folders, seed, report)

        def pooled(examples: Any) -> Any:
            height, width = (side // SIDE for side in FASHION_MNIST.image_shape)
            parts = examples.inputs.reshape(-1, SIDE, height, SIDE, width)
            angles = np.pi / 255 * parts.mean((2, 4), dtype=np.float64)
            return examples._replace(inputs=angles.reshape(-1, SIDE * SIDE).astype(np.float32))

        return Splits(
            pooled(splits.train),
            pooled(splits.validation),
            pooled(splits.test),
            f"{splits.name} in {SIDE} × {SIDE} pixels",
            splits.checksum,
            splits.class_names,
            splits.examples,
        )

    def sized(self, count: int) -> Pooled:
        """The same task on `count` images, without validation images; on all if it is 0."""
        size = min(self.training.batch_size, count or self.training.batch_size)
        training = replace(self.training, batch_size=size)
        return replace(self, train_images=count, validation_images=0, training=training)

    def members(self) -> tuple[Member, ...]:
        """The circuit, the circuit without entanglement, and logistic regression on 16 pixels."""
        from qnn_jax.models import PixelRegression
        from qnn_jax.models.expectations import CircuitClassifier

        circuit = pooled_circuit(self.blocks)
        labels = ("IIIZ", "IIZI", "IZII", "ZIII")  # class k is qubit k
        separable = circuit.without_entanglement()
        return (
            Member(
                HYBRID,
                CircuitClassifier(circuit, labels, self.weight_bound),
                f"the circuit of {len(circuit.ops)} gates with {circuit.num_weights} weights; its "
                "expectation values times one trained gain are the logits",
            ),
            Member(
                "separable",
                CircuitClassifier(separable, labels, self.weight_bound),
                f"the same without the {len(circuit.ops) - len(separable.ops)} gates on two qubits",
                "the entangling gates",
            ),
            Member(
                "pixels",
                PixelRegression(QUBITS),
                "logistic regression on the 16 angles: one Dense layer",
                "the circuit in place of logistic regression",
            ),
        )
