"""One measurement on a device: plan and certify it, run it, and evaluate its counts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from qnn_jax.bridge import certify
from qnn_jax.circuits import PauliSum
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.executors import (
    Affine,
    Estimate,
    Readout,
    calibration_states,
    estimate,
    fit_affine,
    fit_readout,
)
from qnn_jax.hardware import circuits
from qnn_jax.hardware.circuits import Exact, Question
from qnn_jax.hardware.cost import OPEN_PLAN_SECONDS, instructions, qpu_seconds, shot_seconds
from qnn_jax.hardware.jobs import Chunk, RegisterCounts, join_counts
from qnn_jax.hardware.ledger import Entry, Ledger
from qnn_jax.hardware.plan import DETAILS, SECOND, Machine, Plan, Settings, check_details, choose
from qnn_jax.hardware.rules import Rules
from qnn_jax.hardware.submission import Clock, keep_chunk, kept_chunk, run_chunks
from qnn_jax.runs import write_bytes_atomic

#: The certificate that the circuit that was sent is equivalent, in the ledger's folder.
CERTIFICATE = "certificate-hardware.json"


class Visit(NamedTuple):
    """Where a measurement runs and is stored.

    Attributes:
        device: a `Device` that also has `backend`, `default_rep_delay` and `rep_delay_range`.
        ledger: of the jobs that were sent.
        clock: source of the time.
        tell: called with lines of progress.
    """

    device: Any
    ledger: Ledger
    clock: Clock = Clock()
    tell: Callable[[str], None] = silent

    def progress(self, line: str) -> None:
        """Report a line with the time of day."""
        self.tell(f"  {time.strftime('%H:%M:%S', time.localtime(self.clock.now()))}  {line}")


class Preflight(NamedTuple):
    """What is going to be sent."""

    plan: Plan  # size and cost
    budget: float  # seconds of quantum computer
    whose: str  # where the budget comes from, as text
    chunks: list[Chunk]  # one for each job
    #: Exact probabilities of the examples that run, shape (images, 2**num_qubits).
    outcomes: np.ndarray
    infidelity: float  # 1 - Π (1 - error) over gates and measurements, the mean over the copies
    details: dict[str, Any]  # what a ledger stores of it, as JSON


class Measured(NamedTuple):
    """Expectation values of the same examples from one device, as measured and corrected."""

    plain: Estimate  # straight from the counts
    mitigated: Estimate | None  # with the readout errors inverted
    recalibrated: Estimate | None  # with scale and shift corrected as well
    affine: Affine | None  # that scale and shift
    notes: tuple[str, ...] = ()  # which corrections were not possible, and why

    @property
    def best(self) -> Estimate:
        """The values with the most corrections."""
        return self.recalibrated or self.mitigated or self.plain


class Outcome(NamedTuple):
    """The result of a measurement."""

    measured: Measured  # expectation values of the examples
    counts: np.ndarray  # of all rows, examples before anchors, shape (rows, 2**num_qubits)
    entries: list[Entry]  # the ledger's entry of each job

    @property
    def job_ids(self) -> list[str]:
        """The completed jobs."""
        return [entry.job or "" for entry in self.entries]

    @property
    def calibrations(self) -> list[str]:
        """When the device had last been calibrated before the jobs began, if it reports this."""
        done = [entry.done or {} for entry in self.entries]
        return sorted({line["calibration_date"] for line in done if line.get("calibration_date")})


# Planning


def planned(ledger: Ledger, key: str) -> dict[str, Any] | None:
    """The plan under `key` whose jobs are sent; None if none of them was.

    A plan of which nothing was ever sent is remade, on today's calibration.
    """
    plan = ledger.plan(key)
    sent = plan is not None and any(ledger.entry(digest).intent for digest in plan["chunks"])
    return plan if sent else None


def planned_device(ledger: Ledger, key: str, rules: Rules = DETAILS) -> str | None:
    """The device of that plan, on which to look for its jobs."""
    plan = planned(ledger, key)
    return None if plan is None else check_details(plan, ledger.path, rules)["device"]


def preflight(
    visit: Visit,
    question: Question,
    settings: Settings,
    models: int = 1,
    layout: Sequence[int] | None = None,
) -> Preflight:
    """Transpile, choose settings that fit the budget, certify, and split into jobs; send nothing.

    `models` is how many adjacent rows of inputs are of one example, `layout` the device's qubit
    for each of the circuit's; None: those with the lowest errors. Raises InputError if the device
    cannot run it or the budget does not suffice, CertificationError if the circuit is not
    equivalent.
    """
    device, circuit = visit.device, question.circuit
    isa = circuits.transpiled(circuit, device, settings, layout)
    target = device.backend.target
    budget, whose = budget_of(device, settings.budget_seconds)
    places = circuits.find_places(isa, target, settings.copies)
    shot = shot_seconds(isa, target)
    machine = Machine(
        device.default_rep_delay,
        device.rep_delay_range,
        shot,
        instructions(isa),
        len(places),
        models,
    )
    states = len(calibration_states(circuit.num_qubits)) if settings.readout else 0
    plan = choose(
        settings,
        machine,
        len(question.inputs) // models,
        len(question.anchors),
        states,
        budget,
    )
    chosen = question.inputs[: plan.images * models]
    question = dataclasses.replace(question, inputs=chosen)
    prepared = circuits.prepare(isa, places[: plan.copies], target, settings.readout)
    stage_shots = max(1, plan.shots // 4) if settings.two_stage else plan.shots
    chunks = circuits.make_chunks(question, settings, prepared, plan, stage_shots)
    exact = Exact(circuit, question.observables, question.weights)
    outcomes = exact.outcomes(question.rows)
    deviation = circuits.check_bound(chunks, outcomes, plan.copies, target)
    for chunk in chunks:
        device.check(chunk)
    # Recompiled and folded circuits have other angles: for them the certificate covers
    # the plain circuit, and `check_bound` the circuit that is sent.
    plain = not (settings.recompile or settings.fractional_gates)
    certificate = certify(
        circuit,
        question.observables,
        device.backend if plain else None,
        isa=isa if plain else None,
        inputs=question.inputs[:2],
        weights=question.weights,
    )
    write_bytes_atomic(visit.ledger.folder / CERTIFICATE, certificate.to_json().encode())
    return Preflight(
        plan,
        budget,
        whose,
        chunks,
        outcomes[: plan.images * models],
        float(np.mean([place.infidelity for place in prepared.places])),
        {
            "device": device.name,
            "simulated": device.simulated,
            "calibration_date": device.calibration_date,
            "places": [[list(place.qubits), place.infidelity] for place in prepared.places],
            "properties": circuits.properties(target, prepared.places),
            "two_qubit_depth": prepared.two_qubit_depth,
            "plan": plan._asdict(),
            "shot_seconds": shot,
            "stage_shots": stage_shots,
            "two_stage": settings.two_stage,
            "num_qubits": circuit.num_qubits,
            "recompiled": settings.recompile,
            "fractional_gates": settings.fractional_gates,
            "certificate": CERTIFICATE,
            "bound_deviation": deviation,
        },
    )


def budget_of(device: Any, asked: float | None) -> tuple[float, str]:
    """The seconds of quantum computer that may be spent, and where the number comes from."""
    left = OPEN_PLAN_SECONDS if device.simulated else device.allowance().left
    if asked is not None:
        if left is not None and asked > left and not device.simulated:
            raise InputError(
                f"Argument `budget_seconds` must be at most {left:.0f}, what the plan has left, "
                f"but is {asked:g}."
            )
        return asked, "as given"
    if left is None:
        raise InputError(
            "Argument `budget_seconds` must be given, since this plan has no limit of its own, but "
            "is None; 60 is a good start."
        )
    whose = "the free plan's 600 s, as if unused" if device.simulated else f"the {left:.0f} s left"
    return left / 10, f"a tenth of {whose}"


def keep_plan(
    visit: Visit, key: str, chunks: Sequence[Chunk], details: Mapping[str, Any]
) -> dict[str, Any]:
    """Store the jobs and their purpose before anything is sent; return the plan."""
    digests = [keep_chunk(visit.device, chunk, visit.ledger) for chunk in chunks]
    return visit.ledger.record_plan(key, digests, details)


# Running


def carry_out(
    visit: Visit,
    plan: Mapping[str, Any],
    observables: Sequence[PauliSum],
    exact_anchors: np.ndarray,
    unsettled: Callable[[Estimate, int], np.ndarray] | None = None,
) -> Outcome:
    """Run a plan's measurement once, and read its counts.

    `exact_anchors` has shape (anchors, observables); `unsettled` selects the examples for the
    second stage by their values and shots so far. Raises InputError if the device refuses a job,
    DeviceStoppedError if it does not deliver.
    """
    details, digests = plan["details"], list(plan["chunks"])
    chunks = kept_chunks(visit, digests)
    counts, states = circuits.counted(details, run_planned(visit, chunks, details))
    measured = measure(observables, details, counts, states, exact_anchors)
    if details["two_stage"] and unsettled is not None:
        rows = unsettled(measured.best, details["stage_shots"])
        counts, more = _second_stage(visit, plan, chunks, counts, rows)
        measured = measure(observables, details, counts, states, exact_anchors)
        digests += more
    return Outcome(measured, counts, [visit.ledger.entry(digest) for digest in digests])


def kept_chunks(visit: Visit, digests: list[str]) -> list[Chunk]:
    """The chunks of a plan, as they were stored; one that is read back as another is refused."""
    chunks = [kept_chunk(digest, visit.ledger) for digest in digests]
    for chunk, digest in zip(chunks, digests, strict=True):
        if chunk.digest(visit.device.name) != digest:
            raise InputError(
                f"Chunk {digest[:12]} in {visit.ledger.path} is different when read back, because "
                "it was written by another version of Qiskit; go back to that version to finish it."
            )
    return chunks


def run_planned(
    visit: Visit, chunks: list[Chunk], details: Mapping[str, Any]
) -> list[list[RegisterCounts]]:
    """The counts of a plan's chunks, each measured once."""
    each = details["plan"]["rep_delay"], details["shot_seconds"]
    return run_chunks(
        visit.device,
        chunks,
        visit.ledger,
        estimates=[qpu_seconds(chunk.executions, *each) for chunk in chunks],
        clock=visit.clock,
        tell=visit.progress,
    )


