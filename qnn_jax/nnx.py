"""The quantum layer for flax.nnx."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from qnn_jax.circuits.checks import of_type
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import ObservableLike, observables_on
from qnn_jax.executors import Executor, exact
from qnn_jax.executors.executor import checked_executor, over_devices
from qnn_jax.executors.layers import run_layer
from qnn_jax.initializers import initial_weights, recommended
from qnn_jax.simulate.measurement import checked_key
from qnn_jax.simulate.meshes import MeshLike, checked_mesh

__all__ = ["QuantumLayer"]


class QuantumLayer(nnx.Module):
    """Maps features to expectation values; the circuit's weights are `nnx.Param` `weights`.

    Args:
        circuit: the circuit; its inputs are the features.
        observables: to measure: Pauli labels in Qiskit's order ("ZI") or by qubit ("Z1"),
            mappings from them to coefficients, PauliSums, or Qiskit's SparsePauliOps.
        executor: runs the circuit; `qnn_jax.executors.exact` by default.
        weight_init: initialiser of the weights; by default `qnn_jax.initializers.recommended`:
            weights that multiply an input are uniform in [-1, 1], all others in [-π, π].
        mesh: devices to spread the states over, as `qnn_jax.executors.exact` takes it; None for
            one device.
        rngs: Flax's generators; "params" is used.

    The layer has float parameters only, so it works with plain `jax.jit`, `jax.grad`, `jax.vmap`.

    >>> import jax
    >>> from qnn_jax import real_amplitudes, zz_feature_map
    >>> circuit = zz_feature_map(2) + real_amplitudes(2)
    >>> layer = QuantumLayer(circuit, ("ZZ",), rngs=nnx.Rngs(0))
    >>> layer(jax.numpy.zeros((5, 2))).shape
    (5, 1)
    """

    def __init__(
        self,
        circuit: Circuit,
        observables: Sequence[ObservableLike],
        *,
        executor: Executor = exact,
        weight_init: Callable[..., Any] | None = None,
        mesh: MeshLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        self.circuit = circuit
        self.observables = observables_on(checked_circuit(circuit).num_qubits, observables)
        self.executor = over_devices(checked_executor(executor), mesh)
        if mesh is not None:
            checked_mesh(mesh, circuit)
        of_type("rngs", rngs, nnx.Rngs, "an nnx.Rngs")
        init = recommended(circuit) if weight_init is None else weight_init
        self.weights = nnx.Param(initial_weights(init, rngs.params(), (circuit.num_weights,)))

    def __call__(
        self,
        inputs: Float[Array, "*batch inputs"],
        rngs: nnx.Rngs | nnx.RngStream | Array | None = None,
    ) -> Float[Array, "*batch observables"]:
        """Expectation values, shape (..., observables), of features of shape (..., inputs).

        Args:
            inputs: the features.
            rngs: source of randomness for an executor with shots: `rngs.shots()` of an
                `nnx.Rngs`, a stream, or a key.
        """
        weights = self.weights[...]
        stream = rngs.shots if isinstance(rngs, nnx.Rngs) else rngs
        key = stream() if isinstance(stream, nnx.RngStream) else stream
        if key is not None:
            key = checked_key("rngs", key)
        return run_layer(self.executor, self.circuit, self.observables, inputs, weights, key)
