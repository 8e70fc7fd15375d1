"""In: a QuantumCircuit as a circuit of ours.

Every standard gate is taken as it is, recognised by its class and not by its name; every other
instruction is replaced by its definition, until only standard gates, unitaries of few qubits and
global phases are left.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

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
from qiskit.exceptions import QiskitError
from qiskit.transpiler.passes import HighLevelSynthesis

from qnn_jax.bridge.export import LENGTHS, QISKIT_GATES
from qnn_jax.bridge.expressions import from_parameter_expression
from qnn_jax.circuits.angles import AngleLike, w, x
from qnn_jax.circuits.checks import (
    of_type,
    several,
    shown,
)
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.op import MAX_UNITARY_QUBITS, Op
from qnn_jax.errors import InputError

#: A free parameter or a vector of them, by itself or by its name.
ParameterLike: TypeAlias = "Parameter | ParameterVector | str"

#: What has no meaning for a pure state, and the way out.
_REFUSED: tuple[tuple[type, str], ...] = (
    (Initialize, "it resets its qubits; prepare_state or amplitude_encoding prepare a state"),
    (Reset, "a state that is reset is no longer pure; take a fresh qubit"),
    (Delay, "a circuit has no clock; leave it out"),
    (ControlFlowOp, "what follows a measurement is no pure state; unroll it or leave it out"),
    (Store, "a circuit has no classical variables; write numbers or Parameters in their places"),
)
#: What Qiskit's definitions and syntheses raise where they do not work.
_FAILURES = (QiskitError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
#: So many names stand in a message.
_NAMES_SHOWN = 8


def from_qiskit(
    circuit: QuantumCircuit,
    inputs: ParameterLike | Iterable[ParameterLike] | None = None,
    weights: ParameterLike | Iterable[ParameterLike] | None = None,
) -> Circuit:
    """A Qiskit circuit as a circuit of ours, global phase included.

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
    parameters are weights. A circuit of a single other vector, or of a single Parameter, is taken
    for an ansatz: all are weights. Any other circuit is refused, since nothing tells inputs from
    weights; inputs=[] makes weights of all. The names that `to_qiskit` was given are known.

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
    first, second = _sorted_parameters(circuit, inputs, weights)
    symbols: dict[Parameter, AngleLike] = {p: x[i] for i, p in enumerate(first)}
    symbols |= {p: w[j] for j, p in enumerate(second)}
    return Circuit(circuit.num_qubits, gates_of(circuit, symbols), len(first), len(second))


def gates_of(circuit: QuantumCircuit, symbols: Mapping[Parameter, AngleLike]) -> tuple[Op, ...]:
    """The gates of a circuit, its global phase first, with `symbols` in its parameters' places."""
    return tuple(_ops(circuit, _without_final_measurements(circuit), symbols))


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


def _sorted_parameters(
    circuit: QuantumCircuit,
    inputs: Iterable[ParameterLike] | None,
    weights: Iterable[ParameterLike] | None,
) -> tuple[Sequence[Parameter], Sequence[Parameter]]:
    """Which parameters are inputs and which are weights, in order."""
    free = list(circuit.parameters)
    if inputs is None and weights is None:
        whole = _whole_vectors(free, (circuit.metadata or {}).get(LENGTHS))
        return whole or _by_default(free)
    first = None if inputs is None else _chosen("inputs", inputs, circuit)
    second = None if weights is None else _chosen("weights", weights, circuit)
    first = [p for p in free if p not in second] if first is None else first  # type: ignore[operator]
    second = [p for p in free if p not in first] if second is None else second
    for parameter in free:
        if (parameter in first) + (parameter in second) != 1:
            where = "both" if parameter in first else "neither"
            raise InputError(
                "Arguments `inputs` and `weights` must name every free parameter once, but "
                f"{parameter.name!r} is in {where}."
            )
    return first, second


