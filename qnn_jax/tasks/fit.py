"""Train a task, from its data to a trained model, which is evaluated once on the test examples."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

import qnn_jax
from qnn_jax.circuits import checks
from qnn_jax.configs import ExecutionConfig
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError, LargeAngleWarning, TrainingFailedError
from qnn_jax.models import count_parameters
from qnn_jax.runs import (
    RunDirectory,
    checkpoints,
    differences,
    read_as,
    write_json_atomic,
    write_npz_atomic,
)
from qnn_jax.runs.loop import go_through
from qnn_jax.runs.schema import object_with
from qnn_jax.simulate.angle_table import check_angles
from qnn_jax.simulate.meshes import spread_over
from qnn_jax.stats import mcnemar, p_value, paired_t_test
from qnn_jax.tasks.stored import Seeds, model_sha256
from qnn_jax.tasks.trained import Trained, flat
from qnn_jax.training.batches import in_batches
from qnn_jax.training.epochs import fit_epoch, init_state
from qnn_jax.training.execution import execution, in_words, placed
from qnn_jax.training.task import (
    HYBRID,
    Examples,
    Folders,
    Metric,
    Reference,
    Report,
    Splits,
    Task,
    trained_names,
)

#: Number for fold_in of the seed's key: the shots of the test, if there are any.
_TEST_SHOTS = 101
#: Called with lines of progress.
Tell = Callable[[str], None]


class Outcome(NamedTuple):
    """The result of a trained member on the test examples.

    Attributes:
        outputs: shape (count, outputs).
        of_each: the metric of each example, shape (count,).
        value: its mean.
        interval: the 95 % interval.
    """

    outputs: np.ndarray
    of_each: np.ndarray
    value: float
    interval: tuple[float, float]


class _Manifest(TypedDict):
    versions: dict[str, Any]


class Finished(NamedTuple):
    """The content of a run's page.

    Attributes:
        trained: the model, with its summary.
        splits: the data.
        outcomes: by member.
        rows: of metrics.jsonl, one for each epoch.
        references: models that are not trained by a trainer of this library, by name.
    """

    trained: Trained
    splits: Splits
    outcomes: Mapping[str, Outcome]
    rows: Sequence[Mapping[str, Any]]
    references: Mapping[str, Reference] = MappingProxyType({})


def train(
    task: Task,
    seed: int = 0,
    *,
    order_seed: int | None = None,
    split_seed: int | None = None,
    folders: Folders = Folders(),  # noqa: B008  a frozen value
    run: RunDirectory | None = None,
    tell: Tell = silent,
    track: Callable[[Mapping[str, Any]], None] = silent,
    stop: Callable[[], bool] = lambda: False,
    report: Report = silent,
    publish: Callable[[Finished], None] = silent,
    mesh: Mesh | None = None,
) -> Trained:
    """Train a task's network and its `alongside` twins; evaluate them once.

    Args:
        task: the task to learn.
        seed: random seed of the initial parameters; default of the other seeds.
        order_seed: of the order of the examples, their augmentation and dropout.
        split_seed: of the validation split.
        folders: of the data.
        run: a folder for all results, so that a killed training can resume; None stores nothing.
        tell: called with lines of progress, for instance `print`.
        track: called after every epoch with its row of metrics.jsonl.
        stop: called after every epoch; true stops the training.
        report: called with the progress of the data's preparation.
        publish: writes pages of the results, before the run is marked as finished.
        mesh: devices along axes "data" and "state": samples are spread over the first, the state
            of each over the second; a single axis is the state's. It is no part of the run, which
            resumes on any other.

    Returns:
        The trained model; its `summary` has the metric with its interval, the twins and references.

    Raises:
        InputError: if the task cannot be trained.
        StoppedError: if `stop` returned true.
        TrainingFailedError: if parameters or losses are no longer finite.

    >>> from qnn_jax.configs import LeastSquaresConfig
    >>> from qnn_jax.tasks import Calculator
    >>> training = LeastSquaresConfig(epochs=3, batch_size=64, restarts=8)
    >>> trained = train(Calculator("mean", training=training, baseline_2022=0), seed=1)
    >>> trained.summary["test_mean_l1"] < trained.summary["baselines"]["constant"]
    True
    """
    with _on(mesh):
        began = time.monotonic()
        seeds = Seeds(seed, order_seed, split_seed).checked()
        task.check()
        splits = task.load(folders, seeds.split, report)
        if len(splits.test.targets) < 2:
            raise InputError(
                "Argument `task` must have at least 2 test examples, for a score with its "
                f"interval, but has {len(splits.test.targets)}."
            )
        count = len(splits.train.targets)
        task.trainer.check(count)
        names = trained_names(task)
        for line in introduction(task, splits, names):
            tell(line)
        on_device = jax.tree.map(jnp.asarray, (splits.train, splits.validation))
        key = jax.random.key(seeds.order)
        state = init_state(task, names, jax.random.key(seed), on_device[0].inputs[:1])
        manifest = manifest_of(seed, splits)
        if run is not None:
            keep_manifest(run, manifest, tell)
        setup = time.monotonic() - began
        program = fit_epoch.lower(task, names, state, key, jnp.asarray(0), *on_device).compile()
        compiling = time.monotonic() - began - setup
        tell(f"Ready after {setup:.1f} s, compiled in {compiling:.1f} s.\n")

        def step(epoch: int, state: Any) -> tuple[Any, dict[str, Any]]:
            state, told = program(state, key, jnp.asarray(epoch), *on_device)
            told = jax.tree.map(np.asarray, told)
            for name in names:
                _stop_at_failure(task, name, told[name], epoch, count, run)
            return state, {name: task.trainer.row(told[name], task.metric) for name in names}

        epochs = task.trainer.epochs

        def told(done: int, row: Mapping[str, Any], left: float) -> None:
            tell(epoch_line(task.metric, names, done, epochs, row, left))
            track(row)

        state, rows = go_through(
            run,
            epochs,
            state,
            step,
            tell=told,
            stop=stop,
            restore=lambda tree: jax.tree.map(jnp.asarray, tree),
            kind=object_with({"seconds": float, **dict.fromkeys(names, dict[str, Any])}),
        )
        params = jax.tree.map(np.asarray, task.trainer.parameters(state))
        seconds = {"setup": setup, "compile": compiling, "epochs": [row["seconds"] for row in rows]}
        finished = evaluate(task, params, splits, rows, seeds, folders, seconds, began)
        for warning in large_angles(finished.trained, splits):
            tell(f"Warning: {warning}")
        if run is not None:
            keep(run, finished, manifest, publish)
        return finished.trained


def _on(mesh: Mesh | None) -> AbstractContextManager[Any]:
    """JAX's context for these devices; none for one device."""
    if mesh is None:
        return nullcontext()
    checks.of_type("mesh", mesh, Mesh, "a jax.sharding.Mesh or None")
    return spread_over(mesh).ambient()


