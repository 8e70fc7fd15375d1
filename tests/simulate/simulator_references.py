"""Random circuits over the whole gate table, and Qiskit as the independent reference."""

import math

import jax
import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping
from qiskit.quantum_info import Statevector, random_unitary

from qnn_jax.circuits import GATES, Circuit, Op, w, x
from qnn_jax.circuits.angles import evaluate

QISKIT = get_standard_gate_name_mapping()
NUM_INPUTS, NUM_WEIGHTS = 3, 5

x64 = jax.enable_x64


def random_angle(rng):
    i, j = int(rng.integers(NUM_INPUTS)), int(rng.integers(NUM_WEIGHTS))
    choices = (w[j], 2 * x[i] + 0.3, float(3 * rng.normal()), w[j] * x[i], (math.pi - x[i]) / 2)
    return choices[rng.integers(len(choices))]


def random_circuit(seed, num_qubits, num_gates):
    """Gates of the whole table in random order (each of those that fit comes before any twice)."""
    rng = np.random.default_rng(seed)
    fitting = [name for name, row in GATES.items() if row.num_qubits <= num_qubits]
    names = [str(n) for _ in range(1 + num_gates // len(fitting)) for n in rng.permutation(fitting)]
    ops = []
    for name in names[:num_gates]:
        row = GATES[name]
        places = rng.permutation(num_qubits).tolist()
        angles = [random_angle(rng) for _ in range(row.num_angles)]
        ops.append(Op(name, places[: row.num_qubits], angles))
        if rng.random() < 0.1:
            k = int(rng.integers(1, min(num_qubits, 3) + 1))
            unitary = random_unitary(2**k, seed=int(rng.integers(2**31))).data
            ops.append(Op("unitary", places[:k], matrix=unitary))
    return Circuit(num_qubits, tuple(ops), NUM_INPUTS, NUM_WEIGHTS)


def values(seed, circuit):
    rng = np.random.default_rng(seed + 1000)
    return rng.normal(size=circuit.num_inputs), rng.normal(size=circuit.num_weights)


def qiskit_state(circuit, inputs, weights):
    """The state by Qiskit, gate by gate."""
    qc = QuantumCircuit(circuit.num_qubits)
    for op in circuit.ops:
        angles = [evaluate(a, list(inputs), list(weights)) for a in op.angles]
        if op.matrix is not None:
            gate = UnitaryGate(np.array(op.matrix))
        else:
            gate = QISKIT[op.gate].base_class(*angles)
        qc.append(gate, list(op.qubits))
    return Statevector(qc).data
