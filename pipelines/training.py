"""One training run as a command: what `train`, `train_fashion` and `train_calculator` share."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict

import tyro

from pipelines import command
from pipelines.flags import TrackedFlags, flagged, task_flags
from pipelines.tracking import tracker
from qnn_jax.circuits import checks
from qnn_jax.errors import InputError
from qnn_jax.runs import GracefulStop, RunDirectory, check_name
from qnn_jax.runs.schema import from_json, object_with, read_as
from qnn_jax.tasks.stored import NOT_OF_THE_RUN, RESTORE, config_of
from qnn_jax.training.task import Metric


def parse(
    presets: Mapping[str, Any], flags: Any, argv: list[str] | None, what: str | None = None
) -> tuple[Any, Any]:
    """Read a command line into a task and the flags of its run.

    `presets` are tasks by name, including "default"; `--preset` selects the flags' defaults.
    """
    task_type = type(presets["default"])
    arguments = sys.argv[1:] if argv is None else argv
    # tyro reports an unknown preset, with the choices.
    task = presets.get(command.chosen(arguments, "--preset", "default"), presets["default"])
    fields = task_flags(task_type)
    default = fields(**{f.name: getattr(task, f.name) for f in flagged(task_type)})
    own, theirs = (Annotated[kind, tyro.conf.arg(name="")] for kind in (type(flags), fields))
    whole: Any = dataclasses.make_dataclass(
        "Flags",
        [
            ("run", own, dataclasses.field(default=flags)),
            ("task", theirs, dataclasses.field(default=default)),
        ],
        frozen=True,
        namespace={"__doc__": what or task_type.__doc__},
    )
    found = command.read(whole, arguments)
    named = {f.name: getattr(found.task, f.name) for f in flagged(task_type)}
    return task_type(**named).prepared(), found.run


def train(task: Any, flags: TrackedFlags) -> int:
    """Check, train or print the plan, write the page; return the exit status."""
    seeds, folders = flags.seeds, flags.folders
    check_name(flags.run)
    task.check()
    sizes = _sizes_of(flags.mesh)
    command.start_jax()
    mesh = _mesh_of(*sizes) if sizes else None
    from qnn_jax.data import progress_bar
    from qnn_jax.report import write_run
    from qnn_jax.runs.loop import StoppedError
    from qnn_jax.tasks import train as train_task

    config = config_of(task, seeds, flags.run, folders)
    with RunDirectory.open(
        flags.results_dir, flags.run, config, flags.resume, NOT_OF_THE_RUN
    ) as run:
        if run.finished:
            command.tell_finished(run.path)
            conclude(run.path, _finished(run.path / "summary.json", task.metric), task, flags)
            return 0
        with (
            tracker(flags.track, run.path) as track,
            GracefulStop(notify=command.tell_stopping) as stop,
            progress_bar() as progress,
        ):
            try:
                trained = train_task(
                    task,
                    **seeds._asdict(),
                    folders=folders,
                    run=run,
                    tell=command.say,
                    track=track,
                    stop=lambda: stop.requested,
                    report=progress,
                    publish=lambda finished: write_run(run.path, finished),
                    mesh=mesh,
                )
            except StoppedError as saved:
                command.tell_saved(f"{saved} epochs")
                return stop.exit_code
        conclude(run.path, trained.summary, task, flags)
    return 0


def _sizes_of(mesh: str | None) -> tuple[int, int] | None:
    """Devices along data and state."""
    if mesh is None:
        return None
    found = re.fullmatch(r"(?:data=([1-9]\d{0,6}),)?state=([1-9]\d{0,6})", mesh)
    if found is None:
        raise InputError(
            "Argument `--mesh` must be like data=4,state=2 or state=2, but is "
            f"{checks.shown(mesh)}."
        )
    return int(found[1] or 1), int(found[2])


def _mesh_of(data: int, state: int) -> Any:
    """The first devices as a jax.sharding.Mesh."""
    import jax
    from jax.sharding import AxisType

    there = jax.device_count()
    if data * state > there:
        raise InputError(
            f"Argument `--mesh` must have at most {there} devices in all, as many as JAX finds, "
            f"but has {data * state}; XLA_FLAGS=--xla_force_host_platform_device_count="
            f"{data * state} makes so many of a CPU."
        )
    devices = jax.devices()[: data * state]
    types = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((data, state), ("data", "state"), types, devices=devices)


class _Seconds(TypedDict):
    total: float


class _Baselines(TypedDict):
    baselines: dict[str, float]


def _finished(path: Path, metric: Metric) -> Mapping[str, Any]:
    """The content of a finished run's summary.json, with what `conclude` prints."""
    interval = tuple[float, float]
    told = read_as(path, _Baselines, RESTORE)
    assert told is not None
    names = told["baselines"]
    fields = {
        f"test_{metric.name}": float,
        "test_interval": interval,
        "test_count": int,
        "examples": str,
        "baseline_intervals": object_with(dict.fromkeys(names, interval)),
        "baseline_parameters": object_with(dict.fromkeys(names, int)),
        "verdict": str,
        "seconds": _Seconds,
    }
    found: Mapping[str, Any] = from_json(object_with(fields), told, f"File {path}", RESTORE)
    return found


def conclude(path: Path, summary: Mapping[str, Any], task: Any, flags: TrackedFlags) -> None:
    """Print the result and its baselines, and the next command."""
    metric = task.metric
    value, interval = summary[f"test_{metric.name}"], summary["test_interval"]
    print(
        f"\n{metric.heading} {metric.score(value, interval)} on "
        f"{summary['test_count']:,} {summary['examples']} that were not used for any choice (95 % "
        "interval in brackets)"
    )
    for further in task.results(summary):
        print(further.line)
    for name, score in summary["baselines"].items():
        shown = metric.score(score, summary["baseline_intervals"][name])
        size = summary["baseline_parameters"][name]
        parameters = "1 parameter" if size == 1 else f"{size:,} parameters"
        print(f"{name.replace('_', ' ').capitalize():<18} {shown}, {parameters}")
    print(summary["verdict"])
    print(f"{summary['seconds']['total']:.1f} s in all; open {path / 'report.html'}")
    print(f"Next: {command.make('eval-aer', ['--run', path.name, *command.same_folders(flags)])}")
