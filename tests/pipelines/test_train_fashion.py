"""`make train-fashion` as a user runs it: as a program, on tiny archives."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qnn_jax.runs import checkpoints

REPOSITORY = Path(__file__).parents[2]
SMALL = ("--train-images", "256", "--validation-images", "500", "--batch-size", "32")


def command(*flags: object) -> list[str]:
    return [sys.executable, "-m", "pipelines.train_fashion", *map(str, flags)]


def bare_environment(**more: str) -> dict[str, str]:
    """No HOME, no display, C locale: the environment of a batch job."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C", **more}


def run(*flags: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*flags),
        cwd=REPOSITORY,
        env=bare_environment(**environment),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


def loaded(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text("utf-8"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, data_dir: Path):
    """A whole small run, with an empty environment."""
    results = tmp_path_factory.mktemp("results")
    done = run("--epochs", 3, *SMALL, "--results-dir", results, "--data-dir", data_dir)
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


def test_a_finished_run_is_shown_again_and_left_alone(finished, data_dir: Path) -> None:
    _, folder = finished
    before = (folder / "weights.npz").stat().st_mtime_ns
    again = run("--epochs", 3, *SMALL, "--results-dir", folder.parent, "--data-dir", data_dir)
    assert again.returncode == 0
    assert "is finished" in again.stdout
    assert "--no-resume" in again.stdout
    assert (folder / "weights.npz").stat().st_mtime_ns == before


def test_another_configuration_in_the_same_folder_is_refused(finished, data_dir: Path) -> None:
    _, folder = finished
    before = sorted(path.name for path in folder.rglob("*"))
    other = run(
        "--epochs", 3, *SMALL, "--results-dir", folder.parent, "--data-dir", data_dir,
        "--learning-rate", 0.001,
    )  # fmt: skip
    assert other.returncode == 2
    assert "fields.training.learning_rate: 0.005 there, 0.001 now" in other.stderr
    assert "--no-resume" in other.stderr
    assert sorted(path.name for path in folder.rglob("*")) == before


def wait_for(process: subprocess.Popen, words: str) -> str:
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} never came: {seen}{process.stderr.read()}")


def start(*flags: object) -> subprocess.Popen:
    # Tests that a shell runs in the background ignore Ctrl-C, and their children inherit that;
    # a handled signal is reset by exec. (preexec_fn would fork, which JAX's threads forbid.)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command(*flags),
            cwd=REPOSITORY,
            env=bare_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_ends_with_the_same_bits(
    tmp_path: Path, data_dir: Path, uninterrupted: Path, sent: signal.Signals, status: int
) -> None:
    flags = (*LONG, "--results-dir", tmp_path, "--data-dir", data_dir)
    process = start(*flags)
    wait_for(process, "epoch  2/30")
    process.send_signal(sent)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == status
    folder = tmp_path / "fashion"
    stopped_at = max(checkpoints.epochs(folder / "checkpoints"))
    assert 2 <= stopped_at < 30
    if sent != signal.SIGKILL:
        assert f"Saved {stopped_at} of 30 epochs; the same command continues from there:" in out
        assert "python -m pipelines.train_fashion" in out
    resumed = run(*flags)
    assert resumed.returncode == 0, resumed.stderr
    assert f"Resuming {folder}." in resumed.stdout
    assert (folder / "weights.npz").read_bytes() == (uninterrupted / "weights.npz").read_bytes()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 31))
    assert len(loaded(folder, "summary.json")["seconds"]["epochs"]) == 30


