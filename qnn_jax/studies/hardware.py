"""Evaluate a trained model on a quantum computer in one job: the effect of noise and shots."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.executors import Estimate, estimate, flip_probabilities, shots_to_settle
from qnn_jax.hardware.circuits import Exact, Question
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.measurement import (
    Measured,
    Outcome,
    Preflight,
    Visit,
    carry_out,
    keep_plan,
    planned,
    preflight,
)
from qnn_jax.hardware.plan import DETAILS, LearnSettings, Settings, check_details
from qnn_jax.hardware.rules import Rules
from qnn_jax.hardware.submission import Clock
from qnn_jax.stats import p_value
from qnn_jax.studies.evaluation import MOST, scored
from qnn_jax.studies.tuning import rows_of_models, weights_as_inputs
from qnn_jax.tasks.fit import paired
from qnn_jax.tasks.trained import Trained
from qnn_jax.training.task import Metric, Splits, with_interval

#: A decision is settled if it is this many standard errors away from zero.
_SETTLED = 2.5
#: How often a set is drawn for a forecast.
_DRAWS = 8
#: Anchors if their number is not given and the training set has as many.
_ANCHORS = 100
#: The rows of the table, by their names in JSON.
ROWS = {
    "exact": "exact",
    "shots_only": "shots alone, no noise (expected)",
    "noisy_simulation": "device's error rates (expected)",
    "plain": "measured",
    "mitigated": "measured, readout errors inverted",
    "recalibrated": "measured, scale and shift corrected",
    "tuned_published": "tuned on the published errors, measured",
    "tuned_learned": "tuned on the learned twin, measured",
    "tuned_device": "tuned on the device itself, measured",
}


class Score(NamedTuple):
    """A metric's mean over examples, with its 95 % interval."""

    value: float
    interval: tuple[float, float]

    def row(self, metric: str, seconds: float) -> dict[str, Any]:
        """The row of a table as JSON."""
        return {metric: self.value, "interval": self.interval, "seconds": seconds}


class Evaluation(NamedTuple):
    """The result of a model on a device.

    Attributes:
        result: all numbers, as JSON; a row of `ROWS` is {metric, interval, seconds, rms}.
        metric: the name of the task's metric, which each row has.
        test: indices of the test examples that ran.
        exact: their exact expectation values, shape (examples, observables).
        measured: their expectation values from the device.
        tuned: expectation values of tuned models, by row.
    """

    result: dict[str, Any]
    metric: str
    test: np.ndarray
    exact: np.ndarray
    measured: Measured
    tuned: Mapping[str, Estimate] = MappingProxyType({})

    def lines(self) -> list[str]:
        """The table as text."""
        found = self.result
        where = "a SIMULATED " if found["device"] == "simulated" else ""
        shots = f"{found['shots']:,} shots"
        if found["stage_shots"] < found["shots"]:
            shots = f"{found['stage_shots']:,} to {shots}"
        lines = [
            f"{found['test_count']:,} test examples × {shots} on {where}{found['backend']} "
            f"({self.metric.replace('_', ' ')}, 95 % interval)"
        ]
        for name, words in ROWS.items():
            if name in found:
                error = f"   rms error {found[name]['rms']:.4f}" if "rms" in found[name] else ""
                value = with_interval(found[name][self.metric], found[name]["interval"], ".4f")
                lines.append(f"  {words:<36} {value}{error}")
        lines += [
            f"  {ROWS['tuned_learned'].removesuffix(', measured')} against "
            f"{ROWS[name].removesuffix(', measured')}: {text}"
            for name, text in found.get("tests", {}).items()
        ]
        return [*lines, *found["notes"]]

    def arrays(self) -> dict[str, np.ndarray]:
        """Expectation values and standard errors of every row, by name."""
        arrays = {"test": self.test, "exact": self.exact}
        for name in ("plain", "mitigated", "recalibrated"):
            if (found := getattr(self.measured, name)) is not None:
                arrays[name], arrays[f"{name}_stderr"] = found
        for name, one in self.tuned.items():
            arrays[name], arrays[f"{name}_stderr"] = one
        return arrays


