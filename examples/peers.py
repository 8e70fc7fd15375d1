"""The same hybrid model in PennyLane, in Qiskit Machine Learning, and here: losses and seconds.

    python examples/peers.py qnn_jax
    python examples/peers.py pennylane          # pip install pennylane==0.45.1 jax==0.10.2
    python examples/peers.py torch_connector    # pip install qiskit-machine-learning torch

Each starts from the same numbers and takes the same twenty steps of gradient descent, so the losses
must agree. The result is written to results/reference/peers/NAME.json. Tutorial 5 shows the
functions and compares its own losses with these files.
"""

import importlib.metadata
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

STEPS, RATE = 20, 0.5


def start():
    """64 points of two classes, and initial parameters."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(64, 2))
    labels = (points[:, 0] * points[:, 1] > 0).astype(float)
    params = {
        "kernel": rng.normal(size=(2, 2)) / 2,
        "weights": rng.uniform(-1, 1, 6),
        "gain": np.array(1.0),
        "bias": np.array(0.0),
    }
    return points, labels, params


def qnn_jax():
    import jax
    import jax.numpy as jnp
    import optax

    from qnn_jax import real_amplitudes, zz_feature_map
    from qnn_jax.executors import exact

    circuit = zz_feature_map(2) + real_amplitudes(2, reps=2)

    def loss(params, points, labels):
        angles = jnp.pi + jnp.tanh(points @ params["kernel"])
        measured = exact(circuit, ["ZZ"], angles, params["weights"]).values[:, 0]
        logits = params["gain"] * measured + params["bias"]
        return optax.sigmoid_binary_cross_entropy(logits, labels).mean()

    points, labels, params = jax.tree.map(jnp.float32, start())
    step = jax.jit(jax.value_and_grad(loss))
    for _ in range(STEPS):
        value, gradient = step(params, points, labels)
        params = jax.tree.map(lambda p, g: p - RATE * g, params, gradient)
        yield float(value)


def pennylane():
    import jax
    import jax.numpy as jnp
    import pennylane as qml

    @qml.qnode(qml.device("default.qubit", wires=2), interface="jax")
    def circuit(x, w):
        for _ in range(2):  # the ZZ feature map
            for qubit in (0, 1):
                qml.Hadamard(qubit)
                qml.PhaseShift(2 * x[:, qubit], qubit)
            qml.CNOT([0, 1])
            qml.PhaseShift(2 * (jnp.pi - x[:, 0]) * (jnp.pi - x[:, 1]), 1)
            qml.CNOT([0, 1])
        for layer in range(3):  # real amplitudes
            for qubit in (0, 1):
                qml.RY(w[2 * layer + qubit], qubit)
            if layer < 2:
                qml.CNOT([0, 1])
        return qml.expval(qml.Z(0) @ qml.Z(1))

    def loss(params, points, labels):
        angles = jnp.pi + jnp.tanh(points @ params["kernel"])
        logits = params["gain"] * circuit(angles, params["weights"]) + params["bias"]
        return jnp.mean(jnp.logaddexp(0, logits) - labels * logits)

    points, labels, params = jax.tree.map(jnp.float32, start())
    step = jax.jit(jax.value_and_grad(loss))
    for _ in range(STEPS):
        value, gradient = step(params, points, labels)
        params = jax.tree.map(lambda p, g: p - RATE * g, params, gradient)
        yield float(value)


def torch_connector():
    import torch
    from qiskit.circuit.library import real_amplitudes, zz_feature_map
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_machine_learning.connectors import TorchConnector
    from qiskit_machine_learning.neural_networks import EstimatorQNN

    feature_map, ansatz = zz_feature_map(2), real_amplitudes(2, reps=2)
    qnn = EstimatorQNN(
        circuit=feature_map.compose(ansatz),
        observables=SparsePauliOp("ZZ"),
        input_params=list(feature_map.parameters),
        weight_params=list(ansatz.parameters),
        input_gradients=True,
    )
    points, labels, params = start()
    points, labels = torch.tensor(points), torch.tensor(labels)
    layer = TorchConnector(qnn, initial_weights=params.pop("weights")).double()
    classical = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    optimizer = torch.optim.SGD([*layer.parameters(), *classical.values()], lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        angles = torch.pi + torch.tanh(points @ classical["kernel"])
        logits = classical["gain"] * layer(angles)[:, 0] + classical["bias"]
        value = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
        value.backward()
        optimizer.step()
        yield value.item()


PACKAGES = {
    "qnn_jax": ("qnn-jax", "jax"),
    "pennylane": ("pennylane", "jax"),
    "torch_connector": ("qiskit-machine-learning", "qiskit", "torch"),
}


def run(name):
    """Losses of all steps, seconds of the first step and of each later one."""
    losses, seconds = [], []
    began = time.perf_counter()
    for value in globals()[name]():
        losses.append(value)
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return {
        "losses": losses,
        "first_step_seconds": seconds[0],
        "step_seconds": float(np.median(seconds[1:])),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES[name]},
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PACKAGES:
        sys.exit(f"usage: python examples/peers.py {'|'.join(PACKAGES)}")
    found = run(sys.argv[1])
    folder = Path(__file__).parents[1] / "results/reference/peers"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sys.argv[1]}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(f"{path.name}: last loss {found['losses'][-1]:.6f}, {found['step_seconds']:.2g} s a step")
