"""Finding what repeats in a row of steps."""

from __future__ import annotations

import numpy as np

from qnn_jax.simulate import tuning
from qnn_jax.simulate.atoms import Segment, Step


def segments_that_repeat(steps: list[Step], num_weights: int) -> tuple[Segment, ...]:
    """Find what repeats: greedily the period that covers most steps from here on."""

    def signature(step: Step) -> object:
        return step.atom, tuple(k >= num_weights for k in step.angles)

    kinds: dict[object, int] = {}
    row = [kinds.setdefault(signature(step), len(kinds)) for step in steps]
    segments: list[Segment] = []
    alone: list[Step] = []
    start, longest = 0, tuning.current().longest_period
    while start < len(steps):
        best = (1, 1)
        for period in range(1, min(longest, (len(row) - start) // 2) + 1):
            pattern = row[start : start + period]
            repeats = 1
            while row[start + repeats * period : start + (repeats + 1) * period] == pattern:
                repeats += 1
            if repeats > 1 and repeats * period > best[0] * best[1]:
                best = (period, repeats)
        period, repeats = best
        if repeats == 1:
            alone.append(steps[start])
        else:
            if alone:
                segments.append(_segment(alone, 1, num_weights))
                alone = []
            span = steps[start : start + period * repeats]
            segments.append(_segment(span, repeats, num_weights))
        start += period * repeats
    if alone:
        segments.append(_segment(alone, 1, num_weights))
    return tuple(segments)


def _segment(steps: list[Step], repeats: int, num_weights: int) -> Segment:
    period = len(steps) // repeats
    angles = [
        np.array([s.angles for s in steps[k::period]], int).reshape(repeats, -1)
        for k in range(period)
    ]
    return Segment(
        repeats,
        tuple(step.atom for step in steps[:period]),
        tuple(angles),
        tuple(bool(np.any(numbers >= num_weights)) for numbers in angles),
        ((),) * period,
    )