def _vector_name(parameter: Parameter) -> str | None:
    return parameter.vector.name if isinstance(parameter, ParameterVectorElement) else None


def _by_default(free: Sequence[Parameter]) -> tuple[list[Parameter], list[Parameter]]:
    """The vector x as inputs and all others as weights; refused where that would be a guess."""
    chosen = [p for p in free if _vector_name(p) == "x"]
    names = list(dict.fromkeys(_vector_name(p) or p.name for p in free))
    if not chosen and (len(names) > 1 or names == ["x"]):
        raise InputError(
            "Argument `inputs` must say which parameters are inputs where no ParameterVector is "
            f"called x, but the circuit has {_listed(names)}; write inputs={names[0]!r} for one of "
            "them, a list for several, or inputs=[] where all are weights."
        )
    return chosen, [p for p in free if p not in chosen]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(map(repr, names[:_NAMES_SHOWN])) + more or "none"


def _whole_vectors(
    free: Sequence[Parameter], lengths: Any
) -> tuple[list[Parameter], list[Parameter]] | None:
    """A named form's vectors, whether gates read all elements or not, if they hold all of `free`.

    None where they do not, or the metadata are none of ours.
    """
    if not isinstance(lengths, Mapping) or len(lengths) != 2:
        return None
    if not all(type(length) is int and length >= 0 for length in lengths.values()):
        return None
    whole: dict[str | None, list[Parameter]] = {
        name: list(ParameterVector(name, length)) for name, length in lengths.items()
    }
    for parameter in free:
        name = _vector_name(parameter)
        if name not in whole or parameter.index >= len(whole[name]):
            return None
        whole[name][parameter.index] = parameter
    first, second = whole.values()
    return first, second


def _chosen(
    argument: str, given: ParameterLike | Iterable[ParameterLike], circuit: QuantumCircuit
) -> Sequence[Parameter]:
    """Parameters and whole vectors, given by themselves or by their names, in order."""
    if isinstance(given, str | Parameter | ParameterVector) or not isinstance(given, Iterable):
        given = [given]
    own = {parameter.name: parameter for parameter in circuit.parameters}
    chosen: list[Parameter] = []
    for one in several(argument, given, "parameters or their names"):
        found = _meant(argument, one, own)
        again = [parameter.name for parameter in found if parameter in chosen]
        if again:
            raise InputError(
                f"Argument `{argument}` must name each parameter once, but has {again[0]!r} twice."
            )
        chosen += found
    return chosen


def _meant(argument: str, one: ParameterLike, own: Mapping[str, Parameter]) -> list[Parameter]:
    """The parameters that an object or a name stands for; `own` are the circuit's, by name."""
    if isinstance(one, str):
        elements = [p for p in own.values() if _vector_name(p) == one]
        found = [own[one]] if one in own else []
        found += elements[0].vector if elements else []
        if (one in own and elements) or not all(p in found for p in elements):
            raise InputError(
                f"Argument `{argument}` must tell what it names, but {one!r} is the name of "
                "several in the circuit; give the object instead of the name."
            )
        known = bool(found)
    elif isinstance(one, ParameterVector):
        found, known = list(one), True
    else:
        found = [one]
        known = isinstance(one, Parameter) and own.get(one.name) == one
    foreign = [p.name for p in found if known and own.get(p.name, p) != p]
    if foreign:
        raise InputError(
            f"Argument `{argument}` must hold the circuit's own parameters, but its {foreign[0]!r} "
            "is another of that name; give the name instead of the object."
        )
    if not known:
        names = list(dict.fromkeys(_vector_name(p) or p.name for p in own.values()))
        raise InputError(
            f"Argument `{argument}` must hold free parameters, but has "
            f"{shown(getattr(one, 'name', one))}; the circuit's are {_listed(names)}."
        )
    return found


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
        yield from _gates(instruction.operation, qubits, symbols, place)


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
    except _FAILURES as error:
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
