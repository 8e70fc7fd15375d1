"""One scan from data to leaderboard: what `make scan` does once its flags are read."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import jax
import numpy as np

from pipelines import command
from pipelines.scan_axes import NUMBERS, Axis, changed, value_of
from pipelines.scan_devices import Cluster, only_first_speaks
from pipelines.scan_memory import at_once, member_bytes
from pipelines.scan_search import METRICS, Course
from pipelines.scan_table import (
    Told,
    conclusion,
    confirmation,
    confirmation_heading,
    epoch_line,
    introduction,
    leaderboard,
    rows_of,
    verdict,
    write_leaderboard,
)
from pipelines.trained import RESTORE
from pipelines.training_run import (
    HYBRID,
    TWIN,
    Splits,
    finish,
    manifest_of,
    members_of,
    split,
    tell_stopping,
    warn_of_other_versions,
)
from qnn_jax.data import ImageDataset, load_fashion_mnist, progress_bar
from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.runs import (
    GracefulStop,
    RunDirectory,
    checkpoints,
    read_as,
    read_json,
    refuse_files_of_others,
    write_json_atomic,
)
from qnn_jax.runs.files import normalised
from qnn_jax.training import (
    EpochMetrics,
    Knobs,
    State,
    Task,
    check_training,
    fit_population_epoch,
    init_population,
    init_state,
)

if TYPE_CHECKING:
    from pipelines.scan import ScanConfig
    from pipelines.train_fashion import FashionConfig


class _Numbers(TypedDict):
    loss: list[float | None]
    accuracy: list[float | None]
    validation_loss: list[float | None]
    validation_accuracy: list[float | None]
    gradient_norm: list[float | None]


class _Row(_Numbers):
    """A line of metrics: an epoch of the members that train."""

    epoch: int
    of_members: int
    members: list[int]
    seconds: float


class _TwinRow(_Row):
    """A line of metrics where twins train alongside."""

    classical_twin: _Numbers


class Program(NamedTuple):
    """A compiled epoch, and the seconds that compiling took."""

    epoch: Any
    seconds: float


@dataclass(frozen=True)
class Group:
    """Members of one structure, which train in one program.

    Attributes:
        task: what they share.
        numbers: theirs, in the order of the member axis; the last one fills the axis up.
        keys: of the initial parameters, one a member.
        order_keys: of all draws while training, one a member or one for all.
        knobs: the numbers in which they differ.
        at_once: how many of them a device steps side by side.
    """

    task: Task
    numbers: tuple[int, ...]
    keys: jax.Array
    order_keys: jax.Array
    knobs: Knobs
    at_once: int


def scan(
    config: ScanConfig,
    base: FashionConfig,
    classes: tuple[int, ...],
    axes: Sequence[Axis],
    course: Course,
    config_json: Mapping[str, Any],
    cluster: Cluster,
) -> int:
    """Train all members, confirm the winner, write the scan's directory; the exit status."""
    with only_first_speaks(cluster), ExitStack() as stack:
        return Scan(config, base, classes, axes, course, cluster).run(config_json, stack)


