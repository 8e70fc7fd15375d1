"""The steps of a plan: the few things that are ever done to a state. Static values only."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qnn_jax.simulate.gate_forms import GateForm
from qnn_jax.simulate.gf2 import Affine
from qnn_jax.simulate.matrices import FusedGates


@dataclass(frozen=True)
class DiagonalStep:
    """A diagonal: multiply amplitude i by exp(i Σ_m t[m] (-1)^popcount(i & masks[m])).

    Its parameters are t = offsets + Σ over terms (m, a, slope) of slope·angles[a] at position m.

    Attributes:
        masks: the parity masks.
        offsets: the constant part of t, one a mask.
        terms: (position of the mask, position of the angle, slope).
        num_angles: how many angles it takes.
        real: True where the diagonal is ±1 at every angle.
    """

    masks: tuple[int, ...]
    offsets: tuple[float, ...]
    terms: tuple[tuple[int, int, float], ...]
    num_angles: int
    real: bool = False


@dataclass(frozen=True)
class PermutationStep:
    """An index map: amplitude i goes to place affine(i); None where it is data of its scan."""

    affine: Affine | None
    num_angles: int = 0


@dataclass(frozen=True)
class MatrixStep:
    """A matrix on neighbouring bits: out[a, k, l] = Σ_j M[k, j] s[a, j, l], l the bits below.

    Attributes:
        parts: what the matrix is the Kronecker product of, from the lowest bits up.
        base: the lowest of the bits.
    """

    parts: tuple[FusedGates, ...]
    base: int = 0

    @functools.cached_property
    def num_bits(self) -> int:
        """On how many bits it acts."""
        return sum(part.num_bits for part in self.parts)

    @functools.cached_property
    def num_angles(self) -> int:
        """How many angles it takes: those of the parts, one after the other."""
        return sum(part.num_angles for part in self.parts)

    @functools.cached_property
    def real(self) -> bool:
        """Is its matrix real at every angle?"""
        return all(part.real for part in self.parts)

    @functools.cached_property
    def is_identity(self) -> bool:
        """Does it do nothing?"""
        return all(part.is_identity for part in self.parts)


@dataclass(frozen=True)
class UniformStep:
    """A matrix on the lowest bits, given by data: gates of any kind, see `irregular`.

    Attributes:
        num_bits: how many.
        num_angles: how many gates with an angle it is the product of.
        real: if not, bit `num_bits` tells the imaginary from the real part.
    """

    num_bits: int
    num_angles: int
    real: bool


@dataclass(frozen=True)
class GateStep:
    """One dense gate, for batches whose gates differ, see `lanes`.

    Attributes:
        form: what it does.
        bits: where: bit k of the form's matrix is bits[k].
    """

    form: GateForm
    bits: tuple[int, ...]

    @property
    def num_angles(self) -> int:
        """How many angles it takes."""
        return 0 if self.form.constant else 1


Step: TypeAlias = "DiagonalStep | PermutationStep | MatrixStep | UniformStep | GateStep"


@dataclass(frozen=True)
class Scheduled:
    """An step and where its angles are: positions in the plan's expressions, weights first."""

    step: Step
    angles: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class ScannedSteps:
    """Steps that are done `repeats` times, with other angles each time: one `lax.scan`.

    Attributes:
        steps: what is done each time.
        angles: for each step an array of shape (repeats, step.num_angles).
        reads_inputs: for each step, whether any of its angles depends on an input.
        data: for each step constant arrays with a leading axis of repeats: what differs from one
            repeat to the next beside the angles.
    """

    repeats: int
    steps: tuple[Step, ...]
    angles: tuple[np.ndarray, ...]
    reads_inputs: tuple[bool, ...]
    data: tuple[tuple[np.ndarray, ...], ...]
