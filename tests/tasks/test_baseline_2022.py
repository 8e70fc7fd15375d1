"""The 2022 project's calculator: each of many parallel trainings equals the training of 2022."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from qnn_jax import expectations, x
from qnn_jax.tasks.baseline_2022 import circuit_2022, train_as_in_2022


@pytest.mark.slow
def test_many_trainings_are_the_training_of_2022_each() -> None:
    """Against a plain loop over samples with `expectations` and optax."""
    keys = jax.random.split(jax.random.key(5), 3)
    points = jax.random.uniform(jax.random.key(6), (7, 2))
    params, errors, final = train_as_in_2022(keys, x[0] * x[1], points, points.prod(axis=1))
    assert (params.shape, errors.shape, final.shape) == ((8, 3), (10, 3), (3,))
    circuit, optimizer, key = circuit_2022(), optax.adam(5e-3), keys[1]

    def predict(own: jax.Array, point: jax.Array) -> jax.Array:
        return own[6] * expectations(circuit, "ZZ", point, own[:6])[0] + own[7]

    @jax.jit
    def epoch(own, state, samples):
        def step(carry, point):
            own, state = carry
            slope = jax.grad(lambda own: (predict(own, point) - point.prod()) ** 2)(own)
            updates, state = optimizer.update(slope, state)
            return (optax.apply_updates(own, updates), state), None

        return jax.lax.scan(step, (own, state), samples)[0]

    def drawn(purpose: int, count: int, number: int) -> jax.Array:
        own = jax.random.fold_in(jax.random.fold_in(key, purpose), number)
        return jax.random.uniform(own, (count, 2))

    own = jax.random.uniform(jax.random.fold_in(key, 0), (8,), minval=-1, maxval=1)
    state = optimizer.init(own)
    for number in range(10):
        own, state = epoch(own, state, drawn(1, 200, number))
    np.testing.assert_allclose(params[:, 1], own, atol=2e-3)
    tell = jax.jit(jax.vmap(lambda point: jnp.abs(predict(own, point) - point.prod())))
    assert errors[-1, 1] == pytest.approx(float(tell(drawn(2, 50, 9)).mean()), abs=1e-3)
    assert final[1] == pytest.approx(float(tell(points).mean()), abs=1e-3)
    assert abs(final[0] - final[1]) > 2e-3, "members differ"
