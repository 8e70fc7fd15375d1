"""Value and gradient of a noisy expectation value: qnn_jax and other simulators, in one run.

Three layers of data re-uploading with a depolarising channel on each qubit of a gate, after it: 4
qubits with a batch of 64, and 6 qubits with 16. As in the table of the simulator, each engine has a
process of its own, first calls and steps are timed apart, and results that differ are not timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.benchmarks import cases
from pipelines.benchmarks.engines import ERROR
from pipelines.benchmarks.simulator import Limits, short_table

#: Qubits and batch.
SIZES = ((4, 64), (6, 16))
LAYERS = 3
PEERS = ("tensorcircuit", "pennylane")


def noise(rounds: int, cap_seconds: float, peers: bool) -> dict[str, Any]:
    """Run the table and print it; return all numbers as a JSON object."""

    def cells() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for qubits, batch in SIZES:
            circuit = cases.reuploading(qubits, LAYERS)
            about = {"family": "re-uploading, noisy", "batch": batch, "num_qubits": qubits}
            about |= {"depth": LAYERS, "gates": len(circuit.ops)}
            yield about, cases.problem(circuit, "inputs", batch)

    print(f"\nWith a depolarising error of {ERROR:g} on each qubit of a gate, after it:")
    limits = Limits(rounds, cap_seconds)
    return {"error": ERROR} | short_table(cells(), " noisy", PEERS if peers else (), limits)
