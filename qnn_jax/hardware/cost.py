"""Cost of a job on IBM's machines by IBM's own formula, and the limits on the size of a job.

All numbers come from documentation (quantum.cloud.ibm.com/docs: "Estimate job run time", "Job
limits"; the issue threads are cited at each). They are not yet confirmed on a quantum computer.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

from qnn_jax.errors import InputError

#: Rows times shots of one Sampler job (Qiskit/documentation#4938).
MAX_EXECUTIONS = 10_000_000
#: Low-level instructions on one qubit, summed over all rows of a job.
MAX_INSTRUCTIONS = 26_800_000
#: Seconds of quantum computer that one job may take.
MAX_JOB_SECONDS = 3 * 3600.0
#: The free plan: seconds in any 28 days.
OPEN_PLAN_SECONDS = 600.0

#: Overhead of a job (Qiskit/documentation#2783).
JOB_OVERHEAD_SECONDS = 2.0

# How many instructions of `MAX_INSTRUCTIONS` one gate counts for.
_INSTRUCTIONS = {"rz": 1, "sx": 2, "x": 2, "measure": 10, "reset": 17, "barrier": 0, "delay": 1}
_TWO_QUBIT = 5
_INIT = 50


@dataclass(frozen=True)
class Split:
    """The slices of rows that fit into one job each, and why there is more than one."""

    slices: tuple[slice, ...]
    reason: str


def qpu_seconds(executions: int, rep_delay: float, shot_seconds: float, jobs: int = 1) -> float:
    """Predict the seconds that are charged: 2 s a job + (pause + duration of a shot) × executions.

    `rep_delay` and `shot_seconds` (see `shot_seconds`) are in seconds. Source: IBM's page
    "Estimate job run time" (Qiskit/documentation#2783).
    """
    return jobs * JOB_OVERHEAD_SECONDS + executions * (rep_delay + shot_seconds)


def shot_seconds(circuit: Any, target: Any) -> float:
    """Duration of one shot of a transpiled circuit in seconds, its reset included.

    `target` is the qiskit Target that the circuit was transpiled for. Gates without a duration in
    it count as 0.
    """
    duration = 0.0
    busy: dict[Any, float] = {}
    for step in circuit.data:
        qubits = tuple(circuit.find_bit(qubit).index for qubit in step.qubits)
        begin = max((busy.get(qubit, 0.0) for qubit in qubits), default=0.0)
        end = begin + _duration(target, step.operation, qubits)
        busy.update(dict.fromkeys(qubits, end))
        duration = max(duration, end)
    if "reset" in target.operation_names:
        resets = [_lookup(target, "reset", (qubit,)) for qubit in busy]
        duration += max(resets, default=0.0)
    return duration


def instructions(circuit: Any) -> int:
    """Low-level instructions of one row of `circuit` on its busiest qubit, its reset included."""
    busy: dict[Any, int] = {}
    for step in circuit.data:
        name = step.operation.name
        weight = _INSTRUCTIONS.get(name, _TWO_QUBIT if len(step.qubits) > 1 else 2)
        for qubit in step.qubits:
            busy[qubit] = busy.get(qubit, 0) + weight
    return max(busy.values(), default=0) + _INIT


def split_rows(
    rows: int,
    shots: int,
    extra_rows: int = 0,
    instructions_per_row: int = 0,
    seconds_per_shot: float = 0.0,
) -> Split:
    """Split `rows` evenly over as few jobs as the limits allow.

    `extra_rows` are added to every job (calibration); `seconds_per_shot` includes pause and
    circuit. Raises InputError if not even one row fits.
    """
    limits = {f"{MAX_EXECUTIONS:,} executions a job": MAX_EXECUTIONS // shots}
    if instructions_per_row:
        limits[f"{MAX_INSTRUCTIONS:,} instructions on a qubit a job"] = (
            MAX_INSTRUCTIONS // instructions_per_row
        )
    if seconds_per_shot:
        limits[f"{MAX_JOB_SECONDS / 3600:.0f} hours a job"] = int(
            (MAX_JOB_SECONDS - JOB_OVERHEAD_SECONDS) / (shots * seconds_per_shot)
        )
    limit = min(limits, key=lambda name: limits[name])
    room = limits[limit] - extra_rows
    if room < 1:
        raise InputError(
            f"Argument `shots` must leave room for {extra_rows + 1} rows within IBM's limit of "
            f"{limit}, but is {shots}: lower it."
        )
    jobs = max(1, math.ceil(rows / room))
    edges = [rows * job // jobs for job in range(jobs + 1)]
    slices = tuple(slice(begin, end) for begin, end in itertools.pairwise(edges))
    reason = (
        f"{rows + extra_rows:,} rows × {shots:,} shots fit into one job"
        if jobs == 1
        else f"{rows:,} rows × {shots:,} shots take {jobs} jobs, for IBM allows {limit}"
    )
    return Split(slices, reason)


def _duration(target: Any, operation: Any, qubits: tuple[int, ...]) -> float:
    if operation.name == "barrier":
        return 0.0
    if operation.name == "delay":
        seconds = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "dt": target.dt or 0.0}
        return float(operation.duration) * seconds[operation.unit]
    return _lookup(target, operation.name, qubits)


def _lookup(target: Any, name: str, qubits: tuple[int, ...]) -> float:
    known = target[name] if name in target.operation_names else None
    properties = (known or {}).get(qubits)
    return float(getattr(properties, "duration", None) or 0.0)
