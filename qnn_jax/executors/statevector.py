"""The exact executor: the statevector simulator."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qnn_jax.circuits.checks import one_of
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import Observables, observables_on
from qnn_jax.errors import InputError
from qnn_jax.executors.executor import Expectations
from qnn_jax.simulate import expectations
from qnn_jax.simulate.angle_table import check_angles, checked_numbers, checked_vector, floating
from qnn_jax.simulate.meshes import MeshLike, checked_mesh
from qnn_jax.simulate.sharded import expectations_over
from qnn_jax.simulate.statevector import gradient_of


def exact(
    circuit: Circuit,
    observables: Observables,
    inputs: Float[Array, "batch inputs"],
    weights: Float[Array, " weights"],
    key: Array | None = None,
    gradient: Literal["auto", "reverse", "adjoint"] = "auto",
    *,
    mesh: MeshLike | None = None,
) -> Expectations:
    """The statevector simulator: exact values, differentiable, under any JAX transformation.

    Args:
        circuit: the circuit.
        observables: what is measured.
        inputs: shape (batch, circuit.num_inputs).
        weights: shape (circuit.num_weights,).
        key: not used: nothing is drawn.
        gradient: how derivatives are taken, as `qnn_jax.expectations` says. A layer takes another
            method with `functools.partial(exact, gradient="adjoint")` as its executor.
        mesh: devices to spread every state over, as `qnn_jax.expectations` takes it; of two axes
            "data" and "state" the samples are spread over the first.
    """
    sums = observables_on(checked_circuit(circuit).num_qubits, observables)
    one_of("gradient", gradient, ("auto", "reverse", "adjoint"))
    inputs, weights = checked_batch(circuit, inputs, weights)
    if mesh is not None:
        if gradient == "auto":
            gradient = gradient_of(circuit)
        spread = checked_mesh(mesh, circuit)
        values = expectations_over(circuit, sums, spread, inputs, weights, gradient)
        return Expectations(values, jnp.zeros_like(values))

    def one(sample: Array) -> Array:
        return expectations(circuit, sums, sample, weights, gradient)

    values = jax.vmap(one)(inputs)
    return Expectations(values, jnp.zeros_like(values))


def checked_batch(circuit: Circuit, inputs: Any, weights: Any) -> tuple[Array, Array]:
    """A batch and its weights as floating arrays of one dtype, its angles looked at as a whole."""
    inputs = checked_numbers("inputs", inputs)
    if inputs.ndim != 2 or inputs.shape[1] != circuit.num_inputs:
        raise InputError(
            f"Argument `inputs` of an executor must have shape (batch, {circuit.num_inputs}), but "
            f"has shape {inputs.shape}."
        )
    weights = checked_vector("weights", weights, circuit.num_weights)
    dtype = floating(inputs, weights)
    inputs, weights = inputs.astype(dtype), weights.astype(dtype)
    check_angles(circuit, inputs, weights)
    return inputs, weights
