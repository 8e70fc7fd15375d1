"""IDX files are read exactly or refused."""

import gzip

import numpy as np
import pytest
from tiny_source import idx

from qnn_jax.data.idx import read_idx, read_split
from qnn_jax.errors import InputError

IMAGES = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
LABELS = np.array([9, 0, 4], np.uint8)


def split(images, labels):
    names = ("images.gz", "labels.gz")
    return read_split(gzip.compress(images), gzip.compress(labels), names, (28, 28), 10)


def test_reads_what_was_written():
    images, labels = split(idx(IMAGES), idx(LABELS))
    np.testing.assert_array_equal(images, IMAGES, strict=True)
    np.testing.assert_array_equal(labels, LABELS, strict=True)


def test_header_is_big_endian_by_the_specification():
    data = bytes.fromhex("00000801 00000002 0705")
    np.testing.assert_array_equal(read_idx(gzip.compress(data), "x", 1), [7, 5])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (idx(LABELS), idx(LABELS), r"'images.gz' .*magic number 0x00000803, .*0x00000801\."),
        (idx(IMAGES), idx(IMAGES), r"'labels.gz' .*magic number 0x00000801, .*0x00000803\."),
        (b"\0\0\x0d\3" + idx(IMAGES)[4:], idx(LABELS), "begins with 0x00000d03"),
        (b"", idx(LABELS), r"begins with 0x\."),
        (idx(IMAGES)[:10], idx(LABELS), "'images.gz' must hold .* bytes after its header"),
        (idx(IMAGES)[:-1], idx(LABELS), "must hold 2352 bytes .* but holds 2351"),
        (idx(IMAGES) + b"\0", idx(LABELS), "must hold 2352 bytes .* but holds 2353"),
        (idx(IMAGES[:, :27]), idx(LABELS), "28×28 pixels, but holds 27×28"),
        (idx(IMAGES), idx(LABELS[:2]), "hold 3 images and 2 labels"),
        (idx(IMAGES[:2]), idx(LABELS), "hold 2 images and 3 labels"),
        (idx(IMAGES), idx(LABELS + 1), "labels below 10, but holds 10"),
    ],
)
def test_refuses_what_is_not_exact(images, labels, message, one_sentence):
    with pytest.raises(InputError, match=message) as caught:
        split(images, labels)
    one_sentence(caught)


@pytest.mark.parametrize(
    "archive",
    [b"<!DOCTYPE html>", gzip.compress(idx(LABELS))[:-9], gzip.compress(b"x" * 99)[:20]],
    ids=["no gzip", "a short end", "a short beginning"],  # the bytes hold the time of day
)
def test_refuses_what_is_no_whole_gzip_file(archive, one_sentence):
    with pytest.raises(InputError, match=r"'labels\.gz' must be a whole gzip file") as caught:
        read_idx(archive, "labels.gz", 1)
    one_sentence(caught)
