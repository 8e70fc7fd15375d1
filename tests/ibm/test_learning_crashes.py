"""Learning, checking, tuning on and evaluating a device: one paid job a step, whatever happens."""

import collections
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from learning_crashes import MAX_JOBS, NEEDED, commands
from reference_models import calculator

from qnn_jax.hardware.submission import Clock
from qnn_jax.hardware.twin_file import read_twin

PROGRAM = Path(__file__).with_name("learning_crashes.py")


@pytest.fixture
def runs(tmp_path):
    calculator().save(tmp_path / "results/adding")
    return tmp_path / "results"


def paid_for(server):
    """How often each job was paid for, by its tag."""
    assert not server.live()
    assert not server.invalid
    return collections.Counter(job.body["tags"][0] for job in server.completed())


def die_everywhere(server, runs, *how):
    """How often a command ended that is killed at each of its steps, and what was paid for."""
    server.clock = time.time
    done = subprocess.run(
        [sys.executable, PROGRAM, runs, *how],
        capture_output=True, text=True, timeout=3000,
        env={**os.environ, **server.environment(runs), "PYTHONPATH": str(PROGRAM.parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), paid_for(server)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDED)
def test_killed_anywhere_each_step_is_paid_for_once(name, server, runs):
    ended, paid = die_everywhere(server, runs, name)
    jobs = {"tune": MAX_JOBS}
    # After the plan, request, intent, submission, the job's id, its counts and its charge.
    assert ended > 7 * jobs.get(name, 1)
    assert set(paid.values()) == {1}
    before = sum(jobs.get(earlier, 1) for earlier in NEEDED[name])
    assert len(paid) == before + jobs.get(name, 1) * ended


@pytest.mark.slow
def test_a_submission_without_look_up_is_found(server, runs):
    _, paid = die_everywhere(server, runs, "update", "careless")
    assert max(paid.values()) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("drop", {"after": True}),
        ("drop", {}),
        (502, {"after": True}),
        (500, {"times": 3}),
        ("cut", {"after": True}),
    ],
)
def test_with_faults_each_step_is_paid_for_once(kind, fault, server, runs, fast_clock, capsys):
    clock = Clock(fast_clock.now, fast_clock.sleep)
    for name, run in commands(runs, clock).items():
        server.spoil("POST /jobs", kind, **fault)
        run(1)
        if name == "learn":
            first = read_twin(runs / "adding/device.json")[0]
            assert first["job_ids"] == tuple(job.id for job in server.completed())
            assert not first["simulated"]
            assert capsys.readouterr().out.startswith("QUANTUM COMPUTER: ibm_fez")
    paid = paid_for(server)
    assert (set(paid.values()), len(paid)) == ({1}, 3 + MAX_JOBS)
    sent = server.count("POST /jobs")
    (runs / "adding/device.json").unlink()
    commands(runs, clock)["learn"](1)
    assert server.count("POST /jobs") == sent
    assert read_twin(runs / "adding/device.json")[0] == first
