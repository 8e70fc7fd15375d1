"""Learn how a device runs one circuit: a calibration job, and a noise model fitted to its counts.

The job runs the transpiled circuit at settings of its angles, half of them at random and half those
of the trained model; the same circuit, measured along random axes; and the measured qubits in basis
states. It is planned, certified, sent and found again like every other job.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Parameter

from qnn_jax.bridge import angle_columns, noise_model
from qnn_jax.bridge.certificate import circuit_hash
from qnn_jax.bridge.channels import as_transpiled, read_back
from qnn_jax.bridge.noise import cut
from qnn_jax.bridge.steps import measured_qubits, steps
from qnn_jax.circuits import Circuit, x
from qnn_jax.errors import InputError
from qnn_jax.hardware import circuits
from qnn_jax.hardware.cost import instructions, qpu_seconds, shot_seconds, split_rows
from qnn_jax.hardware.jobs import Chunk, Pub
from qnn_jax.hardware.ledger import Entry
from qnn_jax.hardware.measurement import (
    Visit,
    budget_of,
    keep_plan,
    kept_chunks,
    planned,
    run_planned,
)
from qnn_jax.hardware.plan import LearnSettings, Settings, check_details, pauses
from qnn_jax.hardware.rules import FLAG, LIST, NUMBER, TEXT, Rules, or_null
from qnn_jax.hardware.twin import DeviceTwin, make_twin
from qnn_jax.noise import Experiment, NoiseModel, learn_noise
from qnn_jax.noise.learning import Check, LearnedNoise, NoiseFamily, design_covariance, undetermined
from qnn_jax.simulate import angles

#: Settings in all, if they are not given: as many as fit the budget.
SETTINGS = (256, 128, 64, 32)
#: Settings of a job that tells whether a twin still holds.
UPDATE_SETTINGS = 32
#: The part of the settings that are basis states.
_READOUT = 1 / 16
#: What up to so many times the shots would determine needs a larger budget; the rest is left to
#: the prior.
_MORE = 1024
_REGISTER = "outcome"
#: The fields of a stored plan that are read.
DETAILS: Rules = {
    "device": TEXT,
    "simulated": FLAG,
    "calibration_date": or_null(TEXT),
    "layout": LIST,
    "shot_seconds": NUMBER,
    "plan.rep_delay": NUMBER,
    "plan.seconds": NUMBER,
}


class Learned(NamedTuple):
    """The result of a calibration job.

    Attributes:
        twin: the device's learned noise.
        fit: the fit behind it.
        frequencies: by experiment, measured frequencies, shape (settings, outcomes).
        entries: of the ledger.
    """

    twin: DeviceTwin
    fit: LearnedNoise
    frequencies: tuple[np.ndarray, ...]
    entries: list[Entry]


class _Design(NamedTuple):
    chunk: Chunk
    seconds: float
    rep_delay: float
    shot_seconds: float
    layout: tuple[int, ...]


def learn_device(
    visit: Visit,
    circuit: Circuit,
    weights: np.ndarray,
    inputs: np.ndarray,
    settings: LearnSettings,
    key: str,
    dry_run: bool = False,
) -> Learned | None:
    """Measure how a device runs a circuit, in one job, and fit a noise model to the counts.

    Args:
        visit: device and ledger; the same call finds its job again and pays for nothing twice.
        circuit: the circuit; no other gates than those of its transpiled form are learned.
        weights: of the trained model, shape (num_weights,).
        inputs: of examples, shape (examples, num_inputs): half of the settings are of them.
        settings: size and options.
        key: identifies the job in the ledger.
        dry_run: design and report, and send nothing.

    Returns:
        The twin with its fit; None for a dry run.

    Raises:
        InputError: if the device cannot run it, or the budget does not suffice.
        DeviceStoppedError: if the device does not deliver; the same call continues.
    """
    found = _measure(visit, circuit, weights, inputs, settings, key, dry_run)
    if found is None:
        return None
    experiments, published, details, entries, read = found
    fit = learn_noise(published, experiments, seed=settings.seed, labels=read.qubits)
    about: Any = {
        "device": details["device"],
        "simulated": details["simulated"],
        "calibration_date": (entries[0].done or {}).get("calibration_date")
        or details["calibration_date"],
        "job_ids": [entry.job or "" for entry in entries],
        "circuit_sha256": circuit_hash(circuit),
        "measured": read.measured,
        "layout": details["layout"],
        "qubits": read.qubits,
    }
    twin = make_twin(fit, about, read.transpiled)
    frequencies = tuple(one.counts / one.shots[:, None] for one in experiments)
    return Learned(twin, fit, frequencies, entries)


def check_device(
    visit: Visit,
    circuit: Circuit,
    weights: np.ndarray,
    inputs: np.ndarray,
    settings: LearnSettings,
    key: str,
    twin: DeviceTwin,
    dry_run: bool = False,
) -> Check | None:
    """Spend a small job to tell whether a twin still predicts the device.

    Arguments and errors are those of `learn_device`.
    """
    twin.check_circuit(circuit)
    if settings.settings is None:
        settings = dataclasses.replace(settings, settings=UPDATE_SETTINGS)
    found = _measure(visit, circuit, weights, inputs, settings, key, dry_run, twin)
    return None if found is None else twin.check(found[0])


class _Read(NamedTuple):
    """The circuit in the device's gates, on local qubits."""

    transpiled: Circuit
    measured: tuple[int, ...]
    qubits: tuple[int, ...]