def key_of(settings: Settings | LearnSettings, *asked: Any) -> str:
    """Identifies a measurement in the ledger: the same key finds the same jobs."""
    whole = json.dumps([dataclasses.asdict(settings), asked], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def evaluate_on_device(
    trained: Trained,
    splits: Splits,
    device: Any,
    settings: Settings,
    ledger: Ledger,
    *,
    key: str | None = None,
    dry_run: bool = False,
    tuned: Mapping[str, Trained] = MappingProxyType({}),
    layout: Sequence[int] | None = None,
    clock: Clock = Clock(),  # noqa: B008
    tell: Callable[[str], None] = silent,
) -> Evaluation | None:
    """Evaluate a trained model's test examples on a device, each paid for once.

    The plan, its jobs and their counts are in the ledger: the same call continues with them, on any
    later day and after a crash, and sends nothing again.

    Args:
        trained: the model.
        splits: its data: the test set, and the training set for the anchors.
        device: as returned by `hardware.Where.open`.
        settings: size and options. `two_stage` requires decisions that are the sign of one
            number.
        ledger: of this model, identified by its sha256.
        key: identifies the evaluation, see `key_of`; by default from settings and device.
        dry_run: plan, certify and report the cost, and send nothing.
        tuned: the same model after its tuning, by row of `ROWS`: they run in the same job on the
            same examples, and are read as counted.
        layout: the device's qubit for each of the circuit's, for which they were tuned.
        clock: source of the time.
        tell: called with the plan and lines of progress.

    Returns:
        The result; None for a dry run.

    Raises:
        InputError: if the device cannot run it, the budget does not suffice, or the ledger is
            damaged.
        CertificationError: if the circuit to be sent is not equivalent.
        DeviceStoppedError: if the device does not deliver; the same call continues.
    """
    visit = Visit(device, ledger, clock, tell)
    key = key_of(settings, device.name) if key is None else key
    models = [trained, *tuned.values()]
    _check_tuned(models, settings)
    exact = _exact_of(models)
    plan = planned(ledger, key)
    if plan is None:
        ready, details = _prepare(visit, models, splits, settings, exact, layout)
        if dry_run:
            return None
        plan = keep_plan(visit, key, ready.chunks, details)
    else:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(plan["at"]))
        tell(f"Continuing the evaluation that was planned on {made}; its jobs are sent.")
        if dry_run:
            return None
    sizes = {"test": len(splits.test.targets), "anchors": len(splits.train.targets)}
    details = check_details(plan, ledger.path, EVALUATION, sizes)
    asked, count = clock.now(), len(models)
    rows, anchors = np.array(details["test"], int), np.array(details["anchors"], int)
    test = rows[::count]
    exact_values = exact.values(_rows_of(models, splits.test.inputs[test]))[::count]
    exact_anchors = np.empty((0, exact_values.shape[1]))
    if len(anchors):
        exact_anchors = exact.values(_anchor_rows(models, splits, anchors))
    outcome = carry_out(
        visit,
        plan,
        trained.observables,
        exact_anchors,
        lambda found, shots: unsettled(trained, found, shots),
    )
    targets = np.asarray(splits.test.targets)[test]
    every = outcome.measured.plain
    outcome = outcome._replace(measured=_of_model(outcome.measured, count))
    result = _result(trained, details, outcome, exact_values, targets, clock.now() - asked)
    found = {
        name: Estimate(every.values[k::count], every.stderr[k::count])
        for k, name in enumerate(tuned, 1)
    }
    result |= _of_tuned(trained, tuned, found, outcome.measured, targets, clock.now() - asked)
    metric = trained.task.metric.name
    return Evaluation(result, metric, test, exact_values, outcome.measured, found)


# Several models in one job


def _check_tuned(models: Sequence[Trained], settings: Settings) -> None:
    """Refuse settings under which a tuned model would not run as it was tuned."""
    if len(models) == 1:
        return
    for name in ("two_stage", "recompile", "fractional_gates"):
        if getattr(settings, name):
            raise InputError(
                f"Argument `{name}` must be False where tuned models are evaluated, because they "
                "were tuned for the circuit as it was learned, but is True."
            )
    if settings.copies != 1:
        raise InputError(
            "Argument `copies` must be 1 where tuned models are evaluated, because one place of "
            f"the device was learned, but is {settings.copies}."
        )
    if any(one.circuit != models[0].circuit for one in models):
        raise InputError(
            "Argument `tuned` must be models of the same circuit as `trained`, but one has another."
        )


def _exact_of(models: Sequence[Trained]) -> Exact:
    first = models[0]
    if len(models) == 1:
        return Exact(first.circuit, first.observables, first.weights)
    nothing = np.zeros(0, first.weights.dtype)
    return Exact(weights_as_inputs(first.circuit), first.observables, nothing)


def _rows_of(models: Sequence[Trained], inputs: Any) -> np.ndarray:
    """The circuit's inputs of examples: one row for each model, where there are several."""
    encoded = [one.encode(inputs) for one in models]
    if len(models) == 1:
        return encoded[0]
    return rows_of_models(encoded, [one.weights for one in models])


