"""The estimators' benchmark compares results before it compares times."""

import json
from pathlib import Path

import numpy as np
import pytest
from qiskit.circuit.library import real_amplitudes, zz_feature_map
from qiskit.quantum_info import Statevector

from pipelines import bench
from pipelines.benchmarks import estimators
from pipelines.benchmarks.peers import NoPeersError

QUBITS = estimators.QUBITS


@pytest.fixture(scope="module")
def theirs() -> dict:
    """What the peers' process would say, from Qiskit's statevectors."""
    inputs, _ = estimators.table()
    weights = np.random.default_rng(0).uniform(0, 1, 4 * QUBITS)
    whole = zz_feature_map(QUBITS).compose(real_amplitudes(QUBITS).assign_parameters(weights))
    rows = [
        Statevector(whole.assign_parameters(row)).probabilities_dict() for row in inputs[:569:4]
    ]
    shares = [sum(p for bits, p in one.items() if bits[-1] == "0") for one in rows]
    states = [
        Statevector(zz_feature_map(8).assign_parameters(row)).data
        for row in estimators.kernel_rows()[:40]
    ]
    kernel = np.abs(np.conj(states[:3]) @ np.transpose(states)) ** 2
    return {
        "versions": {"qiskit-machine-learning": "0"},
        "fit_seconds": 100.0,
        "loss": 0.6,
        "weights": weights.tolist(),
        "first": shares,
        "kernel_seconds": 20.0,
        "kernel": kernel.tolist(),
    }


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the table, 40 rows of the kernel, and no table to score on."""
    inputs, labels = estimators.table()
    rows = estimators.kernel_rows()[:40]
    monkeypatch.setattr(estimators, "table", lambda: (inputs[::4], labels[::4]))
    monkeypatch.setattr(estimators, "kernel_rows", lambda: rows)
    monkeypatch.setattr(estimators, "TABLES", ())


def run(folder: Path) -> dict:
    flags = ["--only", "estimators", "--rounds", "1", "--results-dir", str(folder)]
    assert bench.main(flags) == 0
    return json.loads((folder / "bench/estimators.json").read_text())


@pytest.mark.slow
def test_ours_trains_to_their_loss(tmp_path: Path, theirs, monkeypatch, capsys) -> None:
    monkeypatch.setattr(estimators, "_of_peers", lambda: theirs)
    found = run(tmp_path)
    assert found["fit"]["loss_of_ours"] <= found["fit"]["loss"] == 0.6
    assert found["fit"]["ratio"] == pytest.approx(100 / found["fit"]["seconds"])
    assert found["kernel"]["ratio_first"] == pytest.approx(20 / found["kernel"]["first_seconds"])
    assert "VQC: 100.0 s" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"first": 0.5}, "the circuits differ: their probabilities are"),
        ({"kernel": 0.5}, "the Gram matrices differ"),
        ({"loss": 1e-3}, "the loss is .* after 25 passes, but must be 0.001"),
    ],
)
def test_another_result_is_not_timed(tmp_path: Path, theirs, monkeypatch, broken, message) -> None:
    (name, value) = next(iter(broken.items()))
    wrong = value if name == "loss" else (np.zeros_like(theirs[name]) + value).tolist()
    monkeypatch.setattr(estimators, "PASSES", (10, 25))
    monkeypatch.setattr(estimators, "_of_peers", lambda: {**theirs, name: wrong})
    with pytest.raises(RuntimeError, match=message):
        run(tmp_path)
    assert not (tmp_path / "bench/estimators.json").exists()


def test_ours_alone_is_measured_without_peers(tmp_path: Path, monkeypatch, capsys) -> None:
    def none() -> dict:
        raise NoPeersError("Peers are left out, because of a test.")

    monkeypatch.setattr(estimators, "_of_peers", none)
    assert "ratio" not in run(tmp_path)["fit"]
    text = capsys.readouterr().out
    assert "Peers are left out, because of a test." in text
    assert "alone" in text


@pytest.mark.slow
@pytest.mark.parametrize(("name", "metric"), [("wine", "accuracy"), ("diabetes", "R²")])
def test_scores_are_beside_an_mlp_of_equal_size(name: str, metric: str) -> None:
    found = estimators.scores(name)
    assert found["metric"] == metric
    assert len(found["scores"]) == len(found["scores_of_mlp"]) == 5
    assert found["parameters"] == pytest.approx(found["parameters_of_mlp"], rel=0.1)
    assert np.mean(found["scores"]) > (0.95 if name == "wine" else 0.4)
