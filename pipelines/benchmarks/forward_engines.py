"""Engines for values alone: ⟨Z…Z⟩ of circuits of U and CX, in the peers' environment too.

A circuit is made once; what is timed is a call as the simulator's users make it, on all cores:

- qnn_jax: `expectations`, jit, with the weights as an argument.
- qsim: `simulate_expectation_values` of qsimcirq, fused up to 4 qubits.
- aer: `save_expectation_value`, method "statevector".
- qulacs: `update_quantum_state` and `get_expectation_value`, after `optimize_light`; it has double
  precision only, the others compute in single precision.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.benchmarks.neutral import angle_table
from pipelines.benchmarks.programs import named

Problem = Mapping[str, Any]
#: Qubits of qsim's fused gates: 2, its default, takes longer for large circuits.
FUSED = 4


class Call:
    """A value that is computed anew by every step."""

    temp_bytes: int | None = None

    def __init__(self, value: Callable[[], float]) -> None:
        self.value = value

    def run(self, steps: int) -> None:
        """Evaluate that many times."""
        for _ in range(steps):
            self.found = self.value()

    def results(self) -> Mapping[str, Any]:
        """The value; gradients are empty."""
        import numpy as np

        return named(np.array([self.found]), np.zeros(0), np.zeros(0))


def ours(problem: Problem) -> Call:
    """This library."""
    import jax
    import jax.numpy as jnp

    from qnn_jax import Circuit, expectations

    circuit = Circuit.from_json(problem["circuit"])
    label, weights = "Z" * circuit.num_qubits, jnp.asarray(problem["weights"], jnp.float32)
    compiled = jax.jit(lambda w: expectations(circuit, label, [], w)[0]).lower(weights).compile()
    call = Call(lambda: float(compiled(weights)))
    analysis = compiled.memory_analysis()
    call.temp_bytes = analysis.temp_size_in_bytes if analysis else None
    return call


def gates_of(problem: Problem) -> tuple[int, list[tuple[tuple[int, ...], list[float]]]]:
    """The number of qubits, and of each gate its qubits and angles: three of U, none of CX."""
    import numpy as np

    circuit = json.loads(problem["circuit"])
    inputs, weights = (np.array(problem[name], np.float64) for name in ("inputs", "weights"))
    table = iter(angle_table(np, circuit, inputs, weights).tolist())
    gates = []
    for op in circuit["ops"]:
        if op["gate"] not in ("u", "cx"):
            raise ValueError(f"the gate {op['gate']!r} is neither U nor CX")
        gates.append((tuple(op["qubits"]), [next(table) for _ in op.get("angles", ())]))
    return circuit["num_qubits"], gates


def matrix_of_u(angles: list[float]) -> Any:
    """Qiskit's U(θ, φ, λ)."""
    import numpy as np

    half, phi, lam = angles[0] / 2, angles[1], angles[2]
    cos, sin = math.cos(half), math.sin(half)
    entries = [[cos, -np.exp(1j * lam) * sin], [np.exp(1j * phi) * sin, 0]]
    entries[1][1] = np.exp(1j * (phi + lam)) * cos
    return np.array(entries)


def qsim(problem: Problem) -> Call:
    """Google's qsim."""
    cirq, qsimcirq = (importlib.import_module(name) for name in ("cirq", "qsimcirq"))
    num_qubits, gates = gates_of(problem)
    line = cirq.LineQubit.range(num_qubits)
    circuit = cirq.Circuit(
        cirq.MatrixGate(matrix_of_u(angles)).on(line[qubits[0]])
        if angles
        else cirq.CNOT(*(line[q] for q in qubits))
        for qubits, angles in gates
    )
    simulator = qsimcirq.QSimSimulator(
        qsimcirq.QSimOptions(max_fused_gate_size=FUSED, cpu_threads=os.cpu_count() or 1)
    )
    string = cirq.DensePauliString("Z" * num_qubits).on(*line)
    # Without an order qsim keeps those qubits only that the circuit has gates on.
    return Call(
        lambda: simulator.simulate_expectation_values(circuit, [string], qubit_order=line)[0].real
    )


def aer(problem: Problem) -> Call:
    """Qiskit's Aer."""
    qiskit, qiskit_aer = (importlib.import_module(name) for name in ("qiskit", "qiskit_aer"))
    importlib.import_module("qiskit_aer.library")
    pauli = importlib.import_module("qiskit.quantum_info").Pauli
    num_qubits, gates = gates_of(problem)
    circuit = qiskit.QuantumCircuit(num_qubits)
    for qubits, angles in gates:
        circuit.u(*angles, qubits[0]) if angles else circuit.cx(*qubits)
    circuit.save_expectation_value(pauli("Z" * num_qubits), list(range(num_qubits)))
    simulator = qiskit_aer.AerSimulator(
        method="statevector", precision="single", max_parallel_threads=os.cpu_count()
    )
    return Call(lambda: simulator.run(circuit).result().data()["expectation_value"])


def qulacs(problem: Problem) -> Call:
    """QunaSys's qulacs."""
    library = importlib.import_module("qulacs")
    gate = importlib.import_module("qulacs.gate")
    optimizer = importlib.import_module("qulacs.circuit").QuantumCircuitOptimizer
    num_qubits, gates = gates_of(problem)
    circuit = library.QuantumCircuit(num_qubits)
    for qubits, angles in gates:
        if angles:
            circuit.add_gate(gate.DenseMatrix(qubits[0], matrix_of_u(angles)))
        else:
            circuit.add_gate(gate.CNOT(*qubits))
    optimizer().optimize_light(circuit)
    string = library.PauliOperator(" ".join(f"Z {q}" for q in range(num_qubits)), 1.0)
    state = library.QuantumState(num_qubits)

    def value() -> float:
        state.set_zero_state()
        circuit.update_quantum_state(state)
        return float(string.get_expectation_value(state).real)

    return Call(value)
