"""Small chunks in the gates of ibm_fez, built without the transpiler."""

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from qnn_jax.hardware.jobs import Chunk, Pub

QUBITS = (2, 3)


def circuit():
    """Qubit 2 rotated by a[0] and copied to 3, which a[1] rotates; intentionally asymmetric."""
    a = ParameterVector("a", 2)
    first, second = QUBITS
    made = QuantumCircuit(5, 2)
    for qubit, angle in ((first, a[0]), (second, a[1])):
        made.sx(qubit)
        made.rz(angle, qubit)
        made.sx(qubit)
    made.cz(first, second)
    made.measure(QUBITS, (0, 1))
    return made


def calibration():
    """Both qubits flipped or unchanged, by row."""
    b = ParameterVector("b", 2)
    made = QuantumCircuit(5, 2)
    for qubit, angle in zip(QUBITS, b, strict=True):
        made.sx(qubit)
        made.rz(angle, qubit)
        made.sx(qubit)
    made.measure(QUBITS, (0, 1))
    return made


def make_chunk(first_angles, shots=64, **options):
    angles = np.stack([first_angles, np.full(len(first_angles), 0.3)], axis=1)
    states = np.pi * np.array([[1, 1], [0, 1], [1, 0], [0, 0]])
    return Chunk((Pub(circuit(), angles), Pub(calibration(), states)), shots, **options)
