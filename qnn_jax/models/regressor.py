"""Regressors of a few numbers: a circuit with a linear head, and its classical twins."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from qnn_jax.circuits import Circuit, PauliSum
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import Executor, exact
from qnn_jax.initializers import uniform
from qnn_jax.linen import QuantumLayer


class HybridRegressor(nn.Module):
    """gain · <O> + bias: inputs go into the circuit as they are.

    Attributes:
        circuit: reads the inputs.
        labels: of one observable or several.
        bias: where the head starts: the middle of the targets.
        weight_bound: circuit weights start uniform in ± this, in radians.
        max_gain: the head's weights are kept within ± this, since shots blur a result by the gain;
            0 sets no bound.
        executor: where the circuit runs.
    """

    circuit: Circuit
    labels: tuple[str, ...]
    bias: float = 0.0
    weight_bound: float = 1.0
    max_gain: float = 0.0
    executor: Executor = exact

    def setup(self) -> None:
        """Name the two parts, so that parameters read quantum/… and head/…."""
        init = uniform(self.weight_bound)
        self.quantum = QuantumLayer(self.circuit, self.labels, self.executor, init)
        self.head = nn.Dense(
            1,
            kernel_init=nn.initializers.constant(1.0 / len(self.labels)),
            bias_init=nn.initializers.constant(self.bias),
        )

    @property
    def observables(self) -> tuple[PauliSum, ...]:
        """What is measured."""
        return observables_on(self.circuit.num_qubits, self.labels)

    def __call__(
        self, inputs: Float[Array, "batch inputs"], train: bool = False
    ) -> Float[Array, "batch 1"]:
        """The predicted values."""
        del train
        return self.decide(self.quantum(self.encode(inputs)))

    def encode(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch inputs"]:
        """The inputs themselves."""
        return inputs

    def decide(self, expectations: Float[Array, "batch observables"]) -> Float[Array, "batch 1"]:
        """The predicted values of expectation values."""
        return self.head(expectations)

    def constrain(self, params: dict) -> dict:  # type: ignore[type-arg]
        """The nearest parameters whose gain is allowed."""
        if not self.max_gain:
            return params
        kernel = jnp.clip(params["head"]["kernel"], -self.max_gain, self.max_gain)
        return {**params, "head": {**params["head"], "kernel": kernel}}


class MLPRegressor(nn.Module):
    """A tanh layer with biases or without, or none, and a linear head.

    Attributes:
        width: of the layer; 0 for linear regression.
        bias: where the head starts.
        hidden_bias: whether the layer has biases.
    """

    width: int
    bias: float = 0.0
    hidden_bias: bool = True

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "batch inputs"], train: bool = False
    ) -> Float[Array, "batch 1"]:
        """The predicted values. Standard normal kernels suit inputs between 0 and 1."""
        del train
        normal = nn.initializers.normal(1.0)
        hidden = inputs
        if self.width:
            layer = nn.Dense(
                self.width, self.hidden_bias, kernel_init=normal, bias_init=normal, name="hidden"
            )
            hidden = jnp.tanh(layer(inputs))
        head = nn.Dense(
            1, kernel_init=normal, bias_init=nn.initializers.constant(self.bias), name="head"
        )
        return head(hidden)
