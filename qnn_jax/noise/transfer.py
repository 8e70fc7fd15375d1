"""Gates and channels as Pauli-transfer matrices: real, and noise is one more factor. NumPy only.

The matrix R of a channel E has the entries R[a, b] = Tr(P_a E(P_b)) / 2**n, with the Paulis I, X, Y
and Z as digits 0 to 3 of an index; digit k belongs to the k-th qubit (arXiv:1509.02921). A state is
the vector of its numbers Tr(P_a ρ), and E takes it to R times that vector.

In each of its angles, R of a gate is a trigonometric polynomial. Its frequencies and coefficients
are read off the gate table numerically, so a new gate needs no edit here; the same frequencies give
the gate's parameter-shift rule.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from qnn_jax.circuits.gates import GATES, Gate
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError

PAULIS = np.array(
    [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], complex
)
#: 1 where two Paulis commute, else -1.
COMMUTE = np.array([[1.0, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
#: From the entries of a matrix of one qubit to its numbers Tr(Pρ), and back.
_TO_PAULIS = PAULIS.transpose(0, 2, 1).reshape(4, 4)
_FROM_PAULIS = PAULIS.transpose(1, 2, 0).reshape(4, 4) / 2
#: The highest frequency that is looked for, in steps of a half; no gate of the table has above 2.
_MOST_STEPS = 6
_TOLERANCE = 1e-9


class GateTransfer(NamedTuple):
    """A gate's Pauli-transfer matrix as a function of its angles."""

    #: Of each angle: R is made of 1, cos ωθ and sin ωθ of these ω, which are multiples of a half
    #: and rise.
    frequencies: tuple[tuple[float, ...], ...]
    #: Shape (1 + 2 frequencies of the first angle, …, 4**n, 4**n): the factors of the products of
    #: `features` of all angles.
    coefficients: np.ndarray


def features(m: Any, angle: Any, frequencies: Sequence[float]) -> Any:
    """1, and cosine and sine of an angle times each frequency, along a new last axis."""
    waves = [function(f * angle) for f in frequencies for function in (m.cos, m.sin)]
    return m.stack([m.ones_like(angle), *waves], -1)


def transfer_of_kraus(operators: np.ndarray) -> np.ndarray:
    """The Pauli-transfer matrix of ρ → Σ K ρ K†, shape (4**n, 4**n); bit k is the k-th qubit."""
    n = operators.shape[-1].bit_length() - 1
    superoperator = np.einsum("kij,klm->iljm", operators, operators.conj())
    return in_paulis(superoperator.reshape((2,) * (4 * n)))


def in_paulis(superoperator: np.ndarray) -> np.ndarray:
    """A superoperator with an axis for each bit (row, row of the conjugate, both columns)."""
    n = superoperator.ndim // 4
    # The two bits of a qubit side by side: the digit of a Pauli.
    order = [k + side for half in (0, 2 * n) for k in range(n) for side in (half, half + n)]
    tensor = superoperator.transpose(order).reshape((4,) * (2 * n))
    for k in range(n):
        tensor = np.moveaxis(np.tensordot(_TO_PAULIS, tensor, ([1], [k])), 0, k)
        tensor = np.moveaxis(np.tensordot(tensor, _FROM_PAULIS, ([n + k], [0])), -1, n + k)
    return np.ascontiguousarray(tensor.reshape(4**n, 4**n).real)


def choi(transfer: np.ndarray) -> np.ndarray:
    """The Choi matrix of a channel divided by 2**n: of trace 1, positive where the channel is.

    Σ R[a, b] P_a ⊗ P_bᵀ / 4**n, from the channel's action on a maximally entangled state.
    """
    n = (len(transfer).bit_length() - 1) // 2
    tensor = transfer.reshape((4,) * (2 * n)).astype(complex)
    transposed = PAULIS.transpose(2, 1, 0).reshape(4, 4) / 2
    for k in range(n):
        tensor = np.moveaxis(np.tensordot(_FROM_PAULIS, tensor, ([1], [k])), 0, k)
        tensor = np.moveaxis(np.tensordot(transposed, tensor, ([1], [n + k])), 0, n + k)
    tensor = tensor.reshape((2,) * (4 * n))
    rows = [2 * k for k in range(n)] + [2 * n + 2 * k for k in range(n)]
    columns = [axis + 1 for axis in rows]
    return np.asarray(tensor.transpose(rows + columns).reshape(4**n, 4**n))


