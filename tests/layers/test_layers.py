"""One contract for the two Flax layers, which rejects broken layers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from qiskit.quantum_info import SparsePauliOp, Statevector
from reference import in_qiskit

import qnn_jax.linen
import qnn_jax.nnx
from qnn_jax import (
    Circuit,
    InputError,
    Op,
    data_reuploading,
    real_amplitudes,
    w,
    x,
    zz_feature_map,
)
from qnn_jax.executors import Expectations, exact
from qnn_jax.initializers import recommended

CIRCUIT = zz_feature_map(2) + real_amplitudes(2, reps=2)
SINE = data_reuploading(1, 1, reps=4)
OBSERVABLES = ("ZZ", "IZ", {"XI": 0.5, "ZY": -2.0})


@dataclass(frozen=True)
class Layer:
    """A layer as a function of weights and features."""

    apply: Callable[[jax.Array, jax.Array], jax.Array]
    initial: Callable[[int], jax.Array]


def linen_layer(executor=exact) -> Layer:
    layer = qnn_jax.linen.QuantumLayer(CIRCUIT, OBSERVABLES, executor)
    return Layer(
        lambda weights, features: layer.apply({"params": {"weights": weights}}, features),
        lambda seed: layer.init(jax.random.key(seed), jnp.zeros((1, 2)))["params"]["weights"],
    )


def nnx_layer(executor=exact) -> Layer:
    def apply(weights, features):
        layer = qnn_jax.nnx.QuantumLayer(CIRCUIT, OBSERVABLES, executor=executor, rngs=nnx.Rngs(0))
        layer.weights[...] = weights
        return layer(features)

    def initial(seed):
        rngs = nnx.Rngs(seed)
        return qnn_jax.nnx.QuantumLayer(CIRCUIT, OBSERVABLES, rngs=rngs).weights[...]

    return Layer(apply, initial)


def reference(weights: np.ndarray, features: np.ndarray) -> np.ndarray:
    rows = []
    for sample in features:
        state = Statevector(in_qiskit(CIRCUIT, sample, weights))
        sums = [
            SparsePauliOp.from_list(list(o.items()) if isinstance(o, dict) else [(o, 1.0)])
            for o in OBSERVABLES
        ]
        rows.append([state.expectation_value(one).real for one in sums])
    return np.array(rows)


def check_contract(layer: Layer) -> None:
    """Values equal Qiskit's; jit, vmap and any batch shape agree; gradients by parameter shift."""
    rng = np.random.default_rng(0)
    features = rng.uniform(-3, 3, (6, 2)).astype(np.float32)
    weights = layer.initial(1)
    assert weights.shape == (6,), "weights"
    values = layer.apply(weights, features)
    wanted = reference(np.asarray(weights, float), features.astype(float))
    assert np.abs(values - wanted).max() < 2e-5, "Qiskit"
    close = partial(np.testing.assert_allclose, atol=2e-6, rtol=0)
    close(jax.jit(layer.apply)(weights, features), values, err_msg="jit")
    close(jax.vmap(layer.apply, (None, 0))(weights, features), values, err_msg="vmap")
    close(layer.apply(weights, features[0]), values[0], err_msg="one sample")
    close(layer.apply(weights, features.reshape(3, 2, 2)).reshape(6, 3), values, err_msg="batch")
    stacked = jnp.stack([weights, -weights])
    both = jax.vmap(layer.apply, (0, None))(stacked, features)
    close(both[0], values, err_msg="vmap over weights")

    # Every weight is in one RY alone, so its derivative is exactly the parameter-shift rule.
    jacobian = jax.jacobian(layer.apply)(weights, features)
    for j in range(6):
        shift = jnp.zeros(6).at[j].set(math.pi / 2)
        rule = (layer.apply(weights + shift, features) - layer.apply(weights - shift, features)) / 2
        np.testing.assert_allclose(jacobian[..., j], rule, atol=2e-5, err_msg="parameter shift")
    # The inputs are in several angles each, so their reference is the difference quotient, in
    # double precision from Qiskit.
    by_feature = jax.vmap(jax.jacobian(layer.apply, 1), (None, 0))(weights, features)
    step = 1e-6
    for k in range(2):
        ahead, behind = features.astype(float), features.astype(float)
        ahead[:, k] += step
        behind[:, k] -= step
        exact_weights = np.asarray(weights, float)
        quotient = (reference(exact_weights, ahead) - reference(exact_weights, behind)) / (2 * step)
        np.testing.assert_allclose(by_feature[..., k], quotient, atol=5e-4, err_msg="inputs")


@pytest.mark.parametrize("make", [linen_layer, nnx_layer])
def test_both_layers_keep_the_contract(make: Callable[..., Layer]) -> None:
    check_contract(make())