def _anchor_rows(models: Sequence[Trained], splits: Splits, anchors: np.ndarray) -> np.ndarray:
    """Those of anchors, of the first model alone."""
    if not len(anchors):
        return _rows_of(models, splits.train.inputs[:1])[:0]
    return _rows_of(models, splits.train.inputs[anchors])[:: len(models)]


def _of_model(measured: Measured, count: int) -> Measured:
    """The first model's part of what was measured."""

    def part(found: Estimate) -> Estimate:
        return Estimate(found.values[::count], found.stderr[::count])

    return measured._replace(
        plain=part(measured.plain),
        mitigated=measured.mitigated and part(measured.mitigated),
        recalibrated=measured.recalibrated and part(measured.recalibrated),
    )


def _of_tuned(
    trained: Trained,
    tuned: Mapping[str, Trained],
    found: Mapping[str, Estimate],
    measured: Measured,
    targets: np.ndarray,
    waited: float,
) -> dict[str, Any]:
    """The tuned models' rows, and paired tests of the learned twin's against all others."""
    metric = trained.task.metric
    told: dict[str, Any] = {}
    each = {
        name: np.asarray(metric.of_each(trained.decide(one.values), targets))
        for name in ("plain", "recalibrated")
        if (one := getattr(measured, name)) is not None
    }
    for name, values in found.items():
        told[name] = score(tuned[name], values.values, targets).row(metric.name, waited)
        each[name] = np.asarray(metric.of_each(tuned[name].decide(values.values), targets))
    if "tuned_learned" in each:
        mine = each.pop("tuned_learned")
        told["tests"] = {name: compared(metric, mine, other) for name, other in each.items()}
    return told


def compared(metric: Metric, mine: np.ndarray, other: np.ndarray) -> str:
    """The difference of two models' scores on the same examples, and a paired test, as text."""
    found = paired(metric, mine, other)
    test = "exact McNemar test" if mine.dtype == bool else "Student's paired test"
    return f"{found.amount} better ({test}, {p_value(found.p)})"


# Planning


