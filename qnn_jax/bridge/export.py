"""Writes a circuit as Qiskit's QuantumCircuit.

The table form has one bare Parameter for each angle that depends on inputs or weights. It is
transpiled once and bound with rows of the angle table, by column number. So no order of x and w
has to be kept, and no expression has to be evaluated by Qiskit. The named form is for people: x and
w are ParameterVectors, and angles are expressions of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from qiskit.circuit import Parameter, ParameterExpression, ParameterVector, QuantumCircuit
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping

from qnn_jax.bridge.expressions import to_parameter_expression
from qnn_jax.circuits.angles import Expression, Number, evaluate
from qnn_jax.circuits.arrays import as_numbers
from qnn_jax.circuits.checks import one_of, shown
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import checked_vectors

#: The standard gates by name, as Qiskit has them.
QISKIT_GATES = get_standard_gate_name_mapping()
#: Under this key the metadata of the named form hold {vector's name: its length}, inputs first.
LENGTHS = "qnn_jax.lengths"


def to_qiskit(
    circuit: Circuit,
    form: Literal["table", "named"] = "table",
    inputs: str = "x",
    weights: str = "w",
) -> QuantumCircuit:
    """The circuit in Qiskit; qubit k is qubit k, global phases are kept.

    Args:
        circuit: the circuit.
        form: "table" has one Parameter for each angle that depends on inputs or weights, named by
            its column of the angle table: bind it with rows of `qnn_jax.angles`, columns
            `angle_columns(circuit)`. It is made for the transpiler: p, u, cp and their like with
            such angles are written as rz, ry and cx, their phases in the global one. "named" has
            a ParameterVector each for inputs and weights, gate for gate, and can be read back by
            `from_qiskit`.
        inputs: in the named form, the name of the inputs' vector.
        weights: in the named form, the name of the weights' vector.

    Returns:
        A circuit without measurements. Several global phases are one: their sum.

    Raises:
        InputError: where `circuit` is not a Circuit, the form is unknown, or both names are equal.

    >>> from qnn_jax.circuits import Circuit, Op, w, x
    >>> circuit = Circuit(1, (Op("rx", 0, 2 * x[0]), Op("rz", 0, 0.5), Op("ry", 0, w[0])))
    >>> [parameter.name for parameter in to_qiskit(circuit).parameters]
    ['angle_0', 'angle_2']
    >>> [parameter.name for parameter in to_qiskit(circuit, form="named").parameters]
    ['w[0]', 'x[0]']
    """
    checked_circuit(circuit)
    for argument, name in (("inputs", inputs), ("weights", weights)):
        if not isinstance(name, str) or not name:
            raise InputError(
                f"Argument `{argument}` must be the name of a ParameterVector, but is "
                f"{shown(name)}."
            )
    if one_of("form", form, ("table", "named")) == "table":
        if (inputs, weights) != ("x", "w"):
            raise InputError(
                "Arguments `inputs` and `weights` must be left out with form='table', which names "
                f"columns, but are {inputs!r} and {weights!r}; form='named' takes them."
            )
        names = iter(angle_columns(circuit))
        return _rebuilt(circuit, lambda angle: Parameter(next(names)), for_transpiler=True)
    check_two_names(inputs, weights)
    vectors = {
        "x": ParameterVector(inputs, circuit.num_inputs),
        "w": ParameterVector(weights, circuit.num_weights),
    }
    named = _rebuilt(circuit, lambda angle: to_parameter_expression(angle, vectors))
    # Qiskit keeps only the parameters that a gate reads; the lengths let `from_qiskit` know all.
    named.metadata = {LENGTHS: {inputs: circuit.num_inputs, weights: circuit.num_weights}}
    return named


def check_two_names(inputs: str, weights: str) -> None:
    """Refuse one name for both vectors."""
    if inputs == weights:
        raise InputError(
            f"Arguments `inputs` and `weights` must be two names, but both are {inputs!r}."
        )


def angle_columns(circuit: Circuit) -> dict[str, int]:
    """The table form's Parameters by name, and the column of the angle table that each one is.

    The order is that of `to_qiskit(circuit).parameters`: names are padded with zeros, so Qiskit's
    order by name is the order of the columns.

    >>> from qnn_jax.circuits import Circuit, Op, w
    >>> angle_columns(Circuit(1, (Op("rz", 0, 0.5), Op("ry", 0, w[0]))))
    {'angle_1': 1}
    """
    digits = len(str(max(checked_circuit(circuit).num_angles - 1, 0)))
    return {
        f"angle_{column:0{digits}d}": column
        for column, angle in enumerate(circuit.angles)
        if not isinstance(angle, Number)
    }


def bound(circuit: Circuit, inputs: Any, weights: Any) -> QuantumCircuit:
    """The circuit in Qiskit with numbers as angles, evaluated in Python's floats."""
    checked_circuit(circuit)
    checked_vectors(circuit, inputs, weights)  # which would round to JAX's float32
    x, w = (
        as_numbers(name, values).astype(float).tolist()
        for name, values in (("inputs", inputs), ("weights", weights))
    )
    return _rebuilt(circuit, lambda angle: evaluate(angle, x, w))


