"""All that Qiskit's circuit library offers is read to the right unitary, or refused in words.

The list of instructions comes from the installed Qiskit, so that nothing is left out.
"""

import contextlib
import inspect

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import (
    AnnotatedOperation,
    BreakLoopOp,
    ControlModifier,
    Gate,
    Instruction,
    InverseModifier,
    Operation,
    Parameter,
    PowerModifier,
)
from qiskit.circuit import library as ql
from qiskit.quantum_info import (
    CNOTDihedral,
    Operator,
    Pauli,
    SparsePauliOp,
    random_clifford,
    random_unitary,
)
from qiskit_aer.library import SaveState
from qiskit_aer.noise import depolarizing_error
from reference import in_qiskit

from qnn_jax import Circuit, InputError, Op
from qnn_jax.bridge import from_qiskit

# Old classes, the exact exponential of an evolution, and a sum without qubits to carry.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning"),
    pytest.mark.filterwarnings("ignore:Cannot synthesize a WeightedSumGate:UserWarning"),
]

ISOMETRY = random_unitary(4, seed=3).data[:, :2]
#: What instructions are made of, by the names of their arguments.
BY_NAME = {
    "label": "XYZ", "num_qubits": 3, "num_state_qubits": 2, "num_variable_qubits": 3,
    "num_ctrl_qubits": 3, "num_target_qubits": 2, "num_controls": 1, "num_ancillas_zero": 0,
    "num_ancillas_dirty": 0, "amount": 5, "value": 2, "scaling": 0.5, "slope": 0.4, "offset": 0.1,
    "domain": (0, 1), "image": (0, 1), "expression": "(a & b) | ~c", "pattern": [2, 0, 1],
    "adjacency_matrix": [[0, 1, 1], [1, 0, 0], [1, 0, 0]], "linear": [[1, 1], [0, 1]],
    "diag": [1, 1j, -1, -1j], "angle_list": [0.1, 0.2, 0.3, 0.4], "rot_axis": "Y",
    "gate": ql.RYGate(0.3), "gate_list": [random_unitary(2, seed=k).data for k in range(2)],
    "params": [0.5, 0.5j, -0.5, 0.5], "pauli": Pauli("XYZ"), "isometry": ISOMETRY,
    "f_x": lambda value: 0.2 * value + 0.1,
    "operator": SparsePauliOp(["ZZ", "IZ"], [0.5, 0.25]),
    "data": np.array([[1, 0.5j], [-0.5j, 0.3]]),
}  # fmt: skip
#: Where a name means something else, or a default is not enough.
BY_CLASS = {
    "UnitaryGate": {"data": random_unitary(4, seed=1).data},
    "MCGupDiag": {"gate": random_unitary(2, seed=2).data},
    "Barrier": {"num_qubits": 2},
    "UniformSuperpositionGate": {"num_superpos_states": 3},
    "MultiplierGate": {"num_state_qubits": 1},
    "WeightedSumGate": {"weights": [1, 2]},
    "PolynomialPauliRotationsGate": {"coeffs": [0.1, 0.2]},
    "PiecewisePolynomialPauliRotationsGate": {"breakpoints": [0, 2], "coeffs": [[0.1], [0.2]]},
    "PiecewiseLinearPauliRotationsGate": {
        "num_state_qubits": 2, "breakpoints": [0, 2], "slopes": [0.5, 1], "offsets": [0.1, 0.2],
    },
    "QuadraticFormGate": {
        "num_result_qubits": 2, "quadratic": [[1, 0], [1, 1]], "linear": [1, 1], "offset": 1,
    },
}  # fmt: skip
#: Arguments that are angles, and the values that they get.
ANGLES = ("theta", "phi", "lam", "gamma", "beta", "angle", "time", "phase", "v_x", "v_y", "v_z")
VALUES = {name: 0.3 + 0.2 * k for k, name in enumerate(ANGLES)}
KINDS = {
    name: kind
    for name, kind in vars(ql).items()
    if inspect.isclass(kind) and issubclass(kind, Operation) and not inspect.isabstract(kind)
}
#: What is refused, and why: all else must be read.
REFUSED = {
    "Reset": "a state that is reset is no longer pure",
    "Initialize": "it resets its qubits; prepare_state",
    "PauliProductMeasurement": "measure at the end only",
    "WeightedSumGate": "which has no definition",  # without more qubits to work on
}
REFUSED_WITH_PARAMETERS = {
    "RVGate": "which Qiskit cannot decompose .The rv gate cannot be decomposed with unbound",
    "HamiltonianGate": "which Qiskit cannot decompose .Unable to generate Unitary matrix",
}


def built(name, angle):
    """An instance of a class of the library, its angles what `angle` makes of their names."""
    arguments = {}
    for parameter in inspect.signature(KINDS[name].__init__).parameters.values():
        if parameter.name in BY_CLASS.get(name, {}):
            arguments[parameter.name] = BY_CLASS[name][parameter.name]
        elif parameter.name in ANGLES:
            arguments[parameter.name] = angle(parameter.name)
        elif parameter.default is parameter.empty and parameter.name in BY_NAME:
            arguments[parameter.name] = BY_NAME[parameter.name]
    return KINDS[name](**arguments)


def alone(operation):
    circuit = QuantumCircuit(max(operation.num_qubits, 1), operation.num_clbits)
    circuit.append(operation, range(operation.num_qubits), range(operation.num_clbits))
    return circuit