class Scan:
    """A scan that runs: its data, its course, and the states of the members that train."""

    def __init__(
        self,
        config: ScanConfig,
        base: FashionConfig,
        classes: tuple[int, ...],
        axes: Sequence[Axis],
        course: Course,
        cluster: Cluster,
    ) -> None:
        self.config, self.base, self.axes = config, base, axes
        self.course, self.cluster, self.classes = course, cluster, classes
        with progress_bar() as progress:
            whole = load_fashion_mnist(config.data_dir, config.manual_dir, progress)
        self.dataset: ImageDataset = whole.select(classes)
        self.splits: Splits = split(
            self.dataset, base.seeds()[2], config.validation_images, config.train_images
        )
        self.train, self.validation = cluster.repeat((self.splits.train, self.splits.validation))
        self.image = cluster.repeat(self.splits.train.images[:1])
        self.numbers = [axis.name for axis in axes if axis.name in NUMBERS]
        self.programs: dict[Any, Program] = {}
        self.groups: list[Group] = []
        self.states: list[State] = []
        self.champion: dict[str, Any] = {}
        self.compile_seconds = 0.0

    def run(self, config_json: Mapping[str, Any], stack: ExitStack) -> int:
        """Go through the course; the exit status."""
        from pipelines.scan import NOT_OF_THE_SCAN

        course, cluster, run = self.course, self.cluster, None
        check_training(self.base.training, self.splits.train.labels.size)

        def open_run() -> Any:
            nonlocal run
            spare_other_runs(self.config)
            run = stack.enter_context(
                RunDirectory.open(
                    self.config.results_dir,
                    self.config.run,
                    config_json,
                    self.config.resume,
                    NOT_OF_THE_SCAN,
                )
            )
            latest = checkpoints.latest(run.checkpoints)
            kind = _TwinRow if self.config.twin else _Row
            rows = run.read_metrics(kind) if latest else []
            steps = max(checkpoints.epochs(run.checkpoints), default=0)
            # Killed before its first checkpoint, a scan has lines that are going to be repeated.
            run.truncate_metrics(steps)
            return run.finished, [row for row in rows if row["epoch"] <= steps]

        finished, rows = cluster.told_by_first(open_run)
        if finished:
            return self._tell_finished(run)
        for row in rows:
            _check_row(self.config, row, course.training)
            course.record(row)
        self._begin_groups()
        self._introduce()
        if rows:
            self._restore(run, len(rows))
        self.manifest = manifest_of(self.config.seed, self.dataset)
        self.manifest["devices"] = cluster.mesh.size
        if run is not None:
            if rows:
                warn_of_other_versions(run.path, self.manifest)
            write_json_atomic(run.path / "manifest.json", self.manifest)
        with GracefulStop(notify=tell_stopping) as stop:
            while not course.done:
                self._epoch(run)
                if cluster.any(stop.requested) and not course.done:
                    print(
                        f"Saved after {len(course.rows)} epochs; the same command goes on from "
                        f"there:\n  {command.again()}"
                    )
                    return stop.exit_code or 75
            if course.champion is None or course.diverged(course.champion):
                raise TrainingFailedError(
                    "All members of the scan diverged; scan lower learning rates under another "
                    "--run name."
                )
            if run is not None and not self._conclude(run, stop):
                print(
                    "All members are trained; the same command writes what is still missing:\n"
                    f"  {command.again()}"
                )
                return stop.exit_code
        return 0

    # Groups: who trains in which program.

    def _begin_groups(self) -> None:
        """Group the members in training by structure; their states begin anew."""
        by_structure: dict[FashionConfig, list[int]] = {}
        for number in self.course.training:
            structure = self._structure(self.course.members[number].config)
            by_structure.setdefault(structure, []).append(number)
        self.groups = [self._group(*item) for item in by_structure.items()]
        self.states = []

    def _structure(self, config: FashionConfig) -> FashionConfig:
        """What members of one program have in common: all but seeds and scanned numbers."""
        numbers = {name: value_of(self.base, name) for name in self.numbers}
        return dataclasses.replace(
            changed(config, numbers), seed=0, order_seed=None, split_seed=None
        )

    def _group(self, structure: FashionConfig, numbers: list[int]) -> Group:
        devices = self.cluster.mesh.size
        filled = [*numbers, *numbers[-1:] * (-len(numbers) % devices)]
        configs = [self.course.members[number].config for number in filled]
        seeds = np.array([config.seeds()[:2] for config in configs], np.uint32)
        orders = seeds[:1, 1][0] if len(set(seeds[:, 1])) == 1 else seeds[:, 1]
        task = Task.of(
            members_of(structure, len(self.classes)),
            structure.training,
            self.splits.train.labels.size,
        )
        knobs = {
            name.partition(".")[2]: np.array(
                [value_of(config, name) for config in configs], np.float32
            )
            for name in self.numbers
        }
        needed = member_bytes(task, self.splits.train.images)
        return Group(
            task,
            tuple(numbers),
            self.cluster.keys(seeds[:, 0]),
            self.cluster.keys(np.asarray(orders)),
            Knobs(**self.cluster.spread(knobs)),
            at_once(needed, len(filled) // devices, self.config.at_once),
        )

    def _fresh(self, group: Group) -> State:
        return init_population(group.task, group.keys, group.knobs, self.image, self.cluster.mesh)

    def _program(self, group: Group, state: State) -> Any:
        """The group's epoch, compiled once for each shape."""
        shape = (group.task, group.keys.shape, group.order_keys.shape, group.at_once)
        if shape not in self.programs:
            known = self._compile_seconds()
            took = f", about {known:.0f} s as before" if known else ""
            print(f"Compiling for {len(group.numbers)} members{took} …", flush=True)
            began = time.monotonic()
            compiled = fit_population_epoch.lower(
                group.task,
                state,
                group.order_keys,
                group.knobs,
                self.cluster.repeat(np.int32(0)),
                self.train,
                self.validation,
                mesh=self.cluster.mesh,
                at_once=group.at_once,
            ).compile()
            self.programs[shape] = Program(compiled, time.monotonic() - began)
            self.compile_seconds += self.programs[shape].seconds
        return self.programs[shape].epoch

    def _compile_seconds(self) -> float:
        """What a program took to compile in the mean; 0 before the first."""
        return self.compile_seconds / max(len(self.programs), 1)

    # An epoch of all groups, and what is kept of it.

    def _epoch(self, run: RunDirectory | None) -> None:
        course = self.course
        if not self.states:
            print(f"Drawing the initial weights of {len(course.training)} members …", flush=True)
            self.states = [self._fresh(group) for group in self.groups]
        programs = [
            self._program(group, state)
            for group, state in zip(self.groups, self.states, strict=True)
        ]
        began = time.monotonic()
        epoch = self.cluster.repeat(np.int32(course.epoch))
        done = [
            program(state, group.order_keys, group.knobs, epoch, self.train, self.validation)
            for program, group, state in zip(programs, self.groups, self.states, strict=True)
        ]
        # Here the processes meet: where one has ended, the exchange fails.
        metrics = self.cluster.gather([metrics for _, metrics in done])
        seconds = time.monotonic() - began
        whole = self.cluster.gather([state for state, _ in done])
        kept = [_first(state, len(g.numbers)) for state, g in zip(whole, self.groups, strict=True)]
        self.states = [state for state, _ in done]
        row = normalised(self._row(metrics, seconds))
        training, generation = course.training, course.generation
        was_confirming = course.confirming
        course.record(row)
        ended = course.generation != generation
        if course.training != training:
            kept = self._regroup(kept, ended)
        if run is not None:
            run.append_metrics(row.pop("epoch"), row)
            checkpoints.save(
                run.checkpoints,
                len(course.rows),
                _tree(kept, self.champion),
                fingerprint=run.fingerprint,
            )
        self._tell(row)
        if course.confirming and not was_confirming:
            print(confirmation_heading(course), flush=True)

    def _row(self, metrics: Sequence[Any], seconds: float) -> dict[str, Any]:
        """What is written of an epoch: a list by metric, nan for a member that diverged."""
        by_member: dict[int, dict[str, dict[str, float]]] = {}
        for group, told in zip(self.groups, metrics, strict=True):
            for place, number in enumerate(group.numbers):
                by_member[number] = {
                    name: _numbers_of(told, name, place) for name, _ in group.task.members
                }
        members = self.course.training
        row: dict[str, Any] = {
            "epoch": len(self.course.rows) + 1,
            "generation": self.course.generation,
            "of_members": self.course.epoch + 1,
            "members": members,
        }
        for name in METRICS:
            row[name] = [by_member[number][HYBRID][name] for number in members]
        for twin in [name for name, _ in self.groups[0].task.members if name != HYBRID]:
            row[twin] = {
                name: [by_member[number][twin][name] for number in members] for name in METRICS
            }
        return {**row, "seconds": seconds}

    def _regroup(self, states: Sequence[State], ended: bool) -> list[State]:
        """After a rung or a generation: keep the champion's parameters, and who goes on."""
        places = {
            number: (k, place)
            for k, group in enumerate(self.groups)
            for place, number in enumerate(group.numbers)
        }
        champion = self.course.champion
        if ended and champion in places:
            k, place = places[champion]
            self.champion = jax.tree.map(lambda leaf: np.array(leaf[place]), states[k].params)
        self._begin_groups()
        kept = []
        for group in [] if ended else self.groups:
            rows = [places[number][1] for number in group.numbers]
            kept.append(_rows(states[places[group.numbers[0]][0]], rows))
        self.states = [self._filled(state) for state in kept]
        return kept

    def _filled(self, state: State) -> State:
        """Members' states on the devices, the last one repeated until all have as many."""
        devices = self.cluster.mesh.size

        def fill(leaf: np.ndarray) -> np.ndarray:
            return np.concatenate([leaf, np.repeat(leaf[-1:], -len(leaf) % devices, axis=0)])

        filled: State = self.cluster.spread(jax.tree.map(fill, state))
        return filled

    def _restore(self, run: RunDirectory | None, steps: int) -> None:
        """The states after so many recorded epochs."""
        training: list[Any] = []
        for group in self.groups if self.course.epoch else []:
            shapes = jax.eval_shape(partial(self._fresh, group))
            training.append(_first(_zeros(shapes), len(group.numbers)))
        champion: Any = {}
        if self.course.champion is not None:
            structure = self._structure(self.course.members[self.course.champion].config)
            task = self._group(structure, [self.course.champion]).task
            key = jax.random.key(0)
            champion = _zeros(jax.eval_shape(lambda: init_state(task, key, self.image)).params)
        tree = _tree(training, champion)

        def load() -> None:
            nonlocal tree
            assert run is not None
            path = checkpoints.epochs(run.checkpoints)[steps]
            tree = checkpoints.load(path, tree, fingerprint=run.fingerprint).tree
            run.truncate_metrics(steps)

        self.cluster.told_by_first(load)
        tree = self.cluster.arrays_of_first(tree)
        self.champion = tree["champion"]
        self.states = [self._filled(tree["training"][str(k)]) for k in range(len(training))]
        print(f"Resuming after {steps} epochs.", flush=True)

    # What is told.

    def _introduce(self) -> None:
        course, cluster = self.course, self.cluster
        lines = introduction(self.config.run, self.dataset, self.splits, self.axes, course)
        group = max(self.groups, key=lambda group: len(group.numbers)) if self.groups else None
        if group is not None:
            needed = member_bytes(group.task, self.splits.train.images)
            lines.append(
                (
                    "programs",
                    f"{len(self.groups)}, one for each structure; {cluster.mesh.size} devices in "
                    f"{cluster.processes} processes step {group.at_once} members each at once "
                    f"({needed / 2**20:.0f} MiB a member, by formula)",
                )
            )
        lines.append(("results", f"{self.config.results_dir / self.config.run}"))
        print("\n".join(f"{name:<11}{text}" for name, text in lines), flush=True)
        print(flush=True)

    def _tell(self, row: Mapping[str, Any]) -> None:
        course = self.course
        spent = [(r["seconds"], len(r["members"])) for r in course.rows[-5:]]
        pace = sum(seconds for seconds, _ in spent) / sum(members for _, members in spent)
        # At the end the best member is tested, which takes about as long as one compilation.
        compiling = len(self.groups) * (course.changes_left() if course.training else 0)
        if course.confirming and not course.epoch:
            compiling += len(self.groups)
        left = pace * course.member_epochs_left() + self._compile_seconds() * (compiling + 1)
        more = pace * course.confirmation_ahead()
        more += self._compile_seconds() if more else 0.0
        print(epoch_line(row, self.base.training.epochs, left, more), flush=True)

    def _tell_finished(self, run: RunDirectory | None) -> int:
        if run is not None:
            summary = read_as(run.path / "summary.json", Told, RESTORE)
            assert summary is not None
            print(f"The scan {run.path} is finished; --no-resume scans anew.")
            print(conclusion(summary))
        return 0

    def _conclude(self, run: RunDirectory, stop: GracefulStop) -> bool:
        """The best member as a run of its own, the leaderboard, the figures, the summary.

        Returns:
            Whether all is written; not if a stop is requested before.
        """
        from pipelines import scan_figures
        from pipelines.train_fashion import NOT_OF_THE_RUN, as_json

        course = self.course
        assert course.champion is not None
        number = course.champion
        if not self.champion:
            raise TrainingFailedError(
                f"Every member that was trained to the end diverged; look at {self.config.run} in "
                f"{self.config.results_dir}, narrow the axes and scan under another --run name."
            )
        best = dataclasses.replace(
            course.members[number].config,
            run=f"{self.config.run}-best",
            results_dir=self.config.results_dir,
        )
        models = members_of(best, len(self.classes))
        if stop.requested:
            return False
        print(f"\nTesting the best member, {number}, and drawing the pictures …", flush=True)
        # The first file says whose run it is, so that this scan may write it again.
        config_json = {**as_json(best), "scan": self.config.run}
        with RunDirectory.open(
            best.results_dir, best.run, config_json, False, NOT_OF_THE_RUN
        ) as directory:
            rows = rows_of(course, number, list(models))
            for epoch, row in enumerate(rows, start=1):
                directory.append_metrics(epoch, row)
            manifest = {**self.manifest, "seed": best.seed}
            seconds = {"setup": 0.0, "compile": 0.0, "epochs": [row["seconds"] for row in rows]}
            tested = finish(
                directory,
                best,
                self.dataset,
                self.splits,
                models,
                self.champion,
                manifest,
                seconds,
                0.0,
            )
        if stop.requested:
            return False
        board = leaderboard(course, self.axes, tested["test_accuracy"])
        write_leaderboard(run.path, board)
        drawn = scan_figures.draw_all(run, course, self.axes)
        if stop.requested:
            return False
        summary = {
            "task": "scan",
            "best": {**board[0], "run": best.run, "test_interval": tested["test_interval"]},
            "default": next(row for row in board if row["candidate"] == 0),
            "members": len(course.members),
            "candidates": len(course.changes),
            "diverged": sum(course.diverged(member.number) for member in course.members),
            "epochs": self.base.training.epochs,
            "seed": self.config.seed,
            "confirmation": confirmation(course),
            "verdict": verdict(course),
            "figures": [str(path) for path in drawn],
            "seconds": {
                "compile": self.compile_seconds,
                "epochs": [row["seconds"] for row in course.rows],
                "total": command.seconds(),
            },
        }
        write_json_atomic(run.path / "summary.json", summary)
        print(conclusion(summary))
        print(
            f"Open {run.path}/figures and {best.results_dir / best.run}/report.html; all members: "
            f"{run.path}/leaderboard.csv"
        )
        print(f"The best member alone: {board[0]['command']}")
        after = command.make("eval-aer", ["--run", best.run, *command.same_folders(self.config)])
        print(f"Next: {after}")
        return True


def _tree(states: Sequence[State], champion: Any) -> dict[str, Any]:
    """What a checkpoint holds."""
    return {"training": {str(k): state for k, state in enumerate(states)}, "champion": champion}


def _first(state: State, count: int) -> State:
    cut: State = jax.tree.map(lambda leaf: leaf[:count], state)
    return cut


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def _rows(state: State, rows: Sequence[int]) -> State:
    chosen: State = jax.tree.map(lambda leaf: leaf[list(rows)], state)
    return chosen


def _numbers_of(told: EpochMetrics, name: str, place: int) -> dict[str, float]:
    """A member's metrics of an epoch; all nan once one of its numbers is none."""
    losses = told.losses[name][place]
    found = {
        "loss": losses.mean(),
        "accuracy": told.accuracy[name][place],
        "validation_loss": told.validation_loss[name][place],
        "validation_accuracy": told.validation_accuracy[name][place],
        "gradient_norm": told.gradient_norm[name][place],
    }
    sound = told.finite[name][place] and all(np.isfinite(value) for value in found.values())
    return {metric: float(value) if sound else np.nan for metric, value in found.items()}


def _check_row(config: ScanConfig, row: Mapping[str, Any], training: Sequence[int]) -> None:
    """Refuse a line of metrics that is about other members than those which train then."""
    lists = [row["members"], *(part[m] for part in (row, row.get(TWIN, row)) for m in METRICS)]
    if row["members"] != training or any(len(one) != len(training) for one in lists):
        raise InputError(
            f"File {config.results_dir / config.run / 'metrics.jsonl'} must have the numbers of "
            f"the members that train at epoch {row['epoch']}, but has others: restore the file, or "
            "give --no-resume to start over."
        )


def spare_other_runs(config: ScanConfig) -> None:
    """Refuse to write the best member over what is none of this scan's."""
    name = f"{config.run}-best"
    path = config.results_dir / name
    best = read_json(path / "config.json", "move it away")
    refuse_files_of_others(path)
    if best is not None and best.get("scan") != config.run:
        raise InputError(
            f"Argument `--run` must leave {name!r} free for the best member, but is {config.run!r} "
            f"and {path} is another run; give another --run name."
        )