def constant_transfer(op: Op) -> np.ndarray:
    """The matrix of a gate without symbols in its angles, in floats of Python."""
    numbers = [angle.value for angle in op.angles]  # type: ignore[attr-defined]
    return _transfer_of(op.row, *numbers)


def _transfer_of(row: Gate, *angles: float) -> np.ndarray:
    entries = [[complex(entry) for entry in line] for line in row.matrix(np, *angles)]
    return transfer_of_kraus(np.array(entries)[None])


@functools.cache
def gate_transfer(name: str) -> GateTransfer:
    """A gate of the table as a function of its angles.

    Raises InputError where an entry is no trigonometric polynomial of frequencies that are
    multiples of a half: such a gate has no parameter-shift rule either.
    """
    row = GATES[name]
    at = functools.partial(_transfer_of, row)
    generic = [0.37 + 0.61 * k for k in range(row.num_angles)]
    frequencies = []
    for number in range(row.num_angles):
        count = 2 * _MOST_STEPS + 1
        grid = 4 * math.pi * np.arange(count) / count
        turned = [[*generic[:number], angle, *generic[number + 1 :]] for angle in grid]
        waves = abs(np.fft.rfft([at(*angles) for angles in turned], axis=0)).max((1, 2))
        frequencies.append(
            tuple(step / 2 for step in range(1, _MOST_STEPS + 1) if waves[step] > _TOLERANCE)
        )
    # As many points as unknowns, at which the features are far from dependent.
    points = []
    for own in frequencies:
        size = 1 + 2 * round(2 * max(own, default=0))
        points.append(4 * math.pi * np.arange(size) / size)
    shape = tuple(map(len, points))
    samples = np.array([at(*angles) for angles in itertools.product(*points)])
    samples = samples.reshape(*shape, *samples.shape[-2:])
    for axis, (angles, own) in enumerate(zip(points, frequencies, strict=True)):
        inverse = np.linalg.pinv(features(np, angles, own))
        samples = np.moveaxis(np.tensordot(inverse, samples, ([1], [axis])), 0, axis)
    samples[abs(samples) < 1e-13] = 0
    found = GateTransfer(tuple(frequencies), samples)
    elsewhere = [2.9 - 0.83 * k for k in range(row.num_angles)]
    if np.max(abs(evaluated(np, found, np.array(elsewhere)) - at(*elsewhere))) > _TOLERANCE:
        raise InputError(
            f"Argument `circuit` must have gates that are trigonometric in their angles where "
            f"noise or a parameter-shift rule is asked for, but `{name}` is not."
        )
    return found


def evaluated(m: Any, transfer: GateTransfer, angles: Any) -> Any:
    """The matrices of a gate at angles of shape (…, number of angles)."""
    result = m.asarray(transfer.coefficients, angles.dtype)
    kept = angles.shape[:-1]
    for number, own in enumerate(transfer.frequencies):
        feature = features(m, angles[..., number], own)
        if number:
            # Axes of the samples first, then that of this angle.
            shape = (*feature.shape, *(1,) * (result.ndim - feature.ndim))
            result = (feature.reshape(shape) * result).sum(len(kept))
        else:
            result = m.tensordot(feature, result, ([feature.ndim - 1], [0]))
    return result


def shift_rule(name: str, number: int) -> tuple[tuple[float, float], ...]:
    """The parameter-shift rule of a gate's angle: pairs of shift and factor.

    The derivative of every expectation value f at θ is Σ factor · f(θ + shift), exactly, with
    equidistant shifts (arXiv:2107.12390, equation 33): two for the rotations, four for controlled
    ones. None where f does not depend on the angle.
    """
    own = gate_transfer(name).frequencies[number]
    if not own:
        return ()
    step = 1.0 if all(frequency.is_integer() for frequency in own) else 0.5
    order = round(max(own) / step)
    rule = []
    for k in range(1, 2 * order + 1):
        shift = (2 * k - 1) * math.pi / (2 * order)
        factor = step * (-1) ** (k - 1) / (4 * order * math.sin(shift / 2) ** 2)
        rule.append((shift / step, factor))
    # Shifts beyond half a period are negative ones.
    period = 2 * math.pi / step
    return tuple((s - period if s > period / 2 else s, factor) for s, factor in rule)
