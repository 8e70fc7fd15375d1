"""Probabilities, samples, variances, kernels and the geometric tensor, against Qiskit."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp, Statevector, state_fidelity
from reference import in_qiskit, random_vectors

from qnn_jax import (
    Circuit,
    InputError,
    Op,
    expectations,
    real_amplitudes,
    statevector,
    w,
    zz_feature_map,
)
from qnn_jax.simulate import geometry, measurement

CIRCUIT = zz_feature_map(3, reps=1) + real_amplitudes(3, reps=1)
INPUTS, WEIGHTS = random_vectors(CIRCUIT, seed=4)
STATE = Statevector(in_qiskit(CIRCUIT, INPUTS, WEIGHTS))


@pytest.mark.parametrize("qubits", [None, (0, 1, 2), (2, 0), (1,), (2, 1, 0), (0, 2)])
def test_probabilities_are_qiskits(qubits) -> None:
    ours = measurement.probabilities(CIRCUIT, INPUTS, WEIGHTS, qubits)
    np.testing.assert_allclose(ours, STATE.probabilities(qubits), atol=1e-6)
    if qubits == (2, 0):  # the other order is another answer
        assert np.abs(ours - STATE.probabilities((0, 2))).max() > 1e-2


def test_probabilities_have_a_gradient_where_amplitudes_vanish() -> None:
    circuit = Circuit(2, (Op("ry", 0, w[0]), Op("cx", (0, 1))))
    jacobian = jax.jacobian(lambda v: measurement.probabilities(circuit, [], v))(jnp.zeros(1))
    np.testing.assert_allclose(jacobian, np.zeros((4, 1)), atol=1e-7)


def test_samples_follow_the_probabilities() -> None:
    shots = 20_000
    drawn = measurement.sample(CIRCUIT, INPUTS, WEIGHTS, shots, jax.random.key(0))
    counts = np.bincount(drawn, minlength=8)
    expected = shots * STATE.probabilities()
    chi_squared = np.sum((counts - expected) ** 2 / expected)
    assert chi_squared < 24.3  # 7 degrees of freedom: one draw in a thousand lies beyond
    swapped = shots * STATE.probabilities((2, 1, 0))
    assert np.sum((counts - swapped) ** 2 / swapped) > 1000
    again = measurement.sample(CIRCUIT, INPUTS, WEIGHTS, shots, jax.random.key(0))
    assert np.array_equal(drawn, again)
    other = measurement.sample(CIRCUIT, INPUTS, WEIGHTS, shots, jax.random.key(1))
    assert not np.array_equal(drawn, other)


def test_an_impossible_outcome_is_never_drawn() -> None:
    bell = Circuit(2, (Op("h", 0), Op("cx", (0, 1))))
    drawn = measurement.sample(bell, [], [], 5000, jax.random.key(2))
    assert set(np.unique(drawn)) == {0, 3}


@pytest.mark.parametrize("one", ["ZZZ", "XIY", {"ZII": 0.5, "XXI": -2.0, "IYZ": 1.5}])
def test_variances_are_qiskits(one) -> None:
    operator = SparsePauliOp.from_list(list(one.items()) if isinstance(one, dict) else [(one, 1)])
    mean = STATE.expectation_value(operator).real
    wanted = STATE.expectation_value(operator @ operator).real - mean**2
    ours = measurement.variances(CIRCUIT, [one, "IIZ"], INPUTS, WEIGHTS)
    np.testing.assert_allclose(ours[0], wanted, rtol=1e-4)
    assert abs(ours[1] - wanted) > 1e-3


def test_the_variance_of_an_eigenstate_is_zero() -> None:
    bell = Circuit(2, (Op("h", 0), Op("cx", (0, 1))))
    ours = measurement.variances(bell, ["ZZ", "XX", "YY", "ZI"], [], [])
    np.testing.assert_allclose(ours, [0, 0, 0, 1], atol=1e-6)


def test_kernels_are_fidelities_of_all_pairs() -> None:
    circuit = zz_feature_map(2)
    rng = np.random.default_rng(0)
    left, right = rng.uniform(-2, 2, (4, 2)), rng.uniform(-2, 2, (3, 2))
    ours = geometry.kernel_matrix(circuit, left, right, [])
    assert ours.shape == (4, 3)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            theirs = state_fidelity(
                Statevector(in_qiskit(circuit, a, [])), Statevector(in_qiskit(circuit, b, []))
            )
            assert ours[i, j] == pytest.approx(theirs, abs=1e-5)
    gram = geometry.kernel_matrix(circuit, left)
    np.testing.assert_array_equal(gram, geometry.kernel_matrix(circuit, left, left, []))
    np.testing.assert_allclose(jnp.diag(gram), 1, atol=1e-5)
    assert np.linalg.eigvalsh(gram).min() > -1e-5


def test_overlap_is_antilinear_on_the_left() -> None:
    a, b = jnp.array([1j, 0]), jnp.array([1.0, 0])
    assert geometry.overlap(a, b) == -1j
    assert geometry.fidelity(a, b) == 1


def tensor_by_differences(circuit: Circuit, inputs, weights) -> np.ndarray:
    """The defining equation with central differences of Qiskit's states."""

    def state(v):
        return Statevector(in_qiskit(circuit, inputs, v)).data

    step, psi = 1e-5, state(weights)
    columns = []
    for j in range(len(weights)):
        shift = np.zeros(len(weights))
        shift[j] = step
        columns.append((state(weights + shift) - state(weights - shift)) / (2 * step))
    d = np.stack(columns, axis=1)
    a = psi.conj() @ d
    return d.conj().T @ d - np.outer(a.conj(), a)


