"""Hybrid classifiers: encode → middle → head.

    images ─ convolutions ─ Dense … Dense ─ features ─ circuit ─ expectations ─ Dense ─ logits

Images are of uint8, and the encoder divides them by 255. A table of floating-point features is
not scaled; it needs a network without convolutions (`channels=()`).

The encoder ends in one feature for each input of the circuit. The middle is a circuit or, in the
twins for comparison, a circuit without entanglement, a classical layer, or nothing. Two more twins
leave out more: the features, or the whole encoder.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from qnn_jax.circuits import Circuit, PauliSum
from qnn_jax.circuits.checks import at_least, of_type, one_of, shown
from qnn_jax.circuits.checks import flag as checked_flag
from qnn_jax.circuits.checks import real as checked_real
from qnn_jax.circuits.observables import observables_on
from qnn_jax.configs import KERNEL_SIDE, ModelConfig, check_image_shape
from qnn_jax.errors import InputError
from qnn_jax.executors import Executor, exact
from qnn_jax.executors.executor import checked_executor
from qnn_jax.initializers import uniform
from qnn_jax.linen import QuantumLayer
from qnn_jax.models.convolution import ConvPool
from qnn_jax.simulate.angle_table import checked_numbers

#: The layers between encoder and head: the circuit, the circuit without its gates on several
#: qubits, a classical layer of its size, nothing; "network" is the encoder without its features,
#: so that the head reads the last hidden layer.
Middle = Literal["quantum", "separable", "classical", "bypass", "network"]


#: Maximum number of outputs of a head.
_MOST_CLASSES = 100_000


def normalized(images: Shaped[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """Images of uint8 as numbers from -1 to 1; floating-point features unchanged.

    Raises:
        InputError: for other integers, whose range is unknown.
    """
    images = checked_numbers("images", images)
    if images.ndim < 2:
        raise InputError(
            "Argument `images` must have shape (batch, height, width) or (batch, features), but "
            f"has shape {images.shape}."
        )
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images
    if images.dtype != jnp.uint8 or images.ndim < 3:
        raise InputError(
            "Argument `images` must hold images of uint8, shape (batch, height, width), which are "
            f"scaled to [-1, 1], or floating-point features, but has shape {images.shape} and "
            f"dtype {images.dtype}; convert features with .astype(float)."
        )
    return (images.astype(jnp.float32) / 255 - 0.5) / 0.5


class Encoder(nn.Module):
    """Images of uint8 or a table of floating-point features to features (batch, num_qubits).

    Attributes:
        config: the shape of the network.
        bottleneck: end in those features; else in the last hidden layer, whatever its width.
        num_features: how many the circuit reads.
        dense: map to the features by a layer; else the inputs themselves are the features.
    """

    config: ModelConfig
    num_features: int
    bottleneck: bool = True
    dense: bool = True

    @nn.compact
    def __call__(
        self, images: Shaped[Array, "batch ..."], train: bool
    ) -> Float[Array, "batch features"]:
        """Normalise images to [-1, 1], convolve, and map to bounded features."""
        config = self.config
        hidden = normalized(images)
        # Images have channels, and so has a table: of each number one.
        hidden = hidden if hidden.ndim == 4 else hidden[..., None]
        if config.channels and hidden.ndim != 4:
            raise InputError(
                "Argument `images` must have shape (batch, height, width) for a network with "
                f"convolutions, but has shape {hidden.shape[:-1]}; for a table of features give "
                "the model channels=()."
            )
        if config.channels:
            check_image_shape(config, hidden.shape[1:3])
        for k, channels in enumerate(config.channels):
            kernel_size = (KERNEL_SIDE, KERNEL_SIDE)
            hidden = ConvPool(channels, kernel_size, name=f"conv{k}")(hidden)
        # Whole channels are dropped, as the seed's Dropout2d did.
        hidden = nn.Dropout(config.dropout, broadcast_dims=(1, 2), deterministic=not train)(hidden)
        hidden = hidden.reshape(hidden.shape[0], math.prod(hidden.shape[1:]))
        if not self.dense:
            return self._bounded(hidden) if self.bottleneck else hidden
        for k, width in enumerate(config.hidden):
            hidden = nn.Dense(width, name=f"dense{k}")(hidden)
            if k + 1 < len(config.hidden) or config.activation_before_features:
                hidden = nn.relu(hidden)
        if not self.bottleneck:
            return hidden
        init = nn.initializers.variance_scaling(
            config.feature_gain**2, "fan_in", "truncated_normal"
        )
        return self._bounded(nn.Dense(self.num_features, kernel_init=init, name="features")(hidden))

    def _bounded(self, features: Float[Array, "batch features"]) -> Float[Array, "batch features"]:
        config = self.config
        if config.bound == "tanh":
            features = config.feature_center + config.feature_scale * jnp.tanh(features)
        return features


def centered(
    config: ModelConfig, features: Float[Array, "batch features"]
) -> Float[Array, "batch features"]:
    """Bounded features around 0, from -1 to 1; only the circuit needs another centre.

    There a tanh without bias would be saturated, and a head would start as a constant.
    """
    if config.bound == "none":
        return features
    return (features - config.feature_center) / config.feature_scale


class ClassicalMiddle(nn.Module):
    """The circuit's classical twin: Dense → tanh → Dense without biases, of nearly equal size."""

    config: ModelConfig
    num_outputs: int
    num_weights: int

    @nn.compact
    def __call__(self, features: Float[Array, "batch features"]) -> Float[Array, "batch outputs"]:
        """Outputs in the place of the circuit's expectation values."""
        features = centered(self.config, features)
        width = twin_width(features.shape[-1], self.num_outputs, self.num_weights)
        hidden = jnp.tanh(nn.Dense(width, use_bias=False)(features))
        return nn.Dense(self.num_outputs, use_bias=False)(hidden)


