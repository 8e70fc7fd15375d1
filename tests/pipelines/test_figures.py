"""The pictures: what stands in them, and how large they are."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pipelines.diagnose_figures import classical_gradients, kernel
from pipelines.figures import _box_text, circuit_picture, plane
from qnn_jax import Op, real_amplitudes, w, x, zz_feature_map
from qnn_jax.models import HybridClassifier, ModelConfig
from qnn_jax.training import Examples

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


@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_plane_shows_who_is_near_it_and_every_mistake(num_classes: int) -> None:
    config = ModelConfig(num_qubits=3, channels=(), hidden=())
    images = jnp.asarray(RNG.integers(0, 256, (700, 2, 2)), jnp.uint8)
    labels = RNG.integers(0, num_classes, 700)
    model = HybridClassifier(config, num_classes)
    params = model.init(jax.random.key(0), images[:1])["params"]
    names = [f"class {k}" for k in range(num_classes)]
    predicted = np.zeros(700, int)
    figure = plane(model, params, Examples(images, jnp.asarray(labels)), predicted, names)
    axes = figure.axes[0]
    points = np.concatenate([dots.get_offsets() for dots in axes.collections[-num_classes:]])
    assert len(points) == 500
    features = np.asarray(model.apply({"params": params}, images, method="encode"))
    near = np.argsort(np.abs(features[:, 2] - np.median(features[:, 2])))[:500]
    for k in (0, 1):
        shown, wanted = np.sort(points[:, k]), np.sort(features[near, k])
        np.testing.assert_allclose(shown, wanted, atol=1e-5)
    wrong = axes.lines[-1].get_xydata()
    assert len(wrong) == (labels[near] != 0).sum()
    # The points fill the picture, whatever the bounds of the features are.
    for k, (low, high) in enumerate((axes.get_xlim(), axes.get_ylim())):
        assert np.ptp(points[:, k]) > 0.8 * (high - low)
    assert "the 500 test images nearest to it, of 700" in axes.get_title()


def test_a_gradient_that_is_the_same_everywhere_is_explained() -> None:
    found = {
        "head/kernel": SimpleNamespace(mean=0.1, interval=(0.05, 0.2)),
        "head/bias": SimpleNamespace(mean=0.0, interval=(0.0, 0.0)),
    }
    axes = classical_gradients(found).axes[0]
    assert [note.get_text() for note in axes.texts] == ["0: the same at every initialisation"]


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
