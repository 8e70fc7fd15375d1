import jax
import jax.numpy as jnp

import qnn_jax
from qnn_jax import Circuit, Op, expectations, w
from qnn_jax.simulate import planner
from qnn_jax.simulate.statevector import _expectations


def test_programs_and_plans_are_dropped():
    circuit = Circuit(1, (Op("ry", 0, w[0]),))
    slope = jax.jit(jax.grad(lambda v: expectations(circuit, ["Z"], [], v)[0]))
    before = slope(jnp.array([0.5]))
    value = expectations(circuit, ["Z"], [], [0.5])
    assert _expectations._cache_size() > 0
    assert planner.plan_to_measure.cache_info().currsize > 0
    qnn_jax.clear_caches()
    assert _expectations._cache_size() == 0
    assert planner.plan_to_measure.cache_info().currsize == 0
    assert slope._cache_size() == 0
    assert expectations(circuit, ["Z"], [], [0.5]) == value
    assert slope(jnp.array([0.5])) == before
