"""A batch whose gates differ from one sample to the next: gates one by one, the batch last.

Blocks would be as many matrices as there are samples, which is better only for large ones
(`planner.BLOCKS_FROM`). Gates in a row on one qubit are one small matrix (`turns`); any other gate
is a few sums and products of rows (`rows`), each row holding one amplitude of all samples.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from qnn_jax.simulate.angle_table import take
from qnn_jax.simulate.atoms import Block, Gate, Move, Phase, Segment
from qnn_jax.simulate.bits import Affine, identity
from qnn_jax.simulate.evolve import makes_complex
from qnn_jax.simulate.irregular import three_of
from qnn_jax.simulate.planner import Plan
from qnn_jax.simulate.recipes import Recipe
from qnn_jax.simulate.rows import settle, spread, take_rows
from qnn_jax.simulate.steps import phase_signs, reduced, slopes_of
from qnn_jax.simulate.turns import Number, combination, cosines_and_sines, matrix_of

_HIGHEST = lax.Precision.HIGHEST


def run_lanes(
    plan: Plan, table: Float[Array, "angles batch"]
) -> Float[Array, "c amplitudes batch"]:
    """The states that a plan by gates prepares.

    Args:
        plan: what `planner.plan_by_gates` makes.
        table: the angles of all samples, those of weights first.
    """
    state = _initial(plan, table)
    for segment in plan.segments:
        every = _parameters(segment, table)

        def once(state: Array, own: Any, segment: Segment = segment) -> tuple[Array, None]:
            rest = iter(own)
            for atom in segment.atoms:
                parameter = next(rest) if atom.num_angles else None
                if isinstance(atom, Move):
                    assert atom.affine is not None
                    state = _move(state, atom.affine)
                elif isinstance(atom, Phase):
                    state = _phase(atom, parameter, state)
                elif isinstance(atom, Block):
                    state = _block(atom, parameter, state)
                else:
                    assert isinstance(atom, Gate)
                    state = _gate(atom, parameter, state)
            return state, None

        if segment.repeats == 1:
            state, _ = once(state, [parameter[0] for parameter in every])
        else:
            if any(map(makes_complex, segment.atoms)):
                state = _complex(state)
            # Doing a repeat again backwards takes less than storing every step of it.
            again = jax.checkpoint(once, prevent_cse=False)
            state, _ = lax.scan(again, state, every, length=segment.repeats)
    return state


def _complex(state: Array) -> Array:
    return state if len(state) == 2 else jnp.concatenate([state, jnp.zeros_like(state)])


def _initial(plan: Plan, table: Array) -> Array:
    """The product state that a plan by gates starts from: a column for each qubit."""
    ((block, numbers),) = plan.initial
    starts = np.cumsum([0, *(part.num_angles for part in block.parts)])
    together: dict[Recipe, list[int]] = {}
    for q, part in enumerate(block.parts):
        together.setdefault(part, []).append(q)
    columns: dict[int, Array] = {}
    for part, qubits in together.items():
        own = np.array([numbers[starts[q] : starts[q + 1]] for q in qubits], int)
        every = matrix_of(part, _taken(table, own.T), column=True)
        columns |= {q: every[:, :, j] for j, q in enumerate(qubits)}
    state = columns[0]
    for q in range(1, plan.num_qubits):
        state = _kron(columns[q], state)
    return _move(state, identity(plan.num_qubits))


def _kron(high: Array, low: Array) -> Array:
    """The product of two states, each of shape (1 or 2, amplitudes, batch)."""
    above, below = high.shape[1], low.shape[1]
    high, low = spread(high, below), jnp.swapaxes(spread(low, above), 1, 2)

    def times(a: Array, b: Array) -> Array:
        return (a * b).reshape(1, above * below, -1)

    parts = [[times(a, b) for b in low] for a in high]
    if len(high) == 1 or len(low) == 1:
        return jnp.concatenate([part for row in parts for part in row])
    return jnp.concatenate([parts[0][0] - parts[1][1], parts[0][1] + parts[1][0]])


def _parameters(segment: Segment, table: Array) -> list[Array]:
    """What each atom with angles needs, with a leading axis of repeats and the batch last.

    Of a gate cosine and sine, shape (repeats, 2, batch); of a phase its angles; of a block its
    matrix, shape (repeats, 1 or 2, 4, batch). Gates are evaluated together, and so are equal
    blocks.
    """
    together: dict[Recipe | None, list[int]] = {}
    scales: dict[int, float] = {}
    found: dict[int, Array] = {}
    for k, (atom, numbers) in enumerate(zip(segment.atoms, segment.angles, strict=True)):
        if isinstance(atom, Phase) and atom.num_angles:
            found[k] = _taken(table, numbers)
        elif isinstance(atom, Block) and atom.num_angles:
            together.setdefault(atom.parts[0], []).append(k)
        elif isinstance(atom, Gate) and atom.num_angles:
            together.setdefault(None, []).append(k)
            scales[k] = three_of(atom.form)[0]
    for kind, places in together.items():
        numbers = np.concatenate([segment.angles[k] for k in places])
        turns = _taken(table, numbers.T)
        if kind is None:
            own = np.repeat([scales[k] for k in places], segment.repeats)
            every = cosines_and_sines(turns[0], own)
        else:
            every = matrix_of(kind, turns)
        every = jnp.moveaxis(every, -2, 0)
        for j, k in enumerate(places):
            found[k] = every[j * segment.repeats : (j + 1) * segment.repeats]
    return [found[k] for k in sorted(found)]


def _taken(table: Float[Array, "angles batch"], numbers: np.ndarray) -> Array:
    if numbers.size == 0:
        return jnp.zeros((*numbers.shape, table.shape[-1]), table.dtype)
    return take(table, numbers.reshape(-1)).reshape(*numbers.shape, table.shape[-1])


def _gate(gate: Gate, turn: Array | None, state: Array) -> Array:
    """A gate on a few bits, whose matrix is A + B cos + C sin."""
    coefficients = three_of(gate.form)[1]
    size = 1 << len(gate.bits)
    rows = state.shape[1] // size * (len(state) if gate.form.real else 1)
    cos, sin = (None, None) if turn is None else spread(turn, rows)

    def entries(three: np.ndarray) -> list[list[Number]]:
        return [[combination(three[:, k, j], cos, sin) for j in range(size)] for k in range(size)]

    imaginary = None if gate.form.real else entries(coefficients.imag)
    return _times(entries(coefficients.real), imaginary, gate.bits, state)


def _block(block: Block, matrix: Float[Array, "c 4 batch"] | None, state: Array) -> Array:
    """A block on one bit: gates in a row on one qubit."""
    (recipe,) = block.parts
    if matrix is None:
        matrix = matrix_of(recipe, jnp.zeros((0, 1, state.shape[-1]), state.dtype))[:, :, 0]
    rows = state.shape[1] // 2 * (len(state) if block.real else 1)
    parts = [[part[:2], part[2:]] for part in spread(matrix, rows)]
    return _times(parts[0], None if block.real else parts[1], (block.base,), state)


def _times(
    real: list[list[Number]],
    imaginary: list[list[Number]] | None,
    bits: tuple[int, ...],
    state: Array,
) -> Array:
    """A matrix on a few bits; bit k of its index is bits[k]."""
    if imaginary is not None:
        state = _complex(state)
    order = sorted(range(len(bits)), key=lambda k: -bits[k])
    amplitudes, batch = state.shape[1:]
    parts = [state] if imaginary is None else [state[:1], state[1:]]
    # Axes 1, 3, … are the gate's bits, the highest first.
    lengths, top = [], amplitudes * len(parts[0])
    for k in order:
        lengths += [top >> (bits[k] + 1), 2]
        top = 1 << bits[k]
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

    def sum_of(*halves: tuple[list[Number], list[Array], int]) -> Array:
        """A row of the matrix times amplitudes: the real half, then the imaginary one."""
        terms = [
            sign * entry * part[j]
            for line, part, sign in halves
            for j, entry in enumerate(line)
            if entry is not None
        ]
        return functools.reduce(operator.add, terms) if terms else jnp.zeros_like(halves[0][1][0])

    split = [slices(part) for part in parts]
    if imaginary is None:
        outs = [[sum_of((line, split[0], 1)) for line in real]]
    else:
        re, im = split
        lines = list(zip(real, imaginary, strict=True))
        outs = [
            [sum_of((a, re, 1), (b, im, -1)) for a, b in lines],
            [sum_of((a, im, 1), (b, re, 1)) for a, b in lines],
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
        return state * jnp.cos(phases)[None]
    both = settle(jnp.concatenate([jnp.cos(phases), jnp.sin(phases)]))
    cos, sin = both[:amplitudes], both[amplitudes:]
    if len(state) == 1:
        turned = jnp.stack([state[0] * cos, state[0] * sin])
    else:
        turned = jnp.stack([state[0] * cos - state[1] * sin, state[0] * sin + state[1] * cos])
    return _move(turned, identity(amplitudes.bit_length() - 1))


def _move(state: Float[Array, "c amplitudes batch"], affine: Affine) -> Array:
    """Amplitude i goes to affine(i)."""
    num_rows, amplitudes, batch = state.shape
    target = np.array([affine(i) for i in range(amplitudes)])
    every = np.arange(num_rows)[:, None] * amplitudes
    source = (every + np.argsort(target)).reshape(-1).tolist()
    target = (every + target).reshape(-1).tolist()
    flat = take_rows(state.reshape(-1, batch), source, target)
    return flat.reshape(state.shape)
