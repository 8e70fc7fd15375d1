"""Checks that several constructors share; each refuses in one sentence."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

from qnn_jax.errors import InputError


def is_integer(value: object) -> bool:
    """Is it an integer, numpy's included, and no bool?"""
    if type(value) is int:  # the usual case; asking an abstract class is ten times slower
        return True
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def at_least(name: str, value: int, least: int) -> int:
    """Refuse what is no integer of at least `least`."""
    if not is_integer(value) or value < least:
        raise InputError(
            f"Argument `{name}` must be an integer of at least {least}, but is {value!r}."
        )
    return int(value)


#: The most qubits and gates of a circuit: more than any hardware has or can do, and few enough to
#: be built within a minute. How many can be simulated is asked where that is done.
MAX_QUBITS = 5000
MAX_GATES = 500_000


def num_qubits_of(value: int, least: int = 1, name: str = "num_qubits") -> int:
    """Refuse what is no number of qubits."""
    if at_least(name, value, least) > MAX_QUBITS:
        raise InputError(f"Argument `{name}` must be at most {MAX_QUBITS}, but is {value}.")
    return int(value)


def check_num_gates(count: int) -> None:
    """Refuse a circuit that is too large, by the number of its gates, before it is built."""
    if count > MAX_GATES:
        size = str(count) if count < 10**12 else "more than a million million"
        raise InputError(
            f"Argument `ops` of a circuit must hold at most {MAX_GATES} gates, but would hold at "
            f"least {size}; take fewer qubits, repetitions or controls."
        )


#: One above the largest seed: JAX's keys without x64, NumPy's and Aer's generators take 32 bits.
_SEEDS = 2**32


def seed(name: str, value: int) -> int:
    """Refuse what is no seed.

    `jax.random.key` takes a seed modulo 2**32 without x64: one above it would silently be another.
    """
    if not is_integer(value) or not 0 <= value < _SEEDS:
        raise InputError(
            f"Argument `{name}` must be an integer between 0 and {_SEEDS - 1}, but is {value!r}."
        )
    return int(value)


def one_of(name: str, value: str, choices: Sequence[str]) -> str:
    """Refuse what is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(
            f"Argument `{name}` must be one of {', '.join(map(repr, choices))}, but is {value!r}."
        )
    return value


def qubits_of(value: object) -> tuple[int, ...]:
    """One qubit or several as a tuple of integers of at least 0."""
    one = is_integer(value) or isinstance(value, str) or not isinstance(value, Iterable)
    several: tuple[Any, ...] = (value,) if one else tuple(value)  # type: ignore[arg-type]
    for qubit in several:
        if not is_integer(qubit) or qubit < 0:
            raise InputError(
                f"Argument `qubits` must hold integers of at least 0, but holds {qubit!r}."
            )
    return tuple(int(qubit) for qubit in several)


def shortened(text: str, length: int = 100) -> str:
    """A text that is no longer than about `length`, for a representation in one line."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"
