"""One training: independent members, reproducible keys, right losses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from toy_tasks import Dots, changed

from qnn_jax import variances
from qnn_jax.configs import ModelConfig, TrainingConfig, check_training
from qnn_jax.errors import InputError
from qnn_jax.models import HybridClassifier, HybridRegressor
from qnn_jax.tasks.sine import Sine, sine_circuit
from qnn_jax.training import (
    ACCURACY,
    HYBRID,
    MEAN_L1,
    AdamW,
    Examples,
    Folders,
    augment,
    class_losses,
    fit_epoch,
    fit_population_epoch,
    in_batches,
    init_population,
    init_state,
    map_batches,
    squared_errors,
)

KEY = jax.random.key(0)
EPOCHS = Dots().training.epochs
BOTH = (HYBRID, "classical")


def examples(task) -> Examples:
    return jax.tree.map(jnp.asarray, task.load(Folders(), 0, print).train)


def trained(task, names, train, epochs: int, first: int = 0, state=None):
    state = init_state(task, names, KEY, train.inputs[:1]) if state is None else state
    told = None
    for epoch in range(first, first + epochs):
        state, told = fit_epoch(task, names, state, KEY, jnp.asarray(epoch), train, train)
    return state, told


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def train() -> Examples:
    return examples(Dots())


@pytest.fixture(scope="module")
def both(train):
    return trained(Dots(), BOTH, train, EPOCHS)


@pytest.mark.slow
def test_both_members_learn(both, train) -> None:
    _, told = both
    for name in BOTH:
        assert told[name]["validation_accuracy"] > 0.9
        assert told[name]["losses"].shape == (len(train.targets) // 16,)
        assert told[name]["gradient_norm"] > 0
        row = AdamW(Dots().training).row(told[name], Dots.metric)
        assert row["loss"] == pytest.approx(float(told[name]["losses"].mean()))
        assert "finite" not in row


def test_a_member_trains_as_if_it_were_alone(both, train) -> None:
    state, _ = trained(Dots(), BOTH, train, 1)
    for name in BOTH:
        single, _ = trained(Dots(), (name,), train, 1)
        leaves = zip(
            jax.tree.leaves(state.params[name]), jax.tree.leaves(single.params[name]), strict=True
        )
        for together, alone in leaves:
            np.testing.assert_allclose(together, alone, atol=1e-4)


@pytest.mark.slow
def test_frozen_weights_stay_and_all_else_trains(train) -> None:
    start = init_state(Dots(), ("frozen",), KEY, train.inputs[:1])
    before = jax.tree.map(np.asarray, start.params["frozen"])
    state, _ = trained(Dots(), ("frozen",), train, 1, state=start)
    after = state.params["frozen"]
    assert np.array_equal(before["quantum"]["weights"], after["quantum"]["weights"])
    assert not np.array_equal(before["head"]["kernel"], after["head"]["kernel"])
    assert not np.array_equal(
        before["encoder"]["features"]["kernel"], after["encoder"]["features"]["kernel"]
    )


def test_epochs_in_two_parts_give_the_same_bits(both, train) -> None:
    state, _ = both
    half, _ = trained(Dots(), BOTH, train, 1)
    copied = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), half)
    resumed, _ = trained(Dots(), BOTH, train, EPOCHS - 1, first=1, state=copied)
    assert bits(resumed) == bits(state)
    # The broken subject: the epoch's number determines the order.
    half, _ = trained(Dots(), BOTH, train, 1)
    wrong, _ = trained(Dots(), BOTH, train, EPOCHS - 1, first=0, state=half)
    assert bits(wrong) != bits(state)


def test_the_second_epoch_does_not_compile_again(both, train) -> None:
    before = fit_epoch.jitted._cache_size()
    trained(Dots(), BOTH, train, 1)  # an equal task, created again
    assert fit_epoch.jitted._cache_size() == before


@pytest.mark.slow
def test_more_classes_and_qubits_are_only_a_config() -> None:
    model = ModelConfig(channels=(), hidden=(16,), num_qubits=3)
    task = changed(Dots(classes=4, model=model), epochs=12)
    state, told = trained(task, BOTH, train := examples(task), 12)
    for member in task.members()[:2]:
        outputs = in_batches(member.network, state.params[member.name], train.inputs)
        assert outputs.shape == (len(train.targets), 4)
        # Chance is 0.25; a twin that stays there would make any circuit look good.
        assert told[member.name]["validation_accuracy"] > 0.6


def test_members_that_are_none_are_refused(train) -> None:
    with pytest.raises(
        InputError, match=r"`names` must be members of the task \(hybrid, classical, frozen\), but"
    ):
        init_state(Dots(), ("hybrid", "nobody"), KEY, train.inputs[:1])


def halves(count: int, seed: int = 1) -> Examples:
    """Images whose class is their bright half."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 60, (count, 28, 28))
    for image, label in zip(images, labels, strict=True):
        image[:, 14 * label : 14 * label + 14] += 180
    return Examples(jnp.asarray(images, jnp.uint8), jnp.asarray(labels, jnp.int32))


