"""Train many configurations in one program, and report whether the best one beats the default.

    make scan
    make scan ARGS="--axis learning_rate=1e-3,3e-3,1e-2 --axis model.ansatz_reps=1,2,3"
    make scan ARGS="--axis learning_rate=log:1e-4:1e-1 --samples 64 --halving --run wide"
    make scan ARGS="--task calculator --axis model.layers=2,3,4 --axis seed=0,1"

A task's numbers (learning rate, weight decay, feature scale, weight bound, seeds …) differ within
one compiled program; each structure (depth, width, entanglement, qubits, batch size …) needs a
program of its own. All other flags are those of the task's training and apply to all members.
"""

from __future__ import annotations

import dataclasses
import sys
from contextlib import ExitStack
from typing import Annotated, Any, Literal

import tyro

from pipelines import command, training
from pipelines.flags import RunFlags, TaskFlag, chosen_task, words_of
from qnn_jax.circuits.checks import at_least, one_of
from qnn_jax.runs import GracefulStop, RunDirectory, check_name, read_as
from qnn_jax.studies.axes import changed, read_axes, value_of
from qnn_jax.studies.leaderboard import conclusion, summary_kind
from qnn_jax.studies.meeting import check_meeting
from qnn_jax.studies.search import planned
from qnn_jax.tasks import TASKS, Seeds
from qnn_jax.tasks.stored import NOT_OF_THE_RUN, RESTORE
from qnn_jax.training.task import Task

#: The default axes, of those numbers of the task whose default is within the range.
USUAL_AXES = (
    "training.learning_rate=log:1e-3:3e-2",
    "training.weight_decay=log:1e-2:1",
    "training.label_smoothing=lin:0:0.1",
    "model.feature_scale=log:0.3:3",
    "model.weight_bound=log:0.1:3",
)


@dataclasses.dataclass(frozen=True)
class ScanFlags(RunFlags, TaskFlag):
    """Flags of this command in addition to the task's own fields."""

    run: str = "scan"
    """Name of the scan; its files go to RESULTS_DIR/RUN, its best member's to RESULTS_DIR/RUN-best,
    an ordinary run."""
    preset: str = "default"
    """The defaults of all other values; names are those of the task's training."""
    axis: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUES")
    ] = ()
    """One axis for each use: name=a,b,c or name=log:low:high or name=lin:low:high, with
    :points for a grid. Names are those of the training's flags; every candidate trains with all
    values of seed and order_seed. Default: the task's numbers."""
    search: Literal["grid", "random", "optuna"] | None = None
    """Default: random if an axis is a range without points, else grid."""
    samples: int = 15
    """Number of candidates of random and optuna, in addition to the default configuration."""
    batch: int = 5
    """Number of candidates that optuna proposes at once."""
    halving: bool = False
    """Drop the worse half of the candidates after 1/8, 1/4 and 1/2 of the epochs."""
    confirm: int = 4
    """Number of fresh seeds with which the winner and the default train again at the end; 0 for
    none."""
    devices: int = 0
    """Number of CPU devices over which the members are distributed; 0 uses one for each core."""
    at_once: int = 0
    """How many members a device trains in parallel; 0 chooses by memory and caches."""
    coordinator: str | None = None
    """HOST:PORT of process 0 of several, the same for all; "auto" reads everything from the
    environment of Slurm or Open MPI."""
    num_processes: int = 1
    """How many processes share the scan, started with the same flags."""
    process_id: int = 0
    """Index of this process, from 0."""


def parse(argv: list[str] | None) -> tuple[Task, ScanFlags]:
    """The default configuration and the flags of the scan."""
    arguments = sys.argv[1:] if argv is None else argv
    presets = presets_of(chosen_task(arguments))
    one_of("--preset", command.chosen(arguments, "--preset", "default"), tuple(presets))
    return training.parse(presets, ScanFlags(), argv, __doc__)


def presets_of(name: str) -> dict[str, Any]:
    """The presets of a task's training, without the twin, which --twin trains in addition."""
    return {
        preset: changed(task, {"twin": False} if hasattr(task, "twin") else {})
        for preset, task in TASKS[name].presets().items()
    }


