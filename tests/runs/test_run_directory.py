import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.runs import RunDirectory, differences, write_json_atomic, write_npz_atomic

CONFIG = {"rate": 0.1, "epochs": 5, "model": {"qubits": 4, "kind": "zz"}, "data": Path("d")}


def reopen(results, config=CONFIG, resume=True):
    with RunDirectory.open(
        results, "run", config, resume, resume_may_change=("epochs", "data")
    ) as run:
        return run


def finished_run(results):
    with RunDirectory.open(results, "run", CONFIG) as run:
        run.append_metrics(1, {"loss": 0.5})
        write_npz_atomic(run.path / "weights.npz", {"w": np.ones(2)})
        write_json_atomic(run.path / "manifest.json", {})
        write_json_atomic(run.path / "summary.json", {"epochs": 5, "rate": "not compared"})
        run.checkpoints.mkdir()
        (run.checkpoints / "epoch-000005.npz").touch()
    return run.path


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/tmp/x",
        "a\n",
        "a\nb",
        ".hidden",
        "-flag",
        "a b",
        "é",
        "a" * 101,
    ],
)
def test_a_name_that_is_no_plain_name_is_refused(tmp_path, name):
    results = tmp_path / "results"
    for call in (
        lambda: RunDirectory.open(results, name, CONFIG),
        lambda: RunDirectory.existing(results, name),
    ):
        with pytest.raises(InputError, match=r"^Argument `run` must be 1 to 100") as error:
            call()
        assert repr(name) in str(error.value)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a", "fashion-2026.1_b", "7" * 100])
def test_a_plain_name_is_a_folder(tmp_path, name):
    with RunDirectory.open(tmp_path / "results", name, CONFIG) as run:
        assert run.path == tmp_path / "results" / name
        assert run.path.is_dir()


@pytest.mark.parametrize(
    ("results", "why"),
    [
        ("missing/results", "No such file or directory"),
        ("plain", "File exists|Not a directory"),
        ("plain/results", "Not a directory"),
    ],
)
def test_a_place_where_no_folder_can_be_is_one_sentence(tmp_path, results, why):
    (tmp_path / "plain").touch()
    with pytest.raises(
        InputError, match=rf"^Cannot make the folder .*{results} \({why}\): give a `results_dir`"
    ):
        RunDirectory.open(tmp_path / results, "run", CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_a_file_in_place_of_the_run_is_one_sentence(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match=r"^Cannot make the folder .*run \(File exists\)"):
        reopen(tmp_path)


UNPRIVILEGED = """
import os, sys
from pathlib import Path
import filelock  # while the interpreter's own files can be read
from qnn_jax.runs import RunDirectory
os.chdir(sys.argv[1])
if os.geteuid() == 0:  # root may write anywhere
    os.setgid(65534), os.setuid(65534)
for name in ("old", "new"):
    try: RunDirectory.open(Path("."), name, {})
    except ValueError as error: print(error)
"""


def test_a_folder_that_is_read_only_is_one_sentence(tmp_path):
    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "old", tmp_path):
        folder.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, tmp_path], capture_output=True, text=True
        )
    finally:
        tmp_path.chmod(0o755)
    assert done.stdout.splitlines() == [
        "Cannot lock old (Permission denied): give a `results_dir` on a disk that can be written "
        "and has file locks.",
        "Cannot make the folder new (Permission denied): give a `results_dir` that can be "
        "written, in a folder that exists.",
    ], done.stderr


def test_a_lock_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "run" / ".lock").mkdir(parents=True)
    with pytest.raises(InputError, match=r"^Cannot lock .*run \(Is a directory\): give a `res"):
        reopen(tmp_path)


def test_a_new_run_writes_its_config(tmp_path):
    run = reopen(tmp_path)
    assert run.fresh
    assert not run.finished
    config = {**CONFIG, "data": "d"}
    assert run.config == config
    assert [path.name for path in sorted(run.path.iterdir())] == [".lock", "config.json"]
    with RunDirectory.existing(tmp_path, "run") as run:
        assert run.config == config
        assert not run.finished


