"""Intervals and tests against printed tables, counting, and simulated data."""

import itertools
import math

import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.stats import (
    holm,
    mcnemar,
    mean_interval,
    p_value,
    paired_t_test,
    sign_flip_test,
    wilson_interval,
)

RNG = np.random.default_rng(0)


def test_wilson_intervals_are_those_of_the_paper() -> None:
    # Newcombe (1998), table I: 81 of 263 and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


# Student's t for 95 %, as tables print it (e.g. Fisher and Yates 1963, table III).
@pytest.mark.parametrize(
    ("count", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776), (11, 2.228), (61, 2.000)]
)
def test_the_interval_of_a_mean_has_students_quantile(count: int, quantile: float) -> None:
    values = RNG.normal(3.0, 2.0, count)
    spread = math.sqrt(sum((value - values.mean()) ** 2 for value in values) / (count - 1))
    half = quantile * spread / math.sqrt(count)
    low, high = mean_interval(values)
    assert (high - low) / 2 == pytest.approx(half, rel=3e-4)
    assert (high + low) / 2 == pytest.approx(values.mean())


def test_one_value_has_no_interval() -> None:
    assert mean_interval(np.array([0.3])) == (-math.inf, math.inf)


def test_the_interval_covers_as_often_as_it_says() -> None:
    hits = [low < 0 < high for low, high in map(mean_interval, RNG.normal(size=(2000, 5)))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


def counted(differences: np.ndarray) -> float:
    """The share of all choices of signs whose mean is as far from zero."""
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(differences))))
    return float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12))


@pytest.mark.parametrize("count", [2, 5, 8, 12])
def test_sign_flips_are_counted(count: int) -> None:
    # Integers, so that many choices of signs tie.
    for differences in RNG.integers(-4, 6, (4, count)) / 2000:
        assert sign_flip_test(differences) == pytest.approx(counted(differences), abs=1e-12)


def test_sign_flips_of_many_differences_are_drawn() -> None:
    differences = RNG.normal(0.4, 1.0, 12)
    many = np.concatenate([differences, np.zeros(10)])  # zeros do not change the result
    assert sign_flip_test(many) == pytest.approx(counted(differences), abs=0.004)
    assert sign_flip_test(many) == sign_flip_test(many)
    assert 0 < sign_flip_test(np.ones(40)) < 1e-4


@pytest.mark.parametrize("count", [2, 8, 25])
def test_nan_has_the_p_value_1(count: int) -> None:
    differences = np.ones(count)
    assert sign_flip_test(differences) <= 0.5
    differences[-1] = math.nan
    assert sign_flip_test(differences) == 1
    assert sign_flip_test(np.ones(1)) == 1


def test_sign_flips_seldom_raise_a_false_alarm() -> None:
    alarms = [sign_flip_test(row) < 0.05 for row in RNG.standard_t(3, size=(400, 8))]
    assert 0.02 < np.mean(alarms) < 0.08
    found = [sign_flip_test(row + 3) < 0.05 for row in RNG.standard_t(3, size=(60, 8))]
    assert np.mean(found) > 0.8  # the test has power


def test_students_paired_test_is_the_textbooks() -> None:
    # Student (1908), the sleep of ten patients under two drugs: t = -4.0621, p = 0.002833.
    first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    assert paired_t_test(first, second) == pytest.approx(0.002833, abs=1e-6)
    assert paired_t_test(second, first) == paired_t_test(first, second)
    assert paired_t_test(first, first) == 1.0
    assert paired_t_test(first, first + 1) == 0.0  # no spread at all
    assert paired_t_test(first[:1], second[:1]) == 1.0  # which says nothing


@pytest.mark.parametrize(("ahead", "behind"), [(5, 0), (8, 2), (3, 9), (20, 21)])
def test_mcnemar_is_the_sum_of_binomial_terms(ahead: int, behind: int) -> None:
    count = ahead + behind
    terms = [math.comb(count, k) / 2**count for k in range(count + 1)]
    wanted = sum(term for term in terms if term <= terms[ahead] * (1 + 1e-9))
    assert mcnemar(ahead, behind) == pytest.approx(wanted)
    assert mcnemar(0, 0) == 1.0


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


def test_what_is_not_finite_has_no_interval_and_proves_nothing() -> None:
    for wrong in (math.nan, math.inf):
        values = np.array([1.0, 2.0, wrong])
        assert mean_interval(values) == (-math.inf, math.inf)
        assert paired_t_test(values, np.zeros(3)) == paired_t_test(np.zeros(3), values) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson_interval(3, 2), "`successes` must be at most 2, but is 3"),
        (lambda: wilson_interval(-1, 2), "`successes` must be an integer of at least 0, but is -1"),
        (lambda: wilson_interval(0.5, 2), "`successes` must be an integer of at least 0, .* 0.5"),
        (lambda: wilson_interval(0, -1), "`count` must be an integer of at least 0, but is -1"),
        (lambda: mean_interval([[1.0]]), r"`values` must have shape \(count,\), .* shape \(1, 1\)"),
        (lambda: mean_interval("12"), "`values` must hold real numbers, but is '12'"),
        (lambda: sign_flip_test(0.5), r"`differences` must have shape \(count,\), .* shape \(\)"),
        (lambda: sign_flip_test(np.ones(501)), "`differences` must hold at most 500 .* 501; `pair"),
        (lambda: paired_t_test([1, 2], [1]), "`second` .* as `first`, which has 2, but has 1"),
        (lambda: mcnemar(1, -1), "`behind` must be an integer of at least 0, but is -1"),
        (lambda: p_value(1.5), "`p` must be at least 0 and at most 1, but is 1.5"),
        (lambda: p_value(math.nan), "`p` must be finite, but is nan"),
        (lambda: holm([0.5, 1.5]), "`p_values` must be at most 1, but one is 1.5"),
        (lambda: holm([-0.5]), r"`p_values` must be finite and at least 0, but p_values\[0\] is"),
    ],
)
def test_what_is_no_such_number_is_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=rf"^Argument {message}.*\.$"):
        call()
