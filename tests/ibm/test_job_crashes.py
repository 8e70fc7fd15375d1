"""A process may be killed at any moment of an evaluation; its token is not visible to others."""

import collections
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ibm_server import TOKEN

PROGRAM = Path(__file__).with_name("job_crashes.py")


def die_everywhere(by, server, folder):
    """The output of `job_crashes.py`, and how often each job was paid for."""
    server.clock = time.time
    run = subprocess.run(
        [sys.executable, PROGRAM, folder, by],
        capture_output=True, text=True, env={**os.environ, **server.environment(folder)},
        timeout=3000,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert TOKEN not in run.stdout + run.stderr
    outcome = json.loads(run.stdout)
    assert isinstance(outcome, dict), outcome
    # model, intent, submitted, done, usage: a child was killed after each, and before the first.
    assert outcome["lines left"] == [0, 1, 2, 3, 4, 5]
    assert len(outcome["tags"]) > 15
    assert not server.live()
    return outcome["tags"], collections.Counter(j.body["tags"][0] for j in server.completed())


@pytest.mark.parametrize("by", ["steps", pytest.param("lines", marks=pytest.mark.slow)])
def test_killed_anywhere_each_job_is_paid_for_once(by, server, tmp_path):
    tags, paid = die_everywhere(by, server, tmp_path)
    assert paid == collections.Counter(tags)


@pytest.mark.slow
def test_a_submission_without_look_up_pays_twice(server, tmp_path):
    tags, paid = die_everywhere("careless", server, tmp_path)
    assert set(paid) == set(tags)
    assert max(paid.values()) == 2


@pytest.mark.slow
def test_the_token_is_seen_nowhere(server, tmp_path):
    server.seconds = 10.0**6
    server.clock = time.time
    with subprocess.Popen(
        [sys.executable, PROGRAM, tmp_path, "wait"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, **server.environment(tmp_path), "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        for line in process.stdout:
            if line.startswith("waiting"):
                break
        # Whole command lines, as `ps -ww` would show them to any user of the machine.
        everyone = "\n".join(
            " ".join(p.info["cmdline"]) for p in psutil.process_iter(["cmdline"], ad_value=[])
        )
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()  # otherwise a failed test would wait forever
    assert "job_crashes.py" in everyone
    assert "KeyboardInterrupt" in err  # with its traceback
    assert TOKEN not in everyone + out + err
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or TOKEN.encode() not in file.read_bytes()
    assert len(server.live()) == 1  # which the next run finds
