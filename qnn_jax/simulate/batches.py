"""The plan depends on what differs within a batch, and that only `vmap` knows.

So taking expectation values is a primitive of JAX, whose batching rule chooses the plan. All else
is that of the functions it stands for: it is differentiated and compiled as they are.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import PauliSum
from qnn_jax.simulate.angle_table import evaluate, usual_promotion
from qnn_jax.simulate.batch_last import run_batch_last
from qnn_jax.simulate.observables import measure
from qnn_jax.simulate.planner import plan_by_gates, plan_to_measure, turned_by_inputs
from qnn_jax.simulate.preflight import states_kept, watched
from qnn_jax.simulate.state_last import run
from qnn_jax.simulate.xla import alike


def measured(
    circuit: Circuit,
    observables: tuple[PauliSum, ...],
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
) -> Float[Array, " observables"]:
    """Expectation values; JAX differentiates them in any mode."""
    inputs, weights = alike(inputs, weights)
    found: Array = _measured_p.bind(inputs, weights, circuit=circuit, observables=observables)
    return found


@usual_promotion
def _one(
    inputs: Array,
    weights: Array,
    circuit: Circuit,
    observables: tuple[PauliSum, ...],
    shared: bool = False,
) -> Array:
    found, behind = plan_to_measure(circuit, observables, shared)
    return measure(behind, watched(run(found, inputs, weights), states_kept(found, shared)))


_measured_p: Any = Primitive("measured_circuit")


def _abstract(inputs: Any, weights: Any, circuit: Any, observables: Any) -> Any:
    del weights, circuit
    return inputs.update(shape=(len(observables),))


@usual_promotion
def _jvp(primals: Any, tangents: Any, **parameters: Any) -> Any:
    moving = [k for k, tangent in enumerate(tangents) if not isinstance(tangent, ad.Zero)]

    def of_moving(*values: Array) -> Array:
        both = list(primals)
        for k, value in zip(moving, values, strict=True):
            both[k] = value
        return _one(*both, **parameters)

    return jax.jvp(of_moving, [primals[k] for k in moving], [tangents[k] for k in moving])


@usual_promotion
def _batch(arguments: Any, axes: Any, **parameters: Any) -> Any:
    circuit, observables = parameters["circuit"], parameters["observables"]
    shared = axes[1] is None
    together = shared and not turned_by_inputs(circuit, observables)
    size = next(a.shape[k] for a, k in zip(arguments, axes, strict=True) if k is not None)
    by_gates = None if together or size == 0 else plan_by_gates(circuit, observables)
    if by_gates is None:
        return jax.vmap(lambda i, v: _one(i, v, shared=shared, **parameters), axes)(*arguments), 0

    found, behind = by_gates

    def angles(inputs: Array, weights: Array) -> Array:
        return evaluate(found.from_weights + found.from_inputs, inputs, weights)

    states = run_batch_last(found, jax.vmap(angles, axes, -1)(*arguments))
    kept = states_kept(found, by_gates=True)
    return jax.vmap(lambda state: measure(behind, watched(state, kept)), -1)(states), 0


_measured_p.def_impl(_one)
_measured_p.def_abstract_eval(_abstract)
mlir.register_lowering(_measured_p, mlir.lower_fun(_one, multiple_results=False))
ad.primitive_jvps[_measured_p] = _jvp
batching.primitive_batchers[_measured_p] = _batch
