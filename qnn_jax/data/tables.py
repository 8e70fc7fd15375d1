"""Tables of a user's own: CSV and Parquet as columns of text, NPZ as arrays. Nothing is executed.

A column of a table is text at first, whatever the file: what is a number, a category or missing is
decided in one place for all kinds of files. No JAX here.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qnn_jax.errors import InputError

#: What an empty place in a table is written as.
MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
#: So many rows are read of a table, and so many bytes of a file.
MOST_ROWS, MOST_BYTES = 5_000_000, 8 * 2**30
_DELIMITERS = ",;\t"
_KINDS = ".csv, .tsv, .parquet or .npz"


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table as text.

    Attributes:
        path: of its file.
        columns: by name, in the file's order; None is a missing value.
        lines: what messages call each row: "line 7" of a CSV, "row 6" of a Parquet file.
        checksum: sha256 of the file.
    """

    path: Path
    columns: Mapping[str, Sequence[str | None]]
    lines: Sequence[int]
    checksum: str
    unit: str = "line"

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str, argument: str) -> Sequence[str | None]:
        """A column by name; where there is none, names that are near are offered."""
        if name in self.columns:
            return self.columns[name]
        near = difflib.get_close_matches(name, self.columns, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
        raise InputError(
            f"Argument `{argument}` must be a column of {self.path} ({some(self.columns)}), but "
            f"is {name!r}{hint}"
        )

    def where(self, name: str, row: int) -> str:
        """A place in the table, in words."""
        return f"column {name!r}, {self.unit} {self.lines[row]} of {self.path}"


def number(text: str | None) -> float | None:
    """The number that a text is: NaN of a missing value, None of what is no number."""
    if text is None:
        return math.nan
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def read_table(path: Path) -> RawTable:
    """Read a CSV (comma, semicolon or tab; the first line has the names) or a Parquet file.

    Raises:
        InputError: where there is no such file, or it is none of these.
    """
    kind = path.suffix.lower()
    data = _bytes(path)
    checksum = hashlib.sha256(data).hexdigest()
    if kind in (".csv", ".tsv", ".txt"):
        names, rows, lines = _csv(path, data)
        unit = "line"
    elif kind in (".parquet", ".pq"):
        names, rows, lines = _parquet(path, data)
        unit = "row"
    else:
        raise InputError(f"Argument `data` must be a file {_KINDS}, but is {str(path)!r}.")
    _check_names(path, names)
    if not rows:
        raise InputError(f"File {path} must have rows below its names, but has none.")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return RawTable(path, columns, lines, checksum, unit)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of an .npz file, none of objects, and its sha256.

    Raises:
        InputError: where it is none, or has objects, which would be executed code.
    """
    data = _bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"it unpacks to more than {MOST_BYTES} bytes")
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    # Whatever NumPy, zipfile and zlib raise; MemoryError where a header claims more than is there.
    except Exception as error:
        raise InputError(
            f"File {path} must be an .npz of arrays of numbers or text, but is not "
            f"({_first_line(error)})."
        ) from None
    return arrays, hashlib.sha256(data).hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:80]


def _bytes(path: Path) -> bytes:
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise InputError(
                f"File {path} must have at most {MOST_BYTES} bytes, but has {path.stat().st_size}."
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"Argument `data` must be a file that can be read, but is {str(path)!r} "
            f"({error.strerror})."
        ) from None


def _csv(path: Path, data: bytes) -> tuple[list[str], list[list[str | None]], list[int]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"File {path} must be text in UTF-8, but its byte {error.start} is not; save it as "
            "UTF-8."
        ) from None
    if "\0" in text:
        raise InputError(f"File {path} must be a table of text, but holds zero bytes.")
    first = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    rows: list[list[str | None]] = []
    lines: list[int] = []
    try:
        for cells in reader:
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                continue
            if names is None:
                names = [cell.strip() for cell in cells]
                continue
            if len(cells) != len(names):
                raise InputError(
                    f"File {path} must have {len(names)} values in each line, as its first line "
                    f"has, but line {reader.line_num} has {len(cells)}."
                )
            if len(rows) >= MOST_ROWS:
                raise InputError(f"File {path} must have at most {MOST_ROWS} rows, but has more.")
            rows.append([_value(cell) for cell in cells])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(
            f"File {path} must be a table of comma-separated values, but line {reader.line_num} is "
            f"not ({error})."
        ) from None
    if names is None:
        raise InputError(f"File {path} must have names in its first line, but is empty.")
    return names, rows, lines


def _value(cell: str) -> str | None:
    cell = cell.strip()
    return None if cell.lower() in MISSING else cell


def _parquet(path: Path, data: bytes) -> tuple[list[str], list[list[str | None]], list[int]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            "Argument `data` must be a .csv or .npz file where pyarrow, which reads Parquet, is "
            f"not installed (pip install pyarrow), but is {str(path)!r}."
        ) from None
    try:
        table = parquet.read_table(pyarrow.BufferReader(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            f"File {path} must be a Parquet file, but is not ({_first_line(error)})."
        ) from None
    columns = [[_of_parquet(value) for value in column.to_pylist()] for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return list(table.column_names), rows, list(range(len(rows)))


def _of_parquet(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return _value(str(value))


def _check_names(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if not name:
            raise InputError(
                f"File {path} must have a name for each column in its first line, but column "
                f"{names.index(name)} has none."
            )
        if names.count(name) > 1:
            raise InputError(
                f"File {path} must have each column once, but has {name!r} {names.count(name)} "
                "times."
            )
    if all(number(name) is not None for name in names):
        raise InputError(
            f"File {path} must have names in its first line, but has the numbers "
            f"{some(names)}; add a line of names."
        )


def some(names: Any) -> str:
    """The first names, and how many more there are."""
    every = [str(name) for name in names]
    return ", ".join(every[:10]) + (f" and {len(every) - 10} more" if len(every) > 10 else "")


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """An array of finite real numbers in single precision; images of uint8 as they are."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "fiub":
        raise InputError(f"Array `{name}` must hold real numbers, but is of dtype {values.dtype}.")
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    bad = np.argwhere(~np.isfinite(numbers))
    if bad.size:
        place = tuple(bad[0].tolist())
        raise InputError(
            f"Array `{name}` must hold finite numbers, but has {values[place]} at {place}."
        )
    return numbers
