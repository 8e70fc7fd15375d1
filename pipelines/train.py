"""Train a hybrid network on your own data: a table or images, to classify or to regress.

    make train ARGS="--data my.csv --target species"
    make train ARGS="--data my.csv --target price --kind regression --qubits 6"
    make train ARGS="--data digits.npz --circuit my.qasm --observables ZZII IIZZ"
    make train ARGS="--task sine"

The table is a CSV or Parquet file; arrays and images are an .npz file with x and y, or a dataset of
tensorflow-datasets (--data tfds:mnist). Classical twins train alongside. A table of 500 rows takes
about half a minute on two cores. --task trains another task that has no command of its own.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import tyro

from pipelines import command, training
from pipelines.flags import TrackedFlags
from qnn_jax.circuits.checks import one_of
from qnn_jax.errors import InputError
from qnn_jax.tasks import Tabular
from qnn_jax.tasks.table import TASKS
from qnn_jax.training.task import replaced

#: The tasks without a command of their own.
HERE = tuple(name for name in TASKS if not command.has_target(name))


@dataclasses.dataclass(frozen=True)
class TrainFlags(TrackedFlags):
    """What this command asks beside the task's own fields."""

    task: Annotated[str, tyro.conf.arg(metavar="|".join(HERE))] = Tabular.name
    """The task; the flags below are its own."""
    run: str = ""
    """Name of the run; its files go to RESULTS_DIR/RUN. Default: the name of the file, or of the
    task."""
    qubits: int | None = None
    """Qubits of the circuit; the same as --model.num-qubits."""


def main(argv: list[str] | None = None) -> int:
    """Parse, train, report; the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    name = command.chosen(arguments, "--task", Tabular.name)
    if name in TASKS and name not in HERE:
        raise InputError(
            f"Argument `--task` must be left out for {name!r}; {command.train(name, [])} trains it."
        )
    one_of("--task", name, HERE)
    start = TrainFlags(task=name)
    task, flags = training.parse({"default": TASKS[name]()}, start, argv, __doc__)
    if flags.qubits is not None:
        if not hasattr(getattr(task, "model", None), "num_qubits"):
            raise InputError(
                f"Argument `--qubits` must be left out with --task {name}, but is {flags.qubits}."
            )
        task = replaced(task, "model.num_qubits", flags.qubits)
    for line in task.notices():
        command.say(line)
    flags = dataclasses.replace(flags, run=flags.run or task.run_name)
    status = training.train(task, flags)
    if not status and task.reads_files:
        words = ["--run", flags.run, *command.same_folders(flags), "--data", "new.csv"]
        print(f"Or:   {command.make('predict', words)}")
    return status


if __name__ == "__main__":
    command.run(main)
