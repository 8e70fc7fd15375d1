"""A batch whose gates differ from one sample to the next: gates one by one, the batch last.

Blocks would be as many matrices as there are samples, which is better only for large ones
(`planner.BLOCKS_FROM`). Every gate is a few sums and products of rows, each row holding one
amplitude of all samples. XLA's CPU compiler wants to be helped twice: whatever is cheap it computes
again wherever it is used, gates within gates, but not a gather (`_settle`); and sums over leading
axes it adds one number at a time, unless they are sums of halves (`_added`).
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from qnn_jax.simulate.angle_table import take
from qnn_jax.simulate.atoms import Gate, Move, Phase, Segment
from qnn_jax.simulate.bits import Affine, identity
from qnn_jax.simulate.irregular import three_of
from qnn_jax.simulate.planner import Plan
from qnn_jax.simulate.steps import phase_signs, reduced, slopes_of

_HIGHEST = lax.Precision.HIGHEST


def run_lanes(
    plan: Plan, table: Float[Array, "angles batch"]
) -> Float[Array, "c amplitudes batch"]:
    """The states that a plan by gates prepares.

    Args:
        plan: what `planner.plan_by_gates` makes.
        table: the angles of all samples, those of weights first.
    """
    atoms = [atom for segment in plan.segments for atom in segment.atoms]
    real = all(isinstance(atom, Move) or _is_real(atom) for atom in atoms)
    state = jnp.zeros((1 if real else 2, 1 << plan.num_qubits, table.shape[-1]), table.dtype)
    state = state.at[0, 0].set(1)
    for segment in plan.segments:
        tables = _tables(segment, table)

        def once(state: Array, own: Any, segment: Segment = segment) -> tuple[Array, None]:
            turns, phases = iter(own[0]), iter(own[1])
            for atom in segment.atoms:
                if isinstance(atom, Move):
                    assert atom.affine is not None
                    state = _move(state, atom.affine)
                elif isinstance(atom, Phase):
                    state = _phase(atom, next(phases) if atom.terms else None, state)
                else:
                    assert isinstance(atom, Gate)
                    state = _gate(atom, next(turns) if atom.num_angles else None, state)
            return state, None

        if segment.repeats == 1:
            state, _ = once(state, ([t[0] for t in tables[0]], [t[0] for t in tables[1]]))
        else:
            # Doing a repeat again backwards takes less than storing every step of it.
            again = jax.checkpoint(once, prevent_cse=False)
            state, _ = lax.scan(again, state, tables, length=segment.repeats)
    return state


def _is_real(atom: Any) -> bool:
    return bool(atom.real if isinstance(atom, Phase) else atom.form.real)


def _tables(segment: Segment, table: Array) -> tuple[list[Array], list[Array]]:
    """For each gate with an angle cosine and sine, (repeats, 2, batch); for each phase its angles.

    All gates of a segment are evaluated together.
    """
    gates, phases = [], []
    for atom, numbers in zip(segment.atoms, segment.angles, strict=True):
        if isinstance(atom, Gate) and atom.num_angles:
            gates.append((three_of(atom.form)[0], numbers))
        elif isinstance(atom, Phase) and atom.terms:
            phases.append(_taken(table, numbers))
    if not gates:
        return [], phases
    scales = jnp.asarray(np.array([scale for scale, _ in gates]), table.dtype)
    turns = _taken(table, np.concatenate([numbers for _, numbers in gates], 1))
    turns = turns * scales[None, :, None]
    both = jnp.stack([jnp.cos(turns), jnp.sin(turns)], 2)
    shape = both.shape
    both = _settle(both.reshape(-1, shape[-1])).reshape(shape)
    return [both[:, k] for k in range(len(gates))], phases


def _taken(table: Array, numbers: np.ndarray) -> Array:
    return take(table, numbers.reshape(-1)).reshape(*numbers.shape, table.shape[-1])


def _gate(gate: Gate, turn: Array | None, state: Array) -> Array:
    """A gate on a few bits, whose matrix is A + B cos + C sin."""
    coefficients = three_of(gate.form)[1]
    order = sorted(range(len(gate.bits)), key=lambda k: -gate.bits[k])
    amplitudes, batch = state.shape[1:]
    parts = [state] if gate.form.real else [state[:1], state[1:]]
    # Axes 1, 3, … are the gate's bits, the highest first.
    lengths, top = [], amplitudes * len(parts[0])
    for k in order:
        lengths += [top >> (gate.bits[k] + 1), 2]
        top = 1 << gate.bits[k]
    lengths += [top, batch]
    size = 1 << len(order)
    rows = len(parts[0]) * amplitudes // size

    def slices(part: Array) -> list[Array]:
        tensor = part.reshape(lengths)
        found = []
        for j in range(size):
            at = [x for k in order for x in (slice(None), j >> k & 1)]
            found.append(tensor[tuple(at)].reshape(rows, batch))
        return found

    split = [slices(part) for part in parts]
    cos, sin = (None, None) if turn is None else (_spread(turn[0], rows), _spread(turn[1], rows))

    def times(three: np.ndarray, row: Array) -> Array | None:
        """(A + B cos + C sin) · row, or None where that is nothing."""
        terms = [
            float(value) if function is None else float(value) * function
            for value, function in zip(three, (None, cos, sin), strict=True)
            if abs(value) > 1e-14
        ]
        return functools.reduce(operator.add, terms) * row if terms else None

    def sum_of(k: int, *halves: tuple[np.ndarray, list[Array]]) -> Array:
        """Row k: products with real coefficients, then those with imaginary ones."""
        products = [times(c[:, k, j], part[j]) for c, part in halves for j in range(size)]
        terms = [product for product in products if product is not None]
        return functools.reduce(operator.add, terms) if terms else jnp.zeros_like(halves[0][1][0])

    real, imaginary = coefficients.real, coefficients.imag
    if len(split) == 1:
        outs = [[sum_of(k, (real, split[0])) for k in range(size)]]
    else:
        re, im = split
        outs = [
            [sum_of(k, (real, re), (-imaginary, im)) for k in range(size)],
            [sum_of(k, (real, im), (imaginary, re)) for k in range(size)],
        ]
    lacking = lengths[: 2 * len(order) : 2] + lengths[2 * len(order) :]
    joined = []
    for out in outs:
        pieces = {j: out[j].reshape(lacking) for j in range(size)}
        for depth, k in enumerate(order):
            pieces = {
                j: jnp.stack([pieces[j], pieces[j | 1 << k]], 2 * depth + 1)
                for j in pieces
                if not j >> k & 1
            }
        joined.append(pieces[0].reshape(-1, amplitudes, batch))
    state = joined[0] if len(joined) == 1 else jnp.concatenate(joined)
    return _move(state, identity(amplitudes.bit_length() - 1))


def _phase(atom: Phase, angles: Array | None, state: Array) -> Array:
    amplitudes = state.shape[1]
    signs = phase_signs(atom.masks, amplitudes.bit_length() - 1, state.dtype)
    offsets = jnp.asarray(np.array(atom.offsets), state.dtype)[:, None]
    parities = offsets
    if angles is not None:
        slopes = jnp.asarray(slopes_of(atom).T, state.dtype)
        parities = offsets + jnp.matmul(slopes, reduced(angles, 8 * math.pi), precision=_HIGHEST)
    phases = jnp.matmul(signs.T, parities, precision=_HIGHEST)
    if atom.real:
        return state * jnp.cos(phases)
    both = _settle(jnp.concatenate([jnp.cos(phases), jnp.sin(phases)]))
    cos, sin = both[:amplitudes], both[amplitudes:]
    turned = jnp.stack([state[0] * cos - state[1] * sin, state[0] * sin + state[1] * cos])
    return _move(turned, identity(amplitudes.bit_length() - 1))


def _linear(name: str, forward: Callable[..., Array], backward: Callable[..., Array]) -> Any:
    """A linear operation on the last two axes as a primitive, and its transpose as another."""
    pair = []
    for word, function in ((name, forward), (name + "_transposed", backward)):
        primitive: Any = Primitive(word)
        primitive.def_impl(function)
        lowered = mlir.lower_fun(function, multiple_results=False)
        mlir.register_lowering(primitive, lowered)

        def abstract(array: Any, function: Any = function, **static: Any) -> Any:
            found = jax.eval_shape(lambda a: function(a, **static), array)
            return ShapedArray(found.shape, found.dtype)

        def batch(arguments: Any, axes: Any, primitive: Any = primitive, **static: Any) -> Any:
            return primitive.bind(jnp.moveaxis(arguments[0], axes[0], 0), **static), 0

        primitive.def_abstract_eval(abstract)
        batching.primitive_batchers[primitive] = batch
        pair.append(primitive)
    for one, other in (pair, pair[::-1]):
        ad.deflinear2(
            one, lambda cotangent, _, other=other, **static: [other.bind(cotangent, **static)]
        )
    return pair[0]


def _taken_rows(array: Array, source: tuple[int, ...], target: tuple[int, ...]) -> Array:
    del target
    at = array.at[..., np.array(source, np.int32), :]
    return at.get(mode="promise_in_bounds", unique_indices=True)


def _added(array: Array, rows: int) -> Array:
    """The sum over the last axis but one, by halves."""
    while (count := array.shape[-2]) > 1:
        half = count // 2
        rest = array[..., 2 * half :, :]
        array = array[..., :half, :] + array[..., half : 2 * half, :]
        if rest.shape[-2]:
            array = jnp.concatenate([array, rest], -2)
    return array[..., 0, :]


def _repeated(array: Array, rows: int) -> Array:
    return jnp.broadcast_to(array[..., None, :], (*array.shape[:-1], rows, array.shape[-1]))


_rows_p = _linear(
    "take_rows",
    _taken_rows,
    lambda array, source, target: _taken_rows(array, target, source),
)
_spread_p = _linear("spread_rows", _repeated, _added)


def _spread(row: Float[Array, " batch"], rows: int) -> Float[Array, "rows batch"]:
    found: Array = _spread_p.bind(row, rows=rows)
    return found


def _settle(array: Float[Array, "rows batch"]) -> Float[Array, "rows batch"]:
    """The same, computed once."""
    every = tuple(range(array.shape[0]))
    found: Array = _rows_p.bind(array, source=every, target=every)
    return found


def _move(state: Float[Array, "c amplitudes batch"], affine: Affine) -> Array:
    """Amplitude i goes to affine(i)."""
    num_rows, amplitudes, batch = state.shape
    target = np.array([affine(i) for i in range(amplitudes)])
    every = np.arange(num_rows)[:, None] * amplitudes
    source = (every + np.argsort(target)).reshape(-1).tolist()
    target = (every + target).reshape(-1).tolist()
    flat = _rows_p.bind(state.reshape(-1, batch), source=tuple(source), target=tuple(target))
    return flat.reshape(state.shape)
