"""The type of all executors, and what they return. Imports no JAX."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from qnn_jax.circuits.checks import shown
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import Observables
from qnn_jax.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Array, Float


class Expectations(NamedTuple):
    """What an executor returns.

    Attributes:
        values: expectation values, shape (batch, observables).
        stderr: their standard errors, of the same shape; zeros where they are exact.
        record: what must not be lost (counts, layout, job ids), or None. A record that holds
            counts has them as `counts`: a `Counts` for each basis of `bases_of(observables)`.
    """

    values: Float[Array, "batch observables"]
    stderr: Float[Array, "batch observables"]
    record: Any = None


class Executor(Protocol):
    """The type of all executors."""

    def __call__(
        self,
        circuit: Circuit,
        observables: Observables,
        inputs: Float[Array, "batch inputs"],
        weights: Float[Array, " weights"],
        key: Array | None = None,
    ) -> Expectations:
        """Take the expectation values of all observables for a batch of inputs.

        `observables_on(circuit.num_qubits, observables)` makes PauliSums of them.
        """
        ...


def over_devices(executor: Executor, mesh: Any) -> Executor:
    """An executor that runs on a mesh: one that takes `mesh`, as `exact` does."""
    if mesh is None:
        return executor
    if "mesh" not in inspect.signature(executor).parameters:
        raise InputError(
            f"Argument `executor` must take `mesh`, as exact does, to run on a mesh, but is "
            f"{shown(executor)}; leave `mesh` out."
        )
    run: Any = executor
    return functools.partial(run, mesh=mesh)


def checked_executor(executor: Executor) -> Executor:
    """Refuse what is no executor, before it is called."""
    if not callable(executor):
        raise InputError(
            f"Argument `executor` must be an executor, as sampled(1024) is, but is "
            f"{shown(executor)}."
        )
    return executor
