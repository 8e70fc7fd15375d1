"""A scan as a library function, of a task outside the library."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from studies.tiny import Clouds

from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.runs import RunDirectory, read_npz
from qnn_jax.runs.loop import StoppedError
from qnn_jax.studies.scan import ScanResult, check_best_is_free, config_of_scan, scan
from qnn_jax.tasks import Seeds, load, train
from qnn_jax.tasks.stored import NOT_OF_THE_RUN
from qnn_jax.training.task import Folders

TASK = Clouds()
AXES = ("learning_rate=0.02,1e30", "reps=1,2", "seed=0,1")


def opened(folder: Path, name: str = "scan") -> RunDirectory:
    config = config_of_scan(TASK, AXES, Seeds(), name, Folders())
    return RunDirectory.open(folder, name, config, True, NOT_OF_THE_RUN)


def scanned(run: RunDirectory | None = None, **options) -> ScanResult:
    return scan(TASK, AXES, halving=True, confirm=2, run=run, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScanResult, Path, list[str]]:
    """Structures, numbers, seeds, a learning rate that diverges, a rung, on disk."""
    folder, lines = tmp_path_factory.mktemp("scans"), []
    with opened(folder) as run:
        found = scanned(run, tell=lines.append, repeat=lambda task, seeds, name: f"train {name}")
    return found, folder / "scan", lines


def test_the_leaderboard_has_every_member_best_first(whole) -> None:
    found, folder, lines = whole
    board = json.loads((folder / "leaderboard.json").read_text())["members"]
    assert len(board) == len(found.members) == 10
    assert [row["rank"] for row in board] == list(range(1, 11))
    assert {row["training.learning_rate"] for row in board[-4:]} == {1e30}
    assert [row["outcome"] for row in board].count("diverged") == 4
    assert [row["test_accuracy"] is None for row in board] == [False] + 9 * [True]
    for row in board:
        assert row["config"]["fields"]["reps"] == row["reps"]
        assert row["config"]["seed"] == row["seed"]
        assert row["command"] == f"train scan-{row['member']}"
    values = [row["validation_accuracy"] for row in board if row["epochs"] == 3]
    assert max(values) == board[0]["validation_accuracy"]
    assert any("programs   2, one for each structure" in line for line in lines)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["verdict"] == found.verdict
    assert summary["best"]["member"] == board[0]["member"]
    assert (summary["task"], summary["candidates"], summary["diverged"]) == ("scan", 5, 4)


def test_the_best_member_is_a_model_and_a_run(whole) -> None:
    found, folder, _ = whole
    stored = load(folder.with_name("scan-best"), Clouds)
    assert stored.task == found.task == found.best.task
    test = stored.splits().test
    right = np.mean(stored.predict(test.inputs) == test.targets)
    assert right == pytest.approx(found.members[0]["test_accuracy"])
    np.testing.assert_array_equal(stored.predict(test.inputs), found.best.predict(test.inputs))
    assert stored.summary["validation_accuracy"] == found.members[0]["validation_accuracy"]


def test_a_member_is_the_training_of_its_configuration(whole) -> None:
    found, _, _ = whole
    row = next(r for r in found.members if r["epochs"] == 3 and r["seed"] == 1)
    member = found.course.members[row["member"]]
    alone = train(member.task, **member.seeds._asdict())
    assert alone.summary["validation_accuracy"] == pytest.approx(
        row["validation_accuracy"], abs=1.5 / 64
    )
    assert member.seeds.split_seed == 0


def test_a_stopped_scan_ends_with_the_same_bits(whole, tmp_path: Path) -> None:
    _, folder, _ = whole
    lines: list[str] = []
    for _ in range(20):  # a stop after every epoch, and within the conclusion
        with opened(tmp_path) as run:
            try:
                scanned(run, tell=lines.append, stop=lambda: True)
            except StoppedError as stopped:
                words = str(stopped)
        if "All members are trained" in words:
            break
        assert words.startswith("Saved after ")
    assert not (tmp_path / "scan/summary.json").exists()
    with opened(tmp_path) as run:
        scanned(run)
    assert sum("Resuming after" in line for line in lines) > 1

    def rows(path: Path) -> list[dict]:
        found = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in row.items() if k != "seconds"} for row in found]

    assert rows(tmp_path / "scan") == rows(folder)
    mine, theirs = (
        read_npz(path / "weights.npz")
        for path in (tmp_path / "scan-best", folder.with_name("scan-best"))
    )
    for name, array in theirs.items():
        np.testing.assert_array_equal(mine[name], array)


def test_lines_about_other_members_are_refused(whole, tmp_path: Path) -> None:
    _, folder, _ = whole
    for damage, words in (
        (lambda row: row["members"].reverse(), "numbers of the members that train at epoch"),
        (lambda row: row["hybrid"]["loss"].pop(), "numbers of the members that train at epoch"),
        (lambda row: row["hybrid"].pop("validation_accuracy"), "that train at epoch"),
        (lambda row: row.pop("hybrid"), "lacks the field `hybrid`"),
    ):
        with opened(tmp_path) as run:
            path = run.path / "metrics.jsonl"
            lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().split("\n")
                     if line]  # fmt: skip
            damage(lines[0])
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            run.checkpoints.mkdir(exist_ok=True)
            (run.checkpoints / f"epoch-{len(lines):06d}.npz").touch()
            with pytest.raises(InputError, match=words):
                scanned(run)


@pytest.mark.parametrize(
    ("task", "axis", "words"),
    [
        (TASK, "kept=32", "must not change validation and test examples"),
        (TASK, "training.epochs=2", "number of epochs, .* one of them trains 2 and the default 3"),
        (TASK, "twin=true", r"which twins train alongside \(none\)"),
        (dataclasses.replace(TASK, kept=0), "scale=0.5", "must have validation examples"),
        (TASK, "reps=0", "reps is invalid: Argument `reps` must be at least 1"),
        (TASK, "batch_size=97", "must be between 1 and 96"),
    ],
)
def test_what_cannot_be_compared_is_refused(task, axis: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        scan(task, [axis])


def test_no_epochs_are_no_scan() -> None:
    none = dataclasses.replace(TASK, training=dataclasses.replace(TASK.training, epochs=0))
    with pytest.raises(InputError, match="`epochs` must be an integer of at least 1"):
        scan(none, ["scale=0.5"])


@pytest.mark.slow
def test_a_scan_in_which_all_diverge_fails() -> None:
    hopeless = dataclasses.replace(
        TASK, training=dataclasses.replace(TASK.training, learning_rate=1e30)
    )
    with pytest.raises(TrainingFailedError, match="trained to the end diverged"):
        scan(hopeless, ["learning_rate=1e31"], confirm=0)


def test_another_runs_folder_is_left_alone(tmp_path: Path) -> None:
    best = tmp_path / "scan-best"
    best.mkdir()
    check_best_is_free(tmp_path / "scan")
    (best / "config.json").write_text('{"scan": "scan"}')
    check_best_is_free(tmp_path / "scan")
    (best / "config.json").write_text('{"scan": "other"}')
    with pytest.raises(InputError, match="scan-best is another run; give another name"):
        check_best_is_free(tmp_path / "scan")
    (best / "config.json").unlink()
    (best / "weights.npz").touch()
    with pytest.raises(InputError, match=r"has a weights\.npz but no config\.json"):
        check_best_is_free(tmp_path / "scan")
