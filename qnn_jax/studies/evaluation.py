"""Evaluate one trained model on several executors: the effect of shots and noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qnn_jax.circuits.checks import at_least
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.executors import Executor, exact
from qnn_jax.executors.executor import checked_executor
from qnn_jax.tasks.trained import Trained
from qnn_jax.training.task import Examples, Metric

#: The row that all others are compared with.
EXACT = "exact"
#: Default maximum number of examples.
MOST = 2000


class Row(NamedTuple):
    """The result of one executor for all examples.

    Attributes:
        name: of the executor.
        values: expectation values, shape (examples, observables).
        stderr: their standard errors, of the same shape.
        predicted: class numbers or values, shape (examples,).
        value: the metric of the task.
        interval: its 95 % interval over the examples.
        seconds: of the run, without transpilation and compilation.
        record: of the executor.
    """

    name: str
    values: np.ndarray
    stderr: np.ndarray
    predicted: np.ndarray
    value: float
    interval: tuple[float, float]
    seconds: float
    record: Any = None

    def rms(self, other: Row) -> float:
        """Root mean square deviation of the expectation values from those of another row."""
        return float(np.sqrt(np.mean((self.values - other.values) ** 2)))

    def changed(self, other: Row) -> int | None:
        """How many examples have another class than in another row; None for values."""
        if not np.issubdtype(self.predicted.dtype, np.integer):
            return None
        return int((self.predicted != other.predicted).sum())


def evaluate(
    trained: Trained,
    executors: Mapping[str, Executor],
    examples: Examples,
    *,
    key: Any = None,
    first: Callable[[str, Any], None] = silent,
    tell: Callable[[str], None] = silent,
) -> list[Row]:
    """Run a trained model's circuit on each executor; the exact simulator is the first.

    Args:
        trained: the model.
        executors: by name; without the exact one.
        examples: inputs as the task loads them, and targets.
        key: a random key, for executors that draw; each has its own `fold_in` of it.
        first: called with the name and the record of one example before the rest runs, for
            instance to certify the transpiled circuit.
        tell: called with the lines of a table, each as soon as it is available.

    Raises:
        InputError: if there is no example, for an invalid executor, or from an executor.

    >>> from qnn_jax.executors import sampled
    >>> from qnn_jax.tasks import Calculator
    >>> task, points = Calculator(), np.random.default_rng(0).uniform(size=(50, 2))
    >>> params = task.members()[0].network.init(jax.random.key(0), points)
    >>> adding = Trained(task, params["params"])  # or a trained one: train(task)
    >>> examples = Examples(points, adding.predict(points))
    >>> rows = evaluate(adding, {"64 shots": sampled(64)}, examples, key=jax.random.key(0))
    >>> [row.name for row in rows], rows[1].value > rows[0].value
    (['exact', '64 shots'], True)
    """
    if not len(examples.targets):
        raise InputError("Argument `examples` must hold at least one example, but holds none.")
    if EXACT in executors:
        raise InputError(
            f"Argument `executors` must not name one {EXACT!r}, because that is the first row."
        )
    for executor in executors.values():
        checked_executor(executor)
    inputs, metric = trained.encode(examples.inputs), trained.task.metric
    trained.run(inputs, exact)  # the first call compiles
    rows = [_row(trained, EXACT, exact, inputs, examples.targets, None)]
    tell(line(rows[0], rows[0], metric))
    for number, (name, executor) in enumerate(executors.items()):
        own = None if key is None else jax.random.fold_in(key, number)
        first(name, trained.run(inputs[:1], executor, own).record)
        rows.append(_row(trained, name, executor, inputs, examples.targets, own))
        tell(line(rows[-1], rows[0], metric))
    return rows


def _row(
    trained: Trained,
    name: str,
    executor: Executor,
    inputs: np.ndarray,
    targets: np.ndarray,
    key: Any,
) -> Row:
    began = time.monotonic()
    found = trained.run(inputs, executor, key)
    values, stderr = np.asarray(found.values), np.asarray(found.stderr)
    seconds = time.monotonic() - began
    return scored(trained, name, values, stderr, targets, seconds, found.record)


def scored(
    trained: Trained,
    name: str,
    values: np.ndarray,
    stderr: np.ndarray,
    targets: np.ndarray,
    seconds: float,
    record: Any = None,
) -> Row:
    """Expectation values through the model's head, and their score."""
    metric, outputs = trained.task.metric, trained.decide(values)
    of_each = np.asarray(metric.of_each(outputs, targets))
    return Row(
        name,
        values,
        stderr,
        np.asarray(metric.predictions(outputs)),
        float(of_each.mean()),
        metric.interval(of_each),
        seconds,
        record,
    )


def line(row: Row, exact_row: Row, metric: Metric) -> str:
    """A row of the table; a heading precedes the exact one."""
    low, high = row.interval
    text = f"{row.name:<16}{row.value:>9.4f}   {low:.4f} to {high:.4f}"
    if row is exact_row:
        columns = f"{'to exact':>11}{'<O> rms':>9}{'changed':>9}{'seconds':>9}"
        heading = f"{'':<16}{metric.name.replace('_', ' '):>9}   {'95 % interval':<16}{columns}"
        return f"{heading}\n{text}{'':>29}{row.seconds:>9.3f}"
    changed = row.changed(exact_row)
    text += f"{row.value - exact_row.value:>+11.4f}{row.rms(exact_row):>9.4f}"
    text += f"{'' if changed is None else f'{changed:,}':>9}{row.seconds:>9.2f}"
    if getattr(row.record, "calibration", None):
        qubits = ", ".join(map(str, row.record.layout))
        text += f"   qubits {qubits}; errors of {row.record.calibration}"
    return text


def chosen(examples: Examples, images: int | None = None, seed: int = 0) -> Examples:
    """A random selection of examples, in their original order.

    Args:
        examples: to choose from.
        images: how many; 0 takes all, None at most 2,000.
        seed: random seed of the selection.

    Raises:
        InputError: if there are fewer.
    """
    there = len(examples.targets)
    wanted = min(there, MOST) if images is None else at_least("images", images, 0)
    if wanted > there:
        raise InputError(
            f"Argument `images` must be at most {there}, the number of test examples, but is "
            f"{wanted}."
        )
    random = np.random.default_rng(checked_seed("seed", seed))
    kept = np.sort(random.permutation(there)[: wanted or there])
    return Examples(examples.inputs[kept], examples.targets[kept])


def table(rows: Sequence[Row], metric: Metric) -> dict[str, dict[str, Any]]:
    """The rows as JSON by name; each row except the first, exact one is compared with it."""
    found: dict[str, dict[str, Any]] = {
        row.name: {metric.name: row.value, "interval": row.interval, "seconds": row.seconds}
        for row in rows
    }
    for row in rows[1:]:
        found[row.name] |= {
            "difference_to_exact": row.value - rows[0].value,
            "expectation_rms": row.rms(rows[0]),
        }
        if (changed := row.changed(rows[0])) is not None:
            found[row.name]["changed_predictions"] = changed
    return found


__all__ = ["EXACT", "MOST", "Row", "chosen", "evaluate", "line", "scored", "table"]
