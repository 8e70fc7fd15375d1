"""The atoms of a plan: the few things that are ever done to a state. Static values only."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qnn_jax.simulate.bits import Affine
from qnn_jax.simulate.primitives import Form
from qnn_jax.simulate.recipes import Recipe


@dataclass(frozen=True)
class Phase:
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
class Move:
    """An index map: amplitude i goes to place affine(i); None where it is data of its segment."""

    affine: Affine | None
    num_angles: int = 0


@dataclass(frozen=True)
class Block:
    """A matrix on neighbouring bits: out[a, k, l] = Σ_j M[k, j] s[a, j, l], l the bits below.

    Attributes:
        parts: what the matrix is the Kronecker product of, from the lowest bits up.
        base: the lowest of the bits.
    """

    parts: tuple[Recipe, ...]
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
class Patch:
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
class Gate:
    """One dense gate, for batches whose gates differ, see `lanes`.

    Attributes:
        form: what it does.
        bits: where: bit k of the form's matrix is bits[k].
    """

    form: Form
    bits: tuple[int, ...]

    @property
    def num_angles(self) -> int:
        """How many angles it takes."""
        return 0 if self.form.constant else 1


Atom: TypeAlias = "Phase | Move | Block | Patch | Gate"


@dataclass(frozen=True)
class Step:
    """An atom and where its angles are: positions in the plan's expressions, weights first."""

    atom: Atom
    angles: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Segment:
    """Steps that are done `repeats` times, with other angles each time: one `lax.scan`.

    Attributes:
        atoms: what is done each time.
        angles: for each atom an array of shape (repeats, atom.num_angles).
        reads_inputs: for each atom, whether any of its angles depends on an input.
        data: for each atom constant arrays with a leading axis of repeats: what differs from one
            repeat to the next beside the angles.
    """

    repeats: int
    atoms: tuple[Atom, ...]
    angles: tuple[np.ndarray, ...]
    reads_inputs: tuple[bool, ...]
    data: tuple[tuple[np.ndarray, ...], ...]
