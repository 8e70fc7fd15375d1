"""`make train` and `make predict` as their users meet them, on a small table."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from as_programs import run

from pipelines import predict, train
from qnn_jax import Circuit, Op, w, x
from qnn_jax.errors import InputError
from qnn_jax.tasks import Tabular

SMALL = ("--epochs", "4", "--passes", "8", "--model.hidden", "4", "--qubits", "2")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "petals.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["length", "soil", "garden", "kind"])
        for k in range(80):
            soil = ("clay", "sand")[k % 2]
            writer.writerow([k % 4 + rng.normal() / 5, soil, "ours", ("iris", "rose")[k % 4 > 1]])
    return path


@pytest.fixture(scope="module")
def finished(table: Path):
    results = table.parent / "results"
    done = run("train", "--data", table, "--target", "kind", "--results-dir", results, *SMALL)
    assert done.returncode == 0, done.stderr
    return done, results / "petals"


def test_a_table_becomes_a_run(finished, capsys) -> None:
    done, folder = finished
    assert "target     kind has 2 classes (iris, rose): classification" in done.stdout
    assert "categories soil, one column of 0 and 1 for each value" in done.stdout
    assert "dropped    garden: one value only" in done.stdout
    assert "Next: make eval-aer ARGS='--run petals --results-dir" in done.stdout
    assert "Or:   make predict ARGS='--run petals --results-dir" in done.stdout
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["task"] == "tabular"
    assert summary["test_count"] == 16
    assert {"classical", "linear"} <= set(summary["baselines"])
    assert "McNemar" in summary["verdict"]
    assert len(summary["scaling"]["mean"]) == 3
    pictures = {path.stem for path in (folder / "figures").iterdir()}
    assert pictures == {"curves", "plane", "confusion", "circuit"}
    report = (folder / "report.html").read_text("utf-8")
    assert "figures/confusion.png" in report
    again = ("--data", folder.parents[1] / "petals.csv", "--target", "kind",
             "--results-dir", folder.parent, *SMALL)  # fmt: skip
    assert train.main([*map(str, again)]) == 0
    assert "is finished" in capsys.readouterr().out


def test_it_predicts(finished, table: Path, tmp_path: Path) -> None:
    _, folder = finished
    flags = ["--run", "petals", "--results-dir", str(folder.parent)]
    assert predict.main([*flags, "--data", str(table)]) == 0
    with (folder / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["kind", "probability of iris", "probability of rose"]
    assert len(rows) == 80
    for kind, *shares in rows:
        assert kind == ("iris", "rose")[float(shares[1]) > 0.5]
    new, output = tmp_path / "new.csv", tmp_path / "p.csv"
    new.write_text("soil,height\nclay,3\n")
    refused = run("predict", *flags, "--data", new, "--output", output)
    assert refused.returncode == 2
    assert refused.stderr.startswith("Error: File ")
    assert "but lacks length; it has soil, height." in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (train, (), "`data` must be a .csv, .parquet or .npz file or tfds:NAME, but is not given"),
        (train, ("--target", "kin"), "`target` must be a column of"),
        (train, ("--target", "kind", "--circuit", "a.txt"), "`circuit` must be a .qasm"),
        (train, ("--target", "kind", "--qubits", "99"), "`num_qubits` must be at most"),
        (train, ("--task", "nothing"), "`--task` must be one of 'tabular', .*, but is 'nothing'"),
        (train, ("--task", "fashion"), "`--task` must be left out for 'fashion'; make train-fash"),
        (train, ("--task", "sine", "--qubits", "3"), "`--qubits` must be left out with --task"),
        (train, ("--task=sine", "--layers", "0"), "`layers` must be an integer of at least 1"),
        (predict, ("--run", "petals"), "`data` must be given"),
        (predict, (), "`run` must be given"),
        (predict, ("--run", "no", "--data", "a.csv"), "`run` must name a finished"),
    ],
)
def test_what_is_wrong_is_refused_before_a_run_begins(
    table: Path, tmp_path: Path, command, flags, message
) -> None:
    where = ["--results-dir", str(tmp_path / "results")]
    data = ["--data", str(table)] if command is train and "--target" in flags else []
    with pytest.raises(InputError, match=f"^Argument {message}"):
        command.main([*where, *data, *flags])
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_task_without_data_is_trained_by_its_name(tmp_path: Path, capsys) -> None:
    folder = ["--results-dir", str(tmp_path)]
    assert train.main(["--task", "sine", "--epochs", "2", *folder]) == 0
    told = capsys.readouterr().out
    assert "on 1,000 points that were not used for any choice" in told
    assert f"Next: make eval-aer ARGS='--run sine --results-dir {tmp_path}'" in told
    assert "make predict" not in told  # which needs rows of a file
    assert json.loads((tmp_path / "sine/summary.json").read_text())["task"] == "sine"
    with pytest.raises(SystemExit, match="2"):
        train.main(["--task", "sine", "--data", "petals.csv", *folder])
    assert "Unrecognized options: --data" in capsys.readouterr().err


def test_a_run_has_the_name_of_its_data() -> None:
    names = [Tabular(data).run_name for data in ("/a/petals.csv", "tfds:mnist", "tfds:glue/cola")]
    assert names == ["petals", "mnist", "glue-cola"]


@pytest.mark.slow
def test_images_and_a_circuit_of_ones_own(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 99, (60, 8, 8), np.uint8)
    labels = np.arange(60) % 2
    images[labels == 1, :4] += 120
    np.savez(tmp_path / "dots.npz", x=images, y=labels)
    (tmp_path / "mine.py").write_text(
        "from qnn_jax import Circuit, Op, w, x\n"
        "def made():\n    return Circuit(1, (Op('ry', 0, x[0]), Op('ry', 0, w[0])))\n"
    )
    done = run("train", "--data", "dots.npz", "--circuit", "mine:made", "--observables", "Z",
               "--epochs", "3", "--passes", "2", "--batch-size", "16", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results/dots"
    fields = json.loads((folder / "config.json").read_text())["fields"]
    wanted = Circuit(1, (Op("ry", 0, x[0]), Op("ry", 0, w[0])))
    assert Circuit.from_json(fields["circuit"]) == wanted
    assert (folder / "figures/mistakes.png").exists() or "1.0000" in done.stdout
    (tmp_path / "mine.py").unlink()
    done = run("predict", "--run", "dots", "--data", "dots.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (folder / "predictions.csv").read_text().startswith("y,probability of 0,")


@pytest.mark.slow
def test_other_commands_take_the_run_as_it_is(finished, table: Path) -> None:
    _, folder = finished
    results = ("--results-dir", folder.parent)
    done = run("eval_aer", "--run", "petals", "--shots", 64, "--noisy-shots", 64,
               "--backend", "FakeFez", *results)  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads((folder / "eval-aer.json").read_text())
    assert told["test_count"] == 16
    assert set(told["noisy"]) == {"FakeFez"}


@pytest.mark.slow
def test_scans_and_ablations_take_the_table(finished, table: Path) -> None:
    _, folder = finished
    data = ("--task", "tabular", "--data", table, "--target", "kind", "--epochs", 2)
    results = ("--results-dir", folder.parent)
    for command, flags in (
        ("scan", (*data, "--axis", "learning_rate=1e-3,1e-2", "--confirm", 0)),
        ("ablate", (*data, "--quick", "--seeds", 2)),
        ("diagnose", ("--run", "petals", "--samples", 200)),
        ("eval_hardware", ("--run", "petals", "--dry-run")),
        ("predict", ("--run", "scan-best", "--data", table)),
    ):
        done = run(command, *flags, *results)
        assert done.returncode == 0, (command, done.stderr)
    members = json.loads((folder.parent / "scan/leaderboard.json").read_text())["members"]
    assert members[0]["command"].startswith("make train ARGS=")
