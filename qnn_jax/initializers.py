"""Initialisers of circuit weights, in the form that Flax takes: (key, shape, dtype) -> array."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array


def uniform(bound: float) -> Callable[..., Array]:
    """Weights uniform in [-bound, bound], in radians."""

    def init(key: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return jax.random.uniform(key, shape, dtype or float, -bound, bound)

    return init


#: Weights uniform over the whole circle, [-π, π].
uniform_angles = uniform(math.pi)
