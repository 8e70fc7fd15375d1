"""Lanes: many small circuits at once must be what each of them is alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax import Circuit, InputError, Op, efficient_su2, expectations, w, x, zz_feature_map
from qnn_jax.simulate.populations import lane_expectations
from qnn_jax.tasks.baseline_2022 import circuit_2022

LANES = 5
#: Real and complex circuits, gates of several angles, constant gates first and last.
CIRCUITS = {
    "2022": (circuit_2022(), "ZZ"),
    "complex": (zz_feature_map(2, 1) + efficient_su2(2, reps=1), {"XY": 0.5, "ZI": -2.0}),
    "angles": (Circuit(1, (Op("h", 0), Op("u", 0, (x[0], w[0], w[1])), Op("sx", 0))), "Y"),
    "controlled": (
        Circuit(3, (Op("ry", 1, x[0] * w[0]), Op("crx", (1, 0), x[1]), Op("cx", (0, 2)))),
        "IZZ",
    ),
    "constant": (Circuit(2, (Op("h", 0), Op("cx", (0, 1)))), "XX"),
}


def values(circuit: Circuit) -> tuple[jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.key(3))
    shapes = ((circuit.num_inputs, LANES), (circuit.num_weights, LANES))
    inputs, weights = (
        jax.random.uniform(key, shape, minval=-3, maxval=3)
        for key, shape in zip(keys, shapes, strict=True)
    )
    return inputs, weights


def one_by_one(circuit: Circuit, observable, inputs, weights) -> jax.Array:
    return jax.vmap(lambda a, b: expectations(circuit, (observable,), a, b)[0], (-1, -1))(
        inputs, weights
    )


@pytest.mark.parametrize("name", CIRCUITS)
def test_every_lane_is_its_own_circuit(name: str) -> None:
    circuit, observable = CIRCUITS[name]
    inputs, weights = values(circuit)
    found = lane_expectations(circuit, observable, inputs, weights)
    wanted = one_by_one(circuit, observable, inputs, weights)
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    if name != "constant":  # the broken twin: the values of other lanes
        assert np.abs(np.roll(found, 1) - wanted).max() > 1e-2


@pytest.mark.parametrize("name", ["2022", "complex"])
def test_the_gradient_of_the_sum_is_each_lanes_own(name: str) -> None:
    circuit, observable = CIRCUITS[name]
    inputs, weights = values(circuit)
    found = jax.grad(lambda b: lane_expectations(circuit, observable, inputs, b).sum())(weights)
    wanted = jax.jacobian(lambda b: one_by_one(circuit, observable, inputs, b))(weights)
    np.testing.assert_allclose(found, jnp.diagonal(wanted, axis1=0, axis2=2), atol=5e-6)


def test_an_observable_of_another_size_is_refused() -> None:
    circuit = circuit_2022()
    with pytest.raises(InputError, match="must have labels of 2 letters"):
        lane_expectations(circuit, "Z", *values(circuit))
