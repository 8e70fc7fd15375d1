"""A trained model: a task with the parameters of its network, for prediction on any executor."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from flax.traverse_util import flatten_dict, unflatten_dict

from qnn_jax.circuits import Circuit, PauliSum
from qnn_jax.circuits.checks import path_of
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.executors import Executor, Expectations, exact
from qnn_jax.executors.executor import checked_executor
from qnn_jax.models.network import HybridNetwork
from qnn_jax.runs import arrays_of, write_json_atomic, write_npz_atomic
from qnn_jax.runs.files import explained, normalised
from qnn_jax.tasks.stored import RESTORE, Seeds, config_of, model_sha256, stored
from qnn_jax.tasks.table import TASKS
from qnn_jax.training.batches import map_batches
from qnn_jax.training.task import HYBRID, Folders, Member, Report, Splits, Task


@dataclass(frozen=True, eq=False)
class Trained:
    """A task, the parameters of its network, and the results of the training.

    Attributes:
        task: the task that was learned.
        params: of its network, in Flax's form.
        summary: the content of summary.json; empty for a model that is not evaluated yet.
        seeds: of its training.
        folders: of its data.

    >>> from qnn_jax.tasks import Calculator, train
    >>> from qnn_jax.configs import LeastSquaresConfig
    >>> training = LeastSquaresConfig(epochs=2, batch_size=32, restarts=2)
    >>> adding = train(Calculator(training=training, baseline_2022=0))
    >>> adding.predict(np.array([[0.25, 0.5]])).shape
    (1,)
    """

    task: Task
    params: Mapping[str, Any]
    summary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seeds: Seeds = Seeds()
    folders: Folders = Folders()

    @property
    def member(self) -> Member:
        """The task's own network among its members."""
        return next(member for member in self.task.members() if member.name == HYBRID)

    @property
    def network(self) -> HybridNetwork:
        """The network."""
        network: Any = self.member.network
        return network

    @property
    def circuit(self) -> Circuit:
        """The network's circuit."""
        return self.network.circuit

    @property
    def observables(self) -> tuple[PauliSum, ...]:
        """The observables that are measured."""
        return self.network.observables

    @property
    def weights(self) -> np.ndarray:
        """The circuit's weights, in radians, shape (num_weights,)."""
        return np.asarray(self.params["quantum"]["weights"])

    def encode(self, inputs: Any) -> np.ndarray:
        """The circuit's inputs for many examples, in radians, shape (count, num_inputs)."""
        return np.asarray(_encode(self.member.network, self.params, jnp.asarray(inputs)))

    def decide(self, expectations: Any) -> np.ndarray:
        """Outputs (count, outputs) of expectation values (count, observables)."""
        values = jnp.asarray(expectations, jnp.result_type(float))
        return np.asarray(_decide(self.member.network, self.params, values))

    def expectations(
        self, inputs: Any, executor: Executor = exact, key: Any = None
    ) -> Expectations:
        """The circuit's expectation values for many examples, from an executor.

        Args:
            inputs: as the task loads them, shape (count, …).
            executor: runs the circuit.
            key: a random key, for executors that draw.
        """
        return self.run(self.encode(inputs), executor, key)

    def run(
        self, circuit_inputs: np.ndarray, executor: Executor = exact, key: Any = None
    ) -> Expectations:
        """The same for the output of `encode`."""
        inputs, weights = jnp.asarray(circuit_inputs), jnp.asarray(self.weights)
        run = checked_executor(executor)
        return run(self.circuit, self.observables, inputs, weights, key)

    def outputs(self, inputs: Any, executor: Executor = exact, key: Any = None) -> np.ndarray:
        """Logits or values, shape (count, outputs)."""
        return self.decide(self.expectations(inputs, executor, key).values)

    def predict(self, inputs: Any, executor: Executor = exact, key: Any = None) -> np.ndarray:
        """Class numbers or values, shape (count,); arguments as in `expectations`."""
        return np.asarray(self.task.metric.predictions(self.outputs(inputs, executor, key)))

    def splits(self, folders: Folders | None = None, report: Report = silent) -> Splits:
        """The training, validation and test data of the model.

        Args:
            folders: of the data; by default those of the training. A loaded run must still have
                its data there, unless they were in the default folder.
            report: called with the progress of their preparation.

        Raises:
            InputError: if the data are in no folder that may be used.
        """
        folders = self.folders if folders is None else folders
        return self.task.load(folders, self.seeds.split, report)

    def save(self, path: Path | str) -> None:
        """Write config.json, weights.npz and summary.json into a folder, which is created.

        Raises:
            InputError: if it cannot be written.
        """
        folder = path_of("path", path)
        with explained(f"make the folder {folder}", "give another path"):
            folder.mkdir(parents=True, exist_ok=True)
        config = config_of(self.task, self.seeds, folder.name, self.folders)
        write_json_atomic(folder / "config.json", config)
        digest = write_npz_atomic(folder / "weights.npz", flat(self.params))
        # Last, because a summary marks the model as complete.
        write_json_atomic(
            folder / "summary.json",
            {
                "task": self.task.name,
                **self.summary,
                "model_sha256": model_sha256(normalised(config), digest),
            },
        )


def load(path: Path | str, task: type[Any] | None = None) -> Trained:
    """Read a trained model from the folder of a finished run or of `Trained.save`.

    Args:
        path: the folder.
        task: the class of its task, if it is not one of qnn_jax's: no name in a file is
            imported.

    Raises:
        InputError: if there is no finished run, a file is damaged or changed, or the weights
            belong to another network.
    """
    known = {**TASKS, **({task.name: task} if task else {})}
    found = stored(path_of("path", path), known)
    arrays = arrays_of(found.weights, found.path / "weights.npz")
    names = {tuple(name.split("/")) for name in arrays}
    trained = None
    if not any(name[:end] in names for name in names for end in range(1, len(name))):
        params: Any = unflatten_dict({tuple(name.split("/")): a for name, a in arrays.items()})
        trained = Trained(found.task, params, found.summary, found.seeds, found.folders)
    if trained is None or not _fits(trained, arrays):
        raise InputError(
            f"File {found.path / 'weights.npz'} must hold the finite weights of the model in "
            f"config.json, but holds others: {RESTORE}."
        )
    return trained


def _fits(trained: Trained, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the circuit and the head accept these parameters; nothing is computed.

    Flax checks the encoder's, because the shape of an example is not in the files.
    """
    weights = arrays.get("quantum/weights")
    if weights is None or weights.shape != (trained.circuit.num_weights,):
        return False
    kinds = (np.float32, np.float64)
    if not all(a.dtype in kinds and np.isfinite(a).all() for a in arrays.values()):
        return False
    values = jax.ShapeDtypeStruct((1, len(trained.observables)), jnp.result_type(float))
    try:
        jax.eval_shape(functools.partial(_decide, trained.member.network), trained.params, values)
    except FlaxError:
        return False
    return True


def flat(params: Any) -> dict[str, np.ndarray]:
    """Parameters by their path: "quantum/weights"."""
    return {"/".join(path): np.asarray(leaf) for path, leaf in flatten_dict(params).items()}


@functools.partial(jax.jit, static_argnums=0)
def _encode(network: Any, params: Any, inputs: Any) -> Any:
    return map_batches(
        lambda batch: network.apply({"params": params}, batch, method="encode"), inputs
    )


@functools.partial(jax.jit, static_argnums=0)
def _decide(network: Any, params: Any, values: Any) -> Any:
    return network.apply({"params": params}, values, method="decide")
