"""Expectation values of many Pauli strings at once.

All strings of I and Z are moments of the probabilities, taken together by one transform (the
transpose of the one that sums phases). A string with X or Y pairs each amplitude with the one
whose index differs by an XOR.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from qnn_jax.circuits.observables import PauliSum, masks
from qnn_jax.simulate import tuning
from qnn_jax.simulate.gf2 import Affine
from qnn_jax.simulate.kernels import parity_moments
from qnn_jax.simulate.moves import columns_of, move
from qnn_jax.simulate.xla import HIGHEST


def measure(
    observables: Sequence[PauliSum], state: Float[Array, "c amplitudes"]
) -> Float[Array, " observables"]:
    """The expectation values of observables in a state of shape (1 or 2, 2**n)."""
    strings = sorted({label for one in observables for label, _ in one.terms})
    diagonal = [label for label in strings if not masks(label)[0]]
    others = [label for label in strings if masks(label)[0]]
    values = []
    if diagonal:
        if state.shape[-1] < tuning.current().add_parts_from:
            probabilities = jnp.sum(state**2, 0)
        else:
            # Not a sum over an axis, which XLA's CPU compiler adds number by number.
            probabilities = functools.reduce(operator.add, [part**2 for part in state])
        values.append(parity_moments(tuple(masks(s)[1] for s in diagonal), probabilities))
    if others:
        values.append(_flipped(others, state))
    table = jnp.concatenate(values) if len(values) > 1 else values[0]
    if all(one.terms == ((s, 1.0),) for one, s in zip(observables, strings, strict=False)) and len(
        observables
    ) == len(strings) == len(diagonal):
        return table
    position = {label: k for k, label in enumerate(diagonal + others)}
    coefficients = np.zeros((len(strings), len(observables)))
    for k, one in enumerate(observables):
        for label, coefficient in one.terms:
            coefficients[position[label], k] += coefficient
    return jnp.matmul(table, jnp.asarray(coefficients, table.dtype), precision=HIGHEST)


def _flipped(labels: list[str], state: Array) -> Array:
    """Strings with X or Y: P|i> = i^y (-1)^|i & signs| |i ^ flips>."""
    n = state.shape[-1].bit_length() - 1
    units = [1 << q for q in range(n)]
    maps = np.array([columns_of(Affine(tuple(units), masks(label)[0])) for label in labels])
    signs = np.array([masks(label)[1] for label in labels], np.uint32)
    ys = np.array([masks(label)[2] for label in labels])
    # The real part of i^y · <ψ|…>, once for the real and once for the imaginary part of <ψ|…>.
    of_real = np.array([1, 0, -1, 0])[ys % 4]
    of_imag = np.array([0, -1, 0, 1])[ys % 4]

    def one(columns: Array, sign: Array, re: Array, im: Array) -> Array:
        partner = move(state, columns, columns)
        i = jnp.arange(state.shape[-1], dtype=jnp.uint32)
        signed = 1 - 2 * (lax.population_count(i & sign) & 1).astype(state.dtype)
        total = re * jnp.sum(signed * jnp.sum(partner * state, 0))
        if len(state) == 2:
            total += im * jnp.sum(signed * (partner[0] * state[1] - partner[1] * state[0]))
        return total

    arrays = (
        jnp.asarray(maps),
        jnp.asarray(signs),
        jnp.asarray(of_real, state.dtype),
        jnp.asarray(of_imag, state.dtype),
    )
    if len(labels) < tuning.current().loop_from:
        return jnp.stack([one(*(a[k] for a in arrays)) for k in range(len(labels))])
    # Recomputed backwards: a loop would keep a state for every string.
    body = jax.checkpoint(lambda _, row: (None, one(*row)))
    return lax.scan(body, None, arrays)[1]
