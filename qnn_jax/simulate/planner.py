"""The plan of a circuit: how its gates become few large steps. Pure Python, no JAX, cached.

Gates are sorted into layers that alternate between L (diagonals, then one index map) and B (blocks
of dense gates and of what is beside them on one qubit), each gate as early as its qubits allow.
Diagonals and permutations commute past each other at the price of rewriting parity masks, so
everything between two B layers is one phase polynomial and one affine map over GF(2). A circuit
whose layers neither repeat nor are few is done by uniform steps instead (`irregular`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qnn_jax.circuits.angles import Expression
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import PauliSum
from qnn_jax.simulate.atoms import Atom, Block, Gate, Move, Patch, Phase, Segment, Step
from qnn_jax.simulate.bits import Affine, bit_permutation, identity, on_bits, spread
from qnn_jax.simulate.irregular import segments_of
from qnn_jax.simulate.primitives import Primitive, lower, real_frame
from qnn_jax.simulate.recipes import Recipe, recipe_of
from qnn_jax.simulate.visible import visible

#: For a batch that shares its weights registers up to this size are one block where inputs turn
#: phases only: all gates between two such phases fuse.
SMALL = 4
#: Blocks of larger registers have about this many bits, and more where a gate is wider.
BLOCK = 5
#: Blocks of a register up to this size are its two halves: what it costs is how many operations
#: there are, not how large they are.
COMPACT = 8
#: Blocks that would begin a little above bit 0, up to here, join the first one up to this width.
_NARROW, _WIDEST = 4, 7
#: Blocks of a register up to this size are as equal as may be: equal ones are built together.
EQUAL_UP_TO = 14
#: From so many qubits on diagonals behind a run of real gates on one qubit are phases: a complex
#: block would take twice as long as a real one, and phases of single qubits next to nothing.
REAL_FROM = 9
#: A program of more pieces is done by uniform steps instead (`irregular`): they are fewer where
#: nothing repeats, and they keep the program short where what repeats is itself long.
SHORT, LONG = 30, 40
#: A batch whose gates differ is done by blocks, a matrix for each sample, from so many qubits on
#: where the blocks of a plan by layers have so many angles on average.
BLOCKS_FROM, ANGLES_A_BLOCK = 5, 7
#: Gate by gate a program may have this many pieces.
LONGEST_BY_GATES = 64


@dataclass(frozen=True, eq=False)
class Plan:
    """What is done to run a circuit.

    Attributes:
        num_qubits: of the circuit.
        from_weights: the expressions of the angles that do not depend on the inputs.
        from_inputs: those that do. Angle k of a step is entry k of both, one after the other.
        initial: a product state to start from, as blocks on |0…0> with the numbers of their
            angles, from the lowest bits up.
        segments: the steps, those that repeat put together.
    """

    num_qubits: int
    from_weights: tuple[Expression, ...]
    from_inputs: tuple[Expression, ...]
    initial: tuple[tuple[Block, tuple[int, ...]], ...]
    segments: tuple[Segment, ...]

    def __str__(self) -> str:
        """The steps, how often each is done, and what it costs."""
        n = self.num_qubits
        sizes = "+".join(str(block.num_bits) for block, _ in self.initial)
        lines = [
            f"{n} qubits; {len(self.from_weights)} angles of weights, "
            f"{len(self.from_inputs)} of inputs",
            f"  start: a product state on {sizes} bits",
        ]
        for segment in self.segments:
            lines.append(f"  {segment.repeats} x:" if segment.repeats > 1 else "  once:")
            lines += [f"    {_describe(atom, n)}" for atom in segment.atoms]
        return "\n".join(lines)


def _describe(atom: Atom, num_qubits: int) -> str:
    if isinstance(atom, Phase):
        return (
            f"phases of {len(atom.masks)} parities from {atom.num_angles} angles: "
            f"cosine and sine of up to 2^{num_qubits} numbers, 1 pass"
        )
    if isinstance(atom, Move):
        return "index map: 1 pass"
    if isinstance(atom, Gate):
        return f"{atom.form.key[0]} on bits {', '.join(map(str, atom.bits))}: 1 pass"
    if isinstance(atom, Patch):
        width = atom.num_bits + (not atom.real)
        flops = 2 * 2 ** (num_qubits + (not atom.real) + width)
        return (
            f"any gates on bits 0…{atom.num_bits - 1}, up to {atom.num_angles} with angles: "
            f"{flops / 1e6:.3g} Mflop"
        )
    kind = "real" if atom.real else "complex"
    flops = (4 if atom.real else 8) * 2 ** (num_qubits + atom.num_bits)
    top = atom.base + atom.num_bits - 1
    return (
        f"{kind} block on bits {atom.base}…{top} from {atom.num_angles} angles: "
        f"{flops / 1e6:.3g} Mflop"
    )


class _Angles:
    """Numbers the expressions of a circuit, those without inputs first."""

    def __init__(self, primitives: Sequence[Primitive]) -> None:
        tables: tuple[dict[Expression, int], dict[Expression, int]] = ({}, {})
        for primitive in primitives:
            if primitive.angle is not None:
                table = tables[primitive.reads_inputs]
                table.setdefault(primitive.angle, len(table))
        self.from_weights, self.from_inputs = map(tuple, tables)
        self._number = {e: k for k, e in enumerate(self.from_weights + self.from_inputs)}

    def __call__(self, primitive: Primitive) -> int:
        assert primitive.angle is not None
        return self._number[primitive.angle]


class _Diagonals:
    """An L layer: diagonals in terms of the incoming bits, and the map that follows them."""

    def __init__(self, num_qubits: int) -> None:
        self.map = identity(num_qubits)
        self.num_qubits = num_qubits
        self.offsets: dict[int, float] = {}
        self.terms: list[tuple[int, float, Primitive]] = []
        self.real = True

    def add(self, primitive: Primitive, places: tuple[int, ...]) -> None:
        form = primitive.form
        if form.affine is not None:
            self.map = self.map.then(on_bits(form.affine, places, self.num_qubits))
            return
        assert form.phases is not None
        self.real &= form.real
        for local, slope, offset in form.phases:
            mask, flipped = self.map.pull(spread(local, places))
            sign = -1 if flipped else 1
            self.offsets[mask] = self.offsets.get(mask, 0.0) + sign * offset
            if primitive.angle is not None and slope:
                self.terms.append((mask, sign * slope, primitive))

    def phase(self, angles: _Angles) -> Step | None:
        """The phases as a step, or None where there are none."""
        merged: dict[tuple[int, int], float] = {}
        for mask, slope, primitive in self.terms:
            key = (mask, angles(primitive))
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
        return Step(
            Phase(
                masks,
                tuple(offsets.get(mask, 0.0) for mask in masks),
                tuple((position[m], at[number], slope) for (m, number), slope in kept.items()),
                len(numbers),
                self.real,
            ),
            tuple(numbers),
        )


@functools.lru_cache(maxsize=256)
def plan(circuit: Circuit, shared: bool = False) -> Plan:
    """The plan of a circuit; equal circuits have the same plan.

    Args:
        circuit: the circuit.
        shared: it is for a batch that shares its weights. Matrices made of weights alone are then
            few, so those of a small register are multiplied with each other first, unless inputs
            turn other gates than phases.
    """
    return _plan_of(circuit.num_qubits, _lowered(circuit), shared)


@functools.lru_cache(maxsize=256)
def plan_to_measure(
    circuit: Circuit, observables: tuple[PauliSum, ...], shared: bool = False
) -> tuple[Plan, tuple[PauliSum, ...]]:
    """The plan of what observables see of a circuit, and the observables to take behind it.

    All of the circuit is done where leaving gates out makes a longer program, because what
    repeated does so no more.
    """
    kept, behind = visible(_lowered(circuit), observables)
    whole, part = plan(circuit, shared), _plan_of(circuit.num_qubits, kept, shared)
    return (whole, observables) if _num_atoms(part) > _num_atoms(whole) else (part, behind)


def _num_atoms(plan: Plan) -> int:
    return sum(len(segment.atoms) for segment in plan.segments)


@functools.lru_cache(maxsize=256)
def _lowered(circuit: Circuit) -> tuple[Primitive, ...]:
    return tuple(p for op in circuit.ops for p in lower(op) if p.form.key != ("id",))


def _plan_of(num_qubits: int, gates: Sequence[Primitive], shared: bool) -> Plan:
    fused = shared and num_qubits <= SMALL and not _turned_by_inputs(gates)
    found = (_plan_fused if fused else _plan_layered)(num_qubits, gates)
    most = LONG if any(segment.repeats > 1 for segment in found.segments) else SHORT
    return found if _length(found) <= most else _plan_irregular(num_qubits, gates)


def _length(plan: Plan) -> int:
    """About how long the program of a plan is: its atoms, and what its matrices are made of."""
    atoms = [atom for segment in plan.segments for atom in segment.atoms]
    blocks = [atom for atom in atoms if isinstance(atom, Block)]
    blocks += [block for block, _ in plan.initial]
    recipes = {part for block in blocks for part in block.parts}
    return len(atoms) + sum(len({*recipe.elements}) for recipe in recipes)


def _plan_irregular(num_qubits: int, primitives: Sequence[Primitive]) -> Plan:
    """Uniform steps on a real state, with one more bit where the circuit is complex."""
    angles = _Angles(primitives)
    segments = segments_of(num_qubits, primitives, angles)
    num_bits = num_qubits + (not all(gate.form.real for gate in primitives))
    start = ((_idle(num_bits), ()),)
    return Plan(num_qubits, angles.from_weights, angles.from_inputs, start, segments)


def _plan_fused(num_qubits: int, gates: Sequence[Primitive]) -> Plan:
    """The whole register is one block; only phases that depend on the inputs stay apart."""
    angles = _Angles(gates)

    # Even slots hold phases of the inputs and constant permutations, odd ones all the rest.
    slots: dict[int, list[Primitive]] = {}
    level = [0] * num_qubits
    for gate in gates:
        form = gate.form
        diagonal = form.phases is not None and (gate.angle is None or gate.reads_inputs)
        odd = not (diagonal or form.affine is not None)
        slot = max((level[q] for q in gate.qubits), default=0)
        slot += slot % 2 != odd
        slots.setdefault(slot, []).append(gate)
        for q in gate.qubits:
            level[q] = slot

    steps: list[Step] = []
    stretch: list[Primitive | np.ndarray] = []
    bit_of = {q: q for q in range(num_qubits)}

    def block() -> tuple[Block, tuple[int, ...]]:
        recipe, members = recipe_of(stretch, bit_of, num_qubits)
        stretch.clear()
        return Block((recipe,)), tuple(map(angles, members))

    initial: tuple[Block, tuple[int, ...]] | None = None
    for slot in sorted(slots):
        if slot % 2:
            stretch.extend(slots[slot])
            continue
        layer = _Diagonals(num_qubits)
        for gate in slots[slot]:
            layer.add(gate, gate.qubits)
        phase = layer.phase(angles)
        if phase is not None and phase.angles:
            done = block()
            if initial is None:
                initial = done
            else:
                steps.append(Step(*done))
            steps.append(phase)
        elif phase is not None:
            assert isinstance(phase.atom, Phase)
            stretch.append(_diagonal_matrix(phase.atom, num_qubits))
        if not layer.map.is_identity:
            stretch.append(_permutation_matrix(layer.map, num_qubits))
    last = block()
    if initial is None:
        initial = last
    elif not last[0].is_identity:
        steps.append(Step(*last))
    return Plan(
        num_qubits,
        angles.from_weights,
        angles.from_inputs,
        (initial,),
        _segments(steps, len(angles.from_weights)),
    )


@functools.lru_cache(maxsize=256)
def turned_by_inputs(circuit: Circuit) -> bool:
    """Do inputs turn gates that are no phases?"""
    return _turned_by_inputs(_lowered(circuit))


def _turned_by_inputs(gates: Sequence[Primitive]) -> bool:
    return any(gate.reads_inputs and gate.form.phases is None for gate in gates)


def _has_large_blocks(found: Plan) -> bool:
    """Is it by layers, and have its blocks many angles on average?"""
    atoms = [(atom, segment.repeats) for segment in found.segments for atom in segment.atoms]
    blocks = [(atom, repeats) for atom, repeats in atoms if isinstance(atom, Block)]
    blocks += [(block, 1) for block, _ in found.initial]
    turns = sum(block.num_angles * repeats for block, repeats in blocks)
    layered = not any(isinstance(atom, Patch) for atom, _ in atoms)
    return layered and turns >= ANGLES_A_BLOCK * sum(repeats for _, repeats in blocks)


@functools.lru_cache(maxsize=256)
def plan_by_gates(
    circuit: Circuit, observables: tuple[PauliSum, ...]
) -> tuple[Plan, tuple[PauliSum, ...]] | None:
    """The plan for a batch whose gates differ, and the observables to take behind it.

    None where blocks do better, or it would be long.
    """
    if circuit.num_qubits >= BLOCKS_FROM and _has_large_blocks(plan(circuit)):
        return None
    gates, behind = visible(_lowered(circuit), observables)
    found = _plan_by_gates(circuit.num_qubits, gates)
    return None if _num_atoms(found) > LONGEST_BY_GATES else (found, behind)


def _plan_by_gates(num_qubits: int, gates: Sequence[Primitive]) -> Plan:
    angles = _Angles(gates)
    merged = _merged_into_blocks(num_qubits, gates, num_qubits)
    into_blocks = [gate.is_dense or k in merged for k, gate in enumerate(gates)]
    layers: dict[int, list[Primitive]] = {}
    slots, _ = _layers(num_qubits, gates, into_blocks, num_qubits)
    for gate, slot in zip(gates, slots, strict=True):
        layers.setdefault(slot, []).append(gate)

    steps: list[Step] = []
    initial: list[tuple[Block, tuple[int, ...]]] = [(_idle(1), ())] * num_qubits
    fresh = set(range(num_qubits))  # qubits on which nothing was done but what `initial` does
    for slot in sorted(layers):
        if slot % 2:
            for row in _runs(layers[slot]):
                run = [layers[slot][k] for k in row]
                first = run[0]
                if len(first.qubits) > 1:
                    own = () if first.angle is None else (angles(first),)
                    steps.append(Step(Gate(first.form, first.qubits), own))
                    fresh -= set(first.qubits)
                    continue
                (q,) = first.qubits
                recipe, members = recipe_of(run, {q: 0}, 1)
                numbers = tuple(map(angles, members))
                if q in fresh:
                    initial[q] = (Block((recipe,)), numbers)
                    fresh.remove(q)
                else:
                    steps.append(Step(Block((recipe,), q), numbers))
            continue
        layer = _Diagonals(num_qubits)
        for gate in layers[slot]:
            layer.add(gate, gate.qubits)
            fresh -= set(gate.qubits)
        phase = layer.phase(angles)
        steps += [] if phase is None else [phase]
        steps += [] if layer.map.is_identity else [Step(Move(layer.map))]
    segments = _segments(steps, len(angles.from_weights))
    start = (_product(initial),)
    return Plan(num_qubits, angles.from_weights, angles.from_inputs, start, segments)


def _runs(gates: Sequence[Primitive]) -> list[list[int]]:
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


def _product(blocks: Sequence[tuple[Block, tuple[int, ...]]]) -> tuple[Block, tuple[int, ...]]:
    """Blocks beside each other, from the lowest bits up, as one."""
    parts = tuple(part for block, _ in blocks for part in block.parts)
    return Block(parts), tuple(k for _, numbers in blocks for k in numbers)


def _plan_layered(num_qubits: int, primitives: Sequence[Primitive]) -> Plan:
    """Layers of diagonals and index maps alternate with layers of blocks."""
    compact = num_qubits <= COMPACT
    width = max([-(-num_qubits // 2) if compact else BLOCK, *(len(p.qubits) for p in primitives)])
    merged = _merged_into_blocks(num_qubits, primitives, width)
    gates: list[Primitive] = []
    into_blocks: list[bool] = []
    for k, primitive in enumerate(primitives):
        framed = primitive.is_dense and k not in merged and not primitive.form.real
        frame = real_frame(primitive.form) if framed else None
        if frame is None:
            gates.append(primitive)
            into_blocks.append(primitive.is_dense or k in merged)
        else:
            before, middle, after = frame
            gates.append(Primitive(before, primitive.qubits))
            gates.append(Primitive(middle, primitive.qubits, primitive.angle))
            gates.append(Primitive(after, primitive.qubits))
            into_blocks += [False, True, False]
    angles = _Angles(gates)
    slots, blocks = _layers(num_qubits, gates, into_blocks, width)
    diagonals: dict[int, list[Primitive]] = {}
    for gate, slot in zip(gates, slots, strict=True):
        if slot % 2 == 0:
            diagonals.setdefault(slot, []).append(gate)

    steps: list[Step] = []
    initial: tuple[tuple[Block, tuple[int, ...]], ...] = ()
    place = list(range(num_qubits))  # the bit where each qubit is
    pending = identity(num_qubits)

    def settle(wanted: list[int]) -> None:
        """Emit the index map that is due, and bring qubit q to bit wanted[q] on the way."""
        nonlocal place, pending
        turn = [0] * num_qubits
        for q in range(num_qubits):
            turn[place[q]] = wanted[q]
        pending = pending.then(bit_permutation(tuple(turn)))
        if not pending.is_identity:
            steps.append(Step(Move(pending)))
        place, pending = list(wanted), identity(num_qubits)

    for slot in sorted({*diagonals, *(s for s, clusters in blocks.items() if clusters)}):
        if slot % 2 == 0:
            layer = _Diagonals(num_qubits)
            for gate in diagonals[slot]:
                layer.add(gate, tuple(place[q] for q in gate.qubits))
            phase = layer.phase(angles)
            if phase is not None:
                steps.append(phase)
            pending = pending.then(layer.map)
            continue
        wanted, groups = _arrange(blocks[slot], place, num_qubits, width)
        row = [_block(group, wanted, angles) for group in groups]
        untouched = not steps and not initial and pending.is_identity
        if untouched and wanted == list(range(num_qubits)):
            covered = 0
            for block, numbers in row:
                if block.base > covered:
                    initial += ((_idle(block.base - covered), ()),)
                initial += ((block, numbers),)
                covered = block.base + block.num_bits
            if covered < num_qubits:
                initial += ((_idle(num_qubits - covered), ()),)
            continue
        settle(wanted)
        steps += [Step(*found) for found in row]
    settle(list(range(num_qubits)))
    return Plan(
        num_qubits,
        angles.from_weights,
        angles.from_inputs,
        initial or ((_idle(num_qubits), ()),),
        _segments(steps, len(angles.from_weights)),
    )


def _layers(
    num_qubits: int, gates: Sequence[Primitive], into_blocks: Sequence[bool], width: int
) -> tuple[list[int], dict[int, list[_Cluster]]]:
    """The layer of each gate, even for L and odd for B, as early as may be; and the B layers."""
    slots: list[int] = []
    blocks: dict[int, list[_Cluster]] = {}
    level = [0] * num_qubits
    for gate, into_block in zip(gates, into_blocks, strict=True):
        slot = max((level[q] for q in gate.qubits), default=0)
        slot += slot % 2 != into_block
        while into_block and not _join(blocks.setdefault(slot, []), gate, width):
            slot += 2
        for q in gate.qubits:
            level[q] = slot
        slots.append(slot)
    return slots, blocks


def _merged_into_blocks(num_qubits: int, gates: Sequence[Primitive], width: int) -> set[int]:
    """The gates on one qubit that go into a block as they are, diagonals among them.

    Of a run of such gates with a dense one among them one small matrix is made. But where a layer
    of phases follows anyway, the diagonals at the run's end are left to it; and a gate like RX that
    is alone then is done in its real frame, S† RY S, whose diagonals join the phases. In a large
    register diagonals are also left where the rest of the run is real (`REAL_FROM`).
    """
    runs = [
        run
        for run in _runs(gates)
        if len(gates[run[0]].qubits) == 1 and any(gates[k].is_dense for k in run)
    ]
    merged = {k for run in runs for k in run}
    into_blocks = [gate.is_dense or k in merged for k, gate in enumerate(gates)]
    slots, _ = _layers(num_qubits, gates, into_blocks, width)
    phased = {
        slot
        for gate, slot, into_block in zip(gates, slots, into_blocks, strict=True)
        if gate.form.phases is not None and not into_block
    }
    for run in runs:
        end = max(i for i, k in enumerate(run) if gates[k].is_dense) + 1
        # In the first layer a block is no more than a column.
        first = slots[run[0]] == 1
        real = num_qubits >= REAL_FROM and all(gates[k].form.real for k in run[:end])
        if (real and not first) or slots[run[end - 1]] + 1 in phased:
            merged -= set(run if end == 1 and not first else run[end:])
    return merged


def _idle(num_bits: int) -> Block:
    return Block((Recipe(num_bits, ()),))


@dataclass
class _Cluster:
    """Gates of one B layer that share qubits."""

    qubits: set[int]
    gates: list[Primitive]


def _join(clusters: list[_Cluster], gate: Primitive, width: int) -> bool:
    """Put a gate into a B layer, merging clusters that it connects; False where it is too wide."""
    qubits = set(gate.qubits)
    touched = [c for c in clusters if c.qubits & qubits]
    union = qubits.union(*(c.qubits for c in touched))
    if len(union) > width:
        return False
    merged = _Cluster(union, [g for c in touched for g in c.gates] + [gate])
    clusters[:] = [c for c in clusters if not c.qubits & qubits] + [merged]
    return True


@dataclass
class _Group:
    """Clusters that go into one block, on `size` bits from `base` up."""

    clusters: list[_Cluster]
    base: int
    size: int


def _block(group: _Group, bit_of: Sequence[int], angles: _Angles) -> tuple[Block, tuple[int, ...]]:
    """A group as a block, and the numbers of its angles: one part for each cluster.

    Clusters whose bits lie between one another's are one part.
    """
    spans: list[tuple[int, int, list[Primitive]]] = []
    for cluster in sorted(group.clusters, key=lambda c: min(bit_of[q] for q in c.qubits)):
        bits = [bit_of[q] - group.base for q in cluster.qubits]
        low, top, gates = min(bits), max(bits) + 1, cluster.gates
        if spans and low < spans[-1][1]:
            before = spans.pop()
            low, top, gates = before[0], max(before[1], top), before[2] + gates
        spans.append((low, top, gates))
    parts: list[Recipe] = []
    numbers: tuple[int, ...] = ()
    covered = 0
    for low, top, gates in [*spans, (group.size, group.size, [])]:
        parts += [Recipe(1, ())] * (low - covered)
        covered = top
        if gates:
            local = {q: bit_of[q] - group.base - low for gate in gates for q in gate.qubits}
            recipe, members = recipe_of(gates, local, top - low)
            parts.append(recipe)
            numbers += tuple(map(angles, members))
    return Block(tuple(parts), group.base), numbers


def _arrange(
    clusters: list[_Cluster], place: list[int], num_qubits: int, width: int
) -> tuple[list[int], list[_Group]]:
    """Where each qubit should be for a B layer, and the groups of bits, from the lowest up.

    Qubits stay in their natural order where every cluster then lies on few neighbouring bits; else
    those that are used come together on the lowest bits.
    """
    clusters = sorted(clusters, key=lambda c: min(c.qubits))
    natural = _natural_groups(clusters, num_qubits, width)
    if natural is not None:
        return list(range(num_qubits)), natural
    groups: list[_Group] = []
    for cluster in clusters:
        if groups and groups[-1].size + len(cluster.qubits) <= width:
            groups[-1].clusters.append(cluster)
            groups[-1].size += len(cluster.qubits)
        else:
            base = groups[-1].base + groups[-1].size if groups else 0
            groups.append(_Group([cluster], base, len(cluster.qubits)))
    order = [q for group in groups for c in group.clusters for q in sorted(c.qubits)]
    idle = sorted(set(range(num_qubits)) - set(order), key=lambda q: place[q])
    wanted = [0] * num_qubits
    for bit, q in enumerate(order + idle):
        wanted[q] = bit
    return wanted, _merged_low(groups, num_qubits)


def _natural_groups(clusters: list[_Cluster], num_qubits: int, width: int) -> list[_Group] | None:
    """Groups of neighbouring qubits that hold whole clusters, or None where there are none."""
    spans: list[_Group] = []
    for cluster in clusters:
        low, high = min(cluster.qubits), max(cluster.qubits)
        if spans and low < spans[-1].base + spans[-1].size:
            last = spans[-1]
            spans[-1] = _Group(
                [*last.clusters, cluster],
                last.base,
                max(high + 1, last.base + last.size) - last.base,
            )
        else:
            spans.append(_Group([cluster], low, high + 1 - low))
    if any(span.size > width for span in spans):
        return None
    # As few groups as fit, of sizes as equal as may be: equal blocks are built together. But a
    # block repeats its matrix for every index above it; where that takes memory, the lowest block
    # is larger and the next one smaller.
    fewest = -(-num_qubits // width)
    equal = -(-num_qubits // fewest)
    uneven = [[equal + 1, equal - 1, equal]] if num_qubits > EQUAL_UP_TO else []
    for sizes in (*uneven, *([size] for size in range(equal, width + 1))):
        groups: list[_Group] = []
        for span in spans:
            top = span.base + span.size
            if groups and top - groups[-1].base <= sizes[min(len(groups), len(sizes)) - 1]:
                last = groups[-1]
                groups[-1] = _Group(last.clusters + span.clusters, last.base, top - last.base)
            else:
                groups.append(_Group(list(span.clusters), span.base, span.size))
        if len(groups) <= fewest:
            break
    return _merged_low(groups, num_qubits)


def _merged_low(groups: list[_Group], num_qubits: int) -> list[_Group]:
    """Let no block begin a little above bit 0: it would be very many very narrow products."""
    if num_qubits <= COMPACT:
        return groups
    first, *rest = groups
    if 0 < first.base < _NARROW and first.base + first.size <= _WIDEST:
        first = _Group(first.clusters, 0, first.base + first.size)
    if rest and rest[0].base < _NARROW and rest[0].base + rest[0].size <= _WIDEST:
        top = rest[0].base + rest[0].size
        first, rest = _Group(first.clusters + rest[0].clusters, 0, top), rest[1:]
    return [first, *rest]


def _diagonal_matrix(phase: Phase, num_qubits: int) -> np.ndarray:
    i = np.arange(1 << num_qubits)
    total = np.zeros(len(i))
    for mask, offset in zip(phase.masks, phase.offsets, strict=True):
        total += offset * (1 - 2 * (np.bitwise_count(i & mask) & 1).astype(int))
    matrix = np.exp(1j * total)
    return np.diag(np.round(matrix.real) if phase.real else matrix)


def _permutation_matrix(affine: Affine, num_qubits: int) -> np.ndarray:
    size = 1 << num_qubits
    matrix = np.zeros((size, size))
    matrix[[affine(i) for i in range(size)], range(size)] = 1
    return matrix


def _segments(steps: list[Step], num_weights: int) -> tuple[Segment, ...]:
    """Find what repeats: greedily the period that covers most steps from here on."""

    def signature(step: Step) -> object:
        return step.atom, tuple(k >= num_weights for k in step.angles)

    kinds: dict[object, int] = {}
    row = [kinds.setdefault(signature(step), len(kinds)) for step in steps]
    segments: list[Segment] = []
    alone: list[Step] = []
    start = 0
    while start < len(steps):
        best = (1, 1)
        for period in range(1, min(64, (len(row) - start) // 2) + 1):
            pattern = row[start : start + period]
            repeats = 1
            while row[start + repeats * period : start + (repeats + 1) * period] == pattern:
                repeats += 1
            if repeats > 1 and repeats * period > best[0] * best[1]:
                best = (period, repeats)
        period, repeats = best
        if repeats == 1:
            alone.append(steps[start])
        else:
            if alone:
                segments.append(_segment(alone, 1, num_weights))
                alone = []
            span = steps[start : start + period * repeats]
            segments.append(_segment(span, repeats, num_weights))
        start += period * repeats
    if alone:
        segments.append(_segment(alone, 1, num_weights))
    return tuple(segments)


def _segment(steps: list[Step], repeats: int, num_weights: int) -> Segment:
    period = len(steps) // repeats
    angles = [
        np.array([s.angles for s in steps[k::period]], int).reshape(repeats, -1)
        for k in range(period)
    ]
    return Segment(
        repeats,
        tuple(step.atom for step in steps[:period]),
        tuple(angles),
        tuple(bool(np.any(numbers >= num_weights)) for numbers in angles),
        ((),) * period,
    )


__all__ = ["Plan", "plan"]
