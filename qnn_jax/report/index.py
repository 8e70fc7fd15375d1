"""results/index.html: all runs side by side, in one page that needs nothing else.

The page holds the numbers themselves, so that it can be sorted and curves be chosen without a
server. It loads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from qnn_jax.errors import InputError
from qnn_jax.report.page import render
from qnn_jax.runs import read_bytes, read_json, write_bytes_atomic
from qnn_jax.runs.files import decode_json
from qnn_jax.runs.schema import from_json, object_with
from qnn_jax.tasks.stored import no_run

#: Points of a curve; of longer trainings some epochs are left out.
_POINTS = 200
_BROKEN = "delete the run, or train it again with `resume=False`"
#: Pages that a run may have, in the order of their links.
_PAGES = ("report.html", "diagnose.html")


class Row(NamedTuple):
    """A run in the table: its own metric, its value, and that of the best model beside it.

    There is no such `baseline` where a run does not tell whether more or less is better, as those
    of earlier versions; `curve` has the validation metric of the run's own network by epoch.
    """

    name: str
    task: str
    data: str
    metric: str
    value: float
    interval: tuple[float, float]
    baseline: tuple[str, float] | None
    parameters: int
    seconds: float
    pages: tuple[str, ...]
    curve: tuple[tuple[int, float], ...]


class _Seconds(TypedDict):
    total: float


class _Line(TypedDict):
    """A line of metrics.jsonl."""

    epoch: int
    hybrid: dict[str, Any]


def write_index(results_dir: Path) -> Path:
    """Write index.html into the folder of all runs; the path of it.

    Raises:
        InputError: where there is no finished training, or a file of one is damaged.
    """
    rows = [row for path in sorted(results_dir.glob("*/summary.json")) if (row := _row(path))]
    if not rows:
        raise no_run(results_dir)
    curves = {row.name: row.curve for row in rows if row.curve}
    # "<" is written as an escape, so that no text can end the script.
    data = json.dumps({"curves": curves}, allow_nan=False).replace("<", "\\u003c")
    page = render("index.html.j2", rows=rows, data=data)
    path = results_dir / "index.html"
    write_bytes_atomic(path, page.encode())
    return path


def _row(path: Path) -> Row | None:
    """What a run tells of itself; None of a folder that is no training."""
    summary = read_json(path, _BROKEN)
    metric = (summary or {}).get("metric")
    if summary is None or not isinstance(metric, str):
        return None  # an ablation, or a scan, which has a run of its own for its best member
    if f"test_{metric}" not in summary or "parameters" not in summary:
        return None
    fields = {
        f"test_{metric}": float,
        "test_interval": tuple[float, float],
        "parameters": dict[str, int],
        "baselines": dict[str, float | None],
        "seconds": _Seconds,
    }
    what = f"File {path}"
    told: Any = from_json(object_with(fields), {"baselines": {}, **summary}, what, _BROKEN)
    folder = path.parent
    pages = tuple(name for name in _PAGES if (folder / name).is_file())
    return Row(
        folder.name,
        str(summary.get("task", "")),
        str(summary.get("data", "")),
        metric,
        told[f"test_{metric}"],
        told["test_interval"],
        _best(told["baselines"], summary.get("better")),
        sum(told["parameters"].values()),
        told["seconds"]["total"],
        pages,
        _curve(folder / "metrics.jsonl", f"validation_{metric}"),
    )


def _best(baselines: Mapping[str, float | None], better: object) -> tuple[str, float] | None:
    found = [(name, value) for name, value in baselines.items() if value is not None]
    if not found or better not in ("more", "less"):
        return None
    return (max if better == "more" else min)(found, key=lambda one: one[1])


def _curve(path: Path, name: str) -> tuple[tuple[int, float], ...]:
    """The validation metric of the run's own network by epoch; what is unreadable is left out."""
    text = read_bytes(path, _BROKEN)
    points: list[tuple[int, float]] = []
    for line in (text or b"").splitlines():
        try:
            row = from_json(_Line, decode_json(line), "", "")
            points.append((row["epoch"], from_json(float, row["hybrid"].get(name), "", "")))
        except InputError:
            continue
    return _thinned(points)


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    step = -(-len(points) // _POINTS) or 1
    kept = list(points[::step])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return tuple(kept)
