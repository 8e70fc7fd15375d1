"""The benchmark of classifiers: it resumes cell by cell, and test rows take part in no choice."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines import bench
from pipelines.benchmarks import classification
from pipelines.benchmarks.classification import (
    FAMILIES,
    MODELS,
    Classical,
    Family,
    Found,
    Hybrid,
    Kernel,
    reuploading,
)
from qnn_jax import expectations
from qnn_jax.data.families import Labelled, linearly_separable
from qnn_jax.errors import InputError


class Noting:
    """A model that notes which rows it is given, and is right as often as it is told."""

    def __init__(self, name: str, log: list, accuracy: float) -> None:
        self.name, self.log, self.right = name, log, accuracy
        self.grid = {"C": (1.0, 2.0)}

    def choose(self, rows: Labelled) -> Found:
        self.log.append((self.name, "choose", len(rows.labels)))
        return Found({"C": 2.0}, 0.5)

    def accuracy(self, params, rows: Labelled, test: Labelled, seed: int) -> float:
        assert params == {"C": 2.0}
        self.log.append((self.name, seed, len(rows.labels), len(test.labels)))
        assert not set(map(tuple, rows.inputs)) & set(map(tuple, test.inputs))
        return self.right


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list:
    found: list = []
    models = {name: Noting(name, found, k / 10) for k, name in enumerate(MODELS)}
    family = FAMILIES["two curves"]
    small = {"two curves": Family(family.draw, family.published, (2, 3))}
    monkeypatch.setattr(classification, "MODELS", models)
    monkeypatch.setattr(classification, "FAMILIES", small)
    return found


def run(folder: Path, *more: str) -> dict:
    flags = ["--only", "classification", "--results-dir", str(folder), *more]
    assert bench.main(flags) == 0
    return json.loads((folder / "bench/classification.json").read_text())


def test_more_seeds_go_on_where_the_file_ends(tmp_path: Path, log: list, capsys) -> None:
    first = run(tmp_path, "--seeds", "2", "--sizes", "2")
    assert list(first["cells"]) == ["two curves, 2"]
    found = run(tmp_path, "--seeds", "2")
    assert list(found["cells"]) == ["two curves, 2", "two curves, 3"]
    assert found["cells"]["two curves, 2"] == first["cells"]["two curves, 2"]
    entry = found["cells"]["two curves, 3"]["SVC"]
    assert entry["params"] == {"C": 2.0}
    assert entry["accuracies"] == [0.8, 0.8]
    # Each model chooses once a cell, on training rows alone, and is then tested once a seed.
    assert [line for line in log if line[0] == "SVC"] == 2 * [
        ("SVC", "choose", 240),
        ("SVC", 0, 240, 60),
        ("SVC", 1, 240, 60),
    ]
    text = capsys.readouterr().out
    assert "0.800 (0.989)" in text
    assert "hybrid - MLP: -70.00 (-70.00 to -70.00)" in text
    log.clear()
    assert run(tmp_path, "--seeds", "2")["cells"] == found["cells"]
    assert not log
    run(tmp_path, "--seeds", "3")
    assert {line[1] for line in log} == {2}
    assert len(log) == 2 * len(MODELS)


def test_a_file_of_other_settings_is_begun_anew(tmp_path: Path, log: list, monkeypatch) -> None:
    run(tmp_path, "--seeds", "1")
    log.clear()
    monkeypatch.setattr(classification, "STEPS", 3)
    run(tmp_path, "--seeds", "1")
    assert sum(line[1] == "choose" for line in log) == 2 * len(MODELS)


def test_an_interruption_loses_one_model_at_most(tmp_path: Path, log: list, monkeypatch) -> None:
    def stop(*_):
        raise KeyboardInterrupt

    last = classification.MODELS["SVC"]
    monkeypatch.setattr(last, "accuracy", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "--seeds", "1")
    monkeypatch.undo()
    found = json.loads((tmp_path / "bench/classification.json").read_text())
    assert list(found["cells"]["two curves, 2"]) == [name for name in MODELS if name != "SVC"]


def test_what_cannot_be_asked_for_is_refused(tmp_path: Path, log: list, monkeypatch) -> None:
    with pytest.raises(InputError, match="`families` must be among two curves, but has 'curves'"):
        run(tmp_path, "--families", "curves")
    with pytest.raises(InputError, match="`sizes` must be among 2, 3, but has 4"):
        run(tmp_path, "--sizes", "4")
    monkeypatch.setitem(
        classification.FAMILIES, "bars", Family(FAMILIES["bars and stripes"].draw, {}, (4,))
    )
    with pytest.raises(InputError, match="`sizes` must be among 4, but has 2"):
        run(tmp_path, "--families", "bars", "--sizes", "2")
    with pytest.raises(InputError, match="`--seeds` must be at least 1, but is 0"):
        run(tmp_path, "--seeds", "0")


@pytest.mark.parametrize("name", [n for n, family in FAMILIES.items() if not family.images])
def test_every_cell_has_rows_of_its_own_for_each_seed(name: str) -> None:
    family = FAMILIES[name]
    rows, test = family.draw(family.sizes[1], 0, None)
    other = family.draw(family.sizes[1], 1, None)[0]
    wanted = classification.IMAGES if name == "bars and stripes" else classification.ROWS
    assert (len(rows.labels), len(test.labels)) == wanted
    assert not np.array_equal(rows.inputs, other.inputs)
    assert 0.2 < test.labels.mean() < 0.8


def test_a_layer_of_reuploading_rotates_by_three_features_a_qubit() -> None:
    circuit = reuploading(7)
    assert (circuit.num_qubits, circuit.num_inputs) == (3, 7)
    # Nine angles a layer, of which seven read a feature.
    assert circuit.num_weights == classification.LAYERS * (9 + 7)
    assert not [op for op in circuit.without_entanglement().ops if len(op.qubits) > 1]
    # Where all layers but the first do nothing, the second qubit is turned by w + w x_4.
    weights = np.zeros(circuit.num_weights)
    place = 6 + 2  # after the first qubit's three pairs, and rz of the second
    weights[place : place + 2] = 0.3, 2.0
    inputs = np.zeros(7)
    inputs[4] = 0.4
    found = expectations(circuit, ["IZI", "IIZ"], inputs, weights)
    np.testing.assert_allclose(found, [np.cos(0.3 + 2 * 0.4), 1], atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Hybrid("classical"), marks=pytest.mark.slow),
        pytest.param(Hybrid(reuploads=True), marks=pytest.mark.slow),
        Kernel("z"),
        Classical("SVC"),
    ],
)
def test_models_learn_what_a_hyperplane_separates(model, monkeypatch) -> None:
    monkeypatch.setattr(classification, "STEPS", 60)
    monkeypatch.setattr(classification, "MOST_IN_KERNEL", 3)
    monkeypatch.setattr(classification, "MOST_REUPLOADED", 3)
    rows, test = (linearly_separable(n, 4, seed=n) for n in (60, 40))
    found = model.choose(rows)
    assert set(found.params) == set(model.grid)
    assert found.score > 0.75
    assert model.accuracy(found.params, rows, test, 1) > 0.7
