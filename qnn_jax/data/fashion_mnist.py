"""Loading Fashion-MNIST: from a cache, else from the archives.

Below the data folder each source has one of its own, named after its title and its checksum.
`arrays.u8` in it are the decoded bytes (training images, training labels, test images, test
labels), and `archives/` are the archives, if they were downloaded. Whatever is read is held against
the one sha256 of the published data before it is used, and a cache that fails that is made again.
"""

import contextlib
import hashlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from qnn_jax.circuits.checks import flag, function, of_type
from qnn_jax.data.archives import read_folder
from qnn_jax.data.dataset import ImageDataset
from qnn_jax.data.idx import Uint8Array, read_split
from qnn_jax.data.lock import locked
from qnn_jax.data.source import FASHION_MNIST, Report, Source, silent
from qnn_jax.errors import InputError
from qnn_jax.runs.files import remove_torn, replace_file


def load_fashion_mnist(
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    report: Report = silent,
    prepare: bool = True,
) -> ImageDataset:
    """Load all ten classes of Fashion-MNIST; prepare them first if necessary.

    `data_dir` is the folder of prepared data: else the variable TFDS_DATA_DIR, else
    `~/tensorflow_datasets`. `manual_dir` is a folder with the four official archives, used
    instead of a download: else the variable QNN_JAX_MANUAL_DIR. An argument is always checked,
    the variable only if data must be prepared. `report` is called with progress. Without `prepare`
    nothing is written: the prepared data must be in `data_dir`.

    Raises InputError if there are no data and no way to get them, if an archive is not the official
    one, and if `data_dir` cannot be written.
    """
    return load_images(FASHION_MNIST, data_dir, manual_dir, report, prepare)


def load_images(
    source: Source,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    report: Report = silent,
    prepare: bool = True,
) -> ImageDataset:
    """`load_fashion_mnist` for any source of that form."""
    for name, folder in (("data_dir", data_dir), ("manual_dir", manual_dir)):
        if folder is not None:
            of_type(name, folder, Path, "a pathlib.Path")
    function("report", report)
    flag("prepare", prepare)
    root = data_folder(data_dir)
    folder = root / source.folder
    manual = _manual_folder(manual_dir)
    with _data_dir_errors(source, root):
        archives = None
        # Before anything is written, so that wrong archives leave nothing behind.
        if manual and (manual_dir is not None or not _cache(folder).exists()):
            archives = read_folder(source, *manual)
        contents = _read_cache(source, folder)
        if contents is None and not prepare:
            raise InputError(
                "Argument `data_dir` must name the folder for the data, because the one that the "
                f"run's files name, {root}, does not have {source.title} prepared, and nothing is "
                "written into a folder that only a file names."
            )
        if contents is None:
            folder.mkdir(parents=True, exist_ok=True)
            waiting = f"Waiting for another process that prepares {source.title}"
            with locked(folder / ".lock", lambda: report(waiting, 0, 0)):
                contents = _make_contents(source, folder, manual, archives, report)
    contents.flags.writeable = False
    ends = np.cumsum([math.prod(shape) for shape in source.shapes])
    train_images, train_labels, test_images, test_labels = (
        part.reshape(shape)
        for part, shape in zip(np.split(contents, ends[:-1]), source.shapes, strict=True)
    )
    return ImageDataset(
        source.title,
        train_images,
        train_labels,
        test_images,
        test_labels,
        source.class_names,
        source.contents_sha256,
    )


def data_folder(argument: Path | None = None) -> Path:
    """The folder of prepared data: the argument, else TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    folder = _expand(argument or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if folder.parts[:1] == ("~",):
        raise InputError(
            "Argument `data_dir` must name the folder to keep data in where the user has no "
            "home folder, but is not given."
        )
    return folder


def _expand(path: str | Path) -> Path:
    """Expand `~`, which make and env files do not; without a home folder it stays."""
    return Path(os.path.expanduser(path))


def _manual_folder(argument: Path | None) -> tuple[Path, str] | None:
    """Return the folder with archives, and its name in errors."""
    if argument is not None:
        return _expand(argument), "Argument `manual_dir`"
    variable = os.environ.get("QNN_JAX_MANUAL_DIR")
    if variable:
        label = "Argument `manual_dir` (here the variable QNN_JAX_MANUAL_DIR)"
        return _expand(variable), label
    return None


@contextlib.contextmanager
def _data_dir_errors(source: Source, root: Path) -> Iterator[None]:
    """Say of every trouble with files below `root` which argument leads out of it."""
    needed = _size(source) + sum(archive.size for archive in source.archives)
    try:
        yield
    except OSError as error:
        raise InputError(
            f"Argument `data_dir` must be a folder to write to with {-(-needed // 10**6)} MB free, "
            f"but '{error.filename or root}' fails with: {error.strerror or error}."
        ) from error


def _make_contents(
    source: Source,
    folder: Path,
    manual: tuple[Path, str] | None,
    archives: tuple[bytes, ...] | None,
    report: Report,
) -> Uint8Array:
    """Return the contents, and leave a cache behind; the lock is held."""
    contents = _read_cache(source, folder)  # another process may have written it meanwhile
    if contents is not None:
        return contents
    if _cache(folder).exists():
        report(f"Replacing '{_cache(folder)}', which is damaged", 0, 0)
    remove_torn(folder)
    remove_torn(folder / "archives")
    if archives is None and manual:
        archives = read_folder(source, *manual)
    if archives is None:
        from qnn_jax.data.fetch import download

        archives = download(source, folder / "archives", report)
    report(f"Unpacking {source.title}", 0, 0)
    contents = _unpacked(source, archives)
    replace_file(_cache(folder), contents.data)
    return contents


def _cache(folder: Path) -> Path:
    return folder / "arrays.u8"


def _size(source: Source) -> int:
    """The bytes of all arrays."""
    return sum(map(math.prod, source.shapes))


def _read_cache(source: Source, folder: Path) -> Uint8Array | None:
    try:
        if _cache(folder).stat().st_size != _size(source):
            return None
        contents = np.fromfile(_cache(folder), np.uint8)
    except FileNotFoundError:
        return None
    return contents if _is_sound(source, contents) else None


def _is_sound(source: Source, contents: Uint8Array) -> bool:
    return hashlib.sha256(contents.data).hexdigest() == source.contents_sha256


def _unpacked(source: Source, archives: tuple[bytes, ...]) -> Uint8Array:
    """The contents of verified archives.

    Raises InputError where `source` does not say what is in them.
    """
    names = [archive.name for archive in source.archives]
    arrays: list[Uint8Array] = []
    for k in (0, 2):
        arrays += read_split(
            archives[k],
            archives[k + 1],
            (names[k], names[k + 1]),
            source.image_shape,
            len(source.class_names),
        )
    for array, shape, name in zip(arrays, source.shapes, names, strict=True):
        if array.shape != shape:
            raise InputError(
                f"Archive '{name}' must hold {shape[0]} entries, but holds {len(array)}."
            )
    contents = np.concatenate([array.reshape(-1) for array in arrays])
    if not _is_sound(source, contents):
        raise InputError(
            f"Archives {source.archive_names} must hold the data that `contents_sha256` stands "
            f"for, but their sha256 is {hashlib.sha256(contents.data).hexdigest()}."
        )
    return contents
