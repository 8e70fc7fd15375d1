"""What `make eval-aer` does once its flags are read."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from pipelines import command, trained
from pipelines.eval_aer import AerConfig
from pipelines.trained import POINTS, TRAIN, Rows, Score, Trained
from qnn_jax.bridge import certify
from qnn_jax.bridge.aer_executor import AerRecord, aer
from qnn_jax.errors import InputError
from qnn_jax.executor import Executor, exact
from qnn_jax.runs import RunDirectory, read_bytes, write_bytes_atomic, write_json_atomic
from qnn_jax.training import predictions


class Row(NamedTuple):
    """One way of running the test set, and what came of it.

    Attributes:
        name: "exact", "1,024 shots", "FakeFez".
        values: expectation values, shape (examples, observables).
        score: of the values.
        predicted: classes, shape (examples,), or None of a calculator.
        seconds: of the run alone: what is transpiled, built and certified is done before.
        record: what Aer left, None of the exact simulator.
    """

    name: str
    values: np.ndarray
    score: Score
    predicted: np.ndarray | None
    seconds: float
    record: AerRecord | None = None


def evaluate_all(config: AerConfig) -> int:
    """Evaluate the run that is named, or the newest of each task; the exit status."""
    if config.run is None:
        newest: dict[Any, str] = {**trained.newest(config.results_dir)}
        names: list[str] = list(newest.values())
        missing = [task for task in TRAIN if task not in newest]
    else:
        names, missing = [config.run], []
    print(
        f"Simulated on this machine by qiskit-aer {version('qiskit-aer')}; no quantum computer is "
        "involved.",
        flush=True,
    )
    for name in names:
        with RunDirectory.existing(config.results_dir, name) as run:
            evaluate(config, run)
    for task in missing:
        print(f"\nNothing is trained for the {task} yet: {TRAIN[task]} does it.")
    chosen = ["--run", names[0]] if len(names) > 1 or config.run else []
    after = command.make("eval-hardware", chosen + command.same_folders(config))
    print(f"\nNext: {after}, on a quantum computer or as if on one")
    return 0


def evaluate(config: AerConfig, run: RunDirectory) -> None:
    """Evaluate one run; writes its certificates, eval-aer.json and a picture."""
    model = trained.load(config.results_dir, run.path.name, config.data_dir, config.manual_dir)
    test = chosen(config, model)
    print(
        f"\n{run.path}: {len(test.targets):,} of {len(model.test.targets):,} test examples, "
        f"{model.circuit.num_qubits} qubits, {', '.join(f'<{o}>' for o in model.observables)}"
    )
    rows: list[Row] = []
    for row in all_rows(config, run, model, test):
        print(line(row, rows[0] if rows else None), flush=True)
        rows.append(row)
    from pipelines.eval_figures import accuracies  # late: matplotlib would delay the first line
    from pipelines.figures import save

    picture = run.figures / "eval-aer.png"
    save(accuracies(run.path.name, rows), picture)
    # Last of all, because the file says that the evaluation is complete.
    write_json_atomic(run.path / "eval-aer.json", as_json(config, rows, test))
    print(f"Written to {run.path / 'eval-aer.json'}; look at {picture}")


def chosen(config: AerConfig, model: Trained) -> Rows:
    """The test examples to evaluate, in their order.

    Raises:
        InputError: where there are not so many.
    """
    there = len(model.test.targets)
    wanted = config.images
    if wanted is None:
        wanted = min(there, POINTS) if model.task == "calculator" else there
    if wanted > there:
        raise InputError(
            f"Argument `--images` must be at most {there}, the test examples of {model.path}, but "
            f"is {wanted}."
        )
    every = np.random.default_rng(config.seed).permutation(there)
    kept = np.sort(every[: wanted or there])
    return Rows(model.test.inputs[kept], model.test.targets[kept])


def all_rows(config: AerConfig, run: RunDirectory, model: Trained, test: Rows) -> Iterator[Row]:
    """Every way of running the test set, the exact one first, as soon as it is done."""
    inputs, weights = jnp.asarray(test.inputs), jnp.asarray(model.weights)

    def done(name: str, executor: Executor) -> Row:
        began = time.monotonic()
        found = executor(model.circuit, model.observables, inputs, weights)
        values = np.asarray(found.values)
        seconds = time.monotonic() - began
        predicted = None
        if model.task != "calculator":
            predicted = np.asarray(predictions(jnp.asarray(model.head(values))))
        score = model.score(values, test.targets)
        return Row(name, values, score, predicted, seconds, found.record)

    done("exact", exact)  # the first call compiles
    yield done("exact", exact)
    jobs: list[tuple[str, int, str | None]] = [
        *((f"{shots:,} shots", shots, None) for shots in config.shots),
        *((name, config.noisy_shots, name) for name in config.backend),
    ]
    for number, (name, shots, backend) in enumerate(jobs):
        executor = aer(shots, backend, config.seed + number)
        # One example first: the circuit is transpiled and the noise built, and it says where.
        first = executor(model.circuit, model.observables, inputs[:1], weights)
        certified(run, model, backend, first.record)
        progress = command.countdown(name)
        yield done(name, aer(shots, backend, config.seed + number, progress))


def certified(run: RunDirectory, model: Trained, backend: str | None, record: AerRecord) -> None:
    """Prove that Qiskit runs the trained circuit there, unless a certificate says so already.

    Raises:
        CertificationError: where it does not; nothing is evaluated then.
    """
    from qnn_jax.bridge.noise import fake_backend

    path = run.path / f"certificate-{backend or 'aer'}.json"
    where = backend and fake_backend(backend).name
    about = (model.circuit, model.observables, where, record.layout)
    from qnn_jax.bridge import Certificate

    try:
        earlier = read_bytes(path, "delete it")
        if earlier and Certificate.from_json(earlier.decode("utf-8", "replace")).covers(*about):
            return
    except InputError:
        pass  # a damaged one is made anew
    certificate = certify(model.circuit, model.observables, backend)
    certificate.check(*about)
    write_bytes_atomic(path, certificate.to_json().encode())


def line(row: Row, first: Row | None) -> str:
    """A row of the table; the heading above the first."""
    low, high = row.score.interval
    text = f"{row.name:<16}{row.score.value:>9.4f}   {low:.4f} to {high:.4f}"
    if first is None:
        columns = f"{'to exact':>11}{'<O> rms':>9}{'changed':>9}{'seconds':>9}"
        metric = row.score.metric.replace("_", " ")
        heading = f"{'':<16}{metric:>9}   {'95 % interval':<16}{columns}"
        return f"{heading}\n{text}{'':>29}{row.seconds:>9.3f}"
    flips = changed(row, first)
    text += f"{row.score.value - first.score.value:>+11.4f}{rms(row, first):>9.4f}"
    text += f"{'' if flips is None else f'{flips:,}':>9}{row.seconds:>9.2f}"
    if row.record is not None and row.record.layout is not None:
        qubits = ", ".join(map(str, row.record.layout))
        text += f"   qubits {qubits}; errors of {row.record.calibration}"
    return text


def changed(row: Row, first: Row) -> int | None:
    """How many examples are told to be of another class than by the exact simulator."""
    if row.predicted is None or first.predicted is None:
        return None
    return int((row.predicted != first.predicted).sum())


def rms(row: Row, first: Row) -> float:
    """Root mean square deviation of expectation values from the exact ones."""
    return float(np.sqrt(np.mean((row.values - first.values) ** 2)))


def as_json(config: AerConfig, rows: list[Row], test: Rows) -> dict[str, Any]:
    """What eval-aer.json holds."""
    first = rows[0]

    def leaf(row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {
            row.score.metric: row.score.value,
            "interval": row.score.interval,
            "seconds": row.seconds,
        }
        if row.record is not None:
            found["difference_to_exact"] = row.score.value - first.score.value
            found["expectation_rms"] = rms(row, first)
            if row.predicted is not None:
                found["changed_predictions"] = changed(row, first)
            found["seed"] = row.record.seed
            found["bases"] = row.record.bases
        if row.record is not None and row.record.backend is not None:
            found["shots"] = row.record.shots
            found["calibration"] = row.record.calibration
            found["layout"] = row.record.layout
        return found

    done = {row.name: leaf(row) for row in rows}
    return {
        "device": "simulated",
        "command": command.again(),
        "test_count": len(test.targets),
        "exact": done["exact"],
        "shots": {str(shots): done[f"{shots:,} shots"] for shots in config.shots},
        "noisy": {name: done[name] for name in config.backend},
        "versions": {name: version(name) for name in ("qiskit", "qiskit-aer", "jax")},
        "config": {
            name: str(value) if name.endswith("_dir") and value else value
            for name, value in dataclasses.asdict(config).items()
        },
    }
