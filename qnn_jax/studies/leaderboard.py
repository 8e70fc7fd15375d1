"""The texts of a scan: first lines, a line per epoch, leaderboard, verdict. Imports no JAX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from qnn_jax.runs import write_bytes_atomic, write_json_atomic
from qnn_jax.runs.files import normalised
from qnn_jax.stats import mean_interval
from qnn_jax.studies.axes import Axis, value_of
from qnn_jax.studies.course import Course
from qnn_jax.tasks.stored import Seeds, config_of
from qnn_jax.training.task import Folders, Metric, Splits, Task

#: Returns the command that trains a member alone, from its task, its seeds and a name for its run.
Repeat = Callable[[Task, Seeds, str], str]


def introduction(splits: Splits, axes: Sequence[Axis], course: Course) -> list[tuple[str, str]]:
    """The first lines: the scan and its data."""
    lines = [
        ("data", str(splits)),
        ("scan", f"{len(course.members)} members, the default configuration first"),
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


def epoch_line(
    metric: Metric,
    row: Mapping[str, Any],
    values: Sequence[float | None],
    epochs: int,
    left: float,
    confirming: float = 0.0,
) -> str:
    """Best, median and quartiles of the members' validation metric; the seconds that are left.

    `row` and `values` are of one epoch, a value is None where its member diverged; `left` and
    `confirming` are seconds, those of the confirmation only if the default does not win.
    """
    found = {number: v for number, v in zip(row["members"], values, strict=True) if v is not None}
    count, diverged = len(values), len(values) - len(found)
    told = f"epoch {row['of_members']:>{len(str(epochs))}}/{epochs}   {count} members   "
    if found:
        best = max(found, key=lambda number: metric.sign * found[number])
        quartiles = np.quantile(list(found.values()), [0.25, 0.5, 0.75])
        low, middle, high = (f"{value:{metric.form}}" for value in quartiles)
        told += (
            f"validation best {found[best]:{metric.form}} (member {best})   median {middle}   "
            f"quartiles {low} to {high}   "
        )
    told += f"{diverged} diverged   " if diverged else ""
    more = f", {confirming:.0f} s more if the default is beaten" if confirming else ""
    return f"{told}{row['seconds']:.2f} s   about {left:.0f} s left{more}"


def confirmation_heading(course: Course) -> str:
    """Text above the epochs of the confirmation."""
    winner = course.best
    count = sum(course.members[number].candidate == 0 for number in course.training)
    return (
        f"\nConfirmation: the winner (member {winner}) and the default train over {count} fresh "
        "seeds."
    )


def rows_of(course: Course, number: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """A member's metrics in the form of a single run's."""
    found: list[dict[str, Any]] = []
    for row in course.rows:
        if number in row["members"]:
            place, seconds = row["members"].index(number), row["seconds"] / len(row["members"])
            told = {
                name: {metric: values[place] for metric, values in row[name].items()}
                for name in names
            }
            found.append({"epoch": len(found) + 1, **told, "seconds": seconds})
    return found


def leaderboard(
    course: Course, axes: Sequence[Axis], test: float, name: str, folders: Folders, repeat: Repeat
) -> list[dict[str, Any]]:
    """A row for each member of the search, best first.

    Only the best has a test metric, `test`. `repeat` gives the command that trains a member alone.
    """
    metric = course.task.metric.name

    def rank(number: int) -> tuple[float, ...]:
        return (
            *course.rank(course.members[number].candidate),
            *course.rank_of_member(number),
        )

    board = []
    searched = range(course.searched)
    for place, number in enumerate(sorted(searched, key=rank)):
        member = course.members[number]
        finished = course.epochs.get(number, 0)
        outcome = "finished" if finished == course.total else "dropped"
        own = f"{name}-{number}"
        board.append(
            {
                "rank": place + 1,
                "member": number,
                "candidate": member.candidate,
                **{axis.name: value_of(member.task, member.seeds, axis.name) for axis in axes},
                "epochs": finished,
                "outcome": "diverged" if course.diverged(number) else outcome,
                f"validation_{metric}": course.value(number),
                "validation_loss": course.last(number).get("validation_loss"),
                f"candidate_validation_{metric}": course.mean(member.candidate),
                f"test_{metric}": test if place == 0 else None,
                "command": repeat(member.task, member.seeds, own),
                "config": normalised(config_of(member.task, member.seeds, own, folders)),
            }
        )
    return board


def write_leaderboard(folder: Path, board: Sequence[Mapping[str, Any]]) -> None:
    """Write leaderboard.csv and leaderboard.json."""
    text = io.StringIO()
    columns = [name for name in board[0] if name != "config"]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in board:
        writer.writerow({k: _text(v) if isinstance(v, tuple) else v for k, v in row.items()})
    write_bytes_atomic(folder / "leaderboard.csv", text.getvalue().encode())
    write_json_atomic(folder / "leaderboard.json", {"members": list(board)})


def _keys(metric: Metric) -> tuple[str, str]:
    """The names of a difference and its interval in JSON: they have a unit."""
    unit = metric.unit.replace(" ", "_").lower()
    return f"difference_{unit}", f"interval_{unit}"


def confirmation(course: Course) -> dict[str, Any] | None:
    """Winner and default over fresh seeds; None if they did not train again.

    The difference is above 0 if the winner is better.
    """
    again, metric = course.members[course.searched :], course.task.metric
    if not again:
        return None

    def values(candidate: int) -> list[float | None]:
        return [course.value(m.number) for m in again if m.candidate == candidate]

    winner, default = values(course.winner), values(0)
    pairs = [
        metric.sign * metric.scale * (mine - theirs)
        for mine, theirs in zip(winner, default, strict=True)
        if mine is not None and theirs is not None
    ]
    difference, interval = _keys(metric)
    return {
        "seeds": [m.seeds.seed for m in again if m.candidate == 0],
        "winner": winner,
        "default": default,
        difference: float(np.mean(pairs)) if pairs else None,
        interval: mean_interval(np.array(pairs)) if len(pairs) > 1 else None,
    }


def verdict(course: Course, examples: str = "examples") -> str:
    """Whether the winner is better than the default on validation, as a sentence."""
    found, metric = confirmation(course), course.task.metric
    if course.winner == 0:
        return f"No candidate did better than the default on the validation {examples}: it stays."
    ahead = metric.scale * (course.score(course.winner) - course.score(0))
    chosen = (
        f"{ahead:+{metric.difference_form}} {metric.unit} on the validation {examples} that chose "
        "it"
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
    difference, interval = _keys(metric)
    if found is None or found[interval] is None:
        return (
            f"The winner was {chosen}; this is no proof, since the best of many is partly luck: "
            "train both over fresh seeds (`confirm` 4)."
        )
    low, high = found[interval]
    numbers = (
        f"{found[difference]:+{metric.difference_form}} {metric.unit} (95 % interval "
        f"{low:+{metric.difference_form}} to {high:+{metric.difference_form}}) over {count} fresh "
        f"seeds, on the same validation {examples}; it was {chosen}"
    )
    if low > 0:
        return f"The winner beats the default: {numbers}."
    if high < 0:
        return f"The winner does worse than the default: {numbers}."
    return f"The winner does not measurably beat the default: {numbers}."


def summary_kind(metric: Metric) -> type[Any]:
    """The part of `conclusion` in a scan's summary.json that is read, for `from_json`."""
    default = {"member": int, "epochs": int, f"validation_{metric.name}": float | None}
    best = {**default, f"test_{metric.name}": float, "test_interval": tuple[float, float]}
    kind: Any = TypedDict(
        "Summary",
        {
            "candidates": int,
            "best": TypedDict("Best", best),  # type: ignore[misc]
            "default": TypedDict("Default", default),
            "verdict": str,
            "seconds": TypedDict("Seconds", {"total": float}),
        },
    )
    return kind


def conclusion(metric: Metric, summary: Mapping[str, Any]) -> str:
    """The last lines: the best member, the default, the verdict."""
    best, default = summary["best"], summary["default"]
    watched = f"validation_{metric.name}"

    def value(row: Mapping[str, Any]) -> str:
        return "diverged" if row[watched] is None else f"{row[watched]:{metric.form}}"

    low, high = best["test_interval"]
    return (
        f"\nBest of {summary['candidates']} configurations: validation {value(best)}, member "
        f"{best['member']}; test {best[f'test_{metric.name}']:{metric.form}} (95 % interval "
        f"{low:{metric.form}} to {high:{metric.form}})\n"
        f"Default: validation {value(default)} after {default['epochs']} epochs\n"
        f"{summary['verdict']}\n"
        f"{summary['seconds']['total']:.1f} s in all"
    )
