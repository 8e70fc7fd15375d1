"""Adding a gate, an ansatz, an executor, a task and a dataset as described in CONTRIBUTING.md."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from data.tiny_source import make_tiny
from toy_tasks import Wave

from qnn_jax.data.fashion_mnist import load_images
from qnn_jax.executors import Expectations, exact
from qnn_jax.report import write_run
from qnn_jax.report.index import write_index
from qnn_jax.runs import RunDirectory
from qnn_jax.tasks import Seeds, load, train
from qnn_jax.tasks.stored import config_of
from qnn_jax.training import Metric, Result

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "qnn_jax"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the library, to be changed."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, tmp_path / "qnn_jax", ignore=ignored))


def edit(path: Path, after: str, row: str) -> None:
    """Add a line after another, which occurs once."""
    text = path.read_text("utf-8")
    assert text.count(after) == 1, (path, after)
    path.write_text(text.replace(after, after + row), "utf-8")


def run(copy: Path, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy.parent,
        env={**os.environ, "PYTHONPATH": str(copy.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_a_gate_is_one_row(copy: Path) -> None:
    row = '\n    Gate("rzzz", 3, 1, _rotation("ZZZ"), _negated("rzzz")),'
    edit(
        copy / "circuits/gates.py", '    Gate("rzz", 2, 1, _rotation("ZZ"), _negated("rzz")),', row
    )
    run(
        copy,
        """
import jax, numpy as np, qnn_jax
from qnn_jax import Circuit, Op, w, x
assert qnn_jax.__file__.startswith(__import__("os").getcwd())
layer = tuple(Op("h", q) for q in range(3))
circuit = Circuit(3, (*layer, Op("rzzz", (0, 1, 2), w[0])))
angle = 0.7
found = qnn_jax.statevector(circuit, [], [angle])
parity = np.array([(-1) ** bin(k).count("1") for k in range(8)])
np.testing.assert_allclose(found, np.exp(-0.5j * angle * parity) / 8**0.5, atol=1e-6)
undone = circuit + circuit.inverse()
np.testing.assert_allclose(abs(qnn_jax.statevector(undone, [], [angle] * 2)[0]), 1, atol=1e-6)
turned = Circuit(3, (*layer, Op("rzzz", (0, 1, 2), w[0]), Op("sdg", 0), *layer))
value = lambda a: qnn_jax.expectations(turned, ["ZZZ"], np.zeros(0), a)[0]
step = 1e-2
slope = (value(np.array([angle + step])) - value(np.array([angle - step]))) / (2 * step)
np.testing.assert_allclose(jax.grad(value)(np.array([angle], np.float32))[0], slope, atol=1e-3)
assert "rzzz" in str(circuit)
""",
    )


def test_an_ansatz_is_a_function_and_its_name(copy: Path) -> None:
    library = copy / "circuits/library"
    text = (library / "layered.py").read_text("utf-8")
    text += '''

def brick(num_qubits: int) -> Circuit:
    """RY on every qubit, then CZ on neighbours."""
    gates = [Op("ry", q, w[q]) for q in range(num_qubits)]
    return Circuit(num_qubits, (*gates, *(Op("cz", (q, q + 1)) for q in range(num_qubits - 1))))
'''
    (library / "layered.py").write_text(text, "utf-8")
    init = library / "__init__.py"
    init.write_text(
        init.read_text("utf-8") + "\nfrom qnn_jax.circuits.library.layered import brick\n", "utf-8"
    )
    run(
        copy,
        """
import numpy as np, qnn_jax
from qnn_jax.circuits.library import brick
weights = np.array([0.3, 0.5, 0.7])
found = qnn_jax.expectations(brick(3), ["IIZ", "ZII"], [], weights)
np.testing.assert_allclose(found, np.cos([0.3, 0.7]), atol=1e-6)
""",
    )


@dataclass(frozen=True)
class Faded:
    """An executor of the tests: another one's values times a factor."""

    factor: float

    def __call__(self, circuit, observables, inputs, weights, key=None) -> Expectations:
        found = exact(circuit, observables, inputs, weights, key)
        return Expectations(self.factor * found.values, jnp.zeros_like(found.values))


def test_an_executor_is_a_callable_and_a_task_a_dataclass(tmp_path: Path) -> None:
    train(Wave()).save(tmp_path / "wave")
    trained = load(tmp_path / "wave", task=Wave)
    points = np.linspace(-1, 1, 5)[:, None]
    head = trained.params["head"]
    gain, bias = float(head["kernel"][0, 0]), float(head["bias"][0])
    plain = trained.predict(points)
    faded = trained.predict(points, Faded(0.5))
    np.testing.assert_allclose(faded - bias, 0.5 * (plain - bias), atol=1e-6)
    assert abs(gain) > 0.1


SQUARED = Metric(
    "mse", "test squared error", "less", lambda outputs, y: (outputs[:, 0] - y) ** 2, form=".3g"
)
CLOSE = Metric(
    "close",
    "test share within 0.05",
    "more",
    lambda outputs, y: abs(outputs[:, 0] - y) < 0.05,
    bounds=(0.0, 1.0),
    scale=100.0,
    unit="points",
)


@dataclass(frozen=True)
class Measured(Wave):
    """A wave that is scored by another metric, with a twin."""

    name: ClassVar[str] = "measured"
    better: str = "less"

    @property
    def metric(self):
        return SQUARED if self.better == "less" else CLOSE

    def members(self):
        hybrid, frozen, _ = super().members()
        return hybrid, frozen._replace(alongside=True)

    def results(self, summary):
        return (Result("halved", summary[f"test_{self.metric.name}"] / 2, (0.0, 1.0), "halved: 0"),)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("metric", [SQUARED, CLOSE], ids=lambda metric: metric.name)
def test_a_metric_is_a_value_that_a_task_names(metric, tmp_path: Path) -> None:
    task = Measured(noise=0.02, better=metric.better)
    path = tmp_path / "measured"
    with RunDirectory.open(tmp_path, "measured", config_of(task, Seeds(), "measured")) as run:
        trained = train(task, run=run, publish=lambda finished: write_run(path, finished))
    test, summary = trained.splits().test, trained.summary
    each = np.asarray(metric.of_each(trained.outputs(test.inputs), test.targets))
    assert summary["metric"] == metric.name
    assert summary[f"test_{metric.name}"] == pytest.approx(each.mean(), rel=1e-4)
    expected = (
        scipy.stats.binomtest(int(each.sum()), each.size).proportion_ci(method="wilson")
        if metric is CLOSE
        else scipy.stats.t.interval(0.95, each.size - 1, each.mean(), scipy.stats.sem(each))
    )
    assert summary["test_interval"] == pytest.approx(expected, rel=1e-3)
    assert ("McNemar" in summary["verdict"]) == (metric is CLOSE)
    # The trainer reports the restart that is best by this metric.
    last = json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])["hybrid"]
    best, median = (last[f"validation_{metric.name}{end}"] for end in ("", "_median"))
    assert metric.sign * best >= metric.sign * median
    assert "hybrid, halved" in (path / "report.html").read_text()
    page = write_index(tmp_path).read_text()
    assert f"<td>{metric.name}</td>" in page
    assert "<td>frozen</td>" in page


def test_a_dataset_of_images_is_a_source(tmp_path: Path) -> None:
    tiny = make_tiny(tmp_path / "archives")
    dataset = load_images(tiny.source, tmp_path / "data", tiny.folder)
    tiny.check(dataset)
