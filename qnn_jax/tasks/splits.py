"""Split data into training, validation and test examples."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.training.task import Examples, Splits

_SPLIT = 7  # the fold_in number of the validation split


def split(
    examples: Examples,
    seed: int,
    validation_count: int,
    train_count: int = 0,
    classes: int = 0,
    names: tuple[str, str] = ("validation_count", "train_count"),
) -> tuple[Examples, Examples]:
    """Shuffle examples by the seed and split them into training and validation.

    `examples` are all but the test examples. A `train_count` of 0 takes all that are left;
    otherwise each of the `classes` gets the same share (`classes` is 0 in a regression). `names`
    are those of the two counts in errors.
    """
    import jax

    inputs, targets, _ = examples
    available = len(targets) - validation_count
    if available < 1:
        raise InputError(
            f"Argument `{names[0]}` must be below {len(targets)}, the number of examples to "
            f"train and validate on, but is {validation_count}."
        )
    order = np.asarray(
        jax.random.permutation(jax.random.fold_in(jax.random.key(seed), _SPLIT), len(targets))
    )
    validation, rest = order[:validation_count], order[validation_count:]
    if train_count:
        groups = [rest[targets[rest] == label] for label in range(classes)] or [rest]
        share, most = train_count // len(groups), min(map(len, groups))
        if not 1 <= share <= most:
            raise InputError(
                f"Argument `{names[1]}` must be between {len(groups)} and {most * len(groups)}, "
                f"as many of each class, but is {train_count}."
            )
        rest = np.sort(np.concatenate([group[:share] for group in groups]))
    return (
        Examples(inputs[rest], targets[rest]),
        Examples(inputs[validation], targets[validation]),
    )


def splits_of(
    inputs: Any,
    targets: Any,
    seed: int,
    name: str,
    *,
    train_count: int = 0,
    validation_share: float = 0.1,
    test_share: float = 0.2,
    class_names: tuple[str, ...] = (),
) -> Splits:
    """Split arrays: the last examples are for test; the seed selects the validation examples.

    Args:
        inputs: shape (count, …), in arbitrary order.
        targets: shape (count,); class numbers (integers) or values.
        seed: random seed of the validation split. The test examples are the same for every seed.
        name: of the data, for messages.
        train_count: examples to train on; 0 takes all that are left.
        validation_share: of all examples.
        test_share: of all examples.
        class_names: of a classification.

    Raises:
        InputError: if lengths differ or nothing is left to train on.

    >>> splits = splits_of(np.zeros((10, 2)), np.arange(10.0), seed=0, name="ten")
    >>> splits.test.targets, len(splits.train.targets), len(splits.validation.targets)
    (array([8., 9.], dtype=float32), 7, 1)
    """
    inputs, targets = np.asarray(inputs), np.asarray(targets)
    if len(inputs) != len(targets):
        raise InputError(
            f"Argument `targets` must have one entry for each of the {len(inputs)} inputs, but has "
            f"{len(targets)}."
        )
    for argument, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0 <= share < 1:
            raise InputError(
                f"Argument `{argument}` must be at least 0 and below 1, but is {share}."
            )
    if np.issubdtype(inputs.dtype, np.floating):
        inputs = inputs.astype(np.float32)
    whole = np.issubdtype(targets.dtype, np.integer)
    targets = targets.astype(np.int32 if whole else np.float32)
    tested = round(test_share * len(inputs))
    rest = len(inputs) - tested
    train, validation = split(
        Examples(inputs[:rest], targets[:rest]),
        seed,
        round(validation_share * len(inputs)),
        train_count,
        len(class_names),
    )
    return Splits(
        train,
        validation,
        Examples(inputs[rest:], targets[rest:]),
        name,
        hashlib.sha256(inputs.tobytes() + targets.tobytes()).hexdigest(),
        class_names,
    )
