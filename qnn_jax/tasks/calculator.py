"""The quantum calculator: two qubits learn a function of two numbers."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypedDict

import numpy as np

from qnn_jax.configs import (
    CalculatorModelConfig,
    ExecutionConfig,
    LeastSquaresConfig,
    check_least_squares,
)
from qnn_jax.errors import InputError
from qnn_jax.operations import MAX_GAIN, Operation, operation
from qnn_jax.runs.files import normalised
from qnn_jax.runs.schema import from_json
from qnn_jax.tasks.defaults import TaskDefaults
from qnn_jax.training.execution import check_execution
from qnn_jax.training.task import (
    HYBRID,
    MEAN_L1,
    Examples,
    Explanation,
    Folders,
    Member,
    Metric,
    Reference,
    Report,
    Result,
    Splits,
    written,
)

#: The observables that the head reads.
OBSERVABLE = "ZZ"
VALIDATION_POINTS, TEST_POINTS = 1_000, 10_000
#: Shots of the second result in summary.json, in addition to the exact one.
SHOTS = 4_096
#: Shots for the error that is sampled on a few points, and predicted for all of them.
SHOT_NUMBERS, SHOT_POINTS = (64, 1_024, 16_384), 250
# Numbers for fold_in of the random seed, so that no two random draws share a key.
_TRAIN, _VALIDATION, _TEST, _BASELINE_2022, _SHOTS = range(1, 6)
#: Mean L1 by epoch that the 2022 project reports for a + b: one run, 50 test samples.
REPORTED_2022 = (0.346, 0.209, 0.220, 0.172, 0.164, 0.215, 0.210, 0.189, 0.163, 0.160)


class _Told(TypedDict):
    """What summary.json has of the head and of the result with shots."""

    test_mean_l1_shots_4096: float
    test_interval_shots_4096: tuple[float, float]
    shots_4096_expected: float
    head_gain: float


@dataclass(frozen=True)
class Calculator(TaskDefaults):
    """Compute a function of two numbers in [0, 1] by a circuit of two qubits with a linear head.

    Attributes:
        operation: add, subtract, multiply, mean, sin-sum, or an expression of a and b.
        points: training points; 0 takes fresh ones for every epoch.
        baseline_2022: how often the model of the 2022 project is trained for comparison, each time
            with other weights and samples.
        model: the circuit.
        training: settings of the trainer.
        execution: where the circuit runs in training.
    """

    operation: str = "add"
    points: int = 0
    baseline_2022: int = 100
    model: CalculatorModelConfig = CalculatorModelConfig()
    training: LeastSquaresConfig = LeastSquaresConfig()
    execution: ExecutionConfig = ExecutionConfig()

    name: ClassVar[str] = "calculator"
    metric: ClassVar[Metric] = MEAN_L1
    numbers: ClassVar[frozenset[str]] = frozenset({"training.learning_rate", "model.weight_bound"})

    @property
    def calculates(self) -> Operation:
        """The operation as an expression."""
        return operation(self.operation)

    @property
    def train_count(self) -> int:
        """Number of training points in all."""
        return self.points or max(1, self.training.epochs) * self.training.batch_size

    def check(self) -> None:
        """Check the settings before JAX loads."""
        self.calculates  # noqa: B018  reading it refuses
        check_execution(self.execution)
        for name, value, least, most in (
            ("model.layers", self.model.layers, 1, 20),
            ("baseline_2022", self.baseline_2022, 0, 100_000),
            ("points", self.points, 0, 1_000_000),
        ):
            if not least <= value <= most:
                raise InputError(
                    f"Argument `{name}` must be between {least} and {most}, but is {value}."
                )
        if not 0 < self.model.weight_bound < math.inf:
            raise InputError(
                "Argument `model.weight_bound` must be above 0 and finite, but is "
                f"{self.model.weight_bound}."
            )
        if not self.points and not self.training.batch_size:
            raise InputError(
                "Argument `batch_size` must be at least 2 where `points` is 0, but is 0."
            )
        check_least_squares(self.training, self.train_count)

    def load(self, folders: Folders, seed: int, report: Report) -> Splits:
        """Uniform points of the unit square; each purpose and each epoch has its own draw."""
        calculates, size = self.calculates, self.training.batch_size
        if self.points:
            train = _draw(seed, calculates, _TRAIN, self.points)
        else:
            epochs = range(max(1, self.training.epochs))
            drawn = [_draw(seed, calculates, _TRAIN, size, epoch) for epoch in epochs]
            train = Examples(*(np.concatenate([part[k] for part in drawn]) for k in range(2)))
        held = self.points or VALIDATION_POINTS
        test = _draw(seed, calculates, _TEST, TEST_POINTS)
        return Splits(
            train,
            _draw(seed, calculates, _VALIDATION, held),
            test,
            calculates.text,
            hashlib.sha256(test.inputs.tobytes() + test.targets.tobytes()).hexdigest(),
            examples="points",
        )

    def sized(self, count: int) -> Calculator:
        """The same task on `count` points in every epoch, with as many to choose a restart by."""
        if count < 2:
            raise InputError(
                "Argument `count` must be at least 2, because points are drawn and there is no "
                f"total number of them, but is {count}."
            )
        training = replace(self.training, batch_size=0)
        return replace(self, points=count, baseline_2022=0, training=training)

    def members(self) -> tuple[Member, ...]:
        """The hybrid and its twins, each with its description."""
        from qnn_jax.models import HybridRegressor, MLPRegressor

        circuit, bound, middle = self.model.circuit(), self.model.weight_bound, self._middle
        separable = circuit.without_entanglement()
        dropped = len(circuit.ops) - len(separable.ops)
        width = max(1, round(circuit.num_weights / 3))
        equal = max(1, math.ceil((circuit.num_weights + 1) / 4))

        def hybrid(circuit: Any) -> HybridRegressor:
            return HybridRegressor(circuit, (OBSERVABLE,), middle, bound, MAX_GAIN)

        return (
            Member(
                HYBRID,
                hybrid(circuit),
                f"the model as is: the circuit of {len(circuit.ops)} gates with "
                f"{circuit.num_weights} weights reads a and b; gain and bias behind it",
            ),
            Member(
                "separable",
                hybrid(separable),
                f"the same without the {dropped} gates on two qubits; all others are kept, and "
                f"{len(separable.unused_weights) or 'none'} of the weights are unused",
                "the entangling gates",
            ),
            Member(
                "frozen",
                hybrid(circuit),
                f"the same circuit, its weights left as drawn (uniform in ±{written(bound)}); gain "
                "and bias train",
                "training the circuit",
                frozen=True,
            ),
            Member(
                "classical",
                MLPRegressor(width, middle, hidden_bias=False),
                f"a layer of {3 * width} weights in place of the circuit (tanh, 2 → {width} → 1, "
                "no bias), and the head's bias",
                "the circuit in place of a classical layer of its size",
            ),
            Member(
                "bypass",
                MLPRegressor(0, middle),
                "nothing in place of the circuit: the head reads a and b, which is linear "
                "regression",
                "the circuit in place of linear regression",
            ),
            Member(
                "mlp_equal_size",
                MLPRegressor(equal, middle),
                f"a classical network of equal size with biases: tanh, 2 → {equal} → 1, "
                f"{4 * equal + 1} parameters",
                "the circuit in place of a classical network of equal size",
                alongside=True,
            ),
        )

    @property
    def _middle(self) -> float:
        return self.calculates.middle

    def references(self, splits: Splits, seed: int) -> Mapping[str, Reference]:
        """The median, linear regression, and the model of the 2022 project."""
        targets = splits.test.targets

        def of(predicted: Any, parameters: int, what: str) -> Reference:
            errors = abs(predicted - targets)
            value, interval = float(errors.mean()), self.metric.interval(errors)
            return Reference(value, interval, parameters, what)

        median, linear = np.median(splits.train.targets), _linear(splits.train, splits.test.inputs)
        references = {
            "constant": of(median, 1, "the median of the training targets"),
            "linear_regression": of(linear, 3, "least squares, in double precision"),
        }
        if self.baseline_2022:
            references["baseline_2022"] = self._reference_2022(splits, seed)
        return references

    def results(self, summary: Mapping[str, Any]) -> tuple[Result, ...]:
        """The result with shots."""
        told = from_json(_Told, normalised(summary), "File summary.json", "train the run again")
        value = told["test_mean_l1_shots_4096"]
        return (
            Result(
                f"{SHOTS:,} shots",
                value,
                told["test_interval_shots_4096"],
                f"With {SHOTS:,} shots {value:.4f} (expected {told['shots_4096_expected']:.4f}), "
                f"head gain {told['head_gain']:.3f}",
            ),
        )

    def explanations(self, trained: Any, splits: Splits) -> tuple[Explanation, ...]:
        """Sections of the run's page that explain the result."""
        from qnn_jax.tasks.calculator_explained import explanations

        return explanations(trained.summary, trained.circuit, self.model.layers)

    def details(self, trained: Any, splits: Splits, seed: int) -> Mapping[str, Any]:
        """Results with shots, the head, and the lowest error that the circuit of 2022 can reach."""
        import jax

        from qnn_jax.executors import sampled

        test, metric = splits.test, self.metric
        key = jax.random.fold_in(jax.random.key(seed), _SHOTS)
        values = np.asarray(trained.expectations(test.inputs).values)
        head = trained.params["head"]
        gain = float(head["kernel"][0, 0])

        def with_shots(shots: int, count: int, key: Any) -> dict[str, Any]:
            outputs = trained.outputs(test.inputs[:count], sampled(shots), key)
            errors = metric.of_each(outputs, test.targets[:count])
            return {
                "mean_l1": float(errors.mean()),
                "interval": metric.interval(errors),
                "expected": expected_with_shots(values, gain, head, test.targets, shots),
            }

        many = with_shots(SHOTS, len(test.targets), key)
        told: dict[str, Any] = {
            "operation": self.calculates.text,
            "test_mean_l1_shots_4096": many["mean_l1"],
            "test_interval_shots_4096": many["interval"],
            "shots_4096_expected": many["expected"],
            "head_gain": gain,
            "head_bias": float(head["bias"][0]),
            "restarts": self.training.restarts,
            "shots": {
                str(shots): with_shots(shots, SHOT_POINTS, jax.random.fold_in(key, number))
                for number, shots in enumerate(SHOT_NUMBERS)
            },
        }
        if self.baseline_2022:
            told["bounds"] = self._bounds()
            told["baseline_2022"] = self._distribution(seed)
        return told

    def _bounds(self) -> dict[str, float]:
        """The least mean L1 of the 2022 circuit: with any observable, and with its own ansatz."""
        import jax

        from qnn_jax.circuits import zz_feature_map
        from qnn_jax.diagnostics import ansatz_bound, midpoints, representation_bound
        from qnn_jax.tasks.baseline_2022 import circuit_2022

        many, some, calculates = midpoints(2, 20), midpoints(2, 12), self.calculates
        found = ansatz_bound(
            circuit_2022(),
            OBSERVABLE,
            some,
            calculates(some),
            jax.random.key(0),
            starts=6,
            steps=200,
        )
        best = representation_bound(zz_feature_map(2), many, calculates(many))
        return {"any_observable": best.mean_l1, "its_ansatz": found.mean_l1}

    def _reference_2022(self, splits: Splits, seed: int) -> Reference:
        """Evaluate the 2022 model over its seeds, and the median seed's predictions."""
        import jax.numpy as jnp

        from qnn_jax.tasks.baseline_2022 import outputs_2022

        params, _, final = _baseline_2022(self.operation, self.baseline_2022, seed)
        points = jnp.asarray(splits.test.inputs.T)
        median = np.argsort(final)[len(final) // 2]
        lanes = jnp.repeat(params[:, median : median + 1], points.shape[1], axis=1)
        low, high = np.quantile(final, [0.025, 0.975])
        return Reference(
            float(np.median(final)),
            (float(low), float(high)),
            8,
            f"ZZ feature map and RealAmplitudes, trained as in 2022: median of {len(final)} seeds, "
            "and the range of 95 % of them",
            np.asarray(outputs_2022(lanes, points)),
        )

    def _distribution(self, seed: int) -> dict[str, Any]:
        """The distribution of the 2022 model over many seeds, and the position of its reported run.

        The errors by epoch and those for the percentile are on 50 samples, as it was reported; the
        others are on the test points, without the scatter of small samples.
        """
        _, errors, final = _baseline_2022(self.operation, self.baseline_2022, seed)
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
        if self.calculates.text == "a + b":
            found["reported_by_epoch"] = list(REPORTED_2022)
            found["reported_percentile"] = float(100 * np.mean(errors[-1] < REPORTED_2022[-1]))
        return found


def _draw(seed: int, calculates: Operation, purpose: int, count: int, number: int = 0) -> Examples:
    """Uniform points of the unit square; each purpose, and each index in it, has its own draw."""
    import jax

    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), purpose), number)
    inputs = np.asarray(jax.random.uniform(key, (count, 2)))
    return Examples(inputs, calculates(inputs).astype(np.float32))


