"""Which members train, for how long, and which is best: the course of a scan, without any array.

The course follows from the configuration and the metrics of the epochs so far, so a resumed scan
replays its metrics and stands where it stood.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipelines.scan_axes import (
    SEEDS,
    Axis,
    Changes,
    Member,
    changed,
    draws,
    grid,
    members_of_candidate,
)
from pipelines.train_fashion import FashionConfig
from qnn_jax.errors import InputError

#: What is written of every member after every epoch.
METRICS = ("loss", "accuracy", "validation_loss", "validation_accuracy", "gradient_norm")


class Search(Protocol):
    """Proposes candidates, a generation at a time; [] ends the search."""

    def propose(self) -> list[Changes]:
        """The next candidates, the default aside."""
        ...

    def learn(self, scores: Sequence[float]) -> None:
        """Take in the scores of the candidates proposed last; nan for those that diverged."""
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
                "Argument `--search` must not be optuna where optuna is not installed: "
                "pip install 'qnn-jax[search]', or give --search random."
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


def search_of(kind: str, axes: Sequence[Axis], samples: int, batch: int, seed: int) -> Search:
    """The search of that name: grid, random or optuna."""
    if kind == "optuna":
        return Asked(axes, samples, batch, seed)
    return Listed(grid(axes) if kind == "grid" else draws(axes, samples, seed))


class Course:
    """Where a scan stands.

    Candidate 0 is the default configuration, which trains in the first generation. When the search
    has ended, the winner and the default meet again over `confirm` seeds that chose nothing.

    Attributes:
        members: all members so far, by number.
        rows: what was recorded, a row an epoch.
        generation: the number of the generation that trains now.
        training: the numbers of the members that train now.
        epoch: how many epochs these have finished.
        done: whether nothing is left to train.
        champion: the best member of all that have finished; None before the first have.
    """

    def __init__(
        self,
        base: FashionConfig,
        axes: Sequence[Axis],
        search: Search,
        rungs: Sequence[int],
        confirm: int,
    ) -> None:
        self._base, self._search, self._confirm = base, search, confirm
        self._rungs = set(rungs)
        by_name = {axis.name: axis.values for axis in axes}
        self._seeds: Sequence[int] = by_name.get("seed", (base.seed,))
        self._orders: Sequence[int | None] = by_name.get("order_seed", (base.order_seed,))
        self.changes: list[Changes] = [{}]
        self.members: list[Member] = []
        self.rows: list[Mapping[str, Any]] = []
        self.epochs: dict[int, int] = {}
        self._last: dict[int, Mapping[str, Any]] = {}
        self.generation, self.epoch, self.done = 0, 0, False
        self.confirming = False
        self.champion: int | None = None
        self._begin(search.propose(), fresh=[0])

    def _begin(self, proposed: Sequence[Changes], fresh: list[int]) -> None:
        """Train new candidates; one that is there already is not trained again."""
        self._proposed = []
        for changes in proposed:
            wanted = changed(self._base, changes)
            known = [changed(self._base, earlier) for earlier in self.changes]
            if wanted not in known:
                fresh.append(len(self.changes))
                self.changes.append(changes)
                known.append(wanted)
            self._proposed.append(known.index(wanted))
        self._train(fresh, self._seeds, self._orders)
        self.searched = len(self.members)

    def _train(
        self, candidates: Sequence[int], seeds: Sequence[int], orders: Sequence[int | None]
    ) -> None:
        first = len(self.members)
        for candidate in candidates:
            for config in members_of_candidate(self._base, self.changes[candidate], seeds, orders):
                self.members.append(Member(len(self.members), candidate, config))
        self.training, self.epoch = list(range(first, len(self.members))), 0

    def record(self, row: Mapping[str, Any]) -> None:
        """Take in an epoch: a list of numbers by metric, in the order of `training`."""
        self.rows.append(row)
        self.epoch += 1
        for place, number in enumerate(self.training):
            self._last[number] = {name: row[name][place] for name in METRICS}
            self.epochs[number] = self.epoch
        if self.epoch in self._rungs and not self.confirming:
            self._drop()
        if self.epoch == self._base.training.epochs:
            self.generation += 1
            self._go_on()

    def _drop(self) -> None:
        """Only the better half of the candidates in training goes on."""
        candidates = sorted({self.members[k].candidate for k in self.training}, key=self.rank)
        kept = candidates[: math.ceil(len(candidates) / 2)]
        self.training = [k for k in self.training if self.members[k].candidate in kept]

    def _go_on(self) -> None:
        """What follows a generation: another one, the confirmation, or nothing."""
        self.training, self.epoch = [], 0
        if not self.confirming:
            self.champion = self.best
        while not self.confirming and not self.training:
            self._search.learn([self.score(candidate) for candidate in self._proposed])
            if not (proposed := self._search.propose()):
                break
            self._begin(proposed, fresh=[])
        if self.training:
            return
        if self.confirming or not self._confirm or self.winner == 0:
            self.done = True
            return
        self.confirming = True
        taken = {member.config.seed for member in self.members}
        fresh = [seed for seed in range(1000, 2000) if seed not in taken]
        self._train((self.winner, 0), fresh[: self._confirm], (self._base.order_seed,))

    def member_epochs_left(self) -> int:
        """How many epochs of a member are left of the search, or of the confirmation."""
        left, count, epochs = 0, len(self.training), self._base.training.epochs
        for epoch in range(self.epoch + 1, epochs + 1):
            left += count
            count = math.ceil(count / 2) if epoch in self._rungs and not self.confirming else count
        return left

    def changes_left(self) -> int:
        """How often until then fewer members train: each time their programs are compiled anew."""
        return 0 if self.confirming else sum(rung > self.epoch for rung in self._rungs)

    def confirmation_ahead(self) -> int:
        """How many epochs of a member the confirmation takes; 0 where there is none any more."""
        if self.confirming or self.done:
            return 0
        return 2 * self._confirm * self._base.training.epochs

    def last(self, number: int) -> Mapping[str, Any]:
        """A member's metrics after its last epoch; empty before its first."""
        return self._last.get(number, {})

    def diverged(self, number: int) -> bool:
        """Whether a member's numbers are no numbers any more."""
        return any(value is None for value in self.last(number).values())

    def of_candidate(self, candidate: int) -> list[int]:
        """The members of a candidate within the search."""
        return [m.number for m in self.members[: self.searched] if m.candidate == candidate]

    def score(self, candidate: int) -> float:
        """A candidate's mean validation accuracy over its seeds; nan if one diverged."""
        return self._mean(candidate, "validation_accuracy")

    def _mean(self, candidate: int, metric: str) -> float:
        values = [self.last(number).get(metric) for number in self.of_candidate(candidate)]
        return float(np.mean([math.nan if value is None else value for value in values]))

    def rank(self, candidate: int) -> tuple[float, ...]:
        """What candidates are sorted by, best first: epochs survived, accuracy, then loss."""
        score, loss = self.score(candidate), self._mean(candidate, "validation_loss")
        diverged = any(self.diverged(number) for number in self.of_candidate(candidate))
        epochs = max((self.epochs.get(k, 0) for k in self.of_candidate(candidate)), default=0)
        if diverged or not math.isfinite(score):
            return (1.0, -epochs, 0.0, 0.0, candidate)
        return (0.0, -epochs, -score, loss, candidate)

    @property
    def winner(self) -> int:
        """The best candidate so far."""
        return min(range(len(self.changes)), key=self.rank)

    @property
    def best(self) -> int:
        """The best member of the best candidate."""

        def rank(number: int) -> tuple[float, ...]:
            last = self.last(number)
            if not last or self.diverged(number):
                return (1.0, 0.0, 0.0, number)
            return (0.0, -last["validation_accuracy"], last["validation_loss"], number)

        return min(self.of_candidate(self.winner), key=rank)


def rungs_of(epochs: int, halving: bool) -> list[int]:
    """The epochs after which half of the candidates is dropped: 5, 10 and 20 of 40."""
    found: list[int] = []
    rung = epochs // 2
    while halving and rung >= 1 and len(found) < 3:
        found.append(rung)
        rung //= 2
    return sorted(found)
