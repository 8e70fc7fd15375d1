"""Regressors of a few numbers: their structure and their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax import expectations
from qnn_jax.configs import CalculatorModelConfig
from qnn_jax.errors import InputError
from qnn_jax.models import HybridRegressor, MLPRegressor

KEY = jax.random.key(0)
POINTS = jax.random.uniform(jax.random.key(1), (40, 2))
CIRCUIT = CalculatorModelConfig(layers=2).circuit()
SMALL = HybridRegressor(CIRCUIT, ("ZZ",), bias=1.0, weight_bound=2.0, max_gain=4.0)


def test_nothing_classical_goes_around_the_circuit() -> None:
    params = jax.jit(SMALL.init)(KEY, POINTS)["params"]
    assert {k: set(v) for k, v in params.items()} == {
        "quantum": {"weights"},
        "head": {"kernel", "bias"},
    }
    found = SMALL.apply({"params": params}, POINTS)
    weights = params["quantum"]["weights"]
    values = jax.vmap(lambda point: expectations(CIRCUIT, "ZZ", point, weights))(POINTS)
    head = params["head"]
    wanted = head["kernel"][0, 0] * values[:, 0] + head["bias"][0]
    np.testing.assert_allclose(found[:, 0], wanted, atol=3e-6)
    # Without its gain only the bias remains.
    mute = {**params, "head": {**head, "kernel": jnp.zeros((1, 1))}}
    np.testing.assert_array_equal(SMALL.apply({"params": mute}, POINTS), 1.0)


def test_it_starts_within_its_bounds() -> None:
    params = jax.jit(SMALL.init)(KEY, POINTS)["params"]
    assert np.abs(params["quantum"]["weights"]).max() <= 2.0
    assert params["quantum"]["weights"].std() > 0.5
    assert (params["head"]["kernel"][0, 0], params["head"]["bias"][0]) == (1.0, 1.0)
    pair = HybridRegressor(CIRCUIT, ("ZZ", "IZ"))
    kernel = jax.jit(pair.init)(KEY, POINTS)["params"]["head"]["kernel"]
    np.testing.assert_array_equal(kernel, 0.5)


def test_the_gain_is_bounded_by_a_projection() -> None:
    params = {
        "quantum": {"weights": jnp.arange(3.0)},
        "head": {"kernel": jnp.array([[9.0], [-9.0], [1.5]]), "bias": jnp.array([7.0])},
    }
    bounded = SMALL.constrain(params)
    np.testing.assert_array_equal(bounded["head"]["kernel"][:, 0], [4.0, -4.0, 1.5])
    assert bounded["quantum"] is params["quantum"]
    assert bounded["head"]["bias"] is params["head"]["bias"]
    assert HybridRegressor(CIRCUIT, ("ZZ",)).constrain(params) is params


def test_the_mlp_is_the_obvious_one() -> None:
    for width, hidden_bias, size in ((5, True, 21), (2, False, 7), (0, True, 3)):
        network = MLPRegressor(width, 0.5, hidden_bias)
        params = jax.jit(network.init)(KEY, POINTS)["params"]
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == size
        layers = jax.tree.map(lambda leaf: np.asarray(leaf, float), params)
        hidden = np.asarray(POINTS, float)
        if width:
            layer = layers["hidden"]
            hidden = np.tanh(hidden @ layer["kernel"] + layer.get("bias", 0.0))
        wanted = hidden @ layers["head"]["kernel"] + layers["head"]["bias"]
        assert layers["head"]["bias"] == 0.5
        np.testing.assert_allclose(network.apply({"params": params}, POINTS), wanted, rtol=2e-5)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (HybridRegressor("ry", ("ZZ",)), "`circuit` must be"),
        (HybridRegressor(CIRCUIT, ("ZZZ",)), "`observables` must have labels of 2 letters"),
        (HybridRegressor(CIRCUIT, ()), "`observables` must"),
        (HybridRegressor(CIRCUIT, ("ZZ",), bias="1"), "`bias` must be a real number, but is '1'"),
        (
            HybridRegressor(CIRCUIT, ("ZZ",), weight_bound=-1.0),
            "`weight_bound` must be at least 0, but is -1.0",
        ),
        (
            HybridRegressor(CIRCUIT, ("ZZ",), max_gain=-4.0),
            "`max_gain` must be at least 0, but is -4.0",
        ),
        (HybridRegressor(CIRCUIT, ("ZZ",), executor="aer"), "`executor` must be"),
        (MLPRegressor(-1), "`width` must be an integer of at least 0, but is -1"),
        (MLPRegressor(10**6), "`width` must be at most 16384, but is 1000000"),
        (MLPRegressor(2, float("nan")), "`bias` must be finite, but is nan"),
        (MLPRegressor(2, hidden_bias="no"), "`hidden_bias` must be True or False, but is 'no'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_regressor_is_refused(network, message: str) -> None:
    with pytest.raises(InputError, match=rf"^Argument {message}"):
        network.init(KEY, POINTS)


def test_inputs_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"`inputs` must have shape \(batch, inputs\), .* \(2,\)"):
        MLPRegressor(2).init(KEY, jnp.zeros(2))


def test_a_single_label_is_one_observable() -> None:
    params = jax.jit(HybridRegressor(CIRCUIT, "ZZ").init)(KEY, POINTS)["params"]
    np.testing.assert_array_equal(params["head"]["kernel"], 1.0)
