"""A trained model of any task on a device, with library calls only."""

import dataclasses
import json

import numpy as np
import pytest
from reference_models import calculator

from qnn_jax.errors import InputError
from qnn_jax.hardware import Ledger, Settings
from qnn_jax.hardware.fake_device import FakeDevice
from qnn_jax.studies.hardware import (
    EVALUATION,
    balanced_order,
    evaluate_on_device,
    key_of,
    score,
)

MODEL = "a" * 64
SETTINGS = Settings(images=30, shots=2048, anchors=40, budget_seconds=1e4)


@pytest.fixture(scope="module")
def adding():
    return calculator()


@pytest.fixture(scope="module")
def splits(adding):
    return adding.splits()


@pytest.fixture(scope="module")
def manila():
    return FakeDevice("FakeManilaV2", seed=0)


@pytest.mark.parametrize(
    ("value", "interval", "sound"),
    [
        (0.18, [-0.02, 0.38], True),  # the mean error of few examples
        (-1.5, [-2.0, -1.0], True),  # as R² may be
        (0.5, [0.4], False),
        (0.5, [0.4, None], False),
        (float("inf"), [0.4, 0.6], False),
        (True, [0.4, 0.6], False),
    ],
)
def test_a_stored_score_is_any_finite_number_with_its_interval(value, interval, sound):
    _, holds = EVALUATION["expected"]
    assert holds({"value": value, "interval": interval}) is sound


@pytest.mark.slow
def test_a_regression_is_evaluated_and_found_again(adding, splits, manila, tmp_path):
    told = []
    ledger = Ledger(tmp_path, MODEL)
    found = evaluate_on_device(adding, splits, manila, SETTINGS, ledger, tell=told.append)
    assert found.metric == "mean_l1"
    assert found.result["device"] == "simulated"
    assert found.result["test_count"] == 30
    targets = np.asarray(splits.test.targets)[found.test]
    by_hand = np.abs(adding.decide(found.measured.plain.values)[:, 0] - targets).mean()
    assert found.result["plain"]["mean_l1"] == pytest.approx(by_hand, rel=1e-5)
    outputs = adding.outputs(splits.test.inputs[found.test])
    exactly = np.abs(outputs[:, 0] - targets).mean()
    assert found.result["exact"]["mean_l1"] == pytest.approx(exactly, abs=1e-5)
    rms = [found.result[name]["rms"] for name in ("plain", "mitigated", "recalibrated")]
    assert rms[0] > rms[2]
    assert any("30 points × 2,048 shots" in line for line in told)
    assert not any(line.startswith("signs") for line in told)
    table = found.lines()
    assert table[0].startswith(
        "30 test examples × 2,048 shots on a SIMULATED FakeManilaV2 (mean l1"
    )
    assert sum("measured" in line for line in table) == 3
    json.dumps(found.result)
    again = evaluate_on_device(adding, splits, manila, SETTINGS, Ledger(tmp_path, MODEL))
    assert again.result["job_ids"] == found.result["job_ids"]
    np.testing.assert_array_equal(again.measured.plain.values, found.measured.plain.values)


@pytest.mark.slow
def test_a_dry_run_sends_nothing_and_takes_2000_examples_at_most(adding, splits, manila, tmp_path):
    told = []
    free = Settings(shots=16, anchors=0, readout=False, budget_seconds=1e5)
    ledger = Ledger(tmp_path, MODEL)
    assert evaluate_on_device(
        adding, splits, manila, free, ledger, dry_run=True, tell=told.append
    ) is None  # fmt: skip
    assert len(splits.test.targets) > 2000
    assert any("2,000 points × 16 shots" in line for line in told)
    assert not ledger.entries
    assert not ledger.path.exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"images": 10**7}, r"`images` must be at most \d+, the size of the test set, but is 1000"),
        ({"anchors": 10**7}, r"`anchors` must be at most \d+, the size of the training set"),
        ({"two_stage": True}, "`two_stage` must be False where a decision is not the sign of one"),
        ({"copies": 4}, "`copies` must be at most"),
        ({"fractional_gates": True}, "`fractional_gates` must be False where the backend has no"),
        ({"budget_seconds": 2.1}, "`budget_seconds` must cover the"),
    ],
)
def test_unsupported_settings_are_refused(wrong, said, adding, splits, manila, tmp_path):
    settings = dataclasses.replace(SETTINGS, **wrong)
    with pytest.raises(InputError, match=said):
        evaluate_on_device(adding, splits, manila, settings, Ledger(tmp_path, MODEL))


def test_each_prefix_of_the_order_is_balanced():
    targets = np.repeat([0, 1, 2], [100, 10, 5])
    order = balanced_order(targets, 3, True)
    assert sorted(order.tolist()) == list(range(115))
    for count in (3, 6, 9, 15):
        assert np.bincount(targets[order[:count]]).tolist() == [count // 3] * 3
    plain = balanced_order(targets, 3, False)
    assert np.bincount(targets[plain[:15]]).tolist() != [5, 5, 5]


def test_different_measurements_have_different_keys():
    keys = [
        key_of(SETTINGS, "ibm_fez"),
        key_of(SETTINGS, "ibm_kingston"),
        key_of(dataclasses.replace(SETTINGS, shots=2049), "ibm_fez"),
    ]
    assert len(set(keys)) == 3
    assert keys[0] == key_of(dataclasses.replace(SETTINGS), "ibm_fez")


def test_a_score_is_that_of_the_metric(trained):
    values = np.array([[0.9], [-0.9], [0.9], [-0.9]])
    decided = (trained.decide(values)[:, 0] > 0).astype(int)
    assert sorted(set(decided.tolist())) == [0, 1]
    wrong = decided.copy()
    wrong[0] = 1 - wrong[0]
    assert score(trained, values, decided).value == 1.0
    assert score(trained, values, wrong).value == 0.75
