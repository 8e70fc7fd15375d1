"""Fusion: the gates of an odd layer become few matrices on neighbouring bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qnn_jax.simulate import tuning
from qnn_jax.simulate.layers import AngleNumbers, Fusion
from qnn_jax.simulate.matrices import FusedGates, fused_gates
from qnn_jax.simulate.steps import MatrixStep, PlacedMatrix


@dataclass
class FusionGroup:
    """Fusions that go into one matrix step, on `size` bits from `base` up."""

    fusions: list[Fusion]
    base: int
    size: int

    @property
    def top(self) -> int:
        """The lowest bit above."""
        return self.base + self.size


def _apart(fusions: Sequence[Fusion], bit_of: Sequence[int]) -> list[FusionGroup]:
    """Groups from the lowest up: fusions whose bits lie between one another's are together."""
    found: list[FusionGroup] = []
    for fusion in sorted(fusions, key=lambda c: min(bit_of[q] for q in c.qubits)):
        bits = [bit_of[q] for q in fusion.qubits]
        low, top = min(bits), max(bits) + 1
        if found and low < found[-1].top:
            last = found[-1]
            last.fusions.append(fusion)
            last.size = max(top, last.top) - last.base
        else:
            found.append(FusionGroup([fusion], low, top - low))
    return found


def matrix_step(group: FusionGroup, bit_of: Sequence[int], angles: AngleNumbers) -> PlacedMatrix:
    """A group as a matrix step, and the numbers of its angles: one part for each fusion.

    Fusions whose bits lie between one another's are one part.
    """
    parts: list[FusedGates] = []
    numbers: tuple[int, ...] = ()
    covered = group.base
    for part in _apart(group.fusions, bit_of):
        parts += [FusedGates(1, ())] * (part.base - covered)
        covered = part.top
        gates = [gate for fusion in part.fusions for gate in fusion.gates]
        local = {q: bit_of[q] - part.base for gate in gates for q in gate.qubits}
        fused, members = fused_gates(gates, local, part.size)
        parts.append(fused)
        numbers += tuple(map(angles, members))
    parts += [FusedGates(1, ())] * (group.top - covered)
    return MatrixStep(tuple(parts), group.base), numbers


def idle(num_bits: int) -> MatrixStep:
    """A matrix step that does nothing."""
    return MatrixStep((FusedGates(1, ()),) * num_bits)


def beside(row: Sequence[PlacedMatrix], num_bits: int) -> tuple[PlacedMatrix, ...]:
    """Matrix steps from the lowest bits up, and between them what does nothing: all bits."""
    found: list[PlacedMatrix] = []
    covered = 0
    for block, numbers in [*row, (MatrixStep((), num_bits), ())]:
        if block.base > covered:
            found.append((idle(block.base - covered), ()))
        if block.parts:
            found.append((block, numbers))
        covered = block.base + block.num_bits
    return tuple(found)


def arrange(
    fusions: list[Fusion], place: list[int], num_qubits: int, width: int
) -> tuple[list[int], list[FusionGroup]]:
    """Where each qubit should be for an odd layer, and the groups of bits, from the lowest up.

    Qubits stay in their natural order where every fusion then lies on few neighbouring bits; else
    those that are used come together on the lowest bits.
    """
    fusions = sorted(fusions, key=lambda c: min(c.qubits))
    natural = _natural_groups(fusions, num_qubits, width)
    if natural is not None:
        return list(range(num_qubits)), natural
    groups: list[FusionGroup] = []
    for fusion in fusions:
        if groups and groups[-1].size + len(fusion.qubits) <= width:
            groups[-1].fusions.append(fusion)
            groups[-1].size += len(fusion.qubits)
        else:
            base = groups[-1].top if groups else 0
            groups.append(FusionGroup([fusion], base, len(fusion.qubits)))
    order = [q for group in groups for c in group.fusions for q in sorted(c.qubits)]
    idle = sorted(set(range(num_qubits)) - set(order), key=lambda q: place[q])
    wanted = [0] * num_qubits
    for bit, q in enumerate(order + idle):
        wanted[q] = bit
    return wanted, _merged_low(groups, num_qubits)


def _natural_groups(fusions: list[Fusion], num_qubits: int, width: int) -> list[FusionGroup] | None:
    """Groups of neighbouring qubits that hold whole fusions, or None where there are none."""
    spans = _apart(fusions, range(num_qubits))
    if any(span.size > width for span in spans):
        return None
    # As few groups as fit, of sizes as equal as may be: equal matrices are built together. But a
    # matrix is repeated for every index above its bits; where that takes memory, the lowest one is
    # larger and the next one smaller.
    fewest = -(-num_qubits // width)
    equal = -(-num_qubits // fewest)
    real = all(gate.form.real for fusion in fusions for gate in fusion.gates)
    limits = tuning.current()
    most = limits.equal_up_to if real else limits.equal_up_to_complex
    uneven = [[equal + 1, equal - 1, equal]] if num_qubits > most else []
    for sizes in (*uneven, *([size] for size in range(equal, width + 1))):
        groups: list[FusionGroup] = []
        for span in spans:
            last = groups[-1] if groups else None
            if last and span.top - last.base <= sizes[min(len(groups), len(sizes)) - 1]:
                groups[-1] = FusionGroup(
                    last.fusions + span.fusions, last.base, span.top - last.base
                )
            else:
                groups.append(span)
        if len(groups) <= fewest:
            break
    return _merged_low(groups, num_qubits)


def _merged_low(groups: list[FusionGroup], num_qubits: int) -> list[FusionGroup]:
    """Let no matrix step begin a little above bit 0: it would be very many very narrow products."""
    limits = tuning.current()
    if num_qubits <= limits.two_matrices_up_to:
        return groups

    def is_low(group: FusionGroup) -> bool:
        return group.base < limits.join_below and group.top <= limits.join_up_to

    first, *rest = groups
    if is_low(first):
        first = FusionGroup(first.fusions, 0, first.top)
    if rest and is_low(rest[0]):
        first = FusionGroup(first.fusions + rest[0].fusions, 0, rest[0].top)
        rest = rest[1:]
    return [first, *rest]
