"""The circuit's effect on the score: a task's network and its twins over seeds and sizes.

Each twin at each training size is one compiled program for all seeds: the single training of
`qnn_jax.tasks.train`, mapped over keys and, if examples are subsampled, over each seed's examples.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.models import count_parameters
from qnn_jax.runs import RunDirectory, write_json_atomic
from qnn_jax.runs.files import remove
from qnn_jax.runs.loop import StoppedError, go_through
from qnn_jax.studies.ablation_table import Ablation, Cell, bounded_interval, check_ablation
from qnn_jax.tasks.fit import Tell, keep_manifest, manifest_of, where_it_runs
from qnn_jax.training.batches import in_batches
from qnn_jax.training.epochs import chosen, init_population
from qnn_jax.training.task import Examples, Folders, Member, Report, Splits, Task

#: The file with the score of every seed.
_WHOLE = "ablate.json"
_SECONDS_BETWEEN_LINES = 10.0
_COMPILE_SECONDS = 5.0  # a guess, before the first program is compiled


def ablate(
    task: Task,
    *,
    sizes: Sequence[int] = (0,),
    seeds: int = 20,
    first_seed: int = 0,
    folders: Folders = Folders(),  # noqa: B008  a frozen value
    run: RunDirectory | None = None,
    quick: bool = False,
    tell: Tell = silent,
    stop: Callable[[], bool] = lambda: False,
    report: Report = silent,
    publish: Callable[[Ablation], None] = silent,
    scorer: Scorer | None = None,
) -> Ablation:
    """Train a task's network and its twins over many random seeds, and compare them in pairs.

    A seed determines initial values, the order of the examples and, at a reduced size, the training
    examples. The scores are on test examples, which are not used for any choice.

    Args:
        task: the task to learn.
        sizes: numbers of training examples; 0 takes all.
        seeds: their number.
        first_seed: the others follow it.
        folders: of the data.
        run: a folder for all results, so that a killed ablation resumes after its last
            finished program; None stores nothing.
        quick: mark the result as a quick look.
        tell: called with lines of progress, for instance `print`.
        stop: called after every epoch; true stops the ablation.
        report: called with the progress of the data's preparation.
        publish: writes pages of the results, before the run is marked as finished.
        scorer: how trained members are scored; by default on the test examples, where the task's
            circuits run in training.

    Raises:
        InputError: if the task cannot be ablated with these arguments.
        StoppedError: if `stop` returned true; finished programs are saved.

    Example::

        print(ablate(Calculator("a * b"), sizes=[10, 100], seeds=8, tell=print))
    """
    sizes = check_ablation(task, sizes, seeds, first_seed)
    if task.trainer.epochs < 1:
        raise InputError(
            f"Argument `epochs` must be at least 1 in an ablation, but is {task.trainer.epochs}."
        )
    # Signed integers would not hold the upper half of the seeds.
    every = np.arange(first_seed, first_seed + seeds, dtype=np.uint32)
    splits = task.sized(sizes[-1]).load(folders, first_seed, report)
    study = _Study(task, every, folders, report, splits, _counts(sizes, splits), scorer)
    for line in study.introduction():
        tell(line)
    if run is not None:
        if run.fresh:  # results of an earlier run of this name are not its own
            remove(run.path / _WHOLE)
        keep_manifest(run, manifest_of(first_seed, splits), tell)
    plan = study.plan
    state = _Found(
        np.full((len(plan), seeds), np.nan),
        np.zeros(len(plan), np.int64),
        np.zeros((len(plan), 2)),
    )
    progress = _Progress(study, tell)

    def step(number: int, state: _Found) -> tuple[_Found, dict[str, Any]]:
        size, member = plan[number]
        found = study.train(size, member, stop, functools.partial(progress.epoch, number, state))
        if found is None:
            raise StoppedError(f"Saved {number} of {len(plan)}")
        state.keep(number, found)
        progress.program(number, state)
        row = study.cell(number, state)._asdict()
        took = row.pop("seconds")  # the loop has its own "seconds"
        return state, {**row, **took}

    state, _ = go_through(run, len(plan), state, step, tell=silent, stop=stop)
    found = Ablation(
        task.name,
        study.splits.title,
        splits.examples,
        task.metric,
        study.members,
        len(splits.test.targets),
        tuple(study.cell(number, state) for number in range(len(plan))),
        study.notes(),
        quick,
    )
    if run is not None:
        cells = [cell._asdict() for cell in found.cells]
        write_json_atomic(run.path / _WHOLE, {**found.summary, "cells": cells})
        publish(found)
        # Last, because a summary marks the run as finished.
        write_json_atomic(run.path / "summary.json", found.summary)
    return found


class _Found(NamedTuple):
    """The results of all programs so far; the content of a checkpoint.

    Attributes:
        scores: shape (programs, seeds).
        diverged: seeds that ended with a non-finite number, shape (programs,).
        seconds: of compiling and of training, shape (programs, 2).
    """

    scores: np.ndarray
    diverged: np.ndarray
    seconds: np.ndarray

    def keep(self, number: int, found: Sequence[Any]) -> None:
        """Add the results of a program: its scores, how many diverged, its two durations."""
        for array, value in zip(self, found, strict=True):
            array[number] = value


class Data(NamedTuple):
    """The examples of one size; those that differ between seeds have a leading axis of seeds.

    Attributes:
        train: for training.
        validation: for the trainer's choices; may be empty.
        test: for the scores.
        own: whether each seed has its own training examples.
        own_test: whether each seed has its own test examples.
    """

    train: Examples
    validation: Examples
    test: Examples
    own: bool
    own_test: bool

    def of_seed(self, number: int) -> tuple[Examples, Examples]:
        """The training and the test examples of one seed."""
        train = jax.tree.map(lambda leaf: leaf[number], self.train) if self.own else self.train
        test = jax.tree.map(lambda leaf: leaf[number], self.test) if self.own_test else self.test
        return train, test


class Scorer(Protocol):
    """How trained members are scored."""

    @property
    def about(self) -> str:
        """The method, in a sentence."""
        ...

    def __call__(self, member: Member, params: Any, data: Data, seeds: np.ndarray) -> np.ndarray:
        """The score of every seed, from parameters with a leading axis of seeds."""
        ...


@dataclass(eq=False)
class _Study:
    """The members to train and their data: `splits` are of the largest size and the first seed.

    `counts` are numbers of training examples by the size argument of `Task.sized`.
    """

    task: Task
    seeds: np.ndarray
    folders: Folders
    report: Report
    splits: Splits
    counts: dict[int, int]
    scorer: Scorer | None = None
    _loaded: tuple[int, Data] | None = None
    _trained: dict[Any, tuple[Any, Any]] = field(default_factory=dict)

    @functools.cached_property
    def members(self) -> tuple[Member, ...]:
        """The hybrid and its twins."""
        return self.task.members()

    @functools.cached_property
    def plan(self) -> list[tuple[int, Member]]:
        """The programs in order."""
        return [(size, member) for size in self.counts for member in self.members]

    @property
    def width(self) -> int:
        """Length of the longest name."""
        return max(len(member.name) for member in self.members)

    def train(
        self,
        size: int,
        member: Member,
        stop: Callable[[], bool],
        tell: Callable[[int, float], None],
    ) -> Sequence[Any] | None:
        """Train one member for all seeds in one program, and test it; None if stopped.

        `tell` gets the number of finished epochs and their seconds.
        """
        name, data, began = member.name, self._data(size), time.monotonic()
        alike, compiled = _training_of(member), began
        if alike not in self._trained:
            sized = self.task.sized(size)
            keys = jax.vmap(jax.random.key)(self.seeds)
            example = data.test.inputs[0, :1] if data.own_test else data.test.inputs[:1]
            # The fresh keys do not depend on the size, so one program serves all sizes.
            state = init_population(self.task, (name,), keys, {}, example)
            epoch = jnp.asarray(0)
            program = _epoch.lower(
                sized, name, data.own, state, keys, epoch, data.train, data.validation
            ).compile()
            compiled = time.monotonic()
            for number in range(sized.trainer.epochs):
                state, finite = program(
                    state, keys, jnp.asarray(number), data.train, data.validation
                )
                finite.block_until_ready()
                if stop():
                    return None
                tell(number + 1, time.monotonic() - compiled)
            self._trained[alike] = _parameters(self.task, name, state), finite
        params, finite = self._trained[alike]
        if self.scorer is None:
            found = np.asarray(_scores(self.task, name, data.own_test, params, data.test))
        else:
            found = self.scorer(member, params, data, self.seeds)
        # Single precision has seven digits.
        scores = np.array([float(f"{score:.7g}") for score in found])
        diverged = int(np.sum(~(np.asarray(finite) & np.isfinite(scores))))
        seconds = np.array([compiled - began, time.monotonic() - compiled])
        return scores, diverged, seconds

    def _data(self, size: int) -> Data:
        """The examples of a size, loaded once for all members."""
        if self._loaded is None or self._loaded[0] != size:
            self._loaded, self._trained = None, {}  # free their memory before loading others
            self._loaded = (size, self._load(size))
        return self._loaded[1]

    def _load(self, size: int) -> Data:
        sized = self.task.sized(size)
        # All examples are the same for all seeds, whatever their order.
        seeds = self.seeds if size else self.seeds[:1]
        every = [sized.load(self.folders, int(seed), self.report) for seed in seeds]
        for splits in every:
            if size and len(splits.train.targets) != size:
                raise InputError(
                    f"Argument `sizes` must hold numbers of examples that the task can give, but "
                    f"for {size} it gives {len(splits.train.targets)}."
                )
        own_test = not all(splits.test.equals(every[0].test) for splits in every)

        def of_all(parts: list[Examples], own: bool) -> Examples:
            if not own:
                return jax.tree.map(jnp.asarray, parts[0])
            return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *parts)

        return Data(
            of_all([splits.train for splits in every], bool(size)),
            of_all([splits.validation for splits in every], bool(size)),
            of_all([splits.test for splits in every], own_test),
            bool(size),
            own_test,
        )

    def effort(self, size: int) -> tuple[int, int]:
        """Number of optimiser steps of a program, and the examples of each."""
        trainer, count = self.task.sized(size).trainer, self.counts[size]
        return trainer.epochs * trainer.steps(count), trainer.batch(count)

    @functools.cached_property
    def _parameters(self) -> dict[str, dict[str, int]]:
        """Parameter counts of each member, by kind."""
        example = jax.eval_shape(lambda: jnp.asarray(self.splits.test.inputs[:1]))
        found = {}
        for member in self.members:
            params = jax.eval_shape(member.network.init, jax.random.key(0), example)["params"]
            counts = count_parameters(params)
            frozen = counts["quantum"] if member.frozen else 0
            found[member.name] = counts | {"quantum": counts["quantum"] - frozen, "frozen": frozen}
        return found

    def cell(self, number: int, found: _Found) -> Cell:
        """The result of one program, and its durations."""
        size, member = self.plan[number]
        steps, batch = self.effort(size)
        return Cell(
            self.counts[size],
            member.name,
            self._parameters[member.name],
            batch,
            round(steps * batch / self.counts[size]),
            steps,
            found.scores[number].tolist(),
            int(found.diverged[number]),
            dict(zip(("compile", "training"), found.seconds[number].tolist(), strict=True)),
        )

    def introduction(self) -> list[str]:
        """Summary of the planned training, in lines."""
        sizes = ", ".join(f"{count:,}" for count in self.counts.values())
        lines = [
            *where_it_runs(self.task, "", "circuits are"),
            (
                "task",
                f"{self.splits.title}; {len(self.splits.test.targets):,} "
                f"{self.splits.examples} to test",
            ),
            (
                "programs",
                f"{len(self.plan)}: {len(self.members)} models at {sizes} {self.splits.examples}, "
                f"each of {len(self.seeds)} seeds side by side",
            ),
            *((member.name, member.what) for member in self.members),
        ]
        width = max(len(name) for name, _ in lines) + 2
        return [f"{name:<{width}}{text}" for name, text in lines] + [""]

    def notes(self) -> tuple[str, ...]:
        """Description of the method, in sentences."""
        examples = self.splits.examples
        drawn = (
            f"At a reduced size each seed draws its own training {examples}, and the intervals "
            "over seeds include this variation.",
            f"All {examples} are the same for all seeds: there, only initial values and the order "
            "differ.",
        )
        shared = (
            "Models that differ only in how they are scored are trained once: the seconds of the "
            "training are those of the first of them.",
        )
        own = self._loaded is not None and self._loaded[1].own_test
        return (
            f"All models have the same seeds and, for each seed, the same {examples} in the same "
            "order, and the same initial values for equal layers.",
            f"All are trained by {self.task.trainer}; each table gives its settings at "
            "its size. The hyperparameters are the task's own: no twin was tuned.",
            *(drawn[:1] if any(self.counts) else ()),
            *(drawn[1:] if 0 in self.counts else ()),
            f"The test {examples} are only for the scores: nothing was chosen by them here, and "
            "the last epoch counts. "
            + (
                "Each seed has its own."
                if own
                else "They are the same for all seeds, so the intervals do not include the choice "
                f"of test {examples}."
            ),
            *(shared if len(set(map(_training_of, self.members))) < len(self.members) else ()),
            *((self.scorer.about,) if self.scorer else ()),
        )


def _training_of(member: Member) -> tuple[Any, ...]:
    """What is trained: members that differ only in how they are scored are trained once."""
    return id(member.network), member.frozen, member.execution


def _counts(sizes: Sequence[int], splits: Splits) -> dict[int, int]:
    """Number of training examples by the size argument of `Task.sized`, smallest first."""
    counts = {size: size or len(splits.train.targets) for size in sizes}
    if len(set(counts.values())) < len(counts):
        raise InputError(
            f"Argument `sizes` must hold different numbers of examples, but has both all (0) and "
            f"{counts[0]}, which are the same."
        )
    return counts


@functools.partial(jax.jit, static_argnames=("task", "name", "own"), donate_argnames="state")
def _epoch(
    task: Task,
    name: str,
    own: bool,
    state: Any,
    keys: Array,
    epoch: Array,
    train: Examples,
    validation: Examples,
) -> tuple[Any, Bool[Array, " seeds"]]:
    """One epoch of one member for all seeds, and which of them are still finite."""
    members = chosen(task, (name,))

    def one(state: Any, key: Array, train: Examples, validation: Examples) -> tuple[Any, Array]:
        state, told = task.trainer.epoch(task, members, state, key, epoch, train, validation)
        return state, told[name]["finite"]

    axis = 0 if own else None
    return jax.vmap(one, in_axes=(0, 0, axis, axis))(state, keys, train, validation)


@functools.partial(jax.jit, static_argnames=("task", "name"))
def _parameters(task: Task, name: str, state: Any) -> Any:
    """The parameters of a member, with a leading axis of seeds."""
    return jax.vmap(lambda own: task.trainer.parameters(own)[name])(state)


@functools.partial(jax.jit, static_argnames=("task", "name", "own_test"))
def _scores(
    task: Task, name: str, own_test: bool, params: Any, test: Examples
) -> Float[Array, " seeds"]:
    """The metric of every seed; sequentially, since all at once need too much memory."""
    (member,) = chosen(task, (name,))

    def one(of_seed: tuple[Any, Examples | None]) -> Array:
        params, own = of_seed
        inputs, targets, _ = test if own is None else own
        # Where the task takes shots, every seed takes the same.
        outputs = in_batches(member.network, params, inputs, jax.random.key(0))
        return task.metric.of_each(outputs, targets).mean()

    return jax.lax.map(one, (params, test if own_test else None))


@dataclass(eq=False)
class _Progress:
    """Lines of progress with results and the time left."""

    study: _Study
    tell: Tell
    told: float = field(default_factory=time.monotonic)

    def epoch(self, number: int, found: _Found, finished: int, seconds: float) -> None:
        """An occasional line within a long program."""
        epochs = self.study.task.trainer.epochs
        if finished == epochs or time.monotonic() - self.told < _SECONDS_BETWEEN_LINES:
            return
        self.told = time.monotonic()
        size, member = self.study.plan[number]
        self.tell(
            f"        {self.study.counts[size]:,} {self.study.splits.examples}, {member.name}: "
            f"epoch {finished} of {epochs}, "
            f"{self._left(number, found, finished / epochs, seconds)} left"
        )

    def program(self, number: int, found: _Found) -> None:
        """A line for the finished program."""
        self.told = time.monotonic()
        cell, metric = self.study.cell(number, found), self.study.task.metric
        values = found.scores[number]
        score = metric.score(float(values.mean()), bounded_interval(values, metric))
        diverged = f"   {cell.diverged} seeds diverged" if cell.diverged else ""
        self.tell(
            f"{number + 1:>3}/{len(self.study.plan)}   {cell.size:>6,} "
            f"{self.study.splits.examples}   {cell.twin:<{self.study.width}} {score}   "
            f"{sum(cell.seconds.values()):5.1f} s   {self._left(number + 1, found)} left{diverged}"
        )

    def _left(self, ended: int, found: _Found, share: float = 0.0, seconds: float = 0.0) -> str:
        """Time left, from finished programs and a share of the next that took `seconds`."""
        works = [float(np.prod(self.study.effort(size))) for size, _ in self.study.plan]
        done = sum(works[:ended]) + (share * works[ended] if share else 0.0)
        compiling, training = found.seconds[:ended].T if ended else ([_COMPILE_SECONDS], [0.0])
        programs = len(works) - ended - (1 if share else 0)
        pace = (seconds + float(np.sum(training))) / done
        left = (sum(works) - done) * pace + programs * float(np.mean(compiling))
        return f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
