"""The quantum layer for flax.linen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from qnn_jax.circuits.checks import function
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import ObservableLike, observables_on
from qnn_jax.executors import Executor, exact
from qnn_jax.executors.executor import checked_executor, over_devices
from qnn_jax.executors.layers import run_layer
from qnn_jax.initializers import initial_weights, recommended
from qnn_jax.simulate.meshes import MeshLike, checked_mesh

__all__ = ["QuantumLayer"]


class QuantumLayer(nn.Module):
    """Maps features to expectation values; the circuit's weights are the parameter "weights".

    Attributes:
        circuit: the circuit; its inputs are the features.
        observables: to measure: Pauli labels in Qiskit's order ("ZI") or by qubit ("Z1"),
            mappings from them to coefficients, PauliSums, or Qiskit's SparsePauliOps.
        executor: runs the circuit; `qnn_jax.executors.exact` by default.
        weight_init: Flax initialiser of the weights; by default
            `qnn_jax.initializers.recommended`: weights that multiply an input are uniform in
            [-1, 1], all others in [-π, π].
        mesh: devices to spread the states over, as `qnn_jax.executors.exact` takes it; None for
            one device.

    Executors with shots use Flax's "shots" key, if it is given (`rngs={"shots": key}`).

    >>> import jax
    >>> from qnn_jax import real_amplitudes, zz_feature_map
    >>> layer = QuantumLayer(zz_feature_map(2) + real_amplitudes(2), ("ZZ", "IZ"))
    >>> params = layer.init(jax.random.key(0), jax.numpy.zeros((5, 2)))
    >>> layer.apply(params, jax.numpy.zeros((5, 2))).shape
    (5, 2)
    """

    circuit: Circuit
    observables: Sequence[ObservableLike]
    executor: Executor = exact
    weight_init: Callable[..., Any] | None = None
    mesh: MeshLike | None = None

    def __post_init__(self) -> None:
        # Values compared by value, so that the module can be a static argument of jit.
        self.observables = observables_on(
            checked_circuit(self.circuit).num_qubits, self.observables
        )
        over_devices(checked_executor(self.executor), self.mesh)
        if self.mesh is not None:
            checked_mesh(self.mesh, self.circuit)
        if self.weight_init is not None:
            function("weight_init", self.weight_init)
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Float[Array, "*batch inputs"]) -> Float[Array, "*batch observables"]:
        """Expectation values, shape (..., observables), of features of shape (..., inputs)."""
        observables = observables_on(self.circuit.num_qubits, self.observables)
        init = recommended(self.circuit) if self.weight_init is None else self.weight_init
        init = functools.partial(initial_weights, init)
        weights = self.param("weights", init, (self.circuit.num_weights,))
        key = self.make_rng("shots") if self.has_rng("shots") else None
        executor = over_devices(self.executor, self.mesh)
        return run_layer(executor, self.circuit, observables, inputs, weights, key)
