"""Write results/index.html: all finished trainings side by side, to sort and to compare.

make report
make report ARGS="--results-dir elsewhere"
"""

from __future__ import annotations

import dataclasses

from pipelines import command
from pipelines.flags import ResultsFlags


@dataclasses.dataclass(frozen=True)
class ReportFlags(ResultsFlags):
    """Write index.html into the folder of all runs."""


def main(argv: list[str] | None = None) -> int:
    """Parse, read all runs, write the page; the exit status."""
    flags = command.read(ReportFlags, argv)
    from qnn_jax.report.index import write_index

    print(f"Open {write_index(flags.results_dir)}")
    return 0


if __name__ == "__main__":
    command.run(main)
