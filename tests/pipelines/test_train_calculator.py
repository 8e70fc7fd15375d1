"""`make train-calculator` as a user runs it: as a program."""

import json
import re
from pathlib import Path

import pytest
from as_programs import REPOSITORY, check_bad_flags, run

from pipelines import training
from qnn_jax.errors import InputError
from qnn_jax.tasks import Calculator

SMALL = ("--model.layers", 2, "--restarts", 4, "--baseline-2022", 3, "--batch-size", 64)


EPOCHS = 60


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """A whole small run."""
    results = tmp_path_factory.mktemp("results")
    done = run("train_calculator", *SMALL, "--epochs", EPOCHS, "--results-dir", results)
    assert done.returncode == 0, done.stderr
    return done, results / "calculator"


def loaded(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text("utf-8"))


@pytest.mark.slow
def test_a_run_prints_and_writes_its_results(finished) -> None:
    done, folder = finished
    assert len(
        re.findall(
            r"^epoch +\d+/60   loss .*validation \S+ hybrid, \S+ mlp_equal_size .* s left$",
            done.stdout,
            re.M,
        )
    )
    assert re.search(r"^Next: make eval-aer ARGS='--run calculator ", done.stdout, re.M)
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
    # No training of its circuit can be better than the bound of its circuit.
    bounds = summary["bounds"]
    assert bounds["any_observable"] == pytest.approx(0.05, abs=0.005)
    assert bounds["its_ansatz"] == pytest.approx(0.125, abs=0.005)
    assert summary["baseline_2022"]["best"] > bounds["its_ansatz"]
    assert baselines["baseline_2022"] == summary["baseline_2022"]["median"]
    # The error with shots follows from the binomial distribution.
    shots = summary["test_mean_l1_shots_4096"]
    assert shots == pytest.approx(summary["shots_4096_expected"], rel=0.05)
    assert shots < 0.025
    report = (folder / "report.html").read_text("utf-8")
    pictures = {path.name for path in (folder / "figures").iterdir()}
    assert pictures == {
        f"{name}.png"
        for name in (
            "baseline_2022", "circuit", "circuit_2022", "curves", "residuals", "shots", "surfaces"
        )
    }  # fmt: skip
    assert all(f"figures/{name}" in report for name in pictures)


@pytest.mark.slow
def test_a_trained_calculator_answers(finished) -> None:
    _, folder = finished
    done = run("train_calculator", "--ask", 0.8586, 0.4095, "--results-dir", folder.parent)
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
    outside = run("train_calculator", "--ask", 1.5, 0.2, "--results-dir", folder.parent)
    assert outside.returncode == 0
    assert "outside of that its result is not reliable" in outside.stdout
    nowhere = run(
        "train_calculator", "--ask", 0.5, 0.2, "--results-dir", folder.parent, "--run", "none"
    )
    assert nowhere.returncode == 2
    assert "Argument `--run` must name a finished run" in nowhere.stderr


BAD = [
    (("--operation", "7"), "depends on neither a nor b"),
    (("--epochs", -1), "Argument `--epochs` must be between 0 and"),
    (("--batch-size", 1), "Argument `--batch-size` must be between 2 and"),
    (("--learning-rate", 0), "Argument `--learning-rate` must be above 0"),
    (("--model.weight-bound", 0), "Argument `--model.weight-bound` must be above 0"),
    (("--ask", 1, 1, "--shots", 1), "Argument `--shots` must be at least 2"),
    (("--ask", "nan", 1), "Argument `--ask` must be two finite numbers"),
]


def test_bad_flags_are_answered_before_jax_loads(tmp_path: Path) -> None:
    check_bad_flags("train_calculator", BAD, tmp_path)


def test_the_summary_of_a_finished_run_is_checked(tmp_path: Path) -> None:
    task, path = Calculator(), tmp_path / "summary.json"
    whole = json.loads((REPOSITORY / "results/reference/calculator/summary.json").read_text())

    def told(summary: dict) -> object:
        path.write_text(json.dumps(summary))
        return task.results(training._finished(path, task.metric))

    assert [result.name for result in told(whole)] == ["4,096 shots"]
    printed = {
        *("test_mean_l1", "test_interval", "test_count", "examples", "baselines", "verdict"),
        *("baseline_intervals", "baseline_parameters", "seconds", "test_mean_l1_shots_4096"),
        *("test_interval_shots_4096", "shots_4096_expected", "head_gain"),
    }
    for field in printed:
        with pytest.raises(InputError, match=rf"^File .*summary.json lacks the field `{field}`: "):
            told({name: value for name, value in whole.items() if name != field})
        with pytest.raises(InputError, match=rf"^File .*summary.json has null at `{field}`, which"):
            told({**whole, field: None})
    with pytest.raises(InputError, match=r"lacks the field `baseline_intervals.mlp_equal_size`: "):
        told({**whole, "baseline_intervals": {}})
