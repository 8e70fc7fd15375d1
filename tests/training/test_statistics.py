"""Intervals and tests against SciPy's, and against what they promise on drawn data."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from qnn_jax.training.statistics import holm, mean_interval, sign_flip_test, student_quantile

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 19, 20, 49, 999, 20_000])
def test_students_quantiles_are_scipys(freedom: int) -> None:
    for share in (0.5, 0.9, 0.95, 0.999):
        wanted = stats.t.ppf((1 + share) / 2, freedom)
        assert student_quantile(freedom, share) == pytest.approx(wanted, rel=1e-9)
    # A broken twin: the normal distribution's, which few seeds would look too certain with.
    assert student_quantile(19) > 1.05 * stats.norm.ppf(0.975)


@pytest.mark.parametrize("count", [2, 3, 20, 501])
def test_the_interval_of_a_mean_is_scipys(count: int) -> None:
    values = RNG.normal(3.0, 2.0, count)
    wanted = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx(wanted, rel=1e-9)


def test_one_value_has_no_interval() -> None:
    assert mean_interval(np.array([0.3])) == (-math.inf, math.inf)


def test_the_interval_covers_as_often_as_it_says() -> None:
    hits = [low < 0 < high for low, high in map(mean_interval, RNG.normal(size=(4000, 5)))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_sign_flips_are_scipys_permutations(count: int) -> None:
    # Whole numbers, so that many choices of signs tie.
    for differences in RNG.integers(-4, 6, (5, count)) / 2000:
        wanted = stats.permutation_test(
            (differences,), np.sum, permutation_type="samples", n_resamples=np.inf
        ).pvalue if count > 1 else 1.0  # fmt: skip
        assert sign_flip_test(differences) == pytest.approx(wanted, abs=1e-12)


def test_sign_flips_of_many_differences_are_drawn() -> None:
    differences = RNG.normal(0.4, 1.0, 12)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=12)))
    counted = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_test(differences) == pytest.approx(counted, abs=1e-12)
    many = np.concatenate([differences, np.zeros(10)])  # zeros change nothing but the way there
    assert sign_flip_test(many) == pytest.approx(counted, abs=0.003)
    assert sign_flip_test(many) == sign_flip_test(many)
    assert 0 < sign_flip_test(np.ones(40)) < 1e-5


@pytest.mark.parametrize("count", [2, 8, 25])
def test_what_is_no_number_proves_nothing(count: int) -> None:
    differences = np.ones(count)
    assert sign_flip_test(differences) <= 0.5
    differences[-1] = math.nan
    assert sign_flip_test(differences) == 1


def test_sign_flips_seldom_cry_wolf() -> None:
    alarms = [sign_flip_test(row) < 0.05 for row in RNG.standard_t(3, size=(1000, 8))]
    assert 0.02 < np.mean(alarms) < 0.07
    found = [sign_flip_test(row + 3) < 0.05 for row in RNG.standard_t(3, size=(100, 8))]
    assert np.mean(found) > 0.9  # and they do cry at the wolf


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
        ([0.04, 0.001, 0.03], [0.06, 0.003, 0.06]),
    ],
)
def test_holms_correction(p_values, corrected) -> None:
    assert holm(p_values) == pytest.approx(corrected)


def test_holm_keeps_the_promise_that_plain_tests_break() -> None:
    draws = RNG.uniform(size=(4000, 6))
    assert np.mean([min(holm(list(row))) < 0.05 for row in draws]) < 0.06
    assert np.mean(draws.min(axis=1) < 0.05) > 0.2
