"""Running a plan: angles, then parameters of all steps, then the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.simulate.angle_table import evaluate, take
from qnn_jax.simulate.evolve import data_of, evolve, evolve_by_adjoint
from qnn_jax.simulate.planner import Plan
from qnn_jax.simulate.recipes import build
from qnn_jax.simulate.steps import parameters_of


def run(
    plan: Plan, inputs: Array, weights: Array, gradient: str = "reverse"
) -> Float[Array, "c amplitudes"]:
    """The state that a plan prepares, shape (1 or 2, 2**n).

    Args:
        plan: the plan.
        inputs: shape (num_inputs,).
        weights: shape (num_weights,), of the same dtype.
        gradient: "reverse" lets JAX differentiate the steps, "adjoint" uncomputes them.
    """
    tables = _Tables(plan, inputs, weights)
    state = initial_state(plan, tables.__getitem__, tables.dtype)
    angles = tuple(
        tuple(tables[k] for a, k in zip(s.atoms, s.angles, strict=True) if a.num_angles)
        for s in plan.segments
    )
    if gradient == "adjoint":
        state = evolve_by_adjoint(plan, angles, state)
    else:
        every = tuple(
            parameters_of(segment, own, data_of(segment, state.dtype))
            for segment, own in zip(plan.segments, angles, strict=True)
        )
        state = evolve(plan, every, state)
    return state.reshape(-1, 1 << plan.num_qubits)


class _Tables:
    """The angles that depend on weights alone, and those that read inputs, kept apart.

    Under `vmap` over inputs the first stay unbatched, and so does all that is made of them.
    """

    def __init__(self, plan: Plan, inputs: Array, weights: Array) -> None:
        self.dtype = jnp.result_type(inputs, weights)
        self.split = len(plan.from_weights)
        self.of_weights = evaluate(plan.from_weights, inputs, weights)
        self.of_inputs = evaluate(plan.from_inputs, inputs, weights)

    def __getitem__(self, numbers: np.ndarray) -> Array:
        if numbers.size == 0:
            return jnp.zeros(numbers.shape, self.dtype)
        flat = numbers.reshape(-1)
        if np.all(flat < self.split):
            values = take(self.of_weights, flat)
        elif np.all(flat >= self.split):
            values = take(self.of_inputs, flat - self.split)
        else:
            values = take(jnp.concatenate([self.of_weights, self.of_inputs]), flat)
        return values.reshape(numbers.shape)


def initial_state(
    plan: Plan, angles_of: Callable[[np.ndarray], Array], dtype: Any
) -> Float[Array, "c amplitudes"]:
    """The product state that a plan starts from, shape (1 or 2, 2**n).

    Args:
        plan: the plan.
        angles_of: the angles with given numbers.
        dtype: of the angles.
    """
    state = jnp.ones((1, 1), dtype)
    for block, numbers in plan.initial:
        if block.is_identity:
            column = jnp.zeros((1, 1 << block.num_bits), dtype).at[0, 0].set(1)
        else:
            column = build(block.parts, angles_of(np.array(numbers, int)), first_column=True)
            column = column.reshape(-1, 1 << block.num_bits)
        state = _kron(column, state)
    return state


def _kron(high: Array, low: Array) -> Array:
    """The product of two states, each of shape (1 or 2, amplitudes)."""
    parts = [[(a[:, None] * b[None, :]).reshape(-1) for b in low] for a in high]
    if len(high) == 1 or len(low) == 1:
        return jnp.stack([part for row in parts for part in row])
    return jnp.stack([parts[0][0] - parts[1][1], parts[0][1] + parts[1][0]])
