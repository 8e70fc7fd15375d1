"""A finished run, read back: its numbers must come out of its files again."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines import trained
from qnn_jax.errors import InputError
from qnn_jax.executor import exact
from qnn_jax.runs import read_npz, write_npz_atomic

REFERENCE = Path(__file__).parents[2] / "results/reference"


@pytest.fixture(scope="module")
def fashion(data_dir: Path) -> trained.Trained:
    return trained.load(REFERENCE, "fashion", data_dir)


def test_the_circuit_and_the_head_give_the_test_accuracy_of_the_run(
    fashion: trained.Trained,
) -> None:
    summary = json.loads((REFERENCE / "fashion/summary.json").read_text())
    run = exact(fashion.circuit, fashion.observables, fashion.test.inputs, fashion.weights)
    score = fashion.score(np.asarray(run.values), fashion.test.targets)
    assert score.value == summary["test_accuracy"]
    assert list(score.interval) == pytest.approx(summary["test_interval"])
    assert len(fashion.train.targets) == summary["train_count"]
    # The broken twin: the circuit with the inputs of other images.
    other = fashion.score(np.roll(np.asarray(run.values), 1, axis=0), fashion.test.targets)
    assert other.value < 0.7


def copy(tmp_path: Path, name: str = "copy") -> Path:
    return Path(shutil.copytree(REFERENCE / "fashion", tmp_path / name))


def test_weights_of_another_model_are_refused(tmp_path: Path, data_dir: Path) -> None:
    path = copy(tmp_path) / "weights.npz"
    arrays = read_npz(path)
    write_npz_atomic(path, {**arrays, "quantum/weights": np.zeros(8, np.float32)})
    with pytest.raises(InputError, match=r"must hold the weights of the model in config\.json"):
        trained.load(tmp_path, "copy", data_dir)


def test_a_run_that_is_not_there_or_not_of_a_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train one with make train-fashion or make train-calc"):
        trained.load(tmp_path, "fashion")
    with pytest.raises(InputError, match=r"must hold a finished run, but .* has none"):
        trained.newest(tmp_path)
    folder = copy(tmp_path)
    (folder / "summary.json").write_text('{"task": "scan"}')
    with pytest.raises(InputError, match=r"but .*copy is one of 'scan'"):
        trained.load(tmp_path, "copy")


def test_the_newest_run_of_each_task_is_found(tmp_path: Path) -> None:
    for age, name in enumerate(("older", "newer")):
        os.utime(copy(tmp_path, name) / "summary.json", (age, age))
    assert trained.newest(tmp_path) == {"fashion": "newer"}
