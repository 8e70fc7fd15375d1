"""Gradient variances, Fisher information and kernel alignment against closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax import (
    Circuit,
    InputError,
    Op,
    expectations,
    kernel_matrix,
    real_amplitudes,
    w,
    x,
    zz_feature_map,
)
from qnn_jax.diagnostics import (
    circuit_gradient_variances,
    effective_dimension,
    fisher_spectrum,
    gradient_variance,
    kernel_alignment,
    signed_fisher_information,
)

KEY = jax.random.key(0)


def rotations(n: int) -> Circuit:
    return Circuit(n, tuple(Op("ry", q, w[q]) for q in range(n)))


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 4])
def test_rotations_have_a_plateau_for_global_observables_only(n: int) -> None:
    # <Z…Z> = Π cos wᵢ: each derivative has the variance 2⁻ⁿ. <Z> = cos w₀: 1/2 for any n.
    both = circuit_gradient_variances(rotations(n), ["Z" * n, "I" * (n - 1) + "Z"], KEY, 2000)
    plateau, local = both
    assert plateau.interval[0] < 2.0**-n < plateau.interval[1]
    np.testing.assert_allclose(plateau.variances, 2.0**-n, rtol=0.25)
    assert local.variances[0] == pytest.approx(0.5, abs=0.03)
    assert np.all(local.variances[1:] < 1e-12)
    assert local.interval[0] < 0.5 / n < local.interval[1]
    # Neither interval contains the other's value: 2⁻ⁿ and 1/2n.
    if n == 4:
        assert not plateau.interval[0] < 0.5 / n < plateau.interval[1]


def test_any_function_of_a_tree_of_parameters() -> None:
    # f = a·cos b with a normal of deviation 2, b uniform: Var ∂a = 1/2, Var ∂b = 4/2.
    found = gradient_variance(
        lambda p: p["classical"]["a"] * jnp.cos(p["b"]) + 5 * p["offset"].sum(),
        lambda key: {
            "classical": {"a": 2 * jax.random.normal(key)},
            "b": jax.random.uniform(jax.random.fold_in(key, 1), maxval=2 * jnp.pi),
            "offset": jnp.zeros(3),
        },
        KEY,
        4000,
    )
    assert found["classical"]["a"].interval[0] < 0.5 < found["classical"]["a"].interval[1]
    assert found["b"].interval[0] < 2 < found["b"].interval[1]
    # A constant gradient of 5 has the variance 0: the mean is subtracted.
    assert found["offset"].variances.tolist() == [0, 0, 0]


@pytest.mark.slow
def test_a_plateau_flattens_the_classical_part_before_it() -> None:
    def variance(n: int) -> float:
        circuit = Circuit(n, tuple(Op("ry", q, x[q] + w[q]) for q in range(n)))

        def function(params):
            angles = jnp.tanh(params["dense"] @ jnp.ones(3))
            return expectations(circuit, "Z" * n, angles, params["weights"])[0]

        def draw(key):
            one, other = jax.random.split(key)
            weights = jax.random.uniform(other, (n,), maxval=2 * jnp.pi)
            return {"dense": jax.random.normal(one, (n, 3)), "weights": weights}

        return gradient_variance(function, draw, KEY, 500)["dense"].mean

    assert variance(2) / variance(5) == pytest.approx(8, rel=0.5)


def test_ranks_of_redundant_weights() -> None:
    once = fisher_spectrum(rotations(1), [0.3])
    np.testing.assert_allclose(once.eigenvalues, [1])
    twice = fisher_spectrum(Circuit(1, (Op("ry", 0, w[0]), Op("ry", 0, w[1]))), [0.3, 0.4])
    np.testing.assert_allclose(twice.eigenvalues, [2, 0], atol=1e-12)
    assert (once.rank, twice.rank) == (1, 1)
    still = fisher_spectrum(Circuit(1, (Op("rz", 0, w[0]),)), [0.3])
    assert still.rank == 0
    np.testing.assert_allclose(fisher_spectrum(rotations(3), [1, 2, 3.0]).eigenvalues, [1, 1, 1])


def test_the_rank_ends_at_the_number_of_real_amplitudes() -> None:
    # Real states of two qubits have three directions, for any number of weights.
    weights = np.random.default_rng(0).uniform(-2, 2, 10)
    found = fisher_spectrum(real_amplitudes(2, reps=4), weights)
    assert (found.rank, found.most) == (3, 6)
    # Different data are moved in different directions.
    circuit = zz_feature_map(2) + real_amplitudes(2, reps=2)
    data = np.random.default_rng(1).uniform(size=(4, 2))
    spread = fisher_spectrum(circuit, weights[:6], data)
    assert spread.rank == 6 > spread.sample_ranks.max()
    assert spread.sample_ranks.shape == (4,)


def signed(circuit: Circuit, label: str):
    return lambda w, x: expectations(circuit, label, x, w)[0]


def test_the_likelihood_of_a_sign() -> None:
    # Against the definition, Σ over y = ±1 of ∂p ∂p / p, with central differences.
    circuit = zz_feature_map(2) + real_amplitudes(2, reps=1)
    weights, data = np.array([0.4, -0.9, 1.3, 0.2]), np.array([[0.3, 0.8], [1.0, 0.1]])
    with jax.enable_x64(True):
        ours = np.asarray(signed_fisher_information(signed(circuit, "ZZ"), weights, data))
        wanted = np.zeros((4, 4))
        for sample in data:
            for y in (1, -1):

                def p(v, sample=sample, y=y):
                    return float(1 + y * expectations(circuit, "ZZ", sample, v)[0]) / 2

                slope = np.array(
                    [(p(weights + d) - p(weights - d)) / 2e-5 for d in 1e-5 * np.eye(4)]
                )
                wanted += np.outer(slope, slope) / p(weights) / len(data)
        squared = np.zeros_like(wanted)
        for sample in data:
            slope = np.array(
                [
                    float(
                        expectations(circuit, "ZZ", sample, weights + d)[0]
                        - expectations(circuit, "ZZ", sample, weights - d)[0]
                    )
                    / 2e-5
                    for d in 1e-5 * np.eye(4)
                ]
            )
            squared += np.outer(slope, slope) / len(data)
    np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-9)
    # The squared gradient alone, as of a number with Gaussian noise, is another matrix.
    assert abs(np.trace(squared) / np.trace(wanted) - 1) > 0.01


@pytest.mark.slow
def test_effective_dimension_in_closed_form() -> None:
    counts = (100, 10_000, 1_000_000)
    kappa = np.array([n / (2 * math.pi * math.log(n)) for n in counts])
    draws = np.random.default_rng(0).uniform(0, 7, (20, 2))
    # cos w has Fisher information 1 everywhere: ln(1 + κ)/ln κ.
    one = effective_dimension(
        signed(rotations(1), "Z"), draws[:, :1], np.zeros((3, 0)), counts, KEY
    )
    np.testing.assert_allclose(one.values, np.log(1 + kappa) / np.log(kappa), rtol=1e-6)
    np.testing.assert_allclose(one.intervals, one.values[:, None].repeat(2, 1), rtol=1e-6)
    # Two weights of which only the sum matters: ln(1 + 2κ)/ln κ, one dimension in the limit.
    twice = Circuit(1, (Op("ry", 0, w[0]), Op("ry", 0, w[1])))
    both = effective_dimension(signed(twice, "Z"), draws, np.zeros((3, 0)), counts, KEY)
    np.testing.assert_allclose(both.values, np.log(1 + 2 * kappa) / np.log(kappa), rtol=1e-6)
    assert both.parameters == 2
    np.testing.assert_allclose(both.eigenvalues, np.tile([2, 0], (20, 1)), atol=1e-6)
    # Two that are measured independently: two dimensions.
    apart = effective_dimension(
        lambda w, x: expectations(rotations(2), ["IZ", "ZI"], x, w),
        draws,
        np.zeros((3, 0)),
        counts,
        KEY,
    )
    np.testing.assert_allclose(apart.values, 2 * np.log(1 + kappa) / np.log(kappa), rtol=1e-6)


@pytest.mark.slow
def test_the_interval_is_of_the_draws() -> None:
    circuit = real_amplitudes(2, reps=1)
    rng = np.random.default_rng(0)
    found = [
        effective_dimension(
            signed(circuit, "ZZ"), rng.uniform(0, 7, (draws, 4)), np.zeros((1, 0)), (1000,), KEY
        )
        for draws in (25, 400)
    ]
    widths = [float(np.diff(one.intervals[0])[0]) for one in found]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.6)
    assert found[0].intervals[0, 0] < found[1].values[0] < found[0].intervals[0, 1]


def test_alignment_in_closed_form() -> None:
    y = np.array([1, -1, 1, 1, -1, -1.0, 1, -1])
    perfect = kernel_alignment(np.outer(y, y), y)
    assert (perfect.value, perfect.centred) == pytest.approx((1, 1))
    assert perfect.interval == pytest.approx((1, 1))
    blind = kernel_alignment(np.eye(8), y)
    assert blind.value == pytest.approx(1 / math.sqrt(8))
    assert blind.centred == pytest.approx(1 / math.sqrt(7))  # of the 7 that are not the mean
    same = kernel_alignment(np.ones((8, 8)), y + 3)  # all alike: only the mean is aligned
    assert same.value > 0.8
    assert same.centred == pytest.approx(0, abs=1e-9)
    assert kernel_alignment(np.outer(y, y) + np.ones((8, 8)), y).value == pytest.approx(
        1 / math.sqrt(2)
    )


def test_a_circuit_that_knows_the_class_is_aligned() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([-1.0, 1.0], 30)
    known = (y * math.pi / 2 + rng.normal(0, 0.1, 60))[:, None]
    circuit = Circuit(1, (Op("ry", 0, x[0]),))
    aligned = kernel_alignment(kernel_matrix(circuit, known), y)
    shuffled = known[rng.permutation(60)]
    chance = kernel_alignment(kernel_matrix(circuit, shuffled), y)
    assert aligned.centred > 0.95
    assert chance.centred_interval[0] < 0.15 < aligned.centred_interval[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: gradient_variance(lambda p: p, lambda key: jnp.ones(3), KEY),
            r"`function` must return a real scalar, but returns shape \(3,\); take",
        ),
        (
            lambda: circuit_gradient_variances(zz_feature_map(2), "ZZ", KEY),
            "`circuit` must have a weight to differentiate by",
        ),
        (lambda: fisher_spectrum(zz_feature_map(2), []), "`circuit` must have a weight"),
        (
            lambda: effective_dimension(signed(rotations(1), "Z"), [[1.0]], [[]], (100,), KEY),
            r"`weights` must have shape \(draws, weights\) with at least 2 draws .* \(1, 1\)",
        ),
        (
            lambda: effective_dimension(
                signed(rotations(1), "Z"), [[1.0], [2.0]], [[]], (10,), KEY
            ),
            r"`counts` must hold n with gamma·n above 2π ln n, but holds 10; with",
        ),
        (
            lambda: effective_dimension(
                signed(rotations(1), "Z"), [[1.0], [2.0]], [[]], (100,), KEY, 2.0
            ),
            "`gamma` must be above 0 and at most 1, but is 2.0",
        ),
        (
            lambda: effective_dimension(lambda w, x: 0 * w[0], [[1.0], [2.0]], [[]], (100,), KEY),
            "`function` must depend on its weights, but its gradient is 0 at all of the 2 draws",
        ),
        (
            lambda: kernel_alignment(np.eye(4)[:3], np.ones(3)),
            r"`kernel` must have shape \(samples, samples\) .* but has shape \(3, 4\)",
        ),
        (
            lambda: kernel_alignment(np.triu(np.ones((3, 3))), [1, 2, 3]),
            "`kernel` must be symmetric, but its halves differ by 1; `left` and `right`",
        ),
        (
            lambda: kernel_alignment(np.eye(3), [1, 1, 1]),
            "`targets` must have two different values, but all are 1",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
