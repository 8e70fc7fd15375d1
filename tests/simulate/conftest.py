import jax
import pytest

from qnn_jax.simulate import planner


@pytest.fixture
def fresh_caches():
    """Neither plans nor programs from before, and what a broken twin leaves does not stay."""

    def clear():
        for cached in (planner.plan_state, planner.plan_to_measure, planner.plan_by_gates):
            cached.cache_clear()
        jax.clear_caches()

    clear()
    yield
    clear()
