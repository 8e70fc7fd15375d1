"""Regressors of a few numbers: a circuit with a linear head, and its classical twins."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from qnn_jax.circuits import Circuit
from qnn_jax.circuits.checks import at_least, flag, real
from qnn_jax.circuits.circuit import checked_circuit
from qnn_jax.errors import InputError
from qnn_jax.executors import Executor, exact
from qnn_jax.executors.executor import checked_executor
from qnn_jax.initializers import checked_bound, uniform
from qnn_jax.linen import QuantumLayer
from qnn_jax.models.expectations import DirectNetwork
from qnn_jax.simulate.angle_table import checked_numbers

#: The widest hidden layer.
_MOST_WIDTH = 16_384


class HybridRegressor(DirectNetwork):
    """gain · <O> + bias: the inputs are the circuit's inputs, unchanged.

    Attributes:
        circuit: with the inputs.
        labels: of one observable or several.
        bias: initial bias of the head: the middle of the targets.
        weight_bound: initial circuit weights are uniform in ± this, in radians.
        max_gain: the head's weights are limited to ± this, since the gain multiplies the standard
            error of shots; 0 sets no limit.
        executor: runs the circuit.
    """

    circuit: Circuit
    labels: tuple[str, ...]
    bias: float = 0.0
    weight_bound: float = 1.0
    max_gain: float = 0.0
    executor: Executor = exact

    def setup(self) -> None:
        """Name the two parts, so that parameters read quantum/… and head/…."""
        checked_circuit(self.circuit)
        checked_executor(self.executor)
        bias = real("bias", self.bias)
        real("max_gain", self.max_gain, least=0)
        init = uniform(checked_bound("weight_bound", self.weight_bound))
        self.quantum = QuantumLayer(self.circuit, self.observables, self.executor, init)
        self.head = nn.Dense(
            1,
            kernel_init=nn.initializers.constant(1.0 / len(self.observables)),
            bias_init=nn.initializers.constant(bias),
        )

    def decide(self, expectations: Float[Array, "batch observables"]) -> Float[Array, "batch 1"]:
        """The predicted values of expectation values."""
        return self.head(expectations)

    def constrain(self, params: dict) -> dict:  # type: ignore[type-arg]
        """The nearest parameters with an allowed gain."""
        if not self.max_gain:
            return params
        kernel = jnp.clip(params["head"]["kernel"], -self.max_gain, self.max_gain)
        return {**params, "head": {**params["head"], "kernel": kernel}}


class MLPRegressor(nn.Module):
    """A tanh layer with biases or without, or none, and a linear head.

    Attributes:
        width: of the layer; 0 for linear regression.
        bias: initial bias of the head.
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
        width = at_least("width", self.width, 0, _MOST_WIDTH)
        bias = nn.initializers.constant(real("bias", self.bias))
        flag("hidden_bias", self.hidden_bias)
        hidden = checked_numbers("inputs", inputs)
        if hidden.ndim != 2:
            raise InputError(
                f"Argument `inputs` must have shape (batch, inputs), but has shape {hidden.shape}."
            )
        normal = nn.initializers.normal(1.0)
        if width:
            layer = nn.Dense(
                width, self.hidden_bias, kernel_init=normal, bias_init=normal, name="hidden"
            )
            hidden = jnp.tanh(layer(hidden))
        return nn.Dense(1, kernel_init=normal, bias_init=bias, name="head")(hidden)
