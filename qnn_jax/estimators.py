"""Hybrid networks and quantum kernels as estimators of scikit-learn.

    from qnn_jax import QuantumClassifier
    QuantumClassifier(random_state=0).fit(X, y).score(X_test, y_test)

An estimator is thin: it checks and scales what it is given, and trains the same networks with the
same trainer as every task. scikit-learn is an extra: `pip install qnn-jax[sklearn]`.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.model_selection import ParameterGrid, check_cv
from sklearn.utils import check_random_state, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_is_fitted,
    validate_data,
)

from qnn_jax.circuits import (
    Circuit,
    PauliSum,
    angle_encoding,
    checks,
    z_feature_map,
    zz_feature_map,
)
from qnn_jax.configs import ModelConfig, TrainingConfig
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.executors.executor import checked_executor
from qnn_jax.runs import write_bytes_atomic
from qnn_jax.runs.files import explained
from qnn_jax.simulate import kernel_matrix, statevector
from qnn_jax.tasks.features import FeatureTask, Shape, stratified
from qnn_jax.tasks.fit import evaluate
from qnn_jax.tasks.stored import Seeds
from qnn_jax.tasks.tabular import Tabular, as_circuit, probabilities
from qnn_jax.tasks.trained import Trained
from qnn_jax.training.batches import EVALUATION_BATCH, in_batches
from qnn_jax.training.epochs import (
    chosen,
    fit_population_epoch,
    init_population,
    with_numbers,
)
from qnn_jax.training.task import ACCURACY, HYBRID, Examples, Folders, Report, Splits

__all__ = ["QuantumClassifier", "QuantumKernel", "QuantumRegressor", "QuantumSearch"]

#: Circuits by name, from the number of qubits: a feature map and real amplitudes.
_CIRCUITS = {
    "dense_angle": lambda n: _mapped(n, "dense_angle", 1),
    "angle": lambda n: _mapped(n, "angle", 1),
    "reuploading": lambda n: _mapped(n, "angle", 3),
    "zz": lambda n: _mapped(n, "zz", 2),
    "z": lambda n: _mapped(n, "z", 2),
}
#: Feature maps of kernels by name.
_FEATURE_MAPS = {
    "zz": zz_feature_map,
    "z": z_feature_map,
    "angle": angle_encoding,
}
#: Examples of a step where `batch_size` is "auto"; fewer train all at once.
_BATCH = 200
#: Numbers that may differ within one program, by the names that the estimators give them.
_NUMBERS = {
    "learning_rate": "training.learning_rate",
    "weight_decay": "training.weight_decay",
    "feature_scale": "model.feature_scale",
    "weight_bound": "model.weight_bound",
}
#: Least and most qubits where `n_qubits` is "auto": half as many as there are classes.
_AUTO_QUBITS = (4, 8)
#: Circuits of so many qubits are simulated 500 rows at a time, even for a single one.
_SMALL = 8
_MEMBERS = (HYBRID, "separable", "frozen", "classical", "bypass", "linear")


#: scikit-learn reads an estimator's parameters off its `__init__`, and has its own `__repr__`.
_parameters = dataclass(eq=False, repr=False)


@dataclass(frozen=True)
class _Estimated(FeatureTask):
    """What an estimator trains: a task whose data are handed to the trainer as they are."""

    form: Shape
    model: ModelConfig
    training: TrainingConfig
    circuit: str
    observables: tuple[str, ...]
    encoder: Any
    twin: bool = False

    name: ClassVar[str] = "estimator"

    @property
    def shape(self) -> Shape:
        """What the network must know of the data."""
        return self.form

    def load(self, folders: Folders, seed: int, report: Report) -> Splits:
        """Refused: an estimator has no data of its own."""
        raise InputError("An estimator keeps no data; give them to `predict` or `score`.")


class _Data(NamedTuple):
    """What is trained on: scaled, padded with rows of no weight, so that programs are used again.

    There are validation rows only where early stopping watches their loss.
    """

    train: Examples
    validation: Examples


@_parameters
class _Hybrid(BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share."""

    circuit: Any = "dense_angle"
    _: KW_ONLY
    n_qubits: Any = "auto"
    observables: Any = "auto"
    encoder: str = "dense"
    hidden: Sequence[int] = (32,)
    member: str = HYBRID
    feature_scale: float = 1.0
    weight_bound: float = 1.0
    learning_rate: float = 0.02
    weight_decay: float = 1.0
    max_iter: int = 200
    batch_size: Any = "auto"
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    executor: Any = None
    random_state: Any = None

    # What the two kinds do otherwise.

    def _read_targets(self, y: Any, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Targets as the network learns them, weights of the loss, the number of classes."""
        raise NotImplementedError

    def _written(self, name: str, y: np.ndarray) -> np.ndarray:
        """Targets as an .npz file has them."""
        raise NotImplementedError

    def _form(self) -> dict[str, Any]:
        """What a saved run must know of the targets."""
        raise NotImplementedError

    # Training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803
        """Train on features and targets.

        Args:
            X: shape (count, features).
            y: shape (count,).
            sample_weight: how much each row counts, shape (count,): as often as it were there.

        Returns:
            The estimator.

        Raises:
            InputError: where a parameter cannot be; it is a ValueError.
            ValueError: of scikit-learn, for data that cannot be learned.
        """
        self._train([self], X, y, sample_weight)
        return self

    def fit_many(
        self,
        X: Any,  # noqa: N803
        y: Any,
        grid: Mapping[str, Sequence[float]],
        sample_weight: Any = None,
    ) -> list[Any]:
        """Train one estimator for each combination of some numbers, all in one program.

        Args:
            X: shape (count, features).
            y: shape (count,).
            grid: values by the names of parameters: learning_rate, weight_decay, feature_scale,
                weight_bound.
            sample_weight: shape (count,).

        Returns:
            Fitted estimators, in the order of scikit-learn's ParameterGrid.

        Raises:
            InputError: where a parameter cannot be, or is no such number.
        """
        checks.of_type("grid", grid, Mapping, "values by the names of parameters")
        for name in grid:
            checks.one_of("grid", name, tuple(_NUMBERS))
        points = list(ParameterGrid({name: list(values) for name, values in grid.items()}))
        found = [clone(self).set_params(**point) for point in points]
        if self.early_stopping:
            raise InputError(
                "Argument `early_stopping` must be False for estimators that train side by side, "
                "but is True."
            )
        self._train(found, X, y, sample_weight)
        return found

    def _train(self, found: Sequence[Any], X: Any, y: Any, sample_weight: Any) -> None:  # noqa: N803
        """Train estimators that differ in numbers alone, side by side in one program.

        One estimator is trained so as well: its numbers are no part of the program, which so serves
        every learning rate that a search tries.
        """
        prepared = [one._prepare(X, y, sample_weight) for one in found]
        tasks, (_, data, seed) = [task for task, _, _ in prepared], prepared[0]
        task, names = _without_numbers(tasks[0]), (self.member,)
        numbers = _stacked([_numbers_of(one) for one in tasks])
        keys = jnp.repeat(jax.random.key(seed)[None], len(found))
        state = init_population(task, names, keys, numbers, data.train.inputs[:1])
        step, curve, watched = fit_population_epoch, [], []
        best: tuple[float, int, Any] = (math.inf, 0, None)
        for epoch in range(self.max_iter):
            number = jnp.asarray(epoch)
            state, told = step(task, names, state, keys[0], numbers, number, *data)
            # The arguments are checked once: later epochs differ in nothing but their numbers.
            step = cast(Any, fit_population_epoch.jitted)
            curve.append(told[self.member]["losses"].mean(axis=-1))
            if not self.early_stopping:
                continue
            watched.append(float(told[self.member]["validation_loss"][0]))
            if watched[-1] < best[0]:
                params = task.trainer.parameters(state)[self.member]
                best = (watched[-1], epoch, jax.tree.map(np.asarray, params))
            if epoch - best[1] >= self.n_iter_no_change:
                break
        params = task.trainer.parameters(state)[self.member] if best[2] is None else best[2]
        params, curves = jax.tree.map(np.asarray, params), np.asarray(jnp.stack(curve)).T
        for place, one in enumerate(found):
            one.n_iter_, one.loss_curve_ = len(curve), curves[place].tolist()
            if self.early_stopping:
                one.validation_curve_ = watched
            one._keep(tasks[place], jax.tree.map(lambda leaf, at=place: leaf[at], params))

    def _keep(self, task: _Estimated, params: Any) -> None:
        params = jax.tree.map(np.asarray, params)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
            raise TrainingFailedError(
                "Training failed, for parameters became infinite: train with a lower "
                "`learning_rate`."
            )
        self.task_, self.params_ = task, params

    def _prepare(self, X: Any, y: Any, sample_weight: Any) -> tuple[_Estimated, _Data, int]:  # noqa: N803
        X, y = validate_data(  # noqa: N806
            self, X, y, dtype=np.float64, ensure_min_samples=2, y_numeric=not _classifies(self)
        )
        self._check()
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weight.sum():
            raise ValueError("Sample weights must hold a value above zero, but all are zero.")
        X, y, weight = _merged(X, y, weight)  # noqa: N806
        targets, loss_weight, classes = self._read_targets(y, weight)
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(2**31))
        held = np.zeros(0, int)
        if self.early_stopping:
            held = self._held_out(targets, classes, seed)
        rest = np.setdiff1d(np.arange(len(X)), held)
        self._fit_scaling(X[rest], weight[rest])
        count = len(rest)
        size = _BATCH if self.batch_size == "auto" else int(self.batch_size)
        whole = size >= count
        padded = max(16, 1 << (count - 1).bit_length()) if whole else -(-count // 64) * 64
        inputs = self._scaled(X)
        # Their mean is 1: Adam's steps do not depend on it, but decay and its ε would.
        loss_weight = loss_weight / loss_weight[rest].mean()
        train = _padded(inputs[rest], targets[rest], loss_weight[rest], padded)
        validation = Examples(
            jnp.asarray(inputs[held]),
            jnp.asarray(targets[held]),
            jnp.asarray(loss_weight[held], jnp.float32),
        )
        task = self._task(classes, X.shape[1], padded if whole else size)
        return task, _Data(train, validation), seed

    def _held_out(self, targets: np.ndarray, classes: int, seed: int) -> np.ndarray:
        share = checks.real("validation_fraction", self.validation_fraction, above=0, below=1)
        order = stratified(
            targets if classes else np.zeros(len(targets), int), np.random.default_rng(seed)
        )
        held = order[: max(1, round(share * len(targets)))]
        if len(held) > len(targets) - 2:
            raise InputError(
                "Argument `validation_fraction` must leave rows to train on, but is "
                f"{self.validation_fraction} of {len(targets)} rows."
            )
        return cast(np.ndarray, held)

    def _check(self) -> None:
        if not isinstance(self.n_qubits, str) or self.n_qubits != "auto":
            checks.at_least("n_qubits", self.n_qubits, 2)
        checks.one_of("encoder", self.encoder, ("dense", "none"))
        checks.one_of("member", self.member, _MEMBERS)
        checks.at_least("max_iter", self.max_iter, 1)
        if not isinstance(self.batch_size, str) or self.batch_size != "auto":
            checks.at_least("batch_size", self.batch_size, 1)
        checks.flag("early_stopping", self.early_stopping)
        checks.at_least("n_iter_no_change", self.n_iter_no_change, 1)
        if self.executor is not None:
            checked_executor(self.executor)

    def _task(self, classes: int, features: int, batch: int) -> _Estimated:
        given = self.circuit
        name = given if isinstance(given, str) else None
        auto = isinstance(self.n_qubits, str)
        least, most = _AUTO_QUBITS
        n_qubits = min(max(least, -(-classes // 2)), most) if auto else int(self.n_qubits)
        circuit = _circuit(given, n_qubits, _CIRCUITS)
        model = ModelConfig(
            channels=(),
            hidden=tuple(checks.several("hidden", self.hidden, "a sequence of integers")),
            num_qubits=max(2, circuit.num_qubits),  # of one qubit it could build no circuit
            # The ZZ map's products vanish at π; others start best around 0.
            feature_center=math.pi if name in ("zz", "z") else 0.0,
            feature_scale=self.feature_scale,
            weight_bound=self.weight_bound,
            observables="pairs",
        )
        training = TrainingConfig(
            epochs=self.max_iter,
            batch_size=batch,
            learning_rate=self.learning_rate,
            schedule="constant" if self.early_stopping else "cosine",
            weight_decay=self.weight_decay,
            shift=0,
            flip=False,
        )
        labels = self.observables
        labels = () if isinstance(labels, str) and labels == "auto" else labels
        task = _Estimated(
            Shape("classification" if classes else "regression", classes, (features,)),
            model,
            training,
            circuit.to_json(),
            checks.several("observables", labels, "Pauli labels"),
            self.encoder,
        )
        task.check_network()
        task.trainer.check(batch)
        return task

    # Scaling: fitted on the training rows, weighted as they are.

    def _fit_scaling(self, X: np.ndarray, weight: np.ndarray) -> None:  # noqa: N803
        self.mean_ = np.average(X, axis=0, weights=weight)
        spread = np.sqrt(np.average((X - self.mean_) ** 2, axis=0, weights=weight))
        least = 1e-7 * np.maximum(np.abs(self.mean_), 1e-30)
        self.scale_ = np.where(spread > least, spread, 1.0)

    def _scaled(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        with np.errstate(over="ignore"):
            scaled = ((X - self.mean_) / self.scale_).astype(np.float32)
        return np.clip(scaled, -1e6, 1e6)

    # Prediction

    @property
    def trained_(self) -> Trained:
        """The hybrid network as `qnn_jax.tasks` has it: circuit, weights, encode and decide."""
        check_is_fitted(self, "params_")
        if self.member not in (HYBRID, "frozen"):
            raise InputError(
                f"Argument `member` must be {HYBRID!r} or 'frozen' for what needs a circuit, but "
                f"is {self.member!r}."
            )
        return Trained(self.task_, self.params_)

    def save(self, path: Path | str, X: Any, y: Any, X_test: Any, y_test: Any) -> None:  # noqa: N803
        """Write a finished run, as `make train` does of an .npz file with these arrays.

        `qnn_jax.load` reads it, and so do the commands that take `--run`: predict, diagnose,
        eval-aer, eval-hardware. Its data.npz holds the rows, whose training part gives the scaling.

        Args:
            path: of the folder, which is created: `results/NAME` for `--run NAME`.
            X: what was fitted, shape (count, features).
            y: its targets, shape (count,).
            X_test: rows to evaluate on, shape (tested, features).
            y_test: their targets, shape (tested,).

        Raises:
            InputError: where X is not what was fitted, unweighted and without early stopping, or
                the folder cannot be written.
            ValueError: of scikit-learn, for what are no such rows.
        """
        began, params = time.monotonic(), self.trained_.params
        given = self._saved("y", X, y) | {
            f"{name}_test": rows for name, rows in self._saved("y_test", X_test, y_test).items()
        }
        rows = given["x"]
        # The same rows differ by rounding only.
        moved = np.abs(rows.mean(axis=0) - self.mean_) > 1e-6 * self.scale_
        # The scale of a column that does not vary is 1.
        other = (np.abs(rows.std(axis=0) - self.scale_) > 1e-6 * self.scale_) & (self.scale_ != 1)
        if (moved | other).any():
            raise InputError(
                "Argument `X` must be what the estimator was fitted on, all of it and unweighted, "
                "but has another mean or deviation; fit without early stopping and sample weights."
            )
        folder = checks.path_of("path", path).absolute()
        with explained(f"make the folder {folder}", "give another path"):
            folder.mkdir(parents=True, exist_ok=True)
        buffer, file = io.BytesIO(), folder / "data.npz"
        earlier = file.read_bytes() if file.exists() else None
        np.savez(buffer, **given)
        write_bytes_atomic(file, buffer.getvalue())
        mine, count = self.task_, len(rows)
        task = Tabular(
            str(file),
            kind=mine.form.kind,
            validation_share=0.0,
            circuit=mine.circuit,
            observables=mine.observables,
            encoder=mine.encoder,
            twin=False,
            model=mine.model,
            training=replace(mine.training, batch_size=min(mine.training.batch_size, count)),
        )
        try:
            task = replace(task, form=replace(task.found, **self._form()))
        except InputError:
            if earlier is None:
                file.unlink()
            else:
                write_bytes_atomic(file, earlier)
            raise
        splits = task.load(Folders(), 0, silent)
        seconds: dict[str, Any] = {"setup": 0.0, "compile": 0.0, "epochs": []}
        found = evaluate(task, {HYBRID: params}, splits, [], Seeds(), Folders(), seconds, began)
        found.trained.save(folder)

    def _saved(self, name: str, X: Any, y: Any) -> dict[str, Any]:  # noqa: N803
        """Rows and targets as data.npz has them."""
        X, y = validate_data(  # noqa: N806
            self, X, y, dtype=np.float64, reset=False, y_numeric=not _classifies(self)
        )
        return {"x": X, "y": self._written(name, y)}

    def _outputs(self, X: Any) -> np.ndarray:  # noqa: N803
        """What the network says of rows, shape (count, outputs)."""
        check_is_fitted(self, "params_")
        X = validate_data(self, X, dtype=np.float64, reset=False)  # noqa: N806
        scaled, count = self._scaled(X), len(X)
        if self.executor is not None:
            seed = int(check_random_state(self.random_state).randint(2**31))
            run = checked_executor(self.executor)
            return self.trained_.outputs(scaled, run, jax.random.key(seed))
        # Rows of one length whatever their count: one program, and the same bits for a row alone.
        small = self.task_.network_circuit.num_qubits <= _SMALL
        length = EVALUATION_BATCH if small else min(1 << (count - 1).bit_length(), EVALUATION_BATCH)
        padded = -(-count // length) * length
        scaled = np.pad(scaled, ((0, padded - count), (0, 0)))
        task, numbers = _without_numbers(self.task_), _numbers_of(self.task_)
        return np.asarray(_apply(task, self.member, self.params_, numbers, scaled))[:count]

    def score_interval(self, X: Any, y: Any) -> tuple[float, float, float]:  # noqa: N803
        """The mean score on rows that were not trained on, with its 95 % interval.

        Of a classifier the accuracy with Wilson's interval, of a regressor the mean absolute error
        with Student's.
        """
        y = np.asarray(y)
        predicted = self.predict(X)
        each = predicted == y if _classifies(self) else np.abs(predicted - y)
        metric = ACCURACY if _classifies(self) else self.task_.metric
        return float(np.mean(each)), *metric.interval(np.asarray(each))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


def _classifies(estimator: Any) -> bool:
    return isinstance(estimator, ClassifierMixin)


def _numbers_of(task: _Estimated) -> dict[str, float]:
    return {path: attrgetter(path)(task) for path in _NUMBERS.values()}


def _without_numbers(task: _Estimated) -> _Estimated:
    """The same for all estimators that differ in numbers alone: what a program is compiled for."""
    return cast(_Estimated, with_numbers(task, dict.fromkeys(_NUMBERS.values(), 1.0)))


def _stacked(numbers: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return {path: jnp.asarray([one[path] for one in numbers], jnp.float32) for path in numbers[0]}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(
    task: _Estimated, member: str, params: Any, numbers: Mapping[str, Any], inputs: Any
) -> Any:
    (found,) = chosen(with_numbers(task, numbers), (member,))
    return in_batches(found.network, params, inputs)


def _merged(X: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:  # noqa: N803
    """Each row once, with the sum of its weights, in an order of its own; rows of none are out.

    So a weight is exactly how often a row is there, to the last bit.
    """
    X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]  # noqa: N806
    codes = np.unique(y, return_inverse=True)[1]
    rows = np.column_stack([X, codes])
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return X[first], y[first], np.bincount(inverse.ravel(), weights=weight)


def _padded(inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, count: int) -> Examples:
    """Examples with copies of the first behind them that have no weight."""
    more = count - len(inputs)
    return Examples(
        jnp.asarray(np.concatenate([inputs, np.repeat(inputs[:1], more, 0)])),
        jnp.asarray(np.concatenate([targets, np.repeat(targets[:1], more)])),
        jnp.asarray(np.concatenate([weights, np.zeros(more)]), jnp.float32),
    )


def _mapped(n_qubits: int, feature_map: Any, reps: int) -> Circuit:
    config = ModelConfig(num_qubits=n_qubits, feature_map=feature_map, feature_map_reps=reps)
    return config.circuit()


def _circuit(given: Any, n_qubits: int, known: Mapping[str, Any]) -> Circuit:
    """A circuit by name, as a value, or as Qiskit has it."""
    if isinstance(given, str):
        checks.one_of("circuit", given, tuple(known))
        return cast(Circuit, known[given](n_qubits))
    if (circuit := as_circuit(given)) is not None:
        return circuit
    raise InputError(
        f"Argument `circuit` must be a Circuit, a QuantumCircuit or one of {', '.join(known)}, but "
        f"is {checks.shown(given)}."
    )


@_parameters
class QuantumClassifier(ClassifierMixin, _Hybrid):  # type: ignore[misc]
    """Classify with a hybrid network: scaling, Dense layers, a circuit, a linear head.

    Trains by AdamW in single precision. Up to 200 rows train as one batch, so that a row of weight
    2 is exactly one that is there twice.

    Args:
        circuit: "dense_angle" (two features a qubit, then real amplitudes), "angle" (one feature a
            qubit), "reuploading" (that three times), "zz", "z" (Qiskit's feature maps), a
            `Circuit`, or a Qiskit `QuantumCircuit`.
        n_qubits: of a circuit by name. "auto" takes 4; for more than 8 classes half their number,
            but at most 8, so that "dense_angle" has an input for each of up to 16 classes.
        observables: Pauli labels that are measured; "auto" takes all Z and ZZ.
        encoder: "dense" maps the features to the circuit's inputs by Dense layers; "none" lets the
            features themselves enter it, for which it must read as many.
        hidden: widths of the Dense layers in front of the circuit's inputs.
        member: "hybrid", or one of its twins to compare with: "separable", "frozen", "classical",
            "bypass", "linear".
        feature_scale: how far inputs of the circuit reach, in radians.
        weight_bound: circuit weights start uniform in ± this, in radians.
        learning_rate: Adam's, at its highest.
        weight_decay: AdamW's.
        max_iter: passes over the rows.
        batch_size: rows of a step; "auto" is 200, or all where there are fewer.
        early_stopping: hold out a part of the rows, stop when its loss falls no more, and keep the
            parameters that were best on it.
        validation_fraction: of the rows, for early stopping.
        n_iter_no_change: passes without a lower loss before it stops.
        executor: where the circuit runs in predictions, as `qnn_jax.executors.sampled(1024)` or
            `qnn_jax.bridge.aer(1024, "FakeFez")`; by default the exact statevector.
        random_state: seed of the initial parameters and of the order.
        class_weight: weights by class, or "balanced".

    Attributes:
        classes_: the classes.
        task_: what was trained, as `qnn_jax.tasks` has it.
        params_: the network's parameters.
        loss_curve_: the loss of each pass.
        n_iter_: how many passes there were.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> QuantumClassifier(hidden=(), random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    _: KW_ONLY
    weight_decay: float = 0.1
    class_weight: Any = None

    def _read_targets(self, y: Any, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "QuantumClassifier needs rows of at least two classes, but the data have one class "
                f"only: {self.classes_[0]!r}."
            )
        by_class = compute_sample_weight(self.class_weight, y)
        return labels.astype(np.int32), weight * by_class, len(self.classes_)

    def _written(self, name: str, y: np.ndarray) -> np.ndarray:
        if unknown := set(y.tolist()) - set(self.classes_.tolist()):
            raise InputError(
                f"Argument `{name}` must hold classes that the estimator was fitted on, "
                f"{checks.shown(self.classes_.tolist())}, but has {checks.shown(unknown.pop())}."
            )
        return y.astype(str)

    def _form(self) -> dict[str, Any]:
        return {"class_names": tuple(self.classes_.astype(str).tolist())}

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Logits: shape (count,) of two classes, positive for the second; else one a class."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probability of each class, shape (count, classes)."""
        return probabilities(self._outputs(X))

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most probable class of each row, shape (count,)."""
        outputs = self._outputs(X)
        return cast(np.ndarray, self.classes_[ACCURACY.predictions(outputs)])


@_parameters
class QuantumRegressor(RegressorMixin, _Hybrid):  # type: ignore[misc]
    """Regress with a hybrid network; parameters as of `QuantumClassifier`, without class weights.

    `weight_decay` is larger by default, because a network otherwise fits the noise of the targets.
    Targets are scaled to mean 0 and deviation 1 for training.

    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> model = QuantumRegressor("reuploading", n_qubits=2, hidden=(), random_state=0)
    >>> model.fit(X, np.sin(3 * X[:, 0])).score(X, np.sin(3 * X[:, 0])) > 0.9
    True
    """

    def _read_targets(self, y: Any, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        y = np.asarray(y, np.float64)
        self.target_mean_ = float(np.average(y, weights=weight))
        spread = math.sqrt(float(np.average((y - self.target_mean_) ** 2, weights=weight)))
        self.target_scale_ = spread if spread > 1e-30 else 1.0
        targets = ((y - self.target_mean_) / self.target_scale_).astype(np.float32)
        return targets, weight, 0

    def _written(self, name: str, y: np.ndarray) -> np.ndarray:
        return y

    def _form(self) -> dict[str, Any]:
        return {"center": self.target_mean_, "scale": self.target_scale_}

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The value of each row, shape (count,)."""
        outputs = self._outputs(X)[:, 0].astype(np.float64)
        return cast(np.ndarray, self.target_mean_ + self.target_scale_ * outputs)


@_parameters
class QuantumSearch(BaseEstimator):  # type: ignore[misc]
    """Choose numbers of an estimator by cross-validation; each fold trains all as one program.

    What GridSearchCV does with one training after the other. Only numbers can vary: learning_rate,
    weight_decay, feature_scale, weight_bound.

    Args:
        estimator: a QuantumClassifier or a QuantumRegressor.
        grid: values by the names of its parameters.
        cv: folds, as GridSearchCV takes them.

    Attributes:
        best_params_: the numbers of the highest mean score.
        best_score_: that score: accuracy, or R².
        best_estimator_: trained on all rows with them.
        cv_results_: "params", "mean_test_score" and "split_test_scores", shape (folds, points).
    """

    estimator: Any
    grid: Mapping[str, Sequence[float]]
    _: KW_ONLY
    cv: Any = 5

    def fit(self, X: Any, y: Any) -> QuantumSearch:  # noqa: N803
        """Search, and train the best on all rows."""
        checks.of_type("estimator", self.estimator, _Hybrid, "a QuantumClassifier or a regressor")
        X, y = np.asarray(X), np.asarray(y)  # noqa: N806
        folds = check_cv(self.cv, y, classifier=_classifies(self.estimator))
        scores = [
            [
                one.score(X[test], y[test])
                for one in clone(self.estimator).fit_many(X[train], y[train], self.grid)
            ]
            for train, test in folds.split(X, y)
        ]
        points = list(ParameterGrid({name: list(v) for name, v in self.grid.items()}))
        means = np.mean(scores, axis=0)
        self.cv_results_ = {
            "params": points,
            "mean_test_score": means,
            "split_test_scores": np.asarray(scores),
        }
        self.best_index_ = int(np.argmax(means))
        self.best_params_, self.best_score_ = points[self.best_index_], float(means.max())
        self.best_estimator_ = clone(self.estimator).set_params(**self.best_params_).fit(X, y)
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """What the best estimator predicts."""
        check_is_fitted(self, "best_estimator_")
        return cast(np.ndarray, self.best_estimator_.predict(X))

    def score(self, X: Any, y: Any) -> float:  # noqa: N803
        """The best estimator's score."""
        check_is_fitted(self, "best_estimator_")
        return float(self.best_estimator_.score(X, y))


@_parameters
class QuantumKernel(BaseEstimator):  # type: ignore[misc]
    """The fidelity kernel K[i, j] = |<ψ(x_i)|ψ(x_j)>|², a callable for `SVC(kernel=…)`.

    Exact by default. With `shots` each entry is the share of so many measurements that return
    |0…0> after the circuit of x_i and the inverse of that of x_j; with an `executor` that share is
    measured where the executor runs. Where these leave a matrix that is not positive semidefinite,
    its negative eigenvalues are set to zero.

    Args:
        circuit: "zz", "z", "angle", a `Circuit`, or a Qiskit `QuantumCircuit`; it reads as many
            inputs as there are features.
        weights: of the circuit, shape (num_weights,); none of a circuit without weights.
        scale: features are multiplied by it before they are angles, in radians.
        shots: measurements of each entry; None for exact values.
        executor: where the entries are measured, one circuit for each pair of rows; None simulates
            one state for each row.
        project: make a symmetric matrix from shots or an executor positive semidefinite.
        random_state: seed of the shots.
        block_size: rows that are simulated at once.

    >>> from sklearn.svm import SVC
    >>> X = np.array([[0.0, 0.0], [0.1, 0.0], [3.0, 3.0], [3.1, 3.0]])
    >>> SVC(kernel=QuantumKernel("angle")).fit(X, [0, 0, 1, 1]).predict(X).tolist()
    [0, 0, 1, 1]

    References: Havlíček et al., arXiv:1804.11326; training: Hubregtsen et al., arXiv:2105.02276.
    """

    circuit: Any = "zz"
    _: KW_ONLY
    weights: Any = None
    scale: float = 1.0
    shots: int | None = None
    executor: Any = None
    project: bool = True
    random_state: Any = None
    block_size: int = 512

    def __call__(self, X: Any, Y: Any = None) -> np.ndarray:  # noqa: N803
        """The kernel of rows, shape (rows of X, rows of Y); of X with itself where Y is None.

        Raises:
            InputError: where the circuit does not fit the features, or a parameter cannot be.
            ValueError: of scikit-learn, for what are no finite rows.
        """
        X = check_array(X, dtype=np.float64)  # noqa: N806
        other = X if Y is None else check_array(Y, dtype=np.float64)
        same = other.shape == X.shape and bool(np.array_equal(other, X))
        circuit, weights = self._read(X.shape[1])
        if other.shape[1] != X.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features, but Y has {other.shape[1]}; a kernel needs as many."
            )
        scale = checks.real("scale", self.scale)
        left, right = (scale * X).astype(np.float32), (scale * other).astype(np.float32)
        seed = int(check_random_state(self.random_state).randint(2**31))
        if self.executor is not None:
            matrix = self._measured(circuit, left, right, weights, jax.random.key(seed), same)
        else:
            matrix = self._exact(circuit, left, right, weights, same)
        if self.shots is not None:
            shots = checks.at_least("shots", self.shots, 1)
            share = np.clip(matrix, 0, 1)
            matrix = np.random.default_rng(seed).binomial(shots, share) / shots
        if same:
            # Each pair is measured once, and a state with itself not at all.
            upper = np.triu(matrix, 1)
            matrix = upper + upper.T + np.eye(len(matrix))
            if checks.flag("project", self.project) and (self.shots or self.executor is not None):
                matrix = _positive(matrix)
        return matrix

    def _read(self, features: int) -> tuple[Circuit, np.ndarray]:
        if self.shots is not None and self.executor is not None:
            raise InputError(
                "Argument `shots` must be None where an `executor` measures, which has shots of "
                f"its own, but is {checks.shown(self.shots)}."
            )
        circuit = _circuit(self.circuit, features, _FEATURE_MAPS)
        if circuit.num_inputs != features:
            raise InputError(
                f"Argument `circuit` must read {features} inputs, one for each feature, but reads "
                f"{circuit.num_inputs}; reduce the features, for instance by PCA."
            )
        given = np.zeros(0) if self.weights is None else np.asarray(self.weights, float)
        if given.shape != (circuit.num_weights,):
            raise InputError(
                f"Argument `weights` must have shape ({circuit.num_weights},), but has "
                f"{given.shape}; `align` finds weights."
            )
        return circuit, given.astype(np.float32)

    def _exact(
        self, circuit: Circuit, left: np.ndarray, right: np.ndarray, weights: np.ndarray, same: bool
    ) -> np.ndarray:
        """The kernel in blocks: the states of two blocks at a time are all that is in memory."""
        most = checks.at_least("block_size", self.block_size, 1)
        longest = max(len(left), len(right))
        size = min(most, max(1, 1 << (longest - 1).bit_length()))
        matrix = np.empty((len(left), len(right)))
        for i in range(0, len(left), size):
            rows = left[i : i + size]
            states = _states(circuit, _filled(rows, size), weights)
            for j in range(i if same else 0, len(right), size):
                columns = right[j : j + size]
                mine = same and i == j
                others = states if mine else _states(circuit, _filled(columns, size), weights)
                block = np.asarray(_overlaps(states, others))[: len(rows), : len(columns)]
                matrix[i : i + size, j : j + size] = block
        return matrix

    def _measured(
        self,
        circuit: Circuit,
        left: np.ndarray,
        right: np.ndarray,
        weights: np.ndarray,
        key: Any,
        same: bool,
    ) -> np.ndarray:
        """Each entry as the mean of |0…0><0…0| after one circuit and the other's inverse."""
        run = checked_executor(self.executor)
        number = circuit.num_qubits
        if number > _MOST_MEASURED:
            raise InputError(
                f"Argument `executor` must be None for more than {_MOST_MEASURED} qubits, since "
                f"the projector on |0…0> is a sum of 2**qubits Paulis, but there are {number}."
            )
        pair = circuit.then(circuit.inverse().shift_inputs(circuit.num_inputs), weights="shared")
        labels = ("".join(letters) for letters in itertools.product("IZ", repeat=number))
        projector = PauliSum(tuple((label, 2.0**-number) for label in labels))
        if same:
            places = np.array(np.triu_indices(len(left), 1)).T
        else:
            places = np.array(list(np.ndindex(len(left), len(right))))
        matrix = np.zeros((len(left), len(right)))
        if len(places):
            rows = np.concatenate([left[places[:, 0]], right[places[:, 1]]], axis=1)
            found = run(pair, (projector,), jnp.asarray(rows), jnp.asarray(weights), key)
            matrix[places[:, 0], places[:, 1]] = np.asarray(found.values)[:, 0]
        return matrix

    def align(
        self,
        X: Any,  # noqa: N803
        y: Any,
        *,
        steps: int = 50,
        learning_rate: float = 0.1,
        rows: int = 256,
    ) -> QuantumKernel:
        """The same kernel with the weights and the scale of the highest centred alignment found.

        The alignment <K, T> / (‖K‖ ‖T‖) of the centred kernel with the centred ideal kernel T, 1
        within a class and -1/(classes - 1) between two, climbs by Adam on exact values.

        Args:
            X: shape (count, features).
            y: classes, shape (count,).
            steps: of Adam.
            learning_rate: Adam's.
            rows: at most so many, drawn by `random_state`, are used.

        Returns:
            A kernel of its own, with `alignment_`: the alignment before each step and at the end.

        Raises:
            InputError: where a parameter cannot be, or there is one class only.
        """
        X = check_array(X, dtype=np.float64)  # noqa: N806
        checks.at_least("steps", steps, 1)
        checks.real("learning_rate", learning_rate, above=0)
        checks.at_least("rows", rows, 3)
        labels = np.unique(np.asarray(y), return_inverse=True)[1]
        if labels.shape != X.shape[:1]:
            raise ValueError(
                f"y must have shape ({len(X)},), one for each row, but has {labels.shape}."
            )
        rng = check_random_state(self.random_state)
        circuit = _circuit(self.circuit, X.shape[1], _FEATURE_MAPS)
        first = clone(self)
        if self.weights is None and circuit.num_weights:
            first.set_params(weights=rng.uniform(-1, 1, circuit.num_weights))
        first._read(X.shape[1])
        some = np.sort(rng.permutation(len(X))[:rows])
        classes = labels.max() + 1
        if len(np.unique(labels[some])) < 2:
            raise InputError("Argument `y` must have at least two classes, but has one.")
        ideal = np.where(labels[some][:, None] == labels[some], 1.0, -1.0 / (classes - 1))
        start = np.zeros(0) if first.weights is None else first.weights
        params = {
            "weights": jnp.asarray(start, jnp.float32),
            "scale": jnp.asarray(first.scale, jnp.float32),
        }
        optimizer = optax.adam(learning_rate)
        state = optimizer.init(params)
        inputs, target = jnp.asarray(X[some], jnp.float32), jnp.asarray(ideal, jnp.float32)
        curve, best = [], (-math.inf, params)
        for _ in range(steps + 1):
            value, gradient = _alignment(circuit, params, inputs, target)
            curve.append(float(value))
            if curve[-1] > best[0]:
                best = (curve[-1], params)
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        found = cast(QuantumKernel, clone(self))
        found.set_params(scale=float(best[1]["scale"]))
        if circuit.num_weights:
            found.set_params(weights=np.asarray(best[1]["weights"], float))
        found.alignment_ = curve
        return found


#: A projector of more qubits has too many terms to be measured.
_MOST_MEASURED = 10


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    return np.pad(rows, ((0, count - len(rows)), (0, 0)))


@functools.partial(jax.jit, static_argnums=0)
def _states(circuit: Circuit, rows: Any, weights: Any) -> Any:
    return jax.vmap(lambda inputs: statevector(circuit, inputs, weights))(rows)


@jax.jit
def _overlaps(left: Any, right: Any) -> Any:
    # A program of its own, since most of the time to compile goes into the circuit.
    return jnp.square(jnp.abs(left.conj() @ right.T))


@functools.partial(jax.jit, static_argnums=0)
def _alignment(circuit: Circuit, params: Any, inputs: Any, target: Any) -> Any:
    def centred(matrix: Any) -> Any:
        rows = matrix - matrix.mean(axis=0, keepdims=True)
        return rows - rows.mean(axis=1, keepdims=True)

    def value(params: Any) -> Any:
        kernel = centred(kernel_matrix(circuit, params["scale"] * inputs, None, params["weights"]))
        ideal = centred(target)
        # Adam descends.
        return -jnp.sum(kernel * ideal) / (jnp.linalg.norm(kernel) * jnp.linalg.norm(ideal))

    loss, gradient = jax.value_and_grad(value)(params)
    return -loss, gradient


def _positive(matrix: np.ndarray) -> np.ndarray:
    """The nearest positive semidefinite matrix (Higham 1988, doi:10.1016/0024-3795(88)90223-6)."""
    values, vectors = np.linalg.eigh(matrix)
    return cast(np.ndarray, (vectors * np.maximum(values, 0)) @ vectors.T)