@pytest.mark.slow
def test_every_seed_trains() -> None:
    """Around 0, as in the 2022 project, some seeds stay at chance; around π none does."""
    data = halves(256)

    def accuracies(**changes) -> np.ndarray:
        task = changed(Dots(model=ModelConfig(**changes)), batch_size=32, learning_rate=5e-3)
        keys = jax.vmap(jax.random.key)(jnp.arange(8))
        state = init_population(task, (HYBRID,), keys, {}, data.inputs[:1])
        for epoch in range(10):
            state, told = fit_population_epoch(
                task, (HYBRID,), state, keys, {}, jnp.asarray(epoch), data, data
            )
        return np.asarray(told[HYBRID]["validation_accuracy"])

    assert accuracies().min() > 0.95
    assert accuracies(feature_center=0.0, feature_scale=3.14).min() < 0.95  # the reason for π


@pytest.mark.parametrize("count", [0, 3, 500, 1001])
def test_many_inputs_are_mapped_in_batches(count: int) -> None:
    values = map_batches(lambda batch: batch[:, :2] + 1, jnp.arange(3 * count).reshape(count, 3))
    assert np.array_equal(values, np.arange(3 * count).reshape(count, 3)[:, :2] + 1)


def test_losses_are_the_textbooks() -> None:
    logits = jnp.array([[0.3], [-1.2]])
    labels = jnp.array([1, 0])
    p = 1 / (1 + np.exp(-np.asarray(logits[:, 0], float)))
    binary = [-np.log(p[0]), -np.log(1 - p[1])]
    np.testing.assert_allclose(class_losses(logits, labels), binary, rtol=1e-6)
    squared = [(1 - p[0]) ** 2, p[1] ** 2]
    np.testing.assert_allclose(class_losses(logits, labels, "mse"), squared, rtol=1e-6)
    many = jnp.array([[0.1, 0.7, -0.4]])
    soft = np.exp(np.asarray(many[0], float))
    wanted = -np.log(soft[1] / soft.sum())
    np.testing.assert_allclose(class_losses(many, jnp.array([1])), [wanted], rtol=1e-6)
    mixed = -0.9 * np.log(p[0]) - 0.1 * np.log(1 - p[0])
    found = class_losses(logits, labels, smoothing=0.2)
    np.testing.assert_allclose(found[0], mixed, rtol=1e-6)
    errors = squared_errors(logits, jnp.array([1.0, 0.5]))
    np.testing.assert_allclose(errors, [0.49, 2.89], rtol=1e-6)


def test_predictions_and_scores_are_the_metrics() -> None:
    one, many = jnp.array([[0.1], [-0.1]]), jnp.array([[0.1, 0.3, 0.2]])
    assert ACCURACY.predictions(one).tolist() == [1, 0]
    assert ACCURACY.predictions(many).tolist() == [1]
    assert ACCURACY.of_each(np.asarray(one), np.array([1, 1])).tolist() == [True, False]
    assert MEAN_L1.predictions(np.asarray(one)).tolist() == pytest.approx([0.1, -0.1])
    errors = MEAN_L1.of_each(np.asarray(one, float), np.array([1.0, -1.0]))
    assert errors.tolist() == pytest.approx([0.9, 0.9])
    assert (ACCURACY.sign, MEAN_L1.sign) == (1, -1)
    assert ACCURACY.score(0.5, (0.25, 0.75)) == "0.5000 (0.2500 to 0.7500)"
    assert MEAN_L1.lead(-0.001, (-0.002, 0.0)) == "-0.001 (-0.002 to +0)"


