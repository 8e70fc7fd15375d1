"""Values that a caller may pass by mistake, and the rules of arguments."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from qiskit.quantum_info import SparsePauliOp

from qnn_jax import Circuit, Op, PauliSum


class Breaks:
    """An object that cannot be used, not even converted to an array."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array")

    def __len__(self) -> int:
        raise RuntimeError("no length")


#: By name, created for each call: generators can be read only once.
POOL: Mapping[str, Callable[[], Any]] = {
    "none": lambda: None,
    "true": lambda: True,
    "numpy true": lambda: np.True_,
    "text": lambda: "nonsense",
    "empty text": lambda: "",
    "digits": lambda: "3",
    "bytes": lambda: b"\x00\x01",
    "bytearray": lambda: bytearray(b"Z"),
    "zero": lambda: 0,
    "minus one": lambda: -1,
    "three": lambda: 3,
    "billion": lambda: 10**9,
    "2**63": lambda: 2**63,
    "1e30": lambda: 10**30,
    "beyond print": lambda: 10**5000,
    "half": lambda: 0.5,
    "two point zero": lambda: 2.0,
    "minus half": lambda: -0.5,
    "large real": lambda: 1e300,
    "nan": lambda: math.nan,
    "infinity": lambda: -math.inf,
    "complex": lambda: 1j,
    "decimal": lambda: Decimal("0.5"),
    "numpy nan": lambda: np.float32(np.nan),
    "numpy complex": lambda: np.complex64(1),
    "numpy text": lambda: np.str_("3"),
    "numpy bytes": lambda: np.bytes_(b"3"),
    "duration": lambda: np.timedelta64(3),
    "date": lambda: np.datetime64("2020-01-01"),
    "masked": lambda: np.ma.masked,
    "empty list": lambda: [],
    "empty tuple": lambda: (),
    "list of none": lambda: [None],
    "list of text": lambda: ["nonsense", "more"],
    "list of digits": lambda: ["1", "2"],
    "list of bytes": lambda: [b"1", b"2"],
    "list of flags": lambda: [True, False],
    "list of negatives": lambda: [-1, -2],
    "list of reals": lambda: [0.5, 1.5],
    "list of lists": lambda: [[0, 1], [2]],
    "list with nan": lambda: [0.5, math.nan],
    "list of huge": lambda: [10**30, 2],
    "deep list": lambda: [[[[[1.0]]]]],
    "long list": lambda: [0.25] * 3_000,
    "dict": lambda: {"a": 1},
    "dict of numbers": lambda: {0: 1.0},
    "set": lambda: {1, 2},
    "set of labels": lambda: {"ZZ", "IZ"},
    "generator": lambda: (k for k in (0.5, 1.5)),
    "range": lambda: range(3),
    "memory": lambda: memoryview(b"abc"),
    "ellipsis": lambda: ...,
    "class": lambda: int,
    "own class": lambda: Circuit,
    "object": lambda: object(),
    "breaks": Breaks,
    "function": lambda: lambda *_, **__: None,
    "raising function": lambda: _raises,
    "module": lambda: math,
    "slice": lambda: slice(1),
    "array of shape (2, 3, 4)": lambda: np.ones((2, 3, 4)),
    "empty array": lambda: np.zeros((0,)),
    "array of nan": lambda: np.full(2, np.nan),
    "array of objects": lambda: np.array([None, "a"], object),
    "array of text": lambda: np.array(["0.5", "1.5"]),
    "array of bytes": lambda: np.array([b"0.5", b"1.5"]),
    "array of flags": lambda: np.array([True, False]),
    "array of complex": lambda: np.array([1j, 2.0]),
    "array of dates": lambda: np.array(["2020-01-01", "2021-01-01"], "datetime64[D]"),
    "array of durations": lambda: np.array([1, 2], "timedelta64[s]"),
    "structured array": lambda: np.zeros(2, [("a", float), ("b", int)]),
    "record": lambda: np.zeros((), [("a", float)])[()],
    "masked array": lambda: np.ma.masked_array([0.5, 1.5], [False, True]),
    "array of one text": lambda: np.array("nonsense"),
    "jax array": lambda: jnp.ones((2, 3, 4)),
    "jax flags": lambda: jnp.array([True, False]),
    "jax complex": lambda: jnp.array([1j, 2]),
    "jax nan": lambda: jnp.full(2, jnp.nan),
    "jax key": lambda: jax.random.key(0),
    "jax keys": lambda: jax.random.split(jax.random.key(0), 2),
    "shape of an array": lambda: jax.ShapeDtypeStruct((2,), jnp.float32),
    "circuit": lambda: Circuit(5, (Op("h", 4),)),
    "op": lambda: Op("h", 0),
    "pauli sum": lambda: PauliSum((("ZZZZZ", 1.0),)),
    "label by qubit": lambda: "X0 Z7",
    "sum of Qiskit": lambda: SparsePauliOp(["ZZZZZ", "ZZZZZ"], [0.5, 1j]),
}


