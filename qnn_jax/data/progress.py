"""A progress bar on standard error."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qnn_jax.data.source import Report

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextlib.contextmanager
def progress_bar() -> Iterator[Report]:
    """Return a `report` for `load_fashion_mnist` that draws on standard error.

    A terminal gets bars; otherwise each activity gets one line when it begins. Nothing is drawn
    and nothing imported if there is nothing to wait for.
    """
    progress: Progress | None = None
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int) -> None:
        nonlocal progress
        if progress is None:
            progress = _started()
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=total or None)
            if not progress.console.is_terminal:
                progress.console.print(what, markup=False, highlight=False, soft_wrap=True)
        progress.update(tasks[what], completed=done)

    try:
        yield report
    finally:
        if progress is not None:
            progress.stop()


def _started() -> "Progress":
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    progress = Progress(console=console, transient=True, disable=not console.is_terminal)
    progress.start()
    return progress
