"""Bits of the numbers of basis states: affine maps over GF(2), and parities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


class Span:
    """What some masks generate by XOR, kept by Gaussian elimination over GF(2)."""

    def __init__(self, masks: Iterable[int] = ()) -> None:
        self._pivots: dict[int, int] = {}
        self._known: dict[int, int] = {}
        self._count = 0
        for mask in masks:
            self.add(mask)

    def _reduced(self, mask: int) -> tuple[int, int]:
        """What is left of a mask, and of which of those that were added it is the sum."""
        used = 0
        while mask and (top := mask.bit_length()) in self._pivots:
            mask ^= self._pivots[top]
            used ^= self._known[top]
        return mask, used

    def __contains__(self, mask: int) -> bool:
        return not self._reduced(mask)[0]

    def numbers_of(self, mask: int) -> int:
        """Of which of the masks that were added this one is the sum, as bits."""
        rest, used = self._reduced(mask)
        assert not rest
        return used

    def add(self, mask: int) -> bool:
        """Add a mask; False where it is a sum of the others."""
        rest, used = self._reduced(mask)
        if rest:
            self._pivots[rest.bit_length()] = rest
            self._known[rest.bit_length()] = used ^ (1 << self._count)
        self._count += 1
        return bool(rest)


@dataclass(frozen=True)
class Affine:
    """The map i -> (XOR of columns[q] over the set bits q of i) ^ offset, a bijection."""

    columns: tuple[int, ...]
    offset: int = 0

    def __call__(self, i: int) -> int:
        """The image of a number."""
        image = self.offset
        for q, column in enumerate(self.columns):
            if i >> q & 1:
                image ^= column
        return image

    @property
    def is_identity(self) -> bool:
        """Does it leave every number where it is?"""
        return not self.offset and all(c == 1 << q for q, c in enumerate(self.columns))

    @property
    def matrix(self) -> np.ndarray:
        """The permutation matrix of amplitudes."""
        size = 1 << len(self.columns)
        matrix = np.zeros((size, size))
        matrix[[self(i) for i in range(size)], range(size)] = 1
        return matrix

    def then(self, other: Affine) -> Affine:
        """First this map, then the other."""
        linear = Affine(other.columns)
        return Affine(tuple(map(linear, self.columns)), other(self.offset))

    def inverse(self) -> Affine:
        """The map back."""
        columns = Span(self.columns)
        back = Affine(tuple(columns.numbers_of(1 << q) for q in range(len(self.columns))))
        return Affine(back.columns, back(self.offset))

    def pull(self, mask: int) -> tuple[int, int]:
        """The mask m and the sign s with parity(mask & self(i)) = parity(m & i) ^ s."""
        pulled = sum(
            ((column & mask).bit_count() & 1) << q for q, column in enumerate(self.columns)
        )
        return pulled, (self.offset & mask).bit_count() & 1


@dataclass(frozen=True)
class Toffoli:
    """The map i -> i ^ flip where two parities are 1, i elsewhere; its own inverse.

    Attributes:
        controls: for each parity a mask m and a sign s: it is parity(i & m) ^ s.
        flip: of an even number of bits in each mask, so that no parity changes.
    """

    controls: tuple[tuple[int, int], tuple[int, int]]
    flip: int

    def __call__(self, i: int) -> int:
        """The image of a number."""
        on = all((i & mask).bit_count() & 1 ^ sign for mask, sign in self.controls)
        return i ^ self.flip if on else i

    def __post_init__(self) -> None:
        assert not any((mask & self.flip).bit_count() & 1 for mask, _ in self.controls)

    def on_bits(self, places: tuple[int, ...]) -> Toffoli:
        """The map of a few bits as one of all: bit k of this one is bit places[k]."""
        (first, a), (second, b) = self.controls
        controls = (spread(first, places), a), (spread(second, places), b)
        return Toffoli(controls, spread(self.flip, places))

    def seen_through(self, affine: Affine) -> Toffoli:
        """The t with t(affine(i)) = affine(self(i))."""
        back = affine.inverse()
        controls = [
            (pulled[0], pulled[1] ^ sign)
            for mask, sign in self.controls
            for pulled in [back.pull(mask)]
        ]
        return Toffoli((controls[0], controls[1]), affine(self.flip) ^ affine.offset)


@dataclass(frozen=True)
class IndexMap:
    """First an affine map, then some `Toffoli`s: a bijection."""

    affine: Affine
    toffolis: tuple[Toffoli, ...] = ()

    def __call__(self, i: int) -> int:
        """The image of a number."""
        image = self.affine(i)
        for toffoli in self.toffolis:
            image = toffoli(image)
        return image

    @property
    def is_identity(self) -> bool:
        """Does it leave every number where it is?"""
        return self.affine.is_identity and not self.toffolis

    def then(self, other: Affine | Toffoli) -> IndexMap:
        """First this map, then the other."""
        if isinstance(other, Toffoli):
            return IndexMap(self.affine, (*self.toffolis, other))
        moved = tuple(toffoli.seen_through(other) for toffoli in self.toffolis)
        return IndexMap(self.affine.then(other), moved)

    def inverse(self) -> IndexMap:
        """The map back."""
        back = IndexMap(identity(len(self.affine.columns)), self.toffolis[::-1])
        return back.then(self.affine.inverse())


def of_rows(rows: Sequence[tuple[int, int]]) -> Affine:
    """The map to numbers whose bit k is the parity (mask, sign) of row k."""
    columns = (
        sum((mask >> q & 1) << k for k, (mask, _) in enumerate(rows)) for q in range(len(rows))
    )
    return Affine(tuple(columns), sum(sign << k for k, (_, sign) in enumerate(rows)))


def columns_of(index_map: Affine | IndexMap, num_toffolis: int = 0) -> np.ndarray:
    """A map as numbers: its columns, its offset, and what each Toffoli flips.

    The parities that control Toffoli t are bits n + 2t and n + 2t + 1 of all these numbers, as if
    they were bits of an index: so an affine map yields them beside the index, and each Toffoli
    changes those of the later ones.

    Args:
        index_map: the map.
        num_toffolis: how many it has, or more; those left over flip nothing.

    Returns:
        Shape (n + 1 + num_toffolis,).
    """
    if isinstance(index_map, Affine):
        index_map = IndexMap(index_map)
    affine, toffolis = index_map.affine, index_map.toffolis
    n = len(affine.columns)
    controls = [control for toffoli in toffolis for control in toffoli.controls]

    def with_parities(bits: int, signs: bool = False) -> int:
        parities = [(bits & mask).bit_count() & 1 ^ (sign & signs) for mask, sign in controls]
        return bits | sum(parity << (n + k) for k, parity in enumerate(parities))

    numbers = [*map(with_parities, affine.columns), with_parities(affine.offset, signs=True)]
    numbers += [with_parities(toffoli.flip) for toffoli in toffolis]
    return np.array(numbers + [0] * (num_toffolis - len(toffolis)), np.int32)


def identity(num_bits: int) -> Affine:
    """The map that changes nothing."""
    return Affine(tuple(1 << q for q in range(num_bits)))


def bit_permutation(places: tuple[int, ...]) -> Affine:
    """The map that moves bit q to bit places[q]."""
    return Affine(tuple(1 << place for place in places))


def affine_of(images: tuple[int, ...]) -> Affine | None:
    """The affine map with these images, or None where the permutation is not affine."""
    num_bits = len(images).bit_length() - 1
    candidate = Affine(tuple(images[1 << q] ^ images[0] for q in range(num_bits)), images[0])
    return candidate if all(candidate(i) == image for i, image in enumerate(images)) else None


def toffoli_of(images: tuple[int, ...]) -> Toffoli | None:
    """The Toffoli with these images, or None where the permutation is none."""
    moved = [i for i, image in enumerate(images) if image != i]
    if 4 * len(moved) != len(images) or len({images[i] ^ i for i in moved}) != 1:
        return None
    first = moved[0]
    # What moves has to be a plane: the masks of equal parity all over it are 0, a, b and a ^ b.
    masks = [
        mask
        for mask in range(1, len(images))
        if not any((mask & (i ^ first)).bit_count() & 1 for i in moved)
    ]
    if len(masks) != 3:
        return None
    one, other = ((mask, (mask & first).bit_count() & 1 ^ 1) for mask in masks[:2])
    return Toffoli((one, other), images[first] ^ first)


def is_odd(mask: int) -> bool:
    """Has a number an odd number of set bits?"""
    return bool(mask.bit_count() & 1)


def orthogonal(masks: Sequence[int], vectors: Sequence[int]) -> list[int]:
    """A basis of the sums of masks that are even along all vectors."""
    found = list(masks)
    for vector in vectors:
        pivot = next((mask for mask in found if is_odd(mask & vector)), None)
        if pivot is None:
            continue
        found.remove(pivot)
        found = [mask ^ pivot if is_odd(mask & vector) else mask for mask in found]
    return found


def spread(value: int, places: tuple[int, ...]) -> int:
    """The number whose bit places[k] is bit k of `value`."""
    return sum((value >> k & 1) << place for k, place in enumerate(places))


def on_bits(local: Affine, places: tuple[int, ...], num_bits: int) -> Affine:
    """A map of a few bits as a map of all: local bit k is bit places[k]."""
    columns = [1 << q for q in range(num_bits)]
    for k, place in enumerate(places):
        columns[place] = spread(local.columns[k], places)
    return Affine(tuple(columns), spread(local.offset, places))


def parity_coefficients(values: np.ndarray) -> np.ndarray:
    """The c with values[i] = Σ c[mask] (-1)^popcount(i & mask): a Walsh-Hadamard transform."""
    size = len(values)
    return np.asarray(parity_signs(np.arange(size), size.bit_length() - 1) @ values / size)


def parity_signs(masks: Sequence[int] | np.ndarray, num_bits: int) -> np.ndarray:
    """(-1)^popcount(i & mask), shape (masks, 2**num_bits)."""
    i = np.arange(1 << num_bits)
    return np.asarray(1 - 2 * (np.bitwise_count(np.array(masks)[:, None] & i) & 1).astype(int))
