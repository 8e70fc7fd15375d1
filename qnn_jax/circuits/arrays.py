"""The one check of arrays that callers hand over; NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from qnn_jax.circuits.checks import BYTES, is_integer, shown
from qnn_jax.errors import InputError


def as_numbers(name: str, value: Any, complex_too: bool = False) -> np.ndarray:
    """An argument as an array of numbers in this machine's byte order, of whatever shape.

    Lists, tuples and whatever NumPy makes an array of will do. An empty one holds floats. Refused
    are rows of several lengths, masked entries, and what is no number: text, bytes, flags, dates,
    durations, records, objects. NumPy would read most of them as numbers.
    """
    kinds = "fiuc" if complex_too else "fiu"
    what = "numbers" if complex_too else "real numbers"
    if np.ma.is_masked(value):
        raise InputError(
            f"Argument `{name}` must have a number everywhere, but has masked entries; fill them, "
            "or leave their rows out."
        )
    try:
        array = np.asarray(None if isinstance(value, BYTES) else value)
    except Exception as error:  # whatever a foreign type raises when it is to be an array
        if isinstance(error, ValueError) and "inhomogeneous" in str(error):
            raise InputError(
                f"Argument `{name}` must have rows of one length, but is {shown(value)}."
            ) from None
        array = np.asarray(None)
    if array.dtype.kind == "V" and array.dtype.type is not np.void:  # JAX's bfloat16 and similar
        array = array.astype(np.float32)
    plain = array.dtype.kind in kinds
    if not plain and array.size == 0 and array.dtype.kind in "bO":
        return np.zeros(array.shape)
    if not plain:
        if array.dtype == object and any(is_integer(v) and abs(v) >= 2**64 for v in array.flat):
            raise InputError(
                f"Argument `{name}` must hold {what}, but has an integer of more than 64 bits; "
                "write large numbers as floats, such as 1e30."
            )
        found = f"has dtype {array.dtype}" if hasattr(value, "dtype") else f"is {shown(value)}"
        raise InputError(f"Argument `{name}` must hold {what}, but {found}.")
    if array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):  # of 80 bits and more
        array = array.astype(complex if array.dtype.kind == "c" else float)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def finite_array(
    name: str, value: Any, shape: tuple[int | str, ...], least: float = -np.inf
) -> np.ndarray:
    """Finite real numbers of a shape, float64, none below `least`.

    `shape` has for each axis the length, or a word where any length of at least 1 will do; a word
    with a question mark may be 0, too.
    """
    array = as_numbers(name, value).astype(float, copy=False)
    if array.ndim != len(shape) or any(
        (found == 0 and not wanted.endswith("?")) if isinstance(wanted, str) else found != wanted
        for found, wanted in zip(array.shape, shape, strict=True)
    ):
        words = ", ".join(str(wanted).rstrip("?") for wanted in shape)
        expected = f"({words}{',' if len(shape) == 1 else ''})"
        raise InputError(
            f"Argument `{name}` must have shape {expected}, but has shape {array.shape}."
        )
    wrong = ~(np.isfinite(array) & (array >= least))
    if wrong.any():
        where = tuple(int(k) for k in np.argwhere(wrong)[0])
        rule = "finite" if least == -np.inf else f"finite and at least {least:g}"
        place = f"{name}[{', '.join(map(str, where))}]" if where else "it"
        raise InputError(f"Argument `{name}` must be {rule}, but {place} is {array[where]}.")
    return array
