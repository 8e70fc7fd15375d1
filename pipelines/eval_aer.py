"""Evaluate trained runs on Aer: exact, with shots, and with the noise of IBM's devices.

    make eval-aer                                         # the newest run of each task
    make eval-aer ARGS="--run fashion --shots 100 1000"
    make eval-aer ARGS="--backend FakeTorino --backend FakeBrisbane"

All of it is simulated on this machine. Nothing is evaluated before a certificate says that Qiskit
runs the circuit that was trained.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from pipelines import command
from pipelines.trained import finished, newest
from qnn_jax.errors import InputError

#: Heron devices that IBM's open plan offers, or offered last.
BACKENDS = ("FakeFez", "FakeMarrakesh", "FakeKingston")


@dataclasses.dataclass(frozen=True)
class AerConfig:
    """Evaluate trained runs on Aer: exact, with shots, with the noise of IBM's devices."""

    run: str | None = None
    """Name of the run; default: the newest finished one of each task."""
    results_dir: Path = Path("results")
    """Folder of all runs."""
    seed: int = 0
    """Of the shots, and of the choice of images."""
    shots: tuple[int, ...] = (256, 1024, 4096)
    """Shots without noise, one evaluation for each number."""
    noisy_shots: int = 1024
    """Shots with the noise of a device."""
    images: int | None = None
    """Test examples, drawn at random; 0 takes all. Default: all images of a classifier, and 1,000
    points of a calculator, so that the whole command takes less than a minute."""
    backend: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A fake backend of Qiskit's; repeat it for several. Default: FakeFez, FakeMarrakesh and
    FakeKingston."""
    data_dir: Path | None = None
    """Where prepared data are kept; default: that of the run, TFDS_DATA_DIR, else
    ~/tensorflow_datasets."""
    manual_dir: Path | None = None
    """A folder with the four official archives; default: that of the run, QNN_JAX_MANUAL_DIR."""


def check(config: AerConfig) -> AerConfig:
    """Everything that can be refused before JAX and Qiskit load; the config with its backends."""
    from qnn_jax.bridge.backend_names import check_fake_backend
    from qnn_jax.runs import check_name

    if config.run is not None:
        check_name(config.run)
    for flag, values, least in (
        ("--shots", config.shots, 1),
        ("--noisy-shots", (config.noisy_shots,), 1),
        ("--images", (config.images or 0,), 0),
    ):
        for value in values:
            if value < least:
                raise InputError(f"Argument `{flag}` must be at least {least}, but is {value}.")
    backends = dict.fromkeys(config.backend or BACKENDS)
    for name in backends:
        check_fake_backend(name, "--backend")
    shots = dict.fromkeys(config.shots)
    # Every evaluation has a seed of its own.
    command.check_seed("--seed", config.seed, len(shots) + len(backends))
    return dataclasses.replace(config, backend=tuple(backends), shots=tuple(shots))


def main(argv: list[str] | None = None) -> int:
    """Parse, check, evaluate; the exit status."""
    config = check(command.parse(AerConfig, {"default": AerConfig()}, argv))
    names = newest(config.results_dir).values() if config.run is None else [config.run]
    for name in names:
        finished(config.results_dir, name)
    command.start_jax()
    from pipelines.eval_run import evaluate_all

    return evaluate_all(config)


if __name__ == "__main__":
    command.run(main, "Stopped; the results of the run in work are as they were.")
