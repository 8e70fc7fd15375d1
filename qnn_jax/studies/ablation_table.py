"""Arguments of an ablation and the evaluation of its scores: means, paired differences, sentences.

A cell is one member at one training size, with a score for every seed. Imports no JAX.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qnn_jax.circuits import checks
from qnn_jax.errors import InputError
from qnn_jax.stats import holm, mean_interval, sign_flip_test
from qnn_jax.training.task import HYBRID, Member, Metric, Task

#: Seeds train in parallel, and each needs memory.
MOST_SEEDS = 100
#: Significance level.
_LEVEL = 0.05
#: Scores of all seeds by training size and member's name.
Scores = Mapping[int, Mapping[str, Sequence[float]]]


def check_ablation(
    task: Task, sizes: Sequence[int], seeds: int, first_seed: int = 0
) -> tuple[int, ...]:
    """Check the arguments of an ablation before JAX loads.

    Returns:
        The sizes in order, that of all examples last.
    """
    task.check()
    if not 2 <= seeds <= MOST_SEEDS:
        raise InputError(
            f"Argument `seeds` must be between 2, for an interval, and {MOST_SEEDS}, which train "
            f"side by side, but is {seeds}."
        )
    checks.seed("first_seed", first_seed)
    if first_seed + seeds > 2**32:
        raise InputError(
            f"Argument `first_seed` must leave room for {seeds - 1} seeds above it, up to "
            f"{2**32 - 1}, but is {first_seed}."
        )
    if not sizes or len(set(sizes)) < len(sizes) or min(sizes) < 0:
        raise InputError(
            "Argument `sizes` must hold one or more different numbers of training examples, 0 for "
            f"all, but is {tuple(sizes)}."
        )
    for size in sizes:
        try:
            task.sized(size).check()
        except InputError as error:
            raise InputError(
                "Argument `sizes` must hold numbers of examples that the task can train on, but "
                f"has {size or 'all (0)'}: {error}"
            ) from None
    for name, value, without in _other_than_default(task):
        if all(without.sized(size) == task.sized(size) for size in sizes):
            raise InputError(
                f"Argument `{name}` must be left out of an ablation of these `sizes`, which "
                f"decide it, but is {value!r}."
            )
    return tuple(sorted(sizes, key=lambda size: size or np.inf))


def _other_than_default(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """The fields, by name, that differ from their defaults, and the values with the defaults."""
    for field in dataclasses.fields(value):
        here, default = getattr(value, field.name), field.default
        if default is dataclasses.MISSING or here == default:
            continue
        if dataclasses.is_dataclass(here):
            for name, number, without in _other_than_default(here):
                yield name, number, dataclasses.replace(value, **{field.name: without})
        else:
            yield field.name, here, dataclasses.replace(value, **{field.name: default})


class Cell(NamedTuple):
    """One member at one training size.

    Attributes:
        size: training examples.
        twin: name of the member.
        parameters: how many are "classical", "quantum" and "frozen".
        batch_size: examples of an optimiser step.
        passes: how often each example was used in all.
        steps: number of optimiser steps.
        scores: on the test examples, of every seed.
        diverged: how many seeds ended with a non-finite number.
        seconds: of all seeds together: "compile" and "training".
    """

    size: int
    twin: str
    parameters: Mapping[str, int]
    batch_size: int
    passes: int
    steps: int
    scores: Sequence[float]
    diverged: int
    seconds: Mapping[str, float]


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        size: training examples.
        twin: name of the member.
        mean: of the scores over seeds.
        interval: its 95 % interval (Student), clipped to the range of scores.
        worst: of the scores over seeds.
        gain: by how much the hybrid is better, in the metric's unit, mean over seeds; positive
            if the hybrid is better. 0 for the hybrid itself.
        gain_interval: its 95 % interval (Student, paired by seed).
        p: of the sign-flip test of the paired differences; 1 for the hybrid itself.
        p_corrected: for the number of twins (Holm).
    """

    size: int
    twin: str
    mean: float
    interval: tuple[float, float]
    worst: float
    gain: float
    gain_interval: tuple[float, float]
    p: float
    p_corrected: float

    @property
    def differs(self) -> bool:
        """Whether the difference passes the corrected test."""
        return self.p_corrected < _LEVEL


