"""Fashion and Calculator as values: refused settings, JSON, and their members."""

import dataclasses
import json
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_tasks import Dots, Wave

from qnn_jax.configs import CalculatorModelConfig, LeastSquaresConfig, ModelConfig, TrainingConfig
from qnn_jax.errors import InputError
from qnn_jax.models.hybrid import Middle
from qnn_jax.runs import from_json
from qnn_jax.tasks import TASKS, Calculator, Fashion, Seeds, TaskDefaults, splits_of
from qnn_jax.tasks.stored import config_of
from qnn_jax.training import HYBRID, AdamW, Examples, Folders, LeastSquares, Task, Trainer


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Fashion(classes=("Trouser", "Trouser")), "`classes` must be different classes"),
        (Fashion(classes=("Trouser", "Spoon")), "`classes` .* 'Spoon' is none"),
        (Fashion(classes=("Trouser",)), "`classes` must be two or more classes"),
        (Fashion(validation_images=-1), "`validation_images` must be .* at least 0, but is -1"),
        (Fashion(validation_images=12_000), "`validation_images` must be below 12000"),
        (Fashion(train_images=11_500), "`train_images` must be at most 11000, .* is 11500"),
        (Fashion(train_images=-1), "`train_images` must be .* at least 0, but is -1"),
        (
            Fashion(classes=("all",), training=TrainingConfig(loss="mse")),
            "`loss` must be cross-entropy for more than two classes, but is mse and there are 10",
        ),
        (Fashion(training=TrainingConfig(shift=15)), "`shift` must be at most 14, but is 15"),
        (Fashion(training=TrainingConfig(batch_size=0)), "`batch_size` must be between 1 and"),
        (Fashion(model=ModelConfig(num_qubits=500)), "`num_qubits` must be at most"),
        (
            Fashion(model=ModelConfig(channels=(2, 2, 2))),
            "`channels` must name at most 2 convolutions .* for images of 28 × 28 pixels",
        ),
        (Calculator("a + c"), "`operation` .* has the unknown name 'c'"),
        (Calculator("7*a"), "`operation` must span at most"),
        (Calculator(points=-1), "`points` must be between 0 and 1000000, but is -1"),
        (Calculator(baseline_2022=-1), "`baseline_2022` must be between 0 and 100000"),
        (Calculator(model=CalculatorModelConfig(layers=0)), "`model.layers` must be between 1"),
        (
            Calculator(model=CalculatorModelConfig(weight_bound=0.0)),
            "`model.weight_bound` must be above 0 and finite, but is 0.0",
        ),
        (
            Calculator(training=LeastSquaresConfig(batch_size=0)),
            "`batch_size` must be at least 2 where `points` is 0, but is 0",
        ),
        (Calculator(training=LeastSquaresConfig(restarts=0)), "`restarts` must be between 1"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_cannot_be_trained_is_refused(task, message: str) -> None:
    with pytest.raises(InputError, match=rf"^Argument {message}"):
        task.check()


#: A value of another type than any field has.
class Foreign:
    def __repr__(self) -> str:
        return "foreign"


@pytest.mark.parametrize("value", [Foreign(), None, "text", 0.5, (None,)], ids=repr)
@pytest.mark.parametrize("part", ["", "model", "training"])
def test_a_field_of_another_type_is_refused_by_its_name(part: str, value: object) -> None:
    whole = Fashion()
    owner = getattr(whole, part) if part else whole
    for field in dataclasses.fields(owner):
        given = getattr(owner, field.name)
        if isinstance(given, float) and isinstance(value, float):
            continue  # a number like any other
        changed = dataclasses.replace(owner, **{field.name: value})
        task = dataclasses.replace(whole, **{part: changed}) if part else changed
        with pytest.raises(InputError, match=rf"^Argument `{field.name}` must .*\.$") as caught:
            task.check()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", [Fashion(), Calculator(), Dots(), Wave()], ids=lambda t: t.name)
def test_a_task_is_what_the_protocols_say(task) -> None:
    assert isinstance(task, Task)
    assert isinstance(task.trainer, Trainer)
    kind = LeastSquares if isinstance(task.training, LeastSquaresConfig) else AdamW
    assert task.trainer == kind(task.training)
    task.check()
    assert hash(task) == hash(dataclasses.replace(task))
    members = task.members()
    assert members[0].name == HYBRID
    names = [member.name for member in members]
    assert len(set(names)) == len(names)
    assert all(member.what and (member.name == HYBRID or member.worth_of) for member in members)
    assert not members[0].frozen
    # Numbers that may vary in a program are fields, and are numbers.
    for name in task.numbers:
        value = task
        for part in name.split("."):
            value = getattr(value, part)
        assert isinstance(value, float)
    assert task.sized(7) != task


CHANGED = [
    Fashion(),
    Fashion(("all",), 100, 0, False, ModelConfig((), (3, 4)), TrainingConfig(epochs=1)),
    Calculator(),
    Calculator("a*b", 50, 0, CalculatorModelConfig(2), LeastSquaresConfig(restarts=3)),
]


@pytest.mark.parametrize("task", CHANGED, ids=lambda task: task.name)
def test_json_gives_the_same_task_back(task) -> None:
    written = json.loads(json.dumps(config_of(task, Seeds(3)), default=str))
    assert written["task"] == task.name
    assert from_json(TASKS[task.name], written["fields"], "File f", "mend it") == task


def test_a_name_belongs_to_one_task() -> None:
    assert {name: kind.name for name, kind in TASKS.items()} == {n: n for n in TASKS}


def test_fashion_trains_its_twin_alongside_unless_told_not_to() -> None:
    alongside = [m.name for m in Fashion().members() if m.alongside]
    assert alongside == ["classical"]
    assert not any(m.alongside for m in Fashion(twin=False).members())
    middles = {getattr(m.network, "middle", "pixels") for m in Fashion().members()}
    assert middles == {*get_args(Middle), "pixels"}
    assert [m.name for m in Fashion().members() if m.frozen] == ["frozen"]


def test_fashion_on_few_images_has_steps_enough() -> None:
    few = Fashion().sized(50)
    assert (few.train_images, few.validation_images, few.training.batch_size) == (50, 0, 50)
    assert few.training.epochs * few.trainer.steps(50) >= 500
    everything = Fashion().sized(0)
    assert (everything.train_images, everything.validation_images) == (0, 0)
    assert everything.training == TrainingConfig()


@pytest.fixture(scope="module")
def adding():
    task = Calculator(training=LeastSquaresConfig(epochs=3, batch_size=16), baseline_2022=0)
    return task, task.load(Folders(), 4, print)


def test_the_calculators_points_are_answered(adding) -> None:
    task, splits = adding
    sizes = [len(part.targets) for part in (splits.train, splits.validation, splits.test)]
    assert sizes == [48, 1000, 10_000]
    for part in (splits.train, splits.validation, splits.test):
        assert part.inputs.min() >= 0
        assert part.inputs.max() <= 1
        np.testing.assert_allclose(part.targets, part.inputs.sum(axis=1), atol=1e-6)
    # Each purpose and each seed has its own points.
    first = [part.inputs[0].tolist() for part in (splits.train, splits.validation, splits.test)]
    assert len({tuple(point) for point in first}) == 3
    other = task.load(Folders(), 5, print)
    assert other.checksum != splits.checksum
    assert task.load(Folders(), 4, print).checksum == splits.checksum
    same = task.sized(20).load(Folders(), 4, print)
    assert [len(same.train.targets), len(same.validation.targets)] == [20, 20]


def test_the_calculators_references_are_the_obvious_ones(adding) -> None:
    task, splits = adding
    references = task.references(splits, 0)
    assert set(references) == {"constant", "linear_regression"}
    # The mean distance from 1 of the sum of two uniform numbers is 1/3.
    assert references["constant"].value == pytest.approx(1 / 3, abs=0.02)
    assert references["linear_regression"].value < 1e-6
    assert [reference.parameters for reference in references.values()] == [1, 3]
    low, high = references["constant"].interval
    assert low < references["constant"].value < high


def test_shots_are_expected_to_leave_what_the_normal_law_says() -> None:
    from qnn_jax.tasks.calculator import expected_with_shots

    rng = np.random.default_rng(0)
    values, targets, shots, gain = rng.uniform(-0.9, 0.9, (50, 1)), rng.uniform(-2, 2, 50), 400, 3.0
    head = {"bias": np.array([0.5])}
    ones = rng.binomial(shots, (1 + values[:, 0]) / 2, (4000, 50))
    drawn = gain * (2 * ones / shots - 1) + 0.5
    wanted = np.abs(drawn - targets).mean()
    assert expected_with_shots(values, gain, head, targets, shots) == pytest.approx(
        wanted, rel=5e-3
    )


def test_parts_are_apart_and_follow_the_seed() -> None:
    inputs, targets = np.arange(100.0)[:, None], np.arange(100)
    splits = splits_of(inputs, targets, 1, "numbers", train_count=30)
    assert len(splits.train.targets) == 30
    parts = [set(part.targets.tolist()) for part in (splits.validation, splits.test)]
    assert parts[1] == set(range(80, 100))
    assert len(parts[0]) == 10
    assert not parts[0] & parts[1]
    assert splits_of(inputs, targets, 2, "numbers").test.targets.tolist() == sorted(parts[1])
    other = splits_of(inputs, targets, 2, "numbers").validation.targets.tolist()
    assert set(other) != parts[0]
    assert splits.train.inputs.dtype == np.float32
    assert splits.train.targets.dtype == np.int32
    assert jnp.asarray(splits.train.inputs).shape[1] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": np.arange(9)}, "`targets` must have one entry for each of the 10 inputs, but"),
        ({"test_share": 1.0}, "`test_share` must be at least 0 and below 1, but is 1.0"),
        ({"validation_share": -0.1}, "`validation_share` must be at least 0 and below 1"),
        ({"validation_share": 0.9}, "`validation_count` must be below 8"),
        ({"train_count": 50}, "`train_count` must be between 1 and 7"),
    ],
)
def test_parts_that_cannot_be_are_refused(changes, message: str) -> None:
    arguments = {"inputs": np.zeros((10, 1)), "targets": np.arange(10.0), **changes}
    with pytest.raises(InputError, match=message):
        splits_of(seed=0, name="x", **arguments)


def test_a_task_without_a_size_says_what_it_lacks() -> None:
    @dataclasses.dataclass(frozen=True)
    class Bare(TaskDefaults):
        training: TrainingConfig = TrainingConfig()

    with pytest.raises(InputError, match=r"a field `train_count` .* but has the fields training"):
        Bare().sized(3)
    with pytest.raises(NotImplementedError, match="Bare must define `network` or `members`"):
        Bare().members()
    assert Wave().sized(5).train_count == 5


def test_the_defaults_of_a_task_change_nothing() -> None:
    task, inputs, key = Wave(), jnp.ones((3, 1)), jax.random.key(0)
    assert task.augment(key, inputs) is inputs
    assert Dots().augment(key, inputs) is inputs
    assert task.references(None, 0) == {}
    assert task.details(None, None, 0) == {}
    losses = task.loss(jnp.array([[1.0], [3.0]]), jnp.array([0.0, 1.0]))
    assert losses.tolist() == [1.0, 4.0]
    assert isinstance(task.load(Folders(), 0, print).train, Examples)