def balanced_order(targets: np.ndarray, seed: int, classes: bool) -> np.ndarray:
    """All rows in random order; with `classes`, every prefix has as many rows of each class.

    >>> order = balanced_order(np.array([0, 0, 0, 0, 1, 1]), 0, True)
    >>> sorted(np.array([0, 0, 0, 0, 1, 1])[order[:4]].tolist())
    [0, 0, 1, 1]
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    if not classes:
        return order
    # The k-th of each class precedes the (k+1)-th of any.
    rank = np.empty(len(targets), int)
    for label in np.unique(targets):
        members = order[targets[order] == label]
        rank[members] = np.arange(len(members))
    return order[np.argsort(rank[order], kind="stable")]


def _choose(
    models: Sequence[Trained], splits: Splits, settings: Settings, exact: Exact
) -> tuple[np.ndarray, np.ndarray]:
    """Test rows in the order of their use, and anchors spread over the training set."""
    targets, train = np.asarray(splits.test.targets), len(splits.train.targets)
    order = balanced_order(targets, settings.seed, bool(splits.class_names))
    if settings.images is None:
        order = order[:MOST]
    if settings.images is not None and settings.images > len(order):
        raise InputError(
            f"Argument `images` must be at most {len(order)}, the size of the test set, but is "
            f"{settings.images}."
        )
    count = min(_ANCHORS, train) if settings.anchors is None else settings.anchors
    if count > train:
        raise InputError(
            f"Argument `anchors` must be at most {train}, the size of the training set, but is "
            f"{count}."
        )
    random = np.random.default_rng([settings.seed, 1])
    pool = random.permutation(train)[: 20 * count]
    if not len(pool):
        return order, pool
    values = exact.values(_anchor_rows(models, splits, pool))[:, 0]
    spread = np.linspace(0, len(pool) - 1, count).astype(int)
    return order, pool[np.argsort(values)][spread]


def _prepare(
    visit: Visit,
    models: Sequence[Trained],
    splits: Splits,
    settings: Settings,
    exact: Exact,
    layout: Sequence[int] | None,
) -> tuple[Preflight, dict[str, Any]]:
    """Everything before the first job is sent: plan, certify, predict the score, and report."""
    trained, count = models[0], len(models)
    if settings.two_stage and not is_binary(trained):
        raise InputError(
            "Argument `two_stage` must be False where a decision is not the sign of one number, "
            f"but is True for a model of {trained.task.metric.name.replace('_', ' ')} with "
            f"{trained.decide(np.zeros((1, len(trained.observables)))).shape[1]} outputs."
        )
    order, anchors = _choose(models, splits, settings, exact)
    question = Question(
        exact.circuit,
        trained.observables,
        trained.weights if count == 1 else np.zeros(0, trained.weights.dtype),
        _rows_of(models, splits.test.inputs[order]),
        _anchor_rows(models, splits, anchors),
    )
    ready = preflight(visit, question, settings, count, layout)
    test, shots = order[: ready.plan.images], ready.plan.shots
    targets = np.asarray(splits.test.targets)[test]
    # Of the model itself; the rows of tuned ones follow its own.
    ready = ready._replace(outcomes=ready.outcomes[::count])
    true_values = estimate(ready.outcomes, trained.observables).values
    scores = {
        "expected": forecast(trained, ready.outcomes, targets, shots, ready.infidelity),
        "noiseless": forecast(trained, ready.outcomes, targets, shots),
        "exact": score(trained, true_values, targets),
    }
    details = {
        **ready.details,
        "test": np.repeat(test, count).tolist(),
        "anchors": anchors.tolist(),
        **{name: one._asdict() for name, one in scores.items()},
    }
    if count > 1:
        visit.tell(f"{'models':<12}the run's own and {count - 1} tuned ones, in the same job")
    lines = _introduction(visit, trained, splits, ready, scores, len(anchors))
    for name, text in lines.items():
        visit.tell(f"{name:<12}{text}")
    return ready, details


def _introduction(
    visit: Visit,
    trained: Trained,
    splits: Splits,
    ready: Preflight,
    scores: Mapping[str, Score],
    anchors: int,
) -> dict[str, str]:
    """Description of what is going to be sent."""
    plan, details = ready.plan, ready.details
    qubits, infidelity = details["places"][0]
    size = f"{trained.circuit.num_qubits} qubits, {len(trained.circuit.ops)} gates"
    copies = "1 copy" if plan.copies == 1 else f"{plan.copies} copies side by side"
    lines = {
        "model": f"{visit.ledger.folder}: {size}",
        "layout": f"qubits {', '.join(map(str, qubits))}, chosen by error rates with measurements "
        f"present; two-qubit depth {details['two_qubit_depth']}, infidelity {infidelity:.3f}",
        "choice": f"{plan.images:,} {splits.examples} × {plan.shots:,} shots, {copies}, "
        f"{1e6 * plan.rep_delay:.0f} µs between shots, {anchors} anchors",
        "jobs": plan.reason,
        "executions": f"{plan.executions:,}, {1e6 * details['shot_seconds']:.1f} µs each without "
        "the pause",
        "cost": f"{plan.seconds:.0f} s of quantum computer predicted; the budget is "
        f"{ready.budget:.0f} s, {ready.whose}",
        "certified": "JAX, Qiskit, Aer and the circuit to be sent agree; probabilities of its "
        f"bound rows within {details['bound_deviation']:.0e}",
        "expected": f"{trained.task.metric.name.replace('_', ' ')} {scores['expected'].value:.4f} "
        f"with the device's error rates, {scores['noiseless'].value:.4f} with shots alone, "
        f"{scores['exact'].value:.4f} exact",
    }
    if is_binary(trained):
        of_outcome = decision_of_outcomes(trained)
        flips = flip_probabilities(ready.outcomes, of_outcome, plan.shots).sum()
        needed = np.sort(shots_to_settle(ready.outcomes, of_outcome))
        enough = needed[int(0.99 * (len(needed) - 1))]
        lines["signs"] = (
            f"shot noise flips {flips:.1f} of {plan.images:,} decisions on average; "
            f"{enough:,.0f} shots settle 99 % of them, at a risk of 1 % each"
        )
    return lines


# Scores


def score(trained: Trained, values: np.ndarray, targets: np.ndarray) -> Score:
    """Expectation values through the model's head, scored by the task's metric."""
    row = scored(trained, "", values, np.zeros_like(values), targets, 0.0)
    return Score(row.value, tuple(map(float, row.interval)))  # type: ignore[arg-type]


def forecast(
    trained: Trained,
    outcomes: np.ndarray,
    targets: np.ndarray,
    shots: int,
    infidelity: float = 0.0,
) -> Score:
    """The expected score with this number of shots on a device of this infidelity.

    The noise model replaces an outcome by uniformly random bits with the probability `infidelity`,
    1 - Π (1 - error) over gates and measurements (a depolarising channel). `outcomes` are exact
    probabilities, shape (rows, 2**num_qubits).
    """
    exact = np.asarray(outcomes, np.float64)
    mixed = (1 - infidelity) * exact + infidelity / exact.shape[1]
    mixed /= mixed.sum(axis=1, keepdims=True)
    random = np.random.default_rng(0)
    draws = (random.multinomial(shots, mixed) for _ in range(_DRAWS))
    found = [
        score(trained, estimate(counts, trained.observables).values, targets) for counts in draws
    ]
    low, high = np.mean([one.interval for one in found], axis=0)
    return Score(float(np.mean([one.value for one in found])), (float(low), float(high)))


def is_binary(trained: Trained) -> bool:
    """Whether a decision is the sign of one number."""
    one = trained.decide(np.zeros((1, len(trained.observables))))
    return trained.task.metric.classes and one.shape[1] == 1


def decision_of_outcomes(trained: Trained) -> np.ndarray:
    """The contribution of each outcome to a two-class decision, shape (2**num_qubits,)."""
    outcomes = np.eye(2**trained.circuit.num_qubits)
    return trained.decide(estimate(outcomes, trained.observables).values)[:, 0]


def unsettled(trained: Trained, found: Estimate, shots: int) -> np.ndarray:
    """Rows of a two-class model whose decision is within a few standard errors of zero."""
    at_zero = trained.decide(np.zeros((1, found.values.shape[1])))
    slopes = trained.decide(np.eye(found.values.shape[1]))[:, 0] - at_zero[0, 0]
    decision = trained.decide(found.values)[:, 0]
    # If all shots agree, the variance estimate is 0, although one could still differ.
    stderr = np.maximum(found.stderr, 2 / shots)
    return np.flatnonzero(np.abs(decision) < _SETTLED * np.sqrt(stderr**2 @ slopes**2))


def _is_score(value: object) -> bool:
    # A metric may be negative, and a mean of few examples has a bound below 0.
    if not isinstance(value, dict) or not isinstance(value.get("interval"), list):
        return False
    numbers = [value.get("value"), *value["interval"]]
    return len(numbers) == 3 and all(
        isinstance(one, int | float) and type(one) is not bool and math.isfinite(one)
        for one in numbers
    )


#: The fields of a stored plan's details that are read.
EVALUATION: Rules = {
    **DETAILS,
    "expected": ("a score", _is_score),
    "noiseless": ("a score", _is_score),
    "exact": ("a score", _is_score),
}


def _result(
    trained: Trained,
    details: Mapping[str, Any],
    outcome: Outcome,
    exact_values: np.ndarray,
    targets: np.ndarray,
    waited: float,
) -> dict[str, Any]:
    """The content of eval-hardware.json."""
    metric, measured = trained.task.metric.name, outcome.measured
    done = [entry.done or {} for entry in outcome.entries]
    calibrations = outcome.calibrations
    notes = list(measured.notes)
    if calibrations and calibrations != [details["calibration_date"]]:
        notes.append(
            f"{details['device']} was calibrated on {' and '.join(calibrations)} when it ran, on "
            f"{details['calibration_date']} when this was planned: the expected values are "
            "computed from the plan's error rates."
        )

    told: dict[str, Any] = {
        "task": trained.task.name,
        "device": "simulated" if details["simulated"] else details["device"],
        "backend": details["device"],
        # At the start of the (last) job, null if IBM did not report it; and of the plan.
        "calibration_date": calibrations[-1] if calibrations else None,
        "planned_calibration_date": details["calibration_date"],
        "job_ids": outcome.job_ids,
        "test_count": len(targets),
        "shots": details["plan"]["shots"],
        "stage_shots": details["stage_shots"],
        "notes": notes,
        "executions": sum((entry.intent or {}).get("executions") or 0 for entry in outcome.entries),
        "copies": details["plan"]["copies"],
        "recompiled": details["recompiled"],
        "fractional_gates": details["fractional_gates"],
        "places": details["places"],
        "seconds_predicted": details["plan"]["seconds"],
        "seconds_used": [line.get("usage_seconds") for line in done],
        "seconds_waited": [line.get("waited_seconds") for line in done],
    }
    kept = {"exact": "exact", "shots_only": "noiseless", "noisy_simulation": "expected"}
    for name, one in kept.items():
        expected = Score(details[one]["value"], details[one]["interval"])
        told[name] = expected.row(metric, 0.0)
    for name in ("plain", "mitigated", "recalibrated"):
        found = getattr(measured, name)
        if found is not None:
            told[name] = score(trained, found.values, targets).row(metric, waited)
            told[name]["rms"] = float(np.sqrt(np.mean((found.values - exact_values) ** 2)))
    if measured.affine is not None:
        told["scale"], told["shift"] = (part.tolist() for part in measured.affine)
    return told
