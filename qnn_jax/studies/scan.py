"""Train many configurations of a task in parallel, and test whether the best beats the default."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qnn_jax.circuits import checks
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.runs import (
    RunDirectory,
    check_name,
    read_json,
    refuse_files_of_others,
    write_json_atomic,
)
from qnn_jax.runs.loop import StoppedError, finished_rows, go_on, latest_state
from qnn_jax.studies.axes import Axes, Axis, read_axes
from qnn_jax.studies.cluster import Cluster
from qnn_jax.studies.course import Course, rungs_of
from qnn_jax.studies.leaderboard import (
    Repeat,
    confirmation,
    leaderboard,
    rows_of,
    verdict,
    write_leaderboard,
)
from qnn_jax.studies.population import Population
from qnn_jax.studies.search import SearchName, planned
from qnn_jax.tasks.fit import Finished, Tell, evaluate, keep, keep_manifest, manifest_of
from qnn_jax.tasks.stored import NOT_OF_THE_RUN, Seeds, config_of
from qnn_jax.tasks.trained import Trained
from qnn_jax.training.task import Folders, Report, Task


@dataclasses.dataclass(frozen=True, eq=False)
class ScanResult:
    """The result of a scan.

    Attributes:
        members: the leaderboard, best first: each with its configuration, scores, epochs and
            outcome ("finished", "dropped" or "diverged").
        task: the winner's.
        best: the best member, trained and tested.
        confirmation: winner and default over fresh seeds; None if they did not train again.
        verdict: whether the winner beats the default, as a sentence.
        summary: the content of summary.json.
        axes: of the scan.
        course: the whole record.
    """

    members: Sequence[Mapping[str, Any]]
    task: Task
    best: Trained
    confirmation: Mapping[str, Any] | None
    verdict: str
    summary: Mapping[str, Any]
    axes: tuple[Axis, ...]
    course: Course


def scan(
    task: Task,
    axes: Axes,
    *,
    search: SearchName | None = None,
    samples: int = 15,
    batch: int = 5,
    halving: bool = False,
    confirm: int = 4,
    seed: int = 0,
    order_seed: int | None = None,
    split_seed: int | None = None,
    folders: Folders = Folders(),  # noqa: B008  a frozen value
    run: RunDirectory | None = None,
    tell: Tell = silent,
    stop: Callable[[], bool] = lambda: False,
    report: Report = silent,
    publish: Callable[[ScanResult], Sequence[Path]] = lambda result: (),
    publish_best: Callable[[Finished], None] = silent,
    repeat: Repeat = lambda task, seeds, name: "",
    cluster: Cluster | None = None,
    at_once: int = 0,
) -> ScanResult:
    """Train candidates in parallel, then the best one and the default again over fresh seeds.

    The task's `numbers` vary within one compiled program; every other field needs a program for
    each of its values. Members are compared by the task's metric on the validation examples. Only
    the best one is evaluated on the test examples, once.

    Args:
        task: the default configuration, which always trains.
        axes: texts such as "learning_rate=1e-3,1e-2", `Axis`, or values by name;
            every candidate trains with every value of "seed" and "order_seed".
        search: by default random if an axis is a range without points, else grid.
        samples: number of candidates of random and optuna.
        batch: number of candidates that optuna proposes at once.
        halving: drop the worse half of the candidates after 1/8, 1/4 and 1/2 of the epochs.
        confirm: number of fresh seeds for the second training of winner and default; 0 for none.
        seed: random seed of the members and of the search.
        order_seed: of the order of the examples.
        split_seed: of the validation split.
        folders: of the data.
        run: a folder for all results, so that a killed scan can resume; the best member becomes
            a run of its own, with "-best" appended to the name. None stores nothing.
        tell: called with lines of progress, for instance `print`.
        stop: called after every epoch; true stops the scan.
        report: called with the progress of the data's preparation.
        publish: draws pictures of the results, before the scan is marked as finished.
        publish_best: the same for the best member's run.
        repeat: returns the command that trains a member alone, for the leaderboard.
        cluster: the devices; by default all devices of JAX.
        at_once: how many members a device trains in parallel; 0 chooses by memory and caches.

    Raises:
        InputError: for an invalid axis or number.
        StoppedError: if `stop` returned true.
        TrainingFailedError: if all members diverged.

    >>> from qnn_jax.configs import LeastSquaresConfig
    >>> from qnn_jax.tasks import Calculator
    >>> training = LeastSquaresConfig(epochs=2, batch_size=32, restarts=2)
    >>> adding = Calculator(training=training, baseline_2022=0)
    >>> found = scan(adding, {"model.weight_bound": (0.5, 2.0)}, confirm=0)
    >>> len(found.members), found.best.task == found.task
    (2, True)
    """
    began = time.monotonic()
    seeds = Seeds(seed, order_seed, split_seed).checked()
    checks.at_least("at_once", at_once, 0)
    task.check()
    read = read_axes(task, axes)
    proposing = planned(task, read, search, samples, batch, halving, confirm, seed)
    epochs = checks.at_least("epochs", task.trainer.epochs, 1)
    cluster = Cluster() if cluster is None else cluster
    tell = tell if cluster.first else silent
    if run is not None or cluster.processes > 1:
        cluster.told_by_first(lambda: None if run is None else check_best_is_free(run.path))
    course = Course(task, seeds, read, proposing, epochs, rungs_of(epochs, halving), confirm)
    running = Population(course, read, folders, report, tell, cluster, at_once)
    rows = cluster.told_by_first(lambda: finished_rows(run, running.row_kind))
    tree = running.begin(rows, "the rows" if run is None else f"File {run.metrics}")
    manifest = {**manifest_of(seed, running.splits), "devices": cluster.mesh.size}
    if run is not None:
        keep_manifest(run, manifest, tell)
    if rows:

        def load() -> None:
            nonlocal tree
            tree = latest_state(run, rows, tree)

        cluster.told_by_first(load)
        running.restore(cluster.arrays_of_first(tree))
        tell(f"Resuming after {len(rows)} epochs.")
    try:
        go_on(
            run,
            rows,
            tree,
            lambda number, tree: running.epoch(),
            done=lambda: course.done,
            tell=running.told,
            stop=lambda: cluster.any(stop()),
        )
    except StoppedError:
        raise StoppedError(f"Saved after {len(rows)} epochs") from None
    return _concluded(
        running, seeds, run, manifest, tell, stop, publish, publish_best, repeat, began
    )


def _concluded(
    running: Population,
    base: Seeds,
    run: RunDirectory | None,
    manifest: Mapping[str, Any],
    tell: Tell,
    stop: Callable[[], bool],
    publish: Callable[[ScanResult], Sequence[Path]],
    publish_best: Callable[[Finished], None],
    repeat: Repeat,
    began: float,
) -> ScanResult:
    """Test the best member; write it, the leaderboard, the pictures and the summary."""
    course, folders = running.course, running.folders
    number = course.champion
    if number is None or course.diverged(number) or not running.champion:
        raise TrainingFailedError(
            "All members that the scan trained to the end diverged: narrow its axes, and scan "
            "lower learning rates under another name."
        )

    def go_on_or_stop() -> None:
        if stop():
            raise StoppedError("All members are trained, but not all results are written")

    go_on_or_stop()
    tell(f"\nTesting the best member, {number}, and drawing the pictures …")
    member = course.members[number]
    rows = rows_of(course, number, running.names)
    splits = member.task.load(folders, base.split, silent)
    spent = [row["seconds"] for row in rows]
    finished = evaluate(
        member.task,
        running.champion,
        splits,
        rows,
        member.seeds,
        folders,
        {"setup": 0.0, "compile": 0.0, "epochs": spent},
        time.monotonic() - sum(spent),
    )
    metric, best = course.task.metric.name, finished.trained
    name = "scan" if run is None else run.path.name
    if run is not None:
        # The first file names the scan, so that the scan may overwrite this run.
        own = f"{name}-best"
        config = {**config_of(member.task, member.seeds, own, folders), "scan": name}
        with RunDirectory.open(run.path.parent, own, config, False, NOT_OF_THE_RUN) as directory:
            for row in rows:
                rest = {key: value for key, value in row.items() if key != "epoch"}
                directory.append_metrics(row["epoch"], rest)
            keep(directory, finished, {**manifest, "seed": member.seeds.seed}, publish_best)
    go_on_or_stop()
    board = leaderboard(course, running.axes, best.summary[f"test_{metric}"], name, folders, repeat)
    summary: dict[str, Any] = {
        "task": "scan",
        "metric": metric,
        "best": {
            **board[0],
            "run": f"{name}-best",
            "test_interval": best.summary["test_interval"],
        },
        "default": next(row for row in board if row["candidate"] == 0),
        "members": len(course.members),
        "candidates": len(course.changes),
        "diverged": sum(course.diverged(member.number) for member in course.members),
        "epochs": course.total,
        "seed": base.seed,
        "confirmation": confirmation(course),
        "verdict": verdict(course, splits.examples),
        "figures": [],
        "seconds": {
            "compile": running.compile_seconds,
            "epochs": [row["seconds"] for row in course.rows],
            "total": time.monotonic() - began,
        },
    }
    result = ScanResult(
        board,
        member.task,
        best,
        summary["confirmation"],
        summary["verdict"],
        summary,
        tuple(running.axes),
        course,
    )
    if run is not None:
        write_leaderboard(run.path, board)
        summary["figures"] = [str(path) for path in publish(result)]
        go_on_or_stop()
        summary["seconds"]["total"] = time.monotonic() - began
        write_json_atomic(run.path / "summary.json", summary)
    return result


def config_of_scan(
    task: Task, axes: Sequence[str], seeds: Seeds, run: str, folders: Folders, **options: Any
) -> dict[str, Any]:
    """The content of a scan's config.json."""
    config = config_of(task, seeds, run, folders)
    return {**config, "task": "scan", "scanned": task.name, "axis": list(axes), **options}


def check_best_is_free(path: Path) -> None:
    """Refuse to overwrite a run that is not this scan's best member."""
    name = f"{path.name}-best"
    check_name(name)
    folder = path.with_name(name)
    best = read_json(folder / "config.json", "move it away")
    refuse_files_of_others(folder)
    if best is not None and best.get("scan") != path.name:
        raise InputError(
            f"Argument `run` must leave {name!r} free for the best member, but is {path.name!r} "
            f"and {folder} is another run; give another name."
        )