def _measure(
    visit: Visit,
    circuit: Circuit,
    weights: np.ndarray,
    inputs: np.ndarray,
    settings: LearnSettings,
    key: str,
    dry_run: bool,
    twin: DeviceTwin | None = None,
) -> tuple[list[Experiment], NoiseModel, dict[str, Any], list[Entry], _Read] | None:
    """Plan the job, or find it again, and run it."""
    device, ledger = visit.device, visit.ledger
    plan = planned(ledger, key)
    if plan is None:
        budget, whose = budget_of(device, settings.budget_seconds)
        layout = None if twin is None else twin.content["layout"]
        design = _designed(visit, circuit, weights, inputs, settings, budget, layout)
        if twin is not None:
            experiments, qubits = _even(design, device.backend.target)
            twin.check_qubits(qubits)
            twin.family(experiments)  # refuses other gates before the job is paid for
        device.check(design.chunk)
        for line in _introduction(visit, design, budget, whose):
            visit.tell(line)
        if twin is None:
            _check_conditioning(visit, design, settings)
        if dry_run:
            return None
        details = {
            "device": device.name,
            "simulated": device.simulated,
            "calibration_date": device.calibration_date,
            "layout": list(design.layout),
            "shot_seconds": design.shot_seconds,
            "plan": {"rep_delay": design.rep_delay, "seconds": design.seconds},
        }
        plan = keep_plan(visit, key, [design.chunk], details)
    else:
        visit.tell("Continuing the calibration that was planned before; its job is sent.")
        if dry_run:
            return None
    details = check_details(plan, ledger.path, DETAILS)
    digests = list(plan["chunks"])
    chunks = kept_chunks(visit, digests)
    counts = run_planned(visit, chunks, details)[0]
    experiments, qubits = _experiments(
        chunks[0], [one[_REGISTER] for one in counts], device.backend.target
    )
    small = cut([pub.circuit for pub in chunks[0].pubs], device.backend.target)
    own, measured = read_back(circuit, small.circuits[0])
    published = noise_model(device.backend, qubits)
    entries = [ledger.entry(digest) for digest in digests]
    return experiments, published, details, entries, _Read(own, measured, qubits)