def swapped(circuit, observables, inputs, weights, key=None) -> Expectations:
    return exact(circuit, observables, inputs[:, ::-1], weights, key)


def stopped(circuit, observables, inputs, weights, key=None) -> Expectations:
    return exact(circuit, observables, inputs, jax.lax.stop_gradient(weights), key)


def deaf_to_inputs(circuit, observables, inputs, weights, key=None) -> Expectations:
    return exact(circuit, observables, jax.lax.stop_gradient(inputs), weights, key)


@pytest.mark.parametrize("make", [linen_layer, nnx_layer])
@pytest.mark.parametrize(
    ("executor", "part"),
    [(swapped, "Qiskit"), (stopped, "parameter shift"), (deaf_to_inputs, "inputs")],
)
def test_broken_layers_are_rejected(make, executor, part: str) -> None:
    with pytest.raises(AssertionError, match=part):
        check_contract(make(executor))


def test_linen_and_nnx_give_the_same_bits() -> None:
    features = jax.random.normal(jax.random.key(3), (7, 2))
    weights = linen_layer().initial(5)
    one, other = linen_layer().apply(weights, features), nnx_layer().apply(weights, features)
    assert np.array_equal(one, other)


def test_initial_weights_fill_the_circle() -> None:
    drawn = np.concatenate([linen_layer().initial(seed) for seed in range(200)])
    assert -math.pi <= drawn.min() < -3
    assert 3 < drawn.max() <= math.pi
    assert abs(drawn.mean()) < 0.2


def initial_weights(circuit: Circuit, seed: int, **options) -> list[np.ndarray]:
    """Those of both layers."""
    labels = ("Z" * circuit.num_qubits,)
    linen = qnn_jax.linen.QuantumLayer(circuit, labels, **options)
    rngs = nnx.Rngs(params=jax.random.key(seed))
    return [
        linen.init(jax.random.key(seed), jnp.ones(circuit.num_inputs))["params"]["weights"],
        qnn_jax.nnx.QuantumLayer(circuit, labels, rngs=rngs, **options).weights[...],
    ]


def test_scales_start_small_and_angles_on_the_whole_circle() -> None:
    # w[5] is an angle, although it is added to an input; w[4] is a scale in one of two gates.
    circuit = Circuit(
        1,
        (
            Op("ry", 0, (w[0] + 2 * w[1]) * x[0] + w[2]),
            Op("rz", 0, x[1] / w[3]),
            Op("ry", 0, (x[0] + w[5]) * w[4]),
            Op("rz", 0, w[4] * w[6]),
            Op("ry", 0, x[0] ** w[7]),
        ),
    )
    scales = {0, 1, 3, 4, 7}
    for placed in (circuit, (circuit + circuit).on([1], 2).inverse()):
        drawn = np.stack([w for seed in range(60) for w in initial_weights(placed, seed)])
        reach = np.abs(drawn).max(0)
        for j, most in enumerate(reach):
            assert (0.8 < most <= 1) if j % 8 in scales else (2.5 < most <= math.pi), j
    chosen = initial_weights(circuit, 0, weight_init=jax.nn.initializers.constant(0.5))
    assert all(np.array_equal(weights, np.full(8, 0.5)) for weights in chosen)


def test_circuits_without_scales_start_as_they_did() -> None:
    drawn = recommended(CIRCUIT)(jax.random.key(3), (6,))
    wanted = jax.random.uniform(jax.random.key(3), (6,), float, -math.pi, math.pi)
    assert np.array_equal(drawn, wanted)
    with pytest.raises(InputError, match=r"^Argument `shape` must end in 12, .* but is \(5,\)"):
        recommended(data_reuploading(2, reps=1))(jax.random.key(0), (5,))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_reuploading_fits_a_noisy_sine_from_the_start(seed: int) -> None:
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.uniform(-math.pi, math.pi, (200, 1)), jnp.float32)
    targets = jnp.asarray(np.sin(2 * inputs[:, 0]) + rng.normal(0, 0.05, 200), jnp.float32)
    layer, optimizer = qnn_jax.linen.QuantumLayer(SINE, ("Z",)), optax.adam(0.05)
    params = layer.init(jax.random.key(seed), inputs)

    def loss(params):
        return jnp.mean((layer.apply(params, inputs)[:, 0] - targets) ** 2)

    @jax.jit
    def fit(params):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        return loss(jax.lax.scan(step, (params, optimizer.init(params)), length=400)[0][0])

    assert fit(params) < 0.0035  # the noise alone is .0025; scales in ± π end at up to .015


