"""A simulated device whose true errors differ from those that it publishes."""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import RXGate, RZGate, RZZGate
from qiskit.quantum_info import Operator
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
)

from qnn_jax.bridge.noise import Sublattice
from qnn_jax.hardware.fake_device import FakeDevice
from qnn_jax.hardware.jobs import Pub, RegisterCounts


class HiddenDevice(FakeDevice):
    """A fake backend with coherent errors, a halved T1 and worse readout that nobody is told of.

    Args:
        name: of the fake backend.
        seed: of its counts.
        hidden: draws the errors.
        size: the largest coherent angle of a gate, in radians; at 0 nothing is hidden.
        crosstalk: by which the neighbours of a qubit turn by ZZ with each of its √X, in radians:
            no channel of one gate.
    """

    def __init__(
        self, name: str, seed: int, hidden: int = 0, size: float = 0.06, crosstalk: float = 0.0
    ) -> None:
        super().__init__(name, seed)
        self.hidden, self.size, self.crosstalk = hidden, size, crosstalk

    def _random(self, *place: int) -> np.random.Generator:
        return np.random.default_rng([self.hidden, *place])

    def noise(self, sublattice: Sublattice) -> NoiseModel:
        """The published errors and the hidden ones."""
        model = super().noise(sublattice)
        if not self.size:
            return model
        for k, qubit in enumerate(sublattice.qubits):
            random = self._random(qubit)
            sign = 1 - 2 * random.integers(2)
            turn = RXGate(sign * random.uniform(0.3, 1) * self.size)
            error = coherent_unitary_error(Operator(turn).data)
            if k == 0:
                properties = sublattice.target["sx"][(k,)]
                t1 = sublattice.target.qubit_properties[k].t1
                error = error.compose(
                    amplitude_damping_error(1 - np.exp(-properties.duration / t1))
                )
            model.add_quantum_error(error, "sx", [k], warnings=False)
            flips = random.uniform(0.005, 0.02, 2)
            worse = ReadoutError([[1 - flips[0], flips[0]], [flips[1], 1 - flips[1]]])
            model.add_readout_error(worse, [k], warnings=False)
        for name in ("cz", "cx", "ecr"):
            if name in sublattice.target.operation_names:
                for pair in sublattice.target[name]:
                    own = QuantumCircuit(2)
                    random = self._random(*sorted(sublattice.qubits[q] for q in pair))
                    own.append(RZZGate(random.uniform(-1, 1) * self.size), (0, 1))
                    own.append(RZGate(random.uniform(-1, 1) * self.size), (0,))
                    own.append(RZGate(random.uniform(-1, 1) * self.size), (1,))
                    error = coherent_unitary_error(Operator(own).data)
                    model.add_quantum_error(error, name, list(pair), warnings=False)
        return model

    def _measure(self, pub: Pub, shots: int, seed: int) -> RegisterCounts:
        if self.crosstalk:
            found = pub.circuit.copy_empty_like()
            used = sorted(
                {pub.circuit.find_bit(q).index for i in pub.circuit.data for q in i.qubits}
            )
            for item in pub.circuit.data:
                found.append(item.operation, item.qubits, item.clbits)
                if item.operation.name == "sx":
                    here = pub.circuit.find_bit(item.qubits[0]).index
                    for other in used:
                        if other != here:
                            found.rzz(self.crosstalk, here, other)
            pub = Pub(found, pub.values)
        return super()._measure(pub, shots, seed)
