"""The benchmark of learned twins: its true device is that of Aer, and its table adds up."""

import json

import jax
import numpy as np
import pytest
from reference_models import calculator

from pipelines import bench
from pipelines.benchmarks import twin
from pipelines.benchmarks.hidden_device import HiddenDevice
from qnn_jax.errors import InputError
from qnn_jax.hardware import LearnSettings, Ledger, Visit, device, learn_device
from qnn_jax.training.task import ACCURACY, MEAN_L1


def cell(plain, recalibrated, learned, jobs=None):
    """Mean errors of a device on which the exact circuit has 0.1."""
    ways = {"plain": plain, "recalibrated": recalibrated, "tuned_learned": learned}
    return {
        **dict.fromkeys(twin.WAYS, plain),
        **ways,
        "exact": 0.1,
        "jobs": jobs,
        "spsa": {"10": plain, "20": plain},
        "learn_seconds_predicted": 7.0,
        "held_out_before": 3.0,
        "held_out_after": 1.0,
    }


def test_the_table_adds_up():
    cells = [cell(0.5, 0.3, 0.2, 20), cell(0.7, 0.3, 0.1)]
    found = twin.summary(cells, MEAN_L1)
    assert found["rows"]["plain"]["excess"] == pytest.approx(0.5)
    assert found["rows"]["plain"]["removed"] == 0
    assert found["rows"]["recalibrated"]["removed"] == pytest.approx(0.6)
    assert found["rows"]["tuned_learned"]["removed"] == pytest.approx(0.9)
    assert found["removed_of_recalibrated"] == pytest.approx(0.75)
    assert (found["jobs"], found["most_jobs"]) == ([20, None], 20)
    # Where more is better, the exact circuit is above.
    assert twin.excess({"exact": 0.9, "plain": 0.8}, "plain", ACCURACY) == pytest.approx(0.1)


def test_finished_cells_are_not_run_again(tmp_path, monkeypatch, capsys):
    ran = []

    def measured(setting, number, folders):
        ran.append(number)
        return cell(0.5, 0.3, 0.2)

    monkeypatch.setattr(twin, "measured_cell", measured)
    flags = ["--only", "twin", "--families", "calculator", "--results-dir", str(tmp_path)]
    assert bench.main([*flags, "--seeds", "2"]) == 0
    assert bench.main([*flags, "--seeds", "3"]) == 0
    assert ran == [0, 1, 2]
    found = json.loads((tmp_path / "bench/twin.json").read_text())
    assert found["table"]["calculator"]["cells"] == 3
    assert "SPSA needs as many jobs: more than 20, more than 20" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"`families` must be among calc.*, but has cosine"):
        bench.main([*flags[:2], "--families", "cosine", "--results-dir", str(tmp_path)])


@pytest.mark.slow
def test_the_true_device_is_that_of_aer(tmp_path):
    adding = calculator()
    rows = adding.encode(np.random.default_rng(0).uniform(size=(40, 2)))
    hidden = HiddenDevice("FakeMarrakesh", 3, 3, size=0.2)
    learned = learn_device(
        Visit(hidden, Ledger(tmp_path, "0" * 64)),
        adding.circuit,
        adding.weights,
        rows,
        LearnSettings(settings=64, budget_seconds=20),
        "learn",
    )
    truth = twin.true_device(hidden, learned.twin, jax.random.key(0))
    aer = device(
        hidden, folder=tmp_path / "job", shots=8192, readout=False, copies=1, budget_seconds=1e6,
        layout=learned.twin.content["layout"],
    )  # fmt: skip
    values, stderr, _ = adding.run(rows, aer)
    exactly = np.asarray(adding.run(rows, truth.exactly).values)
    assert (abs(np.asarray(values) - exactly) < 5 * np.asarray(stderr)).all()
    # The published errors alone are another device.
    published = np.asarray(adding.run(rows, learned.twin.executor(published=True)).values)
    assert (abs(published - exactly) > 5 * np.asarray(stderr)).any()
    # A job is drawn once.
    again = [np.asarray(adding.run(rows, truth).values) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert len(truth.jobs) == 1
