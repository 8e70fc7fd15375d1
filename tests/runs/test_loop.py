"""The resumable loop: killed or stopped anywhere, it ends with the same bytes."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import loop_steps

from qnn_jax.errors import InputError
from qnn_jax.runs import RunDirectory, checkpoints
from qnn_jax.runs.loop import StoppedError, go_through

SCRIPT = Path(loop_steps.__file__)


def quiet(*_, **__):
    pass


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> bytes:
    results = tmp_path_factory.mktemp("whole")
    assert loop_steps.main(results, say=quiet) == 0
    return (results / "run/weights.npz").read_bytes()


def test_it_goes_through_all_steps_without_a_folder() -> None:
    told = []
    state, rows = go_through(
        None,
        3,
        {"w": np.zeros(20)},
        loop_steps.step,
        tell=lambda done, row, left: told.append((done, row["loss"], left >= 0)),
        stop=lambda: False,
    )
    wanted = {"w": np.zeros(20)}
    losses = []
    for number in range(3):
        wanted, row = loop_steps.step(number, wanted)
        losses.append(row["loss"])
    assert np.array_equal(state["w"], wanted["w"])
    assert [row["loss"] for row in rows] == losses
    assert told == [(k + 1, losses[k], True) for k in range(3)]
    assert all(row["seconds"] >= 0 for row in rows)


@pytest.mark.slow_but_one
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 75)])
def test_an_interrupted_loop_ends_with_the_same_bytes(
    tmp_path: Path, uninterrupted: bytes, sent: signal.Signals, status: int
) -> None:
    with subprocess.Popen(
        [sys.executable, SCRIPT, tmp_path, "0.5"], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line == "step 3\n":
                break
        process.send_signal(sent)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == status
    folder = tmp_path / "run"
    stopped_at = max(checkpoints.epochs(folder / "checkpoints"))
    assert 3 <= stopped_at < loop_steps.TOTAL
    assert not (folder / "weights.npz").exists()
    if sent == signal.SIGTERM:
        assert f"Saved {stopped_at} of 12" in out
    steps: list[str] = []
    assert loop_steps.main(tmp_path, say=lambda line, flush: steps.append(line)) == 0
    assert steps == [f"step {k}" for k in range(stopped_at + 1, 13)], "finished steps are kept"
    assert (folder / "weights.npz").read_bytes() == uninterrupted
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 13))


def test_the_broken_subject_is_seen(tmp_path: Path, uninterrupted: bytes) -> None:
    """A step that reads more than its number and its state does not resume with the same bytes."""
    with RunDirectory.open(tmp_path, "run", {"total": 12}) as run:
        calls = []

        def forgetful(number, state):
            calls.append(number)
            return loop_steps.step(len(calls), state)

        asked = iter([False, False, True])
        with pytest.raises(StoppedError, match="Saved 3 of 12"):
            go_through(
                run, 12, {"w": np.zeros(20)}, forgetful, tell=quiet, stop=lambda: next(asked)
            )
        calls.clear()
        state, _ = go_through(
            run, 12, {"w": np.zeros(20)}, forgetful, tell=quiet, stop=lambda: False
        )
        assert calls == list(range(3, 12))
    whole, _ = go_through(
        None, 12, {"w": np.zeros(20)}, loop_steps.step, tell=quiet, stop=lambda: False
    )
    assert not np.array_equal(state["w"], whole["w"])


def test_asking_to_stop_in_the_last_step_is_too_late() -> None:
    start = {"w": np.zeros(20)}
    _, rows = go_through(None, 1, start, loop_steps.step, tell=quiet, stop=lambda: True)
    assert len(rows) == 1


def gone(run: RunDirectory, stop_after: int = 9) -> None:
    told: list[int] = []
    go_through(
        run,
        4,
        {"w": np.zeros(20)},
        loop_steps.step,
        tell=lambda done, row, left: told.append(done),
        stop=lambda: told[-1] == stop_after,
    )


@pytest.mark.parametrize("finished", [0, 2])
def test_a_line_whose_checkpoint_is_missing_is_written_anew(tmp_path: Path, finished: int) -> None:
    """The state after a kill between the two, also after the first step."""
    with RunDirectory.open(tmp_path, "run", {}) as run:
        if finished:
            with pytest.raises(StoppedError):
                gone(run, finished)
        run.append_metrics(finished + 1, {"loss": 7.0, "seconds": 1.0})
    with RunDirectory.open(tmp_path, "run", {}) as run:
        gone(run)
        assert [row["epoch"] for row in run.read_metrics()] == [1, 2, 3, 4]
        assert 7.0 not in [row["loss"] for row in run.read_metrics()]


@pytest.mark.parametrize(
    ("seconds", "message"), [("", "lacks the field"), ('"seconds": "2", ', 'has "2" at')]
)
def test_a_line_with_a_wrong_field_is_refused(tmp_path: Path, seconds: str, message: str) -> None:
    with RunDirectory.open(tmp_path, "run", {}) as run, pytest.raises(StoppedError):
        gone(run, 2)
    first, second = run.metrics.read_text().splitlines()
    second = re.sub(r'"seconds": [^,]*, ', seconds, second)
    run.metrics.write_text(f"{first}\n{second}\n")
    with (
        RunDirectory.open(tmp_path, "run", {}) as run,
        pytest.raises(InputError, match=f"^File .*, line 2, {message} .*`seconds`.*: delete that"),
    ):
        gone(run)


def test_lines_that_are_missing_are_refused(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path, "run", {}) as run:
        with pytest.raises(StoppedError):
            gone(run, 3)
        run.truncate_metrics(1)
        with pytest.raises(InputError, match=r"a line for each of the 3 epochs .* but has 1"):
            gone(run)
