"""What a scan says: its first lines, a line an epoch, the leaderboard, the verdict."""

from __future__ import annotations

import csv
import io
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

import qnn_jax
from pipelines.scan_axes import Axis, command_of, value_of
from pipelines.scan_search import METRICS, Course
from pipelines.training_run import HYBRID, Splits
from qnn_jax.data import ImageDataset
from qnn_jax.runs import write_bytes_atomic, write_json_atomic
from qnn_jax.training.statistics import mean_interval

_TOP = 5


class _Default(TypedDict):
    member: int
    epochs: int
    validation_accuracy: float | None


class _Best(_Default):
    test_accuracy: float
    test_interval: tuple[float, float]


class _Seconds(TypedDict):
    total: float


class Told(TypedDict):
    """What of a scan's summary.json `conclusion` tells."""

    candidates: int
    best: _Best
    default: _Default
    verdict: str
    seconds: _Seconds


def introduction(
    name: str, dataset: ImageDataset, splits: Splits, axes: Sequence[Axis], course: Course
) -> list[tuple[str, str]]:
    """The first lines: what is scanned, on what."""
    counts = " + ".join(
        f"{len(part.labels):,} {which}" for which, part in zip(Splits._fields, splits, strict=True)
    )
    lines = [
        ("qnn_jax", f"{qnn_jax.__version__} on Python {platform.python_version()}"),
        ("data", f"{dataset.name}: {' / '.join(dataset.class_names)}; {counts} images"),
        (
            "scan",
            f"{name}: {len(course.members)} members, the default configuration first",
        ),
    ]
    return lines + [("axis" if k == 0 else "", _described(axis)) for k, axis in enumerate(axes)]


def _described(axis: Axis) -> str:
    if axis.values:
        return f"{axis.name} = {', '.join(map(_text, axis.values))}"
    spacing = " (log)" if axis.spacing == "log" else ""
    return f"{axis.name} from {axis.low:g} to {axis.high:g}{spacing}"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def epoch_line(row: Mapping[str, Any], epochs: int, left: float, confirming: float = 0.0) -> str:
    """Best, median and quartiles of the members' validation accuracy; the seconds that are left.

    `confirming` are those of the confirmation, which follows only if the default does not win.
    """
    values = np.array([v for v in row["validation_accuracy"] if v is not None], float)
    count, diverged = len(row["members"]), len(row["members"]) - len(values)
    told = f"epoch {row['of_members']:>{len(str(epochs))}}/{epochs}   {count} members   "
    if len(values):
        best = row["members"][
            int(np.argmax([-1 if v is None else v for v in row["validation_accuracy"]]))
        ]
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        told += (
            f"validation best {values.max():.4f} (member {best})   median {middle:.4f}   "
            f"quartiles {low:.4f} to {high:.4f}   "
        )
    told += f"{diverged} diverged   " if diverged else ""
    more = f", {confirming:.0f} s more if the default is beaten" if confirming else ""
    return f"{told}{row['seconds']:.2f} s   about {left:.0f} s left{more}"


def confirmation_heading(course: Course) -> str:
    """What begins when the search has ended, above its epochs."""
    winner = course.best
    count = sum(course.members[number].candidate == 0 for number in course.training)
    return (
        f"\nConfirmation: the winner (member {winner}) and the default train over {count} fresh "
        "seeds."
    )


