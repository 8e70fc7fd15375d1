"""The benchmark of evaluations: wrong results are not timed, partial ones are marked."""

import json

import numpy as np
import pytest

from pipelines import bench
from pipelines.benchmarks import evaluation
from pipelines.benchmarks.evaluation import IMAGES, Way


def truth(inputs: np.ndarray) -> np.ndarray:
    return np.cos(inputs[:, 0])


def ways_of(monkeypatch: pytest.MonkeyPatch, ways: dict[str, Way]) -> None:
    monkeypatch.setattr(evaluation, "every_way", lambda inputs: (ways, truth(inputs)))


def test_every_way_is_in_the_table(tmp_path, monkeypatch, capsys) -> None:
    calls = []

    def slow(inputs):
        calls.append(len(inputs))
        return truth(inputs) + 0.1

    ways_of(monkeypatch, {"quick": Way(truth), "slow": Way(slow, 20, noisy=True, once=True)})
    assert bench.main(["--only", "evaluation", "--results-dir", str(tmp_path)]) == 0
    assert calls == [20]
    assert "once; scaled up from 20" in capsys.readouterr().out
    found = json.loads((tmp_path / "bench/evaluation.json").read_text())
    assert list(found["ways"]) == ["quick", "slow"]
    assert found["ways"]["slow"]["rms"] == pytest.approx(0.1, rel=1e-5)
    assert found["images"] == IMAGES == 2000


@pytest.mark.parametrize("wrong", [lambda inputs: -truth(inputs), lambda inputs: truth(inputs) / 0])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_wrong_way_is_not_measured(tmp_path, monkeypatch, wrong) -> None:
    ways_of(monkeypatch, {"wrong": Way(wrong)})
    with pytest.raises(RuntimeError, match=r"wrong is .* away from the exact values"):
        bench.main(["--only", "evaluation", "--results-dir", str(tmp_path)])
    assert not (tmp_path / "bench/evaluation.json").exists()


def test_our_ways_are_right() -> None:
    inputs = np.random.default_rng(0).uniform(2.2, 4.1, (200, 2)).astype(np.float32)
    ways, exact = evaluation.every_way(inputs)
    for name in ("ours: sampled", "ours: aer", "ours: aer, FakeFez"):
        assert 0.005 < np.sqrt(np.mean((ways[name].run(inputs) - exact) ** 2)) < 0.06, name
    assert set(ways) > {"Aer's EstimatorV2, one PUB", "Aer, one job a circuit"}
