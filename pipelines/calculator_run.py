"""One calculator from its first point to its page: what `make train-calculator` does."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import flax
import jax
import jax.numpy as jnp
import numpy as np

import qnn_jax
from pipelines import command
from pipelines.trained import RESTORE, Rows, Trained, check_shapes, model_sha256
from pipelines.training_run import begin, manifest_of, tell_stopping
from qnn_jax.circuits import zz_feature_map
from qnn_jax.circuits.observables import observables_on
from qnn_jax.errors import TrainingFailedError
from qnn_jax.executor import Executor, exact, sampled
from qnn_jax.models.calculator import (
    OBSERVABLE,
    CircuitRegressor,
    EpochErrors,
    Fit,
    MLPRegressor,
    Regressor,
    errors_of_many,
    fit_points,
    outputs,
    seed_circuit,
    start,
    train_seed_models,
)
from qnn_jax.operations import Operation, operation
from qnn_jax.runs import (
    GracefulStop,
    RunDirectory,
    checkpoints,
    read_as,
    write_json_atomic,
    write_npz_atomic,
)
from qnn_jax.training.statistics import mean_interval

if TYPE_CHECKING:
    from pipelines.train_calculator import CalculatorConfig

#: Mean L1 by epoch that the 2022 project reports for a + b: one run, 50 test samples.
REPORTED = (0.346, 0.209, 0.220, 0.172, 0.164, 0.215, 0.210, 0.189, 0.163, 0.160)
VALIDATION_POINTS, TEST_POINTS, SHOTS = 1_000, 10_000, 4_096
_SHOT_NUMBERS, _SHOT_POINTS = (64, 1_024, 16_384), 250
# What fold_in numbers stand for, so that no two random draws share a key.
_INIT, _TRAIN, _VALIDATION, _TEST, _SEED_MODELS, _SHOTS = range(6)


class Points(NamedTuple):
    """Inputs (count, 2) in the unit square and what the operation makes of them (count,)."""

    inputs: np.ndarray
    targets: np.ndarray


class SeedModels(NamedTuple):
    """The 2022 model, trained many times.

    Attributes:
        params: six weights, gain and bias of each, shape (8, seeds).
        errors: mean L1 on 50 fresh samples after every epoch, shape (epochs, seeds).
        final: mean L1 of each on the test points at the end, shape (seeds,).
        seconds: how long that took, compilation included.
    """

    params: np.ndarray
    errors: np.ndarray
    final: np.ndarray
    seconds: float


class _Errors(TypedDict):
    loss: float | None
    validation_l1: float | None
    validation_l1_median: float | None


class _Row(TypedDict):
    """A line of metrics."""

    circuit: _Errors
    mlp: _Errors
    seconds: float


class _Seconds(TypedDict):
    total: float


class _Told(TypedDict):
    """What of summary.json is told again when a finished run is asked for."""

    test_mean_l1: float
    test_interval: tuple[float, float]
    test_count: int
    operation: str
    test_mean_l1_shots_4096: float
    shots_4096_expected: float
    head_gain: float
    baselines: dict[str, float]
    baseline_intervals: dict[str, tuple[float, float]]
    baseline_parameters: dict[str, int]
    verdict: str
    seconds: _Seconds


class TestPoints(NamedTuple):
    """The 10,000 points of the final number; `name` and `checksum` are for the manifest."""

    points: Points
    name: str
    checksum: str


def draw(seed: int, calculates: Operation, purpose: int, count: int, number: int = 0) -> Points:
    """Uniform points of the unit square; every purpose, and every number in it, has its own."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), purpose), number)
    inputs = np.asarray(jax.random.uniform(key, (count, 2)))
    return Points(inputs, calculates(inputs).astype(np.float32))


def test_points(seed: int, calculates: Operation) -> TestPoints:
    """What no choice may look at."""
    points = draw(seed, calculates, _TEST, TEST_POINTS)
    checksum = hashlib.sha256(points.inputs.tobytes() + points.targets.tobytes()).hexdigest()
    return TestPoints(points, f"{TEST_POINTS:,} points of {calculates.text}", checksum)


