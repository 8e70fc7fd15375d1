"""A scan's axes, candidates and course, without training."""

import dataclasses
import random
import shlex
from typing import Any, get_args

import pytest

from pipelines import scan as command_of_scan
from pipelines import training
from pipelines.flags import RunFlags, words_of
from pipelines.train_fashion import FashionFlags
from qnn_jax.errors import InputError
from qnn_jax.studies import axes as axes_module
from qnn_jax.studies.axes import Axis, changed, draws, fields, grid, seeds_of_candidate, value_of
from qnn_jax.studies.course import Course, rungs_of
from qnn_jax.studies.leaderboard import (
    confirmation_heading,
    epoch_line,
    leaderboard,
    rows_of,
    verdict,
)
from qnn_jax.studies.search import Asked, Listed, planned
from qnn_jax.tasks import Calculator, Fashion, Seeds
from qnn_jax.training.task import HYBRID, Folders

PRESETS = Fashion.presets()
BASE = Fashion(training=dataclasses.replace(Fashion().training, epochs=8))
METRICS = ("loss", "accuracy", "validation_loss", "validation_accuracy", "gradient_norm")


def read_axes(axes: Any, task: Any = BASE) -> tuple[Axis, ...]:
    return axes_module.read_axes(task, axes)


def test_axes_are_read_from_text() -> None:
    texts = (
        "training.learning_rate=1e-3,3e-3",
        "weight-decay=log:1e-4:1e-2",
        "model.ansatz_reps=1,2",
        "model.hidden=64,128x64,none",
        "flip=true,false",
        "loss=mse,cross-entropy",
        "feature_scale=lin:1:2:3",
        "seed=0,7",
    )
    assert read_axes(texts) == (
        Axis("training.learning_rate", (1e-3, 3e-3)),
        Axis("training.weight_decay", (), "log", 1e-4, 1e-2),
        Axis("model.ansatz_reps", (1, 2), integer=False),
        Axis("model.hidden", ((64,), (128, 64), ())),
        Axis("training.flip", (True, False)),
        Axis("training.loss", ("mse", "cross-entropy")),
        Axis("model.feature_scale", (1.0, 1.5, 2.0), "lin", 1.0, 2.0),
        Axis("seed", (0, 7)),
    )


def test_axes_are_values_too() -> None:
    assert read_axes({"learning_rate": [1e-3, 3e-3], "model.hidden": [[64], ()]}) == (
        Axis("training.learning_rate", (1e-3, 3e-3)),
        Axis("model.hidden", ((64,), ())),
    )
    (axis,) = read_axes([Axis("ansatz_reps", (), "lin", 1, 3)])
    assert axis == Axis("model.ansatz_reps", (), "lin", 1, 3, integer=True)
    assert read_axes(["layers=2,4", "operation=add,mean"], Calculator()) == (
        Axis("model.layers", (2, 4)),
        Axis("operation", ("add", "mean")),
    )


