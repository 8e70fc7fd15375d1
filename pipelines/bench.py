"""Measure speed: ratios within one run, with compilation and steady state separate.

    make bench
    make bench ARGS="--only simulator --full"

Everything that is compared runs in turn within the same minutes, round after round, and the
result is the median over the rounds: seconds depend on the machine and its load, ratios much
less.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines import command
from qnn_jax.errors import InputError

if TYPE_CHECKING:
    from pipelines.benchmarks.cases import Cell


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
            "tuning",
            "noise",
            "classification",
            "sharded",
        ]
        | None
    ) = None
    """One of the tables; default: all but tuning (the simulator's thresholds beside others),
    sharded (what states over several devices send), and classification (test accuracies of our
    models and of others, half an hour)."""
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
    """Of classification: how many problems are drawn at each size of each family."""
    families: tuple[str, ...] = ()
    """Of classification: only these families, as "two curves"; what is there already stays."""
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
    config = command.parse(BenchConfig, {"default": BenchConfig()}, argv)
    if config.rounds < 1:
        raise InputError(f"Argument `--rounds` must be at least 1, but is {config.rounds}.")
    if config.seeds < 1:
        raise InputError(f"Argument `--seeds` must be at least 1, but is {config.seeds}.")
    for flag, value in (("cap-seconds", config.cap_seconds), ("minutes", config.minutes)):
        if value is not None and not value > 0:
            raise InputError(f"Argument `--{flag}` must be above 0, but is {value}.")
    cells = _cells(config)
    command.start_jax()
    from qnn_jax.runs import write_json_atomic

    folder = config.results_dir / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    if config.only in (None, "training"):
        from pipelines.benchmarks.training import training

        found = training(config.rounds, config.data_dir, config.manual_dir)
        write_json_atomic(folder / "training.json", found)
        print(f"\nWritten to {folder / 'training.json'}")
    if config.only in (None, "scan"):
        from pipelines.benchmarks.scan import scan

        found = scan(config.rounds, config.data_dir, config.manual_dir)
        write_json_atomic(folder / "scan.json", found)
        print(f"\nWritten to {folder / 'scan.json'}")
    if config.only in (None, "calculator"):
        from pipelines.benchmarks.calculator import calculator

        found = calculator(config.rounds)
        write_json_atomic(folder / "calculator.json", found)
        print(f"\nWritten to {folder / 'calculator.json'}")
    if config.only in (None, "evaluation"):
        from pipelines.benchmarks.evaluation import evaluation

        found = evaluation(config.rounds)
        write_json_atomic(folder / "evaluation.json", found)
        print(f"\nWritten to {folder / 'evaluation.json'}")
    if config.only in (None, "estimators"):
        from pipelines.benchmarks.estimators import estimators

        found = estimators(config.rounds, config.peers)
        write_json_atomic(folder / "estimators.json", found)
        print(f"\nWritten to {folder / 'estimators.json'}")
    if config.only == "classification":
        from pipelines.benchmarks.classification import classification

        path = folder / "classification.json"
        classification(
            path,
            config.seeds,
            config.families,
            config.sizes,
            config.data_dir,
            config.manual_dir,
        )
        print(f"\nWritten to {path}")
    if config.only in (None, "noise"):
        from pipelines.benchmarks.noise import noise

        found = noise(config.rounds, config.cap_seconds or 120.0, config.peers)
        write_json_atomic(folder / "noise.json", found)
        print(f"\nWritten to {folder / 'noise.json'}")
    if config.only == "tuning":
        from pipelines.benchmarks.tuning import tuned

        write_json_atomic(folder / "tuning.json", tuned(config.rounds))
        print(f"\nWritten to {folder / 'tuning.json'}")
    if config.only == "sharded":
        from pipelines.benchmarks.sharded import sharded

        write_json_atomic(folder / "sharded.json", sharded())
        print(f"\nWritten to {folder / 'sharded.json'}")
    if config.only in (None, "simulator"):
        from pipelines.benchmarks.simulator import simulator

        selected = bool(config.num_qubits or config.depths)
        found = simulator(
            cells,
            config.rounds,
            config.cap_seconds or (60.0 if config.full else 30.0),
            float("inf") if config.full or selected else config.minutes,
            infer=not config.full,
            peers=config.peers,
        )
        name = "simulator_selected.json" if selected else "simulator.json"
        write_json_atomic(folder / name, found)
        print(f"\nWritten to {folder / name}")
    return 0


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
