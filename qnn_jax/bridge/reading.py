"""Reads Qiskit's QuantumCircuit.

A standard gate is recognised by its class, not by its name, and is kept. Every other instruction is
replaced by its definition, until only standard gates, unitaries of few qubits and global phases are
left.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from qiskit.circuit import (
    AnnotatedOperation,
    Barrier,
    BoxOp,
    ControlFlowOp,
    ControlledGate,
    Delay,
    Gate,
    Instruction,
    Measure,
    Operation,
    Parameter,
    ParameterVector,
    ParameterVectorElement,
    PowerModifier,
    QuantumCircuit,
    Reset,
    Store,
)
from qiskit.circuit.library import Initialize, UnitaryGate
from qiskit.transpiler.passes import HighLevelSynthesis

from qnn_jax.bridge.export import LENGTHS, QISKIT_GATES
from qnn_jax.bridge.expressions import from_parameter_expression
from qnn_jax.bridge.parameters import FreeParameters, ParameterLike
from qnn_jax.circuits.angles import AngleLike, w, x
from qnn_jax.circuits.checks import MAX_PARAMETERS, check_num_gates, of_type
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.op import MAX_UNITARY_QUBITS, Op
from qnn_jax.errors import InputError

#: Instructions that a pure state does not allow, and what to do instead.
_REFUSED: tuple[tuple[type, str], ...] = (
    (Initialize, "it resets its qubits; prepare_state or amplitude_encoding prepare a state"),
    (Reset, "a state that is reset is no longer pure; take a fresh qubit"),
    (Delay, "a circuit has no clock; leave it out"),
    (ControlFlowOp, "what follows a measurement is no pure state; unroll it or leave it out"),
    (Store, "a circuit has no classical variables; write numbers or Parameters in their places"),
)


def from_qiskit(
    circuit: QuantumCircuit,
    inputs: ParameterLike | Iterable[ParameterLike] | None = None,
    weights: ParameterLike | Iterable[ParameterLike] | None = None,
) -> Circuit:
    """A Qiskit circuit as a `Circuit`, global phase included.

    Composite gates are replaced by their definitions, barriers are left out, and so are
    measurements that nothing follows. `from_qiskit(to_qiskit(circuit, form="named"))` is
    `circuit` again up to what Qiskit rewrites in expressions (it puts numbers first, sorts the
    names in a product of two, folds constants) and to global phases, of which it keeps the sum:
    `differences` names every such gate.

    Args:
        circuit: the circuit, with or without free parameters.
        inputs: the parameters that become x[0], x[1], …: a ParameterVector or a Parameter, by
            itself or by its name ("features"), or several of them in order. Of a vector, elements
            that the circuit does not use count too. By default all parameters that are not in
            `weights`, in the order of `circuit.parameters`.
        weights: those that become w[0], w[1], …, in the same way.

    Where neither is given, the elements of the ParameterVector named x are inputs and all other
    parameters are weights. A circuit with a single other vector, or with a single Parameter, is
    an ansatz: all its parameters are weights, unless the name is one of data (x, data, input,
    inputs, feature, features, in upper or lower case). That case and several other vectors are
    refused, because inputs and weights cannot be told apart; inputs=[] makes all of them weights.
    The vectors that `to_qiskit` has written are recognised whatever their names.

    Raises:
        InputError: for instructions without meaning for a pure state (measurements that something
            follows, reset, classical control, delay) and those that Qiskit cannot write as gates,
            by name and position; for parameters that are in neither or in both lists, or of which
            nothing tells what they are; for angles that are not real.

    >>> from qiskit.circuit import ParameterVector, QuantumCircuit
    >>> theta = ParameterVector("θ", 2)
    >>> circuit = QuantumCircuit(2)
    >>> _ = circuit.ry(theta[0], 0), circuit.cx(0, 1), circuit.rz(theta[1] / 2, 1)
    >>> print(from_qiskit(circuit))
    q0: ─RY(w[0])─●────────────
    q1: ──────────⊕─RZ(w[1]/2)─
    """
    of_type("circuit", circuit, QuantumCircuit, "a QuantumCircuit")
    if not circuit.num_qubits:
        raise InputError("Argument `circuit` must have at least one qubit, but has none.")
    free = _free_parameters(circuit)
    whole = None
    if inputs is None and weights is None:
        whole = _whole_vectors(free.parameters, (circuit.metadata or {}).get(LENGTHS))
    first, second = whole or free.sorted_into(inputs, weights)
    symbols: dict[Parameter, AngleLike] = {p: x[i] for i, p in enumerate(first)}
    symbols |= {p: w[j] for j, p in enumerate(second)}
    return Circuit(circuit.num_qubits, gates_of(circuit, symbols), len(first), len(second))


def gates_of(circuit: QuantumCircuit, symbols: Mapping[Parameter, AngleLike]) -> tuple[Op, ...]:
    """The gates of a circuit, its global phase first, with `symbols` in its parameters' places."""
    found: list[Op] = []
    for op in _ops(circuit, _without_final_measurements(circuit), symbols):
        found.append(op)
        check_num_gates(len(found))  # before there are too many for the memory
    return tuple(found)


