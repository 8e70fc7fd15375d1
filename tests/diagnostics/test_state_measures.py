"""Expressibility and entanglement against closed forms and published values."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from qiskit.quantum_info import partial_trace, purity, random_statevector

from qnn_jax import Circuit, InputError, Op, real_amplitudes, w, x, zz_feature_map
from qnn_jax.circuits.angles import call
from qnn_jax.diagnostics import (
    entangling_capability,
    expressibility,
    meyer_wallach,
)

KEY = jax.random.key(0)
BINS = 75
# The one-qubit circuits of arXiv:1905.10876, section 3.1.
IDLE = Circuit(1, (Op("id", 0),))
CIRCUIT_A = Circuit(1, (Op("h", 0), Op("rz", 0, w[0])))
CIRCUIT_B = CIRCUIT_A + Circuit(1, (Op("rx", 0, w[0]),))


def divergence(shares: np.ndarray) -> float:
    """KL to one qubit's Haar-random fidelities, which are uniform."""
    kept = shares[shares > 0]
    return float(np.sum(kept * np.log(kept * len(shares))))


def arcsine_shares() -> np.ndarray:
    """F = cos²(φ/2) with φ uniform: P(F ≤ f) = 2/π arcsin √f."""
    edges = 2 / np.pi * np.arcsin(np.sqrt(np.linspace(0, 1, BINS + 1)))
    return np.diff(edges)


@functools.cache
def of(circuit: Circuit):
    return expressibility(circuit, KEY, 5000)


def test_an_idle_circuit_scores_the_logarithm_of_the_bins() -> None:
    found = of(IDLE)
    assert found.kl == pytest.approx(math.log(BINS), abs=1e-4)  # published: 4.30
    assert found.histogram[-1] == 1


def test_an_idle_circuit_of_many_qubits_is_that_much_further_from_haar() -> None:
    # All pairs are in the last bin, whose Haar share is 75^-(2^n - 1): 75^-63 of six qubits.
    idle = Circuit(6, tuple(Op("x", q) for q in range(6)))
    found = expressibility(idle, jax.random.key(0), 200)
    assert found.kl == pytest.approx(63 * math.log(BINS), rel=1e-4)


def test_one_angle_scores_its_closed_form() -> None:
    wanted = divergence(arcsine_shares())
    assert wanted == pytest.approx(-math.log(math.pi / 4), abs=0.05)  # bins smooth the two peaks
    found = of(CIRCUIT_A)
    assert found.interval[0] < wanted < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.06
    assert found.plain == pytest.approx(0.22, abs=0.03)  # published, of as many pairs
    np.testing.assert_allclose(found.histogram, arcsine_shares(), atol=0.012)


def test_two_angles_score_what_was_published() -> None:
    found = of(CIRCUIT_B)
    assert found.plain == pytest.approx(0.02, abs=0.01)
    assert found.interval[1] < of(CIRCUIT_A).interval[0] < of(IDLE).kl


def test_haar_random_states_score_zero() -> None:
    # RY(arccos(1 - w/2π)) RZ is uniform on the sphere.
    polar = call("acos", 1 - w[0] / (2 * math.pi))
    even = expressibility(Circuit(1, (Op("ry", 0, polar), Op("rz", 0, w[1]))), KEY, 5000)
    assert even.interval[0] == 0
    assert even.interval[1] < 0.01
    assert even.plain > even.kl  # the purpose of the correction
    assert of(CIRCUIT_B).interval[0] > even.interval[1]


def test_the_divergence_is_of_the_right_dimension() -> None:
    # Three qubits' Haar fidelities are (1-F)^6 · 7: a product of one-qubit circuits is not.
    rotated = Circuit(3, tuple(Op("ry", q, w[q]) for q in range(3)))
    found = expressibility(rotated, KEY, 2000)
    assert found.interval[0] > 0.05
    assert found.haar[0] == pytest.approx(1 - (1 - 1 / BINS) ** 7)


STATES = {
    "product": (np.kron([0.6, 0.8], [1, 1j]) / math.sqrt(2), 0),
    "Bell": (np.array([0, 1, -1j, 0]) / math.sqrt(2), 1),
    "GHZ": (np.eye(8)[0] * math.sqrt(0.5) + np.eye(8)[7] * math.sqrt(0.5), 1),
    "W": (np.array([0, 1, 1, 0, 1, 0, 0, 0]) / math.sqrt(3), 8 / 9),
    "a Bell pair and a qubit": (np.kron([1, 0, 0, 1], [1, 0]) / math.sqrt(2), 2 / 3),
}


@pytest.mark.parametrize("name", STATES)
def test_entanglement_in_closed_form(name) -> None:
    state, wanted = STATES[name]
    assert meyer_wallach(jnp.asarray(state)) == pytest.approx(wanted, abs=1e-6)


def test_entanglement_is_the_mean_impurity_by_qiskit() -> None:
    state = random_statevector(16, seed=3)
    alone = [partial_trace(state, [q for q in range(4) if q != k]) for k in range(4)]
    wanted = 2 * (1 - np.mean([purity(rho).real for rho in alone]))
    assert meyer_wallach(jnp.asarray(state.data)) == pytest.approx(wanted, abs=1e-6)
    # One qubit's impurity alone is another number.
    assert abs(2 * (1 - purity(alone[0]).real) - wanted) > 1e-3


def test_capability_of_known_ensembles() -> None:
    assert entangling_capability(real_amplitudes(3).without_entanglement(), KEY, 50).mean < 1e-5
    # cos(w/2)|00> + sin(w/2)|11>: Q = sin² w, with the mean 1/2.
    one = Circuit(2, (Op("ry", 0, w[0]), Op("cx", (0, 1))))
    found = entangling_capability(one, KEY, 2000)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found.haar == 2 / 5
    assert found.values.std() == pytest.approx(math.sqrt(1 / 8), abs=0.02)


def test_states_of_data() -> None:
    # Data alone: the same Q = sin² x, on angles that are given.
    circuit = Circuit(2, (Op("ry", 0, x[0]), Op("cx", (0, 1)), Op("rz", 0, w[0])))
    data = np.array([[0.3], [1.1], [2.0]])
    found = entangling_capability(circuit, KEY, 300, data, [0.7])
    np.testing.assert_allclose(
        np.unique(found.values.round(4)), np.sort(np.sin(data[:, 0]) ** 2).round(4), atol=2e-4
    )
    again = entangling_capability(circuit, KEY, 300, data, [0.7])
    assert np.array_equal(found.values, again.values)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: expressibility(zz_feature_map(2), KEY),
            r"`inputs` must hold samples to draw from, shape \(samples, 2\), because",
        ),
        (lambda: entangling_capability(IDLE, KEY), "`circuit` must have at least 2 qubits"),
    ],
)
def test_bad_arguments_are_refused(ask, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ask()
