"""Value and gradient of circuits: qnn_jax and other simulators, each in its own process.

For each cell of the table: every engine makes its program and runs it once (its first call), all
results are compared with ours, then those that agree are timed in turn, round after round. An
engine has `cap_seconds` for all of that; a slower one is stopped and restarted for the
next cell. Only one engine runs at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipelines.benchmarks import cases, table
from pipelines.benchmarks.cases import Cell
from pipelines.benchmarks.peers import PEERS, NoPeersError, python_of_peers
from pipelines.benchmarks.workers import Worker, WorkerError, WorkerTimeoutError
from qnn_jax.data.source import silent

OURS = "qnn_jax"
BATCH_OF_SEED = 64
NOT_RUN = "not run"
#: Allowed difference of two engines in single precision, in a value or an entry of a gradient …
ABSOLUTE = 2e-5
#: … plus this fraction of the largest entry (deep circuits accumulate rounding errors).
RELATIVE = 2e-3
COMPARED = ("values", "inputs_gradient", "weights_gradient")


class Asked(Protocol):
    """A `Worker`, or a test's substitute for it."""

    versions: dict[str, str]

    def start(self) -> None:
        """Start if necessary."""

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Answer within that time."""

    def stop(self) -> None:
        """End."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Settings of the measurement."""

    rounds: int = 7
    cap_seconds: float = 60.0
    deadline: float = float("inf")
    """On `time.monotonic`: later measurements are left out."""
    memory_bytes: float = float("inf")
    infer: bool = True
    """Skip larger circuits of the same family for an engine that was stopped."""


def simulator(
    cells: Sequence[Cell],
    rounds: int,
    cap_seconds: float,
    minutes: float,
    infer: bool,
    peers: bool,
) -> dict[str, Any]:
    """Run a table and print it; return all numbers as a JSON object."""
    began = time.monotonic()
    with started(PEERS if peers else ()) as (workers, why_alone):
        limits = Limits(
            rounds,
            cap_seconds,
            time.monotonic() + 60 * minutes,
            0.6 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            infer=infer,
        )
        versions = {name: worker.versions for name, worker in workers.items()}
        print(table.heading(versions, limits.rounds), flush=True)
        rows = []
        for row in measure(cells, workers, limits):
            rows.append(row)
            print(table.line(row, list(workers)), flush=True)
        seed = seed_circuit(dataclasses.replace(limits, deadline=float("inf")))
        print(table.footer(rows, seed, bool(why_alone)))
    return {
        "peers": why_alone or "measured",
        "versions": versions,
        "machine": machine(),
        "limits": {"rounds": rounds, "cap_seconds": cap_seconds, "infer": infer},
        "cells": rows,
        "seed_circuit": seed,
        "seconds": time.monotonic() - began,
    }


def short_table(
    cells: Iterable[tuple[dict[str, Any], dict[str, Any]]],
    variant: str,
    peers: Sequence[str],
    limits: Limits,
    what: str = "Value and gradient",
    beside: Callable[[dict[str, Any]], None] = silent,
) -> dict[str, Any]:
    """Run a table of a few cells and print it; return all numbers as a JSON object.

    Each of `cells` is what a line says of its circuit, and its problem; `variant` stands behind the
    engines' names, and `beside` adds to a row and prints what it adds.
    """
    began, rows = time.monotonic(), []
    with started(peers, variant) as (workers, why_alone):
        versions = {name: worker.versions for name, worker in workers.items()}
        print(table.heading(versions, limits.rounds, what), flush=True)
        for about, problem in cells:
            entries = measure_problem(problem, workers, limits)
            rows.append(about | {"engines": entries, **ratios(entries)})
            print(table.line(rows[-1], list(workers)), flush=True)
            beside(rows[-1])
    return {
        "peers": why_alone or "measured",
        "versions": versions,
        "machine": machine(),
        "rounds": limits.rounds,
        "cells": rows,
        "seconds": time.monotonic() - began,
    }


def _worker(python: str | Path, engine: str) -> Worker:
    return Worker([python, "-m", "pipelines.benchmarks.worker", engine])


@contextlib.contextmanager
def started(peers: Sequence[str], variant: str = "") -> Iterator[tuple[dict[str, Worker], str]]:
    """The process of each engine that starts here, ours first; and why no peers, if so."""
    workers = {OURS: _worker(sys.executable, OURS + variant)}
    why_alone = "" if peers else "Peers are left out, because of --no-peers."
    if peers:
        try:
            python = python_of_peers()
            workers |= {name: _worker(python, name + variant) for name in peers}
        except NoPeersError as error:
            why_alone = str(error)
    if why_alone:
        print(why_alone, flush=True)
    try:
        for name, one in tuple(workers.items()):
            try:
                one.start()
            except (WorkerError, WorkerTimeoutError) as error:
                if name == OURS:
                    raise
                print(f"{name} is left out, because it does not start here ({error}).")
                del workers[name]
        yield workers, why_alone
    finally:
        for one in workers.values():
            one.stop()


