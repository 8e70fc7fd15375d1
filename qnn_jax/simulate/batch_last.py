"""The engine for a batch whose gates differ between samples: the batch is the last axis.

A matrix for every sample would be better only where it is large (`Tuning.blocks_from`). Gates in a
row on one qubit are one small matrix, written out number by number: what vanishes is left out, and
XLA does the rest of it in one loop over the samples. Any other gate is a few sums and products of
rows, each row holding one amplitude of all samples.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from qnn_jax.simulate.angle_table import take
from qnn_jax.simulate.gf2 import Affine, bit_permutation, identity
from qnn_jax.simulate.kernels import phase_signs, reduced, slopes_of
from qnn_jax.simulate.matrices import FusedGates
from qnn_jax.simulate.planner import Plan
from qnn_jax.simulate.steps import (
    DiagonalStep,
    GateStep,
    MatrixStep,
    PermutationStep,
    ScannedSteps,
    makes_complex,
)
from qnn_jax.simulate.uniform import three_of
from qnn_jax.simulate.xla import HIGHEST, added, alike, bilinear, int32, linear, materialize


def _taken_rows(array: Array, source: tuple[int, ...], target: tuple[int, ...]) -> Array:
    del target
    at = array.at[..., int32(source), :]
    return at.get(mode="promise_in_bounds", unique_indices=True)


_take = linear(
    "take_rows",
    _taken_rows,
    lambda array, source, target: _taken_rows(array, target, source),
)
#: Shape (..., batch) to (..., rows, batch), the same in each of so many rows.
repeat_rows: Callable[..., Array] = linear(
    "repeat_rows",
    lambda array, rows: jnp.broadcast_to(
        array[..., None, :], (*array.shape[:-1], rows, array.shape[-1])
    ),
    lambda array, rows: added(array),
)


def _times(matrix: Array, rows: Array) -> Array:
    """(M s)[c, p, r] = Σ_q: the parts of M at p, q times those of s at q, r."""
    terms = []
    for k in range(rows.shape[-3]):
        terms.append(matrix[..., :1, :, k, None, :] * rows[..., :, None, k, :, :])
        if matrix.shape[-4] == 2:
            terms.append(matrix[..., 1:, :, k, None, :] * _by_i(rows)[..., :, None, k, :, :])
    return functools.reduce(operator.add, terms)


def _moments(left: Array, right: Array, real: bool) -> Array:
    """(l r†)[c, p, q], a sum over rows, r† being conjugate; or no more than its real part."""
    if real:
        products = left[..., :, None, :, :] * right[..., None, :, :, :]
        parts = [products[..., c : c + 1, :, :, :, :] for c in range(left.shape[-4])]
        return added(functools.reduce(operator.add, parts))
    of_re = left[..., :1, :, None, :, :] * _conjugate(right)[..., None, :, :, :]
    of_im = left[..., 1:, :, None, :, :] * right[..., ::-1, None, :, :, :]
    return added(of_re + of_im)


def _conjugate(rows: Array) -> Array:
    return rows * _signs(rows, [1, -1]) if rows.shape[-4] == 2 else rows


def _by_i(rows: Array) -> Array:
    """Complex rows times i."""
    return rows[..., ::-1, :, :, :] * _signs(rows, [-1, 1])


def _signs(rows: Array, signs: Sequence[int]) -> Array:
    shape = (1,) * (rows.ndim - 4) + (2, 1, 1, 1)
    return jnp.asarray(np.array(signs), rows.dtype).reshape(shape)


def _adjoint(matrix: Array) -> Array:
    return _conjugate(jnp.swapaxes(matrix, -2, -3))


#: Every sample's matrix, shape (c, out, inner, batch), times its rows, (c, inner, rows, batch). The
#: first axis is that of real and imaginary part: both have it, or neither, or the rows alone. The
#: derivatives are written out: for JAX they would be sums over padded slices.
times_rows: Callable[..., Array] = bilinear(
    "times_rows",
    _times,
    lambda cotangent, matrix, rows: _moments_of_rows(cotangent, rows, real=matrix.shape[-4] == 1),
    lambda cotangent, matrix, rows: times_rows(_adjoint(matrix), cotangent),
)
_moments_of_rows: Callable[..., Array] = bilinear(
    "moments_of_rows",
    _moments,
    lambda cotangent, left, right, real: times_rows(cotangent, right),
    lambda cotangent, left, right, real: times_rows(_adjoint(cotangent), left),
)


def take_rows(
    array: Float[Array, "rows batch"], source: Sequence[int], target: Sequence[int]
) -> Float[Array, "rows batch"]:
    """Row k of the result is row source[k]; so row k goes to row target[k]."""
    return _take(array, source=tuple(source), target=tuple(target))


#: A number of every sample; None where it vanishes.
Number: TypeAlias = "Array | float | None"
#: Its real and its imaginary part.
_Complex: TypeAlias = "tuple[Number, Number]"
_Matrix: TypeAlias = "list[list[_Complex]]"


def cosines_and_sines(
    turns: Float[Array, "*lead batch"], scales: np.ndarray
) -> Float[Array, "2 *lead batch"]:
    """Of angles times scales, which have the same leading axes; computed once."""
    turns = turns * jnp.asarray(scales, turns.dtype)[..., None]
    return materialize(jnp.stack([jnp.cos(turns), jnp.sin(turns)]))


def matrix_of(
    fused: FusedGates, turns: Float[Array, "angles places batch"], column: bool = False
) -> Float[Array, "c entries places batch"]:
    """The matrices of fused gates on one bit, or their first columns; computed once.

    Args:
        fused: the gates.
        turns: their angles, for each of several places.
        column: only what becomes of |0>.

    Returns:
        The entries, row by row: those of the real part, then those of the imaginary part, which is
        left out where the matrices are real.
    """
    factors = [(e, *three_of(form)) for e in fused.layers for form, _ in e.factors]
    scales = np.array([scale for _, scale, _ in factors])[:, None]
    both = cosines_and_sines(turns, scales)
    product = _constant(np.eye(2)[:, : 1 if column else 2])
    if fused.first is not None:
        product = _product(_constant(fused.first.matrix), product)
    for (layer, _, three), cos, sin in zip(factors, both[0], both[1], strict=True):
        if layer.constant is not None:
            three = layer.constant.matrix @ three
        product = _product(_factor(three, cos, sin), product)

    def row(number: Number) -> Array:
        return jnp.broadcast_to(
            jnp.asarray(0.0 if number is None else number, turns.dtype), turns.shape[1:]
        )

    parts = range(1 if fused.real else 2)
    every = [jnp.stack([row(e[part]) for line in product for e in line]) for part in parts]
    return materialize(jnp.stack(every))


def combination(three: np.ndarray, cos: Array | None, sin: Array | None) -> Number:
    """A + B cos + C sin."""
    return _sum(
        [
            float(value) if function is None else float(value) * function
            for value, function in zip(three, (None, cos, sin), strict=True)
            if abs(value) > 1e-14
        ]
    )


def _factor(three: np.ndarray, cos: Array, sin: Array) -> _Matrix:
    def number(k: int, j: int) -> _Complex:
        own = three[:, k, j]
        return combination(own.real, cos, sin), combination(own.imag, cos, sin)

    return [[number(k, j) for j in (0, 1)] for k in (0, 1)]


def _constant(matrix: np.ndarray) -> _Matrix:
    return [[(float(e.real) or None, float(e.imag) or None) for e in line] for line in matrix]


def _product(left: _Matrix, right: _Matrix) -> _Matrix:
    def number(k: int, j: int) -> _Complex:
        re: list[Array | float] = []
        im: list[Array | float] = []
        for a, b in ((left[k][i], right[i][j]) for i in range(len(right))):
            for total, x, y, sign in ((re, 0, 0, 1), (re, 1, 1, -1), (im, 0, 1, 1), (im, 1, 0, 1)):
                one, other = a[x], b[y]
                if one is not None and other is not None:
                    total.append(sign * one * other)
        return _sum(re), _sum(im)

    return [[number(k, j) for j in range(len(right[0]))] for k in range(len(left))]


def _sum(terms: Sequence[Array | float]) -> Number:
    return functools.reduce(operator.add, terms) if terms else None


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

    def on_top(self, bits: tuple[int, ...]) -> tuple[Affine, Float[Array, "c size rows batch"]]:
        """Some bits above all others, though below what tells the parts apart.

        Returns:
            Where amplitudes then are, and they: bit k of the second axis is bits[k].
        """
        others = [q for q in range(self.num_qubits) if q not in bits]
        order = [*others, *bits, self.num_qubits][: len(self.place.columns)]
        place = bit_permutation(tuple(np.argsort(order).tolist()))
        shape = (-1, 1 << len(bits), 1 << len(others), self.rows.shape[-1])
        return place, self.arranged(place).reshape(shape)


def run_batch_last(
    plan: Plan, table: Float[Array, "angles batch"]
) -> Float[Array, "c amplitudes batch"]:
    """The states that a plan of `planner.plan_by_gates` prepares, from all samples' angles."""
    matrices = _matrices(plan, table)
    state = matrices[_START, 0][0]
    for q in range(1, plan.num_qubits):
        state = _kron(matrices[_START, q][0], state)
    for number, scan in enumerate(plan.scans):
        every = _parameters(number, scan, table, matrices)

        def once(rows: Array, own: Any, scan: ScannedSteps = scan) -> tuple[Array, None]:
            if scan.repeats > 1:
                # What is picked from a stack would else be picked again for every number.
                own = [materialize(parameter) for parameter in own]
            state, rest = _State.of(rows), iter(own)
            for step in scan.steps:
                parameter = next(rest) if isinstance(step, MatrixStep) or step.num_angles else None
                if isinstance(step, PermutationStep):
                    assert step.affine is not None
                    state = state.moved(step.affine)
                elif isinstance(step, DiagonalStep):
                    state = _State.of(_phase(step, parameter, state.natural))
                elif isinstance(step, MatrixStep):
                    assert parameter is not None
                    state = _block(step, parameter, state)
                else:
                    assert isinstance(step, GateStep)
                    state = _gate(step, parameter, state)
            return state.natural, None

        if scan.repeats == 1:
            state, _ = once(state, [parameter[0] for parameter in every])
        else:
            if any(map(makes_complex, scan.steps)):
                state = _State.of(state).complex.natural
            # Doing a repeat again backwards takes less than storing every step of it.
            again = jax.checkpoint(once, prevent_cse=False)
            state, *every = alike(state, *every)
            state, _ = lax.scan(again, state, every, length=scan.repeats)
    return state


