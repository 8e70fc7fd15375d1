"""Checkpoints: the whole state after an epoch in one `.npz` with a checksum, leaves named by path.

A checkpoint of epoch k is the state after k finished epochs. Nothing is pickled. Random keys are
not stored: they follow from the seed and the epoch by `fold_in`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.runs.files import (
    JSON_BYTES,
    decode_json,
    encode_json,
    explained,
    npz_bytes,
    read_npz,
    remove,
    write_npz_atomic,
)
from qnn_jax.runs.schema import from_json

_META = "checkpoint.json"  # stored with the leaves: epoch and fingerprint, as bytes of JSON
_OTHER_RUN = "give another `run` name, or `resume=False` to start over"


@dataclass(frozen=True)
class Checkpoint:
    """The result of `load`."""

    epoch: int
    tree: Any


class _Meta(TypedDict):
    """The contents of a checkpoint besides the leaves."""

    epoch: int
    fingerprint: str


def epochs(folder: Path) -> dict[int, Path]:
    """List the checkpoints in `folder` by epoch, earliest first; none if it does not exist."""
    found = {_epoch(path): path for path in folder.glob("epoch-*.npz")}
    return {epoch: found[epoch] for epoch in sorted(found) if epoch >= 0}


def latest(folder: Path) -> Path | None:
    """Find the checkpoint of the highest epoch, not of the latest date; None if there is none."""
    return next(reversed(epochs(folder).values()), None)


def save(folder: Path, epoch: int, tree: Any, *, fingerprint: str, keep: int = 3) -> Path:
    """Write the checkpoint of `epoch`, then delete earlier ones until `keep` remain.

    `tree` is a pytree of arrays and Python numbers; `fingerprint` identifies the run and is checked
    by `load`. Raises InputError if the disk is full; every earlier checkpoint is then still there.
    Raises TypeError for leaves of other types (bfloat16, typed PRNG keys).
    """
    if keep < 1:
        raise InputError(f"Argument `keep` must be at least 1, but is {keep}.")
    leaves, _ = _flatten(tree)
    meta = encode_json({"epoch": epoch, "fingerprint": fingerprint})
    path = folder / f"epoch-{epoch:06d}.npz"
    with explained(f"make {folder}", "give another `results_dir`"):
        folder.mkdir(exist_ok=True)
    write_npz_atomic(path, {_META: np.frombuffer(meta.encode(), np.uint8), **leaves})
    # Later epochs may exist after a rollback: they must not cause this one to be deleted.
    not_later = [other for number, other in epochs(folder).items() if number <= epoch]
    for other in not_later[:-keep]:
        remove(other)
    return path


def load(path: Path, like: Any, *, fingerprint: str) -> Checkpoint:
    """Read the checkpoint at `path` into the structure of `like`.

    `like` is a pytree of arrays, Python numbers or jax.ShapeDtypeStruct. Arrays are returned as
    NumPy arrays, bit for bit; Python numbers as such. Raises InputError if the file is damaged or
    larger than `like`, if it belongs to a run with another fingerprint, or if a leaf is missing, is
    unexpected or has another shape or dtype.
    """
    epoch = _epoch(path)
    before = [number for number in epochs(path.parent) if number < epoch]
    way_out = (
        f"delete it, and the same command continues from epoch {before[-1]}"
        if before
        else "no checkpoint is before it, so delete it or give `resume=False` to start over"
    )
    leaves, treedef = _flatten(like)
    shaped = {name: _shaped(leaf) for name, leaf in leaves.items()}
    arrays = read_npz(path, way_out, npz_bytes(shaped) + JSON_BYTES)
    text = arrays.pop(_META, np.zeros(0, np.uint8)).tobytes()
    what = f"File {path}, at its {_META},"
    meta = from_json(_Meta, decode_json(text, finite=False), what, way_out)
    if meta["epoch"] != epoch:
        raise InputError(
            f"File {path} is not the checkpoint that its name says, because it holds epoch "
            f"{meta['epoch']}: correct the name or delete it."
        )
    if meta["fingerprint"] != fingerprint:
        raise InputError(f"Checkpoint {path} was made under another configuration: {_OTHER_RUN}.")
    for name in (*leaves, *arrays):
        stored, wanted = _kind(arrays.get(name)), _kind(leaves.get(name))
        if stored != wanted:
            raise InputError(
                f"Checkpoint {path} has {stored} at `{name}`, but this model has {wanted}: "
                f"{_OTHER_RUN}."
            )
    restored = [
        arrays[name].item() if type(leaf) in (bool, int, float, complex) else arrays[name]
        for name, leaf in leaves.items()
    ]
    return Checkpoint(epoch, treedef.unflatten(restored))


def _epoch(path: Path) -> int:
    """The epoch in a checkpoint's name; -1 if it is not a checkpoint."""
    match = re.fullmatch(r"epoch-(\d+)\.npz", path.name)
    return int(match[1]) if match else -1


def _flatten(tree: Any) -> tuple[dict[str, Any], Any]:
    """Return the leaves of `tree` by path (``params/encoder/kernel``), and its treedef."""
    import jax  # imported late, so that bad input is reported before JAX is loaded

    pairs, treedef = jax.tree_util.tree_flatten_with_path(tree)
    leaves = {jax.tree_util.keystr(at, simple=True, separator="/"): leaf for at, leaf in pairs}
    if len(leaves) < len(pairs) or _META in leaves:
        raise ValueError(f"Two leaves share a path, or one is `{_META}`: rename the dict's keys.")
    return leaves, treedef


def _shaped(leaf: Any) -> Any:
    """A leaf with a shape and a dtype."""
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf)


def _kind(leaf: Any) -> str:
    """A leaf's dtype and shape, for instance ``float32 of shape (2, 3)``."""
    if leaf is None:
        return "nothing"
    leaf = _shaped(leaf)
    return f"{leaf.dtype} of shape {tuple(leaf.shape)}"
