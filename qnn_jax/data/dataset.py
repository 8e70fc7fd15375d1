"""Images with labels, split into training and test, and the selection of classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from qnn_jax.circuits.checks import is_integer, several, shown
from qnn_jax.data.idx import Uint8Array
from qnn_jax.errors import InputError


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images, pixels 0 (black) to 255, with the numbers of their classes; all arrays read-only.

    `train_images` (n, height, width), `train_labels` (n,), `test_images` (m, height, width) and
    `test_labels` (m,) are uint8; label k means `class_names[k]`. `checksum` is the sha256 of the
    published data that this was chosen from: the bytes of the four whole arrays in the order named
    here.
    """

    name: str
    train_images: Uint8Array = field(repr=False)
    train_labels: Uint8Array = field(repr=False)
    test_images: Uint8Array = field(repr=False)
    test_labels: Uint8Array = field(repr=False)
    class_names: tuple[str, ...]
    checksum: str

    def select(self, classes: Sequence[int | str]) -> "ImageDataset":
        """Keep only these classes, labelled 0, 1, … in the order given; images keep their order.

        Classes are named as `class_numbers` takes them. Raises InputError as it does.
        """
        numbers = class_numbers(classes, self.class_names)
        new_label = np.full(256, 255, np.uint8)  # 255: not selected
        new_label[list(numbers)] = np.arange(len(numbers), dtype=np.uint8)

        def choose(images: Uint8Array, labels: Uint8Array) -> tuple[Uint8Array, Uint8Array]:
            relabelled = new_label[labels]
            kept = relabelled != 255
            chosen = images[kept], relabelled[kept]
            for array in chosen:
                array.flags.writeable = False
            return chosen

        train_images, train_labels = choose(self.train_images, self.train_labels)
        test_images, test_labels = choose(self.test_images, self.test_labels)
        return replace(
            self,
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            class_names=tuple(self.class_names[number] for number in numbers),
        )


def class_numbers(classes: Sequence[int | str], names: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of `classes`, each a number, its digits, or a name in any case.

    Raises InputError unless there are two or more, all among `names` and all different.
    """
    names = several("names", names, "names of classes", again=True)
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"Argument `names` must be names of classes, but is {shown(names)}.")
    known = ", ".join(f"{number} {name}" for number, name in enumerate(names))
    rule = f"two or more classes out of {known}"
    chosen = several("classes", classes, rule)
    if len(chosen) < 2:
        raise InputError(f"Argument `classes` must be {rule}, but is {shown(classes)}.")
    numbers = []
    for given in chosen:
        number = _class_number(given, names)
        if number is None:
            raise InputError(
                f"Argument `classes` must name classes out of {known}, but {shown(given)} is none."
            )
        numbers.append(number)
    if len(set(numbers)) < len(numbers):
        raise InputError(
            f"Argument `classes` must be different classes out of {known}, but is {shown(chosen)}."
        )
    return tuple(numbers)


def _class_number(given: object, names: Sequence[str]) -> int | None:
    if isinstance(given, str):
        text = given.strip().casefold()
        for number, name in enumerate(names):
            if text in (name.casefold(), str(number)):
                return number
        return None
    if not is_integer(given):
        return None
    number = int(given)  # type: ignore[call-overload]
    return number if 0 <= number < len(names) else None