@pytest.mark.slow
def test_the_geometric_tensor_is_its_definition() -> None:
    # RX and RZ too, so that the imaginary part, the Berry curvature, is not zero.
    circuit = CIRCUIT + Circuit(
        3, (Op("rx", 0, w[0]), Op("rz", 1, w[1]), Op("cx", (1, 2)), Op("rx", 2, w[2] * w[0]))
    )
    inputs, weights = random_vectors(circuit, seed=5)
    wanted = tensor_by_differences(circuit, inputs, weights)
    assert np.abs(wanted.imag).max() > 1e-2
    ours = geometry.quantum_geometric_tensor(circuit, inputs, weights)
    np.testing.assert_allclose(ours, wanted, atol=2e-5)
    np.testing.assert_allclose(
        geometry.fisher_information(circuit, inputs, weights), 4 * wanted.real, atol=1e-4
    )


def test_the_fisher_information_of_one_rotation_is_one() -> None:
    circuit = Circuit(1, (Op("ry", 0, w[0]),))
    assert geometry.fisher_information(circuit, [], [0.7])[0, 0] == pytest.approx(1)
    still = Circuit(1, (Op("rz", 0, w[0]),))  # |0> does not move
    assert geometry.fisher_information(still, [], [0.7])[0, 0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: measurement.probabilities(CIRCUIT, INPUTS, WEIGHTS, (0, 0)),
            r"`qubits` must name different qubits below 3, but is \(0, 0\)",
        ),
        (lambda: measurement.probabilities(CIRCUIT, INPUTS, WEIGHTS, 3), "below 3, but is"),
        (lambda: measurement.probabilities(CIRCUIT, INPUTS, WEIGHTS, ()), "below 3, but is"),
        (
            lambda: measurement.probabilities(CIRCUIT, INPUTS, WEIGHTS, "01"),
            "sequence of them, but is '01'",
        ),
        (
            lambda: measurement.sample(CIRCUIT, INPUTS, WEIGHTS, 10, None),
            r"`key` must be one random key, as jax\.random\.key\(0\) is, but is None",
        ),
        (
            lambda: measurement.sample(
                CIRCUIT, INPUTS, WEIGHTS, 10, jax.random.split(jax.random.key(0))
            ),
            "`key` must be one random key",
        ),
        (
            lambda: measurement.sample(CIRCUIT, INPUTS, WEIGHTS, 10, jnp.zeros(2)),
            "`key` must be one random key",
        ),
        (
            lambda: measurement.sample(CIRCUIT, INPUTS, WEIGHTS, 10**13, jax.random.key(0)),
            "`shots` must be at most 268435456, but is 10000000000000: sample several times",
        ),
        (
            lambda: measurement.sample(CIRCUIT, INPUTS, WEIGHTS, 0, jax.random.key(0)),
            "`shots` must be an integer of at least 1, but is 0",
        ),
        (
            lambda: measurement.sample(CIRCUIT, INPUTS, WEIGHTS, 1.5, jax.random.key(0)),
            "`shots` must be an integer of at least 1, but is 1.5",
        ),
        (
            lambda: geometry.kernel_matrix(zz_feature_map(2), np.zeros(2), np.zeros((1, 2)), []),
            r"`X` must have shape \(samples, 2\), but has shape \(2,\)",
        ),
        (
            lambda: geometry.kernel_matrix(
                zz_feature_map(2), np.zeros((1, 2)), np.ones((1, 3)), []
            ),
            r"`Y` must have shape \(samples, 2\), but has shape \(1, 3\)",
        ),
        (
            lambda: geometry.kernel_matrix(
                zz_feature_map(2), np.zeros((1, 2)), [[0, 1], [math.nan, 0]], []
            ),
            r"`Y` must be finite in float32, but Y\[1, 0\] is nan",
        ),
        (
            lambda: geometry.kernel_matrix(zz_feature_map(2), [[0, 1]], np.ones((1, 3)), []),
            r"`Y` must have shape \(samples, 2\), but has shape \(1, 3\)",
        ),
        (
            lambda: geometry.kernel_matrix(
                zz_feature_map(2), [[0, 1], [math.nan, 0]], [[0, 1]], []
            ),
            r"`X` must be finite in float32, but X\[1, 0\] is nan",
        ),
        (
            lambda: geometry.kernel_matrix(CIRCUIT, np.zeros((1, CIRCUIT.num_inputs))),
            rf"`weights` must have shape \({CIRCUIT.num_weights},\) .*, but is None",
        ),
        (lambda: geometry.fidelity(None, [1, 0]), "`state` must hold numbers, but is None"),
        (
            lambda: geometry.fidelity([1, 0], [1, 1]),
            "`other` must be a normalised state, but the squares of its amplitudes sum to 2",
        ),
        (
            lambda: geometry.overlap([1, 0], [1, 0, 0, 0]),
            r"`other` must have the shape of `state`, \(2,\), but has \(4,\)",
        ),
    ],
)
def test_bad_questions_are_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "function",
    [
        statevector,
        measurement.probabilities,
        geometry.quantum_geometric_tensor,
        lambda circuit, *vectors: expectations(circuit, "ZZZ", *vectors),
        lambda circuit, *vectors: measurement.variances(circuit, "ZZZ", *vectors),
    ],
)
def test_bad_arguments_are_refused_by_every_function(function) -> None:
    def said(*arguments) -> str:
        with pytest.raises(InputError) as refusal:
            function(*arguments)
        return str(refusal.value)

    assert said("c", INPUTS, WEIGHTS) == "Argument `circuit` must be a Circuit, but is 'c'."
    assert said(CIRCUIT, [*INPUTS[:-1], math.inf], WEIGHTS) == (
        f"Argument `inputs` must be finite in float32, but inputs[{len(INPUTS) - 1}] is inf."
    )
    assert "`weights` must have rows of one length" in said(CIRCUIT, INPUTS, [[0.5], [0.5, 1]])
    assert "`weights` must hold real numbers" in said(CIRCUIT, INPUTS, 1j * np.array(WEIGHTS))
    assert "`weights` must hold real numbers, but is None" in said(CIRCUIT, INPUTS, None)
    assert len(said(CIRCUIT, INPUTS, [[0.5]] * 9999 + [[]])) < 200
    assert f"must have shape ({len(WEIGHTS)},)" in said(CIRCUIT, INPUTS, WEIGHTS[:-1])


