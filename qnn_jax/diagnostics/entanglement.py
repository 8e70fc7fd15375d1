"""Expressibility: the distribution of a circuit's states; and their entanglement."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.diagnostics.checks import AnyArray, checked_count
from qnn_jax.diagnostics.sampling import bootstrap, random_states
from qnn_jax.errors import InputError
from qnn_jax.simulate.encoding import state_of
from qnn_jax.simulate.measurement import checked_key
from qnn_jax.stats import mean_interval


class Expressibility(NamedTuple):
    """How far the fidelities of random pairs of states are from those of Haar-random states.

    Attributes:
        kl: the Kullback-Leibler divergence in nats: 0 for Haar-random states. The bias of a
            histogram of so many pairs is subtracted; `plain` includes it.
        interval: of 95 %.
        plain: the divergence of the histogram, as in published values.
        fidelities: of the pairs, shape (pairs,).
        histogram: the fraction of pairs in each bin of [0, 1], shape (bins,).
        haar: the fraction of Haar-random pairs, shape (bins,).
    """

    kl: float
    interval: tuple[float, float]
    plain: float
    fidelities: Float[np.ndarray, " pairs"]
    histogram: Float[np.ndarray, " bins"]
    haar: Float[np.ndarray, " bins"]


class Entanglement(NamedTuple):
    """The Meyer-Wallach measure of a circuit's states.

    Attributes:
        mean: 0 for product states, 1 if every qubit is maximally entangled with the rest.
        interval: of 95 %, of the mean.
        values: of every state, shape (states,).
        haar: the mean over Haar-random states, (2ⁿ - 2)/(2ⁿ + 1).
    """

    mean: float
    interval: tuple[float, float]
    values: Float[np.ndarray, " states"]
    haar: float


def expressibility(
    circuit: Circuit,
    key: Array,
    pairs: int = 5000,
    bins: int = 75,
    inputs: Float[AnyArray, "samples inputs"] | None = None,
    weights: Float[AnyArray, " weights"] | None = None,
) -> Expressibility:
    """KL(fidelities of the circuit's random pairs of states ‖ those of Haar-random states).

    Two states of N amplitudes drawn from the Haar measure have a fidelity of at most F with
    probability 1 - (1 - F)^(N - 1).

    Args:
        circuit: of at least 1 qubit.
        key: a JAX random key.
        pairs: of states, independent of each other; at least 2.
        bins: of the histogram; published values have 75.
        inputs: data to draw from, shape (samples, circuit.num_inputs), if the circuit has inputs.
        weights: shape (circuit.num_weights,), to vary the data alone; by default weights are random
            over a full period.

    Returns:
        An `Expressibility`; its interval is ±1.96 bootstrap deviations.

    Reference: Sim, Johnson, Aspuru-Guzik, arXiv:1905.10876; the correction is Miller's (1955).
    """
    pairs, bins = checked_count("pairs", pairs, 2), checked_count("bins", bins, 2)
    for_states, for_bootstrap = jax.random.split(checked_key("key", key))
    states = random_states(circuit, for_states, 2 * pairs, inputs, weights)
    edges = np.linspace(0, 1, bins + 1)
    power = 2**circuit.num_qubits - 1
    # In logarithms: with many qubits high fidelities are so rare that probabilities underflow.
    log_haar = power * np.log(1 - edges[:-1])
    log_haar += np.log1p(-(((1 - edges[1:]) / (1 - edges[:-1])) ** power))
    haar = np.exp(log_haar)
    fidelities, plain, spread, shares = _divergence(
        states, jnp.asarray(log_haar, jnp.float32), for_bootstrap
    )
    occupied = int(jnp.sum(shares > 0))
    kl = max(0.0, float(plain) - (occupied - 1) / (2 * pairs))
    off = 1.959964 * float(spread)
    return Expressibility(
        kl,
        (max(0.0, kl - off), kl + off),
        float(plain),
        np.asarray(fidelities),
        np.asarray(shares),
        haar,
    )


@jax.jit
def _divergence(states: Array, log_haar: Array, key: Array) -> tuple[Array, Array, Array, Array]:
    """Fidelities, their divergence, its bootstrap deviation, and the histogram."""
    left, right = jnp.split(states, 2)
    products = jnp.sum(left.conj() * right, axis=1)
    fidelities = jnp.square(products.real) + jnp.square(products.imag)
    bins = len(log_haar)
    places = jnp.clip(jnp.floor(fidelities * bins), 0, bins - 1).astype(jnp.int32)

    def shares(places: Array) -> Array:
        return jnp.bincount(places, length=bins) / len(places)

    def divergence(places: Array) -> Array:
        share = shares(places)
        logs = jnp.log(jnp.where(share > 0, share, 1)) - log_haar
        return jnp.sum(jnp.where(share > 0, share * logs, 0))

    again = bootstrap(divergence, places, key)
    return fidelities, divergence(places), jnp.std(again), shares(places)


def meyer_wallach(state: Complex[Array, " amplitudes"]) -> Float[Array, ""]:
    """Q = 2 (1 - mean over qubits of Tr ρ_k²), where ρ_k is the reduced state of qubit k.

    Args:
        state: shape (2**n,), normalised, n at least 1.

    Returns:
        Shape (), between 0 and 1.

    References: Meyer, Wallach, arXiv:quant-ph/0108104; in this form Brennen,
    arXiv:quant-ph/0305094.

    >>> bell = jnp.array([1, 0, 0, 1]) / jnp.sqrt(2)
    >>> print(meyer_wallach(bell).round(3))
    1.0
    """
    state = state_of("state", state)
    n = state.size.bit_length() - 1
    purities = []
    for qubit in range(n):
        halves = jnp.moveaxis(state.reshape(-1, 2, 2**qubit), 1, 0).reshape(2, -1)
        alone = halves @ halves.conj().T
        purities.append(jnp.sum(jnp.square(alone.real) + jnp.square(alone.imag)))
    return 2 * (1 - jnp.mean(jnp.stack(purities)))


def entangling_capability(
    circuit: Circuit,
    key: Array,
    states: int = 1000,
    inputs: Float[AnyArray, "samples inputs"] | None = None,
    weights: Float[AnyArray, " weights"] | None = None,
) -> Entanglement:
    """The mean Meyer-Wallach measure over random weights, over data, or over both.

    Args:
        circuit: of at least 2 qubits.
        key: a JAX random key.
        states: how many, at least 2.
        inputs: data to draw from, shape (samples, circuit.num_inputs), if the circuit has inputs.
        weights: shape (circuit.num_weights,), for the data's states under trained weights; by
            default weights are random over a full period.

    Returns:
        An `Entanglement`.

    Reference: Sim, Johnson, Aspuru-Guzik, arXiv:1905.10876, eq. 14.
    """
    if checked_circuit(circuit).num_qubits < 2:
        raise InputError(
            "Argument `circuit` must have at least 2 qubits for a measure of entanglement, but has "
            f"{circuit.num_qubits}."
        )
    states = checked_count("states", states, 2)
    found = _all_meyer_wallach(random_states(circuit, key, states, inputs, weights))
    values = np.asarray(found, float)
    dim = 2**circuit.num_qubits
    return Entanglement(float(values.mean()), mean_interval(values), values, (dim - 2) / (dim + 1))


_all_meyer_wallach = jax.jit(jax.vmap(meyer_wallach))