def _second_stage(
    visit: Visit,
    plan: Mapping[str, Any],
    first: list[Chunk],
    counts: np.ndarray,
    rows: np.ndarray,
) -> tuple[np.ndarray, list[str]]:
    """Use the remaining shots for the examples `rows`; add the counts."""
    ledger, key, details = visit.ledger, f"{plan['key']}-2", plan["details"]
    second = ledger.plan(key)
    examples = {"rows": len(details["test"])}
    kept = check_details(second, ledger.path, SECOND, examples) if second else {}
    before = [chunk.digest(visit.device.name) for chunk in first]
    # The first stage may have been measured again since.
    if second is None or kept["first"] != before:
        left = details["plan"]["shots"] - details["stage_shots"]
        visit.tell(
            f"First stage: {len(rows):,} of {len(details['test']):,} examples are not settled; "
            f"{left:,} more shots for each of them."
        )
        if not len(rows) or not left:
            return counts, []
        made = circuits.again(first, rows, left)
        second = keep_plan(visit, key, made, {"rows": rows.tolist(), "first": before})
    digests, copies = list(second["chunks"]), details["plan"]["copies"]
    found = run_planned(visit, kept_chunks(visit, digests), details)
    more = circuits.by_copy(join_counts(found, 0), copies)
    counts = counts.copy()
    places = circuits.by_place(np.array(second["details"]["rows"]), copies)
    for copy, members in enumerate(places):
        counts[members] += more[: len(members), copy]
    return counts, digests


