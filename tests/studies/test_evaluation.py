"""Evaluation as a function of a trained model."""

import numpy as np
import pytest
from reference_models import calculator

from qnn_jax import InputError
from qnn_jax.bridge import aer
from qnn_jax.executors import exact, sampled
from qnn_jax.report.evaluation import scores
from qnn_jax.studies.evaluation import chosen, evaluate, table
from qnn_jax.training.task import ACCURACY, Examples


def points(count: int) -> Examples:
    inputs = np.random.default_rng(0).uniform(0, 1, (count, 2)).astype(np.float32)
    return Examples(inputs, inputs.sum(axis=1))


@pytest.mark.slow
def test_errors_are_those_of_normal_noise() -> None:
    trained, test = calculator(), points(800)
    # The model's own values are the targets, so that only noise remains.
    test = test._replace(targets=trained.predict(test.inputs))
    records, told = [], []
    rows = evaluate(
        trained,
        {"400 shots": aer(400, seed=0), "FakeManilaV2": aer(4000, "FakeManilaV2", seed=1)},
        test,
        first=lambda name, record: records.append((name, len(record.counts[0].shots))),
        tell=told.append,
    )
    assert records == [("400 shots", 1), ("FakeManilaV2", 1)]
    found = table(rows, trained.task.metric)
    assert found["exact"]["mean_l1"] < 1e-6
    assert set(found["exact"]) == {"mean_l1", "interval", "seconds"}
    # E|error| of a normal error is sqrt(2/π) of its standard deviation, here of the gain 1.4.
    spread = np.sqrt((1 - np.asarray(rows[0].values[:, 0]) ** 2) / 400)
    wanted = 1.4 * np.sqrt(2 / np.pi) * spread.mean()
    assert found["400 shots"]["mean_l1"] == pytest.approx(wanted, rel=0.1)
    low, high = found["400 shots"]["interval"]
    assert low < wanted < high
    assert found["400 shots"]["expectation_rms"] == pytest.approx(
        np.sqrt(np.mean(spread**2)), rel=0.1
    )
    assert found["FakeManilaV2"]["mean_l1"] > 2 * wanted / np.sqrt(10)
    # Values have no classes that could change.
    assert "changed_predictions" not in found["400 shots"]
    assert [line.split()[0] for line in told] == ["mean", "400", "FakeManilaV2"]
    layout, date = rows[2].record.layout, rows[2].record.calibration
    assert told[2].endswith(f"qubits {layout[0]}, {layout[1]}; errors of {date}")
    figure = scores("points", rows, trained.task.metric)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["exact", "400 shots", "FakeManilaV2, 4,000 shots"]


def test_what_changes_is_counted_in_classes_only() -> None:
    rows = evaluate(calculator(), {}, points(3))
    classes = [rows[0]._replace(name=n, predicted=np.array(p, np.int32))
               for n, p in (("exact", [0, 1, 1]), ("other", [0, 0, 0]))]  # fmt: skip
    assert table(classes, ACCURACY)["other"]["changed_predictions"] == 2
    assert rows[0].changed(rows[0]) is None


def test_examples_are_chosen_by_a_seed() -> None:
    every = points(3000)
    assert len(chosen(every).targets) == 2000
    assert len(chosen(every, 0).targets) == 3000
    assert len(chosen(points(30)).targets) == 30
    some, again, other = (chosen(every, 50, seed).inputs for seed in (1, 1, 2))
    assert np.array_equal(some, again)
    assert not np.array_equal(some, other)
    # They keep their order.
    place = [int(np.flatnonzero((every.inputs == row).all(axis=1))[0]) for row in some]
    assert place == sorted(place)
    with pytest.raises(InputError, match=r"^Argument `images` must be at most 30, .* but is 31"):
        chosen(points(30), 31)
    with pytest.raises(InputError, match=r"^Argument `images` must be an integer of at least 0"):
        chosen(points(30), -1)


def test_what_cannot_be_evaluated_is_refused() -> None:
    with pytest.raises(InputError, match=r"`examples` must hold at least one example"):
        evaluate(calculator(), {}, points(0))
    with pytest.raises(InputError, match=r"`executors` must not name one 'exact'"):
        evaluate(calculator(), {"exact": exact}, points(2))
    with pytest.raises(InputError, match=r"`key` of `sampled` must be a random key"):
        evaluate(calculator(), {"shots": sampled(10)}, points(2))
