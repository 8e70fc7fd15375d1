"""The plan of a circuit: how its gates become few large steps. Pure Python, no JAX, cached.

Layers alternate between L, one phase polynomial and one affine map over GF(2), and B, blocks of
dense gates and of what is beside them on one qubit (`layers`, `groups`); those that repeat are put
together (`repeats`). A circuit whose layers neither repeat nor are few is done by uniform steps
instead (`irregular`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qnn_jax.circuits.angles import Expression
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.drawing import html
from qnn_jax.circuits.observables import ObservableLike, PauliSum, observables_on
from qnn_jax.simulate import tuning
from qnn_jax.simulate.atoms import Atom, Block, Gate, Move, Patch, Phase, Segment, Step
from qnn_jax.simulate.bits import Affine, bit_permutation, identity
from qnn_jax.simulate.groups import arrange, block_of
from qnn_jax.simulate.irregular import segments_of
from qnn_jax.simulate.layers import AngleNumbers, Diagonals, layers_of, merged_into_blocks, runs_of
from qnn_jax.simulate.primitives import Primitive, lower, real_frame
from qnn_jax.simulate.recipes import Recipe, recipe_of
from qnn_jax.simulate.repeats import segments_that_repeat
from qnn_jax.simulate.visible import visible


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

    def __repr__(self) -> str:
        steps = sum(segment.repeats * len(segment.atoms) for segment in self.segments)
        return f"<Plan for {self.num_qubits} qubits: {steps} steps; print it to see them>"

    def _repr_html_(self) -> str:
        return html(str(self))

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


def plan(
    circuit: Circuit, observables: ObservableLike | Iterable[ObservableLike] | None = None
) -> Plan:
    """What is done to run a circuit; `print` shows it. Equal circuits have the same plan.

    Args:
        circuit: the circuit.
        observables: where given, the plan of their `expectations`, from which what they do not see
            of the circuit is left out; else the plan of its `statevector`.

    >>> from qnn_jax import real_amplitudes
    >>> print(plan(real_amplitudes(2, reps=1)))
    2 qubits; 4 angles of weights, 0 of inputs
      start: a product state on 2 bits
      once:
        index map: 1 pass
        real block on bits 0…1 from 2 angles: 6.4e-05 Mflop
    """
    circuit = checked_circuit(circuit)
    if observables is None:
        return plan_state(circuit, False)
    return plan_to_measure(circuit, observables_on(circuit.num_qubits, observables), False)[0]


@tuning.cached
def plan_state(circuit: Circuit, shared: bool) -> Plan:
    """The plan of all of a circuit.

    Args:
        circuit: the circuit.
        shared: it is for a batch that shares its weights. Matrices made of weights alone are then
            few, so those of a small register are multiplied with each other first, unless inputs
            turn other gates than phases.
    """
    return _plan_of(circuit.num_qubits, _lowered(circuit), shared)


@tuning.cached
def plan_to_measure(
    circuit: Circuit, observables: tuple[PauliSum, ...], shared: bool
) -> tuple[Plan, tuple[PauliSum, ...]]:
    """The plan of what observables see of a circuit, and the observables to take behind it.

    All of the circuit is done where leaving gates out makes a longer program, because what
    repeated does so no more.
    """
    gates, behind = _visible(circuit, observables)
    whole = plan_state(circuit, shared)
    if len(gates) == len(_lowered(circuit)):
        return whole, observables
    part = _plan_of(circuit.num_qubits, gates, shared)
    return (whole, observables) if _num_atoms(part) > _num_atoms(whole) else (part, behind)


@tuning.cached
def _visible(
    circuit: Circuit, observables: tuple[PauliSum, ...]
) -> tuple[Sequence[Primitive], tuple[PauliSum, ...]]:
    return visible(_lowered(circuit), observables)


def _num_atoms(plan: Plan) -> int:
    return sum(len(segment.atoms) for segment in plan.segments)


@tuning.cached
def _lowered(circuit: Circuit) -> tuple[Primitive, ...]:
    return tuple(p for op in circuit.ops for p in lower(op) if p.form.key != ("id",))


def _plan_of(num_qubits: int, gates: Sequence[Primitive], shared: bool) -> Plan:
    fused = (
        shared
        and num_qubits <= tuning.current().fuse_register_up_to
        and not _turned_by_inputs(gates)
    )
    found = (_plan_fused if fused else _plan_layered)(num_qubits, gates)
    limits = tuning.current()
    scans = any(segment.repeats > 1 for segment in found.segments)
    most = limits.longest_plan_with_scans if scans else limits.longest_plan
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
    angles = AngleNumbers(primitives)
    segments = segments_of(num_qubits, primitives, angles)
    num_bits = num_qubits + (not all(gate.form.real for gate in primitives))
    start = ((_idle(num_bits), ()),)
    return Plan(num_qubits, angles.from_weights, angles.from_inputs, start, segments)


def _plan_fused(num_qubits: int, gates: Sequence[Primitive]) -> Plan:
    """The whole register is one block; only phases that depend on the inputs stay apart."""
    angles = AngleNumbers(gates)

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
        layer = Diagonals(num_qubits)
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
        segments_that_repeat(steps, len(angles.from_weights)),
    )


def turned_by_inputs(circuit: Circuit, observables: tuple[PauliSum, ...]) -> bool:
    """Do inputs turn gates that observables see and that are no phases?"""
    return _turned_by_inputs(_visible(circuit, observables)[0])


def _turned_by_inputs(gates: Sequence[Primitive]) -> bool:
    return any(gate.reads_inputs and gate.form.phases is None for gate in gates)


def _has_large_blocks(found: Plan) -> bool:
    """Is it by layers, and have its blocks many angles on average?"""
    atoms = [(atom, segment.repeats) for segment in found.segments for atom in segment.atoms]
    blocks = [(atom, repeats) for atom, repeats in atoms if isinstance(atom, Block)]
    blocks += [(block, 1) for block, _ in found.initial]
    turns = sum(block.num_angles * repeats for block, repeats in blocks)
    layered = not any(isinstance(atom, Patch) for atom, _ in atoms)
    return layered and turns >= tuning.current().blocks_angles * sum(
        repeats for _, repeats in blocks
    )


@tuning.cached
def plan_by_gates(
    circuit: Circuit, observables: tuple[PauliSum, ...]
) -> tuple[Plan, tuple[PauliSum, ...]] | None:
    """The plan for a batch whose gates differ, and the observables to take behind it.

    None where blocks do better, or it would be long.
    """
    by_layers, _ = plan_to_measure(circuit, observables, False)
    if circuit.num_qubits >= tuning.current().blocks_from and _has_large_blocks(by_layers):
        return None
    gates, behind = _visible(circuit, observables)
    found = _plan_by_gates(circuit.num_qubits, gates)
    return None if _num_atoms(found) > tuning.current().batch_last_up_to else (found, behind)


def _plan_by_gates(num_qubits: int, gates: Sequence[Primitive]) -> Plan:
    angles = AngleNumbers(gates)
    merged = merged_into_blocks(num_qubits, gates, num_qubits)
    into_blocks = [gate.is_dense or k in merged for k, gate in enumerate(gates)]
    layers: dict[int, list[Primitive]] = {}
    slots, _ = layers_of(num_qubits, gates, into_blocks, num_qubits)
    for gate, slot in zip(gates, slots, strict=True):
        layers.setdefault(slot, []).append(gate)

    steps: list[Step] = []
    initial: list[tuple[Block, tuple[int, ...]]] = [(_idle(1), ())] * num_qubits
    fresh = set(range(num_qubits))  # qubits on which nothing was done but what `initial` does
    for slot in sorted(layers):
        if slot % 2:
            for row in runs_of(layers[slot]):
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
        layer = Diagonals(num_qubits)
        for gate in layers[slot]:
            layer.add(gate, gate.qubits)
            fresh -= set(gate.qubits)
        phase = layer.phase(angles)
        steps += [] if phase is None else [phase]
        steps += [] if layer.map.is_identity else [Step(Move(layer.map))]
    segments = segments_that_repeat(steps, len(angles.from_weights))
    start = (_product(initial),)
    return Plan(num_qubits, angles.from_weights, angles.from_inputs, start, segments)


def _product(blocks: Sequence[tuple[Block, tuple[int, ...]]]) -> tuple[Block, tuple[int, ...]]:
    """Blocks beside each other, from the lowest bits up, as one."""
    parts = tuple(part for block, _ in blocks for part in block.parts)
    return Block(parts), tuple(k for _, numbers in blocks for k in numbers)


def _plan_layered(num_qubits: int, primitives: Sequence[Primitive]) -> Plan:
    """Layers of diagonals and index maps alternate with layers of blocks."""
    compact = num_qubits <= tuning.current().two_matrices_up_to
    half = -(-num_qubits // 2)
    width = max(
        [half if compact else tuning.current().matrix_bits, *(len(p.qubits) for p in primitives)]
    )
    merged = merged_into_blocks(num_qubits, primitives, width)
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
    angles = AngleNumbers(gates)
    slots, blocks = layers_of(num_qubits, gates, into_blocks, width)
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
            layer = Diagonals(num_qubits)
            for gate in diagonals[slot]:
                layer.add(gate, tuple(place[q] for q in gate.qubits))
            phase = layer.phase(angles)
            if phase is not None:
                steps.append(phase)
            pending = pending.then(layer.map)
            continue
        wanted, groups = arrange(blocks[slot], place, num_qubits, width)
        row = [block_of(group, wanted, angles) for group in groups]
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
        segments_that_repeat(steps, len(angles.from_weights)),
    )


def _idle(num_bits: int) -> Block:
    return Block((Recipe(1, ()),) * num_bits)


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
