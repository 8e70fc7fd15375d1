"""The configurations of models and training: frozen values for JSON and for the command line.

Imports no JAX: a command line is read and checked before JAX loads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from qnn_jax.circuits import (
    Circuit,
    Op,
    checks,
    real_amplitudes,
    w,
    x,
    z_feature_map,
    zz_feature_map,
)
from qnn_jax.errors import InputError
from qnn_jax.memory import MAX_SIMULATED_QUBITS, machine_bytes

#: Maximum number of repetitions of a part of the circuit.
_MAX_REPS = 1000
#: Limits of the network's size; larger ones do not fit into memory.
_MAX_WIDTH, _MAX_LAYERS = 16_384, 100
#: Height and width of the convolutions' kernels.
KERNEL_SIDE = 5
#: Twice the product of two features of this size is an angle that float32 knows to 2e-3.
_MAX_FEATURE = 100.0


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a hybrid classifier.

    Attributes:
        channels: output channels of the 5×5 convolutions, each followed by ReLU and 2×2 pooling.
        hidden: widths of the Dense layers between convolutions and features, ReLU after each.
        activation_before_features: ReLU after the last hidden layer (the notebook of 2022 had none
            between 64 and 2).
        dropout: fraction of the convolution's channels dropped in training.
        bound: "tanh" keeps features within feature_scale of feature_center; "none" leaves them
            unbounded, as in the 2022 model, although the circuit's angles are quadratic in them.
        feature_center: centre of bounded features, in radians. At π the ZZ map's products
            (π - x_i)(π - x_j) vanish, so that it varies slowly at first; around 0 they are near π²
            and vary so fast that some random seeds never train.
        feature_scale: maximum distance of bounded features from there, in radians.
        feature_gain: the initial size of the features, relative to Flax's default initialiser.
        num_qubits: of the circuit; also its number of features, which "dense_angle" has twice.
        feature_map: "zz" encodes features individually and in pairs, "z" individually only; "angle"
            rotates each qubit by one feature (RY), "dense_angle" by two (RY, RZ; arXiv:2003.01695).
        feature_map_reps: repetitions of the feature map; of the two angle maps, repetitions of map
            and ansatz in turn.
        ansatz_reps: repetitions of the real-amplitudes ansatz.
        entanglement: of the ansatz, one of Qiskit's patterns.
        observables: "parity" is Z on all qubits; "pairs" are all Z and ZZ. "auto" selects parity
            for two classes and pairs for more.
        weight_bound: initial circuit weights are uniform in ± this, in radians.
        head_gain: the initial weight of the head of a two-class hybrid; 0 uses Flax's default.
            An expectation value is at most 1, so a confident logit needs a gain above it.
    """

    channels: tuple[int, ...] = (2, 16)
    hidden: tuple[int, ...] = (64,)
    activation_before_features: bool = True
    dropout: float = 0.0
    bound: Literal["tanh", "none"] = "tanh"
    feature_center: float = math.pi
    feature_scale: float = 1.0
    feature_gain: float = 1.0
    num_qubits: int = 2
    feature_map: Literal["zz", "z", "angle", "dense_angle"] = "zz"
    feature_map_reps: int = 2
    ansatz_reps: int = 2
    entanglement: str = "reverse_linear"
    observables: Literal["auto", "parity", "pairs"] = "auto"
    weight_bound: float = 1.0
    head_gain: float = 4.0

    def circuit(self) -> Circuit:
        """The circuit between encoder and head: feature map, then real amplitudes."""
        n, reps = self.num_qubits, self.feature_map_reps
        ansatz = real_amplitudes(n, self.ansatz_reps, self.entanglement)
        if self.feature_map in ("zz", "z"):
            feature_map = zz_feature_map if self.feature_map == "zz" else z_feature_map
            return feature_map(n, reps) + ansatz
        turns = [Op("ry", q, x[q]) for q in range(n)]
        if self.feature_map == "dense_angle":
            turns += [Op("rz", q, x[n + q]) for q in range(n)]
        return (Circuit(n, tuple(turns)) + ansatz).repeat(reps)

    def labels(self, num_classes: int) -> tuple[str, ...]:
        """The observables that are measured, as Pauli labels in Qiskit's order."""
        n = self.num_qubits
        kind = self.observables
        if kind == "parity" or (kind == "auto" and num_classes == 2):
            return ("Z" * n,)
        places = [(i,) for i in range(n)] + [(i, j) for i in range(n) for j in range(i)]
        return tuple("".join("IZ"[q in place] for q in reversed(range(n))) for place in places)


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of the training.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step; the last, incomplete batch of an epoch is left out, and since
            the order changes every epoch no image is always left out.
        learning_rate: Adam's, at its highest.
        schedule: "cosine" warms up over the first epoch and decreases to zero, "constant" stays.
        weight_decay: AdamW's; 0 is plain Adam.
        loss: "cross-entropy" of the logits, or "mse", the squared error of the sigmoid.
        label_smoothing: share of the target that is spread over all classes.
        shift: images are moved at random by up to this many pixels each way, at most half an
            image.
        flip: images are mirrored left to right at random.
        passes: how many times an epoch uses each training example.
        variance_weight: this times the mean variance 1 - ⟨P⟩² of the measured Pauli strings is
            added to the loss, so that few shots tell more (arXiv:2306.01639); 0 adds nothing.
    """

    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 5e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.1
    loss: Literal["cross-entropy", "mse"] = "cross-entropy"
    label_smoothing: float = 0.0
    shift: int = 1
    flip: bool = True
    passes: int = 1
    variance_weight: float = 0.0


@dataclass(frozen=True)
class ExecutionConfig:
    """Where circuits run in training, and in the evaluation that ends it.

    Attributes:
        executor: "exact" is the statevector, "sampled" takes shots, "noisy" has a device's errors.
        shots: of each input in each basis; none with "noisy" are exact expectation values.
        noise: the fake backend whose errors "noisy" has ("FakeFez"), or the device.json of a
            device that was learned, as a path that ends in ".json".
    """

    executor: Literal["exact", "sampled", "noisy"] = "exact"
    shots: int | None = None
    noise: str | None = None


def check_training(config: TrainingConfig, train_count: int) -> None:
    """Check a training configuration."""
    checks.of_type("config", config, TrainingConfig, "a TrainingConfig")
    train_count = checks.at_least("train_count", train_count, 0)
    _between("batch_size", config.batch_size, 1, train_count, ", the number of training examples")
    checks.at_least("epochs", config.epochs, 0)
    checks.real("learning_rate", config.learning_rate, above=0)
    checks.one_of("schedule", config.schedule, ("cosine", "constant"))
    checks.real("weight_decay", config.weight_decay, least=0)
    checks.one_of("loss", config.loss, ("cross-entropy", "mse"))
    smoothing = checks.real("label_smoothing", config.label_smoothing, least=0, below=1)
    if smoothing and config.loss == "mse":
        raise InputError(
            "Argument `label_smoothing` must be 0 where `loss` is mse, but is "
            f"{config.label_smoothing}."
        )
    checks.at_least("passes", config.passes, 1)
    checks.real("variance_weight", config.variance_weight, least=0)
    checks.at_least("shift", config.shift, 0)
    checks.flag("flip", config.flip)


def _between(name: str, value: int, least: int, most: int, what: str = "") -> None:
    if not checks.is_integer(value) or not least <= value <= most:
        raise InputError(
            f"Argument `{name}` must be between {least} and {most}{what}, but is "
            f"{checks.shown(value)}."
        )


def check_loss(config: TrainingConfig, num_classes: int) -> None:
    """Refuse a loss that does not fit so many classes; 0 stands for a task of values."""
    checks.one_of("loss", config.loss, ("cross-entropy", "mse"))
    if not num_classes and (config.loss, config.label_smoothing) != ("cross-entropy", 0):
        raise InputError(
            "Arguments `loss` and `label_smoothing` must be left out where values are learned, "
            f"always by their squared error, but are {config.loss} and {config.label_smoothing}."
        )
    if num_classes > 2 and config.loss == "mse":
        raise InputError(
            "Argument `loss` must be cross-entropy for more than two classes, but is mse and "
            f"there are {num_classes}."
        )


def check_unaugmented(config: TrainingConfig, what: str) -> None:
    """Refuse to shift or mirror examples that are no images with one channel, but `what`."""
    if config.shift or config.flip:
        raise InputError(
            f"Arguments `shift` and `flip` must be 0 and False for {what}, but are "
            f"{checks.shown(config.shift)} and {checks.shown(config.flip)}."
        )


def check_model(config: ModelConfig, image_shape: tuple[int, ...] | None = None) -> None:
    """Refuse what cannot be built, in one sentence, and before a circuit is built.

    `image_shape` is (height, width) in pixels, where that is known.
    """
    checks.of_type("config", config, ModelConfig, "a ModelConfig")
    checks.flag("activation_before_features", config.activation_before_features)
    checks.one_of("bound", config.bound, ("tanh", "none"))
    checks.one_of("observables", config.observables, ("auto", "parity", "pairs"))
    checks.real("head_gain", config.head_gain)
    checks.at_least("feature_map_reps", config.feature_map_reps, 1, _MAX_REPS)
    checks.at_least("ansatz_reps", config.ansatz_reps, 0, _MAX_REPS)
    checks.integer("num_qubits", config.num_qubits)
    # Each amplitude has a real and an imaginary part in float32.
    fits = (machine_bytes() // 8).bit_length() - 1
    if config.num_qubits > min(fits, MAX_SIMULATED_QUBITS):
        because = (
            f"more than 2**{fits} amplitudes do not fit into this machine's memory"
            if fits < MAX_SIMULATED_QUBITS
            else f"more than 2**{MAX_SIMULATED_QUBITS} amplitudes are not supported"
        )
        raise InputError(
            f"Argument `num_qubits` must be at most {min(fits, MAX_SIMULATED_QUBITS)}, but "
            f"is {config.num_qubits}: {because}."
        )
    checks.one_of("feature_map", config.feature_map, ("zz", "z", "angle", "dense_angle"))
    config.circuit()
    for name, sizes in (("channels", config.channels), ("hidden", config.hidden)):
        rule = f"a sequence of at most {_MAX_LAYERS} integers"
        values = checks.several(name, sizes, rule)
        if len(values) > _MAX_LAYERS or any(
            not checks.is_integer(n) or not 1 <= n <= _MAX_WIDTH for n in values
        ):
            raise InputError(
                f"Argument `{name}` must hold at most {_MAX_LAYERS} integers between 1 and "
                f"{_MAX_WIDTH}, but is {checks.shown(sizes)}."
            )
    checks.real("dropout", config.dropout, least=0, below=1)
    if image_shape is not None:
        check_image_shape(config, image_shape)
    for name in ("feature_scale", "feature_gain", "weight_bound"):
        checks.real(name, getattr(config, name), above=0)
    checks.real("feature_center", config.feature_center)
    for name in ("feature_center", "feature_scale"):
        if not abs(getattr(config, name)) <= _MAX_FEATURE:
            raise InputError(
                f"Argument `{name}` must be at most {_MAX_FEATURE:g} radians, since the circuit's "
                "angles are products of two features and float32 has seven digits, but is "
                f"{getattr(config, name)}."
            )


def check_image_shape(config: ModelConfig, image_shape: tuple[int, ...]) -> None:
    """Refuse more convolutions than images of (height, width) pixels have room for."""
    sides = image_shape
    for k in range(len(config.channels)):
        sides = tuple((side - KERNEL_SIDE + 1) // 2 for side in sides)  # pooled by two
        if min(sides) < 1:
            raise InputError(
                f"Argument `channels` must name at most {k} convolutions of {KERNEL_SIDE} × "
                f"{KERNEL_SIDE}, each halved by pooling, for images of "
                f"{' × '.join(map(str, image_shape))} pixels, but is "
                f"{checks.shown(config.channels)}."
            )


@dataclass(frozen=True)
class CalculatorModelConfig:
    """The circuit that learns a function of a and b, followed by <ZZ> and a Dense(1).

    Attributes:
        layers: how often each qubit encodes both inputs; CX entangle between them. Four reach 1e-4.
        weight_bound: initial weights are uniform in ± this, in radians (shifts and factors).
    """

    layers: int = 4
    weight_bound: float = 2.0

    def circuit(self) -> Circuit:
        """Data re-uploading with trained scales (Pérez-Salinas et al., arXiv:1907.02085).

        Rotations about one axis add their angles: each qubit rotates by w·a, then by w'·b + w''.
        Only RY and CX, so that the state stays real.
        """
        ops: list[Op] = []
        for layer in range(self.layers):
            if layer:
                ops.append(Op("cx", (0, 1)))
            for qubit in (0, 1):
                k = 3 * (2 * layer + qubit)
                ops.append(Op("ry", qubit, w[k] * x[0]))
                ops.append(Op("ry", qubit, w[k + 1] * x[1] + w[k + 2]))
        return Circuit(2, tuple(ops))


@dataclass(frozen=True)
class LeastSquaresConfig:
    """Settings of Levenberg-Marquardt: epochs of 8 steps, each epoch on the next examples.

    Attributes:
        epochs: each of as many examples and 8 steps.
        batch_size: examples of an epoch, all of which each step uses; 0 uses all there are.
        learning_rate: length of a step in units of the full Gauss-Newton step.
        restarts: number of initial weights that are trained in parallel; validation selects one.
    """

    epochs: int = 40
    batch_size: int = 128
    learning_rate: float = 1.0
    restarts: int = 64


def check_least_squares(config: LeastSquaresConfig, train_count: int) -> None:
    """Check a least-squares configuration."""
    checks.of_type("config", config, LeastSquaresConfig, "a LeastSquaresConfig")
    _between("restarts", config.restarts, 1, 1000)
    _between("epochs", config.epochs, 0, 100_000)
    if size := checks.integer("batch_size", config.batch_size):
        _between("batch_size", size, 2, train_count, ", the number of training examples")
    checks.real("learning_rate", config.learning_rate, above=0)


#: Minimum number of random states for a distribution.
LEAST_SAMPLES = 200


def check_diagnosis(seed: int, samples: int) -> None:
    """Check the arguments of a diagnosis."""
    checks.seed("seed", seed)
    checks.at_least("samples", samples, LEAST_SAMPLES)
