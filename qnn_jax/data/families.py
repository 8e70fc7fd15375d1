"""Families of classification problems whose difficulty is a number, as benchmarks need them.

They follow the descriptions in "Better than classical? The subtle art of benchmarking quantum
machine learning models" (Bowles, Ahmed and Schuld, arXiv:2403.07059). Each function draws rows of
two classes, 0 and 1, from a seed; the same arguments give the same arrays. Nothing is scaled.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from qnn_jax.circuits import checks
from qnn_jax.data.dataset import ImageDataset
from qnn_jax.errors import InputError

#: Points that are drawn for each one that is kept, where the classes are made equally frequent.
_SPARE = 4
# A part of the seed, so that two families do not use the same random numbers.
_SEPARABLE, _MANIFOLD, _HYPERPLANES, _CURVES, _BARS, _FASHION = range(6)


class Labelled(NamedTuple):
    """Rows and their classes.

    Attributes:
        inputs: shape (count, features).
        labels: 0 or 1, shape (count,).
    """

    inputs: np.ndarray
    labels: np.ndarray


def linearly_separable(count: int, num_features: int, *, seed: int) -> Labelled:
    """Points of the cube [-1, 1]^d on two sides of the hyperplane Σ x_i = 0.

    None is nearer to it than |Σ x_i| = 0.02 d.

    Args:
        count: of rows.
        num_features: d.
        seed: of the points.
    """
    checks.at_least("count", count, 1)
    checks.at_least("num_features", num_features, 1)
    rng = _generator(_SEPARABLE, seed)
    found = np.zeros((0, num_features))
    while len(found) < count:
        points = rng.uniform(-1, 1, (2 * count, num_features))
        found = np.concatenate([found, points[abs(points.sum(axis=1)) > 0.02 * num_features]])
    found = found[:count]
    return Labelled(found, (found.sum(axis=1) > 0).astype(int))


def hidden_manifold(
    count: int, num_features: int, manifold_dimension: int, *, seed: int
) -> Labelled:
    """Points of a manifold of m dimensions in d, with the classes of a random network on it.

    Of a normal c in m dimensions the row is tanh(F^T c / √m - b), with F normal and b uniform in
    [-1, 1]. The class says whether v · tanh(W c), with v and W normal, is above its median (Goldt
    et al., arXiv:1909.11500).

    Args:
        count: of rows; even, for both classes are equally frequent.
        num_features: d.
        manifold_dimension: m.
        seed: of the manifold, the network and the points.
    """
    _check_even(count)
    checks.at_least("num_features", num_features, 1)
    m = checks.at_least("manifold_dimension", manifold_dimension, 1)
    rng = _generator(_MANIFOLD, seed)
    latent = rng.normal(size=(count, m))
    bias = rng.uniform(-1, 1, num_features)
    inputs = np.tanh(latent @ rng.normal(size=(m, num_features)) / math.sqrt(m) - bias)
    values = np.tanh(latent @ rng.normal(size=(m, m))) @ rng.normal(size=m)
    return Labelled(inputs, (values > np.median(values)).astype(int))


def hyperplanes(
    count: int, num_features: int, num_hyperplanes: int, *, subspace: int = 3, seed: int
) -> Labelled:
    """Points whose class is the parity of how many hyperplanes of a subspace they lie above.

    Of a normal z in the subspace the row is E^T z. It lies above hyperplane k where
    w_k · z + b_k > 0. E, w and b are uniform in [0, 1].

    Args:
        count: of rows; even, for both classes are equally frequent.
        num_features: of a row.
        num_hyperplanes: whose parity is the class.
        subspace: its dimension.
        seed: of the hyperplanes and the points.
    """
    _check_even(count)
    checks.at_least("num_features", num_features, 1)
    checks.at_least("num_hyperplanes", num_hyperplanes, 1)
    checks.at_least("subspace", subspace, 1)
    rng = _generator(_HYPERPLANES, seed)
    half = count // 2
    while True:  # some hyperplanes leave one class nearly empty
        normals = rng.uniform(size=(subspace, num_hyperplanes))
        above = rng.uniform(size=num_hyperplanes)
        points = rng.normal(size=(_SPARE * count, subspace))
        labels = (points @ normals + above > 0).sum(axis=1) % 2
        places = [np.flatnonzero(labels == label)[:half] for label in (0, 1)]
        if min(map(len, places)) == half:
            break
    kept = rng.permutation(np.concatenate(places))
    return Labelled(points[kept] @ rng.uniform(size=(subspace, num_features)), labels[kept])


def two_curves(
    count: int,
    num_features: int,
    degree: int,
    offset: float,
    *,
    noise: float = 0.01,
    seed: int,
) -> Labelled:
    """Points near a curve, and near the same curve moved by an offset.

    Feature i of the curve is Σ_n a_in cos(n π t) + b_in sin(n π t) for n from 0 to the degree and t
    uniform in [0, 1]; all coefficients are uniform in [0, 1], then divided by the norm of them all
    (Buchanan et al., arXiv:2008.11245).

    Args:
        count: of rows; even, for both classes are equally frequent.
        num_features: of a row.
        degree: of the Fourier series.
        offset: by which each feature of class 1 is larger.
        noise: standard deviation of what is added to each feature.
        seed: of the curve and the points.
    """
    _check_even(count)
    checks.at_least("num_features", num_features, 1)
    checks.at_least("degree", degree, 1)
    checks.real("offset", offset)
    checks.real("noise", noise, least=0)
    rng = _generator(_CURVES, seed)
    coefficients = rng.uniform(size=(2, degree + 1, num_features))
    cosines, sines = coefficients / np.linalg.norm(coefficients)
    angles = math.pi * rng.uniform(size=(count, 1)) * np.arange(degree + 1)
    labels = rng.permutation(np.arange(count) % 2)
    curve = np.cos(angles) @ cosines + np.sin(angles) @ sines
    rows = curve + offset * labels[:, None] + noise * rng.normal(size=curve.shape)
    return Labelled(rows, labels)


def bars_and_stripes(count: int, side: int, *, noise: float = 0.5, seed: int) -> Labelled:
    """Images of horizontal stripes, class 1, or vertical bars, class 0, under noise.

    Each line is 1 or -1 with equal probability; noise is added to each pixel.

    Args:
        count: of images.
        side: their height and width in pixels; a row has side² features.
        noise: its standard deviation.
        seed: of all draws.
    """
    checks.at_least("count", count, 1)
    checks.at_least("side", side, 1)
    checks.real("noise", noise, least=0)
    rng = _generator(_BARS, seed)
    labels = rng.integers(0, 2, count)
    lines = rng.choice([-1.0, 1.0], (count, side, 1))
    across = np.broadcast_to(lines, (count, side, side))
    images = np.where(labels[:, None, None] == 1, across, across.swapaxes(1, 2))
    images = images + noise * rng.normal(size=images.shape)
    return Labelled(images.reshape(count, side * side), labels)


def fashion_pca(
    images: ImageDataset, num_components: int, train_count: int, test_count: int, *, seed: int
) -> tuple[Labelled, Labelled]:
    """Some images of two classes, by their principal components.

    The components are computed from the training images that are drawn. Test images are drawn from
    the official test images and do not influence the components.

    Args:
        images: of two classes, as `load_fashion_mnist().select(…)` gives them.
        num_components: features of a row, the one of the largest variance first.
        train_count: of rows to train on.
        test_count: of rows to test on.
        seed: of the choice of images.

    Returns:
        Rows to train on, and rows to test on.
    """
    checks.of_type("images", images, ImageDataset, "an ImageDataset")
    if len(images.class_names) != 2:
        raise InputError(
            f"Argument `images` must be of two classes, but is of {len(images.class_names)}; "
            "`images.select` chooses them."
        )
    train_count = checks.at_least("train_count", train_count, 2, len(images.train_labels))
    test_count = checks.at_least("test_count", test_count, 1, len(images.test_labels))
    height, width = images.train_images.shape[1:]
    checks.at_least("num_components", num_components, 1, min(train_count, height * width))
    rng = _generator(_FASHION, seed)
    chosen = [
        rng.permutation(len(images.train_labels))[:train_count],
        rng.permutation(len(images.test_labels))[:test_count],
    ]
    train = images.train_images[chosen[0]].reshape(train_count, -1) / 255
    test = images.test_images[chosen[1]].reshape(test_count, -1) / 255
    center = train.mean(axis=0)
    components = np.linalg.svd(train - center, full_matrices=False)[2][:num_components].T
    return (
        Labelled((train - center) @ components, images.train_labels[chosen[0]].astype(int)),
        Labelled((test - center) @ components, images.test_labels[chosen[1]].astype(int)),
    )


def _check_even(count: int) -> None:
    checks.at_least("count", count, 2)
    if count % 2:
        raise InputError(
            f"Argument `count` must be even, half of the rows for each class, but is {count}."
        )


def _generator(family: int, seed: int) -> np.random.Generator:
    return np.random.default_rng((family, checks.seed("seed", seed)))
