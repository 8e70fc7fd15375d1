"""`make train-calculator` as its users meet it: as a program."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines import trained
from qnn_jax.errors import InputError
from qnn_jax.executor import exact
from qnn_jax.runs import checkpoints, read_npz, write_npz_atomic

REPOSITORY = Path(__file__).parents[2]
SMALL = ("--model.layers", 2, "--model.restarts", 4, "--seed-models", 3, "--batch-size", 64)


def command(*flags: object) -> list[str]:
    return [sys.executable, "-m", "pipelines.train_calculator", *map(str, flags)]


def environment(**more: str) -> dict[str, str]:
    """No HOME, no display, C locale: what a batch job gets."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C", **more}


def run(*flags: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*flags),
        cwd=REPOSITORY,
        env=environment(**more),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        timeout=500,
    )


EPOCHS = 60


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """A whole small run."""
    results = tmp_path_factory.mktemp("results")
    done = run(*SMALL, "--epochs", EPOCHS, "--results-dir", results)
    assert done.returncode == 0, done.stderr
    return done, results / "calculator"


def loaded(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text("utf-8"))


def test_a_run_tells_and_leaves_what_others_read(finished) -> None:
    done, folder = finished
    assert len(re.findall(r"^epoch +\d+/60   loss .*mean L1 0\.\d+ .* s left$", done.stdout, re.M))
    assert re.search(r"^Next: .*--ask 0.8586 0.4095", done.stdout, re.M)
    assert done.stderr == ""
    summary = loaded(folder, "summary.json")
    assert summary["task"] == "calculator"
    assert summary["test_mean_l1"] < 0.02
    low, high = summary["test_interval"]
    assert low < summary["test_mean_l1"] < high
    assert (summary["test_count"], summary["train_count"]) == (10_000, 64 * EPOCHS)
    assert summary["parameters"] == {"classical": 2, "quantum": 12}
    assert set(summary["seconds"]) >= {"setup", "compile", "epochs", "total"}
    baselines = summary["baselines"]
    assert baselines["constant"] == pytest.approx(1 / 3, abs=0.01)
    assert baselines["linear_regression"] < 1e-6
    assert 0 < baselines["mlp_equal_size"] < 0.1
    # No training of its circuit can beat its circuit.
    bounds = summary["bounds"]
    assert bounds["any_observable"] == pytest.approx(0.05, abs=0.005)
    assert bounds["its_ansatz"] == pytest.approx(0.125, abs=0.005)
    assert summary["seed_model"]["best"] > bounds["its_ansatz"]
    assert baselines["seed_model_median"] == summary["seed_model"]["median"]
    # Shots leave what the binomial law says.
    shots = summary["test_mean_l1_shots_4096"]
    assert shots == pytest.approx(summary["shots_4096_expected"], rel=0.05)
    assert shots < 0.025
    report = (folder / "report.html").read_text("utf-8")
    pictures = {path.name for path in (folder / "figures").iterdir()}
    assert len(pictures) == 6
    assert all(f"figures/{name}" in report for name in pictures)


def test_the_saved_weights_give_the_result_again(finished, tmp_path: Path) -> None:
    _, folder = finished
    found = trained.load(folder.parent, "calculator")
    values = exact(found.circuit, found.observables, found.test.inputs, found.weights).values
    score = found.score(np.asarray(values), found.test.targets)
    summary = loaded(folder, "summary.json")
    assert score.value == pytest.approx(summary["test_mean_l1"], rel=1e-5)
    assert len(found.train.targets) == summary["train_count"]
    np.testing.assert_allclose(found.train.targets, found.train.inputs.sum(axis=1), atol=1e-6)
    # The broken twin: the answers to other questions.
    other = found.score(np.roll(np.asarray(values), 1, axis=0), found.test.targets)
    assert other.value > 0.2
    arrays = {**read_npz(folder / "weights.npz"), "quantum/weights": np.zeros(8, np.float32)}
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "summary.json"):
        (copy / name).write_bytes((folder / name).read_bytes())
    write_npz_atomic(copy / "weights.npz", arrays)
    with pytest.raises(InputError, match=r"must have the config\.json and the weights\.npz"):
        trained.load(tmp_path, "copy")


