"""One training run from data to report: what `make train-fashion` does once its flags are read."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypedDict

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

import qnn_jax
from pipelines import command
from pipelines.trained import RESTORE, model_sha256
from qnn_jax.data import ImageDataset, load_fashion_mnist, progress_bar
from qnn_jax.errors import InputError, LargeAngleWarning, TrainingFailedError
from qnn_jax.models import HybridClassifier, count_parameters, twin_width
from qnn_jax.runs import (
    GracefulStop,
    RunDirectory,
    checkpoints,
    differences,
    read_as,
    write_json_atomic,
    write_npz_atomic,
)
from qnn_jax.simulate.angle_table import check_angles
from qnn_jax.training import (
    EpochMetrics,
    Examples,
    State,
    Task,
    all_logits,
    check_training,
    fit_epoch,
    in_batches,
    init_state,
    predictions,
    wilson_interval,
)

if TYPE_CHECKING:
    from pipelines.train_fashion import FashionConfig

HYBRID, TWIN = "hybrid", "classical_twin"
_SPLIT = 7  # the fold_in number of the validation split


class Data(Protocol):
    """What a manifest says of data."""

    @property
    def name(self) -> str:
        """How people call them."""
        ...

    @property
    def checksum(self) -> str:
        """The sha256 of their bytes."""
        ...


class Splits(NamedTuple):
    """The images of a run: to train on, to watch it by, and for the final number only."""

    train: Examples
    validation: Examples
    test: Examples


class Epochs(TypedDict):
    """What a checkpoint holds beside a state: the seconds that each finished epoch took."""

    epoch_seconds: list[float]


class _Metrics(TypedDict):
    loss: float | None
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    gradient_norm: float | None


class _Row(TypedDict):
    """A line of metrics."""

    hybrid: _Metrics
    seconds: float


class _TwinRow(_Row):
    """A line of metrics where the twin trains alongside."""

    classical_twin: _Metrics


class _Manifest(TypedDict):
    versions: dict[str, str]


class _Seconds(TypedDict):
    total: float


class _Told(TypedDict):
    """What of summary.json is told again when a finished run is asked for."""

    test_accuracy: float
    test_interval: tuple[float, float]
    test_count: int
    baselines: dict[str, float]
    baseline_intervals: dict[str, tuple[float, float]]
    verdict: str
    seconds: _Seconds


class Outcome(NamedTuple):
    """What a trained member did on the test images.

    Attributes:
        logits: shape (test images, logits).
        right: whether each prediction was right, shape (test images,).
        accuracy: the share that was.
        interval: its 95 % interval (Wilson).
    """

    logits: np.ndarray
    right: np.ndarray
    accuracy: float
    interval: tuple[float, float]


def train(
    config: FashionConfig,
    classes: tuple[int, ...],
    config_json: Mapping[str, Any],
    not_of_the_run: Sequence[str],
) -> int:
    """Train, evaluate once on the test images, write the run's directory; the exit status."""
    with progress_bar() as progress:
        dataset = load_fashion_mnist(config.data_dir, config.manual_dir, progress).select(classes)
    seed, order_seed, split_seed = config.seeds()
    splits = split(dataset, split_seed, config.validation_images, config.train_images)
    train_count = splits.train.labels.size
    check_training(config.training, train_count)
    with RunDirectory.open(
        config.results_dir, config.run, config_json, config.resume, not_of_the_run
    ) as run:
        if run.finished:
            return _tell_finished(run, config)
        members = members_of(config, len(classes))
        task = Task.of(members, config.training, train_count)
        key = jax.random.key(order_seed)
        state = init_state(task, jax.random.key(seed), splits.train.images)
        parameters = count_parameters(state.params[HYBRID])
        manifest = manifest_of(config.seed, dataset)
        _introduce(config, dataset, splits, parameters, state, run)

        first_epoch, state, earlier_seconds = begin(
            run, state, manifest, config.training.epochs, _TwinRow if config.twin else _Row
        )

        setup = command.seconds()
        compile_started = time.monotonic()
        epoch_program = fit_epoch.lower(
            task, state, key, jnp.asarray(0), splits.train, splits.validation
        ).compile()
        compile_seconds = time.monotonic() - compile_started
        print(f"Ready after {setup:.1f} s, compiled in {compile_seconds:.1f} s.\n", flush=True)

        epoch_seconds = list(earlier_seconds)
        schedule = task.schedule()
        with GracefulStop(notify=tell_stopping) as stop:
            for epoch in range(first_epoch, config.training.epochs):
                epoch_started = time.monotonic()
                state, metrics = epoch_program(
                    state, key, jnp.asarray(epoch), splits.train, splits.validation
                )
                metrics = jax.tree.map(np.asarray, metrics)
                epoch_seconds.append(time.monotonic() - epoch_started)
                for name in members:
                    _stop_at_nan(name, metrics, splits, epoch, task.steps, schedule, run)
                row: dict[str, Any] = {
                    name: {
                        "loss": metrics.losses[name].mean(),
                        "accuracy": metrics.accuracy[name],
                        "validation_loss": metrics.validation_loss[name],
                        "validation_accuracy": metrics.validation_accuracy[name],
                        "gradient_norm": metrics.gradient_norm[name],
                    }
                    for name in members
                }
                row["learning_rate"] = float(schedule(task.steps * (epoch + 1) - 1))
                row["seconds"] = epoch_seconds[-1]
                run.append_metrics(epoch + 1, row)
                checkpoints.save(
                    run.checkpoints,
                    epoch + 1,
                    state,
                    fingerprint=run.fingerprint,
                    extra={"epoch_seconds": epoch_seconds},
                )
                print(_epoch_line(epoch, config.training.epochs, row, epoch_seconds), flush=True)
                if stop.requested:
                    print(
                        f"Saved epoch {epoch + 1} of {config.training.epochs}; the same command "
                        f"goes on from there:\n  {command.again()}"
                    )
                    return stop.exit_code

        seconds = {"setup": setup, "compile": compile_seconds, "epochs": epoch_seconds}
        summary = finish(
            run,
            config,
            dataset,
            splits,
            members,
            state.params,
            manifest,
            seconds,
            sum(earlier_seconds),
        )
        _conclude(run.path, config, summary)
    return 0


