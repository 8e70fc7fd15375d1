"""The planner: from a circuit to a few large steps, pass by pass. Pure Python, cached.

The passes are lower, light cone, layers, fusion, schedule and roll: README.md takes a circuit
through them, and `print(plan(circuit, observables))` shows what each did. Layers, fusion and
schedule have four variants: by layers (`_plan_layered`); one matrix for all of a small register, in
a batch of inputs (`_plan_fused`); uniform steps, where nothing repeats (`_plan_irregular`); and
gate by gate for the batch-last engine (`_plan_by_gates`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qnn_jax.circuits.angles import Expression
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.drawing import html
from qnn_jax.circuits.observables import ObservableLike, PauliSum, masks, observables_on
from qnn_jax.simulate import tuning
from qnn_jax.simulate.exchanges import Readout, Scheduler
from qnn_jax.simulate.fusion import arrange, beside, idle, matrix_step
from qnn_jax.simulate.gate_forms import Instruction, lower, real_frame
from qnn_jax.simulate.gf2 import bit_permutation, identity, parity_signs
from qnn_jax.simulate.layers import (
    AngleNumbers,
    DiagonalLayer,
    Fusion,
    layers_of,
    merged_into_blocks,
    runs_of,
)
from qnn_jax.simulate.light_cone import visible
from qnn_jax.simulate.matrices import fused_gates
from qnn_jax.simulate.meshes import MeshLike, checked_mesh
from qnn_jax.simulate.steps import (
    DeviceStep,
    DiagonalStep,
    ExchangeStep,
    GateStep,
    MatrixStep,
    PermutationStep,
    PlacedMatrix,
    ScannedSteps,
    Scheduled,
    SelectedMatrixStep,
    Shards,
    Step,
    UniformStep,
    makes_complex,
)
from qnn_jax.simulate.uniform import uniform_scans


@dataclass(frozen=True, eq=False)
class Plan:
    """What is done to run a circuit.

    Attributes:
        num_qubits: of the circuit.
        from_weights: the expressions of the angles that do not depend on the inputs.
        from_inputs: those that do. Angle k of a step is entry k of both, one after the other.
        initial: a product state to start from, as matrix steps on |0…0> with the numbers of their
            angles, from the lowest bits up.
        scans: the steps, those that repeat put together.
        passes: what each pass of the planner did, in words.
        shards: the devices that the state is spread over, or None.
        readouts: of such a state, how strings are measured in the end.
    """

    num_qubits: int
    from_weights: tuple[Expression, ...]
    from_inputs: tuple[Expression, ...]
    initial: tuple[PlacedMatrix, ...]
    scans: tuple[ScannedSteps, ...]
    passes: tuple[str, ...] = ()
    shards: Shards | None = None
    readouts: tuple[Readout, ...] = ()

    @property
    def local_bits(self) -> int:
        """Bits of an index on each device: all where there is one."""
        return self.num_qubits if self.shards is None else self.shards.local_bits

    @property
    def steps(self) -> list[tuple[Step, int]]:
        """The steps of the program, each with how often it is done."""
        return [(step, scan.repeats) for scan in self.scans for step in scan.steps]

    def __repr__(self) -> str:
        steps = sum(repeats for _, repeats in self.steps)
        return f"<Plan for {self.num_qubits} qubits: {steps} steps; print it to see them>"

    def _repr_html_(self) -> str:
        return html(str(self))

    def __str__(self) -> str:
        """What each pass did; then the steps, how often each is done, and what it costs."""
        sizes = "+".join(str(block.num_bits) for block, _ in self.initial)
        lines = [
            f"{self.num_qubits} qubits; {len(self.from_weights)} angles of weights, "
            f"{len(self.from_inputs)} of inputs",
            *self.passes,
            *self._communication(),
            f"  start: a product state on {sizes} bits",
        ]
        rows = self._rows_at_start
        for scan in self.scans:
            lines.append(f"  {scan.repeats} x:" if scan.repeats > 1 else "  once:")
            for step in scan.steps:
                rows = 2 if makes_complex(step) else rows
                lines.append(f"    {_describe(step, self.local_bits, rows)}")
        for readout in self.readouts[1:]:
            lines.append(f"  before {len(readout.labels)} strings more are measured:")
            lines += [f"    {_describe(step, self.local_bits, rows)}" for step in readout.steps]
        if self.readouts:
            count = sum(len(readout.labels) for readout in self.readouts)
            lines.append(f"  all-reduce of {_size(4 * count)}: one number for each Pauli string")
        return "\n".join(lines)

    @property
    def num_exchanges(self) -> int:
        """How many all-to-alls the values take; 0 on one device."""
        return sum(isinstance(step, ExchangeStep) for step, _ in self._every_step())

    @property
    def bytes_sent(self) -> int:
        """How many bytes each device sends for the values, in float32; 0 on one device."""
        return sum(_sent(step, self.local_bits, rows) for step, rows in self._every_step())

    @property
    def _rows_at_start(self) -> int:
        """1 where the state at the start is real, else 2: real and imaginary part."""
        return 1 if all(block.real for block, _ in self.initial) else 2

    def _every_step(self) -> Iterator[tuple[Step, int]]:
        """Each step as often as it is done, and with how many rows."""
        rows = self._rows_at_start
        for scan in self.scans:
            for step in scan.steps * scan.repeats:
                rows = 2 if makes_complex(step) else rows
                yield step, rows
        yield from ((step, rows) for readout in self.readouts for step in readout.steps)

    def _communication(self) -> list[str]:
        if self.shards is None:
            return []
        passed_on = sum(isinstance(step, DeviceStep) for step, _ in self._every_step())
        return [
            f"devices: {1 << self.shards.num_bits} along {self.shards.axis!r}, each with "
            f"2^{self.local_bits} amplitudes",
            f"communication: {self.num_exchanges} all-to-all, {passed_on} collective-permute; each "
            f"device sends {_size(self.bytes_sent)} in float32",
        ]


def _sent(step: Step, local_bits: int, rows: int) -> int:
    """How many bytes a device sends in a step, in float32."""
    whole = 4 * rows << local_bits
    if isinstance(step, ExchangeStep):
        return whole - (whole >> len(step.bits))
    return whole if isinstance(step, DeviceStep) else 0


def _size(count: float) -> str:
    units = ["bytes", "KiB", "MiB", "GiB"]
    while count >= 1024 and len(units) > 1:
        count, units = count / 1024, units[1:]
    return f"{count:.4g} {units[0]}"


def _describe(step: Step, num_bits: int, rows: int) -> str:
    """A step on a state of 2**num_bits amplitudes in one line."""
    if isinstance(step, ExchangeStep):
        among = 1 << len(step.bits)
        sent = _size(_sent(step, num_bits, rows))
        return (
            f"all-to-all among {among} devices: each sends {among - 1}/{among} of its state, {sent}"
        )
    if isinstance(step, DeviceStep):
        sent = _size(_sent(step, num_bits, rows))
        return f"collective-permute: each device sends its state, {sent}"
    if isinstance(step, SelectedMatrixStep):
        every = _describe(step.options[0], num_bits, rows)
        return f"one of {len(step.options)}, by the device's number: {every}"
    if isinstance(step, DiagonalStep):
        return (
            f"diagonal of {len(step.masks)} parities from {step.num_angles} angles: "
            f"cosine and sine of up to 2^{num_bits} numbers, 1 pass"
        )
    if isinstance(step, PermutationStep):
        return f"permutation{' on each device' if step.shards else ''}: 1 pass"
    if isinstance(step, GateStep):
        return f"{step.form.key[0]} on bits {', '.join(map(str, step.bits))}: 1 pass"
    if isinstance(step, UniformStep):
        wide = not step.real
        flops = 2 * 2 ** (num_bits + step.num_bits + 2 * wide)
        return (
            f"any gates on bits 0…{step.num_bits - 1}, up to {step.num_angles} with angles: "
            f"{flops / 1e6:.3g} Mflop"
        )
    flops = (4 if step.real else 8) * 2 ** (num_bits + step.num_bits)
    return (
        f"{'real' if step.real else 'complex'} matrix on bits "
        f"{step.base}…{step.base + step.num_bits - 1} from {step.num_angles} angles: "
        f"{flops / 1e6:.3g} Mflop"
    )


def plan(
    circuit: Circuit,
    observables: ObservableLike | Iterable[ObservableLike] | None = None,
    *,
    mesh: MeshLike | None = None,
) -> Plan:
    """What is done to run a circuit; `print` shows it. Equal circuits have the same plan.

    Args:
        circuit: the circuit.
        observables: where given, the plan of their `expectations`, from which what they do not see
            of the circuit is left out; else the plan of its `statevector`.
        mesh: where given, the plan over its devices, as `expectations` takes it: with every
            collective and the bytes that it sends.

    Raises:
        InputError: where the labels or the mesh do not fit the circuit.

    >>> from qnn_jax import real_amplitudes
    >>> print(plan(real_amplitudes(2, reps=1)))
    2 qubits; 4 angles of weights, 0 of inputs
    lower: 5 gates as 5 instructions: 0 diagonal, 1 permutation, 4 dense
    light cone: all instructions are kept
    layers, fusion: by layers
    schedule: 2 steps: 0 diagonal, 1 permutation, 1 matrix
    roll: 2 steps in the program
      start: a product state on 2 bits
      once:
        permutation: 1 pass
        real matrix on bits 0…1 from 2 angles: 6.4e-05 Mflop
    """
    circuit = checked_circuit(circuit)
    sums = None if observables is None else observables_on(circuit.num_qubits, observables)
    if mesh is not None:
        spread = checked_mesh(mesh, circuit)
        return plan_over_devices(circuit, sums, spread.state, spread.num_bits)[0]
    if sums is None:
        return plan_state(circuit, False)
    return plan_to_measure(circuit, sums, False)[0]


@tuning.cached
def plan_state(circuit: Circuit, shared: bool) -> Plan:
    """The plan of all of a circuit. Where `shared`, it is for a batch that shares its weights.

    Matrices made of weights alone are then few, so those of a small register are multiplied with
    each other first, unless inputs turn other gates than phases.
    """
    found = _plan_of(circuit.num_qubits, _lowered(circuit), shared)
    return _explained(found, circuit, "light cone: all instructions are kept")


@tuning.cached
def plan_to_measure(
    circuit: Circuit, observables: tuple[PauliSum, ...], shared: bool
) -> tuple[Plan, tuple[PauliSum, ...]]:
    """The plan of what observables see of a circuit, and the observables to take behind it.

    All of the circuit is done where leaving gates out makes a longer program, because what
    repeated does so no more.
    """
    gates, behind = seen_by(circuit, observables)
    whole = plan_state(circuit, shared)
    left_out = len(_lowered(circuit)) - len(gates)
    if not left_out:
        return whole, observables
    part = _plan_of(circuit.num_qubits, gates, shared)
    if len(part.steps) > len(whole.steps):
        return whole, observables
    note = f"light cone: {left_out} of {len(_lowered(circuit))} instructions are left out"
    return _explained(part, circuit, note), behind


def _explained(found: Plan, circuit: Circuit, light_cone: str) -> Plan:
    """The plan with a line for each pass that made it."""
    instructions = _lowered(circuit)

    def count(*kinds: type) -> int:
        return sum(repeats for step, repeats in found.steps if isinstance(step, kinds))

    diagonal = sum(i.form.phases is not None for i in instructions)
    permutation = sum(i.form.affine is not None for i in instructions)
    one = len(found.initial) == 1 and len(found.initial[0][0].parts) == 1 < found.num_qubits
    kind = "one matrix for the register" if one else "by layers"
    passes = (
        f"lower: {len(circuit.ops)} gates as {len(instructions)} instructions: {diagonal} "
        f"diagonal, {permutation} permutation, {len(instructions) - diagonal - permutation} dense",
        light_cone,
        f"layers, fusion: {'uniform steps' if count(UniformStep) else kind}",
        f"schedule: {count(object)} steps: {count(DiagonalStep)} diagonal, "
        f"{count(PermutationStep)} permutation, "
        f"{count(MatrixStep, SelectedMatrixStep, UniformStep, GateStep)} matrix",
        f"roll: {len(found.steps)} steps in the program",
    )
    return replace(found, passes=passes)


@tuning.cached
def seen_by(
    circuit: Circuit, observables: tuple[PauliSum, ...]
) -> tuple[Sequence[Instruction], tuple[PauliSum, ...]]:
    """`light_cone.visible` of a circuit."""
    return visible(_lowered(circuit), observables)


@tuning.cached
def _lowered(circuit: Circuit) -> tuple[Instruction, ...]:
    return tuple(p for op in circuit.ops for p in lower(op) if p.form.key != ("id",))


def _plan_of(num_qubits: int, gates: Sequence[Instruction], shared: bool) -> Plan:
    limits = tuning.current()
    fused = shared and num_qubits <= limits.fuse_register_up_to and not turned_by_inputs(gates)
    found = (_plan_fused if fused else _plan_layered)(num_qubits, gates)
    scans = any(scan.repeats > 1 for scan in found.scans)
    most = limits.longest_plan_with_scans if scans else limits.longest_plan
    if _length(found) > most:
        return _plan_irregular(num_qubits, gates)
    if scans or num_qubits < limits.uniform_large_from:
        return found
    # A complex matrix by layers takes longer than a uniform step: real and imaginary parts come
    # together for it and apart again.
    dense = sum(isinstance(step, MatrixStep) and not step.real for step, _ in found.steps)
    if not dense:
        return found
    uniform = _plan_irregular(num_qubits, gates)
    return uniform if uniform.scans[0].repeats < dense else found


def _length(plan: Plan) -> int:
    """About how long the program of a plan is: its steps, and what its matrices are made of."""
    blocks = [step for step, _ in plan.steps if isinstance(step, MatrixStep)]
    blocks += [block for block, _ in plan.initial]
    every = {part for block in blocks for part in block.parts}
    return len(plan.steps) + sum(len({*fused.layers}) for fused in every)


def _plan_irregular(num_qubits: int, instructions: Sequence[Instruction]) -> Plan:
    """Uniform steps on a real state, with one more bit where the circuit is complex."""
    angles = AngleNumbers(instructions)
    scans = uniform_scans(num_qubits, instructions, angles)
    num_bits = num_qubits + (not all(gate.form.real for gate in instructions))
    start = ((idle(num_bits), ()),)
    return Plan(num_qubits, angles.from_weights, angles.from_inputs, start, scans)


def _plan_fused(num_qubits: int, gates: Sequence[Instruction]) -> Plan:
    """The whole register is one matrix step; only phases that depend on the inputs stay apart."""
    angles = AngleNumbers(gates)

    # Even layers hold phases of the inputs and constant permutations, odd ones all the rest.
    odd = [
        gate.form.affine is None
        and (gate.form.phases is None or not (gate.angle is None or gate.reads_inputs))
        for gate in gates
    ]
    _, layers, _ = layers_of(num_qubits, gates, odd, num_qubits)
    steps: list[Scheduled] = []
    stretch: list[Instruction | np.ndarray] = []
    bit_of = {q: q for q in range(num_qubits)}

    def block() -> PlacedMatrix:
        fused, members = fused_gates(stretch, bit_of, num_qubits)
        stretch.clear()
        return MatrixStep((fused,)), tuple(map(angles, members))

    initial: PlacedMatrix | None = None
    for slot, own in layers.items():
        if slot % 2:
            stretch.extend(own)
            continue
        layer = DiagonalLayer(own, range(num_qubits))
        phase = layer.phase(angles)
        if phase is not None and phase.angles:
            done = block()
            if initial is None:
                initial = done
            else:
                steps.append(Scheduled(*done))
            steps.append(phase)
        elif phase is not None:
            assert isinstance(phase.step, DiagonalStep)
            stretch.append(_diagonal_matrix(phase.step, num_qubits))
        if not layer.map.is_identity:
            stretch.append(layer.map.matrix)
    last = block()
    if initial is None:
        initial = last
    elif not last[0].is_identity:
        steps.append(Scheduled(*last))
    return _rolled_plan(num_qubits, angles, (initial,), steps)


def turned_by_inputs(gates: Sequence[Instruction]) -> bool:
    """Do inputs turn gates that are no phases?"""
    return any(gate.reads_inputs and gate.form.phases is None for gate in gates)


def _has_large_blocks(found: Plan) -> bool:
    """Have its matrix steps many angles on average? Uniform ones do in a large register."""
    limits = tuning.current()
    if any(isinstance(step, UniformStep) for step, _ in found.steps):
        return found.num_qubits >= limits.uniform_large_from
    blocks = [(step, repeats) for step, repeats in found.steps if isinstance(step, MatrixStep)]
    blocks += [(block, 1) for block, _ in found.initial]
    turns = sum(block.num_angles * repeats for block, repeats in blocks)
    return turns >= limits.blocks_angles * sum(repeats for _, repeats in blocks)


@tuning.cached
def plan_by_gates(
    circuit: Circuit, observables: tuple[PauliSum, ...]
) -> tuple[Plan, tuple[PauliSum, ...]] | None:
    """The plan for a batch whose gates differ, and the observables to take behind it.

    None where matrix steps do better, or it would be long.
    """
    alone, _ = plan_to_measure(circuit, observables, False)
    if circuit.num_qubits >= tuning.current().blocks_from and _has_large_blocks(alone):
        return None
    gates, behind = seen_by(circuit, observables)
    found = _plan_by_gates(circuit.num_qubits, gates)
    return None if len(found.steps) > tuning.current().batch_last_up_to else (found, behind)


def _plan_by_gates(num_qubits: int, gates: Sequence[Instruction]) -> Plan:
    angles = AngleNumbers(gates)
    merged = merged_into_blocks(num_qubits, gates, num_qubits)
    into_blocks = [gate.is_dense or k in merged for k, gate in enumerate(gates)]
    _, layers, _ = layers_of(num_qubits, gates, into_blocks, num_qubits)
    steps: list[Scheduled] = []
    initial: list[PlacedMatrix] = [(idle(1), ())] * num_qubits
    fresh = set(range(num_qubits))  # qubits on which nothing was done but what `initial` does
    for slot, members in layers.items():
        if slot % 2:
            for row in runs_of(members):
                run = [members[k] for k in row]
                first = run[0]
                if len(first.qubits) > 1:
                    own = () if first.angle is None else (angles(first),)
                    steps.append(Scheduled(GateStep(first.form, first.qubits), own))
                    fresh -= set(first.qubits)
                    continue
                (q,) = first.qubits
                fused, turning = fused_gates(run, {q: 0}, 1)
                numbers = tuple(map(angles, turning))
                if q in fresh:
                    initial[q] = (MatrixStep((fused,)), numbers)
                    fresh.remove(q)
                else:
                    steps.append(Scheduled(MatrixStep((fused,), q), numbers))
            continue
        fresh -= {q for gate in members for q in gate.qubits}
        layer = DiagonalLayer(members, range(num_qubits))
        phase = layer.phase(angles)
        steps += [] if phase is None else [phase]
        steps += [] if layer.map.is_identity else [Scheduled(PermutationStep(layer.map))]
    parts = tuple(part for block, _ in initial for part in block.parts)
    start = (MatrixStep(parts), tuple(k for _, numbers in initial for k in numbers))
    return _rolled_plan(num_qubits, angles, (start,), steps)


def _width(num_bits: int, instructions: Sequence[Instruction]) -> int:
    """How many bits a matrix may have."""
    compact = num_bits <= tuning.current().two_matrices_up_to
    usual = -(-num_bits // 2) if compact else tuning.current().matrix_bits
    return max([usual, *(len(p.qubits) for p in instructions)])


def _layered(
    num_qubits: int, instructions: Sequence[Instruction], width: int
) -> tuple[AngleNumbers, dict[int, list[Instruction]], dict[int, list[Fusion]]]:
    """The gates of each layer, complex ones in their real frames, and the fusions of odd layers."""
    merged = merged_into_blocks(num_qubits, instructions, width)
    gates: list[Instruction] = []
    into_blocks: list[bool] = []
    for k, instruction in enumerate(instructions):
        framed = instruction.is_dense and k not in merged and not instruction.form.real
        frame = real_frame(instruction.form) if framed else None
        if frame is None:
            gates.append(instruction)
            into_blocks.append(instruction.is_dense or k in merged)
        else:
            before, middle, after = frame
            gates.append(Instruction(before, instruction.qubits))
            gates.append(Instruction(middle, instruction.qubits, instruction.angle))
            gates.append(Instruction(after, instruction.qubits))
            into_blocks += [False, True, False]
    return AngleNumbers(gates), *layers_of(num_qubits, gates, into_blocks, width)[1:]


def _plan_layered(num_qubits: int, instructions: Sequence[Instruction]) -> Plan:
    """Layers of diagonals and index maps alternate with layers of matrix steps."""
    width = _width(num_qubits, instructions)
    angles, layers, blocks = _layered(num_qubits, instructions, width)
    steps: list[Scheduled] = []
    initial: tuple[PlacedMatrix, ...] = ()
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
            steps.append(Scheduled(PermutationStep(pending)))
        place, pending = list(wanted), identity(num_qubits)

    for slot, gates in layers.items():
        if slot % 2 == 0:
            layer = DiagonalLayer(gates, place)
            phase = layer.phase(angles)
            if phase is not None:
                steps.append(phase)
            pending = pending.then(layer.map)
            continue
        wanted, groups = arrange(blocks[slot], place, num_qubits, width)
        row = [matrix_step(group, wanted, angles) for group in groups]
        untouched = not steps and not initial and pending.is_identity
        if untouched and wanted == list(range(num_qubits)):
            initial = beside(row, num_qubits)
            continue
        settle(wanted)
        steps += [Scheduled(*found) for found in row]
    settle(list(range(num_qubits)))
    return _rolled_plan(num_qubits, angles, initial or ((idle(num_qubits), ()),), steps)


@tuning.cached
def plan_over_devices(
    circuit: Circuit,
    observables: tuple[PauliSum, ...] | None,
    axis: str,
    num_bits: int,
    whole: bool = False,
) -> tuple[Plan, tuple[PauliSum, ...]]:
    """The plan of a state over 2**num_bits devices, and the observables to take behind it.

    Args:
        circuit: the circuit.
        observables: those to measure, or None for the state in Qiskit's order.
        axis: the axis of the mesh.
        num_bits: of a device's number.
        whole: keep what the observables do not see.
    """
    n = circuit.num_qubits
    shards = Shards(axis, num_bits, n - num_bits)
    every = _lowered(circuit)
    kept, behind = every, observables or ()
    if observables is not None and not whole:
        kept, behind = seen_by(circuit, observables)
    labels = sorted({label for one in behind for label, _ in one.terms})
    width = min(_width(shards.local_bits, kept), shards.local_bits)
    angles, layers, blocks = _layered(n, kept, width)
    flips = None if observables is None else [f for label in labels if (f := masks(label)[0])]
    course = Scheduler(n, shards, angles, width, layers, blocks, flips)
    course.run()
    if observables is None:
        course.to_standard()
    readouts = () if observables is None else course.readouts(labels)
    found = _rolled_plan(n, angles, course.initial, course.steps)
    found = replace(found, shards=shards, readouts=readouts)
    left_out = len(every) - len(kept)
    note = f"light cone: {left_out or 'no'} of {len(every)} instructions are left out"
    return _explained(found, circuit, note), behind


def _diagonal_matrix(phase: DiagonalStep, num_qubits: int) -> np.ndarray:
    # Row after row, as NumPy's product would not add.
    signs = parity_signs(phase.masks, num_qubits)
    total = sum(offset * row for offset, row in zip(phase.offsets, signs, strict=True))
    matrix = np.exp(1j * np.asarray(total))
    return np.diag(np.round(matrix.real) if phase.real else matrix)


def _rolled_plan(
    num_qubits: int,
    angles: AngleNumbers,
    initial: tuple[PlacedMatrix, ...],
    steps: Sequence[Scheduled],
) -> Plan:
    scans = rolled(steps, len(angles.from_weights))
    return Plan(num_qubits, angles.from_weights, angles.from_inputs, initial, scans)


def rolled(steps: Sequence[Scheduled], num_weights: int) -> tuple[ScannedSteps, ...]:
    """Find what repeats: greedily the period that covers most steps from here on."""

    def signature(step: Scheduled) -> object:
        return step.step, tuple(k >= num_weights for k in step.angles)

    kinds: dict[object, int] = {}
    row = [kinds.setdefault(signature(step), len(kinds)) for step in steps]
    spans: list[tuple[list[Scheduled], int]] = []
    start, longest = 0, tuning.current().longest_period
    while start < len(steps):
        best = 1, 1
        for period in range(1, min(longest, (len(row) - start) // 2) + 1):
            pattern = row[start : start + period]
            repeats = 1
            while row[start + repeats * period : start + (repeats + 1) * period] == pattern:
                repeats += 1
            if repeats > 1 and repeats * period > best[0] * best[1]:
                best = period, repeats
        span = list(steps[start : start + best[0] * best[1]])
        if best[1] == 1 and spans and spans[-1][1] == 1:
            spans[-1][0].extend(span)
        else:
            spans.append((span, best[1]))
        start += len(span)
    return tuple(_scan(span, repeats, num_weights) for span, repeats in spans)


def _scan(steps: list[Scheduled], repeats: int, num_weights: int) -> ScannedSteps:
    period = len(steps) // repeats
    angles = [
        np.array([s.angles for s in steps[k::period]], int).reshape(repeats, -1)
        for k in range(period)
    ]
    return ScannedSteps(
        repeats,
        tuple(step.step for step in steps[:period]),
        tuple(angles),
        tuple(bool(np.any(numbers >= num_weights)) for numbers in angles),
        ((),) * period,
    )