def train(
    config: CalculatorConfig, config_json: Mapping[str, Any], not_of_the_run: Sequence[str]
) -> int:
    """Train, evaluate once on the test points, write the run's directory; the exit status."""
    calculates, epochs = operation(config.operation), config.training.epochs
    with RunDirectory.open(
        config.results_dir, config.run, config_json, config.resume, not_of_the_run
    ) as run:
        if run.finished:
            return _tell_finished(run)
        regressors: tuple[Regressor, ...] = regressors_of(config)
        key = jax.random.fold_in(jax.random.key(config.seed), _INIT)
        state = tuple(
            start(one, jax.random.fold_in(key, k), config.model.restarts, calculates.middle)
            for k, one in enumerate(regressors)
        )
        validation = draw(config.seed, calculates, _VALIDATION, VALIDATION_POINTS)
        test = test_points(config.seed, calculates)
        manifest = manifest_of(config.seed, test)
        _introduce(config, calculates, run)

        first_epoch, state, earlier_seconds = begin(run, state, manifest, epochs, _Row)

        setup = command.seconds()
        compile_started = time.monotonic()
        rate = jnp.asarray(config.training.learning_rate, jnp.float32)
        points = functools.partial(
            draw, config.seed, calculates, _TRAIN, config.training.batch_size
        )
        epoch_program = fit_points.lower(regressors, state, *points(0), *validation, rate).compile()
        compile_seconds = time.monotonic() - compile_started
        print(f"Ready after {setup:.1f} s, compiled in {compile_seconds:.1f} s.\n", flush=True)

        epoch_seconds = list(earlier_seconds)
        with GracefulStop(notify=tell_stopping) as stop:
            for epoch in range(first_epoch, epochs):
                epoch_started = time.monotonic()
                state, told = epoch_program(state, *points(epoch), *validation, rate)
                told = jax.tree.map(np.asarray, told)
                epoch_seconds.append(time.monotonic() - epoch_started)
                _stop_at_nan(told[0], epoch, run)
                row = {"circuit": _errors(told[0]), "mlp": _errors(told[1])}
                run.append_metrics(epoch + 1, {**row, "seconds": epoch_seconds[-1]})
                checkpoints.save(
                    run.checkpoints,
                    epoch + 1,
                    state,
                    fingerprint=run.fingerprint,
                    extra={"epoch_seconds": epoch_seconds},
                )
                print(_epoch_line(epoch, epochs, row, epoch_seconds), flush=True)
                if stop.requested:
                    print(
                        f"Saved epoch {epoch + 1} of {epochs}; the same command goes on from "
                        f"there:\n  {command.again()}"
                    )
                    return stop.exit_code
        seed_models = train_seeds(config, calculates, test.points)
        seconds = {"setup": setup, "compile": compile_seconds, "epochs": epoch_seconds}
        earlier = sum(earlier_seconds)
        summary = _finish(
            run,
            config,
            calculates,
            state,
            validation,
            test,
            seed_models,
            manifest,
            seconds,
            earlier,
        )
        _conclude(run.path, summary)
    return 0


def regressors_of(config: CalculatorConfig) -> tuple[CircuitRegressor, MLPRegressor]:
    """The circuit with its head, and a classical network of at least as many parameters."""
    circuit = CircuitRegressor(config.model.circuit(), config.model.weight_bound)
    return circuit, MLPRegressor(max(1, math.ceil((circuit.num_parameters - 1) / 4)))


def train_seeds(config: CalculatorConfig, calculates: Operation, test: Points) -> SeedModels:
    """The 2022 model once for every seed; seconds, so it is not resumed but repeated."""
    began = time.monotonic()
    key = jax.random.fold_in(jax.random.key(config.seed), _SEED_MODELS)
    params, errors = train_seed_models(
        jax.random.split(key, config.seed_models), calculates.expression
    )
    model = CircuitRegressor(seed_circuit(), 1.0)
    final = errors_of_many(model, params, jnp.asarray(test.inputs), jnp.asarray(test.targets))
    arrays = [np.asarray(array) for array in (params, errors, final)]
    return SeedModels(arrays[0], arrays[1], arrays[2], time.monotonic() - began)