def evaluate(
    task: Task,
    params: Mapping[str, Any],
    splits: Splits,
    rows: Sequence[Mapping[str, Any]],
    seeds: Seeds,
    folders: Folders,
    seconds: Mapping[str, Any],
    began: float,
) -> Finished:
    """Evaluate trained members once on the test examples.

    `rows` and `seconds` are of the training, which began at `began` by `time.monotonic`.
    """
    networks = {member.name: placed(task, member).network for member in task.members()}
    key = jax.random.fold_in(jax.random.key(seeds.seed), _TEST_SHOTS)
    outcomes = {
        name: _outcome(task, networks[name], params[name], splits.test, key) for name in params
    }
    metric = task.metric
    trained = Trained(task, params[HYBRID], {}, seeds, folders)
    references = task.references(splits, seeds.seed)
    twins = [name for name in params if name != HYBRID]
    sizes = {name: sum(count_parameters(params[name]).values()) for name in twins}
    sizes |= {name: reference.parameters for name, reference in references.items()}
    others: dict[str, Outcome | Reference] = {name: outcomes[name] for name in twins}
    others |= references
    ours, last = outcomes[HYBRID], rows[-1][HYBRID] if rows else {}
    summary: dict[str, Any] = {
        "task": task.name,
        "classes": splits.class_names,
        "examples": splits.examples,
        "data": splits.name,
        "device": "exact statevector simulation"
        if execution(task) == ExecutionConfig()
        else f"circuit {in_words(execution(task))}",
        "metric": metric.name,
        "better": metric.better,
        f"test_{metric.name}": ours.value,
        "test_interval": ours.interval,
        "test_count": len(splits.test.targets),
        "train_count": len(splits.train.targets),
        "validation_count": len(splits.validation.targets),
        f"validation_{metric.name}": last.get(f"validation_{metric.name}"),
        "epochs": task.trainer.epochs,
        "seed": seeds.seed,
        "parameters": count_parameters(params[HYBRID]),
        "baselines": {name: other.value for name, other in others.items()},
        "baseline_intervals": {name: other.interval for name, other in others.items()},
        "baseline_parameters": sizes,
        "verdict": verdict(task, outcomes, splits.examples),
        **task.details(trained, splits, seeds.seed),
    }
    summary["seconds"] = {**seconds, "total": time.monotonic() - began}
    trained = dataclasses.replace(trained, summary=summary)
    return Finished(trained, splits, outcomes, rows, references)


