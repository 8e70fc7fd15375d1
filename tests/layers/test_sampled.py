"""Shots inside XLA: the contract of tests/shots.py, and the behaviour in JAX and Flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from shots import CIRCUIT, OBSERVABLES, WEIGHTS, check_one_shot, check_order, check_shots, rows

import qnn_jax.linen
import qnn_jax.nnx
from qnn_jax import InputError
from qnn_jax.circuits.bases import bases_of
from qnn_jax.circuits.observables import PauliSum, observables_on
from qnn_jax.executors import Expectations, exact, sampled

KEY = jax.random.key(0)
ONE = OBSERVABLES[:1]


def test_shots_keep_the_contract() -> None:
    check_shots(sampled, KEY)
    check_one_shot(sampled, KEY)
    check_order(sampled, KEY)


def by_halves(shots):
    return sampled((shots + 1) // 2)


def without_noise(shots):
    return exact


def with_one_key(shots):
    def executor(circuit, observables, inputs, weights, key):
        def one(row):
            run = sampled(shots)(circuit, observables, row[None], weights, key)
            return run.values[0], run.stderr[0]

        return Expectations(*jax.vmap(one)(inputs))

    return executor


def one_by_one(shots):
    def executor(circuit, observables, inputs, weights, key):
        runs = [
            sampled(shots)(circuit, (one,), inputs, weights, jax.random.fold_in(key, k))
            for k, one in enumerate(observables)
        ]
        return Expectations(*(jnp.concatenate([run[k] for run in runs], 1) for k in (0, 1)))

    return executor


def from_the_wrong_end(shots):
    def executor(circuit, observables, inputs, weights, key):
        turned = tuple(PauliSum(tuple((s[::-1], c) for s, c in o.terms)) for o in observables)
        return sampled(shots)(circuit, turned, inputs, weights, key)

    return executor


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    ("broken", "part"),
    [
        (by_halves, "spread"),
        (without_noise, "spread"),
        (with_one_key, "fresh|values"),
        (from_the_wrong_end, "values"),
    ],
)
def test_broken_shots_are_rejected(broken, part: str) -> None:
    with pytest.raises(AssertionError, match=part):
        check_shots(broken, KEY)


@pytest.mark.slow
def test_broken_bases_are_rejected() -> None:
    with pytest.raises(AssertionError, match="one shot for all that commutes"):
        check_one_shot(one_by_one, KEY)
    with pytest.raises(AssertionError, match="Mismatched"):
        check_order(from_the_wrong_end, KEY)


@pytest.mark.slow
def test_jit_and_vmap_give_the_same_shots() -> None:
    executor = sampled(64)

    def values(inputs, key):
        return executor(CIRCUIT, ONE, inputs, WEIGHTS, key).values

    inputs = rows(6)
    close = np.testing.assert_allclose
    close(jax.jit(values)(inputs, KEY), values(inputs, KEY), atol=1e-6)
    keys = jax.random.split(KEY, 2)
    both = jax.vmap(values)(inputs.reshape(2, 3, 2), keys)
    close(both[1], values(inputs[3:], keys[1]), atol=1e-6)
    assert np.abs(values(inputs, KEY) - values(inputs, keys[1])).max() > 0.05
    assert values(inputs[:0], KEY).shape == (0, 1)


@pytest.mark.slow
def test_chunks_of_the_batch_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = rows(10)
    whole = sampled(99)(CIRCUIT, ONE, inputs, WEIGHTS, KEY)
    monkeypatch.setattr("qnn_jax.executors.shots._CHUNK", 3 * 99)
    jax.clear_caches()
    parts = sampled(99)(CIRCUIT, ONE, inputs, WEIGHTS, KEY)
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-6)


def test_a_single_shot_has_no_error_and_says_so() -> None:
    run = sampled(1)(CIRCUIT, ONE, rows(2), WEIGHTS, KEY)
    assert np.all(np.isinf(run.stderr))


def test_strings_that_commute_qubit_by_qubit_share_a_basis() -> None:
    bases = bases_of(observables_on(3, ["ZZI", "IIX", "XII", {"IZZ": 0.5, "ZZI": 2.0}, "YII"]))
    assert [basis.label for basis in bases] == ["ZZX", "XZZ", "YII"]
    assert bases[0].parities == (0b110, 0b001)
    assert bases[0].coefficients == ((1, 0, 0, 2, 0), (0, 1, 0, 0, 0))


GRADIENT = "^Argument `gradient` of an executor with shots must be 'pathwise' or 'shift' to be "


@pytest.mark.parametrize("take", [jax.grad, jax.jacfwd, lambda f: jax.jit(jax.grad(f))])
def test_a_gradient_is_refused_not_zero(take) -> None:
    def loss(weights):
        return sampled(8, gradient="none")(CIRCUIT, ONE, rows(2), weights, KEY).values.sum()

    with pytest.raises(InputError, match=GRADIENT):
        take(loss)(jnp.asarray(WEIGHTS))


def test_an_unknown_gradient_is_refused() -> None:
    with pytest.raises(InputError, match=r"^Argument `gradient` must be one of 'pathwise'"):
        sampled(8, gradient="exact")


@pytest.mark.slow
def test_what_is_stopped_can_be_differentiated_around() -> None:
    def loss(scale, weights):
        fixed = jax.lax.stop_gradient(weights)
        executor = sampled(64, gradient="none")
        return (scale * executor(CIRCUIT, ONE, rows(2), fixed, KEY).values).sum()

    value = sampled(64)(CIRCUIT, ONE, rows(2), WEIGHTS, KEY).values.sum()
    assert jax.grad(loss)(1.0, jnp.asarray(WEIGHTS)) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize("shots", [0, -1, 1.5, True])
def test_bad_numbers_of_shots_are_refused(shots) -> None:
    with pytest.raises(InputError, match=f"^Argument `shots` must be an integer .* is {shots}"):
        sampled(shots)


NO_KEY = "^Argument `key` of `sampled` must be a random key, but is None; in a layer give "


def test_the_linen_layer_takes_its_shots_from_flax() -> None:
    layer = qnn_jax.linen.QuantumLayer(CIRCUIT, ONE, sampled(400))
    params = {"params": {"weights": jnp.asarray(WEIGHTS)}}
    inputs = rows(30)
    with pytest.raises(InputError, match=NO_KEY):
        layer.apply(params, inputs)
    apply = jax.jit(layer.apply)
    one, again = (apply(params, inputs, rngs={"shots": KEY}) for _ in range(2))
    other = apply(params, inputs, rngs={"shots": jax.random.key(1)})
    assert np.array_equal(one, again)
    assert 0.01 < np.abs(one - other).max() < 1


def test_the_nnx_layer_takes_its_shots_from_the_stream_of_that_name() -> None:
    layer = qnn_jax.nnx.QuantumLayer(CIRCUIT, ONE, executor=sampled(400), rngs=nnx.Rngs(0))
    inputs = rows(30)
    with pytest.raises(InputError, match=NO_KEY):
        layer(inputs)
    rngs = nnx.Rngs(params=0, shots=1)
    first, second = layer(inputs, rngs), layer(inputs, rngs)
    assert 0.01 < np.abs(first - second).max() < 1
    assert rngs.shots.count[...] == 2
    assert rngs.params.count[...] == 0
    stream = nnx.Rngs(params=5, shots=1).shots
    assert np.array_equal(layer(inputs, stream), first)
    key = nnx.Rngs(shots=1).shots()
    assert np.array_equal(layer(inputs, key), first)
    # Layers have float parameters only, so plain jax.jit accepts them with shots too.
    jitted = jax.jit(lambda layer, inputs, key: layer(inputs, key))
    np.testing.assert_allclose(jitted(layer, inputs, key), first, atol=1e-6)
