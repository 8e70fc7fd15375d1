"""A trained run as evaluation sees it: circuit, weights, what goes in, and what comes out means.

Whatever runs a trained circuit (Aer, a quantum computer, a diagnosis) needs no more than this: the
circuit's inputs for every example, computed by the classical part before it, and the head after
it, which turns expectation values into outputs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, get_args

import numpy as np

from qnn_jax.circuits import Circuit, PauliSum
from qnn_jax.errors import InputError
from qnn_jax.runs import arrays_of, fingerprint, from_json, read_as, read_json, read_sealed

if TYPE_CHECKING:
    from pipelines.train_calculator import CalculatorConfig
    from pipelines.train_fashion import FashionConfig

TaskName = Literal["fashion", "calculator"]
#: The command that trains each task.
TRAIN = {"fashion": "make train-fashion", "calculator": "make train-calculator"}
#: What to do about a file of a finished run that has been changed or damaged.
RESTORE = "restore the file, or train the run again with --no-resume"

#: Points of a calculator that are evaluated by default: they could be any number.
POINTS = 1000


class Rows(NamedTuple):
    """Examples as the circuit meets them.

    Attributes:
        inputs: the circuit's inputs, in radians, shape (count, num_inputs).
        targets: labels (integers) or values to be predicted, shape (count,).
    """

    inputs: np.ndarray
    targets: np.ndarray


class Score(NamedTuple):
    """A number with its 95 % interval; `metric` is its name in JSON."""

    metric: Literal["accuracy", "mean_l1"]
    value: float
    interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        task: which pipeline trained it.
        path: its folder.
        circuit: of `weights.size` weights.
        observables: what its head was trained on.
        weights: of the circuit, in radians, shape (num_weights,).
        train: what it was trained on; recalibration takes its anchors from here.
        test: what no choice may look at.
        head: expectation values (count, observables) to outputs (count, outputs): logits of a
            classifier, the predicted number of a calculator.
    """

    task: TaskName
    path: Path
    circuit: Circuit
    observables: tuple[PauliSum, ...]
    weights: np.ndarray
    train: Rows
    test: Rows
    head: Callable[[np.ndarray], np.ndarray]

    def score(self, values: np.ndarray, targets: np.ndarray) -> Score:
        """How good expectation values (count, observables) are for `targets` (count,)."""
        # Late, for the training package loads JAX.
        from qnn_jax.training.statistics import mean_interval, wilson_interval

        outputs = self.head(values)
        if self.task == "calculator":
            errors = np.abs(outputs[:, 0] - targets)
            return Score("mean_l1", float(errors.mean()), mean_interval(errors))
        import jax.numpy as jnp

        from qnn_jax.training import predictions

        right = np.asarray(predictions(jnp.asarray(outputs)) == targets)
        interval = wilson_interval(int(right.sum()), right.size)
        return Score("accuracy", float(right.mean()), interval)