def machine() -> dict[str, Any]:
    """The machine and the versions."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def measure(
    cells: Iterable[Cell], workers: Mapping[str, Asked], limits: Limits
) -> Iterable[dict[str, Any]]:
    """One row for each cell, as soon as it is measured."""
    stopped: dict[str, list[Cell]] = {name: [] for name in workers}
    for cell in cells:
        row = {**dataclasses.asdict(cell), "gates": len(cell.circuit.ops), "batched": cell.batched}
        if time.monotonic() > limits.deadline:
            yield {**row, "engines": {name: {"outcome": NOT_RUN} for name in workers}}
            continue
        hopeless = {
            name
            for name, before in stopped.items()
            if limits.infer and any(cell.at_least(other) for other in before)
        }
        entries = measure_problem(
            cases.problem(cell.circuit, cell.batched, cell.batch),
            {name: worker for name, worker in workers.items() if name not in hopeless},
            limits,
        )
        for name in hopeless:
            outcome = f"> {limits.cap_seconds:g} s"
            entries[name] = {"outcome": outcome, "inferred": "a smaller circuit took longer"}
        for name, entry in entries.items():
            if entry["outcome"].startswith(">") and name not in hopeless:
                stopped[name].append(cell)
        yield {**row, "engines": entries, **ratios(entries)}


def measure_problem(
    problem: dict[str, Any], workers: Mapping[str, Asked], limits: Limits
) -> dict[str, dict[str, Any]]:
    """The time of each engine for one problem; `outcome` is "measured" or the reason."""
    entries: dict[str, dict[str, Any]] = {}
    spent = dict.fromkeys(workers, 0.0)

    def ask(name: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """The reply, or None after recording the outcome."""
        began = float("inf")
        try:
            workers[name].start()  # again, if it was stopped; not counted
            began = time.monotonic()
            seconds = limits.cap_seconds - spent[name]
            return workers[name].ask(request, min(seconds, limits.deadline - began))
        except WorkerTimeoutError:
            over = time.monotonic() < limits.deadline
            entries[name]["outcome"] = f"> {limits.cap_seconds:g} s" if over else NOT_RUN
        except WorkerError as error:
            entries[name]["outcome"] = f"failed: {error}"
        finally:
            spent[name] += max(0.0, time.monotonic() - began)
        return None

    reference = None
    for name in workers:
        entries[name] = {"outcome": "measured", "seconds": []}
        request = {"ask": "prepare", "memory_limit": limits.memory_bytes, **problem}
        reply = ask(name, request)
        if reply is None:
            continue
        reference = reference or reply
        entries[name] |= {key: reply[key] for key in ("first_call_seconds", "temp_bytes", "steps")}
        apart = difference(reply, reference)
        entries[name]["difference"] = apart
        if not apart <= 1:
            entries[name]["outcome"] = "differs"
    for _ in range(limits.rounds):
        for name, entry in entries.items():
            if entry["outcome"] == "measured":
                reply = ask(name, {"ask": "time", "steps": entry["steps"]})
                if reply is not None:
                    entry["seconds"].append(reply["seconds"])
    for entry in entries.values():
        taken = entry.pop("seconds")
        if taken and entry["outcome"] != "differs":
            # Stopped in a later round: the earlier rounds count.
            entry |= {"outcome": "measured", "seconds": statistics.median(taken), "all": taken}
    return entries


def difference(found: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
    """The largest difference in units of the allowed one; inf for malformed results."""
    worst = 0.0
    for name in COMPARED:
        ours, theirs = (np.asarray(side[name], float) for side in (found, reference))
        if ours.shape != theirs.shape:
            return float("inf")
        if ours.size == 0:
            continue
        allowed = ABSOLUTE + RELATIVE * float(np.max(np.abs(theirs)))
        largest = float(np.max(np.abs(ours - theirs)))
        if not np.isfinite(largest):
            return float("inf")
        worst = max(worst, largest / allowed)
    return worst


def ratios(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The fastest other simulator and the ratio of its time to ours; likewise for first calls."""
    ours = entries.get(OURS, {})
    found: dict[str, Any] = {}
    for quantity in ("seconds", "first_call_seconds"):
        theirs = {
            name: entry[quantity]
            for name, entry in entries.items()
            if name != OURS
            and quantity in entry
            and entry["outcome"] == "measured"
            # Nothing is compiled there, so there is no first call to compare.
            and not (quantity == "first_call_seconds" and name == "lightning")
        }
        if theirs and quantity in ours:
            best = min(theirs, key=theirs.__getitem__)
            found[f"best_{quantity}"] = best
            found[f"ratio_{quantity}"] = theirs[best] / ours[quantity]
    return found


def seed_circuit(limits: Limits) -> dict[str, dict[str, Any]]:
    """The 2022 two-qubit circuit, batch 64, compared with its closed form."""
    from qnn_jax.models import ModelConfig

    workers = {name: _worker(sys.executable, name) for name in (OURS, "closed form")}
    problem = cases.problem(ModelConfig().circuit(), "inputs", BATCH_OF_SEED)
    try:
        return measure_problem(problem, workers, limits)
    finally:
        for worker in workers.values():
            worker.stop()
