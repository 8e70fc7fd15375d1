"""A fake backend with the interface of a quantum computer: a machine's snapshot, simulated here.

A circuit is split into parts that share no gate (packed copies, for instance), and each part runs
with the device's errors on the few qubits that it uses. The counts have the distribution of a joint
run, since Aer's noise has no crosstalk.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import rustworkx
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from qnn_jax.bridge.aer_executor import THREADS, run_rows
from qnn_jax.bridge.noise import (
    Sublattice,
    calibration_date,
    check_gates,
    cut,
    fake_backend,
    noise_model,
)
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.hardware.jobs import (
    Chunk,
    Device,
    Job,
    JobMissingError,
    Pub,
    RegisterCounts,
    check_rep_delay,
)


class FakeDevice(Device):
    """One of Qiskit's fake backends as a `Device`: chunks run when they are submitted.

    Jobs end with the process. The same `seed` gives the same counts for the same chunk, whatever
    ran before. The allowed pauses between shots, in seconds, are those of IBM's Heron machines; a
    simulator does not pause. Raises InputError if there is no fake backend of that name.
    """

    simulated = True
    lag = 0.0
    account = "local"
    calibration_date: str | None = None
    default_rep_delay = 250e-6
    rep_delay_range = (20e-6, 500e-6)

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.backend = name, fake_backend(name)
        self.calibration_date = calibration_date(self.backend)
        self._seed = checked_seed("seed", seed)
        self._jobs: dict[str, tuple[str, list[RegisterCounts]]] = {}

    def check(self, chunk: Chunk) -> None:
        """Raise InputError as the machine would: for unsupported gates and pauses out of range."""
        for pub in chunk.pubs:
            check_gates(pub.circuit, self.backend.target, self.name)
        check_rep_delay(chunk, self.rep_delay_range, self.name)

    def noise(self, sublattice: Sublattice) -> NoiseModel:
        """The errors with which the circuits of some of its qubits run."""
        return noise_model(sublattice.target)

    def submit(self, chunk: Chunk, tag: str, batch: str | None = None) -> str:
        """Run `chunk`; return the job's id."""
        digest = int(chunk.digest(self.name)[:8], 16)
        counts = []
        for number, pub in enumerate(chunk.pubs):
            seed = (self._seed * 1_000_003 + digest + number) % 2**31
            counts.append(self._measure(pub, chunk.shots, seed))
        job_id = f"simulated-{uuid.uuid4().hex[:12]}"
        self._jobs[job_id] = (tag, counts)
        return job_id

    def find(self, tag: str) -> list[Job]:
        """The jobs of this process with that tag."""
        return [Job(i, "completed") for i, (its_tag, _) in self._jobs.items() if its_tag == tag]

    def job(self, job_id: str) -> Job:
        """A job of this process; it is completed."""
        if job_id not in self._jobs:
            raise JobMissingError("simulated jobs end with their process")
        return Job(job_id, "completed")

    def counts(self, job_id: str, chunk: Chunk) -> list[RegisterCounts]:
        """The job's counts."""
        return self._jobs[job_id][1]

    def usage(self, job_id: str) -> float:
        """Nothing is charged."""
        return 0.0

    def calibrated(self, job_id: str) -> str | None:
        """The snapshot's date."""
        return self.calibration_date

    def _measure(self, pub: Pub, shots: int, seed: int) -> RegisterCounts:
        counts: RegisterCounts = {}
        columns = {parameter.name: k for k, parameter in enumerate(pub.circuit.parameters)}
        for number, part in enumerate(parts(pub.circuit)):
            sublattice = cut([part], self.backend.target)
            simulator = AerSimulator(noise_model=self.noise(sublattice), **THREADS)
            (circuit,), own = sublattice.circuits, (seed + number) % 2**31
            found = np.zeros((pub.rows, 1 << circuit.num_clbits), np.int64)
            runs = run_rows(simulator, circuit, columns, pub.values, shots, own)
            for row, outcomes in zip(found, runs, strict=True):
                row[list(outcomes)] = list(outcomes.values())
            low = 0
            for register in part.cregs:
                size = 1 << register.size
                values = np.arange(found.shape[1]) >> low & (size - 1)
                counts[register.name] = np.stack(
                    [found[:, values == value].sum(axis=1) for value in range(size)], axis=1
                )
                low += register.size
        return counts


def parts(circuit: QuantumCircuit) -> Iterator[QuantumCircuit]:
    """The parts of a circuit that share neither gate nor classical register, on the same qubits."""
    find = circuit.find_bit
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(circuit.num_qubits + len(circuit.cregs)))
    numbers = {register: circuit.num_qubits + k for k, register in enumerate(circuit.cregs)}
    steps = [item for item in circuit.data if item.operation.name != "barrier"]
    nodes = []
    for item in steps:
        registers = [numbers[register] for c in item.clbits for register, _ in find(c).registers]
        nodes.append([find(q).index for q in item.qubits] + registers)
        graph.add_edges_from([(nodes[-1][0], other, None) for other in nodes[-1][1:]])
    for component in rustworkx.connected_components(graph):
        if members := [r for r in circuit.cregs if numbers[r] in component]:
            part = QuantumCircuit(circuit.num_qubits)
            part.add_register(*members)
            for item, where in zip(steps, nodes, strict=True):
                if where[0] in component:
                    part.append(item.operation, where[: len(item.qubits)], item.clbits)
            yield part
