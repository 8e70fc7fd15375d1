"""Angles that are not finite come out as NaN or are refused; angles too large for float32 warn."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from simulator_references import x64

import qnn_jax
from qnn_jax import Circuit, InputError, LargeAngleWarning, Op, PauliSum, w, x, zz_feature_map
from qnn_jax.circuits import GATES
from qnn_jax.executors import exact, noisy, sampled
from qnn_jax.linen import QuantumLayer
from qnn_jax.noise import NoiseModel, depolarizing
from qnn_jax.simulate import angle_table

KEY = jax.random.key(0)
Z = (PauliSum((("Z", 1.0),)),)
#: Expressions with an input, and sometimes a weight, at which they are no finite number.
UNDEFINED = {
    "log(-1)": (x[0].log(), -1.0, 0.5),
    "arccos(1.2)": (x[0].arccos(), 1.2, 0.5),
    "1/0": (1 / x[0], 0.0, 0.5),
    "0/0": (x[0] / x[0], 0.0, 0.5),
    "sqrt(-1)": (x[0] ** 0.5, -1.0, 0.5),
    "exp(200)": (x[0].exp(), 200.0, 0.5),
    "1e30²": (x[0] * w[0], 1e30, 1e30),
    "inf - inf in between": (x[0].exp() - x[0].exp() + w[0], 200.0, 0.5),
}
PRODUCTS = {
    "statevector": lambda c, i, v: qnn_jax.statevector(c, i, v),
    "probabilities": lambda c, i, v: qnn_jax.probabilities(c, i, v),
    "expectations": lambda c, i, v: qnn_jax.expectations(c, ["Z"], i, v),
    "adjoint": lambda c, i, v: qnn_jax.expectations(c, ["Z"], i, v, "adjoint"),
    "variances": lambda c, i, v: qnn_jax.variances(c, ["Z"], i, v),
    "angles": lambda c, i, v: qnn_jax.angles(c, i, v),
    "kernel_matrix": lambda c, i, v: qnn_jax.kernel_matrix(c, i[None], i[None], v),
    "fisher_information": lambda c, i, v: qnn_jax.fisher_information(c, i, v),
    "fidelity": lambda c, i, v: qnn_jax.fidelity(qnn_jax.statevector(c, i, v), jnp.ones(2)),
    "exact": lambda c, i, v: exact(c, Z, i[None], v).values,
    "sampled": lambda c, i, v: sampled(10)(c, Z, i[None], v, KEY).values,
    "errors": lambda c, i, v: sampled(10)(c, Z, i[None], v, KEY).stderr,
    "one shot": lambda c, i, v: sampled(1)(c, Z, i[None], v, KEY).stderr,
}


def case(name):
    angle, value, weight = UNDEFINED[name]
    return Circuit(1, (Op("rx", 0, angle),), 1, 1), jnp.array([value]), jnp.array([weight])


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("name", ["log(-1)", pytest.param("exp(200)", marks=pytest.mark.slow)])
def test_an_angle_that_is_not_finite_gives_nan_under_jit_and_is_refused_outside(name, product):
    circuit, inputs, weights = case(name)
    take = PRODUCTS[product]
    found = jax.jit(take, static_argnums=0)(circuit, inputs, weights)
    if product in ("statevector", "angles"):
        assert not np.isfinite(found).any()
    else:
        assert np.isnan(found).any()
        assert np.isnan(found).all() or product == "probabilities"
    with pytest.raises(InputError, match=r"^Arguments `inputs` and `weights` must give"):
        take(circuit, inputs, weights)


@pytest.mark.parametrize("name", UNDEFINED)
def test_outcomes_of_no_state_are_none(name):
    circuit, inputs, weights = case(name)
    drawn = jax.jit(qnn_jax.sample, static_argnums=(0, 3))(circuit, inputs, weights, 5, KEY)
    np.testing.assert_array_equal(drawn, [-1] * 5)
    with pytest.raises(InputError, match="must give finite angles in float32, but the angle "):
        qnn_jax.sample(circuit, inputs, weights, 5, KEY)


def test_the_refusal_names_the_angle_and_the_sample():
    circuit = Circuit(3, (Op("h", 0), Op("u", 2, (0.5, x[1], x[0].log())), Op("rx", 1, w[0])))
    message = (
        "Arguments `inputs` and `weights` must give finite angles in float32, but the angle "
        "log(x[0]) of gate 1, u on (2,), of sample 1 is nan."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        exact(circuit, (PauliSum((("ZZZ", 1.0),)),), np.array([[1.0, 2], [-1, 2]]), [0.5])


def test_weights_that_are_not_finite_are_never_sampled():
    circuit = Circuit(1, (Op("rx", 0, w[0]),))

    def run(weights):
        return sampled(10)(circuit, Z, jnp.zeros((2, 0)), weights, KEY)

    for value in (np.nan, np.inf, -np.inf):
        found = jax.jit(run)(jnp.array([value]))
        assert np.isnan(found.values).all()
        assert np.isnan(found.stderr).all()
        with pytest.raises(InputError, match="`weights` must be finite in float32"):
            run(jnp.array([value]))


@pytest.mark.parametrize(
    "executor",
    [
        sampled(10, gradient="shift"),
        noisy(NoiseModel({"rx": depolarizing(0.01)}), 10, method="trajectories"),
    ],
    ids=["shift", "trajectories"],
)
def test_shots_of_no_state_are_never_certain(executor):
    circuit = Circuit(1, (Op("rx", 0, 1 / x[0]),))

    def run(rows):
        return executor(circuit, Z, rows, jnp.zeros(0), KEY)

    found = jax.jit(run)(jnp.array([[0.0], [1.0]]))
    for values in (found.values, found.stderr):
        np.testing.assert_array_equal(np.isnan(values[:, 0]), [True, False])
    # Zeros are below every bound: they are looked at all the same.
    with pytest.raises(InputError, match=r"the angle 1/x\[0\] of gate 0, .* of sample 0 is inf"):
        run(jnp.zeros((1, 1)))


def test_one_sample_that_is_not_finite_leaves_the_others_as_they_are():
    circuit = Circuit(1, (Op("rx", 0, x[0].log()),))
    layer = QuantumLayer(circuit, ["Z"], executor=sampled(100))
    take = jax.jit(lambda rows: layer.apply({"params": {"weights": jnp.zeros(0)}}, rows,
                                            rngs={"shots": KEY}))  # fmt: skip
    good = take(jnp.array([[1.0], [2.0], [3.0]]))
    found = take(jnp.array([[1.0], [-2.0], [3.0]]))
    np.testing.assert_array_equal(np.isnan(found[:, 0]), [False, True, False])
    np.testing.assert_array_equal(found[::2], good[::2])


@pytest.mark.parametrize("gate", [name for name, row in GATES.items() if row.num_angles])
def test_no_gate_swallows_an_angle_that_is_nan(gate):
    row = GATES[gate]
    size = max(row.num_qubits, 1)
    turns = tuple(Op("h", q) for q in range(size))
    own = [w[k] for k in range(row.num_angles)]
    circuit = Circuit(size, (*turns, Op(gate, range(row.num_qubits), own), *turns))
    # The first row is finite, in each of the others one angle is not.
    rows = jnp.full((1 + row.num_angles, row.num_angles), 0.3)
    rows = rows.at[1:].set(jnp.where(jnp.eye(row.num_angles) > 0, jnp.nan, 0.3))
    # What `sample` looks at.
    sums = jax.jit(jax.vmap(lambda v: qnn_jax.probabilities(circuit, [], v).sum()))(rows)
    np.testing.assert_allclose(sums[0], 1, rtol=1e-5)
    assert np.isnan(sums[1:]).all()
    if gate in ("rx", "u"):
        seen = qnn_jax.sample
        drawn = jax.jit(jax.vmap(lambda v: seen(circuit, [], v, 3, jax.random.key(0))))(rows)
        assert (drawn[0] >= 0).all()
        assert (drawn[1:] == -1).all()


@pytest.mark.parametrize("kind", ["list", "int64", "int8", "uint8", "float16", "float32"])
@pytest.mark.parametrize("wide", [False, True])
def test_numbers_of_all_kinds(kind, wide):
    circuit = Circuit(1, (Op("ry", 0, w[0] * x[0]),))
    inputs, weights = ([3], [201]) if kind != "int8" else ([3], [101])
    inputs, weights = (
        (inputs, weights) if kind == "list" else (np.array(a, kind) for a in (inputs, weights))
    )
    with x64(wide):
        found = qnn_jax.expectations(circuit, ["Z"], inputs, weights)
        double = wide and kind not in ("float16", "float32")
        assert found.dtype == (jnp.float64 if double else jnp.float32)
        angle = float(inputs[0]) * float(weights[0])
        assert abs(float(found[0]) - np.cos(angle)) < (1e-12 if double else 1e-4)
        if kind not in ("list", "float16"):
            return
        run = sampled(100)(circuit, (PauliSum((("Z", 0.25),)),), np.array([inputs]), weights, KEY)
        assert run.values.dtype == found.dtype
        assert abs(float(run.values[0, 0]) - np.cos(angle) / 4) < 6 * 0.025
        many = exact(circuit, Z, np.array([inputs]), weights).values
        assert many.dtype == found.dtype
        kernel = qnn_jax.kernel_matrix(circuit, np.array([inputs]), np.array([inputs]), weights)
        assert kernel.dtype == found.dtype


def test_bytes_of_an_image_are_amplitudes():
    # 200² is 64 modulo 256.
    pixels = np.array([200, 100, 0, 30], np.uint8)
    found = qnn_jax.amplitude_angles(pixels)
    np.testing.assert_allclose(found, qnn_jax.amplitude_angles(pixels.astype(float)), rtol=1e-6)
    with pytest.raises(InputError, match="squares of its amplitudes sum to 50900"):
        qnn_jax.overlap(pixels, pixels)


def test_integers_larger_than_float32_keeps_stay_themselves_under_x64():
    circuit = Circuit(1, (Op("ry", 0, w[0] * x[0]),))
    with x64(True):
        found = qnn_jax.expectations(circuit, ["Z"], [1], [16777217])
    assert float(found[0]) == pytest.approx(np.cos(16777217.0), abs=1e-12)


LARGE = {
    "expectations": lambda c, rows: qnn_jax.expectations(c, ["ZZ"], rows[1], []),
    "statevector": lambda c, rows: qnn_jax.statevector(c, rows[1], []),
    "kernel_matrix": lambda c, rows: qnn_jax.kernel_matrix(c, rows, rows, []),
    "exact": lambda c, rows: exact(c, (PauliSum((("ZZ", 1.0),)),), rows, []),
    "layer": lambda c, rows: QuantumLayer(c, ["ZZ"]).init(KEY, jnp.asarray(rows)),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_angles_warn_once_with_the_largest(name):
    angle_table._WARNED.clear()
    circuit = zz_feature_map(2, reps=3)
    rows = np.array([[0.1, 0.2], [50.0, 60.0]])
    largest = 2 * (np.pi - 50) * (np.pi - 60)
    where = r"the angle 2\*\(π - x\[0\]\)\*\(π - x\[1\]\) of gate 5, p on \(1,\),.* is"
    rule = "which float32 knows to about 0.000[0-9], so results may be wrong by as much; scale"
    message = f"^{where} {largest:,.0f} radians, {rule} .* with JAX_ENABLE_X64=1.$"
    with pytest.warns(LargeAngleWarning, match=message) as caught:
        LARGE[name](circuit, rows)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LARGE[name](circuit, rows)  # once is enough
        LARGE[name](zz_feature_map(2), rows / 10)
        with x64(True):
            LARGE[name](zz_feature_map(2), rows)


def test_a_large_number_in_a_circuit_is_meant():
    # No inputs or weights could be scaled.
    circuit = Circuit(1, (Op("rx", 0, 5000.0),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qnn_jax.statevector(circuit, [], [])


def test_the_warning_is_not_given_for_nothing():
    # What is warned about is real, and what is not is not.
    circuit = zz_feature_map(2)
    errors = []
    for scale in (1.0, 1000.0):
        inputs = np.array([1.7, 2.3]) * scale
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = qnn_jax.expectations(circuit, ["XX"], inputs, [])
        with x64(True):
            exact_values = qnn_jax.expectations(circuit, ["XX"], inputs, [])
        errors.append(abs(float(found[0]) - float(exact_values[0])))
    assert errors[0] < 1e-5
    assert errors[1] > 1e-4


@pytest.mark.parametrize(
    ("angle", "reach"),
    [
        (w[0], 512.0),
        (3 * w[0] - 2, 256.0),
        (w[0] * x[0], 16.0),
        (w[0].sin() * x[0], 256.0),
        (sum(w[k] * x[k] for k in range(40)), 4.0),
        (w[0].log(), -1.0),
        (2 / w[0], -1.0),
        (w[0].exp(), 4.0),
    ],
)
def test_how_far_a_circuit_is_harmless(angle, reach):
    assert angle_table._harmless(Circuit(1, (Op("ry", 0, angle),))) == reach
