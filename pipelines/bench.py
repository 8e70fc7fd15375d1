"""Measure speed: ratios within one run, with compilation and steady state separate.

    make bench
    make bench ARGS="--only simulator --full"

Everything that is compared runs in turn within the same minutes, round after round, and the
result is the median over the rounds: seconds depend on the machine and its load, ratios much
less.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines import command
from qnn_jax.errors import InputError

if TYPE_CHECKING:
    from pipelines.benchmarks.cases import Cell

#: Tables that are made only where --only names them.
ON_REQUEST = ("classification", "tuning", "sharded", "twin")
#: The tables that read a flag; those that are not here concern all.
READ_BY = {
    "full": ("simulator",),
    "num_qubits": ("simulator",),
    "depths": ("simulator",),
    "minutes": ("simulator",),
    "cap_seconds": ("simulator", "noise", "forward"),
    "peers": ("simulator", "noise", "forward", "estimators"),
    "rounds": (
        "simulator", "forward", "training", "scan", "calculator", "evaluation", "estimators",
        "noise", "tuning",
    ),
    "seeds": ("classification", "twin"),
    "families": ("classification", "twin"),
    "sizes": ("classification",),
    "data_dir": ("training", "scan", "classification", "twin"),
    "manual_dir": ("training", "scan", "classification", "twin"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """Measure speed in comparison with other simulators, in one run."""

    only: (
        Literal[
            "training",
            "scan",
            "calculator",
            "evaluation",
            "estimators",
            "simulator",
            "forward",
            "tuning",
            "noise",
            "classification",
            "sharded",
            "twin",
        ]
        | None
    ) = None
    """One of the tables; default: all but tuning (the simulator's thresholds beside others),
    sharded (what states over several devices send), classification (test accuracies of our
    models and of others, half an hour), and twin (what tuning through a learned device repairs, an
    hour)."""
    full: bool = False
    """Every cell of the simulator's table (hours), not only the part that takes ten minutes."""
    num_qubits: tuple[int, ...] = ()
    """Only circuits with these numbers of qubits, of all cells of --full; without a time limit."""
    depths: tuple[int, ...] = ()
    """Only circuits of these depths, likewise."""
    peers: bool = True
    """Build .bench with other simulators and measure them too; else only qnn_jax."""
    rounds: int = 7
    """Number of rounds; the median is reported."""
    cap_seconds: float | None = None
    """Time limit of an engine for one cell of the simulator's table, compilation included;
    default: 60 with --full, else 30, for the table to take less than ten minutes."""
    seeds: int = 10
    """Of classification: how many problems are drawn at each size of each family; of twin: how many
    devices for each setting."""
    families: tuple[str, ...] = ()
    """Of classification: only these families, such as "two curves"; of twin: only these tasks, such
    as "calculator". The file keeps the results of others."""
    sizes: tuple[int, ...] = ()
    """Of classification: only these sizes of the families."""
    minutes: float = 9.0
    """When the simulator's table ends, except with --full: later cells are marked as not run."""
    results_dir: Path = Path("results")
    """Folder for bench/training.json and the files of the other tables."""
    data_dir: Path | None = None
    """Folder of prepared data; default: TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    manual_dir: Path | None = None
    """A folder with the four official archives, used instead of a download."""


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks and write their results."""
    config = command.read(BenchConfig, argv)
    if config.rounds < 1:
        raise InputError(f"Argument `--rounds` must be at least 1, but is {config.rounds}.")
    if config.seeds < 1:
        raise InputError(f"Argument `--seeds` must be at least 1, but is {config.seeds}.")
    for flag, value in (("cap-seconds", config.cap_seconds), ("minutes", config.minutes)):
        if value is not None and not value > 0:
            raise InputError(f"Argument `--{flag}` must be above 0, but is {value}.")
    _check_read(config)
    cells = _cells(config)
    command.start_jax()
    from qnn_jax.runs import write_json_atomic

    folder = config.results_dir / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in _tables(config, cells, folder).items():
        if _wanted(config, name):
            module = importlib.import_module(f"pipelines.benchmarks.{name}")
            found = getattr(module, name)(*arguments)
            part = name == "simulator" and (config.num_qubits or config.depths)
            path = folder / f"{name}_selected.json" if part else folder / f"{name}.json"
            write_json_atomic(path, found)
            print(f"\nWritten to {path}")
    return 0


def _tables(config: BenchConfig, cells: list[Cell], folder: Path) -> dict[str, tuple[Any, ...]]:
    """What each table's function takes: the one of its name in the module of its name."""
    rounds, data = config.rounds, (config.data_dir, config.manual_dir)
    short = (rounds, config.cap_seconds or 120.0, config.peers)
    whole = config.full or config.num_qubits or config.depths
    return {
        "training": (rounds, *data),
        "scan": (rounds, *data),
        "calculator": (rounds,),
        "evaluation": (rounds,),
        "estimators": (rounds, config.peers),
        # These two go on from their files.
        "classification": (
            folder / "classification.json",
            config.seeds,
            config.families,
            config.sizes,
            *data,
        ),
        "twin": (folder / "twin.json", config.seeds, *data, config.families),
        "noise": short,
        "forward": short,
        "tuning": (rounds,),
        "sharded": (),
        "simulator": (
            cells,
            rounds,
            config.cap_seconds or (60.0 if config.full else 30.0),
            float("inf") if whole else config.minutes,
            not config.full,
            config.peers,
        ),
    }


def _wanted(config: BenchConfig, name: str) -> bool:
    return name == config.only if config.only else name not in ON_REQUEST


def _check_read(config: BenchConfig) -> None:
    """Refuse flags that no table of this call reads."""
    for name, tables in READ_BY.items():
        value = getattr(config, name)
        if value != getattr(BenchConfig, name) and not any(_wanted(config, t) for t in tables):
            raise InputError(
                f"Argument `--{name.replace('_', '-')}` must be left out where no table reads it, "
                f"but is {value}; --only {' or '.join(tables)} does."
            )


def _cells(config: BenchConfig) -> list[Cell]:
    """The requested cells of the simulator's table."""
    from pipelines.benchmarks import cases

    if not (config.full or config.num_qubits or config.depths):
        return list(cases.DEFAULT_CELLS)
    wanted = (
        ("num_qubits", config.num_qubits, cases.SIZES),
        ("depths", config.depths, cases.DEPTHS),
    )
    for name, values, there in wanted:
        for value in values:
            if value not in there:
                raise InputError(
                    f"Argument `--{name.replace('_', '-')}` must be among "
                    f"{', '.join(map(str, there))}, but has {value}."
                )
    return [
        cell
        for cell in cases.every_cell()
        if cell.num_qubits in (config.num_qubits or cases.SIZES)
        and cell.depth in (config.depths or cases.DEPTHS)
    ]


if __name__ == "__main__":
    command.run(main, "Stopped; the tables that were finished are written.")
