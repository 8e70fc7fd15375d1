"""Fashion-MNIST as a dataset of tensorflow-datasets, in array_record files, without TensorFlow.

Importing this module imports tensorflow-datasets (about a second): import it when needed.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import (
    ArrayRecordWriter,
)
from tensorflow_datasets.core.utils import tqdm_utils
from tensorflow_datasets.proto import tf_example_pb2

from qnn_jax.data.idx import Uint8Array
from qnn_jax.data.source import FASHION_MNIST, Report, silent

Splits = Mapping[str, tuple[Uint8Array, Uint8Array]]
"""Images (count, 28, 28) and labels (count,) by the name of their split."""


_BATCH = 10_000  # records held in memory beside the arrays


class FashionMnistIdx(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Fashion-MNIST from its four IDX archives.

    The name differs from TFDS's own `fashion_mnist`, which needs TensorFlow: neither harms the
    other in a shared data folder.
    """

    VERSION = tfds.core.Version("1.0.0")
    splits: Splits | None = None
    report: Report = staticmethod(silent)

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict(
            {
                # Stored as bytes: as a list of integers an image takes three times as long.
                "image": tfds.features.Tensor(shape=(28, 28), dtype=np.uint8, encoding="bytes"),
                "label": tfds.features.ClassLabel(names=FASHION_MNIST.class_names),
            }
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images of clothing by Zalando, 28x28 pixels, ten classes.",
            features=features,
            supervised_keys=("image", "label"),
            homepage="https://github.com/zalandoresearch/fashion-mnist",
            license="MIT",
            disable_shuffling=True,  # training draws its own order
        )

    def _split_generators(self, _: Any) -> dict[str, Any]:
        if self.splits is None:
            raise RuntimeError("Prepare this dataset with qnn_jax.data.load_fashion_mnist().")
        return {
            split: self._generate_examples(split, images, labels)
            for split, (images, labels) in self.splits.items()
        }

    def _generate_examples(
        self, split: str, images: Uint8Array, labels: Uint8Array
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, label in enumerate(labels.tolist()):
            if index % 1000 == 0:
                self.report(f"Preparing {split} images", index, len(images))
            yield index, {"image": images[index], "label": label}
        self.report(f"Preparing {split} images", len(images), len(images))

    def _example_writer(self) -> "_UncompressedWriter":
        return _UncompressedWriter()

    # TFDS prints here; who wants to know hears it through `report`.
    def _log_download_bytes(self) -> None:
        pass

    def _log_download_done(self) -> None:
        pass


class _UncompressedWriter:
    """Writes array_record as TFDS does, but uncompressed: 55 MB instead of 40, a quarter faster."""

    def write(self, path: os.PathLike[str], examples: Iterable[tuple[Any, bytes]]) -> None:
        writer = ArrayRecordWriter(os.fspath(path), "group_size:1,uncompressed")
        try:
            for _, example in examples:
                writer.write(example)
            writer.close()
        except RuntimeError as error:  # so array_record tells of a full disk, at some length
            raise OSError(str(error).partition(";")[0]) from error


def prepare(data_dir: Path, splits: Splits, report: Report) -> None:
    """Let TFDS write `splits` below `data_dir`; the caller keeps other writers out."""
    builder = _builder(data_dir)
    builder.splits = splits
    builder.report = report
    bars = tqdm_utils._active
    tfds.display_progress_bar(False)
    try:
        builder.download_and_prepare()
    finally:
        tfds.display_progress_bar(bars)


def read_records(data_dir: Path, splits: Splits, report: Report) -> None:
    """Fill the arrays of `splits` with what TFDS has prepared below `data_dir`.

    Raises whatever TFDS, array_record and protobuf raise for records that are damaged; a damage
    that none of them sees is for the caller to find.
    """
    builder = _builder(data_dir)
    parse = tf_example_pb2.Example.FromString
    for split, (images, labels) in splits.items():
        # TFDS's own decoding makes a dict of arrays for each record: three times as slow.
        records = builder.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        for start in range(0, len(images), _BATCH):
            stop = min(start + _BATCH, len(images))
            for index, record in enumerate(records.__getitems__(range(start, stop)), start):
                feature = parse(record).features.feature
                image = np.frombuffer(feature["image"].bytes_list.value[0], np.uint8)
                images[index] = image.reshape(28, 28)
                labels[index] = feature["label"].int64_list.value[0]
            report(f"Reading {split} images", stop, len(images))


def _builder(data_dir: Path) -> FashionMnistIdx:
    return FashionMnistIdx(data_dir=data_dir, file_format="array_record")
