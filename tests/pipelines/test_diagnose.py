"""make diagnose: the files it writes, and the arguments it refuses."""

import json
import os
from pathlib import Path

import pytest
from as_programs import check_bad_flags

from pipelines import diagnose
from qnn_jax.tasks.stored import newest_of_all


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of a calculator, "older" and "newer"."""
    from qnn_jax.configs import LeastSquaresConfig
    from qnn_jax.tasks import Calculator, train

    folder = tmp_path_factory.mktemp("results")
    training = LeastSquaresConfig(epochs=1, batch_size=32, restarts=2)
    trained = train(Calculator(training=training, baseline_2022=0))
    for number, name in enumerate(("newer", "older")):
        trained.save(folder / name)
        time = 1_000_000_000 - number
        os.utime(folder / name / "summary.json", (time, time))
    return folder


@pytest.mark.slow
def test_the_newest_run_is_diagnosed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose.main(["--results-dir", str(results), "--samples", "200", "--seed", "3"]) == 0
    told = json.loads((results / "newer/diagnose.json").read_text())
    assert [told[key] for key in ("run", "task", "seed", "samples")] == [
        "newer", "calculator", 3, 200
    ]  # fmt: skip
    assert {"representation", "fourier", "fisher", "kernel"} < set(told)
    page = (results / "newer/diagnose.html").read_text()
    assert "<title>Diagnosis of newer</title>" in page
    output = capsys.readouterr().out
    assert f"Run {results / 'newer'}: 2 qubits, 2 inputs, 24 weights" in output
    assert "  kernel               alignment " in output
    assert str(results / "newer/diagnose.html") in output
    assert not (results / "older/diagnose.json").exists()


@pytest.mark.slow
def test_the_newest_is_found_by_its_summary(results: Path) -> None:
    assert newest_of_all(results) == "newer"


def test_bad_flags_are_answered_before_jax_loads(tmp_path: Path) -> None:
    bad = [
        (("--samples", 10), "`--samples` must be an integer of at least 200, but is 10."),
        (("--run", "../up"), "`--run` must"),
        ((), "must hold a finished run"),
        (("--run", "it"), "`--run` must name a finished run"),
    ]
    check_bad_flags("diagnose", bad, tmp_path)
