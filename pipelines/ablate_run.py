"""An ablation from its first program to its report: what `make ablate` does, whatever the task.

One program is one twin at one training size, all seeds side by side. What a program found is saved
at once, so that a killed ablation trains again only what it was in the middle of.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import jax
import numpy as np

import qnn_jax
from pipelines import command
from pipelines.ablate_table import (
    HYBRID,
    Metric,
    Row,
    Twin,
    bounded_interval,
    compare,
    headline,
    too_few,
    verdicts,
)
from pipelines.trained import RESTORE
from pipelines.training_run import tell_stopping, warn_of_other_versions
from qnn_jax.runs import (
    GracefulStop,
    RunDirectory,
    checkpoints,
    read_as,
    write_json_atomic,
)
from qnn_jax.runs.files import remove

if TYPE_CHECKING:
    from pipelines.ablate import AblateConfig

_WHOLE = "ablate.json"
_SECONDS_BETWEEN_LINES = 10.0
_COMPILE_SECONDS = 5.0  # a guess, before the first program is compiled
Cell = dict[str, Any]


class _Seconds(TypedDict):
    compile: float
    training: float


class _Cell(TypedDict):
    """What a checkpoint holds of a program that has ended; a score may be no number."""

    size: int
    twin: str
    parameters: dict[str, int]
    batch_size: int
    passes: int
    steps: int
    scores: list[Any]
    diverged: int
    seconds: _Seconds


class _Cells(TypedDict):
    cells: list[_Cell]


class _Line(TypedDict):
    size: int
    twin: str
    mean: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    p_corrected: float
    seconds: float


class _Told(TypedDict):
    """What of summary.json is told again when a finished study is asked for."""

    of: str
    quick: bool
    headline: str
    verdicts: list[str]
    table: list[_Line]
    seconds: _Seconds


class Trained(NamedTuple):
    """What a program found.

    Attributes:
        scores: on the test examples, of every seed.
        diverged: how many seeds ended with a parameter that is no finite number.
        seconds: of compiling and of training.
    """

    scores: list[float]
    diverged: int
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Study:
    """What is ablated.

    Attributes:
        task: its name.
        about: what is learned, in words.
        examples: what it is learned from, in one word.
        metric: what a score is.
        twins: the hybrid first.
        sizes: numbers of training examples, smallest first.
        seeds: how many.
        test_count: examples that the scores are of.
        train: of size, twin's name, whether to stop (asked between epochs), and a listener
            (finished epochs, all epochs, seconds so far): what was found, or None where stopped.
        facts: of size and twin's name: `parameters`, `batch_size`, `passes`, `steps`.
        work: of size and twin's name: what the program costs relative to the others.
        notes: how it is done, in sentences.
        manifest: what the result depends on beside the configuration.
    """

    task: str
    about: str
    examples: str
    metric: Metric
    twins: tuple[Twin, ...]
    sizes: tuple[int, ...]
    seeds: int
    test_count: int
    train: Callable[
        [int, str, Callable[[], bool], Callable[[int, int, float], None]], Trained | None
    ]
    facts: Callable[[int, str], Cell]
    work: Callable[[int, str], float]
    notes: tuple[str, ...]
    manifest: dict[str, Any]

    @property
    def plan(self) -> list[tuple[int, str]]:
        """The programs in order: size and twin's name."""
        return [(size, twin.name) for size in self.sizes for twin in self.twins]


