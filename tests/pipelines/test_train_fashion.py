"""`make train-fashion` as its users meet it: as a program, on a tiny stand-in for the archives."""

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

from qnn_jax.runs import checkpoints, read_npz

REPOSITORY = Path(__file__).parents[2]
SMALL = ("--train-images", "256", "--validation-images", "500", "--batch-size", "32")


def command(*flags: object) -> list[str]:
    return [sys.executable, "-m", "pipelines.train_fashion", *map(str, flags)]


def bare_environment(**more: str) -> dict[str, str]:
    """No HOME, no display, C locale: what a batch job gets."""
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
    """A whole small run, with nothing in its environment."""
    results = tmp_path_factory.mktemp("results")
    done = run("--epochs", 3, *SMALL, "--results-dir", results, "--data-dir", data_dir)
    assert done.returncode == 0, done.stderr
    return done, results / "fashion"


def test_a_run_tells_what_it_does(finished) -> None:
    done, folder = finished
    out = done.stdout
    for word in ("jax", "T-shirt/top / Trouser", "17,448 classical + 6 quantum", str(folder)):
        assert word in out
    assert "simulated exactly" in out
    assert len(re.findall(r"^epoch \d/3 .*loss .*validation .*twin .* s left$", out, re.M)) == 3
    assert re.search(r"^Test accuracy 0\.\d{4} on 2,000 images .*95 % interval", out, re.M)
    # The same with another seed: what else was asked for stands in it, too.
    following = re.search(r"^Next: make train-fashion ARGS='(.*)', or --help", out, re.M)[1]
    assert re.search(r"^--run fashion-1 --results-dir \S+ --seed 1 ", following)
    assert f"--results-dir {folder.parent} " in following
    assert "--epochs 3" in following
    assert "--data-dir " in following
    assert done.stderr.count("\n") <= 2, "no warnings of libraries"


def test_a_run_leaves_what_others_read(finished) -> None:
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
    assert 0.5 < summary["baselines"]["classical_twin"] <= 1
    assert "McNemar" in summary["verdict"]
    config = loaded(folder, "config.json")
    assert config["model"]["hidden"] == [64]
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


def test_the_saved_weights_rebuild_the_model(finished, data_dir: Path) -> None:
    import jax
    import jax.numpy as jnp

    from qnn_jax.data import load_fashion_mnist
    from qnn_jax.models import HybridClassifier, ModelConfig

    _, folder = finished
    config = loaded(folder, "config.json")["model"]
    config = ModelConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})
    params: dict = {}
    for name, leaf in read_npz(folder / "weights.npz").items():
        *path, last = name.split("/")
        inner = params
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = jnp.asarray(leaf)
    data = load_fashion_mnist(data_dir).select(("T-shirt/top", "Trouser"))
    model = HybridClassifier(config, 2)
    logits = jax.jit(model.apply)({"params": params}, data.test_images)
    accuracy = np.mean((np.asarray(logits)[:, 0] > 0) == data.test_labels)
    assert accuracy == pytest.approx(loaded(folder, "summary.json")["test_accuracy"], abs=6e-4)


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
    assert "training.learning_rate: 0.005 there, 0.001 now" in other.stderr
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


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (signal.SIGKILL, -9),
        (signal.SIGTERM, 75),
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
        assert "Saved epoch" in out
        assert "python -m pipelines.train_fashion" in out
    resumed = run(*flags)
    assert resumed.returncode == 0, resumed.stderr
    assert f"Resuming after epoch {stopped_at} of 30" in resumed.stdout
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
    assert f"goes on from epoch {max(checkpoints.epochs(folder)) - 1}" in refused.stderr
    newest.unlink()
    before = max(checkpoints.epochs(folder))
    process = start(*flags)
    wait_for(process, f"Resuming after epoch {before} of 30")
    process.kill()
    process.communicate()


def test_a_loss_that_explodes_stops_the_run(tmp_path: Path, data_dir: Path) -> None:
    done = run(
        "--epochs", 3, *SMALL, "--results-dir", tmp_path, "--data-dir", data_dir,
        "--learning-rate", 1e30, "--no-twin",
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"^Stopped: The loss of hybrid became \S+ at step \d+ of epoch", done.stderr)
    assert "learning rate" in done.stderr
    assert not (tmp_path / "fashion" / "summary.json").exists()


def test_parameters_that_explode_in_an_epochs_last_step_stop_it_too(
    tmp_path: Path, data_dir: Path
) -> None:
    # One step an epoch: its loss is still that of the initial parameters.
    done = run(
        "--epochs", 2, "--train-images", 300, "--batch-size", 300, "--schedule", "constant",
        "--learning-rate", 1e37, "--results-dir", tmp_path, "--data-dir", data_dir,
    )  # fmt: skip
    assert done.returncode == 1
    assert "grew beyond all bounds at step 1 of epoch 1" in done.stderr
    assert not checkpoints.epochs(tmp_path / "fashion" / "checkpoints")


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
    (("--validation-images", -1), "Argument `--validation-images` must be at least 0"),
    (("--classes", "Trouser", "Trouser"), "must be different classes"),
    (("--classes", "Trouser", "Spoon"), "'Spoon' is none"),
    (("--classes", "Trouser"), "must be two or more classes"),
    (("--model.num-qubits", 1), "Argument `num_qubits` must be an integer of at least 2"),
    (("--model.entanglement", "ring"), "Argument `entanglement` must be one of"),
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


@pytest.mark.parametrize(("flags", "words"), BAD, ids=lambda value: str(value)[:40])
def test_bad_flags_are_answered_before_jax_loads(flags, words: str, tmp_path: Path) -> None:
    # A jax that cannot be imported: whoever gets as far as importing it fails otherwise.
    (tmp_path / "jax.py").write_text("raise SystemExit('jax was imported')")
    done = run(*flags, "--results-dir", tmp_path / "results", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.split()).replace("│ ", "")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--train-images", 11_000), "`--train-images` must be between 2 and"),
        (("--train-images", 64, "--manual-dir", "/nowhere"), "/nowhere"),
    ],
)
def test_what_only_the_data_can_tell_is_one_sentence_too(
    flags, words: str, tmp_path: Path, data_dir: Path
) -> None:
    results = tmp_path / "results"
    done = run(*flags, "--results-dir", results, "--data-dir", data_dir)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not results.exists() or not any(results.iterdir())


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
    # A generous bound, since a test machine is busy; that jax stays out is what makes it fast.
    assert time.monotonic() - began < 10
    code = (
        "import sys, pipelines.train_fashion as t; sys.argv = ['t', '--help']\n"
        "try: t.main()\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'flax', 'matplotlib', 'tensorflow_datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)


def test_features_too_large_for_float32_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    import jax

    from pipelines.training_run import warn_of_large_angles
    from qnn_jax.configs import ModelConfig
    from qnn_jax.models import HybridClassifier

    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28)).astype(np.uint8)
    for gain, told in ((1.0, ""), (300.0, "radians, which float32 knows to about")):
        config = ModelConfig(channels=(), hidden=(), bound="none", feature_gain=gain)
        model = HybridClassifier(config, 2)
        params = jax.jit(model.init)(jax.random.key(0), images)["params"]
        warn_of_large_angles(model, params, images)
        said = capsys.readouterr().err
        assert told in said if told else not said
