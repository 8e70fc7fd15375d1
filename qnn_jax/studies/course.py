"""The state of a scan without arrays: which members train, for how long, and which is best.

It follows from the configuration and the metrics of the epochs so far, so a resumed scan
reconstructs it from its metrics.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qnn_jax.studies.axes import Axis, Changes, changed, seeds_of_candidate
from qnn_jax.studies.search import Search
from qnn_jax.tasks.stored import Seeds
from qnn_jax.training.task import HYBRID, Task

#: The first seed of the confirmation.
_FRESH = 1000


@dataclasses.dataclass(frozen=True)
class ScanMember:
    """One training of a scan.

    Attributes:
        number: its index among all members.
        candidate: the index of its configuration, without seeds; 0 is the default.
        task: to train.
        seeds: of its training.
    """

    number: int
    candidate: int
    task: Task
    seeds: Seeds


class Course:
    """The state of a scan.

    Candidate 0 is the default configuration, which trains in the first generation. After the
    search, the winner and the default train again with `confirm` seeds that were not used in it.

    Attributes:
        task: the default configuration.
        metric: the name of the score by which members are compared: "validation_accuracy".
        members: all members so far, by number.
        rows: of metrics, one per epoch.
        generation: the index of the current generation.
        training: the numbers of the members in training.
        epoch: how many epochs these have finished.
        total: how many epochs a member trains.
        done: whether no training is left.
        champion: the best of all finished members; None before the first have finished.
    """

    def __init__(
        self,
        task: Task,
        seeds: Seeds,
        axes: Sequence[Axis],
        search: Search,
        epochs: int,
        rungs: Sequence[int],
        confirm: int,
    ) -> None:
        self.task, self.seeds, self.total = task, seeds, epochs
        self.metric = f"validation_{task.metric.name}"
        self._search, self._confirm = search, confirm
        self._rungs = set(rungs)
        by_name = {axis.name: axis.values for axis in axes}
        self._seeds: Sequence[int] = by_name.get("seed", (seeds.seed,))
        self._orders: Sequence[int | None] = by_name.get("order_seed", (seeds.order_seed,))
        self.changes: list[Changes] = [{}]
        self.members: list[ScanMember] = []
        self.rows: list[Mapping[str, Any]] = []
        self.epochs: dict[int, int] = {}
        self._last: dict[int, Mapping[str, Any]] = {}
        self.generation, self.epoch, self.done = 0, 0, False
        self.confirming = False
        self.champion: int | None = None
        self._begin(search.propose(), fresh=[0])

    def _begin(self, proposed: Sequence[Changes], fresh: list[int]) -> None:
        """Add new candidates to the training; known ones are not trained again."""
        self._proposed = []
        known = [changed(self.task, earlier) for earlier in self.changes]
        for changes in proposed:
            wanted = changed(self.task, changes)
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
            task = changed(self.task, self.changes[candidate])
            for own in seeds_of_candidate(self.seeds, seeds, orders):
                self.members.append(ScanMember(len(self.members), candidate, task, own))
        self.training, self.epoch = list(range(first, len(self.members))), 0

    def record(self, row: Mapping[str, Any]) -> None:
        """Add an epoch: for each network a list of values by metric, in order of `training`."""
        self.rows.append(row)
        self.epoch += 1
        for place, number in enumerate(self.training):
            self._last[number] = {name: values[place] for name, values in row[HYBRID].items()}
            self.epochs[number] = self.epoch
        if self.epoch in self._rungs and not self.confirming:
            self._drop()
        if self.epoch == self.total:
            self.generation += 1
            self._go_on()

    def _drop(self) -> None:
        """Keep only the better half of the candidates in training."""
        candidates = sorted({self.members[k].candidate for k in self.training}, key=self.rank)
        kept = candidates[: math.ceil(len(candidates) / 2)]
        self.training = [k for k in self.training if self.members[k].candidate in kept]

    def _go_on(self) -> None:
        """Start what follows a generation: another one, the confirmation, or nothing."""
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
        taken = {member.seeds.seed for member in self.members}
        fresh = [seed for seed in range(_FRESH, 2 * _FRESH + self._confirm) if seed not in taken]
        self._train((self.winner, 0), fresh[: self._confirm], (self.seeds.order_seed,))

    def member_epochs_left(self) -> int:
        """How many epochs per member are left of the search, or of the confirmation."""
        left, count = 0, len(self.training)
        for epoch in range(self.epoch + 1, self.total + 1):
            left += count
            count = math.ceil(count / 2) if epoch in self._rungs and not self.confirming else count
        return left

    def changes_left(self) -> int:
        """How often the number of members will still fall: programs are then compiled again."""
        return 0 if self.confirming else sum(rung > self.epoch for rung in self._rungs)

    def confirmation_ahead(self) -> int:
        """How many epochs per member the confirmation takes; 0 if none follows."""
        if self.confirming or self.done:
            return 0
        return 2 * self._confirm * self.total

    def last(self, number: int) -> Mapping[str, Any]:
        """A member's metrics after its last epoch; empty before its first."""
        return self._last.get(number, {})

    def value(self, number: int) -> float | None:
        """A member's metric on the validation examples after its last epoch."""
        return self.last(number).get(self.metric)

    def loss(self, number: int) -> float | None:
        """A member's validation loss, or its training loss if that is not known."""
        last = self.last(number)
        return last.get("validation_loss", last.get("loss"))

    def diverged(self, number: int) -> bool:
        """Whether a member's numbers are no longer finite."""
        return any(value is None for value in self.last(number).values())

    def of_candidate(self, candidate: int) -> list[int]:
        """The members of a candidate in the search."""
        return [m.number for m in self.members[: self.searched] if m.candidate == candidate]

    def mean(self, candidate: int) -> float:
        """A candidate's mean metric on the validation examples; nan if a member diverged."""
        return _mean([self.value(number) for number in self.of_candidate(candidate)])

    def score(self, candidate: int) -> float:
        """The same with a sign such that more is better."""
        return self.task.metric.sign * self.mean(candidate)

    def rank(self, candidate: int) -> tuple[float, ...]:
        """Sort key of candidates, best first: epochs survived, metric, then loss."""
        members = self.of_candidate(candidate)
        score, loss = self.score(candidate), _mean([self.loss(number) for number in members])
        epochs = max((self.epochs.get(k, 0) for k in members), default=0)
        if any(map(self.diverged, members)) or not math.isfinite(score):
            return (1.0, -epochs, 0.0, 0.0, candidate)
        return (0.0, -epochs, -score, loss, candidate)

    def rank_of_member(self, number: int) -> tuple[float, ...]:
        """Sort key of the members of a candidate, best first."""
        value, loss = self.value(number), self.loss(number)
        if value is None or loss is None or self.diverged(number):
            return (1.0, 0.0, 0.0, number)
        return (0.0, -self.task.metric.sign * value, loss, number)

    @property
    def winner(self) -> int:
        """The best candidate so far."""
        return min(range(len(self.changes)), key=self.rank)

    @property
    def best(self) -> int:
        """The best member of the best candidate."""
        return min(self.of_candidate(self.winner), key=self.rank_of_member)


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([math.nan if value is None else value for value in values]))


def rungs_of(epochs: int, halving: bool) -> list[int]:
    """The epochs after which half of the candidates is dropped: 5, 10 and 20 of 40."""
    found: list[int] = []
    rung = epochs // 2
    while halving and rung >= 1 and len(found) < 3:
        found.append(rung)
        rung //= 2
    return sorted(found)
