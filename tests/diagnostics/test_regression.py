"""Least absolute deviations against scipy's linear programs."""

import numpy as np
import pytest
from scipy.optimize import linprog

from qnn_jax.diagnostics import least_absolute


def by_linear_program(features: np.ndarray, targets: np.ndarray) -> float:
    """min mean t with -t ≤ features c - targets ≤ t."""
    samples, count = features.shape
    eye = np.eye(samples)
    found = linprog(
        np.r_[np.zeros(count), np.full(samples, 1 / samples)],
        A_ub=np.block([[features, -eye], [-features, -eye]]),
        b_ub=np.r_[targets, -targets],
        bounds=[(None, None)] * count + [(0, None)] * samples,
        method="highs",
    )
    assert found.success
    return found.fun


def heavy_tails(samples: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, count)), rng.standard_t(1.5, size=samples)


CASES = {
    "a constant": lambda: (np.ones((51, 1)), np.random.default_rng(0).normal(size=51)),
    "heavy tails": lambda: heavy_tails(120, 7, 1),
    "dependent features": lambda: (lambda f, t: (np.c_[f, f[:, :3] @ [1, 2, 3]], t))(
        *heavy_tails(80, 4, 2)
    ),
    "ties": lambda: (np.c_[np.ones(60), np.arange(60) % 3], np.sign(np.arange(60.0) - 31)),
    "nearly dependent": lambda: (np.vander(np.linspace(0, 1, 90), 9), np.linspace(0, 1, 90) ** 0.3),
}


@pytest.mark.slow_but_one
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_linear_programs_value(case) -> None:
    features, targets = CASES[case]()
    found = least_absolute(features, targets)
    wanted, size = by_linear_program(features, targets), np.abs(targets).max()
    reached = np.mean(np.abs(features @ found.coefficients - targets))
    assert found.mean_l1 == pytest.approx(reached, abs=1e-9 * size)  # that of the coefficients
    assert found.at_least <= wanted + 1e-9 * size  # a valid lower bound
    assert found.mean_l1 == pytest.approx(wanted, abs=1e-6 * size)
    assert found.mean_l1 - found.at_least < 1e-4 * size
    # Least squares gives another value.
    squares = np.linalg.lstsq(features, targets, rcond=None)[0]
    assert np.mean(np.abs(features @ squares - targets)) > wanted * (1 + 1e-4)


def test_what_can_be_fitted_is_fitted() -> None:
    features, _ = heavy_tails(40, 5, 3)
    found = least_absolute(features, features @ [1, -2, 0, 3, 4.0])
    assert found.mean_l1 < 1e-9
    np.testing.assert_allclose(found.coefficients, [1, -2, 0, 3, 4], atol=1e-8)
    assert least_absolute(features, np.zeros(40)).mean_l1 == 0


def test_the_rank_counts_independent_features() -> None:
    features, targets = heavy_tails(40, 5, 4)
    assert least_absolute(features, targets).rank == 5
    assert least_absolute(np.c_[features, features[:, 0] - features[:, 1]], targets).rank == 5
