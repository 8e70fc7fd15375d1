"""The benchmark's problems: four families of circuits and the cells of the table."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qnn_jax import Circuit, Op, real_amplitudes, w, x, zz_feature_map
from qnn_jax.circuits import library

SIZES = (2, 4, 8, 12, 16, 20)
DEPTHS = (1, 10, 50)
BATCH = 64
BATCH_UP_TO_QUBITS = 12


def feature_map_and_ansatz(num_qubits: int, depth: int) -> Circuit:
    """The circuit of most tutorials: zz_feature_map(n, reps=1) + real_amplitudes(n, reps=depth)."""
    return zz_feature_map(num_qubits, reps=1) + real_amplitudes(num_qubits, reps=depth)


def efficient_su2(num_qubits: int, depth: int) -> Circuit:
    """Qiskit's efficient_su2 with linear entanglement: layers of RY and RZ with a chain of CX."""
    return library.efficient_su2(num_qubits, reps=depth, entanglement="linear")


def reuploading(num_qubits: int, depth: int) -> Circuit:
    """Scaled inputs in each layer (with one trained scale), then rotations and a ring of CX.

    Reference: Pérez-Salinas et al., arXiv:1907.02085.
    """
    ops: list[Op] = []
    for layer in range(depth):
        first = 3 * num_qubits * layer
        for q in range(num_qubits):
            ops += [Op("rx", q, w[first + 3 * q] * x[q]), Op("ry", q, 0.5 * x[q])]
            ops += [Op("rz", q, math.pi * x[q])]
        for q in range(num_qubits):
            ops += [Op("ry", q, w[first + 3 * q + 1]), Op("rz", q, w[first + 3 * q + 2])]
        ops += [Op("cx", (q, (q + 1) % num_qubits)) for q in range(num_qubits)]
    return Circuit(num_qubits, tuple(ops))


#: The gates that all simulators have, by their number of qubits; True: it has an angle.
GATES: Mapping[int, Mapping[str, bool]] = {
    1: {
        **dict.fromkeys(("h", "x", "y", "z", "s", "t"), False),
        **dict.fromkeys(("rx", "ry", "rz", "p"), True),
    },
    2: {
        **dict.fromkeys(("cx", "cy", "cz", "swap"), False),
        **dict.fromkeys(("crx", "cry", "crz", "cp", "rxx", "ryy", "rzz"), True),
    },
    3: {"ccx": False, "cswap": False},
}


def random_circuit(num_qubits: int, depth: int) -> Circuit:
    """Layers of random gates on random qubits, as Qiskit's random_circuit; every angle is a weight.

    Each layer uses every qubit once, by gates on one to three qubits, all sizes and all gates of
    a size being equally likely. An RY on every qubit comes first and last, so that ⟨Z…Z⟩ does
    not vanish. The random seed depends on the shape, so that every run has the same circuit.
    """
    generator = random.Random(1000 * num_qubits + depth)
    ops: list[Op] = []
    used = 0

    def add(gate: str, qubits: list[int], has_angle: bool) -> None:
        nonlocal used
        ops.append(Op(gate, qubits, w[used] if has_angle else ()))
        used += has_angle

    for q in range(num_qubits):
        add("ry", [q], True)
    for _ in range(depth):
        left = generator.sample(range(num_qubits), num_qubits)
        while left:
            size = generator.randint(1, min(3, len(left)))
            gate, has_angle = generator.choice(list(GATES[size].items()))
            add(gate, left[:size], has_angle)
            left = left[size:]
    for q in range(num_qubits):
        add("ry", [q], True)
    return Circuit(num_qubits, tuple(ops))


def u_and_cx(num_qubits: int, depth: int) -> Circuit:
    """Layers of U on every qubit and of CX on random pairs, the same in every run."""
    generator = random.Random(1000 * num_qubits + depth)
    ops: list[Op] = []
    for layer in range(depth):
        for q in range(num_qubits):
            first = 3 * (num_qubits * layer + q)
            ops.append(Op("u", q, (w[first], w[first + 1], w[first + 2])))
        order = generator.sample(range(num_qubits), num_qubits)
        ops += [Op("cx", pair) for pair in zip(order[::2], order[1::2], strict=False)]
    return Circuit(num_qubits, tuple(ops))


#: Layered families first; the last is not layered.
FAMILIES: Mapping[str, Callable[[int, int], Circuit]] = {
    "zz + real_amplitudes": feature_map_and_ansatz,
    "efficient_su2": efficient_su2,
    "re-uploading": reuploading,
    "random": random_circuit,
}


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One line of the table."""

    family: str
    batch: int
    num_qubits: int
    depth: int

    @property
    def circuit(self) -> Circuit:
        """The circuit."""
        return FAMILIES[self.family](self.num_qubits, self.depth)

    @property
    def batched(self) -> str:
        """The batched argument: inputs, or weights if there are no inputs."""
        if self.batch == 1:
            return ""
        return "inputs" if self.circuit.num_inputs else "weights"

    def at_least(self, other: Cell) -> bool:
        """Whether this is the same family, and at least as large in everything."""
        return self.family == other.family and all(
            getattr(self, name) >= getattr(other, name) for name in ("batch", "num_qubits", "depth")
        )


def every_cell() -> Iterator[Cell]:
    """All cells, small ones first within a family."""
    for family in FAMILIES:
        for batch in (1, BATCH):
            for num_qubits in SIZES:
                if batch == 1 or num_qubits <= BATCH_UP_TO_QUBITS:
                    yield from (Cell(family, batch, num_qubits, depth) for depth in DEPTHS)


_ZZ, _SU2, _DATA, _RANDOM = FAMILIES
#: The default table: a part of `every_cell` that takes less than ten minutes. The most important
#: cells come first, since a slow machine does not reach the last.
DEFAULT_CELLS = (
    *(Cell(_ZZ, batch, n, depth) for batch, n, depth in ((1, 2, 1), (BATCH, 2, 1), (1, 4, 10))),
    *(Cell(_ZZ, 1, n, 10) for n in (16, 20)),
    *(Cell(_DATA, batch, n, 1) for batch, n in ((1, 4), (BATCH, 4), (1, 8))),
    *(Cell(_RANDOM, batch, n, depth) for batch, n, depth in ((1, 4, 10), (BATCH, 8, 1))),
    *(Cell(_SU2, batch, 4, depth) for batch, depth in ((1, 10), (BATCH, 1))),
    Cell(_SU2, 1, 8, 10),
    Cell(_ZZ, 1, 16, 50),
    Cell(_SU2, 1, 20, 1),
    Cell(_RANDOM, 1, 12, 10),
)


def problem(circuit: Circuit, batched: str = "", batch: int = 1) -> dict[str, Any]:
    """A circuit with values: inputs in [0, 1], weights in [-π, π], the same in every run."""
    generator = random.Random(7)

    def draw(count: int, low: float, high: float, is_batch: bool) -> list[Any]:
        rows = [
            [generator.uniform(low, high) for _ in range(count)]
            for _ in range(batch if is_batch else 1)
        ]
        return rows if is_batch else rows[0]

    return {
        "circuit": circuit.to_json(),
        "batched": batched,
        "inputs": draw(circuit.num_inputs, 0.0, 1.0, batched == "inputs"),
        "weights": draw(circuit.num_weights, -math.pi, math.pi, batched == "weights"),
    }
