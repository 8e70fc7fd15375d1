"""Feature maps: inputs written into phases of products of Paulis."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from qnn_jax.circuits.angles import AngleLike, Expression, Symbol, angle, x
from qnn_jax.circuits.checks import (
    at_least,
    check_num_gates,
    function,
    is_integer,
    num_qubits_of,
    real,
    several,
    shown,
)
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.library.entanglement import BlockEntanglement, Connections, connections
from qnn_jax.circuits.library.evolution import pauli_rotation
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError

#: For all labels, or for labels of each length: {1: [(0,)], 2: [(0, 1), (2, 0)]}.
LabelEntanglement: TypeAlias = BlockEntanglement | Mapping[int, BlockEntanglement]
#: From the inputs of a connection to the angle that α multiplies.
DataMap: TypeAlias = Callable[[Sequence[Symbol]], AngleLike]


def pauli_feature_map(
    num_qubits: int,
    reps: int = 2,
    entanglement: LabelEntanglement | Callable[[int], LabelEntanglement] = "full",
    alpha: float = 2.0,
    paulis: Sequence[str] | None = None,
    data_map_func: DataMap | None = None,
) -> Circuit:
    """Qiskit's `pauli_feature_map`: one input a qubit, no weights.

    Each repetition is H on all qubits, then for every label P of `paulis` and every connection S of
    as many qubits

    `exp(i α/2 φ_S(x)) · exp(-i α/2 φ_S(x) P_S)`

    where `φ_S(x) = x[i]` for a single qubit i, and `φ_S(x) = Π_{j ∈ S} (π - x[j])` for more.

    Args:
        num_qubits: how many qubits and inputs.
        reps: how often.
        entanglement: a pattern's name; a list of connections for the labels of more than one
            letter; a mapping from the length of labels to their connections, where lengths left
            out have none; or a function from the number of the repetition to one of these.
        alpha: α.
        paulis: labels, of which the last letter belongs to the first qubit of a connection; by
            default Z and ZZ.
        data_map_func: φ_S as a function of the list [x[j] for j in S].

    Reference: Havlíček et al., arXiv:1804.11326.

    >>> print(pauli_feature_map(2, reps=1, paulis=["Z", "XX"]))
    q0: ─H─P(2*x[0])─H─●────────────────────────────●─H─
    q1: ─H─P(2*x[1])─H─⊕─P(2*(π - x[0])*(π - x[1]))─⊕─H─
    """
    num_qubits = num_qubits_of(num_qubits)
    reps = at_least("reps", reps, 1)
    alpha = real("alpha", alpha)
    if data_map_func is not None:
        function("data_map_func", data_map_func)
    given = ("Z", "ZZ") if paulis is None else several("paulis", paulis, "a list of labels")
    labels = [_label(label, num_qubits) for label in given]
    check_num_gates(num_qubits * reps)
    ops = []
    for layer in range(reps):
        ops += [Op("h", q) for q in range(num_qubits)]
        now = entanglement(layer) if callable(entanglement) else entanglement
        for label in labels:
            blocks = _connections(num_qubits, len(label), now, layer)
            check_num_gates(len(ops) + len(blocks) * (reps - layer))
            for qubits in blocks:
                inputs = [x[q] for q in qubits]
                turn = _map(alpha, inputs, data_map_func)
                ops += pauli_rotation("p", label[::-1], qubits, turn)
    return Circuit(num_qubits, tuple(ops), num_inputs=num_qubits, num_weights=0)


def z_feature_map(
    num_qubits: int,
    reps: int = 2,
    entanglement: LabelEntanglement | Callable[[int], LabelEntanglement] = "full",
    alpha: float = 2.0,
    data_map_func: DataMap | None = None,
) -> Circuit:
    """Qiskit's `z_feature_map`: H, then P(α x_i) on qubit i; nothing is entangled.

    Arguments as in `pauli_feature_map`, of which this is the case `paulis=["Z"]`.

    >>> print(z_feature_map(2, reps=2))
    q0: ─H─P(2*x[0])─H─P(2*x[0])─
    q1: ─H─P(2*x[1])─H─P(2*x[1])─
    """
    return pauli_feature_map(num_qubits, reps, entanglement, alpha, ("Z",), data_map_func)


def zz_feature_map(
    num_qubits: int,
    reps: int = 2,
    entanglement: LabelEntanglement | Callable[[int], LabelEntanglement] = "full",
    alpha: float = 2.0,
    data_map_func: DataMap | None = None,
) -> Circuit:
    """Qiskit's `zz_feature_map`: one input a qubit, no weights.

    Each repetition is H on all qubits, P(α x_i) on qubit i, and for each entangled pair (i, j)
    CX(i, j), P(α (π - x_i)(π - x_j)) on j, CX(i, j). Arguments as in `pauli_feature_map`, of which
    this is the case `paulis=["Z", "ZZ"]`.

    Reference: Havlíček et al., arXiv:1804.11326.

    >>> print(zz_feature_map(2, reps=1))
    q0: ─H─P(2*x[0])─●────────────────────────────●─
    q1: ─H─P(2*x[1])─⊕─P(2*(π - x[0])*(π - x[1]))─⊕─
    """
    num_qubits = num_qubits_of(num_qubits, 2)
    return pauli_feature_map(num_qubits, reps, entanglement, alpha, ("Z", "ZZ"), data_map_func)


def _map(alpha: float, inputs: Sequence[Symbol], own: DataMap | None) -> Expression:
    """α times the data map of the caller, or Qiskit's default one."""
    if own is not None:
        value = own(inputs)
        if not isinstance(value, Expression):
            value = real("data_map_func", value, what="a function that gives numbers or angles")
        return angle(alpha * value)
    if len(inputs) == 1:
        return alpha * inputs[0]
    factors: list[Expression] = [math.pi - value for value in inputs]
    return functools.reduce(operator.mul, factors[1:], alpha * factors[0])


def _connections(
    num_qubits: int, size: int, entanglement: LabelEntanglement, layer: int
) -> Connections:
    if isinstance(entanglement, Mapping):
        if not all(map(is_integer, entanglement)):
            raise InputError(
                "Argument `entanglement` must map lengths of labels to connections, but is "
                f"{shown(entanglement)}."
            )
        return connections(num_qubits, size, entanglement.get(size, ()), layer)
    if size == 1 and not isinstance(entanglement, str):
        several("entanglement", entanglement, "a pattern's name or connections", again=True)
        return connections(num_qubits, 1, "full")
    return connections(num_qubits, size, entanglement, layer)


def _label(label: object, num_qubits: int) -> str:
    if isinstance(label, str) and label and not set(label.upper()) - set("IXYZ"):
        if len(label) <= num_qubits:
            return label.upper()
        raise InputError(
            f"Argument `paulis` must hold labels of at most {num_qubits} letters, one a qubit, but "
            f"holds {shown(label)}."
        )
    raise InputError(
        "Argument `paulis` must hold labels of the letters I, X, Y and Z, but holds "
        f"{shown(label)}."
    )
