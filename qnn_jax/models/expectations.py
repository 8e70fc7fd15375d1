"""A circuit alone: inputs are its angles, and its expectation values the logits, but for a gain."""

from __future__ import annotations

import flax.linen as nn
from jaxtyping import Array, Float

from qnn_jax.circuits import Circuit, PauliSum
from qnn_jax.circuits.checks import real
from qnn_jax.circuits.circuit import checked_circuit
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import Executor, exact
from qnn_jax.executors.executor import checked_executor
from qnn_jax.initializers import uniform
from qnn_jax.linen import QuantumLayer


class DirectNetwork(nn.Module):
    """A network whose inputs are those of its circuit, with fields `circuit` and `labels`.

    A network of this kind sets the layer `quantum` in its `setup` and defines `decide`.
    """

    @property
    def observables(self) -> tuple[PauliSum, ...]:
        """The observables that are measured."""
        return observables_on(self.circuit.num_qubits, self.labels)

    def __call__(
        self, inputs: Float[Array, "batch inputs"], train: bool = False
    ) -> Float[Array, "batch outputs"]:
        """Logits or values."""
        del train
        return self.decide(self.quantum(self.encode(inputs)))

    def encode(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch inputs"]:
        """The inputs themselves, in radians."""
        return inputs


class CircuitClassifier(DirectNetwork):
    """Expectation values times a trained gain as logits: no layer before the circuit or behind it.

    Expectation values are between -1 and 1. As logits of four classes they give the right class a
    probability of 0.71 at most, so that the loss is dominated by examples that are right already.
    While the gain is positive, it changes no decision.

    Attributes:
        circuit: with the inputs.
        labels: of one observable for each class.
        weight_bound: initial circuit weights are uniform in ± this, in radians.
        initial_gain: of the logits; the same for all classes.
        executor: runs the circuit.
    """

    circuit: Circuit
    labels: tuple[str, ...]
    weight_bound: float = 1.0
    initial_gain: float = 4.0
    executor: Executor = exact

    def setup(self) -> None:
        """Name the parts, so that parameters read quantum/weights and gain."""
        checked_circuit(self.circuit)
        checked_executor(self.executor)
        real("initial_gain", self.initial_gain, above=0)
        init = uniform(self.weight_bound)
        self.quantum = QuantumLayer(self.circuit, self.observables, self.executor, init)
        self.gain = self.param("gain", nn.initializers.constant(self.initial_gain), ())

    def decide(
        self, expectations: Float[Array, "batch observables"]
    ) -> Float[Array, "batch classes"]:
        """The expectation values times the gain."""
        return self.gain * expectations
