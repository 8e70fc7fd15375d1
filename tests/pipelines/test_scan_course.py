"""A scan's axes, candidates and course: all that happens before and between trainings."""

import dataclasses
import random
import shlex

import pytest

from pipelines import command, train_fashion
from pipelines.scan import ScanConfig, check
from pipelines.scan_axes import (
    NUMBERS,
    Axis,
    changed,
    draws,
    fields,
    flags_of,
    grid,
    members_of_candidate,
    read_axes,
    value_of,
)
from pipelines.scan_search import METRICS, Asked, Course, Listed, rungs_of
from pipelines.scan_table import confirmation_heading, epoch_line, leaderboard, verdict
from pipelines.train_fashion import PRESETS, FashionConfig
from qnn_jax.errors import InputError

BASE = FashionConfig(training=dataclasses.replace(FashionConfig().training, epochs=8))


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


def test_every_number_of_a_program_is_a_field_and_a_knob() -> None:
    from qnn_jax.training import Knobs

    assert fields().keys() >= NUMBERS
    assert {name.partition(".")[2] for name in NUMBERS} == set(Knobs._fields)


BAD = [
    ("lerning_rate=1", "did you mean training.learning_rate?"),
    ("model.qubits=2", "did you mean model.num_qubits?"),
    ("zzz=1", "take one of seed, order_seed,"),
    ("epochs=1,2", "must not name epochs"),
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
    assert "Argument `--axis` must" in str(caught.value)


def test_an_axis_is_named_once() -> None:
    with pytest.raises(InputError, match="each axis once, but names seed again"):
        read_axes(["seed=1", "seed=2"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"axis": ("learning_rate=-1,1",)}, "training.learning_rate cannot be: .* above 0"),
        ({"axis": ("learning_rate=lin:-1:1",)}, "training.learning_rate cannot be: .* above 0"),
        ({"axis": ("model.num_qubits=1,2",)}, "model.num_qubits cannot be: .* at least 2"),
        ({"axis": ("batch_size=20000",)}, "training.batch_size cannot be: .* between 1 and"),
        (
            {"axis": ("loss=mse,cross-entropy", "label_smoothing=0,0.1")},
            "combination cannot be: .* must be 0 with --loss mse",
        ),
        ({"axis": ("learning_rate=log:1:2",), "search": "grid"}, "a number of points for a grid"),
        ({"samples": 0}, "`--samples` must be at least 1"),
        ({"validation_images": 0}, "`--validation-images` must be at least 1"),
        ({"confirm": -1}, "`--confirm` must be at least 0"),
        ({"search": "optuna", "halving": True}, "`--halving` must not be given with"),
        ({"num_processes": 2}, "`--coordinator` must be given with --num-processes"),
        ({"coordinator": "here"}, "`--coordinator` must be HOST:PORT or auto, but is 'here'"),
        ({"process_id": 1}, "`--process-id` must be below --num-processes, 1, but is 1"),
        ({"axis": ("seed=4294967296",)}, "a seed from 0 to 4294967295, but one is '4294967296'"),
        ({"coordinator": "a:65536"}, "`--coordinator` must be HOST:PORT or auto, but is 'a:65536'"),
        ({"run": "../x"}, "`--run` must be"),
    ],
)
def test_bad_scans_are_one_sentence(flags, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(ScanConfig(**flags))


def test_no_epochs_are_no_scan() -> None:
    none = dataclasses.replace(ScanConfig().training, epochs=0)
    with pytest.raises(InputError, match="`--epochs` must be at least 1"):
        check(ScanConfig(training=none))


def test_the_default_scan_passes_its_checks() -> None:
    _, axes, course = check(ScanConfig())
    assert len(axes) == 5
    assert len(course.members) == 16
    assert course.members[0].config.training == FashionConfig().training
    assert course.members[0].config.model == FashionConfig().model


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
    configs = members_of_candidate(BASE, {"training.learning_rate": 1.0}, (0, 3), (None, 3))
    assert [config.seeds() for config in configs] == [(0, 0, 0), (0, 3, 0), (3, 3, 0), (3, 3, 0)]
    assert all(config.training.learning_rate == 1.0 for config in configs)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_flags_of_a_member_read_back_as_the_member(preset) -> None:
    """Whatever is scanned, the command that the leaderboard prints is that very member's."""
    rng = random.Random(0)
    words = {bool: ["true", "false"], int: ["2", "3"], float: ["0.25", "3e-05"]}
    for trial in range(20):
        axes = []
        for name, kind in fields().items():
            if kind in words:
                values = words[kind]
            elif name in ("model.channels", "model.hidden"):
                values = ["32x8", "64", "none"]
            elif name == "model.entanglement":
                values = ["full", "linear"]
            else:
                from typing import get_args

                values = get_args(kind)
            axes.append(f"{name}={rng.choice(values)}")
        changes = {axis.name: axis.values[0] for axis in read_axes(axes)}
        config = changed(dataclasses.replace(PRESETS[preset], run=f"m-{trial}"), changes)
        flags = flags_of(config)
        assert shlex.split(shlex.join(flags)) == flags
        assert command.parse(FashionConfig, PRESETS, flags) == config
    assert flags_of(FashionConfig()) == []


def told(course: Course, accuracy) -> dict:
    """A row in which each member's accuracy follows from its configuration."""
    values = [accuracy(course.members[number].config) for number in course.training]
    row = {name: [None if v is None else 1 - v for v in values] for name in METRICS}
    row["validation_accuracy"] = values
    return {**row, "members": list(course.training), "of_members": course.epoch + 1}


def gone_through(course: Course, accuracy) -> Course:
    while not course.done:
        course.record(told(course, accuracy))
    return course


def by_rate(config: FashionConfig) -> float | None:
    """The nearer to 0.01 the better; above 1 it diverges."""
    rate = config.training.learning_rate
    return None if rate > 1 else 1 - abs(rate - 0.01) - config.seed * 1e-5


AXES = read_axes(["learning_rate=0.02,0.011,0.5,9,0.1", "seed=0,1"])


def course(halving: bool = False, confirm: int = 2, search=None) -> Course:
    search = search or Listed(grid(AXES))
    return Course(BASE, AXES, search, rungs_of(8, halving), confirm)


def test_the_best_candidate_wins_and_meets_the_default_again() -> None:
    done = gone_through(course(), by_rate)
    assert done.changes[done.winner] == {"training.learning_rate": 0.011}
    assert done.champion == done.best == done.of_candidate(2)[0]
    assert done.searched == 12
    again = done.members[12:]
    assert {member.candidate for member in again} == {0, done.winner}
    assert not {m.config.seed for m in again} & {0, 1}, "seeds that chose nothing"
    assert "The winner beats the default: +0.40 points" in verdict(done)
    board = leaderboard(done, AXES, 0.9)
    assert [row["test_accuracy"] for row in board] == [0.9] + 11 * [None]
    assert [row["outcome"] for row in board].count("diverged") == 2
    assert {row["training.learning_rate"] for row in board[-2:]} == {9.0}


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
            rates = {running.members[k].config.training.learning_rate for k in running.training}
            kept.append(rates)
    assert kept == [{0.011, 0.005, 0.02}, {0.011, 0.005}, {0.011}]
    # A broken twin: a metric that is upside down keeps the worst.
    upside_down = course(halving=True, confirm=0)
    for _ in range(4):
        upside_down.record(told(upside_down, lambda config: -(by_rate(config) or -9)))
    rates = {upside_down.members[k].config.training.learning_rate for k in upside_down.training}
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


def test_optuna_is_asked_in_batches_and_replays() -> None:
    pytest.importorskip("optuna")
    axes = read_axes(["learning_rate=log:1e-4:1e2", "ansatz_reps=1,2", "hidden=64,32x8"])

    def search() -> Course:
        return Course(BASE, axes, Asked(axes, 24, 6, seed=1), [], 0)

    first = gone_through(search(), by_rate)
    assert [len(first.members), first.generation] == [25, 4]
    second = search()
    for row in first.rows:
        assert row["members"] == second.training
        second.record(row)
    assert second.done
    late = [m.config.training.learning_rate for m in first.members[13:]]
    early = [m.config.training.learning_rate for m in first.members[1:7]]
    assert sum(rate < 1 for rate in late) / 12 > sum(rate < 1 for rate in early) / 6 - 0.2
    assert abs(value_of(first.members[first.best].config, axes[0].name) - 0.01) < 0.02


def test_optuna_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        InputError, match=r"optuna is not installed: pip install 'qnn-jax\[search\]"
    ):
        check(ScanConfig(search="optuna"))