def test_shots_and_noise_are_axes() -> None:
    """Fields that may be left out vary as those that may not."""
    shots, device = read_axes(["shots=64,1024", "execution.noise=FakeFez,FakeKingston"])
    assert (shots.name, shots.values) == ("execution.shots", (64, 1024))
    assert device.values == ("FakeFez", "FakeKingston")
    with pytest.raises(InputError, match=r"execution\.shots values that are a whole number, but"):
        read_axes(["shots=few"])


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        (Axis("learning_rate", ("fast",)), "a finite number, but one is 'fast'"),
        (Axis("learning_rate", (float("nan"),)), "a finite number, but one is nan"),
        (Axis("ansatz_reps", (True,)), "a whole number, but one is True"),
        (Axis("hidden", (64,)), "64 or 128x64 or none, but one is 64"),
        (Axis("loss", ("hinge",)), "cross-entropy or mse, but one is 'hinge'"),
        (Axis("seed", (-1,)), "`seed` must be an integer between 0 and 4294967295, but is -1"),
        (Axis("seed"), "must have values for seed, but has none"),
        (Axis("loss"), "must have values for training.loss, but has none"),
        (Axis("learning_rate", (), "cubic", 1, 2), "`spacing` must be log or lin"),
    ],
)
def test_bad_values_are_one_sentence(axis: Axis, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_axes([axis])
    assert words in str(caught.value)


@pytest.mark.parametrize("task", [Fashion(), Calculator()])
def test_every_number_of_a_program_is_a_field(task) -> None:
    assert fields(task).keys() >= task.numbers
    for name in task.numbers:
        assert value_of(changed(task, {name: 0.25}), Seeds(), name) == 0.25


BAD = [
    ("lerning_rate=1", "did you mean training.learning_rate?"),
    ("model.qubits=2", "did you mean model.num_qubits?"),
    ("zzz=1", "take one of seed, order_seed,"),
    ("classes=1,2", "must name a field of the task"),
    ("learning_rate", "must give values, as in training.learning_rate=1,2"),
    ("learning_rate=", "must give values, as in training.learning_rate=1,2"),
    ("learning_rate=1,1.0", "must have different values"),
    ("learning_rate=fast", "values that are a finite number, but one is 'fast'"),
    ("learning_rate=nan", "values that are a finite number, but one is 'nan'"),
    ("learning_rate=1e-3,", "values that are a finite number, but one is ''"),
    ("ansatz_reps=1.5", "values that are a whole number, but one is '1.5'"),
    ("flip=maybe", "values that are true or false, but one is 'maybe'"),
    ("loss=hinge", "values that are cross-entropy or mse, but one is 'hinge'"),
    ("hidden=a", "values that are 64 or 128x64 or none, but one is 'a'"),
    ("seed=-1", "a seed from 0 to 4294967295, but one is '-1'"),
    ("seed=log:1:2", "must be a list for seed"),
    ("loss=log:1:2", "must be a list for training.loss"),
    ("learning_rate=log:1", "must be a list for training.learning_rate"),
    ("learning_rate=log:2:1", "the lower first"),
    ("learning_rate=log:a:b", "of finite numbers"),
    ("learning_rate=log:1:2:1", "at least 2 points"),
    ("learning_rate=log:0:1", "logarithmic range above 0"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_bad_axes_are_one_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_axes([text])
    assert words in str(caught.value)
    assert "Argument `axis` must" in str(caught.value)


def test_an_axis_is_named_once() -> None:
    with pytest.raises(InputError, match="each field once, but names seed again"):
        read_axes(["seed=1", "seed=2"])


@pytest.mark.parametrize(
    ("axes", "options", "words"),
    [
        (["learning_rate=-1,1"], {}, "training.learning_rate is invalid: .* above 0"),
        (["learning_rate=lin:-1:1"], {}, "training.learning_rate is invalid: .* above 0"),
        (["model.num_qubits=1,2"], {}, "model.num_qubits is invalid: .* at least 2"),
        (["batch_size=20000"], {}, "training.batch_size is invalid: .* between 1 and"),
        (["loss=mse,cross-entropy", "label_smoothing=0,0.1"], {}, "combination is invalid: .* mse"),
        (["learning_rate=log:1:2"], {"search": "grid"}, "a number of points for a grid"),
        ([], {}, "must name at least one field"),
        (["learning_rate=1"], {"samples": 0}, "`samples` must be an integer of at least 1"),
        (["learning_rate=1"], {"batch": 0}, "`batch` must be an integer of at least 1"),
        (["learning_rate=1"], {"confirm": -1}, "`confirm` must be an integer of at least 0"),
        (["learning_rate=1"], {"search": "best"}, "`search` must be one of 'grid'"),
        (["learning_rate=1"], {"search": "optuna", "halving": True}, "`halving` must not be given"),
    ],
)
def test_bad_scans_are_one_sentence(axes, options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        planned_of(axes, **options)


def planned_of(axes: Any, **options: Any):
    usual = {"search": None, "samples": 15, "batch": 5, "halving": False, "confirm": 4, "seed": 0}
    return planned(BASE, read_axes(axes), **{**usual, **options})


def test_the_default_scans_pass_their_checks() -> None:
    task, flags = command_of_scan.parse([])
    command_of_scan.check(task, flags)
    assert task == dataclasses.replace(Fashion(), twin=False)
    texts = command_of_scan.axes_of(task, flags)
    assert texts == command_of_scan.USUAL_AXES
    axes = read_axes(texts)
    course = Course(task, Seeds(), axes, planned_of(texts), 8, [], 4)
    assert len(course.members) == 16
    assert course.members[0].task == task
    calculator = command_of_scan.parse(["--task", "calculator", "--epochs", "3"])
    command_of_scan.check(*calculator)
    assert calculator[0].training.epochs == 3
    assert command_of_scan.axes_of(*calculator) == ("model.weight_bound=log:0.1:3",)


def test_a_grid_has_all_combinations_and_draws_lie_in_their_ranges() -> None:
    axes = read_axes(["learning_rate=1,2", "ansatz_reps=1,2,3", "seed=0,1"])
    assert len(grid(axes)) == 6
    assert all(set(changes) == {axes[0].name, axes[1].name} for changes in grid(axes))
    axes = read_axes(["learning_rate=log:1e-4:1e-2", "ansatz_reps=lin:1:3", "loss=mse"])
    found = draws(axes, 400, 0)
    assert found == draws(axes, 400, 0) != draws(axes, 400, 1)
    rates = sorted(changes["training.learning_rate"] for changes in found)
    assert 1e-4 <= rates[0] < 1.2e-4
    assert 0.5e-2 < rates[-1] <= 1e-2
    assert 0.7e-3 < rates[200] < 1.4e-3  # the median of a log-uniform draw is the geometric mean
    assert {changes["model.ansatz_reps"] for changes in found} == {1, 2, 3}


def test_members_share_the_split_and_have_their_own_seeds() -> None:
    seeds = seeds_of_candidate(Seeds(), (0, 3), (None, 3))
    assert [(own.seed, own.order, own.split) for own in seeds] == [
        (0, 0, 0), (0, 3, 0), (3, 3, 0), (3, 3, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_flags_of_a_member_read_back_as_the_member(preset) -> None:
    """For any scan, the command in the leaderboard is that of the member."""
    rng = random.Random(0)
    words = {bool: ["true", "false"], int: ["2", "3"], float: ["0.25", "3e-05"]}
    for trial in range(8):
        axes = []
        for name, kind in fields(BASE).items():
            if kind in words:
                values = words[kind]
            elif name in ("model.channels", "model.hidden"):
                values = ["32x8", "64", "none"]
            elif name == "execution.noise":
                values = ["FakeFez"]
            elif name == "model.entanglement":
                values = ["full", "linear"]
            else:
                values = list(get_args(kind))
            axes.append(f"{name}={rng.choice(values)}")
        changes = {axis.name: axis.values[0] for axis in read_axes(axes)}
        seeds = Seeds(changes.pop("seed"), changes.pop("order_seed"), 0)
        task = changed(PRESETS[preset], changes)
        _, flags = command_of_scan.parse(["--preset", preset])
        target, given = command_of_scan.repeat(task, seeds, f"m-{trial}", flags).split(" ARGS=")
        assert target == "make train-fashion"
        found, run = training.parse(PRESETS, FashionFlags(), shlex.split(shlex.split(given)[0]))
        assert found == task
        assert (run.seed, run.order_seed, run.split_seed) == seeds
        assert run.run == f"m-{trial}"
    assert words_of(Fashion(), Fashion()) == []


def test_the_flags_of_another_task_read_back_too() -> None:
    task = changed(Calculator(), {"operation": "a*b", "model.layers": 2, "training.restarts": 3})
    found, _ = training.parse({"default": Calculator()}, RunFlags(), words_of(task, Calculator()))
    assert found == task


def told(course: Course, accuracy) -> dict:
    """A row of metrics in which each member's accuracy follows from its configuration."""
    values = [accuracy(course.members[number]) for number in course.training]
    lists = {name: [None if v is None else 1 - v for v in values] for name in METRICS}
    lists["validation_accuracy"] = values
    return {
        HYBRID: lists,
        "members": list(course.training),
        "of_members": course.epoch + 1,
        "seconds": 1.0,
    }


def gone_through(course: Course, accuracy) -> Course:
    while not course.done:
        course.record(told(course, accuracy))
    return course


def by_rate(member) -> float | None:
    """The nearer to 0.01 the better; above 1 it diverges."""
    rate = member.task.training.learning_rate
    return None if rate > 1 else 1 - abs(rate - 0.01) - member.seeds.seed * 1e-5


AXES = read_axes(["learning_rate=0.02,0.011,0.5,9,0.1", "seed=0,1"])


def course(halving: bool = False, confirm: int = 2, search=None) -> Course:
    search = search or Listed(grid(AXES))
    return Course(BASE, Seeds(), AXES, search, 8, rungs_of(8, halving), confirm)


def test_the_best_candidate_wins_and_meets_the_default_again() -> None:
    done = gone_through(course(), by_rate)
    assert done.changes[done.winner] == {"training.learning_rate": 0.011}
    assert done.champion == done.best == done.of_candidate(2)[0]
    assert done.searched == 12
    again = done.members[12:]
    assert {member.candidate for member in again} == {0, done.winner}
    assert not {m.seeds.seed for m in again} & {0, 1}, "seeds that chose nothing"
    assert "The winner beats the default: +0.40 points" in verdict(done)
    board = leaderboard(done, AXES, 0.9, "scan", Folders(), lambda task, seeds, name: name)
    assert [row["test_accuracy"] for row in board] == [0.9] + 11 * [None]
    assert [row["outcome"] for row in board].count("diverged") == 2
    assert {row["training.learning_rate"] for row in board[-2:]} == {9.0}
    assert [row["command"] for row in board] == [f"scan-{row['member']}" for row in board]
    best = board[0]["config"]
    assert best["fields"]["training"]["learning_rate"] == 0.011
    assert (best["task"], best["seed"]) == ("fashion", 0)
    rows = rows_of(done, done.best, [HYBRID])
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1][HYBRID]["validation_accuracy"] == board[0]["validation_accuracy"]


def test_the_worse_half_is_dropped_at_each_rung() -> None:
    assert rungs_of(40, True) == [5, 10, 20]
    assert rungs_of(40, False) == []
    assert rungs_of(1, True) == []
    running = course(halving=True, confirm=0)
    kept = []
    while not running.done:
        before = running.training
        running.record(told(running, by_rate))
        if running.training != before and running.training:
            rates = {running.members[k].task.training.learning_rate for k in running.training}
            kept.append(rates)
    assert kept == [{0.011, 0.005, 0.02}, {0.011, 0.005}, {0.011}]
    # The broken subject: a metric with the wrong sign keeps the worst.
    upside_down = course(halving=True, confirm=0)
    for _ in range(4):
        upside_down.record(told(upside_down, lambda member: -(by_rate(member) or -9)))
    rates = {upside_down.members[k].task.training.learning_rate for k in upside_down.training}
    assert 0.011 not in rates


def test_a_course_replays_to_where_it_stood() -> None:
    first = course(halving=True)
    rows = []
    while not first.done:
        rows.append(told(first, by_rate))
        first.record(rows[-1])
    for count in range(len(rows) + 1):
        again = course(halving=True)
        for row in rows[:count]:
            assert row["members"] == again.training
            again.record(row)
        if count < len(rows):
            assert again.training == rows[count]["members"]
    assert again.done
    assert again.winner == first.winner


def test_optuna_proposes_in_batches_and_replays() -> None:
    pytest.importorskip("optuna")
    axes = read_axes(["learning_rate=log:1e-4:1e2", "ansatz_reps=1,2", "hidden=64,32x8"])

    def search() -> Course:
        return Course(BASE, Seeds(), axes, Asked(axes, 24, 6, seed=1), 8, [], 0)

    first = gone_through(search(), by_rate)
    assert [len(first.members), first.generation] == [25, 4]
    second = search()
    for row in first.rows:
        assert row["members"] == second.training
        second.record(row)
    assert second.done
    late = [m.task.training.learning_rate for m in first.members[13:]]
    early = [m.task.training.learning_rate for m in first.members[1:7]]
    assert sum(rate < 1 for rate in late) / 12 > sum(rate < 1 for rate in early) / 6 - 0.2
    assert abs(value_of(first.members[first.best].task, Seeds(), axes[0].name) - 0.01) < 0.02


def test_optuna_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        InputError, match=r"optuna is not installed: pip install 'qnn-jax\[search\]"
    ):
        planned_of(["learning_rate=1,2"], search="optuna")


def test_the_verdict_follows_from_the_numbers() -> None:
    def verdict_of(accuracy, **options) -> str:
        return verdict(gone_through(course(**options), accuracy))

    assert "does no" not in verdict_of(by_rate)
    lucky = {0.011: 0.9}

    def by_luck(member) -> float:
        usual = 0.5 + member.seeds.seed % 7 / 100
        found = lucky.get(member.task.training.learning_rate, usual)
        return found if member.seeds.seed < 2 else usual

    assert "does not measurably beat the default: +0.00 points" in verdict_of(by_luck)

    def worse(member) -> float:
        lucky_one = member.task.training.learning_rate == 0.011
        return by_luck(member) - lucky_one * (member.seeds.seed > 2) / 9

    assert "does worse than the default: -11.11" in verdict_of(worse)
    assert "No candidate did better" in verdict_of(lambda _: 0.5)
    assert "this is no proof" in verdict_of(by_luck, confirm=0)

    def later(member) -> float | None:
        return None if member.seeds.seed > 2 else by_luck(member)

    assert "trainings of the winner diverged" in verdict_of(later)


def test_less_may_be_better() -> None:
    base = Calculator(training=dataclasses.replace(Calculator().training, epochs=8))
    axes = read_axes(["layers=1,2,3"], base)
    done = Course(base, Seeds(), axes, Listed(grid(axes)), 8, rungs_of(8, True), 3)
    errors = {1: 0.3, 2: 1e-3, 3: 2e-3, 4: 5e-3}
    while not done.done:
        members = [done.members[number] for number in done.training]
        values = [errors[m.task.model.layers] * (1 + m.seeds.seed % 7 / 1e3) for m in members]
        lists = {"loss": values, "validation_mean_l1": values}
        done.record({HYBRID: lists, "members": list(done.training), "of_members": 1, "seconds": 1})
    assert done.changes[done.winner] == {"model.layers": 2}
    assert "The winner beats the default: +0.00" in verdict(done, "points")
    assert "mean L1" in verdict(done, "points")
    row = done.rows[0]
    line = epoch_line(base.metric, row, row[HYBRID]["validation_mean_l1"], 8, 1.0)
    assert "validation best 1.00e-03 (member 2)" in line


def test_what_is_left_of_a_scan() -> None:
    axes = (Axis("training.learning_rate", (1e-3, 1e-2)), Axis("training.weight_decay", (0.0, 0.2)))
    course = Course(BASE, Seeds(), axes, Listed(grid(axes)), 8, rungs_of(8, True), 3)
    assert len(course.training) == 5
    # 5 members for 1 epoch, 3 for 1, 2 for 2, 1 for 4; each rung changes the members in training.
    assert (course.member_epochs_left(), course.changes_left()) == (5 + 3 + 4 + 4, 3)
    assert course.confirmation_ahead() == 2 * 3 * 8
    scores = {member.number: 0.5 + 0.1 * (member.number == 2) for member in course.members}
    while not course.confirming:
        course.record({HYBRID: {name: [scores[n] for n in course.training] for name in METRICS}})
    assert confirmation_heading(course).endswith(
        "(member 2) and the default train over 3 fresh seeds."
    )
    assert (course.member_epochs_left(), course.changes_left()) == (2 * 3 * 8, 0)
    assert course.confirmation_ahead() == 0
    while not course.done:
        course.record({HYBRID: {name: [0.5] * len(course.training) for name in METRICS}})
    assert (course.member_epochs_left(), course.confirmation_ahead()) == (0, 0)
    row = {"of_members": 1, "members": [0], "seconds": 1.0}
    assert epoch_line(BASE.metric, row, [0.5], 8, 12.3, 45.6).endswith(
        "1.00 s   about 12 s left, 46 s more if the default is beaten"
    )