def trained_calculator(
    path: Path, config: CalculatorConfig, arrays: Mapping[str, np.ndarray]
) -> Trained:
    """A finished run as evaluation sees it.

    Args:
        path: the run's folder.
        config: what its config.json holds.
        arrays: what its weights.npz holds.

    Raises:
        InputError: where the weights are those of another model.
    """
    calculates, circuit = operation(config.operation), config.model.circuit()
    wanted = {"quantum/weights": (circuit.num_weights,), "head/kernel": (1, 1), "head/bias": (1,)}
    check_shapes(path, wanted, arrays)

    def head(values: np.ndarray) -> np.ndarray:
        return np.asarray(values) @ arrays["head/kernel"] + arrays["head/bias"]

    size = config.training.batch_size
    seen = [
        draw(config.seed, calculates, _TRAIN, size, k) for k in range(config.training.epochs)
    ] or [draw(config.seed, calculates, _TRAIN, size)]
    return Trained(
        task="calculator",
        path=path,
        circuit=circuit,
        observables=observables_on(circuit.num_qubits, OBSERVABLE),
        weights=arrays["quantum/weights"],
        train=Rows(*map(np.concatenate, zip(*seen, strict=True))),
        test=Rows(*test_points(config.seed, calculates).points),
        head=head,
    )


def _finish(
    run: RunDirectory,
    config: CalculatorConfig,
    calculates: Operation,
    state: tuple[Fit, ...],
    validation: Points,
    test: TestPoints,
    seed_models: SeedModels,
    manifest: dict[str, Any],
    seconds: Mapping[str, Any],
    earlier: float,
) -> dict[str, Any]:
    """Choose a restart by validation, evaluate it once, write all that a finished run has."""
    circuit, mlp = regressors_of(config)
    chosen, watched = _best(circuit, state[0], validation)
    network, _ = _best(mlp, state[1], validation)
    weights = {
        "quantum/weights": chosen[:-2],
        "head/kernel": chosen[-2:-1].reshape(1, 1),
        "head/bias": chosen[-1:],
    }
    manifest["weights_sha256"] = write_npz_atomic(run.path / "weights.npz", weights)
    write_json_atomic(run.path / "manifest.json", manifest)
    trained = trained_calculator(run.path, config, weights)
    values = _expectations(exact, trained, trained.test.inputs)
    key = jax.random.fold_in(jax.random.key(config.seed), _SHOTS)
    shots = _expectations(sampled(SHOTS), trained, trained.test.inputs, key)
    ours = trained.score(values, test.points.targets)
    with_shots = trained.score(shots, test.points.targets)
    train_points = Points(*trained.train)
    baselines = {
        "constant": _constant(train_points, test.points),
        "linear_regression": _linear(train_points, test.points),
        "mlp_equal_size": _absolute(mlp, network, test.points),
    }
    final = seed_models.final
    summary: dict[str, Any] = {
        "task": "calculator",
        "model_sha256": model_sha256("calculator", run.fingerprint, manifest["weights_sha256"]),
        "operation": calculates.text,
        "device": "exact statevector simulation",
        "test_mean_l1": ours.value,
        "test_interval": ours.interval,
        "test_mean_l1_shots_4096": with_shots.value,
        "test_interval_shots_4096": with_shots.interval,
        "shots_4096_expected": expected_with_shots(trained, values, SHOTS),
        "head_gain": float(chosen[-2]),
        "head_bias": float(chosen[-1]),
        "test_count": len(test.points.targets),
        "train_count": len(train_points.targets),
        "validation_count": VALIDATION_POINTS,
        "validation_mean_l1": watched,
        "restarts": config.model.restarts,
        "epochs": config.training.epochs,
        "seed": config.seed,
        "parameters": {"classical": 2, "quantum": circuit.num_parameters - 2},
        "seconds": {**seconds, "seed_models": seed_models.seconds},
        "baselines": {
            **{name: float(errors.mean()) for name, errors in baselines.items()},
            "seed_model_median": float(np.median(final)),
        },
        "baseline_intervals": {
            **{name: mean_interval(errors) for name, errors in baselines.items()},
            "seed_model_median": tuple(map(float, np.quantile(final, [0.025, 0.975]))),
        },
        "baseline_parameters": {
            "constant": 1,
            "linear_regression": 3,
            "mlp_equal_size": mlp.num_parameters,
            "seed_model_median": 8,
        },
        "seed_model": _distribution(seed_models, calculates),
        "bounds": bounds(calculates),
        "shots": shot_errors(trained, values, key),
    }
    summary["verdict"] = verdict(summary)
    from pipelines import calculator_figures, calculator_report  # late: matplotlib

    drawn = calculator_figures.draw_all(run, trained, calculates, seed_models, summary)
    summary["seconds"]["total"] = earlier + command.seconds()
    calculator_report.write(run, summary, trained.circuit, drawn)
    # Last of all, because a summary says that the run is finished.
    write_json_atomic(run.path / "summary.json", summary)
    return summary