def test_augmentation_moves_and_mirrors_and_nothing_else() -> None:
    image = jnp.zeros((1, 28, 28), jnp.uint8).at[0, 10, 5].set(200)
    images = jnp.repeat(image, 400, axis=0)
    moved = np.asarray(augment(KEY, images, shift=1, flip=True))
    places = {tuple(np.argwhere(one)[0]) for one in moved}
    assert places == {(r, c) for r in (9, 10, 11) for c in (4, 5, 6, 21, 22, 23)}
    assert (moved.sum(axis=(1, 2)) == 200).all()
    assert np.array_equal(augment(KEY, images, shift=0, flip=False), images)
    with pytest.raises(InputError, match="`shift` must be at most 9, but is 10"):
        augment(KEY, images[:, :18], shift=10, flip=False)


def test_a_table_is_not_moved_nor_mirrored(train) -> None:
    with pytest.raises(InputError, match=r"^Arguments `shift` and `flip` .* \(16, 3\)\."):
        trained(changed(Dots(), shift=1), (HYBRID,), train, 1)


@pytest.mark.slow
def test_dropout_is_off_outside_of_training() -> None:
    model = HybridClassifier(ModelConfig(hidden=(8,), dropout=0.5), 2)
    images = halves(4).inputs
    params = jax.jit(model.init)(KEY, images)
    calm = model.apply(params, images)
    assert np.array_equal(calm, model.apply(params, images))
    shaken = model.apply(params, images, train=True, rngs={"dropout": KEY})
    assert not np.allclose(calm, shaken)


def test_the_cosine_schedule_warms_up_and_ends_at_zero() -> None:
    schedule = AdamW(TrainingConfig(epochs=4, batch_size=32)).schedule(256)
    rates = [float(schedule(step)) for step in range(33)]
    assert rates[0] == pytest.approx(5e-4)
    assert max(rates) == pytest.approx(5e-3)
    assert rates.index(max(rates)) == 8
    assert rates[32] == pytest.approx(0, abs=1e-9)
    assert AdamW(TrainingConfig(schedule="constant")).schedule(256)(1000) == 5e-3


@pytest.mark.slow
def test_small_sets_are_gone_through_several_times_an_epoch(train) -> None:
    few = Examples(train.inputs[:48], train.targets[:48])
    task = changed(Dots(), passes=3)
    assert AdamW(task.training).steps(48) == 9
    _, told = trained(task, (HYBRID,), few, 1)
    assert told[HYBRID]["losses"].shape == (9,)


def told_of(losses, finite: bool) -> dict:
    return {"losses": np.array(losses, np.float32), "finite": np.array(finite)}


def test_a_failure_is_reported_with_its_step() -> None:
    trainer = AdamW(TrainingConfig(epochs=4, batch_size=32, schedule="constant"))
    assert trainer.failure(told_of([1.0, 0.5], True), 0, 64) is None
    assert trainer.failure(told_of([1.0, np.nan], False), 2, 64) == (
        "the loss became nan at step 2 of epoch 3 (learning rate 0.005): train with a lower "
        "`learning_rate`"
    )
    assert trainer.failure(told_of([1.0, 0.5], False), 0, 64).startswith(
        "the parameters became too large at step 2 of epoch 1"
    )