def members_of(config: FashionConfig, num_classes: int) -> dict[str, HybridClassifier]:
    """What a run trains: the hybrid, and its twin where it is wanted."""
    members = {HYBRID: HybridClassifier(config.model, num_classes)}
    if config.twin:
        members[TWIN] = HybridClassifier(config.model, num_classes, "classical")
    return members


def finish(
    run: RunDirectory,
    config: FashionConfig,
    dataset: ImageDataset,
    splits: Splits,
    members: Mapping[str, HybridClassifier],
    params: Mapping[str, Any],
    manifest: dict[str, Any],
    seconds: Mapping[str, Any],
    earlier: float,
) -> dict[str, Any]:
    """Evaluate once on the test images and write all that a finished run has; its summary.

    Args:
        run: its directory, with the metrics of all epochs.
        config: of the run.
        dataset: the chosen classes.
        splits: what it was trained and watched on, and the test images.
        members: the models.
        params: theirs, by name.
        manifest: written with the sha256 of the weights.
        seconds: setup, compile and epochs; the total is added.
        earlier: seconds of commands before this one that the run goes on from.
    """
    outcomes = {name: _outcome(model, params[name], splits.test) for name, model in members.items()}
    warn_of_large_angles(members[HYBRID], params[HYBRID], splits.test.images)
    manifest["weights_sha256"] = write_npz_atomic(run.path / "weights.npz", _flat(params[HYBRID]))
    write_json_atomic(run.path / "manifest.json", manifest)
    from pipelines import figures, report  # late: matplotlib would delay the first epoch

    drawn = figures.draw_all(
        run, members[HYBRID], params[HYBRID], outcomes, splits.test, dataset.class_names
    )
    twins = [name for name in members if name != HYBRID]
    summary = {
        "task": "fashion",
        "model_sha256": model_sha256("fashion", run.fingerprint, manifest["weights_sha256"]),
        "classes": dataset.class_names,
        "device": "exact statevector simulation",
        "test_accuracy": outcomes[HYBRID].accuracy,
        "test_interval": outcomes[HYBRID].interval,
        "test_count": int(splits.test.labels.size),
        "train_count": int(splits.train.labels.size),
        "validation_count": int(splits.validation.labels.size),
        "validation_accuracy": _last(run, "validation_accuracy"),
        "epochs": config.training.epochs,
        "seed": config.seed,
        "parameters": count_parameters(params[HYBRID]),
        "seconds": {**seconds, "total": earlier + command.seconds()},
        "baselines": {name: outcomes[name].accuracy for name in twins},
        "baseline_intervals": {name: outcomes[name].interval for name in twins},
        "baseline_parameters": {
            name: count_parameters(params[name])["classical"] for name in twins
        },
        "verdict": _verdict(outcomes),
    }
    report.write(run, summary, config.model.circuit(), drawn)
    # Last of all, because a summary says that the run is finished.
    write_json_atomic(run.path / "summary.json", summary)
    return summary


