"""The hybrid models: the 2022 project's sizes, the twin's size, bounds, initialisation."""

import math
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax import InputError, expectations
from qnn_jax.configs import check_model
from qnn_jax.executors import Expectations
from qnn_jax.models import (
    HybridClassifier,
    ModelConfig,
    PixelRegression,
    count_parameters,
    twin_width,
)
from qnn_jax.models.hybrid import Middle, centered
from qnn_jax.tasks import Fashion

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.integers(0, 256, (5, 28, 28)), jnp.uint8)
MIDDLES = get_args(Middle)


def shapes(model: HybridClassifier) -> dict[str, tuple[int, ...]]:
    params = jax.eval_shape(model.init, KEY, IMAGES)["params"]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


SLIDES = {
    "encoder/conv0/bias": (2,),
    "encoder/conv0/kernel": (5, 5, 1, 2),
    "encoder/conv1/bias": (16,),
    "encoder/conv1/kernel": (5, 5, 2, 16),
    "encoder/dense0/bias": (64,),
    "encoder/dense0/kernel": (256, 64),
    "encoder/features/bias": (2,),
    "encoder/features/kernel": (64, 2),
    "head/bias": (1,),
    "head/kernel": (1, 1),
    "quantum/weights": (6,),
}


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["default", "slides"])
def test_the_slides_network_has_the_slides_sizes(preset: str) -> None:
    assert shapes(HybridClassifier(Fashion.presets()[preset].model, 2)) == SLIDES


@pytest.mark.slow
def test_the_notebooks_network_has_the_notebooks_sizes() -> None:
    notebook = Fashion.presets()["notebook"]
    config = notebook.model
    found = shapes(HybridClassifier(config, 2))
    assert found["encoder/dense0/kernel"] == (256, 128)
    assert found["encoder/dense1/kernel"] == (128, 64)
    assert found["encoder/features/kernel"] == (64, 2)
    assert config.dropout == 0.5
    assert notebook.training.loss == "mse"
    assert (notebook.training.batch_size, notebook.training.epochs) == (4, 5)


def test_the_twin_of_the_2022_circuit_has_its_six_weights() -> None:
    config = ModelConfig()
    twin = shapes(HybridClassifier(config, 2, "classical"))
    middle = {name: shape for name, shape in twin.items() if name.startswith("classical/")}
    assert middle == {"classical/Dense_0/kernel": (2, 2), "classical/Dense_1/kernel": (2, 1)}
    assert {n: s for n, s in twin.items() if n not in middle} == {
        n: s for n, s in SLIDES.items() if n != "quantum/weights"
    }
    assert twin_width(2, 1, 6) == 2
    assert twin_width(4, 10, 12) == 4  # never a bottleneck, although the circuit has 12 weights
    assert twin_width(2, 1, 60) == 20


def test_twins_differ_in_the_middle_alone() -> None:
    models = {middle: HybridClassifier(ModelConfig(), 2, middle) for middle in MIDDLES}
    params = {middle: model.init(KEY, IMAGES)["params"] for middle, model in models.items()}
    assert shapes(models["separable"]) == SLIDES
    assert params["bypass"]["head"]["kernel"].shape == (2, 1)
    assert params["network"]["head"]["kernel"].shape == (64, 1)
    assert set(params["quantum"]["encoder"]) - set(params["network"]["encoder"]) == {"features"}
    for middle in MIDDLES:  # common parts have the same initial values
        for name, layer in params[middle]["encoder"].items():
            assert np.array_equal(layer["kernel"], params["quantum"]["encoder"][name]["kernel"])
    weights = [params[middle]["quantum"]["weights"] for middle in ("quantum", "separable")]
    assert np.array_equal(*weights)


def test_the_separable_twin_has_no_correlations() -> None:
    def correlation(middle: Middle) -> float:
        circuit = HybridClassifier(ModelConfig(), 2, middle).circuit
        found = []
        for x, w in zip(RNG.uniform(-3, 3, (5, 2)), RNG.uniform(-3, 3, (5, 6)), strict=True):
            zz, iz, zi = expectations(circuit, ("ZZ", "IZ", "ZI"), x, w)
            found.append(abs(zz - iz * zi))
        return float(max(found))

    assert correlation("separable") < 1e-5
    assert correlation("quantum") > 0.1