def _raises(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("raised by the user's function")


#: Traced values: the call runs under jax.eval_shape with one of these.
TRACED: Mapping[str, Any] = {
    "traced integer": jax.ShapeDtypeStruct((), jnp.int32),
    "traced number": jax.ShapeDtypeStruct((), jnp.float32),
    "traced vector": jax.ShapeDtypeStruct((2,), jnp.float32),
    "traced flags": jax.ShapeDtypeStruct((2,), jnp.bool_),
    "traced complex": jax.ShapeDtypeStruct((2,), jnp.complex64),
}

#: Whether an argument accepts a value; None if both a result and a refusal are right.
Legal = Callable[[Any], "bool | None"]


@dataclass(frozen=True)
class Kind:
    """The rule of an argument.

    Attributes:
        legal: for a value of the pool.
        forms: other ways to write the valid value, whose result must be the same.
        names: names of the argument in messages, in addition to its own.
    """

    legal: Legal
    forms: Callable[[Any], Iterable[Any]] = lambda value: ()
    names: tuple[str, ...] = ()


def is_integer(value: Any) -> bool:
    return type(value) is int or (
        isinstance(value, np.integer) and not isinstance(value, np.timedelta64)
    )


def is_real(value: Any) -> bool:
    plain = isinstance(value, numbers.Real) and not isinstance(value, bool | np.timedelta64)
    return plain and abs(value) < 2**1000 and math.isfinite(value)


def shape_of(value: Any) -> tuple[int, ...] | None:
    """The shape of a finite array of real numbers, or of lists of them; else None."""
    if isinstance(value, np.ma.MaskedArray):
        return None
    if isinstance(value, np.ndarray | jax.Array):
        if not any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer)):
            return None
        if isinstance(value, jax.core.Tracer):
            return value.shape
        usual = value.dtype.kind in "fiu" and bool(np.isfinite(np.asarray(value)).all())
        return value.shape if usual else None
    if isinstance(value, list | tuple | range):
        shapes = {shape_of(entry) for entry in value}
        if len(shapes) > 1 or None in shapes:
            return None
        return (len(value), *(shapes.pop() if shapes else ()))
    return () if is_real(value) and abs(value) < 2**63 else None


def integer(least: int, most: float = math.inf) -> Kind:
    """An integer in a range; large ones may be refused for their size."""

    def legal(value: Any) -> bool | None:
        if not is_integer(value) or not least <= value <= most:
            return False
        return True if value < 10 else None

    return Kind(legal, lambda n: (np.int64(n), np.uint8(n), np.array(n), np.array(n, ">i4")))


