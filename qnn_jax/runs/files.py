"""Files that are complete or absent: written under a temporary name, synced, then renamed.

A run's folder may come from someone else. So links in it are not followed, sizes are checked
before memory of that size is allocated, and reading never runs code from a file.
"""

import hashlib
import io
import json
import math
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from qnn_jax.circuits.checks import of_type
from qnn_jax.errors import InputError

#: Upper bound of the size of a JSON file of a run, and of one line of it.
JSON_BYTES = 16 * 2**20
#: Upper bound for reading files of unknown size.
MOST_BYTES = 2**30
_SEAL = 64  # bytes at the end of our .npz: the sha256 of all bytes before them, in hexadecimal
#: NumPy's header of an array of numbers in C order.
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufc]\d{1,2})', 'fortran_order': False, "
    rb"'shape': \(((?:\d{1,18}, ?)*\d{0,18})\), \} *\n"
)
_RETRAIN = "train this run again, with `resume=False` if it has ended"
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def explained(attempt: str, way_out: str) -> Iterator[None]:
    """Turn OSError into ``Cannot {attempt} (File exists): {way_out}.`` (InputError)."""
    try:
        yield
    except OSError as error:
        raise InputError(f"Cannot {attempt} ({error.strerror or error}): {way_out}.") from error


def open_regular(path: Path, flags: int, private: bool = False) -> FileIO:
    """Open the regular file `path`, possibly creating it, to read or to write in place.

    `flags` are those of os.open. If `private`, a new file is accessible to its owner alone. Raises
    InputError for a link, a pipe, a socket or a device, and if a file to be written has another
    hard link; OSError otherwise.
    """
    refuse_special(path)
    # Without O_NONBLOCK opening a pipe that was just put there would block.
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600 if private else 0o666)
    try:
        written = flags & (os.O_WRONLY | os.O_RDWR)
        if written:
            refuse_other_names(path, descriptor)
        return FileIO(descriptor, "a+" if written else "r")
    except BaseException:
        os.close(descriptor)
        raise


def refuse_other_names(path: Path, descriptor: int) -> None:
    """Raise InputError if the open file `path`, to be written in place, has another name."""
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        raise InputError(
            f"File {path} must have no other name, since it is written in place, but is hard "
            "linked elsewhere: replace it by a copy of itself or delete it."
        )


def refuse_special(path: Path) -> None:
    """Raise InputError if `path` is a link, a pipe, a socket or a device."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # opening it raises the error
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        raise InputError(
            f"File {path} must be the run's own, but is {kind}: put the file itself in its "
            "place, or delete it."
        )


def read_bytes(path: Path, way_out: str, most: int = JSON_BYTES) -> bytes | None:
    """Read the file `path`; None if it does not exist.

    Raises InputError, which ends in `way_out`, if it cannot be read or has more than `most` bytes,
    and if it is a link or no regular file.
    """
    of_type("path", path, Path, "a pathlib.Path")
    with explained(f"read {path}", way_out):
        try:
            file = open_regular(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with file:
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > most else file.readall()
    if size > most or len(data) > most:
        raise InputError(f"File {path} must have at most {most} bytes, but has {size}: {way_out}.")
    return data


def write_bytes_atomic(path: Path, data: bytes, private: bool = False) -> None:
    """Replace `path` by `data`: after a crash it has the old contents or the new ones.

    A link of that name is replaced, not followed. If `private`, only its owner can access the file.
    Raises InputError, with the old contents in place and no temporary file left, if the disk is
    full or the folder cannot be written.
    """
    of_type("path", path, Path, "a pathlib.Path")
    of_type("data", data, bytes, "bytes")
    with explained(
        f"write {len(data)} bytes to {path}",
        "make room and permission to write there, or give another `results_dir`",
    ):
        replace_file(path, data, private)


def replace_file(path: Path, data: bytes | memoryview, private: bool = False) -> None:
    """Do what `write_bytes_atomic` does, but raise OSError."""
    # The process id keeps two processes from writing one temporary file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # A killed process of the same number may have left one; a link could lie there.
        temporary.unlink(missing_ok=True)
        with open(temporary, "xb", opener=_private if private else None) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # KeyboardInterrupt too
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder: a new or renamed file in it outlives a power cut only after that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_torn(folder: Path) -> None:
    """Delete what a killed process has left half written in `folder`; a lock is held."""
    for file in folder.glob(".*.tmp"):
        remove(file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def remove(path: Path) -> None:
    """Delete the file `path`, which may not exist. Raises InputError if that fails."""
    with explained(f"delete {path}", "delete it by hand"):
        path.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Convert types that `json` does not support: paths, NumPy and JAX arrays."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} of type {type(value).__name__} has no form in JSON.")


def encode_json(value: object) -> str:
    """One line of JSON. nan and inf keep Python's spelling, which only Python reads."""
    return json.dumps(value, default=_plain)


def normalised(value: object) -> Any:
    """`value` as JSON reads it back: tuples and arrays are lists, paths strings, nan and inf None.

    Raises TypeError for anything that has no form in JSON.
    """
    return json.loads(encode_json(value), parse_constant=lambda _: None)


def write_json_atomic(path: Path, value: object) -> None:
    """Write `value`, `normalised`, as indented JSON. Raises as `write_bytes_atomic` does."""
    of_type("path", path, Path, "a pathlib.Path")
    write_bytes_atomic(path, (json.dumps(normalised(value), indent=2) + "\n").encode())