# Epochs long enough that a signal sent after one arrives before the last.
LONG = ("--epochs", 30, "--no-twin", "--train-images", 2000, "--batch-size", 32)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    results = tmp_path_factory.mktemp("uninterrupted")
    done = run(*LONG, "--results-dir", results, "--data-dir", data_dir)
    assert done.returncode == 0, done.stderr
    return results / "fashion"


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_offered(
    tmp_path: Path, data_dir: Path
) -> None:
    flags = (*LONG, "--results-dir", tmp_path, "--data-dir", data_dir)
    process = start(*flags)
    wait_for(process, "epoch  3/30")
    process.kill()
    process.communicate()
    folder = tmp_path / "fashion" / "checkpoints"
    newest = checkpoints.latest(folder)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    refused = run(*flags)
    assert refused.returncode == 2
    assert str(newest) in refused.stderr
    assert f"continues from epoch {max(checkpoints.epochs(folder)) - 1}" in refused.stderr
    newest.unlink()
    process = start(*flags)
    wait_for(process, f"Resuming {tmp_path / 'fashion'}.")
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_loss_that_explodes_stops_the_run(tmp_path: Path, data_dir: Path) -> None:
    done = run(
        "--epochs", 3, *SMALL, "--results-dir", tmp_path, "--data-dir", data_dir,
        "--learning-rate", 1e30, "--no-twin",
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(
        r"^Stopped: Training of hybrid failed, because the loss became \S+ at step \d+ of epoch",
        done.stderr,
    )
    assert "lower `--learning-rate`" in done.stderr
    assert not (tmp_path / "fashion" / "summary.json").exists()


@pytest.mark.slow
def test_parameters_that_explode_in_an_epochs_last_step_stop_it_too(
    tmp_path: Path, data_dir: Path
) -> None:
    # One step per epoch: its loss is still that of the initial parameters.
    done = run(
        "--epochs", 2, "--train-images", 300, "--batch-size", 300, "--schedule", "constant",
        "--learning-rate", 1e37, "--results-dir", tmp_path, "--data-dir", data_dir,
    )  # fmt: skip
    assert done.returncode == 1
    assert "because the parameters became too large at step 1 of epoch 1" in done.stderr
    assert not checkpoints.epochs(tmp_path / "fashion" / "checkpoints")


@pytest.mark.slow
def test_no_epochs_is_evaluation_only(tmp_path: Path, data_dir: Path) -> None:
    done = run("--epochs", 0, *SMALL, "--results-dir", tmp_path, "--data-dir", data_dir)
    assert done.returncode == 0, done.stderr
    assert loaded(tmp_path / "fashion", "summary.json")["seconds"]["epochs"] == []


@pytest.mark.slow
def test_three_classes_and_three_qubits(tmp_path: Path, data_dir: Path) -> None:
    done = run(
        "--epochs", 2, "--train-images", 300, "--results-dir", tmp_path, "--data-dir", data_dir,
        "--classes", "bag", "5", "Trouser", "--model.num-qubits", 3, "--run", "three",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = loaded(tmp_path / "three", "summary.json")
    assert summary["classes"] == ["Bag", "Sandal", "Trouser"]
    assert (summary["test_count"], summary["train_count"]) == (3000, 300)
    assert summary["parameters"]["quantum"] == 9


BAD = [
    (("--epochz", 3), "--epochz"),
    (("--epochs", "three"), "three"),
    (("--preset", "fast"), "fast"),
    (("--epochs", -1), "Argument `--epochs` must be an integer of at least 0, but is -1."),
    (("--batch-size", 0), "Argument `--batch-size` must be between 1 and"),
    (("--seed", -1), "Argument `--seed` must be an integer between 0 and 4294967295, but is -1."),
    (
        ("--validation-images", -1),
        "Argument `--validation-images` must be an integer of at least 0",
    ),
    (("--classes", "Trouser", "Trouser"), "must be different classes"),
    (("--classes", "Trouser", "Spoon"), "'Spoon' is none"),
    (("--classes", "Trouser"), "must be two or more classes"),
    (("--model.num-qubits", 1), "Argument `--model.num-qubits` must be an integer of at least 2"),
    (("--model.entanglement", "ring"), "Argument `--model.entanglement` must be one of"),
    (("--loss", "mse", "--classes", "all"), "Argument `--loss` must be cross-entropy"),
    (("--batch-size", 20_000), "`--batch-size` must be between 1 and 11000"),
    (("--validation-images", 12_000), "`--validation-images` must be below 12000"),
    (("--train-images", 11_500), "`--train-images` must be at most 11000"),
    (("--run", "../x"), "Argument `--run` must be"),
    (("--shift", -1), "Argument `--shift` must be an integer of at least 0"),
    (
        ("--model.channels", 0),
        "Argument `--model.channels` must hold at most 100 integers between 1",
    ),
    (("--model.dropout", 1.5), "Argument `--model.dropout` must be at least 0 and below 1"),
]


def check_bad_flags(module: str, bad, tmp_path: Path) -> None:
    """All in one process, in which an import of jax is an error."""
    (tmp_path / "jax.py").write_text("raise SystemExit('jax was imported')")
    code = (
        "import io, json, sys\n"
        "from contextlib import redirect_stderr\n"
        f"from pipelines import command, {module} as asked\n"
        "for flags in json.loads(sys.argv[1]):\n"
        "    told = io.StringIO()\n"
        "    with redirect_stderr(told):\n"
        "        status = command._status_of(lambda: asked.main(flags))\n"
        "    print(json.dumps([status, told.getvalue()]))\n"
    )
    asked = [[*map(str, flags), "--results-dir", str(tmp_path / "results")] for flags, _ in bad]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asked)],
        cwd=REPOSITORY,
        env=bare_environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for (flags, words), (status, told) in zip(bad, answers, strict=True):
        assert status == 2, (flags, told)
        assert words in " ".join(told.split()).replace("│ ", ""), (flags, told)
        assert "Traceback" not in told
    assert not (tmp_path / "results").exists()


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
    done = run(*flags, "--results-dir", results, "--data-dir", data_dir)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    # Nothing remains for which a corrected command would be refused.
    assert not list(results.glob("*/summary.json"))
    assert not list(results.glob("*/checkpoints/*"))


@pytest.mark.slow
def test_two_processes_do_not_share_a_run(tmp_path: Path, data_dir: Path) -> None:
    flags = (*LONG, "--results-dir", tmp_path, "--data-dir", data_dir)
    first = start(*flags)
    try:
        wait_for(first, "epoch  1/30")
        second = run(*flags)
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert f"process {first.pid}" in second.stderr


def test_help_comes_at_once_and_bad_flags_too() -> None:
    began = time.monotonic()
    done = run("--help")
    assert done.returncode == 0
    assert "--classes" in done.stdout
    # A generous bound, since a test machine is busy; it is fast because jax is not imported.
    assert time.monotonic() - began < 10
    code = (
        "import sys, pipelines.train_fashion as t; sys.argv = ['t', '--help']\n"
        "try: t.main()\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'flax', 'matplotlib', 'tensorflow_datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)