def measure(
    observables: Sequence[PauliSum],
    details: Mapping[str, Any],
    counts: np.ndarray,
    states: Sequence[np.ndarray],
    exact_anchors: np.ndarray,
) -> Measured:
    """Expectation values of the examples: as measured, readout inverted, scale and shift corrected.

    `counts` are of all rows, examples before anchors, shape (rows, outcomes); `states`, for each
    copy those of the calibration's states, is empty without one; `exact_anchors` has shape
    (anchors, observables).
    """
    copies, tests = details["plan"]["copies"], len(details["test"])
    notes: list[str] = []
    plain = estimate(counts, observables)
    mitigated = affine = None
    # Keep a result that cannot be corrected: it has been paid for.
    if states:
        try:
            values, stderr = (np.empty_like(part) for part in plain)
            for copy, found in enumerate(states):
                here = slice(copy, None, copies)
                readout: Readout = fit_readout(found, details["num_qubits"])
                values[here], stderr[here] = estimate(counts[here], observables, readout)
            mitigated = Estimate(values, stderr)
        except InputError as error:
            notes.append(f"Readout errors are not inverted: {error}")
    best = mitigated or plain
    first, anchors = slice(tests), slice(tests, None)
    if len(exact_anchors):
        try:
            affine = fit_affine(_rows(best, anchors), exact_anchors)
        except InputError as error:
            notes.append(f"Scale and shift are not corrected: {error}")
    return Measured(
        _rows(plain, first),
        mitigated and _rows(mitigated, first),
        affine and affine.undo(_rows(best, first)),
        affine,
        tuple(notes),
    )


def _rows(found: Estimate, rows: slice) -> Estimate:
    return Estimate(found.values[rows], found.stderr[rows])
