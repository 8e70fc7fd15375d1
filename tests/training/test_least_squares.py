"""Levenberg-Marquardt: SciPy's minimum, and its failure modes."""

import dataclasses
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares
from toy_tasks import Wave, changed
from training.test_epochs import examples

from qnn_jax.configs import LeastSquaresConfig, check_least_squares
from qnn_jax.errors import InputError
from qnn_jax.training import HYBRID, Examples, fit_epoch, in_batches, init_state

KEY = jax.random.key(0)
NOISY = Wave(noise=0.05)


@pytest.fixture(scope="module")
def train() -> Examples:
    return examples(NOISY)


def trained(task, names, train, epochs: int = 3, state=None, fit=fit_epoch):
    state = init_state(task, names, KEY, train.inputs[:1]) if state is None else state
    losses = []
    for epoch in range(epochs):
        state, told = fit(task, names, state, KEY, jnp.asarray(epoch), train, train)
        losses.append({name: np.asarray(told[name]["loss"]) for name in names})
    return state, told, losses


@pytest.fixture(scope="module")
def fitted(train):
    return trained(NOISY, (HYBRID, "frozen", "line"), train)


@pytest.mark.slow_but_one
def test_the_minimum_is_scipys(fitted, train) -> None:
    """The formula in double precision, minimised by SciPy's own trust-region method."""
    state, _, losses = fitted
    points, values = np.asarray(train.inputs, float)[:, 0], np.asarray(train.targets, float)

    def residuals(p):
        return p[0] * np.cos(p[1] * points + p[2]) + p[3] - values

    wanted = least_squares(residuals, [0.7, 1.3, 0.4, 0.2])
    minimum = np.mean(wanted.fun**2)
    assert losses[-1][HYBRID].min() == pytest.approx(minimum, rel=1e-3)
    best = NOISY.trainer.parameters(state)[HYBRID]
    weights, gain = best["quantum"]["weights"], best["head"]["kernel"][0, 0]
    found = [gain, *weights, best["head"]["bias"][0]]
    assert np.mean(residuals(np.asarray(found, float)) ** 2) == pytest.approx(minimum, rel=1e-3)
    # The broken subject: any other weights are not a minimum.
    assert np.mean(residuals(np.asarray(found) * 1.05) ** 2) > 1.05 * minimum


def test_a_linear_network_is_linear_regression(fitted, train) -> None:
    state, _, _ = fitted
    best = NOISY.trainer.parameters(state)["line"]["head"]
    columns = np.column_stack([np.asarray(train.inputs, float), np.ones(len(train.targets))])
    slope, offset = np.linalg.lstsq(columns, np.asarray(train.targets, float))[0]
    np.testing.assert_allclose(best["kernel"][0, 0], slope, atol=1e-4)
    np.testing.assert_allclose(best["bias"][0], offset, atol=1e-4)


def test_steps_never_raise_the_error(fitted, train) -> None:
    _, _, losses = fitted
    for name in losses[0]:
        history = np.array([each[name] for each in losses])
        assert np.all(np.diff(history, axis=0) <= 0)
    # The broken subject: steps in the wrong direction are rejected, so nothing is learnt.
    # The checks would refuse it.
    wrong, unchecked = changed(NOISY, learning_rate=-1.0), fit_epoch.jitted
    _, _, backwards = trained(wrong, (HYBRID,), train, fit=unchecked)
    assert backwards[-1][HYBRID].min() > 2 * losses[-1][HYBRID].min()


def test_frozen_weights_stay_and_the_head_trains(fitted, train) -> None:
    state, _, losses = fitted
    start = init_state(NOISY, (HYBRID, "frozen", "line"), KEY, train.inputs[:1])
    before, after = start["frozen"].params, state["frozen"].params
    assert np.array_equal(before["quantum"]["weights"], after["quantum"]["weights"])
    assert not np.any(before["head"]["kernel"] == after["head"]["kernel"])
    assert losses[-1]["frozen"].min() > losses[-1][HYBRID].min()
    # Those of the network that trains have the same initial values, and change.
    assert np.array_equal(before["quantum"]["weights"], start[HYBRID].params["quantum"]["weights"])
    moved = state[HYBRID].params["quantum"]["weights"] - before["quantum"]["weights"]
    assert np.abs(moved).max(axis=1).min() > 1e-3


