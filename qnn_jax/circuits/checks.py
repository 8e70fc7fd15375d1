"""Checks that all public functions share; each refuses in one sentence with the argument's name."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from qnn_jax.errors import InputError

#: Types that Python and NumPy would read as numbers from 0 to 255.
BYTES = bytes | bytearray | memoryview


def shortened(text: str, length: int = 100) -> str:
    """A text that is no longer than about `length`, for a message or a representation."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"


def shown(value: object) -> str:
    """A value as messages show it: on one line and not too long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # for instance an integer of more digits than Python prints
        text = f"a value of type {type(value).__name__}"
    return shortened(text)


def is_integer(value: object) -> bool:
    """Is it an integer, numpy's included, and no bool?"""
    if type(value) is int:  # the usual case; asking an abstract class is ten times slower
        return True
    # numpy's durations call themselves integers.
    return (
        isinstance(value, numbers.Integral)
        and not isinstance(value, bool)
        and _kind(value) in ("", "i", "u")
    )


def _kind(value: object) -> str:
    """The kind of a numpy dtype; empty where there is none."""
    return str(getattr(getattr(value, "dtype", None), "kind", ""))


def _of_no_axis(value: Any) -> Any:
    """The number of an array of no axes, as NumPy and JAX have it for a single number."""
    # Python's and numpy's own numbers pass at the first question. A masked one has no value.
    if not isinstance(value, numbers.Number) and getattr(value, "ndim", None) == 0:
        if hasattr(value, "mask"):
            return value
        try:
            return value.item()
        except Exception:  # a traced array has no value yet, others have no number
            return value
    return value


def integer(name: str, value: int, what: str = "an integer") -> int:
    """Refuse what is no integer, which messages call `what`; give back an int."""
    number = value if type(value) is int else _of_no_axis(value)
    if not is_integer(number):
        raise InputError(f"Argument `{name}` must be {what}, but is {shown(value)}.")
    return int(number)


def at_least(name: str, value: int, least: int, most: int | None = None) -> int:
    """Refuse what is no integer of at least `least`, and of at most `most`; give back an int."""
    number = integer(name, value, f"an integer of at least {least}")
    if number < least:
        raise InputError(
            f"Argument `{name}` must be an integer of at least {least}, but is {shown(value)}."
        )
    if most is not None and number > most:
        raise InputError(f"Argument `{name}` must be at most {most}, but is {shown(value)}.")
    return number


def real(
    name: str,
    value: float,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    what: str = "a real number",
) -> float:
    """Refuse what is no finite real number within bounds; give back a float.

    It is from `least` to `most`, and between `above` and `below`, which are excluded. Messages call
    it `what`.
    """
    number = value if type(value) in (int, float) else _of_no_axis(value)
    if isinstance(number, bool) or not isinstance(number, numbers.Real) or _kind(number) == "m":
        raise InputError(f"Argument `{name}` must be {what}, but is {shown(value)}.")
    try:
        found = float(number)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise InputError(f"Argument `{name}` must be finite, but is {found}.")
    if not (least <= found <= most and above < found < below):
        bounds = (("at least", least), ("above", above), ("at most", most), ("below", below))
        rules = " and ".join(f"{word} {bound:g}" for word, bound in bounds if math.isfinite(bound))
        raise InputError(f"Argument `{name}` must be {rules}, but is {shown(value)}.")
    return found


def flag(name: str, value: bool) -> bool:
    """Refuse what is neither True nor False: "no" and 0 would both pass for something."""
    if not isinstance(value, bool) and (_kind(value) != "b" or getattr(value, "ndim", 1)):
        raise InputError(f"Argument `{name}` must be True or False, but is {shown(value)}.")
    return bool(value)


def function(name: str, value: Any) -> Any:
    """Refuse what cannot be called."""
    if not callable(value):
        raise InputError(f"Argument `{name}` must be a function, but is {shown(value)}.")
    return value


def of_type(name: str, value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    """Refuse what is of another type than `kind`, which messages call `what`."""
    if not isinstance(value, kind):
        raise InputError(f"Argument `{name}` must be {what}, but is {shown(value)}.")
    return value


def several(name: str, value: Any, what: str, again: bool = False) -> tuple[Any, ...]:
    """Refuse what has no order or is read otherwise than entry by entry; give back a tuple.

    Text and bytes are one thing, sets have no order, a mapping would be read as its keys. What is
    read `again` must not be an iterator, which is empty the second time.
    """
    if type(value) in (tuple, list):  # the usual cases
        return tuple(value)
    iterator = again and isinstance(value, Iterator)
    # A record of numpy (kind "V") is one thing with several fields.
    if not iterator and _kind(value) != "V" and not isinstance(value, BYTES | str | Set | Mapping):
        try:
            return tuple(value)
        except InputError:  # raised by one of our own generators
            raise
        except Exception:  # whatever a foreign type raises: it cannot be read
            pass
    raise InputError(f"Argument `{name}` must be {what}, but is {shown(value)}.")


#: The most qubits and gates of a circuit: more than any hardware has or can do, and few enough to
#: be built within a minute. How many can be simulated is asked where that is done.
MAX_QUBITS = 5000
MAX_GATES = 500_000
#: The most inputs, and the most weights: arrays of that length are made for a circuit.
MAX_PARAMETERS = 1_000_000


def num_qubits_of(value: int, least: int = 1, name: str = "num_qubits") -> int:
    """Refuse what is no number of qubits."""
    return at_least(name, value, least, MAX_QUBITS)


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

    Without x64, `jax.random.key` takes a seed modulo 2**32 and does not warn.
    """
    rule = f"an integer between 0 and {_SEEDS - 1}"
    number = integer(name, value, rule)
    if not 0 <= number < _SEEDS:
        raise InputError(f"Argument `{name}` must be {rule}, but is {shown(value)}.")
    return number


def path_of(name: str, value: str | Path) -> Path:
    """Refuse what can be no path; whether it exists is not asked. `~` is the home folder."""
    try:
        path = Path(value).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.lstat()
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InputError(
            f"Argument `{name}` must be a path, but is {shown(value)} ({reason})."
        ) from None
    return path


def one_of(name: str, value: str, choices: Sequence[str]) -> str:
    """Refuse what is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(
            f"Argument `{name}` must be one of {', '.join(map(repr, choices))}, but is "
            f"{shown(value)}."
        )
    return str(value)


def qubits_of(value: object) -> tuple[int, ...]:
    """One qubit or several as a tuple of integers of at least 0."""
    one = value if type(value) in (int, tuple) else _of_no_axis(value)
    if is_integer(one):
        many: tuple[Any, ...] = (one,)
    else:
        many = several("qubits", value, "an integer of at least 0 or a sequence of them")
    for qubit in many:
        if not is_integer(qubit) or qubit < 0:
            raise InputError(
                f"Argument `qubits` must hold integers of at least 0, but holds {shown(qubit)}."
            )
    return tuple(int(qubit) for qubit in many)
