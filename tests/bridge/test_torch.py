"""PyTorch's weights in our parameters: the same logits as the network that they come from."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector
from scipy.signal import correlate2d

from qnn_jax import InputError
from qnn_jax.bridge import load_torch
from qnn_jax.configs import ModelConfig
from qnn_jax.models.hybrid import HybridClassifier
from qnn_jax.tasks import Fashion

_PRESETS = Fashion.presets()
SLIDES, NOTEBOOK = _PRESETS["slides"].model, _PRESETS["notebook"].model
WIDE = ModelConfig(
    channels=(3, 4), hidden=(6, 7), bound="none", num_qubits=3, observables="pairs", ansatz_reps=1
)


def state_dict_of(config, outputs=1, seed=0, side=28):
    """Random weights in PyTorch's layout, under tutorial 05's names."""
    rng = np.random.default_rng(seed)
    found, channels = {}, 1

    def layer(name, *shape):
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        found[f"{name}.weight"] = rng.uniform(-scale, scale, shape).astype(np.float32)
        found[f"{name}.bias"] = rng.uniform(-scale, scale, shape[0]).astype(np.float32)

    for k, width in enumerate(config.channels):
        layer(f"conv{k + 1}", width, channels, 5, 5)
        channels, side = width, (side - 4) // 2
    widths = [channels * side**2, *config.hidden, config.num_qubits]
    for k in range(len(widths) - 1):
        layer(f"fc{k + 1}", widths[k + 1], widths[k])
    weights = rng.uniform(-1, 1, config.circuit().num_weights).astype(np.float32)
    found["qnn.weight"] = found["qnn._weights"] = weights
    layer("last", outputs, len(config.labels(max(outputs, 2))))
    return found


def quantum(config, features, weights, outputs):
    """ZZFeatureMap and RealAmplitudes by hand in Qiskit, gate by gate."""
    n = config.num_qubits
    circuit = QuantumCircuit(n)
    for _ in range(config.feature_map_reps):
        for q in range(n):
            circuit.h(q)
            circuit.p(2 * features[q], q)
        for i in range(n):
            for j in range(i + 1, n):
                circuit.cx(i, j)
                circuit.p(2 * (np.pi - features[i]) * (np.pi - features[j]), j)
                circuit.cx(i, j)
    for layer in range(config.ansatz_reps + 1):
        for q in range(n):
            circuit.ry(float(weights[layer * n + q]), q)
        if layer < config.ansatz_reps:
            for q in reversed(range(n - 1)):
                circuit.cx(q, q + 1)
    state = Statevector(circuit)
    labels = config.labels(max(outputs, 2))
    return np.array([state.expectation_value(SparsePauliOp(label)).real for label in labels])


def pooled(image):
    side = image.shape[-1] // 2
    return image.reshape(len(image), side, 2, side, 2).max((2, 4))


def logits_of(state, config, images, pixels, outputs):
    """The network as PyTorch runs it: channels first, Linear as x @ W.T + b."""
    found = []
    for image in images:
        black, white = pixels
        hidden = black + (white - black) * image[None].astype(float) / 255
        for k in range(len(config.channels)):
            kernel, bias = state[f"conv{k + 1}.weight"], state[f"conv{k + 1}.bias"]
            maps = [
                sum(correlate2d(h, f, "valid") for h, f in zip(hidden, filters, strict=True)) + b
                for filters, b in zip(kernel.astype(float), bias, strict=True)
            ]
            hidden = pooled(np.maximum(maps, 0))
        hidden = hidden.reshape(-1)
        for k in range(len(config.hidden) + 1):
            hidden = state[f"fc{k + 1}.weight"] @ hidden + state[f"fc{k + 1}.bias"]
            last = k + 1 == len(config.hidden)
            if k < len(config.hidden) and (not last or config.activation_before_features):
                hidden = np.maximum(hidden, 0)
        values = quantum(config, hidden, state["qnn.weight"], outputs)
        found.append(state["last.weight"] @ values + state["last.bias"])
    return np.array(found)


IMAGES = np.random.default_rng(1).integers(0, 256, (3, 28, 28), dtype=np.uint8)


def ours(config, variables, classes, images=IMAGES):
    return np.asarray(HybridClassifier(config, classes).apply(variables, jnp.asarray(images)))


@pytest.mark.slow_but_one
@pytest.mark.parametrize("pixels", [(-1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("config", [SLIDES, NOTEBOOK], ids=["slides", "notebook"])
def test_logits_are_the_networks(config, pixels):
    state = state_dict_of(config)
    variables = load_torch(state, config, pixels=pixels)
    theirs = logits_of(state, config, IMAGES, pixels, 1)
    assert np.ptp(theirs) > 1e-3  # the images matter
    np.testing.assert_allclose(ours(config, variables, 2), theirs, atol=1e-5)


@pytest.mark.parametrize("outputs", [2, 4])
def test_logits_of_two_scores_and_of_many_classes(outputs):
    state = state_dict_of(WIDE, outputs)
    theirs = logits_of(state, WIDE, IMAGES, (-1, 1), outputs)
    if outputs == 2:
        theirs = theirs[:, 1:] - theirs[:, :1]
    np.testing.assert_allclose(ours(WIDE, load_torch(state, WIDE), outputs), theirs, atol=1e-5)


def test_images_of_another_size():
    state, images = state_dict_of(SLIDES, side=20), IMAGES[:, :20, 4:24]
    theirs = logits_of(state, SLIDES, images, (-1, 1), 1)
    assert np.ptp(theirs) > 1e-3
    found = ours(SLIDES, load_torch(state, SLIDES), 2, images)
    np.testing.assert_allclose(found, theirs, atol=1e-5)


def test_tutorial_05_ends_in_x_and_one_less_x():
    state = state_dict_of(SLIDES)
    x = logits_of(state, SLIDES, IMAGES, (0, 1), 1)
    variables = load_torch(state, SLIDES, pixels=(0, 1), pair=True)
    np.testing.assert_allclose(ours(SLIDES, variables, 2), (1 - x) - x, atol=1e-5)


def test_the_comparison_sees_the_order_in_which_pixels_are_flattened():
    """The twin: the first Linear layer transposed only, as it is most easily got wrong."""
    state = state_dict_of(SLIDES)
    variables = load_torch(state, SLIDES)
    variables["params"]["encoder"]["dense0"]["kernel"] = state["fc1.weight"].T
    theirs = logits_of(state, SLIDES, IMAGES, (-1, 1), 1)
    assert np.abs(ours(SLIDES, variables, 2) - theirs).max() > 1e-3


def test_logits_are_pytorchs_own():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed here")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = torch.nn.Conv2d(1, 2, 5), torch.nn.Conv2d(2, 16, 5)
            self.fc1, self.fc2 = torch.nn.Linear(256, 64), torch.nn.Linear(64, 2)
            self.qnn = torch.nn.Module()
            self.qnn.weight = torch.nn.Parameter(torch.rand(6) * 2 - 1)
            self.fc3 = torch.nn.Linear(1, 1)

        def forward(self, x):
            for convolution in (self.conv1, self.conv2):
                x = torch.nn.functional.max_pool2d(torch.relu(convolution(x)), 2)
            x = self.fc2(torch.relu(self.fc1(x.flatten(1))))
            weights = self.qnn.weight.detach().numpy()
            rows = [quantum(SLIDES, row, weights, 1) for row in x.detach().numpy()]
            return self.fc3(torch.tensor(np.array(rows), dtype=torch.float32))

    torch.manual_seed(0)
    net = Net().eval()
    images = torch.tensor(IMAGES[:, None] / 255, dtype=torch.float32)
    theirs = net(images).detach().numpy()
    variables = load_torch(net.state_dict(), SLIDES, pixels=(0, 1))
    np.testing.assert_allclose(ours(SLIDES, variables, 2), theirs, atol=1e-5)


def changed(**changes):
    return {**state_dict_of(SLIDES), **{k.replace("__", "."): v for k, v in changes.items()}}


def without(*names):
    return {k: v for k, v in state_dict_of(SLIDES).items() if k not in names}


@pytest.mark.parametrize(
    ("state", "config", "message"),
    [
        ("weights.pt", SLIDES, "must be a mapping from names to tensors.* but is 'weights.pt'"),
        (state_dict_of(SLIDES), NOTEBOOK, "which has 4 Linear layers, but has 3"),
        (
            state_dict_of(SLIDES),
            dataclasses.replace(SLIDES, hidden=(32,)),
            r"'fc1.weight' has shape \(32, 256\), but has \(64, 256\)",
        ),
        (
            state_dict_of(SLIDES),
            dataclasses.replace(SLIDES, ansatz_reps=1),
            r"'qnn.weight' has shape \(4,\), but has \(6,\)",
        ),
        (without("qnn.weight", "qnn._weights"), SLIDES, "must hold the TorchConnector's weights"),
        (without("conv2.weight", "conv2.bias"), SLIDES, "which has 2 convolutions, but has 1"),
        (without("fc1.bias"), SLIDES, r"layer 'fc1' has weight \(64, 256\)"),
        (changed(qnn___weights=np.zeros(6)), SLIDES, "weights of one circuit, .* under 'qnn'"),
        (changed(fc2__bias=[0, np.nan]), SLIDES, "must be finite, but 'fc2.bias' holds NaN"),
        (changed(fc2__bias="x"), SLIDES, "must hold tensors, but 'fc2.bias' is str"),
        (changed(norm__running_mean=np.zeros(2)), SLIDES, "but layer 'norm' has running_mean"),
    ],
)
def test_refusals(state, config, message):
    with pytest.raises(InputError, match=message):
        load_torch(state, config)
