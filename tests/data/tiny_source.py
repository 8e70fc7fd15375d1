"""A tiny dataset of the same form as Fashion-MNIST."""

import dataclasses
import gzip
import hashlib
from pathlib import Path

import numpy as np

from qnn_jax.data.source import FASHION_MNIST, Archive, Source


def idx(array: np.ndarray) -> bytes:
    """Return `array` of uint8 as the bytes of an IDX file."""
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes((0, 0, 8, array.ndim)) + lengths + array.tobytes()


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A source of 30 + 20 images, the folder with its archives, and its arrays."""

    source: Source
    folder: Path
    arrays: tuple[np.ndarray, ...]

    @property
    def names(self):
        return [archive.name for archive in self.source.archives]

    def check(self, dataset):
        """Check that `dataset` is this source, complete and in order."""
        loaded = (
            dataset.train_images,
            dataset.train_labels,
            dataset.test_images,
            dataset.test_labels,
        )
        for got, wanted in zip(loaded, self.arrays, strict=True):
            np.testing.assert_array_equal(got, wanted, strict=True)

    def served_at(self, *addresses):
        """Return the source with other addresses."""
        return dataclasses.replace(self.source, addresses=addresses)


def make_tiny(folder, seed=7, shape=(28, 28)):
    """Write the archives into `folder`."""
    rng = np.random.default_rng(seed)
    arrays = (
        rng.integers(256, size=(30, *shape), dtype=np.uint8),
        (np.arange(30) % 10).astype(np.uint8),
        rng.integers(256, size=(20, *shape), dtype=np.uint8),
        (np.arange(20) % 10).astype(np.uint8),
    )
    folder.mkdir()
    archives = []
    for official, array in zip(FASHION_MNIST.archives, arrays, strict=True):
        data = gzip.compress(idx(array), mtime=0)
        (folder / official.name).write_bytes(data)
        archives.append(Archive(official.name, len(data), hashlib.sha256(data).hexdigest()))
    source = Source(
        title="Tiny-MNIST",
        # Port 9 of this machine refuses connections, so no test can depend on a network.
        addresses=("http://127.0.0.1:9/",),
        train_images=archives[0],
        train_labels=archives[1],
        test_images=archives[2],
        test_labels=archives[3],
        image_shape=shape,
        train_count=30,
        test_count=20,
        class_names=FASHION_MNIST.class_names,
        contents_sha256=hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest(),
    )
    return Tiny(source, folder, arrays)
