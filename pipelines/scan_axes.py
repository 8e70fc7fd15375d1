"""What a scan varies: axes read from the command line, and the candidates that they span.

    training.learning_rate=1e-3,3e-3,1e-2    a list
    training.learning_rate=log:1e-4:1e-2     a range, even in the logarithm
    model.feature_scale=lin:0.5:2:4          a range; a grid takes 4 points of it

No JAX here: a scan is read, checked and refused before JAX loads.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pipelines import command
from pipelines.train_fashion import PRESETS, FashionConfig
from qnn_jax.circuits.checks import seed
from qnn_jax.configs import ModelConfig, TrainingConfig
from qnn_jax.errors import InputError

#: Numbers in which members of one program may differ (the fields of `training.Knobs`).
NUMBERS = {
    "training.learning_rate",
    "training.weight_decay",
    "training.label_smoothing",
    "model.weight_bound",
    "model.feature_scale",
    "model.feature_center",
    "model.feature_gain",
}
#: Of an axis over them every candidate meets every value.
SEEDS = ("seed", "order_seed")
_SPACINGS = ("log", "lin")
_NOT_FLAGGED = ("preset", "resume")


@dataclasses.dataclass(frozen=True)
class Axis:
    """One thing that varies: a list of values, or a range.

    Attributes:
        name: of a field of `FashionConfig`, for instance training.learning_rate.
        values: the list; empty for a range.
        spacing: of a range: "log" or "lin".
        low: where a range begins.
        high: where it ends.
        integer: whether only whole numbers will do.
    """

    name: str
    values: tuple[Any, ...] = ()
    spacing: Literal["log", "lin"] = "lin"
    low: float = 0.0
    high: float = 0.0
    integer: bool = False

    def draw(self, rng: random.Random) -> Any:
        """A value by chance: even over the list, or over the range in its spacing."""
        if self.values:
            return rng.choice(self.values)
        return self.at(rng.random())

    def at(self, share: float) -> Any:
        """The value at a share of the way from low to high, to four digits."""
        if self.spacing == "log":
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        return round(value) if self.integer else float(f"{value:.4g}")


#: What a candidate changes: values by the names of the axes.
Changes = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Member:
    """One training of a scan.

    Attributes:
        number: its place among all members.
        candidate: the number of its configuration, seeds aside; 0 is the default.
        config: what trains it alone.
    """

    number: int
    candidate: int
    config: FashionConfig


def read_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Axes from their text, each name once.

    Raises:
        InputError: for a name that does not exist (near ones are offered), an empty axis, or a
            value that its field cannot take.
    """
    axes = tuple(_read_axis(text) for text in texts)
    for axis in axes:
        if sum(other.name == axis.name for other in axes) > 1:
            raise InputError(
                f"Argument `--axis` must name each axis once, but names {axis.name} again."
            )
    return axes


def fields() -> dict[str, Any]:
    """The types of all that may be an axis, by name."""
    found: dict[str, Any] = dict.fromkeys(SEEDS, int)
    for prefix, config in (("training", TrainingConfig), ("model", ModelConfig)):
        for name, kind in get_type_hints(config).items():
            found[f"{prefix}.{name}"] = kind
    del found["training.epochs"]  # all members train side by side
    return found


def _read_axis(text: str) -> Axis:
    given, equals, right = text.partition("=")
    name = _full_name(given.strip().replace("-", "_"), text)
    kind = fields()[name]
    parts = right.strip().split(":")
    if not equals or not right.strip():
        raise InputError(
            f"Argument `--axis` must give values, as in {name}=1,2 or {name}=log:0.1:1, but is "
            f"{text!r}."
        )
    if parts[0] not in _SPACINGS:
        values = tuple(_value(name, kind, word.strip()) for word in right.split(","))
        if len(set(values)) < len(values):
            raise InputError(f"Argument `--axis` must have different values, but is {text!r}.")
        return Axis(name, values)
    if kind not in (int, float) or name in SEEDS or len(parts) not in (3, 4):
        raise InputError(
            f"Argument `--axis` must be a list for {name}, as in {name}=a,b, or for a number "
            f"log:low:high or log:low:high:points, but is {text!r}."
        )
    try:
        low, high = float(parts[1]), float(parts[2])
        points = int(parts[3]) if len(parts) == 4 else 0
    except ValueError:
        low, high, points = math.nan, math.nan, 0
    if not (-math.inf < low < high < math.inf) or points < 0 or (len(parts) == 4 and points < 2):
        raise InputError(
            "Argument `--axis` must have a range low:high of finite numbers, the lower first, and "
            f"at least 2 points, but is {text!r}."
        )
    if parts[0] == "log" and low <= 0:
        raise InputError(
            f"Argument `--axis` must have a logarithmic range above 0, but is {text!r}."
        )
    axis = Axis(name, (), "log" if parts[0] == "log" else "lin", low, high, kind is int)
    if not points:
        return axis
    values = tuple(dict.fromkeys(axis.at(k / (points - 1)) for k in range(points)))
    return dataclasses.replace(axis, values=values)


