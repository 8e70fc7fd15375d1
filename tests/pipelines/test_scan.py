"""`make scan` as a user runs it: as a program, alone, killed, on several devices."""

import csv
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from as_programs import REPOSITORY, bare_environment, check_bad_flags, run

from qnn_jax.errors import InputError
from qnn_jax.runs import checkpoints, read_npz
from qnn_jax.studies.scan import check_best_is_free

#: Programs are compiled once for all processes of these tests.
CACHE = {"JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir()) / "qnn-jax-test-cache")}
AXES = ("--axis", "learning_rate=2e-3,1e30", "--axis", "seed=0,1")
SMALL = (
    "--epochs", 3, "--halving", "--confirm", 2, "--train-images", 256, "--validation-images", 500,
    "--batch-size", 32, "--devices", 1,
)  # fmt: skip


def command(*flags: object) -> list[str]:
    return [sys.executable, "-u", "-m", "pipelines.scan", *map(str, flags)]


def start(*flags: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(*flags),
        cwd=REPOSITORY,
        env=bare_environment(**CACHE, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def wait_for(process: subprocess.Popen, words: str) -> str:
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} never came: {seen}{process.stderr.read()}")


def scan(*flags: object, **environment: str) -> tuple[str, str, int]:
    process = start(*flags, **environment)
    out, error = process.communicate(timeout=500)
    return out, error, process.returncode


def rows_in(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same_scan(folder: Path, other: Path, tolerance: float) -> None:
    """The same members, and equal metrics; a diverged one is None in both."""
    mine, theirs = rows_in(folder), rows_in(other)
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a["members"] == b["members"]
        for metric in ("loss", "validation_loss"):
            left, right = (np.array(row["hybrid"][metric], float) for row in (a, b))
            np.testing.assert_allclose(left, right, atol=tolerance, rtol=tolerance)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> tuple[str, Path]:
    """A whole small scan: a learning rate that explodes, two seeds, a rung after one epoch."""
    results = tmp_path_factory.mktemp("scans")
    out, error, status = scan(*SMALL, *AXES, "--results-dir", results, "--data-dir", data_dir)
    assert status == 0, error
    return out, results / "scan"


@pytest.mark.slow
def test_a_scan_prints_its_progress(finished) -> None:
    out, folder = finished
    assert "6 members, the default configuration first" in out
    assert "Fashion-MNIST: T-shirt/top / Trouser; 256 train + 500 validation" in out
    assert re.search(r"train \d members each in parallel \(\d+ MiB a member, by formula\)", out)
    line = r"^epoch 1/3 .*best 0\.\d+ \(member \d+\) .*median .*quartiles .*2 diverged .* s left"
    assert re.search(line, out, re.M)
    assert re.search(r"^Compiling for \d+ members …$", out, re.M)
    assert "The winner" in out or "No candidate did better than the default" in out
    assert "The best member alone: make train-fashion ARGS=" in out
    assert str(folder) in out


@pytest.mark.slow
def test_a_scan_leaves_a_leaderboard_figures_and_an_ordinary_run(finished) -> None:
    _, folder = finished
    board = json.loads((folder / "leaderboard.json").read_text())["members"]
    with (folder / "leaderboard.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(board) == len(table) == 6
    pictures = {path.name for path in (folder / "figures").iterdir()}
    assert pictures == {"axes.png", "parallel.png", "curves.png"}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best"]["member"] == board[0]["member"]
    best = folder.with_name("scan-best")
    told = json.loads((best / "summary.json").read_text())
    assert told["test_accuracy"] == board[0]["test_accuracy"]
    assert told["validation_accuracy"] == pytest.approx(board[0]["validation_accuracy"], abs=1e-7)
    assert (best / "report.html").exists()
    assert board[0]["config"]["fields"] == json.loads((best / "config.json").read_text())["fields"]


@pytest.mark.slow
def test_the_printed_command_trains_the_member_alone(
    finished, data_dir: Path, tmp_path: Path
) -> None:
    _, folder = finished
    board = json.loads((folder / "leaderboard.json").read_text())["members"]
    rows = rows_in(folder)
    row = next(r for r in board if r["candidate"] != 0 and r["seed"] == 1 and r["epochs"] >= 1
               and r["outcome"] != "diverged")  # fmt: skip
    words = shlex.split(row["command"].removeprefix("make train-fashion "))
    flags = shlex.split(words[0].removeprefix("ARGS="))
    assert "--split-seed" in flags
    alone = run("train_fashion", *flags, "--results-dir", tmp_path, "--data-dir", data_dir)
    assert alone.returncode == 0, alone.stderr
    trained = next(tmp_path.glob("*/metrics.jsonl"))
    single = [json.loads(line)["hybrid"] for line in trained.read_text().splitlines()]
    mine = [
        {name: r["hybrid"][name][r["members"].index(row["member"])] for name in single[0]}
        for r in rows
        if row["member"] in r["members"]
    ]
    assert len(mine) == row["epochs"]
    for together, by_itself in zip(mine, single, strict=False):
        for name in ("loss", "validation_loss", "gradient_norm"):
            assert together[name] == pytest.approx(by_itself[name], rel=2e-3, abs=2e-3)
    # The broken subject: another member's numbers differ.
    other = next(r for r in board if r["seed"] == 0 and r["outcome"] != "diverged")
    place = rows[0]["members"].index(other["member"])
    assert abs(rows[0]["hybrid"]["validation_loss"][place] - single[0]["validation_loss"]) > 4e-3


@pytest.mark.slow
def test_a_killed_scan_ends_with_the_same_bits(finished, data_dir: Path, tmp_path: Path) -> None:
    _, folder = finished
    flags = (*SMALL, *AXES, "--results-dir", tmp_path, "--data-dir", data_dir)
    process = start(*flags)
    wait_for(process, "epoch 2/3")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    out, error, status = scan(*flags)
    assert status == 0, error
    assert re.search(r"^Resuming after \d+ epochs", out, re.M)
    mine = tmp_path / "scan-best" / "weights.npz"
    assert mine.read_bytes() == (folder.with_name("scan-best") / "weights.npz").read_bytes()
    for a, b in zip(rows_in(tmp_path / "scan"), rows_in(folder), strict=True):
        a.pop("seconds"), b.pop("seconds")
        assert a == b


def watched(copies: Path, number: int, *flags: object) -> subprocess.CompletedProcess[str]:
    """A scan whose conclusion is copied to `copies`, step by step, and gets a signal."""
    script = Path(__file__).with_name("scan_steps.py")
    return subprocess.run(
        [sys.executable, script, *map(str, (copies, number, *flags))],
        cwd=REPOSITORY,
        env=bare_environment(**CACHE, PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        timeout=500,
    )


def concluding(results: Path) -> tuple[object, ...]:
    """The flags of a scan of two members without a confirmation."""
    return (*SMALL[:2], "--confirm", 0, *SMALL[5:], "--axis", "learning_rate=2e-3",
            "--results-dir", results)  # fmt: skip


def refusal(results: Path) -> str:
    """Why the scan may not write its best member there; empty if it may."""
    try:
        check_best_is_free(results / "scan")
    except InputError as error:
        return str(error)
    return ""


def without_manifest(copies: Path) -> list[Path]:
    """The copies in which the best member's folder has a configuration but no manifest."""
    return [
        copy
        for copy in sorted(copies.iterdir())
        if (copy / "scan-best/config.json").exists()
        and not (copy / "scan-best/manifest.json").exists()
    ]


@pytest.mark.slow
def test_a_scan_stopped_or_killed_at_any_step_of_its_conclusion_resumes(
    data_dir: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    flags = (*concluding(results), "--data-dir", data_dir)
    stopped = watched(tmp_path / "first", signal.SIGTERM, *flags)
    assert stopped.returncode == 75, stopped.stderr
    assert "but not all results are written; the same command" in stopped.stdout
    assert "Stopping after the current step is saved" in stopped.stderr
    assert not (results / "scan/summary.json").exists()
    again = watched(tmp_path / "second", 0, *flags)
    assert again.returncode == 0, again.stderr
    assert re.search(r"^Resuming after \d+ epochs", again.stdout, re.M)
    # A kill at any of these moments leaves a scan that can resume.
    steps = [step for name in ("first", "second") for step in (tmp_path / name).iterdir()]
    assert len(steps) > 60
    assert {refusal(step) for step in steps} == {""}
    # A check by the manifest alone would not have let these resume.
    first = without_manifest(tmp_path / "first")
    assert len(first) > 3
    assert len(without_manifest(tmp_path / "second")) > 3
    # Broken subjects: an ordinary run of that name, and files that may not belong to a run.
    config = json.loads((first[0] / "scan-best/config.json").read_text())
    assert config.pop("scan") == "scan"
    (first[0] / "scan-best/config.json").write_text(json.dumps(config))
    assert "scan-best is another run; give another name." in refusal(first[0])
    (first[1] / "scan-best/config.json").unlink()
    (first[1] / "scan-best/weights.npz").touch()
    assert "has a weights.npz but no config.json" in refusal(first[1])


@pytest.mark.slow
def test_a_finished_scan_is_shown_and_another_is_refused(finished, data_dir: Path) -> None:
    _, folder = finished
    flags = (*SMALL, "--results-dir", folder.parent, "--data-dir", data_dir)
    out, _, status = scan(*flags, *AXES)
    assert status == 0
    assert "is finished; --no-resume runs it again" in out
    _, error, status = scan(*flags, "--axis", "learning_rate=1e-3")
    assert status == 2
    assert "has another configuration (axis:" in error
    assert len(error.strip().splitlines()) == 1


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def both(flags: tuple) -> list[subprocess.Popen]:
    """Two processes of one scan on loopback."""
    shared = ("--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", 2)
    return [start(*flags, *shared, "--process-id", number) for number in (0, 1)]


@pytest.mark.slow
def test_two_processes_are_one_scan(finished, data_dir: Path, tmp_path: Path) -> None:
    _, folder = finished
    flags = (*SMALL, *AXES, "--results-dir", tmp_path, "--data-dir", data_dir)
    first, second = both(flags)
    out, error = first.communicate(timeout=500)
    quiet, _ = second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0), error
    assert "2 devices in 2 processes" in out
    assert "epoch" not in quiet
    assert_same_scan(tmp_path / "scan", folder, 5e-3)
    mine, theirs = (read_npz(path / "weights.npz") for path in
                    (tmp_path / "scan-best", folder.with_name("scan-best")))  # fmt: skip
    assert mine.keys() == theirs.keys()


@pytest.mark.slow
def test_four_devices_are_one_scan(finished, data_dir: Path, tmp_path: Path) -> None:
    _, folder = finished
    flags = (*SMALL[:-2], *AXES, "--results-dir", tmp_path, "--data-dir", data_dir)
    out, error, status = scan(*flags, XLA_FLAGS="--xla_force_host_platform_device_count=4")
    assert status == 0, error
    assert "4 devices in 1 processes" in out
    assert_same_scan(tmp_path / "scan", folder, 5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_process_ends_the_other_and_costs_an_epoch_at_most(
    finished, data_dir: Path, tmp_path: Path, victim: int
) -> None:
    long = ("--epochs", 40, "--train-images", 2000, "--validation-images", 500, "--devices", 1)
    flags = (*long, "--confirm", 0, "--axis", "learning_rate=1e-3", "--results-dir", tmp_path,
             "--data-dir", data_dir)  # fmt: skip
    processes = both(flags)
    wait_for(processes[0], "epoch  3/40")
    processes[victim].kill()
    began = time.monotonic()
    _, error = processes[1 - victim].communicate(timeout=60)
    assert time.monotonic() - began < 30
    processes[victim].communicate()
    assert processes[1 - victim].returncode != 0
    assert "another process of the scan has ended" in error
    assert max(checkpoints.epochs(tmp_path / "scan" / "checkpoints")) >= 3
    process = start(*flags)
    seen = wait_for(process, "Resuming after")
    process.kill()
    process.communicate()
    assert int(re.search(r"Resuming after (\d+)", seen)[1]) >= 3


def test_bad_flags_are_answered_before_jax_loads(tmp_path: Path) -> None:
    bad = [
        (("--axis", "lerning_rate=1"), "did you mean training.learning_rate?"),
        (("--axis", "learning_rate="), "must give values"),
        (("--axes", "a=1"), "--axes"),
        (("--task", "none"), "`--task` must be one of 'fashion', "),
        (("--preset", "none"), "`--preset` must be one of 'default', 'slides', 'notebook'"),
        (("--task", "calculator", "--preset", "slides"), "`--preset` must be one of 'default'"),
        (("--axis", "seed=4294967296"), "from 0 to 4294967295, but one is '4294967296'"),
        (("--at-once", -1), "`--at-once` must be an integer of at least 0"),
        (("--num-processes", 2), "`--coordinator` must be given"),
    ]
    check_bad_flags("scan", bad, tmp_path)


@pytest.mark.slow
def test_members_that_cannot_fit_are_refused(data_dir: Path, tmp_path: Path) -> None:
    _, error, status = scan(
        "--model.num-qubits", 22, "--axis", "learning_rate=1e-3", "--results-dir", tmp_path,
        "--data-dir", data_dir,
    )  # fmt: skip
    assert status == 2
    assert "must fit into memory, but its 22 qubits" in error
    assert len(error.strip().splitlines()) == 1
