"""Continue the training of a model on a noisy executor: in XLA, or on a device job by job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from qnn_jax.circuits import Circuit, Op, x
from qnn_jax.circuits.angles import substitute
from qnn_jax.circuits.checks import at_least, one_of, real
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.executors import Executor
from qnn_jax.executors.executor import checked_executor
from qnn_jax.hardware.twin import DeviceTwin
from qnn_jax.tasks.trained import Trained, load
from qnn_jax.training.task import Splits

#: The tuned models of a run, by row of the evaluation's table.
TUNED_ROWS = ("tuned_published", "tuned_learned", "tuned_device")
#: SPSA: the exponents of its step and perturbation (Spall, IEEE TAC 37, 332, 1992), and the steps
#: during which its step stays near the first.
_STEP_DECAY, _SHIFT_DECAY, _STABLE = 0.602, 0.101, 10


@dataclass(frozen=True)
class Tuning:
    """Settings of a continued training.

    Attributes:
        steps: of Adam, its learning rate falling to zero as a cosine.
        learning_rate: the first one.
        batch_size: training examples of a step, drawn with replacement.
        parts: "circuit" trains the circuit's weights and the head, "all" the encoder as well.
        seed: random seed of the batches.

    Raises:
        InputError: for a number out of range.
    """

    steps: int = 400
    learning_rate: float = 0.01
    batch_size: int = 256
    parts: Literal["circuit", "all"] = "circuit"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)
        real("learning_rate", self.learning_rate, above=0)
        at_least("batch_size", self.batch_size, 1)
        one_of("parts", self.parts, ("circuit", "all"))
        checked_seed("seed", self.seed)


class Tuned(NamedTuple):
    """A model after its continued training.

    Attributes:
        trained: the model.
        losses: of each step, shape (steps,).
    """

    trained: Trained
    losses: np.ndarray


def tune(trained: Trained, splits: Splits, executor: Executor, settings: Tuning) -> Tuned:
    """Continue training through an executor that works under `jax.jit` and `jax.grad`.

    Args:
        trained: the model, which is not changed.
        splits: its data; the training set is used.
        executor: where the circuit runs, for instance that of a `DeviceTwin`.
        settings: of the training.

    Raises:
        InputError: from the executor, if it cannot run the circuit; if the loss is not finite.
    """
    checked_executor(executor)
    train = splits.train
    whole = settings.parts == "all"
    inputs = train.inputs if whole else trained.encode(train.inputs)
    network = trained.member.network
    optimiser = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, settings.steps))

    def loss_of(params: Any, rows: Any, targets: Any, key: Any) -> Any:
        circuit_inputs = rows
        if whole:
            circuit_inputs = network.apply({"params": params}, rows, method="encode")
        weights = params["quantum"]["weights"]
        found = executor(trained.circuit, trained.observables, circuit_inputs, weights, key)
        outputs = network.apply({"params": params}, found.values, method="decide")
        return trained.task.loss(outputs, targets).mean()  # type: ignore[arg-type]

    @jax.jit
    def run(params: Any, inputs: Any, targets: Any, key: Any) -> Any:
        def step(state: Any, number: Any) -> Any:
            params, moments = state
            draw, shots = jax.random.split(jax.random.fold_in(key, number))
            chosen = jax.random.randint(draw, (settings.batch_size,), 0, len(targets))
            value, slopes = jax.value_and_grad(loss_of)(
                params, inputs[chosen], targets[chosen], shots
            )
            # Without encoding, the encoder's gradient is zero and Adam leaves it as it is.
            changes, moments = optimiser.update(slopes, moments)
            return (optax.apply_updates(params, changes), moments), value

        (params, _), losses = jax.lax.scan(
            step, (params, optimiser.init(params)), jnp.arange(settings.steps)
        )
        return params, losses

    start = jax.tree.map(jnp.asarray, trained.params)
    key = jax.random.key(settings.seed)
    params, losses = run(start, jnp.asarray(inputs), jnp.asarray(train.targets), key)
    losses = np.asarray(losses)
    if not np.isfinite(losses).all():
        raise InputError(
            "Argument `learning_rate` must be so small that the loss remains finite, but is "
            f"{settings.learning_rate}."
        )
    return Tuned(replace(trained, params=jax.tree.map(np.asarray, params), summary={}), losses)


def weights_as_inputs(circuit: Circuit) -> Circuit:
    """The same circuit with its weights behind its inputs, so that rows can differ in both."""

    def moved(symbol: Any) -> Any:
        return x[circuit.num_inputs + symbol.index] if symbol.vector == "w" else symbol

    ops = tuple(
        Op(op.gate, op.qubits, tuple(substitute(angle, moved) for angle in op.angles), op.matrix)
        for op in circuit.ops
    )
    return Circuit(circuit.num_qubits, ops, circuit.num_inputs + circuit.num_weights, 0)


def rows_of_models(inputs: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """Rows for `weights_as_inputs`: of each example in turn, one for each model.

    Args:
        inputs: of the circuit, by model, shape (examples, num_inputs).
        weights: by model, shape (num_weights,).
    """
    whole = [
        np.concatenate([own, np.broadcast_to(w, (len(own), len(w)))], 1)
        for own, w in zip(inputs, weights, strict=True)
    ]
    return np.stack(whole, 1).reshape(-1, whole[0].shape[1])


def tune_on_device(
    trained: Trained,
    splits: Splits,
    executor: Executor,
    *,
    jobs: int,
    batch_size: int = 32,
    learning_rate: float = 0.02,
    shift: float = 0.1,
    seed: int = 0,
    tell: Callable[[str], None] = silent,
) -> Tuned:
    """Continue training on a device by SPSA: one job a step, batch × two shifted sets of weights.

    The gradient of the weights is estimated from a random direction (simultaneous perturbation,
    Spall 1992), that of the head is exact at the measured values. With `hardware.device` as the
    executor a repeated call finds its jobs and continues after the last one.

    Args:
        trained: the model, which is not changed.
        splits: its data.
        executor: for concrete arrays.
        jobs: the number of steps.
        batch_size: training examples of a step.
        learning_rate: of the first steps.
        shift: of the weights, in radians.
        seed: random seed of batches and directions.
        tell: called with a line for each step.

    Raises:
        InputError: for a number out of range; from the executor.
    """
    checked_executor(executor)
    at_least("jobs", jobs, 1)
    at_least("batch_size", batch_size, 1)
    rate, size = real("learning_rate", learning_rate, above=0), real("shift", shift, above=0)
    random = np.random.default_rng(checked_seed("seed", seed))
    circuit = weights_as_inputs(trained.circuit)
    encoded, targets = trained.encode(splits.train.inputs), np.asarray(splits.train.targets)
    network, params = trained.member.network, jax.tree.map(np.asarray, dict(trained.params))

    @jax.jit
    @jax.value_and_grad
    def loss_of(params: Any, values: Any, targets: Any) -> Any:
        outputs = network.apply({"params": params}, values, method="decide")
        return trained.task.loss(outputs, targets).mean()  # type: ignore[arg-type]

    losses = []
    for number in range(jobs):
        chosen = random.integers(len(targets), size=batch_size)
        weights = params["quantum"]["weights"]
        direction = random.choice([-1.0, 1.0], weights.shape).astype(weights.dtype)
        by = np.asarray(size / (number + 1) ** _SHIFT_DECAY, weights.dtype)
        rows = rows_of_models([encoded[chosen]] * 2, [weights + by * direction,
                                                      weights - by * direction])  # fmt: skip
        nothing = jnp.zeros(0, weights.dtype)
        found = executor(circuit, trained.observables, jnp.asarray(rows), nothing, None)
        values = np.asarray(found.values)
        (up, slope), (down, other) = (
            loss_of(params, jnp.asarray(values[k::2]), jnp.asarray(targets[chosen])) for k in (0, 1)
        )
        step = rate * (_STABLE / (_STABLE + number)) ** _STEP_DECAY
        params = jax.tree.map(lambda p, a, b, s=step: p - s * (a + b) / 2, params, slope, other)
        along = float(up - down) / float(2 * by)
        params["quantum"] = {
            **params["quantum"],
            "weights": np.asarray(weights - step * along * direction, weights.dtype),
        }
        losses.append(float(up + down) / 2)
        tell(f"job {number + 1}/{jobs}   loss {losses[-1]:.4g}")
    tuned = replace(trained, params=jax.tree.map(np.asarray, params), summary={})
    return Tuned(tuned, np.array(losses))


class TunedModels(NamedTuple):
    """The tuned models of a run.

    Attributes:
        models: by row of `qnn_jax.studies.hardware.ROWS`.
        twin: of the device for which they were tuned.
    """

    models: dict[str, Trained]
    twin: DeviceTwin


def save_tuned(
    trained: Trained, folder: Path, row: str, model: str, twin: DeviceTwin, **summary: Any
) -> None:
    """Save a tuned model under a run's folder, where `tuned_models` finds it.

    `model` is the sha256 of the run's own, and `summary` goes to its summary.json.
    """
    told = {**summary, "tuned_from": model, "twin_sha256": twin.seal}
    replace(trained, summary=told).save(folder / "tuned" / row)


def tuned_models(folder: Path, model: str) -> TunedModels | None:
    """The tuned models of a run; None if there are none.

    Raises:
        InputError: if the run or its device.json has changed since.
    """
    found = {row: folder / "tuned" / row for row in TUNED_ROWS}
    there = {row: path for row, path in found.items() if (path / "summary.json").exists()}
    if not there:
        return None
    twin = DeviceTwin.load(folder / "device.json")
    models = {row: load(path) for row, path in there.items()}
    for row, one in models.items():
        told = one.summary
        if (told.get("tuned_from"), told.get("twin_sha256")) != (model, twin.seal):
            raise InputError(
                f"Folder {there[row]} must hold the run's model, tuned for its device.json, but "
                "one of them has changed since: run `make tune` again, or delete the folder."
            )
    return TunedModels(models, twin)
