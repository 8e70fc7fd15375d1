"""Recompilation: any 2-qubit circuit as one template of 3 CZ and 24 angles, row by row.

A 2-qubit unitary needs no more than 3 CZ (Vatan and Williams, arXiv:quant-ph/0308006), whatever
the depth of the circuit that it comes from. The template is one parametrised circuit, so a batch
stays one PUB. The compiler saw the bound angles: a result got so says that it is recompiled.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import CZGate
from qiskit.synthesis import (
    OneQubitEulerDecomposer,
    TwoQubitBasisDecomposer,
    TwoQubitWeylDecomposition,
)

from qnn_jax.circuits import Circuit, Op
from qnn_jax.errors import InputError
from qnn_jax.simulate import statevector

_LAYERS, _ANGLES = 4, 3
_EULER = OneQubitEulerDecomposer("U")


def template() -> QuantumCircuit:
    """RZ SX RZ SX RZ on both qubits, four times, with a CZ between: 24 Parameters in order."""
    circuit = QuantumCircuit(2)
    names = iter(f"kak_{number:02d}" for number in range(_LAYERS * 2 * _ANGLES))
    for layer in range(_LAYERS):
        for qubit in range(2):
            for number in range(_ANGLES):
                if number:
                    circuit.sx(qubit)
                circuit.rz(Parameter(next(names)), qubit)
        if layer < _LAYERS - 1:
            circuit.cz(0, 1)
    return circuit


def template_rows(circuit: Circuit, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The template's angles for each row of inputs, shape (rows, 24), in radians."""
    if circuit.num_qubits != 2:
        raise InputError(
            "Argument `circuit` must have 2 qubits to be recompiled into the template, but has "
            f"{circuit.num_qubits}."
        )
    decomposer = TwoQubitBasisDecomposer(CZGate())
    rows = [_angles(decomposer, unitary) for unitary in _unitaries(circuit, inputs, weights)]
    return np.array(rows).reshape(len(inputs), _LAYERS * 2 * _ANGLES)


def _unitaries(circuit: Circuit, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The matrices of all rows, shape (rows, 4, 4): a column is what becomes of a basis state."""
    columns, weights_on_device = [], jnp.asarray(weights)
    for state in range(4):
        start = Circuit(2, tuple(Op("x", q) for q in range(2) if state >> q & 1))
        columns.append(
            jax.vmap(lambda x, c=start + circuit: statevector(c, x, weights_on_device))(inputs)
        )
    unitaries = np.stack([np.asarray(column, np.complex128) for column in columns], axis=-1)
    # Single precision leaves them unitary to 1e-6; the decomposition wants 1e-9.
    left, _, right = np.linalg.svd(unitaries)
    return left @ right


def _angles(decomposer: TwoQubitBasisDecomposer, unitary: np.ndarray) -> np.ndarray:
    """The angles of the template's RZ, RZ and RZ for each gate on one qubit.

    U(θ, φ, λ) = e^{iγ} RZ(φ + π) SX RZ(θ + π) SX RZ(λ) (McKay et al., arXiv:1612.00858).
    """
    gates = decomposer.decomp3_supercontrolled(TwoQubitWeylDecomposition(unitary))
    found = [_EULER.angles(np.asarray(gate)) for gate in gates]
    return np.array([(lam, theta + np.pi, phi + np.pi) for theta, phi, lam in found])
