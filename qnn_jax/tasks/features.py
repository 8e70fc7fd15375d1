"""What tasks on features share, wherever these come from: the network, its twins and the loss."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qnn_jax.circuits import Circuit
from qnn_jax.circuits.observables import observables_on
from qnn_jax.configs import (
    ModelConfig,
    TrainingConfig,
    check_loss,
    check_model,
    check_unaugmented,
)
from qnn_jax.errors import InputError
from qnn_jax.tasks.defaults import HYBRID_NUMBERS, TaskDefaults
from qnn_jax.training.task import ACCURACY, HYBRID, MEAN_L1, Member, Metric, written

if TYPE_CHECKING:
    from jaxtyping import Array, Float

Kind = Literal["classification", "regression"]
#: "auto" takes convolutions for images and Dense layers for tables; "none" lets the features
#: themselves enter the circuit.
EncoderKind = Literal["auto", "dense", "none"]
#: The convolutions of "auto", as many as an image has room for.
_CHANNELS = (8, 16)


@dataclass(frozen=True)
class Shape:
    """What a network must know of the data.

    Attributes:
        kind: whether targets are classes or values.
        num_classes: of a classification, else 0.
        example: the shape of an example: (features,) or (height, width[, channels]).
        center: of the targets of a regression.
        scale: of the targets of a regression: their standard deviation.
    """

    kind: Kind
    num_classes: int
    example: tuple[int, ...]
    center: float = 0.0
    scale: float = 1.0


class FeatureTask(TaskDefaults):
    """A classification or a regression of features by a hybrid network, beside its twins.

    A frozen dataclass that inherits from this class has the fields `model`, `training`, `circuit`
    (JSON of a Circuit, or "" for that of `model`), `observables`, `encoder` and `twin`, and a
    property `shape`.
    """

    name: ClassVar[str]
    model: ModelConfig
    training: TrainingConfig
    circuit: str
    observables: tuple[str, ...]
    encoder: EncoderKind
    twin: bool

    @property
    def shape(self) -> Shape:
        """What the network must know of the data."""
        raise NotImplementedError

    @property
    def metric(self) -> Metric:  # type: ignore[override]
        """Accuracy, or the mean absolute error."""
        return ACCURACY if self.shape.kind == "classification" else MEAN_L1

    @property
    def numbers(self) -> frozenset[str]:  # type: ignore[override]
        """What a scan may vary; smoothed labels are of classes."""
        if self.shape.kind == "regression":
            return HYBRID_NUMBERS - {"training.label_smoothing"}
        return HYBRID_NUMBERS

    @property
    def network_circuit(self) -> Circuit:
        """The circuit in the middle."""
        return circuit_of(self.circuit) if self.circuit else self.model.circuit()

    @property
    def labels(self) -> tuple[str, ...]:
        """What is measured of it."""
        if self.observables:
            return self.observables
        shape = self.shape
        many = shape.num_classes if shape.kind == "classification" else 3
        if not self.circuit:
            return self.model.labels(many)
        return replace(self.model, num_qubits=self.network_circuit.num_qubits).labels(many)

    def check_network(self) -> None:
        """Refuse a circuit, observables or a model that do not fit the data or each other."""
        shape = self.shape
        check_model(self.model)
        circuit = self.network_circuit
        observables_on(circuit.num_qubits, self.labels)
        if not circuit.num_inputs:
            raise InputError(
                "Argument `circuit` must read at least one input x[i], but reads none; a circuit "
                "from OpenQASM 3 reads its parameters x_0, x_1, …."
            )
        features = 1
        for size in shape.example:
            features *= size
        if self.encoder == "none" and features != circuit.num_inputs:
            raise InputError(
                f"Argument `circuit` must read as many inputs as there are features, {features}, "
                f"where `encoder` is none, but reads {circuit.num_inputs}; a Dense layer in front "
                "of it maps any number (`encoder` dense), or choose as many qubits as features."
            )
        check_loss(self.training, shape.num_classes)
        if len(shape.example) != 2:
            check_unaugmented(self.training, "data that are no images of one channel")

    @property
    def config(self) -> ModelConfig:
        """The model, with convolutions where "auto" takes them."""
        images = len(self.shape.example) > 1
        if self.encoder == "none":
            return replace(self.model, channels=())
        if not images or self.encoder != "auto" or self.model.channels:
            return self.model
        channels, side = [], min(self.shape.example[:2])
        for size in _CHANNELS:
            if side < 6:
                break
            channels.append(size)
            side = (side - 4) // 2
        return replace(self.model, channels=tuple(channels))

    def members(self) -> tuple[Member, ...]:
        """The hybrid and its twins, each with what it got."""
        from qnn_jax.models import HybridFeatures, twin_width

        shape, config, circuit, labels = (
            self.shape,
            self.config,
            self.network_circuit,
            self.labels,
        )
        classes = shape.num_classes
        outputs = classes if classes > 2 else 1
        separable = circuit.without_entanglement()
        dropped = len(circuit.ops) - len(separable.ops)
        width = twin_width(circuit.num_inputs, len(labels), circuit.num_weights)
        size = width * (circuit.num_inputs + len(labels))
        dense = self.encoder != "none"

        def network(middle: Any, config: ModelConfig = config) -> HybridFeatures:
            return HybridFeatures(
                config,
                circuit,
                labels,
                outputs,
                middle,
                dense=dense or middle == "network",
                center=shape.center,
                scale=shape.scale,
                head_gain=config.head_gain if classes == 2 and len(labels) == 1 else 0.0,
            )

        layers = [f"{n} channels" for n in config.channels] + [str(n) for n in config.hidden]
        before = (
            f"layers of {', '.join(layers)} in front" if dense and layers else "no layer in front"
        )
        found = [
            Member(
                HYBRID,
                network("quantum"),
                f"{before}, {circuit.num_inputs} features, the circuit of {len(circuit.ops)} gates "
                f"with {circuit.num_weights} weights, and a linear head",
            ),
            Member(
                "separable",
                network("separable"),
                f"the same without the {dropped} gates on several qubits",
                "the entangling gates",
            ),
            Member(
                "frozen",
                network("quantum"),
                "the same circuit, its weights left as drawn (uniform in "
                f"±{written(config.weight_bound)}); all else trains",
                "training the circuit",
                frozen=True,
            ),
            Member(
                "classical",
                network("classical"),
                f"a layer of {size} weights in place of the circuit (tanh, {circuit.num_inputs} → "
                f"{width} → {len(labels)}, no bias)",
                "the circuit in place of a classical layer of its size",
                alongside=self.twin,
            ),
            Member(
                "bypass",
                network("bypass"),
                "nothing in place of the circuit: the head reads the features",
                "the circuit in place of nothing",
            ),
            Member(
                "linear",
                network("network", replace(config, channels=(), hidden=())),
                f"{'logistic' if classes else 'linear'} regression on the inputs, by the same "
                "optimiser",
                "the whole hybrid in place of a linear model",
                alongside=self.twin,
            ),
        ]
        return tuple(found)

    def loss(
        self, outputs: Float[Array, "batch outputs"], targets: Array
    ) -> Float[Array, " batch"]:
        """Cross-entropy, or the squared error in units of the targets' variance."""
        losses = super().loss(outputs, targets)
        return losses / self.shape.scale**2 if self.shape.kind == "regression" else losses


@functools.lru_cache(maxsize=64)
def circuit_of(text: str) -> Circuit:
    """A circuit from its JSON; read once, since a program asks for it many times."""
    return Circuit.from_json(text)


def stratified(classes: Sequence[int] | Any, rng: Any) -> Any:
    """An order of examples in which every beginning has about as many of each class.

    Args:
        classes: the class of each example, shape (count,); all 0 of a regression.
        rng: a NumPy generator.

    Returns:
        Indices, shape (count,).

    >>> import numpy as np
    >>> order = stratified(np.array([0, 0, 0, 0, 1, 1]), np.random.default_rng(0))
    >>> np.array([0, 0, 0, 0, 1, 1])[order].tolist()
    [0, 1, 0, 0, 1, 0]
    """
    import numpy as np

    classes = np.asarray(classes)
    place = np.empty(len(classes))
    for label in np.unique(classes):
        own = np.flatnonzero(classes == label)
        place[rng.permutation(own)] = (np.arange(len(own)) + 0.5) / len(own)
    tie = rng.permutation(len(classes))
    return np.lexsort((tie, place))
