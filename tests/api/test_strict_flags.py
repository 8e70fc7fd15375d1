"""JAX's strict modes do not change values and gradients."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from qnn_jax import Circuit, Op, expectations, kernel_matrix, linen, w, x
from qnn_jax import nnx as our_nnx
from qnn_jax.executors import sampled

MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "NaN": lambda: jax.debug_nans(True),
    "checks": lambda: jax.enable_checks(True),
    "leaks": jax.checking_leaks,
}
INPUTS, WEIGHTS = jnp.array([0.5, 0.25]), jnp.array([0.75, -0.5])
ROWS = jnp.stack([INPUTS, 2 * INPUTS])


def results() -> list[Any]:
    circuit = Circuit(
        2,
        (
            Op("ry", 0, x[0]),
            Op("rx", 1, x[1] * 2 + w[0]),
            Op("cx", (0, 1)),
            Op("rzz", (0, 1), w[1]),
        ),
    )
    layer = linen.QuantumLayer(circuit, ("ZZ", {"XI": 0.5, "IY": 1.0}))
    params = {"params": {"weights": WEIGHTS}}
    other = our_nnx.QuantumLayer(circuit, ("ZZ",), rngs=nnx.Rngs(0))

    def total(inputs: Any, weights: Any) -> Any:
        return expectations(circuit, ("ZZ", {"XI": 0.5, "IY": 1.0}), inputs, weights).sum()

    scaled = linen.QuantumLayer(Circuit(1, (Op("ry", 0, w[0] * x[0] + w[1] * x[1]),)), ("Z",))
    shots = sampled(20)(circuit, ("ZZ",), ROWS, WEIGHTS, jax.random.key(0))
    return [
        total(INPUTS, WEIGHTS),
        *jax.grad(total, (0, 1))(INPUTS, WEIGHTS),
        total([1, 0], np.array([1, 2])),
        shots.values,
        jax.grad(lambda p: layer.apply(p, ROWS).sum())(params)["params"]["weights"],
        jax.grad(lambda rows: other(rows).sum())(ROWS),
        kernel_matrix(circuit, ROWS, ROWS, WEIGHTS),
        scaled.init(jax.random.key(0), ROWS)["params"]["weights"],
        jax.grad(lambda v: expectations(circuit, "ZZ", v, WEIGHTS, "adjoint")[0])(INPUTS),
    ]


@pytest.mark.slow
# Each mode compiles everything again: one that changes most is quick enough for every day.
@pytest.mark.parametrize(
    "mode",
    [m if m == "rank promotion" else pytest.param(m, marks=pytest.mark.slow) for m in MODES],
)
def test_strict_modes_change_nothing(mode: str) -> None:
    jax.clear_caches()
    wanted = results()
    jax.clear_caches()
    with MODES[mode]():
        found = results()
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
