"""Random states of a circuit, and bootstrap intervals of sampled numbers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.diagnostics.checks import AnyArray, checked_count
from qnn_jax.errors import InputError
from qnn_jax.simulate import statevector
from qnn_jax.simulate.measurement import checked_key

#: A full period of every standard gate; gates without controls have half of it.
FULL_TURN = 4 * math.pi
#: Number of bootstrap resamples; the error of a 95 % interval is then a few percent of its width.
RESAMPLES = 400


def random_states(
    circuit: Circuit,
    key: Array,
    count: int,
    inputs: Float[AnyArray, "samples inputs"] | None = None,
    weights: Float[AnyArray, " weights"] | None = None,
) -> Complex[Array, "count amplitudes"]:
    """States of a circuit at random weights and on data drawn at random.

    Args:
        circuit: the circuit.
        key: a JAX random key.
        count: how many states, at least 1.
        inputs: rows to draw from with replacement, shape (samples, circuit.num_inputs); may be
            left out if the circuit has none.
        weights: shape (circuit.num_weights,): the same for all states. By default each state has
            its own, uniform over a full period of 4π.

    Returns:
        Shape (count, 2**n), in Qiskit's order.
    """
    circuit, key = checked_circuit(circuit), checked_key("key", key)
    count = checked_count("count", count, 1)
    rows = data_rows(circuit, inputs)
    if weights is not None:
        weights = finite_array("weights", weights, (circuit.num_weights,)).astype(np.float32)
    return _states(circuit, count, jnp.asarray(rows, jnp.float32), weights, key)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _states(circuit: Circuit, count: int, rows: Array, weights: Array | None, key: Array) -> Array:
    for_inputs, for_weights = jax.random.split(key)
    inputs = rows[jax.random.randint(for_inputs, (count,), 0, len(rows))]
    if weights is not None:
        return jax.vmap(lambda x: statevector(circuit, x, weights))(inputs)
    drawn = random_weights(circuit, for_weights, count)
    return jax.vmap(lambda x, w: statevector(circuit, x, w))(inputs, drawn)


def random_weights(circuit: Circuit, key: Array, count: int) -> Float[Array, "count weights"]:
    """Weights uniform over a full period of 4π, shape (count, circuit.num_weights)."""
    shape = checked_count("count", count, 1), checked_circuit(circuit).num_weights
    key = checked_key("key", key)
    return jax.random.uniform(key, shape, maxval=FULL_TURN)


def data_rows(
    circuit: Circuit, inputs: Float[AnyArray, "samples inputs"] | None
) -> Float[np.ndarray, "samples inputs"]:
    """The inputs, checked; one empty row if the circuit has no inputs."""
    if inputs is not None:
        return finite_array("inputs", inputs, ("samples", circuit.num_inputs))
    if circuit.num_inputs:
        raise InputError(
            f"Argument `inputs` must hold samples to draw from, shape (samples, "
            f"{circuit.num_inputs}), because the circuit reads inputs, but is None."
        )
    return np.zeros((1, 0))


def bootstrap(statistic: Callable[[Array], Array], samples: Array, key: Array) -> Array:
    """A statistic of as many samples drawn with replacement, again and again along a first axis.

    Reference: Efron, Ann. Statist. 7 (1979) 1.
    """

    def once(one: Array) -> Array:
        return statistic(samples[jax.random.randint(one, (len(samples),), 0, len(samples))])

    return in_batches(once, jax.random.split(key, RESAMPLES), most=20)


def in_batches(function: Callable[[Array], Any], rows: Array, most: int = 64) -> Any:
    """Apply `function` to every row, to about `most` of them at once.

    Uses batches of equal size if possible, since a remainder would be compiled separately.
    """
    count = len(rows)
    size = next(size for size in range(min(most, count), 0, -1) if count % size == 0)
    if 4 * size < min(most, count):
        return lax.map(function, rows, batch_size=most)
    batches = rows.reshape(count // size, size, *rows.shape[1:])
    found = lax.map(jax.vmap(function), batches)
    return jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[2:]), found)


def percentiles(values: Array) -> tuple[float, float]:
    """The range of the middle 95 % of resampled values."""
    low, high = np.percentile(np.asarray(values), [2.5, 97.5])
    return float(low), float(high)
