"""Lower bounds of what circuits can represent, against linear programs and closed forms."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from qiskit.quantum_info import Pauli, Statevector
from reference import in_qiskit
from test_regression import by_linear_program

from qnn_jax import (
    Circuit,
    InputError,
    Op,
    expectations,
    real_amplitudes,
    w,
    x,
    zz_feature_map,
)
from qnn_jax.diagnostics import ansatz_bound, midpoints, representation_bound

SEED = zz_feature_map(2)
GRID = midpoints(2, 15)
SUM = GRID.sum(axis=1)


def pauli_features(circuit: Circuit, samples: np.ndarray) -> np.ndarray:
    """Every Pauli expectation, by Qiskit."""
    labels = ["".join(letters) for letters in itertools.product("IXYZ", repeat=circuit.num_qubits)]
    states = [Statevector(in_qiskit(circuit, sample, [])) for sample in samples]
    return np.array([[s.expectation_value(Pauli(p)).real for p in labels] for s in states])


def test_it_is_the_linear_program_over_qiskits_paulis() -> None:
    samples = midpoints(2, 10)
    features = pauli_features(SEED, samples)
    wanted = by_linear_program(features, samples.sum(axis=1))
    found = representation_bound(SEED, samples, samples.sum(axis=1))
    assert found.mean_l1 == pytest.approx(wanted, abs=1e-6)
    assert found.at_least <= wanted + 1e-9
    assert found.mean_l1 - found.at_least < 1e-5
    assert found.rank == np.linalg.matrix_rank(features) == 16
    # The broken subject: one Pauli fewer gives a higher error.
    assert by_linear_program(features[:, :-1], samples.sum(axis=1)) > wanted + 1e-4


def test_the_2022_feature_map_cannot_add() -> None:
    samples = midpoints(2, 40)
    found = representation_bound(SEED, samples, samples.sum(axis=1))
    assert found.mean_l1 == pytest.approx(0.05, abs=2e-3)
    # An angle encoding of the same size does better.
    rotations = Circuit(2, (Op("ry", 0, x[0]), Op("ry", 1, x[1])))
    assert representation_bound(rotations, samples, samples.sum(axis=1)).mean_l1 < 0.01


@pytest.mark.slow
def test_the_2022_ansatz_is_worse_than_the_best_observable() -> None:
    found = ansatz_bound(
        SEED + real_amplitudes(2, reps=2), ["ZZ"], GRID, SUM, jax.random.key(0), starts=8
    )
    assert found.mean_l1 == pytest.approx(0.125, abs=2e-3)
    assert found.agreeing == 8
    assert np.all(np.diff(found.starts) >= 0)
    assert found.mean_l1 <= found.starts[0] + 1e-6
    assert np.mean(np.abs(found.predictions - SUM)) == pytest.approx(found.mean_l1)


def test_the_best_observable_makes_the_predictions() -> None:
    found = representation_bound(SEED, GRID, SUM)
    np.testing.assert_allclose(found.observable, found.observable.conj().T)
    for sample, prediction in list(zip(GRID, found.predictions, strict=True))[::40]:
        state = Statevector(in_qiskit(SEED, sample, [])).data
        assert (state.conj() @ found.observable @ state).real == pytest.approx(prediction, abs=1e-9)
        wrong = (state.conj() @ found.observable.T @ state).real  # the transpose is wrong
        assert abs(wrong - prediction) > 1e-4
    assert np.mean(np.abs(found.predictions - SUM)) == pytest.approx(found.mean_l1)


def test_closed_forms() -> None:
    samples = midpoints(1, 400, 0, 2 * math.pi)
    cosine = Circuit(1, (Op("ry", 0, x[0]),))
    # cos is a feature; cos 2x is orthogonal in sign to 1, cos and sin: the best constant is 0.
    assert representation_bound(cosine, samples, np.cos(samples[:, 0])).mean_l1 < 1e-9
    found = representation_bound(cosine, samples, np.cos(2 * samples[:, 0]))
    assert found.mean_l1 == pytest.approx(2 / math.pi, abs=1e-4)
    assert found.rank == 3
    # Without inputs the best is the median: mean |x - 1/2| = 1/4.
    still = Circuit(1, (Op("h", 0),), num_inputs=1)
    samples = midpoints(1, 100)
    assert representation_bound(still, samples, samples[:, 0]).mean_l1 == pytest.approx(0.25)


@pytest.mark.slow
def test_an_ansatz_reaches_what_it_contains() -> None:
    circuit = Circuit(1, (Op("ry", 0, x[0]), Op("ry", 0, w[0])))
    samples = midpoints(1, 50, -3, 3)
    targets = 3 * np.cos(samples[:, 0] + 0.4) - 1
    found = ansatz_bound(circuit, "Z", samples, targets, jax.random.key(1), starts=8, steps=400)
    assert found.mean_l1 < 5e-3
    again = jax.vmap(lambda s: expectations(circuit, "Z", s, found.weights))(jnp.asarray(samples))
    np.testing.assert_allclose(again @ found.gains + found.offset, found.predictions, atol=1e-5)
    # A circuit without the weight cannot shift its cosine.
    fixed = Circuit(1, (Op("ry", 0, x[0]),))
    assert ansatz_bound(fixed, "Z", samples, targets, jax.random.key(1), 2, 10).mean_l1 > 0.3


def test_weights_of_a_feature_map_count() -> None:
    scaled = Circuit(1, (Op("ry", 0, w[0] * x[0]),))
    samples = midpoints(1, 400, 0, 2 * math.pi)
    targets = np.cos(2 * samples[:, 0])
    assert representation_bound(scaled, samples, targets, [2.0]).mean_l1 < 1e-9
    assert representation_bound(scaled, samples, targets, [1.0]).mean_l1 > 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: representation_bound(zz_feature_map(7), np.zeros((9, 7)), np.zeros(9)),
            "`circuit` must have at most 6 qubits for a regression .* but has 7; `ansatz_bound`",
        ),
        (
            lambda: representation_bound(SEED, GRID[:16], SUM[:16]),
            "`inputs` must hold more samples than the 16 independent features, but holds 16",
        ),
        (
            lambda: representation_bound(SEED, SUM, SUM),
            r"`inputs` must have shape \(samples, 2\), but has shape \(225,\)",
        ),
        (
            lambda: representation_bound(SEED, [["a", "b"]], SUM),
            "`inputs` must hold real numbers, but is",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
