"""The exact simulator: a circuit as one differentiable function on amplitudes.

Amplitudes are in Qiskit's order: bit q of an index is qubit q. Inside, a state is a pair of real
arrays (real and imaginary part), which XLA compiles to better code than complex arithmetic and
which lets real gates act on both parts alike.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from qnn_jax.circuits.circuit import Circuit, Op
from qnn_jax.circuits.observables import ObservableLike, PauliSum, masks, observables_on
from qnn_jax.simulate.angle_table import checked_vectors, evaluate

jax.tree_util.register_static(Circuit)
jax.tree_util.register_static(PauliSum)


def statevector(
    circuit: Circuit, inputs: Float[Array, " inputs"], weights: Float[Array, " weights"]
) -> Complex[Array, " amplitudes"]:
    """The state that the circuit prepares from |0…0>, in Qiskit's amplitude order.

    Args:
        circuit: the circuit.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).

    Returns:
        Shape (2**num_qubits,), complex64, or complex128 under x64.

    Raises:
        InputError: where the shapes do not fit the circuit.

    >>> from qnn_jax import Circuit, Op, x
    >>> bell = Circuit(2, (Op("h", 0), Op("cx", (0, 1))))
    >>> print(statevector(bell, [], []).real.round(3))
    [0.707 0.    0.    0.707]
    """
    real, imag = _simulate(circuit, *checked_vectors(circuit, inputs, weights))
    return jax.lax.complex(real, imag)


def expectations(
    circuit: Circuit,
    observables: ObservableLike | list[ObservableLike] | tuple[ObservableLike, ...],
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
) -> Float[Array, " observables"]:
    """Exact expectation values <ψ|O|ψ>, differentiable in inputs and weights.

    Args:
        circuit: the circuit that prepares ψ.
        observables: Pauli labels in Qiskit's order ("ZI" is Z on qubit 1), mappings from labels
            to coefficients, or PauliSums.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).

    Returns:
        Shape (len(observables),); batches go through `jax.vmap`.

    Raises:
        InputError: where shapes or labels do not fit the circuit.

    >>> from qnn_jax import Circuit, Op, w
    >>> tilted = Circuit(1, (Op("ry", 0, w[0]),))
    >>> print(expectations(tilted, ["Z", "X"], [], [0.5]).round(3))  # cos and sin of 0.5
    [0.878 0.479]
    """
    sums = observables_on(circuit.num_qubits, observables)
    real, imag = _simulate(circuit, *checked_vectors(circuit, inputs, weights))
    return jnp.stack([_expectation(one, real, imag) for one in sums])


@functools.partial(jax.jit, static_argnums=0)
def _simulate(circuit: Circuit, inputs: Array, weights: Array) -> tuple[Array, Array]:
    table = evaluate(circuit.angles, inputs, weights)
    real = jnp.zeros(2**circuit.num_qubits, table.dtype).at[0].set(1)
    state = (real, jnp.zeros_like(real))
    position = 0
    for op in circuit.ops:
        angles = [table[position + k] for k in range(len(op.angles))]
        position += len(op.angles)
        state = _apply(op, angles, state, circuit.num_qubits)
    return state


def _apply(op: Op, angles: list[Array], state: tuple[Array, Array], num_qubits: int) -> Any:
    """Apply one gate to slices of the state: one slice for each value of the gate's bits."""
    matrix = op.row.matrix(jnp, *angles)
    # Axis j of the tensor is qubit num_qubits - 1 - j, so that the flat order is Qiskit's.
    axes = [num_qubits - 1 - q for q in op.qubits]
    parts = [part.reshape((2,) * num_qubits) for part in state]
    index = [
        tuple(
            (row >> axes.index(axis) & 1) if axis in axes else slice(None)
            for axis in range(num_qubits)
        )
        for row in range(len(matrix))
    ]
    new = list(parts)
    for row, entries in enumerate(matrix):
        if all(_is(e, column == row) for column, e in enumerate(entries)):
            continue
        real = imag = 0.0
        for column, entry in enumerate(entries):
            if _is(entry, 0):
                continue
            a, b = _split(entry)
            re, im = parts[0][index[column]], parts[1][index[column]]
            real = real + (a * re - b * im if b is not None else a * re)
            imag = imag + (a * im + b * re if b is not None else a * im)
        new[0] = new[0].at[index[row]].set(real)
        new[1] = new[1].at[index[row]].set(imag)
    return tuple(part.reshape(-1) for part in new)


def _is(entry: Any, value: complex) -> bool:
    return isinstance(entry, int | float | complex) and entry == value


def _split(entry: Any) -> tuple[Any, Any]:
    if isinstance(entry, complex):
        return entry.real, (entry.imag or None)
    if isinstance(entry, int | float):
        return entry, None
    if jnp.iscomplexobj(entry):
        return entry.real, entry.imag
    return entry, None


def _expectation(one: PauliSum, real: Array, imag: Array) -> Array:
    indices = jnp.arange(real.size)
    total = jnp.zeros((), real.dtype)
    for label, coefficient in one.terms:
        flips, signs, num_y = masks(label)
        sign = 1 - 2 * (jax.lax.population_count(indices & signs) & 1).astype(real.dtype)
        # P|i> = i^num_y (-1)^|i & signs| |i ^ flips>, so <ψ|P|ψ> sums conj(ψ[i ^ flips]) … ψ[i].
        re, im = (real, imag) if not flips else (real[indices ^ flips], imag[indices ^ flips])
        if num_y % 2 == 0:
            value = jnp.sum(sign * (re * real + im * imag)) * (-1) ** (num_y // 2)
        else:
            value = -jnp.sum(sign * (re * imag - im * real)) * (-1) ** (num_y // 2)
        total = total + coefficient * value
    return total
