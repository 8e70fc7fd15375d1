"""Angles in JAX, of expressions short and long."""

import functools
import operator
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator_references import x64

from qnn_jax import Circuit, Op, angles, expectations, w, x
from qnn_jax.circuits.angles import call, evaluate
from qnn_jax.simulate import angle_table


def dot(length, first=0):
    return sum(w[first + k] * x[first + k] for k in range(length))


@pytest.mark.parametrize("length", [31, 32, 33, 784])
def test_an_angle_of_many_terms(length):
    circuit = Circuit(1, (Op("ry", 0, dot(length)),))
    inputs, weights = np.random.default_rng(length).uniform(-0.2, 0.2, (2, length))
    value = expectations(circuit, ["Z"], inputs, weights)[0]
    slope = jax.jit(jax.grad(lambda v: expectations(circuit, ["Z"], inputs, v)[0]))(weights)
    assert value == pytest.approx(np.cos(inputs @ weights), abs=1e-6)
    np.testing.assert_allclose(slope, -np.sin(inputs @ weights) * inputs, atol=1e-6)


def test_twice_as_many_terms_take_twice_as_many_steps():
    def steps(length):
        expressions, ones, count = (dot(length),), np.ones(length), 0

        def counted(*_):
            nonlocal count
            count += 1

        sys.setprofile(counted)
        try:
            value = angle_table.evaluate(expressions, ones, ones, np)
        finally:
            sys.setprofile(None)
        assert value == [length]
        return count

    steps(100)  # what is only done once
    assert steps(4000) < 2.5 * steps(2000)


@pytest.mark.slow
def test_many_angles_of_many_terms_in_one_circuit():
    rows = [
        dot(100),
        x[0],
        dot(50, 100),
        2 * dot(100, 50) / 7 - w[0],
        functools.reduce(operator.mul, [x[k] for k in range(40)]),
        (dot(100) - dot(60)).sin() * dot(100),
        dot(100),
        functools.reduce(operator.sub, [w[k] ** 2 for k in range(50)]),
        functools.reduce(lambda total, k: total / x[k] * w[k], range(40), 1.5 + x[3]),
    ]
    circuit = Circuit(1, tuple(Op("ry", 0, row) for row in rows))
    inputs, weights = np.random.default_rng(0).uniform(0.9, 1.1, (2, 150))
    wanted = [evaluate(row, list(inputs), list(weights)) for row in rows]
    with x64(True):
        np.testing.assert_allclose(angles(circuit, inputs, weights), wanted, rtol=1e-12)
        batch = jax.jit(jax.vmap(angles, (None, 0, None)), static_argnums=0)
        many = batch(circuit, np.stack([inputs, inputs]), weights)
    np.testing.assert_allclose(many, [wanted, wanted], rtol=1e-12)


def test_a_program_does_not_grow_with_the_number_of_terms():
    def size(length):
        circuit = Circuit(1, (Op("ry", 0, dot(length)),))
        return len(jax.make_jaxpr(functools.partial(angles, circuit))(*np.ones((2, length))).eqns)

    assert size(40) == size(400)


LEAVES = st.one_of(
    st.integers(0, 3).map(lambda i: x[i]),
    st.integers(0, 3).map(lambda i: w[i]),
    st.floats(0.5, 2).map(lambda value: value + 0 * x[0]),
)


def calls(children):
    two = st.tuples(st.sampled_from(["add", "sub", "mul", "div"]), children, children)
    one = st.tuples(st.sampled_from(["neg", "sin", "exp"]), children)
    return st.one_of(two, two, one).map(lambda parts: call(*parts))


EXPRESSIONS = st.lists(st.recursive(LEAVES, calls, max_leaves=20), min_size=1, max_size=4)
X, W = [0.3, -1.2, 2.5, 0.7], [1.1, -0.4, 0.9, -2.2]


def shortest_chains(rows, longest):
    """The values of `rows` where a chain of `longest` terms is a long one, and the wanted ones."""
    try:
        wanted = [evaluate(row, X, W) for row in rows]
    except ArithmeticError:
        return [], []
    angle_table._groups.cache_clear()
    before, angle_table._LONG = angle_table._LONG, longest
    try:
        with x64(True):
            found = angle_table.evaluate(tuple(rows), jnp.array(X), jnp.array(W))
    finally:
        angle_table._LONG = before
        angle_table._groups.cache_clear()
    return np.asarray(found), wanted


@pytest.mark.slow
@settings(max_examples=60)
@given(EXPRESSIONS)
def test_all_chains_as_reductions_are_the_same_values(rows):
    found, wanted = shortest_chains(rows, 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def test_a_difference_without_its_sign_would_be_noticed(monkeypatch):
    monkeypatch.setattr(
        angle_table, "call", lambda name, *a: a[0] if name == "neg" else call(name, *a)
    )
    found, wanted = shortest_chains([x[0] - x[1] - x[2]], 3)
    assert abs(found[0] - wanted[0]) > 1
