"""Let a trained run predict new rows of a table.

    make predict ARGS="--run iris --data new.csv"
    make predict ARGS="--run iris --data new.csv --output species.csv"

Writes a table: the target's column, then of a classification the probability of each class.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from pipelines import command
from pipelines.flags import ResultsFlags
from qnn_jax.errors import InputError
from qnn_jax.runs import check_name, write_bytes_atomic
from qnn_jax.tasks.stored import stored
from qnn_jax.tasks.tabular import own_data


@dataclasses.dataclass(frozen=True)
class PredictFlags(ResultsFlags):
    """Let a trained run predict new rows of a table."""

    run: str = ""
    """Name of the run, which `make train` trained."""
    data: str = ""
    """The new rows: a table with the columns of the training table, whose target may be missing, or
    an .npz file with an array x."""
    output: Path | None = None
    """Where predictions go; default: RESULTS_DIR/RUN/predictions.csv."""


def main(argv: list[str] | None = None) -> int:
    """Parse, check, predict; the exit status."""
    flags = command.read(PredictFlags, argv)
    for name in ("run", "data"):
        if not getattr(flags, name):
            raise InputError(f"Argument `{name}` must be given, but is not.")
    check_name(flags.run)
    path = flags.results_dir / flags.run
    own_data(stored(path).task)
    command.start_jax()
    from qnn_jax.tasks import load, predict_file

    header, rows = predict_file(load(path), flags.data)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    output = flags.output or path / "predictions.csv"
    write_bytes_atomic(output, text.getvalue().encode())
    print(f"{len(rows):,} predictions of {header[0]}: {output}")
    return 0


if __name__ == "__main__":
    command.run(main, "Stopped; nothing was written.")