def twin_width(num_features: int, num_outputs: int, num_weights: int) -> int:
    """The hidden width with the number of weights nearest to `num_weights`: 2 for 6 weights.

    Never narrower than both sides, since a bottleneck would weaken the twin: if a circuit has
    few weights for its size, the twin is the larger of the two.
    """
    num_features = at_least("num_features", num_features, 1)
    num_outputs = at_least("num_outputs", num_outputs, 1)
    num_weights = at_least("num_weights", num_weights, 0, 2**53)
    nearest = round(num_weights / (num_features + num_outputs))
    return max(nearest, min(num_features, num_outputs))


class _Hybrid(nn.Module):
    """Encoder, middle and head: what the networks below share.

    They have the fields `config`, `middle` and `executor`, and say what the circuit is, what is
    measured of it (`labels`), how many outputs there are (`num_outputs`) and how the head starts
    (`head_gain`, 0 as Flax draws it).
    """

    def _set_up(self, num_features: int, dense: bool = True) -> None:
        config = of_type("config", self.config, ModelConfig, "a ModelConfig")
        one_of("middle", self.middle, get_args(Middle))
        checked_executor(self.executor)
        self.encoder = Encoder(config, num_features, self.middle != "network", dense)
        if self.has_circuit:
            init = uniform(config.weight_bound)
            self.quantum = QuantumLayer(self.circuit, self.labels, self.executor, init)
        elif self.middle == "classical":
            self.classical = ClassicalMiddle(config, len(self.labels), self.circuit.num_weights)
        self.head = nn.Dense(
            self.num_outputs,
            kernel_init=nn.initializers.constant(self.head_gain)
            if self.head_gain and self.has_circuit
            else nn.initializers.lecun_normal(),
        )

    @property
    def has_circuit(self) -> bool:
        """Whether a circuit stands in the middle."""
        return self.middle in ("quantum", "separable")

    @property
    def observables(self) -> tuple[PauliSum, ...]:
        """What is measured."""
        return observables_on(self.circuit.num_qubits, self.labels)

    def __call__(
        self, images: Shaped[Array, "batch ..."], train: bool = False
    ) -> Float[Array, "batch outputs"]:
        """Outputs: of a classifier logits, one for two classes, positive for the second.

        Args:
            images: images of uint8, shape (batch, height, width), which are scaled to [-1, 1], or
                floating-point numbers, which are taken as they are: images in that shape, or a
                table (batch, features) for a model with `channels=()`. Images may have a last axis
                of channels.
            train: whether to drop channels at random.
        """
        return self.decide(self._middle(self.encoder(images, train)))

    def _middle(self, features: Float[Array, "batch features"]) -> Float[Array, "batch outputs"]:
        if self.has_circuit:
            return self.quantum(features)
        if self.middle == "classical":
            return self.classical(features)
        return centered(self.config, features) if self.middle == "bypass" else features

    def encode(self, images: Shaped[Array, "batch ..."]) -> Float[Array, "batch features"]:
        """The features of images: what the circuit is told."""
        return self.encoder(images, False)

    def decide(
        self, expectations: Float[Array, "batch observables"]
    ) -> Float[Array, "batch outputs"]:
        """Outputs of expectation values."""
        return self.head(expectations)


