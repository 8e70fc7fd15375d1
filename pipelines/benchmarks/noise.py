"""Value and gradient of a noisy expectation value: qnn_jax and other simulators, in one run.

Three layers of data re-uploading with a depolarising channel on each qubit of a gate, after it: 4
qubits with a batch of 64, and 6 qubits with 16. As in the table of the simulator, each engine has a
process of its own, first calls and steps are timed apart, and results that differ are not timed.
"""

from __future__ import annotations

import time
from typing import Any

from pipelines.benchmarks import cases, simulator, table
from pipelines.benchmarks.engines import ERROR
from pipelines.benchmarks.simulator import Limits

#: Qubits and batch.
SIZES = ((4, 64), (6, 16))
LAYERS = 3
PEERS = ("tensorcircuit", "pennylane")


def noise(rounds: int, cap_seconds: float, peers: bool) -> dict[str, Any]:
    """Run the table and print it; return all numbers as a JSON object.

    Args:
        rounds: number of rounds for the median.
        cap_seconds: time limit of an engine for one line.
        peers: measure other simulators too.
    """
    began = time.monotonic()
    rows = []
    with simulator.started(PEERS if peers else (), " noisy") as (workers, why_alone):
        versions = {name: worker.versions for name, worker in workers.items()}
        print(f"\nWith a depolarising error of {ERROR:g} on each qubit of a gate, after it:")
        print(table.heading(versions, rounds), flush=True)
        for qubits, batch in SIZES:
            circuit = cases.reuploading(qubits, LAYERS)
            entries = simulator.measure_problem(
                cases.problem(circuit, "inputs", batch), workers, Limits(rounds, cap_seconds)
            )
            rows.append(
                {
                    "family": "re-uploading, noisy",
                    "batch": batch,
                    "num_qubits": qubits,
                    "depth": LAYERS,
                    "gates": len(circuit.ops),
                    "engines": entries,
                    **simulator.ratios(entries),
                }
            )
            print(table.line(rows[-1], list(workers)), flush=True)
    return {
        "peers": why_alone or "measured",
        "versions": versions,
        "machine": simulator.machine(),
        "error": ERROR,
        "rounds": rounds,
        "cells": rows,
        "seconds": time.monotonic() - began,
    }
