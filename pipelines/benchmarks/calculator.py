"""The time of ten thousand complete trainings of the 2022 calculator in parallel."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

#: The goal: this many complete trainings in so many seconds on two cores.
TRAININGS, SECONDS = 10_000, 20.0
#: Members of one program: their states and points fit into a core's cache.
_TOGETHER = 500
#: Test points; their evaluation is a small part of the time.
_POINTS = 10


def calculator(rounds: int) -> dict[str, Any]:
    """Seconds of `TRAININGS` trainings of 10 epochs × 200 samples, batch 1, and of one alone."""
    import jax
    import numpy as np

    from qnn_jax.operations import operation
    from qnn_jax.tasks.baseline_2022 import train_as_in_2022

    adding = operation("add")
    points = np.random.default_rng(0).uniform(0, 1, (_POINTS, 2)).astype(np.float32)
    targets = adding(points)

    def train(keys: Any) -> np.ndarray:
        """The errors by epoch of one program of trainings."""
        return train_as_in_2022(keys, adding.expression, points, targets)[1]

    keys = jax.random.split(jax.random.key(0), TRAININGS)
    compile_seconds = 0.0
    for count in (_TOGETHER, 1):
        # The first call compiles as well; what the second takes is the training alone.
        began = time.monotonic()
        train(keys[:count])
        between = time.monotonic()
        train(keys[:count])
        compile_seconds += (between - began) - (time.monotonic() - between)

    def everyone() -> np.ndarray:
        # Steps of a few microseconds do not use two cores; two programs in parallel do.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = pool.map(
                lambda k: train(keys[k : k + _TOGETHER]),
                range(0, TRAININGS, _TOGETHER),
            )
            return np.concatenate(list(parts), axis=1)

    seconds: dict[str, list[float]] = {"crowd": [], "alone": []}
    for _ in range(min(rounds, 3)):
        began = time.monotonic()
        errors = everyone()
        seconds["crowd"].append(time.monotonic() - began)
        began = time.monotonic()
        train(keys[:1])
        seconds["alone"].append(time.monotonic() - began)
    all_of_them, one = (float(np.median(values)) for values in seconds.values())
    low, median, high = np.quantile(errors[-1], [0.025, 0.5, 0.975])
    print(
        f"\nThe 2022 calculator on {os.cpu_count()} cores, jax {jax.__version__}: "
        f"{TRAININGS:,} complete trainings (10 epochs × 200 samples, batch 1) in "
        f"{all_of_them:.1f} s (goal: {SECONDS:g} s), {1e3 * all_of_them / TRAININGS:.2f} ms each; "
        f"one alone {1e3 * one:.0f} ms; compiled in {compile_seconds:.1f} s.\n"
        f"Their mean L1: median {median:.3f}, 95 % between {low:.3f} and {high:.3f}."
    )
    return {
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "trainings": TRAININGS,
        "seconds": all_of_them,
        "rounds": seconds["crowd"],
        "seconds_alone": one,
        "compile_seconds": compile_seconds,
        "median_l1": float(median),
        "interval_l1": [float(low), float(high)],
    }
