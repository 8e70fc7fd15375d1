"""Compare the results of two engines before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

#: Allowed difference of two engines in single precision, in a value or an entry of a gradient …
ABSOLUTE = 2e-5
#: … plus this fraction of the largest entry (deep circuits accumulate rounding errors).
RELATIVE = 2e-3
COMPARED = ("values", "inputs_gradient", "weights_gradient")


def difference(found: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
    """The largest difference in units of the allowed one; inf for malformed results."""
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
