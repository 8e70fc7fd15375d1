"""What a compiled program sends between devices, read from its text (HLO)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_KINDS = ("all-to-all", "all-gather", "all-reduce", "collective-permute", "reduce-scatter")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(_KINDS)})(-start)?\(")
_CALLED = re.compile(r"(?:body|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'known_trip_count[^\d]*"?n"?[^\d]*(\d+)')
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")


@dataclass(frozen=True)
class Collective:
    """One instruction of a program.

    Attributes:
        kind: of the instruction.
        size: bytes of its result on each device.
        sent: bytes that each device sends to others.
        times: how often it runs, the repeats of loops around it included.
    """

    kind: str
    size: int
    sent: int
    times: int


def collectives(text: str) -> list[Collective]:
    """Every collective of a program, `compiled.as_text()`; a loop has to have a known trip count.

    Raises:
        ValueError: where a loop around a collective runs an unknown number of times.
    """
    bodies: dict[str, list[str]] = {}
    entry = own = ""
    for line in text.splitlines():
        if head := _HEAD.match(line):
            own = head[2]
            bodies[own] = []
            entry = own if head[1] else entry
        elif own:
            bodies[own].append(line)

    def of(name: str, times: int) -> list[Collective]:
        found = []
        for line in bodies[name]:
            if match := _COLLECTIVE.search(line):
                found.append(_collective(match[2], match[1], line, times))
            called = _CALLED.findall(line)
            for row in _BRANCHES.findall(line):
                called += re.findall(r"[\w.\-]+", row)
            trips = 1
            if " while(" in line:
                known = _TRIPS.search(line)
                inside = [c for body in called if body in bodies for c in of(body, 1)]
                if inside and known is None:
                    raise ValueError(f"How often does this loop run? {line.strip()}")
                trips = int(known[1]) if known else 1
            for body in called:
                if body in bodies:
                    found += of(body, times * trips)
        return found

    return of(entry, 1)


def _collective(kind: str, result: str, line: str, times: int) -> Collective:
    size = sum(
        _BYTES.get(dtype, 0) * math.prod(int(n) for n in shape.split(",") if n)
        for dtype, shape in _SHAPE.findall(result)
    )
    sent = size
    if kind != "collective-permute":
        listed = re.search(r"replica_groups=\{\{([\d,]*)\}", line)
        counted = re.search(r"replica_groups=\[\d+,(\d+)\]", line)
        group = len(listed[1].split(",")) if listed else int(counted[1]) if counted else 1
        sent = size * (group - 1) // max(group, 1)
        sent *= 2 if kind == "all-reduce" else 1
    return Collective(kind, size, sent, times)


def total(found: list[Collective], *kinds: str) -> tuple[int, int]:
    """How many collectives of some kinds run, and how many bytes each device sends in them."""
    own = [c for c in found if c.kind in kinds]
    return sum(c.times for c in own), sum(c.times * c.sent for c in own)
