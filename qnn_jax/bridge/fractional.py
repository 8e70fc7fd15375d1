"""Fractional gates: RZZ of any angle on machines whose RZZ takes 0 to π/2 only.

CX P(λ) CX is RZZ(λ), one gate in place of two. An angle outside of the range is folded into it
row by row, so that the circuit stays one parametrised circuit:
RZZ(θ ± π) = RZZ(θ) up to RZ(π) on both qubits, and RZZ(-θ) = X RZZ(θ) X on either one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from qiskit.circuit import Parameter, QuantumCircuit

from qnn_jax.bridge.export import angle_columns, to_qiskit
from qnn_jax.circuits import Circuit, Op


def with_rzz(circuit: Circuit) -> Circuit:
    """The circuit with each CX P CX and CX RZ CX as one RZZ, equal up to a global phase.

    >>> from qnn_jax import zz_feature_map
    >>> [op.gate for op in with_rzz(zz_feature_map(2, reps=1)).ops]
    ['h', 'h', 'p', 'p', 'rzz']
    """
    ops: list[Op] = []
    for op in circuit.ops:
        if (
            len(ops) >= 2
            and op.gate == ops[-2].gate == "cx"
            and op.qubits == ops[-2].qubits
            and ops[-1].gate in ("p", "rz")
            and ops[-1].qubits == op.qubits[1:]
        ):
            ops[-2:] = [Op("rzz", op.qubits, *ops[-1].angles)]
        else:
            ops.append(op)
    return Circuit(circuit.num_qubits, tuple(ops), circuit.num_inputs, circuit.num_weights)


def folded(circuit: Circuit) -> QuantumCircuit:
    """The table form with every RZZ between RX and RZ that fold its angle.

    The Parameters of an RZZ "angle_3" are that one, "angle_3_flip" and "angle_3_turn".
    """
    table = to_qiskit(circuit)
    made = QuantumCircuit(circuit.num_qubits)
    for item in table.data:
        qubits = [table.find_bit(qubit).index for qubit in item.qubits]
        if item.operation.name != "rzz" or not isinstance(item.operation.params[0], Parameter):
            made.append(item.operation, qubits)
            continue
        name = item.operation.params[0].name
        flip, turn = Parameter(f"{name}_flip"), Parameter(f"{name}_turn")
        made.rx(flip, qubits[0])
        made.append(item.operation, qubits)
        made.rx(flip, qubits[0])
        made.rz(turn, qubits[0])
        made.rz(turn, qubits[1])
    return made


def folded_angles(circuit: Circuit, table: np.ndarray) -> Mapping[str, np.ndarray]:
    """The Parameters of `folded(circuit)` by name, shape (rows,), from rows of its angle table."""
    gates = [op.gate for op in circuit.ops for _ in op.angles]
    bound: dict[str, np.ndarray] = {}
    for name, column in angle_columns(circuit).items():
        angle = np.asarray(table[:, column], np.float64)
        if gates[column] == "rzz":
            turns = np.rint(angle / np.pi)
            rest = angle - np.pi * turns  # in [-π/2, π/2]
            bound[f"{name}_turn"] = np.pi * (turns % 2)
            bound[f"{name}_flip"] = np.pi * (rest < 0)
            angle = np.minimum(np.abs(rest), np.pi / 2)
        bound[name] = angle
    return bound
