"""Mitigation against devices whose errors are known, and against binomial sums."""

import numpy as np
import pytest
from scipy import stats

from qnn_jax import PauliSum
from qnn_jax.errors import InputError
from qnn_jax.executors import (
    Affine,
    Estimate,
    Readout,
    calibration_states,
    estimate,
    fit_affine,
    fit_readout,
    flip_probabilities,
    shots_to_settle,
)


def observables(*labels: str) -> tuple[PauliSum, ...]:
    return tuple(PauliSum(((label, 1.0),)) for label in labels)


def single(lost: float, found: float) -> np.ndarray:
    """A qubit that reads 1 as 0 with probability `lost` and 0 as 1 with `found`."""
    return np.array([[1 - found, lost], [found, 1 - lost]])


def device(num_qubits: int) -> np.ndarray:
    """What a device with different errors on each qubit does to probabilities."""
    matrix = np.eye(1)
    for q in range(num_qubits):  # later qubits are higher bits, the left factors
        matrix = np.kron(single(0.05 + 0.03 * q, 0.02 + 0.01 * q), matrix)
    return matrix


def index_of(state: np.ndarray) -> int:
    return int(sum(bit << q for q, bit in enumerate(state)))


def calibrate(num_qubits: int, shots: float = 1e6) -> Readout:
    columns = [device(num_qubits)[:, index_of(state)] for state in calibration_states(num_qubits)]
    return fit_readout(shots * np.array(columns), num_qubits)


@pytest.mark.parametrize("num_qubits", [1, 2, 3, 5])
def test_readout_errors_cancel(num_qubits: int) -> None:
    truth = np.random.default_rng(num_qubits).dirichlet(np.ones(2**num_qubits), size=4)
    read = truth @ device(num_qubits).T
    wanted = observables("Z" * num_qubits, "I" * (num_qubits - 1) + "Z")
    exact = estimate(1e6 * truth, wanted)
    signs = np.array([(-1) ** bin(i).count("1") for i in range(2**num_qubits)])
    np.testing.assert_allclose(exact.values[:, 0], truth @ signs, atol=1e-12)
    np.testing.assert_allclose(
        exact.values[:, 1], truth @ [(-1) ** (i & 1) for i in range(2**num_qubits)], atol=1e-12
    )
    plain = estimate(1e6 * read, wanted)
    assert np.abs(plain.values - exact.values).max() > 0.01
    readout = calibrate(num_qubits)
    mitigated = estimate(1e6 * read, wanted, readout)
    np.testing.assert_allclose(mitigated.values, exact.values, atol=1e-9)
    # Broken twins: the matrix the wrong way round, and the qubits in the wrong order.
    transposed = Readout(tuple(block.T / block.T.sum(axis=0) for block in readout.blocks))
    assert np.abs(estimate(1e6 * read, wanted, transposed).values - exact.values).max() > 1e-3
    if num_qubits > 3:
        reversed_ = Readout(readout.blocks[::-1])
        assert np.abs(estimate(1e6 * read, wanted, reversed_).values - exact.values).max() > 1e-3


def test_weighted_sums_add_up() -> None:
    counts = np.array([[5, 3, 1, 7]])
    whole = PauliSum((("ZI", 0.5), ("IZ", -2.0), ("II", 1.0)))
    parts = estimate(counts, observables("ZI", "IZ", "II")).values[0]
    assert estimate(counts, (whole,)).values[0, 0] == pytest.approx(parts @ [0.5, -2.0, 1.0])


@pytest.mark.parametrize("readout", [None, calibrate(2)])
def test_standard_errors_are_those_of_repetition(readout: Readout | None) -> None:
    truth = np.array([0.5, 0.1, 0.15, 0.25])
    counts = np.random.default_rng(0).multinomial(256, truth, size=4000)
    found = estimate(counts, observables("ZZ"), readout)
    assert np.std(found.values) == pytest.approx(found.stderr.mean(), rel=0.05)


def test_a_coin_toss_is_refused() -> None:
    with pytest.raises(InputError, match="must tell the basis states apart"):
        fit_readout(np.ones((2, 2)), 1)


def test_scale_and_shift_are_undone() -> None:
    random = np.random.default_rng(1)
    exact = random.uniform(-1, 1, (200, 2))
    scale, shift = np.array([0.8, 0.6]), np.array([0.05, -0.1])
    noise = np.full_like(exact, 0.1)
    measured = Estimate(scale * exact + shift + noise * random.normal(size=exact.shape), noise)
    found = fit_affine(measured, exact)
    np.testing.assert_allclose(found.scale, scale, atol=4 * 0.1 / np.sqrt(200 / 3))
    np.testing.assert_allclose(found.shift, shift, atol=0.03)
    back = Affine(scale, shift).undo(measured)
    assert np.mean(back.values - exact) == pytest.approx(0, abs=0.03)
    np.testing.assert_allclose(back.stderr, [[0.125, 0.1 / 0.6]] * 200)
    # The other regression, of exact on measured, is the broken twin: noise flattens it.
    flattened = [np.polyfit(measured.values[:, k], exact[:, k], 1)[0] for k in range(2)]
    assert (1 / np.array(flattened) > found.scale * 1.02).all()


def test_anchors_that_tell_nothing_are_refused() -> None:
    same = np.full((20, 1), 0.3)
    with pytest.raises(InputError, match="whose exact values differ"):
        fit_affine(Estimate(same, same), same)
    exact = np.linspace(-1, 1, 20)[:, None]
    deaf = Estimate(np.zeros_like(exact), np.full_like(exact, 0.1))
    with pytest.raises(InputError, match="`measured` must follow the exact values"):
        fit_affine(deaf, exact)


@pytest.mark.parametrize("shots", [64, 1024])
def test_flips_are_as_likely_as_binomial_sums_say(shots: int) -> None:
    up = np.array([0.45, 0.5, 0.52, 0.6, 1.0])
    outcomes = np.stack([up, 1 - up], axis=1)
    scores = np.array([1.0, -1.0])
    found = flip_probabilities(outcomes, scores, shots)
    sums = np.minimum(
        stats.binom.cdf(shots / 2, shots, up), stats.binom.sf(shots / 2, shots, up)
    ) + stats.binom.pmf(shots / 2, shots, up) * np.where(up > 0.5, -0.5, 0.5)
    np.testing.assert_allclose(found[[0, 2, 3]], sums[[0, 2, 3]], atol=0.004)
    assert found[1] == 0.5
    assert found[4] == 0
    # The shots that settle a row do settle it, and half of them do not.
    settled = shots_to_settle(outcomes, scores, flip=0.05)
    assert settled[1] == np.inf
    for row in (0, 2, 3):
        assert flip_probabilities(outcomes, scores, settled[row])[row] <= 0.05
        assert flip_probabilities(outcomes, scores, settled[row] / 2)[row] > 0.05
