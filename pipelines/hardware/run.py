"""One evaluation on a quantum computer, from preflight to picture."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, NamedTuple, TypedDict

import numpy as np
from qiskit import QuantumCircuit

from pipelines.eval_hardware import HardwareConfig, is_simulated
from pipelines.hardware import jobs
from pipelines.hardware.plan import Levers, Machine, Plan, check_details, choose, forecast
from pipelines.hardware.result import (
    Exact,
    Measured,
    is_binary,
    measure,
    print_result,
    result,
    scores,
    unsettled_rows,
)
from pipelines.trained import POINTS, Trained, finished, load
from qnn_jax.bridge import certify
from qnn_jax.bridge.ibm_cost import (
    OPEN_PLAN_SECONDS,
    instructions,
    qpu_seconds,
    shot_seconds,
)
from qnn_jax.bridge.jobs import (
    Chunk,
    DeviceStoppedError,
    RegisterCounts,
    ServiceError,
    join_counts,
)
from qnn_jax.bridge.submission import (
    Clock,
    cancel,
    collect,
    keep_chunk,
    kept_chunk,
    run_chunks,
    status,
)
from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.mitigation import calibration_states, estimate, flip_probabilities, shots_to_settle
from qnn_jax.runs import (
    RunDirectory,
    read_as,
    write_bytes_atomic,
    write_json_atomic,
    write_npz_atomic,
)
from qnn_jax.runs.ledger import Ledger

#: Flags that change what is measured; the same values find the same jobs again.
_QUESTION = (
    "backend", "instance", "url", "seed", "images", "shots", "rep_delay", "copies",
    "budget_seconds", "anchors", "readout", "recompile", "fractional_gates", "two_stage",
)  # fmt: skip
_CLOCK = Clock()


class Visit(NamedTuple):
    """One evaluation: what is asked, of which device, about which model, and where it is kept."""

    config: HardwareConfig
    device: Any
    trained: Trained
    run: RunDirectory
    ledger: Ledger
    clock: Clock


class _Earlier(TypedDict):
    """What of an earlier eval-hardware.json decides whether it is replaced."""

    device: str


class Chosen(NamedTuple):
    """Test rows in the order in which they are taken, and anchors from the training set."""

    test: np.ndarray
    anchors: np.ndarray


def evaluate(config: HardwareConfig, clock: Clock = _CLOCK) -> int:
    """Do what `config.action` says; the exit status. Tests give a `clock` that need not wait."""
    started = time.monotonic()
    assert config.run is not None
    try:
        with RunDirectory.existing(config.results_dir, config.run) as run:
            if config.action != "evaluate":
                return _manage(config, Ledger.existing(run.path), clock)
            if _evaluate(config, run, clock):
                seconds = time.monotonic() - started
                print(f"{seconds:.1f} s in all; look at {run.figures / 'eval-hardware.png'}")
    except DeviceStoppedError as error:
        raise TrainingFailedError(str(error)) from None
    except ServiceError as error:
        raise TrainingFailedError(
            f"The service did not answer as it should ({error}); nothing is lost, run the same "
            "command again."
        ) from None
    return 0


def _evaluate(config: HardwareConfig, run: RunDirectory, clock: Clock) -> bool:
    """Plan or find the plan, run, conclude; whether there is a result."""
    ledger = Ledger(run.path, finished(config.results_dir, run.path.name).model)
    key = _question(config)
    plan = ledger.plan(key)
    # A plan of which nothing was ever sent is made anew, on today's calibration.
    if plan is not None and not any(ledger.entry(digest).intent for digest in plan["chunks"]):
        plan = None
    planned = check_details(plan, ledger.path)["device"] if plan else None
    device = _device(config, planned)
    trained = load(config.results_dir, run.path.name, config.data_dir, config.manual_dir)
    visit, exact = Visit(config, device, trained, run, ledger, clock), Exact(trained)
    if plan is None:
        details, chunks = _preflight(visit, exact)
        if config.dry_run:
            print("Nothing was sent (--dry-run); the same command without it sends this.")
            return False
        digests = [keep_chunk(device, chunk, ledger) for chunk in chunks]
        plan = ledger.record_plan(key, digests, details)
    else:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(plan["at"]))
        print(f"Going on with the evaluation that was planned on {made}; its jobs are sent.")
        if config.dry_run:
            return False
    sizes = {"test": len(trained.test.targets), "anchors": len(trained.train.targets)}
    details, digests = check_details(plan, ledger.path, sizes), list(plan["chunks"])
    asked = time.monotonic()
    test, anchors = np.array(details["test"], int), np.array(details["anchors"], int)
    exact_values = exact.values(trained.test.inputs[test])
    exact_anchors = exact.values(trained.train.inputs[anchors])
    chunks = _planned(visit, digests)
    counts, states = jobs.counted(details, _measured(visit, chunks, details))
    measured = measure(trained, details, counts, states, exact_anchors)
    if details["two_stage"]:
        counts, more = _second_stage(visit, key, chunks, details, counts, measured)
        measured = measure(trained, details, counts, states, exact_anchors)
        digests += more
    entries = [ledger.entry(digest) for digest in digests]
    told = result(trained, details, entries, measured, exact_values, time.monotonic() - asked)
    _write(visit, told, test, exact_values, measured)
    print_result(trained, told)
    return True


def _write(
    visit: Visit, told: dict[str, Any], test: np.ndarray, exact: np.ndarray, measured: Measured
) -> None:
    """Arrays, picture, and last the JSON; a simulation never replaces a machine's result."""
    path = visit.run.path
    earlier = read_as(path / "eval-hardware.json", _Earlier, "move it away")
    name = "eval-hardware"
    if told["device"] == "simulated" and earlier and earlier["device"] != "simulated":
        name = "eval-hardware-simulated"
        print(f"The result of {earlier['device']} stays; this one is {name}.json beside it.")
    arrays = {"test": test, "exact": exact}
    for kind in ("plain", "mitigated", "recalibrated"):
        if (found := getattr(measured, kind)) is not None:
            arrays[kind], arrays[f"{kind}_stderr"] = found
    write_npz_atomic(path / f"{name}.npz", arrays)
    from pipelines.hardware import figures  # late: matplotlib

    figures.draw(visit.run, name, visit.trained, told, exact, measured)
    write_json_atomic(path / f"{name}.json", told)


