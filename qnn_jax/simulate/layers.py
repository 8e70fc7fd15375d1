"""Layers: even ones (L) are diagonals and an index map, odd ones (B) gates that become matrices.

Each gate comes as early as its qubits allow. Diagonals and permutations commute past each other at
the price of rewriting parity masks, so all of an L layer is one phase polynomial and one map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qnn_jax.circuits.angles import Expression
from qnn_jax.simulate import tuning
from qnn_jax.simulate.gate_forms import Instruction
from qnn_jax.simulate.gf2 import identity, on_bits, spread
from qnn_jax.simulate.steps import DiagonalStep, Scheduled


class AngleNumbers:
    """Numbers the expressions of a circuit, those without inputs first."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        tables: tuple[dict[Expression, int], dict[Expression, int]] = ({}, {})
        for instruction in instructions:
            if instruction.angle is not None:
                table = tables[instruction.reads_inputs]
                table.setdefault(instruction.angle, len(table))
        self.from_weights, self.from_inputs = map(tuple, tables)
        self._number = {e: k for k, e in enumerate(self.from_weights + self.from_inputs)}

    def __call__(self, instruction: Instruction) -> int:
        """The number of a gate's angle."""
        assert instruction.angle is not None
        return self._number[instruction.angle]


class DiagonalLayer:
    """An L layer: diagonals in terms of the incoming bits, and the map that follows them.

    Its gates come in the order of application; qubit q of the circuit is bit `bit_of[q]`.
    """

    def __init__(self, gates: Sequence[Instruction], bit_of: Sequence[int]) -> None:
        self.num_bits = len(bit_of)
        self.map = identity(self.num_bits)
        self.offsets: dict[int, float] = {}
        self.terms: list[tuple[int, float, Instruction]] = []
        self.real = True
        for gate in gates:
            self.add(gate, tuple(bit_of[q] for q in gate.qubits))

    def add(self, instruction: Instruction, places: tuple[int, ...]) -> None:
        """A gate behind all others, on the bits where its qubits are."""
        form = instruction.form
        if form.affine is not None:
            self.map = self.map.then(on_bits(form.affine, places, self.num_bits))
            return
        assert form.phases is not None
        self.real &= form.real
        for local, slope, offset in form.phases:
            mask, flipped = self.map.pull(spread(local, places))
            sign = -1 if flipped else 1
            self.offsets[mask] = self.offsets.get(mask, 0.0) + sign * offset
            if instruction.angle is not None and slope:
                self.terms.append((mask, sign * slope, instruction))

    def phase(self, angles: AngleNumbers) -> Scheduled | None:
        """The phases as a step, or None where there are none."""
        merged: dict[tuple[int, int], float] = {}
        for mask, slope, instruction in self.terms:
            key = (mask, angles(instruction))
            merged[key] = merged.get(key, 0.0) + slope
        kept = {key: slope for key, slope in merged.items() if slope}
        offsets = {m: float(np.remainder(o, 2 * np.pi)) for m, o in self.offsets.items()}
        used = {mask for mask, _ in kept} | {m for m, o in offsets.items() if abs(o) > 1e-14}
        if not used:
            return None
        masks = tuple(sorted(used))
        position = {mask: k for k, mask in enumerate(masks)}
        # In the order of the gates, not sorted: layers that differ in their angles only must look
        # alike to be repeated.
        numbers = list(dict.fromkeys(number for _, number in kept))
        at = {number: k for k, number in enumerate(numbers)}
        return Scheduled(
            DiagonalStep(
                masks,
                tuple(offsets.get(mask, 0.0) for mask in masks),
                tuple((position[m], at[number], slope) for (m, number), slope in kept.items()),
                len(numbers),
                self.real,
            ),
            tuple(numbers),
        )


