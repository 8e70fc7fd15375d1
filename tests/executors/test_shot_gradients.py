"""Gradients through shots: unbiased by shifts, of the expected loss along the path.

What is expected is computed without the executor: derivatives of Qiskit's probabilities by finite
differences, and every possible table of counts with its multinomial probability.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from qiskit.quantum_info import SparsePauliOp, Statevector
from reference import in_qiskit

import qnn_jax.linen
import qnn_jax.nnx
from qnn_jax import Circuit, InputError, Op, w, x
from qnn_jax.circuits.gates import GATES, Gate
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import exact, sampled, shots
from qnn_jax.noise import transfer

KEY = jax.random.key(3)
#: Gates of one frequency and of two, w[0] in three gates and in an expression with the input.
CIRCUIT = Circuit(
    2,
    (
        Op("ry", 0, w[0] * x[0] + 0.3),
        Op("crx", (0, 1), w[0]),
        Op("xx_plus_yy", (0, 1), (w[1], 0.4)),
        Op("u", 1, (w[2], w[0], x[0])),
        Op("rzz", (0, 1), 0.5 * w[1]),
        Op("h", 0),
    ),
)
OBSERVABLES = ("ZZ", "IZ", {"YX": 2.0, "ZI": 0.5})
WEIGHTS, INPUTS = np.array([0.7, -0.9, 1.3]), np.array([[0.4], [-1.1]])


def qiskit_value(circuit, observable, inputs, weights) -> float:
    state = Statevector(in_qiskit(circuit, inputs, weights))
    return state.expectation_value(SparsePauliOp.from_list(list(observable.terms))).real


def slopes(value, point: np.ndarray) -> np.ndarray:
    """Central differences in each coordinate."""
    steps = 1e-5 * np.eye(len(point))
    return np.array([(value(point + s) - value(point - s)) / 2e-5 for s in steps])


def check_jacobian(make) -> None:
    """The mean of 10,000 Jacobians is the exact one, of weights and inputs."""
    sums = observables_on(2, OBSERVABLES)
    executor = make(20)

    def jacobian(key):
        def values(inputs, weights):
            return executor(CIRCUIT, sums, inputs, weights, key).values

        return jax.jacrev(values, (0, 1))(jnp.asarray(INPUTS), jnp.asarray(WEIGHTS))

    of_inputs, of_weights = jax.jit(jax.vmap(jacobian))(jax.random.split(KEY, 10_000))
    for row, one in itertools.product(range(2), range(3)):

        def value(point, row=row, one=one):
            return qiskit_value(CIRCUIT, sums[one], point[:1], point[1:])

        wanted = slopes(value, np.array([*INPUTS[row], *WEIGHTS]))
        found = np.concatenate([of_inputs[:, row, one, row], of_weights[:, row, one]], axis=1)
        error = found.std(0) / 100
        assert np.abs(found.mean(0) - wanted).max() < 4 * error.max() + 1e-4, "mean"
        assert (np.abs(found.mean(0) - wanted) / (error + 1e-5)).max() < 4, "mean"


def test_shifts_give_an_unbiased_jacobian() -> None:
    check_jacobian(lambda count: sampled(count, gradient="shift"))


def test_a_path_gives_an_unbiased_jacobian() -> None:
    check_jacobian(lambda count: sampled(count, gradient="pathwise"))


@pytest.mark.slow
def test_an_angle_that_is_left_out_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = transfer.shift_rule
    monkeypatch.setattr(shots, "shift_rule", lambda n, k: rule(n, k)[:2])  # as of one frequency
    shots._with_angles_as_inputs.cache_clear()
    jax.clear_caches()
    with pytest.raises(AssertionError, match="mean"):
        check_jacobian(lambda count: sampled(count, gradient="shift"))
    shots._with_angles_as_inputs.cache_clear()
    jax.clear_caches()


def test_the_jacobian_has_shots_of_its_own() -> None:
    """E[value · slope] = E[value] E[slope]: so the gradient of value² / 2 is unbiased by shifts."""
    one = Circuit(1, (Op("ry", 0, w[0]),))

    def half_square(weights, key):
        run = sampled(3, gradient="shift")(one, ("Z",), jnp.zeros((1, 0)), weights, key)
        return 0.5 * run.values[0, 0] ** 2

    keys = jax.random.split(KEY, 10_000)
    found = jax.jit(jax.vmap(jax.grad(half_square), (None, 0)))(jnp.array([0.8]), keys)[:, 0]
    wanted = -np.cos(0.8) * np.sin(0.8)
    assert abs(found.mean() - wanted) < 4 * found.std() / 100


# ------------------------------------------------------------------------- the expected loss


def expected_loss(loss, probabilities, values, count: int) -> float:
    """Over all tables of counts: of `count` shots, values (outcomes, observables)."""
    total = 0.0
    for table in itertools.product(range(count + 1), repeat=len(probabilities)):
        if sum(table) == count:
            ways = math.factorial(count) / math.prod(map(math.factorial, table))
            chance = ways * np.prod(np.asarray(probabilities) ** np.array(table))
            total += chance * loss(np.array(table) / count @ values)
    return total


PAIR = Circuit(2, (Op("ry", 0, w[0]), Op("cx", (0, 1)), Op("ry", 1, w[1])))
#: What outcomes 0 to 3 of two qubits give for ZI, IZ and 0.5 ZZ + IZ.
READ = np.array([[1, 1, 1.5], [1, -1, -1.5], [-1, 1, 0.5], [-1, -1, -0.5]])
THREE = ("ZI", "IZ", {"ZZ": 0.5, "IZ": 1.0})
AT = np.array([0.8, -0.5])


def quadratic(values):
    one, two, three = values[..., 0], values[..., 1], values[..., 2]
    return (one - 0.3) ** 2 + 2 * two * three - one * two + 0.7 * three


def check_expected_gradient(moving) -> None:
    """Gradients of a quadratic loss have as mean that of its expectation, over 10,000 draws."""

    def expected(weights):
        chances = Statevector(in_qiskit(PAIR, np.zeros(0), weights)).probabilities()
        return expected_loss(quadratic, chances, READ, 3)

    wanted = slopes(expected, AT)

    def one(weights, key):
        return quadratic(sampled(3)(PAIR, THREE, jnp.zeros((1, 0)), weights, key).values[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shots, "_moving", moving)
        jax.clear_caches()
        keys = jax.random.split(KEY, 10_000)
        found = np.asarray(jax.jit(jax.vmap(jax.grad(one), (None, 0)))(jnp.asarray(AT), keys))
    jax.clear_caches()
    error = found.std(0) / 100
    assert np.all(np.abs(found.mean(0) - wanted) < 4 * error), (found.mean(0), wanted, error)
    # The mean alone would not do: the scatter of the shots is in the expected loss.
    alone = slopes(lambda v: quadratic(READ.T @ _chances(v)), AT)
    assert np.abs(alone - wanted).max() > 10 * error.max()


def _chances(weights):
    return Statevector(in_qiskit(PAIR, np.zeros(0), weights)).probabilities()


def with_noise_that_stands_still(drawn, chances):
    return drawn + chances - jax.lax.stop_gradient(chances)


#: The function that broken ones stand in for.
MOVING = shots._moving


def twice(drawn, chances):
    return 2 * MOVING(drawn, chances) - jax.lax.stop_gradient(drawn)


def without_normalisation(drawn, chances):
    still = jax.lax.stop_gradient(chances)
    return (
        drawn
        + (chances - still) * (drawn / still + 1) / 2
        + 0.3 * still * ((chances - still) * drawn / still).sum(1, keepdims=True)
    )


def test_a_path_gives_the_gradient_of_the_expected_loss() -> None:
    check_expected_gradient(shots._moving)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("broken", [with_noise_that_stands_still, twice, without_normalisation])
def test_broken_paths_are_rejected(broken) -> None:
    with pytest.raises(AssertionError):
        check_expected_gradient(broken)


@pytest.mark.slow
def test_the_bias_of_another_loss_falls_as_the_square_of_the_shots() -> None:
    """Exactly, over all counts of one qubit: of exp(2 <Z>)."""
    read = np.array([[1.0], [-1.0]])

    def bias(count: int) -> float:
        def expected(theta):
            chances = [np.cos(theta[0] / 2) ** 2, np.sin(theta[0] / 2) ** 2]
            return expected_loss(lambda v: math.exp(2 * v[0]), chances, read, count)

        wanted = slopes(expected, np.array([0.8]))[0]
        with jax.enable_x64(True):

            def loss(theta, drawn):
                chances = jnp.stack([jnp.cos(theta / 2) ** 2, jnp.sin(theta / 2) ** 2])[None]
                return jnp.exp(2 * (shots._moving(drawn[None], chances) @ read)[0, 0])

            found, down = 0.0, math.sin(0.4) ** 2
            for ones in range(count + 1):
                chance = math.comb(count, ones) * down**ones * (1 - down) ** (count - ones)
                drawn = jnp.array([count - ones, ones]) / count
                found += chance * float(jax.grad(loss)(jnp.array(0.8), drawn))
        return found - wanted

    few, many = bias(16), bias(64)
    assert abs(few) > 1e-4
    assert few / many == pytest.approx(16, rel=0.1)


# ------------------------------------------------------------------- where noise has no scatter


@pytest.mark.slow_but_one
@pytest.mark.parametrize("gradient", ["pathwise", "shift"])
@pytest.mark.parametrize("angle", [0.0, np.pi, 1e-4, 1e-20])
def test_gradients_are_finite_where_outcomes_are_certain(gradient: str, angle: float) -> None:
    circuit = Circuit(3, (Op("rx", 0, w[0]), Op("cx", (0, 1)), Op("rx", 1, x[0]), Op("cx", (1, 2))))
    # The last three cannot be told apart: a singular covariance, also away from eigenstates.
    labels = ("IIZ", "IZI", "ZII", {"ZII": 2.0}, "XXX", "III")

    def loss(inputs, weights):
        run = sampled(50, gradient=gradient)(circuit, labels, inputs, weights, KEY)
        return (run.values**2).sum() + run.stderr.sum()

    for other in (angle, 0.7):
        at = jnp.full((2, 1), other), jnp.full((1,), angle)
        for part in jax.grad(loss, (0, 1))(*at):
            assert np.all(np.isfinite(part))
            assert np.abs(part).max() < 100


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["pathwise", "shift"])
def test_many_outcomes_and_large_tables_are_read_alike(
    gradient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    circuit = Circuit(6, tuple(Op("ry", q, w[q]) for q in range(6)))
    weights = jnp.linspace(0.2, 1.4, 6)
    labels = [{f"Z{q}": 1.0, "Z0 Z5": 0.5} for q in range(6)]

    def values(weights):
        executor = sampled(40_000, gradient=gradient)
        return executor(circuit, labels, jnp.zeros((1, 0)), weights, KEY).values[0]

    wanted = exact(circuit, labels, jnp.zeros((1, 0)), weights).values[0]
    found, slope = values(weights), jax.jacrev(values)(weights)
    np.testing.assert_allclose(found, wanted, atol=0.03)
    true = jax.jacrev(lambda v: exact(circuit, labels, jnp.zeros((1, 0)), v).values[0])(weights)
    np.testing.assert_allclose(slope, true, atol=0.04)
    monkeypatch.setattr(shots, "_TABLE", 1)
    monkeypatch.setattr(shots, "_SHIFTED", 3 * 2**6)
    jax.clear_caches()
    np.testing.assert_allclose(values(weights), found, atol=1e-5)
    np.testing.assert_allclose(jax.jacrev(values)(weights), slope, atol=1e-5)
    jax.clear_caches()


# ------------------------------------------------------------------------------- in any place


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["pathwise", "shift"])
def test_layers_are_differentiated_under_jit_and_vmap(gradient: str) -> None:
    circuit = Circuit(2, (Op("ry", 0, x[0] * w[0]), Op("cx", (0, 1)), Op("ry", 1, w[1])))
    executor, inputs, at = sampled(20_000, gradient=gradient), jnp.asarray(INPUTS), jnp.asarray(AT)
    wanted = jax.grad(lambda v: (exact(circuit, ("ZI", "IZ"), inputs, v).values ** 2).sum())(at)
    layer = qnn_jax.linen.QuantumLayer(circuit, ("ZI", "IZ"), executor)

    def loss(weights, key):
        params = {"params": {"weights": weights}}
        return (layer.apply(params, inputs, rngs={"shots": key}) ** 2).sum()

    keys = jax.random.split(KEY, 4)
    found = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(at, keys)
    np.testing.assert_allclose(found.mean(0), wanted, atol=0.05)
    assert len(np.unique(found[:, 0])) == 4
    np.testing.assert_allclose(jax.jacfwd(lambda v: loss(v, keys[1]))(at), found[1], atol=1e-4)
    other = qnn_jax.nnx.QuantumLayer(circuit, ("ZI", "IZ"), executor=executor, rngs=nnx.Rngs(0))
    other.weights = nnx.Param(at)
    slope = jax.jit(jax.grad(lambda layer, key: (layer(inputs, key) ** 2).sum()))(other, KEY)
    np.testing.assert_allclose(slope.weights[...], wanted, atol=0.1)


def test_a_gate_without_a_rule_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rx = GATES["rx"]
    bent = Gate("rx", 1, 1, lambda m, angle: rx.matrix(m, angle**2 / 5), rx.inverse)
    monkeypatch.setattr(transfer, "GATES", {**GATES, "rx": bent})
    transfer.gate_transfer.cache_clear()
    circuit = Circuit(1, (Op("rx", 0, 3 * w[0]),))
    with pytest.raises(InputError, match=r"^Argument `circuit` must have gates .* but `rx` is not"):
        sampled(8, gradient="shift")(circuit, ("Z",), jnp.zeros((1, 0)), jnp.ones(1), KEY)
    transfer.gate_transfer.cache_clear()