def expected_with_shots(trained: Trained, values: np.ndarray, shots: int) -> float:
    """The mean |error| that shots should leave: that of a normal law around the exact error.

    A parity of shots scatters by √((1 - <O>²)/shots), the head's gain times as much in the result.
    """
    outputs = trained.head(values)[:, 0]
    gain = abs(trained.head(np.ones((1, 1))) - trained.head(np.zeros((1, 1))))[0, 0]
    sigma = gain * np.sqrt(np.maximum(1 - np.asarray(values, float)[:, 0] ** 2, 1e-12) / shots)
    bias = outputs - trained.test.targets
    ratio = bias / sigma
    error = np.array([math.erf(one / math.sqrt(2)) for one in ratio])
    folded = sigma * math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2) + bias * error
    return float(folded.mean())


def bounds(calculates: Operation) -> dict[str, float]:
    """The least mean L1 of the 2022 circuit: with any observable, and with its own ansatz."""
    from qnn_jax.diagnostics import ansatz_bound, midpoints, representation_bound

    many, some = midpoints(2, 20), midpoints(2, 12)
    found = ansatz_bound(
        seed_circuit(), OBSERVABLE, some, calculates(some), jax.random.key(0), starts=6, steps=200
    )
    return {
        "any_observable": representation_bound(zz_feature_map(2), many, calculates(many)).mean_l1,
        "its_ansatz": found.mean_l1,
    }


def shot_errors(trained: Trained, values: np.ndarray, key: jax.Array) -> dict[str, Any]:
    """Mean L1 by number of shots: drawn on a few test points, and expected over all of them."""
    few = trained.test.inputs[:_SHOT_POINTS], trained.test.targets[:_SHOT_POINTS]
    found: dict[str, Any] = {}
    for number, shots in enumerate(_SHOT_NUMBERS):
        own = jax.random.fold_in(key, number)
        drawn = _expectations(sampled(shots), trained, few[0], own)
        score = trained.score(drawn, few[1])
        expected = expected_with_shots(trained, values, shots)
        found[str(shots)] = {
            "mean_l1": score.value,
            "interval": score.interval,
            "expected": expected,
        }
    return found


def _expectations(
    executor: Executor, trained: Trained, inputs: np.ndarray, key: jax.Array | None = None
) -> np.ndarray:
    arrays = jnp.asarray(inputs), jnp.asarray(trained.weights)
    return np.asarray(executor(trained.circuit, trained.observables, *arrays, key).values)


