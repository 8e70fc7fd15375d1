"""How a scan finds candidates: a grid, random draws, or Optuna's samplers. No JAX here."""

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
        """The next candidates; the default configuration is never among them."""
        ...

    def learn(self, scores: Sequence[float]) -> None:
        """Take in the scores of the candidates proposed last, more is better; nan if diverged."""
        ...


class Listed:
    """A search that knows all its candidates from the start."""

    def __init__(self, candidates: Iterable[Changes]) -> None:
        self._left = list(candidates)

    def propose(self) -> list[Changes]:
        """All candidates, then none."""
        proposed, self._left = self._left, []
        return proposed

    def learn(self, scores: Sequence[float]) -> None:
        """Nothing to learn."""


class Asked:
    """Optuna's search (TPE by default), asked for a batch and told its scores."""

    def __init__(self, axes: Sequence[Axis], count: int, batch: int, seed: int) -> None:
        try:
            import optuna
        except ModuleNotFoundError:
            raise InputError(
                "Argument `search` must not be optuna where optuna is not installed: "
                "pip install 'qnn-jax[search]', or take random."
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
        if axis.values:  # by number, since Optuna takes no tuples
            return axis.values[trial.suggest_categorical(axis.name, range(len(axis.values)))]
        log = axis.spacing == "log"
        if axis.integer:
            return trial.suggest_int(axis.name, math.ceil(axis.low), math.floor(axis.high), log=log)
        return float(f"{trial.suggest_float(axis.name, axis.low, axis.high, log=log):.4g}")

    def learn(self, scores: Sequence[float]) -> None:
        """Tell the scores."""
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
    """The search of a scan; all is refused here that can be refused before JAX loads.

    Args:
        task: the default configuration.
        axes: what varies.
        search: by default random where an axis is a range without points, else grid.
        samples: candidates of random and optuna.
        batch: candidates that optuna is asked for at once.
        halving: whether candidates are dropped on the way.
        confirm: how many seeds the winner is confirmed with.
        seed: of what is drawn.

    Raises:
        InputError: where a number is out of range, or the task refuses a value of an axis.
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
    # Every value by itself, and of a grid every combination.
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
        raise InputError(f"Argument `axis` {what} cannot be: {error}") from None
