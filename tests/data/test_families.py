"""The families of classification problems have the properties that their paper states."""

import numpy as np
import pytest
from scipy.optimize import linprog

from qnn_jax.data.dataset import ImageDataset
from qnn_jax.data.families import (
    bars_and_stripes,
    fashion_pca,
    hidden_manifold,
    hyperplanes,
    linearly_separable,
    two_curves,
)
from qnn_jax.errors import InputError

DRAWS = {
    "linearly separable": lambda seed: linearly_separable(120, 5, seed=seed),
    "hidden manifold": lambda seed: hidden_manifold(120, 5, 3, seed=seed),
    "hyperplanes": lambda seed: hyperplanes(120, 5, 4, seed=seed),
    "two curves": lambda seed: two_curves(120, 5, 3, 0.1, seed=seed),
    "bars and stripes": lambda seed: bars_and_stripes(120, 4, seed=seed),
}


def separable(inputs, labels) -> bool:
    """Whether some hyperplane has each class on one side: a linear program has a point."""
    signs = 2.0 * labels - 1
    rows = -signs[:, None] * np.column_stack([inputs, np.ones(len(inputs))])
    found = linprog(
        np.zeros(rows.shape[1]), A_ub=rows, b_ub=-np.ones(len(rows)), bounds=(None, None)
    )
    return bool(found.success)


def rank(rows) -> int:
    return int(np.linalg.matrix_rank(rows - rows.mean(axis=0), tol=1e-8))


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_gives_the_same_rows_and_another_one_others(name: str) -> None:
    first, again, other = (DRAWS[name](seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.inputs, other.inputs)
    assert len(first.inputs) == len(first.labels) == 120
    assert set(first.labels) == {0, 1}
    if name in ("hidden manifold", "hyperplanes", "two curves"):
        assert first.labels.sum() == 60
    # Whoever splits takes the first rows: classes must not come one after the other.
    assert 0.25 < first.labels[:60].mean() < 0.75


@pytest.mark.parametrize("d", [2, 10, 20])
def test_a_margin_separates_the_classes_of_the_first(d: int) -> None:
    inputs, labels = linearly_separable(300, d, seed=d)
    assert abs(inputs).max() <= 1
    sums = inputs.sum(axis=1)
    assert abs(sums).min() > 0.02 * d
    np.testing.assert_array_equal(labels, sums > 0)
    assert separable(inputs, labels)
    assert not separable(inputs, np.roll(labels, 1))  # the linear program can say no
    assert 0.35 < labels.mean() < 0.65


@pytest.mark.parametrize(("d", "m"), [(10, 4), (3, 6)])
def test_rows_lie_on_a_manifold_of_its_dimension(d: int, m: int) -> None:
    inputs, labels = hidden_manifold(300, d, m, seed=1)
    assert abs(inputs).max() < 1
    # Under the tanh there is a linear map of m numbers.
    assert rank(np.arctanh(inputs)) == min(d, m)
    assert rank(inputs) == d
    assert not separable(inputs, labels)
    # A class that were linear in those numbers would be separable there.
    assert not separable(np.arctanh(inputs), labels)


def test_one_hyperplane_separates_and_the_parity_of_two_does_not() -> None:
    one, two = (hyperplanes(300, 10, k, seed=3) for k in (1, 2))
    assert rank(one.inputs) == rank(two.inputs) == 3
    assert separable(*one)
    assert not separable(*two)
    assert rank(hyperplanes(300, 10, 1, subspace=2, seed=3).inputs) == 2


@pytest.mark.parametrize("degree", [2, 4])
def test_curves_are_fourier_series_and_an_offset_apart(degree: int) -> None:
    inputs, labels = two_curves(300, 12, degree, 0.2, noise=0.0, seed=0)
    first, second = inputs[labels == 0], inputs[labels == 1]
    # cos(n π t) and sin(n π t) for n from 1 to the degree.
    assert rank(first) == rank(second) == 2 * degree
    assert rank(np.concatenate([first, second - 0.2])) == 2 * degree
    assert rank(np.concatenate([first, second])) == 2 * degree + 1
    # All coefficients have the norm 1, and each of them is positive.
    assert abs(first).max() < 1
    noisy = two_curves(300, 12, degree, 0.2, noise=0.05, seed=0).inputs
    assert abs((noisy - inputs).std() - 0.05) < 0.003


@pytest.mark.parametrize("side", [4, 16])
def test_stripes_run_across_and_bars_down(side: int) -> None:
    inputs, labels = bars_and_stripes(400, side, noise=0.0, seed=2)
    images = inputs.reshape(400, side, side)
    assert set(np.unique(images)) == {-1, 1}
    across = (images == images[:, :, :1]).all(axis=(1, 2))
    down = (images == images[:, :1, :]).all(axis=(1, 2))
    assert across[labels == 1].all()
    assert down[labels == 0].all()
    # An image of one colour is both; each happens in 2 of 2**side images.
    assert (across & down).mean() < 4 * 2 / 2**side
    assert 0.4 < labels.mean() < 0.6
    noisy = bars_and_stripes(400, side, seed=2).inputs
    assert abs((noisy - inputs).std() - 0.5) < 0.02


def pictures(classes: int = 2) -> ImageDataset:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (n, 4, 5)).astype(np.uint8) for n in (60, 30)]
    labels = [(np.arange(n) % classes).astype(np.uint8) for n in (60, 30)]
    names = tuple("abc"[:classes])
    return ImageDataset("tiny", images[0], labels[0], images[1], labels[1], names, "")