def _designed(
    visit: Visit,
    circuit: Circuit,
    weights: np.ndarray,
    inputs: np.ndarray,
    settings: LearnSettings,
    budget: float,
    layout: Sequence[int] | None,
) -> _Design:
    """The job with the most settings that fits the budget."""
    device = visit.device
    plain = Settings(seed=settings.seed)
    isa = circuits.transpiled(circuit, device, plain, layout)
    layout = tuple(isa.layout.initial_index_layout(filter_ancillas=True))
    # As every later circuit in this layout is transpiled.
    isa = circuits.transpiled(circuit, device, plain, layout)
    target = device.backend.target
    missing = {"rz", "sx"} - set(target.operation_names)
    if missing:
        raise InputError(
            "Argument `backend` must have the gates rz and sx, with which other bases are "
            f"measured, but {device.name} has no {' and no '.join(sorted(missing))}."
        )
    along, states = _along_axes(isa), _states(isa)
    shot = shot_seconds(along, target)
    asked = [settings.rep_delay]
    if settings.rep_delay is None:
        asked = [*pauses(device.default_rep_delay, device.rep_delay_range)]
    sizes = SETTINGS if settings.settings is None else (settings.settings,)
    candidates = [(sizes[0], pause) for pause in asked]
    candidates += [(size, asked[-1]) for size in sizes[1:]]
    for size, pause in candidates:
        seconds = qpu_seconds(size * settings.shots, float(pause or 0), shot)
        if seconds <= budget:
            break
    else:
        raise InputError(
            f"Argument `budget_seconds` must cover the {seconds:.0f} s of quantum computer that "
            f"{size} settings × {settings.shots:,} shots take, but is {budget:.0f}; raise it, or "
            "take fewer settings or shots."
        )
    split_rows(size, settings.shots, 0, instructions(along), float(pause or 0) + shot)
    pubs = _pubs(circuit, weights, inputs, (isa, along, states), size, settings.seed)
    chunk = Chunk(pubs, settings.shots, pause, settings.repetition)
    return _Design(chunk, seconds, float(pause or 0), shot, layout)


