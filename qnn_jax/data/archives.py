"""Read the four archives from a folder and verify them."""

import hashlib
from pathlib import Path

from qnn_jax.data.source import Archive, Source
from qnn_jax.errors import InputError


def read_folder(source: Source, folder: Path, argument: str) -> tuple[bytes, ...]:
    """Read the archives in the order of `source.archives` and verify them; nothing is written.

    `argument` is the name of the folder in errors. Raises InputError for a folder or an archive
    that is missing, cannot be read, or differs from the official one.
    """
    rule = f"{argument} must be a folder with the four archives {source.archive_names}"
    try:
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "does not exist"
            raise InputError(f"{rule}, but '{folder}' {what}.")
        missing = [a.name for a in source.archives if not (folder / a.name).is_file()]
        if missing:
            raise InputError(
                f"{rule}, but '{folder}' lacks {' and '.join(missing)}: fetch them from "
                f"{source.addresses[0]}, or leave the argument out to have all downloaded."
            )
        contents = []
        for archive in source.archives:
            data, fault = read_archive(folder / archive.name, archive)
            if fault:
                raise InputError(
                    f"{argument} must hold the official archives of {source.title}, but "
                    f"'{folder / archive.name}' {fault}: fetch it again from "
                    f"{source.addresses[0]}{archive.name}, or leave the argument out."
                )
            contents.append(data)
    except OSError as error:
        raise InputError(
            f"{rule}, but '{error.filename or folder}' cannot be read ({error.strerror})."
        ) from error
    return tuple(contents)


def read_archive(path: Path, archive: Archive) -> tuple[bytes, str | None]:
    """Read a file; return at most the bytes needed, and a clause if they are wrong."""
    with path.open("rb") as file:
        data = file.read(archive.size + 1)
    return data, fault_of(archive, data, path.stat().st_size)


def fault_of(archive: Archive, data: bytes, size: int) -> str | None:
    """Return why `data`, of a file of `size` bytes, is not the archive; empty if it is."""
    if data[:64].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "is an HTML page"
    if size == 0:
        return "is empty"
    if data[:2] != b"\x1f\x8b":
        return f"is no gzip archive (it begins with {data[:8]!r})"
    if size < archive.size:
        return f"is truncated to {size} of {archive.size} bytes"
    if size > archive.size:
        return f"is longer than the {archive.size} bytes of the official archive"
    digest = hashlib.sha256(data).hexdigest()
    if digest != archive.sha256:
        return f"has the sha256 {digest} instead of {archive.sha256}"
    return None
