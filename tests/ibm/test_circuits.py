"""The submitted circuits are equivalent to the trained one, and counts belong to the right rows."""

import types

import numpy as np
import pytest
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.transpiler import CouplingMap

import qnn_jax
from qnn_jax.bridge.certificate import CertificationError
from qnn_jax.circuits.observables import observables_on
from qnn_jax.errors import InputError
from qnn_jax.hardware import circuits
from qnn_jax.hardware.circuits import Exact, Question
from qnn_jax.hardware.jobs import Chunk, Pub
from qnn_jax.hardware.plan import Plan, Settings

LINE = GenericBackendV2(
    8, ["rz", "sx", "x", "cz"], coupling_map=CouplingMap.from_line(8), seed=4, noise_info=True
)
DEVICE = types.SimpleNamespace(name="line", backend=LINE)
CIRCUIT = qnn_jax.zz_feature_map(2, reps=1) + qnn_jax.real_amplitudes(2, reps=1)
RANDOM = np.random.default_rng(0)
ANGLES = RANDOM.uniform(1, 5, (7, 2))
QUESTION = Question(
    CIRCUIT, observables_on(2, ("IZ",)), RANDOM.normal(size=4), ANGLES[:5], ANGLES[5:]
)


def sent(copies: int, **flags: bool):
    """Chunks for all examples, and the expected results."""
    settings = Settings(**flags)
    isa = circuits.transpiled(CIRCUIT, DEVICE, settings)
    places = circuits.find_places(isa, LINE.target, copies)
    prepared = circuits.prepare(isa, places, LINE.target, calibrate=True)
    packed = -(-7 // copies)
    parts = ((0, packed // 2), (packed // 2, packed))
    plan = Plan(7, 100, 1e-4, copies, 2, packed + 16, parts, "", 100 * (packed + 16), 1.0)
    chunks = circuits.make_chunks(QUESTION, settings, prepared, plan, 100)
    details = {"plan": plan._asdict(), "test": [*range(5)], "anchors": [5, 6], "num_qubits": 2}
    return chunks, Exact(CIRCUIT, QUESTION.observables, QUESTION.weights).outcomes(ANGLES), details


@pytest.mark.parametrize("flags", [{}, {"recompile": True}], ids=["plain", "recompiled"])
@pytest.mark.parametrize("copies", [1, 2])
def test_what_is_sent_is_the_trained_circuit(copies: int, flags: dict) -> None:
    chunks, outcomes, _ = sent(copies, **flags)
    assert circuits.check_bound(chunks, outcomes, copies, LINE.target) < 1e-5
    # Broken subjects: parameters in another order, rows of other examples, jobs exchanged.
    pub = chunks[1].pubs[0]
    for values in (np.roll(pub.values, 1, axis=1), pub.values[::-1] + 0.1):
        broken = [chunks[0], Chunk((Pub(pub.circuit, values),), 100)]
        with pytest.raises(CertificationError, match="'bound'"):
            circuits.check_bound(broken, outcomes, copies, LINE.target)
    with pytest.raises(CertificationError, match="'bound'"):
        circuits.check_bound(chunks[::-1], outcomes, copies, LINE.target)


@pytest.mark.parametrize("copies", [1, 2])
def test_counts_come_back_in_the_order_of_the_examples(copies: int) -> None:
    chunks, _, details = sent(copies)
    assert [chunk.pubs[1].rows for chunk in chunks] == [8, 8]  # four states, twice

    def measured(pub: Pub) -> dict[str, np.ndarray]:
        """The example that a copy runs in a row, identified by its angles."""
        found = {name: np.zeros((pub.rows, 4), int) for name in pub.registers}
        every = chunks_values(chunks)
        for row, values in enumerate(pub.values):
            for copy, name in enumerate(sorted(found)):
                own = np.split(values, copies)[copy]
                example = np.flatnonzero((np.abs(every - own) < 1e-9).all(axis=1))[0]
                found[name][row, 0] = example
        return found

    def states(pub: Pub) -> dict[str, np.ndarray]:
        """Every state is read as itself."""
        flips = np.rint(pub.values / np.pi).astype(int)
        index = flips @ [1, 2]
        return {name: 100 * np.eye(4, dtype=int)[index] for name in pub.registers}

    counts = [[measured(chunk.pubs[0]), states(chunk.pubs[1])] for chunk in chunks]
    rows, calibration = circuits.counted(details, counts)
    np.testing.assert_array_equal(rows[:, 0], np.arange(7))
    assert len(calibration) == copies
    for found in calibration:  # 2 jobs × 2 repetitions × 100 shots
        np.testing.assert_array_equal(found, 400 * np.eye(4))


def chunks_values(chunks: list) -> np.ndarray:
    """The values of each example, in the order in which they were packed."""
    packed = np.concatenate([chunk.pubs[0].values for chunk in chunks])
    copies = len(chunks[0].pubs[0].registers)
    return packed.reshape(len(packed) * copies, -1)


def test_a_second_stage_keeps_each_example_at_its_place() -> None:
    chunks, _, _ = sent(2)
    rows = np.array([0, 3, 5, 6])
    (more,) = circuits.again(chunks, rows, 50)
    every = chunks_values(chunks)
    first, second = np.split(more.pubs[0].values, 2, axis=1)
    np.testing.assert_array_equal(first, every[[0, 6]])
    np.testing.assert_array_equal(second, every[[3, 5]])
    assert more.shots == 50


def test_what_the_device_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="`fractional_gates` must be False where"):
        circuits.transpiled(CIRCUIT, DEVICE, Settings(fractional_gates=True))
    isa = circuits.transpiled(CIRCUIT, DEVICE, Settings())
    with pytest.raises(InputError, match="`copies` must be at most"):
        circuits.find_places(isa, LINE.target, 7)
