"""What the counts of a device mean: scores, plain and improved, beside what was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import qnn_jax
from pipelines.trained import Trained
from qnn_jax.errors import InputError
from qnn_jax.mitigation import Affine, Estimate, Readout, estimate, fit_affine, fit_readout
from qnn_jax.runs.ledger import Entry

#: A sign is settled where the score is so many standard errors away from zero.
_SETTLED = 2.5


class Measured(NamedTuple):
    """Expectation values of the same examples from one device, plain and improved."""

    plain: Estimate
    mitigated: Estimate | None
    recalibrated: Estimate | None
    affine: Affine | None
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Estimate:
        """The most that was made of the counts."""
        return self.recalibrated or self.mitigated or self.plain


class Exact:
    """Exact outcomes and values of examples, computed once."""

    def __init__(self, trained: Trained) -> None:
        circuit, weights = trained.circuit, trained.weights
        self._program = jax.jit(
            jax.vmap(lambda inputs: qnn_jax.probabilities(circuit, inputs, weights))
        )
        self._observables = trained.observables

    def outcomes(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities of all outcomes, shape (rows, 2**num_qubits)."""
        found = np.asarray(self._program(inputs), np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def values(self, inputs: np.ndarray) -> np.ndarray:
        """Expectation values, shape (rows, observables)."""
        return estimate(self.outcomes(inputs), self._observables).values


def measure(
    trained: Trained,
    details: Mapping[str, Any],
    counts: np.ndarray,
    states: Sequence[np.ndarray],
    exact_anchors: np.ndarray,
) -> Measured:
    """Expectation values of the test examples: plain, readout inverted, scale and shift undone.

    Args:
        trained: the model.
        details: of the plan in the ledger.
        counts: of all rows, tests before anchors, shape (rows, outcomes).
        states: by copy, counts of the calibration's states; none without readout calibration.
        exact_anchors: exact values of the anchors, shape (anchors, observables).
    """
    copies, tests = details["plan"]["copies"], len(details["test"])
    notes: list[str] = []
    plain = estimate(counts, trained.observables)
    mitigated = affine = None
    # What cannot be improved on is still a result: it has been paid for.
    if states:
        try:
            values, stderr = (np.empty_like(part) for part in plain)
            for copy, found in enumerate(states):
                here = slice(copy, None, copies)
                readout: Readout = fit_readout(found, details["num_qubits"])
                values[here], stderr[here] = estimate(counts[here], trained.observables, readout)
            mitigated = Estimate(values, stderr)
        except InputError as error:
            notes.append(f"Readout errors are not inverted: {error}")
    best = mitigated or plain
    first, anchors = slice(tests), slice(tests, None)
    if len(exact_anchors):
        try:
            affine = fit_affine(_rows(best, anchors), exact_anchors)
        except InputError as error:
            notes.append(f"Scale and shift are not undone: {error}")
    return Measured(
        _rows(plain, first),
        mitigated and _rows(mitigated, first),
        affine and affine.undo(_rows(best, first)),
        affine,
        tuple(notes),
    )


def _rows(found: Estimate, rows: slice) -> Estimate:
    return Estimate(found.values[rows], found.stderr[rows])


def scores(trained: Trained) -> np.ndarray:
    """What a shot with each outcome adds to a two-class decision, shape (2**num_qubits,)."""
    outcomes = np.eye(2**trained.circuit.num_qubits)
    return trained.head(estimate(outcomes, trained.observables).values)[:, 0]


def unsettled_rows(trained: Trained, found: Estimate, shots: int) -> np.ndarray:
    """Rows of a two-class model whose decision is within a few standard errors of turning."""
    at_zero = trained.head(np.zeros((1, found.values.shape[1])))
    slopes = trained.head(np.eye(found.values.shape[1]))[:, 0] - at_zero[0, 0]
    decision = trained.head(found.values)[:, 0]
    # Shots that all agree still leave room for the one that does not.
    stderr = np.maximum(found.stderr, 2 / shots)
    return np.flatnonzero(np.abs(decision) < _SETTLED * np.sqrt(stderr**2 @ slopes**2))


def is_binary(trained: Trained) -> bool:
    """Whether a decision is the sign of one number."""
    one = trained.head(np.zeros((1, len(trained.observables))))
    return trained.task == "fashion" and one.shape[1] == 1


def result(
    trained: Trained,
    details: Mapping[str, Any],
    entries: Sequence[Entry],
    measured: Measured,
    exact_values: np.ndarray,
    waited: float,
) -> dict[str, Any]:
    """What goes into eval-hardware.json."""
    targets = trained.test.targets[np.array(details["test"], int)]
    done = [entry.done or {} for entry in entries]
    calibrations = sorted({line["calibration_date"] for line in done if line["calibration_date"]})
    notes = list(measured.notes)
    if calibrations and calibrations != [details["calibration_date"]]:
        notes.append(
            f"{details['device']} was calibrated on {' and '.join(calibrations)} when it ran, on "
            f"{details['calibration_date']} when this was planned: what is expected follows from "
            "the plan's error rates."
        )

    def expected(score: Mapping[str, Any]) -> dict[str, Any]:
        return {score["metric"]: score["value"], "interval": score["interval"], "seconds": 0.0}

    told: dict[str, Any] = {
        "task": trained.task,
        "device": "simulated" if details["simulated"] else details["device"],
        "backend": details["device"],
        # As the (last) job ran, null where IBM did not tell; and as it was planned.
        "calibration_date": calibrations[-1] if calibrations else None,
        "planned_calibration_date": details["calibration_date"],
        "job_ids": [entry.job or "" for entry in entries],
        "test_count": len(targets),
        "shots": details["plan"]["shots"],
        "stage_shots": details["stage_shots"],
        "notes": notes,
        "executions": sum(
            line.get("executions") or 0 for line in (e.intent or {} for e in entries)
        ),
        "copies": details["plan"]["copies"],
        "recompiled": details["recompiled"],
        "fractional_gates": details["fractional_gates"],
        "places": details["places"],
        "seconds_predicted": details["plan"]["seconds"],
        "seconds_used": [line.get("usage_seconds") for line in done],
        "seconds_waited": [line.get("waited_seconds") for line in done],
        "exact": expected(details["exact"]),
        "shots_only": expected(details["noiseless"]),
        "noisy_simulation": expected(details["expected"]),
    }
    for name in ("plain", "mitigated", "recalibrated"):
        found = getattr(measured, name)
        if found is not None:
            score = trained.score(found.values, targets)
            told[name] = {
                score.metric: score.value,
                "interval": score.interval,
                "seconds": waited,
                "rms": float(np.sqrt(np.mean((found.values - exact_values) ** 2))),
            }
    if measured.affine is not None:
        told["scale"], told["shift"] = (part.tolist() for part in measured.affine)
    return told


_ROWS = {
    "exact": "exact",
    "shots_only": "shots alone, no noise (expected)",
    "noisy_simulation": "device's error rates (expected)",
    "plain": "measured",
    "mitigated": "measured, readout errors inverted",
    "recalibrated": "measured, scale and shift undone",
}


def print_result(trained: Trained, result: Mapping[str, Any]) -> None:
    """Print the table of scores."""
    metric = "mean_l1" if trained.task == "calculator" else "accuracy"
    where = "a SIMULATED " if result["device"] == "simulated" else ""
    shots = f"{result['shots']:,} shots"
    if result["stage_shots"] < result["shots"]:
        shots = f"{result['stage_shots']:,} to {shots}"
    print(
        f"\n{result['test_count']:,} test examples × {shots} on {where}"
        f"{result['backend']} ({metric.replace('_', ' ')}, 95 % interval)"
    )
    for name, words in _ROWS.items():
        if name in result:
            found = result[name]
            low, high = found["interval"]
            error = f"   rms error {found['rms']:.4f}" if "rms" in found else ""
            print(f"  {words:<36} {found[metric]:.4f} ({low:.4f} to {high:.4f}){error}")
    for note in result["notes"]:
        print(note)
