"""A circuit alone: inputs are its angles, and its expectation values are the outputs."""

from __future__ import annotations

import flax.linen as nn
from jaxtyping import Array, Float

from qnn_jax.circuits import Circuit, PauliSum
from qnn_jax.circuits.circuit import checked_circuit
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import Executor, exact
from qnn_jax.executors.executor import checked_executor
from qnn_jax.initializers import uniform
from qnn_jax.linen import QuantumLayer


class CircuitClassifier(nn.Module):
    """Expectation values as logits: no layer before the circuit and none behind it.

    Attributes:
        circuit: with the inputs.
        labels: of one observable for each class.
        weight_bound: initial circuit weights are uniform in ± this, in radians.
        executor: runs the circuit.
    """

    circuit: Circuit
    labels: tuple[str, ...]
    weight_bound: float = 1.0
    executor: Executor = exact

    def setup(self) -> None:
        """Name the only part, so that parameters read quantum/weights."""
        checked_circuit(self.circuit)
        checked_executor(self.executor)
        init = uniform(self.weight_bound)
        self.quantum = QuantumLayer(self.circuit, self.observables, self.executor, init)

    @property
    def observables(self) -> tuple[PauliSum, ...]:
        """The observables that are measured."""
        return observables_on(self.circuit.num_qubits, self.labels)

    def __call__(
        self, inputs: Float[Array, "batch inputs"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """The logits."""
        del train
        return self.decide(self.quantum(self.encode(inputs)))

    def encode(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch inputs"]:
        """The inputs themselves, in radians."""
        return inputs

    def decide(
        self, expectations: Float[Array, "batch observables"]
    ) -> Float[Array, "batch classes"]:
        """The expectation values themselves."""
        return expectations