def begin(
    run: RunDirectory, state: Any, manifest: Mapping[str, Any], epochs: int, row: type[Any]
) -> tuple[int, Any, list[float]]:
    """Go on from the latest checkpoint, if there is one, and write the manifest.

    Args:
        run: its directory.
        state: an initial one, whose structure the checkpoint's must have.
        manifest: of this process.
        epochs: how many are wanted in all.
        row: what a line of metrics must be.

    Returns:
        How many epochs are finished, the state after them, and the seconds that each one took.
    """
    finished, seconds = 0, list[float]()
    if (latest := checkpoints.latest(run.checkpoints)) is not None:
        found = checkpoints.load(latest, state, fingerprint=run.fingerprint, extra=Epochs)
        finished, state = found.epoch, jax.tree.map(jnp.asarray, found.tree)
        seconds = found.extra["epoch_seconds"]
        run.read_metrics(row)
        run.truncate_metrics(finished)
        print(f"Resuming after epoch {finished} of {epochs}.")
        warn_of_other_versions(run.path, manifest)
    write_json_atomic(run.path / "manifest.json", manifest)
    return finished, state, seconds


def split(dataset: ImageDataset, seed: int, validation_count: int, train_count: int) -> Splits:
    """Shuffle the training images by the seed and split them; the test images stay whole.

    Args:
        dataset: the chosen classes.
        seed: of the run.
        validation_count: images to keep out of training.
        train_count: images to train on, as many of each class; 0 takes all that are left.

    Raises:
        InputError: where there are not that many images.
    """
    labels = dataset.train_labels
    available = len(labels) - validation_count
    if available < 1:
        raise InputError(
            f"Argument `--validation-images` must be below {len(labels)}, the number of images "
            f"to train and validate on, but is {validation_count}."
        )
    order = np.asarray(
        jax.random.permutation(jax.random.fold_in(jax.random.key(seed), _SPLIT), len(labels))
    )
    validation, rest = order[:validation_count], order[validation_count:]
    if train_count:
        share = train_count // len(dataset.class_names)
        by_class = [rest[labels[rest] == label] for label in range(len(dataset.class_names))]
        most = min(map(len, by_class))
        if not 1 <= share <= most:
            raise InputError(
                f"Argument `--train-images` must be between {len(by_class)} and "
                f"{most * len(by_class)}, as many of each class, but is {train_count}."
            )
        rest = np.sort(np.concatenate([members[:share] for members in by_class]))

    def on_device(images: np.ndarray, chosen_labels: np.ndarray) -> Examples:
        return Examples(jnp.asarray(images), jnp.asarray(chosen_labels, jnp.int32))

    return Splits(
        on_device(dataset.train_images[rest], labels[rest]),
        on_device(dataset.train_images[validation], labels[validation]),
        on_device(dataset.test_images, dataset.test_labels),
    )