@dataclass(frozen=True, eq=False)
class Ablation:
    """The result of an ablation; `print` shows the table and its conclusions.

    Attributes:
        task: the name of the kind of task.
        about: description of the data.
        examples: what one example is, in the plural.
        metric: of the scores.
        members: the hybrid first.
        test_count: number of test examples.
        cells: of all sizes and members.
        notes: description of the method, in sentences.
        quick: whether it is only a quick look.
    """

    task: str
    about: str
    examples: str
    metric: Metric
    members: tuple[Member, ...]
    test_count: int
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    quick: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of training examples, smallest first."""
        return tuple(sorted({cell.size for cell in self.cells}))

    @property
    def seeds(self) -> int:
        """The number of seeds."""
        return len(self.cells[0].scores)

    @property
    def scores(self) -> Scores:
        """The scores of every seed, by size and member."""
        return {
            size: {cell.twin: cell.scores for cell in self.cells if cell.size == size}
            for size in self.sizes
        }

    @functools.cached_property
    def rows(self) -> tuple[Row, ...]:
        """The table."""
        return tuple(compare(self.scores, self.metric))

    def row(self, size: int, twin: str) -> Row:
        """One line of the table."""
        return next(row for row in self.rows if (row.size, row.twin) == (size, twin))

    @property
    def headline(self) -> str:
        """The conclusion: the effect of what the first twin lacks, at the largest size."""
        twin = self.members[1]
        row = self.row(max(self.sizes), twin.name)
        return (
            f"On this task {twin.worth_of} {_found(row)}: {amount(row, self.metric)} over "
            f"{self.seeds} seeds, trained on {row.size:,} {self.examples}."
            + (" Too few seeds to tell." if too_few(len(self.members) - 1, self.seeds) else "")
        )

    @property
    def verdicts(self) -> list[str]:
        """A sentence on all twins for every training size, the largest first."""
        sentences = []
        for size in reversed(self.sizes):
            said, alike = [], []
            for twin in self.members[1:]:
                row = self.row(size, twin.name)
                told = amount(row, self.metric)
                if row.differs:
                    p = f"corrected p = {row.p_corrected:.2g}"
                    said.append(f"{twin.worth_of} {_found(row)} ({told}, {p})")
                else:
                    alike.append(f"{twin.worth_of} ({told})")
            said += [f"no measurable difference: {', '.join(alike)}"] if alike else []
            sentences.append(f"Trained on {size:,} {self.examples}: {'; '.join(said)}.")
        warning = too_few(len(self.members) - 1, self.seeds)
        return [*sentences, *([warning] if warning else [])]

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        cells = {(cell.size, cell.twin): cell for cell in self.cells}
        return {
            "task": "ablate",  # not a run of the task itself, which evaluation could load
            "of": self.task,
            "about": self.about,
            "quick": self.quick,
            "headline": self.headline,
            "verdicts": self.verdicts,
            "metric": self.metric.name,
            "difference_in": self.metric.unit,
            "sizes": self.sizes,
            "seeds": self.seeds,
            "test_count": self.test_count,
            "twins": {member.name: member.what for member in self.members},
            "table": [_line(row, cells[row.size, row.twin]) for row in self.rows],
            "notes": self.notes,
            "seconds": {
                kind: sum(cell.seconds[kind] for cell in self.cells)
                for kind in ("compile", "training")
            },
        }

    def __str__(self) -> str:
        """The table, the conclusion and the verdicts."""
        return text_of(self.summary, self.metric)


def _line(row: Row, cell: Cell) -> dict[str, Any]:
    """A line of the table as JSON."""
    return {
        **row._asdict(),
        "parameters": cell.parameters,
        "batch_size": cell.batch_size,
        "passes": cell.passes,
        "steps": cell.steps,
        "diverged": cell.diverged,
        "seconds": sum(cell.seconds.values()),
    }


def text_of(summary: Mapping[str, Any], metric: Metric) -> str:
    """A summary as a table with the conclusion and the verdicts below."""
    width = max(len(line["twin"]) for line in summary["table"])
    lines = [
        f"{'size':>7} {'twin':<{width}} {metric.title + ', 95 % interval':<32} "
        f"{'lead in ' + metric.unit:<28} {'p (Holm)':<9} seconds"
    ]
    for line in summary["table"]:
        score = metric.score(_number(line["mean"]), [_number(end) for end in line["interval"]])
        ends = [_number(end) for end in line["gain_interval"]]
        lead = f"{metric.lead(_number(line['gain']), ends):<28} {line['p_corrected']:<9.2g}"
        lines.append(
            f"{line['size']:>7,} {line['twin']:<{width}} {score:<32} "
            f"{lead if line['twin'] != HYBRID else '':<38} {line['seconds']:7.1f}"
        )
    quick = "A quick look, with few seeds, sizes and steps. " if summary["quick"] else ""
    return "\n".join([*lines, "", quick + summary["headline"], *summary["verdicts"]])


def _number(value: float | None) -> float:
    """A number of a summary; JSON has null for nan."""
    return math.nan if value is None else value


def gains(scores: Mapping[str, Sequence[float]], twin: str, metric: Metric) -> np.ndarray:
    """By how much the hybrid is better than a twin, for each seed, in the metric's unit."""
    lead = np.asarray(scores[HYBRID], float) - np.asarray(scores[twin], float)
    return metric.sign * metric.scale * lead


