"""Distances between states: fidelities, quantum kernels, the quantum geometric tensor."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import (
    check_angles,
    checked_numbers,
    checked_vector,
    checked_vectors,
    floating,
)
from qnn_jax.simulate.encoding import state_of
from qnn_jax.simulate.statevector import statevector


def overlap(
    state: Complex[Array, " amplitudes"], other: Complex[Array, " amplitudes"]
) -> Complex[Array, ""]:
    """The inner product <state|other> of two normalised states, shape (2**n,) each."""
    state, other = state_of("state", state), state_of("other", other)
    if state.shape != other.shape:
        raise InputError(
            f"Argument `other` must have the shape of `state`, {state.shape}, "
            f"but has {other.shape}."
        )
    dtype = floating(state, other)
    return jnp.vdot(state.astype(dtype), other.astype(dtype))


def fidelity(
    state: Complex[Array, " amplitudes"], other: Complex[Array, " amplitudes"]
) -> Float[Array, ""]:
    """|<state|other>|² of two normalised pure states, between 0 and 1."""
    product = overlap(state, other)
    return jnp.square(product.real) + jnp.square(product.imag)


def kernel_matrix(
    circuit: Circuit,
    X: Float[Array, "m inputs"],  # noqa: N803 - the names of scikit-learn
    Y: Float[Array, "k inputs"] | None = None,  # noqa: N803
    weights: Float[Array, " weights"] | None = None,
) -> Float[Array, "m k"]:
    """The fidelity kernel K[i, j] = |<ψ(X[i])|ψ(Y[j])>|².

    Each state is simulated once, m + k of them, not once for each of the m · k pairs.

    Args:
        circuit: the feature map.
        X: samples, shape (m, circuit.num_inputs).
        Y: samples, shape (k, circuit.num_inputs); X again by default.
        weights: shape (circuit.num_weights,); not needed for a circuit without weights.

    Returns:
        Shape (m, k).

    Raises:
        InputError: where shapes do not fit the circuit, or, outside jit, an angle is not finite.

    Reference: Havlíček et al., arXiv:1804.11326.

    >>> from qnn_jax import zz_feature_map
    >>> print(kernel_matrix(zz_feature_map(2), [[0.1, 0.2], [1.0, 2.0]]).round(2))
    [[1.   0.03]
     [0.03 1.  ]]
    """
    num_inputs, num_weights = checked_circuit(circuit).num_inputs, circuit.num_weights
    if weights is None:
        if num_weights:
            raise InputError(
                f"Argument `weights` must have shape ({num_weights},) for a circuit with weights, "
                "but is None."
            )
        weights = jnp.zeros(0)
    given = [("X", X)] if Y is None else [("X", X), ("Y", Y)]
    samples = [checked_numbers(name, rows) for name, rows in given]
    for (name, _), rows in zip(given, samples, strict=True):
        if rows.ndim != 2 or rows.shape[1] != num_inputs:
            raise InputError(
                f"Argument `{name}` must have shape (samples, {num_inputs}), "
                f"but has shape {rows.shape}."
            )
    weights = checked_vector("weights", weights, num_weights)
    dtype = floating(*samples, weights)
    samples, weights = [rows.astype(dtype) for rows in samples], weights.astype(dtype)
    for rows in samples:
        check_angles(circuit, rows, weights)
    states = [
        jax.vmap(lambda inputs: statevector(circuit, inputs, weights))(rows) for rows in samples
    ]
    products = states[0].conj() @ states[-1].T
    return jnp.square(products.real) + jnp.square(products.imag)


def quantum_geometric_tensor(
    circuit: Circuit, inputs: Float[Array, " inputs"], weights: Float[Array, " weights"]
) -> Complex[Array, "weights weights"]:
    """G[i, j] = <∂ᵢψ|∂ⱼψ> - <∂ᵢψ|ψ><ψ|∂ⱼψ>, derivatives in the weights.

    Its real part is the Fubini-Study metric, its imaginary part half the Berry curvature with the
    opposite sign. Takes one state a weight of memory.

    Args:
        circuit: the circuit that prepares ψ.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).

    Returns:
        Shape (weights, weights), Hermitian and positive.

    Reference: Stokes et al., "Quantum natural gradient", arXiv:1909.02108, eq. 7.
    """

    def state_of(w: Array) -> Array:
        return statevector(circuit, inputs, w)

    inputs, weights = checked_vectors(checked_circuit(circuit), inputs, weights)
    state = state_of(weights)
    derivatives = jax.jacfwd(state_of)(weights)
    connection = state.conj() @ derivatives
    return derivatives.conj().T @ derivatives - jnp.outer(connection.conj(), connection)


def fisher_information(
    circuit: Circuit, inputs: Float[Array, " inputs"], weights: Float[Array, " weights"]
) -> Float[Array, "weights weights"]:
    """The quantum Fisher information of a pure state: four times the Fubini-Study metric.

    Arguments and reference are those of `quantum_geometric_tensor`.
    """
    return 4 * quantum_geometric_tensor(circuit, inputs, weights).real