def test_the_same_configuration_resumes(tmp_path):
    first = reopen(tmp_path)
    again = reopen(tmp_path, {**CONFIG, "epochs": 9, "data": "e"})
    assert not again.fresh
    assert again.fingerprint == first.fingerprint
    assert again.config["epochs"] == 9
    with RunDirectory.existing(tmp_path, "run") as run:
        assert run.config == again.config


def test_another_configuration_is_refused_with_every_difference(tmp_path):
    path = finished_run(tmp_path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    other = {"rate": 0.2, "epochs": 9, "model": {"qubits": 5, "kind": "zz"}, "new": None}
    with pytest.raises(InputError) as error:
        reopen(tmp_path, other)
    assert str(error.value) == (
        f"Run {path} has another configuration (rate: 0.1 there, 0.2 now; model.qubits: 4 there, "
        "5 now; new: absent there, null now): give another `run` name, or `resume=False` to start "
        "over."
    )
    del before[path / ".lock"]
    assert all(file.read_bytes() == data for file, data in before.items())
    reopen(tmp_path)  # and the lock is free again


def test_differences_serve_a_manifest_too():
    assert differences({"jax": "1", "a": [1]}, {"jax": "2", "a": [1]}) == [
        'jax: "1" there, "2" now'
    ]
    assert differences({"a": {"b": 1}}, {"a": 1}) == ['a: {"b": 1} there, 1 now']
    assert differences({"a": 1}, {"a": 1.0}) == []


def test_a_run_is_finished_if_its_summary_is_of_this_configuration(tmp_path):
    path = finished_run(tmp_path)
    assert reopen(tmp_path).finished
    with RunDirectory.existing(tmp_path, "run") as run:
        assert run.finished
    # To be trained for longer, and killed before the new summary: not finished either time.
    for _ in range(2):
        run = reopen(tmp_path, {**CONFIG, "epochs": 9})
        assert not run.finished
        assert not run.fresh
    assert (path / "weights.npz").exists()


def test_starting_over_removes_what_is_ours_and_nothing_else(tmp_path):
    path = finished_run(tmp_path)
    theirs = ["notes.txt", "eval-hardware.json", "checkpoints/epoch-best.npz", "figures/plot.png"]
    (path / "figures").mkdir()
    for name in theirs:
        (path / name).write_text("mine")
    for torn in (".weights.npz.12.tmp", "checkpoints/.epoch-000006.npz.12.tmp"):
        (path / torn).touch()
    run = reopen(tmp_path, {**CONFIG, "rate": 0.3}, resume=False)
    assert run.fresh
    assert not run.finished
    assert run.config["rate"] == 0.3
    left = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    assert left == {*theirs, ".lock", "config.json"}


def test_a_run_without_a_checkpoint_may_be_configured_anew(tmp_path):
    with reopen(tmp_path) as run:
        run.append_metrics(1, {"loss": 1.0})
    with reopen(tmp_path, {**CONFIG, "rate": 0.3}) as again:
        assert again.fresh
        assert again.config["rate"] == 0.3
        assert again.read_metrics() == []


def test_starting_over_is_refused_while_another_process_trains(tmp_path):
    path = finished_run(tmp_path)
    with RunDirectory.existing(tmp_path, "run"), pytest.raises(InputError, match="in use by"):
        reopen(tmp_path, resume=False)
    assert (path / "weights.npz").exists()
    assert (path / "checkpoints/epoch-000005.npz").exists()


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("name", ["weights.npz", "summary.json", "checkpoints/epoch-000001.npz"])
def test_a_folder_that_may_be_no_run_is_left_alone(tmp_path, name, resume):
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    with pytest.raises(InputError, match=rf"has a {file.name} but no config\.json"):
        reopen(tmp_path, resume=resume)
    assert file.read_text() == "precious"
    assert not (tmp_path / "run/config.json").exists()


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_a_damaged_file_is_named_and_starting_over_helps(tmp_path, name):
    path = finished_run(tmp_path)
    (path / name).write_text("{")
    with pytest.raises(InputError, match=rf"{name} is damaged"):
        reopen(tmp_path)
    assert reopen(tmp_path, resume=False).fresh


def test_a_run_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(InputError, match=r"\(which has none yet\), but is 'run'\.$"):
        RunDirectory.existing(tmp_path / "results", "run")
    for name in ("b", "a"):
        RunDirectory.open(tmp_path, name, CONFIG).close()
    with pytest.raises(InputError, match=r"`run` must name a run in .* \(a, b\), but is 'run'"):
        RunDirectory.existing(tmp_path, "run")
    assert not (tmp_path / "run").exists()


HOLDER = """
import sys, time
from pathlib import Path
from qnn_jax.runs import RunDirectory
run = RunDirectory.open(Path(sys.argv[1]), "run", {})
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_process_gets_the_holder_of_the_lock_and_the_lock_after_its_kill(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            for call in (
                lambda: RunDirectory.open(tmp_path, "run", {}),
                lambda: RunDirectory.existing(tmp_path, "run"),
            ):
                with pytest.raises(InputError) as error:
                    call()
                assert f"is in use by process {holder.pid} on {os.uname().nodename} since 20" in (
                    str(error.value)
                )
            RunDirectory.open(tmp_path, "other", {}).close()
        finally:
            holder.send_signal(signal.SIGKILL)
    with RunDirectory.open(tmp_path, "run", {}):
        assert f"process {os.getpid()} on " in (tmp_path / "run/.lock").read_text()
        assert str(holder.pid) not in (tmp_path / "run/.lock").read_text().split()


def test_metrics_are_lines_of_json(tmp_path):
    with RunDirectory.open(tmp_path, "run", CONFIG) as run:
        assert run.read_metrics() == []
        run.append_metrics(1, {"loss": np.float32(0.5), "seconds": [1.5]})
        run.append_metrics(2, {"loss": float("nan")})
        assert run.read_metrics() == [
            {"epoch": 1, "loss": 0.5, "seconds": [1.5]},
            {"epoch": 2, "loss": None},
        ]
        assert (run.path / "metrics.jsonl").read_text().count("\n") == 2


@pytest.mark.parametrize("torn", ['{"epoch": 3, "lo', '{"epoch": 3}', "{", "\0\0"])
def test_a_torn_last_line_is_skipped_and_removed(tmp_path, torn):
    with RunDirectory.open(tmp_path, "run", CONFIG) as run:
        for epoch in (1, 2):
            run.append_metrics(epoch, {})
        file = run.path / "metrics.jsonl"
        file.write_text(file.read_text() + torn)
        assert [row["epoch"] for row in run.read_metrics()] == [1, 2]
        run.truncate_metrics(2)
        run.append_metrics(3, {"loss": 1})
        assert run.read_metrics() == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3, "loss": 1}]


def test_resuming_leaves_no_epoch_twice(tmp_path):
    with RunDirectory.open(tmp_path, "run", CONFIG) as run:
        run.truncate_metrics(0)
        assert not (run.path / "metrics.jsonl").exists()
        for epoch in (1, 2, 3, 4):
            run.append_metrics(epoch, {"loss": 0.1 * epoch})
        before = run.read_metrics()
        run.truncate_metrics(2)
        assert run.read_metrics() == before[:2]
        run.truncate_metrics(0)
        assert run.read_metrics() == []


@pytest.mark.parametrize("line", ["{", "[1]", "{}", '{"epoch": "1"}', ""])
def test_a_damaged_line_before_the_last_is_named(tmp_path, line):
    with RunDirectory.open(tmp_path, "run", CONFIG) as run:
        (run.path / "metrics.jsonl").write_text(f'{{"epoch": 1}}\n{line}\n{{"epoch": 3}}\n')
        with pytest.raises(InputError, match=r"metrics\.jsonl is damaged at line 2: delete that"):
            run.read_metrics()


def test_bad_input_is_answered_without_jax(tmp_path):
    code = """
import sys
from pathlib import Path
from qnn_jax.runs import RunDirectory
with RunDirectory.open(Path(sys.argv[1]), "run", {}) as run: run.checkpoints.mkdir()
(run.checkpoints / "epoch-000001.npz").touch()
try: RunDirectory.open(Path(sys.argv[1]), "run", {"a": 1})
except ValueError as error: print(error)
print("jax" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert "a: absent there, 1 now" in done.stdout
    assert done.stdout.endswith("False\n")
