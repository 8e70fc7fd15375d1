"""Observables as Qiskit's SparsePauliOp and back. Labels have one order in both: Qiskit's."""

from __future__ import annotations

from qiskit.quantum_info import SparsePauliOp

from qnn_jax.circuits.checks import of_type
from qnn_jax.circuits.observables import ObservableLike, PauliSum, observable


def to_sparse_pauli_op(value: ObservableLike) -> SparsePauliOp:
    """A label, a mapping from labels to coefficients or a PauliSum in Qiskit, term by term.

    The way back is seldom needed: a SparsePauliOp can be given wherever observables are.

    >>> to_sparse_pauli_op({"ZI": 0.5})
    SparsePauliOp(['ZI'],
                  coeffs=[0.5+0.j])
    """
    return SparsePauliOp.from_list(observable(value).terms)


def from_sparse_pauli_op(operator: SparsePauliOp) -> PauliSum:
    """A SparsePauliOp as a PauliSum, term by term, as every argument for observables reads it.

    Imaginary parts and terms that are only rounding errors are dropped.

    Raises:
        InputError: where it is not a SparsePauliOp, or a coefficient is a parameter or not real:
            then the operator has no real expectation value.
    """
    of_type("operator", operator, SparsePauliOp, "a SparsePauliOp")
    return observable(operator)
