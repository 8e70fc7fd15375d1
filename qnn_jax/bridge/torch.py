"""From PyTorch: the weights of a network with a TorchConnector as parameters of ours.

PyTorch itself is not needed: the values of a state_dict become numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from qnn_jax.circuits.arrays import as_numbers
from qnn_jax.circuits.checks import flag, of_type, real, several, shown
from qnn_jax.configs import KERNEL_SIDE, ModelConfig
from qnn_jax.errors import InputError


def load_torch(
    state_dict: Mapping[str, Any],
    preset: ModelConfig,
    *,
    pixels: tuple[float, float] = (-1.0, 1.0),
    pair: bool = False,
) -> dict[str, Any]:
    """The parameters of a `HybridClassifier` that gives the logits of a PyTorch network.

    The network is that of Qiskit Machine Learning's tutorial 05, or similar: convolutions of 5×5
    with ReLU and pooling, flatten, Linear layers down to the features, a TorchConnector around
    ZZFeatureMap and RealAmplitudes, one Linear layer behind it. Layers are told apart by the shapes
    of their weights and taken in the order of the state_dict, whatever they are called.

    What changes: convolutions go from (out, in, height, width) to (height, width, in, out), Linear
    layers are transposed, and the first of them reads its pixels in the order height, width,
    channel in place of channel, height, width.

    Args:
        state_dict: names to tensors or arrays, as `module.state_dict()` gives them.
        preset: the shape of the network: `ModelConfig` with `bound="none"`, and hidden widths and
            activations as in the network. `Fashion.presets()["slides"].model`
            is tutorial 05's.
        pixels: what the network was shown for black and for white. The default is the 2022
            project's; tutorial 05 trains on (0, 1). Ours are in [-1, 1]; the first convolution is
            adapted, which is exact.
        pair: the network ends in (x, 1 - x), as in tutorial 05: two scores of the classes 0 and 1
            in place of one logit.

    Returns:
        Variables for `HybridClassifier.apply`, of float32. Two classes have one logit, positive
        for class 1; of two scores it is their difference, second less first.

    Raises:
        InputError: for tensors that are missing, left over or of another shape, and NaN.
    """
    of_type("preset", preset, ModelConfig, "a ModelConfig")
    flag("pair", pair)
    rule = "two numbers, for black and for white"
    levels = [real("pixels", level) for level in several("pixels", pixels, rule, again=True)]
    if len(levels) != 2:
        raise InputError(f"Argument `pixels` must be {rule}, but is {shown(pixels)}.")
    convolutions, linears, weights = _sorted_layers(state_dict)
    _check_count("convolutions", len(convolutions), len(preset.channels))
    _check_count("Linear layers", len(linears), len(preset.hidden) + 2)
    if weights is None:
        raise InputError(
            "Argument `state_dict` must hold the TorchConnector's weights, a vector without a "
            "bias beside it, but holds none."
        )
    encoder: dict[str, Any] = {}
    channels = 1
    for k, (layer, width) in enumerate(zip(convolutions, preset.channels, strict=True)):
        shape = (width, channels, KERNEL_SIDE, KERNEL_SIDE)
        kernel, bias = layer.checked(shape)
        if k == 0:
            black, white = levels
            bias = bias + kernel.sum((1, 2, 3)) * (black + white) / 2
            kernel = kernel * ((white - black) / 2)
        encoder[f"conv{k}"] = _variables(kernel.transpose(2, 3, 1, 0), bias)
        channels = width
    # Images are square; the first Linear layer says how many of their pixels are left.
    side = max(1, round(math.sqrt(linears[0].weight.shape[1] / channels)))
    fan_in = channels * side * side
    names = [f"dense{k}" for k in range(len(preset.hidden))] + ["features"]
    for k, (name, layer, width) in enumerate(
        zip(names, linears[:-1], (*preset.hidden, preset.num_qubits), strict=True)
    ):
        kernel, bias = layer.checked((width, fan_in))
        if k == 0:
            kernel = kernel.reshape(width, channels, side, side).transpose(0, 2, 3, 1)
        encoder[name] = _variables(kernel.reshape(width, fan_in).T, bias)
        fan_in = width
    circuit_weights = _array(*weights)
    _check_shape(weights[0], circuit_weights, (preset.circuit().num_weights,))
    return {
        "params": {
            "encoder": encoder,
            "quantum": {"weights": circuit_weights.astype(np.float32)},
            "head": _head(linears[-1], preset, pair),
        }
    }


def _head(layer: _Layer, preset: ModelConfig, pair: bool) -> dict[str, np.ndarray]:
    """The last layer; two scores become one logit, their difference."""
    outputs = layer.weight.shape[0]
    kernel, bias = layer.checked((outputs, len(preset.labels(max(outputs, 2)))))
    if pair:
        _check_shape(f"{layer.name}.weight", kernel, (1, kernel.shape[1]))
        kernel, bias = -2 * kernel, 1 - 2 * bias
    elif outputs == 2:
        kernel, bias = kernel[1:] - kernel[:1], bias[1:] - bias[:1]
    return _variables(kernel.T, bias)


class _Layer(NamedTuple):
    """A layer's tensors and their names."""

    name: str
    weight: np.ndarray
    bias: np.ndarray

    def checked(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias, if they have these shapes."""
        _check_shape(f"{self.name}.weight", self.weight, shape)
        _check_shape(f"{self.name}.bias", self.bias, shape[:1])
        return self.weight, self.bias


def _sorted_layers(
    state_dict: Mapping[str, Any],
) -> tuple[list[_Layer], list[_Layer], tuple[str, Any] | None]:
    """Convolutions, Linear layers and the circuit's weights, in order."""
    what = "a mapping from names to tensors, as module.state_dict() gives"
    of_type("state_dict", state_dict, Mapping, what)
    convolutions: list[_Layer] = []
    linears: list[_Layer] = []
    weights: tuple[str, Any] | None = None
    layers: dict[str, dict[str, Any]] = {}
    for key, value in state_dict.items():
        name, _, part = str(key).rpartition(".")
        layers.setdefault(name, {})[part] = value
    for name, tensors in layers.items():
        arrays = {part: _array(f"{name}.{part}", value) for part, value in tensors.items()}
        vectors = [array for array in arrays.values() if array.ndim == 1]
        dimensions = arrays["weight"].ndim if arrays.keys() == {"weight", "bias"} else 0
        if dimensions == 4:
            convolutions.append(_Layer(name, arrays["weight"], arrays["bias"]))
        elif dimensions == 2:
            linears.append(_Layer(name, arrays["weight"], arrays["bias"]))
        # A TorchConnector has its weights under two names, weight and _weights.
        elif arrays.keys() <= {"weight", "_weights"} and len(vectors) == len(arrays):
            if weights is not None or any(not np.array_equal(vectors[0], v) for v in vectors):
                raise InputError(
                    "Argument `state_dict` must hold the weights of one circuit, but holds "
                    f"others under {name!r}."
                )
            weights = (f"{name}.{next(iter(arrays))}", vectors[0])
        else:
            shapes = ", ".join(f"{part} {array.shape}" for part, array in arrays.items())
            raise InputError(
                "Argument `state_dict` must hold convolutions, Linear layers with biases and a "
                f"circuit's weights, but layer {name!r} has {shapes}."
            )
    return convolutions, linears, weights


def _array(name: str, value: Any) -> np.ndarray:
    """A tensor as a float64 array; one that holds NaN is refused."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = as_numbers("state_dict", value).astype(float)
    except InputError:
        raise InputError(
            f"Argument `state_dict` must hold tensors, but {name!r} is {type(value).__name__}."
        ) from None
    if not np.all(np.isfinite(array)):
        raise InputError(
            f"Argument `state_dict` must be finite, but {name!r} holds NaN or infinity."
        )
    return array


def _variables(kernel: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "kernel": np.ascontiguousarray(kernel, np.float32),
        "bias": np.ascontiguousarray(bias, np.float32),
    }


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise InputError(
            f"Argument `state_dict` must fit the preset, where {name!r} has shape {shape}, but "
            f"has {array.shape}."
        )


def _check_count(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise InputError(
            f"Argument `state_dict` must fit the preset, which has {expected} {what}, but has "
            f"{found}."
        )
