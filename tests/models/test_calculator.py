"""The calculator's models: their layout, their training, and what they cannot hide."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from qnn_jax import expectations, x
from qnn_jax.configs import CalculatorModelConfig
from qnn_jax.models.calculator import (
    CircuitRegressor,
    Fit,
    MLPRegressor,
    errors_of_many,
    fit_points,
    outputs,
    seed_circuit,
    start,
    train_seed_models,
)
from qnn_jax.operations import MAX_GAIN

POINTS = jax.random.uniform(jax.random.key(1), (40, 2))
SUMS = POINTS.sum(axis=1)
SMALL = CircuitRegressor(CalculatorModelConfig(layers=2).circuit(), 2.0)


def test_nothing_classical_goes_around_the_circuit() -> None:
    params = SMALL.initial(jax.random.key(0), 3, 1.0)
    found = outputs(SMALL, params, POINTS)
    weights = params[:-2, 1]
    values = jax.vmap(lambda point: expectations(SMALL.circuit, "ZZ", point, weights)[0])(POINTS)
    np.testing.assert_allclose(found[1], params[-2, 1] * values + params[-1, 1], atol=3e-6)
    # Without its gain there is nothing left but the bias.
    np.testing.assert_array_equal(outputs(SMALL, params.at[-2].set(0), POINTS), 1.0)


def test_the_mlp_is_the_obvious_one() -> None:
    regressor = MLPRegressor(5)
    assert regressor.num_parameters == 21
    params = regressor.initial(jax.random.key(0), 2, 0.5)
    first = np.asarray(params)[:, 1]
    by_a, by_b, shift, out = first[:-1].reshape(4, 5)
    wanted = [out @ np.tanh(by_a * a + by_b * b + shift) + first[-1] for a, b in POINTS.tolist()]
    np.testing.assert_allclose(outputs(regressor, params, POINTS)[1], wanted, rtol=2e-5)


def test_the_error_of_many_is_the_error_of_each() -> None:
    params = SMALL.initial(jax.random.key(0), 4, 1.0)
    wanted = jnp.abs(outputs(SMALL, params, POINTS) - SUMS).mean(axis=1)
    np.testing.assert_allclose(errors_of_many(SMALL, params, POINTS, SUMS), wanted, rtol=1e-5)


def fitted(rate: float, epochs: int = 5) -> tuple[Fit, np.ndarray]:
    fits: tuple[Fit, ...] = (start(SMALL, jax.random.key(0), 8, 1.0),)
    losses = []
    for _ in range(epochs):
        fits, told = fit_points((SMALL,), fits, POINTS, SUMS, POINTS, SUMS, jnp.asarray(rate))
        losses.append(np.asarray(told[0].loss))
    return fits[0], np.array(losses)


def test_steps_never_raise_the_error_and_find_a_good_fit() -> None:
    fit, losses = fitted(1.0)
    assert np.all(np.diff(losses, axis=0) <= 0)
    found = np.asarray(outputs(SMALL, fit.params, POINTS))
    np.testing.assert_allclose(losses[-1], np.square(found - SUMS).mean(axis=1), rtol=1e-3)
    assert np.abs(found - SUMS).mean(axis=1).min() < 0.01
    assert np.all(np.abs(fit.params[-2]) <= MAX_GAIN * (1 + 1e-6))
    # The broken twin: steps in the wrong direction are not taken, so nothing is learnt.
    _, backwards = fitted(-1.0)
    assert backwards[-1].min() > 10 * losses[-1].min()


def test_a_restart_that_is_no_number_does_not_spread() -> None:
    first = start(SMALL, jax.random.key(0), 8, 1.0)
    broken = first._replace(params=first.params.at[0, 3].set(jnp.nan))
    arguments = (POINTS, SUMS, POINTS, SUMS, jnp.asarray(1.0))
    (sound,), (told_sound,) = fit_points((SMALL,), (first,), *arguments)
    (_,), (told,) = fit_points((SMALL,), (broken,), *arguments)
    assert not np.isfinite(told.validation_l1[3])
    others = np.arange(8) != 3
    np.testing.assert_array_equal(told.loss[others], told_sound.loss[others])
    assert np.all(np.isfinite(sound.params))


def test_the_gain_is_bounded_by_a_projection() -> None:
    params = SMALL.initial(jax.random.key(0), 2, 1.0).at[-2].set(jnp.array([9.0, -9.0]))
    np.testing.assert_allclose(SMALL.bounded(params)[-2], [MAX_GAIN, -MAX_GAIN], rtol=1e-6)


def test_many_seed_models_are_the_training_of_2022_each() -> None:
    """Against a plain loop over samples with `expectations` and optax."""
    keys = jax.random.split(jax.random.key(5), 3)
    params, errors = train_seed_models(keys, x[0] * x[1], epochs=2, steps=6, tests=4)
    assert errors.shape == (2, 3)
    circuit, optimizer = seed_circuit(), optax.adam(5e-3)

    @jax.jit
    def predict(own: jax.Array, point: jax.Array) -> jax.Array:
        return own[6] * expectations(circuit, "ZZ", point, own[:6])[0] + own[7]

    slope = jax.jit(jax.grad(lambda own, point: (predict(own, point) - point.prod()) ** 2))
    key = keys[1]
    own = jax.random.uniform(jax.random.fold_in(key, 0), (8,), minval=-1, maxval=1)
    state = optimizer.init(own)
    for epoch in range(2):
        points = jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, 1), epoch), (6, 2))
        for point in points:
            updates, state = optimizer.update(slope(own, point), state)
            own = optax.apply_updates(own, updates)
    np.testing.assert_allclose(params[:, 1], own, atol=2e-5)
    tests = jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, 2), 1), (4, 2))
    wanted = np.mean([abs(predict(own, point) - point.prod()) for point in tests])
    assert errors[1, 1] == pytest.approx(float(wanted), abs=2e-5)
    assert abs(errors[1, 0] - wanted) > 1e-4, "members differ"