@functools.lru_cache(maxsize=1)
def _baseline_2022(text: str, count: int, seed: int) -> tuple[np.ndarray, ...]:
    """Parameters, errors by epoch and final errors of the 2022 model over its seeds (cached)."""
    import jax

    from qnn_jax.tasks.baseline_2022 import train_as_in_2022

    calculates = operation(text)
    test = _draw(seed, calculates, _TEST, TEST_POINTS)
    key = jax.random.fold_in(jax.random.key(seed), _BASELINE_2022)
    keys = jax.random.split(key, count)
    return train_as_in_2022(keys, calculates.expression, test.inputs, test.targets)


def _linear(train: Examples, inputs: np.ndarray) -> np.ndarray:
    """Linear regression by least squares."""

    def columns(points: np.ndarray) -> np.ndarray:
        return np.column_stack([points.astype(float), np.ones(len(points))])

    solution = np.linalg.lstsq(columns(train.inputs), train.targets.astype(float), rcond=None)[0]
    return np.asarray(columns(inputs) @ solution)


def expected_with_shots(
    values: np.ndarray, gain: float, head: Any, targets: np.ndarray, shots: int
) -> float:
    """The mean |error| expected with shots: that of a normal distribution around the exact error.

    The standard error of a parity is √((1 - <O>²)/shots); the head multiplies it by its gain.
    """
    from scipy.special import erf

    exact = np.asarray(values, float)[:, 0]
    sigma = abs(gain) * np.sqrt(np.maximum(1 - exact**2, 1e-12) / shots)
    bias = gain * exact + float(head["bias"][0]) - targets
    ratio = bias / sigma
    spread = sigma * math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2)
    return float((spread + bias * erf(ratio / math.sqrt(2))).mean())
