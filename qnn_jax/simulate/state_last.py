"""The engine for one sample, and for batches that share their gates: the state is the last axis.

Angles, then the parameters of all steps, then the steps. Reverse mode differentiates the steps; the
adjoint method uncomputes them: a step is orthogonal on the real and imaginary parts taken as one
real vector, so its transpose is its inverse. Backwards, the state and its cotangent are carried
together through the same inverse steps. Nothing is stored but the last state, whatever the depth.

Reference: Jones and Gacon, arXiv:2009.02823; Luo et al. (Yao.jl), arXiv:1912.10877.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qnn_jax.simulate import tuning
from qnn_jax.simulate.angle_table import evaluate, take, usual_promotion
from qnn_jax.simulate.kernels import (
    apply,
    device_number,
    parameters,
    parameters_of,
    phase_angles,
)
from qnn_jax.simulate.matrices import build_columns
from qnn_jax.simulate.planner import Plan
from qnn_jax.simulate.steps import DiagonalStep, ScannedSteps, Step, UniformStep, makes_complex
from qnn_jax.simulate.xla import HIGHEST, alike, linear_in_many, materialize, zero_of


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
    table = _table(plan, inputs, weights)
    state = _initial(plan, table)
    angles = tuple(
        tuple(table(k) for a, k in zip(s.steps, s.angles, strict=True) if a.num_angles)
        for s in plan.scans
    )

    # The matrices of uniform steps, each a product of several, are made together and first where
    # they have few numbers, else each with its step.
    uniform = [(step, count) for step, count in plan.steps if isinstance(step, UniformStep)]
    numbers = sum(count * 4 ** (step.num_bits + (not step.real)) for step, count in uniform)
    late = gradient == "adjoint" and not 0 < numbers <= tuning.current().early_numbers
    every = angles
    if not late:
        every = tuple(
            parameters_of(scan, own, data_of(scan, state.dtype))
            for scan, own in zip(plan.scans, angles, strict=True)
        )
    if gradient == "adjoint":
        state = evolve_by_adjoint(plan, late, every, state)
    else:
        state = evolve(plan, every, state)
    return state.reshape(-1, 1 << plan.local_bits)


def _table(plan: Plan, inputs: Array, weights: Array) -> Callable[[np.ndarray], Array]:
    """A function from numbers of angles to their values.

    The angles of weights alone and those that read inputs are kept apart: under `vmap` over inputs
    the first stay unbatched, and so does all that is made of them.
    """
    split = len(plan.from_weights)
    of_weights = evaluate(plan.from_weights, inputs, weights)
    of_inputs = evaluate(plan.from_inputs, inputs, weights)

    def picked(numbers: np.ndarray) -> Array:
        flat = numbers.reshape(-1)
        if numbers.size == 0:
            values = jnp.zeros((0,), jnp.result_type(inputs, weights))
        elif np.all(flat < split):
            values = take(of_weights, flat)
        elif np.all(flat >= split):
            values = take(of_inputs, flat - split)
        else:
            values = take(jnp.concatenate([of_weights, of_inputs]), flat)
        return values.reshape(numbers.shape)

    return picked


def _initial(plan: Plan, table: Callable[[np.ndarray], Array]) -> Array:
    """The product state at the start; of large registers the product of two, about half each."""
    parts = [part for block, _ in plan.initial for part in block.parts]
    angles = table(np.array([k for _, own in plan.initial for k in own], int))
    tops = np.cumsum([part.num_bits for part in parts])
    bits = plan.local_bits
    # On one device all parts, also that of the bit of real and imaginary parts, above all qubits.
    here = len(parts) if plan.shards is None else int(np.searchsorted(tops, bits, side="right"))
    below = int(np.searchsorted(tops, bits // 2, side="right"))
    halves = bits >= tuning.current().halves_from and below > 0
    cuts = [0, below, here] if halves else [0, here]
    groups = [parts[i:j] for i, j in zip(cuts, [*cuts[1:], len(parts)], strict=True) if i < j]
    low, *others = build_columns(groups, angles)
    if plan.shards is not None and plan.shards.num_bits:
        # The last factor is that of the global bits: one number on each device.
        own = others.pop()[:, device_number(plan.shards)][:, None]
        if others:  # to the small one of the two
            others = [_outer(own, others[0])]
        else:
            low = _outer(own, low)
    # Stored, or all that they are made of is computed again for every amplitude.
    return _outer(materialize(others[0]), materialize(low)) if halves else low


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


#: For each scan the parameters of its steps that take angles, with an axis of repeats; or the
#: angles themselves, where tables of matrices would take much memory.
Parameters: TypeAlias = "tuple[tuple[Array, ...], ...]"
_Pair: TypeAlias = "tuple[Array, Array]"


def evolve(
    plan: Plan, every: Parameters, state: Array, late: bool = False
) -> Float[Array, "c amplitudes"]:
    """Do all steps; JAX differentiates them in any mode.

    Args:
        plan: the plan.
        every: the parameters of all steps, or their angles where `late`.
        state: shape (1 or 2, 2**n).
        late: compute the parameters of a step when it is done, not all of them before.
    """
    state, *_ = alike(state, *jax.tree.leaves(every))
    for scan, own in zip(plan.scans, every, strict=True):
        data = data_of(scan, state.dtype)
        fill = _filler(scan, state.dtype)

        def once(
            state: Array, varying: Any, scan: ScannedSteps = scan, fill: Any = fill
        ) -> tuple[Array, None]:
            own, data = varying
            if late:
                own = parameters_of(scan, own, data)
            for step, parameter in zip(scan.steps, fill(own, data), strict=True):
                parameter, state = in_turn(plan, parameter, state)
                state = apply(step, parameter, state)
            return state, None

        apart = _apart(scan, state.shape[0])
        if apart:
            state, _ = once(state, _at(0, (own, data)))
        if scan.repeats > apart:
            rest = _at(slice(apart, None), (own, data))
            few = state.shape[-1] <= tuning.current().recompute_up_to
            # Doing a step again backwards takes less than storing all it knew.
            body = jax.checkpoint(once, prevent_cse=False) if few else once
            state, _ = jax.lax.scan(body, state, rest, length=scan.repeats - apart)
    return state


def in_turn(plan: Plan, parameter: Array, state: Any) -> tuple[Array, Any]:
    """The same; over devices nothing large is made of a parameter before its step's turn.

    XLA makes what does not depend on the state as early as it likes, and keeps it. Steps over
    devices are seldom scanned, so that would be something large for each of many steps. A barrier
    is not enough: XLA's CPU compiler removes it before it orders the program. So a zero that is
    made of the state is added.
    """
    if plan.shards is None:
        return parameter, state
    if jnp.issubdtype(parameter.dtype, jnp.floating):
        amplitude = jax.tree.leaves(state)[-1][0, 0]
        parameter = parameter + zero_of(jax.lax.stop_gradient(amplitude))
    return jax.lax.optimization_barrier((parameter, state))


def _at(index: int | slice, arrays: Any) -> Any:
    """What is there on the leading axis of each array."""
    return jax.tree.map(lambda array: array[index], arrays)


def data_of(scan: ScannedSteps, dtype: Any) -> tuple[tuple[Array, ...], ...]:
    """A scan's data as arrays: numbers of the state's dtype, columns of maps as int32."""
    return tuple(
        tuple(jnp.asarray(a, dtype if a.dtype.kind == "f" else jnp.int32) for a in arrays)
        for arrays in scan.data
    )


def _apart(scan: ScannedSteps, num_rows: int) -> int:
    """How many repeats to do before the scan: the first, where the state becomes complex in it."""
    turns = num_rows == 1 and any(makes_complex(step) for step in scan.steps)
    return int(turns or scan.repeats == 1)


def _filler(scan: ScannedSteps, dtype: Any) -> Callable[..., list[Array]]:
    """A function that gives the parameters of all steps; those of constant ones are made here."""
    none = jnp.zeros((0,), dtype)
    constants = {
        k: parameters(step, none)
        for k, (step, data) in enumerate(zip(scan.steps, scan.data, strict=True))
        if not step.num_angles and not data
    }

    def fill(own: Sequence[Array], data: Sequence[tuple[Array, ...]]) -> list[Array]:
        rest = iter(own)
        found = []
        for k, (step, its_data) in enumerate(zip(scan.steps, data, strict=True)):
            if step.num_angles:
                found.append(next(rest))
            else:
                found.append(constants[k] if k in constants else parameters(step, none, its_data))
        return found

    return fill


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def evolve_by_adjoint(plan: Plan, late: bool, every: Parameters, state: Array) -> Array:
    """The same as `evolve`; reverse mode uncomputes the steps, forward mode does them again."""
    return evolve(plan, every, state, late)


@evolve_by_adjoint.defjvp
@usual_promotion
def _(plan: Plan, late: bool, primals: Any, tangents: Any) -> tuple[Array, Array]:
    last = evolve_by_adjoint(plan, late, *primals)
    every, state = primals
    known, structure = jax.tree.flatten((every, state[:, :0], last))
    moving = jax.tree.leaves(tangents)
    tangent = _derivative(known, moving, plan=plan, late=late, structure=structure)
    return last, tangent


def _forwards(known: Any, tangents: list[Array], *, plan: Plan, late: bool, structure: Any) -> Any:
    """The tangent of the last state. The state at the start is the last one, uncomputed."""
    every, first, last = jax.tree.unflatten(structure, known)
    state, _, _ = _uncompute(plan, late, every, first, last, jnp.zeros_like(last))
    of_every = jax.tree.unflatten(jax.tree.structure(every), tangents[:-1])
    _, tangent = jax.jvp(
        lambda e, s: evolve(plan, e, s, late), (every, state), (of_every, tangents[-1])
    )
    return tangent


def _backwards(known: Any, cotangent: Array, *, plan: Plan, late: bool, structure: Any) -> Any:
    """The cotangents of all parameters and of the state at the start."""
    every, first, last = jax.tree.unflatten(structure, known)
    _, of_state, of_every = _uncompute(plan, late, every, first, last, cotangent)
    return [*jax.tree.leaves(of_every), of_state]


_derivative = linear_in_many(
    "derivative_of_steps", usual_promotion(_forwards), usual_promotion(_backwards)
)


def _uncompute(
    plan: Plan, late: bool, every: Parameters, first: Array, last: Array, cotangent: Array
) -> tuple[Array, Array, Parameters]:
    """From the last state and its cotangent back to those at the start, and of all parameters.

    `first` has as many rows as the state at the start, and no amplitudes; all else is as in
    `evolve`.
    """
    # How many rows (real, imaginary) the state has before each step of each first repeat.
    rows = first.shape[0]
    before: list[list[int]] = []
    for scan in plan.scans:
        before.append([])
        for step in scan.steps:
            before[-1].append(rows)
            rows = 2 if rows == 2 or makes_complex(step) else 1
    pair = (last, cotangent)
    gradients: list[tuple[Array, ...]] = []
    for scan, own, first_rows in reversed(list(zip(plan.scans, every, before, strict=True))):
        data = data_of(scan, last.dtype)
        fill = _filler(scan, last.dtype)

        def once(
            pair: _Pair,
            varying: Any,
            rows: Sequence[int],
            scan: ScannedSteps = scan,
            fill: Any = fill,
        ) -> tuple[_Pair, tuple[Array, ...]]:
            own, data = varying
            if late:
                own, to_angles = jax.vjp(lambda o: parameters_of(scan, o, data), own)
            found = []
            steps = list(zip(scan.steps, fill(own, data), rows, strict=True))
            for step, parameter, num_rows in reversed(steps):
                parameter, pair = in_turn(plan, parameter, pair)
                pair, gradient = _undo(step, parameter, pair, num_rows)
                if gradient is not None:
                    found.append(gradient)
            of_parameters = tuple(reversed(found))
            return pair, to_angles(of_parameters)[0] if late else of_parameters

        apart = _apart(scan, first_rows[0])
        now: tuple[Array, ...] = ()
        if scan.repeats > apart:
            every_rows = [pair[0].shape[0]] * len(scan.steps)
            pair, now = jax.lax.scan(
                functools.partial(once, rows=every_rows),
                pair,
                _at(slice(apart, None), (own, data)),
                length=scan.repeats - apart,
                reverse=True,
            )
        if apart:
            pair, first_found = once(pair, _at(0, (own, data)), first_rows)
            rest = now or tuple(jnp.zeros((0, *p.shape), p.dtype) for p in first_found)
            now = tuple(
                jnp.concatenate([a[None], b]) for a, b in zip(first_found, rest, strict=True)
            )
        gradients.append(now)
    return *pair, tuple(reversed(gradients))


def _undo(step: Step, parameter: Array, pair: _Pair, num_rows: int) -> tuple[_Pair, Array | None]:
    """Take a step back with a state and its cotangent; its parameter's cotangent on the way."""
    state, cotangent = pair
    if not step.num_angles:
        state = apply(step, parameter, state, inverse=True)[:num_rows]
        cotangent = apply(step, parameter, cotangent, inverse=True)[:num_rows]
        return (state, cotangent), None
    if isinstance(step, DiagonalStep):
        # d(exp(iφ) ψ)/dφ is i times the state that came out.
        slope = cotangent[1] * state[0] - cotangent[0] * state[1]
        num_bits = state.shape[-1].bit_length() - 1
        _, pull = jax.vjp(lambda t: phase_angles(step.masks, t, num_bits), parameter)
        gradient = pull(slope)[0]
        state = apply(step, parameter, state, inverse=True)[:num_rows]
    else:
        # A matrix step is linear in its matrix.
        state = apply(step, parameter, state, inverse=True)[:num_rows]
        _, pull = jax.vjp(lambda matrix: apply(step, matrix, state), parameter)
        gradient = pull(cotangent)[0]
    cotangent = apply(step, parameter, cotangent, inverse=True)[:num_rows]
    return (state, cotangent), gradient
