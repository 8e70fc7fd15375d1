"""Train many configurations in one program, and say which is best and whether it beats the default.

    make scan
    make scan ARGS="--axis learning_rate=1e-3,3e-3,1e-2 --axis model.ansatz_reps=1,2,3"
    make scan ARGS="--axis learning_rate=log:1e-4:1e-1 --samples 64 --halving --run wide"
    make scan ARGS="--axis seed=0,1,2,3 --axis weight_decay=0,0.1"

Numbers (learning rate, weight decay, label smoothing, feature scale, weight bound, seeds …) differ
within one compiled program; structure (depth, width, entanglement, qubits, batch size …) takes one
program each. Every other flag is one of train-fashion and holds for all members.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Annotated, Literal

import tyro

from pipelines import command, train_fashion
from pipelines.scan_axes import SEEDS, Axis, changed, grid, read_axes
from pipelines.scan_search import Course, rungs_of, search_of
from pipelines.train_fashion import FashionConfig
from qnn_jax.errors import InputError

DEFAULT_AXES = (
    "training.learning_rate=log:1e-3:3e-2",
    "training.weight_decay=log:1e-2:1",
    "training.label_smoothing=lin:0:0.1",
    "model.feature_scale=log:0.3:3",
    "model.weight_bound=log:0.1:3",
)


@dataclasses.dataclass(frozen=True)
class ScanConfig(FashionConfig):
    """Train many configurations of the Fashion-MNIST classifier in one program."""

    run: str = "scan"
    """Name of the scan; its files go to RESULTS_DIR/RUN, its best member's to RESULTS_DIR/RUN-best,
    an ordinary run."""
    twin: bool = False
    """Train the classical twin of every member alongside."""
    axis: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUES")
    ] = ()
    """What varies, once for each axis: name=a,b,c or name=log:low:high or name=lin:low:high, with
    :points for a grid. Names are those of train-fashion's flags; every candidate meets all values
    of seed and order_seed. Default: five numbers."""
    search: Literal["grid", "random", "optuna"] | None = None
    """Default: random where an axis is a range without points, else grid."""
    samples: int = 15
    """Candidates of random and optuna, beside the default configuration, which always trains."""
    batch: int = 5
    """Candidates that optuna is asked for at once."""
    halving: bool = False
    """Drop the worse half of the candidates after 1/8, 1/4 and 1/2 of the epochs."""
    confirm: int = 4
    """Fresh seeds over which the winner meets the default at the end; 0 to leave that out."""
    devices: int = 0
    """CPU devices to spread the members over; 0 takes one for each core."""
    at_once: int = 0
    """Members that a device steps side by side; 0 lets memory and caches decide."""
    coordinator: str | None = None
    """HOST:PORT of process 0 of several, the same for all; "auto" finds everything in the
    environment of Slurm or Open MPI."""
    num_processes: int = 1
    """How many processes share the scan, started with the same flags."""
    process_id: int = 0
    """The number of this one, from 0."""


PRESETS: Mapping[train_fashion.Preset, ScanConfig] = {
    name: ScanConfig(
        **{
            field.name: getattr(preset, field.name)
            for field in dataclasses.fields(preset)
            if field.name not in ("run", "twin")
        }
    )
    for name, preset in train_fashion.PRESETS.items()
}
_HOW = ("devices", "at_once", "coordinator", "num_processes", "process_id")
NOT_OF_THE_SCAN = train_fashion.NOT_OF_THE_RUN


def base_of(config: ScanConfig) -> FashionConfig:
    """The default member: what the scan's flags say without its axes."""
    names = [field.name for field in dataclasses.fields(FashionConfig)]
    base = FashionConfig(**{name: getattr(config, name) for name in names})
    return dataclasses.replace(base, run=f"{config.run}-best")


def as_json(config: ScanConfig) -> dict[str, object]:
    """What the scan's config.json holds: nothing of where and how it runs."""
    return {
        name: value for name, value in train_fashion.as_json(config).items() if name not in _HOW
    }


def check(config: ScanConfig) -> tuple[tuple[int, ...], tuple[Axis, ...], Course]:
    """Everything that can be refused before JAX loads: the classes, the axes, the course."""
    base = base_of(config)
    classes = train_fashion.check(base)
    for flag, value, least in (
        ("--epochs", base.training.epochs, 1),
        ("--validation-images", base.validation_images, 1),
        ("--samples", config.samples, 1),
        ("--batch", config.batch, 1),
        ("--confirm", config.confirm, 0),
        ("--devices", config.devices, 0),
        ("--at-once", config.at_once, 0),
        ("--num-processes", config.num_processes, 1),
        ("--process-id", config.process_id, 0),
    ):
        if value < least:
            raise InputError(f"Argument `{flag}` must be at least {least} here, but is {value}.")
    if config.process_id >= config.num_processes and config.coordinator != "auto":
        raise InputError(
            f"Argument `--process-id` must be below --num-processes, {config.num_processes}, but "
            f"is {config.process_id}."
        )
    if config.num_processes > 1 and config.coordinator is None:
        raise InputError(
            "Argument `--coordinator` must be given with --num-processes, as in 10.0.0.1:54100, "
            "but is not."
        )
    host, _, port = (config.coordinator or "auto").rpartition(":")
    if (host, port) != ("", "auto") and not (
        host and port.isdecimal() and len(port) < 6 and 0 < int(port) < 2**16
    ):
        raise InputError(
            f"Argument `--coordinator` must be HOST:PORT or auto, but is {config.coordinator!r}."
        )
    axes = read_axes(config.axis or DEFAULT_AXES)
    ranges = [axis for axis in axes if not axis.values]
    kind = config.search or ("random" if ranges else "grid")
    if config.halving and kind == "optuna":
        raise InputError("Argument `--halving` must not be given with --search optuna, but is.")
    # Every value by itself, and so every combination but of batch size with other things.
    for axis in axes:
        for value in axis.values or (axis.at(0.0), axis.at(1.0)):
            if axis.name not in SEEDS:
                _check_member(changed(base, {axis.name: value}), axis.name)
    if kind == "grid":
        for changes in grid(axes):
            _check_member(changed(base, changes), "")
    search = search_of(kind, axes, config.samples, config.batch, config.seed)
    rungs = rungs_of(base.training.epochs, config.halving)
    return classes, axes, Course(base, axes, search, rungs, config.confirm)


def _check_member(config: FashionConfig, axis: str) -> None:
    try:
        train_fashion.check(config)
    except InputError as error:
        raise InputError(f"Argument `--axis` {axis or 'combination'} cannot be: {error}") from None


def main(argv: list[str] | None = None) -> int:
    """Parse, check, scan, report; the exit status."""
    config = command.parse(ScanConfig, PRESETS, argv)
    classes, axes, course = check(config)
    command.start_jax(find_devices=False)  # how many there are is said first
    from pipelines.scan_devices import join

    with join(config.devices, config.coordinator, config.num_processes, config.process_id) as all_:
        from pipelines.scan_run import scan

        return scan(config, base_of(config), classes, axes, course, as_json(config), all_)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    command.run(main)
