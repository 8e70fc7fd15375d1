"""make diagnose: what it writes about a run, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipelines import diagnose
from qnn_jax.circuits import Circuit, Op, w, x
from qnn_jax.circuits.observables import observables_on
from qnn_jax.errors import InputError

REPOSITORY = Path(__file__).parents[2]
SAMPLES = 200


def calculator(path: Path):
    """A run whose function is known: f = cos(x0 + w0) cos(x1), and its head is 2 f - 1."""
    from pipelines.trained import Rows, Trained

    circuit = Circuit(
        2, (Op("ry", 0, x[0] + w[0]), Op("ry", 1, x[1]), Op("cz", (0, 1)), Op("rz", 0, w[1]))
    )
    inputs = np.random.default_rng(0).uniform(0, 1, (600, 2))
    weights = np.array([0.3, 0.5])
    values = np.cos(inputs[:, 0] + 0.3) * np.cos(inputs[:, 1])
    rows = Rows(inputs, 2 * values - 1)
    path.mkdir()
    return Trained(
        "calculator",
        path,
        circuit,
        observables_on(2, ["ZZ"]),
        weights,
        rows,
        rows,
        lambda expectations: 2 * expectations - 1,
    )


@pytest.fixture(scope="module")
def diagnosed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pipelines import diagnose_run

    run = calculator(tmp_path_factory.mktemp("results") / "known")
    with pytest.MonkeyPatch.context() as smaller:
        smaller.setattr(diagnose_run, "QUBITS", (2, 3))
        smaller.setattr(diagnose_run, "REPEATS", (1, 2))
        diagnose_run.write_diagnosis(run, seed=0, samples=SAMPLES)
    return run.path


def test_the_numbers_are_those_of_the_known_function(diagnosed: Path) -> None:
    found = json.loads((diagnosed / "diagnose.json").read_text())
    assert (found["run"], found["task"], found["samples"]) == ("known", "calculator", SAMPLES)
    least = found["representation"]["mean_l1"]
    assert least["any_observable"] < 1e-6
    assert least["run"] < 1e-5
    assert least["ansatz"] < 0.02
    # cos a cos b has the four frequencies (±1, ±1), each with 1/4.
    largest = found["fourier"]["all"]["largest"]
    assert {tuple(map(abs, row["frequency"])) for row in largest} == {(1.0, 1.0)}
    assert [np.hypot(*row["coefficient"]) for row in largest] == pytest.approx([0.25] * 4)
    assert found["fourier"]["all"]["reachable"] == 9
    # w[1] turns about the axis that is measured; the states it moves all the same.
    assert found["fisher"]["rank"] == 2
    assert found["effective_dimension"]["values"][-1] < 1.2
    for name, value in found.items():
        if isinstance(value, dict):
            assert value["paper"], name


def test_the_page_has_words_and_a_picture_for_each(diagnosed: Path) -> None:
    found = json.loads((diagnosed / "diagnose.json").read_text())
    page = (diagnosed / "diagnose.html").read_text()
    diagnostics = [name for name, value in found.items() if isinstance(value, dict)]
    assert len(diagnostics) == 9
    assert page.count("<h2>") == len(diagnostics) + 1
    pictures = re.findall(r'src="(figures/[^"]+)"', page)
    assert len(pictures) == len(diagnostics)
    for picture in pictures:
        assert (diagnosed / picture).read_bytes().startswith(b"\x89PNG")
    assert "RY(x[0] + w[0])" in page
    assert not re.search(r"\bnan\b|\binf\b|\{|\}", page.split("</style>")[1])


def test_a_refusal_becomes_a_sentence_of_the_page(tmp_path: Path) -> None:
    from pipelines.diagnose_page import write
    from pipelines.diagnose_run import as_json, in_a_line, subject_of

    subject = subject_of(calculator(tmp_path / "run"))
    refusal = InputError("Argument `circuit` must be simpler, but is <this>.")
    assert in_a_line("fourier", refusal) == f"refused: {refusal}"
    assert as_json(refusal) == {"refused": str(refusal)}
    work = {"fourier": refusal, "kernel": {"alignment": Alignment(0.5, 0.4, (0.1, 0.6))}}
    write(tmp_path, "run", subject, work, {})
    page = (tmp_path / "diagnose.html").read_text()
    reason = "The reason: Argument `circuit` must be simpler, but is &lt;this&gt;."
    assert f"Not computed for this circuit. {reason}" in page
    # What has a result comes before what has none.
    assert page.index("Does it bring samples together") < page.index("Which frequencies")
    assert "<img" not in page


class Alignment(NamedTuple):
    value: float
    centred: float
    centred_interval: tuple[float, float]


@pytest.mark.slow
def test_a_trained_hybrid(tmp_path: Path, data_dir: Path) -> None:
    import shutil

    shutil.copytree(REPOSITORY / "results/reference/fashion", tmp_path / "fashion")
    argv = ["--results-dir", str(tmp_path), "--data-dir", str(data_dir), "--samples", "400"]
    assert diagnose.main(argv) == 0
    found = json.loads((tmp_path / "fashion/diagnose.json").read_text())
    assert "affine in the inputs" in found["fourier"]["refused"]
    assert "representation" not in found
    assert found["fisher"]["rank"] <= 6
    assert found["kernel"]["alignment"]["centred"] > 0.5
    layers = found["classical_gradients"]
    assert layers["encoder/conv0/kernel"]["mean"] > 0
    assert layers["quantum/weights"]["mean"] > 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--samples", "10"], "Argument `--samples` must be at least 200, but is 10."),
        (
            ["--seed", "-1"],
            "Argument `--seed` must be an integer between 0 and 4294967295, but is -1.",
        ),
        (["--run", "../up"], "--run"),
        (["--results-dir", "nowhere"], "Argument `--results-dir` must hold a finished run"),
        (["--results-dir", "nowhere", "--run", "it"], "Argument `--run` must name a finished run"),
    ],
)
def test_bad_flags_are_refused(argv, message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        diagnose.main(argv)


def test_bad_flags_are_refused_without_jax() -> None:
    code = (
        "import sys\nfrom pipelines import diagnose\nfrom qnn_jax.errors import InputError\n"
        "try: diagnose.main(['--samples', '1'])\n"
        "except InputError: sys.exit('jax' in sys.modules or 'qiskit' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