def check(circuit, read=from_qiskit):
    """What was read has the unitary that Qiskit gives the circuit."""
    free = list(circuit.parameters)
    weights = [VALUES[parameter.name] for parameter in free]
    found = in_qiskit(read(circuit, inputs=[]), [], weights)
    wanted = circuit.assign_parameters(dict(zip(free, weights, strict=True)))
    np.testing.assert_allclose(Operator(found).data, Operator(wanted).data, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_whole_library_is_read_or_refused(name):
    for angle in (VALUES.get, Parameter):
        circuit = alone(built(name, angle))
        refused = dict(REFUSED)
        if circuit.parameters:
            refused |= REFUSED_WITH_PARAMETERS
        if name in refused:
            place = f"'{circuit.data[0].operation.name}' on qubits .*{refused[name]}"
            with pytest.raises(InputError, match=f"instruction 0, {place}") as caught:
                from_qiskit(circuit, inputs=[])
            assert "\n" not in str(caught.value)
        elif circuit.num_clbits:
            assert from_qiskit(circuit).ops == ()  # a final measurement
        else:
            check(circuit)


def test_other_qubits_and_angles_are_seen():
    def turned(circuit, inputs):
        read = from_qiskit(circuit, inputs=inputs)
        return read.on(range(read.num_qubits)[::-1])

    def shifted(circuit, inputs):
        read = from_qiskit(circuit, inputs=inputs)
        return Circuit(
            read.num_qubits,
            tuple(Op(op.gate, op.qubits, [a + 1e-6 for a in op.angles]) for op in read.ops),
        )

    for kind, broken in (("CXGate", turned), ("CRYGate", shifted)):
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            check(alone(built(kind, VALUES.get)), broken)


MODIFIERS = {
    "inverse": [InverseModifier()],
    "open control": [ControlModifier(1, 0)],
    "square": [PowerModifier(2)],
    # Of the eigenvalue -1 there are two such powers, of which Qiskit's matrix has the principal.
    "negative root": [PowerModifier(-1.5)],
    "root of the inverse": [InverseModifier(), PowerModifier(0.5)],
    "root of a control": [ControlModifier(1), PowerModifier(0.5)],
    "all": [PowerModifier(3), ControlModifier(2, 1), InverseModifier()],
}
SMALL = ["HGate", "SXGate", "RYGate", "CZGate", "iSwapGate", "QFTGate"]


@pytest.mark.parametrize("modifiers", MODIFIERS)
def test_modified_gates_are_read(modifiers):
    for name in SMALL:
        check(alone(AnnotatedOperation(built(name, VALUES.get), MODIFIERS[modifiers])))
    whole = all(not isinstance(m, PowerModifier) or m.power == int(m.power)
                for m in MODIFIERS[modifiers])  # fmt: skip
    rotation = alone(AnnotatedOperation(built("RYGate", Parameter), MODIFIERS[modifiers]))
    if whole:
        check(rotation)
    else:
        with pytest.raises(InputError, match=r"instruction 0, 'annotated' .* Qiskit cannot dec"):
            from_qiskit(rotation)


def test_boxes_are_what_is_in_them():
    circuit, plain = QuantumCircuit(2, 1), QuantumCircuit(2)
    for one in (circuit, plain):
        one.h(0)
        with one.box() if one is circuit else contextlib.nullcontext():
            one.cx(0, 1)
            one.ry(Parameter("theta"), 1)
    assert from_qiskit(circuit) == from_qiskit(plain)
    with circuit.box():
        circuit.measure(0, 0)
    with pytest.raises(InputError, match="instruction 2, 'box' on qubits"):
        from_qiskit(circuit)


def with_(call):
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    call(circuit)
    return circuit


BODY = QuantumCircuit(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.add_var("a", 0.5), r"'store' on qubits \(\): a circuit has no classical var"),
        (lambda c: c.if_else((c.clbits[0], 1), BODY, None, [0], []), "'if_else' on .* unroll it"),
        (lambda c: c.while_loop((c.clbits[0], 1), BODY, [0], []), "'while_loop' on .* unroll it"),
        (lambda c: c.switch(c.clbits[0], [(0, BODY)], [0], []), "'switch_case' on .* unroll it"),
        (lambda c: c.append(BreakLoopOp(2, 1), [0, 1], [0]), "'break_loop' on qubits"),
        (lambda c: c.delay(c.add_stretch("s"), 0), "'delay' on qubits .* has no clock"),
        (lambda c: c.append(Instruction("own", 1, 0, []), [0]), "'own' on .* has no definition"),
        (lambda c: c.append(depolarizing_error(0.1, 1), [0]), "'kraus' in instruction 1, 'quantum"),
        (lambda c: c.append(SaveState(2), [0, 1]), "'save_state' on .* has no definition"),
        (
            lambda c: c.append(Gate("own", 1, []).control(annotated=True), [0, 1]),
            "'annotated' on qubits .* which Qiskit cannot decompose",
        ),
    ],
)  # fmt: skip
def test_other_instructions_are_refused(call, message):
    with pytest.raises(InputError, match=f"^Argument `circuit` must .*{message}") as caught:
        from_qiskit(with_(call))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "operator",
    [
        random_clifford(2, seed=1), Operator(random_unitary(4, seed=1)), Pauli("-iXY"),
        CNOTDihedral(QuantumCircuit(2)),
    ],
    ids=lambda operator: type(operator).__name__,
)  # fmt: skip
def test_operators_are_read(operator):
    check(with_(lambda c: c.append(operator, [1, 0])).remove_final_measurements(inplace=False))
