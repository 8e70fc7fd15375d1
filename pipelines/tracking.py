"""The curves of a training for TensorBoard or MLflow, written by their own libraries."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.runs.files import MOST_BYTES, decode_json, read_bytes

#: Called with each epoch's row of metrics.jsonl.
Track = Callable[[Mapping[str, Any]], None]
#: The experiment of MLflow that holds all runs.
EXPERIMENT = "qnn_jax"


@contextlib.contextmanager
def tracker(kind: str | None, folder: Path) -> Iterator[Track]:
    """Where the rows of a training go besides metrics.jsonl.

    Args:
        kind: "tensorboard", "mlflow", or None for nowhere.
        folder: of the run, with its metrics.jsonl; TensorBoard's files are in `tensorboard` there,
            MLflow's database is `mlflow.db` beside it, for all runs.
    """
    if kind is None:
        yield silent
        return
    with _WRITERS[kind](folder) as track:
        yield track


@contextlib.contextmanager
def _tensorboard(folder: Path) -> Iterator[Track]:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise _not_installed("tensorboardX", "track") from None
    writers: list[Any] = []

    def track(row: Mapping[str, Any]) -> None:
        epoch = row["epoch"]
        if not writers:
            # A resumed training repeats what came after its latest checkpoint. Without a suffix a
            # file of the same second would be overwritten.
            where, suffix = str(folder / "tensorboard"), f".{epoch:06d}"
            writers.append(SummaryWriter(where, purge_step=epoch, filename_suffix=suffix))
        for name, value in curves(row).items():
            writers[0].add_scalar(name, value, epoch)
        writers[0].flush()

    try:
        yield track
    finally:
        for writer in writers:
            writer.close()


@contextlib.contextmanager
def _mlflow(folder: Path) -> Iterator[Track]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric
        from mlflow.store.tracking import sqlalchemy_store  # noqa: F401  needs more than mlflow
        from mlflow.utils.time import get_current_time_millis
    except ImportError:
        raise _not_installed("MLflow with SQLAlchemy", "mlflow") from None
    store = f"sqlite:///{folder.absolute().parent / 'mlflow.db'}"
    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or store)
    runs: list[str] = []
    done = 0

    def track(row: Mapping[str, Any]) -> None:
        nonlocal done
        epoch = row["epoch"]
        if not runs:
            found, done = _run_of(client, folder, epoch)
            runs.append(found)
        if epoch <= done:
            return
        now = get_current_time_millis()
        metrics = [Metric(name, value, now, epoch) for name, value in curves(row).items()]
        client.log_batch(runs[0], metrics=metrics)

    status = "FAILED"
    try:
        yield track
        status = "FINISHED"
    finally:
        for run in runs:
            client.set_terminated(run, status)


def _run_of(client: Any, folder: Path, epoch: int) -> tuple[str, int]:
    """A run of MLflow, and its last epoch.

    A resumed training goes on in its own run. That is the one with the seconds that metrics.jsonl
    has of an epoch before, which no two trainings share; another run may have the same name. The
    training repeats the epochs after its latest checkpoint, to the last bit, and MLflow cannot
    delete what it has of them.
    """
    there = client.get_experiment_by_name(EXPERIMENT)
    experiment = there.experiment_id if there else client.create_experiment(EXPERIMENT)
    kept = _seconds(folder / "metrics.jsonl", epoch)
    asked = f"attributes.run_name = '{folder.name}'"
    for run in client.search_runs([experiment], asked) if kept else ():
        history = client.get_metric_history(run.info.run_id, "seconds")
        if kept & {(metric.step, metric.value) for metric in history}:
            return run.info.run_id, max(metric.step for metric in history)
    return client.create_run(experiment, run_name=folder.name).info.run_id, 0


def _seconds(path: Path, before: int) -> set[tuple[int, float]]:
    """The finished epochs before one, and the seconds that they took."""
    lines = (read_bytes(path, "delete it", MOST_BYTES) or b"").splitlines()
    rows = [row for row in map(decode_json, lines) if isinstance(row, dict)]
    return {(row["epoch"], row["seconds"]) for row in rows if row.get("epoch", before) < before}


_WRITERS = {"tensorboard": _tensorboard, "mlflow": _mlflow}


def _not_installed(library: str, extra: str) -> InputError:
    return InputError(
        f"Argument `track` must be left out where {library} is not installed; `pip install "
        f"qnn-jax[{extra}]` installs it."
    )


def curves(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of an epoch: "seconds", and "loss/hybrid" of each member."""
    found: dict[str, Any] = {}
    for member, told in row.items():
        if isinstance(told, Mapping):
            found |= {f"{name}/{member}": value for name, value in told.items()}
        elif member != "epoch":
            found[member] = told
    return {name: float(value) for name, value in found.items() if _finite(value)}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
