"""Initialisers of circuit weights, in the form that Flax takes: (key, shape, dtype) -> array."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from qnn_jax.circuits.angles import Call, Expression, symbols
from qnn_jax.circuits.checks import function, real, shown
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import checked_numbers

__all__ = ["recommended", "uniform"]

#: Initial weights that multiply an input are within ± this: a feature in radians then rotates a
#: gate by at most itself, and the initial model is smooth.
SCALE_BOUND = 1.0


def uniform(bound: float) -> Callable[..., Array]:
    """Weights uniform in [-bound, bound], in radians."""
    bound = checked_bound("bound", bound)

    def init(key: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return jax.random.uniform(key, shape, dtype or float, -bound, bound)

    return init


def checked_bound(name: str, bound: float) -> float:
    """Refuse what is no real number of at least 0; that of a population is traced."""
    if isinstance(bound, jax.core.Tracer) and bound.shape == () and bound.dtype.kind == "f":
        return bound
    return real(name, bound, least=0)


def initial_weights(weight_init: Callable[..., Any], key: Array, shape: tuple[int, ...]) -> Array:
    """Check the result of an initialiser.

    Raises:
        InputError: for another shape, and for values that are not real or not finite: integers
            would stay integers, which cannot be trained.
    """
    weights = function("weight_init", weight_init)(key, shape)
    dtype = getattr(weights, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating) or weights.shape != shape:
        raise InputError(
            "Argument `weight_init` must give an array of floating-point numbers of shape "
            f"{shape}, but gives {shown(weights)}."
        )
    return checked_numbers("weight_init", weights)


def recommended(circuit: Circuit) -> Callable[..., Array]:
    """The default of `QuantumLayer`: scales uniform in [-1, 1], angles in [-π, π].

    A weight is a scale if it multiplies an input (or divides one, or is an exponent of one), as
    in `data_reuploading`: there w[0]*x[0] + w[1] has the scale w[0] and the angle w[1]. Scales of
    up to π make the first model oscillate several times over the range of a feature, and training
    often stops in a poor minimum. A circuit without scales starts as with `uniform(math.pi)`.

    >>> from qnn_jax import Circuit, Op, w, x
    >>> circuit = Circuit(1, (Op("ry", 0, w[0] * x[0] + w[1]),))
    >>> weights = recommended(circuit)(jax.random.key(0), (2,))
    >>> bool(abs(weights[0]) <= 1), bool(abs(weights[1]) <= math.pi)
    (True, True)

    Raises:
        InputError: from the initialiser, if `shape` is not that of the circuit's weights.
    """
    scales, num_weights = _scales(checked_circuit(circuit)), circuit.num_weights
    if not scales:
        return uniform(math.pi)
    bounds = np.array([SCALE_BOUND if j in scales else math.pi for j in range(num_weights)])

    def init(key: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
        if tuple(shape)[-1:] != (num_weights,):
            raise InputError(
                f"Argument `shape` must end in {num_weights}, the number of weights, but is "
                f"{tuple(shape)}."
            )
        return jax.random.uniform(key, shape, dtype or float, -bounds, bounds)

    return init


@functools.lru_cache(maxsize=256)
def _scales(circuit: Circuit) -> frozenset[int]:
    """The weights that multiply, divide or exponentiate an input."""
    found: set[int] = set()
    waiting: list[Expression] = list(set(circuit.angles))
    while waiting:
        part = waiting.pop()
        if not isinstance(part, Call):
            continue
        waiting += part.arguments
        if part.function in ("mul", "div", "pow"):
            left, right = (set(symbols(argument)) for argument in part.arguments)
            for one, other in ((left, right), (right, left)):
                if any(symbol.vector == "x" for symbol in other):
                    found |= {symbol.index for symbol in one if symbol.vector == "w"}
    return frozenset(found)
