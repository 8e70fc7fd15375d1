"""Twins of a training under noise, and the study of where it matters."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from qnn_jax import bridge
from qnn_jax.configs import ExecutionConfig, TrainingConfig
from qnn_jax.errors import InputError
from qnn_jax.executors import exact
from qnn_jax.stats import holm
from qnn_jax.studies.ablation import ablate
from qnn_jax.studies.ablation_table import Ablation
from qnn_jax.studies.noise_study import (
    NoiseStudyConfig,
    kernel_with_shots,
    parts,
    shot_floor,
    text_of,
    together,
)
from qnn_jax.studies.noise_twins import NoiseTwins, OnAer
from qnn_jax.tasks import Fashion, train
from qnn_jax.tasks.pooled import Pooled
from qnn_jax.tasks.sine import Sine
from qnn_jax.training.task import HYBRID

NOISY = ExecutionConfig("noisy", 256, "FakeYorktownV2")
QUICK = TrainingConfig(
    epochs=15, batch_size=16, learning_rate=0.05, weight_decay=0.0, shift=0, flip=False
)
SINE = Sine(train_count=64, test_count=60, layers=2, training=QUICK, execution=NOISY)


@pytest.fixture(scope="module")
def found() -> Ablation:
    twins = NoiseTwins(SINE, images=50)
    return ablate(twins, seeds=2, scorer=OnAer(twins))


def scores(found: Ablation, name: str) -> np.ndarray:
    (cell,) = [cell for cell in found.cells if cell.twin == name]
    return np.array(cell.scores)


@pytest.mark.slow
def test_twins_are_scored_as_a_trained_model_is(found: Ablation) -> None:
    trained = train(dataclasses.replace(SINE, execution=ExecutionConfig()), seed=0)
    test = NoiseTwins(SINE, images=50).load(trained.folders, 0, lambda *_: None).test
    outputs = trained.outputs(test.inputs, bridge.aer(256, "FakeYorktownV2", seed=0))
    wanted = np.abs(outputs[:, 0] - test.targets).mean()
    assert scores(found, "blind")[0] == pytest.approx(wanted, abs=2e-3)
    assert not np.allclose(scores(found, HYBRID), scores(found, "blind"), atol=2e-3)


@pytest.mark.slow
def test_twins_that_differ_in_their_score_are_trained_once(found: Ablation) -> None:
    compiling = {cell.twin: cell.seconds["compile"] for cell in found.cells}
    assert [name for name, seconds in compiling.items() if seconds == 0] == ["blind", "ideal"]


@pytest.mark.slow
def test_recalibration_removes_what_scale_and_shift_explain(found: Ablation) -> None:
    assert (scores(found, "recalibrated") < scores(found, "blind")).all()
    assert (scores(found, "ideal") < scores(found, "recalibrated")).all()


@pytest.mark.slow
def test_the_result_says_how_it_was_found(found: Ablation) -> None:
    assert [member.name for member in found.members] == [
        HYBRID, "recalibrated", "blind", "noise-aware", "ideal",
    ]  # fmt: skip
    assert found.test_count == 50
    assert "scored by Aer with 256 shots" in found.notes[-1]
    assert "trained once: the seconds" in found.notes[-2]
    assert "in place of recalibration" in found.headline


def test_each_twin_is_trained_where_its_name_says() -> None:
    nothing = ExecutionConfig()
    assert {member.name: member.execution for member in NoiseTwins(SINE).members()} == {
        HYBRID: NOISY,
        "recalibrated": nothing,
        "blind": nothing,
        "noise-aware": ExecutionConfig("noisy", None, "FakeYorktownV2"),
        "ideal": nothing,
    }


def test_twins_depend_on_what_there_is_to_know() -> None:
    def names(execution: ExecutionConfig) -> list[str]:
        task = dataclasses.replace(SINE, execution=execution)
        return [member.name for member in NoiseTwins(task).members()]

    assert names(ExecutionConfig("sampled", 64)) == [HYBRID, "blind", "ideal"]
    noisy = ExecutionConfig("noisy", None, "FakeFez")
    assert names(noisy) == [HYBRID, "recalibrated", "blind", "ideal"]
    with pytest.raises(InputError, match=r"`executor` must be noisy or sampled .* but is exact"):
        NoiseTwins(Sine()).check()
    with pytest.raises(InputError, match=r"`images` must be an integer of at least 1, but is 0"):
        NoiseTwins(SINE, 0).check()


def test_the_parts_of_the_study() -> None:
    config = NoiseStudyConfig(devices=("FakeFez", "FakeSantiagoV2"), depths=(2, 4))
    names = [part.name for part in parts(config)]
    assert names == [
        "regression-shots",
        "calculator-shots",
        *(
            f"{what}"
            for device in config.devices
            for what in (
                f"regression-{device}", f"hybrid-{device}", f"circuit-{device}-2",
                f"circuit-{device}-4",
            )
        ),
    ]  # fmt: skip
    by_name = {part.name: part for part in parts(config)}
    assert isinstance(by_name["hybrid-FakeFez"].twins.task, Fashion)
    assert by_name["circuit-FakeFez-4"].twins.task.blocks == 4
    for changed, words in (
        ({"devices": ("FakeFezz",)}, "did you mean FakeFez"),
        ({"devices": ()}, r"`devices` must hold one or more different values, but is \(\)"),
        ({"depths": (2, 2)}, r"`depths` must hold .* but is \(2, 2\)"),
        ({"depths": (0,)}, r"`blocks` must be an integer of at least 1"),
        ({"shots": 0}, r"`shots` must be an integer of at least 1, but is 0"),
        ({"epochs": 0}, r"`epochs` must be"),
    ):
        with pytest.raises(InputError, match=words):
            parts(dataclasses.replace(config, **changed))


@pytest.mark.slow
def test_all_tests_of_a_study_are_corrected_together(found: Ablation) -> None:
    part = parts(NoiseStudyConfig(devices=("FakeYorktownV2",), depths=(2,)))[2]
    study = together([(part, found.summary), (part, found.summary)])
    tested = [row for row in study["rows"] if row["twin"] != HYBRID]
    assert study["tests"] == len(tested) == 8
    assert [row["p_corrected"] for row in tested] == holm([row["p"] for row in tested])
    assert "recalibrated" in text_of(study)


def test_the_floor_is_the_scatter_of_counted_shots() -> None:
    targets = np.sin(np.linspace(-math.pi / 2, math.pi / 2, 41))
    drawn = np.random.default_rng(0).binomial(4096, (1 + targets) / 2, (2000, 41)) / 2048 - 1
    floor = shot_floor(targets, 4096)
    assert floor == pytest.approx(np.abs(drawn - targets).mean(), rel=0.02)
    # In another unit, and around another value.
    assert shot_floor(5 + 3 * targets, 4096) == pytest.approx(3 * floor)
    # Targets at both ends need no shots at all.
    assert shot_floor(np.array([1.0, -1.0]), 10) == 0
    with pytest.raises(InputError, match="`shots`"):
        shot_floor(targets, 0)


def test_shots_make_a_kernel_indefinite() -> None:
    exact, few, many = kernel_with_shots((16, 65_536), seeds=2)
    assert exact["shots"] == 0
    assert exact["least_eigenvalue"] > -1e-5
    assert few["least_eigenvalue"] < many["least_eigenvalue"] < exact["least_eigenvalue"] + 1e-3
    assert few["indefinite"] == 1
    assert abs(many["accuracy_clipped"] - exact["accuracy"]) < 0.02
    with pytest.raises(InputError, match="`seeds`"):
        kernel_with_shots((16,), seeds=1)
    with pytest.raises(InputError, match="`shots`"):
        kernel_with_shots((0,), seeds=2)


def test_sine_has_a_circuit_that_can_learn_it() -> None:
    trained = train(Sine(training=dataclasses.replace(QUICK, epochs=60)))
    assert trained.summary["test_mean_l1"] < 0.05
    points = np.array([[0.5], [-1.0]])
    np.testing.assert_allclose(trained.predict(points), np.sin(points[:, 0]), atol=0.15)
    assert math.isclose(trained.task.metric.bounds[0], 0)
    for changed, words in (
        ({"layers": 0}, r"`layers` must be"),
        ({"train_count": 0}, r"`train_count` must be an integer of at least 1, but is 0"),
        ({"training": TrainingConfig()}, r"`shift` and `flip` must be 0 and False for numbers"),
        ({"training": dataclasses.replace(QUICK, loss="mse")}, r"`loss` and `label_smoothing`"),
        (
            {"training": dataclasses.replace(QUICK, label_smoothing=0.1)},
            r"must be left out where values are learned, .* are cross-entropy and 0\.1\.",
        ),
        ({"training": None}, r"`training` must be a TrainingConfig"),
    ):
        with pytest.raises(InputError, match=words):
            dataclasses.replace(Sine(), **changed).check()


def test_pooled_images_are_means_of_pixels(data_dir) -> None:
    from qnn_jax.training.task import Folders

    folders = Folders(data_dir)
    plain = Fashion(Pooled().classes, 40, 40).load(folders, 3, lambda *_: None)
    pooled = Pooled(train_images=40, validation_images=40).load(folders, 3, lambda *_: None)
    assert pooled.test.inputs.shape == (4000, 16)
    image = plain.train.inputs[0].astype(float)
    wanted = [
        image[7 * r : 7 * r + 7, 7 * c : 7 * c + 7].mean() for r in range(4) for c in range(4)
    ]
    np.testing.assert_allclose(pooled.train.inputs[0], np.pi * np.array(wanted) / 255, rtol=1e-5)
    assert list(pooled.train.targets) == list(plain.train.targets)


def test_pooled_circuits_and_their_bad_settings() -> None:
    (hybrid, separable, _) = Pooled(blocks=3).members()
    assert (hybrid.network.circuit.num_inputs, hybrid.network.circuit.num_weights) == (16, 36)
    assert all(len(op.qubits) == 1 for op in separable.network.circuit.ops)
    for changed, words in (
        ({"blocks": 21}, r"`blocks` must be"),
        ({"classes": ("Bag", "Coat")}, r"`classes` must name 4 classes, one for each qubit"),
        ({"weight_bound": 0}, r"`weight_bound` must be"),
        ({"training": TrainingConfig()}, r"`shift` and `flip` must be 0 and False for images"),
        ({"training": dataclasses.replace(QUICK, loss="mse")}, r"`loss` must be cross-entropy"),
        ({"train_images": 42}, r"`train_images` must be a multiple of 4"),
    ):
        with pytest.raises(InputError, match=words):
            dataclasses.replace(Pooled(), **changed).check()


def test_a_circuit_alone_has_logits_with_a_gain() -> None:
    member = Pooled(blocks=1).members()[0]
    inputs = np.random.default_rng(0).uniform(0, math.pi, (3, 16)).astype(np.float32)
    params = member.network.init(jax.random.key(0), inputs)["params"]
    labels = [{"Z0": 1.0}, {"Z1": 1.0}, {"Z2": 1.0}, {"Z3": 1.0}]
    weights = params["quantum"]["weights"]
    values = exact(member.network.circuit, labels, inputs, weights).values
    for gain in (4.0, -1.5):
        logits = member.network.apply({"params": params | {"gain": gain}}, inputs)
        np.testing.assert_allclose(logits, gain * values, atol=1e-6)
    assert params["gain"] == 4
    with pytest.raises(InputError, match=r"`initial_gain` must be above 0, but is 0"):
        member.network.clone(initial_gain=0).init(jax.random.key(0), inputs)
