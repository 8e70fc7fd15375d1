"""A population: each member is the single training of its key and its numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.test_fit import members, toy

from qnn_jax.errors import InputError
from qnn_jax.training import (
    Examples,
    Knobs,
    Task,
    TrainingConfig,
    fit_epoch,
    fit_population_epoch,
    init_population,
    init_state,
)

EPOCHS = 2
KEYS = jax.vmap(jax.random.key)(jnp.arange(3))
KNOBS = Knobs(
    learning_rate=jnp.array([1e-3, 1e30, 1e-2]),
    weight_decay=jnp.array([0.0, 0.1, 0.3]),
    label_smoothing=jnp.array([0.0, 0.1, 0.2]),
    weight_bound=jnp.array([0.1, 1.0, 3.0]),
    feature_scale=jnp.array([0.5, 1.0, 2.0]),
    feature_center=jnp.array([3.0, 3.1, 2.0]),
    feature_gain=jnp.array([0.5, 1.0, 2.0]),
)


def task_of(*names: str) -> Task:
    return Task.of(members(*names), TrainingConfig(epochs=EPOCHS, batch_size=32), 128)


@pytest.fixture(scope="module")
def train() -> Examples:
    return toy(128)


def trained(task: Task, keys, knobs: Knobs, train: Examples, order_keys=None, at_once=None):
    state = init_population(task, keys, knobs, train.images)
    order_keys = keys if order_keys is None else order_keys
    for epoch in range(EPOCHS):
        state, metrics = fit_population_epoch(
            task, state, order_keys, knobs, jnp.asarray(epoch), train, train, at_once=at_once
        )
    return state, metrics


def alone(task: Task, member: int, train: Examples, order_key=None):
    """The single training with a member's numbers in its configuration."""
    numbers = Knobs(*(float(knob[member]) for knob in KNOBS))
    task, key = numbers.of_one(task), KEYS[member]
    hash(task)  # a configuration like any other
    state = init_state(task, key, train.images)
    for epoch in range(EPOCHS):
        state, metrics = fit_epoch(
            task, state, key if order_key is None else order_key, jnp.asarray(epoch), train, train
        )
    return state, metrics


@pytest.fixture(scope="module")
def population(train: Examples):
    task = task_of("hybrid", "classical")
    return task, *trained(task, KEYS, KNOBS, train)


def furthest(tree, member: int, single) -> float:
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(single), strict=True)
    return max(float(np.abs(one[member] - other).max()) for one, other in pairs)


def test_a_member_is_the_single_training_of_its_numbers(population, train: Examples) -> None:
    task, state, metrics = population
    for member in (0, 2):
        single, told = alone(task, member, train)
        assert furthest(state.params, member, single.params) < 1e-3
        # A broken twin: the other member's training is nowhere near.
        assert furthest(state.params, 2 - member, single.params) > 4e-3
        for name in ("hybrid", "classical"):
            np.testing.assert_allclose(metrics.losses[name][member], told.losses[name], atol=1e-4)
            np.testing.assert_allclose(
                metrics.validation_loss[name][member], told.validation_loss[name], atol=1e-4
            )


def test_a_diverged_member_is_marked_and_alone(population) -> None:
    _, _, metrics = population
    for name in ("hybrid", "classical"):
        assert metrics.finite[name].tolist() == [True, False, True]
        assert np.isfinite(metrics.losses[name]).all(axis=1).tolist() == [True, False, True]


@pytest.mark.slow
def test_order_is_an_axis_of_its_own(train: Examples) -> None:
    task = task_of("hybrid")
    one_start, orders = jnp.repeat(KEYS[:1], 2), KEYS[jnp.array([0, 2])]
    knobs = jax.tree.map(lambda knob: float(knob[0]), KNOBS)
    state, _ = trained(task, one_start, knobs, train, orders)
    for member, order in enumerate((KEYS[0], KEYS[2])):
        single, _ = alone(task, 0, train, order)
        assert furthest(state.params, member, single.params) < 1e-3
        assert furthest(state.params, 1 - member, single.params) > 4e-3


@pytest.mark.slow
def test_one_key_for_all_gives_all_the_same_batches(train: Examples) -> None:
    task = task_of("hybrid")
    shared, _ = trained(task, KEYS, Knobs(), train, KEYS[1])
    copies, _ = trained(task, KEYS, Knobs(), train, jnp.repeat(KEYS[1:2], 3))
    for one, other in zip(jax.tree.leaves(shared), jax.tree.leaves(copies), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_chunks_of_members_change_nothing(population, train: Examples, at_once: int) -> None:
    _, state, metrics = population
    task = task_of("hybrid", "classical")
    chunked, told = trained(task, KEYS, KNOBS, train, at_once=at_once)
    # Adam turns the rounding of a gradient near zero into a step of its own.
    for one, other in zip(jax.tree.leaves(chunked), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    np.testing.assert_allclose(told.losses["hybrid"], metrics.losses["hybrid"], atol=1e-4)


def test_the_second_epoch_does_not_compile_again(population, train: Examples) -> None:
    before = fit_population_epoch.jitted._cache_size()
    trained(task_of("hybrid", "classical"), KEYS, KNOBS, train)
    assert fit_population_epoch.jitted._cache_size() == before


def test_numbers_that_a_model_lacks_leave_it_alone() -> None:
    import flax.linen as nn

    task = Task.of({"line": nn.Dense(1)}, TrainingConfig(), 128)
    changed = Knobs(feature_scale=2.0, learning_rate=1.0).of_one(task)
    assert changed.members == task.members
    assert changed.config == TrainingConfig(learning_rate=1.0)


@pytest.mark.parametrize(
    ("keys", "knobs", "message"),
    [
        (KEYS[0], Knobs(), r"`keys` must be random keys, shape \(members,\), but is .* shape \(\)"),
        (KEYS, Knobs(learning_rate=jnp.ones(2)), r"`learning_rate` must have .*\(3,\).* \(2,\)"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(keys, knobs, message: str, train: Examples) -> None:
    with pytest.raises(InputError, match=message):
        init_population(task_of("hybrid"), keys, knobs, train.images)