def _full_name(given: str, text: str) -> str:
    names = list(fields())
    found = [name for name in names if given in (name, name.partition(".")[2])]
    if found:
        return found[0]
    if given in ("epochs", "training.epochs"):
        raise InputError(
            "Argument `--axis` must not name epochs, which all members train alike, but is "
            f"{text!r}: give --epochs."
        )
    short = {name.partition(".")[2] or name: name for name in names}
    near = difflib.get_close_matches(given, names, 3, cutoff=0.8)
    near += [short[word] for word in difflib.get_close_matches(given, list(short), 3)]
    offer = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else "take one of "
    raise InputError(
        f"Argument `--axis` must name a field of a run's configuration, but names {given!r}: "
        f"{offer}" + ("" if near else f"{', '.join(names)}.")
    )


def _value(name: str, kind: Any, word: str) -> Any:
    """A word as a field's value."""
    try:
        if get_origin(kind) is Literal:
            if word not in get_args(kind):
                raise ValueError
            return word
        if kind is bool:
            return {"true": True, "false": False}[word.lower()]
        if name in SEEDS:
            return seed(name, int(word))  # its InputError is a ValueError, answered below
        if get_origin(kind) is tuple:
            return () if word == "none" else tuple(int(part) for part in word.split("x"))
        if not word:
            raise ValueError
        value = kind(word)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
        return value
    except (ValueError, KeyError):
        forms = {int: "a whole number", float: "a finite number", bool: "true or false"}
        literal = get_origin(kind) is Literal
        wanted = " or ".join(get_args(kind)) if literal else forms.get(kind, "64 or 128x64 or none")
        wanted = "a seed from 0 to 4294967295" if name in SEEDS else wanted
        raise InputError(
            f"Argument `--axis` must give {name} values that are {wanted}, but one is {word!r}."
        ) from None


def grid(axes: Sequence[Axis]) -> list[Changes]:
    """All combinations of the axes' values, seeds aside.

    Raises:
        InputError: for a range without points.
    """
    varied = [axis for axis in axes if axis.name not in SEEDS]
    for axis in varied:
        if not axis.values:
            raise InputError(
                f"Argument `--axis` must give {axis.name} a number of points for a grid, as in "
                f"{axis.spacing}:{axis.low:g}:{axis.high:g}:5, but gives none: or search by "
                "--search random."
            )
    names = [axis.name for axis in varied]
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(axis.values for axis in varied))
    ]


def draws(axes: Sequence[Axis], count: int, seed: int) -> list[Changes]:
    """Random combinations, the same for the same seed."""
    rng = random.Random(seed)
    varied = [axis for axis in axes if axis.name not in SEEDS]
    return [{axis.name: axis.draw(rng) for axis in varied} for _ in range(count)]


def changed(base: FashionConfig, changes: Changes) -> FashionConfig:
    """The configuration with these values in it."""
    top: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {"training": {}, "model": {}}
    for name, value in changes.items():
        prefix, dot, field = name.partition(".")
        (inner[prefix] if dot else top)[field if dot else name] = value
    return dataclasses.replace(
        base,
        training=dataclasses.replace(base.training, **inner["training"]),
        model=dataclasses.replace(base.model, **inner["model"]),
        **top,
    )


def value_of(config: FashionConfig, name: str) -> Any:
    """What a configuration holds under an axis' name."""
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    return config.seeds()[1] if name == "order_seed" else found


def members_of_candidate(
    base: FashionConfig, changes: Changes, seeds: Sequence[int], orders: Sequence[int | None]
) -> list[FashionConfig]:
    """A candidate's configurations: one for every seed and order, all on the base's split."""
    split_seed = base.seeds()[2]
    return [
        dataclasses.replace(
            changed(base, changes),
            seed=seed,
            order_seed=None if order == seed else order,
            split_seed=None if split_seed == seed else split_seed,
        )
        for seed in seeds
        for order in orders
    ]


def command_of(config: FashionConfig) -> str:
    """The command that trains a configuration alone: flags for all that its preset does not say."""
    return command.make("train-fashion", flags_of(config))


def flags_of(config: FashionConfig) -> list[str]:
    """The flags of `train_fashion` under which it reads this configuration."""
    preset = PRESETS[config.preset]
    flags = [] if config.preset == "default" else ["--preset", config.preset]
    for prefix, mine, default in (
        ("", config, preset),
        ("", config.training, preset.training),
        ("model.", config.model, preset.model),
    ):
        for field in dataclasses.fields(mine):
            value, usual = getattr(mine, field.name), getattr(default, field.name)
            if value == usual or dataclasses.is_dataclass(value) or field.name in _NOT_FLAGGED:
                continue
            dashed = prefix + field.name.replace("_", "-")
            if isinstance(value, bool):
                no = f"{prefix}no-{field.name.replace('_', '-')}"
                flags.append(f"--{dashed if value else no}")
            elif isinstance(value, tuple):
                flags += [f"--{dashed}", *map(str, value)]
            else:
                flags += [f"--{dashed}", str(value)]
    return flags