def test_the_verdict_follows_from_the_numbers() -> None:
    def verdict_of(accuracy, **options) -> str:
        return verdict(gone_through(course(**options), accuracy))

    assert "does no" not in verdict_of(by_rate)
    lucky = {0.011: 0.9}

    def by_luck(config: FashionConfig) -> float:
        usual = 0.5 + config.seed % 7 / 100
        return lucky.get(config.training.learning_rate, usual) if config.seed < 2 else usual

    assert "does not measurably beat the default: +0.00 points" in verdict_of(by_luck)

    def worse(config: FashionConfig) -> float:
        return by_luck(config) - (config.training.learning_rate == 0.011) * (config.seed > 2) / 9

    assert "does worse than the default: -11.11" in verdict_of(worse)
    assert "No candidate did better" in verdict_of(lambda _: 0.5)
    assert "that is no proof" in verdict_of(by_luck, confirm=0)

    def later(config: FashionConfig) -> float | None:
        return None if config.seed > 2 else by_luck(config)

    assert "trainings of the winner diverged" in verdict_of(later)
    assert train_fashion.check(BASE) == (0, 1)


def test_what_is_left_of_a_scan() -> None:
    axes = (Axis("training.learning_rate", (1e-3, 1e-2)), Axis("training.weight_decay", (0.0, 0.2)))
    course = Course(BASE, axes, Listed(grid(axes)), rungs_of(8, True), 3)
    assert len(course.training) == 5
    # 5 members for 1 epoch, 3 for 1, 2 for 2, 1 for 4; each rung changes who trains.
    assert (course.member_epochs_left(), course.changes_left()) == (5 + 3 + 4 + 4, 3)
    assert course.confirmation_ahead() == 2 * 3 * 8
    scores = {member.number: 0.5 + 0.1 * (member.number == 2) for member in course.members}
    while not course.confirming:
        course.record({name: [scores[n] for n in course.training] for name in METRICS})
    assert confirmation_heading(course).endswith(
        "(member 2) and the default train over 3 fresh seeds."
    )
    assert (course.member_epochs_left(), course.changes_left()) == (2 * 3 * 8, 0)
    assert course.confirmation_ahead() == 0
    while not course.done:
        course.record({name: [0.5] * len(course.training) for name in METRICS})
    assert (course.member_epochs_left(), course.confirmation_ahead()) == (0, 0)
    row = {"of_members": 1, "members": [0], "validation_accuracy": [0.5], "seconds": 1.0}
    assert epoch_line(row, 8, 12.3, 45.6).endswith(
        "1.00 s   about 12 s left, 46 s more if the default is beaten"
    )


def test_a_line_of_metrics_about_other_members_is_refused() -> None:
    from pipelines.scan_run import _check_row, _Row, _TwinRow
    from qnn_jax.runs import from_json

    numbers = {name: [0.5, None] for name in METRICS}
    row = {"epoch": 3, "of_members": 1, "members": [4, 5], "seconds": 0.1, **numbers}
    twins = row | {"classical_twin": numbers}
    for kind, line in ((_Row, row), (_TwinRow, twins)):
        assert from_json(kind, line, "File f", "mend it") == line
        _check_row(ScanConfig(), line, [4, 5])
    with pytest.raises(InputError, match="lacks the field `classical_twin`"):
        from_json(_TwinRow, row, "File f", "mend it")
    for line, training in (
        (row, [4]),
        (row, []),
        (row | {"members": [5, 4]}, [4, 5]),
        (row | {"loss": [0.5]}, [4, 5]),
        (twins | {"classical_twin": numbers | {"accuracy": []}}, [4, 5]),
    ):
        with pytest.raises(InputError, match=r"scan/metrics\.jsonl must have .* at epoch 3, but"):
            _check_row(ScanConfig(), line, training)
