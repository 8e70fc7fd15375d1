"""A device as an executor: one call is one job, which is found again after any failure."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qnn_jax
from qnn_jax.circuits import Circuit, Op
from qnn_jax.errors import InputError
from qnn_jax.executors import exact, mitigated
from qnn_jax.executors.readout import Readout
from qnn_jax.hardware import device
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.submission import Clock
from qnn_jax.linen import QuantumLayer

CIRCUIT = qnn_jax.zz_feature_map(2, reps=1) + qnn_jax.real_amplitudes(2, reps=1)
WEIGHTS = np.random.default_rng(1).normal(size=4)
INPUTS = np.random.default_rng(0).uniform(1, 5, (12, 2))
ANCHORS = np.random.default_rng(2).uniform(1, 5, (20, 2))
#: Intentionally asymmetric, to detect exchanged qubits.
OBSERVABLES = ("IZ", "ZZ")


def true_values():
    return np.asarray(exact(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS).values)


def rms(values):
    return float(np.sqrt(np.mean((np.asarray(values) - true_values()) ** 2)))


@pytest.mark.slow
def test_every_correction_comes_nearer_to_the_exact_values(tmp_path):
    told = []
    run = device(
        "FakeManilaV2", folder=tmp_path, shots=4096, anchors=ANCHORS, budget_seconds=1e4,
        tell=told.append,
    )  # fmt: skip
    found = run(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS)
    record = found.record
    assert told[0].startswith("SIMULATED: FakeManilaV2")
    assert rms(record.measured.plain.values) > rms(record.measured.mitigated.values)
    assert rms(found.values) < 0.03  # the shots' own: at most 0.016
    np.testing.assert_allclose(found.values, record.measured.recalibrated.values, rtol=1e-6)
    assert (np.abs(np.asarray(found.values) - true_values()) < 6 * found.stderr + 0.03).all()
    assert len(record.job_ids) == 1
    assert record.simulated
    assert record.shots == 4096
    assert len(record.layouts[0]) == 2
    np.testing.assert_array_equal(record.counts[0].shots, np.full(12, 4096))
    # The same measurement, also by another executor in the folder, is not repeated.
    again = device("FakeManilaV2", folder=tmp_path, shots=4096, anchors=ANCHORS, budget_seconds=1e4)
    same = again(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS)
    assert same.record.job_ids == record.job_ids
    np.testing.assert_array_equal(same.values, found.values)


@pytest.mark.slow
def test_other_measurements_are_other_jobs(tmp_path):
    run = device("FakeManilaV2", folder=tmp_path, shots=64, readout=False, budget_seconds=1e4)
    more = device(
        "FakeManilaV2", folder=tmp_path, shots=64, readout=False, budget_seconds=1e4, repetition=1
    )
    calls = [
        run(CIRCUIT, "ZZ", INPUTS, WEIGHTS),
        run(CIRCUIT, "ZZ", INPUTS[:3], WEIGHTS),
        run(CIRCUIT, "ZZ", INPUTS, WEIGHTS + 0.1),
        more(CIRCUIT, "ZZ", INPUTS, WEIGHTS),
    ]
    assert len({call.record.job_ids for call in calls}) == 4
    assert calls[0].record.measured.mitigated is None
    assert (np.asarray(calls[0].values) != np.asarray(calls[3].values)).any()


def test_another_budget_is_the_same_measurement(tmp_path):
    """What was planned is found again, although the other budget would not cover it."""
    first, later = (
        device("FakeManilaV2", folder=tmp_path, shots=64, readout=False, budget_seconds=budget)
        for budget in (1e4, 1e-3)
    )
    before = first(CIRCUIT, "ZZ", INPUTS[:3], WEIGHTS)
    assert later(CIRCUIT, "ZZ", INPUTS[:3], WEIGHTS).record.job_ids == before.record.job_ids


def test_a_circuit_without_inputs_and_weights_runs(tmp_path):
    flipped = Circuit(2, (Op("x", 0),))
    run = device("FakeManilaV2", folder=tmp_path, shots=512, budget_seconds=1e4)
    found = run(flipped, ("IZ", "ZI"), np.zeros((2, 0)), [])
    assert np.abs(np.asarray(found.values) - [[-1, 1], [-1, 1]]).max() < 0.15


def test_its_counts_can_be_mitigated_by_others(tmp_path):
    run = device("FakeManilaV2", folder=tmp_path, shots=256, readout=False, budget_seconds=1e4)
    perfect = Readout((np.eye(4),))
    plain = run(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS)
    found = mitigated(run, perfect)(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS)
    np.testing.assert_allclose(found.values, plain.values, atol=1e-6)


def test_a_trained_model_and_a_layer_run_on_it(tmp_path, trained):
    run = device("FakeManilaV2", folder=tmp_path, shots=4096, budget_seconds=1e4)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    found = trained.expectations(images, run)
    assert np.abs(np.asarray(found.values - trained.expectations(images).values)).max() < 0.15
    layer = QuantumLayer(trained.circuit, trained.observables, run)
    weights = {"params": {"weights": jnp.asarray(trained.weights)}}
    # The very same measurement, so the very same counts.
    np.testing.assert_array_equal(layer.apply(weights, trained.encode(images)), found.values)


@pytest.mark.slow
def test_one_job_is_sent_to_ibm(server, tmp_path, fast_clock):
    clock = Clock(fast_clock.now, fast_clock.sleep)
    asked = {"shots": 256, "anchors": ANCHORS, "budget_seconds": 100, "clock": clock}
    # The answer to the submission is lost: the job is found by its tag, not sent again.
    server.spoil("POST /jobs", "drop", after=True)
    found = device("least-busy", folder=tmp_path, **asked)(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS)
    assert found.record.job_ids == tuple(server.jobs)
    assert not found.record.simulated
    assert rms(found.record.measured.plain.values) < 0.1
    # Another machine is less busy by now: the job that was paid for is still used.
    server.backends = {"ibm_marrakesh": "active", "ibm_fez": "active"}
    again = device("least-busy", folder=tmp_path, **asked)(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS)
    assert again.record.device == found.record.device
    np.testing.assert_array_equal(again.values, found.values)
    assert len(server.completed()) == len(server.jobs) == 1


WRONG_ARGUMENTS = {
    "`shots` must be an integer of at least 1, but is 0": {"shots": 0},
    "`backend` must name one of Qiskit's fake backends, but is 'FakeFezz'": {"backend": "FakeFezz"},
    "`anchors` must have shape \\(anchors, num_inputs\\), but has shape \\(2,\\)": {
        "anchors": np.zeros(2)
    },
    "`anchors` must be 0 or at least 3, to fit a line, but is 2": {"anchors": np.zeros((2, 2))},
    "`recompile` must be False with `fractional_gates`": {
        "recompile": True,
        "fractional_gates": True,
    },
    "`budget_seconds` must be above 0, but is -1": {"budget_seconds": -1},
}


@pytest.mark.parametrize("said", WRONG_ARGUMENTS)
def test_bad_arguments_are_refused_at_once(said, tmp_path):
    with pytest.raises(InputError, match=said):
        device(**{"backend": "FakeManilaV2", "folder": tmp_path, **WRONG_ARGUMENTS[said]})
    assert not list(tmp_path.iterdir())


def test_a_machine_without_an_account_is_refused_at_once(no_account, tmp_path):
    with pytest.raises(InputError, match="`backend` must come with an IBM Quantum account"):
        device("ibm_fez", folder=tmp_path)


# A device that raises an error on any request: arguments are checked before.
UNTOUCHED = types.SimpleNamespace(name="untouched", simulated=True)


@pytest.mark.parametrize(
    ("said", "call"),
    [
        (
            "`observables` must be of letters I and Z .* term 'XI'",
            (CIRCUIT, "XI", INPUTS, WEIGHTS),
        ),
        (r"`inputs` of an executor must have shape \(batch, 2\)", (CIRCUIT, "ZZ", [1.0], WEIGHTS)),
        ("`inputs` must have at least one row", (CIRCUIT, "ZZ", np.zeros((0, 2)), WEIGHTS)),
        (
            r"`anchors` must have shape \(anchors, 3\), but has shape \(20, 2\)",
            (qnn_jax.zz_feature_map(3), "ZZZ", np.zeros((1, 3)), []),
        ),
    ],
)
def test_invalid_circuits_are_refused_before_any_request(said, call, tmp_path):
    with pytest.raises(InputError, match=said):
        device(UNTOUCHED, folder=tmp_path / "new", anchors=ANCHORS)(*call)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("transform", [jax.jit, jax.grad])
def test_it_needs_arrays_with_values(transform, tmp_path):
    def loss(weights):
        return device(UNTOUCHED, folder=tmp_path)(CIRCUIT, "ZZ", INPUTS, weights).values.sum()

    with pytest.raises(InputError, match=r"`hardware\.device` must be given arrays with values"):
        transform(loss)(jnp.asarray(WEIGHTS))


def test_what_the_budget_does_not_cover_is_not_sent(tmp_path):
    run = device("FakeManilaV2", folder=tmp_path, shots=4096, budget_seconds=2.5)
    with pytest.raises(InputError, match=r"`budget_seconds` must cover the .* but is 2"):
        run(CIRCUIT, "ZZ", np.tile(INPUTS, (20, 1)), WEIGHTS)
    assert not Ledger(tmp_path).entries


def test_a_models_ledger_is_not_mixed_with_an_executors(tmp_path):
    Ledger(tmp_path, "a" * 64).append("plan", key="k", chunks=[], details={})
    run = device("FakeManilaV2", folder=tmp_path, shots=64)
    with pytest.raises(InputError, match="belongs to another model"):
        run(CIRCUIT, "ZZ", INPUTS, WEIGHTS)
