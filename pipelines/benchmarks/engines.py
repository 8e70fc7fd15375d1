"""The engines: each converts a problem into a program.

A problem is made by `cases.problem`: a circuit in neutral form, inputs, weights, and which of
them is a batch. All compute in single precision, ⟨Z…Z⟩, value and gradient, as their authors
recommend for speed:

- qnn_jax: `expectations`, gradient "auto".
- tensorcircuit: backend "jax", `expectation_ps`, jit, vmap.
- pennylane: `default.qubit`, interface "jax", backprop, jit, vmap.
- lightning: `lightning.qubit` (C++), adjoint. Called at the device, below the QNode, which is
  fastest; JAX's chain rule through the table of angles gives gradients by inputs and weights.
- qujax: jit, vmap. Its own ⟨Z…Z⟩ builds a matrix of 4**n entries, so probabilities are summed
  with their signs instead.

Engines with errors ("… noisy") have a depolarising channel on each qubit of a gate, after it: one
of X, Y and Z with `ERROR` / 3 each. qnn_jax is `executors.noisy`, TensorCircuit its `DMCircuit`,
PennyLane its `default.mixed`. Engines for values alone ("… forward") are in `forward_engines`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pipelines.benchmarks import forward_engines
from pipelines.benchmarks.neutral import angle_table, angles_of, depends
from pipelines.benchmarks.programs import (
    LOOP_UP_TO_QUBITS,
    JaxProgram,
    Program,
    named,
    over_batch,
    value_and_gradient,
)

#: The probability of an error after a gate, for each of its qubits.
ERROR = 0.01
Problem = Mapping[str, Any]
Ops = list[tuple[str, tuple[int, ...], Any]]  # gate, qubits, its angle or None


def _program(problem: Problem, step: Callable[..., Any], loop: bool = True) -> Program:
    """A step with a problem's inputs and weights."""
    import jax.numpy as jnp

    inputs, weights = (jnp.asarray(problem[name], jnp.float32) for name in ("inputs", "weights"))
    return JaxProgram(step, inputs, weights, loop)


def jax_engine(value_of: Callable[[str], Callable[..., Any]]) -> Callable[[Problem], Program]:
    """An engine from `value_of(circuit's text)(inputs, weights)`, the value of one sample."""

    def make(problem: Problem) -> Program:
        text = problem["circuit"]
        step = value_and_gradient(over_batch(value_of(text), problem["batched"]))
        return _program(problem, step, json.loads(text)["num_qubits"] <= LOOP_UP_TO_QUBITS)

    return make


def ours(text: str) -> Callable[..., Any]:
    """This library."""
    from qnn_jax import Circuit, expectations

    circuit = Circuit.from_json(text)
    label = "Z" * circuit.num_qubits
    return lambda x, w: expectations(circuit, [label], x, w)[0]


def ours_noisy(problem: Problem) -> Program:
    """This library's exact simulation of errors; it takes the batch as a whole."""
    from qnn_jax import Circuit
    from qnn_jax.executors import noisy
    from qnn_jax.noise import NoiseModel, pauli

    circuit = Circuit.from_json(problem["circuit"])
    error = pauli(dict.fromkeys("XYZ", ERROR / 3))
    executor = noisy(NoiseModel({op.gate: error for op in circuit.ops}))
    label = "Z" * circuit.num_qubits
    if problem["batched"] != "inputs":

        def one(x: Any, w: Any) -> Any:
            return executor(circuit, [label], x[None], w).values[0, 0]

        values = over_batch(one, problem["batched"])
    else:

        def values(x: Any, w: Any) -> Any:
            return executor(circuit, [label], x, w).values[:, 0]

    return _program(problem, value_and_gradient(values))


def closed_form(problem: Problem) -> Program:
    """The 2022 circuit alone, in closed form."""
    from pipelines.benchmarks.closed_form import value_and_gradient as step

    return _program(problem, step)


def from_angles(run: Callable[[int, Ops], Any]) -> Callable[[str], Callable[..., Any]]:
    """A value from `run(num_qubits, ops)`, where each op has its angle as a traced number."""

    def value_of(text: str) -> Callable[..., Any]:
        import jax.numpy as jnp

        circuit = json.loads(text)

        def value(x: Any, w: Any) -> Any:
            table = iter(angle_table(jnp, circuit, x, w)) if angles_of(circuit) else iter(())
            ops = [
                (op["gate"], tuple(op["qubits"]), next(table) if "angles" in op else None)
                for op in circuit["ops"]
            ]
            return run(circuit["num_qubits"], ops)

        return value

    return value_of