@dataclass
class Fusion:
    """Gates of one B layer that share qubits."""

    qubits: set[int]
    gates: list[Instruction]

    def on(self, number: Mapping[int, int] | Sequence[int]) -> Fusion:
        """The same on other qubits: number[q] for q."""
        gates = [replace(g, qubits=tuple(number[q] for q in g.qubits)) for g in self.gates]
        return Fusion({number[q] for q in self.qubits}, gates)


def _join(fusions: list[Fusion], gate: Instruction, width: int) -> bool:
    """Put a gate into a B layer, merging fusions that it connects; False where it is too wide."""
    qubits = set(gate.qubits)
    touched = [c for c in fusions if c.qubits & qubits]
    union = qubits.union(*(c.qubits for c in touched))
    if len(union) > width:
        return False
    merged = Fusion(union, [g for c in touched for g in c.gates] + [gate])
    fusions[:] = [c for c in fusions if not c.qubits & qubits] + [merged]
    return True


def layers_of(
    num_qubits: int, gates: Sequence[Instruction], into_blocks: Sequence[bool], width: int
) -> tuple[list[int], dict[int, list[Instruction]], dict[int, list[Fusion]]]:
    """The layer of each gate, even for L and odd for B, as early as may be.

    Returns:
        Of each gate the number of its layer; of each layer, in order, its gates; of each B layer
        its fusions.
    """
    slots: list[int] = []
    layers: dict[int, list[Instruction]] = {}
    blocks: dict[int, list[Fusion]] = {}
    level = [0] * num_qubits
    for gate, into_block in zip(gates, into_blocks, strict=True):
        slot = max((level[q] for q in gate.qubits), default=0)
        slot += slot % 2 != into_block
        while into_block and not _join(blocks.setdefault(slot, []), gate, width):
            slot += 2
        for q in gate.qubits:
            level[q] = slot
        slots.append(slot)
        layers.setdefault(slot, []).append(gate)
    return slots, dict(sorted(layers.items())), blocks


def runs_of(gates: Sequence[Instruction]) -> list[list[int]]:
    """The numbers of gates in order, those in a row on one qubit together."""
    runs: list[list[int]] = []
    last: dict[int, list[int]] = {}
    for k, gate in enumerate(gates):
        alone = len(gate.qubits) == 1
        if alone and gate.qubits[0] in last:
            last[gate.qubits[0]].append(k)
            continue
        runs.append([k])
        for q in gate.qubits:
            last.pop(q, None)
        if alone:
            last[gate.qubits[0]] = runs[-1]
    return runs


def merged_into_blocks(num_qubits: int, gates: Sequence[Instruction], width: int) -> set[int]:
    """The gates on one qubit that go into a matrix step as they are, diagonals among them.

    Of a run of such gates with a dense one among them one small matrix is made. But where a layer
    of phases follows anyway, the diagonals at the run's end are left to it; and a gate like RX that
    is alone then is done in its real frame, S† RY S, whose diagonals join the phases. In a large
    register diagonals are also left where the rest of the run is real (`Tuning.phases_from`).
    """
    runs = [
        run
        for run in runs_of(gates)
        if len(gates[run[0]].qubits) == 1 and any(gates[k].is_dense for k in run)
    ]
    merged = {k for run in runs for k in run}
    into_blocks = [gate.is_dense or k in merged for k, gate in enumerate(gates)]
    slots, _, _ = layers_of(num_qubits, gates, into_blocks, width)
    phased = {
        slot
        for gate, slot, into_block in zip(gates, slots, into_blocks, strict=True)
        if gate.form.phases is not None and not into_block
    }
    for run in runs:
        end = max(i for i, k in enumerate(run) if gates[k].is_dense) + 1
        # In the first layer a matrix step is no more than a column.
        first = slots[run[0]] == 1
        real = num_qubits >= tuning.current().phases_from and all(
            gates[k].form.real for k in run[:end]
        )
        if (real and not first) or slots[run[end - 1]] + 1 in phased:
            merged -= set(run if end == 1 and not first else run[end:])
    return merged
