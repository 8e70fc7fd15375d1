"""The lowest mean L1 that a circuit can represent, computed before any training."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Complex, Float

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.checks import at_least, real
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import Observables, PauliSum, observables_on
from qnn_jax.diagnostics.checks import AnyArray, checked_count
from qnn_jax.diagnostics.regression import least_absolute
from qnn_jax.errors import InputError
from qnn_jax.simulate import expectations, statevector
from qnn_jax.simulate.measurement import checked_key

#: 4**n features must be fewer than the samples; more qubits would need too much memory.
MAX_QUBITS = 6
#: Maximum number of samples of a grid.
_MOST_POINTS = 2**24
#: A start agrees with the best one if it is this close, relative to the targets' spread.
_AGREE = 0.01


class Bound(NamedTuple):
    """The lowest error of a feature map with any observable.

    Attributes:
        mean_l1: of the best observable.
        at_least: a lower bound for all observables on these samples (by duality).
        rank: how many of the 4**n features are independent on these samples.
        observable: the best one, Hermitian, shape (2**n, 2**n), in Qiskit's order; it includes
            the gain and offset of any head after it.
        predictions: <ψ(x)|observable|ψ(x)>, shape (samples,).
    """

    mean_l1: float
    at_least: float
    rank: int
    observable: Complex[np.ndarray, "dim dim"]
    predictions: Float[np.ndarray, " samples"]


class AnsatzBound(NamedTuple):
    """The lowest error found for a circuit's own weights and an affine head.

    Attributes:
        mean_l1: of the best start: an upper bound of the minimum.
        weights: the circuit's, shape (num_weights,).
        gains: the head's, one per observable.
        offset: the head's.
        predictions: gains · expectations + offset, shape (samples,).
        starts: the mean L1 of every start before the last exact fit of the head, ascending.
        agreeing: how many starts are within 1 % of the targets' mean deviation of the lowest.
            If many agree, a lower minimum is unlikely, though not excluded.
    """

    mean_l1: float
    weights: Float[np.ndarray, " weights"]
    gains: Float[np.ndarray, " observables"]
    offset: float
    predictions: Float[np.ndarray, " samples"]
    starts: Float[np.ndarray, " starts"]
    agreeing: int


def midpoints(
    num_inputs: int, points: int, low: float = 0.0, high: float = 1.0
) -> Float[np.ndarray, "samples inputs"]:
    """A grid whose means are integrals over the cube [low, high]ⁿ by the midpoint rule.

    Returns:
        Shape (points**num_inputs, num_inputs).

    >>> print(midpoints(1, 4).ravel())
    [0.125 0.375 0.625 0.875]
    """
    num_inputs = at_least("num_inputs", num_inputs, 1, 30)
    points = at_least("points", points, 1, _MOST_POINTS)
    if points**num_inputs > _MOST_POINTS:
        raise InputError(
            f"Argument `points` must make a grid of at most {_MOST_POINTS} samples, but "
            f"{points}**{num_inputs} are more."
        )
    low, high = real("low", low), real("high", high)
    if not low < high:
        raise InputError(f"Argument `low` must be below `high`, {high}, but is {low}.")
    axis = low + (high - low) * (np.arange(points) + 0.5) / points
    return np.stack(np.meshgrid(*[axis] * num_inputs, indexing="ij"), -1).reshape(-1, num_inputs)


def representation_bound(
    circuit: Circuit,
    inputs: Float[AnyArray, "samples inputs"],
    targets: Float[AnyArray, " samples"],
    weights: Float[AnyArray, " weights"] = (),  # type: ignore[assignment]
) -> Bound:
    """The least mean |<O> - target| over all observables O after a circuit.

    <ψ(x)|O|ψ(x)> is linear in the 4ⁿ Pauli expectations of ψ(x), so this is a regression on them,
    for the absolute error, by `least_absolute`: it covers every circuit that could follow, every
    observable and every affine head. For a circuit that ends in an ansatz without inputs the bound
    is that of its feature map.

    Args:
        circuit: the feature map, of at most 6 qubits.
        inputs: shape (samples, circuit.num_inputs); more samples than independent features.
            `midpoints` gives a grid.
        targets: shape (samples,).
        weights: shape (circuit.num_weights,), if the feature map has weights.

    Returns:
        A `Bound`, computed in double precision.

    Reference: Schuld, arXiv:2101.11020 (such models are linear in the data-encoding states).

    >>> from qnn_jax import z_feature_map
    >>> x = midpoints(1, 200)
    >>> bound = representation_bound(z_feature_map(1, reps=1), x, x[:, 0])
    >>> print(f"{bound.mean_l1:.4f}, of {bound.rank} features")  # 1, cos 2x and sin 2x
    0.0108, of 3 features
    """
    if checked_circuit(circuit).num_qubits > MAX_QUBITS:
        raise InputError(
            f"Argument `circuit` must have at most {MAX_QUBITS} qubits for a regression on 4**n "
            f"features, but has {circuit.num_qubits}; `ansatz_bound` has no such limit."
        )
    samples = finite_array("inputs", inputs, ("samples", circuit.num_inputs))
    wanted = finite_array("targets", targets, (len(samples),))
    values = finite_array("weights", weights, (circuit.num_weights,))
    with jax.enable_x64(True):
        features = np.asarray(_density_entries(circuit, samples, values))
    found = least_absolute(features, wanted)
    if found.rank >= len(samples):
        raise InputError(
            f"Argument `inputs` must hold more samples than the {found.rank} independent features, "
            f"but holds {len(samples)}: with as many, the fit is always exact."
        )
    return Bound(
        found.mean_l1,
        found.at_least,
        found.rank,
        _hermitian(found.coefficients, 2**circuit.num_qubits),
        features @ found.coefficients,
    )


@functools.partial(jax.jit, static_argnums=0)
def _density_entries(circuit: Circuit, inputs: Array, weights: Array) -> Array:
    """Real and imaginary parts of |ψ><ψ|, shape (samples, 4**n): they span the Paulis' space."""
    rows, columns = np.triu_indices(2**circuit.num_qubits)
    upper, right = np.triu_indices(2**circuit.num_qubits, 1)

    def one(sample: Array) -> Array:
        state = statevector(circuit, sample, weights)
        real = (state[rows] * state[columns].conj()).real
        imaginary = (state[upper] * state[right].conj()).imag
        return jnp.concatenate([real, imaginary])

    return jax.vmap(one)(inputs)


