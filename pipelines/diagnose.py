"""Diagnose a trained run's circuit: what it can represent, what it uses of that, how it trains.

    make diagnose                                   # the newest run
    make diagnose ARGS="--run calculator"

Writes diagnose.json, diagnose.html and figures into the run's folder.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipelines import command
from pipelines.flags import DataFlags, ResultsFlags
from qnn_jax.configs import check_diagnosis
from qnn_jax.runs import RunDirectory, check_name, write_json_atomic
from qnn_jax.tasks.stored import newest_of_all, stored


@dataclasses.dataclass(frozen=True)
class DiagnoseFlags(DataFlags, ResultsFlags):
    """Diagnose a trained run's circuit."""

    run: str | None = None
    """Name of the run; default: the newest finished run."""
    seed: int = 0
    """Random seed of all samples."""
    samples: int = 5000
    """Pairs of random states for the expressibility; more expensive diagnostics take fewer."""


def main(argv: list[str] | None = None) -> int:
    """Parse, check, diagnose; the exit status."""
    flags = command.read(DiagnoseFlags, argv)
    check_diagnosis(flags.seed, flags.samples)
    if flags.run is not None:
        check_name(flags.run)
    name = flags.run or newest_of_all(flags.results_dir)
    stored(flags.results_dir / name)
    command.start_jax()
    with RunDirectory.existing(flags.results_dir, name) as run:
        write(run.path, flags)
    print(f"\n{command.seconds():.1f} s. Open {run.path / 'diagnose.html'}")
    print(f"All numbers: {run.path / 'diagnose.json'}")
    return 0


def write(path: Path, flags: DiagnoseFlags) -> None:
    """Diagnose a finished run; write diagnose.json, the pictures and diagnose.html into it."""
    from qnn_jax.report.diagnosis import write_diagnosis
    from qnn_jax.studies.diagnosis import diagnose

    trained, splits = flags.loaded(path)
    circuit = trained.circuit
    command.say(
        f"Run {path}: {circuit.num_qubits} qubits, {circuit.num_inputs} inputs, "
        f"{circuit.num_weights} weights"
    )
    found = diagnose(
        trained,
        examples=splits.test,
        seed=flags.seed,
        samples=flags.samples,
        tell=command.say,
    )
    write_json_atomic(path / "diagnose.json", {"run": path.name, **found.as_json()})
    write_diagnosis(path, f"Diagnosis of {path.name}", found)


if __name__ == "__main__":
    command.run(main, "Stopped; the same command starts over:\n  {again}")