TENSORCIRCUIT_NAMES = {
    "sdg": "sd",
    "tdg": "td",
    "p": "phase",
    "cp": "cphase",
    "cx": "cnot",
    "ccx": "toffoli",
    "cswap": "fredkin",
}


def tensorcircuit(num_qubits: int, ops: Ops, error: float = 0.0) -> Any:
    """TensorCircuit-NG; with errors its density matrix."""
    tc = importlib.import_module("tensorcircuit")
    tc.set_backend("jax")
    circuit = (tc.DMCircuit if error else tc.Circuit)(num_qubits)
    for gate, qubits, angle in ops:
        method = getattr(circuit, TENSORCIRCUIT_NAMES.get(gate, gate))
        method(*qubits) if angle is None else method(*qubits, theta=angle)
        for qubit in qubits if error else ():
            circuit.depolarizing(qubit, px=error / 3, py=error / 3, pz=error / 3)
    return circuit.expectation_ps(z=list(range(num_qubits))).real


#: Those that are not the gate's own in capitals.
PENNYLANE_NAMES = {
    **{"h": "Hadamard", "x": "PauliX", "y": "PauliY", "z": "PauliZ", "p": "PhaseShift"},
    **{"cx": "CNOT", "cp": "ControlledPhaseShift", "ccx": "Toffoli"},
    **{"rxx": "IsingXX", "ryy": "IsingYY", "rzz": "IsingZZ"},
}


def pennylane_ops(qml: Any, ops: Ops) -> list[Any]:
    """PennyLane's operators."""
    return [
        getattr(qml, PENNYLANE_NAMES.get(gate, gate.upper()))(
            *(() if angle is None else (angle,)), wires=qubits
        )
        for gate, qubits, angle in ops
    ]


def pennylane(num_qubits: int, ops: Ops, error: float = 0.0) -> Any:
    """PennyLane's default.qubit; with errors its default.mixed."""
    qml = importlib.import_module("pennylane")

    def circuit() -> Any:
        for op in ops:
            pennylane_ops(qml, [op])  # constructing it adds it to the circuit
            for qubit in op[1] if error else ():
                qml.DepolarizingChannel(error, wires=qubit)
        return qml.expval(qml.prod(*map(qml.Z, range(num_qubits))))

    device = qml.device("default.mixed" if error else "default.qubit", wires=num_qubits)
    return qml.QNode(circuit, device, interface="jax", diff_method="backprop")()


class LightningProgram:
    """PennyLane's lightning.qubit: one call of the device for the whole batch."""

    temp_bytes: int | None = None

    def __init__(self, problem: Problem) -> None:
        import jax
        import jax.numpy as jnp
        import numpy as np

        self.qml = importlib.import_module("pennylane")
        self.circuit = json.loads(problem["circuit"])
        angles = angles_of(self.circuit)
        self.trainable = [k for k, angle in enumerate(angles) if depends(angle)]
        self.num_angles = len(angles)
        self.inputs = jnp.asarray(problem["inputs"], jnp.float32)
        self.weights = jnp.asarray(problem["weights"], jnp.float32)
        num_qubits = self.circuit["num_qubits"]
        self.device = self.qml.device("lightning.qubit", wires=num_qubits, c_dtype=np.complex64)
        config = importlib.import_module("pennylane.devices").ExecutionConfig
        self.config = self.device.setup_execution_config(
            config(gradient_method="adjoint", use_device_gradient=True)
        )
        self.observable = self.qml.prod(*map(self.qml.Z, range(num_qubits)))
        tables = over_batch(lambda x, w: angle_table(jnp, self.circuit, x, w), problem["batched"])
        self.tables = jax.jit(tables)
        self.pull_back = jax.jit(lambda x, w, rows: jax.vjp(tables, x, w)[1](rows))

    def run(self, steps: int) -> None:
        """Evaluate that many times."""
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        import numpy as np

        tables = np.asarray(self.tables(self.inputs, self.weights))
        tapes = tuple(map(self._tape, tables.tolist()))
        values, slopes = self.device.execute_and_compute_derivatives(tapes, self.config)
        rows = np.zeros((len(tapes), self.num_angles), np.float32)
        rows[:, self.trainable] = np.asarray(slopes).reshape(len(tapes), len(self.trainable))
        gradients = map(np.asarray, self.pull_back(self.inputs, self.weights, rows))
        self.found = (np.asarray(values), *gradients)

    def _tape(self, angles: list[float]) -> Any:
        each = iter(angles)
        ops: Ops = [
            (op["gate"], tuple(op["qubits"]), next(each) if "angles" in op else None)
            for op in self.circuit["ops"]
        ]
        return self.qml.tape.QuantumScript(
            pennylane_ops(self.qml, ops),
            [self.qml.expval(self.observable)],
            trainable_params=self.trainable,
        )

    def results(self) -> Mapping[str, Any]:
        """The results of the last run."""
        return named(*self.found)


