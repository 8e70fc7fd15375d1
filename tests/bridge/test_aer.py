"""Aer as an executor: the contract of tests/shots.py, noise against Aer's whole device."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    depolarizing_error,
    pauli_error,
)
from reference import in_qiskit
from shots import CIRCUIT, OBSERVABLES, WEIGHTS, check_one_shot, check_order, check_shots, rows
from test_noise import probabilities

import qnn_jax.linen
from qnn_jax import Circuit, InputError, Op, angles, real_amplitudes, w, x
from qnn_jax.bridge import aer_executor, noise
from qnn_jax.bridge.aer_executor import aer
from qnn_jax.circuits.bases import bases_of
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import Counts, estimate, sampled
from qnn_jax.models import HybridClassifier, ModelConfig


def seeded(shots):
    return aer(shots, seed=1)


def test_counts_keep_the_contract() -> None:
    check_shots(seeded)
    check_one_shot(seeded)
    check_order(seeded)


def with_bits_reversed(shots):
    def executor(circuit, observables, inputs, weights, key=None):
        run = seeded(shots)(circuit, observables, inputs, weights, key)
        n = circuit.num_qubits
        turned = [
            dataclasses.replace(
                seen, outcome=np.array([int(f"{o:0{n}b}"[::-1], 2) for o in seen.outcome])
            )
            for seen in run.record.counts
        ]
        values, stderr = estimate(turned, observables)
        return run._replace(values=values, stderr=stderr)

    return executor


def with_one_seed_for_all_rows(shots):
    def executor(circuit, observables, inputs, weights, key=None):
        each = [
            seeded(shots)(circuit, observables, inputs[k : k + 1], weights)
            for k in range(len(inputs))
        ]
        values, stderr = (np.concatenate([run[k] for run in each]) for k in (0, 1))
        return each[0]._replace(values=values, stderr=stderr)

    return executor


@pytest.mark.slow_but_one
@pytest.mark.parametrize("broken", [with_bits_reversed, with_one_seed_for_all_rows])
def test_broken_counts_are_rejected(broken) -> None:
    with pytest.raises(AssertionError, match=r"values|fresh"):
        check_shots(broken)


NOISE = "FakeManilaV2"


def noisy_values(observables) -> np.ndarray:
    """<O> for three rows from the whole device's noise model; nothing of it is cut."""
    backend = noise.fake_backend(NOISE)
    model = NoiseModel.from_backend(backend)
    bases = bases_of(observables)
    job = aer_executor.prepared(CIRCUIT, bases, None)
    wanted = np.zeros((3, len(observables)))
    for basis, isa in zip(bases, noise.transpiled(job.circuits, backend), strict=True):
        odd = np.bitwise_count(np.arange(4)[:, None] & np.array(basis.parities)) % 2
        signs = np.where(odd, -1.0, 1.0)
        for k, row in enumerate(rows(3)):
            table = [float(angle) for angle in angles(CIRCUIT, row, WEIGHTS)]
            bound = isa.assign_parameters({p: table[job.columns[p.name]] for p in isa.parameters})
            wanted[k] += probabilities(bound, model) @ signs @ np.array(basis.coefficients)
    return wanted


@pytest.mark.slow
def test_noise_is_that_of_the_whole_device() -> None:
    run = aer(40_000, noise=NOISE, seed=2)(CIRCUIT, OBSERVABLES, rows(3), WEIGHTS)
    assert np.abs((run.values - noisy_values(OBSERVABLES)) / run.stderr).max() < 4
    # The broken twin: no noise at all.
    clean = aer(40_000, seed=2)(CIRCUIT, OBSERVABLES, rows(3), WEIGHTS)
    assert np.abs((clean.values - noisy_values(OBSERVABLES)) / clean.stderr).max() > 6
    assert run.record.backend == NOISE
    assert run.record.calibration == "2024-05-27"
    assert len(set(run.record.layout)) == 2


