"""Datasets of tensorflow-datasets, prepared by its own classes from data of the test."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from qnn_jax.data.prepared import read_prepared
from qnn_jax.errors import InputError
from qnn_jax.tasks import Tabular
from qnn_jax.training import Folders

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
LABELS = np.arange(30) % 2


class QnnDots(tfds.core.GeneratorBasedBuilder):
    """Images of two classes."""

    VERSION = tfds.core.Version("1.0.0")
    SUPERVISED: tuple[str, str] | None = ("image", "label")
    SIDE: int | None = 8

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Tensor(shape=(self.SIDE, 8, 1), dtype=np.uint8),
                "label": tfds.features.ClassLabel(names=["left", "right"]),
            }
        )
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=self.SUPERVISED, description="dots"
        )

    def _split_generators(self, dl_manager):
        return {"train": self._rows(0, 20), "test": self._rows(20, 30)}

    def _generate_examples(self):
        raise NotImplementedError

    def _rows(self, start, end):
        for k in range(start, end):
            image = IMAGES[k] if self.SIDE else IMAGES[k][: 4 + k % 2]
            yield k, {"image": image, "label": int(LABELS[k])}


class QnnAlone(QnnDots):
    SUPERVISED = None


class QnnUneven(QnnDots):
    SIDE = None


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def test_splits_become_arrays_and_numbers_of_classes_their_names(folder: Path) -> None:
    arrays, checksum = read_prepared("qnn_dots")
    # Their order is that of tensorflow-datasets, which shuffles when it prepares.
    names = np.array(["left", "right"])[LABELS]
    for ending, part in (("", slice(20)), ("_test", slice(20, 30))):
        found = set(zip(map(bytes, arrays["x" + ending]), arrays["y" + ending], strict=True))
        assert found == set(zip(map(bytes, IMAGES[part]), names[part], strict=True))
    digest = hashlib.sha256()
    for name in ("x", "y", "x_test", "y_test"):
        digest.update(arrays[name].data)
    assert checksum == digest.hexdigest()
    assert (folder / "qnn_dots").is_dir()
    assert read_prepared("qnn_dots")[1] == checksum


def test_a_task_takes_them_as_images_with_their_test_examples(folder: Path) -> None:
    task = Tabular("tfds:qnn_dots").prepared()
    assert task.data == "tfds:qnn_dots"
    splits = task.load(Folders(), 0, lambda what, done, total: None)
    assert splits.class_names == ("left", "right")
    assert len(splits.test.targets) == 10
    assert splits.train.inputs.shape[1:] == (8, 8, 1)
    assert splits.train.inputs.dtype == np.uint8
    with pytest.raises(InputError, match=r"`data_dir` must be left out with tfds:NAME, .* but is"):
        task.load(Folders(data_dir=folder), 0, lambda what, done, total: None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("qnn_dot", r"name a dataset of .*, but 'qnn_dot' is none; did you mean 'qnn_dots'"),
        ("hub:qnn_dots", r"a dataset like tfds:mnist, .* but is 'tfds:hub:qnn_dots'\."),
        ("../qnn_dots", r"a dataset like tfds:mnist"),
        ("qnn_alone", r"of inputs and targets, but 'qnn_alone' has not one of each\."),
        ("qnn_uneven", r"'qnn_uneven' must have inputs of one shape, but has several\."),
    ],
)
def test_what_is_no_such_dataset_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_prepared(name)


def test_a_folder_that_cannot_be_written_is_named(folder: Path, monkeypatch) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "file"))
    with pytest.raises(InputError, match=r"'qnn_dots' must be prepared in .*, but cannot be"):
        read_prepared("qnn_dots")