def _kron(high: Array, low: Array) -> Array:
    """The product of two states, each of shape (1 or 2, amplitudes, batch)."""
    if len(high) > len(low):
        low = jnp.concatenate([low, jnp.zeros_like(low)])
    product = times_rows(high[:, :, None], low[:, None])
    return product.reshape(len(product), -1, product.shape[-1])


#: Stands for the number of a scan in what `_matrices` finds for the product state at the start.
_START = -1


def _matrices(plan: Plan, table: Array) -> dict[tuple[int, int], Array]:
    """The matrices of all matrix steps, equal ones built together, with the batch last.

    Returns:
        For the number of a scan and the number of a step, an array of shape (repeats, 1 or 2, 4,
        batch); for `_START` and a qubit the first column, shape (1, 1 or 2, 2, batch).
    """
    together: dict[FusedGates, list[tuple[tuple[int, int], np.ndarray]]] = {}
    ((start, numbers),) = plan.initial
    at = 0
    for q, part in enumerate(start.parts):
        own = np.array([numbers[at : at + part.num_angles]], int)
        together.setdefault(part, []).append(((_START, q), own))
        at += part.num_angles
    for i, scan in enumerate(plan.scans):
        for k, (step, own) in enumerate(zip(scan.steps, scan.angles, strict=True)):
            if isinstance(step, MatrixStep):
                together.setdefault(step.parts[0], []).append(((i, k), own))
    found: dict[tuple[int, int], Array] = {}
    for fused, places in together.items():
        numbers_of_all = np.concatenate([own for _, own in places])
        column = all(scan == _START for (scan, _), _ in places)
        every = matrix_of(fused, _taken(table, numbers_of_all.T), column)
        at = 0
        for place, own in places:
            matrix = jnp.moveaxis(every[:, :, at : at + len(own)], 2, 0)
            found[place] = matrix[:, :, ::2] if place[0] == _START and not column else matrix
            at += len(own)
    return found