def rows_of(course: Course, number: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """A member's metrics in the form of a single run's."""
    found = []
    for row in course.rows:
        if number in row["members"]:
            place = row["members"].index(number)
            told = {
                name: {
                    metric: (row if name == HYBRID else row[name])[metric][place]
                    for metric in METRICS
                }
                for name in names
            }
            found.append({**told, "seconds": row["seconds"] / len(row["members"])})
    return found


def leaderboard(course: Course, axes: Sequence[Axis], test_accuracy: float) -> list[dict[str, Any]]:
    """A row for each member of the search, best first; the test metric of the first one only."""
    searched = course.members[: course.searched]

    def rank(number: int) -> tuple[float, ...]:
        last = course.last(number)
        accuracy, loss = last.get("validation_accuracy"), last.get("validation_loss")
        own = (math.inf, math.inf) if accuracy is None or loss is None else (-accuracy, loss)
        return (*course.rank(course.members[number].candidate), *own, number)

    board = []
    for place, number in enumerate(sorted((m.number for m in searched), key=rank)):
        member, last = course.members[number], course.last(number)
        finished = course.epochs.get(number, 0)
        diverged = course.diverged(number)
        whole = finished == member.config.training.epochs
        board.append(
            {
                "rank": place + 1,
                "member": number,
                "candidate": member.candidate,
                **{axis.name: value_of(member.config, axis.name) for axis in axes},
                "epochs": finished,
                "outcome": "diverged" if diverged else "finished" if whole else "dropped",
                "validation_accuracy": last.get("validation_accuracy"),
                "validation_loss": last.get("validation_loss"),
                "candidate_validation_accuracy": course.score(member.candidate),
                "test_accuracy": test_accuracy if place == 0 else None,
                "command": command_of(_named(course, number)),
            }
        )
    return board


def _named(course: Course, number: int) -> Any:
    import dataclasses

    config = course.members[number].config
    return dataclasses.replace(config, run=f"{config.run.removesuffix('-best')}-{number}")


def write_leaderboard(folder: Path, board: Sequence[Mapping[str, Any]]) -> None:
    """leaderboard.csv and leaderboard.json."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(board[0]), lineterminator="\n")
    writer.writeheader()
    for row in board:
        writer.writerow({k: _text(v) if isinstance(v, tuple) else v for k, v in row.items()})
    write_bytes_atomic(folder / "leaderboard.csv", text.getvalue().encode())
    write_json_atomic(folder / "leaderboard.json", {"members": list(board)})


def confirmation(course: Course) -> dict[str, Any] | None:
    """Winner and default over seeds that chose nothing; None where they did not meet again."""
    again = course.members[course.searched :]
    if not again:
        return None

    def accuracies(candidate: int) -> list[float | None]:
        numbers = [m.number for m in again if m.candidate == candidate]
        return [course.last(number)["validation_accuracy"] for number in numbers]

    winner, default = accuracies(course.winner), accuracies(0)
    pairs = [
        100 * (mine - theirs)
        for mine, theirs in zip(winner, default, strict=True)
        if mine is not None and theirs is not None
    ]
    return {
        "seeds": [m.config.seed for m in again if m.candidate == 0],
        "winner": winner,
        "default": default,
        "difference_points": float(np.mean(pairs)) if pairs else None,
        "interval_points": mean_interval(np.array(pairs)) if len(pairs) > 1 else None,
    }


def verdict(course: Course) -> str:
    """Whether the winner beats the default on validation, in a sentence."""
    found = confirmation(course)
    if course.winner == 0:
        return "No candidate did better than the default on the validation images: it stays."
    ahead = 100 * (course.score(course.winner) - course.score(0))
    chosen = (
        f"{ahead:+.2f} points on the validation images that chose it"
        if math.isfinite(ahead)
        and course.epochs[course.of_candidate(0)[0]]
        == course.epochs[course.of_candidate(course.winner)[0]]
        else "ahead when the default was dropped"
    )
    count = len(found["seeds"]) if found else 0
    if found and (None in found["winner"] or None in found["default"]):
        lost = sum(value is None for value in found["winner"])
        return (
            f"Over {count} fresh seeds {lost} trainings of the winner diverged, and "
            f"{sum(value is None for value in found['default'])} of the default: no comparison."
        )
    if found is None or found["interval_points"] is None:
        return (
            f"The winner was {chosen}; that is no proof, since the best of many is lucky too: "
            "--confirm 4 trains both over fresh seeds."
        )
    low, high = found["interval_points"]
    numbers = (
        f"{found['difference_points']:+.2f} points of validation accuracy (95 % interval "
        f"{low:+.2f} to {high:+.2f}) over {count} fresh seeds, on the same validation images; "
        f"it was {chosen}"
    )
    if low > 0:
        return f"The winner beats the default: {numbers}."
    if high < 0:
        return f"The winner does worse than the default: {numbers}."
    return f"The winner does not measurably beat the default: {numbers}."


def conclusion(summary: Mapping[str, Any]) -> str:
    """The last lines: the best member, the default, the verdict."""
    best, default = summary["best"], summary["default"]
    low, high = best["test_interval"]
    return (
        f"\nBest of {summary['candidates']} configurations: validation "
        f"{_accuracy(best)}, member {best['member']}; test {best['test_accuracy']:.4f} "
        f"(95 % interval {low:.4f} to {high:.4f})\n"
        f"Default: validation {_accuracy(default)} after {default['epochs']} epochs\n"
        f"{summary['verdict']}\n"
        f"{summary['seconds']['total']:.1f} s in all"
    )


def _accuracy(row: Mapping[str, Any]) -> str:
    value = row["validation_accuracy"]
    return "diverged" if value is None else f"{value:.4f}"
