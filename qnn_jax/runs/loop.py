"""One resumable loop: whatever is done in steps survives kill -9 after each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from qnn_jax.errors import InputError
from qnn_jax.runs import checkpoints
from qnn_jax.runs.directory import RunDirectory


class StoppedError(Exception):
    """A loop was asked to stop, and did after it had saved: the same call goes on from there."""


def go_through(
    run: RunDirectory | None,
    total: int,
    state: Any,
    step: Callable[[int, Any], tuple[Any, dict[str, Any]]],
    *,
    tell: Callable[[int, dict[str, Any], float], None],
    stop: Callable[[], bool],
    restore: Callable[[Any], Any] = lambda tree: tree,
) -> tuple[Any, list[dict[str, Any]]]:
    """Go from step to step, from the latest checkpoint on; after each write a line and save.

    Args:
        run: where lines and checkpoints are written; None keeps nothing.
        total: how many steps there are.
        state: before the first step, a pytree of arrays.
        step: of the number of finished steps and the state: the state after one more, and a row
            for metrics.jsonl, to which "seconds" are added.
        tell: hears of every step: how many are finished, its row, the seconds that are left.
        stop: asked after every step.
        restore: makes a state of what a checkpoint holds, arrays of NumPy.

    Returns:
        The state after the last step and the rows of all.

    Raises:
        StoppedError: where `stop` said so before the last step; what is finished is saved.
        InputError: where a file cannot be read or written.
    """
    rows = finished_rows(run)
    state = restore(latest_state(run, rows, state)) if rows else state

    def told(row: dict[str, Any]) -> None:
        recent = sorted(row["seconds"] for row in rows[-5:])
        tell(len(rows), row, (total - len(rows)) * recent[len(recent) // 2])

    try:
        state = go_on(run, rows, state, step, done=lambda: len(rows) >= total, tell=told, stop=stop)
    except StoppedError:
        raise StoppedError(f"Saved {len(rows)} of {total}") from None
    return state, rows


def finished_rows(
    run: RunDirectory | None, kind: type[Any] = dict[str, Any]
) -> list[dict[str, Any]]:
    """The rows of all steps that the latest checkpoint comes after; none without a run.

    Args:
        run: where they were written.
        kind: of a row, as `from_json` takes it.

    Raises:
        InputError: where the file cannot be read, or is of another form.
    """
    if run is None:
        return []
    finished = max(checkpoints.epochs(run.checkpoints), default=0)
    # Killed between the two, a step has left its line but no checkpoint: it is done again.
    run.truncate_metrics(finished)
    rows = run.read_metrics(kind) if finished else []
    if [row["epoch"] for row in rows] != list(range(1, finished + 1)):
        raise InputError(
            f"File {run.metrics} must have a line for each of the {finished} epochs of the latest "
            f"checkpoint, but has {len(rows)}: restore the file, or give --no-resume to start over."
        )
    return rows


def latest_state(run: RunDirectory | None, rows: Sequence[Any], like: Any) -> Any:
    """What the checkpoint after these rows holds, in the form of `like`, as arrays of NumPy."""
    if run is None:
        return like
    path = checkpoints.epochs(run.checkpoints)[len(rows)]
    return checkpoints.load(path, like, fingerprint=run.fingerprint).tree


def go_on(
    run: RunDirectory | None,
    rows: list[dict[str, Any]],
    state: Any,
    step: Callable[[int, Any], tuple[Any, dict[str, Any]]],
    *,
    done: Callable[[], bool],
    tell: Callable[[dict[str, Any]], None],
    stop: Callable[[], bool],
) -> Any:
    """Go from step to step until all is done; after each append its row, write it, and save.

    Args:
        run: where rows and checkpoints are written; None keeps nothing.
        rows: of the finished steps; grows.
        state: after them.
        step: as of `go_through`; a row may have "seconds" of its own.
        done: asked before every step and after the last one.
        tell: hears the row of every step.
        stop: asked after every step.

    Returns:
        The state after the last step.

    Raises:
        StoppedError: where `stop` said so before all was done; what is finished is saved.
        InputError: where a file cannot be written.
    """
    while not done():
        number, began = len(rows), time.monotonic()
        state, row = step(number, state)
        rows.append({"epoch": number + 1, "seconds": time.monotonic() - began, **row})
        if run is not None:
            run.append_metrics(number + 1, {k: v for k, v in rows[-1].items() if k != "epoch"})
            checkpoints.save(run.checkpoints, number + 1, state, fingerprint=run.fingerprint)
        tell(rows[-1])
        if stop() and not done():
            raise StoppedError(f"Saved {number + 1}")
    return state
