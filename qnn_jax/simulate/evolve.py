"""Doing the steps of a plan, and their gradient by uncomputing them (the adjoint method).

A step is orthogonal on the real and imaginary parts taken as one real vector, so its transpose is
its inverse: backwards, the state and its cotangent are carried together through the same inverse
steps. Nothing is stored but the last state, whatever the depth.

Reference: Jones and Gacon, arXiv:2009.02823; Luo et al. (Yao.jl), arXiv:1912.10877.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qnn_jax.simulate import tuning
from qnn_jax.simulate.angle_table import usual_promotion
from qnn_jax.simulate.atoms import Atom, Block, Gate, Phase, Segment
from qnn_jax.simulate.planner import Plan
from qnn_jax.simulate.steps import apply, parameters, parameters_of, phase_angles
from qnn_jax.simulate.xla import alike, linear_in_many

#: For each segment the parameters of its atoms that take angles, with an axis of repeats; or the
#: angles themselves, where tables of matrices would take much memory.
Parameters: TypeAlias = "tuple[tuple[Array, ...], ...]"
_Pair: TypeAlias = "tuple[Array, Array]"


def evolve(
    plan: Plan, every: Parameters, state: Array, late: bool = False
) -> Float[Array, "c amplitudes"]:
    """Do all steps; JAX differentiates them in any mode.

    Args:
        plan: the plan.
        every: the parameters of all atoms, or their angles where `late`.
        state: shape (1 or 2, 2**n).
        late: compute the parameters of a step when it is done, not all of them before.
    """
    state, *_ = alike(state, *jax.tree.leaves(every))
    for segment, own in zip(plan.segments, every, strict=True):
        data = data_of(segment, state.dtype)
        fill = _filler(segment, state.dtype)

        def once(
            state: Array, varying: Any, segment: Segment = segment, fill: Any = fill
        ) -> tuple[Array, None]:
            own, data = varying
            if late:
                own = parameters_of(segment, own, data)
            for atom, parameter in zip(segment.atoms, fill(own, data), strict=True):
                state = apply(atom, parameter, state)
            return state, None

        apart = _apart(segment, state.shape[0])
        if apart:
            state, _ = once(state, _first((own, data)))
        if segment.repeats > apart:
            rest = _from(apart, (own, data))
            few = state.shape[-1] <= tuning.current().recompute_up_to
            # Doing a step again backwards takes less than storing all it knew.
            body = jax.checkpoint(once, prevent_cse=False) if few else once
            state, _ = jax.lax.scan(body, state, rest, length=segment.repeats - apart)
    return state


def _first(arrays: Any) -> Any:
    """The first of the leading axis of each array."""
    return jax.tree.map(lambda array: array[0], arrays)


def _from(start: int, arrays: Any) -> Any:
    """The rest of the leading axis of each array."""
    return jax.tree.map(lambda array: array[start:], arrays)


def data_of(segment: Segment, dtype: Any) -> tuple[tuple[Array, ...], ...]:
    """A segment's data as arrays: numbers of the state's dtype, columns of maps as int32."""
    return tuple(
        tuple(jnp.asarray(a, dtype if a.dtype.kind == "f" else jnp.int32) for a in arrays)
        for arrays in segment.data
    )


def _apart(segment: Segment, num_rows: int) -> int:
    """How many repeats to do before the scan: the first, where the state becomes complex in it."""
    turns = num_rows == 1 and any(makes_complex(atom) for atom in segment.atoms)
    return int(turns or segment.repeats == 1)


def _filler(segment: Segment, dtype: Any) -> Any:
    """A function that puts the parameters of constant atoms between those that vary."""
    constants = [
        None if atom.num_angles or data else parameters(atom, jnp.zeros((0,), dtype))
        for atom, data in zip(segment.atoms, segment.data, strict=True)
    ]

    def fill(own: Sequence[Array], data: Sequence[tuple[Array, ...]]) -> list[Array]:
        """The parameters of all atoms."""
        rest = iter(own)
        found = []
        for atom, constant, its_data in zip(segment.atoms, constants, data, strict=True):
            if atom.num_angles:
                found.append(next(rest))
            elif constant is None:
                found.append(parameters(atom, jnp.zeros((0,), dtype), its_data))
            else:
                found.append(constant)
        return found

    return fill


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def evolve_by_adjoint(plan: Plan, late: bool, every: Parameters, state: Array) -> Array:
    """Do all steps; reverse mode uncomputes them, forward mode does them again.

    Args:
        plan: the plan.
        late: compute the parameters of a step when it is done, not all of them before.
        every: the parameters of all atoms, or their angles where `late`.
        state: shape (1 or 2, 2**n).
    """
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
    """From the last state back to the first, and the cotangents of all on the way.

    Args:
        plan: the plan.
        late: as in `evolve`.
        every: as in `evolve`.
        first: of as many rows as the state at the start, without amplitudes.
        last: the last state.
        cotangent: of the last state.

    Returns:
        The state at the start, its cotangent, and those of all parameters.
    """
    # How many rows (real, imaginary) the state has before each atom of each first repeat.
    rows = first.shape[0]
    before: list[list[int]] = []
    for segment in plan.segments:
        before.append([])
        for atom in segment.atoms:
            before[-1].append(rows)
            rows = 2 if rows == 2 or makes_complex(atom) else 1
    pair = (last, cotangent)
    gradients: list[tuple[Array, ...]] = []
    for segment, own, first_rows in reversed(list(zip(plan.segments, every, before, strict=True))):
        data = data_of(segment, last.dtype)
        fill = _filler(segment, last.dtype)

        def once(
            pair: _Pair,
            varying: Any,
            rows: Sequence[int],
            segment: Segment = segment,
            fill: Any = fill,
        ) -> tuple[_Pair, tuple[Array, ...]]:
            own, data = varying
            if late:
                own, to_angles = jax.vjp(lambda o: parameters_of(segment, o, data), own)
            found = []
            steps = list(zip(segment.atoms, fill(own, data), rows, strict=True))
            for atom, parameter, num_rows in reversed(steps):
                pair, gradient = _undo(atom, parameter, pair, num_rows)
                if gradient is not None:
                    found.append(gradient)
            of_parameters = tuple(reversed(found))
            return pair, to_angles(of_parameters)[0] if late else of_parameters

        apart = _apart(segment, first_rows[0])
        now: tuple[Array, ...] = ()
        if segment.repeats > apart:
            every_rows = [pair[0].shape[0]] * len(segment.atoms)
            pair, now = jax.lax.scan(
                functools.partial(once, rows=every_rows),
                pair,
                _from(apart, (own, data)),
                length=segment.repeats - apart,
                reverse=True,
            )
        if apart:
            pair, first_found = once(pair, _first((own, data)), first_rows)
            rest = now or tuple(jnp.zeros((0, *p.shape), p.dtype) for p in first_found)
            now = tuple(
                jnp.concatenate([a[None], b]) for a, b in zip(first_found, rest, strict=True)
            )
        gradients.append(now)
    return *pair, tuple(reversed(gradients))


def makes_complex(atom: Atom) -> bool:
    """Does a real state become complex?"""
    if isinstance(atom, Phase):
        return not atom.real
    if isinstance(atom, Gate):
        return not atom.form.real
    return isinstance(atom, Block) and not atom.real


def _undo(atom: Atom, parameter: Array, pair: _Pair, num_rows: int) -> tuple[_Pair, Array | None]:
    """Take a step back with a state and its cotangent; its parameter's cotangent on the way."""
    state, cotangent = pair
    if not atom.num_angles:
        state = apply(atom, parameter, state, inverse=True)[:num_rows]
        cotangent = apply(atom, parameter, cotangent, inverse=True)[:num_rows]
        return (state, cotangent), None
    if isinstance(atom, Phase):
        # d(exp(iφ) ψ)/dφ is i times the state that came out.
        slope = cotangent[1] * state[0] - cotangent[0] * state[1]
        num_bits = state.shape[-1].bit_length() - 1
        _, pull = jax.vjp(lambda t: phase_angles(atom.masks, t, num_bits), parameter)
        gradient = pull(slope)[0]
        state = apply(atom, parameter, state, inverse=True)[:num_rows]
    else:
        # A block is linear in its matrix.
        state = apply(atom, parameter, state, inverse=True)[:num_rows]
        _, pull = jax.vjp(lambda matrix: apply(atom, matrix, state), parameter)
        gradient = pull(cotangent)[0]
    cotangent = apply(atom, parameter, cotangent, inverse=True)[:num_rows]
    return (state, cotangent), gradient