def gates_of_unitary(op: Op, known: Container[str]) -> Iterator[Op]:
    """A unitary as standard gates whose names are `known` and global phases, by Qiskit."""
    yield from _gates(UnitaryGate(np.array(op.matrix)), op.qubits, {}, "a unitary", known)


def differences(first: Circuit, second: Circuit) -> tuple[str, ...]:
    """Where two circuits are not the same value, one sentence each; empty where they are equal.

    >>> from qnn_jax.circuits import w
    >>> differences(Circuit(1, (Op("rx", 0, w[0] * 2),)), Circuit(1, (Op("rx", 0, 2 * w[0]),)))
    ('Gate 0 is rx(w[0]*2) on (0,) in the first and rx(2*w[0]) on (0,) in the second.',)
    """
    of_type("first", first, Circuit, "a Circuit")
    of_type("second", second, Circuit, "a Circuit")
    found = [
        f"{name} is {getattr(first, name)} in the first and {getattr(second, name)} in the second."
        for name in ("num_qubits", "num_inputs", "num_weights")
        if getattr(first, name) != getattr(second, name)
    ]
    if len(first.ops) != len(second.ops):
        found.append(
            f"There are {len(first.ops)} gates in the first and {len(second.ops)} in the second."
        )
    found += [
        f"Gate {k} is {one} on {one.qubits} in the first and {other} on {other.qubits} in the "
        "second."
        for k, (one, other) in enumerate(zip(first.ops, second.ops, strict=False))
        if one != other
    ]
    return tuple(found)


def _free_parameters(circuit: QuantumCircuit) -> FreeParameters:
    free = list(circuit.parameters)
    elements = [p for p in free if isinstance(p, ParameterVectorElement)]
    return FreeParameters(free, {p: p.vector for p in elements}, "the circuit")


def _whole_vectors(
    free: Sequence[Parameter], lengths: Any
) -> tuple[list[Parameter], list[Parameter]] | None:
    """The two vectors of a named form, with the elements that no gate reads.

    None where they do not hold all of `free`, or where the metadata are not `to_qiskit`'s.
    """
    if not isinstance(lengths, Mapping) or len(lengths) != 2:
        return None
    if not all(type(n) is int and 0 <= n <= MAX_PARAMETERS for n in lengths.values()):
        return None
    whole: dict[str, list[Parameter]] = {
        name: list(ParameterVector(name, length)) for name, length in lengths.items()
    }
    for parameter in free:
        if not isinstance(parameter, ParameterVectorElement):
            return None
        name = parameter.vector.name
        if name not in whole or parameter.index >= len(whole[name]):
            return None
        whole[name][parameter.index] = parameter
    first, second = whole.values()
    return first, second


def _without_final_measurements(circuit: QuantumCircuit) -> list[int]:
    """The positions of all instructions but measurements that nothing follows, and barriers."""
    kept: list[int] = []
    final = set(circuit.qubits)
    for position in reversed(range(len(circuit.data))):
        instruction = circuit.data[position]
        if isinstance(instruction.operation, Barrier):
            continue
        # A control-flow instruction may read any bit: no measurement before it is final.
        control_flow = isinstance(instruction.operation, ControlFlowOp)
        if control_flow and not isinstance(instruction.operation, BoxOp):
            final.clear()
        if isinstance(instruction.operation, Measure) and instruction.qubits[0] in final:
            final.remove(instruction.qubits[0])
            continue
        final.difference_update(instruction.qubits)
        kept.append(position)
    return kept[::-1]


