"""Running a plan: angles, then parameters of all steps, then the steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.simulate import tuning
from qnn_jax.simulate.angle_table import evaluate, take
from qnn_jax.simulate.atoms import Patch
from qnn_jax.simulate.evolve import Parameters, data_of, evolve, evolve_by_adjoint
from qnn_jax.simulate.planner import Plan
from qnn_jax.simulate.recipes import build_columns
from qnn_jax.simulate.steps import parameters_of
from qnn_jax.simulate.xla import HIGHEST, materialize


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
    state = _initial(plan, tables)
    angles = tuple(
        tuple(tables[k] for a, k in zip(s.atoms, s.angles, strict=True) if a.num_angles)
        for s in plan.segments
    )

    def parameters(angles: Parameters) -> Parameters:
        return tuple(
            parameters_of(segment, own, data_of(segment, state.dtype))
            for segment, own in zip(plan.segments, angles, strict=True)
        )

    # The matrices of uniform steps, each a product of several, are made together and first where
    # they have few numbers, else each with its step.
    late = gradient == "adjoint"
    if late and any(isinstance(atom, Patch) for s in plan.segments for atom in s.atoms):
        sizes = (array.size for array in jax.tree.leaves(jax.eval_shape(parameters, angles)))
        late = sum(sizes) > tuning.current().early_numbers
    every = angles if late else parameters(angles)
    if gradient == "adjoint":
        state = evolve_by_adjoint(plan, late, every, state)
    else:
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


def _initial(plan: Plan, tables: _Tables) -> Array:
    """The product state at the start; of large registers the product of two, about half each."""
    parts = [part for block, _ in plan.initial for part in block.parts]
    angles = tables[np.array([k for _, own in plan.initial for k in own], int)]
    tops = np.cumsum([part.num_bits for part in parts])
    below = int(np.searchsorted(tops, plan.num_qubits // 2, side="right"))
    if plan.num_qubits < tuning.current().halves_from or below == 0:
        return build_columns([parts], angles)[0]
    low, high = build_columns([parts[:below], parts[below:]], angles)
    # Stored, or all that they are made of is computed again for every amplitude.
    return _outer(materialize(high), materialize(low))


def _outer(high: Array, low: Array) -> Array:
    """The product of two states: one of matrices, whose gradient takes no more memory."""
    if len(low) == 1:
        matrix = high[:, :, None]
    elif len(high) == 1:
        return jnp.concatenate([_outer(high, part[None]) for part in low])
    else:
        re, im = high
        matrix = jnp.stack([jnp.stack([re, -im], 1), jnp.stack([im, re], 1)])
    matrix = matrix.reshape(-1, len(low))
    return jnp.matmul(matrix, low, precision=HIGHEST).reshape(len(high), -1)
