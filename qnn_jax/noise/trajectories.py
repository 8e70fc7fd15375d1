"""Noise by trajectories: statevectors in which each channel happens as one of its Kraus operators.

Operator k is drawn with its probability |K_k ψ|², which depends on the state, so the mean over
trajectories is the exact noisy state (arXiv:quant-ph/9702007). A state takes 2**n amplitudes where
the exact vector takes 4**n numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError
from qnn_jax.noise.density import applied, factors_of, light_cone
from qnn_jax.noise.model import NoiseModel
from qnn_jax.noise.transfer import COMMUTE, PAULIS, choi
from qnn_jax.simulate.angle_table import evaluate

#: Kraus operators that happen less often than this are rounding.
_NEVER = 1e-14


def kraus_of(transfer: np.ndarray, twirl: bool) -> np.ndarray:
    """Kraus operators of a Pauli-transfer matrix, shape (count, 2**n, 2**n), the likeliest first.

    With `twirl` those of its diagonal alone, which is a channel of random Paulis.
    """
    if twirl:
        return _paulis_of(np.diag(transfer))
    size = round(len(transfer) ** 0.5)
    values, vectors = np.linalg.eigh(choi(transfer))
    # The Choi matrix is Σ vec(K) vec(K)† / 2**n, with the row of K before its column.
    found = [
        np.sqrt(value * size) * vector.reshape(size, size)
        for value, vector in zip(values[::-1], vectors.T[::-1], strict=True)
        if value > _NEVER
    ]
    return np.array(found)


def _paulis_of(diagonal: np.ndarray) -> np.ndarray:
    """Random Paulis as Kraus operators; unitary each, which a mixture of equally likely is not."""
    # The diagonal is Σ p(P) · ±1, by whether P and the Pauli of the entry commute.
    commute, operators = np.ones((1, 1)), np.ones((1, 1, 1))
    while len(commute) < len(diagonal):
        commute = np.kron(COMMUTE, commute)
        operators = np.array([np.kron(one, other) for one in PAULIS for other in operators])
    chances = commute @ diagonal / len(diagonal)
    likely = [k for k in np.argsort(-chances) if chances[k] > _NEVER]
    return np.array([np.sqrt(chances[k]) * operators[k] for k in likely])


def outcome_probabilities(
    circuit: Circuit,
    qubits: tuple[int, ...],
    row: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
    noise: NoiseModel,
    key: Array,
    twirl: bool = False,
) -> Float[Array, " outcomes"]:
    """The probabilities of what is read at the end of one trajectory, readout errors included.

    Bit k of an outcome is `qubits[k]`; no number of the noise is traced. With `twirl`, channels
    happen as random Paulis, which is another noise than the model's.
    """
    if noise.is_traced:
        raise InputError(
            "Argument `method` must be 'exact' where numbers of the noise model are traced, since "
            "trajectories need Kraus operators of numbers, but is 'trajectories'."
        )
    read = noise.read_with(qubits)
    factors, cone = light_cone(factors_of(circuit, noise), read)
    place = {qubit: k for k, qubit in enumerate(sorted(cone))}
    n, dtype = len(place), jnp.result_type(row.dtype, jnp.complex64)
    state = jnp.zeros((2,) * n, dtype).at[(0,) * n].set(1)
    draws = jax.random.uniform(key, (max(len(factors), 1),), row.dtype)
    with jax.default_matmul_precision("highest"):
        for number, factor in enumerate(factors):
            axes = tuple(n - 1 - place[qubit] for qubit in reversed(factor.qubits))
            if factor.op is not None:
                state = applied(_unitary(factor.op, row, weights, dtype), state, axes)
                continue
            operators = kraus_of(np.asarray(factor.matrix), twirl)
            state = _happened(operators, state, axes, draws[number])
        chances = jnp.square(state.real) + jnp.square(state.imag)
        left = [n - 1 - place[qubit] for qubit in reversed(read)]
        rest = tuple(axis for axis in range(n) if axis not in left)
        # An axis for each bit, the last one first.
        tensor = jnp.transpose(chances, (*left, *rest)).reshape(*(2,) * len(read), -1).sum(-1)
        tensor = _misread(tensor, read, noise)
        tensor = tensor.sum(tuple(range(len(read) - len(qubits))))
    return tensor.reshape(-1)


def _unitary(op: Op, row: Array, weights: Array, dtype: Any) -> Array:
    angles = evaluate(op.angles, row, weights)
    entries = op.row.matrix(jnp, *(angles[k] for k in range(len(op.angles))))
    return jnp.stack([jnp.stack([jnp.asarray(e, dtype) for e in line]) for line in entries])


def _happened(operators: np.ndarray, state: Array, axes: tuple[int, ...], draw: Array) -> Array:
    """The state after one of the operators, drawn with its probability in this state."""
    count = len(axes)
    local = jnp.moveaxis(state, axes, range(count)).reshape(2**count, -1)
    density = local @ local.conj().T
    effects = jnp.asarray(np.einsum("kji,kjl->kil", operators.conj(), operators), state.dtype)
    chances = jnp.einsum("kij,ji->k", effects, density).real
    cumulative = jnp.cumsum(jax.lax.stop_gradient(chances))
    chosen = (draw * cumulative[-1] >= cumulative).sum()
    chosen = jnp.minimum(chosen, len(operators) - 1)
    after = applied(jnp.asarray(operators, state.dtype)[chosen], state, axes)
    return after / jnp.sqrt(chances[chosen]).astype(state.dtype)


def _misread(tensor: Array, read: Sequence[int], noise: NoiseModel) -> Array:
    """Readout errors; axis 0 is the last of the bits."""
    groups = dict(noise.read_together())
    together = {qubit for group in groups for qubit in group}
    for qubit in read:
        matrix = None if qubit in together else noise.read(qubit)
        if matrix is not None:
            groups[(qubit,)] = matrix
    for group, matrix in groups.items():
        if set(group) <= set(read):
            axes = [len(read) - 1 - read.index(qubit) for qubit in reversed(group)]
            tensor = applied(jnp.asarray(matrix, tensor.dtype), tensor, tuple(axes))
    return tensor
