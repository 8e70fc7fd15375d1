"""The members of a scan in training: grouped by structure, distributed over devices."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import jax
import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.runs.files import normalised
from qnn_jax.studies.axes import Axis, changed, value_of
from qnn_jax.studies.cluster import Cluster
from qnn_jax.studies.course import Course
from qnn_jax.studies.leaderboard import confirmation_heading, epoch_line, introduction
from qnn_jax.studies.memory import at_once as fitting
from qnn_jax.studies.memory import member_bytes
from qnn_jax.tasks.fit import Tell
from qnn_jax.training.epochs import fit_population_epoch, init_population, init_state
from qnn_jax.training.task import (
    HYBRID,
    Examples,
    Folders,
    Report,
    Splits,
    Task,
    trained_names,
)


class _Program(NamedTuple):
    """A compiled epoch, and the seconds of its compilation."""

    epoch: Any
    seconds: float


@dataclasses.dataclass(frozen=True)
class _Group:
    """Members of one structure, which train in one program.

    Attributes:
        task: what they have in common.
        members: their numbers, in the order of the member axis; the last one is repeated as
            padding.
        keys: of the initial parameters, one per member.
        order_keys: of all draws in training, one per member or one for all.
        numbers: in which they differ, by name.
        train: examples, on the devices.
        validation: the same.
        bytes: memory of a member, by formula.
        at_once: how many of them a device trains in parallel.
    """

    task: Task
    members: tuple[int, ...]
    keys: jax.Array
    order_keys: jax.Array
    numbers: dict[str, Any]
    train: Examples
    validation: Examples
    bytes: int
    at_once: int


class Population:
    """A running scan: its programs, and the states of the members in training."""

    def __init__(
        self,
        course: Course,
        axes: Sequence[Axis],
        folders: Folders,
        report: Report,
        tell: Tell,
        cluster: Cluster,
        at_once: int,
    ) -> None:
        self.course, self.cluster, self.axes = course, cluster, axes
        self.folders, self._report = folders, report
        self._tell, self._at_once = tell, at_once
        self.names = trained_names(course.task)
        self._varied = [axis.name for axis in axes if axis.name in course.task.numbers]
        # A line of metrics: an epoch of the members in training.
        part = dict[str, list[float | None]]
        kinds = {"epoch": int, "of_members": int, "members": list[int], "seconds": float}
        self.row_kind: Any = TypedDict("Row", {**kinds, **dict.fromkeys(self.names, part)})  # type: ignore[misc]
        self.splits: Splits = course.task.load(folders, course.seeds.split, report)
        if not len(self.splits.validation.targets):
            raise InputError(
                "Argument `task` must have validation examples, by which the "
                "members of a scan are compared, but has none."
            )
        self._on_device = [
            (self.splits, cluster.repeat((self.splits.train, self.splits.validation)))
        ]
        self._known: dict[Task, tuple[Examples, Examples]] = {}
        self.programs: dict[Any, _Program] = {}
        self.compile_seconds = 0.0
        self.groups: list[_Group] = []
        self.states: list[Any] = []
        self.champion: dict[str, Any] = {}

    def begin(self, rows: Sequence[Mapping[str, Any]], where: str) -> dict[str, Any]:
        """Replay the metrics; return zeros in the form of the checkpoint after them."""
        course = self.course
        for row in rows:
            self._check_row(row, where)
            course.record(row)
        self._begin_groups()
        self._introduce()
        training = [
            _cut(_zeros(jax.eval_shape(functools.partial(self._fresh, group))), len(group.members))
            for group in (self.groups if course.epoch else [])
        ]
        champion: Any = {}
        if course.champion is not None:
            member = course.members[course.champion]
            task, key = self._structure(member.task), jax.random.key(0)
            inputs = self.splits.train.inputs[:1]
            champion = jax.eval_shape(
                lambda: task.trainer.parameters(init_state(task, self.names, key, inputs))
            )
        return _tree(training, _zeros(champion))

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.champion = tree["champion"]
        self.states = [self._filled(tree["training"][str(k)]) for k in range(len(tree["training"]))]

    def _check_row(self, row: Mapping[str, Any], where: str) -> None:
        """Refuse a line of metrics for other members than those in training at that epoch."""
        training = self.course.training
        lists = [values for name in self.names for values in row[name].values()]
        if (
            row["members"] != training
            or not {"loss", self.course.metric} <= row[HYBRID].keys()
            or any(len(values) != len(training) for values in lists)
        ):
            raise InputError(
                f"{where} must have the numbers of the members that train at epoch "
                f"{row['epoch']}, but has others: restore the file, or start over by "
                "`resume=False`."
            )

    # Groups: which members train in which program.

    def _begin_groups(self) -> None:
        """Group the members in training by structure; their states are initialised."""
        by_structure: dict[Task, list[int]] = {}
        for number in self.course.training:
            structure = self._structure(self.course.members[number].task)
            by_structure.setdefault(structure, []).append(number)
        self.groups = [self._group(*item) for item in by_structure.items()]
        self.states = []

    def _structure(self, task: Task) -> Task:
        """The task of the members of one program: all fields but the numbers that vary."""
        base = self.course.task
        structure: Task = changed(
            task, {name: value_of(base, self.course.seeds, name) for name in self._varied}
        )
        return structure

    def _data(self, structure: Task) -> tuple[Examples, Examples]:
        """The examples of a structure, on the devices; equal ones are stored once."""
        if structure in self._known:
            return self._known[structure]
        base, trainer = self.course.task, structure.trainer
        splits = (
            self.splits
            if structure == base
            else structure.load(self.folders, self.course.seeds.split, self._report)
        )
        if trainer.epochs != self.course.total:
            raise InputError(
                "Argument `axis` must not change the number of epochs, since all members train "
                f"in parallel, but one of them trains {trainer.epochs} and the default "
                f"{self.course.total}."
            )
        if not splits.validation.equals(self.splits.validation) or not splits.test.equals(
            self.splits.test
        ):
            raise InputError(
                "Argument `axis` must not change validation and test examples, by which members "
                "are compared, but does."
            )
        if trained_names(structure) != self.names:
            raise InputError(
                "Argument `axis` must not change which twins train alongside "
                f"({', '.join(self.names[1:]) or 'none'}), but does."
            )
        trainer.check(len(splits.train.targets))
        found = [there for known, there in self._on_device if known.train.equals(splits.train)]
        if not found:
            found = [self.cluster.repeat((splits.train, splits.validation))]
            self._on_device.append((splits, found[0]))
        self._known[structure] = found[0]
        return found[0]

    def _group(self, structure: Task, members: list[int]) -> _Group:
        devices = self.cluster.mesh.size
        train, validation = self._data(structure)
        filled = [*members, *members[-1:] * (-len(members) % devices)]
        trained = [self.course.members[number] for number in filled]
        seeds = np.array([(m.seeds.seed, m.seeds.order) for m in trained], np.uint32)
        orders = seeds[:1, 1][0] if len(set(seeds[:, 1])) == 1 else seeds[:, 1]
        numbers = {
            name: np.array([value_of(m.task, m.seeds, name) for m in trained], np.float32)
            for name in self._varied
        }
        needed = member_bytes(structure, self.names, train, validation)
        return _Group(
            structure,
            tuple(members),
            self.cluster.keys(seeds[:, 0]),
            self.cluster.keys(np.asarray(orders)),
            self.cluster.spread(numbers),
            train,
            validation,
            needed,
            fitting(needed, len(filled) // devices, self._at_once),
        )

    def _fresh(self, group: _Group) -> Any:
        inputs = self.cluster.repeat(self.splits.train.inputs[:1])
        return init_population(
            group.task, self.names, group.keys, group.numbers, inputs, self.cluster.mesh
        )

    def _program(self, group: _Group, state: Any) -> Any:
        """The group's epoch, compiled once for each shape."""
        shape = (
            group.task,
            group.keys.shape,
            group.order_keys.shape,
            group.train.targets.shape,
            group.at_once,
        )
        if shape not in self.programs:
            known = self._seconds_to_compile()
            took = f", about {known:.0f} s as before" if known else ""
            self._tell(f"Compiling for {len(group.members)} members{took} …")
            began = time.monotonic()
            compiled = fit_population_epoch.lower(
                group.task,
                self.names,
                state,
                group.order_keys,
                group.numbers,
                self.cluster.repeat(np.int32(0)),
                group.train,
                group.validation,
                mesh=self.cluster.mesh,
                at_once=group.at_once,
            ).compile()
            self.programs[shape] = _Program(compiled, time.monotonic() - began)
            self.compile_seconds += self.programs[shape].seconds
        return self.programs[shape].epoch

    def _seconds_to_compile(self) -> float:
        """The mean compilation time of a program; 0 before the first."""
        return self.compile_seconds / max(len(self.programs), 1)

    # An epoch of all groups, and its record.

    def epoch(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train all groups for an epoch: the content of a checkpoint, and the row of metrics."""
        course = self.course
        if not self.states:
            self._tell(f"Drawing the initial weights of {len(course.training)} members …")
            self.states = [self._fresh(group) for group in self.groups]
        programs = [
            self._program(group, state)
            for group, state in zip(self.groups, self.states, strict=True)
        ]
        began = time.monotonic()
        epoch = self.cluster.repeat(np.int32(course.epoch))
        done = [
            program(state, group.order_keys, group.numbers, epoch, group.train, group.validation)
            for program, group, state in zip(programs, self.groups, self.states, strict=True)
        ]
        # Here the processes communicate: if one has ended, the exchange fails.
        told = self.cluster.gather([told for _, told in done])
        seconds = time.monotonic() - began
        whole = self.cluster.gather([state for state, _ in done])
        kept = [_cut(state, len(g.members)) for state, g in zip(whole, self.groups, strict=True)]
        self.states = [state for state, _ in done]
        row = normalised(self._row(told, seconds))
        training, generation = course.training, course.generation
        course.record(row)
        if course.training != training:
            kept = self._regroup(kept, course.generation != generation)
        return _tree(kept, self.champion), row

    def _row(self, told: Sequence[Any], seconds: float) -> dict[str, Any]:
        """The record of an epoch: a list by metric, nan for a member that diverged."""
        by_member: dict[int, dict[str, dict[str, float]]] = {}
        for group, metrics in zip(self.groups, told, strict=True):
            for place, number in enumerate(group.members):
                own = jax.tree.map(lambda leaf, place=place: leaf[place], metrics)
                by_member[number] = {
                    name: _numbers_of(group.task, own[name]) for name in self.names
                }
        members = self.course.training
        return {
            "of_members": self.course.epoch + 1,
            "generation": self.course.generation,
            "members": members,
            **{
                name: {
                    metric: [by_member[number][name][metric] for number in members]
                    for metric in by_member[members[0]][name]
                }
                for name in self.names
            },
            "seconds": seconds,
        }

    def _regroup(self, states: Sequence[Any], ended: bool) -> list[Any]:
        """After a rung or a generation: keep the champion and the remaining members."""
        places = {
            number: (k, place)
            for k, group in enumerate(self.groups)
            for place, number in enumerate(group.members)
        }
        champion = self.course.champion
        if ended and champion in places:
            k, place = places[champion]
            own = jax.tree.map(lambda leaf: np.array(leaf[place]), states[k])
            parameters = self.groups[k].task.trainer.parameters(own)
            self.champion = jax.tree.map(np.asarray, parameters)
        self._begin_groups()
        kept = []
        for group in [] if ended else self.groups:
            rows = [places[number][1] for number in group.members]
            state = states[places[group.members[0]][0]]
            kept.append(jax.tree.map(lambda leaf, rows=rows: leaf[rows], state))
        self.states = [self._filled(state) for state in kept]
        return kept

    def _filled(self, state: Any) -> Any:
        """Members' states on the devices, the last one repeated as padding."""
        devices = self.cluster.mesh.size

        def fill(leaf: np.ndarray) -> np.ndarray:
            return np.concatenate([leaf, np.repeat(leaf[-1:], -len(leaf) % devices, axis=0)])

        return self.cluster.spread(jax.tree.map(fill, state))

    # Messages

    def _introduce(self) -> None:
        lines = introduction(self.splits, self.axes, self.course)
        if self.groups:
            group = max(self.groups, key=lambda group: len(group.members))
            lines.append(
                (
                    "programs",
                    f"{len(self.groups)}, one for each structure; {self.cluster.mesh.size} devices "
                    f"in {self.cluster.processes} processes train {group.at_once} members each in "
                    f"parallel ({group.bytes / 2**20:.0f} MiB a member, by formula)",
                )
            )
        for name, text in lines:
            self._tell(f"{name:<11}{text}")
        self._tell("")

    def told(self, row: Mapping[str, Any]) -> None:
        """Report an epoch, and the seconds left of the scan."""
        course = self.course
        spent = [(r["seconds"], len(r["members"])) for r in course.rows[-5:]]
        pace = sum(seconds for seconds, _ in spent) / sum(members for _, members in spent)
        # At the end the best member is tested, which takes about as long as one compilation.
        compiling = len(self.groups) * (course.changes_left() if course.training else 0)
        if course.confirming and not course.epoch:
            compiling += len(self.groups)
        left = pace * course.member_epochs_left() + self._seconds_to_compile() * (compiling + 1)
        more = pace * course.confirmation_ahead()
        more += self._seconds_to_compile() if more else 0.0
        values = row[HYBRID][course.metric]
        self._tell(epoch_line(course.task.metric, row, values, course.total, left, more))
        if course.confirming and not course.epoch:
            self._tell(confirmation_heading(course))


def _tree(states: Sequence[Any], champion: Any) -> dict[str, Any]:
    """The content of a checkpoint."""
    return {"training": {str(k): state for k, state in enumerate(states)}, "champion": champion}


def _cut(state: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:count], state)


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def _numbers_of(task: Task, told: Mapping[str, Any]) -> dict[str, float]:
    """A member's metrics of an epoch; all nan once one of its numbers is not finite."""
    found = task.trainer.row(told, task.metric)
    sound = bool(told["finite"]) and all(np.isfinite(value) for value in found.values())
    return {metric: value if sound else np.nan for metric, value in found.items()}