def real(low: float, high: float, closed: str = "[]") -> Kind:
    """A real number between two bounds."""

    def legal(value: Any) -> bool | None:
        if not is_real(value):
            return False
        above = value > low or (value == low and closed[0] == "[")
        below = value < high or (value == high and closed[1] == "]")
        return (None if abs(value) > 1e6 else True) if above and below else False

    return Kind(legal, lambda v: (np.float64(v), np.float32(v), np.array(v), np.array(v, ">f8")))


def array(*shape: int | None, low: float = -math.inf, empty: bool = True) -> Kind:
    """Finite real numbers of a shape; None is any length."""

    def legal(value: Any) -> bool | None:
        found = shape_of(value)
        fits = found is not None and len(found) == len(shape)
        fits = fits and all(b is None or a == b for a, b in zip(found, shape, strict=True))
        if not fits or (not empty and 0 in found):
            return False
        if isinstance(value, jax.core.Tracer):
            return None  # valid for JAX, not for NumPy
        return None if value is None or np.min(np.asarray(value), initial=0) < low else True

    return Kind(legal, array_forms)


def array_forms(value: Any) -> Iterable[Any]:
    """The same numbers as other arrays."""
    plain = np.asarray(value)
    yield plain.tolist()
    yield plain.astype(plain.dtype.newbyteorder(">"))
    yield np.asfortranarray(plain)
    yield jnp.asarray(plain)
    yield np.ma.masked_array(plain)
    frozen = plain.copy()
    frozen.flags.writeable = False
    yield frozen
    if plain.dtype.kind == "f":
        yield plain.astype(np.longdouble)
        yield plain.astype(np.float32)
    if plain.size and np.array_equal(plain, plain.astype(np.int8)):
        yield plain.astype(np.int8)


def optional(kind: Kind) -> Kind:
    return Kind(lambda value: True if value is None else kind.legal(value), kind.forms, kind.names)


def called(kind: Kind, *names: str) -> Kind:
    """The same rule with other names in messages."""
    return Kind(kind.legal, kind.forms, names)


def only(*legal: type, names: tuple[str, ...] = ()) -> Kind:
    """A value of some type, whose contents may still be invalid."""
    return Kind(lambda value: None if isinstance(value, legal) else False, names=names)


def choice(*choices: str) -> Kind:
    return Kind(lambda value: isinstance(value, str) and value in choices, lambda v: (np.str_(v),))


def function(value: Any) -> bool | None:
    """A callable; its result may still be invalid."""
    return None if callable(value) else False


#: True or False.
FLAG = Kind(lambda value: isinstance(value, bool | np.bool_), lambda v: (np.bool_(v),))
CIRCUIT = only(Circuit)
FUNCTION = Kind(function)
KEY = Kind(
    lambda value: (
        isinstance(value, jax.Array)
        and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
        and value.shape == ()
    ),
    lambda key: (jax.random.wrap_key_data(jax.random.key_data(key)),),
)


def _observables(value: Any) -> bool | None:
    one = str | PauliSum | dict | SparsePauliOp
    if isinstance(value, one):
        return None
    if isinstance(value, list | tuple):
        return None if value and all(isinstance(v, one) for v in value) else False
    return False


def _other_observables(value: Any) -> Iterable[Any]:
    if isinstance(value, str):
        return SparsePauliOp(value), {value: 1.0}
    return ([SparsePauliOp("ZZ")], ["Z0 Z1"], "ZZ", {"Z1 Z0": 1.0}) if value == ("ZZ",) else ()


OBSERVABLES = Kind(_observables, _other_observables, names=("observable", "observables"))
TEXT = only(str)


def maybe(kind: Kind) -> Kind:
    """The same rule if other arguments determine whether a legal value fits."""
    return Kind(
        lambda value: None if kind.legal(value) else kind.legal(value), kind.forms, kind.names
    )


def without_arrays(kind: Kind) -> Kind:
    """The same rule, but arrays without axes may be refused as well."""
    return Kind(kind.legal, lambda value: list(kind.forms(value))[:2], kind.names)
