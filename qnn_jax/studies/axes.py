"""The axes of a scan: varying fields of a task, and the candidates that result from them.

    training.learning_rate=1e-3,1e-2         a list
    training.learning_rate=log:1e-4:1e-2     a range, uniform in the logarithm
    model.feature_scale=lin:0.5:2:4          a range; a grid takes 4 points of it

Imports no JAX: a scan's arguments are read and checked before JAX loads.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from qnn_jax.circuits.checks import seed
from qnn_jax.errors import InputError
from qnn_jax.tasks.stored import Seeds
from qnn_jax.training.task import Task, replaced

#: Every candidate is trained with every value of an axis over these fields.
SEEDS = ("seed", "order_seed")
_SPACINGS = ("log", "lin")
_NUMBERS = (int, float)


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis: a list of values, or a range.

    Attributes:
        name: of a field of the task, with dots ("training.learning_rate"), or one of `SEEDS`.
        values: the list; empty for a range.
        spacing: of a range: "log" or "lin".
        low: lower end of a range.
        high: upper end of a range.
        integer: whether a range has integers only.
    """

    name: str
    values: tuple[Any, ...] = ()
    spacing: Literal["log", "lin"] = "lin"
    low: float = 0.0
    high: float = 0.0
    integer: bool = False

    def draw(self, rng: random.Random) -> Any:
        """A random value: uniform over the list, or over the range in its spacing."""
        if self.values:
            return rng.choice(self.values)
        return self.at(rng.random())

    def at(self, share: float) -> Any:
        """The value at a fraction of the way from low to high, to four digits."""
        if self.spacing == "log":
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        return round(value) if self.integer else float(f"{value:.4g}")


#: A candidate: values by the names of the axes.
Changes = Mapping[str, Any]
#: Axes as arguments: text, `Axis` values, or values by name.
Axes = Sequence[Axis | str] | Mapping[str, Iterable[Any]]


def read_axes(task: Task, axes: Axes) -> tuple[Axis, ...]:
    """Axes over the fields of a task, each name once.

    Args:
        task: whose fields vary.
        axes: texts such as "learning_rate=1e-3,1e-2", `Axis`, or values by name.

    Raises:
        InputError: for a name that does not exist (similar ones are suggested), an empty axis, or
            a value that its field does not allow.

    >>> from qnn_jax.tasks import Calculator
    >>> read_axes(Calculator(), ["layers=2,4"]) == read_axes(Calculator(), {"layers": (2, 4)})
    True
    """
    if isinstance(axes, Mapping):
        axes = [Axis(name, tuple(values)) for name, values in axes.items()]
    found = fields(task)
    read = tuple(
        _read_axis(found, axis) if isinstance(axis, str) else _checked(found, axis) for axis in axes
    )
    for axis in read:
        if sum(other.name == axis.name for other in read) > 1:
            raise InputError(
                f"Argument `axis` must name each field once, but names {axis.name} again."
            )
    return read


def fields(task: Any) -> dict[str, Any]:
    """The types of all fields that may be an axis, by name: seeds, numbers, choices, sizes."""
    found: dict[str, Any] = dict.fromkeys(SEEDS, int)
    found |= _fields_below(type(task), "")
    return found


def _fields_below(kind: type[Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint, name = _given(hints[field.name]), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            found |= _fields_below(hint, f"{name}.")
        elif (
            hint in (bool, int, float, str)
            or get_origin(hint) is Literal
            or (get_origin(hint) is tuple and get_args(hint) == (int, ...))
        ):
            found[name] = hint
    return found


def _given(hint: Any) -> Any:
    """The type of a field where it is given: `int` of `int | None`."""
    for kind in (int, float, str):
        if hint == kind | None:
            return kind
    return hint


def _checked(found: Mapping[str, Any], axis: Axis) -> Axis:
    """The axis given as a value, with its full name."""
    name = _full_name(found, axis.name)
    kind = found[name]
    values = tuple(_checked_value(name, kind, value) for value in axis.values)
    if len(set(values)) < len(values):
        raise InputError(f"Argument `axis` must have different values, but {name} has {values}.")
    if not values:
        if kind not in _NUMBERS or name in SEEDS:
            raise InputError(f"Argument `axis` must have values for {name}, but has none.")
        if axis.spacing not in _SPACINGS:
            raise InputError(
                f"Argument `spacing` must be log or lin, but is {axis.spacing!r} for {name}."
            )
        _check_range(axis.spacing, axis.low, axis.high, f"{name} from {axis.low} to {axis.high}")
    return dataclasses.replace(axis, name=name, values=values, integer=kind is int and not values)


def _checked_value(name: str, kind: Any, value: Any) -> Any:
    if name in SEEDS:
        return seed(name, value)
    sound = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, float | int)
        and not isinstance(value, bool)
        and math.isfinite(value),
        str: isinstance(value, str),
    }.get(kind)
    if sound is None and get_origin(kind) is Literal:
        sound = value in get_args(kind)
    if sound is None:
        value = tuple(value) if isinstance(value, list | tuple) else value
        sound = isinstance(value, tuple) and all(type(size) is int for size in value)
    if not sound:
        raise _wrong_value(name, kind, value)
    return value