def warn_of_large_angles(model: HybridClassifier, params: Any, images: Any) -> None:
    """Say so where the features make angles that float32 does not know well.

    Training cannot: under jit no value is known.
    """

    def encode(params: Any, images: Any) -> Any:
        return in_batches(
            lambda batch: model.apply({"params": params}, batch, method="encode"), images
        )

    features = jax.jit(encode)(params, images)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", LargeAngleWarning)
        check_angles(model.config.circuit(), features, params["quantum"]["weights"])
    for one in found:
        print(f"Warning: {one.message}", file=sys.stderr, flush=True)


def _outcome(model: HybridClassifier, params: Any, test: Examples) -> Outcome:
    logits = jax.jit(lambda p, images: all_logits(model, p, images))(params, test.images)
    right = np.asarray(predictions(logits) == test.labels)
    accuracy = float(right.mean())
    return Outcome(
        np.asarray(logits), right, accuracy, wilson_interval(int(right.sum()), right.size)
    )


def _flat(tree: Any) -> dict[str, np.ndarray]:
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in pairs
    }


def _last(run: RunDirectory, metric: str) -> float | None:
    rows = run.read_metrics()
    return rows[-1][HYBRID][metric] if rows else None


def _stop_at_nan(
    name: str,
    metrics: EpochMetrics,
    splits: Splits,
    epoch: int,
    steps: int,
    schedule: optax.Schedule,
    run: RunDirectory,
) -> None:
    """End the run, before anything of the epoch is saved, if a number is not finite any more."""
    losses = metrics.losses[name]
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        step, what = int(bad[0]), f"loss of {name} became {losses[bad[0]]}"
    elif not metrics.finite[name] or (
        splits.validation.labels.size and not np.isfinite(metrics.validation_loss[name])
    ):
        step, what = steps - 1, f"parameters of {name} grew beyond all bounds"
    else:
        return
    latest = checkpoints.latest(run.checkpoints)
    kept = f"the last good checkpoint is {latest}" if latest else "no epoch was finished before"
    raise TrainingFailedError(
        f"The {what} at step {step + 1} of epoch {epoch + 1} (learning rate "
        f"{float(schedule(epoch * steps + step)):.3g}); {kept}; train with a lower "
        "--learning-rate under another --run name."
    )


def manifest_of(seed: int, dataset: Data) -> dict[str, Any]:
    """What a result depends on beside its configuration."""
    return {
        "command": command.again(),
        "seed": seed,
        "data": {"name": dataset.name, "sha256": dataset.checksum},
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


def warn_of_other_versions(path: Path, manifest: Mapping[str, Any]) -> None:
    """Say so where an interrupted run in the folder `path` began under other versions."""
    earlier = read_as(path / "manifest.json", _Manifest)
    changed = differences(earlier["versions"], manifest["versions"]) if earlier else []
    if changed:
        print(
            f"Warning: this run began under other versions ({'; '.join(changed)}), so its last "
            "bits may differ from an uninterrupted run's."
        )


def _introduce(
    config: FashionConfig,
    dataset: ImageDataset,
    splits: Splits,
    parameters: Mapping[str, int],
    state: State,
    run: RunDirectory,
) -> None:
    model = config.model
    circuit = model.circuit()
    observables = model.labels(len(dataset.class_names))
    versions = f"Python {platform.python_version()}, jax {jax.__version__}, flax {flax.__version__}"
    counts = " + ".join(
        f"{len(part.labels):,} {name}" for name, part in zip(Splits._fields, splits, strict=True)
    )
    layers = " → ".join(map(str, (*(f"conv {c}" for c in model.channels), *model.hidden)))
    lines = [
        ("qnn_jax", f"{qnn_jax.__version__} on {versions}"),
        (
            "device",
            f"{jax.default_backend()}, {os.cpu_count()} cores; the circuit is simulated "
            "exactly (statevector, no shots, no noise)",
        ),
        ("data", f"{dataset.name}: {' / '.join(dataset.class_names)}; {counts} images"),
        (
            "model",
            f"{layers} → {model.num_qubits} features → circuit of {circuit.num_qubits} "
            f"qubits, {len(circuit.ops)} gates, <{'>, <'.join(observables)}> → head",
        ),
        ("parameters", f"{parameters['classical']:,} classical + {parameters['quantum']} quantum"),
    ]
    if TWIN in state.params:
        width = twin_width(circuit.num_inputs, len(observables), circuit.num_weights)
        size = width * (circuit.num_inputs + len(observables))
        lines.append(
            (
                "twin",
                f"the same network with a tanh layer of {size} weights in place of the "
                f"circuit's {circuit.num_weights}, trained alongside",
            )
        )
    lines.append(("results", f"{run.path}"))
    print("\n".join(f"{name:<11}{text}" for name, text in lines), flush=True)


def _epoch_line(epoch: int, epochs: int, row: Mapping[str, Any], seconds: list[float]) -> str:
    hybrid = row[HYBRID]
    twin = f" (twin {row[TWIN]['validation_accuracy']:.4f})" if TWIN in row else ""
    validated = f"validation {hybrid['validation_accuracy']:.4f}{twin}   "
    validated = validated if np.isfinite(hybrid["validation_accuracy"]) else ""
    left = (epochs - epoch - 1) * float(np.median(seconds[-5:]))
    return (
        f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}   loss {hybrid['loss']:.4f}   "
        f"train {hybrid['accuracy']:.4f}   {validated}{seconds[-1]:.2f} s   {left:.0f} s left"
    )


