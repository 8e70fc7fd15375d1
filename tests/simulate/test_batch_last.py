import jax
import jax.numpy as jnp
import numpy as np
import pytest
from simulator_references import x64

from qnn_jax.simulate import batch_last as module
from qnn_jax.simulate.batch_last import repeat_rows, take_rows, times_rows


def by_einsum(matrix, rows):
    """As complex numbers, and back to real and imaginary part."""
    m = matrix[0] + (1j * matrix[1] if len(matrix) == 2 else 0)
    s = rows[0] + (1j * rows[1] if len(rows) == 2 else 0)
    out = jnp.einsum("pqb,qrb->prb", m, s, precision="highest")
    return jnp.stack([out.real, out.imag])[: len(rows)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_matrix", "of_rows", "fault"),
    [(1, 1, None), (2, 2, None), (1, 2, None), (2, 2, "not conjugate")],
)
def test_small_matrices_times_rows_in_every_mode(of_matrix, of_rows, fault, monkeypatch):
    if fault:
        monkeypatch.setattr(module, "_conjugate", lambda rows: rows)
    with x64(True):
        keys = jax.random.split(jax.random.key(0), 2)
        matrix, along = jax.random.normal(keys[0], (2, of_matrix, 4, 2, 5))
        rows, beside = jax.random.normal(keys[1], (2, of_rows, 2, 3, 5))

        def modes(f):
            of_both = jax.grad(lambda m, s: jnp.sum(jnp.sin(f(m, s))), (0, 1))
            batch = jnp.stack([matrix, along, 2 * matrix])
            yield jax.jit(f)(matrix, rows)
            yield of_both(matrix, rows)
            yield jax.jvp(of_both, (matrix, rows), (along, beside))
            yield jax.vmap(of_both, (0, None))(batch, rows)
            yield jax.vmap(of_both, (None, 0))(matrix, jnp.stack([rows, beside]))

        worst = 0.0
        for ours, theirs in zip(modes(times_rows), modes(by_einsum), strict=True):
            for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                assert a.shape == b.shape
                worst = max(worst, float(np.max(abs(np.asarray(a) - np.asarray(b)))))
    assert (worst > 1e-3) if fault else (worst < 1e-12)


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 13])
def test_the_gradient_of_spread_rows_is_their_sum(rows):
    factors = jnp.asarray(np.random.default_rng(0).normal(size=(4, rows, 3)))
    found = jax.grad(lambda a: jnp.sum(repeat_rows(a, rows=rows) * factors))(jnp.ones((4, 3)))
    np.testing.assert_allclose(found, factors.sum(1), rtol=1e-5)


def test_the_gradient_of_taken_rows_takes_them_back():
    source = (2, 0, 1, 3)
    factors, rows, along = np.random.default_rng(0).normal(size=(3, 4, 5))

    def loss(a):
        taken = take_rows(a, source, np.argsort(source))
        return jnp.sum(taken**2 * factors)

    with x64(True):
        slope = jax.grad(loss)
        wanted = np.zeros((4, 5))
        wanted[list(source)] = 2 * factors * rows[list(source)]
        np.testing.assert_allclose(slope(jnp.asarray(rows)), wanted, atol=1e-12)
        both = jax.vmap(slope)(jnp.stack([rows, along]))
        np.testing.assert_allclose(both[0], wanted, atol=1e-12)
        second = jax.jvp(slope, (jnp.asarray(rows),), (jnp.asarray(along),))[1]
        np.testing.assert_allclose(second, wanted / rows * along, atol=1e-12)