@dataclass
class _Progress:
    """Lines that say what was found and what is left."""

    study: Study
    cells: list[Cell]
    told: float = field(default_factory=time.monotonic)

    def epoch(self, finished: int, epochs: int, seconds: float) -> None:
        """A line now and then within a program that takes long."""
        if finished == epochs or time.monotonic() - self.told < _SECONDS_BETWEEN_LINES:
            return
        self.told = time.monotonic()
        size, name = self.study.plan[len(self.cells)]
        left = self._left(finished / epochs, seconds)
        print(
            f"        {size:,} {self.study.examples}, {name}: epoch {finished} of {epochs}, "
            f"{left} left",
            flush=True,
        )

    def cell(self) -> None:
        """A line for the program that has ended."""
        self.told = time.monotonic()
        cell, total = self.cells[-1], len(self.study.plan)
        metric, values = self.study.metric, np.array(cell["scores"])
        score = metric.score(float(values.mean()), bounded_interval(values, metric))
        diverged = f"   {cell['diverged']} seeds diverged" if cell["diverged"] else ""
        print(
            f"{len(self.cells):>3}/{total}   {cell['size']:>6,} {self.study.examples}   "
            f"{cell['twin']:<10} {score}   "
            f"{sum(cell['seconds'].values()):5.1f} s   {self._left()} left{diverged}",
            flush=True,
        )

    def _left(self, share: float = 0.0, seconds: float = 0.0) -> str:
        """By the pace of finished programs, and of a share of the next that took `seconds`."""
        works = [self.study.work(*step) for step in self.study.plan]
        ended = len(self.cells)
        done = sum(works[:ended]) + (share * works[ended] if share else 0.0)
        took = seconds + sum(cell["seconds"]["training"] for cell in self.cells)
        compiling = [cell["seconds"]["compile"] for cell in self.cells] or [_COMPILE_SECONDS]
        programs = len(works) - ended - (1 if share else 0)
        left = (sum(works) - done) * took / done + programs * float(np.mean(compiling))
        return f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"


def run_study(
    study: Study,
    config: AblateConfig,
    config_json: Mapping[str, Any],
    not_of_the_run: Sequence[str],
) -> int:
    """Train all twins at all sizes, compare, write the run's directory; the exit status."""
    with RunDirectory.open(
        config.results_dir, config.run, config_json, config.resume, not_of_the_run
    ) as run:
        if run.finished:
            return _tell_finished(run, study)
        if run.fresh:  # what an earlier run of this name has found is not its result
            remove(run.path / _WHOLE)
        cells = _finished(run)
        plan = study.plan
        _introduce(study, run)
        if cells:
            print(f"Resuming after {len(cells)} of {len(plan)} programs.", flush=True)
            warn_of_other_versions(run.path, study.manifest)
        write_json_atomic(run.path / "manifest.json", study.manifest)
        progress = _Progress(study, cells)
        with GracefulStop(notify=tell_stopping) as stop:
            for size, name in plan[len(cells) :]:
                trained = study.train(size, name, lambda: stop.requested, progress.epoch)
                if trained is not None:
                    cells.append(_cell(study, size, name, trained))
                    checkpoints.save(
                        run.checkpoints,
                        len(cells),
                        {},
                        fingerprint=run.fingerprint,
                        extra={"cells": cells},
                    )
                    progress.cell()
                if stop.requested and len(cells) < len(plan):
                    print(
                        f"Saved {len(cells)} of {len(plan)} programs; the same command goes on "
                        f"from there:\n  {command.again()}"
                    )
                    return stop.exit_code
        _report(study, config, run, cells)
    return 0


def _cell(study: Study, size: int, name: str, trained: Trained) -> Cell:
    """What is saved of a program."""
    return {
        "size": size,
        "twin": name,
        **study.facts(size, name),
        "scores": trained.scores,
        "diverged": trained.diverged,
        "seconds": {"compile": trained.seconds[0], "training": trained.seconds[1]},
    }


def _finished(run: RunDirectory) -> list[Cell]:
    """The cells of programs that ended before."""
    latest = checkpoints.latest(run.checkpoints)
    if latest is None:
        return []
    found = checkpoints.load(latest, {}, fingerprint=run.fingerprint, extra=_Cells)
    cells: list[Cell] = found.extra["cells"]
    return cells


