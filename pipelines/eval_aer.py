"""Evaluate trained runs on Aer: exact, with shots, and with the noise of IBM's devices.

    make eval-aer                                         # the newest run of each task
    make eval-aer ARGS="--run fashion --shots 100 1000"
    make eval-aer ARGS="--backend FakeTorino --backend FakeBrisbane"

All of it is simulated on this machine. Before the evaluation, a certificate confirms that Qiskit
runs the trained circuit.
"""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pipelines import command
from pipelines.flags import DataFlags, ResultsFlags
from qnn_jax.bridge.backend_names import check_fake_backend
from qnn_jax.circuits.checks import at_least
from qnn_jax.errors import InputError
from qnn_jax.runs import (
    RunDirectory,
    check_name,
    read_bytes,
    write_bytes_atomic,
    write_json_atomic,
)
from qnn_jax.tasks.stored import newest, stored
from qnn_jax.training.task import Metric

if TYPE_CHECKING:
    from qnn_jax.studies.evaluation import Row
    from qnn_jax.tasks.trained import Trained

#: Heron devices that IBM's open plan offers or has offered.
BACKENDS = ("FakeFez", "FakeMarrakesh", "FakeKingston")


@dataclasses.dataclass(frozen=True)
class AerConfig(DataFlags, ResultsFlags):
    """Evaluate trained runs on Aer: exact, with shots, with the noise of IBM's devices."""

    run: str | None = None
    """Name of the run; default: the newest finished one of each task."""
    seed: int = 0
    """Random seed of the shots, and of the choice of test examples."""
    shots: tuple[int, ...] = (256, 1024, 4096)
    """Shots without noise, one evaluation for each number."""
    noisy_shots: int = 1024
    """Shots with the noise of a device."""
    images: int | None = None
    """Test examples, drawn at random; 0 takes all. Default: at most 2,000."""
    backend: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A fake backend of Qiskit's; repeat it for several. Default: FakeFez, FakeMarrakesh and
    FakeKingston."""
    data_dir: Path | None = None
    """Folder of prepared data; default: that of the run, TFDS_DATA_DIR, else
    ~/tensorflow_datasets."""
    manual_dir: Path | None = None
    """A folder with the official archives; default: that of the run, QNN_JAX_MANUAL_DIR."""


def check(config: AerConfig) -> AerConfig:
    """Check everything that needs neither JAX nor Qiskit; return the config with its backends."""
    if config.run is not None:
        check_name(config.run)
    for shots in config.shots:
        at_least("shots", shots, 1)
    at_least("noisy_shots", config.noisy_shots, 1)
    at_least("images", config.images or 0, 0)
    backends = dict.fromkeys(config.backend or BACKENDS)
    for name in backends:
        check_fake_backend(name, "backend")
    shots_once = dict.fromkeys(config.shots)
    # Every evaluation has its own seed.
    command.check_seed("--seed", config.seed, len(shots_once) + len(backends))
    return dataclasses.replace(config, backend=tuple(backends), shots=tuple(shots_once))


def main(argv: list[str] | None = None) -> int:
    """Parse, check, evaluate; the exit status."""
    config = check(command.read(AerConfig, argv))
    names = list(newest(config.results_dir).values()) if config.run is None else [config.run]
    for name in names:
        stored(config.results_dir / name)
    command.start_jax()
    command.say(
        f"Simulated on this machine by qiskit-aer {version('qiskit-aer')}; no quantum computer is "
        "involved."
    )
    for name in names:
        with RunDirectory.existing(config.results_dir, name) as run:
            evaluate_run(config, run)
    chosen = ["--run", names[0]] if len(names) > 1 or config.run else []
    after = command.make("eval-hardware", chosen + command.same_folders(config))
    print(f"\nNext: {after}, on a quantum computer or a simulated one")
    return 0


def evaluate_run(config: AerConfig, run: RunDirectory) -> None:
    """Evaluate one run; writes its certificates, a picture and eval-aer.json."""
    from qnn_jax.bridge.aer_executor import aer
    from qnn_jax.studies.evaluation import chosen, evaluate

    trained, splits = config.loaded(run.path)
    test = chosen(splits.test, config.images, config.seed)
    command.say(
        f"\n{run.path}: {len(test.targets):,} of {len(splits.test.targets):,} test "
        f"{splits.examples}, {trained.circuit.num_qubits} qubits, "
        f"{', '.join(f'<{o}>' for o in trained.observables)}"
    )
    ways: list[tuple[str, int, str | None]] = [
        *((f"{shots:,} shots", shots, None) for shots in config.shots),
        *((name, config.noisy_shots, name) for name in config.backend),
    ]
    metric = trained.task.metric
    rows = evaluate(
        trained,
        {
            name: aer(shots, backend, config.seed + number, command.countdown(name))
            for number, (name, shots, backend) in enumerate(ways)
        },
        test,
        first=lambda name, record: certified(run, trained, record),
        tell=command.say,
    )
    from qnn_jax.report.evaluation import scores  # late: matplotlib would delay the first line
    from qnn_jax.report.figures import save

    picture = run.figures / "eval-aer.png"
    count = f"{len(test.targets):,} test {splits.examples}"
    save(scores(f"{run.path.name}: {count}, simulated by Aer", rows, metric), picture)
    # Last, because the file marks the evaluation as complete.
    write_json_atomic(run.path / "eval-aer.json", as_json(config, rows, metric))
    print(f"Written to {run.path / 'eval-aer.json'}; look at {picture}")


def certified(run: RunDirectory, trained: Trained, record: Any) -> None:
    """Verify that Qiskit runs the trained circuit there, unless a certificate exists already.

    Raises:
        CertificationError: if it does not; nothing is evaluated then.
    """
    from qnn_jax.bridge import Certificate, certify
    from qnn_jax.bridge.noise import fake_backend

    path = run.path / f"certificate-{record.backend or 'aer'}.json"
    where = record.backend and fake_backend(record.backend).name
    about = (trained.circuit, trained.observables, where, record.layout)
    try:
        earlier = read_bytes(path, "delete it")
        if earlier and Certificate.from_json(earlier.decode("utf-8", "replace")).covers(*about):
            return
    except InputError:
        pass  # a damaged one is made again
    certificate = certify(trained.circuit, trained.observables, record.backend)
    certificate.check(*about)
    write_bytes_atomic(path, certificate.to_json().encode())


def as_json(config: AerConfig, rows: list[Row], metric: Metric) -> dict[str, Any]:
    """The content of eval-aer.json."""
    from qnn_jax.studies.evaluation import table

    found = table(rows, metric)
    for row in rows[1:]:
        record = row.record
        found[row.name] |= {"seed": record.seed, "bases": record.bases}
        if record.backend is not None:
            found[row.name] |= {
                name: getattr(record, name) for name in ("shots", "calibration", "layout")
            }
    return {
        "device": "simulated",
        "command": command.again(),
        "test_count": len(rows[0].values),
        "exact": found[rows[0].name],
        "shots": {str(shots): found[f"{shots:,} shots"] for shots in config.shots},
        "noisy": {name: found[name] for name in config.backend},
        "versions": {name: version(name) for name in ("qiskit", "qiskit-aer", "jax")},
        "config": dataclasses.asdict(config),
    }


if __name__ == "__main__":
    command.run(main, "Stopped; the results of the current run are unchanged.")
