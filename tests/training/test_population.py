"""A population: each member is the single training of its key and its numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_tasks import Dots, Wave, changed
from training.test_epochs import BOTH, examples

from qnn_jax.errors import InputError
from qnn_jax.training import (
    HYBRID,
    fit_epoch,
    fit_population_epoch,
    init_population,
    init_state,
)
from qnn_jax.training.epochs import with_numbers

EPOCHS = 2
KEYS = jax.vmap(jax.random.key)(jnp.arange(3))
NUMBERS = {
    "training.learning_rate": jnp.array([1e-3, 1e30, 1e-2]),
    "training.weight_decay": jnp.array([0.0, 0.1, 0.3]),
    "training.label_smoothing": jnp.array([0.0, 0.1, 0.2]),
    "model.weight_bound": jnp.array([0.1, 1.0, 3.0]),
    "model.feature_scale": jnp.array([0.5, 1.0, 2.0]),
    "model.feature_center": jnp.array([3.0, 3.1, 2.0]),
    "model.feature_gain": jnp.array([0.5, 1.0, 2.0]),
}
TASK = changed(Dots(), epochs=EPOCHS, batch_size=32)


@pytest.fixture(scope="module")
def train():
    return examples(TASK)


def trained(names, keys, numbers, train, order_keys=None, at_once=None, task=TASK):
    state = init_population(task, names, keys, numbers, train.inputs)
    order_keys = keys if order_keys is None else order_keys
    for epoch in range(EPOCHS):
        state, told = fit_population_epoch(
            task, names, state, order_keys, numbers, jnp.asarray(epoch), train, train,
            at_once=at_once,
        )  # fmt: skip
    return state, told


def alone(names, member: int, train, order_key=None):
    """The single training with a member's numbers in its configuration."""
    task = with_numbers(TASK, {name: float(values[member]) for name, values in NUMBERS.items()})
    hash(task)  # a configuration like any other
    state = init_state(task, names, KEYS[member], train.inputs)
    order_key = KEYS[member] if order_key is None else order_key
    for epoch in range(EPOCHS):
        state, told = fit_epoch(task, names, state, order_key, jnp.asarray(epoch), train, train)
    return state, told


@pytest.fixture(scope="module")
def population(train):
    return trained(BOTH, KEYS, NUMBERS, train)


def furthest(tree, member: int, single) -> float:
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(single), strict=True)
    return max(float(np.abs(one[member] - other).max()) for one, other in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("member", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_member_is_the_single_training_of_its_numbers(population, train, member: int) -> None:
    state, told = population
    single, told_alone = alone(BOTH, member, train)
    assert furthest(state.params, member, single.params) < 1e-3
    # The broken subject: another member's training differs clearly.
    assert furthest(state.params, 2 - member, single.params) > 1e-2
    for name in BOTH:
        for number in ("losses", "validation_loss"):
            np.testing.assert_allclose(
                told[name][number][member], told_alone[name][number], atol=1e-4
            )


@pytest.mark.slow
def test_a_diverged_member_is_marked_and_alone(population) -> None:
    _, told = population
    for name in BOTH:
        assert told[name]["finite"].tolist() == [True, False, True]
        assert np.isfinite(told[name]["losses"]).all(axis=1).tolist() == [True, False, True]


@pytest.mark.slow
def test_order_is_an_axis_of_its_own(train) -> None:
    one_start, orders = jnp.repeat(KEYS[2:], 2), KEYS[jnp.array([0, 2])]
    numbers = {name: float(values[2]) for name, values in NUMBERS.items()}
    state, _ = trained((HYBRID,), one_start, numbers, train, orders)
    for member, order in enumerate((KEYS[0], KEYS[2])):
        single, _ = alone((HYBRID,), 2, train, order)
        assert furthest(state.params, member, single.params) < 1e-3
        assert furthest(state.params, 1 - member, single.params) > 1e-2


@pytest.mark.slow
def test_one_key_for_all_gives_all_the_same_batches(train) -> None:
    shared, _ = trained((HYBRID,), KEYS, {}, train, KEYS[1])
    copies, _ = trained((HYBRID,), KEYS, {}, train, jnp.repeat(KEYS[1:2], 3))
    for one, other in zip(jax.tree.leaves(shared), jax.tree.leaves(copies), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_chunks_of_members_change_nothing(population, train, at_once: int) -> None:
    state, told = population
    chunked, told_of_chunks = trained(BOTH, KEYS, NUMBERS, train, at_once=at_once)
    # Adam turns the rounding error of a gradient near zero into a different step.
    for one, other in zip(jax.tree.leaves(chunked), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    found = told_of_chunks[HYBRID]["losses"]
    np.testing.assert_allclose(found, told[HYBRID]["losses"], atol=1e-4)


@pytest.mark.slow
def test_the_second_epoch_does_not_compile_again(population, train) -> None:
    before = fit_population_epoch.jitted._cache_size()
    trained(BOTH, KEYS, NUMBERS, train)
    assert fit_population_epoch.jitted._cache_size() == before


@pytest.mark.slow
def test_least_squares_are_a_population_too() -> None:
    wave = Wave()
    train = examples(wave)
    numbers = {"training.learning_rate": jnp.array([1.0, 0.5])}
    state = init_population(wave, (HYBRID,), KEYS[:2], numbers, train.inputs)
    state, told = fit_population_epoch(
        wave, (HYBRID,), state, KEYS[:2], numbers, jnp.asarray(0), train, train
    )
    assert told[HYBRID]["loss"].shape == (2, 6)
    for member, rate in enumerate((1.0, 0.5)):
        task = changed(wave, learning_rate=rate)
        single = init_state(task, (HYBRID,), KEYS[member], train.inputs)
        _, wanted = fit_epoch(task, (HYBRID,), single, KEYS[member], jnp.asarray(0), train, train)
        np.testing.assert_allclose(
            told[HYBRID]["loss"][member], wanted[HYBRID]["loss"], rtol=1e-2, atol=1e-6
        )


def test_a_field_that_is_another_program_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"`numbers` must name fields out of .*, but names 'model\.h"
    ):
        with_numbers(TASK, {"model.hidden": 3})


@pytest.mark.parametrize(
    ("keys", "numbers", "message"),
    [
        (KEYS[0], {}, r"`keys` must be random keys, shape \(members,\), but is .* shape \(\)"),
        (
            KEYS,
            {"training.learning_rate": jnp.ones(2)},
            r"`training\.learning_rate` must have .*\(3,\).* \(2,\)",
        ),
    ],
)
def test_lengths_that_do_not_fit_are_refused(keys, numbers, message: str, train) -> None:
    with pytest.raises(InputError, match=message):
        init_population(TASK, (HYBRID,), keys, numbers, train.inputs)
