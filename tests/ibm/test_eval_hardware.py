"""`make eval-hardware` from preflight to result, simulated and through IBM's real client."""

import dataclasses
import datetime
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ibm_server import TOKEN

from pipelines.eval_hardware import HardwareConfig, check, evaluate
from qnn_jax.errors import InputError
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.submission import Clock
from qnn_jax.runs import read_npz, write_npz_atomic
from qnn_jax.studies.hardware import EVALUATION
from qnn_jax.tasks.stored import model_sha256, stored

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def configured(results: Path, data_dir: Path):
    """A function for a configuration with the run and the folders filled in."""
    usual = {"run": "fashion", "results_dir": results, "data_dir": data_dir, "budget_seconds": 1000}
    return functools.partial(HardwareConfig, **usual)


def outcome(results: Path) -> dict:
    return json.loads((results / "fashion/eval-hardware.json").read_text())


def events(results: Path) -> list[str]:
    lines = (results / "fashion/jobs.jsonl").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


@pytest.mark.usefixtures("no_account")
def test_a_simulated_evaluation_says_so_and_improves_on_its_counts(
    results: Path, configured, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(backend="FakeManilaV2", images=200, shots=512, anchors=60)
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
    assert "Continuing the evaluation" in capsys.readouterr().out
    assert events(results) == before
    again = outcome(results)
    assert [again[name]["rms"] for name in ("plain", "mitigated", "recalibrated")] == rms


@pytest.mark.slow
@pytest.mark.usefixtures("no_account")
def test_the_second_stage_goes_to_images_that_are_not_settled(
    results: Path, configured, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(
        backend="FakeManilaV2", images=400, shots=64, anchors=10, two_stage=True, readout=False
    )
    assert evaluate(config) == 0
    told = capsys.readouterr().out
    unsettled = int(re.search(r"First stage: (\d+) of 400 examples", told)[1])
    assert 0 < unsettled < 80
    found = outcome(results)
    assert found["executions"] == 410 * 16 + unsettled * 48
    assert "mitigated" not in found
    assert len(found["job_ids"]) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("no_account")
def test_recompiled_and_packed_is_the_same_model(results: Path, configured) -> None:
    config = configured(
        backend="FakeGuadalupeV2", images=60, shots=512, anchors=20, copies=2, recompile=True
    )
    assert evaluate(config) == 0
    found = outcome(results)
    assert found["copies"] == 2
    assert found["recompiled"]
    assert found["recalibrated"]["rms"] < 0.06


@pytest.mark.slow
@pytest.mark.usefixtures("no_account")
def test_fractional_gates_are_the_same_model(
    results: Path, configured, capsys: pytest.CaptureFixture[str]
) -> None:
    machines = results / "fashion/eval-hardware.json"
    machines.write_text('{"device": "ibm_fez"}')
    config = configured(
        backend="FakeFractionalBackend", images=60, shots=512, anchors=20, fractional_gates=True
    )
    assert evaluate(config) == 0
    # A machine's result is not replaced by a simulation.
    assert machines.read_text() == '{"device": "ibm_fez"}'
    assert "The result of ibm_fez is kept" in capsys.readouterr().out
    found = json.loads((results / "fashion/eval-hardware-simulated.json").read_text())
    assert (results / "fashion/figures/eval-hardware-simulated.png").exists()
    assert found["fractional_gates"]
    assert found["recalibrated"]["rms"] < 0.08


@pytest.mark.slow
def test_one_job_is_sent_to_ibm_and_found_again(
    server, results: Path, configured, capsys: pytest.CaptureFixture[str], fast_clock
) -> None:
    config = configured(backend="ibm_fez", images=40, shots=256, anchors=20, budget_seconds=100)
    clock = Clock(fast_clock.now, fast_clock.sleep)
    assert evaluate(dataclasses.replace(config, dry_run=True), clock) == 0
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
    # The server has no noise, so there is no scale and shift to correct.
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


@pytest.mark.slow
def test_a_calibration_while_the_job_queued_is_reported(
    server, results: Path, configured, capsys: pytest.CaptureFixture[str], fast_clock
) -> None:
    config = configured(images=20, shots=64, anchors=10, budget_seconds=100, backend="ibm_fez")
    planned, ran, later = (
        datetime.datetime.fromtimestamp(fast_clock.now() + at, datetime.UTC)
        .replace(microsecond=0)
        .isoformat()
        for at in (-3600, 3600, 5 * 3600)
    )
    server.calibrations = [planned]
    server.seconds = 4 * 3600  # it begins after two hours

    def sleep(seconds: float) -> None:
        server.calibrations = [planned, ran, later]
        fast_clock.sleep(seconds)

    assert evaluate(config, Clock(fast_clock.now, sleep)) == 0
    found = outcome(results)
    assert found["planned_calibration_date"] == planned
    assert found["calibration_date"] == ran
    (note,) = [note for note in found["notes"] if "calibrated" in note]
    assert note == (
        f"ibm_fez was calibrated on {ran} when it ran, on {planned} when this was planned: the "
        "expected values are computed from the plan's error rates."
    )
    assert note in capsys.readouterr().out


@pytest.mark.usefixtures("no_account")
def test_a_plan_that_was_edited_by_hand_is_refused(results: Path, configured) -> None:
    """Each field that is read, missing and of a wrong kind, gives one sentence."""
    config = configured(backend="FakeManilaV2", images=10, shots=16, anchors=3, readout=False)
    assert evaluate(config) == 0
    ledger = results / "fashion/jobs.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    (number,) = [n for n, line in enumerate(lines) if line["event"] == "plan"]
    for field in EVALUATION:
        for wrong in (..., [{}], {}, -1, float("nan"), "\x1b[31m"):
            if (field, wrong) in (("places", [{}]), ("device", "\x1b[31m")) or (
                (field, wrong) == ("calibration_date", "\x1b[31m")
            ):
                continue
            plan = json.loads(json.dumps(lines[number]))
            place = plan["details"]
            *parents, name = field.split(".")
            for parent in parents:
                place = place[parent]
            if wrong is not ...:
                place[name] = wrong
            elif field == "calibration_date":
                continue
            else:
                del place[name]
            changed = [*lines[:number], plan, *lines[number + 1 :]]
            ledger.write_text("".join(json.dumps(line) + "\n" for line in changed))
            with pytest.raises(InputError) as caught:
                evaluate(config)
            said = f"damaged at line {number + 1}: the plan's field `{field}` must be "
            assert said in str(caught.value), (field, wrong)
            assert str(caught.value).isprintable()
    plan = json.loads(json.dumps(lines[number]))
    plan["details"]["test"][0] = 10**6
    changed = [*lines[:number], plan, *lines[number + 1 :]]
    ledger.write_text("".join(json.dumps(line) + "\n" for line in changed))
    with pytest.raises(InputError, match=r"`test` must be row numbers below \d+, but is 1000000"):
        evaluate(config)


def run(*flags: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.eval_hardware", *map(str, flags)],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow_but_one
@pytest.mark.parametrize("saved", [None, "{}", "torn"])
def test_a_named_machine_without_a_token_never_falls_back(results: Path, saved: str | None) -> None:
    home = results.parent
    if saved is not None:
        (home / ".qiskit").mkdir()
        (home / ".qiskit/qiskit-ibm.json").write_text(saved)
    for named in (("--backend", "ibm_fez"), ("--instance", "mine"), ("--url", "https://here")):
        refused(run("--results-dir", results, *named, HOME=str(home)), results)
    url = {"QISKIT_IBM_URL": "https://here"}
    refused(run("--results-dir", results, HOME=str(home), **url), results)


def refused(done: subprocess.CompletedProcess[str], results: Path) -> None:
    assert done.returncode == 2
    assert "QISKIT_IBM_TOKEN" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "SIMULATED" not in done.stdout
    assert not (results / "fashion/eval-hardware.json").exists()


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"images": 1}, "`images` must be an integer of at least 2, but is 1"),
        ({"copies": 0}, "`copies` must be an integer of at least 1, but is 0"),
        ({"rep_delay": -1.0}, "`rep_delay` must be above 0, but is -1"),
        ({"two_stage": 1}, "`two_stage` must be True or False, but is 1"),
    ],
)
def test_bad_flags_are_refused(wrong: dict, rule: str) -> None:
    with pytest.raises(InputError, match=re.escape(rule)):
        check(HardwareConfig(**wrong))


