"""The curves of a training for TensorBoard, written by the library tensorboardX."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from qnn_jax.errors import InputError

#: Called with each epoch's row of metrics.jsonl.
Track = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def tracker(kind: str | None, folder: Path) -> Iterator[Track]:
    """Where the rows of a training go besides metrics.jsonl.

    Args:
        kind: "tensorboard", or None for nowhere.
        folder: of the run; TensorBoard's files are in `tensorboard` there.

    Raises:
        InputError: where the library is not installed.
    """
    if kind is None:
        yield lambda row: None
        return
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError(
            "Argument `track` must be left out where tensorboardX is not installed; `pip install "
            "qnn-jax[track]` installs it."
        ) from None
    writers: list[Any] = []

    def track(row: Mapping[str, Any]) -> None:
        epoch = row["epoch"]
        if not writers:
            # A resumed training repeats what came after its latest checkpoint. Without a suffix a
            # file of the same second would be overwritten.
            where, suffix = str(folder / "tensorboard"), f".{epoch:06d}"
            writers.append(SummaryWriter(where, purge_step=epoch, filename_suffix=suffix))
        for name, value in curves(row).items():
            writers[0].add_scalar(name, value, epoch)
        writers[0].flush()

    try:
        yield track
    finally:
        for writer in writers:
            writer.close()


def curves(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of an epoch: "seconds", and "loss/hybrid" of each member."""
    found: dict[str, Any] = {}
    for member, told in row.items():
        if isinstance(told, Mapping):
            found |= {f"{name}/{member}": value for name, value in told.items()}
        elif member != "epoch":
            found[member] = told
    return {name: float(value) for name, value in found.items() if _finite(value)}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
