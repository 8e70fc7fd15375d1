"""Small circuits for whole populations: every amplitude is an array with one lane a member.

A training with batches of one is a chain of thousands of tiny programs, and what it costs is
calling them. Here lane l of every array belongs to member l, with inputs and weights of its own.
A gate of one angle is M_0 + cos(θ/2) M_1 + … with constant matrices (`primitives.Form`), so it is
one product of a constant matrix with the states of all lanes, and a sum of a few products of
arrays. For circuits of a few qubits; `expectations` is for all others.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.circuits.angles import Expression
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import ObservableLike, PauliSum, masks, observables_on
from qnn_jax.simulate.angle_table import evaluate, floating
from qnn_jax.simulate.gate_forms import NUM_FEATURES, features, lower
from qnn_jax.simulate.matrices import embed
from qnn_jax.simulate.xla import HIGHEST


def lane_expectations(
    circuit: Circuit,
    observable: ObservableLike,
    inputs: Float[Array, "inputs lanes"],
    weights: Float[Array, "weights lanes"],
) -> Float[Array, " lanes"]:
    """<ψ|O|ψ> of every lane, differentiable in inputs and weights.

    Args:
        circuit: of few qubits: every gate is a matrix on all of them.
        observable: a Pauli label in Qiskit's order, a mapping from labels, or a PauliSum.
        inputs: those of lane l are inputs[:, l].
        weights: those of lane l are weights[:, l].

    Raises:
        InputError: where labels do not fit the circuit.

    >>> from qnn_jax import Circuit, Op, w
    >>> tilted = Circuit(1, (Op("ry", 0, w[0]),))
    >>> print(lane_expectations(tilted, "Z", jnp.zeros((0, 2)), jnp.array([[0.0, 0.5]])).round(3))
    [1.    0.878]
    """
    (paulis,) = observables_on(circuit.num_qubits, observable)
    steps, last = _steps(circuit, paulis)
    lanes = inputs.shape[-1]
    dtype = floating(inputs, weights)
    inputs, weights = inputs.astype(dtype), weights.astype(dtype)
    size = len(last)
    state = jnp.zeros((size, lanes), dtype).at[0].set(1)
    if steps:
        expressions = tuple(step.angle for step in steps)
        table = jax.vmap(functools.partial(evaluate, expressions), -1, -1)(inputs, weights)
    for step, angle in zip(steps, table if steps else (), strict=True):
        parts = _product(step.matrices.reshape(-1, size), state).reshape(-1, size, lanes)
        values = features(jnp, angle)
        state = sum(
            (values[f] * part for f, part in zip(step.used, parts, strict=True)),
            start=jnp.zeros((), dtype),
        )
    return jnp.sum(state * _product(last, state), axis=0)


class _Step(NamedTuple):
    """A gate of one angle and all constant gates before it.

    Attributes:
        angle: its angle.
        used: which of `features` its matrix is made of.
        matrices: one for each: shape (used, 2**n, 2**n) where all of the circuit is real, else on
            real and imaginary parts, with twice as many rows and columns.
    """

    angle: Expression
    used: tuple[int, ...]
    matrices: np.ndarray


@functools.lru_cache(maxsize=64)
def _steps(circuit: Circuit, observable: PauliSum) -> tuple[tuple[_Step, ...], np.ndarray]:
    """The circuit's steps, and the observable behind the constant gates after the last one."""
    n = circuit.num_qubits
    steps, constant = [], np.eye(2**n, dtype=complex)
    for instruction in (p for op in circuit.ops for p in lower(op)):
        if instruction.angle is None:
            constant = embed(instruction.form.matrix(), instruction.qubits, n) @ constant
            continue
        every = embed(instruction.form.coefficients, instruction.qubits, n) @ constant
        used = tuple(f for f in range(NUM_FEATURES) if np.any(abs(every[f]) > 1e-12))
        steps.append(_Step(instruction.angle, used, every[list(used)]))
        constant = np.eye(2**n, dtype=complex)
    last = constant.conj().T @ _matrix(observable) @ constant
    if not any(np.any(abs(m.imag) > 1e-12) for m in (last, *(one.matrices for one in steps))):
        return tuple(one._replace(matrices=one.matrices.real) for one in steps), last.real
    return tuple(one._replace(matrices=_real(one.matrices)) for one in steps), _real(last)


def _matrix(observable: PauliSum) -> np.ndarray:
    """P|i> = i^y (-1)^|i & signs| |i ^ flips>."""
    total = np.zeros((2**observable.num_qubits,) * 2, complex)
    for label, coefficient in observable.terms:
        flips, signs, num_y = masks(label)
        for i in range(len(total)):
            total[i ^ flips, i] += coefficient * 1j**num_y * (-1) ** (i & signs).bit_count()
    return total


def _real(matrices: np.ndarray) -> np.ndarray:
    """Complex matrices (..., k, k) as real ones on (re, im), shape (..., 2k, 2k)."""
    return np.concatenate(
        [
            np.concatenate([matrices.real, -matrices.imag], -1),
            np.concatenate([matrices.imag, matrices.real], -1),
        ],
        -2,
    )


def _product(matrix: np.ndarray, state: Array) -> Array:
    return jnp.matmul(jnp.asarray(matrix, state.dtype), state, precision=HIGHEST)
