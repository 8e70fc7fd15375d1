"""The curves that TensorBoard and MLflow show are the rows of metrics.jsonl."""

import json
import struct
import sys
from pathlib import Path

import pytest

from pipelines import train_calculator
from pipelines.tracking import curves, tracker
from qnn_jax.errors import InputError


def flags(folder: Path, *more: str) -> list[str]:
    small = ["--epochs", "3", "--batch-size", "64", "--restarts", "4"]
    return ["--results-dir", str(folder), "--run", "sum", "--baseline-2022", "0", *small, *more]


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """The numbers in TensorBoard's files, by name and epoch; a purge deletes what follows it."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            # A record: its length and the checksum of that, 12 bytes; the data; their checksum.
            size = struct.unpack("<Q", data[:8])[0]
            event, data = Event.FromString(data[12 : 12 + size]), data[16 + size :]
            if event.HasField("session_log"):
                found = {
                    name: {k: v for k, v in values.items() if k < event.step}
                    for name, values in found.items()
                }
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


@pytest.mark.slow
def test_tensorboard_reads_the_curves_of_a_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX (the extra track) is not installed")
    assert train_calculator.main(flags(tmp_path, "--track", "tensorboard")) == 0
    rows = [json.loads(line) for line in (tmp_path / "sum/metrics.jsonl").read_text().splitlines()]
    found = scalars(tmp_path / "sum")
    assert len(rows) == 3
    for row in rows:
        for name, value in curves(row).items():
            assert found[name][row["epoch"]] == pytest.approx(value, rel=1e-6), name
    assert "loss/hybrid" in found
    assert set(found) == set(curves(rows[0]))


def test_a_resumed_run_repeats_no_epoch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX (the extra track) is not installed")
    # The first one was killed after an epoch that the second one does not reach.
    for epochs in ((1, 2, 3, 5), (2, 3, 4)):
        with tracker("tensorboard", tmp_path) as track:
            for epoch in epochs:
                track({"epoch": epoch, "seconds": float(len(epochs) * epochs[0] + epoch)})
    assert scalars(tmp_path)["seconds"] == {1: 5.0, 2: 8.0, 3: 9.0, 4: 10.0}


def test_curves_are_the_finite_numbers_of_a_row() -> None:
    row = {"epoch": 2, "seconds": 0.5, "hybrid": {"loss": 0.25, "validation_loss": None}}
    assert curves(row) == {"seconds": 0.5, "loss/hybrid": 0.25}
    assert curves({"epoch": 1, "seconds": float("nan")}) == {}


@pytest.mark.parametrize(
    ("kind", "module", "message"),
    [
        ("tensorboard", "tensorboardX", r"where tensorboardX is .* qnn-jax\[track\]` installs it"),
        ("mlflow", "mlflow", r"where MLflow with SQLAlchemy is .* qnn-jax\[mlflow\]` installs it"),
    ],
)
def test_without_its_library_it_is_refused(tmp_path, monkeypatch, kind, module, message) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")  # put back afterwards
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(InputError, match=f"`track` must be left out {message}"),
        tracker(kind, tmp_path),
    ):
        pass
    with tracker(None, tmp_path) as track:
        track({"epoch": 1})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def mlflow(monkeypatch):
    """MLflow, without a store of the user's."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return pytest.importorskip("mlflow", reason="MLflow (the extra mlflow) is not installed")


def histories(mlflow, store: Path) -> dict[str, list[dict[str, dict[int, float]]]]:
    """By the name of a run, newest first: the values of each curve by epoch."""
    client = mlflow.MlflowClient(f"sqlite:///{store}")
    (experiment,) = (e for e in client.search_experiments() if e.name == "qnn_jax")
    found: dict[str, list] = {}
    for run in client.search_runs([experiment.experiment_id]):
        of_run = {}
        for name in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, name)
            of_run[name] = {metric.step: metric.value for metric in history}
            assert len(of_run[name]) == len(history), "an epoch is there twice"
        found.setdefault(run.info.run_name, []).append(of_run)
        assert run.info.status == "FINISHED"
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's and SQLAlchemy's own
def test_mlflow_reads_the_curves_of_a_run(tmp_path: Path, mlflow, monkeypatch) -> None:
    assert train_calculator.main(flags(tmp_path, "--track", "mlflow")) == 0
    rows = [json.loads(line) for line in (tmp_path / "sum/metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    (found,) = histories(mlflow, tmp_path / "mlflow.db")["sum"]
    for row in rows:
        for name, value in curves(row).items():
            assert found[name][row["epoch"]] == pytest.approx(value, rel=1e-12), name
    assert set(found) == set(curves(rows[0]))
    # A run that goes on repeats no epoch, one that starts again is another.
    folder = tmp_path / "other"
    folder.mkdir()

    def go(epochs: tuple[int, ...], pace: float, kept: tuple[int, ...] = ()) -> None:
        """Track these epochs of a training, of which metrics.jsonl has the kept ones."""
        rows = [{"epoch": epoch, "seconds": pace * epoch} for epoch in (*kept, *epochs)]
        (folder / "metrics.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows[: len(kept)])
        )
        with tracker("mlflow", folder) as track:
            for row in rows[len(kept) :]:
                track(row)

    go((1, 2, 3), 3.0)
    go((2, 3, 4), 3.0, kept=(1,))
    go((1,), 1.0)
    # Begun again without being tracked, it is none of the runs of its name.
    go((3, 4), 7.0, kept=(1, 2))
    go((4, 5), 3.0, kept=(1, 2, 3))
    untracked, again, first = histories(mlflow, tmp_path / "mlflow.db")["other"]
    assert first["seconds"] == {1: 3.0, 2: 6.0, 3: 9.0, 4: 12.0, 5: 15.0}
    assert again["seconds"] == {1: 1.0}
    assert untracked["seconds"] == {3: 21.0, 4: 28.0}
    # The user's own store goes first.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mine.db'}")
    with tracker("mlflow", tmp_path / "third") as track:
        track({"epoch": 1, "seconds": 1.0})
    assert list(histories(mlflow, tmp_path / "mine.db")) == ["third"]
