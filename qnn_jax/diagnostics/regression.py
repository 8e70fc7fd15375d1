"""Least absolute deviations, with a proven bound of the distance to the optimum."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.diagnostics.checks import AnyArray, checked_targets

#: Singular values below this fraction of the largest are rounding errors.
_INDEPENDENT = 1e-11
#: Residuals below this fraction of the targets' size count as zero: 1/|r| must stay finite.
_SMALLEST = 1e-9

_State: TypeAlias = tuple[Array, Array, Array, Array, Array]


class LeastAbsolute(NamedTuple):
    """The best linear combination of features for the mean absolute error.

    Attributes:
        coefficients: shape (features,), with the least norm if several are optimal.
        mean_l1: their mean absolute error.
        at_least: a lower bound of the error for all coefficients.
        rank: how many of the features are independent.
    """

    coefficients: Float[np.ndarray, " features"]
    mean_l1: float
    at_least: float
    rank: int


def least_absolute(
    features: Float[AnyArray, "samples features"],
    targets: Float[AnyArray, " samples"],
) -> LeastAbsolute:
    """Minimise mean |features · c - targets| over c.

    Iteratively reweighted least squares: a fit weighted with 1 / max(|r|, ε) for the residuals r
    of the last fit, with decreasing ε. It ends when the gap to the dual problem,

        max mean(u · targets) over |u| ≤ 1 with featuresᵀ u = 0,

    is below 1e-7 of the targets' size, or after 500 fits. The weighted residuals, scaled into
    [-1, 1], are feasible for the dual problem, so `at_least` is always a valid bound.

    Args:
        features: shape (samples, features); they may be dependent.
        targets: shape (samples,).

    Returns:
        A `LeastAbsolute`, computed in double precision.

    Reference: Schlossmacher, J. Am. Stat. Assoc. 68 (1973) 857.
    """
    rows = finite_array("features", features, ("samples", "features"))
    wanted = checked_targets(targets, len(rows))
    with jax.enable_x64(True):
        found, reached, proved, rank = _solve(jnp.asarray(rows), jnp.asarray(wanted))
    return LeastAbsolute(np.asarray(found), float(reached), float(proved), int(rank))


@jax.jit
def _solve(features: Array, targets: Array) -> tuple[Array, Array, Array, Array]:
    left, sizes, right = jnp.linalg.svd(features, full_matrices=False)
    kept = sizes > _INDEPENDENT * sizes[0]
    basis = left * kept  # dependent directions become zero columns
    filled = jnp.diag(jnp.where(kept, 0.0, 1.0))  # and get a zero coefficient
    size = jnp.max(jnp.abs(targets))
    size = jnp.where(size > 0, size, 1.0)

    def fit(carry: _State) -> _State:
        count, weights, best, reached, proved = carry
        weighted = weights[:, None] * basis
        found = jnp.linalg.solve(basis.T @ weighted + filled, weighted.T @ targets)
        residuals = targets - basis @ found
        dual = weights * residuals
        dual -= basis @ (basis.T @ dual)  # projected, so that rounding errors vanish
        dual /= jnp.maximum(1, jnp.max(jnp.abs(dual)))
        now = jnp.mean(jnp.abs(residuals))
        smallest = size * jnp.maximum(0.7**count, _SMALLEST)
        return (
            count + 1,
            1 / jnp.sqrt(residuals**2 + smallest**2),
            jnp.where(now < reached, found, best),
            jnp.minimum(now, reached),
            jnp.maximum(jnp.mean(dual * targets), proved),
        )

    def unfinished(carry: _State) -> Array:
        count, _, _, reached, proved = carry
        return (count < 500) & (reached - proved > 1e-7 * size)

    _, _, best, reached, proved = lax.while_loop(
        unfinished,
        fit,
        (
            jnp.zeros((), int),
            jnp.ones_like(targets),
            jnp.zeros_like(sizes),
            jnp.mean(jnp.abs(targets)),
            jnp.zeros_like(size),
        ),
    )
    scaled = jnp.where(kept, best / jnp.where(kept, sizes, 1), 0)
    return right.T @ scaled, reached, proved, jnp.sum(kept)
