"""Chunks: their digest, their arrays, and the counts that belong to them."""

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from circuits_on_fez import circuit, make_chunk
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives import BitArray

from qnn_jax.errors import InputError
from qnn_jax.hardware.fake_device import FakeDevice
from qnn_jax.hardware.jobs import Chunk, DamagedResultError, Pub, count, join_counts
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.submission import run_chunks

ANGLES = np.linspace(0, 3, 4)


def test_the_digest_is_that_of_another_process():
    here = make_chunk(ANGLES).digest("ibm_fez")
    code = (
        "import numpy as np; from circuits_on_fez import make_chunk; "
        "print(make_chunk(np.linspace(0, 3, 4)).digest('ibm_fez'))"
    )
    folder = Path(__file__).parent
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert run.stdout.strip() == here


def test_the_digest_knows_no_names():
    renamed = circuit()
    renamed.name, renamed.global_phase, renamed.metadata = "other", 0.3, {"a": 1}
    chunk = make_chunk(ANGLES)
    other = dataclasses.replace(chunk, pubs=(Pub(renamed, chunk.pubs[0].values), chunk.pubs[1]))
    assert other.digest("ibm_fez") == chunk.digest("ibm_fez")


def _with_gate():
    made = circuit()
    made.x(2)
    return made


def _other_angle():
    return circuit().assign_parameters({circuit().parameters[0]: 0.0}, strict=False)


def _other_register():
    made = QuantumCircuit(QuantumRegister(5), ClassicalRegister(2, "d"))
    made.compose(circuit().remove_final_measurements(inplace=False), inplace=True)
    made.measure((2, 3), (0, 1))
    return made


VALUES = make_chunk(ANGLES).pubs[0].values
VARIANTS = {
    "shots": make_chunk(ANGLES, shots=65),
    "value": make_chunk(ANGLES + 1e-15),
    "rows": make_chunk(ANGLES[:3]),
    "repetition": make_chunk(ANGLES, repetition=1),
    "rep_delay": make_chunk(ANGLES, rep_delay=1e-5),
    "gate": Chunk((Pub(_with_gate(), VALUES), make_chunk(ANGLES).pubs[1]), 64),
    "register": Chunk((Pub(_other_register(), VALUES), make_chunk(ANGLES).pubs[1]), 64),
    "order": Chunk(make_chunk(ANGLES).pubs[::-1], 64),
    "fewer": Chunk(make_chunk(ANGLES).pubs[:1], 64),
}


def test_the_digest_tells_all_else_apart():
    chunks = [make_chunk(ANGLES), *VARIANTS.values()]
    digests = {chunk.digest("ibm_fez") for chunk in chunks} | {chunks[0].digest("ibm_kingston")}
    assert len(digests) == len(chunks) + 1


@pytest.mark.parametrize("name", VARIANTS)
def test_arrays_bring_a_chunk_back(name):
    chunk = VARIANTS[name]
    assert Chunk.from_arrays(chunk.to_arrays()).digest("d") == chunk.digest("d")


def test_numbers_in_gates_count():
    a, b = QuantumCircuit(1, 1), QuantumCircuit(1, 1)
    a.rz(0.1, 0)
    b.rz(np.nextafter(0.1, 1), 0)
    for made in (a, b):
        made.measure(0, 0)
    assert Chunk((Pub(a, [[]]),), 1).digest("d") != Chunk((Pub(b, [[]]),), 1).digest("d")


def _pub(shape):
    return Pub(circuit(), np.ones(shape))


def _conditional():
    made = QuantumCircuit(1, 1)
    with made.if_test((made.clbits[0], True)):
        made.x(0)
    made.measure(0, 0)
    return made


WIDE, BARE = QuantumCircuit(20, 20), QuantumCircuit(2)

# By message: how to cause it.
REFUSED = {
    r"at least one row of 2 columns.* but has shape \(2, 3\)": lambda: _pub((2, 3)),
    r"but has shape \(0, 2\)": lambda: _pub((0, 2)),
    r"must be finite, but holds nan or inf": lambda: Pub(circuit(), [[1, math.nan]]),
    r"registers of at most 16 bits, but has \['c'\]": lambda: Pub(WIDE, [[]]),
    r"registers of at most 16 bits, but has none": lambda: Pub(BARE, [[]]),
    r"no control flow, but has `if_else`": lambda: Pub(_conditional(), [[]]).content(),
    r"`shots` must be at least 1, but is 0": lambda: make_chunk(ANGLES, shots=0),
    r"at least one PUB, but is empty": lambda: Chunk((), 1),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message):
    with pytest.raises(InputError, match=message):
        REFUSED[message]()


@pytest.mark.parametrize("bits", [1, 2, 8, 9, 16])
def test_counts_are_those_of_qiskit(bits):
    made = QuantumCircuit(QuantumRegister(bits), ClassicalRegister(bits, "c"))
    made.rz(Parameter("a"), 0)
    rng = np.random.default_rng(bits)
    array = BitArray.from_bool_array(rng.random((3, 50, bits)) < 0.3)
    found = count({"c": array}, Pub(made, np.ones((3, 1))), 50)["c"]
    assert found.shape == (3, 2**bits)
    for row in range(3):
        wanted = array[row].get_int_counts()
        assert {k: n for k, n in enumerate(found[row]) if n} == wanted


def test_results_of_another_chunk_are_damaged():
    pub = make_chunk(ANGLES).pubs[0]
    for shape in ((4, 63, 2), (4, 64, 3), (3, 64, 2)):
        with pytest.raises(DamagedResultError, match="register c"):
            count({"c": BitArray.from_bool_array(np.zeros(shape, bool))}, pub, 64)
    with pytest.raises(DamagedResultError, match="register c"):
        count({}, pub, 64)


# The simulator in place of a device


def simulated(seed=1):
    return FakeDevice("FakeFez", seed)


def test_a_simulated_device_goes_the_same_way(tmp_path):
    chunks = [make_chunk(ANGLES, shots=4000), make_chunk(ANGLES + 0.1, shots=4000)]
    first = run_chunks(simulated(), chunks, Ledger(tmp_path, "a" * 64))
    again = run_chunks(simulated(seed=2), chunks, Ledger(tmp_path, "a" * 64))
    np.testing.assert_equal(first, again)  # from the ledger
    (tmp_path / "other").mkdir()
    alone = run_chunks(simulated(), chunks[1:], Ledger(tmp_path / "other", "a" * 64))
    np.testing.assert_equal(first[1:], alone)  # whatever ran before
    entry = Ledger.existing(tmp_path).entry(chunks[0].digest("FakeFez"))
    assert entry.done["simulated"]
    # sx rz(a) sx is a rotation: P(0) = sin(a/2)²; errors are a few percent.
    plain = first[0][0]["c"].reshape(4, 2, 2).sum(axis=1)[:, 0] / 4000
    np.testing.assert_allclose(plain, np.sin(ANGLES / 2) ** 2, atol=0.06)
    np.testing.assert_allclose(first[0][1]["c"] / 4000, np.eye(4), atol=0.06)
    joined = join_counts(first, 0)["c"]
    assert joined.shape == (8, 4)


def test_a_simulated_job_ends_with_its_process_and_runs_anew(tmp_path):
    chunk = make_chunk(ANGLES)
    wanted = run_chunks(simulated(), [chunk], Ledger(tmp_path, "a" * 64))
    lines = (tmp_path / "jobs.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "jobs.jsonl").write_text("".join(lines[:3]))  # as if killed after submission
    found = run_chunks(simulated(), [chunk], Ledger(tmp_path, "a" * 64))
    np.testing.assert_equal(found, wanted)
