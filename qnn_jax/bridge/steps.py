"""Walks through Qiskit's circuits with numbers of qubits and bits in place of objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qiskit.circuit import Operation, QuantumCircuit


def steps(circuit: QuantumCircuit) -> Iterator[tuple[Operation, list[int], list[int]]]:
    """Each instruction but barriers, with its qubits and its classical bits."""
    for item in circuit.data:
        if item.operation.name != "barrier":
            qubits = [circuit.find_bit(qubit).index for qubit in item.qubits]
            yield item.operation, qubits, [circuit.find_bit(bit).index for bit in item.clbits]


def measured_qubits(circuit: QuantumCircuit) -> dict[int, int]:
    """The qubit that each classical bit reads, in the order of the measurements."""
    return {
        bits[0]: qubits[0]
        for operation, qubits, bits in steps(circuit)
        if operation.name == "measure"
    }


def used_qubits(circuits: Sequence[QuantumCircuit]) -> tuple[int, ...]:
    """The numbers of the qubits with gates or measurements, rising."""
    return tuple(sorted({q for one in circuits for _, qubits, _ in steps(one) for q in qubits}))


def on_qubits(
    circuit: QuantumCircuit, qubits: Sequence[int], measured: bool = True
) -> QuantumCircuit:
    """The circuit on some of its qubits, with its measurements or without: k is `qubits[k]`."""
    place = {qubit: k for k, qubit in enumerate(qubits)}
    bits = circuit.num_clbits if measured else 0
    small = QuantumCircuit(len(place), bits, global_phase=circuit.global_phase)
    for operation, own, clbits in steps(circuit):
        if measured or operation.name != "measure":
            small.append(operation, [place[qubit] for qubit in own], clbits)
    return small