def _parameters(
    number: int, scan: ScannedSteps, table: Array, matrices: dict[tuple[int, int], Array]
) -> list[Array]:
    """What each step needs, with a leading axis of repeats and the batch last.

    Of a gate cosine and sine, shape (repeats, 2, batch), all of them evaluated together; of a phase
    its angles; of a matrix step its matrix. Nothing of what is constant but a matrix step.
    """
    found: dict[int, Array] = {}
    gates: list[int] = []
    scales: list[float] = []
    for k, (step, numbers) in enumerate(zip(scan.steps, scan.angles, strict=True)):
        if isinstance(step, MatrixStep):
            found[k] = matrices[number, k]
        elif isinstance(step, DiagonalStep) and step.num_angles:
            found[k] = _taken(table, numbers)
        elif isinstance(step, GateStep) and step.num_angles:
            gates.append(k)
            scales.append(three_of(step.form)[0])
    if gates:
        turns = _taken(table, np.concatenate([scan.angles[k] for k in gates], 1))
        every = cosines_and_sines(turns, np.array([scales]))
        found |= {k: jnp.moveaxis(every[:, :, j], 0, 1) for j, k in enumerate(gates)}
    return [found[k] for k in sorted(found)]


def _taken(table: Float[Array, "angles batch"], numbers: np.ndarray) -> Array:
    if numbers.size == 0:
        return jnp.zeros((*numbers.shape, table.shape[-1]), table.dtype)
    return take(table, numbers.reshape(-1)).reshape(*numbers.shape, table.shape[-1])


