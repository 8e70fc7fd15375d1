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
    real: bool


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
    """A matrix on the lowest bits, given by data: gates of any kind, see `uniform`.

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
    """One dense gate, for batches whose gates differ, see `batch_last`.

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

    @property
    def real(self) -> bool:
        """Is it real at every angle?"""
        return self.form.real


@dataclass(frozen=True)
class Shards:
    """A state over 2**num_bits devices: the bits above `local_bits` are those of a device's number.

    Attributes:
        axis: the axis of the mesh.
        num_bits: bits of a device's number, the global bits.
        local_bits: bits of an index on a device.
    """

    axis: str
    num_bits: int
    local_bits: int

    def local(self, mask: int) -> int:
        """The part of a mask on the local bits."""
        return mask & ((1 << self.local_bits) - 1)


@dataclass(frozen=True)
class PermutationStep:
    """An index map: amplitude i goes to place affine(i).

    Attributes:
        affine: the map on all bits; None where it is data of its scan.
        shards: the devices, where there are several. Global bits stay as they are, so that
            amplitudes stay on their device; but where they go may depend on its number.
    """

    affine: Affine | None
    shards: Shards | None = None
    num_angles: int = 0


@dataclass(frozen=True)
class ExchangeStep:
    """Swap the highest local bits with bits of the device's number, in order: one all-to-all."""

    shards: Shards
    bits: tuple[int, ...]
    num_angles: int = 0


@dataclass(frozen=True)
class DeviceStep:
    """Devices pass on all that they have, k to device affine(k): one collective permute."""

    shards: Shards
    affine: Affine
    num_angles: int = 0


@dataclass(frozen=True)
class LocalDiagonalStep(DiagonalStep):
    """A diagonal whose masks reach over the global bits: there they are signs of a device.

    The attributes of a DiagonalStep are those on the local bits; its parameters are summed up from
    those of `whole`, with the signs of a device.
    """

    shards: Shards
    whole: DiagonalStep


@dataclass(frozen=True)
class SelectedMatrixStep:
    """A matrix of which there are several: bits of a device's number say which it multiplies by.

    Attributes:
        shards: the devices.
        options: the matrices, all on the same bits.
        controls: for each bit of an option's number a parity of the device's number, (mask, sign).
    """

    shards: Shards
    options: tuple[MatrixStep, ...]
    controls: tuple[tuple[int, int], ...]

    @property
    def base(self) -> int:
        """The lowest of the bits."""
        return self.options[0].base

    @property
    def num_bits(self) -> int:
        """On how many bits it acts."""
        return self.options[0].num_bits

    @functools.cached_property
    def num_angles(self) -> int:
        """How many angles it takes: those of the options, one after the other."""
        return sum(option.num_angles for option in self.options)

    @functools.cached_property
    def real(self) -> bool:
        """Are all options real at every angle?"""
        return all(option.real for option in self.options)


Step: TypeAlias = (
    "DiagonalStep | PermutationStep | MatrixStep | UniformStep | GateStep | ExchangeStep"
    " | DeviceStep | SelectedMatrixStep"
)
#: A matrix step, and the numbers of its angles.
PlacedMatrix: TypeAlias = "tuple[MatrixStep, tuple[int, ...]]"


def makes_complex(step: Step) -> bool:
    """Does a real state become complex? For a uniform step both parts are one real state."""
    return not isinstance(step, UniformStep) and not getattr(step, "real", True)


@dataclass(frozen=True)
class Scheduled:
    """A step and where its angles are: positions in the plan's expressions, weights first."""

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
