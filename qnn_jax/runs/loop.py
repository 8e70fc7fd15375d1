"""One resumable loop: a computation in steps that can be killed after each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from qnn_jax.errors import InputError
from qnn_jax.runs import checkpoints
from qnn_jax.runs.directory import RunDirectory


class Row(TypedDict):
    """What every line of metrics.jsonl has of a step."""

    epoch: int
    seconds: float


class StoppedError(Exception):
    """A loop was stopped on request, after it had saved: the same call continues."""


def go_through(
    run: RunDirectory | None,
    total: int,
    state: Any,
    step: Callable[[int, Any], tuple[Any, dict[str, Any]]],
    *,
    tell: Callable[[int, dict[str, Any], float], None],
    stop: Callable[[], bool],
    restore: Callable[[Any], Any] = lambda tree: tree,
    kind: type[Any] = Row,
) -> tuple[Any, list[dict[str, Any]]]:
    """Run the remaining steps after the latest checkpoint; write a line and save after each.

    Args:
        run: where lines and checkpoints are written; None stores nothing.
        total: the number of steps.
        state: before the first step, a pytree of arrays.
        step: maps the number of finished steps and the state to the next state and a row
            for metrics.jsonl, to which "seconds" are added.
        tell: called after every step with the number of finished steps, the row, and the seconds
            left.
        stop: called after every step; true stops the loop.
        restore: converts the NumPy arrays of a checkpoint into a state.
        kind: of the rows, for `from_json`.

    Returns:
        The state after the last step and all rows.

    Raises:
        StoppedError: if `stop` returned true before the last step; finished steps are saved.
        InputError: if a file cannot be read or written.
    """
    rows = finished_rows(run, kind)
    state = restore(latest_state(run, rows, state)) if rows else state

    def told(row: dict[str, Any]) -> None:
        recent = sorted(row["seconds"] for row in rows[-5:])
        tell(len(rows), row, (total - len(rows)) * recent[len(recent) // 2])

    try:
        state = go_on(run, rows, state, step, done=lambda: len(rows) >= total, tell=told, stop=stop)
    except StoppedError:
        raise StoppedError(f"Saved {len(rows)} of {total}") from None
    return state, rows


def finished_rows(run: RunDirectory | None, kind: type[Any]) -> list[dict[str, Any]]:
    """The rows of all steps up to the latest checkpoint; empty without a run.

    Raises:
        InputError: if the file cannot be read, or has another form.
    """
    if run is None:
        return []
    finished = max(checkpoints.epochs(run.checkpoints), default=0)
    # If killed between the two, a step has its line but no checkpoint: it is repeated.
    run.truncate_metrics(finished)
    rows = run.read_metrics(kind) if finished else []
    if [row["epoch"] for row in rows] != list(range(1, finished + 1)):
        raise InputError(
            f"File {run.metrics} must have a line for each of the {finished} epochs of the latest "
            f"checkpoint, but has {len(rows)}: restore the file, or start over by `resume=False`."
        )
    return rows


def latest_state(run: RunDirectory | None, rows: Sequence[Any], like: Any) -> Any:
    """The checkpoint after these rows, in the form of `like`, as NumPy arrays."""
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
    """Run steps until all are done; after each append its row, write it, and save.

    `rows` are those of the finished steps, to which new ones are appended; a row may have "seconds"
    of its own. `done` says whether all steps are done, `tell` gets each new row, and `step` and
    `stop` are as in `go_through`.

    Returns:
        The state after the last step.

    Raises:
        StoppedError: if `stop` returned true before the end; finished steps are saved.
        InputError: if a file cannot be written.
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
