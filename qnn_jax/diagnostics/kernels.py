"""The alignment of a circuit's kernel with the targets."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.diagnostics.checks import AnyArray
from qnn_jax.errors import InputError


class Alignment(NamedTuple):
    """The similarity of a kernel matrix and the ideal kernel of the targets.

    Attributes:
        value: cosine of the angle between K and y yᵀ; 1 if K(x, x') = y(x) y(x').
        interval: of 95 %.
        centred: the same after centring K and y: 0 if the kernel has no information on the
            targets.
        centred_interval: of 95 %.
    """

    value: float
    interval: tuple[float, float]
    centred: float
    centred_interval: tuple[float, float]


def kernel_alignment(
    kernel: Float[AnyArray, "samples samples"], targets: Float[AnyArray, " samples"]
) -> Alignment:
    """Kernel-target alignment <K, y yᵀ> / (‖K‖ ‖y yᵀ‖), plain and centred.

    Args:
        kernel: symmetric, shape (samples, samples), for instance of `qnn_jax.kernel_matrix`.
        targets: shape (samples,); -1 and 1 for two classes.

    Returns:
        An `Alignment`; its intervals are ±1.96 jackknife deviations.

    References: Cristianini et al., "On kernel-target alignment", NIPS 14 (2001); centred: Cortes,
    Mohri, Rostamizadeh, arXiv:1203.0550; for quantum kernels Hubregtsen et al., arXiv:2105.02276.

    >>> y = np.array([1.0, -1.0, 1.0, -1.0])
    >>> print(f"{kernel_alignment(np.outer(y, y), y).value:.3f}")
    1.000
    """
    matrix = finite_array("kernel", kernel, ("samples", "samples"))
    count = len(matrix)
    if matrix.shape != (count, count) or count < 3:
        raise InputError(
            "Argument `kernel` must have shape (samples, samples) with at least 3 samples, but has "
            f"shape {matrix.shape}."
        )
    if not np.allclose(matrix, matrix.T, atol=1e-5):
        raise InputError(
            "Argument `kernel` must be symmetric, but its halves differ by "
            f"{np.abs(matrix - matrix.T).max():.2g}; `left` and `right` must be the same samples."
        )
    wanted = finite_array("targets", targets, (count,))
    if np.ptp(wanted) == 0:
        raise InputError(
            f"Argument `targets` must have two different values, but all are {wanted[0]:g}."
        )
    with jax.enable_x64(True):
        every, left_out = (np.asarray(part) for part in _alignments(matrix, wanted))
    spread = np.sqrt((count - 1) / count * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0))
    (plain, centred), (plain_off, centred_off) = every.tolist(), (1.959964 * spread).tolist()
    return Alignment(
        plain,
        (max(-1.0, plain - plain_off), min(1.0, plain + plain_off)),
        centred,
        (max(-1.0, centred - centred_off), min(1.0, centred + centred_off)),
    )


@jax.jit
def _alignments(kernel: Array, targets: Array) -> tuple[Array, Array]:
    """The alignment, plain and centred, of all samples (2,) and with each left out (samples, 2)."""

    def alignment(kept: Array) -> Array:
        both = jnp.outer(kept, kept)
        centre = jnp.diag(kept) - both / jnp.sum(kept)
        plain = _cosine(both * kernel, kept * targets)
        return jnp.stack([plain, _cosine(centre @ kernel @ centre, centre @ targets)])

    everyone = jnp.ones(len(targets))
    without = 1 - jnp.eye(len(targets))
    return alignment(everyone), jax.lax.map(alignment, without)


def _cosine(kernel: Array, targets: Array) -> Array:
    size = jnp.linalg.norm(kernel) * jnp.sum(targets**2)
    return targets @ kernel @ targets / jnp.where(size > 0, size, 1)
