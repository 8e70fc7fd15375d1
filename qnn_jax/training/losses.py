"""Losses of each example, and augmentation of training images."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Shaped

from qnn_jax.circuits.checks import at_least
from qnn_jax.circuits.checks import flag as checked_flag
from qnn_jax.errors import InputError
from qnn_jax.simulate.measurement import checked_key
from qnn_jax.training.programs import check_inputs

# Numbers for fold_in of a step's key; 3 is the networks' dropout.
_SHIFT, _FLIP = 4, 5


def class_losses(
    outputs: Float[Array, "batch outputs"],
    labels: Int[Array, " batch"],
    loss: Literal["cross-entropy", "mse"] = "cross-entropy",
    smoothing: float | Float[Array, ""] = 0.0,
) -> Float[Array, " batch"]:
    """The loss of every example of a classification.

    Args:
        outputs: one logit, positive for class 1, or one for each class.
        labels: class numbers.
        loss: cross-entropy, or for two classes the squared error of the sigmoid.
        smoothing: fraction of the target that is spread over all classes.
    """
    if loss == "mse":
        return jnp.square(jax.nn.sigmoid(outputs[:, 0]) - labels)
    if outputs.shape[-1] == 1:
        targets = labels * (1 - smoothing) + smoothing / 2
        return optax.sigmoid_binary_cross_entropy(outputs[:, 0], targets)
    one_hot = jax.nn.one_hot(labels, outputs.shape[-1])
    return optax.softmax_cross_entropy(outputs, optax.smooth_labels(one_hot, smoothing))


def squared_errors(
    outputs: Float[Array, "batch 1"], targets: Float[Array, " batch"]
) -> Float[Array, " batch"]:
    """The squared error of every example of a regression."""
    return jnp.square(outputs[:, 0] - targets)


def augment(
    key: Array, images: Shaped[Array, "batch ..."], shift: int, flip: bool
) -> Shaped[Array, "batch ..."]:
    """Shift each image by up to `shift` pixels in each direction, and mirror some if `flip`.

    Raises:
        InputError: where either is asked for, and what is given are no images; for a shift by more
            than half an image.
    """
    key, flip = checked_key("key", key), checked_flag("flip", flip)
    check_inputs(images, "images")
    shift = at_least("shift", shift, 0)
    if not shift and not flip:
        return images
    if images.ndim != 3:
        raise InputError(
            "Arguments `shift` and `flip` of a TrainingConfig must be 0 and False for examples "
            f"that are not images (count, height, width), but are {shift} and {flip} for examples "
            f"of shape {images.shape}."
        )
    batch, height, width = images.shape
    at_least("shift", shift, 0, min(height, width) // 2)
    if shift:
        padded = jnp.pad(images, ((0, 0), (shift, shift), (shift, shift)))
        corners = jax.random.randint(jax.random.fold_in(key, _SHIFT), (batch, 2), 0, 2 * shift + 1)

        def crop(image: Array, corner: Array) -> Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1]), (height, width))

        images = jax.vmap(crop)(padded, corners)
    if flip:
        mirrored: Bool[Array, " batch"] = jax.random.bernoulli(
            jax.random.fold_in(key, _FLIP), shape=(batch,)
        )
        images = jnp.where(mirrored[:, None, None], images[:, :, ::-1], images)
    return images
