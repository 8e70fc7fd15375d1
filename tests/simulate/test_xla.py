"""Each workaround of `simulate/xla.py` is still needed: these fail when it no longer is.

What a compiler makes is read from the compiled program, not from a clock, where that tells.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax.simulate import xla
from qnn_jax.simulate.tuning import CPU, PLAIN, current, using
from qnn_jax.simulate.xla import added, int32, materialize, on_states, product_of

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="CPU's compiler")


def compiled(function, *arrays):
    return jax.jit(function).lower(*arrays).compile().as_text()


def sines(text):
    """How many sines a compiled program has, each fusion with its own."""
    return len(re.findall(r" sine\(", text))


def uses(angles, store):
    """Sums of a sine that is used four times, each time by another fusion."""
    value = store(jnp.sin(angles))
    rows = [jnp.sum(value * k) for k in (angles, angles + 1, angles[::-1], angles * angles)]
    return jnp.stack(rows) @ jnp.ones(4) * value


def test_xla_computes_again_what_is_cheap():
    angles = jnp.linspace(0, 1, 64)
    assert sines(compiled(lambda a: uses(a, lambda v: v), angles)) > 1
    assert sines(compiled(lambda a: uses(a, materialize), angles)) == 1


def test_other_backends_take_no_workaround():
    angles = jnp.linspace(0, 1, 64)
    with using(PLAIN):
        assert materialize(angles) is angles
        rows = jnp.arange(12.0).reshape(3, 4)
        np.testing.assert_allclose(added(rows), rows.sum(0))
        matrix, states = jnp.arange(1600.0).reshape(40, 40), jnp.ones((2, 40, 3))
        program = str(jax.make_jaxpr(on_states)(matrix, states))
        assert "broadcast_in_dim" not in program
        np.testing.assert_allclose(
            on_states(matrix, states), np.einsum("kj,ajl->akl", matrix, states), rtol=1e-5
        )
    assert current() is CPU


def test_jax_transposes_a_gather_as_a_scatter():
    order = int32(np.random.default_rng(0).permutation(64))
    back = int32(np.argsort(order))

    def plain(state):
        return jnp.sum(jnp.sin(state[order]))

    take = xla.linear("taken", lambda s, i, j: s[..., i], lambda s, i, j: s[..., j])

    def own(state):
        return jnp.sum(jnp.sin(take(state, order, back)))

    state = jnp.linspace(0, 1, 64)
    np.testing.assert_allclose(jax.grad(own)(state), jax.grad(plain)(state), rtol=1e-6)
    assert "scatter" in str(jax.make_jaxpr(jax.grad(plain))(state))
    assert "scatter" not in str(jax.make_jaxpr(jax.grad(own))(state))


def test_xla_calls_a_library_for_tiny_products():
    left, right = jnp.ones((64, 4)), jnp.ones((4, 4))
    assert " dot(" in compiled(jnp.matmul, left, right)
    assert " dot(" not in compiled(product_of, left, right)


def test_xla_transposes_the_state_for_an_index_in_the_middle():
    matrix, states = jnp.ones((32, 32)), jnp.ones((64, 32, 64))

    def plain(matrix, states):
        return jnp.einsum("kj,ajl->akl", matrix, states)

    def moves(text):
        return len(re.findall(r"f32\[[\d,]+\]\S* (?:transpose|copy)\(", text))

    assert moves(compiled(plain, matrix, states)) > moves(compiled(on_states, matrix, states)) == 0


def test_a_matrix_is_not_repeated_where_it_would_be_larger_than_a_large_state():
    def program(count):
        return str(jax.make_jaxpr(on_states)(jnp.ones((32, 32)), jnp.ones((count, 32, 16))))

    assert "f32[64,32,32]" in program(64)
    assert "f32[512,32,32]" not in program(512)


def test_static_indices_are_of_32_bits():
    """A program of both x64 modes: 64-bit indices are traced as another type."""
    assert int32([3, 1]).dtype == np.int32
    with jax.enable_x64(True):
        wide = jnp.asarray(np.arange(3)).dtype
    assert jnp.asarray(np.arange(3)).dtype != wide


def test_adding_by_halves_is_adding():
    for rows in (1, 2, 3, 7, 8):
        array = jnp.asarray(np.random.default_rng(rows).normal(size=(2, rows, 5)))
        np.testing.assert_allclose(added(array), np.asarray(array).sum(1), rtol=1e-5, atol=1e-6)