def _block(block: MatrixStep, matrix: Float[Array, "m 4 batch"], state: _State) -> _State:
    """A matrix step on one bit: gates in a row on one qubit."""
    state = state if block.real else state.complex
    place, rows = state.on_top((block.base,))
    done = times_rows(matrix.reshape(-1, 2, 2, rows.shape[-1]), rows)
    return _State(done.reshape(state.rows.shape), place, state.num_qubits)


def _gate(gate: GateStep, turn: Array | None, state: _State) -> _State:
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
    cos, sin = (None, None) if turn is None else repeat_rows(turn, rows=rows)

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


def _phase(step: DiagonalStep, angles: Array | None, state: Array) -> Array:
    amplitudes = state.shape[1]
    signs = phase_signs(step.masks, amplitudes.bit_length() - 1, state.dtype)
    offsets = jnp.asarray(np.array(step.offsets), state.dtype)[:, None]
    parities = offsets
    if angles is not None:
        slopes = jnp.asarray(slopes_of(step).T, state.dtype)
        parities = offsets + jnp.matmul(slopes, reduced(angles, 8 * math.pi), precision=HIGHEST)
    phases = jnp.matmul(signs.T, parities, precision=HIGHEST)
    if step.real:
        return state * jnp.cos(phases)[None]
    both = materialize(jnp.concatenate([jnp.cos(phases), jnp.sin(phases)]))
    cos, sin = both[:amplitudes], both[amplitudes:]
    if len(state) == 1:
        return jnp.stack([state[0] * cos, state[0] * sin])
    return jnp.stack([state[0] * cos - state[1] * sin, state[0] * sin + state[1] * cos])
