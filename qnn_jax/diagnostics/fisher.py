"""Fisher information: directions of the weights that change the output, and their number."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.checks import at_least, real, several
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.diagnostics.checks import AnyArray, checked_outputs, circuit_with_weights
from qnn_jax.diagnostics.sampling import bootstrap, data_rows, in_batches, percentiles
from qnn_jax.errors import InputError
from qnn_jax.simulate import fisher_information
from qnn_jax.simulate.angle_table import checked_numbers, floating
from qnn_jax.simulate.measurement import checked_key

#: Eigenvalues below this fraction of the largest, and below this value, are rounding errors.
_ZERO = 1e-9
#: Rounding error of 1 - f².
_ROUNDING = 1e-12


class FisherSpectrum(NamedTuple):
    """The quantum Fisher information of the weights, averaged over data.

    Attributes:
        eigenvalues: descending, shape (weights,); an independent rotation has 1.
        rank: how many of them are not 0: directions that change some state.
        sample_ranks: the rank on each sample alone, shape (samples,).
        most: the maximum rank for this number of qubits, 2ⁿ⁺¹ - 2.
    """

    eigenvalues: Float[np.ndarray, " weights"]
    rank: int
    sample_ranks: Int[np.ndarray, " samples"]
    most: int


class EffectiveDimension(NamedTuple):
    """The effective number of parameters of a model, for given numbers of samples.

    Attributes:
        counts: of samples, shape (counts,).
        values: the effective dimension at each count.
        intervals: of 95 %, of each, over the random weights (bootstrap), shape (counts, 2).
        parameters: the number of parameters.
        eigenvalues: of the normalised Fisher information, descending, shape (draws, parameters).
    """

    counts: Int[np.ndarray, " counts"]
    values: Float[np.ndarray, " counts"]
    intervals: Float[np.ndarray, "counts 2"]
    parameters: int
    eigenvalues: Float[np.ndarray, "draws parameters"]


def fisher_spectrum(
    circuit: Circuit,
    weights: Float[AnyArray, " weights"],
    inputs: Float[AnyArray, "samples inputs"] | None = None,
) -> FisherSpectrum:
    """Eigenvalues and rank of the quantum Fisher information at given weights.

    Args:
        circuit: the circuit, with at least one weight.
        weights: shape (circuit.num_weights,).
        inputs: data, shape (samples, circuit.num_inputs), if the circuit has inputs.

    Returns:
        A `FisherSpectrum`, computed in double precision.

    References: Haug, Bharti, Kim, "Capacity and quantum geometry of parametrized quantum
    circuits", arXiv:2102.01659; Larocca et al., arXiv:2109.11676.
    """
    circuit = circuit_with_weights(circuit)
    rows, values = (
        data_rows(circuit, inputs),
        finite_array("weights", weights, (circuit.num_weights,)),
    )
    with jax.enable_x64(True):
        mean, each = map(np.asarray, _quantum(circuit, rows, values))
    return FisherSpectrum(
        mean, int(_ranks(mean)), np.asarray(_ranks(each)), 2 ** (circuit.num_qubits + 1) - 2
    )


@functools.partial(jax.jit, static_argnums=0)
def _quantum(circuit: Circuit, rows: Array, weights: Array) -> tuple[Array, Array]:
    every = in_batches(lambda x: fisher_information(circuit, x, weights), rows)
    # eigvalsh ascends
    return jnp.linalg.eigvalsh(jnp.mean(every, 0))[::-1], jnp.linalg.eigvalsh(every)[:, ::-1]


def _ranks(eigenvalues: np.ndarray) -> np.ndarray:
    return np.sum(eigenvalues > _ZERO * np.maximum(1, eigenvalues[..., :1]), axis=-1)


def signed_fisher_information(
    function: Callable[[Array, Array], Array],
    weights: Float[AnyArray, " weights"],
    inputs: Float[AnyArray, "samples inputs"],
) -> Float[Array, "weights weights"]:
    """The Fisher information of a measured sign, averaged over data.

    A model whose output f(w, x) is an expectation value in [-1, 1] gives y = ±1 with probability
    p(y | x, w) = (1 ± f)/2, whose Fisher information is

        F(w) = mean over x of ∇f ∇fᵀ / (1 - f²).

    Args:
        function: from weights (w,) and one sample (inputs,) to f, shape (); shape (outputs,) counts
            as several independently measured signs.
        weights: shape (weights,).
        inputs: shape (samples, inputs).

    Returns:
        Shape (weights, weights).
    """
    at, rows = checked_numbers("weights", weights), checked_numbers("inputs", inputs)
    if at.ndim != 1 or not at.size:
        raise InputError(
            f"Argument `weights` must have shape (weights,), but has shape {at.shape}."
        )
    if rows.ndim != 2 or not len(rows):
        raise InputError(
            f"Argument `inputs` must have shape (samples, inputs), but has shape {rows.shape}."
        )
    at, rows = at.astype(floating(at)), rows.astype(floating(rows))
    checked_outputs(function, at, rows[0])

    def one(x: Array) -> Array:
        def outputs(w: Array) -> Array:
            return jnp.atleast_1d(function(w, x))

        values, slopes = outputs(at), jax.jacrev(outputs)(at)
        # Where f is ±1 its gradient is 0 too; the limit of the quotient depends on the direction,
        # and is counted as 0: such samples are a set of measure zero.
        certainty = jnp.maximum(1 - values**2, _ROUNDING)
        return (slopes / certainty[:, None]).T @ slopes

    return jnp.mean(jax.vmap(one)(rows), axis=0)


def effective_dimension(
    function: Callable[[Array, Array], Array],
    weights: Float[AnyArray, "draws weights"],
    inputs: Float[AnyArray, "samples inputs"],
    counts: Sequence[int],
    key: Array,
    gamma: float = 1.0,
) -> EffectiveDimension:
    """The effective dimension of a model whose outputs are signed expectations.

    With κ = γ n / (2π ln n) for n samples, and F̂ the Fisher information scaled so that the mean
    of its trace over the weights is the number of weights,

        d(n) = 2 ln( mean over weights of √det(1 + κ F̂) ) / ln κ.

    Args:
        function: as in `signed_fisher_information`; for a circuit
            `lambda w, x: expectations(circuit, "ZZ", x, w)[0]`.
        weights: draws from the volume of the weights, shape (draws, weights), at least 2.
        inputs: data, shape (samples, inputs).
        counts: the n; κ must be above 1.
        key: a JAX random key, for the bootstrap.
        gamma: γ, in (0, 1].

    Returns:
        An `EffectiveDimension`, computed in double precision.

    Reference: Abbas et al., "The power of quantum neural networks", arXiv:2011.00027, where the
    likelihood is that of measured bit strings; for a signed expectation it is given above.
    """
    drawn = finite_array("weights", weights, ("draws", "weights"))
    rows = finite_array("inputs", inputs, ("samples", "inputs?"))
    if len(drawn) < 2:
        raise InputError(
            "Argument `weights` must have shape (draws, weights) with at least 2 draws and a "
            f"weight, but has shape {drawn.shape}."
        )
    checked_outputs(function, drawn[0], rows[0])
    key, gamma = checked_key("key", key), real("gamma", gamma, above=0, most=1)
    counts = [at_least("counts", n, 2) for n in several("counts", counts, "a list of integers")]
    for count in counts:
        if gamma * count <= 2 * math.pi * math.log(count):
            raise InputError(
                f"Argument `counts` must hold n with gamma·n above 2π ln n, but holds {count}; "
                "with gamma 1 use 20 or more."
            )
    if not counts:
        raise InputError("Argument `counts` must hold at least one number, but is empty.")
    kappas = np.array([gamma * n / (2 * math.pi * math.log(n)) for n in counts])
    with jax.enable_x64(True):

        @jax.jit
        def spectra(drawn: Array, rows: Array) -> Array:
            def spectrum(w: Array) -> Array:
                return jnp.linalg.eigvalsh(signed_fisher_information(function, w, rows))

            return in_batches(spectrum, drawn, most=8)

        eigenvalues = jnp.maximum(spectra(jnp.asarray(drawn), jnp.asarray(rows)), 0)[:, ::-1]
        if not float(eigenvalues.sum()) > 0:
            raise InputError(
                "Argument `function` must depend on its weights, but its gradient is 0 at all of "
                f"the {len(drawn)} draws."
            )
        found = _dimensions(eigenvalues, jnp.asarray(kappas), key)
        values, again, normalised = (np.asarray(part) for part in found)
    return EffectiveDimension(
        np.asarray(counts, int),
        values,
        np.array([percentiles(column) for column in again.T]),
        drawn.shape[1],
        normalised,
    )


@jax.jit
def _dimensions(eigenvalues: Array, kappas: Array, key: Array) -> tuple[Array, Array, Array]:
    """The values at each κ, the same resampled, and the normalised eigenvalues."""
    again = bootstrap(lambda some: _dimension(some, kappas), eigenvalues, key)
    return _dimension(eigenvalues, kappas), again, _normalised(eigenvalues)


def _normalised(eigenvalues: Array) -> Array:
    trace = jnp.mean(jnp.sum(eigenvalues, axis=1))
    return eigenvalues * eigenvalues.shape[1] / jnp.where(trace > 0, trace, 1)


def _dimension(eigenvalues: Array, kappas: Array) -> Array:
    half_logs = jnp.sum(jnp.log1p(kappas[:, None, None] * _normalised(eigenvalues)), axis=2) / 2
    means = jax.nn.logsumexp(half_logs, axis=1) - math.log(len(eigenvalues))
    return 2 * means / jnp.log(kappas)
