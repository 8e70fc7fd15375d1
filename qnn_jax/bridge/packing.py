"""Packing: several copies of a circuit side by side on a device, each with parameters of its own.

A device of 156 qubits runs a 2-qubit circuit on 2 of them. K copies on disjoint good places do K
rows in one shot, so K times fewer executions are paid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import rustworkx
from qiskit.circuit import ClassicalRegister, Parameter, QuantumCircuit
from qiskit.transpiler import Target

from qnn_jax.bridge.steps import steps, used_qubits

#: Placements looked at for each copy: all there are for few qubits, a bound on time for many.
_PLACES = 20_000


class Place(NamedTuple):
    """Where a copy runs."""

    #: The device's qubit for each of the circuit's used ones, in rising order of those.
    qubits: tuple[int, ...]
    infidelity: float  # 1 - Π (1 - error) over its gates and measurements


def places(isa: QuantumCircuit, target: Target, most: int) -> list[Place]:
    """The `most` best disjoint places for a transpiled circuit, with an idle qubit between.

    Its own place is the first; a small device has fewer.
    """
    used = used_qubits([isa])
    lattice = _lattice(target)
    free = set(range(lattice.num_nodes()))
    found = [Place(used, _infidelity(isa, target, dict(zip(used, used, strict=True))))]
    pattern = _pattern(isa, used)
    while len(found) < most:
        taken = found[-1].qubits
        free -= {*taken, *(n for q in taken for n in lattice.neighbors_undirected(q))}
        # A subgraph numbers its nodes again, in this order.
        rest = sorted(free)
        mappings = rustworkx.vf2_mapping(
            lattice.subgraph(rest), pattern, subgraph=True, induced=False
        )
        best: Place | None = None
        for mapping in itertools.islice(mappings, _PLACES):
            place = {used[k]: rest[there] for there, k in mapping.items()}
            infidelity = _infidelity(isa, target, place)
            if infidelity < (best.infidelity if best else 1.0):
                best = Place(tuple(place[q] for q in used), infidelity)
        if best is None:
            break
        found.append(best)
    return found


def pack(isa: QuantumCircuit, places: list[Place]) -> QuantumCircuit:
    """One circuit that runs a copy at each place.

    The Parameters of copy k are those of `isa` with the prefix "copy_k_", so their order is copy
    by copy; each copy has a classical register "copy_k" of its own.
    """
    used = used_qubits([isa])
    digits = len(str(len(places) - 1))
    packed = QuantumCircuit(isa.num_qubits, global_phase=0)
    # Its global phase does not change counts, and Qiskit needs minutes to rename a long sum.
    isa = isa.copy()
    isa.global_phase = 0
    for k, place in enumerate(places):
        name = f"copy_{k:0{digits}d}"
        register = ClassicalRegister(isa.num_clbits, name)
        packed.add_register(register)
        renamed = isa.assign_parameters(
            {parameter: Parameter(f"{name}_{parameter.name}") for parameter in isa.parameters}
        )
        there = dict(zip(used, place.qubits, strict=True))
        for item in renamed.data:
            qubits = [isa.find_bit(q).index for q in item.qubits]
            clbits = [register[isa.find_bit(c).index] for c in item.clbits]
            if item.operation.name == "barrier":
                # Whole-device barriers would chain the copies to one another.
                qubits = [q for q in qubits if q in there]
                packed.barrier([there[q] for q in qubits])
            else:
                packed.append(item.operation, [there[q] for q in qubits], clbits)
    return packed


def packed_rows(rows: np.ndarray, copies: int) -> np.ndarray:
    """Parameter rows (count, p) as those of the packed circuit, (ceil(count / copies), copies·p).

    The last one is filled up with the first rows; `unpacked` drops what they gave.
    """
    shots = math.ceil(len(rows) / copies)
    filled = rows[np.arange(shots * copies) % len(rows)]
    return filled.reshape(shots, copies * rows.shape[1])


def unpacked(counts: np.ndarray, count: int) -> np.ndarray:
    """Counts (packed rows, copies, outcomes) as those of the `count` rows that were packed."""
    return counts.reshape(-1, counts.shape[-1])[:count]


def _lattice(target: Target) -> rustworkx.PyDiGraph[int, None]:
    pairs = {
        qargs
        for name in target.operation_names
        for qargs in target[name] or ()
        if qargs and len(qargs) == 2
    }
    return _graph(target.num_qubits or 0, pairs)


def _pattern(isa: QuantumCircuit, used: tuple[int, ...]) -> rustworkx.PyDiGraph[int, None]:
    number = {q: k for k, q in enumerate(used)}
    pairs = {tuple(number[q] for q in qubits) for _, qubits, _ in steps(isa) if len(qubits) == 2}
    return _graph(len(used), pairs)


def _graph(size: int, pairs: Iterable[tuple[int, ...]]) -> rustworkx.PyDiGraph[int, None]:
    graph: rustworkx.PyDiGraph[int, None] = rustworkx.PyDiGraph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from([(a, b, None) for a, b in sorted(pairs)])
    return graph


def _infidelity(isa: QuantumCircuit, target: Target, place: dict[int, int]) -> float:
    """1 - Π (1 - error); 1 where a gate is missing or broken there."""
    kept = 1.0
    for gate, own, _ in steps(isa):
        if gate.name != "delay":
            qubits, properties = tuple(place[q] for q in own), target[gate.name]
            if qubits not in properties:
                return 1.0
            kept *= 1 - ((properties[qubits] and properties[qubits].error) or 0.0)
    return 1 - kept
