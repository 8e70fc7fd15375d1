"""A trained run as evaluation sees it: circuit, weights, what goes in, and what comes out means.

Whatever runs a trained circuit (Aer, a quantum computer, a diagnosis) needs no more than this: the
circuit's inputs for every example, computed by the classical part before it, and the head after
it, which turns expectation values into outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from qnn_jax.circuits import Circuit, PauliSum
from qnn_jax.errors import InputError
from qnn_jax.runs import read_json, read_npz

if TYPE_CHECKING:
    from pipelines.train_fashion import FashionConfig

TaskName = Literal["fashion", "calculator"]
#: The command that trains each task.
TRAIN = {"fashion": "make train-fashion", "calculator": "make train-calculator"}


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


def newest(results_dir: Path) -> dict[TaskName, str]:
    """The name of the newest finished run of each task.

    Raises:
        InputError: where nothing is trained yet.
    """
    found = sorted(results_dir.glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
    names: dict[TaskName, str] = {}
    for path in found:
        task = (read_json(path) or {}).get("task")
        if task in TRAIN:
            names[task] = path.parent.name
    if not names:
        raise InputError(
            f"Argument `--results-dir` must hold a finished run, but {results_dir} has none; train "
            f"one with {' or '.join(TRAIN.values())}."
        )
    return names


def finished(results_dir: Path, name: str) -> tuple[TaskName, dict[str, Any]]:
    """The task and the configuration of a finished run; commands ask before they load JAX.

    Raises:
        InputError: where there is no such run, or it is not finished.
    """
    path = results_dir / name
    summary, config = read_json(path / "summary.json"), read_json(path / "config.json")
    if summary is None or config is None:
        there = sorted(found.parent.name for found in results_dir.glob("*/summary.json"))
        raise InputError(
            f"Argument `--run` must name a finished run in {results_dir} "
            f"({', '.join(there) or 'which has none yet'}), but is {name!r}; train one with "
            f"{' or '.join(TRAIN.values())}."
        )
    task = summary.get("task")
    if task not in TRAIN:
        raise InputError(
            f"Argument `--run` must name a run of {' or '.join(TRAIN.values())}, but {path} is one "
            f"of {task!r}."
        )
    return task, config


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
        InputError: where there is no such run, it is not finished, or its weights are damaged or
            those of another model.
    """
    path, task, config = results_dir / name, *finished(results_dir, name)
    arrays = read_npz(path / "weights.npz")
    if task == "calculator":
        from pipelines.calculator_run import trained_calculator

        return trained_calculator(path, config, arrays)
    return _fashion(path, config, arrays, data_dir, manual_dir)


def fashion_config(config: Mapping[str, Any]) -> FashionConfig:
    """The configuration that config.json holds as JSON."""
    from pipelines.train_fashion import FashionConfig
    from qnn_jax.configs import ModelConfig, TrainingConfig

    def tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}

    whole = tuples(config)
    whole["model"] = ModelConfig(**tuples(whole["model"]))
    whole["training"] = TrainingConfig(**tuples(whole["training"]))
    for folder in ("data_dir", "manual_dir"):
        whole[folder] = whole[folder] and Path(whole[folder])
    return FashionConfig(**whole)


def _fashion(
    path: Path,
    config_json: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    data_dir: Path | None,
    manual_dir: Path | None,
) -> Trained:
    import jax
    from flax.traverse_util import unflatten_dict

    from pipelines.train_fashion import check
    from pipelines.training_run import split
    from qnn_jax.circuits.observables import observables_on
    from qnn_jax.data import load_fashion_mnist, progress_bar
    from qnn_jax.models import HybridClassifier
    from qnn_jax.training import in_batches

    config = fashion_config(config_json)
    classes = check(config)
    model = HybridClassifier(config.model, len(classes))
    params: Any = unflatten_dict({tuple(k.split("/")): v for k, v in arrays.items()})
    with progress_bar() as progress:
        dataset = load_fashion_mnist(
            data_dir or config.data_dir, manual_dir or config.manual_dir, progress
        ).select(classes)
    splits = split(dataset, config.seeds()[-1], config.validation_images, config.train_images)
    _check_shapes(path, model, params, splits.test.images[:1])

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
        path=path,
        circuit=circuit,
        observables=observables_on(circuit.num_qubits, config.model.labels(len(classes))),
        weights=params["quantum"]["weights"],
        train=Rows(np.asarray(encode(splits.train.images)), np.asarray(splits.train.labels)),
        test=Rows(np.asarray(encode(splits.test.images)), np.asarray(splits.test.labels)),
        head=head,
    )


def _check_shapes(path: Path, model: Any, params: Any, images: Any) -> None:
    """Refuse weights of another model."""
    import jax

    wanted = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    shapes = [jax.tree.map(lambda leaf: tuple(leaf.shape), tree) for tree in (wanted, params)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"File {path / 'weights.npz'} must hold the weights of the model in config.json, but "
            "holds those of another one; train the run again with --no-resume."
        )
