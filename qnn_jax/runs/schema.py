"""Check the JSON of a run against dataclasses and TypedDicts."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from qnn_jax.errors import InputError
from qnn_jax.runs.files import read_json

T = TypeVar("T")

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    Path: "text",
    type(None): "null",
}


class _MismatchError(Exception):
    """A value of the wrong kind; its text is the end of a sentence about the file."""


def read_as(path: Path, kind: type[T], way_out: str = "delete it or put it right") -> T | None:
    """Read the JSON object in `path` as `from_json` does; None if the file does not exist."""
    value = read_json(path, way_out)
    if value is None:
        return None
    return from_json(kind, value, f"File {path}", way_out)


def from_json(kind: type[T], value: object, what: str, way_out: str) -> T:
    """Check decoded JSON against `kind` and convert it.

    Args:
        kind: a dataclass, whose fields must be exactly those in the JSON; a TypedDict, whose
            fields must exist, others being allowed; bool, int, float, str, None, Path, Any,
            Literal, a list, a tuple, a mapping with str keys, or a union.
        value: decoded by `json`; lists become tuples, str becomes Path, as annotated.
        what: the file or argument, for the message.
        way_out: for the message.

    Raises:
        InputError: names the field, the rule and the value, and ends in `way_out`.
    """
    try:
        return cast(T, _read(kind, value, ""))
    except _MismatchError as wrong:
        raise InputError(f"{what} {wrong}: {way_out}.") from None


def object_with(fields: Mapping[str, Any]) -> Any:
    """The kind of an object with these fields, of these kinds, others being allowed."""
    make: Any = typing.TypedDict
    return make("Object", dict(fields))


def _read(kind: Any, value: Any, at: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if kind in _WORDS:
        return _scalar(kind, value, at)
    if origin is Literal:
        if not any(type(value) is type(one) and value == one for one in args):
            raise _mismatch(" or ".join(json.dumps(one) for one in args), value, at)
        return value
    if origin in (Union, types.UnionType):
        return _union(args, value, at)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, at)
    if typing.is_typeddict(kind):
        return {**_object(value, at), **_fields(typing.get_type_hints(kind), value, at)}
    if origin is tuple and args[-1:] != (...,):
        if not isinstance(value, list) or len(value) != len(args):
            raise _mismatch(f"a list of {len(args)}", value, at)
        return tuple(
            _read(one, v, f"{at}[{i}]") for i, (one, v) in enumerate(zip(args, value, strict=True))
        )
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise _mismatch("a list", value, at)
        return origin(_read(args[0], item, f"{at}[{i}]") for i, item in enumerate(value))
    if origin is dict or origin is Mapping:
        return {k: _read(args[1], v, _below(at, k)) for k, v in _object(value, at).items()}
    raise TypeError(f"{kind} has no form in JSON.")


def _scalar(kind: Any, value: Any, at: str) -> Any:
    fits = type(value) is (str if kind is Path else kind)
    if kind is float:
        # An integer is a number, too; one above the largest float is not.
        fits = type(value) in (int, float) and abs(value) < 2**1023 and math.isfinite(value)
    if kind is Path:
        fits = fits and "\0" not in value
    if not fits:
        raise _mismatch(_WORDS[kind], value, at)
    return kind(value) if kind in (float, Path) else value


def _union(kinds: tuple[Any, ...], value: Any, at: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    # The last kind's error is raised.
    *others, last = [kind for kind in kinds if kind is not type(None)]
    for kind in others:
        try:
            return _read(kind, value, at)
        except _MismatchError:
            continue
    return _read(last, value, at)


def _dataclass(kind: Any, value: Any, at: str) -> Any:
    found = _object(value, at)
    hints = typing.get_type_hints(kind)
    wanted = {f.name: hints[f.name] for f in dataclasses.fields(kind)}
    for name in found:
        if name not in wanted:
            raise _MismatchError(f"has a field `{_below(at, name)}`, which is not known")
    return kind(**_fields(wanted, found, at))


def _fields(hints: Mapping[str, Any], value: Mapping[str, Any], at: str) -> dict[str, Any]:
    for name in hints:
        if name not in value:
            raise _MismatchError(f"lacks the field `{_below(at, name)}`")
    return {name: _read(hint, value[name], _below(at, name)) for name, hint in hints.items()}


def _object(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mismatch("an object", value, at)
    return value


def _below(at: str, name: str) -> str:
    shown = name if name.isidentifier() else json.dumps(name)[:60]
    return f"{at}.{shown}" if at else shown


def _mismatch(wanted: str, value: Any, at: str) -> _MismatchError:
    shown = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else ""
    if not shown:
        large = isinstance(value, int) and abs(value) >= 1e18
        text = "more" if large else json.dumps(value, default=repr)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
    place = f" at `{at}`" if at else ""
    return _MismatchError(f"has {shown}{place}, which must be {wanted}")
