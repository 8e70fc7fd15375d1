"""The simulator's table as text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

STATE_BYTES = 8
"""Size of one amplitude in single precision."""
_WIDTH = 19


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def heading(
    versions: Mapping[str, Mapping[str, str]], rounds: int, what: str = "Value and gradient"
) -> str:
    """The engines, and the names of the columns."""
    who = [
        f"  {name:<14}{', '.join(f'{package} {number}' for package, number in packages.items())}"
        for name, packages in versions.items()
    ]
    columns = f"{'circuit':<22}{'batch':>5}{'n':>4}{'depth':>6}"
    names = "".join(f"{name:>{_WIDTH}}" for name in versions)
    return "\n".join(
        (
            f"\n{what} of ⟨Z…Z⟩ in float32 on {os.cpu_count()} cores: "
            f"seconds a step, median of {rounds} rounds in turn (first call, with compilation); "
            "in square brackets: not run, as a smaller circuit took longer",
            *who,
            "",
            columns + names + f"{'best peer / ours':>18}",
        )
    )


def line(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """One cell."""
    cell = f"{row['family']:<22}{row['batch']:>5}{row['num_qubits']:>4}{row['depth']:>6}"
    text = cell + "".join(f"{_entry(row['engines'].get(name, {})):>{_WIDTH}}" for name in names)
    if "ratio_seconds" in row:
        text += f"{row['ratio_seconds']:>11.2f}"
    if "ratio_first_call_seconds" in row:
        text += f" ({row['ratio_first_call_seconds']:.1f})"
    for name in names:
        entry = row["engines"].get(name, {})
        if entry.get("outcome") == "differs":
            text += f"\n    {name} differs: {entry['difference']:.3g} times what is allowed"
        elif entry.get("outcome", "").startswith("failed"):
            text += f"\n    {name} {entry['outcome']}"
    return text


def _entry(entry: Mapping[str, Any]) -> str:
    outcome = entry.get("outcome", "left out")
    if outcome == "measured":
        return f"{duration(entry['seconds'])} ({duration(entry['first_call_seconds'])})"
    if outcome.startswith(">"):
        return f"[{outcome}]" if "inferred" in entry else outcome
    return "failed" if outcome.startswith("failed") else outcome


def footer(rows: Sequence[Mapping[str, Any]], seed: Mapping[str, Any], alone: bool) -> str:
    """Summary of the table: slow cells, memory at 20 qubits, the 2022 circuit."""
    lines = [""]
    if alone:
        lines.append("OURS ALONE: no peer was measured, so this table compares nothing.")
    late = sum(row["engines"]["qnn_jax"]["outcome"] == "not run" for row in rows)
    if late:
        lines.append(f"Not run, as the time was over (--minutes, or --full): {late} cells.")
    lines += [
        f"No number of ours ({row['engines']['qnn_jax']['outcome']}): {_named(row)}"
        for row in rows
        if row["engines"]["qnn_jax"]["outcome"] not in ("measured", "not run")
    ]
    lines += [
        f"Slower than {row['best_seconds']}: {_named(row)}"
        for row in rows
        if row.get("ratio_seconds", 1) < 1
    ]
    lines += [
        f"First call slower than {row['best_first_call_seconds']}'s: {_named(row)}"
        for row in rows
        if row.get("ratio_first_call_seconds", 1) < 1
    ]
    for row in rows:
        temp = row["engines"]["qnn_jax"].get("temp_bytes")
        if row["num_qubits"] >= 20 and temp:
            states = temp / STATE_BYTES / 2 ** row["num_qubits"]
            lines.append(f"Memory of our gradient: {states:.1f} states, {_named(row)}")
    ours, hand = (seed.get(name, {}) for name in ("qnn_jax", "closed form"))
    if "seconds" in ours and "seconds" in hand:
        lines.append(
            f"The 2022 circuit, batch 64: {duration(ours['seconds'])}; in closed form "
            f"{duration(hand['seconds'])}; ratio {ours['seconds'] / hand['seconds']:.2f}"
        )
    else:
        lines.append(f"The 2022 circuit, batch 64: {ours} {hand}")
    return "\n".join(lines)


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['family']}, batch {row['batch']}, n = {row['num_qubits']}, depth {row['depth']}"
