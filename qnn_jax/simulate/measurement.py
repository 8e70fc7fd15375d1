"""What can be read off a state beside expectation values: probabilities, samples, variances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jaxtyping import Array, Complex, Float, Int

from qnn_jax.circuits.checks import at_least, qubits_of, shown
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import ObservableLike, PauliSum, masks, observables_on
from qnn_jax.errors import InputError
from qnn_jax.memory import MAX_SIMULATED_QUBITS
from qnn_jax.simulate import sharded
from qnn_jax.simulate.angle_table import check_angles, checked_vectors
from qnn_jax.simulate.meshes import MeshLike, checked_mesh
from qnn_jax.simulate.observables import place_of
from qnn_jax.simulate.sharded import over
from qnn_jax.simulate.statevector import statevector

#: So many outcomes take a few gigabytes.
MOST_SHOTS = 2**28


def probabilities(
    circuit: Circuit,
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
    qubits: Sequence[int] | None = None,
) -> Float[Array, " outcomes"]:
    """The probability of every outcome when qubits are measured.

    Args:
        circuit: the circuit that prepares the state.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).
        qubits: which are measured; bit k of an outcome's number is `qubits[k]`, as with Qiskit's
            `qargs`. All of them by default, bit q being qubit q.

    Returns:
        Shape (2**len(qubits),).

    >>> from qnn_jax import Circuit, Op
    >>> bell = Circuit(2, (Op("h", 0), Op("cx", (0, 1))))
    >>> print(probabilities(bell, [], []).round(3))
    [0.5 0.  0.  0.5]
    """
    n = checked_circuit(circuit).num_qubits
    chosen = tuple(range(n)) if qubits is None else qubits_of(qubits)
    if not chosen or len(set(chosen)) != len(chosen) or max(chosen) >= n:
        raise InputError(
            f"Argument `qubits` must name different qubits below {n}, but is {shown(qubits)}."
        )
    state = statevector(circuit, inputs, weights)
    # Never through abs or sqrt, whose gradients are NaN where an amplitude vanishes.
    every = jnp.square(state.real) + jnp.square(state.imag)
    if chosen == tuple(range(n)):
        return every
    # Axis j of the tensor is qubit n - 1 - j, and so it shall be for the chosen ones.
    tensor = every.reshape((2,) * n)
    rest = tuple(n - 1 - q for q in range(n) if q not in chosen)
    kept = [n - 1 - q for q in reversed(chosen)]
    return jnp.transpose(tensor, (*kept, *rest)).reshape(2 ** len(chosen), -1).sum(axis=1)


def sample(
    circuit: Circuit,
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
    shots: int,
    key: Array,
    *,
    mesh: MeshLike | None = None,
) -> Int[Array, " shots"]:
    """Measure all qubits `shots` times; bit q of an outcome is qubit q.

    Args:
        circuit: the circuit that prepares the state.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).
        shots: how often, at least 1.
        key: a JAX random key; the same key gives the same outcomes.
        mesh: devices to spread the state over, as `qnn_jax.expectations` takes them.

    Returns:
        Outcomes, shape (shots,), int32. Under jit they are all -1, which is no outcome, where the
        state is not finite.

    Raises:
        InputError: where shapes do not fit the circuit, for what is no key or no number of shots,
            or, outside jit, where an angle is not finite, as log(-1) is.
    """
    shots = at_least("shots", shots, 1)
    if shots > MOST_SHOTS:
        raise InputError(
            f"Argument `shots` must be at most {MOST_SHOTS}, but is {shown(shots)}: sample several "
            "times."
        )
    key = checked_key("key", key)
    if mesh is None:
        outcome, total = _drawn(probabilities(circuit, inputs, weights), int(shots), key)
    else:
        spread = checked_mesh(mesh, checked_circuit(circuit))
        if circuit.num_qubits > MAX_SIMULATED_QUBITS:
            raise InputError(
                f"Argument `circuit` must have at most {MAX_SIMULATED_QUBITS} qubits to be "
                f"sampled, but has {circuit.num_qubits}: outcomes are int32."
            )
        vectors = checked_vectors(circuit, inputs, weights)
        check_angles(circuit, *vectors)
        outcome, total = over(sharded.sample, circuit, spread, int(shots), *vectors, key)
    if not isinstance(outcome, jax.core.Tracer) and int(outcome[0]) < 0:
        raise InputError(
            "Arguments `inputs` and `weights` must give a finite state, but the sum of its "
            f"probabilities is {float(total)}."
        )
    return outcome


def _drawn(
    weight: Float[Array, " outcomes"], shots: int, key: Array
) -> tuple[Int[Array, " shots"], Float[Array, ""]]:
    """Outcomes, and the sum of all probabilities."""
    cumulative = jnp.cumsum(weight)
    # Scaled by the total, so that rounding leaves no outcome beyond the last.
    drawn = random.uniform(key, (shots,), weight.dtype) * cumulative[-1]
    outcome = place_of(drawn, cumulative).astype(jnp.int32)
    # NaN compares with nothing, so the search would end at some outcome that looks sure.
    return jnp.where(jnp.isfinite(cumulative[-1]), outcome, -1), cumulative[-1]


def checked_key(name: str, key: Any) -> Any:
    """Refuse what is no single random key of JAX, typed or raw."""
    array = isinstance(key, jax.Array | np.ndarray)
    if array and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0:
        return key
    if array and key.dtype == np.uint32 and key.ndim == 1:
        try:
            return random.wrap_key_data(jnp.asarray(key))
        except (TypeError, ValueError):  # of another length than a key has
            pass
    raise InputError(
        f"Argument `{name}` must be one random key, as jax.random.key(0) is, but is {shown(key)}."
    )


def variances(
    circuit: Circuit,
    observables: ObservableLike | Sequence[ObservableLike],
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
    *,
    mesh: MeshLike | None = None,
) -> Float[Array, " observables"]:
    """The variances <O²> - <O>² of observables: what one shot of a measurement of O scatters.

    Arguments and errors are those of `expectations`; shape (len(observables),).
    """
    sums = observables_on(checked_circuit(circuit).num_qubits, observables)
    if mesh is not None:
        spread = checked_mesh(mesh, circuit)
        vectors = checked_vectors(circuit, inputs, weights)
        check_angles(circuit, *vectors)
        return over(sharded.variances, circuit, spread, sums, *vectors)
    state = statevector(circuit, inputs, weights)
    values = []
    for one in sums:
        moved = apply_pauli_sum(one, state)
        mean = jnp.vdot(state, moved).real
        # The norm of (O - <O>)|ψ>: no difference of large numbers.
        rest = moved - mean * state
        values.append(jnp.sum(jnp.square(rest.real) + jnp.square(rest.imag)))
    return jnp.stack(values)


def apply_pauli_sum(
    observable: PauliSum, state: Complex[Array, " amplitudes"]
) -> Complex[Array, " amplitudes"]:
    """O|ψ> of a state in Qiskit's order; P|i> = i^y (-1)^|i & signs| |i ^ flips>."""
    index = jnp.arange(state.size, dtype=jnp.uint32)
    total = jnp.zeros_like(state)
    for label, coefficient in observable.terms:
        flips, signs, num_y = masks(label)
        source = index ^ np.uint32(flips)
        odd = (lax.population_count(source & np.uint32(signs)) & 1).astype(state.real.dtype)
        total = total + coefficient * (1j) ** num_y * (1 - 2 * odd) * state[source]
    return total
