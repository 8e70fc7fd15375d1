"""Datasets of tensorflow-datasets as arrays, without TensorFlow."""

from __future__ import annotations

import difflib
import hashlib
import re
from typing import Any

import numpy as np

from qnn_jax.data.fashion_mnist import data_folder
from qnn_jax.data.tables import MOST_BYTES, MOST_ROWS
from qnn_jax.errors import InputError

#: How such a dataset is named where a file may be named, too.
PREFIX = "tfds:"
# Without a namespace: a dataset of one may be code from elsewhere.
_NAME = re.compile(r"[a-z]\w*(/\w[\w.-]*)?")


def read_prepared(name: str) -> tuple[dict[str, np.ndarray], str]:
    """Arrays x and y of a supervised dataset, x_test and y_test of its test split; a checksum.

    It is prepared on first use, which may download it, in the folder TFDS_DATA_DIR, by default
    ~/tensorflow_datasets. Class numbers become class names.

    Raises:
        InputError: if there is no such dataset, it cannot be prepared, is not supervised, or its
            examples differ in shape.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise InputError(
            f"Argument `data` must be a file where tensorflow-datasets is not installed (pip "
            f"install 'qnn-jax[pipelines]'), but is '{PREFIX}{name}'."
        ) from None
    if not _NAME.fullmatch(name):
        raise InputError(
            f"Argument `data` must name a dataset like {PREFIX}mnist, with a configuration behind "
            f"a slash, but is '{PREFIX}{name}'."
        )
    folder = data_folder()
    try:
        builder = tfds.builder(name, data_dir=str(folder))
    except (tfds.core.registered.DatasetNotFoundError, ValueError):
        near = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False))
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
        raise InputError(
            "Argument `data` must name a dataset of tensorflow-datasets, but "
            f"{name!r} is none{hint}"
        ) from None
    keys = builder.info.supervised_keys
    if keys is None or len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        raise InputError(
            f"Argument `data` must name a dataset of inputs and targets, but {name!r} has not one "
            "of each."
        )
    try:
        builder.download_and_prepare(file_format="array_record")
    except (OSError, RuntimeError, tfds.core.download.DownloadError) as error:
        raise InputError(
            f"Dataset {name!r} must be prepared in {builder.data_dir}, but cannot be "
            f"({str(error).splitlines()[0][:120]})."
        ) from None
    if "train" not in builder.info.splits:
        raise InputError(
            f"Argument `data` must name a dataset with a split 'train', but {name!r} has "
            f"{', '.join(builder.info.splits)}."
        )
    arrays: dict[str, np.ndarray] = {}
    checksum = hashlib.sha256()
    for split, ending in (("train", ""), ("test", "_test")):
        if split not in builder.info.splits:
            continue
        count = builder.info.splits[split].num_examples
        if count > MOST_ROWS or builder.info.dataset_size > MOST_BYTES:
            raise InputError(
                f"Dataset {name!r} must have at most {MOST_ROWS} examples and {MOST_BYTES} bytes, "
                f"but has {count} and {builder.info.dataset_size}."
            )
        rows = list(builder.as_data_source(split))
        inputs, targets = ([np.asarray(row[key]) for row in rows] for key in keys)
        if len({each.shape for each in inputs}) != 1:
            raise InputError(f"Dataset {name!r} must have inputs of one shape, but has several.")
        arrays[f"x{ending}"] = np.stack(inputs)
        arrays[f"y{ending}"] = _named(np.stack(targets), builder.info.features[keys[1]])
        for part in ("x", "y"):
            checksum.update(np.ascontiguousarray(arrays[part + ending]).data)
    return arrays, checksum.hexdigest()


def _named(targets: np.ndarray, feature: Any) -> np.ndarray:
    """Class names in place of class numbers, if the dataset has any."""
    names = getattr(feature, "names", None)
    return targets if not names else np.array(names)[targets]