def _best(regressor: Regressor, fit: Fit, validation: Points) -> tuple[np.ndarray, float]:
    """The restart that validation prefers, and its mean L1 there."""
    found = np.asarray(outputs(regressor, fit.params, jnp.asarray(validation.inputs)))
    errors = np.abs(found - validation.targets).mean(axis=1)
    best = int(np.argmin(np.where(np.isfinite(errors), errors, np.inf)))
    return np.asarray(fit.params[:, best]), float(errors[best])


def _absolute(regressor: Regressor, params: np.ndarray, points: Points) -> np.ndarray:
    found = outputs(regressor, jnp.asarray(params)[:, None], jnp.asarray(points.inputs))
    return np.abs(np.asarray(found)[0] - points.targets)


def _constant(seen: Points, test: Points) -> np.ndarray:
    """The median has the least mean absolute error."""
    return np.asarray(np.abs(test.targets - np.median(seen.targets)))


def _linear(seen: Points, test: Points) -> np.ndarray:
    def columns(points: Points) -> np.ndarray:
        return np.column_stack([points.inputs.astype(float), np.ones(len(points.targets))])

    solution = np.linalg.lstsq(columns(seen), seen.targets.astype(float), rcond=None)[0]
    return np.asarray(np.abs(columns(test) @ solution - test.targets))


def _distribution(seed_models: SeedModels, calculates: Operation) -> dict[str, Any]:
    """What the 2022 model reaches over many seeds, and where its one reported run lies.

    By epoch, and for the percentile, errors are those of 50 samples, as it reported them; the rest
    is that of the test points, without their scatter.
    """
    errors, final = seed_models.errors, seed_models.final
    low, median, high = np.quantile(errors, [0.025, 0.5, 0.975], axis=1)
    found: dict[str, Any] = {
        "seeds": errors.shape[1],
        "median_by_epoch": median.tolist(),
        "low_by_epoch": low.tolist(),
        "high_by_epoch": high.tolist(),
        "median": float(np.median(final)),
        "interval": np.quantile(final, [0.025, 0.975]).tolist(),
        "best": float(final.min()),
        "worst": float(final.max()),
    }
    if calculates.text == "a + b":
        found["reported_by_epoch"] = list(REPORTED)
        found["reported_percentile"] = float(100 * np.mean(errors[-1] < REPORTED[-1]))
    return found


def verdict(summary: Mapping[str, Any]) -> str:
    """What the numbers say, in two sentences."""
    seed, ours = summary["seed_model"], summary["test_mean_l1"]
    place = (
        f"; the 0.160 that it reported, from 50 samples, is at percentile "
        f"{seed['reported_percentile']:.0f} of theirs"
        if "reported_percentile" in seed
        else ""
    )
    ratio = seed["median"] / ours if ours else math.inf
    better = f"{ratio:,.0f} times less" if ratio > 1 else f"{1 / ratio:.1f} times more"
    linear = summary["baselines"]["linear_regression"]
    return (
        f"The model of 2022 errs by {seed['median']:.3f} in the median of {seed['seeds']} seeds "
        f"(95 % of them between {seed['interval'][0]:.3f} and {seed['interval'][1]:.3f}{place}); "
        f"this circuit on the same two qubits errs {better}. No quantum advantage is meant: linear "
        f"regression errs by {linear:.2g}, an MLP of equal size by "
        f"{summary['baselines']['mlp_equal_size']:.2g}."
    )


def _errors(told: EpochErrors) -> dict[str, float]:
    finite = told.validation_l1[np.isfinite(told.validation_l1)]
    best, median = (finite.min(), np.median(finite)) if finite.size else (math.nan, math.nan)
    return {
        "loss": float(np.nanmin(told.loss)) if np.isfinite(told.loss).any() else math.nan,
        "validation_l1": float(best),
        "validation_l1_median": float(median),
    }