def test_every_row_has_all_its_shots() -> None:
    run = aer(333, seed=0)(CIRCUIT, OBSERVABLES, rows(7), WEIGHTS)
    assert run.record.bases == ("ZZ", "XI", "YX")
    for counts in run.record.counts:
        assert counts.shots.tolist() == [333] * 7


def test_fewer_shots_than_asked_are_an_error() -> None:
    wide = Circuit(18, tuple(Op("rx", qubit, w[0]) for qubit in range(18)))
    observables = observables_on(18, "Z" * 18)
    simulator = aer_executor.prepared(wide, bases_of(observables), None).simulator
    # Aer gives empty results here, and only logs that it has failed.
    simulator.set_options(method="statevector", max_memory_mb=1)
    with pytest.raises(RuntimeError, match="Aer did not do all shots of all rows"):
        aer(64, seed=0)(wide, observables, np.zeros((2, 0)), np.ones(1))
    aer_executor.prepared.cache_clear()


def test_a_circuit_is_transpiled_once() -> None:
    aer_executor.prepared.cache_clear()
    for shots in (10, 20):
        aer(shots, noise=NOISE)(CIRCUIT, OBSERVABLES, rows(2), WEIGHTS)
    assert aer_executor.prepared.cache_info()[:2] == (1, 1)


def test_the_seed_decides_the_counts() -> None:
    def values(seed, key=None):
        return aer(100, seed=seed)(CIRCUIT, OBSERVABLES, rows(20), WEIGHTS, key).values

    assert np.array_equal(values(5), values(5))
    assert not np.array_equal(values(5), values(6))
    assert not np.array_equal(values(None), values(None))
    key = jax.random.key(3)
    assert np.array_equal(values(None, key), values(None, key))
    assert np.array_equal(values(None, jax.random.key_data(key)), values(None, key))
    assert not np.array_equal(values(None, key), values(None, jax.random.key(4)))


@pytest.mark.parametrize("device", [None, NOISE])
def test_rows_in_parts_have_the_counts_of_one_run_of_aers(device, monkeypatch) -> None:
    told = []
    features = rows(40)
    run = aer(50, device, 5, lambda *at: told.append(at))
    ours = run(CIRCUIT, OBSERVABLES, features, WEIGHTS).record.counts
    job = aer_executor.prepared(CIRCUIT, bases_of(OBSERVABLES), device)
    table = aer_executor.table_of(CIRCUIT, features, WEIGHTS)
    binds = [
        {one: table[:, job.columns[one.name]] for one in circuit.parameters}
        for circuit in job.circuits
    ]
    whole = job.simulator.run(
        list(job.circuits), parameter_binds=binds, shots=50, seed_simulator=5
    ).result()
    theirs = [{int(k, 16): n for k, n in row.data.counts.items()} for row in whole.results]
    for basis, counts in enumerate(ours):
        wanted = Counts.of(theirs[40 * basis : 40 * (basis + 1)])
        for name in ("row", "outcome", "count"):
            assert np.array_equal(getattr(counts, name), getattr(wanted, name))
    assert told[0] == (0, 120)
    assert told[-1] == (120, 120)
    assert told == sorted(told)
    assert len(told) >= 5
    monkeypatch.setattr(aer_executor, "_SEED_STEP", 1)
    broken = run(CIRCUIT, OBSERVABLES, features, WEIGHTS).record.counts
    assert not np.array_equal(broken[0].count, ours[0].count)


def test_rows_of_a_circuit_without_parameters_have_shots_of_their_own() -> None:
    plus = Circuit(1, (Op("h", 0),))
    run = aer(1000, seed=0)(plus, observables_on(1, "Z"), np.zeros((40, 0)), np.zeros(0))
    assert len(np.unique(run.values)) > 10
    assert np.abs(run.values).max() < 0.2


