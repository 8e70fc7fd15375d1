"""Crash scenarios, run as `python crashes.py FOLDER` in their own process.

A child is forked and killed by SIGKILL: at every line of qnn_jax/runs in turn, or by its parent.
The parent checks the files. Prints JSON: by scenario its counts, or its traceback.
"""

import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.runs import RunDirectory, checkpoints, read_npz, write_json_atomic, write_npz_atomic


def killed(action, at_line=None, after=None):
    """Run `action` in a child, killed at its n-th line or when `after` returns; return whether."""
    child = os.fork()
    if child == 0:
        left = at_line

        def trace(frame, event, _):
            nonlocal left
            if "qnn_jax/runs" not in frame.f_code.co_filename:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        try:
            if at_line is not None:
                sys.settrace(trace)
            action()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if after is not None:
        after()
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def state(epoch, size=50):
    return {"params": {"w": np.random.default_rng(epoch).normal(size=size)}, "count": epoch}


def check_latest(folder, size=50):
    """Check that the latest checkpoint loads and is right; return its epoch."""
    found = checkpoints.load(checkpoints.latest(folder), state(0, size), fingerprint="f")
    np.testing.assert_array_equal(
        found.tree["params"]["w"], state(found.epoch, size)["params"]["w"]
    )
    return found.epoch


def save_at_every_line(folder):
    template, work = folder / "template", folder / "work"
    for epoch in (1, 2):
        checkpoints.save(_made(template), epoch, state(epoch), fingerprint="f", keep=2)
    seen = []
    was_killed = True
    while was_killed:
        shutil.copytree(template, work)
        was_killed = killed(
            lambda: checkpoints.save(work, 3, state(3), fingerprint="f", keep=2),
            at_line=len(seen) + 1,
        )
        seen.append(check_latest(work))
        assert len(checkpoints.epochs(work)) >= 2
        shutil.rmtree(work)
    assert seen == sorted(seen)
    return {"kills before": seen.count(2), "kills after": seen.count(3) - 1}


def save_and_die_while_writing(folder):
    """The parent kills as soon as a new file appears, or a little later, while it is written."""
    size, work, seen = 1_000_000, folder / "work", []
    checkpoints.save(_made(work), 1, state(1, size), fingerprint="f")
    for trial in range(10):
        names = set(os.listdir(work))

        def save_and_wait():
            epoch = seen[-1] + 1 if seen else 2
            checkpoints.save(work, epoch, state(epoch, size), fingerprint="f")
            time.sleep(60)

        def new_file(names=names, trial=trial):
            while set(os.listdir(work)) <= names:
                pass
            time.sleep(0.0007 * trial)

        assert killed(save_and_wait, after=new_file)
        seen.append(check_latest(work, size))
    assert seen == sorted(seen)
    return {"kills": len(seen), "torn": len(list(work.glob(".*.tmp")))}


def start_over_at_every_line(folder):
    template, work = folder / "template", folder / "work"
    old, new = {"rate": 0.1, "epochs": 3}, {"rate": 0.2, "epochs": 3}
    with RunDirectory.open(_made(template), "run", old) as run:
        for epoch in (1, 2, 3):
            run.append_metrics(epoch, {})
            (_made(run.checkpoints) / f"epoch-{epoch:06d}.npz").touch()
        write_npz_atomic(run.path / "weights.npz", {})
        write_json_atomic(run.path / "summary.json", {"epochs": 3})
    before, after, was_killed = 0, 0, True
    while was_killed:
        shutil.copytree(template, work)
        was_killed = killed(
            lambda: RunDirectory.open(work, "run", new, resume=False), at_line=before + after + 1
        )
        if json.loads((work / "run" / "config.json").read_text()) == old:
            with RunDirectory.open(work, "run", old, resume_may_change=["epochs"]) as run:
                before += 1
                latest = checkpoints.latest(run.checkpoints)
                epochs = 0 if latest is None else int(latest.stem[-6:])
                assert not run.fresh
                assert {row["epoch"] for row in run.read_metrics()} >= set(range(1, epochs + 1))
                assert not run.finished or (run.path / "weights.npz").exists()
        else:
            after += 1
            with RunDirectory.open(work, "run", new) as run:
                assert not run.finished
                assert not run.read_metrics()
                assert not checkpoints.latest(run.checkpoints)
                assert not (run.path / "weights.npz").exists()
                assert not list(run.path.glob("**/.*.tmp"))
        shutil.rmtree(work)
    return {"kills before": before, "kills after": after - 1}


def disk_full(folder):
    work = _made(folder / "work")
    checkpoints.save(work, 1, state(1), fingerprint="f")
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    messages = []
    with RunDirectory.open(folder, "run", {}) as run:
        for write in (
            lambda: checkpoints.save(work, 2, state(2, 10_000), fingerprint="f", keep=1),
            lambda: run.append_metrics(1, {"text": "x" * 30_000}),
        ):
            try:
                write()
            except InputError as error:
                messages.append(str(error))
        assert run.read_metrics() == []
        run.truncate_metrics(0)
        run.append_metrics(1, {})
        assert run.read_metrics() == [{"epoch": 1}]
    assert check_latest(work) == 1
    assert [path.name for path in work.iterdir()] == ["epoch-000001.npz"]
    read_npz(work / "epoch-000001.npz")
    return messages


def _made(folder):
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    outcomes = {}
    for scenario in (
        start_over_at_every_line,  # first, since forking is faster without JAX
        save_at_every_line,
        save_and_die_while_writing,
        disk_full,  # last, since its limit remains
    ):
        try:
            outcomes[scenario.__name__] = scenario(_made(Path(sys.argv[1]) / scenario.__name__))
        except Exception:
            outcomes[scenario.__name__] = traceback.format_exc()
        import jax  # noqa: F401  (once, for all the children to come)
    print(json.dumps(outcomes))