def bounded_interval(values: np.ndarray, metric: Metric) -> tuple[float, float]:
    """The 95 % interval of a mean of scores, within the range of scores."""
    low, high = np.clip(mean_interval(values), *metric.bounds)
    return float(low), float(high)


def compare(scores: Scores, metric: Metric) -> list[Row]:
    """The table: sizes in order, the hybrid first; every test is paired by seed."""
    rows = []
    for size, by_twin in sorted(scores.items()):
        twins = [name for name in by_twin if name != HYBRID]
        differences = {name: gains(by_twin, name, metric) for name in (HYBRID, *twins)}
        p_values = [sign_flip_test(differences[name]) for name in twins]
        tests = dict(zip(twins, zip(p_values, holm(p_values), strict=True), strict=True))
        for name in (HYBRID, *twins):
            values, difference = np.asarray(by_twin[name], float), differences[name]
            p, corrected = tests.get(name, (1.0, 1.0))
            rows.append(
                Row(
                    size,
                    name,
                    float(values.mean()),
                    bounded_interval(values, metric),
                    float(metric.sign * (metric.sign * values).min()),
                    float(difference.mean()),
                    mean_interval(difference),
                    p,
                    corrected,
                )
            )
    return rows


def amount(row: Row, metric: Metric) -> str:
    """A difference as text: ``+0.02 ± 0.11 points``."""
    half = (row.gain_interval[1] - row.gain_interval[0]) / 2
    return f"{row.gain + 0.0:+{metric.difference_form}} ± {half:{metric.difference_form}} " + (
        metric.unit
    )


def _found(row: Row) -> str:
    if not row.differs:
        return "made no measurable difference"
    return "helped" if row.gain > 0 else "did harm"


def too_few(twins: int, seeds: int) -> str | None:
    """A warning if even differences of one sign in all seeds could not pass the test."""
    needed = next(n for n in range(2, 1000) if twins * 2.0 ** (1 - n) < _LEVEL)
    if seeds >= needed:
        return None
    return (
        f"{seeds} seeds are too few to tell: even differences of one sign in all of them would not "
        f"pass the test, which takes {needed} seeds."
    )
