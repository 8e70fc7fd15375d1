"""The resumable loop: each step has one line and one checkpoint after any interruption."""

from pathlib import Path

import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.runs import RunDirectory
from qnn_jax.runs.loop import StoppedError, go_through


def step(number: int, state: np.ndarray) -> tuple[np.ndarray, dict]:
    return state + number, {"loss": float(number)}


def opened(folder: Path) -> RunDirectory:
    return RunDirectory.open(folder, "run", {"a": 1})


def gone(run: RunDirectory | None, stop_after: int = 9):
    told: list[int] = []
    state, rows = go_through(
        run,
        4,
        np.zeros(2),
        step,
        tell=lambda done, row, left: told.append(done),
        stop=lambda: told[-1] == stop_after,
    )
    return state, rows, told


def test_a_stopped_loop_resumes(tmp_path: Path) -> None:
    with opened(tmp_path) as run, pytest.raises(StoppedError, match=r"^Saved 2 of 4$"):
        gone(run, stop_after=2)
    with opened(tmp_path) as run:
        state, rows, told = gone(run)
        assert [row["epoch"] for row in run.read_metrics()] == [1, 2, 3, 4]
    assert told == [3, 4]
    assert state.tolist() == gone(None)[0].tolist() == [6, 6]
    assert [row["loss"] for row in rows] == [0, 1, 2, 3]


@pytest.mark.parametrize("finished", [0, 2])
def test_a_line_whose_checkpoint_is_missing_is_written_anew(tmp_path: Path, finished: int) -> None:
    """The state after a kill between the two, also after the first step."""
    with opened(tmp_path) as run:
        if finished:
            with pytest.raises(StoppedError):
                gone(run, finished)
        run.append_metrics(finished + 1, {"loss": 7.0, "seconds": 1.0})
    with opened(tmp_path) as run:
        gone(run)
        assert [row["epoch"] for row in run.read_metrics()] == [1, 2, 3, 4]
        assert [row["loss"] for row in run.read_metrics()] == [0, 1, 2, 3]


def test_lines_that_are_missing_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        with pytest.raises(StoppedError):
            gone(run, 3)
        run.truncate_metrics(1)
        with pytest.raises(InputError, match=r"a line for each of the 3 epochs .* but has 1"):
            gone(run)