def test_lists_of_traced_numbers_are_vectors() -> None:
    circuit = Circuit(1, (Op("ry", 0, w[0]), Op("ry", 0, w[1])))
    slope = jax.jit(jax.grad(lambda a: expectations(circuit, "Z", [], [a, 2 * a])[0]))(0.3)
    assert slope == pytest.approx(-3 * math.sin(0.9), abs=1e-6)
    metric = jax.jit(lambda a: geometry.quantum_geometric_tensor(circuit, [], [a, 0.0]))(0.3)
    np.testing.assert_allclose(metric, np.full((2, 2), 0.25), atol=1e-6)


def test_integers_are_weights_too() -> None:
    ones = np.ones(len(WEIGHTS), int)
    found = geometry.quantum_geometric_tensor(CIRCUIT, INPUTS, ones)
    expected = geometry.quantum_geometric_tensor(CIRCUIT, INPUTS, ones.astype(float))
    np.testing.assert_array_equal(found, expected)


def test_all_of_it_runs_under_jit_and_vmap() -> None:
    batch = jnp.stack([jnp.asarray(INPUTS, jnp.float32)] * 2)
    many = jax.jit(jax.vmap(lambda v: measurement.probabilities(CIRCUIT, v, WEIGHTS, (1,))))(batch)
    np.testing.assert_allclose(many[0], STATE.probabilities((1,)), atol=1e-6)
    state = statevector(CIRCUIT, INPUTS, WEIGHTS)
    assert math.isclose(float(geometry.fidelity(state, state)), 1, abs_tol=1e-5)
