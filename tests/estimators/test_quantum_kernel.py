"""The quantum kernel against overlaps from Qiskit, and in scikit-learn's SVC."""

import numpy as np
import pytest
from qiskit.circuit.library import zz_feature_map as qiskit_zz
from qiskit.quantum_info import Statevector
from sklearn.base import clone
from sklearn.datasets import make_circles
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

from qnn_jax import Circuit, Op, QuantumKernel, w, x
from qnn_jax.errors import InputError
from qnn_jax.executors import exact, sampled

RNG = np.random.default_rng(0)
ROWS, OTHERS = RNG.uniform(-1, 1, (7, 2)), RNG.uniform(-1, 1, (4, 2))

WEIGHTED = Circuit(2, (Op("ry", 0, w[0] * x[1]),))


def by_qiskit(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    circuit = qiskit_zz(2)
    states = [
        [Statevector(circuit.assign_parameters(row)).data for row in rows] for rows in (left, right)
    ]
    return np.abs(np.array(states[0]).conj() @ np.array(states[1]).T) ** 2


@pytest.mark.parametrize("block_size", [2, 3, 512])
def test_the_kernel_is_the_overlap_of_states(block_size: int) -> None:
    kernel = QuantumKernel(block_size=block_size)
    np.testing.assert_allclose(kernel(ROWS), by_qiskit(ROWS, ROWS), atol=1e-5)
    np.testing.assert_allclose(kernel(ROWS, OTHERS), by_qiskit(ROWS, OTHERS), atol=1e-5)
    np.testing.assert_allclose(kernel(OTHERS, ROWS), kernel(ROWS, OTHERS).T, atol=1e-6)
    half = QuantumKernel(scale=0.5)
    np.testing.assert_allclose(half(ROWS), by_qiskit(ROWS / 2, ROWS / 2), atol=1e-5)


def test_a_measured_kernel_has_the_same_mean() -> None:
    wanted = QuantumKernel()(ROWS, OTHERS)
    through = QuantumKernel(executor=exact)
    np.testing.assert_allclose(through(ROWS, OTHERS), wanted, atol=1e-5)
    np.testing.assert_allclose(through(ROWS), QuantumKernel()(ROWS), atol=1e-5)
    for kernel in (QuantumKernel(shots=400, project=False), QuantumKernel(executor=sampled(400))):
        found = [kernel.set_params(random_state=k)(ROWS, OTHERS) for k in range(30)]
        spread = np.sqrt(wanted * (1 - wanted) / 400)
        off = (np.mean(found, axis=0) - wanted) / (spread / np.sqrt(30) + 1e-6)
        assert np.abs(off).max() < 4.5
        np.testing.assert_allclose(np.std(found, axis=0).mean(), spread.mean(), rtol=0.25)


def test_shots_leave_a_kernel_that_is_projected() -> None:
    noisy = QuantumKernel(scale=0.1, shots=20, project=False, random_state=0)
    matrix = noisy(ROWS)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), np.ones(7))
    assert np.linalg.eigvalsh(matrix).min() < -1e-3
    projected = clone(noisy).set_params(project=True)(ROWS)
    values, vectors = np.linalg.eigh(matrix)
    np.testing.assert_allclose(
        projected, vectors @ np.diag(np.clip(values, 0, None)) @ vectors.T, atol=1e-12
    )
    assert np.linalg.eigvalsh(projected).min() > -1e-12
    np.testing.assert_array_equal(projected, clone(noisy).set_params(project=True)(ROWS))


def test_a_support_vector_machine_takes_it() -> None:
    points, labels = make_circles(60, factor=0.4, noise=0.05, random_state=0)
    machine = SVC(C=100, kernel=QuantumKernel("angle", scale=2.0)).fit(points[:40], labels[:40])
    assert machine.score(points[40:], labels[40:]) > 0.9
    search = GridSearchCV(SVC(kernel=QuantumKernel("angle")), {"kernel__scale": [1e-3, 1.0]}, cv=2)
    assert search.fit(points, labels).best_params_ == {"kernel__scale": 1.0}


def test_alignment_finds_weights_and_scale() -> None:
    circuit = Circuit(1, (Op("ry", 0, w[0] * x[0] + w[1] * x[1]),))
    points = RNG.uniform(-2, 2, (60, 2))
    labels = np.where(points[:, 0] > 0, "right", "left")
    kernel = QuantumKernel(circuit, random_state=1)
    found = kernel.align(points, labels, steps=60)
    assert kernel.weights is None
    assert max(found.alignment_) > found.alignment_[0] + 0.1

    def alignment(matrix: np.ndarray) -> float:
        ideal = np.where(labels[:, None] == labels, 1.0, -1.0)
        middle = np.eye(60) - 1 / 60
        one, two = middle @ matrix @ middle, middle @ ideal @ middle
        return float((one * two).sum() / np.linalg.norm(one) / np.linalg.norm(two))

    assert alignment(found(points)) == pytest.approx(max(found.alignment_), abs=1e-4)
    # By what decides, x[0], alone.
    assert abs(found.weights[1]) < 0.3 * abs(found.weights[0])


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (QuantumKernel("other"), "`circuit` must be one of"),
        (QuantumKernel(Circuit(1, (Op("ry", 0, x[0]),))), "`circuit` must read 2 inputs, one for"),
        (
            QuantumKernel(Circuit(2, (Op("ry", 0, w[0] * x[1]),))),
            r"`weights` must have shape \(1,\)",
        ),
        (QuantumKernel(shots=0), "`shots` must be an integer of at least 1"),
        (QuantumKernel(shots=5, executor=exact), "`shots` must be None where an `executor`"),
        (QuantumKernel(scale=np.nan), "`scale` must be finite"),
        (QuantumKernel(block_size=0), "`block_size` must be an integer of at least 1"),
        (QuantumKernel(executor=3), "`executor` must be"),
        (QuantumKernel(shots=5, project="no"), "`project` must be True or False"),
    ],
)
def test_kernels_that_cannot_be_are_refused(kernel, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument {message}"):
        kernel(ROWS)


def test_rows_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="a kernel needs as many"):
        QuantumKernel()(ROWS, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        QuantumKernel()(np.full((2, 2), np.nan))
    wide = QuantumKernel("angle", executor=exact)
    with pytest.raises(InputError, match="`executor` must be None for more than 10 qubits"):
        wide(np.zeros((2, 11)))
    with pytest.raises(InputError, match="`y` must have at least two classes"):
        QuantumKernel().align(ROWS, np.zeros(7))
    with pytest.raises(ValueError, match="one for each row"):
        QuantumKernel().align(ROWS, np.zeros(6))