@pytest.mark.usefixtures("no_account")
@pytest.mark.parametrize(
    ("backend", "fake"), [("ibm_fez", "FakeFez"), ("ibm_torino", "FakeTorino"), ("it", "FakeFez")]
)
def test_without_an_account_the_simulated_machine_is_named(backend: str, fake: str) -> None:
    with pytest.raises(InputError, match=rf"or simulate the machine with backend {fake}\.$"):
        check(HardwareConfig(backend=backend, dry_run=True))


@pytest.mark.slow
def test_jobs_are_managed_on_the_device_that_has_them(
    server, results: Path, configured, capsys, fast_clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any environment: otherwise a live job would be recorded as failed, and paid for again."""
    clock = Clock(fast_clock.now, fast_clock.sleep)
    asked = functools.partial(configured, images=20, shots=64, anchors=10, budget_seconds=100)
    server.seconds = 1e9
    patience = Clock(fast_clock.now, interrupted_after(3, fast_clock.sleep))
    with pytest.raises(KeyboardInterrupt):
        evaluate(asked(backend="least-busy"), patience)
    (job,) = server.live()
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE", "QISKIT_IBM_URL"):
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match="needs an account"):
        evaluate(asked(action="collect"), clock)
    assert [j.id for j in server.live()] == [job.id]
    for name, value in server.environment(results.parent).items():
        monkeypatch.setenv(name, value)
    assert evaluate(asked(action="status"), clock) == 0
    assert f"({job.id})" in capsys.readouterr().out
    # Another machine is less busy by now: the job that was paid for is still used.
    server.backends = {"ibm_marrakesh": "active", "ibm_fez": "active"}
    server.seconds = 0.0
    job.seconds = 0.0
    assert evaluate(asked(backend="least-busy"), clock) == 0
    assert [j.id for j in server.completed()] == [job.id]
    assert outcome(results)["job_ids"] == [job.id]


def interrupted_after(times: int, sleep):
    """Ctrl-C while it waits."""
    left = iter(range(times))

    def sleeping(seconds: float) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        sleep(seconds)

    return sleeping


@pytest.mark.slow
def test_cancel_reaches_the_live_job(server, results: Path, configured, capsys, fast_clock):
    asked = configured(images=20, shots=64, anchors=10, budget_seconds=100, backend="ibm_fez")
    server.seconds = 1e9
    clock = Clock(fast_clock.now, interrupted_after(2, fast_clock.sleep))
    with pytest.raises(KeyboardInterrupt):
        evaluate(asked, clock)
    (job,) = server.live()
    assert evaluate(dataclasses.replace(asked, action="cancel"), clock) == 0
    assert f"Cancelled {job.id}" in capsys.readouterr().out
    assert not server.live()


@pytest.mark.slow
def test_several_jobs_are_one_result(
    server, results: Path, configured, fast_clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qnn_jax.hardware import cost

    monkeypatch.setattr(cost, "MAX_EXECUTIONS", 4096 * 40)
    config = configured(backend="ibm_fez", images=40, shots=4096, anchors=10, budget_seconds=500)
    assert evaluate(config, Clock(fast_clock.now, fast_clock.sleep)) == 0
    found = outcome(results)
    assert len(found["job_ids"]) == len(server.completed()) > 1
    assert found["plain"]["rms"] < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["FakeFez", "FakeMarrakesh", "FakeKingston"])
@pytest.mark.usefixtures("no_account")
def test_each_improvement_improves_on_the_heron_machines(
    backend: str, results: Path, configured
) -> None:
    config = configured(backend=backend, images=2000, shots=1024, copies=1)
    assert evaluate(config) == 0
    alone = outcome(results)
    assert alone["plain"]["rms"] > alone["mitigated"]["rms"] > alone["recalibrated"]["rms"]
    for name in ("plain", "mitigated", "recalibrated"):
        assert abs(alone[name]["accuracy"] - alone["exact"]["accuracy"]) <= 0.005
    assert evaluate(dataclasses.replace(config, copies=4)) == 0
    packed = outcome(results)
    assert packed["executions"] * 3.5 <= alone["executions"]
    assert packed["recalibrated"]["rms"] <= 1.1 * alone["recalibrated"]["rms"]


@pytest.mark.usefixtures("no_account")
def test_counts_of_other_weights_are_never_combined(results: Path) -> None:
    folder = results / "fashion"
    config = HardwareConfig(run="fashion", results_dir=results, backend="FakeManilaV2")
    Ledger(folder, stored(folder).model).append("plan", key="k", chunks=[], details={})
    before = (folder / "jobs.jsonl").read_bytes()
    arrays = read_npz(folder / "weights.npz")
    arrays["quantum/weights"] += 1e-3
    digest = write_npz_atomic(folder / "weights.npz", arrays)
    with pytest.raises(
        InputError, match=r"fashion must have the config\.json and the weights\.npz"
    ):
        evaluate(config)
    # After another training the run is consistent, but the counts belong to another model.
    summary = json.loads((folder / "summary.json").read_text())
    config_json = json.loads((folder / "config.json").read_text())
    summary["model_sha256"] = model_sha256(config_json, digest)
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=r"jobs\.jsonl belongs to another model"):
        evaluate(config)
    assert (folder / "jobs.jsonl").read_bytes() == before
