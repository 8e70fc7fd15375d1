"""The searches of a scan: a grid, random draws, or Optuna's samplers. Imports no JAX."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from qnn_jax.circuits.checks import at_least, one_of
from qnn_jax.errors import InputError
from qnn_jax.studies.axes import SEEDS, Axis, Changes, changed, draws, grid
from qnn_jax.training.task import Task

#: The searches by name.
SearchName = Literal["grid", "random", "optuna"]


class Search(Protocol):
    """Proposes candidates, a generation at a time; [] ends the search."""

    def propose(self) -> list[Changes]:
        """The next candidates, without the default configuration."""
        ...

    def learn(self, scores: Sequence[float]) -> None:
        """Receive the scores of the last candidates; more is better, nan if diverged."""
        ...


class Listed:
    """A search whose candidates are all known from the start."""

    def __init__(self, candidates: Iterable[Changes]) -> None:
        self._left = list(candidates)

    def propose(self) -> list[Changes]:
        """All candidates in the first call, then none."""
        proposed, self._left = self._left, []
        return proposed

    def learn(self, scores: Sequence[float]) -> None:
        """Does nothing."""


class Asked:
    """Optuna's search (TPE by default), in batches."""

    def __init__(self, axes: Sequence[Axis], count: int, batch: int, seed: int) -> None:
        try:
            import optuna
        except ModuleNotFoundError:
            raise InputError(
                "Argument `search` must not be optuna where optuna is not installed: "
                "pip install 'qnn-jax[search]', or use random."
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._left, self._batch = optuna, count, batch
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._axes = [axis for axis in axes if axis.name not in SEEDS]
        self._asked: list[Any] = []

    def propose(self) -> list[Changes]:
        """The next batch that the sampler suggests."""
        count = min(self._batch, self._left)
        self._left -= count
        self._asked = [self._study.ask() for _ in range(count)]
        return [{axis.name: self._suggest(trial, axis) for axis in self._axes}
                for trial in self._asked]  # fmt: skip

    def _suggest(self, trial: Any, axis: Axis) -> Any:
        if axis.values:  # by index, since Optuna takes no tuples
            return axis.values[trial.suggest_categorical(axis.name, range(len(axis.values)))]
        log = axis.spacing == "log"
        if axis.integer:
            return trial.suggest_int(axis.name, math.ceil(axis.low), math.floor(axis.high), log=log)
        return float(f"{trial.suggest_float(axis.name, axis.low, axis.high, log=log):.4g}")

    def learn(self, scores: Sequence[float]) -> None:
        """Report the scores to Optuna."""
        failed = self._optuna.trial.TrialState.FAIL
        for trial, score in zip(self._asked, scores, strict=True):
            if math.isfinite(score):
                self._study.tell(trial, score)
            else:
                self._study.tell(trial, state=failed)


def planned(
    task: Task,
    axes: Sequence[Axis],
    search: SearchName | None,
    samples: int,
    batch: int,
    halving: bool,
    confirm: int,
    seed: int,
) -> Search:
    """The search of a scan; checks all arguments that can be checked before JAX loads.

    Arguments are those of `qnn_jax.studies.scan.scan`.
    """
    at_least("samples", samples, 1)
    at_least("batch", batch, 1)
    at_least("confirm", confirm, 0)
    if search is not None:
        one_of("search", search, ("grid", "random", "optuna"))
    if not axes:
        raise InputError("Argument `axes` must name at least one field that varies.")
    kind = search or ("random" if any(not axis.values for axis in axes) else "grid")
    if halving and kind == "optuna":
        raise InputError("Argument `halving` must not be given with optuna as `search`, but is.")
    # Check every value by itself, and for a grid every combination.
    for axis in axes:
        for value in axis.values or (axis.at(0.0), axis.at(1.0)):
            if axis.name not in SEEDS:
                _check_candidate(task, {axis.name: value}, axis.name)
    if kind == "optuna":
        return Asked(axes, samples, batch, seed)
    candidates = grid(axes) if kind == "grid" else draws(axes, samples, seed)
    for changes in candidates:
        _check_candidate(task, changes, "combination")
    return Listed(candidates)


def _check_candidate(task: Task, changes: Changes, what: str) -> None:
    try:
        changed(task, changes).check()
    except InputError as error:
        raise InputError(f"Argument `axis` {what} is invalid: {error}") from None
