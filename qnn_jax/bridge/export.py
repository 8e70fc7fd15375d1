"""Out: a circuit as Qiskit's QuantumCircuit.

The table form has one bare Parameter for each angle that depends on inputs or weights. It is
transpiled once and bound with rows of the angle table, so no expression and no order of x and w
ever leaves JAX: what could be bound in the wrong order is bound by column number. The named form
is for people: x and w are ParameterVectors, and the expressions are Qiskit's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping

from qnn_jax.bridge.expressions import to_parameter_expression
from qnn_jax.circuits.angles import Expression, Number, evaluate
from qnn_jax.circuits.checks import one_of
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import checked_vectors

#: The standard gates by name, as Qiskit has them.
QISKIT_GATES = get_standard_gate_name_mapping()
#: Under this name the metadata of the named form hold [num_inputs, num_weights].
LENGTHS = "qnn_jax.lengths"


def to_qiskit(circuit: Circuit, form: Literal["table", "named"] = "table") -> QuantumCircuit:
    """The circuit in Qiskit, gate by gate; qubit k is qubit k, global phases are kept.

    Args:
        circuit: the circuit.
        form: "table" has one Parameter for each angle that depends on inputs or weights, named by
            its column of the angle table: bind it with rows of `qnn_jax.angles`, columns
            `angle_columns(circuit)`. "named" has the ParameterVectors x and w, and can be read
            back by `from_qiskit`.

    Returns:
        A circuit without measurements. Several global phases are one: their sum.

    Raises:
        InputError: where `circuit` is none, or the form is unknown.

    >>> from qnn_jax.circuits import Circuit, Op, w, x
    >>> circuit = Circuit(1, (Op("rx", 0, 2 * x[0]), Op("rz", 0, 0.5), Op("ry", 0, w[0])))
    >>> [parameter.name for parameter in to_qiskit(circuit).parameters]
    ['angle_0', 'angle_2']
    >>> [parameter.name for parameter in to_qiskit(circuit, form="named").parameters]
    ['w[0]', 'x[0]']
    """
    if not isinstance(circuit, Circuit):
        raise InputError(f"Argument `circuit` must be a Circuit, but is {circuit!r}.")
    if one_of("form", form, ("table", "named")) == "table":
        names = iter(angle_columns(circuit))
        return _rebuilt(circuit, lambda angle: Parameter(next(names)))
    vectors = {
        "x": ParameterVector("x", circuit.num_inputs),
        "w": ParameterVector("w", circuit.num_weights),
    }
    named = _rebuilt(circuit, lambda angle: to_parameter_expression(angle, vectors))
    # Qiskit keeps only the parameters that a gate reads; the lengths let `from_qiskit` know all.
    named.metadata = {LENGTHS: [circuit.num_inputs, circuit.num_weights]}
    return named


def angle_columns(circuit: Circuit) -> dict[str, int]:
    """The table form's Parameters by name, and the column of the angle table that each one is.

    The order is that of `to_qiskit(circuit).parameters`: names are padded with zeros, so Qiskit's
    order by name is the order of the columns.

    >>> from qnn_jax.circuits import Circuit, Op, w
    >>> angle_columns(Circuit(1, (Op("rz", 0, 0.5), Op("ry", 0, w[0]))))
    {'angle_1': 1}
    """
    digits = len(str(max(circuit.num_angles - 1, 0)))
    return {
        f"angle_{column:0{digits}d}": column
        for column, angle in enumerate(circuit.angles)
        if not isinstance(angle, Number)
    }


def bound(circuit: Circuit, inputs: Any, weights: Any) -> QuantumCircuit:
    """The circuit in Qiskit with numbers as angles, evaluated in Python's floats.

    Args:
        circuit: the circuit.
        inputs: shape (circuit.num_inputs,).
        weights: shape (circuit.num_weights,).

    Raises:
        InputError: where the shapes do not fit the circuit.
    """
    if not isinstance(circuit, Circuit):
        raise InputError(f"Argument `circuit` must be a Circuit, but is {circuit!r}.")
    checked_vectors(circuit, inputs, weights)  # which would round to JAX's float32
    x, w = (np.asarray(values, float).tolist() for values in (inputs, weights))
    return _rebuilt(circuit, lambda angle: evaluate(angle, x, w))


def _rebuilt(circuit: Circuit, translate: Callable[[Expression], object]) -> QuantumCircuit:
    """The circuit gate by gate, `translate` applied to every angle that is no number, in order."""
    rebuilt = QuantumCircuit(circuit.num_qubits)
    for op in circuit.ops:
        angles = [a.value if isinstance(a, Number) else translate(a) for a in op.angles]
        if op.matrix is not None:
            rebuilt.append(UnitaryGate(np.array(op.matrix)), op.qubits)
        elif op.gate == "global_phase":
            rebuilt.global_phase += angles[0]
        else:
            rebuilt.append(QISKIT_GATES[op.gate].base_class(*angles), op.qubits)
    return rebuilt
