"""Do two engines find the same? Asked before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

#: What two engines in single precision may differ by, in a value or an entry of a gradient …
ABSOLUTE = 2e-5
#: … and beside that, as a part of the largest entry (deep circuits add up many roundings).
RELATIVE = 2e-3
COMPARED = ("values", "inputs_gradient", "weights_gradient")


def difference(found: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
    """The largest difference in units of what is allowed: up to 1 they agree; inf if malformed."""
    worst = 0.0
    for name in COMPARED:
        ours, theirs = (np.asarray(side[name], float) for side in (found, reference))
        if ours.shape != theirs.shape:
            return float("inf")
        if ours.size == 0:
            continue
        allowed = ABSOLUTE + RELATIVE * float(np.max(np.abs(theirs)))
        largest = float(np.max(np.abs(ours - theirs)))
        if not np.isfinite(largest):
            return float("inf")
        worst = max(worst, largest / allowed)
    return worst
