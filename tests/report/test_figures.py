"""The pictures: their contents and their size."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax import Op, real_amplitudes, w, x, zz_feature_map
from qnn_jax.configs import ModelConfig
from qnn_jax.models import HybridClassifier
from qnn_jax.report.diagnosis import classical_gradients, fisher, kernel
from qnn_jax.report.figures import _box_text, circuit_picture, curves, plane
from qnn_jax.report.regression import surfaces
from qnn_jax.tasks.trained import Trained
from qnn_jax.training.task import ACCURACY, HYBRID, MEAN_L1, Examples, Member

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("angle", "wanted"),
    [
        (2 * x[0], "2x₀"),
        (2 * (np.pi - x[0]) * (np.pi - x[12]), "2(π − x₀)(π − x₁₂)"),
        (w[0] * x[1] + w[2], "w₀x₁ + w₂"),
        (x[0] ** 2, "x₀^2"),
        (x[0] * 0.5, "x₀·0.5"),
        ((x[0] * w[1]).sin(), "sin(x₀w₁)"),
        (2 * x[0].sin(), "2sin(x₀)"),
    ],
)
def test_angles_are_written_as_on_paper(angle, wanted: str) -> None:
    assert _box_text(Op("p", 0, angle), 0) == f"P\n{wanted}"


def test_boxes_without_angles_have_one_line() -> None:
    assert _box_text(Op("cx", (0, 1)), 1) == "⊕"
    assert _box_text(Op("rzz", (0, 1), w[0]), 1) == "RZZ:1\nw₀"


def test_four_qubits_fit_into_two_rows() -> None:
    circuit = zz_feature_map(4) + real_amplitudes(4, reps=2)
    width, height = circuit_picture(circuit).get_size_inches()
    one_row = circuit_picture(zz_feature_map(4, reps=1)).get_size_inches()[1]
    assert height == pytest.approx(2 * one_row)
    assert width <= 16


@pytest.mark.slow_but_one
@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_plane_shows_who_is_near_it_and_every_mistake(num_classes: int) -> None:
    config = ModelConfig(num_qubits=3, channels=(), hidden=())
    images = RNG.integers(0, 256, (700, 2, 2)).astype(np.uint8)
    labels = RNG.integers(0, num_classes, 700)
    model = HybridClassifier(config, num_classes)
    params = model.init(jax.random.key(0), jnp.asarray(images[:1]))["params"]
    task = SimpleNamespace(members=lambda: (Member(HYBRID, model),), metric=ACCURACY)
    names = [f"class {k}" for k in range(num_classes)]
    predicted = np.zeros(700, int)
    figure = plane(Trained(task, params), Examples(images, labels), predicted, names)
    axes = figure.axes[0]
    points = np.concatenate([dots.get_offsets() for dots in axes.collections[-num_classes:]])
    assert len(points) == 500
    features = np.asarray(model.apply({"params": params}, jnp.asarray(images), method="encode"))
    near = np.argsort(np.abs(features[:, 2] - np.median(features[:, 2])))[:500]
    for k in (0, 1):
        shown, wanted = np.sort(points[:, k]), np.sort(features[near, k])
        np.testing.assert_allclose(shown, wanted, atol=1e-5)
    wrong = axes.lines[-1].get_xydata()
    assert len(wrong) == (labels[near] != 0).sum()
    # The points fill the picture, for any bounds of the features.
    for k, (low, high) in enumerate((axes.get_xlim(), axes.get_ylim())):
        assert np.ptp(points[:, k]) > 0.8 * (high - low)
    assert "the 500 test images nearest to it, of 700" in axes.get_title()


def test_the_hybrid_has_its_colour_and_the_metric_its_name() -> None:
    row = {"loss": 0.5, "validation_mean_l1": 0.1, "validation_mean_l1_median": 0.2}
    rows = [{"epoch": k, HYBRID: row, "mlp_equal_size": row} for k in (1, 2)]
    left, right = curves(rows, [HYBRID, "mlp_equal_size"], MEAN_L1).axes
    assert right.get_ylabel() == "validation mean L1"
    assert [line.get_label() for line in right.lines] == [
        "hybrid",
        "hybrid, median restart",
        "MLP equal size",
        "MLP equal size, median restart",
    ]
    assert left.lines[0].get_color() == "#5b3fd6"


def test_surfaces_have_a_column_for_each_model_and_one_scale() -> None:
    points = RNG.uniform(0, 1, (50, 2)).astype(np.float32)
    test = Examples(points, points.sum(axis=1))
    models = {"older": np.zeros(50), "hybrid": test.targets + np.float32(0.25)}
    axes = [one for one in surfaces(test, models).axes if one.get_title()]
    assert [one.get_title() for one in axes] == [
        "truth",
        "older",
        "hybrid",
        f"its error, mean |·| = {test.targets.mean():.2g}",
        "its error, mean |·| = 0.25",
    ]
    scales = [one.collections[0].get_clim() for one in axes[:3]]
    assert set(scales) == {(float(test.targets.min()), float(test.targets.max()))}
    np.testing.assert_allclose(axes[2].collections[0].get_array(), models["hybrid"])


def test_a_gradient_that_is_the_same_everywhere_is_explained() -> None:
    found = {
        "head/kernel": SimpleNamespace(mean=0.1, interval=(0.05, 0.2)),
        "head/bias": SimpleNamespace(mean=0.0, interval=(0.0, 0.0)),
    }
    axes = classical_gradients(found).axes[0]
    assert [note.get_text() for note in axes.texts] == ["0: the same at every initialisation"]


def test_directions_that_change_nothing_are_grey_stubs() -> None:
    found = SimpleNamespace(eigenvalues=np.array([2.0, 0.1, -1e-17]), rank=2)
    axes = fisher(found).axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([2.0, 0.1, 0.015])
    assert axes.patches[2].get_facecolor()[:3] == pytest.approx((0.7, 0.7, 0.7))
    assert axes.get_ylim()[0] == pytest.approx(0.01)
    assert axes.get_title() == "rank 2 of 3"


def test_a_kernel_of_classes_names_them() -> None:
    found = {
        "matrix": np.eye(5),
        "targets": np.array([-1.0, -1, -1, 1, 1]),
        "alignment": SimpleNamespace(centred=0.5, centred_interval=(0.4, 0.6)),
    }
    axes = kernel(("T-shirt", "Trouser"), found).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["T-shirt", "Trouser"]
    assert list(axes.get_xticks()) == [1.0, 3.5]
    numbers = kernel(None, found | {"targets": np.linspace(0, 2, 5)}).axes[0]
    assert [label.get_text() for label in numbers.get_yticklabels()] == ["0", "2"]