def assigned(circuit: QuantumCircuit, values: Mapping[Parameter, float]) -> QuantumCircuit:
    """The same as `circuit.assign_parameters(values)`, in a time linear in each angle's length.

    Qiskit 2.6 replaces one parameter after the other in the whole expression: a sum of 800 scaled
    parameters takes seconds and one of 3,000 takes minutes. `ParameterExpression.bind` replaces
    all of them at once, but only outside of a circuit.
    """
    rebuilt = circuit.copy_empty_like()
    rebuilt.global_phase = _bound_angle(circuit.global_phase, values)
    for item in circuit.data:
        gate = QISKIT_GATES.get(item.operation.name)
        # The definition of any other gate may have parameters too; Qiskit assigns them below.
        if gate is not None and item.operation.base_class is gate.base_class:
            angles = [_bound_angle(angle, values) for angle in item.operation.params]
            operation = item.operation.to_mutable()
            operation.params = angles
            item = item.replace(operation=operation)
        rebuilt.append(item)
    rebuilt.assign_parameters({p: values[p] for p in rebuilt.parameters}, inplace=True)
    return rebuilt


def _bound_angle(angle: Any, values: Mapping[Parameter, float]) -> Any:
    if not isinstance(angle, ParameterExpression):
        return angle
    return angle.bind({p: float(values[p]) for p in angle.parameters}).numeric()


def _rebuilt(
    circuit: Circuit, translate: Callable[[Expression], Any], for_transpiler: bool = False
) -> QuantumCircuit:
    """The circuit gate by gate, `translate` applied to every angle that is no number, in order."""
    rebuilt = QuantumCircuit(circuit.num_qubits)
    number, symbolic = 0.0, 0.0  # kept apart: Qiskit takes 2**k steps to add k of each in turns
    for op in circuit.ops:
        angles = [a.value if isinstance(a, Number) else translate(a) for a in op.angles]
        has_symbols = any(isinstance(angle, ParameterExpression) for angle in angles)
        if op.matrix is not None:
            rebuilt.append(UnitaryGate(np.array(op.matrix)), op.qubits)
        elif op.gate == "global_phase":
            if has_symbols:
                symbolic = symbolic + angles[0]
            else:
                number += angles[0]
        elif for_transpiler and has_symbols and op.gate in _WITHOUT_PHASE:
            phase, parts = _WITHOUT_PHASE[op.gate](*angles)
            symbolic = symbolic + phase
            for gate, places, own in parts:
                qubits = [op.qubits[place] for place in places]
                rebuilt.append(QISKIT_GATES[gate].base_class(*own), qubits)
        else:
            rebuilt.append(QISKIT_GATES[op.gate].base_class(*angles), op.qubits)
    rebuilt.global_phase = symbolic + number
    return rebuilt


_Parts: TypeAlias = tuple[Any, list[tuple[str, tuple[int, ...], tuple[Any, ...]]]]


def _p(theta: Any) -> _Parts:
    return theta / 2, [("rz", (0,), (theta,))]


def _u(theta: Any, phi: Any, lam: Any) -> _Parts:
    return (phi + lam) / 2, [("rz", (0,), (lam,)), ("ry", (0,), (theta,)), ("rz", (0,), (phi,))]


def _r(theta: Any, phi: Any) -> _Parts:
    return 0.0, [("rz", (0,), (-phi,)), ("rx", (0,), (theta,)), ("rz", (0,), (phi,))]


def _cp(theta: Any) -> _Parts:
    return theta / 4, [
        ("rz", (0,), (theta / 2,)),
        ("cx", (0, 1), ()),
        ("rz", (1,), (-theta / 2,)),
        ("cx", (0, 1), ()),
        ("rz", (1,), (theta / 2,)),
    ]


def _cu(theta: Any, phi: Any, lam: Any, gamma: Any) -> _Parts:
    on_control = gamma + (phi + lam) / 2
    return on_control / 2, [
        ("rz", (0,), (on_control,)),
        ("rz", (1,), ((lam - phi) / 2,)),
        ("cx", (0, 1), ()),
        ("rz", (1,), (-(phi + lam) / 2,)),
        ("ry", (1,), (-theta / 2,)),
        ("cx", (0, 1), ()),
        ("ry", (1,), (theta / 2,)),
        ("rz", (1,), (phi,)),
    ]


#: Gates whose translation into a device's gates leaves a phase that depends on their angles: that
#: phase, and gates without one. The transpiler would add it to a sum of symbols and numbers, and
#: Qiskit 2.6's sums of both in turns take 2**k steps: 20 P gates take minutes, 40 do not end.
_WITHOUT_PHASE: Mapping[str, Callable[..., _Parts]] = MappingProxyType(
    {
        "p": _p,
        "u1": _p,
        "u": _u,
        "u2": lambda phi, lam: _u(np.pi / 2, phi, lam),
        "u3": _u,
        "r": _r,
        "cp": _cp,
        "cu1": _cp,
        "cu3": lambda theta, phi, lam: _cu(theta, phi, lam, 0.0),
        "cu": _cu,
    }
)