def _ops(
    circuit: QuantumCircuit, kept: Sequence[int], symbols: Mapping[Parameter, AngleLike]
) -> Iterator[Op]:
    """The global phase, then the instructions at the positions that are kept."""
    yield from _phase(circuit, symbols)
    for position in kept:
        instruction = circuit.data[position]
        qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        place = f"instruction {position}, {instruction.operation.name!r} on qubits {qubits}"
        try:
            yield from _gates(instruction.operation, qubits, symbols, place)
        except RecursionError:
            raise InputError(
                "Argument `circuit` must have instructions that are defined by others a few levels "
                f"deep, but has {place}, whose definition does not end or nests too deeply."
            ) from None


def _phase(circuit: QuantumCircuit, symbols: Mapping[Parameter, AngleLike]) -> Iterator[Op]:
    phase = from_parameter_expression(circuit.global_phase, symbols)
    if phase != from_parameter_expression(0.0, {}):
        yield Op("global_phase", (), phase)


def _gates(
    operation: Operation,
    qubits: tuple[int, ...],
    symbols: Mapping[Parameter, AngleLike],
    place: str,
    known: Container[str] = GATES,
) -> Iterator[Op]:
    """One instruction as gates that are `known`, by default those of the table and unitaries."""
    name = _standard_name(operation, known)
    if name is not None:
        angles = [from_parameter_expression(value, symbols) for value in operation.params]
        yield Op(name, qubits, angles)
    elif (
        type(operation) is UnitaryGate and known is GATES and 1 <= len(qubits) <= MAX_UNITARY_QUBITS
    ):
        yield Op("unitary", qubits, matrix=operation.to_matrix())
    else:
        definition = _definition(operation, place)
        yield from _phase(definition, symbols)
        for part in definition.data:
            if isinstance(part.operation, Barrier):
                continue
            inner = tuple(qubits[definition.find_bit(qubit).index] for qubit in part.qubits)
            inside = f"{part.operation.name!r} in {place}"
            yield from _gates(part.operation, inner, symbols, inside, known)


def _standard_name(operation: Operation, known: Container[str]) -> str | None:
    """The name in the gate table, if it is that very gate: class and control state decide."""
    if not isinstance(operation, Gate) or operation.name not in known:
        return None
    if operation.base_class is not QISKIT_GATES[operation.name].base_class:
        return None
    if isinstance(operation, ControlledGate):
        every = 2**operation.num_ctrl_qubits - 1
        return operation.name if operation.ctrl_state == every else None
    return operation.name


def _definition(operation: Operation, place: str) -> QuantumCircuit:
    """What an instruction is made of, or a refusal by name and position."""
    if isinstance(operation, BoxOp) and not operation.num_clbits:
        return operation.body
    for kind, way_out in _REFUSED:
        if isinstance(operation, kind):
            raise InputError(
                f"Argument `circuit` must be unitary up to its final measurements, but has {place}:"
                f" {way_out}."
            )
    if operation.num_clbits:
        raise InputError(
            f"Argument `circuit` must be unitary up to its final measurements, but has {place}: "
            "measure at the end only."
        )
    try:
        definition = operation.definition if isinstance(operation, Instruction) else None
        if definition is None:
            definition = _synthesised(operation)
        reason = "which has no definition"
    except Exception as error:  # a definition may be anyone's code
        definition = None
        said = " ".join(str(getattr(error, "message", error)).split()).removesuffix(".")
        reason = (
            f"which Qiskit cannot decompose ({said}): give its parameters values, or write it as "
            "other gates"
        )
    if definition is None:
        raise InputError(
            "Argument `circuit` must be made of standard gates, unitaries and what is defined by "
            f"them, but has {place}, {reason}."
        )
    return definition


def _synthesised(operation: Operation) -> QuantumCircuit | None:
    """What Qiskit makes of an abstract operation: a Clifford, a permutation, a modified gate."""
    alone = QuantumCircuit(operation.num_qubits)
    if isinstance(operation, AnnotatedOperation) and any(
        isinstance(modifier, PowerModifier) and modifier.power % 1
        for modifier in operation.modifiers
    ):
        # Qiskit 2.6's synthesis takes another branch of negative roots than its own matrix.
        alone.append(UnitaryGate(operation.to_matrix()), range(operation.num_qubits))
        return alone
    alone.append(operation, range(operation.num_qubits))
    made = HighLevelSynthesis()(alone)
    return None if any(part.operation == operation for part in made.data) else made