def test_no_rows_are_no_rows() -> None:
    run = aer(10, seed=0)(CIRCUIT, OBSERVABLES, rows(0), WEIGHTS)
    assert run.values.shape == run.stderr.shape == (0, 4)


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, lambda f: lambda w: jax.vmap(f)(w[None])])
def test_transformations_are_refused(transform) -> None:
    def total(weights):
        return aer(10)(CIRCUIT, OBSERVABLES, rows(2), weights).values.sum()

    with pytest.raises(InputError, match=r"^Executor `aer` must be given arrays with values, but"):
        transform(total)(jnp.asarray(WEIGHTS))


@pytest.mark.slow
def test_observables_are_those_of_layers() -> None:
    operator = SparsePauliOp(["ZZ", "IX", "ZZ"], [0.25, 2, 0.25])
    for executor in (qnn_jax.executors.exact, sampled(100), aer(100, seed=0)):
        for given in (operator, (operator,), ({"Z0 Z1": 0.5, "X0": 2.0},), {"ZZ": 0.5, "IX": 2}):
            run = executor(CIRCUIT, given, rows(3), WEIGHTS, jax.random.key(0))
            again = executor(
                CIRCUIT,
                observables_on(2, {"ZZ": 0.5, "IX": 2.0}),
                rows(3),
                WEIGHTS,
                jax.random.key(0),
            )
            np.testing.assert_array_equal(run.values, again.values)
        for wrong, message in (
            ("ZZZ", "must have labels of 2 letters, one a qubit, but 'ZZZ' has 3"),
            ((1,), "`observables` must hold Pauli labels, .* but holds 1"),
            ((), "must hold at least one observable, but is empty"),
        ):
            with pytest.raises(InputError, match=message):
                executor(CIRCUIT, wrong, rows(3), WEIGHTS, jax.random.key(0))
        with pytest.raises(InputError, match="`circuit` must be a Circuit, but is 'h'"):
            executor("h", ("Z",), rows(3), WEIGHTS, jax.random.key(0))


# ---------------------------------------------------------------------------------------- noise

FORKED = Circuit(
    3, (Op("h", 0), Op("cx", (0, 1)), Op("cx", (0, 2)), Op("ry", 2, x[0])), num_inputs=1
)


def by_density_matrix(model, inputs, labels):
    """Expectation values by Aer's density matrix, gate for gate, readout errors by hand."""
    found = []
    for row in inputs:
        circuit = in_qiskit(FORKED, row, [])
        circuit.save_density_matrix()
        simulator = AerSimulator(method="density_matrix", noise_model=model)
        state = simulator.run(circuit).result().data()["density_matrix"]
        found.append([np.real(state.expectation_value(SparsePauliOp(one))) for one in labels])
    return np.array(found)


def test_a_noise_model_gives_its_own_errors_to_its_own_qubits() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 2), ["cx"])
    model.add_quantum_error(amplitude_damping_error(0.3), ["h"], [0])
    model.add_quantum_error(pauli_error([("X", 0.25), ("I", 0.75)]), ["ry"], [2])
    labels = ["ZZI", "IIZ", "ZIZ", "IZI"]
    features = np.array([[0.4], [2.0]])
    wanted = by_density_matrix(model, features, labels)
    run = aer(40_000, model, seed=0)(FORKED, labels, features, [])
    assert np.abs(run.values - wanted).max() < 5 / np.sqrt(40_000)
    assert np.abs(by_density_matrix(None, features, labels) - wanted).max() > 0.2
    assert (run.record.backend, run.record.calibration) == ("NoiseModel", None)
    assert run.record.layout == (0, 1, 2)
    # Readout errors are of the qubit that is measured.
    model.add_readout_error(ReadoutError([[0.9, 0.1], [0.1, 0.9]]), [1])
    run = aer(40_000, model, seed=0)(FORKED, labels, features, [])
    wanted[:, [0, 3]] *= 0.8
    assert np.abs(run.values - wanted).max() < 5 / np.sqrt(40_000)