def _hermitian(coefficients: np.ndarray, dim: int) -> np.ndarray:
    """The O with <ψ|O|ψ> = Σ coefficient · feature of `_density_entries`."""
    real, imaginary = np.triu_indices(dim), np.triu_indices(dim, 1)
    matrix = np.zeros((dim, dim), complex)
    matrix[real] = coefficients[: len(real[0])]
    # Im(ψᵢψⱼ*) = (ψᵢψⱼ* - ψᵢ*ψⱼ) / 2i, where Oᵢⱼ multiplies ψᵢ*ψⱼ; the mean makes it Hermitian.
    matrix[imaginary] += 1j * coefficients[len(real[0]) :]
    return (matrix + matrix.conj().T) / 2


def ansatz_bound(
    circuit: Circuit,
    observables: Observables,
    inputs: Float[AnyArray, "samples inputs"],
    targets: Float[AnyArray, " samples"],
    key: Array,
    starts: int = 16,
    steps: int = 300,
) -> AnsatzBound:
    """The least mean |gains · <observables> + offset - target| over a circuit's weights and a head.

    Adam from `starts` random weights in parallel, on an absolute error that is smoothed at zero
    less and less; then the head of the best one is fitted exactly. The result is not proven to be
    optimal; `agreeing` is the number of starts that ended at the same value.

    Args:
        circuit: the feature map and the ansatz.
        observables: as in `qnn_jax.expectations`.
        inputs: shape (samples, circuit.num_inputs).
        targets: shape (samples,).
        key: a JAX random key, for the starts: weights uniform in [-π, π].
        starts: how many, at least 1.
        steps: of Adam, at least 1.

    Returns:
        An `AnsatzBound`.
    """
    sums = observables_on(checked_circuit(circuit).num_qubits, observables)
    starts, steps = checked_count("starts", starts, 1), checked_count("steps", steps, 1)
    samples = finite_array("inputs", inputs, ("samples", circuit.num_inputs))
    wanted = finite_array("targets", targets, (len(samples),))
    keys = jax.random.split(checked_key("key", key), starts)
    scale = float(np.mean(np.abs(wanted - np.median(wanted)))) or 1.0
    reached, weights = _descend(
        circuit,
        sums,
        steps,
        jnp.asarray(samples, jnp.float32),
        jnp.asarray((wanted - np.median(wanted)) / scale, jnp.float32),
        keys,
    )
    best = np.asarray(weights[jnp.argmin(reached)], float)
    with jax.enable_x64(True):
        features = np.asarray(_expectations_and_one(circuit, sums, samples, best))
    head = least_absolute(features, wanted)
    ends = np.sort(np.asarray(reached, float))
    return AnsatzBound(
        head.mean_l1,
        best,
        head.coefficients[:-1],
        float(head.coefficients[-1]),
        features @ head.coefficients,
        scale * ends,
        int(np.sum(ends <= ends[0] + _AGREE)),
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _expectations_and_one(
    circuit: Circuit, observables: tuple[PauliSum, ...], inputs: Array, weights: Array
) -> Array:
    values = jax.vmap(lambda sample: expectations(circuit, observables, sample, weights))(inputs)
    return jnp.concatenate([values, jnp.ones((len(inputs), 1), values.dtype)], axis=1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _descend(
    circuit: Circuit,
    observables: tuple[PauliSum, ...],
    steps: int,
    inputs: Array,
    targets: Array,
    keys: Array,
) -> tuple[Array, Array]:
    """Mean L1 and weights at the end of every start; targets of mean deviation 1."""
    optimiser = optax.adam(optax.cosine_decay_schedule(0.1, steps))

    def residuals(params: Any) -> Array:
        weights, head = params
        return _expectations_and_one(circuit, observables, inputs, weights) @ head - targets

    def loss(params: Any, rounded: Array) -> Array:
        return jnp.mean(jnp.sqrt(residuals(params) ** 2 + rounded**2))

    def step(carry: Any, progress: Array) -> tuple[Any, None]:
        params, state = carry
        gradients = jax.grad(loss)(params, 0.3 * 0.01**progress)
        updates, state = optimiser.update(gradients, state)
        return (optax.apply_updates(params, updates), state), None

    def descend(key: Array) -> tuple[Array, Array]:
        shape = (circuit.num_weights,)
        weights = jax.random.uniform(key, shape, minval=-jnp.pi, maxval=jnp.pi)
        features = _expectations_and_one(circuit, observables, inputs, weights)
        head = jnp.linalg.lstsq(features, targets)[0]
        params = (weights, head)
        (params, _), _ = lax.scan(step, (params, optimiser.init(params)), jnp.arange(steps) / steps)
        return jnp.mean(jnp.abs(residuals(params))), params[0]

    reached, weights = jax.vmap(descend)(keys)
    return reached, weights