def _wrong_value(name: str, kind: Any, value: Any) -> InputError:
    forms = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}
    literal = get_origin(kind) is Literal
    wanted = " or ".join(get_args(kind)) if literal else forms.get(kind, "64 or 128x64 or none")
    wanted = "a seed from 0 to 4294967295" if name in SEEDS else wanted
    return InputError(
        f"Argument `axis` must give {name} values that are {wanted}, but one is {value!r}."
    )


def _read_axis(found: Mapping[str, Any], text: str) -> Axis:
    given, equals, right = text.partition("=")
    name = _full_name(found, given.strip().replace("-", "_"))
    kind = found[name]
    parts = right.strip().split(":")
    if not equals or not right.strip():
        raise InputError(
            f"Argument `axis` must give values, as in {name}=1,2 or {name}=log:0.1:1, but is "
            f"{text!r}."
        )
    if parts[0] not in _SPACINGS:
        values = tuple(_value(name, kind, word.strip()) for word in right.split(","))
        if len(set(values)) < len(values):
            raise InputError(f"Argument `axis` must have different values, but is {text!r}.")
        return Axis(name, values)
    if kind not in _NUMBERS or name in SEEDS or len(parts) not in (3, 4):
        raise InputError(
            f"Argument `axis` must be a list for {name}, as in {name}=a,b, or for a number "
            f"log:low:high or log:low:high:points, but is {text!r}."
        )
    try:
        low, high = float(parts[1]), float(parts[2])
        points = int(parts[3]) if len(parts) == 4 else 0
    except ValueError:
        low, high, points = math.nan, math.nan, 0
    if points < 0 or (len(parts) == 4 and points < 2):
        low = math.nan
    spacing: Literal["log", "lin"] = "log" if parts[0] == "log" else "lin"
    _check_range(spacing, low, high, repr(text))
    axis = Axis(name, (), spacing, low, high, kind is int)
    if not points:
        return axis
    values = tuple(dict.fromkeys(axis.at(k / (points - 1)) for k in range(points)))
    return dataclasses.replace(axis, values=values, integer=False)


def _check_range(spacing: str, low: float, high: float, given: str) -> None:
    if not (-math.inf < low < high < math.inf):
        raise InputError(
            "Argument `axis` must have a range low:high of finite numbers, the lower first, and "
            f"at least 2 points, but is {given}."
        )
    if spacing == "log" and low <= 0:
        raise InputError(f"Argument `axis` must have a logarithmic range above 0, but is {given}.")


def _full_name(found: Mapping[str, Any], given: str) -> str:
    """The full name, with dots, of a field that may be given by its last part."""
    short: dict[str, str] = {}
    for name in reversed(
        list(found)
    ):  # if two fields have the same last part, the short name means the first one
        short[name.rpartition(".")[2]] = name
    if given in found or given in short:
        return given if given in found else short[given]
    near = difflib.get_close_matches(given, found, 3, cutoff=0.8)
    near += [short[word] for word in difflib.get_close_matches(given, list(short), 3)]
    offer = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else "take one of "
    raise InputError(
        f"Argument `axis` must name a field of the task, but names {given!r}: "
        f"{offer}" + ("" if near else f"{', '.join(found)}.")
    )


def _value(name: str, kind: Any, word: str) -> Any:
    """A word as a field's value."""
    try:
        value: Any = word
        if not word:
            raise ValueError
        if kind is bool:
            value = {"true": True, "false": False}[word.lower()]
        elif kind in _NUMBERS:
            value = kind(word)
        elif get_origin(kind) is tuple:
            value = () if word == "none" else tuple(int(part) for part in word.split("x"))
        return _checked_value(name, kind, value)
    except (ValueError, KeyError):  # an InputError is a ValueError
        raise _wrong_value(name, kind, word) from None


def grid(axes: Sequence[Axis]) -> list[Changes]:
    """All combinations of the axes' values, seeds aside."""
    varied = [axis for axis in axes if axis.name not in SEEDS]
    for axis in varied:
        if not axis.values:
            raise InputError(
                f"Argument `axis` must give {axis.name} a number of points for a grid, as in "
                f"{axis.spacing}:{axis.low:g}:{axis.high:g}:5, but gives none; or let `search` be "
                "random."
            )
    names = [axis.name for axis in varied]
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(axis.values for axis in varied))
    ]


def draws(axes: Sequence[Axis], count: int, seed: int) -> list[Changes]:
    """Random combinations, reproducible by the seed."""
    rng = random.Random(seed)
    varied = [axis for axis in axes if axis.name not in SEEDS]
    return [{axis.name: axis.draw(rng) for axis in varied} for _ in range(count)]


def changed(task: Any, changes: Changes) -> Any:
    """The task with these values of its fields."""
    for name, value in changes.items():
        task = replaced(task, name, value)
    return task


def value_of(task: Any, seeds: Seeds, name: str) -> Any:
    """A member's value for an axis' name."""
    if name in SEEDS:
        return seeds.seed if name == "seed" else seeds.order
    for part in name.split("."):
        task = getattr(task, part)
    return task


def seeds_of_candidate(
    base: Seeds, seeds: Sequence[int], orders: Sequence[int | None]
) -> list[Seeds]:
    """The seeds of a candidate's trainings: each seed with each order, all on one split."""
    return [
        Seeds(
            seed,
            None if order == seed else order,
            None if base.split == seed else base.split,
        )
        for seed in seeds
        for order in orders
    ]
