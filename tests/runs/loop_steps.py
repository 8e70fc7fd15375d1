"""A loop of small steps in its own process: a sum that depends on every step before it.

Arguments: the folder of results, and how many seconds a step takes. "weights.npz" is written last
and depends on all steps.
"""

import sys
import time
from pathlib import Path

import numpy as np

from qnn_jax.runs import GracefulStop, RunDirectory, write_npz_atomic
from qnn_jax.runs.loop import StoppedError, go_through

TOTAL = 12


def step(number, state):
    noise = np.random.default_rng(number).normal(size=20)
    w = np.cos(1.7 * state["w"] + noise)
    return {"w": w}, {"loss": float(w.sum())}


def main(results, seconds=0.0, say=print):
    """Run all steps, or until a signal; return the exit status."""
    config = {"total": TOTAL}
    with RunDirectory.open(Path(results), "run", config) as run, GracefulStop() as stop:

        def slow(number, state):
            time.sleep(seconds)
            return step(number, state)

        try:
            state, rows = go_through(
                run,
                TOTAL,
                {"w": np.zeros(20)},
                slow,
                tell=lambda done, row, left: say(f"step {done}", flush=True),
                stop=lambda: stop.requested,
            )
        except StoppedError as stopped:
            say(stopped, flush=True)
            return stop.exit_code
        assert [row["epoch"] for row in rows] == list(range(1, TOTAL + 1))
        write_npz_atomic(run.path / "weights.npz", state)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
