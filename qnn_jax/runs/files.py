"""Files that are whole or not there: written under a temporary name, synced, then renamed."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from qnn_jax.errors import InputError

_SEAL = 64  # bytes at the end of a sealed .npz: the sha256 of all bytes before them, in hexadecimal


@contextmanager
def explained(attempt: str, way_out: str) -> Iterator[None]:
    """Turn OSError into ``Cannot {attempt} (File exists): {way_out}.`` (InputError)."""
    try:
        yield
    except OSError as error:
        raise InputError(f"Cannot {attempt} ({error.strerror or error}): {way_out}.") from error


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: a crash at any moment leaves the old contents or the new ones.

    Raises InputError, with the old contents in place and no temporary file left, if the disk is
    full or the folder cannot be written.
    """
    # The process id keeps two processes from writing one temporary file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(
        f"write {len(data)} bytes to {path}",
        "make room and permission to write there, or give another --results-dir",
    ):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:  # KeyboardInterrupt too
            with suppress(OSError):
                temporary.unlink()
            raise
        # A rename outlives a power cut only once its folder is on the disk as well.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove(path: Path) -> None:
    """Delete the file `path`, which may be gone already. Raises InputError if that fails."""
    with explained(f"delete {path}", "delete it by hand"):
        path.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Convert what `json` does not know: paths, NumPy and JAX arrays."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} of type {type(value).__name__} has no form in JSON.")


def encode_json(value: object) -> str:
    """One line of JSON. nan and inf keep Python's spelling, which only Python reads back."""
    return json.dumps(value, default=_plain)


def normalised(value: object) -> Any:
    """`value` as JSON reads it back: tuples and arrays are lists, paths strings, nan and inf None.

    Raises TypeError for anything that has no form in JSON.
    """
    return json.loads(encode_json(value), parse_constant=lambda _: None)


def write_json_atomic(path: Path, value: object) -> None:
    """Write `value`, `normalised`, as indented JSON. Raises as `write_bytes_atomic` does."""
    write_bytes_atomic(path, (json.dumps(normalised(value), indent=2) + "\n").encode())


def read_json(path: Path, way_out: str = "delete it or put it right") -> dict[str, Any] | None:
    """Read the JSON object in `path`; None where there is no such file.

    Raises InputError, which ends in `way_out`, if it cannot be read or holds no JSON object.
    """
    with explained(f"read {path}", way_out):
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
    try:
        value = json.loads(text)
    except ValueError:  # not JSON, or not even UTF-8
        value = None
    if not isinstance(value, dict):
        raise InputError(f"File {path} is damaged, for it holds no JSON object: {way_out}.")
    return value


def write_npz_atomic(path: Path, arrays: Mapping[str, Any]) -> str:
    """Write `arrays` (numbers or bools of any shape) as `.npz`; return the file's sha256.

    The same arrays give the same bytes at any time. np.load reads the file; `read_npz` also
    checks the seal, a sha256 in the archive's comment, since a zip archive alone does not notice
    every flipped bit. Raises TypeError for other dtypes, else as `write_bytes_atomic` does.
    """
    buffer = io.BytesIO()
    # np.savez would take an array named `file` for its own argument.
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, value in arrays.items():
            array = np.asarray(value, order="C")
            if array.dtype.kind not in "biufc":  # bfloat16 would lose its dtype without a word
                raise TypeError(f"Array `{name}` has dtype {array.dtype}, which .npz cannot hold.")
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = b"0" * _SEAL
    contents = buffer.getvalue()[:-_SEAL]
    data = contents + hashlib.sha256(contents).hexdigest().encode()
    write_bytes_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def read_npz(
    path: Path, way_out: str = "train this run again, with --no-resume if it has ended"
) -> dict[str, np.ndarray[Any, Any]]:
    """Read what `write_npz_atomic` wrote.

    Raises InputError, which ends in `way_out`, if it cannot be read or any bit of it has changed.
    """
    with explained(f"read {path}", way_out):
        data = path.read_bytes()
    if hashlib.sha256(data[:-_SEAL]).hexdigest().encode() != data[-_SEAL:]:
        raise InputError(f"File {path} is damaged, for it fails its own sha256: {way_out}.")
    # np.load would confuse arrays named `a` and `a.npy`.
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {
            name.removesuffix(".npy"): np.lib.format.read_array(
                io.BytesIO(archive.read(name)), allow_pickle=False
            )
            for name in archive.namelist()
        }