def test_components_are_those_of_the_training_images_alone() -> None:
    images = pictures()
    train, test = fashion_pca(images, 3, 40, 20, seed=0)
    covariance = np.cov(train.inputs.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-12)
    assert (np.diff(np.diag(covariance)) < 0).all()
    np.testing.assert_allclose(train.inputs.mean(axis=0), 0, atol=1e-12)
    assert abs(test.inputs.mean(axis=0)).max() > 1e-3
    # Scikit-learn's PCA of the same rows, whose signs are its own.
    from sklearn.decomposition import PCA

    rng = np.random.default_rng((5, 0))
    chosen, tested = rng.permutation(60)[:40], rng.permutation(30)[:20]
    pca = PCA(3, svd_solver="full").fit(images.train_images[chosen].reshape(40, -1) / 255)
    expected = pca.transform(images.test_images[tested].reshape(20, -1) / 255)
    np.testing.assert_allclose(abs(test.inputs), abs(expected), atol=1e-10)
    np.testing.assert_array_equal(train.labels, images.train_labels[chosen])
    np.testing.assert_array_equal(test.labels, images.test_labels[tested])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linearly_separable(0, 2, seed=0), "`count` must be an integer of at least 1"),
        (lambda: linearly_separable(2, 0, seed=0), "`num_features` must be an integer of at least"),
        (lambda: linearly_separable(2, 2, seed=-1), "`seed` must be an integer between 0 and"),
        (lambda: hidden_manifold(3, 2, 2, seed=0), "`count` must be even, half of the rows for"),
        (lambda: hidden_manifold(4, 2, 0, seed=0), "`manifold_dimension` must be an integer of"),
        (lambda: hyperplanes(4, 2, 0, seed=0), "`num_hyperplanes` must be an integer of at least"),
        (lambda: hyperplanes(4, 2, 1, subspace=0, seed=0), "`subspace` must be an integer of at"),
        (lambda: two_curves(4, 2, 0, 0.1, seed=0), "`degree` must be an integer of at least 1"),
        (lambda: two_curves(4, 2, 1, np.nan, seed=0), "`offset` must be finite"),
        (lambda: two_curves(4, 2, 1, 0.1, noise=-1, seed=0), "`noise` must be at least 0"),
        (lambda: bars_and_stripes(4, 0, seed=0), "`side` must be an integer of at least 1"),
        (lambda: bars_and_stripes(4, 2, noise=-1, seed=0), "`noise` must be at least 0"),
        (lambda: fashion_pca(3, 2, 4, 4, seed=0), "`images` must be an ImageDataset"),
        (lambda: fashion_pca(pictures(3), 2, 4, 4, seed=0), "`images` must be of two classes, but"),
        (lambda: fashion_pca(pictures(), 2, 61, 4, seed=0), "`train_count` must be at most 60"),
        (lambda: fashion_pca(pictures(), 2, 9, 31, seed=0), "`test_count` must be at most 30"),
        (lambda: fashion_pca(pictures(), 21, 40, 4, seed=0), "`num_components` must be at most 20"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument {message}"):
        call()