def test_a_backend_is_what_its_name_is() -> None:
    by_name = aer(200, NOISE, seed=0)(CIRCUIT, OBSERVABLES, rows(3), WEIGHTS)
    backend = noise.fake_backend(NOISE)
    run = aer(200, backend, seed=0)(CIRCUIT, OBSERVABLES, rows(3), WEIGHTS)
    np.testing.assert_array_equal(run.values, by_name.values)
    assert run.record.backend == backend.name
    assert run.record[5:] == by_name.record[5:]
    generic = aer(200, GenericBackendV2(3, seed=0), seed=0)
    record = generic(CIRCUIT, OBSERVABLES, rows(3), WEIGHTS).record
    assert (record.backend, record.calibration) == ("generic_backend_3q", None)
    # An executor is part of a Flax module, which is hashed.
    hash(aer(10, backend))
    hash(aer(10, NoiseModel()))


def test_pairs_for_which_a_model_has_no_error_are_named() -> None:
    model = NoiseModel()
    model.add_quantum_error(depolarizing_error(0.2, 2), ["cx"], [0, 1])
    with pytest.warns(UserWarning, match=r"errors of `cx` on some qubits but none on \(0, 2\)"):
        aer(10, model)(FORKED, "IIZ", np.zeros((1, 1)), [])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cx"])
    aer(10, model)(FORKED, "IIZ", np.zeros((1, 1)), [])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: 0.1, "must be the name of a fake backend, a backend or a NoiseModel .* is 0.1"),
        (lambda: "FakeFezz", "did you mean FakeFez"),
        (lambda: ["FakeFez"], r"a backend or a NoiseModel of qiskit-aer, but is \['FakeFez'\]"),
        (lambda: type(noise.fake_backend(NOISE)), "a NoiseModel of qiskit-aer, but is <class"),
        (
            lambda: AerSimulator(noise_model=NoiseModel()),
            "must be a device, but is the simulator 'aer_simulator'; .* simulator.options.noise_mo",
        ),
        (
            lambda: GenericBackendV2(2, noise_info=False),
            "must be a backend whose gates have errors, but 'generic_backend_2q' has none",
        ),
    ],
)
def test_other_noise_is_refused(given, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument `noise` .*{message}"):
        aer(10, given())


def test_a_model_whose_gates_are_too_few_is_refused() -> None:
    with pytest.raises(InputError, match="circuit that the noise model can run, but Qiskit cannot"):
        aer(10, NoiseModel(["x"]))(FORKED, "IIZ", np.zeros((1, 1)), [])


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="`inputs` must be finite in float32"):
        aer(10)(CIRCUIT, OBSERVABLES, np.full((1, 2), np.nan), WEIGHTS)


def test_too_few_qubits_are_refused() -> None:
    with pytest.raises(InputError, match="must have at most 5 qubits"):
        aer(10, noise=NOISE)(
            real_amplitudes(6), observables_on(6, "ZZZZZZ"), np.zeros((1, 0)), np.zeros(24)
        )
    with pytest.raises(InputError, match=r"must have at most \d+ qubits to run on aer_simulator"):
        aer(10)(Circuit(60), observables_on(60, "Z" * 60), np.zeros((1, 0)), np.zeros(0))


@pytest.mark.slow
def test_a_trained_model_takes_it_without_other_changes() -> None:
    features = jnp.asarray(np.random.default_rng(0).uniform(2, 4, (40, 2)), jnp.float32)
    model = HybridClassifier(ModelConfig(), 2)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 28, 28), jnp.uint8))

    def after(model, features):
        return model.decide(model.quantum(features))

    logits = model.apply(params, features, method=after)
    elsewhere = HybridClassifier(ModelConfig(), 2, executor=aer(4000, seed=0))
    shots = elsewhere.apply(params, features, method=after)
    assert 0 < np.abs(shots - logits).max() < 4 * 5 / np.sqrt(4000)  # the head's gain, 5 sigma
    layer = qnn_jax.linen.QuantumLayer(CIRCUIT, OBSERVABLES, aer(4000, seed=0))
    values = layer.apply({"params": {"weights": WEIGHTS}}, rows(6).reshape(2, 3, 2))
    assert values.shape == (2, 3, 4)
