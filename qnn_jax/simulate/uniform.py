"""The plan of a circuit that does not repeat itself: gates on far-apart qubits in any order.

Each step brings a few qubits to the lowest bits, permuting basis states on the way, and multiplies
by one matrix there. All steps look alike, index maps and matrices are data, so one `lax.scan` does
them and the program does not grow with the number of gates. Complex amplitudes are real ones with
one more bit, which tells the imaginary part from the real one: a step is an orthogonal matrix on
real numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qnn_jax.simulate import tuning
from qnn_jax.simulate.gate_forms import GateForm, Instruction
from qnn_jax.simulate.gf2 import IndexMap, bit_permutation, columns_of, identity, on_bits
from qnn_jax.simulate.layers import runs_of
from qnn_jax.simulate.matrices import embed
from qnn_jax.simulate.steps import PermutationStep, ScannedSteps, UniformStep

_LONGEST = 31  # bits of an index with controls


@dataclass
class _UniformGates:
    """What one step does."""

    arrive: IndexMap
    qubits: tuple[int, ...]
    gates: list[Instruction]


def uniform_scans(
    num_qubits: int, gates: Sequence[Instruction], number: Callable[[Instruction], int]
) -> tuple[ScannedSteps, ...]:
    """Steps on a real state of num_qubits bits, or of one more where a gate is complex."""
    limits = tuning.current()
    width, factors = limits.uniform_bits, limits.uniform_gates
    if num_qubits <= limits.uniform_small_up_to:
        width, factors = limits.uniform_small_bits, limits.uniform_small_gates
    elif num_qubits >= limits.uniform_large_from:
        factors = limits.uniform_large_gates
    factors *= _in_a_row(gates)
    width = min(num_qubits, max([width, *(len(gate.qubits) for gate in gates)]))
    real = all(gate.form.real for gate in gates)
    num_bits = num_qubits + (not real)
    groups, last = _uniform_groups(num_qubits, num_bits, gates, width, factors)
    most = max(sum(gate.angle is not None for gate in group.gates) for group in groups)
    tables, scales, numbers = [], [], []
    for group in groups:
        table, scale, members = _tables(group, width, max(most, 1))
        own = [number(gate) for gate in members]
        tables.append(np.stack([table.real] if real else [table.real, table.imag], 2))
        scales.append(scale)
        # What is left over multiplies by the identity whatever its angle is.
        numbers.append(own + [own[0] if own else 0] * (most - len(own)))
    arrivals = [_numbers(group.arrive) for group in groups]
    steps = ScannedSteps(
        len(groups),
        (PermutationStep(None), UniformStep(width, most, real)),
        (np.zeros((len(groups), 0), int), np.array(numbers, int).reshape(len(groups), most)),
        (False, any(gate.reads_inputs for gate in gates)),
        ((np.array(arrivals),), (np.array(scales), np.array(tables))),
    )
    home = ScannedSteps(
        1, (PermutationStep(None),), (np.zeros((1, 0), int),), (False,), ((_numbers(last)[None],),)
    )
    return (steps,) if last.is_identity else (steps, home)


def _in_a_row(gates: Sequence[Instruction]) -> int:
    """How many gates with angles follow one another on a qubit, on average: 3 of U alone."""
    counts = [sum(gates[k].angle is not None for k in run) for run in runs_of(gates)]
    turns = [count for count in counts if count]
    return round(sum(turns) / len(turns)) if turns else 1


def _most_toffolis(num_bits: int) -> int:
    return max(0, min(tuning.current().uniform_toffolis, (_LONGEST - num_bits) // 2))


def _numbers(index_map: IndexMap) -> np.ndarray:
    """The numbers of where amplitudes come from, and of where they go."""
    most = _most_toffolis(len(index_map.affine.columns))
    return np.stack([columns_of(index_map.inverse(), most), columns_of(index_map, most)])


def _uniform_groups(
    num_qubits: int, num_bits: int, gates: Sequence[Instruction], width: int, factors: int
) -> tuple[list[_UniformGates], IndexMap]:
    """The steps, and the index map that is left at the end."""
    most = _most_toffolis(num_bits)
    wires = [gate.qubits or (0,) for gate in gates]  # a global phase goes anywhere
    queues: list[list[int]] = [[] for _ in range(num_qubits)]
    for k in range(len(gates)):
        for q in wires[k]:
            queues[q].append(k)
    done = [0] * num_qubits  # how many gates of each queue
    place = list(range(num_bits))  # the bit where each qubit is; the last may be the complex bit
    pending = IndexMap(identity(num_bits))
    groups: list[_UniformGates] = []

    def ready(done: list[int]) -> list[int]:
        """The gates all of whose predecessors are done."""
        heads = {queue[at] for queue, at in zip(queues, done, strict=True) if at < len(queue)}
        return sorted(k for k in heads if all(queues[q][done[q]] == k for q in wires[k]))

    def grow(seed: int) -> tuple[set[int], list[int], list[int]]:
        """The gates of a step that begins with one: its qubits, its gates, and what is done."""
        after = list(done)
        qubits: set[int] = set()
        members: list[int] = []
        angles = 0
        chosen: int | None = seed
        while chosen is not None:
            members.append(chosen)
            qubits |= set(wires[chosen])
            angles += gates[chosen].angle is not None
            for q in wires[chosen]:
                after[q] += 1
            open_gates = [
                (len(qubits.union(wires[k])), -len(wires[k]), k)
                for k in ready(after)
                if gates[k].angle is None or angles < factors
            ]
            fitting = [entry for entry in open_gates if entry[0] <= width]
            chosen = min(fitting)[-1] if fitting else None
        return qubits, members, after

    while seeds := ready(done):
        moved = [k for k in seeds if gates[k].form.affine is not None]
        if not moved and len(pending.toffolis) < most:
            moved = [k for k in seeds if gates[k].form.toffoli is not None][:1]
        for k in moved:
            form, places = gates[k].form, tuple(place[q] for q in gates[k].qubits)
            if form.affine is not None:
                pending = pending.then(on_bits(form.affine, places, num_bits))
            elif form.toffoli is not None:
                pending = pending.then(form.toffoli.on_bits(places))
            for q in wires[k]:
                done[q] += 1
        if moved:
            continue
        qubits, members, done = max((grow(k) for k in seeds), key=lambda found: len(found[1]))
        idle = sorted(set(range(num_qubits)) - qubits, key=lambda q: place[q])
        used = sorted(qubits, key=lambda q: place[q]) + idle[: width - len(qubits)]
        order = used + list(range(num_qubits, num_bits)) + idle[width - len(qubits) :]
        turn = [0] * num_bits
        for bit, q in enumerate(order):
            turn[place[q]] = bit
            place[q] = bit
        arrive = pending.then(bit_permutation(tuple(turn)))
        groups.append(_UniformGates(arrive, tuple(used), [gates[k] for k in members]))
        pending = IndexMap(identity(num_bits))
    home = [0] * num_bits
    for q, bit in enumerate(place):
        home[bit] = q
    return groups, pending.then(bit_permutation(tuple(home)))


def _tables(
    group: _UniformGates, width: int, length: int
) -> tuple[np.ndarray, np.ndarray, list[Instruction]]:
    """For each gate with an angle θ the A, B, C, s with matrix A + B cos sθ + C sin sθ.

    Constant gates are multiplied into the one before them, or the first one after them.

    Returns:
        A, B, C of shape (length, 3, 2**width, 2**width), s of shape (length,), and the gates.
    """
    bit_of = {q: bit for bit, q in enumerate(group.qubits)}
    tables = np.zeros((length, 3, 1 << width, 1 << width), complex)
    tables[:, 0] = np.eye(1 << width)
    scales = np.ones(length)
    members: list[Instruction] = []
    for gate in group.gates:
        bits = tuple(bit_of[q] for q in gate.qubits)
        at = max(len(members) - 1, 0)
        if gate.angle is None:
            tables[at] = embed(gate.form.matrix(), bits, width) @ tables[at]
            continue
        scale, three = three_of(gate.form)
        before = tables[0, 0] if not members else np.eye(1 << width)
        at = len(members)
        tables[at] = embed(three, bits, width) @ before
        scales[at] = scale
        members.append(gate)
    return tables, scales, members


def three_of(form: GateForm) -> tuple[float, np.ndarray]:
    """The scale s of the angle, and the coefficients of 1, cos sθ and sin sθ."""
    half = bool(np.any(abs(form.coefficients[1:3]) > 1e-12))
    assert not (half and np.any(abs(form.coefficients[3:]) > 1e-12)), form.key
    return (0.5, form.coefficients[:3]) if half else (1.0, form.coefficients[[0, 3, 4]])