@pytest.mark.parametrize("make", [linen_layer, nnx_layer])
@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            jnp.zeros((4, 3)),
            r"of a QuantumLayer must have shape \(\.\.\., 2\), .* but has shape \(4, 3\)",
        ),
        (jnp.zeros(()), r"of a QuantumLayer must have shape \(\.\.\., 2\), .* but has shape \(\)"),
        (
            jnp.zeros((4, 2), int),
            "of a QuantumLayer must hold floating-point numbers, but has dtype int32",
        ),
        (np.array([[0.0, 1e39]]), r"must be finite in float32, but inputs\[0, 1\] is inf"),
        ([[0.0, 1.0], [0.0]], "must have rows of one length, but is"),
        (jnp.array([[0.0, jnp.nan]]), r"must be finite in float32, but inputs\[0, 1\] is nan"),
    ],
)
def test_bad_features_are_refused_in_one_sentence(make, features, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument `inputs` {message}"):
        make().apply(jnp.zeros(6), features)


def test_layers_take_qiskits_sums_and_labels_by_qubit() -> None:
    operator = SparsePauliOp(["ZY", "XI", "ZY"], [-1.5, 0.5, -0.5])
    given = ("Z0 Z1", "Z0", operator)
    weights, features = jnp.linspace(-2, 2, 6), jnp.array([[0.3, 2.0], [1.0, -1.0]])
    wanted = linen_layer().apply(weights, features)
    linen = qnn_jax.linen.QuantumLayer(CIRCUIT, given)
    np.testing.assert_allclose(
        linen.apply({"params": {"weights": weights}}, features), wanted, atol=1e-6
    )
    nnx_layer = qnn_jax.nnx.QuantumLayer(CIRCUIT, given, rngs=nnx.Rngs(0))
    nnx_layer.weights[...] = weights
    np.testing.assert_allclose(nnx_layer(features), wanted, atol=1e-6)


def test_wrong_parts_are_refused() -> None:
    with pytest.raises(InputError, match=r"^Argument `rngs` must be an nnx\.Rngs, but is 0"):
        qnn_jax.nnx.QuantumLayer(CIRCUIT, ("ZZ",), rngs=0)
    with pytest.raises(InputError, match=r"^Argument `executor` must be an executor, .* is 3"):
        qnn_jax.nnx.QuantumLayer(CIRCUIT, ("ZZ",), executor=3, rngs=nnx.Rngs(0))


def test_a_circuit_without_weights_or_inputs_is_a_layer_too() -> None:
    fixed = qnn_jax.linen.QuantumLayer(Circuit(1, (Op("rx", 0, x[0]),)), ("Z",))
    params = fixed.init(jax.random.key(0), jnp.zeros((1, 1)))
    np.testing.assert_allclose(
        fixed.apply(params, jnp.array([[0.5]])), [[math.cos(0.5)]], rtol=1e-6
    )
    free = qnn_jax.linen.QuantumLayer(Circuit(1, (Op("rx", 0, w[0]),)), ("Z",))
    params = free.init(jax.random.key(0), jnp.zeros((3, 0)))
    assert free.apply(params, jnp.zeros((3, 0))).shape == (3, 1)


def test_in_someone_elses_linen_model() -> None:
    # The README's example: it must learn a function that needs the circuit's nonlinearity.
    class Model(nn.Module):
        @nn.compact
        def __call__(self, features):
            angles = math.pi + jnp.tanh(nn.Dense(2)(features))
            return nn.Dense(1)(qnn_jax.linen.QuantumLayer(CIRCUIT, ("ZZ",))(angles))[:, 0]

    inputs = jax.random.uniform(jax.random.key(0), (64, 3))
    targets = jnp.sin(3 * inputs[:, 0]) * inputs[:, 1]
    model, optimizer = Model(), optax.adam(3e-2)
    params = model.init(jax.random.key(1), inputs)

    def loss(params):
        return jnp.mean((model.apply(params, inputs) - targets) ** 2)

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=300)[0][0]

    assert loss(train(params)) < 0.25 * jnp.var(targets)


def test_in_someone_elses_nnx_model() -> None:
    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.dense = nnx.Linear(3, 2, rngs=rngs)
            self.quantum = qnn_jax.nnx.QuantumLayer(CIRCUIT, ("ZZ",), rngs=rngs)

        def __call__(self, features):
            return self.quantum(self.dense(features))[:, 0]

    inputs = jax.random.uniform(jax.random.key(0), (16, 3))
    model = Model(nnx.Rngs(0))
    before = model(inputs)
    # Plain jax transformations accept the module, since it has float parameters only.
    gradient = jax.jit(jax.grad(lambda model: jnp.sum(model(inputs))))(model)
    assert np.abs(gradient.quantum.weights[...]).max() > 1e-3
    assert np.abs(gradient.dense.kernel[...]).max() > 1e-3
    moved = jax.tree.map(lambda p, g: p - 0.1 * g, model, gradient)
    assert jnp.sum(moved(inputs)) < jnp.sum(before)
