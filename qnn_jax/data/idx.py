"""Read IDX: a big-endian header (magic, one length per axis), then the bytes of the array."""

import gzip
import math
import zlib

import numpy as np

from qnn_jax.errors import InputError

Uint8Array = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def read_idx(archive: bytes, name: str, dimensions: int) -> Uint8Array:
    """Read the uint8 array with that many `dimensions` out of a gzip archive.

    `name` is the archive's name in errors. Raises InputError if the bytes are not a gzip archive,
    or if magic number, header and length do not agree exactly. The array is read-only.
    """
    try:
        data = gzip.decompress(archive)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"Archive '{name}' must be a whole gzip file, but cannot be unpacked ({error})."
        ) from error
    magic = bytes((0, 0, 8, dimensions))  # 8 says uint8
    if data[:4] != magic:
        raise InputError(
            f"Archive '{name}' must begin with the IDX magic number 0x{magic.hex()}, but begins "
            f"with 0x{data[:4].hex()}."
        )
    header = 4 + 4 * dimensions
    # An incomplete header gives an incomplete shape, which cannot match the length either.
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, header, 4))
    if len(data) - header != math.prod(shape):
        raise InputError(
            f"Archive '{name}' must hold {math.prod(shape)} bytes after its header, as its shape "
            f"{shape} says, but holds {max(0, len(data) - header)}."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_split(
    images: bytes, labels: bytes, names: tuple[str, str], shape: tuple[int, int], classes: int
) -> tuple[Uint8Array, Uint8Array]:
    """Read images (count, *shape) and their labels (count,), both uint8, from two archives.

    Raises InputError if an archive is not valid IDX, if the images have another shape, if
    the counts differ, and if a label is not below `classes`.
    """
    pixels = read_idx(images, names[0], 3)
    targets = read_idx(labels, names[1], 1)
    if pixels.shape[1:] != shape:
        wanted, found = ("×".join(map(str, sides)) for sides in (shape, pixels.shape[1:]))
        raise InputError(
            f"Archive '{names[0]}' must hold images of {wanted} pixels, but holds {found}."
        )
    if len(pixels) != len(targets):
        raise InputError(
            f"Archives '{names[0]}' and '{names[1]}' must hold as many images as labels, but hold "
            f"{len(pixels)} images and {len(targets)} labels."
        )
    if len(targets) and targets.max() >= classes:
        raise InputError(
            f"Archive '{names[1]}' must hold labels below {classes}, but holds {targets.max()}."
        )
    return pixels, targets
