"""Diagnoses of trained models of any task: results, refusals, and written files."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax.circuits import Circuit, Op, PauliSum, w, x
from qnn_jax.circuits.observables import observables_on
from qnn_jax.configs import ModelConfig
from qnn_jax.errors import InputError
from qnn_jax.linen import QuantumLayer
from qnn_jax.models import HybridClassifier
from qnn_jax.models.regressor import HybridRegressor
from qnn_jax.report.diagnosis import write_diagnosis
from qnn_jax.studies.diagnosis import Diagnosis, as_json, diagnose, in_a_line, subject_of
from qnn_jax.tasks.trained import Trained
from qnn_jax.training.task import ACCURACY, HYBRID, MEAN_L1, Examples, Member, Metric, Splits

SAMPLES = 200
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Known:
    """Learn f = 2 cos(a + 0.3) cos(b) - 1, which a circuit of two qubits can represent."""

    name: ClassVar[str] = "known"
    metric: ClassVar[Metric] = MEAN_L1

    def members(self) -> tuple[Member, ...]:
        circuit = Circuit(
            2, (Op("ry", 0, x[0] + w[0]), Op("ry", 1, x[1]), Op("cz", (0, 1)), Op("rz", 0, w[1]))
        )
        return (Member(HYBRID, HybridRegressor(circuit, ("ZZ",))),)

    def load(self, folders: Any, seed: int, report: Any) -> Splits:
        inputs = np.random.default_rng(0).uniform(0, 1, (600, 2)).astype(np.float32)
        targets = 2 * np.cos(inputs[:, 0] + 0.3) * np.cos(inputs[:, 1]) - 1
        every = Examples(inputs, targets)
        return Splits(every, every, every, "known", "")


@dataclass(frozen=True)
class Shapes:
    """Classify three kinds of tables or images."""

    config: ModelConfig = ModelConfig(num_qubits=2, channels=(), hidden=())

    name: ClassVar[str] = "shapes"
    metric: ClassVar[Metric] = ACCURACY

    def members(self) -> tuple[Member, ...]:
        return (Member(HYBRID, HybridClassifier(self.config, 3)),)


class Turned(nn.Module):
    """A regressor that scales its inputs before the circuit: parameters in `encode`."""

    circuit: ClassVar[Circuit] = Circuit(1, (Op("ry", 0, x[0] + w[0]),))
    observables: ClassVar[tuple[PauliSum, ...]] = observables_on(1, "Z")

    def setup(self) -> None:
        self.scale = nn.Dense(1, use_bias=False)
        self.quantum = QuantumLayer(self.circuit, "Z")

    def __call__(self, inputs, train=False):
        return self.decide(self.quantum(self.encode(inputs)))

    def encode(self, inputs):
        return self.scale(inputs)

    def decide(self, expectations):
        return expectations


def known() -> Trained:
    head = {"kernel": jnp.array([[2.0]]), "bias": jnp.array([-1.0])}
    return Trained(Known(), {"quantum": {"weights": jnp.array([0.3, 0.5])}, "head": head})


def shapes(inputs: np.ndarray) -> Trained:
    task = Shapes()
    params = task.members()[0].network.init(jax.random.key(0), jnp.asarray(inputs[:1]))["params"]
    return Trained(task, params)


@pytest.fixture(scope="module")
def diagnosed() -> tuple[Diagnosis, list[str]]:
    lines: list[str] = []
    found = diagnose(known(), samples=SAMPLES, qubits=(2, 3), repeats=(1, 2), tell=lines.append)
    return found, lines


@pytest.fixture(scope="module")
def folder(diagnosed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    write_diagnosis(path, "Diagnosis of <known>", diagnosed[0])
    return path


@pytest.mark.slow
def test_the_numbers_are_those_of_the_known_function(diagnosed) -> None:
    found = json.loads(json.dumps(diagnosed[0].as_json()))
    assert (found["task"], found["seed"], found["samples"]) == ("known", 0, SAMPLES)
    least = found["representation"]["mean_l1"]
    assert least["any_observable"] < 1e-6
    assert least["run"] < 1e-5
    assert least["ansatz"] < 0.02
    # cos a cos b has the four frequencies (±1, ±1), each with 1/4.
    largest = found["fourier"]["all"]["largest"]
    assert {tuple(map(abs, row["frequency"])) for row in largest} == {(1.0, 1.0)}
    assert [np.hypot(*row["coefficient"]) for row in largest] == pytest.approx([0.25] * 4)
    assert found["fourier"]["all"]["reachable"] == 9
    # w[1] rotates about the measured axis; nevertheless it changes the states.
    assert found["fisher"]["rank"] == 2
    assert found["effective_dimension"]["values"][-1] < 1.2
    assert "classical_gradients" not in found
    assert set(found["gradients_by_size"]) == {"paper", "2", "3"}
    assert set(found["gradients"]) == {"paper", "1", "2"}
    for name, value in found.items():
        if isinstance(value, dict):
            assert value["paper"], name


@pytest.mark.slow
def test_every_diagnostic_is_reported_in_a_line(diagnosed) -> None:
    found, lines = diagnosed
    assert len(lines) == len(found.values) == 9
    for name, line in zip(found.values, lines, strict=True):
        assert line.startswith(f"  {name.replace('_', ' ')}")
        assert found.line(name) in line
        assert re.search(r"\(\d+\.\d s\)$", line)
        assert found.line(name) in str(found)
    assert found.line("fourier") == "frequencies in use, of those in reach: 4 of 9"


@pytest.mark.slow
def test_the_page_has_words_and_a_picture_for_each(diagnosed, folder: Path) -> None:
    page = (folder / "diagnose.html").read_text()
    assert "<title>Diagnosis of &lt;known&gt;</title>" in page
    assert page.count("<h2>") == len(diagnosed[0].values) + 1
    pictures = re.findall(r'src="(figures/[^"]+)"', page)
    assert len(pictures) == len(diagnosed[0].values)
    for picture in pictures:
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert "RY(x[0] + w[0])" in page
    assert not re.search(r"\bnan\b|\binf\b|\{|\}", page.split("</style>")[1])


@pytest.mark.slow
def test_a_refusal_becomes_a_sentence_of_the_page(diagnosed, tmp_path: Path) -> None:
    refusal = InputError("Argument `circuit` must be simpler, but is <this>.")
    assert in_a_line("fourier", refusal) == f"refused: {refusal}"
    assert as_json(refusal) == {"refused": str(refusal)}
    values = {"fourier": refusal, "kernel": diagnosed[0].values["kernel"]}
    subject = diagnosed[0].subject
    write_diagnosis(tmp_path, "run", Diagnosis("known", subject, 0, SAMPLES, values, 1.0))
    page = (tmp_path / "diagnose.html").read_text()
    reason = "The reason: Argument `circuit` must be simpler, but is &lt;this&gt;."
    assert f"Not computed for this circuit. {reason}" in page
    # Diagnostics with a result come before those without.
    assert page.index("Does it map similar samples to similar states") < page.index(
        "Which frequencies"
    )
    assert page.count("<img") == 1


def test_classes_become_signs_and_names() -> None:
    inputs = RNG.normal(size=(9, 4)).astype(np.float32)
    labels = np.array([0, 1, 2] * 3, np.int32)
    trained = shapes(inputs)
    subject = subject_of(trained, Examples(inputs, labels))
    assert subject.targets.tolist() == [-1.0, -1.0, 1.0] * 3
    assert subject.class_names == ("all others", "class 2")
    assert subject.predictions is None
    np.testing.assert_array_equal(subject.inputs, trained.encode(inputs))
    named = Trained(trained.task, trained.params, {"classes": ["round", "square", "none"]})
    # The last class is the task's, even if it does not occur among the examples.
    some = subject_of(named, Examples(inputs[:2], labels[:2]))
    assert some.class_names == ("all others", "none")
    assert some.targets.tolist() == [-1.0, -1.0]
    pair = Trained(trained.task, trained.params, {"classes": ["a", "b"]})
    two = subject_of(pair, Examples(inputs[:2], labels[:2]))
    assert (two.class_names, two.targets.tolist()) == (("a", "b"), [-1.0, 1.0])


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    "inputs",
    [
        RNG.integers(0, 200, (6, 3, 5)).astype(np.uint8),
        RNG.uniform(-40, 40, (6, 4)).astype(np.float32),
    ],
    ids=["images of 3 by 5", "tables"],
)
def test_gradients_before_the_circuit_are_taken_on_noise_like_the_inputs(inputs) -> None:
    subject = subject_of(shapes(inputs), Examples(inputs, np.arange(6) % 3))
    assert subject.classical is not None
    function, draw = subject.classical
    params = draw(jax.random.key(0))
    assert params["encoder"]["features"]["kernel"].shape == (inputs[0].size, 2)
    gradients = jax.grad(function)(params)
    for leaf in jax.tree.leaves(gradients["encoder"]):
        assert np.isfinite(leaf).all()
    assert np.abs(gradients["encoder"]["features"]["bias"]).max() > 0


def test_only_networks_with_parameters_before_the_circuit_have_classical_gradients() -> None:
    assert subject_of(known()).classical is None

    @dataclass(frozen=True)
    class Turning(Known):
        def members(self) -> tuple[Member, ...]:
            return (Member(HYBRID, Turned()),)

    splits = Known().load(None, 0, None)
    params = Turned().init(jax.random.key(0), splits.test.inputs[:1])["params"]
    subject = subject_of(Trained(Turning(), params), splits.test)
    assert subject.classical is not None
    function, _ = subject.classical
    assert abs(jax.grad(function)(params)["scale"]["kernel"]).max() > 0


@pytest.mark.slow
def test_a_hybrid_classifier_of_images() -> None:
    from qnn_jax.tasks import Fashion

    images = RNG.integers(0, 256, (60, 28, 28)).astype(np.uint8)
    labels = (np.arange(60) % 2).astype(np.int32)
    images[labels == 1, :14] //= 4
    task = Fashion()
    params = task.members()[0].network.init(jax.random.key(0), jnp.asarray(images[:1]))["params"]
    trained = Trained(task, params, {"classes": ["T-shirt/top", "Trouser"]})
    found = diagnose(
        trained, examples=Examples(images, labels), samples=SAMPLES, qubits=(2, 3), repeats=(1, 2)
    ).as_json()
    assert "affine in the inputs" in found["fourier"]["refused"]
    assert "representation" not in found
    assert found["fisher"]["rank"] <= 6
    layers = found["classical_gradients"]
    assert layers["encoder/conv0/kernel"]["mean"] > 0
    assert layers["quantum/weights"]["mean"] > 0
    assert found["kernel"]["alignment"]["centred"] > 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 10}, "Argument `samples` must be an integer of at least 200, but is 10."),
        (
            {"seed": -1},
            "Argument `seed` must be an integer between 0 and 4294967295, but is -1.",
        ),
        (
            {"examples": Examples(np.zeros((0, 2), np.float32), np.zeros(0))},
            "Argument `examples` must hold at least one example, and a target for each, but holds "
            "0 inputs and 0 targets.",
        ),
        (
            {"examples": Examples(np.zeros((3, 2), np.float32), np.zeros(2))},
            "Argument `examples` must hold at least one example, and a target for each, but holds "
            "3 inputs and 2 targets.",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        diagnose(known(), **arguments)