def large_angles(trained: Trained, splits: Splits) -> list[str]:
    """Warnings of angles that float32 cannot resolve, on the test examples.

    Training itself cannot warn: under jit no values are known.
    """
    features = jnp.asarray(trained.encode(splits.test.inputs))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", LargeAngleWarning)
        check_angles(trained.circuit, features, jnp.asarray(trained.weights))
    return [str(one.message) for one in found]


def keep(
    run: RunDirectory,
    finished: Finished,
    manifest: Mapping[str, Any],
    publish: Callable[[Finished], None] = silent,
) -> None:
    """Write all files of a finished run; summary.json last, since it marks the run as finished."""
    trained = finished.trained
    digest = write_npz_atomic(run.path / "weights.npz", flat(trained.params))
    write_json_atomic(run.path / "manifest.json", {**manifest, "weights_sha256": digest})
    publish(finished)
    model = model_sha256(run.config, digest)
    write_json_atomic(run.path / "summary.json", {**trained.summary, "model_sha256": model})


def keep_manifest(run: RunDirectory, manifest: Mapping[str, Any], tell: Tell) -> None:
    """Write it; for a resumed run, report this and whether it began under other versions."""
    if checkpoints.latest(run.checkpoints) is not None:
        tell(f"Resuming {run.path}.")
        earlier = read_as(run.path / "manifest.json", _Manifest, "delete it")
        if earlier and (changed := differences(earlier["versions"], manifest["versions"])):
            tell(
                f"Warning: this run began under other versions ({'; '.join(changed)}), so its "
                "last bits may differ from an uninterrupted run's."
            )
    write_json_atomic(run.path / "manifest.json", manifest)


def _outcome(task: Task, network: Any, params: Any, test: Examples, key: Any) -> Outcome:
    run = jax.jit(lambda p, x, k: in_batches(network, p, x, k))
    outputs = np.asarray(run(params, test.inputs, key))
    of_each = np.asarray(task.metric.of_each(outputs, test.targets))
    return Outcome(outputs, of_each, float(of_each.mean()), task.metric.interval(of_each))


def _stop_at_failure(
    task: Task,
    name: str,
    told: Mapping[str, Any],
    epoch: int,
    count: int,
    run: RunDirectory | None,
) -> None:
    """End the run, before anything of the epoch is saved, if a number is no longer finite."""
    why = task.trainer.failure(told, epoch, count)
    if why is None:
        return
    latest = None if run is None else checkpoints.latest(run.checkpoints)
    kept = f"the last good checkpoint is {latest}" if latest else "no epoch is saved"
    raise TrainingFailedError(f"Training of {name} failed, because {why}; {kept}.")


class Paired(NamedTuple):
    """A comparison of two models by their scores on the same examples.

    Attributes:
        gain: by how much the first one is better, in the metric's unit.
        amount: the same as text.
        p: of McNemar's exact test of right or wrong (bool), else of Student's.
    """

    gain: float
    amount: str
    p: float


