"""Shots inside XLA: what an ideal quantum computer would count."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jaxtyping import Array, Float

from qnn_jax.circuits.bases import Basis, bases_of, measured_in
from qnn_jax.circuits.checks import at_least
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import ObservableLike, PauliSum, observables_on
from qnn_jax.errors import InputError
from qnn_jax.executors.counts import shot_values
from qnn_jax.executors.executor import Executor, Expectations
from qnn_jax.executors.statevector import checked_batch
from qnn_jax.simulate import sample
from qnn_jax.simulate.angle_table import usual_promotion
from qnn_jax.simulate.measurement import MOST_SHOTS, checked_key

#: So many shots are held at once: a chunk of the batch that stays in a core's cache.
_CHUNK = 2**16


def sampled(shots: int) -> Executor:
    """Shots inside XLA: what an ideal quantum computer would count, drawn from exact probabilities.

    Args:
        shots: how often each input is measured in each basis, at least 1.

    Returns:
        An executor that needs a `key` (the same key, the same shots), and works under `jax.jit`
        and `jax.vmap`. Observables that commute qubit by qubit are read off the same shots, so
        they are correlated as on a device; the others have shots of their own. Standard errors
        come from the shots, so they are 0 where all shots agree, and infinite for a single shot.
        Under jit values and errors are NaN where an angle is not finite.

    Raises:
        InputError: where `shots` is below 1; from the executor, where there is no key, an angle is
            not finite (outside jit), or it is differentiated: shots have no derivative, and zero
            would be a silent lie.

    >>> from qnn_jax.circuits import Op
    >>> plus = Circuit(1, (Op("h", 0),))
    >>> run = sampled(10_000)(plus, ("Z",), jnp.zeros((1, 0)), [], random.key(0))
    >>> bool(abs(run.values[0, 0]) < 5 * run.stderr[0, 0]), f"{run.stderr[0, 0]:.3f}"
    (True, '0.010')
    """
    return _Sampled(at_least("shots", shots, 1, MOST_SHOTS))


@dataclass(frozen=True)
class _Sampled:
    shots: int

    def __call__(
        self,
        circuit: Circuit,
        observables: ObservableLike | Sequence[ObservableLike],
        inputs: Float[Array, "batch inputs"],
        weights: Float[Array, " weights"],
        key: Array | None = None,
    ) -> Expectations:
        if key is None:
            raise InputError(
                "Argument `key` of `sampled` must be a random key, but is None; in a layer give "
                'apply(..., rngs={"shots": key}) to Flax linen, layer(..., rngs=nnx.Rngs(0)) to '
                "nnx."
            )
        key = checked_key("key", key)
        sums = observables_on(checked_circuit(circuit).num_qubits, observables)
        inputs, weights = checked_batch(circuit, inputs, weights)
        return Expectations(*_shots(circuit, sums, self.shots, inputs, weights, key))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
@usual_promotion
def _shots(
    circuit: Circuit,
    observables: tuple[PauliSum, ...],
    shots: int,
    inputs: Array,
    weights: Array,
    key: Array,
) -> tuple[Array, Array]:
    """Means over the shots and their standard errors, both of shape (batch, observables)."""
    bases = bases_of(observables)

    def one(row: tuple[Array, Array]) -> tuple[Array, Array]:
        parts = []
        for number, basis in enumerate(bases):
            drawn = sample(
                measured_in(circuit, basis), row[0], weights, shots, random.fold_in(row[1], number)
            )
            parts.append(_moments(basis, drawn, inputs.dtype))
        mean, variance = jax.tree.map(lambda *terms: sum(terms), *parts)
        # Of a single shot nothing is known.
        return mean, jnp.sqrt(variance / (shots - 1)) if shots > 1 else variance + jnp.inf

    # A key for every input, so that chunks make no difference; the last chunk is filled up, since
    # a remainder would be compiled as a program of its own.
    rows = inputs, random.split(key, len(inputs))
    size = max(1, min(len(inputs), _CHUNK // shots))
    places = np.arange(-(-len(inputs) // size) * size, dtype=np.int32).reshape(-1, size)
    chunks = jax.tree.map(lambda a: a[places % max(len(inputs), 1)], rows)
    found = lax.map(jax.vmap(one), chunks)
    return jax.tree.map(lambda a: a.reshape(-1, len(observables))[: len(inputs)], found)


def _moments(basis: Basis, drawn: Array, dtype: Any) -> tuple[Array, Array]:
    """Mean and variance over the shots of what a basis adds to each observable."""
    with jax.default_matmul_precision("highest"):
        values = shot_values(basis, drawn, dtype=dtype)
    # Of a state that is not finite there are no shots: `sample` says so by outcomes of -1.
    values = jnp.where(drawn[:, None] < 0, jnp.nan, values)
    return jnp.mean(values, 0), jnp.var(values, 0)


@_shots.defjvp
def _no_gradient(*_: Any) -> Any:
    raise InputError(
        "Executor `sampled` must not be differentiated, because shots have no derivative; train "
        "with the executor `exact`, or put jax.lax.stop_gradient around the layer's inputs and "
        "weights."
    )