def _stop_at_nan(told: EpochErrors, epoch: int, run: RunDirectory) -> None:
    """End the run, before anything of the epoch is saved, if no restart has a finite loss."""
    if np.isfinite(told.loss).any() and np.isfinite(told.validation_l1).any():
        return
    latest = checkpoints.latest(run.checkpoints)
    kept = f"the last good checkpoint is {latest}" if latest else "no epoch was finished before"
    raise TrainingFailedError(
        f"The loss of every restart became {float(told.loss[0])} in epoch {epoch + 1}; {kept}; "
        "train with a smaller --model.weight-bound under another --run name."
    )


def _introduce(
    config: CalculatorConfig,
    calculates: Operation,
    run: RunDirectory,
) -> None:
    circuit, mlp = regressors_of(config)
    versions = f"Python {platform.python_version()}, jax {jax.__version__}, flax {flax.__version__}"
    lines = [
        ("qnn_jax", f"{qnn_jax.__version__} on {versions}"),
        (
            "device",
            f"{jax.default_backend()}, {os.cpu_count()} cores; the circuit is simulated exactly "
            "(statevector, no shots, no noise)",
        ),
        (
            "task",
            f"{calculates.text} for a and b in [0, 1]: {config.training.batch_size} fresh points "
            f"an epoch, {VALIDATION_POINTS:,} validation, {TEST_POINTS:,} test",
        ),
        (
            "model",
            f"(a, b) → circuit of {circuit.circuit.num_qubits} qubits, {len(circuit.circuit.ops)} "
            f"gates, <{OBSERVABLE}> → Linear(1, 1); {config.model.restarts} restarts side by side",
        ),
        ("parameters", f"2 classical + {circuit.circuit.num_weights} quantum"),
        (
            "beside it",
            f"an MLP of {mlp.num_parameters} parameters, and the model of 2022 with "
            f"{config.seed_models} seeds",
        ),
        ("results", f"{run.path}"),
    ]
    print("\n".join(f"{name:<11}{text}" for name, text in lines), flush=True)


def _epoch_line(
    epoch: int, epochs: int, row: Mapping[str, Mapping[str, float]], seconds: list[float]
) -> str:
    left = (epochs - epoch - 1) * float(np.median(seconds[-5:]))
    ours = row["circuit"]
    return (
        f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}   loss {ours['loss']:.1e}   "
        f"mean L1 {ours['validation_l1']:.6f} (median restart "
        f"{ours['validation_l1_median']:.6f}, MLP {row['mlp']['validation_l1']:.6f})   "
        f"{seconds[-1]:.2f} s   {left:.0f} s left"
    )


def _conclude(path: Path, summary: Mapping[str, Any]) -> None:
    low, high = summary["test_interval"]
    print(
        f"\nMean L1 {summary['test_mean_l1']:.6f} on {summary['test_count']:,} points of "
        f"{summary['operation']} that nothing was chosen by (95 % interval {low:.6f} to "
        f"{high:.6f})\nWith 4,096 shots {summary['test_mean_l1_shots_4096']:.4f} (expected "
        f"{summary['shots_4096_expected']:.4f}), head gain {summary['head_gain']:.3f}"
    )
    for name, value in summary["baselines"].items():
        low, high = summary["baseline_intervals"][name]
        print(
            f"{name.replace('_', ' ').capitalize():<18} {value:.2g} ({low:.2g} to {high:.2g}), "
            f"{summary['baseline_parameters'][name]} parameters"
        )
    print(summary["verdict"])
    print(f"{summary['seconds']['total']:.1f} s in all; open {path / 'report.html'}")
    flags = "" if path.name == "calculator" else f" --run {path.name}"
    where = "" if path.parent == Path("results") else f" --results-dir {path.parent}"
    print(f"Next: .venv/bin/python -m pipelines.train_calculator --ask 0.8586 0.4095{flags}{where}")


def _tell_finished(run: RunDirectory) -> int:
    summary = read_as(run.path / "summary.json", _Told, RESTORE)
    assert summary is not None
    print(f"The run {run.path} is finished: this is its result; --no-resume trains it anew.")
    _conclude(run.path, summary)
    return 0