class Finished(NamedTuple):
    """A finished run as its files tell it, before JAX is needed.

    Attributes:
        task: which pipeline trained it.
        path: its folder.
        config: its configuration, checked as the flags are.
        model: `model_sha256` of it.
        weights: the bytes of weights.npz, those of `model`.
    """

    task: TaskName
    path: Path
    config: FashionConfig | CalculatorConfig
    model: str
    weights: bytes

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights by name.

        Raises:
            InputError: where the file is none of ours.
        """
        return arrays_of(self.weights, self.path / "weights.npz")


class _Summary(TypedDict):
    task: str


class _ModelSummary(TypedDict):
    model_sha256: str


def model_sha256(task: TaskName, config_fingerprint: str, weights_sha256: str) -> str:
    """What identifies a trained model: the sha256 of what was trained, how, and with what outcome.

    Args:
        task: which pipeline trained it.
        config_fingerprint: of its configuration without names and folders.
        weights_sha256: of the bytes of weights.npz.
    """
    text = json.dumps([task, config_fingerprint, weights_sha256])
    return hashlib.sha256(text.encode()).hexdigest()


def newest(results_dir: Path) -> dict[TaskName, str]:
    """The name of the newest finished run of each task.

    Raises:
        InputError: where nothing is trained yet.
    """
    found = sorted(results_dir.glob("*/summary.json"), key=lambda path: path.lstat().st_mtime)
    names: dict[TaskName, str] = {}
    for path in found:
        summary = read_as(path, _Summary, RESTORE)
        if summary is not None and (task := _task(summary["task"])):
            names[task] = path.parent.name
    if not names:
        raise InputError(
            f"Argument `--results-dir` must hold a finished run, but {results_dir} has none; train "
            f"one with {' or '.join(TRAIN.values())}."
        )
    return names


def _task(text: str) -> TaskName | None:
    tasks: tuple[TaskName, ...] = get_args(TaskName)
    return next((task for task in tasks if task == text), None)


def finished(results_dir: Path, name: str) -> Finished:
    """A finished run, all of whose files belong together; commands ask before they load JAX.

    Raises:
        InputError: where there is no such run, it is not finished, a file of it is damaged or has
            been changed.
    """
    from pipelines import train_calculator, train_fashion
    from qnn_jax.runs import check_name

    check_name(name)
    path = results_dir / name
    summary = read_as(path / "summary.json", _Summary, RESTORE)
    config_json = read_json(path / "config.json", RESTORE)
    if summary is None or config_json is None:
        there = sorted(found.parent.name for found in results_dir.glob("*/summary.json"))
        raise InputError(
            f"Argument `--run` must name a finished run in {results_dir} "
            f"({', '.join(there) or 'which has none yet'}), but is {name!r}; train one with "
            f"{' or '.join(TRAIN.values())}."
        )
    task = _task(summary["task"])
    if task is None:
        raise InputError(
            f"Argument `--run` must name a run of {' or '.join(TRAIN.values())}, but {path} is one "
            f"of {summary['task']!r}."
        )
    where = path / "config.json"
    config: FashionConfig | CalculatorConfig
    if task == "fashion":
        config = fashion_config(where, config_json)
        settled = fingerprint(config_json, train_fashion.NOT_OF_THE_RUN)
    else:
        config = calculator_config(where, config_json)
        settled = fingerprint(config_json, train_calculator.NOT_OF_THE_RUN)
    weights = read_sealed(path / "weights.npz")
    model = model_sha256(task, settled, hashlib.sha256(weights).hexdigest())
    what = f"File {path / 'summary.json'}"
    told = from_json(_ModelSummary, summary, what, RESTORE)["model_sha256"]
    if told != model:
        raise InputError(
            f"Run {path} must have the config.json and the weights.npz that its summary.json is "
            f"about, but one of them is another (model {told[:12]} there, {model[:12]} now): "
            f"{RESTORE}."
        )
    try:
        if isinstance(config, train_fashion.FashionConfig):
            train_fashion.check(config)
        else:
            train_calculator.check(config)
    except InputError as error:
        raise InputError(f"File {where} cannot be used ({error}): {RESTORE}.") from None
    return Finished(task, path, config, model, weights)


def load(
    results_dir: Path, name: str, data_dir: Path | None = None, manual_dir: Path | None = None
) -> Trained:
    """Read the finished run `results_dir/name` and compute its circuit's inputs.

    Args:
        results_dir: the folder of all runs.
        name: of the run.
        data_dir: where prepared data are kept, as for training.
        manual_dir: the folder with the official archives, as for training.

    Raises:
        InputError: where there is no such run, it is not finished, or its files are damaged, have
            been changed or do not belong together.
    """
    from pipelines.train_fashion import FashionConfig

    run = finished(results_dir, name)
    if isinstance(run.config, FashionConfig):
        return _fashion(run, run.config, data_dir, manual_dir)
    from pipelines.calculator_run import trained_calculator

    return trained_calculator(run.path, run.config, run.arrays())


def fashion_config(path: Path, config_json: Mapping[str, Any]) -> FashionConfig:
    """The configuration that the config.json at `path` holds as `config_json`.

    Raises:
        InputError: where a field is missing, is not known or is of another kind.
    """
    from pipelines.train_fashion import NOT_IN_JSON, OWN_SEEDS, FashionConfig

    flags = {name: value for name, value in config_json.items() if name != "scan"}
    return from_json(
        FashionConfig, flags, f"File {path}", RESTORE, omitted=NOT_IN_JSON, may_miss=OWN_SEEDS
    )


def calculator_config(path: Path, config_json: Mapping[str, Any]) -> CalculatorConfig:
    """As `fashion_config`, of a calculator."""
    from pipelines.train_calculator import NOT_IN_JSON, CalculatorConfig

    return from_json(CalculatorConfig, config_json, f"File {path}", RESTORE, omitted=NOT_IN_JSON)


def _fashion(
    run: Finished, config: FashionConfig, data_dir: Path | None, manual_dir: Path | None
) -> Trained:
    import jax
    from flax.traverse_util import unflatten_dict

    from pipelines.train_fashion import check
    from pipelines.training_run import split
    from qnn_jax.circuits.observables import observables_on
    from qnn_jax.data import load_fashion_mnist, progress_bar
    from qnn_jax.models import HybridClassifier
    from qnn_jax.training import in_batches

    classes = check(config)
    model = HybridClassifier(config.model, len(classes))
    arrays = run.arrays()
    check_shapes(run.path, _shapes(model), arrays)
    params: Any = unflatten_dict({tuple(k.split("/")): v for k, v in arrays.items()})
    with progress_bar() as progress:
        dataset = load_fashion_mnist(
            data_dir or config.data_dir, manual_dir or config.manual_dir, progress
        ).select(classes)
    splits = split(dataset, config.seeds()[-1], config.validation_images, config.train_images)

    @jax.jit
    def encode(images: jax.Array) -> jax.Array:
        return in_batches(
            lambda batch: model.apply({"params": params}, batch, method="encode"), images
        )

    def head(values: np.ndarray) -> np.ndarray:
        dense = params["head"]
        return np.asarray(values) @ dense["kernel"] + dense["bias"]

    circuit = config.model.circuit()
    return Trained(
        task="fashion",
        path=run.path,
        circuit=circuit,
        observables=observables_on(circuit.num_qubits, config.model.labels(len(classes))),
        weights=params["quantum"]["weights"],
        train=Rows(np.asarray(encode(splits.train.images)), np.asarray(splits.train.labels)),
        test=Rows(np.asarray(encode(splits.test.images)), np.asarray(splits.test.labels)),
        head=head,
    )


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of a classifier's parameters by name; nothing of their size is made."""
    import jax
    from flax.traverse_util import flatten_dict

    image = jax.ShapeDtypeStruct((1, 28, 28), np.uint8)
    wanted: Any = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    return {name: tuple(leaf.shape) for name, leaf in flatten_dict(wanted, sep="/").items()}


def check_shapes(
    path: Path, wanted: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray]
) -> None:
    """Refuse weights of another model than that in the run's folder `path`."""
    found = {name: array.shape for name, array in arrays.items()}
    kinds = {np.dtype(np.float32), np.dtype(np.float64)}
    if found != wanted or any(
        array.dtype not in kinds or not np.isfinite(array).all() for array in arrays.values()
    ):
        raise InputError(
            f"File {path / 'weights.npz'} must hold the finite weights of the model in "
            "config.json, but holds others; train the run again with --no-resume."
        )
