"""The fused layer equals the stock layers: value, gradients, parameters."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.models.convolution import ConvPool, conv_relu_pool

Layer = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def stock(x, kernel, bias):
    dimensions = ("NHWC", "HWIO", "NHWC")
    images = x.reshape(-1, *x.shape[-3:])
    y = jax.lax.conv_general_dilated(
        images,
        kernel,
        (1, 1),
        "VALID",
        dimension_numbers=dimensions,
        precision=jax.lax.Precision.HIGHEST,
    )
    y = nn.max_pool(nn.relu(y + bias), (2, 2), strides=(2, 2))
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def arguments(x_shape, kernel_size, features, dtype):
    generator = np.random.default_rng(0)
    shapes = (x_shape, (*kernel_size, x_shape[-1], features), (features,))
    return tuple(jnp.asarray(generator.normal(size=shape), dtype) for shape in shapes)


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(layer: Layer, given, cotangent):
    """The value, and the gradients of its product with `cotangent`."""
    value, pullback = jax.vjp(layer, *given)
    return value, *pullback(cotangent)


def check(layer: Layer, x_shape, kernel_size, features, dtype=jnp.float32) -> None:
    """Contract: values and gradients of random arguments, against a random cotangent."""
    given = arguments(x_shape, kernel_size, features, dtype)
    shape = jax.eval_shape(stock, *given).shape
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=shape), dtype)
    assert jax.eval_shape(layer, *given).shape == shape
    expected = value_and_gradients(stock, given, cotangent)
    found = value_and_gradients(layer, given, cotangent)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == dtype
        assert np.abs(other).max() > 0.1  # the comparison can fail
        atol = 200 * float(jnp.finfo(dtype).eps) * np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


CASES = [
    ((3, 28, 28, 1), (5, 5), 2),
    ((2, 12, 12, 2), (5, 5), 16),
    ((2, 10, 13, 3), (3, 3), 4),  # an odd last column is dropped
    ((2, 9, 12, 2), (4, 3), 3),  # even kernels may reach past the last block
    ((2, 7, 6, 3), (1, 1), 2),
    ((1, 6, 8, 1), (5, 7), 1),  # one window is left
    ((2, 2, 6, 7, 2), (3, 2), 3),  # two batch axes
]


@pytest.mark.slow_but_one
@pytest.mark.parametrize(("x_shape", "kernel_size", "features"), CASES)
def test_equals_the_stock_layers(x_shape, kernel_size, features) -> None:
    check(conv_relu_pool, x_shape, kernel_size, features)


@pytest.mark.parametrize(("x_shape", "kernel_size", "features"), CASES[1:4:2])
def test_equals_the_stock_layers_in_float64(x_shape, kernel_size, features) -> None:
    with jax.enable_x64(True):
        check(conv_relu_pool, x_shape, kernel_size, features, jnp.float64)


def leaks(x, kernel, bias):
    """The right value with the gradient at another bias."""
    right, wrong = conv_relu_pool(x, kernel, bias), conv_relu_pool(x, kernel, bias + 1)
    return jax.lax.stop_gradient(right - wrong) + wrong


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda x, k, b: conv_relu_pool(x, k[::-1, ::-1], b), id="flipped kernel"),
        pytest.param(
            lambda x, k, b: conv_relu_pool(x.swapaxes(-2, -3), k, b).swapaxes(-2, -3),
            id="height for width",
        ),
        pytest.param(lambda x, k, b: conv_relu_pool(x, k, 0 * b), id="no bias"),
        pytest.param(
            lambda x, k, b: conv_relu_pool(x, jax.lax.stop_gradient(k), b), id="no kernel gradient"
        ),
        pytest.param(leaks, id="gradient at another bias"),
    ],
)
def test_broken_layers_are_rejected(broken: Layer) -> None:
    with pytest.raises(AssertionError):
        check(broken, (2, 8, 8, 2), (3, 3), 4)


def test_equal_maxima_share_the_gradient() -> None:
    x, kernel, bias = jnp.ones((1, 4, 4, 1)), jnp.ones((1, 1, 1, 1)), jnp.zeros(1)
    gradient = jax.grad(lambda x: conv_relu_pool(x, kernel, bias).sum())(x)
    np.testing.assert_array_equal(gradient, jnp.full_like(x, 0.25))


def test_no_gradient_where_relu_is_flat() -> None:
    given = jnp.ones((1, 4, 4, 1)), jnp.full((1, 1, 1, 1), -1.0), jnp.zeros(1)
    for gradient in jax.grad(lambda *a: conv_relu_pool(*a).sum(), (0, 1, 2))(*given):
        np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


def test_under_vmap_over_parameters_each_member_is_itself() -> None:
    x, kernel, bias = arguments((2, 8, 8, 2), (3, 3), 4, jnp.float32)
    kernels, biases = jnp.stack([kernel, -kernel, 2 * kernel]), jnp.stack([bias, bias, -bias])
    reference = jax.jit(stock)
    found = jax.jit(jax.vmap(conv_relu_pool, (None, 0, 0)))(x, kernels, biases)
    for member, one in enumerate(found):
        expected = reference(x, kernels[member], biases[member])
        np.testing.assert_allclose(one, expected, rtol=0, atol=1e-4)


def test_the_layer_has_the_parameters_of_nn_conv() -> None:
    x = arguments((6, 7, 2), (3, 2), 4, jnp.float32)[0]  # nn.Conv also needs no batch axis
    layer, conv = ConvPool(4, (3, 2)), nn.Conv(4, (3, 2), padding="VALID")
    params = layer.init(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, params, conv.init(jax.random.key(0), x))
    expected = nn.max_pool(nn.relu(conv.apply(params, x)), (2, 2), strides=(2, 2))
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=0, atol=1e-5)


X, KERNEL, BIAS = jnp.ones((2, 8, 9, 3)), jnp.ones((5, 4, 3, 2)), jnp.ones(2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            (X, KERNEL[0], BIAS),
            r"Argument `kernel` must have shape \(kh, kw, in, out\), but has \(4, 3, 2\)\.",
        ),
        (
            (X[..., :1], KERNEL, BIAS),
            r"Argument `x` must have shape \(…, height, width, 3\), but has \(2, 8, 9, 1\)\.",
        ),
        (
            (X[0, 0], KERNEL, BIAS),
            r"Argument `x` must have shape \(…, height, width, 3\), but has \(9, 3\)\.",
        ),
        (
            (X.astype(jnp.uint8), KERNEL, BIAS),
            r"Argument `x` must be of floating-point numbers, but is uint8\.",
        ),
        (
            (X, KERNEL, BIAS[:1]),
            r"Argument `bias` must have shape \(2,\), but has \(1,\)\.",
        ),
        (
            (X[:, :5], KERNEL, BIAS),
            r"Argument `x` must be at least 6 × 5 pixels for a kernel of 5 × 4, but is 5 × 9\.",
        ),
        (
            (X[:, :, :4], KERNEL, BIAS),
            r"Argument `x` must be at least 6 × 5 pixels for a kernel of 5 × 4, but is 8 × 4\.",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(given, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        conv_relu_pool(*given)


def test_the_layer_refuses_what_is_no_image() -> None:
    message = r"^Argument `x` must have shape \(…, height, width, channels\), but has \(8, 3\)\."
    with pytest.raises(InputError, match=message):
        ConvPool(2, (5, 5)).init(jax.random.key(0), X[0, 0, :8])
