"""Any two or more classes can be chosen, by number or by name."""

import numpy as np
import pytest

from qnn_jax.data import FASHION_MNIST, ImageDataset, class_numbers
from qnn_jax.errors import InputError


@pytest.fixture
def dataset():
    """Forty training and twenty test images, each filled with its own index."""

    def split(count):
        index = np.arange(count, dtype=np.uint8)
        return np.broadcast_to(index[:, None, None], (count, 28, 28)), index * 7 % 10

    return ImageDataset("Tiny", *split(40), *split(20), FASHION_MNIST.class_names, "0" * 64)


@pytest.mark.parametrize(
    ("classes", "numbers"),
    [
        ((0, 1), (0, 1)),
        ((9, 3), (9, 3)),
        (["Trouser", "T-shirt/top"], (1, 0)),
        (("ankle BOOT", " shirt "), (9, 6)),
        (("0", "1"), (0, 1)),
        ((np.uint8(2), "Bag"), (2, 8)),
        ((4, 2, 7), (4, 2, 7)),
        (tuple(range(10)), tuple(range(10))),
    ],
)
def test_select_keeps_and_relabels(dataset, classes, numbers):
    chosen = dataset.select(classes)
    assert chosen.class_names == tuple(FASHION_MNIST.class_names[n] for n in numbers)
    assert chosen.checksum == dataset.checksum
    for part in ("train", "test"):
        before = getattr(dataset, f"{part}_labels").tolist()
        images = getattr(chosen, f"{part}_images")
        labels = getattr(chosen, f"{part}_labels")
        wanted = [(i, numbers.index(k)) for i, k in enumerate(before) if k in numbers]
        assert list(zip(images[:, 5, 5].tolist(), labels.tolist(), strict=True)) == wanted
        assert images.shape[1:] == (28, 28)
        assert images.dtype == labels.dtype == np.uint8


def test_select_from_a_selection_counts_anew(dataset):
    chosen = dataset.select((8, 3, 5)).select((2, "bag"))
    assert chosen.class_names == ("Sandal", "Bag")
    assert set(chosen.train_labels.tolist()) == {0, 1}


def test_selected_arrays_are_read_only(dataset):
    chosen = dataset.select((0, 1))
    with pytest.raises(ValueError, match="read-only"):
        chosen.train_images[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        chosen.test_labels[0] = 0


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((0, 0), r"different classes .* but is \(0, 0\)"),
        (("Coat", 4), r"different classes .* but is \('Coat', 4\)"),
        ((0, 10), "but 10 is none"),
        ((-1, 0), "but -1 is none"),
        ((0, "Shoe"), "but 'Shoe' is none"),
        ((0, ""), "but '' is none"),
        ((0, True), "but True is none"),
        ((0, 1.0), "but 1.0 is none"),
        ((0, None), "but None is none"),
        ((3,), r"two or more classes .* but is \(3,\)"),
        ((), r"two or more classes .* but is \(\)"),
        ("01", "two or more classes .* but is '01'"),
    ],
)
def test_wrong_classes_are_named(dataset, classes, message, one_sentence):
    with pytest.raises(InputError, match=message) as caught:
        dataset.select(classes)
    text = one_sentence(caught)
    assert text.startswith("Argument `classes` must ")
    assert "0 T-shirt/top, 1 Trouser, " in text
    with pytest.raises(InputError, match=message):
        class_numbers(classes, FASHION_MNIST.class_names)


def test_prints_itself_without_its_arrays(dataset):
    assert repr(dataset).startswith("ImageDataset(name='Tiny', class_names=('T-shirt/top', ")
    assert "array" not in repr(dataset)
