"""Index maps: affine ones, and Toffolis behind them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from simulator_references import qiskit_state, values, x64

from qnn_jax import Circuit, Op, expectations, statevector, w
from qnn_jax.circuits.gates import GATES
from qnn_jax.simulate import planner
from qnn_jax.simulate.gate_forms import lower
from qnn_jax.simulate.gf2 import Affine, IndexMap, columns_of, identity, on_bits, toffoli_of
from qnn_jax.simulate.kernels import move
from qnn_jax.simulate.tuning import CPU, using

NUM_BITS = 5
GATE_TOFFOLIS = {name: lower(Op(name, (0, 1, 2)))[0].form.toffoli for name in ("ccx", "cswap")}
AFFINE = {"cx": Affine((3, 2)), "x": Affine((1,), 1), "swap": Affine((2, 1))}


def random_maps(seed, length):
    """Gates on random bits in a row: all index maps, as they are composed."""
    rng = np.random.default_rng(seed)
    found = []
    for name in rng.choice([*GATE_TOFFOLIS, *AFFINE], length):
        places = tuple(map(int, rng.permutation(NUM_BITS)))
        if name in AFFINE:
            local = AFFINE[name]
            found.append(on_bits(local, places[: len(local.columns)], NUM_BITS))
        else:
            found.append(GATE_TOFFOLIS[name].on_bits(places[:3]))
    return found


def permutation_of(name):
    if name == "ccx between two x":
        between = np.kron(np.eye(4), [[0, 1], [1, 0]])
        return between @ permutation_of("ccx") @ between
    return np.array(GATES[name].matrix(np))


@pytest.mark.parametrize("name", [*GATE_TOFFOLIS, "ccx between two x"])
def test_toffolis_are_read_off_the_matrix(name):
    """So a unitary is one, too, whatever it is called."""
    matrix = permutation_of(name)
    (instruction,) = lower(Op("unitary", (0, 1, 2), matrix=matrix))
    toffoli = instruction.form.toffoli
    np.testing.assert_array_equal(matrix[[toffoli(i) for i in range(8)], range(8)], np.ones(8))


def swapped(size, *pairs):
    images = list(range(size))
    for i, j in pairs:
        images[i], images[j] = j, i
    return tuple(images)


def test_toffolis_are_told_from_other_permutations():
    for images in (
        swapped(8, (3, 4)),  # two parities of 3 bits, all 3 of which flip
        swapped(16, (0, 1), (14, 15)),
    ):
        assert tuple(map(toffoli_of(images), range(len(images)))) == images
    for images in (
        swapped(4, (0, 1)),  # affine
        swapped(16, (0, 1), (2, 4)),  # not the same bits flip
        swapped(32, (0, 1), (2, 3), (4, 5), (8, 9)),  # not where two parities are 1
        (0, 1, 2, 3, 4, 6, 7, 5),  # three in a circle
    ):
        assert toffoli_of(images) is None


@pytest.mark.parametrize("seed", range(6))
def test_maps_compose_and_go_back(seed):
    maps = random_maps(seed, 9)
    composed = IndexMap(identity(NUM_BITS))
    for each in maps:
        composed = composed.then(each)
    for i in range(2**NUM_BITS):
        image = i
        for each in maps:
            image = each(image)
        assert composed(i) == image
        assert composed.inverse()(image) == i
    assert composed.toffolis


def moved_as(composed, numbers, back):
    """Whether amplitudes go where the map says, forwards and backwards."""
    state = jnp.arange(2.0 * 2**NUM_BITS).reshape(2, -1)
    source = np.array([composed.inverse()(j) for j in range(2**NUM_BITS)])
    out = move(state, back, numbers)
    there = np.array_equal(out, np.asarray(state)[:, source])
    pulled = jax.vjp(lambda s: move(s, back, numbers), state)[1](out)[0]
    return there and np.array_equal(pulled, state)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_amplitudes_move_along_toffolis(seed):
    composed = IndexMap(identity(NUM_BITS))
    for each in random_maps(seed, 7):
        composed = composed.then(each)
    most = len(composed.toffolis) + 1  # one is left over
    numbers = columns_of(composed, most)
    back = columns_of(composed.inverse(), most)
    assert moved_as(composed, numbers, back)


def test_a_toffoli_that_later_ones_do_not_see_is_noticed():
    ccx = GATE_TOFFOLIS["ccx"]
    composed = IndexMap(identity(NUM_BITS))
    composed = composed.then(ccx.on_bits((0, 1, 2))).then(ccx.on_bits((2, 3, 4)))
    pair = columns_of(composed, 2), columns_of(composed.inverse(), 2)
    assert moved_as(composed, *pair)
    for numbers in pair:
        numbers[NUM_BITS + 1 :] &= 2**NUM_BITS - 1
    assert not moved_as(composed, *pair)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("most", [0, 1, 2, 4])
def test_steps_with_toffolis_prepare_qiskits_state(most):
    limits = dataclasses.replace(CPU, uniform_toffolis=most)
    rng = np.random.default_rng(most)
    ops = []
    for k in range(40):
        three = [int(q) for q in rng.permutation(6)[:3]]
        turned = Op("ry", int(rng.integers(6)), w[k]), Op("rx", three[0], w[k])
        ops += [turned[0], Op(str(rng.choice(["ccx", "cswap"])), three), turned[1]]
    circuit = Circuit(6, tuple(ops), 0, 40)
    inputs, weights = values(7, circuit)
    with x64(True), using(limits):
        found = planner.plan(circuit)
        numbers = found.scans[0].data[0][0]
        assert numbers.shape[-1] == 7 + 1 + most
        assert bool(np.any(numbers[..., 8:])) == (most > 0)
        state = statevector(circuit, inputs, weights)
        np.testing.assert_allclose(state, qiskit_state(circuit, inputs, weights), atol=1e-12)
        both = [
            jax.grad(lambda v, g=g: expectations(circuit, "ZZXIYZ", inputs, v, g)[0])(weights)
            for g in ("reverse", "adjoint")
        ]
        np.testing.assert_allclose(*both, atol=1e-12)
