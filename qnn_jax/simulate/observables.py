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
from jaxtyping import Array, Float, Int

from qnn_jax.circuits.observables import PauliSum, masks
from qnn_jax.simulate import tuning
from qnn_jax.simulate.gf2 import Affine, columns_of
from qnn_jax.simulate.kernels import move, parity_moments
from qnn_jax.simulate.xla import HIGHEST


def measure(
    observables: Sequence[PauliSum], state: Float[Array, "c amplitudes"]
) -> Float[Array, " observables"]:
    """The expectation values of observables in a state of shape (1 or 2, 2**n)."""
    strings = sorted({label for one in observables for label, _ in one.terms})
    strings.sort(key=lambda label: masks(label)[0] != 0)
    return combined(observables, strings, moments([masks(s) for s in strings], state))


def moments(
    strings: Sequence[tuple[int, int, int]], state: Float[Array, "c amplitudes"]
) -> Float[Array, " strings"]:
    """The expectation values of strings, given by their `masks`; those without X and Y first."""
    diagonal = [string for string in strings if not string[0]]
    others = [string for string in strings if string[0]]
    values = []
    if diagonal:
        if state.shape[-1] < tuning.current().add_parts_from:
            probabilities = jnp.sum(state**2, 0)
        else:
            # Not a sum over an axis, which XLA's CPU compiler adds number by number.
            probabilities = functools.reduce(operator.add, [part**2 for part in state])
        values.append(parity_moments(tuple(signs for _, signs, _ in diagonal), probabilities))
    if others:
        values.append(_flipped(others, state))
    return jnp.concatenate(values) if len(values) > 1 else values[0]


def combined(
    observables: Sequence[PauliSum], strings: Sequence[str], table: Float[Array, " strings"]
) -> Float[Array, " observables"]:
    """The values of observables from those of strings."""
    if [one.terms for one in observables] == [((s, 1.0),) for s in strings]:
        return table
    position = {label: k for k, label in enumerate(strings)}
    coefficients = np.zeros((len(strings), len(observables)))
    for k, one in enumerate(observables):
        for label, coefficient in one.terms:
            coefficients[position[label], k] += coefficient
    return jnp.matmul(table, jnp.asarray(coefficients, table.dtype), precision=HIGHEST)


def place_of(
    numbers: Float[Array, " shots"], cumulative: Float[Array, " outcomes"]
) -> Int[Array, " shots"]:
    """Which of the outcomes with these cumulative probabilities each number hits."""
    # Comparing with all is much the faster of the two while there are few.
    few = len(cumulative) <= tuning.current().compare_up_to
    method = "compare_all" if few else "scan_unrolled"
    found = jnp.searchsorted(cumulative, numbers, side="right", method=method)
    return jnp.minimum(found, len(cumulative) - 1)


def _flipped(strings: Sequence[tuple[int, int, int]], state: Array) -> Array:
    """Strings with X or Y: P|i> = i^y (-1)^|i & signs| |i ^ flips>."""
    n = state.shape[-1].bit_length() - 1
    units = [1 << q for q in range(n)]
    maps = np.array([columns_of(Affine(tuple(units), flips)) for flips, _, _ in strings])
    signs = np.array([own for _, own, _ in strings], np.uint32)
    ys = np.array([num_y for _, _, num_y in strings])
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
    if len(strings) < tuning.current().loop_from:
        return jnp.stack([one(*(a[k] for a in arrays)) for k in range(len(strings))])
    # Recomputed backwards: a loop would keep a state for every string.
    body = jax.checkpoint(lambda _, row: (None, one(*row)))
    return lax.scan(body, None, arrays)[1]