def test_a_constraint_holds(fitted, train) -> None:
    bounded = dataclasses.replace(NOISY, max_gain=0.5)
    state, _, _ = trained(bounded, (HYBRID,), train)
    assert np.abs(state[HYBRID].params["head"]["kernel"]).max() <= 0.5
    best = NOISY.trainer.parameters(fitted[0])[HYBRID]
    assert abs(best["head"]["kernel"][0, 0]) > 0.5, "it would have been exceeded"


def test_the_restart_with_the_least_validation_error_is_chosen(fitted, train) -> None:
    state, told, _ = fitted
    network = NOISY.members()[0].network

    def error(params) -> float:
        outputs = in_batches(network, params, train.inputs)[:, 0]
        return float(jnp.abs(outputs - train.targets).mean())

    every = [error(jax.tree.map(itemgetter(k), state[HYBRID].params)) for k in range(6)]
    np.testing.assert_allclose(told[HYBRID]["validation_mean_l1"], every, rtol=1e-4)
    best = NOISY.trainer.parameters(state)[HYBRID]["head"]["kernel"]
    assert np.array_equal(best, state[HYBRID].params["head"]["kernel"][np.argmin(every)])
    row = NOISY.trainer.row(told[HYBRID], NOISY.metric)
    assert row["validation_mean_l1"] == pytest.approx(min(every), rel=1e-4)
    assert row["validation_mean_l1_median"] == pytest.approx(np.median(every), rel=1e-4)


def test_a_restart_that_is_no_number_does_not_spread(train) -> None:
    def start(broken: bool):
        state = init_state(NOISY, (HYBRID,), KEY, train.inputs[:1])
        params = state[HYBRID].params
        if broken:
            weights = params["quantum"]["weights"].at[3].set(jnp.nan)
            params = {**params, "quantum": {"weights": weights}}
        return {HYBRID: state[HYBRID]._replace(params=params)}

    _, sound, _ = trained(NOISY, (HYBRID,), train, 1, start(False))
    state, told, _ = trained(NOISY, (HYBRID,), train, 1, start(True))
    others = np.arange(6) != 3
    assert not np.isfinite(told[HYBRID]["loss"][3])
    np.testing.assert_array_equal(told[HYBRID]["loss"][others], sound[HYBRID]["loss"][others])
    assert told[HYBRID]["finite"]
    best = NOISY.trainer.parameters(state)[HYBRID]
    assert np.all(np.isfinite(best["quantum"]["weights"]))
    row = NOISY.trainer.row(jax.tree.map(np.asarray, told[HYBRID]), NOISY.metric)
    assert np.isfinite(row["loss_median"])


def test_a_training_without_a_finite_restart_is_reported() -> None:
    lost = {"finite": np.array(False), "loss": np.full(4, np.nan)}
    assert NOISY.trainer.failure(lost, 4, 60) == (
        "the loss of every restart became nan in epoch 5: start from smaller weights"
    )
    assert NOISY.trainer.failure({**lost, "finite": np.array(True)}, 4, 60) is None


@pytest.mark.slow
def test_epochs_take_the_next_examples(train) -> None:
    task = changed(NOISY, batch_size=10, restarts=2)
    state = init_state(task, (HYBRID,), KEY, train.inputs[:1])
    copied = jax.tree.map(jnp.copy, state)
    count = len(train.targets)
    state, told = fit_epoch(task, (HYBRID,), state, KEY, jnp.asarray(5), train, train)
    own = np.arange(50, 60) % count
    part = Examples(train.inputs[own], train.targets[own])
    whole = changed(task, batch_size=0)
    _, wanted = fit_epoch(whole, (HYBRID,), copied, KEY, jnp.asarray(0), part, train)
    np.testing.assert_allclose(told[HYBRID]["loss"], wanted[HYBRID]["loss"], rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"restarts": 0}, "`restarts` must be between 1 and 1000, but is 0"),
        ({"epochs": -1}, "`epochs` must be between 0 and 100000, but is -1"),
        ({"batch_size": 1}, "`batch_size` must be between 2 and 60, .* but is 1"),
        ({"batch_size": 61}, "`batch_size` must be between 2 and 60, .* but is 61"),
        ({"learning_rate": 0.0}, "`learning_rate` must be above 0, but is 0.0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be finite, but is nan"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_least_squares(dataclasses.replace(LeastSquaresConfig(batch_size=8), **changes), 60)
