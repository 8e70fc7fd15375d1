"""Noise models that are fitted to counts of a truth that the fit does not know."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import kstest

from qnn_jax import Circuit, Op, x
from qnn_jax.errors import InputError
from qnn_jax.noise import (
    Experiment,
    NoiseModel,
    amplitude_damping,
    compose,
    depolarizing,
    kraus,
    learn_noise,
)
from qnn_jax.noise.density import outcome_probabilities
from qnn_jax.noise.learning import (
    NoiseFamily,
    _check,
    _fit,
    _Predictor,
    _rotation,
    check_noise,
    design_covariance,
    undetermined,
)

PAULIS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def unitary(matrix):
    return kraus(matrix[None])


def published():
    """Two qubits, with the errors of a present machine."""
    gates = {("cz", (0, 1)): depolarizing(0.004, 2)}
    for qubit in (0, 1):
        gates["sx", (qubit,)] = compose(depolarizing(3e-4), amplitude_damping(2e-4))
    readout = {qubit: [[0.99, 0.02], [0.01, 0.98]] for qubit in (0, 1)}
    return NoiseModel(gates, readout, num_qubits=2)


def layer(qubit, first):
    return (
        Op("sx", qubit),
        Op("rz", qubit, x[first]),
        Op("sx", qubit),
        Op("rz", qubit, x[first + 1]),
    )


BODY = (*layer(0, 0), *layer(1, 2), Op("cz", (0, 1)), *layer(0, 4), *layer(1, 6), Op("cz", (0, 1)))
MAIN = Circuit(2, BODY + layer(0, 8)[:3] + layer(1, 9)[:3])
STATES = Circuit(2, layer(0, 0)[:3] + layer(1, 1)[:3])


def shares(circuit, settings, noise):
    found = outcome_probabilities(
        circuit, (0, 1), np.float32(settings), np.zeros(0, np.float32), noise
    )
    found = np.asarray(found, float)
    return found / found.sum(1, keepdims=True)


def measured(noise, circuits=(MAIN, STATES), shots=2000, seed=0):
    random = np.random.default_rng(seed)
    found = []
    for circuit, truth in zip((MAIN, STATES), circuits, strict=True):
        settings = random.uniform(
            0, 2 * np.pi, (200 if circuit is MAIN else 20, circuit.num_inputs)
        )
        counts = random.multinomial(shots, shares(truth, settings, noise))
        found.append(Experiment(circuit, (0, 1), settings, counts))
    return found


def hidden():
    """What was published, but for an over-rotation, phases, a halved T1 and worse readout."""
    was = published()
    gates = dict(was.gates)
    gates["sx", (0,)] = compose(was.channel("sx", (0,)), unitary(expm(-0.02j * PAULIS["X"])))
    gates["sx", (1,)] = compose(was.channel("sx", (1,)), amplitude_damping(2e-4))
    # Letters of qubits 1 and 0: bit k of a row's number is the k-th qubit.
    phases = 0.04 * np.kron(PAULIS["Z"], PAULIS["Z"]) - 0.03 * np.kron(PAULIS["I"], PAULIS["Z"])
    gates["cz", (0, 1)] = compose(was.channel("cz", (0, 1)), unitary(expm(-1j * phases)))
    readout = {0: [[0.97, 0.02], [0.03, 0.98]], 1: [[0.99, 0.05], [0.01, 0.95]]}
    return NoiseModel(gates, readout, num_qubits=2)


#: The truth in the family's parameters, as the Paulis of two qubits are named: qubit 0 first.
TRUE = {
    "sx 0, over-rotation": 0.04,
    "sx 1, over-rotation": 0.0,
    "cz 0-1, over-rotation": 0.08,
    "cz 0-1, ZI phase": -0.06,
    "cz 0-1, IZ phase": 0.0,
    "readout of qubit 0, 0 as 1": np.log(0.03 / 0.97) - np.log(0.01 / 0.99),
    "readout of qubit 1, 1 as 0": np.log(0.05 / 0.95) - np.log(0.02 / 0.98),
    "readout of qubit 0, 1 as 0": 0.0,
}


@pytest.fixture(scope="module")
def found():
    return learn_noise(published(), measured(hidden()))


@pytest.mark.slow
def test_hidden_errors_within_the_family_are_found(found):
    assert not found.before.explained
    assert found.before.ratio > 1.5
    assert found.after.explained, str(found.after)
    assert found.after.ratio < 1.2
    names = [one.name for one in found.family.parameters]
    for name, true in TRUE.items():
        value, stderr = found.values[names.index(name)], found.stderr[names.index(name)]
        assert abs(value - true) < 4 * stderr, name
        assert stderr < 0.5 * found.family.spreads[names.index(name)]
    # Rates of 3e-4 are beyond the counts, and are said to be.
    assert "sx 0, depolarising" in found.undetermined
    assert not set(TRUE) & set(found.undetermined)
    # It is a noise model like any other: its channels are channels.
    NoiseModel(found.noise.gates, found.noise.readout, num_qubits=2)
    settings = np.random.default_rng(5).uniform(0, 6, (50, MAIN.num_inputs))
    true = shares(MAIN, settings, hidden())
    rms = [
        np.sqrt(np.mean((shares(MAIN, settings, n) - true) ** 2))
        for n in (published(), found.noise)
    ]
    assert rms[1] < 0.25 * rms[0]


@pytest.mark.slow
def test_what_is_outside_of_the_family_is_not_explained():
    """Crosstalk: the neighbour turns with each √X, which is no channel of one gate."""
    ops = []
    for op in MAIN.ops:
        ops.append(op)
        if op.gate == "sx":
            ops.append(Op("rzz", (0, 1), 0.08))
    circuits = (Circuit(2, tuple(ops)), STATES)
    found = learn_noise(published(), measured(published(), circuits))
    assert not found.after.explained
    assert found.after.left > 0.005
    assert "NOT explained" in str(found.after)
    assert f"{found.after.left:.4f}" in str(found.after)


@pytest.mark.slow
def test_p_values_count_the_uncertainty_of_the_fit(found):
    """Of a device that did not change they are uniform, as they are not with shot noise alone."""
    random = np.random.default_rng(0)
    settings = [one.rows(np.arange(len(one.settings))[::4]) for one in measured(hidden())]
    predictors = [_Predictor(found.family, one) for one in settings]
    true = [predictor(found.values)[0] for predictor in predictors]
    every = [np.arange(len(one.settings)) for one in settings]

    def job(shots):
        return [
            Experiment(one.circuit, one.qubits, one.settings, random.multinomial(shots, p))
            for one, p in zip(settings, true, strict=True)
        ]

    p_values, without = [], []
    for _ in range(40):
        _, predicted, covariance = _fit(found.family, predictors, job(2000), every)
        later = job(8000)
        p_values.append(_check(found.family, predicted, later, covariance).p_value)
        without.append(_check(found.family, predicted, later, None).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert kstest(without, "uniform").pvalue < 1e-6
    # It does not hide a change: now the published errors are the true ones.
    true = [predictor(np.zeros(len(found.values)))[0] for predictor in predictors]
    assert not _check(found.family, predicted, job(8000), covariance).explained


@pytest.mark.slow
def test_what_was_published_is_kept_where_it_is_true():
    found = learn_noise(published(), measured(published(), seed=3))
    assert found.before.explained
    assert found.after.explained
    assert (abs(found.values) < 4.5 * found.stderr).all()
    check = check_noise(found.family, np.zeros(len(found.values)), measured(published(), seed=8))
    assert check.explained
    assert not check_noise(
        found.family, np.zeros(len(found.values)), measured(hidden(), seed=8)
    ).explained


def test_the_family_begins_at_what_was_published():
    family = NoiseFamily(published(), [MAIN], (0, 1))
    model = family.model(np.zeros(len(family.parameters)))
    for place, channel in published().gates.items():
        np.testing.assert_allclose(model.gates[place], channel, atol=1e-6)
    for qubit in (0, 1):
        np.testing.assert_allclose(model.read(qubit), published().read(qubit), atol=1e-6)


def test_a_rate_is_the_logarithm_of_its_ratio_to_the_published_one():
    """Relaxation by its closed form; depolarisation up to 4 times the square of its rate."""
    noise = NoiseModel(
        {"sx": compose(depolarizing(3e-4), amplitude_damping(0.02)), "cz": depolarizing(0.004, 2)}
    )
    family = NoiseFamily(noise, [MAIN], (0, 1))
    names = [one.name for one in family.parameters]

    def model(name, ratio):
        return family.model(np.log(ratio) * (np.array(names) == name))

    for ratio in (0.5, 3.0):
        damped = model("relaxation of qubit 0", ratio)
        wanted = compose(depolarizing(3e-4), amplitude_damping(1 - 0.98**ratio))
        np.testing.assert_allclose(damped.channel("sx", (0,)), wanted, atol=2e-7)
        np.testing.assert_allclose(damped.channel("sx", (1,)), noise.channel("sx", (1,)), atol=2e-7)
        mixed = model("cz 0-1, depolarising", ratio).channel("cz", (0, 1))
        np.testing.assert_allclose(mixed, depolarizing(0.004 * ratio, 2), atol=7e-5)


def test_its_ends_are_channels():
    """The rates at their least and greatest, each up to rounding in single precision."""
    family = NoiseFamily(published(), [MAIN], (0, 1), labels=(7, 4))
    assert "cz 7-4, ZI phase" in [one.name for one in family.parameters]
    for sign in (-20.0, -1.0, 1.0, 3.0):
        model = family.model(np.full(len(family.parameters), sign))
        gates = {place: np.asarray(channel, float) for place, channel in model.gates.items()}
        NoiseModel(gates, num_qubits=2)


@pytest.mark.parametrize("pauli", ["X", "Y", "ZZ", "ZI", "IZ", "ZX"])
def test_a_phase_is_the_unitary_of_its_pauli(pauli):
    matrix = PAULIS[pauli[0]] if len(pauli) == 1 else np.kron(PAULIS[pauli[1]], PAULIS[pauli[0]])
    wanted = unitary(expm(-0.5j * 0.37 * matrix))
    np.testing.assert_allclose(_rotation(pauli, 0.37), wanted, atol=1e-7)


def test_the_fisher_information_of_a_readout_error_is_that_of_a_coin():
    noise = NoiseModel(readout={0: [[0.9, 0.2], [0.1, 0.8]]}, num_qubits=1)
    nothing = Experiment(Circuit(1, ()), (0,), np.zeros((1, 0)), [[400, 0]])
    family = NoiseFamily(noise, [nothing.circuit], (0,))
    covariance = design_covariance(family, [nothing])
    # In logits the information of n shots at probability p is n p (1 - p).
    assert covariance[0, 0] == pytest.approx(1 / (400 * 0.1 * 0.9 + 1), rel=1e-4)
    assert covariance[1, 1] == pytest.approx(1.0)
    assert undetermined(family, covariance) == ["readout of qubit 0, 1 as 0"]
    # Of counts it was not fitted to, the variance is 36, and its own scatter adds 36² / 37.
    held = Experiment(Circuit(1, ()), (0,), np.zeros((1, 0)), [[340, 60]])
    plain, fitted = (check_noise(family, np.zeros(2), [held], c) for c in (None, covariance))
    assert plain.degrees == fitted.degrees == 1
    assert plain.chi_square == pytest.approx(20**2 / 36, rel=1e-4)
    assert fitted.chi_square == pytest.approx(20**2 / (36 + 36**2 / 37), rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"circuit": Circuit(1, (), num_weights=1)}, "`circuit` must have no weights, because"),
        ({"qubits": (1,)}, "`qubits` must name different qubits below 1, but is \\(1,\\)"),
        ({"settings": np.zeros((2, 1))}, r"`settings` must have shape \(settings, 0\), but has"),
        ({"counts": [[1, 2, 3]]}, r"`counts` must have shape \(2, 2\)"),
        ({"counts": [[1, 2], [-1, 2]]}, "`counts` must be finite and at least 0"),
        ({"counts": [[1, 2], [0, 0]]}, "`counts` must have shots in every row, but row 1 has none"),
    ],
)
def test_experiments_that_are_none_are_refused(wrong, said):
    right = {
        "circuit": Circuit(1, ()),
        "qubits": (0,),
        "settings": np.zeros((2, 0)),
        "counts": [[1, 2], [3, 4]],
    }
    with pytest.raises(InputError, match=said):
        Experiment(**{**right, **wrong})


def test_fits_without_enough_are_refused():
    one = Experiment(Circuit(1, ()), (0,), np.zeros((1, 0)), [[1, 2]])
    with pytest.raises(InputError, match="`experiments` must have at least 2 settings each"):
        learn_noise(NoiseModel(), [one])
    with pytest.raises(InputError, match="`experiments` must have at least 2 settings each"):
        learn_noise(NoiseModel(), [])
    two = Experiment(Circuit(1, ()), (0,), np.zeros((2, 0)), [[1, 2], [2, 1]])
    with pytest.raises(InputError, match="`held_out` must be above 0 and below 1, but is 1"):
        learn_noise(NoiseModel(), [two], held_out=1)
    with pytest.raises(InputError, match="`noise` must be of the circuit's 1 qubits, but is of 2"):
        learn_noise(published(), [two])
    together = NoiseModel(readout={(0, 1): np.eye(4)})
    pair = Experiment(Circuit(2, ()), (0, 1), np.zeros((2, 0)), np.ones((2, 4)))
    with pytest.raises(InputError, match="`published` must have readout errors of qubits one by"):
        learn_noise(together, [pair])
