"""Ten thousand complete trainings of the seed's calculator: what one of them costs in a crowd."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

#: What is asked for: this many complete trainings in so many seconds on two cores.
TRAININGS, SECONDS = 10_000, 20.0
#: Members of one program: their states and points stay in a core's cache.
_TOGETHER = 500


def calculator(rounds: int) -> dict[str, Any]:
    """Seconds of `TRAININGS` trainings of 10 epochs × 200 samples, batch 1, and of one alone."""
    import jax
    import numpy as np

    from qnn_jax.models.calculator import train_seed_models

    began = time.monotonic()
    keys = jax.random.split(jax.random.key(0), TRAININGS)
    crowd = train_seed_models.lower(keys[:_TOGETHER]).compile()
    alone = train_seed_models.lower(keys[:1]).compile()
    compile_seconds = time.monotonic() - began

    def everyone() -> np.ndarray:
        # Steps of a few microseconds are no work for two cores; two programs are.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = pool.map(
                lambda k: np.asarray(crowd(keys[k : k + _TOGETHER])[1]),
                range(0, TRAININGS, _TOGETHER),
            )
            return np.concatenate(list(parts), axis=1)

    seconds: dict[str, list[float]] = {"crowd": [], "alone": []}
    for _ in range(min(rounds, 3)):
        began = time.monotonic()
        errors = everyone()
        seconds["crowd"].append(time.monotonic() - began)
        began = time.monotonic()
        jax.block_until_ready(alone(keys[:1]))
        seconds["alone"].append(time.monotonic() - began)
    all_of_them, one = (float(np.median(values)) for values in seconds.values())
    low, median, high = np.quantile(errors[-1], [0.025, 0.5, 0.975])
    print(
        f"\nThe seed's calculator on {os.cpu_count()} cores, jax {jax.__version__}: "
        f"{TRAININGS:,} complete trainings (10 epochs × 200 samples, batch 1) in "
        f"{all_of_them:.1f} s (asked: {SECONDS:g} s), {1e3 * all_of_them / TRAININGS:.2f} ms each; "
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
