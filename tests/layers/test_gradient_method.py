"""A layer takes the gradient method that its executor is given."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import qnn_jax.linen
import qnn_jax.nnx
from qnn_jax import InputError, real_amplitudes, zz_feature_map
from qnn_jax.executors import exact

CIRCUIT = zz_feature_map(3, reps=1) + real_amplitudes(3, reps=1)
FEATURES = jnp.linspace(0, 1, 6).reshape(2, 3)
WEIGHTS = jnp.linspace(-1, 2, CIRCUIT.num_weights)


def of_linen(executor):
    layer: nn.Module = qnn_jax.linen.QuantumLayer(CIRCUIT, ("ZZZ",), executor)
    return lambda v: layer.apply({"params": {"weights": v}}, FEATURES).sum()


def of_nnx(executor):
    def total(weights):
        layer = qnn_jax.nnx.QuantumLayer(CIRCUIT, ("ZZZ",), executor=executor, rngs=nnx.Rngs(0))
        layer.weights[...] = weights
        return layer(FEATURES).sum()

    return total


@pytest.mark.parametrize("layer", [of_linen, of_nnx])
def test_the_gradient_method_is_the_executors(layer):
    slopes, programs = [], []
    for gradient in ("reverse", "adjoint"):
        slope = jax.grad(layer(partial(exact, gradient=gradient)))
        slopes.append(slope(WEIGHTS))
        forward = layer(partial(exact, gradient=gradient))
        along = jax.make_jaxpr(lambda v, f=forward: jax.jvp(f, (v,), (v,)))(WEIGHTS)
        programs.append("derivative_of_steps" in str(along))
    np.testing.assert_allclose(*slopes, atol=1e-5)
    assert programs == [False, True]  # the adjoint method's operation is there where it was asked


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match=r"Argument `gradient` must be one of .* but is 'shift'"):
        exact(CIRCUIT, ("ZZZ",), FEATURES, WEIGHTS, gradient="shift")
