"""The quantum reference: our circuits rebuilt gate by gate in Qiskit."""

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import get_standard_gate_name_mapping

from qnn_jax.circuits import Circuit
from qnn_jax.circuits.angles import evaluate

_GATES = get_standard_gate_name_mapping()


def in_qiskit(circuit: Circuit, inputs: np.ndarray, weights: np.ndarray) -> QuantumCircuit:
    """The circuit with its angles as plain numbers, by Qiskit's own methods of the gates' names."""
    rebuilt = QuantumCircuit(circuit.num_qubits)
    for op in circuit.ops:
        angles = [evaluate(angle, list(inputs), list(weights)) for angle in op.angles]
        if op.gate == "global_phase":
            rebuilt.global_phase += angles[0]
        elif op.matrix is not None:
            rebuilt.unitary(np.array(op.matrix), list(op.qubits))
        elif op.gate in ("c3sx", "u1", "u2", "u3", "cu1", "cu3", "xx_plus_yy", "xx_minus_yy"):
            rebuilt.append(type(_GATES[op.gate])(*angles), list(op.qubits))
        else:
            getattr(rebuilt, op.gate)(*angles, *op.qubits)
    return rebuilt


def random_vectors(circuit: Circuit, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and weights uniform in [-4, 4]."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-4, 4, circuit.num_inputs), rng.uniform(-4, 4, circuit.num_weights)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """How far two unitaries are from equal up to a phase."""
    return 1 - abs(np.trace(a.conj().T @ b)) / len(a)
