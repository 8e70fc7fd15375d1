"""The size of gradients at random parameters, which shows barren plateaus before training."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.circuits.checks import function as checked_function
from qnn_jax.circuits.checks import shown
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import Observables, observables_on
from qnn_jax.diagnostics.checks import AnyArray, checked_count, circuit_with_weights
from qnn_jax.diagnostics.sampling import (
    RESAMPLES,
    data_rows,
    in_batches,
    percentiles,
    random_weights,
)
from qnn_jax.errors import InputError
from qnn_jax.simulate import expectations
from qnn_jax.simulate.measurement import checked_key


class GradientVariance(NamedTuple):
    """The variance of a function's gradient over random parameters.

    Attributes:
        variances: of each parameter's derivative, in the parameters' shape.
        mean: their mean.
        interval: of 95 %, of the mean (bootstrap over the draws).
    """

    variances: Float[np.ndarray, " *parameters"]
    mean: float
    interval: tuple[float, float]


def gradient_variance(
    function: Callable[[Any], Array],
    draw: Callable[[Array], Any],
    key: Array,
    draws: int = 200,
) -> Any:
    """Var ∂f/∂p over random parameters p, of any differentiable function of a tree of parameters.

    With a hybrid model's loss as the function and its initialisation as `draw`, this includes
    the classical part: a plateau in the circuit also affects the layers before it.

    Args:
        function: from parameters to a scalar.
        draw: from a JAX random key to parameters, any tree of arrays.
        key: a JAX random key.
        draws: how many random parameters, at least 2.

    Returns:
        The tree of parameters with a `GradientVariance` in place of every array.

    Raises:
        InputError: if the function's value is not a scalar.

    Reference: McClean et al., "Barren plateaus", arXiv:1803.11173.

    >>> from qnn_jax import Circuit, Op, w
    >>> tilted = Circuit(1, (Op("ry", 0, w[0]),))
    >>> found = gradient_variance(
    ...     lambda p: expectations(tilted, "Z", [], p)[0],
    ...     lambda key: jax.random.uniform(key, (1,), maxval=2 * jnp.pi),
    ...     jax.random.key(0),
    ...     draws=2000,
    ... )
    >>> print(f"{found.mean:.1f}")  # the mean of sin²
    0.5
    """
    draws, key = checked_count("draws", draws, 2), checked_key("key", key)
    params = jax.eval_shape(checked_function("draw", draw), key)
    for leaf in jax.tree.leaves(params) or [None]:
        if leaf is None or not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise InputError(
                "Argument `draw` must return parameters, a tree of arrays of real numbers, but "
                f"returns {shown(params)}."
            )
    shape = jax.eval_shape(checked_function("function", function), params)
    if getattr(shape, "shape", None) != () or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise InputError(
            "Argument `function` must return a real scalar, but returns shape "
            f"{getattr(shape, 'shape', shape)}; take the mean of it, or one entry."
        )
    return _variances(lambda one: jax.grad(function)(draw(one)), key, draws)


def circuit_gradient_variances(
    circuit: Circuit,
    observables: Observables,
    key: Array,
    draws: int = 200,
    inputs: Float[AnyArray, "samples inputs"] | None = None,
) -> list[GradientVariance]:
    """Var ∂<observable>/∂w over weights uniform over a full period, and over data.

    Args:
        circuit: the circuit, with at least one weight.
        observables: as in `qnn_jax.expectations`.
        key: a JAX random key.
        draws: how many random weights, at least 2.
        inputs: data to draw from, shape (samples, circuit.num_inputs), if the circuit has inputs.

    Returns:
        For each observable a `GradientVariance`, with variances of shape (num_weights,).

    References: McClean et al., arXiv:1803.11173; for global and local observables Cerezo et al.,
    arXiv:2001.00550.
    """
    circuit, key = circuit_with_weights(circuit), checked_key("key", key)
    draws = checked_count("draws", draws, 2)
    measured = observables_on(circuit.num_qubits, observables)
    rows = jnp.asarray(data_rows(circuit, inputs), jnp.float32)

    def gradient(one: Array) -> list[Array]:
        for_weights, for_row = jax.random.split(one)
        row = rows[jax.random.randint(for_row, (), 0, len(rows))]
        weights = random_weights(circuit, for_weights, 1)[0]
        return list(jax.jacrev(lambda w: expectations(circuit, measured, row, w))(weights))

    found: list[GradientVariance] = _variances(gradient, key, draws)
    return found


def _variances(gradient: Callable[[Array], Any], key: Array, draws: int) -> Any:
    """A `GradientVariance` for each leaf of the gradients at `draws` keys."""
    for_draws, for_bootstrap = jax.random.split(key)
    gradients = jax.jit(functools.partial(in_batches, gradient))(jax.random.split(for_draws, draws))
    # How often each draw occurs in each resample: the same for all leaves.
    chosen = np.asarray(jax.random.randint(for_bootstrap, (RESAMPLES, draws), 0, draws))
    taken = np.stack([np.bincount(row, minlength=draws) for row in chosen])
    return jax.tree.map(lambda leaf: _variance(np.asarray(leaf, float), taken), gradients)


def _variance(gradients: np.ndarray, taken: np.ndarray) -> GradientVariance:
    """Variance of gradients (draws, …), with the resamples' multiplicities (resamples, draws)."""
    flat = gradients.reshape(len(gradients), -1)
    flat = flat - flat.mean(axis=0)  # avoids cancellation below
    first, second = taken @ flat / len(flat), taken @ flat**2 / len(flat)
    again = (second - first**2).mean(axis=1) * len(flat) / (len(flat) - 1)
    variances = flat.var(axis=0, ddof=1).reshape(gradients.shape[1:])
    return GradientVariance(variances, float(variances.mean()), percentiles(again))
