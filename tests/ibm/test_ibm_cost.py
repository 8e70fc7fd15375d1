"""The documented formula and limits, against Qiskit's own durations and manual calculations."""

import pytest
from circuits_on_fez import circuit
from qiskit import QuantumCircuit, transpile
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from qnn_jax.errors import InputError
from qnn_jax.hardware.cost import (
    MAX_EXECUTIONS,
    MAX_INSTRUCTIONS,
    instructions,
    qpu_seconds,
    shot_seconds,
    split_rows,
)


def test_the_formula():
    # 2 s + 2,048,000 × (250 + 4) µs
    assert qpu_seconds(2000 * 1024, 250e-6, 4e-6) == pytest.approx(2 + 520.192)
    assert qpu_seconds(1000, 0.0, 1e-3, jobs=3) == pytest.approx(7)


def test_durations_are_those_of_qiskit():
    target = FakeManilaV2().target
    made = QuantumCircuit(3)
    made.h(0)
    made.cx(0, 1)
    made.cx(1, 2)
    made.measure_all()
    isa = transpile(made, target=target, optimization_level=1, seed_transpiler=1)
    isa.delay(9e-7, 1, "s")
    isa.x(1)
    reset = target["reset"][(0,)].duration  # the same on all qubits here
    assert reset > 1e-6
    wanted = isa.estimate_duration(target)
    assert shot_seconds(isa, target) - reset == pytest.approx(wanted, rel=0.02)


def test_instructions_by_hand():
    # Busiest qubit: sx rz sx, cz, measure, initialisation.
    assert instructions(circuit()) == 2 + 1 + 2 + 5 + 10 + 50


@pytest.mark.parametrize(
    ("rows", "shots", "extra", "jobs"),
    [(2000, 1024, 4, 1), (10_000, 1000, 0, 1), (10_000, 1000, 1, 2), (10_000, 1024, 0, 2)],
)
def test_as_few_jobs_as_the_limit_allows(rows, shots, extra, jobs):
    split = split_rows(rows, shots, extra)
    covered = [row for part in split.slices for row in range(rows)[part]]
    sizes = [len(range(rows)[part]) for part in split.slices]
    assert covered == list(range(rows))
    assert len(sizes) == jobs
    assert max(sizes) - min(sizes) <= 1
    assert all((size + extra) * shots <= MAX_EXECUTIONS for size in sizes)
    assert ("IBM allows 10,000,000 executions a job" in split.reason) == (jobs > 1)


def test_the_limit_that_binds_is_the_one_that_is_named():
    split = split_rows(1000, 10, instructions_per_row=MAX_INSTRUCTIONS // 300)
    assert len(split.slices) == 4
    assert "26,800,000 instructions on a qubit" in split.reason


def test_too_many_shots_are_refused():
    with pytest.raises(InputError, match=r"`shots` must leave room for 5 rows .* but is 3000000"):
        split_rows(10, 3_000_000, 4)