def paired(metric: Metric, mine: np.ndarray, other: np.ndarray) -> Paired:
    """Compare the scores of each example, shape (count,)."""
    gain = metric.sign * metric.scale * (float(mine.mean()) - float(other.mean()))
    if mine.dtype == bool:
        p = mcnemar(int((mine & ~other).sum()), int((~mine & other).sum()))
    else:
        p = paired_t_test(mine, other)
    return Paired(gain, f"{gain:+{metric.difference_form}} {metric.unit}", p)


def verdict(task: Task, outcomes: Mapping[str, Outcome], examples: str) -> str:
    """The circuit's effect on the test score, by a paired test against the first twin."""
    twins = [member for member in task.members() if member.alongside and member.name in outcomes]
    if not twins:
        return "No twin was trained, so this run does not measure the effect of the circuit."
    twin = twins[0]
    hybrid, other = outcomes[HYBRID].of_each, outcomes[twin.name].of_each
    found = paired(task.metric, hybrid, other)
    amount, counts = found.amount, f"Student's paired test of the scores, {p_value(found.p)}"
    if hybrid.dtype == bool:
        counts = (
            f"{(hybrid & ~other).sum()} {examples} only the hybrid got right, "
            f"{(~hybrid & other).sum()} only the twin; exact McNemar test, {p_value(found.p)}"
        )
    if found.p >= 0.05:
        return f"No measurable difference of {twin.worth_of}: {amount} ({counts})."
    better = "better" if found.gain > 0 else "worse"
    return (
        f"With this seed {twin.worth_of} did {better}: {amount} ({counts}); one seed is no proof."
    )


def introduction(task: Task, splits: Splits, names: Sequence[str]) -> list[str]:
    """Description of the training, in lines."""
    hybrid = next(member for member in task.members() if member.name == HYBRID)
    network: Any = hybrid.network
    lines = [
        *where_it_runs(task, f", flax {flax.__version__}", "the circuit is"),
        ("data", str(splits)),
        ("model", hybrid.what),
        (
            "circuit",
            f"{network.circuit.num_qubits} qubits, {len(network.circuit.ops)} gates, "
            f"<{'>, <'.join(map(str, network.observables))}>",
        ),
    ]
    lines += [
        (member.name, f"{member.what}; trained alongside")
        for member in task.members()
        if member.name in names and member.name != HYBRID
    ]
    return [f"{name:<10} {text}" for name, text in lines]


def where_it_runs(task: Task, more: str, circuits: str) -> list[tuple[str, str]]:
    """The first lines of a training: versions, the machine, and where its circuits run."""
    versions = f"{qnn_jax.__version__} on Python {platform.python_version()}, jax {jax.__version__}"
    machine = f"{jax.default_backend()}, {os.cpu_count()} cores"
    return [
        ("qnn_jax", f"{versions}{more}"),
        ("device", f"{machine}; {circuits} {in_words(execution(task))}"),
    ]


def epoch_line(
    metric: Metric,
    names: Sequence[str],
    done: int,
    epochs: int,
    row: Mapping[str, Any],
    left: float,
) -> str:
    """A line for an epoch: loss, validation of every member, seconds and the time left."""
    watched = f"validation_{metric.name}"
    scores = {name: row[name].get(watched) for name in names}
    shown = ", ".join(
        f"{score:{metric.form}} {name}"
        for name, score in scores.items()
        if score is not None and np.isfinite(score)
    )
    validation = f"validation {shown}   " if shown else ""
    return (
        f"epoch {done:>{len(str(epochs))}}/{epochs}   loss {row[HYBRID]['loss']:.4g}   "
        f"{validation}{row['seconds']:.2f} s   {left:.0f} s left"
    )


def manifest_of(seed: int, splits: Splits) -> dict[str, Any]:
    """The versions and the machine, on which a result depends besides its configuration."""
    return {
        "seed": seed,
        "data": {"name": splits.name, "sha256": splits.checksum},
        "versions": {
            "qnn_jax": qnn_jax.__version__,
            "python": platform.python_version(),
            "jax": jax.__version__,
            "flax": flax.__version__,
            "optax": optax.__version__,
            "numpy": np.__version__,
        },
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "cores": os.cpu_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
