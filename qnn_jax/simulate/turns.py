"""Matrices of gates in a row on one qubit, for every sample of a batch, the batch last.

They are written out number by number: what vanishes is left out, and XLA does the rest of it in one
loop over the samples.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.simulate.irregular import three_of
from qnn_jax.simulate.recipes import Recipe
from qnn_jax.simulate.xla import materialize

#: A number of every sample; None where it vanishes.
Number: TypeAlias = "Array | float | None"
#: Its real and its imaginary part.
_Complex: TypeAlias = "tuple[Number, Number]"
_Matrix: TypeAlias = "list[list[_Complex]]"


def cosines_and_sines(
    turns: Float[Array, "*lead batch"], scales: np.ndarray
) -> Float[Array, "2 *lead batch"]:
    """Of angles times scales, which have the same leading axes; computed once."""
    turns = turns * jnp.asarray(scales, turns.dtype)[..., None]
    return materialize(jnp.stack([jnp.cos(turns), jnp.sin(turns)]))


def matrix_of(
    recipe: Recipe, turns: Float[Array, "angles places batch"], column: bool = False
) -> Float[Array, "c entries places batch"]:
    """The matrices of a recipe on one bit, or their first columns; computed once.

    Args:
        recipe: the recipe.
        turns: its angles, for each of several places.
        column: only what becomes of |0>.

    Returns:
        The entries, row by row: those of the real part, then those of the imaginary part, which is
        left out where the recipe is real.
    """
    factors = [(e, *three_of(form)) for e in recipe.elements for form, _ in e.factors]
    scales = np.array([scale for _, scale, _ in factors])[:, None]
    both = cosines_and_sines(turns, scales)
    product = _constant(np.eye(2)[:, : 1 if column else 2])
    if recipe.first is not None:
        product = _product(_constant(recipe.first.matrix), product)
    for (element, _, three), cos, sin in zip(factors, both[0], both[1], strict=True):
        if element.constant is not None:
            three = element.constant.matrix @ three
        product = _product(_factor(three, cos, sin), product)

    def row(number: Number) -> Array:
        return jnp.broadcast_to(
            jnp.asarray(0.0 if number is None else number, turns.dtype), turns.shape[1:]
        )

    parts = range(1 if recipe.real else 2)
    every = [jnp.stack([row(e[part]) for line in product for e in line]) for part in parts]
    return materialize(jnp.stack(every))


def combination(three: np.ndarray, cos: Array | None, sin: Array | None) -> Number:
    """A + B cos + C sin."""
    return _sum(
        [
            float(value) if function is None else float(value) * function
            for value, function in zip(three, (None, cos, sin), strict=True)
            if abs(value) > 1e-14
        ]
    )


def _factor(three: np.ndarray, cos: Array, sin: Array) -> _Matrix:
    def number(k: int, j: int) -> _Complex:
        own = three[:, k, j]
        return combination(own.real, cos, sin), combination(own.imag, cos, sin)

    return [[number(k, j) for j in (0, 1)] for k in (0, 1)]


def _constant(matrix: np.ndarray) -> _Matrix:
    return [[(float(e.real) or None, float(e.imag) or None) for e in line] for line in matrix]


def _product(left: _Matrix, right: _Matrix) -> _Matrix:
    def number(k: int, j: int) -> _Complex:
        re: list[Array | float] = []
        im: list[Array | float] = []
        for a, b in ((left[k][i], right[i][j]) for i in (0, 1)):
            for total, x, y, sign in ((re, 0, 0, 1), (re, 1, 1, -1), (im, 0, 1, 1), (im, 1, 0, 1)):
                one, other = a[x], b[y]
                if one is not None and other is not None:
                    total.append(sign * one * other)
        return _sum(re), _sum(im)

    return [[number(k, j) for j in range(len(right[0]))] for k in (0, 1)]


def _sum(terms: Sequence[Array | float]) -> Number:
    return functools.reduce(operator.add, terms) if terms else None
