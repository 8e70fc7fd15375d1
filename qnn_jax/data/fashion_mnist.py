"""Loading Fashion-MNIST: from a cache, else from TFDS's records, else from the archives.

Below the data folder, `fashion_mnist_idx/1.0.0/` are the records that TFDS prepares,
`fashion_mnist_idx/arrays-1.0.0.u8` are the same bytes decoded (training images, training labels,
test images, test labels), and `downloads/fashion_mnist_idx/` the archives if they were downloaded.
Whatever is read is held against the one sha256 of the published data before it is used, and
whatever fails that is made anew.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from qnn_jax.circuits.checks import function, of_type
from qnn_jax.data.archives import read_folder
from qnn_jax.data.dataset import ImageDataset
from qnn_jax.data.files import locked, write_atomically
from qnn_jax.data.idx import Uint8Array, read_split
from qnn_jax.data.source import FASHION_MNIST, Report, Source, silent
from qnn_jax.errors import InputError

_NAME = "fashion_mnist_idx"
_VERSION = "1.0.0"


def load_fashion_mnist(
    data_dir: Path | None = None, manual_dir: Path | None = None, report: Report = silent
) -> ImageDataset:
    """Load all ten classes of Fashion-MNIST; prepare them first if that was not yet done.

    `data_dir` is where prepared data are kept: else the variable TFDS_DATA_DIR, else
    `~/tensorflow_datasets`. `manual_dir` is a folder with the four official archives, used
    instead of a download: else the variable QNN_JAX_MANUAL_DIR. An argument is always checked,
    the variable only when something has to be prepared. `report` hears of progress.

    Raises InputError when there is no data and no way to it, when an archive is not the official
    one, and when `data_dir` cannot be written.
    """
    return load_images(FASHION_MNIST, data_dir, manual_dir, report)


def load_images(
    source: Source,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    report: Report = silent,
) -> ImageDataset:
    """Do what `load_fashion_mnist` does, for any source of that form."""
    for name, folder in (("data_dir", data_dir), ("manual_dir", manual_dir)):
        if folder is not None:
            of_type(name, folder, Path, "a pathlib.Path")
    function("report", report)
    root = _data_dir(data_dir)
    manual = _manual_folder(manual_dir)
    with _data_dir_errors(root):
        archives = None
        # Before anything is written, so that wrong archives leave nothing behind.
        if manual and (manual_dir is not None or not (root / _NAME).exists()):
            archives = read_folder(source, *manual)
        contents = _read_cache(source, root)
        if contents is None:
            root.mkdir(parents=True, exist_ok=True)
            waiting = f"Waiting for another process that prepares {source.title}"
            with locked(root / f".{_NAME}.lock", lambda: report(waiting, 0, 0)):
                contents = _make_contents(source, root, manual, archives, report)
    contents.flags.writeable = False
    splits = _splits(source, contents)
    return ImageDataset(
        source.title, *splits["train"], *splits["test"], source.class_names, source.contents_sha256
    )


def _data_dir(argument: Path | None) -> Path:
    folder = _expand(argument or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if folder.parts[:1] == ("~",):
        raise InputError(
            "Argument `data_dir` must name the folder to keep data in where the user has no "
            "home folder, but is not given."
        )
    return folder


def _expand(path: str | Path) -> Path:
    """Replace `~`, which make and env files leave as it is; without a home folder it stays."""
    return Path(os.path.expanduser(path))


def _manual_folder(argument: Path | None) -> tuple[Path, str] | None:
    """Return the folder with archives, and what errors call it."""
    if argument is not None:
        return _expand(argument), "Argument `manual_dir`"
    variable = os.environ.get("QNN_JAX_MANUAL_DIR")
    if variable:
        label = "Argument `manual_dir` (here the variable QNN_JAX_MANUAL_DIR)"
        return _expand(variable), label
    return None


@contextlib.contextmanager
def _data_dir_errors(root: Path) -> Iterator[None]:
    """Say of every trouble with files below `root` which argument leads out of it."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"Argument `data_dir` must be a folder to write to with 200 MB free, but "
            f"'{error.filename or root}' fails with: {error.strerror or error}."
        ) from error


def _make_contents(
    source: Source,
    root: Path,
    manual: tuple[Path, str] | None,
    archives: tuple[bytes, ...] | None,
    report: Report,
) -> Uint8Array:
    """Return the contents, and leave records and cache behind; the lock is held."""
    contents = _read_cache(source, root)  # another process may have written it meanwhile
    if contents is not None:
        return contents
    if _cache(root).exists():
        report(f"Replacing '{_cache(root)}', which is damaged", 0, 0)
    contents = _read_records(source, root, report)
    if contents is None:
        if archives is None and manual:
            archives = read_folder(source, *manual)
        if archives is None:
            from qnn_jax.data.fetch import download

            archives = download(source, root / "downloads" / _NAME, report)
        contents = _prepare(source, archives, root, report)
    write_atomically(_cache(root), contents.data)
    return contents


def _cache(root: Path) -> Path:
    return root / _NAME / f"arrays-{_VERSION}.u8"


def _read_cache(source: Source, root: Path) -> Uint8Array | None:
    size = 785 * (source.train_count + source.test_count)
    try:
        if _cache(root).stat().st_size != size:
            return None
        contents = np.fromfile(_cache(root), np.uint8)
    except FileNotFoundError:
        return None
    return contents if _is_sound(source, contents) else None


def _is_sound(source: Source, contents: Uint8Array) -> bool:
    return hashlib.sha256(contents.data).hexdigest() == source.contents_sha256


def _splits(source: Source, contents: Uint8Array) -> dict[str, tuple[Uint8Array, Uint8Array]]:
    """Return views of the one array as images and labels of each split."""
    sizes = (source.train_count * 784, source.train_count, source.test_count * 784)
    parts = np.split(contents, np.cumsum(sizes))
    return {
        "train": (parts[0].reshape(-1, 28, 28), parts[1]),
        "test": (parts[2].reshape(-1, 28, 28), parts[3]),
    }


def _read_records(source: Source, root: Path, report: Report) -> Uint8Array | None:
    """Decode records of an earlier run; None where there are none or where they are damaged."""
    if not (root / _NAME / _VERSION).exists():
        return None
    try:
        contents = _decode(source, root, report)
    except Exception:  # damaged records fail in many ways, and each has the same remedy
        return None
    return contents if _is_sound(source, contents) else None


def _decode(source: Source, root: Path, report: Report) -> Uint8Array:
    from qnn_jax.data import builder

    contents = np.zeros(785 * (source.train_count + source.test_count), np.uint8)
    builder.read_records(root, _splits(source, contents), report)
    return contents


def _prepare(source: Source, archives: tuple[bytes, ...], root: Path, report: Report) -> Uint8Array:
    from qnn_jax.data import builder

    names = [archive.name for archive in source.archives]
    classes = len(source.class_names)
    splits = {
        "train": read_split(archives[0], archives[1], (names[0], names[1]), classes),
        "test": read_split(archives[2], archives[3], (names[2], names[3]), classes),
    }
    # TFDS would take damaged records for done, and what a killed process has left is of no use.
    for leftover in (root / _NAME).glob("*"):
        if leftover.name == _VERSION or leftover.name.startswith("incomplete."):
            shutil.rmtree(leftover)
    builder.prepare(root, splits, report)
    contents = _decode(source, root, report)
    if not _is_sound(source, contents):
        raise RuntimeError(f"What TFDS has prepared in '{root / _NAME}' is not what it was given.")
    return contents