def test_twins_do_not_see_the_circuits_centre() -> None:
    config = ModelConfig()
    centre = jnp.full((1, 2), math.pi)
    np.testing.assert_allclose(centered(config, centre), 0.0, atol=1e-6)
    np.testing.assert_allclose(centered(config, centre + config.feature_scale), 1.0, atol=1e-6)
    assert centered(ModelConfig(bound="none"), centre) is centre
    # The twin in place of the circuit gets them centred: its head is linear in them.
    model = HybridClassifier(config, 2, "bypass")
    params = jax.jit(model.init)(KEY, IMAGES)
    features = model.apply(params, IMAGES, method="encode")
    head = params["params"]["head"]
    wanted = centered(config, features) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(model.apply(params, IMAGES), wanted, atol=1e-5)


def test_pixel_regression_is_one_product() -> None:
    for num_classes, outputs in ((2, 1), (3, 3)):
        model = PixelRegression(num_classes)
        params = model.init(KEY, IMAGES)
        kernel = np.asarray(params["params"]["Dense_0"]["kernel"], np.float64)
        wanted = (np.asarray(IMAGES, np.float64).reshape(5, -1) / 127.5 - 1) @ kernel
        assert wanted.shape == (5, outputs)
        np.testing.assert_allclose(model.apply(params, IMAGES), wanted, atol=1e-4)


def by_hand(params, table: np.ndarray) -> np.ndarray:
    """The encoder without convolutions, in double precision."""
    dense, last = (jax.tree.map(np.float64, params["encoder"][n]) for n in ("dense0", "features"))
    hidden = np.maximum(table @ dense["kernel"] + dense["bias"], 0)
    return math.pi + np.tanh(hidden @ last["kernel"] + last["bias"])


TABLES = ModelConfig(num_qubits=3, channels=(), hidden=(16,))


