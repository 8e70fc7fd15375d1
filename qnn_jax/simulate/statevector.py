"""The exact simulator: a circuit as one differentiable function on amplitudes.

Amplitudes are in Qiskit's order: bit q of an index is qubit q. How a circuit is run is its plan
(`qnn_jax.simulate.planner`).
"""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float

from qnn_jax.circuits.checks import one_of
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import ObservableLike, PauliSum, observables_on
from qnn_jax.simulate import sharded, tuning
from qnn_jax.simulate.angle_table import check_angles, checked_vectors, usual_promotion
from qnn_jax.simulate.batches import measured
from qnn_jax.simulate.meshes import MeshLike, checked_mesh
from qnn_jax.simulate.observables import measure
from qnn_jax.simulate.planner import plan_state, plan_to_measure
from qnn_jax.simulate.preflight import STATES_ADJOINT, check_memory, states_kept, watched
from qnn_jax.simulate.sharded import expectations_over, over
from qnn_jax.simulate.state_last import run
from qnn_jax.simulate.tuning import Tuning

jax.tree_util.register_static(Circuit)
jax.tree_util.register_static(PauliSum)


def statevector(
    circuit: Circuit,
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
    *,
    mesh: MeshLike | None = None,
) -> Complex[Array, " amplitudes"]:
    """The state that the circuit prepares from |0…0>, in Qiskit's amplitude order.

    Args:
        circuit: the circuit.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).
        mesh: devices to spread the state over, as `expectations` takes them.

    Returns:
        Shape (2**num_qubits,), complex64, or complex128 under x64; of a mesh each device has the
        amplitudes whose highest bits are its number.

    Raises:
        InputError: where the shapes or the mesh do not fit the circuit, or, outside jit, an
            angle is not finite; under jit the state is then NaN.

    >>> from qnn_jax import Circuit, Op
    >>> bell = Circuit(2, (Op("h", 0), Op("cx", (0, 1))))
    >>> print(statevector(bell, [], []).real.round(3))
    [0.707 0.    0.    0.707]
    """
    vectors = checked_vectors(checked_circuit(circuit), inputs, weights)
    check_angles(circuit, *vectors)
    if mesh is not None:
        return over(sharded.state, circuit, checked_mesh(mesh, circuit), None, *vectors)
    check_memory(circuit.num_qubits, vectors[0].dtype.itemsize)
    return _state(circuit, tuning.current(), *vectors)


def expectations(
    circuit: Circuit,
    observables: ObservableLike | list[ObservableLike] | tuple[ObservableLike, ...],
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
    gradient: Literal["auto", "reverse", "adjoint"] = "auto",
    *,
    mesh: MeshLike | None = None,
) -> Float[Array, " observables"]:
    """Exact expectation values <ψ|O|ψ>, differentiable in inputs and weights.

    Every different circuit is compiled once, and its program kept, about 5 MB with a gradient:
    `qnn_jax.clear_caches` drops them. Circuits that differ in numbers only are different; give the
    numbers as inputs or weights to share a program.

    Args:
        circuit: the circuit that prepares ψ.
        observables: Pauli labels in Qiskit's order ("ZI" is Z on qubit 1, and so is "Z1"),
            mappings from labels to coefficients, PauliSums, or Qiskit's SparsePauliOps.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).
        gradient: how derivatives are taken, in any mode. "reverse" differentiates the steps and
            keeps a state for each of them; "adjoint" uncomputes them, in memory that does not grow
            with depth; "auto" is "adjoint" from 12 qubits on. The values are the same.
        mesh: devices to spread the state over, a jax.sharding.Mesh, or "ambient" for that of
            `jax.set_mesh`. Its axis, or the one called "state" where there is another called
            "data", has 2**p devices; each holds 2**(n-p) amplitudes.

    Returns:
        Shape (len(observables),); batches go through `jax.vmap`.

    Raises:
        InputError: where shapes, labels or the mesh do not fit the circuit, or, outside jit, an
            angle is not finite; under jit the values are then NaN.

    Warns:
        LargeAngleWarning: outside jit, where angles are so large that float32 has too few
            decimals for them; under jit nothing is known of their values.

    >>> from qnn_jax import Circuit, Op, w
    >>> tilted = Circuit(1, (Op("ry", 0, w[0]),))
    >>> z, x = expectations(tilted, ["Z", "X"], [], [0.5])
    >>> print(f"{z:.3f} {x:.3f}")  # the cosine and the sine of 0.5
    0.878 0.479
    """
    sums = observables_on(checked_circuit(circuit).num_qubits, observables)
    one_of("gradient", gradient, ("auto", "reverse", "adjoint"))
    if gradient == "auto":
        gradient = gradient_of(circuit)
    vectors = checked_vectors(circuit, inputs, weights)
    check_angles(circuit, *vectors)
    if mesh is not None:
        spread = checked_mesh(mesh, circuit)
        return expectations_over(circuit, sums, spread, *vectors, gradient)
    check_memory(circuit.num_qubits, vectors[0].dtype.itemsize)
    return _expectations(circuit, sums, *vectors, gradient, tuning.current())


def gradient_of(circuit: Circuit) -> Literal["reverse", "adjoint"]:
    """How derivatives are taken where nothing is said."""
    return "adjoint" if circuit.num_qubits >= tuning.current().adjoint_from else "reverse"


# The thresholds are an argument, so that a program is kept for each set of them.


@functools.partial(jax.jit, static_argnums=(0, 1))
@usual_promotion
def _state(circuit: Circuit, limits: Tuning, inputs: Array, weights: Array) -> Array:
    del limits
    found = plan_state(circuit, False)
    state = watched(run(found, inputs, weights), states_kept(found))
    return lax.complex(state[0], state[1] if len(state) == 2 else jnp.zeros_like(state[0]))


@functools.partial(jax.jit, static_argnums=(0, 1, 4, 5))
@usual_promotion
def _expectations(
    circuit: Circuit,
    observables: tuple[PauliSum, ...],
    inputs: Array,
    weights: Array,
    gradient: str,
    limits: Tuning,
) -> Array:
    del limits
    if gradient == "reverse":
        return measured(circuit, observables, inputs, weights)
    found, behind = plan_to_measure(circuit, observables, False)
    state = watched(run(found, inputs, weights, gradient), STATES_ADJOINT)
    return measure(behind, state)
