"""The plan depends on what differs within a batch, and that only `vmap` knows.

So taking expectation values is a primitive of JAX, whose batching rule chooses the plan, and so is
the gradient of one. All else is that of the functions they stand for.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import PauliSum
from qnn_jax.simulate.angle_table import evaluate, usual_promotion
from qnn_jax.simulate.batch_last import run_batch_last
from qnn_jax.simulate.observables import measure
from qnn_jax.simulate.planner import plan_by_gates, plan_to_measure, seen_by, turned_by_inputs
from qnn_jax.simulate.preflight import check_memory, states_kept, watched
from qnn_jax.simulate.state_last import run
from qnn_jax.simulate.xla import alike, both_batched, jvp_of_moving, moving, of_some


def measured(
    circuit: Circuit,
    observables: tuple[PauliSum, ...],
    inputs: Float[Array, " inputs"],
    weights: Float[Array, " weights"],
) -> Float[Array, " observables"]:
    """Expectation values; JAX differentiates them in any mode."""
    inputs, weights = alike(inputs, weights)
    return _measured_p.bind(inputs, weights, circuit=circuit, observables=observables)


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
    circuit, observables = parameters["circuit"], parameters["observables"]
    if len(observables) > 1 or plan_by_gates(circuit, observables) is None:
        return jvp_of_moving(functools.partial(_one, **parameters), primals, tangents)
    # `vmap` of `grad` batches what is here, so the slopes are an operation that chooses, too.
    kept = states_kept(plan_to_measure(circuit, observables, False)[0])
    check_memory(circuit.num_qubits, primals[0].dtype.itemsize, kept)
    numbers = moving(tangents)
    value, *slopes = _slopes_p.bind(*primals, moving=numbers, **parameters)
    along = [jnp.vdot(slope, tangents[k]) for slope, k in zip(slopes, numbers, strict=True)]
    return value, functools.reduce(operator.add, along)[None]


@usual_promotion
def _slopes(
    inputs: Array, weights: Array, moving: tuple[int, ...], **parameters: Any
) -> tuple[Array, ...]:
    """The value of one observable, and its gradient by each argument that moves."""
    return _value_and_slopes(functools.partial(_one, **parameters), (inputs, weights), moving)


def _value_and_slopes(
    function: Callable[..., Array], operands: Sequence[Array], moving: Sequence[int]
) -> tuple[Array, ...]:
    of_moving = of_some(function, operands, moving)
    value, pull = jax.vjp(of_moving, *(operands[k] for k in moving))
    return value, *pull(jnp.ones_like(value))


_slopes_p: Any = Primitive("slopes_of_circuit")
_slopes_p.multiple_results = True


def _abstract_slopes(inputs: Any, weights: Any, moving: Any, **_: Any) -> Any:
    primals = inputs, weights
    return inputs.update(shape=(1,)), *(primals[k] for k in moving)


@usual_promotion
def _jvp_of_slopes(primals: Any, tangents: Any, **parameters: Any) -> Any:
    moving = tuple(ad.instantiate_zeros(tangent) for tangent in tangents)
    return jax.jvp(lambda *both: list(_slopes(*both, **parameters)), tuple(primals), moving)


@usual_promotion
def _batch_of_slopes(arguments: Any, axes: Any, moving: tuple[int, ...], **parameters: Any) -> Any:
    circuit, observables = parameters["circuit"], parameters["observables"]
    if _are_together(axes, circuit, observables):
        shared = axes[1] is None

        def one(inputs: Array, weights: Array) -> tuple[Array, ...]:
            return _slopes(inputs, weights, moving, shared=shared, **parameters)

        return jax.vmap(one, axes)(*arguments), [0] * (1 + len(moving))

    def of_all(*both: Array) -> Array:
        return _batch(both, (0, 0), **parameters)[0]

    every = both_batched(arguments, axes)
    return list(_value_and_slopes(of_all, every, moving)), [0] * (1 + len(moving))


def _are_together(axes: Any, circuit: Circuit, observables: tuple[PauliSum, ...]) -> bool:
    """Do the samples of a batch share their matrices?"""
    return axes[1] is None and not turned_by_inputs(seen_by(circuit, observables)[0])


@usual_promotion
def _batch(arguments: Any, axes: Any, **parameters: Any) -> Any:
    circuit, observables = parameters["circuit"], parameters["observables"]
    shared = axes[1] is None
    together = _are_together(axes, circuit, observables)
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
_slopes_p.def_impl(_slopes)
_slopes_p.def_abstract_eval(_abstract_slopes)
mlir.register_lowering(_slopes_p, mlir.lower_fun(_slopes, multiple_results=True))
ad.primitive_jvps[_slopes_p] = _jvp_of_slopes
batching.primitive_batchers[_slopes_p] = _batch_of_slopes
