"""Diagnose a trained run's circuit: what it can represent, what it uses, what training faces.

    make diagnose                                   # the newest run
    make diagnose ARGS="--run calculator"

Writes diagnose.json, diagnose.html and figures into the run's folder.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipelines import command
from pipelines.trained import finished, newest
from qnn_jax.errors import InputError

#: Fewer leave no spread to see.
LEAST_SAMPLES = 200


@dataclasses.dataclass(frozen=True)
class DiagnoseConfig:
    """Diagnose a trained run's circuit."""

    run: str | None = None
    """Name of the run; default: the newest that is finished."""
    results_dir: Path = Path("results")
    """Folder of all runs."""
    seed: int = 0
    """Of everything that is sampled."""
    samples: int = 5000
    """Pairs of random states for the expressibility; what costs more takes fewer in proportion."""
    data_dir: Path | None = None
    """Where prepared data are kept; default: TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    manual_dir: Path | None = None
    """A folder with the four official archives; default: QNN_JAX_MANUAL_DIR."""


def check(config: DiagnoseConfig) -> None:
    """Everything that can be refused before JAX loads."""
    from qnn_jax.runs import check_name

    if config.run is not None:
        check_name(config.run)
    command.check_seed("--seed", config.seed)
    if config.samples < LEAST_SAMPLES:
        raise InputError(
            f"Argument `--samples` must be at least {LEAST_SAMPLES}, but is {config.samples}."
        )


def main(argv: list[str] | None = None) -> int:
    """Parse, check, diagnose; the exit status."""
    config = command.parse(DiagnoseConfig, {"default": DiagnoseConfig()}, argv)
    check(config)
    if config.run is not None:
        finished(config.results_dir, config.run)
    else:
        newest(config.results_dir)
    command.start_jax()
    from pipelines.diagnose_run import diagnose_run

    return diagnose_run(config)


if __name__ == "__main__":
    command.run(main, "Stopped; the same command starts over:\n  {again}")
