"""A circuit as text, one line a qubit."""

from __future__ import annotations

import html as _html
import re
from collections.abc import Sequence

from qnn_jax.circuits.op import Op

#: Drawn to six digits.
_NUMBER = re.compile(r"\d+\.\d+(e[+-]?\d+)?")
#: A notebook shows so many lines of a text.
_HTML_LINES = 200
_CONTROLS = {"c3sx": 3, "rcccx": 3, "ccx": 2, "ccz": 2, "rccx": 2}


def num_controls(op: Op) -> int:
    """How many of a gate's first qubits are drawn as controls."""
    if op.gate in _CONTROLS:
        return _CONTROLS[op.gate]
    return int(op.gate.startswith("c") and len(op.qubits) > 1)


def symbol(op: Op, position: int) -> str:
    """What is drawn on the wire of `op.qubits[position]`."""
    controls = num_controls(op)
    if position < controls:
        return "●"
    if op.gate in ("cx", "ccx"):
        return "⊕"
    if op.gate in ("cz", "ccz"):
        return "●"
    if op.gate in ("swap", "cswap"):
        return "✕"
    name = op.gate.removeprefix("c" * controls) if controls else op.gate
    inside = _NUMBER.sub(lambda found: f"{float(found[0]):g}", ", ".join(map(str, op.angles)))
    label = (name.upper() if len(name) <= 3 else name) + (f"({inside})" if inside else "")
    return f"{label}:{position - controls}" if len(op.qubits) - controls > 1 else label


def columns(num_qubits: int, ops: Sequence[Op]) -> list[list[Op]]:
    """The gates in columns: each as far left as the gates before it on its span allow."""
    free = [0] * num_qubits
    placed: list[list[Op]] = []
    for op in ops:
        if not op.qubits:  # a global phase has no place on a wire
            continue
        span = range(min(op.qubits), max(op.qubits) + 1)
        column = max(free[qubit] for qubit in span)
        for qubit in span:
            free[qubit] = column + 1
        if column == len(placed):
            placed.append([])
        placed[column].append(op)
    return placed


def draw(num_qubits: int, ops: Sequence[Op], width: int = 100) -> str:
    """A circuit as text, wrapped at `width` characters, qubit 0 on top as in Qiskit."""
    heads = [f"q{qubit}: " for qubit in range(num_qubits)]
    margin = max(map(len, heads))
    lines = [""] * num_qubits
    blocks: list[list[str]] = []
    for column in columns(num_qubits, ops):
        cells = [""] * num_qubits
        for op in column:
            for qubit in range(min(op.qubits), max(op.qubits) + 1):
                cells[qubit] = "│"
            for position, qubit in enumerate(op.qubits):
                cells[qubit] = symbol(op, position)
        size = max(map(len, cells))
        if lines[0] and margin + len(lines[0]) + size + 2 > width:
            blocks.append(lines)
            lines = [""] * num_qubits
        for qubit, cell in enumerate(cells):
            lines[qubit] += "─" + cell.center(size, "─")
    blocks.append(lines)
    phases = [str(op.angles[0]) for op in ops if not op.qubits]
    head = [f"global phase: {' + '.join(phases)}"] if phases else []
    body = [
        "\n".join(f"{head:>{margin}}{line}─" for head, line in zip(heads, block, strict=True))
        for block in blocks
    ]
    return "\n".join(head) + ("\n" if head else "") + "\n\n".join(body)


def html(text: str) -> str:
    """A text for a notebook: in letters of one width, lines unbroken, the wires without gaps."""
    lines = text.splitlines()
    if len(lines) > _HTML_LINES:
        rest = len(lines) - _HTML_LINES
        lines = [*lines[:_HTML_LINES], f"… {rest} more lines; print shows them all"]
    style = (
        "white-space: pre; overflow-x: auto; line-height: 1.2; "
        "font-family: 'DejaVu Sans Mono', Menlo, Consolas, monospace"
    )
    return f'<pre style="{style}">{_html.escape(chr(10).join(lines))}</pre>'