class HybridClassifier(_Hybrid):
    """Images or features to logits; two classes have one logit, positive for class 1.

    Attributes:
        config: the shape of the network.
        num_classes: at least 2.
        middle: the layer between encoder and head.
        executor: runs the circuit; evaluation may use another one.
    """

    config: ModelConfig
    num_classes: int
    middle: Middle = "quantum"
    executor: Executor = exact

    def setup(self) -> None:
        """Name the three parts, so that parameters read encoder/…, middle/…, head/…."""
        of_type("config", self.config, ModelConfig, "a ModelConfig")
        at_least("num_classes", self.num_classes, 2, _MOST_CLASSES)
        self._set_up(self.config.circuit().num_inputs)

    @property
    def circuit(self) -> Circuit:
        """The circuit in the middle."""
        circuit = self.config.circuit()
        return circuit.without_entanglement() if self.middle == "separable" else circuit

    @property
    def labels(self) -> tuple[str, ...]:
        """What is measured, as Pauli labels."""
        return self.config.labels(self.num_classes)

    @property
    def num_outputs(self) -> int:
        """How many logits there are."""
        return 1 if self.num_classes == 2 else self.num_classes

    @property
    def head_gain(self) -> float:
        """The weight that the head of two classes starts with."""
        return self.config.head_gain if self.num_classes == 2 else 0.0


class HybridFeatures(_Hybrid):
    """Features or images to logits or values, through a circuit of one's own.

    Attributes:
        config: the shape of the network; what it says of the circuit's form is not read.
        given: the circuit, which reads as many inputs as there are features.
        labels: what is measured, as Pauli labels.
        num_outputs: logits or values.
        middle: what stands between encoder and head.
        executor: where the circuit runs.
        dense: map the inputs to the circuit's by layers; else they enter it one by one.
        center: added to the outputs, which are first multiplied by `scale`: the unit of a target.
        scale: above 0.
        head_gain: the weight that the head starts with; 0 draws it as Flax does.
    """

    config: ModelConfig
    given: Circuit
    labels: tuple[str, ...]
    num_outputs: int = 1
    middle: Middle = "quantum"
    executor: Executor = exact
    dense: bool = True
    center: float = 0.0
    scale: float = 1.0
    head_gain: float = 0.0

    def setup(self) -> None:
        """Name the three parts, so that parameters read encoder/…, middle/…, head/…."""
        given = of_type("given", self.given, Circuit, "a Circuit")
        at_least("num_outputs", self.num_outputs, 1, _MOST_CLASSES)
        observables_on(given.num_qubits, self.labels)
        checked_flag("dense", self.dense)
        checked_real("center", self.center)
        checked_real("scale", self.scale, above=0)
        checked_real("head_gain", self.head_gain)
        self._set_up(given.num_inputs, self.dense)

    @property
    def circuit(self) -> Circuit:
        """The circuit in the middle."""
        return self.given.without_entanglement() if self.middle == "separable" else self.given

    def decide(
        self, expectations: Float[Array, "batch observables"]
    ) -> Float[Array, "batch outputs"]:
        """Outputs of expectation values, in the unit of the targets."""
        return self.center + self.scale * self.head(expectations)


class PixelRegression(nn.Module):
    """Logistic regression on pixels: a single Dense layer.

    Attributes:
        num_classes: at least 2.
    """

    num_classes: int

    @nn.compact
    def __call__(
        self, images: Shaped[Array, "batch ..."], train: bool = False
    ) -> Float[Array, "batch logits"]:
        """Logits, shaped as those of `HybridClassifier`."""
        num_classes = at_least("num_classes", self.num_classes, 2, _MOST_CLASSES)
        numbers = normalized(images)
        flat = numbers.reshape(len(numbers), math.prod(numbers.shape[1:]))
        return nn.Dense(1 if num_classes == 2 else num_classes)(flat)


def count_parameters(params: object) -> dict[str, int]:
    """The numbers of circuit weights and of classical parameters."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for _, leaf in leaves:
        if not hasattr(leaf, "size"):
            raise InputError(
                f"Argument `params` must be a tree of arrays, but holds {shown(leaf)}."
            )
    quantum = sum(
        leaf.size
        for path, leaf in leaves
        if any(getattr(entry, "key", None) == "quantum" for entry in path)
    )
    return {"classical": sum(leaf.size for _, leaf in leaves) - quantum, "quantum": quantum}
