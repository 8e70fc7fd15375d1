"""Channels and noise models as values. Aer's standard errors are the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from qiskit.quantum_info import PTM
from qiskit_aer.noise import (
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    kraus_error,
    pauli_error,
    phase_damping_error,
    thermal_relaxation_error,
)

from qnn_jax import InputError, Op
from qnn_jax.noise import (
    Idle,
    NoiseModel,
    amplitude_damping,
    coherent,
    compose,
    depolarizing,
    kraus,
    pauli,
    phase_damping,
    thermal_relaxation,
)
from qnn_jax.noise.channels import checked_channel

TURN = np.array([[np.cos(0.1), -1j * np.sin(0.1)], [-1j * np.sin(0.1), np.cos(0.1)]])
DAMPING = np.array([[[1, 0], [0, np.sqrt(0.7)]], [[0, np.sqrt(0.3)], [0, 0]]])
PAIRS = {
    "depolarizing": (depolarizing(0.1), depolarizing_error(0.1, 1)),
    "depolarizing of two": (depolarizing(0.2, 2), depolarizing_error(0.2, 2)),
    "pauli": (
        pauli({"XI": 0.1, "YZ": 0.2}),
        pauli_error([("XI", 0.1), ("YZ", 0.2), ("II", 0.7)]),
    ),
    "pauli with I": (pauli({"I": 0.9, "Y": 0.1}), pauli_error([("I", 0.9), ("Y", 0.1)])),
    "amplitude damping": (amplitude_damping(0.3), amplitude_damping_error(0.3)),
    "phase damping": (phase_damping(0.3), phase_damping_error(0.3)),
    "thermal relaxation": (
        thermal_relaxation(50.0, 70.0, 10.0, 0.1),
        thermal_relaxation_error(50, 70, 10, 0.1),
    ),
    "no relaxation": (
        thermal_relaxation(np.inf, 30.0, 10.0),
        thermal_relaxation_error(np.inf, 30, 10),
    ),
    "coherent": (coherent("rx", 0.2), coherent_unitary_error(TURN)),
    "kraus": (kraus(DAMPING), kraus_error(list(DAMPING))),
    "composed": (
        compose(amplitude_damping(0.3), coherent("rx", 0.2)),
        amplitude_damping_error(0.3).compose(coherent_unitary_error(TURN)),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_channel_is_aers(name: str) -> None:
    ours, theirs = PAIRS[name]
    np.testing.assert_allclose(ours, PTM(theirs).data.real, atol=1e-12)
    checked_channel("gates", ours)


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    "make",
    [
        depolarizing,
        lambda p: depolarizing(p, 2),
        lambda p: pauli({"XZ": p, "YI": p / 2}),
        amplitude_damping,
        phase_damping,
        lambda p: thermal_relaxation(50.0 + p, 70.0 - p, 10.0 * p, 0.1 * p),
        lambda p: coherent("rzz", p),
        lambda p: compose(amplitude_damping(p), depolarizing(p)),
    ],
)
def test_rates_may_be_traced(make) -> None:
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(make)(0.2), make(0.2), atol=1e-12)
        slope = jax.jacfwd(make)(0.2)
    wanted = (make(0.2 + 1e-6) - make(0.2 - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, wanted, atol=1e-8)


# ----------------------------------------------------------------------------- what is no channel

TRANSPOSE = np.diag([1.0, 1, -1, 1])  # positive, but not completely
LEAKY = 0.9 * np.eye(4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: depolarizing(1.5), "`probability` must be at least 0 and at most 1.33333, but"),
        (lambda: depolarizing(-0.1), "`probability` must be at least 0"),
        (lambda: depolarizing(0.1, 5), "`num_qubits` must be of at most 4 qubits for a channel"),
        (lambda: amplitude_damping(1.1), "`rate` must be at least 0 and at most 1, but is 1.1"),
        (lambda: phase_damping("a"), "`rate` must be a real number, but is 'a'"),
        (lambda: pauli({"X": 0.7, "Y": 0.6}), "`probabilities` must sum to at most 1, .* to 1.3"),
        (lambda: pauli({"I": 0.7, "Y": 0.6}), "`probabilities` must sum to 1, but sums to 1.3"),
        (lambda: pauli({"X": 0.1, "YY": 0.1}), "labels of one length, but has 'X' and 'YY'"),
        (lambda: pauli({"A": 0.1}), "letters I, X, Y and Z, but has 'A'"),
        (lambda: pauli({}), "`probabilities` must have a label, but is empty"),
        (lambda: thermal_relaxation(10.0, 21.0, 1.0), "`t2` must be at most 2 `t1`, which is 20"),
        (lambda: thermal_relaxation(0.0, 1.0, 1.0), "`t1` must be above 0, but is 0.0"),
        (lambda: coherent("cx", 0.1), "`gate` must be a gate of one angle .* but is 'cx'"),
        (lambda: kraus(0.9 * DAMPING), "`operators` must preserve the trace, .* by 0.19"),
        (lambda: kraus(np.eye(2)), r"`operators` must have shape \(count, 2\*\*n, 2\*\*n\)"),
        (lambda: compose(np.eye(4), np.eye(16)), "`channels` must be channels of as many qubits"),
        (
            lambda: NoiseModel({"x": TRANSPOSE}),
            "`gates` must be a completely positive channel, .* has the eigenvalue -0.5",
        ),
        (lambda: NoiseModel({"x": LEAKY}), "`gates` must be a channel that preserves the trace"),
        (lambda: NoiseModel({"x": np.eye(3)}), "`gates` must be a Pauli-transfer matrix of shape"),
        (lambda: NoiseModel({"x": np.eye(16)}), "a channel of 1 or 1 qubits for `x`, but has one"),
        (lambda: NoiseModel({"cnot": np.eye(16)}), "`gates` must name Qiskit's standard gates"),
        (lambda: NoiseModel({("cx", (0, 0)): np.eye(16)}), "`qubits` of gate `cx` must not repeat"),
        (lambda: NoiseModel({("x", (2,)): np.eye(4)}, num_qubits=2), "must name qubits below 2"),
        (lambda: NoiseModel(readout=[[0.9, 0.2], [0.2, 0.8]]), "whose columns, of the prepared"),
        (lambda: NoiseModel(readout=np.eye(4)), r"of shape \(2, 2\) where it is for every qubit"),
        (lambda: NoiseModel(readout={0: np.eye(4)}), "a matrix of 2\\*\\*n outcomes for n qubits"),
        (
            lambda: NoiseModel(readout={0: np.eye(2), (0, 1): np.eye(4)}),
            r"`readout` must name each qubit once, but names \[0, 0, 1\]",
        ),
        (
            lambda: Idle({"x": 1.0}, (1.0, 1.0), (1.0,)),
            "`t2` must have a number for each of the 2 qubits",
        ),
        (lambda: Idle({"x": 1.0}, (1.0,), (3.0,)), "`t2` must be at most 2 `t1`"),
        (
            lambda: NoiseModel(idle=Idle({}, (1.0,), (1.0,)), num_qubits=2),
            "`idle` must have times of 2 qubits, but has those of 1",
        ),
    ],
)
def test_what_is_no_noise_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument .*{message}"):
        make()


def test_a_model_says_what_it_has_and_passes_through_jax() -> None:
    model = NoiseModel(
        {"cx": depolarizing(0.1, 2), ("x", (1,)): amplitude_damping(0.2)},
        {0: [[0.9, 0.2], [0.1, 0.8]]},
        Idle({"x": 1.0}, (10.0, 20.0), (5.0, 6.0)),
        num_qubits=2,
    )
    assert repr(model) == "NoiseModel(cx, x, readout, idle)"
    doubled = jax.tree.map(lambda leaf: 2 * jnp.asarray(leaf), model)
    np.testing.assert_allclose(doubled.channel("x", (1,)), 2 * amplitude_damping(0.2), rtol=1e-6)
    assert doubled.channel("x", (0,)) is None
    assert doubled.read(1) is None
    assert doubled.idle.duration("x", (0,)) == 1.0
    assert len(jax.tree.leaves(model)) == 2 + 1 + 6
    assert Op("cx", (0, 1)).gate == "cx"