def _report(study: Study, config: AblateConfig, run: RunDirectory, cells: list[Cell]) -> None:
    """Compare, draw, write all files, and say what was found."""
    from pipelines import ablate_figures, ablate_report  # late: matplotlib delays the start

    scores = {
        size: {cell["twin"]: cell["scores"] for cell in cells if cell["size"] == size}
        for size in study.sizes
    }
    rows = compare(scores, study.metric)
    by_place = {(cell["size"], cell["twin"]): cell for cell in cells}
    table = [_line(row, by_place[row.size, row.twin]) for row in rows]
    said = verdicts(rows, study.twins, study.metric, study.examples)
    warning = too_few(len(study.twins) - 1, study.seeds)
    summary = {
        "task": "ablate",  # no run of the task itself, which evaluation could take
        "of": study.task,
        "about": study.about,
        "quick": config.quick,
        "headline": headline(rows, study.twins, study.metric, study.seeds, study.examples),
        "verdicts": [*said, *([warning] if warning else [])],
        "metric": study.metric.name,
        "difference_in": study.metric.unit,
        "sizes": study.sizes,
        "seeds": study.seeds,
        "test_count": study.test_count,
        "twins": {twin.name: twin.what for twin in study.twins},
        "table": table,
        "notes": study.notes,
        "seconds": {
            kind: sum(cell["seconds"][kind] for cell in cells) for kind in ("compile", "training")
        },
    }
    write_json_atomic(run.path / _WHOLE, {**summary, "cells": cells})
    drawn = ablate_figures.draw_all(run, study, scores, rows)
    ablate_report.write(run, summary, study, drawn)
    # Last of all, because a summary says that the run is finished.
    write_json_atomic(run.path / "summary.json", summary)
    _conclude(run.path, study, summary)


def _line(row: Row, cell: Cell) -> dict[str, Any]:
    """A line of the table as JSON."""
    return {
        **row._asdict(),
        **{name: cell[name] for name in ("parameters", "batch_size", "passes", "steps")},
        "diverged": cell["diverged"],
        "seconds": sum(cell["seconds"].values()),
    }


def _introduce(study: Study, run: RunDirectory) -> None:
    versions = f"Python {platform.python_version()}, jax {jax.__version__}"
    lines = [
        ("qnn_jax", f"{qnn_jax.__version__} on {versions}"),
        (
            "device",
            f"{jax.default_backend()}, {os.cpu_count()} cores; circuits are simulated exactly",
        ),
        ("task", f"{study.about}; {study.test_count:,} {study.examples} to test"),
        (
            "programs",
            f"{len(study.plan)}: {len(study.twins)} twins at "
            f"{', '.join(f'{size:,}' for size in study.sizes)} {study.examples}, "
            f"each of {study.seeds} seeds side by side",
        ),
        *((twin.name, twin.what) for twin in study.twins),
        ("results", f"{run.path}"),
    ]
    print("\n".join(f"{name:<11}{text}" for name, text in lines) + "\n", flush=True)


def _conclude(path: Path, study: Study, summary: Mapping[str, Any]) -> None:
    metric = study.metric
    print(
        f"\n{'size':>7} {'twin':<10} {metric.title + ', 95 % interval':<32} "
        f"{'lead in ' + metric.unit:<28} {'p (Holm)':<9} seconds"
    )
    for line in summary["table"]:
        score = metric.score(line["mean"], line["interval"])
        lead = f"{metric.lead(line['gain'], line['gain_interval']):<28} {line['p_corrected']:<9.2g}"
        print(
            f"{line['size']:>7,} {line['twin']:<10} {score:<32} "
            f"{lead if line['twin'] != HYBRID else '':<38} {line['seconds']:7.1f}"
        )
    quick = "A quick look, with few seeds, sizes and steps. " if summary["quick"] else ""
    print(f"\n{quick}{summary['headline']}")
    for sentence in summary["verdicts"]:
        print(sentence)
    seconds = sum(summary["seconds"].values())
    print(f"{seconds:.1f} s in all; open {path / 'report.html'}")
    task = [] if summary["of"] == "fashion" else ["--task", summary["of"]]
    where = [] if path.parent == Path("results") else ["--results-dir", str(path.parent)]
    print(
        f"Next: {command.make('ablate', task + where)}, for the whole answer"
        if summary["quick"]
        else f"Next: {command.make('train-' + summary['of'], where)}, or make ablate "
        'ARGS="--help" for all flags'
    )


def _tell_finished(run: RunDirectory, study: Study) -> int:
    summary = read_as(run.path / "summary.json", _Told, RESTORE)
    assert summary is not None
    print(f"The run {run.path} is finished: this is its result; --no-resume trains it anew.")
    _conclude(run.path, study, summary)
    return 0
