"""`make eval-hardware` from preflight to result, simulated and through IBM's real client."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ibm_server import TOKEN

from pipelines.eval_hardware import HardwareConfig, check
from pipelines.hardware.run import evaluate
from qnn_jax.bridge.submission import Clock
from qnn_jax.errors import InputError
from qnn_jax.runs import read_npz

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    shutil.copytree(REPOSITORY / "results/reference/fashion", folder / "fashion")
    return folder


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE", "QISKIT_IBM_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def outcome(results: Path) -> dict:
    return json.loads((results / "fashion/eval-hardware.json").read_text())


def events(results: Path) -> list[str]:
    lines = (results / "fashion/jobs.jsonl").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


@pytest.mark.usefixtures("no_account")
def test_a_simulated_evaluation_says_so_and_improves_on_its_counts(
    results: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = HardwareConfig(
        run="fashion",
        results_dir=results,
        data_dir=data_dir,
        backend="FakeManilaV2",
        images=200,
        shots=512,
        anchors=60,
        budget_seconds=1000,
    )
    assert evaluate(config) == 0
    told = capsys.readouterr().out
    assert told.startswith("SIMULATED: FakeManilaV2")
    assert "on a SIMULATED FakeManilaV2" in told
    found = outcome(results)
    assert found["device"] == "simulated"
    assert found["test_count"] == 200
    for name in ("exact", "plain", "mitigated", "recalibrated"):
        low, high = found[name]["interval"]
        assert low <= found[name]["accuracy"] <= high
    rms = [found[name]["rms"] for name in ("plain", "mitigated", "recalibrated")]
    assert rms[0] > rms[1] > rms[2]
    assert rms[2] < 0.05  # 512 shots: at most 0.044 for a fair coin, less for sure values
    arrays = read_npz(results / "fashion/eval-hardware.npz")
    assert np.corrcoef(arrays["plain"][:, 0], arrays["exact"][:, 0])[0, 1] > 0.99
    # As many of each class, and none twice: the test set has the classes in equal parts.
    assert len(set(arrays["test"].tolist())) == 200
    assert (results / "fashion/figures/eval-hardware.png").stat().st_size > 10_000
    # The second time nothing is run: the counts are in the ledger.
    before = events(results)
    assert before.count("submitted") == before.count("done") == 1
    assert evaluate(config) == 0
    assert "Going on with the evaluation" in capsys.readouterr().out
    assert events(results) == before
    again = outcome(results)
    assert [again[name]["rms"] for name in ("plain", "mitigated", "recalibrated")] == rms


@pytest.mark.usefixtures("no_account")
def test_the_second_stage_goes_to_images_that_are_not_settled(
    results: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = HardwareConfig(
        run="fashion",
        results_dir=results,
        data_dir=data_dir,
        backend="FakeManilaV2",
        images=400,
        shots=64,
        anchors=10,
        budget_seconds=1000,
        two_stage=True,
        readout=False,
    )
    assert evaluate(config) == 0
    told = capsys.readouterr().out
    unsettled = int(re.search(r"First stage: (\d+) of 400", told)[1])
    assert 0 < unsettled < 80
    found = outcome(results)
    assert found["executions"] == 410 * 16 + unsettled * 48
    assert "mitigated" not in found
    assert len(found["job_ids"]) == 2


@pytest.mark.usefixtures("no_account")
def test_recompiled_and_packed_is_the_same_model(results: Path, data_dir: Path) -> None:
    config = HardwareConfig(
        run="fashion",
        results_dir=results,
        data_dir=data_dir,
        backend="FakeGuadalupeV2",
        images=60,
        shots=512,
        anchors=20,
        budget_seconds=1000,
        copies=2,
        recompile=True,
    )
    assert evaluate(config) == 0
    found = outcome(results)
    assert found["copies"] == 2
    assert found["recompiled"]
    assert found["recalibrated"]["rms"] < 0.06


def test_ibms_machine_is_asked_once_and_its_job_is_found_again(
    server, results: Path, data_dir: Path, capsys: pytest.CaptureFixture[str], fast_clock
) -> None:
    config = HardwareConfig(
        run="fashion",
        results_dir=results,
        data_dir=data_dir,
        backend="ibm_fez",
        images=40,
        shots=256,
        anchors=20,
        budget_seconds=100,
    )
    clock = Clock(fast_clock.now, fast_clock.sleep)
    assert evaluate(HardwareConfig(**{**vars(config), "dry_run": True}), clock) == 0
    assert "Nothing was sent" in capsys.readouterr().out
    assert not server.jobs
    assert not (results / "fashion/jobs.jsonl").exists()
    # The answer to the submission is lost: the job is found by its tag, not sent again.
    server.spoil("POST /jobs", "drop", after=True)
    assert evaluate(config, clock) == 0
    told = capsys.readouterr()
    assert told.out.startswith("QUANTUM COMPUTER: ibm_fez")
    found = outcome(results)
    assert found["device"] == "ibm_fez"
    assert found["job_ids"] == list(server.jobs)
    assert len(server.completed()) == 1
    # The server has no noise, so scale and shift have nothing to undo.
    assert found["scale"][0] == pytest.approx(1, abs=0.05)
    assert found["plain"]["rms"] < 0.08
    sent = server.count("POST /jobs")
    (results / "fashion/eval-hardware.json").unlink()
    assert evaluate(config, clock) == 0
    assert server.count("POST /jobs") == sent
    assert outcome(results)["plain"] == found["plain"] | {
        "seconds": outcome(results)["plain"]["seconds"]
    }
    assert not server.invalid
    told_again = capsys.readouterr()
    for text in (told.out, told.err, told_again.out, told_again.err):
        assert TOKEN not in text
    for file in results.rglob("*"):
        assert file.is_dir() or TOKEN.encode() not in file.read_bytes()


def run(*flags: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.eval_hardware", *map(str, flags)],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("saved", [None, "{}", "torn"])
def test_a_named_machine_without_a_token_never_falls_back(results: Path, saved: str | None) -> None:
    home = results.parent
    if saved is not None:
        (home / ".qiskit").mkdir()
        (home / ".qiskit/qiskit-ibm.json").write_text(saved)
    done = run("--results-dir", results, "--backend", "ibm_fez", HOME=str(home))
    assert done.returncode == 2
    assert "QISKIT_IBM_TOKEN" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "SIMULATED" not in done.stdout
    assert not (results / "fashion/eval-hardware.json").exists()


def test_a_run_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    done = run("--results-dir", tmp_path, HOME=str(tmp_path))
    assert done.returncode == 2
    assert "train one with make train-fashion" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"shots": 0}, "`--shots` must be at least 1, but is 0"),
        ({"images": 1}, "`--images` must be at least 2, but is 1"),
        ({"rep_delay": -1.0}, "`--rep-delay` must be above 0 seconds, but is -1"),
        ({"backend": "FakeFezz"}, "did you mean FakeFez"),
        ({"anchors": 2}, "`--anchors` must be 0 or at least 3"),
        ({"recompile": True, "fractional_gates": True}, "`--recompile` must be left out"),
    ],
)
def test_bad_flags_are_refused(wrong: dict, rule: str) -> None:
    with pytest.raises(InputError, match=re.escape(rule)):
        check(HardwareConfig(**wrong))


@pytest.mark.usefixtures("no_account")
def test_a_ledger_of_another_model_is_refused(results: Path, data_dir: Path) -> None:
    (results / "fashion/jobs.jsonl").write_text(
        json.dumps({"event": "model", "at": 0.0, "weights": "0" * 64}) + "\n"
    )
    with pytest.raises(InputError, match="is that of another model"):
        evaluate(HardwareConfig(run="fashion", results_dir=results, data_dir=data_dir))
