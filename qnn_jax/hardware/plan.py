"""Cost of an evaluation on a quantum computer, and the choice of settings that fit the budget.

The settings multiply: executions = rows × shots / copies, seconds = executions × (pause + shot).
Those that the user leaves open are changed in the order of their effect on accuracy: fewer shots,
shorter pauses between shots, more copies side by side, and only then fewer images.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qnn_jax.circuits.checks import at_least, flag, real
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.errors import InputError
from qnn_jax.hardware.cost import qpu_seconds, split_rows
from qnn_jax.hardware.rules import (
    COUNT,
    FLAG,
    LIST,
    NUMBER,
    ROWS,
    SIZE,
    TEXT,
    Rules,
    list_of,
    or_null,
    wrong_field,
)

#: The values of each setting, best first; rep_delay in seconds within the device's range.
SHOTS = (1024, 512, 256)
COPIES = (1, 2, 4, 8, 10)
IMAGES = (2000, 1000, 500, 200, 100, 50)
REP_DELAYS = (250e-6, 100e-6, 50e-6, 20e-6)
#: The settings that determine the cost.
_LEVERS = ("shots", "rep_delay", "copies", "images")
#: Minimum shots of each basis state of the readout calibration.
CALIBRATION_SHOTS = 8192


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a trained circuit is measured on a device; settings that are None are chosen to fit.

    Attributes:
        images: how many examples; None takes 2,000 at most, or as many as fit the budget.
        shots: of each example; None: up to 1024.
        rep_delay: pause between shots in seconds; None: the device's, or as short as the budget
            requires.
        copies: of the circuit, side by side on the device; None: 1, or as the budget requires.
        budget_seconds: quantum computer time; None: a tenth of what the plan has left.
        anchors: examples with known exact values in the same job, for scale and shift; 0: none;
            None: 100, or all if there are fewer.
        readout: measure the readout errors in the same job and invert them.
        recompile: each bound 2-qubit circuit into one template of 3 CZ.
        fractional_gates: let the device use its RX and RZZ gates.
        two_stage: a quarter of the shots first, the rest where the decision is not settled.
        seed: random seed for the choice of examples and the transpiler.
        repetition: another number repeats a measurement.

    Raises:
        InputError: for a number out of range, or settings that exclude each other.
    """

    images: int | None = None
    shots: int | None = None
    rep_delay: float | None = None
    copies: int | None = None
    budget_seconds: float | None = None
    anchors: int | None = None
    readout: bool = True
    recompile: bool = False
    fractional_gates: bool = False
    two_stage: bool = False
    seed: int = 0
    repetition: int = 0

    def __post_init__(self) -> None:
        _keep_numbers(self, {"images": 1, "shots": 1, "copies": 1, "anchors": 0})
        if self.anchors in (1, 2):
            raise InputError(
                f"Argument `anchors` must be 0 or at least 3, to fit a line, but is {self.anchors}."
            )
        for name in ("readout", "recompile", "fractional_gates", "two_stage"):
            object.__setattr__(self, name, flag(name, getattr(self, name)))
        if self.recompile and self.fractional_gates:
            raise InputError(
                "Argument `recompile` must be False with `fractional_gates`, because the template "
                "has CZ gates, but both are True."
            )


def _keep_numbers(settings: Settings | LearnSettings, optional: Mapping[str, int]) -> None:
    """Check the numbers that both have, and those that may be None with their least values.

    Numbers of NumPy are kept as Python's, since the ledger's keys are made of them.
    """
    found: dict[str, float] = {
        name: at_least(name, value, least)
        for name, least in optional.items()
        if (value := getattr(settings, name)) is not None
    }
    for name in ("rep_delay", "budget_seconds"):
        if (seconds := getattr(settings, name)) is not None:
            found[name] = real(name, seconds, above=0, what="a number of seconds")
    found["seed"] = checked_seed("seed", settings.seed)
    found["repetition"] = at_least("repetition", settings.repetition, 0)
    for name, value in found.items():
        object.__setattr__(settings, name, value)


@dataclasses.dataclass(frozen=True)
class LearnSettings:
    """Size and options of a calibration job.

    Attributes:
        settings: of angles and bases; None: up to 256, as many as fit the budget.
        shots: of each.
        rep_delay: pause between shots in seconds; None: the device's, or as short as the budget
            requires.
        budget_seconds: quantum computer time; None: a tenth of what the plan has left.
        seed: random seed of the settings, the transpiler and the held-out choice.
        repetition: another number measures again.

    Raises:
        InputError: for a number out of range.
    """

    settings: int | None = None
    shots: int = 1024
    rep_delay: float | None = None
    budget_seconds: float | None = None
    seed: int = 0
    repetition: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shots", at_least("shots", self.shots, 16))
        _keep_numbers(self, {"settings": 16})


class Machine(NamedTuple):
    """The device properties that determine the cost."""

    rep_delay: float  # default pause between shots, in seconds
    rep_delay_range: tuple[float, float]  # the least and the greatest pause allowed
    shot_seconds: float  # duration of one shot
    instructions: int  # low-level instructions of a row on its busiest qubit
    most_copies: int  # how many copies of the circuit fit on the device
    models: int = 1  # rows of each image