def _verdict(outcomes: Mapping[str, Outcome]) -> str:
    """What the circuit was worth on these images, by McNemar's exact test on the two members."""
    if TWIN not in outcomes:
        return "No twin was trained, so this run does not say what the circuit was worth."
    hybrid, twin = outcomes[HYBRID], outcomes[TWIN]
    ahead = int((hybrid.right & ~twin.right).sum())
    behind = int((~hybrid.right & twin.right).sum())
    p = mcnemar(ahead, behind)
    difference = 100 * (hybrid.accuracy - twin.accuracy)
    counts = (
        f"{ahead} images only the hybrid got right, {behind} only the twin; "
        f"exact McNemar p = {p:.2g}"
    )
    if p >= 0.05:
        return (
            "The circuit made no measurable difference against a classical layer of equal size: "
            f"{difference:+.2f} points ({counts})."
        )
    better = "better" if difference > 0 else "worse"
    return (
        f"With this seed the circuit did {better} than a classical layer of equal size: "
        f"{difference:+.2f} points ({counts}); one seed is no proof."
    )


def mcnemar(ahead: int, behind: int) -> float:
    """Two-sided exact McNemar test: how likely so uneven a split is, were both equally good.

    >>> mcnemar(3, 3), round(mcnemar(10, 0), 5)
    (1.0, 0.00195)
    """
    import math

    count, fewer = ahead + behind, min(ahead, behind)
    tail = sum(math.comb(count, k) for k in range(fewer + 1)) / 2**count
    return min(1.0, 2 * tail)


def _conclude(path: Path, config: FashionConfig, summary: Mapping[str, Any]) -> None:
    from pipelines.scan_axes import command_of

    low, high = summary["test_interval"]
    print(
        f"\nTest accuracy {summary['test_accuracy']:.4f} on {summary['test_count']:,} images kept "
        f"out of training and validation (95 % interval {low:.4f} to {high:.4f})"
    )
    for name, accuracy in summary["baselines"].items():
        low, high = summary["baseline_intervals"][name]
        print(f"{name.replace('_', ' ').capitalize():<13} {accuracy:.4f} ({low:.4f} to {high:.4f})")
    print(summary["verdict"])
    print(f"{summary['seconds']['total']:.1f} s in all; open {path / 'report.html'}")
    seed = config.seed + 1
    another = dataclasses.replace(config, seed=seed, run=f"{config.run}-{seed}")
    print(f"Next: {command_of(another)}, or --help for all flags")


def _tell_finished(run: RunDirectory, config: FashionConfig) -> int:
    summary = read_as(run.path / "summary.json", _Told, RESTORE)
    assert summary is not None
    print(f"The run {run.path} is finished: this is its result; --no-resume trains it anew.")
    _conclude(run.path, config, summary)
    return 0


def tell_stopping() -> None:
    """Answer the first Ctrl-C."""
    print(
        "\nStopping once what is being done is saved; Ctrl-C again stops at once.",
        file=sys.stderr,
        flush=True,
    )
