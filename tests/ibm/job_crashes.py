"""Evaluations that crash: `python job_crashes.py FOLDER steps|lines|wait|careless`, as a process.

A child is forked and killed by SIGKILL at every step (or third line) of ledger and submission in
turn; then another one continues. Prints JSON: the tags that must each have been paid for once, or a
traceback. `wait` submits one chunk and waits for it until a signal arrives.
`careless` is `steps` with a submission that does not look for jobs, which must be detected.
"""

import functools
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np
from circuits_on_fez import make_chunk
from fast_clock import FastClock

from qnn_jax.hardware import ibm, submission
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.submission import Clock, run_chunks, tag

STRIDE = {"steps": 1, "lines": 3}  # there are 600 lines, and each costs two logins
EVENTS = {"steps": ("call", "return"), "ends": ("return",)}
STEPS = {"append", "keep_request", "keep_counts", "submit"}
FILES = ("hardware/ledger.py", "runs/files.py", "hardware/submission.py", "hardware/ibm.py")


def chunk_number(number):
    return make_chunk(np.linspace(0, 3, 4), repetition=number)


def evaluate(folder, number):
    clock = FastClock()
    device = ibm.connect("ibm_fez")
    ledger = Ledger(folder, "a" * 64)
    counts = run_chunks(device, [chunk_number(number)], ledger, clock=Clock(clock.now, clock.sleep))
    np.savez(folder / "evaluated.npz", *[pub["c"] for pub in counts[0]])


def in_child(action, by, at=None):
    """Run `action` in a child that is killed at its n-th step or line; return whether it was."""
    child = os.fork()
    if child == 0:
        left = at

        def trace(frame, event, _):
            nonlocal left
            if not frame.f_code.co_filename.endswith(FILES):
                return None
            if by in EVENTS:
                frame.f_trace_lines = False
                hit = frame.f_code.co_name in STEPS and event in EVENTS[by]
            else:
                hit = event == "line" and not frame.f_code.co_filename.endswith("ibm.py")
            if hit:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        try:
            if at is not None:
                sys.settrace(trace)
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def die_everywhere(folder, by):
    tags, events, number, died = [], set(), 0, True
    while died:
        number += 1
        work = folder / str(number)
        work.mkdir()
        action = functools.partial(evaluate, work, number)
        died = in_child(action, by, at=1 + (number - 1) * STRIDE[by])
        lines = (work / "jobs.jsonl").read_text() if (work / "jobs.jsonl").exists() else ""
        events.add(lines.count("\n"))
        if died:
            in_child(action, by)
        with np.load(work / "evaluated.npz") as found, np.load(folder / "1/evaluated.npz") as first:
            assert all(np.array_equal(found[name], first[name]) for name in first)
        tags.append(tag(chunk_number(number).digest("ibm_fez")))
    return {"tags": tags, "lines left": sorted(events)}


if __name__ == "__main__":
    folder, by = Path(sys.argv[1]), sys.argv[2]
    if by == "wait":
        # A shell starts background processes with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_chunks(ibm.connect("ibm_fez"), [chunk_number(0)], Ledger(folder, "a" * 64), tell=print)
    if by == "careless":
        submission._Work.jobs = lambda *_: []
        by = "steps"
    try:
        outcome = die_everywhere(folder, by)
    except Exception:
        outcome = traceback.format_exc()
    print(json.dumps(outcome))
