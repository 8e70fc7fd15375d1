"""report.html and the pictures of a training run of any task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from qnn_jax.circuits import Circuit
from qnn_jax.report import regression
from qnn_jax.report.figures import (
    circuit_picture,
    confusion,
    curves,
    label,
    mistakes,
    plane,
    save,
)
from qnn_jax.report.page import Picture, Section, Table, write_page
from qnn_jax.tasks.fit import Finished
from qnn_jax.training.task import HYBRID


class _Drawn(NamedTuple):
    """A picture before it is written."""

    name: str
    figure: Figure
    caption: str


def write_run(folder: Path, finished: Finished) -> None:
    """Draw every picture of a run into its folder `figures` and write report.html.

    A picture is placed in the section of the task's explanation that names it, else above them.

    Raises:
        InputError: if it cannot be written.
    """
    (folder / "figures").mkdir(exist_ok=True)
    trained = finished.trained
    summary, metric = trained.summary, trained.task.metric
    explanations = trained.task.explanations(trained, finished.splits)
    drawn = _pictures(finished)
    drawn += [
        _Drawn(name, circuit_picture(what) if isinstance(what, Circuit) else what(), caption)
        for one in explanations
        for name, what, caption in one.own
    ]
    for picture in drawn:
        save(picture.figure, folder / "figures" / f"{picture.name}.png")
    pictures = {one.name: Picture(one.name, one.caption) for one in drawn}
    sections = []
    for one in explanations:
        names = [*one.pictures, *(name for name, _, _ in one.own)]
        own = [pictures.pop(name) for name in names if name in pictures]
        sections.append(Section(one.title, one.paragraphs, pictures=own))
    value, interval = summary[f"test_{metric.name}"], summary["test_interval"]
    tables = [_results(finished), Table((), _facts(summary))]
    write_page(
        folder / "report.html",
        _title(finished),
        f"{metric.heading} {metric.score(value, interval)}, 95 % interval in brackets",
        [
            Section("", [summary["verdict"]], tables, list(pictures.values())),
            *sections,
            Section("The circuit as text", text=str(trained.circuit)),
        ],
        "All numbers: summary.json, metrics.jsonl, config.json and manifest.json in this folder.",
    )


def _title(finished: Finished) -> str:
    if finished.splits.class_names:
        return finished.splits.title
    name = finished.trained.task.name.replace("_", " ").capitalize()
    return f"{name}: {finished.splits.title}"


def _pictures(finished: Finished) -> list[_Drawn]:
    """The pictures for the type of data: classes or values, images or numbers."""
    trained, test = finished.trained, finished.splits.test
    metric, classes = trained.task.metric, finished.splits.class_names
    predicted = np.asarray(metric.predictions(finished.outcomes[HYBRID].outputs))
    names = [one.name for one in trained.task.members() if one.name in finished.outcomes]
    drawn = []
    if finished.rows:
        caption = f"Loss and validation {metric.quantity} by epoch."
        drawn.append(_Drawn("curves", curves(finished.rows, names, metric), caption))
    if classes:
        drawn += _of_classes(finished, predicted)
    else:
        if np.shape(test.inputs)[1:] == (2,):
            models = {
                **{
                    label(name): one.predicted
                    for name, one in finished.references.items()
                    if one.predicted is not None
                },
                HYBRID: predicted,
            }
            caption = "Truth and predictions at the test points; below, the errors (mind the "
            drawn.append(
                _Drawn("surfaces", regression.surfaces(test, models), f"{caption}scales).")
            )
        drawn.append(
            _Drawn(
                "residuals",
                regression.residuals(test, predicted),
                "Predicted against true values, and how often each error occurs.",
            )
        )
    return [*drawn, _Drawn("circuit", circuit_picture(trained.circuit), "The circuit.")]


def _of_classes(finished: Finished, predicted: np.ndarray) -> list[_Drawn]:
    trained, test, classes = finished.trained, finished.splits.test, finished.splits.class_names
    targets, examples = np.asarray(test.targets), finished.splits.examples
    drawn = []
    if trained.circuit.num_inputs > 1:
        caption = f"How circuit and head classify the circuit's inputs, with test {examples} on it."
        drawn.append(_Drawn("plane", plane(trained, test, predicted, classes), caption))
    caption = f"Test {examples} by true and predicted class."
    drawn.append(_Drawn("confusion", confusion(targets, predicted, classes), caption))
    if np.ndim(test.inputs) == 3:
        figure = mistakes(np.asarray(test.inputs), targets, predicted, classes)
        drawn.append(_Drawn("mistakes", figure, "Test images that the hybrid misclassified."))
    return drawn


def _results(finished: Finished) -> Table:
    """The hybrid, its twins and the references: score, parameters, description."""
    summary, metric = finished.trained.summary, finished.trained.task.metric
    what = {one.name: one.what for one in finished.trained.task.members()}
    what |= {name: one.what for name, one in finished.references.items()}
    parameters = sum(summary["parameters"].values())
    score = metric.score(summary[f"test_{metric.name}"], summary["test_interval"])
    rows = [("hybrid, exact", score, f"{parameters:,}", what[HYBRID])]
    rows += [
        (
            f"hybrid, {one.name}",
            metric.score(one.value, one.interval),
            f"{parameters:,}",
            "the same",
        )
        for one in finished.trained.task.results(summary)
    ]
    rows += [
        (
            label(name),
            metric.score(value, summary["baseline_intervals"][name]),
            f"{summary['baseline_parameters'][name]:,}",
            what.get(name, ""),
        )
        for name, value in summary["baselines"].items()
    ]
    return Table(("model", metric.title, "parameters", "description"), rows)


def _facts(summary: Mapping[str, Any]) -> Sequence[Sequence[str]]:
    parameters = summary["parameters"]
    return [
        (
            summary["examples"],
            f"{summary['train_count']:,} to train, {summary['validation_count']:,} to validate, "
            f"{summary['test_count']:,} to test",
        ),
        (
            "parameters",
            f"{parameters['classical']:,} classical, {parameters['quantum']:,} quantum",
        ),
        ("seed", str(summary["seed"])),
        ("circuit run by", summary["device"]),
        ("seconds", f"{summary['seconds']['total']:.1f}"),
    ]
