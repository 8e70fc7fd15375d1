"""`make train-fashion` as a user runs it: once as a program, then by its `main`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from as_programs import check_bad_flags, run

from pipelines import command, train_fashion
from qnn_jax.errors import InputError

SMALL = ("--epochs", 3, "--train-images", 256, "--validation-images", 500, "--batch-size", 32)


def main(*flags: object) -> int:
    return train_fashion.main([*map(str, flags)])


def loaded(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text("utf-8"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, data_dir: Path):
    """A whole small run, with an empty environment."""
    results = tmp_path_factory.mktemp("results")
    done = run("train_fashion", *SMALL, "--results-dir", results, "--data-dir", data_dir)
    assert done.returncode == 0, done.stderr
    return done, results / "fashion"


def test_a_run_prints_its_progress(finished) -> None:
    done, folder = finished
    out = done.stdout
    for word in ("jax", "T-shirt/top / Trouser", "circuit of 22 gates with 6 weights", str(folder)):
        assert word in out
    assert "simulated exactly" in out
    epochs = r"^epoch \d/3   loss .*validation 0\.\d+ hybrid, 0\.\d+ classical .* s left$"
    assert len(re.findall(epochs, out, re.M)) == 3
    assert re.search(r"^Test accuracy 0\.\d{4} \(.*\) on 2,000 images .*95 % interval", out, re.M)
    following = re.search(r"^Next: make eval-aer ARGS='(.*)'$", out, re.M)[1]
    assert f"--run fashion --results-dir {folder.parent} --data-dir " in following
    assert done.stderr.count("\n") <= 2, "no warnings of libraries"


def test_a_run_writes_its_files(finished) -> None:
    _, folder = finished
    summary = loaded(folder, "summary.json")
    assert summary["task"] == "fashion"
    assert 0.8 < summary["test_accuracy"] <= 1
    low, high = summary["test_interval"]
    assert low < summary["test_accuracy"] < high
    assert (summary["test_count"], summary["train_count"], summary["epochs"]) == (2000, 256, 3)
    assert summary["parameters"] == {"classical": 17_448, "quantum": 6}
    assert len(summary["seconds"]["epochs"]) == 3
    assert set(summary["seconds"]) == {"setup", "compile", "epochs", "total"}
    assert 0.5 < summary["baselines"]["classical"] <= 1
    assert "McNemar" in summary["verdict"]
    config = loaded(folder, "config.json")
    assert config["fields"]["model"]["hidden"] == [64]
    assert "resume" not in config
    manifest = loaded(folder, "manifest.json")
    assert set(manifest["versions"]) >= {"jax", "flax", "optax", "numpy", "python", "qnn_jax"}
    assert len(manifest["data"]["sha256"]) == len(manifest["weights_sha256"]) == 64
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    pictures = {path.name for path in (folder / "figures").iterdir()}
    assert pictures == {f"{n}.png" for n in ("curves", "plane", "confusion", "mistakes", "circuit")}
    report = (folder / "report.html").read_text("utf-8")
    assert all(f"figures/{name}" in report for name in pictures)
    assert f"{summary['test_accuracy']:.4f}" in report


def test_the_saved_weights_rebuild_the_model(finished) -> None:
    from qnn_jax.tasks import load

    _, folder = finished
    trained = load(folder)
    test = trained.splits().test
    accuracy = np.mean(trained.predict(test.inputs) == test.targets)
    assert accuracy == pytest.approx(trained.summary["test_accuracy"], abs=6e-4)


def test_a_finished_run_is_shown_again_and_left_alone(finished, data_dir: Path, capsys) -> None:
    _, folder = finished
    before = (folder / "weights.npz").stat().st_mtime_ns
    assert main(*SMALL, "--results-dir", folder.parent, "--data-dir", data_dir) == 0
    told = capsys.readouterr().out
    assert "is finished" in told
    assert "--no-resume" in told
    assert (folder / "weights.npz").stat().st_mtime_ns == before


def test_another_configuration_in_the_same_folder_is_refused(finished, data_dir: Path) -> None:
    _, folder = finished
    before = sorted(path.name for path in folder.rglob("*"))
    flags = (*SMALL, "--results-dir", folder.parent, "--data-dir", data_dir)
    with pytest.raises(InputError) as caught:
        main(*flags, "--learning-rate", 0.001)
    told = command.in_flags(caught.value)
    assert "fields.training.learning_rate: 0.005 there, 0.001 now" in told
    assert "--no-resume" in told
    assert sorted(path.name for path in folder.rglob("*")) == before


# What a task refuses is tested in tests/tasks: here, that flags of every kind are refused.
BAD = [
    (("--epochz", 3), "--epochz"),
    (("--epochs", "three"), "three"),
    (("--preset", "fast"), "fast"),
    (("--epochs", -1), "Argument `--epochs` must be an integer of at least 0, but is -1."),
    (("--classes", "Trouser", "Spoon"), "'Spoon' is none"),
    (("--model.num-qubits", 1), "Argument `--model.num-qubits` must be an integer of at least 2"),
    (("--model.entanglement", "ring"), "Argument `--model.entanglement` must be one of"),
    (("--batch-size", 20_000), "`--batch-size` must be between 1 and 11000"),
    (("--run", "../x"), "Argument `--run` must be"),
]


def test_bad_flags_are_answered_before_jax_loads(tmp_path: Path) -> None:
    check_bad_flags("train_fashion", BAD, tmp_path)


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--train-images", 11_000), "`--train-images` must be between 2 and"),
        (("--train-images", 64, "--manual-dir", "/nowhere"), "/nowhere"),
    ],
)
def test_errors_found_in_the_data_are_one_sentence_too(
    flags, words: str, tmp_path: Path, data_dir: Path
) -> None:
    results = tmp_path / "results"
    with pytest.raises(InputError) as caught:
        main(*flags, "--results-dir", results, "--data-dir", data_dir)
    told = command.in_flags(caught.value)
    assert words in told
    assert len(told.splitlines()) == 1
    # Nothing remains for which a corrected command would be refused.
    assert not list(results.glob("*/summary.json"))
    assert not list(results.glob("*/checkpoints/*"))
