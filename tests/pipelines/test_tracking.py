"""The curves that TensorBoard shows are the rows of metrics.jsonl."""

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


def test_without_its_library_it_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with (
        pytest.raises(InputError, match=r"`track` must be left out where tensorboardX is not in"),
        tracker("tensorboard", tmp_path),
    ):
        pass
    with tracker(None, tmp_path) as track:
        track({"epoch": 1})
    assert not list(tmp_path.iterdir())