@pytest.mark.slow
def test_a_table_of_features_is_not_scaled() -> None:
    table = RNG.normal(size=(5, 4)).astype(np.float32)
    model = HybridClassifier(TABLES, 2)
    params = model.init(KEY, jnp.asarray(table))
    features = model.apply(params, jnp.asarray(table), method="encode")
    np.testing.assert_allclose(features, by_hand(params["params"], table), atol=1e-5)
    # Images of the same numbers are scaled from the range of bytes.
    images = jnp.asarray(RNG.integers(0, 256, (5, 2, 2)), jnp.uint8)
    wanted = by_hand(params["params"], np.asarray(images, float).reshape(5, 4) / 127.5 - 1)
    features = model.apply(params, images, method="encode")
    np.testing.assert_allclose(features, wanted, atol=1e-5)
    pixels = PixelRegression(2)
    params = pixels.init(KEY, jnp.zeros((1, 4)))
    wanted = table @ np.asarray(params["params"]["Dense_0"]["kernel"], float)
    np.testing.assert_allclose(pixels.apply(params, jnp.asarray(table)), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "images", "message"),
    [
        (TABLES, np.zeros((5, 4), np.uint8), r"has shape \(5, 4\) and dtype uint8; convert"),
        (TABLES, np.zeros((5, 4), int), r"or floating-point features, but .* dtype int32; convert"),
        (TABLES, np.zeros((5, 2, 2), bool), "hold real numbers, but has dtype bool"),
        (TABLES, np.zeros(4), r"or \(batch, features\), but has shape \(4,\)"),
        (ModelConfig(), np.zeros((5, 4)), r"has shape \(5, 4\); for a table .* channels=\(\)"),
        (ModelConfig(), np.zeros((5, 28, 28, 1, 1)), r"convolutions, but has shape \(5, 28, 28"),
    ],
)
def test_other_arrays_than_images_or_features_are_refused(config, images, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument `images` must .*{message}"):
        HybridClassifier(config, 2).init(KEY, jnp.asarray(images))


def test_parameters_are_counted_by_kind() -> None:
    params = jax.eval_shape(HybridClassifier(ModelConfig(), 2).init, KEY, IMAGES)["params"]
    counts = count_parameters(params)
    assert counts == {"classical": 17_448, "quantum": 6}
    assert sum(counts.values()) == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_features_stay_within_their_bounds() -> None:
    config = ModelConfig(feature_gain=50.0)
    model = HybridClassifier(config, 2)
    features = model.apply(model.init(KEY, IMAGES), IMAGES, method="encode")
    assert np.all(np.abs(features - math.pi) <= config.feature_scale + 1e-6)
    unbounded = HybridClassifier(ModelConfig(bound="none", feature_gain=50.0), 2)
    # Outside of jit its angles bring a warning.
    params = jax.jit(unbounded.init)(KEY, IMAGES)
    features = unbounded.apply(params, IMAGES, method="encode")
    assert np.abs(features).max() > 2 * math.pi


@pytest.mark.slow_but_one
@pytest.mark.parametrize("middle", ["quantum", "separable"])
def test_encode_the_circuit_and_decide_are_the_model(middle: Middle) -> None:
    model = HybridClassifier(ModelConfig(), 2, middle)
    params = jax.jit(model.init)(KEY, IMAGES)
    features = model.apply(params, IMAGES, method="encode")
    assert features.shape == (5, 2)
    weights = params["params"]["quantum"]["weights"]
    values = jax.vmap(lambda x: expectations(model.circuit, model.observables, x, weights))(
        features
    )
    logits = model.apply(params, values, method="decide")
    np.testing.assert_allclose(logits, model.apply(params, IMAGES), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (2, 0)}, r"`channels` must hold at most 100 integers between 1"),
        ({"channels": (2, 2, 2)}, r"`channels` must name at most 2 convolutions"),
        ({"hidden": (0,)}, r"`hidden` must hold at most 100 integers .* 16384, but is \(0,\)"),
        ({"hidden": (10**9,)}, r"`hidden` must hold .* between 1 and 16384, but"),
        ({"hidden": (64,) * 101}, r"`hidden` must hold at most 100 integers"),
        ({"feature_scale": 3000.0}, r"`feature_scale` must be at most 100 radians, .* 3000"),
        ({"feature_center": -1e30}, r"`feature_center` must be at most 100 radians"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and below 1, but is 1.0"),
        ({"feature_scale": 0.0}, "`feature_scale` must be above 0, but is 0.0"),
        ({"num_qubits": 500}, "`num_qubits` must be at most .*, but is 500: more than 2"),
        ({"num_qubits": 10**9}, "`num_qubits` must be at most .*, but is 1000000000"),
        ({"ansatz_reps": 10**6}, "`ansatz_reps` must be at most 1000, but is 1000000"),
        ({"feature_map_reps": 10**9}, "`feature_map_reps` must be at most 1000"),
        ({"num_qubits": 1}, "`num_qubits` must be an integer of at least 2, but is 1"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_model(ModelConfig(**changes), (28, 28))


def test_images_may_have_any_size_that_the_convolutions_leave_pixels_of() -> None:
    model = HybridClassifier(ModelConfig(), 2)
    params = jax.eval_shape(model.init, KEY, jnp.zeros((1, 20, 17), jnp.uint8))["params"]
    # 20 × 17 pixels, then 8 × 6, then 2 × 1 in each of 16 channels.
    assert params["encoder"]["dense0"]["kernel"].shape == (32, 64)
    check_model(ModelConfig(), (16, 16))
    for shape, most in (((15, 28), 1), ((28, 5), 0)):
        message = (
            rf"`channels` must name at most {most} convolutions of 5 × 5, .* for images of "
            rf"{shape[0]} × {shape[1]} pixels, but is \(2, 16\)\."
        )
        with pytest.raises(InputError, match=message):
            check_model(ModelConfig(), shape)
        with pytest.raises(InputError, match=message):
            jax.eval_shape(model.init, KEY, jnp.zeros((1, *shape), jnp.uint8))


def test_another_executor_is_handed_through() -> None:
    def constant(circuit, observables, inputs, weights, key=None) -> Expectations:
        values = jnp.full((len(inputs), len(observables)), 0.25)
        return Expectations(values, jnp.zeros_like(values))

    params = HybridClassifier(ModelConfig(), 2).init(KEY, IMAGES)
    logits = HybridClassifier(ModelConfig(), 2, executor=constant).apply(params, IMAGES)
    np.testing.assert_allclose(logits, 0.25 * 4.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "num_classes", "labels"),
    [
        (ModelConfig(), 2, ("ZZ",)),
        (ModelConfig(num_qubits=3), 2, ("ZZZ",)),
        (ModelConfig(), 3, ("IZ", "ZI", "ZZ")),
        (ModelConfig(observables="pairs"), 2, ("IZ", "ZI", "ZZ")),
        (ModelConfig(num_qubits=3, observables="parity"), 5, ("ZZZ",)),
    ],
)
def test_observables_follow_the_config(config, num_classes: int, labels) -> None:
    assert config.labels(num_classes) == labels
    model = HybridClassifier(config, num_classes)
    outputs = 1 if num_classes == 2 else num_classes
    found, _ = jax.eval_shape(lambda: model.init_with_output(KEY, IMAGES))
    assert found.shape == (5, outputs)


def test_the_feature_map_is_a_choice() -> None:
    gates = {name: ModelConfig(feature_map=name).circuit().ops for name in ("zz", "z")}
    assert len(gates["zz"]) == 22
    assert len(gates["z"]) == 16  # without the two CX P CX