def decode_json(text: bytes | str, finite: bool = True) -> Any:
    """Parse JSON; None for text that is not JSON, or nested too deeply to be one of our files.

    Without `finite`, nan and inf in Python's spelling are accepted as well.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant if finite else None)
    except (ValueError, RecursionError):  # ValueError: not JSON, or not even UTF-8
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON.")


def read_json(path: Path, way_out: str = "delete it or put it right") -> dict[str, Any] | None:
    """Read the JSON object in `path`; None if the file does not exist.

    Raises InputError, which ends in `way_out`, if it cannot be read or holds no JSON object.
    """
    text = read_bytes(path, way_out)
    if text is None:
        return None
    value = decode_json(text)
    if not isinstance(value, dict):
        raise InputError(f"File {path} is damaged, because it holds no JSON object: {way_out}.")
    return value


def write_npz_atomic(path: Path, arrays: Mapping[str, Any], private: bool = False) -> str:
    """Write `arrays` (numbers or bools of any shape) as `.npz`; return the file's sha256.

    The same arrays always give the same bytes. np.load reads the file; `read_npz` also
    checks a sha256 in the archive's comment, since a zip archive alone does not detect
    every flipped bit. Raises TypeError for other dtypes, else as `write_bytes_atomic` does.
    """
    of_type("path", path, Path, "a pathlib.Path")
    of_type("arrays", arrays, Mapping, "a mapping from names to arrays")
    buffer = io.BytesIO()
    # np.savez would take an array named `file` as its own argument.
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, value in arrays.items():
            array = np.asarray(value, order="C")
            if array.dtype.kind not in "biufc":  # bfloat16 would lose its dtype silently
                raise TypeError(f"Array `{name}` has dtype {array.dtype}, which .npz cannot hold.")
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = b"0" * _SEAL
    contents = buffer.getvalue()[:-_SEAL]
    data = contents + hashlib.sha256(contents).hexdigest().encode()
    write_bytes_atomic(path, data, private)
    return hashlib.sha256(data).hexdigest()


def npz_bytes(arrays: Mapping[str, Any]) -> int:
    """The maximum size of an .npz of such `arrays` (anything with a shape and a dtype)."""
    return 1024 + sum(
        1024 + 4 * len(name) + math.prod(array.shape) * np.dtype(array.dtype).itemsize
        for name, array in arrays.items()
    )


def read_npz(
    path: Path, way_out: str = _RETRAIN, most: int = MOST_BYTES
) -> dict[str, np.ndarray[Any, Any]]:
    """Read a file written by `write_npz_atomic`.

    Raises InputError, which ends in `way_out`, if it cannot be read, has more than `most` bytes, or
    any bit of it has changed.
    """
    return arrays_of(read_sealed(path, way_out, most), path, way_out)


def read_sealed(path: Path, way_out: str = _RETRAIN, most: int = MOST_BYTES) -> bytes:
    """Read an .npz and check its sha256, for `arrays_of`. Raises as `read_npz` does."""
    data = read_bytes(path, way_out, most)
    if data is None:
        raise InputError(f"Cannot read {path} (No such file or directory): {way_out}.")
    if hashlib.sha256(memoryview(data)[:-_SEAL]).hexdigest().encode() != data[-_SEAL:]:
        raise InputError(f"File {path} is damaged, because its sha256 does not match: {way_out}.")
    return data


def arrays_of(data: bytes, path: Path, way_out: str = _RETRAIN) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays in the bytes of the checked .npz `path`.

    The checksum only detects changed bits, and anyone can compute it. So an array takes as many
    bytes in memory as in the file, since `write_npz_atomic` does not compress, and objects, which
    would be unpickled, are refused. Raises InputError, which ends in `way_out`.
    """
    of_type("data", data, bytes, "the bytes of a file")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            # Overlapping members could still hold more than the file does.
            if not stored or sum(member.file_size for member in members) > len(data):
                raise ValueError("it is compressed")
            # np.load would confuse arrays named `a` and `a.npy`.
            arrays = {m.filename.removesuffix(".npy"): _array(archive.read(m)) for m in members}
            if len(arrays) < len(members):
                raise ValueError("two of its arrays have one name")
            return arrays
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        TypeError,  # of np.dtype
        EOFError,
        OverflowError,
        RuntimeError,  # NotImplementedError as well: features that only other writers use
    ) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise InputError(
            f"File {path} was not written by qnn_jax ({reason}): {way_out}."
        ) from error


def _array(member: bytes) -> np.ndarray[Any, Any]:
    """Read an array in NumPy's format 1.0; ValueError if it is not in the form of `write_array`.

    NumPy's own reader allocates the size in the header before it checks that the data exist.
    """
    start = 10 + int.from_bytes(member[8:10], "little")
    header = _HEADER.fullmatch(member[10:start])
    if member[:8] != b"\x93NUMPY\x01\x00" or header is None:
        raise ValueError("it holds something other than arrays of numbers")
    dtype = np.dtype(header[1].decode())
    shape = tuple(int(size) for size in header[2].replace(b" ", b"").split(b",") if size)
    # Neither call allocates; a shape that does not fit the number of bytes is a ValueError.
    return np.frombuffer(member, dtype, offset=start).reshape(shape).copy()