# Where


def _device(config: HardwareConfig, planned: str | None = None) -> Any:
    """The device, announced in the first line; simulated only where no machine was asked for.

    Args:
        config: the flags.
        planned: the device of an earlier plan, which is taken again.
    """
    if is_simulated(config):
        fake = "FakeFez" if config.backend == "auto" else config.backend
        return _simulator(config, planned or fake)
    named = None if config.backend in ("auto", "least-busy") else config.backend
    return _machine(config, planned or named)


def _simulator(config: HardwareConfig, name: str) -> Any:
    from qnn_jax.bridge.fake_device import FakeDevice

    device = FakeDevice(name, config.seed)
    print(
        f"SIMULATED: {name}, IBM's snapshot of {device.calibration_date} with its noise, on this "
        "machine. No quantum computer is used and nothing is paid.",
        flush=True,
    )
    return device


def _machine(config: HardwareConfig, name: str | None) -> Any:
    from qnn_jax.bridge.ibm import connect

    device = connect(name, config.instance, config.url, config.fractional_gates)
    print(f"QUANTUM COMPUTER: {device.name}, calibrated {device.calibration_date}.", flush=True)
    return device


def _manage(config: HardwareConfig, ledger: Ledger, clock: Clock) -> int:
    """Status, collect or cancel, on every device that the ledger names, whatever the flags say."""
    intents = [entry.intent for entry in ledger.entries.values() if entry.intent]
    names = {intent["device"]: bool(intent["simulated"]) for intent in intents}
    if not names:
        print(f"Nothing was sent yet, by {ledger.path}.")
    for name, simulated in names.items():
        device = _simulator(config, name) if simulated else _machine(config, name)
        if config.action == "cancel":
            ids = cancel(device, ledger)
            print(f"Cancelled {', '.join(ids)}." if ids else f"No job was left on {name}.")
        elif config.action == "collect":
            fetched = collect(device, ledger, clock=clock, tell=_tell)
            print(f"Fetched {len(fetched)} results; make eval-hardware shows what they mean.")
        else:
            for digest, state in status(device, ledger).items():
                print(f"{digest[:12]}  {state}")
    return 0


