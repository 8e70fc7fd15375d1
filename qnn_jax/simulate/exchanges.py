"""The pass of the planner for states over several devices: which exchanges, and when.

An amplitude i of the circuit is at place M(i), M an affine map over GF(2) (the layout). The highest
bits of a place are the number of a device. So the bits of that number are parities of i: the global
parities. README.md says what each kind of gate costs: only one that couples i with i ^ 2**q needs
communication, and only where a global parity contains q. Then local bits are made parities that do
not contain q, and one all-to-all swaps them with bits of the device's number. Which parities is
chosen by looking ahead over the circuit (`Scheduler.choose`): those that stand in the way of a gate
last (Belady), then those that stand in the way of fewest gates.

Reference: Häner and Steiger, arXiv:1704.01127; De Raedt et al., arXiv:1805.04708.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from qnn_jax.circuits.observables import masks
from qnn_jax.simulate.fusion import FusionGroup, arrange, beside, matrix_step
from qnn_jax.simulate.gate_forms import GateForm, Instruction, gate_form
from qnn_jax.simulate.gf2 import Affine, Span, identity, is_odd, of_rows, on_bits, orthogonal
from qnn_jax.simulate.layers import AngleNumbers, DiagonalLayer, Fusion
from qnn_jax.simulate.steps import (
    DeviceStep,
    DiagonalStep,
    ExchangeStep,
    LocalDiagonalStep,
    MatrixStep,
    PermutationStep,
    PlacedMatrix,
    Scheduled,
    SelectedMatrixStep,
    Shards,
    Step,
)

#: How many layers ahead a choice looks.
_HORIZON = 6
#: A parity that may be global, and the bit of the device's number that it is, if it is one.
_Candidate: TypeAlias = "tuple[int, int | None]"


@dataclass(frozen=True)
class Readout:
    """Steps before some strings are measured, the layout that they lead to, and the strings."""

    steps: tuple[Step, ...]
    layout: Affine
    labels: tuple[str, ...]


#: Directions i ^ v that have to stay on a device, for all v at once.
_Need: TypeAlias = "tuple[int, ...]"


def _blocks(parity: int, need: _Need) -> bool:
    """Does a global parity stand in the way?"""
    return any(is_odd(parity & vector) for vector in need)


@dataclass(frozen=True)
class _Layer:
    """A map, then fusions; `needs` are those of the fusions, or of what is measured."""

    map: Affine
    needs: tuple[_Need, ...]
    wanted: tuple[int, ...] | None = None  # global parities that have to be there in the end

    @functools.cached_property
    def back(self) -> Affine:
        """The map back."""
        return self.map.inverse()

    def blocked_by(self, parity: int) -> frozenset[object]:
        """What a global parity stands in the way of."""
        if self.wanted is not None:
            return frozenset() if parity in self.wanted else frozenset([parity])
        return frozenset(need for need in self.needs if _blocks(parity, need))


@functools.lru_cache(maxsize=4096)
def is_control(form: GateForm, k: int) -> bool:
    """Does a gate leave its qubit k as it is, whatever else it does?"""
    i = np.arange(1 << form.num_qubits)
    turned = (i[:, None] ^ i[None, :]) >> k & 1 == 1
    return not np.any(abs(form.coefficients[:, turned]) > 1e-12)


def _with_controls(gate: Instruction, values: dict[int, int]) -> Instruction:
    """A gate where some of its qubits have known values."""
    known = {k: values[q] for k, q in enumerate(gate.qubits) if q in values}
    if not known:
        return gate
    rows = [
        i
        for i in range(1 << len(gate.qubits))
        if all(i >> k & 1 == value for k, value in known.items())
    ]
    coefficients = gate.form.coefficients[:, rows][:, :, rows]
    form = gate_form((*gate.form.key, "at", *known.items()), coefficients)
    qubits = tuple(q for q in gate.qubits if q not in values)
    return Instruction(form, qubits, None if form.constant else gate.angle)


class Scheduler:
    """The steps of a circuit over devices, and the layout as they go."""

    def __init__(
        self,
        num_qubits: int,
        shards: Shards,
        angles: AngleNumbers,
        width: int,
        layers: dict[int, list[Instruction]],
        blocks: dict[int, list[Fusion]],
        flips: Sequence[int] | None,
    ) -> None:
        """`flips` are those of the strings to measure; None where the state is wanted."""
        self.n, self.shards, self.angles, self.width = num_qubits, shards, angles, width
        self.steps: list[Scheduled] = []
        self.initial: tuple[PlacedMatrix, ...] = ()
        self.layout = identity(num_qubits)
        self.chosen: list[tuple[int, ...]] = []  # the global parities after every choice
        self.layers, self.blocks = layers, blocks
        self.slots = list(layers)
        self.ahead = self._layers(flips)

    def _layers(self, flips: Sequence[int] | None) -> list[_Layer]:
        """What comes, for looking ahead: one for each layer of fusions, and the end."""
        found, pending = [], identity(self.n)
        for slot in self.slots:
            if slot % 2 == 0:
                pending = pending.then(DiagonalLayer(self.layers[slot], range(self.n)).map)
                continue
            needs = tuple(self._vectors(fusion)[0] for fusion in self.blocks[slot])
            found.append(_Layer(pending, needs))
            pending = identity(self.n)
        local = self.shards.local_bits
        wanted = tuple(1 << q for q in range(local, self.n)) if flips is None else None
        found.append(_Layer(pending, tuple((v,) for v in flips or ()), wanted))
        return found

    def _vectors(self, fusion: Fusion) -> tuple[_Need, list[int]]:
        """The directions that a fusion couples, and its qubits that are controls only."""
        active = {
            q
            for gate in fusion.gates
            for k, q in enumerate(gate.qubits)
            if not is_control(gate.form, k)
        }
        return tuple(1 << q for q in sorted(active)), sorted(fusion.qubits - active)

    # The layout.

    def _row(self, bit: int) -> tuple[int, int]:
        """The parity (mask, sign) that a bit of a place is."""
        return self.layout.pull(1 << bit)

    @property
    def _global_rows(self) -> list[tuple[int, int]]:
        return [self._row(k) for k in range(self.shards.local_bits, self.n)]

    @property
    def _global_masks(self) -> list[int]:
        return [mask for mask, _ in self._global_rows]

    def settle(self, local_masks: Sequence[int]) -> None:
        """Bring these parities to the local bits."""
        wanted = of_rows([*((mask, 0) for mask in local_masks), *self._global_rows])
        turn = self.layout.inverse().then(wanted)
        if not turn.is_identity:
            self.steps.append(Scheduled(PermutationStep(turn, self.shards)))
        self.layout = wanted

    def exchange(self, bits: Sequence[int], parities: Sequence[int]) -> None:
        """Replace the global parities at some bits of the device's number."""
        local, count = self.shards.local_bits, len(bits)
        rows = self._global_rows
        span = Span([*(mask for mask, _ in rows), *parities])
        rest_of = [*parities, *(mask for k, (mask, _) in enumerate(rows) if k not in bits)]
        free = [q for q in range(self.n) if not any(mask >> q & 1 for mask in rest_of)]
        others = [q for q in range(self.n) if q not in free]
        kept = [q for q in free + others if span.add(1 << q)]
        self.settle([*(1 << q for q in sorted(kept)), *parities])
        self.steps.append(Scheduled(ExchangeStep(self.shards, tuple(bits))))
        after = [self._row(k) for k in range(self.n)]
        for k, bit in enumerate(bits):
            low, high = local - count + k, local + bit
            after[low], after[high] = after[high], after[low]
        self.layout = of_rows(after)

    def relabel(self, masks: Sequence[int]) -> None:
        """Other global parities of the same span: devices pass on what they have."""
        span = Span(self._global_masks)
        signs = sum(sign << j for j, (_, sign) in enumerate(self._global_rows))
        picked = [span.numbers_of(mask) for mask in masks]
        turn = of_rows([(use, is_odd(use & signs)) for use in picked])
        if not turn.is_identity:
            self.steps.append(Scheduled(DeviceStep(self.shards, turn)))
        places = tuple(range(self.shards.local_bits, self.n))
        self.layout = self.layout.then(on_bits(turn, places, self.n))

    # What is done without communication.

    def diagonal(self, slot: int) -> None:
        """The phases of a layer, and its map, which only changes the layout."""
        layer = DiagonalLayer(self.layers[slot], range(self.n))
        phase = layer.phase(self.angles)
        if phase is not None:
            assert isinstance(phase.step, DiagonalStep)
            back = self.layout.inverse()
            pulled = [back.pull(mask) for mask in phase.step.masks]
            signs = [-1 if flipped else 1 for _, flipped in pulled]
            whole = replace(
                phase.step,
                masks=tuple(mask for mask, _ in pulled),
                offsets=tuple(s * o for s, o in zip(signs, phase.step.offsets, strict=True)),
                terms=tuple((m, a, signs[m] * slope) for m, a, slope in phase.step.terms),
            )
            local = tuple(sorted({self.shards.local(mask) for mask in whole.masks}))
            step = LocalDiagonalStep(
                local, (), (), whole.num_angles, whole.real, self.shards, whole
            )
            self.steps.append(Scheduled(step, phase.angles))
        self.layout = layer.map.inverse().then(self.layout)

    def _is_ready(self, fusion: Fusion) -> bool:
        vectors, controls = self._vectors(fusion)
        held = functools.reduce(operator.or_, self._global_masks, 0)
        span = Span(self._global_masks)
        return not any(held & vector for vector in vectors) and all(
            not held >> q & 1 or 1 << q in span for q in controls
        )

    def _local_qubits(self) -> list[int]:
        """Qubits whose bits, with the global parities, tell all of an index; in ascending order."""
        every = self._global_masks
        span = Span(every)
        free = [q for q in range(self.n) if not any(mask >> q & 1 for mask in every)]
        return sorted(q for q in [*free, *range(self.n)] if span.add(1 << q))

    def _arranged(self, fusions: Sequence[Fusion]) -> tuple[list[int], list[FusionGroup]]:
        """The qubit of each local bit, and groups of fusions with qubits as numbers of bits."""
        local = self.shards.local_bits
        rows = [self._row(k) for k in range(local)]
        orders = [self._local_qubits()]
        if all(mask.bit_count() == 1 and not sign for mask, sign in rows):
            orders.insert(0, [mask.bit_length() - 1 for mask, _ in rows])  # as they lie
        for order in orders:
            number = {q: k for k, q in enumerate(order)}
            numbered = [fusion.on(number) for fusion in fusions]
            wanted, groups = arrange(numbered, list(range(local)), local, self.width)
            if wanted == list(range(local)):
                break
        placed = [0] * local
        for k, q in enumerate(order):
            placed[wanted[k]] = q
        moved = [
            FusionGroup([fusion.on(wanted) for fusion in group.fusions], group.base, group.size)
            for group in groups
        ]
        return placed, moved

    def apply(self, fusions: Sequence[Fusion]) -> None:
        """Fusions that are ready."""
        span = Span(self._global_masks)
        plain = []
        for fusion in fusions:
            known = [q for q in self._vectors(fusion)[1] if 1 << q in span]
            if known:
                self._apply_selected(fusion, known)
            else:
                plain.append(fusion)
        if not plain:
            return
        order, groups = self._arranged(plain)
        self.settle([1 << q for q in order])
        for group in groups:
            self.steps.append(Scheduled(*matrix_step(group, range(self.n), self.angles)))

    def _apply_selected(self, fusion: Fusion, known: Sequence[int]) -> None:
        """A fusion some controls of which are bits of the device's number."""
        rest = fusion.qubits - set(known)
        every = []
        for number in range(1 << len(known)):
            values = {q: number >> k & 1 for k, q in enumerate(known)}
            every.append([_with_controls(gate, values) for gate in fusion.gates])
        order, groups = self._arranged([Fusion(rest, every[0])])
        self.settle([1 << q for q in order])
        bit_of = {q: k for k, q in enumerate(order)}
        base, size = groups[0].base, groups[0].size
        options: list[MatrixStep] = []
        numbers: tuple[int, ...] = ()
        for gates in every:
            group = FusionGroup([Fusion(rest, gates).on(bit_of)], base, size)
            option, taken = matrix_step(group, range(self.n), self.angles)
            options.append(option)
            numbers += taken
        back = self.layout.inverse()
        controls = []
        for q in known:
            mask, sign = back.pull(1 << q)
            controls.append((mask >> self.shards.local_bits, sign))
        step = SelectedMatrixStep(self.shards, tuple(options), tuple(controls))
        self.steps.append(Scheduled(step, numbers))

    # What needs communication.

    def choose(self, remaining: Sequence[_Need], first: Sequence[int], at: int) -> None:
        """Exchange, so that the directions `first` stay on a device, and much of what remains.

        What remains is of layer `at`, and looking ahead begins there.
        """
        need = tuple(first)
        rows = self._global_masks
        if not (found := self._chosen(remaining, need, at)):
            # Sums of global parities would do that are no bit of the device's number: make them so.
            fine = orthogonal(rows, need)
            span = Span(fine)
            self.relabel([*fine, *(mask for mask in rows if span.add(mask))])
            found = self._chosen(remaining, need, at)
        assert found, "there are fewer global bits than parities to choose from"
        kept, parities = found
        bits = [k for k in range(self.shards.num_bits) if k not in kept]
        self.exchange(bits, parities)
        self.chosen.append(tuple(self._global_masks))

    def _chosen(
        self, remaining: Sequence[_Need], need: _Need, at: int
    ) -> tuple[list[int], list[int]] | None:
        """The bits of the device's number that stay, and new parities, as many as do not."""
        now = self._global_masks
        here = _Layer(identity(self.n), tuple(remaining))
        ahead = [here, *self.ahead[at + 1 : at + 1 + _HORIZON]]
        units = [1 << q for q in range(self.n)]
        rows = [ahead[1].map.pull(unit)[0] for unit in units] if len(ahead) > 1 else []
        pairs = [a | b for a, b in zip(units[1:], units, strict=False)]
        new = dict.fromkeys([*units, *rows, *pairs, *orthogonal(units, need)])
        candidates = [*((mask, k) for k, mask in enumerate(now)), *((m, None) for m in new)]
        candidates = [(m, k) for m, k in candidates if not _blocks(m, need)]
        # Else what there was before the last exchange, so that layers repeat.
        earlier = self.chosen[-2] if len(self.chosen) > 1 else ()
        picked = self._picked(candidates, ahead, Span(now), earlier)
        if picked is None:
            return None
        kept = [k for _, k in picked if k is not None]
        return kept, sorted(mask for mask, k in picked if k is None)

    def _picked(
        self,
        candidates: list[_Candidate],
        ahead: Sequence[_Layer],
        span: Span,
        earlier: Sequence[int] = (),
    ) -> list[_Candidate] | None:
        """As many as there are global bits: first what stands in the way last, then of fewest."""
        seen = {mask: self._seen(mask, ahead) for mask, _ in candidates}
        used: dict[int, set[object]] = {}
        picked: list[_Candidate] = []
        while len(picked) < self.shards.num_bits:
            candidates = [
                (mask, k)
                for mask, k in candidates
                if ((mask, k) not in picked if k is not None else mask not in span)
            ]
            if not candidates:
                return None

            def cost(candidate: _Candidate) -> tuple[int, int, bool, bool, int, int]:
                mask, k = candidate
                when, what = seen[mask]
                together = len(used.get(when, set()) | what)
                return -when, together, k is None, mask not in earlier, mask.bit_count(), -mask

            mask, k = min(candidates, key=cost)
            when, what = seen[mask]
            used.setdefault(when, set()).update(what)
            picked.append((mask, k))
            if k is None:
                span.add(mask)
        return picked

    def _seen(self, mask: int, ahead: Sequence[_Layer]) -> tuple[int, frozenset[object]]:
        """In how many layers a parity stands in the way of something, and of what."""
        for when, layer in enumerate(ahead):
            mask = layer.back.pull(mask)[0]
            if what := layer.blocked_by(mask):
                return when, what
        return len(ahead), frozenset()

    # All of it.

    def start(self) -> None:
        """A product state, in a layout where global bits are qubits of their own."""
        local, count = self.shards.local_bits, self.shards.num_bits
        at_once = bool(self.slots) and self.slots[0] % 2 == 1
        fusions = self.blocks[self.slots[0]] if at_once else []
        joined = {q for fusion in fusions if len(fusion.qubits) > 1 for q in fusion.qubits}
        alone = [q for q in range(self.n) if q not in joined]
        at_once = at_once and len(alone) >= count
        if not at_once:
            alone = list(range(self.n))
        ahead = self.ahead[at_once : _HORIZON + at_once]
        picked = self._picked([(1 << q, None) for q in alone], ahead, Span())
        assert picked is not None, "there are as many qubits"
        globals_ = sorted(mask.bit_length() - 1 for mask, _ in picked)
        order = [q for q in range(self.n) if q not in globals_]
        self.layout = of_rows([(1 << q, 0) for q in order + globals_])
        self.chosen.append(tuple(self._global_masks))
        row: list[PlacedMatrix] = []
        if at_once:
            own = [fusion for fusion in fusions if not fusion.qubits & set(globals_)]
            placed, groups = self._arranged(own)
            if placed == order:
                number = {q: local + k for k, q in enumerate(globals_)}
                for fusion in fusions:
                    if fusion not in own:  # of one qubit
                        place = number[min(fusion.qubits)]
                        groups.append(FusionGroup([fusion.on(number)], place, 1))
                groups.sort(key=lambda group: group.base)
                row = [matrix_step(group, range(self.n), self.angles) for group in groups]
                self.slots, self.ahead = self.slots[1:], self.ahead[1:]
        self.initial = beside(row, self.n)

    def run(self) -> None:
        """All layers."""
        self.start()
        at = 0
        for slot in self.slots:
            if slot % 2 == 0:
                self.diagonal(slot)
                continue
            remaining = sorted(self.blocks[slot], key=lambda fusion: min(fusion.qubits))
            while remaining:
                ready = [fusion for fusion in remaining if self._is_ready(fusion)]
                if ready:
                    self.apply(ready)
                    remaining = [fusion for fusion in remaining if fusion not in ready]
                if remaining:
                    needs = [self._vectors(fusion)[0] for fusion in remaining]
                    self.choose(needs, [1 << q for q in remaining[0].qubits], at)
            at += 1

    def to_standard(self) -> None:
        """Bit q of a place is qubit q again."""
        local = self.shards.local_bits
        wanted = [1 << q for q in range(local, self.n)]
        there = orthogonal(self._global_masks, [1 << q for q in range(local)])
        kept = [k for k, mask in enumerate(self._global_masks) if not self.shards.local(mask)]
        if len(kept) < len(there):
            span = Span(there)
            self.relabel([*there, *(m for m in self._global_masks if span.add(m))])
            kept = list(range(len(there)))
        span = Span(self._global_masks)
        missing = [mask for mask in wanted if span.add(mask)]
        bits = [k for k in range(self.shards.num_bits) if k not in kept]
        own = [k for k in bits if wanted[k] in missing]
        rest = iter([mask for mask in missing if mask not in [wanted[k] for k in own]])
        if bits:
            self.exchange(bits, [wanted[k] if k in own else next(rest) for k in bits])
        self.relabel(wanted)
        self.settle([1 << q for q in range(local)])

    def readouts(self, labels: Sequence[str]) -> tuple[Readout, ...]:
        """Steps and strings in turn until all are measured; those of I and Z need no steps."""
        remaining = list(labels)
        found: list[Readout] = []
        start = done = len(self.steps)
        while remaining or not found:
            every = self._global_masks
            local = [s for s in remaining if not any(is_odd(m & masks(s)[0]) for m in every)]
            steps = tuple(scheduled.step for scheduled in self.steps[done:])
            found.append(Readout(steps, self.layout, tuple(local)))
            done = len(self.steps)
            remaining = [label for label in remaining if label not in local]
            if remaining:
                needs = [(masks(label)[0],) for label in remaining]
                self.choose(needs, [masks(remaining[0])[0]], len(self.ahead) - 1)
        del self.steps[start:]
        return tuple(found)
