"""The contract of hybrid networks: encode, a quantum layer, decide."""

from __future__ import annotations

from typing import Any, Protocol

from jaxtyping import Array, Float

from qnn_jax.circuits import Circuit, PauliSum


class HybridNetwork(Protocol):
    """A Flax module of three parts, one after the other.

    `network(inputs)` is `decide(quantum(encode(inputs)))`, where `quantum` is the name of its
    `QuantumLayer`, so that the circuit's weights are `params["quantum"]["weights"]`. To run
    the circuit on another executor, call `encode` and `decide` through `apply`:
    `network.apply({"params": params}, inputs, method="encode")`.

    Attributes:
        circuit: between encoder and head.
        observables: that are measured.
    """

    @property
    def circuit(self) -> Circuit:
        """The circuit."""
        ...

    @property
    def observables(self) -> tuple[PauliSum, ...]:
        """The observables that are measured."""
        ...

    def __call__(self, inputs: Any, train: bool = False) -> Float[Array, "batch outputs"]:
        """Outputs of a batch; `train` switches dropout on."""
        ...

    def encode(self, inputs: Any) -> Float[Array, "batch circuit_inputs"]:
        """The circuit's inputs, in radians."""
        ...

    def decide(
        self, expectations: Float[Array, "batch observables"]
    ) -> Float[Array, "batch outputs"]:
        """Outputs of expectation values."""
        ...