QUJAX_NAMES = {
    **{"h": "H", "x": "X", "y": "Y", "z": "Z", "s": "S", "sdg": "Sdg", "t": "T", "tdg": "Tdg"},
    **{"rx": "Rx", "ry": "Ry", "rz": "Rz", "p": "U1", "cx": "CX", "cy": "CY", "cz": "CZ"},
    **{"swap": "SWAP", "crx": "CRx", "cry": "CRy", "crz": "CRz", "cp": "CU1"},
    **{"rxx": "XXPhase", "ryy": "YYPhase", "rzz": "ZZPhase", "ccx": "CCX", "cswap": "CSWAP"},
}


def qujax(text: str) -> Callable[..., Any]:
    """Quantinuum's qujax; its angles are in units of π and are passed by index."""
    import jax.numpy as jnp
    import numpy as np

    library = importlib.import_module("qujax")
    circuit = json.loads(text)
    num_qubits, count = circuit["num_qubits"], 0
    numbers: list[list[int]] = []
    for op in circuit["ops"]:
        own = len(op.get("angles", ()))
        numbers.append(list(range(count, count + own)))
        count += own
    state_of = library.get_params_to_statetensor_func(
        [QUJAX_NAMES[op["gate"]] for op in circuit["ops"]],
        [op["qubits"] for op in circuit["ops"]],
        numbers,
        num_qubits,
    )
    parity = np.array([(-1.0) ** index.bit_count() for index in range(2**num_qubits)], np.float32)

    def value(x: Any, w: Any) -> Any:
        state = state_of(angle_table(jnp, circuit, x, w) / math.pi).reshape(-1)
        return jnp.sum((state.real**2 + state.imag**2) * parity)

    return value


def lightning(problem: Problem) -> Program:
    """PennyLane's lightning.qubit."""
    return LightningProgram(problem)


#: Each engine, and the packages whose versions are printed.
ENGINES: Mapping[str, tuple[Callable[[Problem], Program], tuple[str, ...]]] = {
    "qnn_jax": (jax_engine(ours), ("qnn-jax", "jax")),
    "closed form": (closed_form, ("jax",)),
    "tensorcircuit": (jax_engine(from_angles(tensorcircuit)), ("tensorcircuit-ng", "jax")),
    "pennylane": (jax_engine(from_angles(pennylane)), ("pennylane", "jax")),
    "lightning": (lightning, ("pennylane-lightning", "pennylane")),
    "qujax": (jax_engine(qujax), ("qujax", "jax")),
    "qnn_jax noisy": (ours_noisy, ("qnn-jax", "jax")),
    "tensorcircuit noisy": (
        jax_engine(from_angles(partial(tensorcircuit, error=ERROR))),
        ("tensorcircuit-ng", "jax"),
    ),
    "pennylane noisy": (
        jax_engine(from_angles(partial(pennylane, error=ERROR))),
        ("pennylane", "jax"),
    ),
    "qnn_jax forward": (forward_engines.ours, ("qnn-jax", "jax")),
    "qsim forward": (forward_engines.qsim, ("qsimcirq",)),
    "aer forward": (forward_engines.aer, ("qiskit-aer",)),
    "qulacs forward": (forward_engines.qulacs, ("qulacs",)),
}


def versions(engine: str) -> dict[str, str]:
    """The versions of an engine's packages in this environment."""
    found = {}
    for name in ENGINES[engine][1]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