class Plan(NamedTuple):
    """Settings that fit, and their cost."""

    images: int  # of the test set
    shots: int  # of each row
    rep_delay: float  # pause between shots, in seconds
    copies: int  # rows that run side by side in a shot
    repeats: int  # rows of the readout calibration for each basis state
    rows: int  # rows of the packed circuit over all jobs, calibration included
    parts: tuple[tuple[int, int], ...]  # the packed rows of each job, from and to
    reason: str  # why the number of jobs is what it is
    executions: int  # rows times shots
    seconds: float  # quantum computer time, predicted by IBM's formula


def choose(
    settings: Settings, machine: Machine, images: int, anchors: int, states: int, budget: float
) -> Plan:
    """The first plan within the budget in seconds; settings given by the user are kept.

    There are so many `images` and `anchors`, and basis `states` of the readout calibration (0
    without one). Raises InputError if no plan fits; it names settings that would.
    """

    def first(asked: Settings) -> Plan:
        """The first that fits, else the cheapest."""
        for candidate in _candidates(asked, machine, images):
            plan = priced(candidate, machine, anchors, states)
            if plan.seconds <= budget:
                break
        return plan

    cheapest = first(settings)
    if cheapest.seconds <= budget:
        return cheapest
    given = [name for name in _LEVERS if getattr(settings, name) is not None]
    freed: dict[str, Any] = {name: {name: None} for name in given}
    others = {name: first(dataclasses.replace(settings, **freed[name])) for name in given}
    ways = [
        f"{name}={getattr(plan, name):g}" for name, plan in others.items() if plan.seconds <= budget
    ]
    way_out = f"{' or '.join(ways)} would fit" if ways else "raise it or wait for a new allowance"
    raise InputError(
        f"Argument `budget_seconds` must cover the {cheapest.seconds:.0f} s of quantum computer "
        f"that {cheapest.images} images × {cheapest.shots} shots take, but is {budget:.0f}; "
        f"{way_out}."
    )


def priced(settings: Settings, machine: Machine, anchors: int, states: int) -> Plan:
    """The plan for a full set of settings."""
    images, shots, copies = settings.images or 0, settings.shots or 1, settings.copies or 1
    repeats = math.ceil(CALIBRATION_SHOTS / shots) if states else 0
    data = math.ceil((images * machine.models + anchors) / copies)
    rep_delay = machine.rep_delay if settings.rep_delay is None else settings.rep_delay
    each = rep_delay + machine.shot_seconds
    split = split_rows(data, shots, states * repeats, machine.instructions, each)
    parts = tuple((part.start, part.stop) for part in split.slices)
    rows = data + len(parts) * states * repeats
    seconds = qpu_seconds(rows * shots, rep_delay, machine.shot_seconds, len(parts))
    return Plan(
        images, shots, rep_delay, copies, repeats, rows, parts, split.reason, rows * shots, seconds
    )


def pauses(default: float, allowed: tuple[float, float]) -> list[float]:
    """Pauses between shots in seconds, longest first: the device's own, and shorter ones.

    0 is not among the shorter ones, although machines allow it: qubits are then not at rest when a
    shot begins, which no noise model describes.

    >>> pauses(250e-6, (0.0, 500e-6))
    [0.00025, 0.0001, 5e-05, 2e-05]
    """
    low, high = allowed
    return [default, *(r for r in REP_DELAYS if low <= r < min(default, high))]


def _candidates(settings: Settings, machine: Machine, images: int) -> Iterator[Settings]:
    """Full sets of settings, most expensive first: each is reduced to its end before the next."""
    stops: dict[str, list[float]] = {
        "shots": list(SHOTS),
        "rep_delay": pauses(machine.rep_delay, machine.rep_delay_range),
        "copies": [k for k in COPIES if k <= machine.most_copies],
        "images": [images, *(k for k in IMAGES if k < images)],
    }
    for name in stops:
        if (fixed := getattr(settings, name)) is not None:
            stops[name] = [fixed]
    at: dict[str, Any] = {name: values[0] for name, values in stops.items()}
    yield dataclasses.replace(settings, **at)
    for name, values in stops.items():
        for value in values[1:]:
            at[name] = value
            yield dataclasses.replace(settings, **at)


#: The fields of a stored plan's details that are read; nested fields after a dot.
DETAILS: Rules = {
    "device": TEXT,
    "simulated": FLAG,
    "calibration_date": or_null(TEXT),
    "test": list_of("row numbers", COUNT, least=1),
    "anchors": ROWS,
    "places": LIST,
    "shot_seconds": NUMBER,
    "stage_shots": SIZE,
    "two_stage": FLAG,
    "num_qubits": SIZE,
    "recompiled": FLAG,
    "fractional_gates": FLAG,
    "plan.shots": SIZE,
    "plan.copies": SIZE,
    "plan.rep_delay": NUMBER,
    "plan.seconds": NUMBER,
}
#: The same for the plan of a second stage.
SECOND: Rules = {"rows": ROWS, "first": LIST}


def check_details(
    plan: Mapping[str, Any],
    ledger: Path,
    rules: Rules = DETAILS,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The details of a plan of `Ledger.plan`; InputError for a field that was edited to be invalid.

    `sizes` are those of the data sets from which rows are taken, by field.
    """
    details: dict[str, Any] = plan["details"]
    wrong = wrong_field(details, rules)
    for field, size in ({} if wrong else sizes or {}).items():
        if (most := max(details[field], default=-1)) >= size:
            wrong = field, f"must be row numbers below {size}, but is {most}"
    if wrong:
        raise InputError(
            f"Ledger {ledger} is damaged at line {plan['line']}: the plan's field `{wrong[0]}` "
            f"{wrong[1]}: correct it, or delete that line to plan again, which may send new jobs."
        )
    return details