def axes_of(task: Task, flags: ScanFlags) -> tuple[str, ...]:
    """The axes as text: the requested ones, or the default ones."""
    if flags.axis:
        return flags.axis
    usual = [text for text in USUAL_AXES if text.partition("=")[0] in task.numbers]
    ranges = read_axes(task, usual)
    return tuple(
        text
        for text, axis in zip(usual, ranges, strict=True)
        if axis.low <= value_of(task, Seeds(), axis.name) <= axis.high
    )


def check(task: Task, flags: ScanFlags) -> None:
    """Check before JAX loads what can be checked then."""
    _ = flags.seeds  # checks them
    check_name(flags.run)
    at_least("at_once", flags.at_once, 0)
    check_meeting(flags.devices, flags.coordinator, flags.num_processes, flags.process_id)
    task.check()
    axes = read_axes(task, axes_of(task, flags))
    planned(task, axes, **_searching(flags), seed=flags.seed)


def _searching(flags: ScanFlags) -> dict[str, Any]:
    """The flags of the search for candidates."""
    names = ("search", "samples", "batch", "halving", "confirm")
    return {name: getattr(flags, name) for name in names}


def repeat(task: Task, seeds: Seeds, name: str, flags: ScanFlags) -> str:
    """The command that trains a member alone, under that name."""
    words = [] if flags.preset == "default" else ["--preset", flags.preset]
    words += ["--run", name, *command.same_folders(flags)]
    for field, value, usual in zip(Seeds._fields, seeds, Seeds(), strict=True):
        if value != usual:
            words += [f"--{field.replace('_', '-')}", str(value)]
    words += words_of(task, TASKS[task.name].presets()[flags.preset])
    return command.train(task.name, words)


def main(argv: list[str] | None = None) -> int:
    """Parse, check, scan, report; the exit status."""
    task, flags = parse(argv)
    check(task, flags)
    command.start_jax(find_devices=False)  # their number is set first
    from qnn_jax.studies.cluster import join

    meeting = (flags.devices, flags.coordinator, flags.num_processes, flags.process_id)
    with join(*meeting, start=command.start_jax) as cluster:
        return _scan(task, flags, cluster)


def _scan(task: Task, flags: ScanFlags, cluster: Any) -> int:
    from qnn_jax.data import progress_bar
    from qnn_jax.report import write_run
    from qnn_jax.report.scan import draw_scan
    from qnn_jax.runs.loop import StoppedError
    from qnn_jax.studies.scan import check_best_is_free, config_of_scan, scan

    seeds, folders, path = flags.seeds, flags.folders, flags.results_dir / flags.run
    axes, searching, run = axes_of(task, flags), _searching(flags), None
    with ExitStack() as stack:

        def open_run() -> bool:
            nonlocal run
            check_best_is_free(path)  # before anything is removed
            config = config_of_scan(task, axes, seeds, flags.run, folders, **searching)
            run = stack.enter_context(
                RunDirectory.open(
                    flags.results_dir, flags.run, config, flags.resume, NOT_OF_THE_RUN
                )
            )
            return run.finished

        if cluster.told_by_first(open_run):
            if cluster.first:
                summary = read_as(path / "summary.json", summary_kind(task.metric), RESTORE)
                print(f"The scan {path} is finished; --no-resume runs it again.")
                print(conclusion(task.metric, summary or {}))
            return 0
        with GracefulStop(notify=command.tell_stopping) as stop, progress_bar() as progress:
            try:
                found = scan(
                    task,
                    axes,
                    **searching,
                    **seeds._asdict(),
                    folders=folders,
                    run=run,
                    tell=command.say,
                    stop=lambda: stop.requested,
                    report=progress,
                    publish=lambda result: draw_scan(path, result),
                    publish_best=lambda best: write_run(path.with_name(f"{path.name}-best"), best),
                    repeat=lambda task, seeds, name: repeat(task, seeds, name, flags),
                    cluster=cluster,
                    at_once=flags.at_once,
                )
            except StoppedError as stopped:
                if cluster.first:
                    command.tell_saved(stopped)
                return stop.exit_code or 75
    if cluster.first:
        best = f"{flags.run}-best"
        print(conclusion(task.metric, found.summary))
        print(
            f"Open {path / 'figures'} and {flags.results_dir / best / 'report.html'}; all members: "
            f"{path / 'leaderboard.csv'}"
        )
        print(f"The best member alone: {found.members[0]['command']}")
        print(f"Next: {command.make('eval-aer', ['--run', best, *command.same_folders(flags)])}")
    return 0


if __name__ == "__main__":
    command.run(main)