def _question(config: HardwareConfig) -> str:
    """What is asked, by the flags as they are typed: the same ones find the same jobs."""
    asked = {name: getattr(config, name) for name in _QUESTION}
    whole = json.dumps([is_simulated(config), asked], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


# Preflight


def _choose_examples(visit: Visit, exact: Exact) -> Chosen:
    """All test rows in an order whose every beginning is balanced, and well-spread anchors."""
    config, trained = visit.config, visit.trained
    random = np.random.default_rng(config.seed)
    targets = trained.test.targets
    order = random.permutation(len(targets))
    if trained.task == "fashion":
        # The k-th image of each class before the (k+1)-th of any.
        rank = np.empty(len(targets), int)
        for label in np.unique(targets):
            members = order[targets[order] == label]
            rank[members] = np.arange(len(members))
        order = order[np.argsort(rank[order], kind="stable")]
    if trained.task == "calculator" and config.images is None:
        order = order[:POINTS]
    if config.images is not None and config.images > len(order):
        raise InputError(
            f"Argument `--images` must be at most {len(order)}, the size of the test set, but is "
            f"{config.images}."
        )
    if config.anchors > len(trained.train.targets):
        raise InputError(
            f"Argument `--anchors` must be at most {len(trained.train.targets)}, the size of the "
            f"training set, but is {config.anchors}."
        )
    pool = random.permutation(len(trained.train.targets))[: 20 * config.anchors]
    values = exact.values(trained.train.inputs[pool])[:, 0]
    spread = np.linspace(0, max(len(pool) - 1, 0), config.anchors).astype(int)
    return Chosen(order, pool[np.argsort(values)][spread])


def _preflight(visit: Visit, exact: Exact) -> tuple[dict[str, Any], list[Chunk]]:
    """Transpile, choose what fits the budget, certify, print it, and cut it into jobs."""
    config, device, trained = visit.config, visit.device, visit.trained
    chosen = _choose_examples(visit, exact)
    isa = jobs.transpiled(config, device, trained)
    target = device.backend.target
    budget, whose = _budget(visit)
    room = jobs.find_places(isa, target, config.copies)
    shot = shot_seconds(isa, target)
    machine = Machine(
        device.default_rep_delay, device.rep_delay_range, shot, instructions(isa), len(room)
    )
    states = len(calibration_states(trained.circuit.num_qubits)) if config.readout else 0
    levers = Levers(config.images, config.shots, config.rep_delay, config.copies)
    plan = choose(levers, machine, len(chosen.test), len(chosen.anchors), states, budget)
    prepared = jobs.prepare(isa, room[: plan.copies], target, config.readout)
    test = chosen.test[: plan.images]
    inputs = np.concatenate([trained.test.inputs[test], trained.train.inputs[chosen.anchors]])
    two_stage = config.two_stage and is_binary(trained)
    stage_shots = max(1, plan.shots // 4) if two_stage else plan.shots
    chunks = jobs.make_chunks(config, trained, prepared, inputs, plan, stage_shots)
    infidelity = float(np.mean([place.infidelity for place in prepared.places]))
    outcomes, targets = exact.outcomes(trained.test.inputs[test]), trained.test.targets[test]
    every = np.concatenate([outcomes, exact.outcomes(trained.train.inputs[chosen.anchors])])
    deviation = jobs.check_bound(chunks, every, plan.copies, target)
    for chunk in chunks:
        device.check(chunk)
    exact_score = trained.score(estimate(outcomes, trained.observables).values, targets)
    details = {
        "device": device.name,
        "simulated": device.simulated,
        "calibration_date": device.calibration_date,
        "test": test.tolist(),
        "anchors": chosen.anchors.tolist(),
        "places": [[list(place.qubits), place.infidelity] for place in prepared.places],
        "properties": jobs.properties(target, prepared.places),
        "two_qubit_depth": prepared.two_qubit_depth,
        "plan": plan._asdict(),
        "shot_seconds": shot,
        "stage_shots": stage_shots,
        "two_stage": two_stage,
        "num_qubits": trained.circuit.num_qubits,
        "recompiled": config.recompile,
        "fractional_gates": config.fractional_gates,
        "certificate": _certify(visit, isa),
        "bound_deviation": deviation,
        "expected": forecast(trained, outcomes, targets, plan.shots, infidelity)._asdict(),
        "noiseless": forecast(trained, outcomes, targets, plan.shots)._asdict(),
        "exact": exact_score._asdict(),
    }
    _introduce(visit, details, plan, f"{budget:.0f} s, {whose}", shot, outcomes)
    return details, chunks


def _certify(visit: Visit, isa: QuantumCircuit) -> str:
    """Prove that the transpiled circuit is the trained one; the certificate's file.

    Recompiled and folded circuits have angles of their own: for them the certificate is about
    the plain circuit, and `check_bound` about what is sent.

    Raises:
        CertificationError: where it is not; nothing is sent then.
    """
    config, trained = visit.config, visit.trained
    plain = not (config.recompile or config.fractional_gates)
    certificate = certify(
        trained.circuit,
        trained.observables,
        visit.device.backend if plain else None,
        isa=isa if plain else None,
        inputs=trained.test.inputs[:2],
        weights=trained.weights,
    )
    path = visit.run.path / "certificate-hardware.json"
    write_bytes_atomic(path, certificate.to_json().encode())
    return path.name


def _budget(visit: Visit) -> tuple[float, str]:
    config, device = visit.config, visit.device
    left = OPEN_PLAN_SECONDS if device.simulated else device.allowance().left
    if config.budget_seconds is not None:
        if left is not None and config.budget_seconds > left and not device.simulated:
            raise InputError(
                f"Argument `--budget-seconds` must be at most {left:.0f}, what the plan has left, "
                f"but is {config.budget_seconds:g}."
            )
        return config.budget_seconds, "as --budget-seconds says"
    if left is None:
        raise InputError(
            "Argument `--budget-seconds` must be given, since this plan has no limit of its own; "
            "for instance --budget-seconds 60."
        )
    whose = "the free plan's 600 s, as if unused" if device.simulated else f"the {left:.0f} s left"
    return left / 10, f"a tenth of {whose}"


def _introduce(
    visit: Visit,
    details: dict[str, Any],
    plan: Plan,
    budget: str,
    shot: float,
    outcomes: np.ndarray,
) -> None:
    """Print what is about to be sent."""
    trained = visit.trained
    qubits, infidelity = details["places"][0]
    size = f"{trained.circuit.num_qubits} qubits, {len(trained.circuit.ops)} gates"
    metric = details["exact"]["metric"].replace("_", " ")
    copies = "1 copy" if plan.copies == 1 else f"{plan.copies} copies side by side"
    lines = [
        ("model", f"{trained.path}: {size}"),
        (
            "layout",
            f"qubits {', '.join(map(str, qubits))}, chosen by error rates with measurements "
            f"present; two-qubit depth {details['two_qubit_depth']}, infidelity {infidelity:.3f}",
        ),
        (
            "choice",
            f"{plan.images:,} images × {plan.shots:,} shots, {copies}, "
            f"{1e6 * plan.rep_delay:.0f} µs between shots, {len(details['anchors'])} anchors",
        ),
        ("jobs", plan.reason),
        ("executions", f"{plan.executions:,}, {1e6 * shot:.1f} µs each beside the pause"),
        ("cost", f"{plan.seconds:.0f} s of quantum computer predicted; the budget is {budget}"),
        (
            "certified",
            "JAX, Qiskit, Aer and the circuit to be sent agree; probabilities of its bound rows "
            f"within {details['bound_deviation']:.0e}",
        ),
        (
            "expected",
            f"{metric} {details['expected']['value']:.4f} with the device's error rates, "
            f"{details['noiseless']['value']:.4f} with shots alone, "
            f"{details['exact']['value']:.4f} exact",
        ),
    ]
    if is_binary(trained):
        score = scores(trained)
        flips = flip_probabilities(outcomes, score, plan.shots).sum()
        enough = np.sort(shots_to_settle(outcomes, score))[int(0.99 * (len(outcomes) - 1))]
        lines.append(
            (
                "signs",
                f"shot noise flips {flips:.1f} of {plan.images:,} decisions on average; "
                f"{enough:,.0f} shots settle 99 % of them, at a risk of 1 % each",
            )
        )
    print("\n".join(f"{name:<12}{text}" for name, text in lines), flush=True)


# Running


def _planned(visit: Visit, digests: list[str]) -> list[Chunk]:
    """The chunks of a plan, as they were kept.

    Raises:
        InputError: where one reads back as another, which would be sent as if it were new.
    """
    chunks = [kept_chunk(digest, visit.ledger) for digest in digests]
    for chunk, digest in zip(chunks, digests, strict=True):
        if chunk.digest(visit.device.name) != digest:
            raise InputError(
                f"Chunk {digest[:12]} in {visit.ledger.path} reads back as another one, for it "
                "was written by another version of Qiskit; go back to that version to finish it."
            )
    return chunks


def _measured(
    visit: Visit, chunks: list[Chunk], details: dict[str, Any]
) -> list[list[RegisterCounts]]:
    each = details["plan"]["rep_delay"], details["shot_seconds"]
    return run_chunks(
        visit.device,
        chunks,
        visit.ledger,
        estimates=[qpu_seconds(chunk.executions, *each) for chunk in chunks],
        clock=visit.clock,
        tell=_tell,
    )


def _second_stage(
    visit: Visit,
    key: str,
    first: list[Chunk],
    details: dict[str, Any],
    counts: np.ndarray,
    measured: Measured,
) -> tuple[np.ndarray, list[str]]:
    """Spend the shots that are left on test images whose sign is not settled; add the counts."""
    ledger, key = visit.ledger, f"{key}-2"
    plan = ledger.plan(key)
    kept = check_details(plan, ledger.path, {"rows": len(details["test"])}) if plan else {}
    # The first stage may have been measured anew since.
    if plan is None or kept["first"] != [c.digest(visit.device.name) for c in first]:
        rows = unsettled_rows(visit.trained, measured.best, details["stage_shots"])
        left = details["plan"]["shots"] - details["stage_shots"]
        print(
            f"First stage: {len(rows):,} of {len(details['test']):,} images are not settled; "
            f"{left:,} more shots for each of them."
        )
        if not len(rows) or not left:
            return counts, []
        made = jobs.again(first, rows, left)
        digests = [keep_chunk(visit.device, chunk, ledger) for chunk in made]
        asked = {"rows": rows.tolist(), "first": [c.digest(visit.device.name) for c in first]}
        plan = ledger.record_plan(key, digests, asked)
    digests = list(plan["chunks"])
    copies = details["plan"]["copies"]
    found = _measured(visit, _planned(visit, digests), details)
    more = jobs.by_copy(join_counts(found, 0), copies)
    counts = counts.copy()
    for copy, rows in enumerate(jobs.by_place(np.array(plan["details"]["rows"]), copies)):
        counts[rows] += more[: len(rows), copy]
    return counts, digests


def _tell(line: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')}  {line}", flush=True)