@pytest.mark.slow
def test_a_diverged_training_is_reported(train) -> None:
    task = changed(Dots(), learning_rate=1e37, schedule="constant")
    _, told = trained(task, (HYBRID,), train, 1)
    assert not told[HYBRID]["finite"]
    assert "learning_rate" in task.trainer.failure(told[HYBRID], 0, len(train.targets))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be between 1 and 256, .* but is 0"),
        ({"batch_size": 257}, "`batch_size` must be between 1 and 256, .* but is 257"),
        ({"epochs": -1}, "`epochs` must be an integer of at least 0, but is -1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be above 0, but is 0.0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be finite, but is nan"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be finite, but is inf"),
        ({"weight_decay": -1.0}, "`weight_decay` must be at least 0, but is -1.0"),
        ({"label_smoothing": 1.0}, "`label_smoothing` must be at least 0 and below 1"),
        ({"label_smoothing": 0.1, "loss": "mse"}, "`label_smoothing` must be 0 where `loss` is"),
        ({"shift": -1}, "`shift` must be an integer of at least 0, but is -1"),
        ({"passes": 0}, "`passes` must be an integer of at least 1, but is 0"),
        ({"variance_weight": -0.1}, "`variance_weight` must be at least 0, but is -0.1"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_training(dataclasses.replace(TrainingConfig(), **changes), 256)


def test_weights_of_examples_are_checked() -> None:
    from qnn_jax.training.programs import check_examples

    inputs, targets = jnp.zeros((3, 2)), jnp.zeros(3, jnp.int32)
    check_examples("train", Examples(inputs, targets, jnp.ones(3)))
    for weights, message in (
        (
            jnp.ones(2),
            r"`train.weights` must have shape \(3,\), one for each target, but has \(2,\)",
        ),
        (jnp.ones(3, jnp.int32), "`train.weights` must be an array of weights, but is an array of"),
        ([1.0, 1.0, 1.0], "`train.weights` must be an array of weights, but is"),
    ):
        with pytest.raises(InputError, match=message):
            check_examples("train", Examples(inputs, targets, weights))


def test_variance_counts_in_the_loss_as_its_closed_form_says() -> None:
    config = TrainingConfig(
        batch_size=8, learning_rate=0.05, weight_decay=0, shift=0, flip=False, variance_weight=0.3
    )
    task = Sine(train_count=8, test_count=4, layers=1, training=config)
    points = task.load(Folders(), 0, lambda *_: None).train
    key = jax.random.key(1)
    state = init_state(task, (HYBRID,), key, points.inputs)
    start, unravel = ravel_pytree(state.params[HYBRID])

    def loss(flat: np.ndarray) -> float:
        own = jax.tree.map(np.asarray, unravel(jnp.asarray(flat, jnp.float32)))
        w = own["quantum"]["weights"].astype(float)
        x = points.inputs[:, 0].astype(float)
        value = np.cos(w[0] * x + w[1]) * np.cos(w[2] * x + w[3])
        outputs = own["head"]["kernel"][0, 0] * value + own["head"]["bias"][0]
        return float(np.mean((outputs - points.targets) ** 2 + 0.3 * (1 - value**2)))

    steps = 1e-2 * np.eye(len(start))
    slopes = [(loss(start + step) - loss(start - step)) / 2e-2 for step in steps]
    wanted = loss(np.asarray(start))
    _, told = fit_epoch(task, (HYBRID,), state, key, jnp.asarray(0), points, points)
    np.testing.assert_allclose(told[HYBRID]["losses"], [wanted], rtol=1e-5)
    np.testing.assert_allclose(told[HYBRID]["gradient_norm"], np.linalg.norm(slopes), rtol=1e-3)


def test_of_several_observables_the_mean_variance_counts() -> None:
    labels, points = ("ZZ", "IZ", "ZI"), jnp.linspace(-1, 1, 4)[:, None]
    network = HybridRegressor(sine_circuit(1), labels)
    params = network.init(jax.random.key(0), points)["params"]
    trainer = AdamW(TrainingConfig(batch_size=4, variance_weight=0.5))
    _, found = trainer._outputs(network, params, points, {})
    encoded = network.apply({"params": params}, points, method="encode")
    each = [
        variances(network.circuit, labels, row, params["quantum"]["weights"]) for row in encoded
    ]
    np.testing.assert_allclose(found, 0.5 * np.mean(each, axis=1), atol=1e-6)


def test_the_variance_of_a_sum_of_pauli_strings_is_refused() -> None:
    network = HybridRegressor(sine_circuit(1), ({"ZZ": 0.5, "IZ": 0.5},))
    trainer, points = AdamW(TrainingConfig(batch_size=4, variance_weight=0.1)), jnp.zeros((4, 1))
    params = network.init(jax.random.key(0), points)["params"]
    with pytest.raises(InputError, match=r"`variance_weight` must be 0 unless every observable is"):
        trainer._outputs(network, params, points, {})
