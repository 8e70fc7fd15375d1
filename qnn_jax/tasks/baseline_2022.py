"""The 2022 project's model of the calculator, trained as in 2022, once for every key.

All arrays have lanes as last axis: parameters of shape
(parameters, lanes), inputs (2, lanes), outputs (lanes,).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from qnn_jax.circuits import Circuit, real_amplitudes, zz_feature_map
from qnn_jax.circuits.angles import Expression
from qnn_jax.simulate import expectations
from qnn_jax.simulate.angle_table import evaluate

_RATE, _EPOCHS, _STEPS, _TESTS = 5e-3, 10, 200, 50
_INIT, _TRAIN, _TEST = range(3)


def circuit_2022() -> Circuit:
    """The circuit of the 2022 project: 2 inputs, 6 weights."""
    return zz_feature_map(2) + real_amplitudes(2, reps=2)


def outputs_2022(
    params: Float[Array, "8 lanes"], inputs: Float[Array, "2 lanes"]
) -> Float[Array, " lanes"]:
    """Gain · <ZZ> + bias; the parameters are six weights, then gain and bias: a Linear(1, 1)."""
    circuit = circuit_2022()

    def value(inputs: Array, weights: Array) -> Array:
        return expectations(circuit, "ZZ", inputs, weights)[0]

    return params[-2] * jax.vmap(value, (-1, -1))(inputs, params[:-2]) + params[-1]


def train_as_in_2022(
    keys: Array, expression: Expression, inputs: Any, targets: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train the model of 2022 once for every key, in parallel.

    <ZZ> on (a, b) in [0, 1]², unscaled, through a Linear(1, 1); squared error, Adam 5e-3, batches
    of one, fresh samples in every epoch, 10 epochs of 200 samples. Initial weights are uniform in
    [-1, 1], as in TorchConnector and PyTorch's Linear(1, 1).

    Args:
        keys: one for each training, shape (seeds,).
        expression: the function to learn, a as x[0] and b as x[1].
        inputs: test points, shape (points, 2).
        targets: their values, shape (points,).

    Returns:
        The parameters, shape (8, seeds); the mean absolute error on 50 fresh samples after every
        epoch, shape (epochs, seeds); and that on the test points at the end, shape (seeds,).
    """
    params, errors = _train(keys, expression)
    final = _errors(params, jnp.asarray(inputs), jnp.asarray(targets))
    return np.asarray(params), np.asarray(errors), np.asarray(final)


@functools.partial(jax.jit, static_argnames="expression")
def _train(keys: Array, expression: Expression) -> tuple[Array, Array]:
    optimizer = optax.adam(_RATE)

    def drawn(purpose: int, count: int, epoch: Array) -> Array:
        def one(key: Array) -> Array:
            own = jax.random.fold_in(jax.random.fold_in(key, purpose), epoch)
            return jax.random.uniform(own, (count, 2))

        return jax.vmap(one, out_axes=-1)(keys)

    def truth(inputs: Array) -> Array:
        (values,) = jax.vmap(lambda point: evaluate((expression,), point, point[:0]), -1, -1)(
            inputs
        )
        return values

    def loss(params: Array, inputs: Array) -> Array:
        return jnp.sum(jnp.square(outputs_2022(params, inputs) - truth(inputs)))

    def epoch(carry: tuple[Array, optax.OptState], number: Array) -> tuple[tuple, Array]:  # type: ignore[type-arg]
        def step(carry: tuple[Array, optax.OptState], inputs: Array) -> tuple[tuple, None]:  # type: ignore[type-arg]
            params, state = carry
            # Lanes are independent, so the gradient of the sum contains each lane's gradient.
            updates, state = optimizer.update(jax.grad(loss)(params, inputs), state)
            return (optax.apply_updates(params, updates), state), None

        carry, _ = jax.lax.scan(step, carry, drawn(_TRAIN, _STEPS, number))
        errors = jax.lax.map(
            lambda inputs: jnp.abs(outputs_2022(carry[0], inputs) - truth(inputs)),
            drawn(_TEST, _TESTS, number),
        )
        return carry, errors.mean(axis=0)

    def initial(key: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(key, _INIT), (8,), minval=-1, maxval=1)

    params = jax.vmap(initial, out_axes=-1)(keys)
    (params, _), errors = jax.lax.scan(epoch, (params, optimizer.init(params)), jnp.arange(_EPOCHS))
    return params, errors


@jax.jit
def _errors(params: Array, inputs: Array, targets: Array) -> Array:
    """Errors on the points, one point after the other, since there are many members."""

    def add(total: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
        here = jnp.broadcast_to(point[0][:, None], (2, params.shape[1]))
        return total + jnp.abs(outputs_2022(params, here) - point[1]), None

    total, _ = jax.lax.scan(add, jnp.zeros(params.shape[1]), (inputs, targets))
    return total / len(inputs)
