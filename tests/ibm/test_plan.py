"""Settings and cost: manual calculations, and the choice within a budget."""

import dataclasses

import pytest

from qnn_jax.errors import InputError
from qnn_jax.hardware.plan import Machine, Settings, choose, priced

HERON = Machine(250e-6, (20e-6, 500e-6), 5e-6, instructions=130, most_copies=10)
FREE, FULL = Settings(), Settings(2000, 1024, 250e-6, 1)


def plan(settings: Settings, budget: float, machine: Machine = HERON):
    return choose(settings, machine, images=2000, anchors=100, states=4, budget=budget)


def test_the_price_is_ibms_formula() -> None:
    full = priced(FULL, HERON, anchors=100, states=4)
    # 2,100 rows and 4 states × 8 repetitions, 1,024 shots each, 255 µs a shot, 2 s for the job
    assert full.rows == 2132
    assert full.executions == 2132 * 1024
    assert full.seconds == pytest.approx(2 + 2132 * 1024 * 255e-6)
    assert full.parts == ((0, 2100),)


def test_packing_divides_the_executions() -> None:
    alone = priced(FULL, HERON, 100, 4)
    packed = priced(dataclasses.replace(FULL, copies=4), HERON, 100, 4)
    assert alone.executions / packed.executions >= 3.5


def test_settings_are_reduced_in_the_order_of_their_effect() -> None:
    budgets = (1000, 300, 150, 60, 20, 8, 5.5)
    found = [plan(FREE, budget) for budget in budgets]
    shots = [p.shots for p in found]
    assert shots == [1024, 512, 256, 256, 256, 256, 256]
    assert [p.rep_delay for p in found][3:] == [50e-6, 20e-6, 20e-6, 20e-6]
    assert [p.copies for p in found] == [1, 1, 1, 1, 1, 4, 8]
    assert {p.images for p in found} == {2000}
    assert plan(FREE, 3.0).images < 2000
    for budget, chosen in zip(budgets, found, strict=True):
        assert chosen.seconds <= budget


def test_given_settings_are_kept_and_a_refusal_names_ones_that_fit() -> None:
    chosen = plan(Settings(shots=2048), 200)
    assert chosen.shots == 2048
    ways = r"the 559 s .* is 60; rep_delay=2e-05 or images=50 would fit"
    with pytest.raises(InputError, match=ways) as refusal:
        plan(FULL, 60)
    assert "shots=" not in str(refusal.value)  # 256 shots alone take 147 s
    with pytest.raises(InputError, match="raise it or wait for a new allowance"):
        plan(FREE, 0.5)


def test_a_slow_machine_uses_its_own_pauses_only() -> None:
    nighthawk = HERON._replace(rep_delay=4e-3, rep_delay_range=(1e-3, 4e-3))
    assert plan(FREE, 200, nighthawk).rep_delay == 4e-3


def test_ten_million_executions_are_the_limit_of_a_job() -> None:
    chosen = priced(Settings(10_000, 1024, 20e-6, 1), HERON, 0, 4)
    assert len(chosen.parts) == 2
    assert "10,000,000 executions a job" in chosen.reason
    assert chosen.parts[0][1] == chosen.parts[1][0]
    assert chosen.parts[1][1] == 10_000
