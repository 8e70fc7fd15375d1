"""Least absolute deviations by linear programming, with a proven bound of the optimum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.diagnostics.checks import AnyArray

#: Singular values below this fraction of the largest are rounding errors.
_INDEPENDENT = 1e-11


class LeastAbsolute(NamedTuple):
    """The best linear combination of features for the mean absolute error.

    Attributes:
        coefficients: shape (features,).
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

    HiGHS solves the dual linear program,

        max mean(u · targets) over |u| ≤ 1 with featuresᵀ u = 0,

    whose multipliers are c. Each u within its limits gives a lower bound: `at_least`.

    Args:
        features: shape (samples, features); they may be dependent.
        targets: shape (samples,).

    Returns:
        A `LeastAbsolute`, computed in double precision.

    Reference: Barrodale and Roberts, SIAM J. Numer. Anal. 10 (1973) 839.
    """
    rows = finite_array("features", features, ("samples", "features"))
    wanted = finite_array("targets", targets, (len(rows),))
    left, sizes, right = np.linalg.svd(rows, full_matrices=False)
    kept = sizes > _INDEPENDENT * sizes.max(initial=0.0)
    basis = left[:, kept]  # orthonormal, so that dependent features do no harm
    size = np.abs(wanted).max() or 1.0
    found = linprog(
        -wanted / size, A_eq=basis.T, b_eq=np.zeros(basis.shape[1]), bounds=(-1, 1), method="highs"
    )
    scaled = -size * found.eqlin.marginals
    # Projected and within the limits, so that rounding errors do not make the bound invalid.
    dual = found.x - basis @ (basis.T @ found.x)
    dual /= max(1.0, np.abs(dual).max())
    return LeastAbsolute(
        right[kept].T @ (scaled / sizes[kept]),
        float(np.abs(wanted - basis @ scaled).mean()),
        float(np.mean(dual * wanted)),
        int(kept.sum()),
    )
