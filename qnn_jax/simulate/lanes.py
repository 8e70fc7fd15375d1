"""A batch whose gates differ from one sample to the next: gates one by one, the batch last.

Blocks would be as many matrices as there are samples, which is better only for large ones
(`Tuning.blocks_from`). Gates in a row on one qubit are one small matrix (`turns`); any other gate
is a few sums and products of rows (`rows`), each row holding one amplitude of all samples.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from qnn_jax.simulate.angle_table import take
from qnn_jax.simulate.atoms import Block, Gate, Move, Phase, Segment
from qnn_jax.simulate.bits import Affine, bit_permutation, identity
from qnn_jax.simulate.evolve import makes_complex
from qnn_jax.simulate.irregular import three_of
from qnn_jax.simulate.planner import Plan
from qnn_jax.simulate.recipes import Recipe
from qnn_jax.simulate.rows import repeat_rows, take_rows, times_rows
from qnn_jax.simulate.steps import phase_signs, reduced, slopes_of
from qnn_jax.simulate.turns import Number, combination, cosines_and_sines, matrix_of
from qnn_jax.simulate.xla import HIGHEST, alike, materialize


@dataclass(frozen=True)
class _State:
    """Amplitudes of all samples, each a row: those of the real, then of the imaginary part.

    Attributes:
        rows: shape (c·2**n, batch), c = 1 while the state is real, else 2.
        place: amplitude i is row place(i); its highest bit tells the parts apart where c = 2.
        num_qubits: n.
    """

    rows: Array
    place: Affine
    num_qubits: int

    @staticmethod
    def of(state: Float[Array, "c amplitudes batch"]) -> _State:
        """Amplitudes in their natural order."""
        num_bits = (state.shape[0] * state.shape[1]).bit_length() - 1
        rows = state.reshape(1 << num_bits, state.shape[2])
        return _State(rows, identity(num_bits), state.shape[1].bit_length() - 1)

    @property
    def natural(self) -> Float[Array, "c amplitudes batch"]:
        """The amplitudes in their natural order."""
        rows = self.arranged(identity(len(self.place.columns)))
        return rows.reshape(-1, 1 << self.num_qubits, rows.shape[-1])

    @property
    def complex(self) -> _State:
        """The same with an imaginary part."""
        if len(self.place.columns) > self.num_qubits:
            return self
        place = Affine((*self.place.columns, len(self.rows)), self.place.offset)
        rows = jnp.concatenate([self.rows, jnp.zeros_like(self.rows)])
        return _State(rows, place, self.num_qubits)

    def moved(self, affine: Affine) -> _State:
        """Amplitude i goes to affine(i)."""
        columns = (*affine.columns, 1 << self.num_qubits)[: len(self.place.columns)]
        place = Affine(columns, affine.offset).inverse().then(self.place)
        return _State(self.rows, place, self.num_qubits)

    def arranged(self, wanted: Callable[[int], int]) -> Float[Array, "rows batch"]:
        """The rows with amplitude i as row wanted(i); computed once, whatever is done with them."""
        back = self.place.inverse()
        target = np.array([wanted(back(row)) for row in range(len(self.rows))])
        return take_rows(self.rows, np.argsort(target).tolist(), target.tolist())


def run_lanes(
    plan: Plan, table: Float[Array, "angles batch"]
) -> Float[Array, "c amplitudes batch"]:
    """The states that a plan by gates prepares.

    Args:
        plan: what `planner.plan_by_gates` makes.
        table: the angles of all samples, those of weights first.
    """
    matrices = _matrices(plan, table)
    state = matrices[_START, 0][0]
    for q in range(1, plan.num_qubits):
        state = _kron(matrices[_START, q][0], state)
    for number, segment in enumerate(plan.segments):
        every = _parameters(number, segment, table, matrices)

        def once(rows: Array, own: Any, segment: Segment = segment) -> tuple[Array, None]:
            if segment.repeats > 1:
                # What is picked from a stack would else be picked again for every number.
                own = [materialize(parameter) for parameter in own]
            state, rest = _State.of(rows), iter(own)
            for atom in segment.atoms:
                parameter = next(rest) if isinstance(atom, Block) or atom.num_angles else None
                if isinstance(atom, Move):
                    assert atom.affine is not None
                    state = state.moved(atom.affine)
                elif isinstance(atom, Phase):
                    state = _State.of(_phase(atom, parameter, state.natural))
                elif isinstance(atom, Block):
                    assert parameter is not None
                    state = _block(atom, parameter, state)
                else:
                    assert isinstance(atom, Gate)
                    state = _gate(atom, parameter, state)
            return state.natural, None

        if segment.repeats == 1:
            state, _ = once(state, [parameter[0] for parameter in every])
        else:
            if any(map(makes_complex, segment.atoms)):
                state = _State.of(state).complex.natural
            # Doing a repeat again backwards takes less than storing every step of it.
            again = jax.checkpoint(once, prevent_cse=False)
            state, *every = alike(state, *every)
            state, _ = lax.scan(again, state, every, length=segment.repeats)
    return state


def _kron(high: Array, low: Array) -> Array:
    """The product of two states, each of shape (1 or 2, amplitudes, batch)."""
    if len(high) > len(low):
        low = jnp.concatenate([low, jnp.zeros_like(low)])
    product = times_rows(high[:, :, None], low[:, None])
    return product.reshape(len(product), -1, product.shape[-1])


#: Stands for the number of a segment in what `_matrices` finds for the product state at the start.
_START = -1


def _matrices(plan: Plan, table: Array) -> dict[tuple[int, int], Array]:
    """The matrices of all blocks, equal ones built together, with the batch last.

    Returns:
        For the number of a segment and that of an atom an array of shape (repeats, 1 or 2, 4,
        batch); for `_START` and a qubit the first column, shape (1, 1 or 2, 2, batch).
    """
    together: dict[Recipe, list[tuple[tuple[int, int], np.ndarray]]] = {}
    ((start, numbers),) = plan.initial
    at = 0
    for q, part in enumerate(start.parts):
        own = np.array([numbers[at : at + part.num_angles]], int)
        together.setdefault(part, []).append(((_START, q), own))
        at += part.num_angles
    for i, segment in enumerate(plan.segments):
        for k, (atom, own) in enumerate(zip(segment.atoms, segment.angles, strict=True)):
            if isinstance(atom, Block):
                together.setdefault(atom.parts[0], []).append(((i, k), own))
    found: dict[tuple[int, int], Array] = {}
    for recipe, places in together.items():
        numbers_of_all = np.concatenate([own for _, own in places])
        column = all(segment == _START for (segment, _), _ in places)
        every = matrix_of(recipe, _taken(table, numbers_of_all.T), column)
        at = 0
        for place, own in places:
            matrix = jnp.moveaxis(every[:, :, at : at + len(own)], 2, 0)
            found[place] = matrix[:, :, ::2] if place[0] == _START and not column else matrix
            at += len(own)
    return found


def _parameters(
    number: int, segment: Segment, table: Array, matrices: dict[tuple[int, int], Array]
) -> list[Array]:
    """What each atom needs, with a leading axis of repeats and the batch last.

    Of a gate cosine and sine, shape (repeats, 2, batch), all of them evaluated together; of a phase
    its angles; of a block its matrix. Nothing of what is constant but a block.
    """
    found: dict[int, Array] = {}
    gates: list[int] = []
    scales: list[float] = []
    for k, (atom, numbers) in enumerate(zip(segment.atoms, segment.angles, strict=True)):
        if isinstance(atom, Block):
            found[k] = matrices[number, k]
        elif isinstance(atom, Phase) and atom.num_angles:
            found[k] = _taken(table, numbers)
        elif isinstance(atom, Gate) and atom.num_angles:
            gates.append(k)
            scales.append(three_of(atom.form)[0])
    if gates:
        turns = _taken(table, np.concatenate([segment.angles[k] for k in gates], 1))
        every = cosines_and_sines(turns, np.array([scales]))
        found |= {k: jnp.moveaxis(every[:, :, j], 0, 1) for j, k in enumerate(gates)}
    return [found[k] for k in sorted(found)]


def _taken(table: Float[Array, "angles batch"], numbers: np.ndarray) -> Array:
    if numbers.size == 0:
        return jnp.zeros((*numbers.shape, table.shape[-1]), table.dtype)
    return take(table, numbers.reshape(-1)).reshape(*numbers.shape, table.shape[-1])


def _block(block: Block, matrix: Float[Array, "m 4 batch"], state: _State) -> _State:
    """A block on one bit: gates in a row on one qubit."""
    batch = state.rows.shape[-1]
    state = state if block.real else state.complex
    # That bit comes on top, but below what tells real from imaginary parts.
    places = [q - (q > block.base) for q in range(state.num_qubits)]
    places[block.base] = state.num_qubits - 1
    places += [state.num_qubits]
    wanted = bit_permutation(tuple(places[: len(state.place.columns)]))
    rows = state.arranged(wanted).reshape(-1, 2, 1 << (state.num_qubits - 1), batch)
    done = times_rows(matrix.reshape(-1, 2, 2, batch), rows)
    return _State(done.reshape(state.rows.shape), wanted, state.num_qubits)


def _gate(gate: Gate, turn: Array | None, state: _State) -> _State:
    """A gate on a few bits, whose matrix is A + B cos + C sin."""
    toffoli = gate.form.toffoli
    if toffoli is not None:
        natural = identity(len(state.place.columns))
        moved = state.arranged(toffoli.on_bits(gate.bits))
        return _State(moved, natural, state.num_qubits)
    coefficients = three_of(gate.form)[1]
    size = 1 << len(gate.bits)
    amplitudes = (state if gate.form.real else state.complex).natural
    rows = amplitudes.shape[1] // size * (len(amplitudes) if gate.form.real else 1)
    cos, sin = (None, None) if turn is None else repeat_rows(turn, rows)

    def entries(three: np.ndarray) -> list[list[Number]]:
        return [[combination(three[:, k, j], cos, sin) for j in range(size)] for k in range(size)]

    imaginary = None if gate.form.real else entries(coefficients.imag)
    return _State.of(_matrix_on_bits(entries(coefficients.real), imaginary, gate.bits, amplitudes))


def _matrix_on_bits(
    real: list[list[Number]],
    imaginary: list[list[Number]] | None,
    bits: tuple[int, ...],
    state: Float[Array, "c amplitudes batch"],
) -> Float[Array, "c amplitudes batch"]:
    """A matrix on a few bits; bit k of its index is bits[k]."""
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
    return joined[0] if len(joined) == 1 else jnp.concatenate(joined)


def _phase(atom: Phase, angles: Array | None, state: Array) -> Array:
    amplitudes = state.shape[1]
    signs = phase_signs(atom.masks, amplitudes.bit_length() - 1, state.dtype)
    offsets = jnp.asarray(np.array(atom.offsets), state.dtype)[:, None]
    parities = offsets
    if angles is not None:
        slopes = jnp.asarray(slopes_of(atom).T, state.dtype)
        parities = offsets + jnp.matmul(slopes, reduced(angles, 8 * math.pi), precision=HIGHEST)
    phases = jnp.matmul(signs.T, parities, precision=HIGHEST)
    if atom.real:
        return state * jnp.cos(phases)[None]
    both = materialize(jnp.concatenate([jnp.cos(phases), jnp.sin(phases)]))
    cos, sin = both[:amplitudes], both[amplitudes:]
    if len(state) == 1:
        return jnp.stack([state[0] * cos, state[0] * sin])
    return jnp.stack([state[0] * cos - state[1] * sin, state[0] * sin + state[1] * cos])