def _pubs(
    circuit: Circuit,
    weights: np.ndarray,
    inputs: np.ndarray,
    measured: tuple[QuantumCircuit, QuantumCircuit, QuantumCircuit],
    size: int,
    seed: int,
) -> tuple[Pub, ...]:
    """The circuits with their rows of angles."""
    random = np.random.default_rng([seed, 17])
    bits = measured[2].num_clbits
    last = max(4, round(_READOUT * size))
    counts = ((size - last + 1) // 2, (size - last) // 2)
    columns = angle_columns(circuit)
    table_of: Any = jax.vmap(lambda row: angles(circuit, row, jnp.asarray(weights)))
    pubs = []
    for isa, count in zip(measured[:2], counts, strict=True):
        table = random.uniform(0, 2 * math.pi, (count, circuit.num_angles))
        if len(inputs):
            chosen = inputs[random.integers(len(inputs), size=count // 2)]
            table[: len(chosen)] = np.asarray(table_of(jnp.asarray(chosen)))
        table = table[random.permutation(count)]
        values = [
            table[:, columns[one.name]]
            if one.name in columns
            else random.uniform(0, 2 * math.pi, count)
            for one in isa.parameters
        ]
        pubs.append(Pub(isa, np.stack(values, 1) if values else np.empty((count, 0))))
    # √X RZ(0) √X flips a qubit, with RZ(π) it does not; each qubit is in both states.
    half = random.integers(2, size=(-(-last // 2), bits))
    flips = np.concatenate([half, 1 - half])[:last]
    pubs.append(Pub(measured[2], np.pi * (1.0 - flips)))
    return tuple(pubs)


def _along_axes(isa: QuantumCircuit) -> QuantumCircuit:
    """The circuit, measured along axes in the XY plane: RZ and √X before each measurement."""
    found = QuantumCircuit(isa.num_qubits)
    found.add_register(ClassicalRegister(isa.num_clbits, _REGISTER))
    for operation, qubits, clbits in steps(isa):
        if operation.name == "measure":
            found.rz(Parameter(f"~axis_{clbits[0]:03d}"), qubits[0])
            found.sx(qubits[0])
        found.append(operation, qubits, clbits)
    return found


def _states(isa: QuantumCircuit) -> QuantumCircuit:
    """The measured qubits alone, each in |0> or |1>."""
    found = QuantumCircuit(isa.num_qubits)
    found.add_register(ClassicalRegister(isa.num_clbits, _REGISTER))
    for bit, qubit in sorted(measured_qubits(isa).items()):
        found.sx(qubit)
        found.rz(Parameter(f"~state_{bit:03d}"), qubit)
        found.sx(qubit)
        found.measure(qubit, bit)
    return found


def _experiments(
    chunk: Chunk, counts: Sequence[np.ndarray], target: Any
) -> tuple[list[Experiment], tuple[int, ...]]:
    """A job's circuits as ours, their Parameters as inputs, with the counts."""
    small = cut([pub.circuit for pub in chunk.pubs], target)
    found = []
    for pub, isa, rows in zip(chunk.pubs, small.circuits, counts, strict=True):
        inputs: Mapping[str, Any] = {one.name: x[k] for k, one in enumerate(pub.circuit.parameters)}
        own, places = as_transpiled(isa, inputs, len(inputs), 0)
        found.append(Experiment(own, places, pub.values, rows))
    return found, small.qubits


def _even(design: _Design, target: Any) -> tuple[list[Experiment], tuple[int, ...]]:
    """The job's circuits before it runs, with counts that are spread evenly."""
    chunk = design.chunk
    shape = 2 ** chunk.pubs[0].circuit.num_clbits
    even = [np.full((pub.rows, shape), chunk.shots / shape) for pub in chunk.pubs]
    return _experiments(chunk, even, target)


def _check_conditioning(visit: Visit, design: _Design, settings: LearnSettings) -> None:
    """Report what the job will leave undetermined; refuse it where a larger one would determine it.

    The refusal says how many times the shots suffice.
    """
    rows = [pub.rows for pub in design.chunk.pubs]
    experiments, qubits = _even(design, visit.device.backend.target)
    published = noise_model(visit.device.backend, qubits)
    family = NoiseFamily(
        published, [one.circuit for one in experiments], experiments[0].qubits, qubits
    )
    covariance = design_covariance(family, experiments)
    loose = undetermined(family, covariance)
    prior = np.diag(family.spreads**-2.0)
    fisher = np.linalg.inv(covariance) - prior
    rates = {one.name for one in family.parameters if one.kind == "rate"}

    def poor_at(factor: int) -> set[str]:
        return {*undetermined(family, np.linalg.inv(factor * fisher + prior))} - rates

    # What not even many times the shots determine is left to the prior, too.
    poor = poor_at(1) - poor_at(_MORE)
    if poor:
        factor = 2
        while poor & poor_at(factor):
            factor *= 2
        raise InputError(
            "Argument `budget_seconds` must allow enough shots to determine "
            f"{', '.join(sorted(poor))}, which {settings.shots} shots of {sum(rows)} settings "
            f"leave undetermined; {factor} times as many do."
        )
    text = ", ".join(loose) if loose else "none"
    visit.tell(f"{'unknowns':<12}{len(family.parameters)}; left to the prior: {text}")


def _introduction(visit: Visit, design: _Design, budget: float, whose: str) -> list[str]:
    rows = [pub.rows for pub in design.chunk.pubs]
    lines = [
        ("layout", f"qubits {', '.join(map(str, design.layout))} of {visit.device.name}"),
        (
            "settings",
            f"{rows[0]} of the circuit, {rows[1]} along random axes, {rows[2]} basis states, "
            f"× {design.chunk.shots:,} shots in one job, {1e6 * design.rep_delay:.0f} µs between "
            "shots",
        ),
        (
            "cost",
            f"{design.seconds:.0f} s of quantum computer predicted; the budget is {budget:.0f} s, "
            f"{whose}",
        ),
    ]
    return [f"{name:<12}{text}" for name, text in lines]