def test_a_trained_calculator_answers(finished) -> None:
    _, folder = finished
    done = run("--ask", 0.8586, 0.4095, "--results-dir", folder.parent)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stdout
    truth, prediction = (
        float(re.search(rf"{name} +(\d\.\d+)", done.stdout)[1]) for name in ("truth", "exact")
    )
    drawn, error = map(float, re.search(r"shots +(\S+) ± (\S+)", done.stdout).groups())
    assert truth == pytest.approx(1.2681)
    assert prediction == pytest.approx(truth, abs=0.05)
    assert abs(drawn - prediction) < 6 * error
    assert 0.002 < error < 0.025
    outside = run("--ask", 1.5, 0.2, "--results-dir", folder.parent)
    assert outside.returncode == 0
    assert "outside of that its answer is a guess" in outside.stdout
    nowhere = run("--ask", 0.5, 0.2, "--results-dir", folder.parent, "--run", "none")
    assert nowhere.returncode == 2
    assert "must name a finished calculator" in nowhere.stderr


@pytest.mark.parametrize(
    ("sent", "status"),
    [(signal.SIGKILL, -9), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_an_interrupted_run_ends_with_the_same_bits(
    tmp_path: Path, finished, sent: signal.Signals, status: int
) -> None:
    flags = (*SMALL, "--epochs", EPOCHS, "--results-dir", tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command(*flags), cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    for line in process.stdout:
        if "epoch  2/60" in line:
            break
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == status
    folder = tmp_path / "calculator"
    stopped_at = max(checkpoints.epochs(folder / "checkpoints"))
    assert 2 <= stopped_at < EPOCHS
    resumed = run(*flags)
    assert resumed.returncode == 0, resumed.stderr
    assert f"Resuming after epoch {stopped_at} of 60" in resumed.stdout
    for name in ("weights.npz",):
        assert (folder / name).read_bytes() == (finished[1] / name).read_bytes()
    for metric in ("test_mean_l1", "test_mean_l1_shots_4096", "seed_model"):
        assert loaded(folder, "summary.json")[metric] == loaded(finished[1], "summary.json")[metric]


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    done = run(
        *SMALL, "--epochs", 1, "--results-dir", tmp_path, "--model.weight-bound", 3e38
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(
        r"^Stopped: The loss of every restart became (nan|inf) in epoch 1", done.stderr
    )
    assert not (tmp_path / "calculator" / "summary.json").exists()


BAD = [
    (("--operation", "a + c"), "has the unknown name 'c'"),
    (("--operation", "7*a"), "must span at most"),
    (("--operation", "7"), "depends on neither a nor b"),
    (("--epochs", -1), "Argument `--epochs` must be between 0 and"),
    (("--batch-size", 1), "Argument `--batch-size` must be between 2 and"),
    (("--learning-rate", 0), "Argument `--learning-rate` must be above 0"),
    (("--model.layers", 0), "Argument `--model.layers` must be between 1 and 20"),
    (("--model.restarts", 0), "Argument `--model.restarts` must be between 1 and"),
    (("--model.weight-bound", 0), "Argument `--model.weight-bound` must be above 0"),
    (("--seed", -1), "Argument `--seed` must be an integer between 0 and 4294967295, but is -1."),
    (("--seed-models", 0), "Argument `--seed-models` must be between 1 and"),
    (("--shots", 1), "Argument `--shots` must be at least 2"),
    (("--ask", "nan", 1), "Argument `--ask` must be two finite numbers"),
    (("--run", "../x"), "Argument `--run` must be"),
]


@pytest.mark.parametrize(("flags", "words"), BAD, ids=lambda value: str(value)[:40])
def test_bad_flags_are_answered_before_jax_loads(flags, words: str, tmp_path: Path) -> None:
    (tmp_path / "jax.py").write_text("raise SystemExit('jax was imported')")
    done = run(*flags, "--results-dir", tmp_path / "results", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
