"""make diagnose: the files it writes, and the arguments it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import diagnose
from qnn_jax.errors import InputError
from qnn_jax.runs import RunDirectory
from qnn_jax.tasks.stored import newest_of_all

REPOSITORY = Path(__file__).parents[2]


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


@pytest.mark.slow
def test_a_run_in_use_is_left_alone(results: Path) -> None:
    argv = ["--results-dir", str(results), "--run", "older"]
    with (
        RunDirectory.existing(results, "older"),
        pytest.raises(InputError, match="in use by"),
    ):
        diagnose.main(argv)
    assert not (results / "older/diagnose.json").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--samples", "10"], "samples` must be an integer of at least 200, but is 10."),
        (["--seed", "-1"], "seed` must be an integer between 0 and 4294967295, but is -1."),
        (["--run", "../up"], "run` must"),
        (["--results-dir", "nowhere"], "must hold a finished run"),
        (["--results-dir", "nowhere", "--run", "it"], "run` must name a finished run"),
    ],
)
def test_bad_flags_are_refused(argv: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        diagnose.main(argv)


def test_bad_flags_are_refused_without_jax() -> None:
    code = (
        "import sys\nfrom pipelines import diagnose\nfrom qnn_jax.errors import InputError\n"
        "try: diagnose.main(['--samples', '1'])\n"
        "except InputError: sys.exit('jax' in sys.modules or 'qiskit' in sys.modules)\n"
        "sys.exit('not refused')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
