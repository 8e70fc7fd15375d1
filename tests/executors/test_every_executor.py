"""Any executor in any place: layers, trained models, evaluations; and what mitigation undoes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from reference_models import calculator

import qnn_jax.linen
import qnn_jax.nnx
from qnn_jax import Circuit, InputError, Op, x
from qnn_jax.bridge import aer
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import (
    Affine,
    Executor,
    Readout,
    calibration_states,
    exact,
    fit_affine,
    fit_readout,
    mitigated,
    sampled,
)
from qnn_jax.studies.evaluation import chosen, evaluate
from qnn_jax.tasks.trained import Trained

KEY = jax.random.key(0)


def device(lost: float = 0.1) -> NoiseModel:
    """Readout errors, other ones on each qubit, and a part of the signal that CX gates lose."""
    model = NoiseModel(["rx", "ry", "rz", "cx", "h"])
    if lost:
        model.add_all_qubit_quantum_error(depolarizing_error(lost, 2), ["cx"])
    model.add_readout_error(ReadoutError([[0.97, 0.03], [0.15, 0.85]]), [0])
    model.add_readout_error(ReadoutError([[0.9, 0.1], [0.05, 0.95]]), [1])
    return model


def measured_readout(executor: Executor, num_qubits: int) -> Readout:
    """What a user does: prepare basis states with the executor and fit what is read."""
    prepare = Circuit(
        num_qubits, tuple(Op("rx", q, x[q]) for q in range(num_qubits)), num_inputs=num_qubits
    )
    states = np.pi * calibration_states(num_qubits).astype(np.float32)
    run = executor(prepare, observables_on(num_qubits, "Z" * num_qubits), states, [])
    return fit_readout(run.record.counts[0].table(num_qubits), num_qubits)


PAIR = Circuit(2, (Op("ry", 0, x[0]), Op("cx", (0, 1)), Op("ry", 1, x[1])), num_inputs=2)
OBSERVABLES = observables_on(2, ("ZZ", "XX", {"ZI": 1.0, "XX": 0.5}))
ROWS = np.random.default_rng(0).uniform(-2, 2, (40, 2)).astype(np.float32)


@pytest.mark.slow
def test_readout_and_affine_take_a_device_to_the_exact_values() -> None:
    noisy = aer(20_000, device(), seed=0)
    readout = measured_readout(noisy, 2)
    truth = exact(PAIR, OBSERVABLES, ROWS, [])
    plain, inverted = (
        executor(PAIR, OBSERVABLES, ROWS, []) for executor in (noisy, mitigated(noisy, readout))
    )
    affine = fit_affine(inverted, np.asarray(truth.values))
    # The same in one wrapper and in two.
    both = mitigated(noisy, readout, affine)
    found = both(PAIR, OBSERVABLES, ROWS, [])
    twice = mitigated(mitigated(noisy, readout), affine=affine)(PAIR, OBSERVABLES, ROWS, [])
    np.testing.assert_array_equal(found.values, twice.values)
    rms = [np.sqrt(np.mean((run.values - truth.values) ** 2)) for run in (plain, inverted, found)]
    assert rms[0] > 1.5 * rms[1] > 1.5 * 1.5 * rms[2]
    z = (found.values - truth.values) / found.stderr
    assert np.abs(z).max() < 5
    assert found.record.counts[0].shots.tolist() == [20_000] * 40
    assert found.values.dtype == plain.values.dtype


def test_affine_alone_goes_through_jit_and_grad() -> None:
    affine = Affine(np.array([0.5, 2.0, 1.0]), np.array([0.25, 0.0, -1.0]))
    executor = mitigated(exact, affine=affine)

    def total(executor, rows):
        return executor(PAIR, OBSERVABLES, rows, []).values

    plain = total(exact, ROWS)
    wanted = (plain - affine.shift) / affine.scale
    np.testing.assert_allclose(total(executor, ROWS), wanted, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda r: total(executor, r))(ROWS), wanted, atol=1e-5)
    slopes = [jax.grad(lambda r, e=e: total(e, r)[:, 0].sum())(ROWS) for e in (executor, exact)]
    np.testing.assert_allclose(slopes[0], 2 * slopes[1], atol=1e-5)
    shots = sampled(100)
    runs = [e(PAIR, OBSERVABLES, ROWS, [], KEY) for e in (shots, mitigated(shots, affine=affine))]
    np.testing.assert_allclose(runs[1].stderr, runs[0].stderr / affine.scale, atol=1e-6)


LINE = Affine(np.ones(3), np.zeros(3))
TWO = Readout((np.eye(4),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mitigated(3, affine=LINE), "`executor` must be an executor, .* but is 3"),
        (lambda: mitigated(exact), "`readout` or `affine` of `mitigated` must be given"),
        (
            lambda: mitigated(mitigated(exact, affine=LINE), TWO),
            "must not be mitigated itself where `readout` is given",
        ),
        (lambda: mitigated(exact, TWO), "must leave counts in its record .* leaves NoneType"),
        (lambda: mitigated(exact, Readout((np.eye(2),))), "`readout` must be of 2 qubits"),
        (
            lambda: mitigated(exact, affine=Affine(np.ones(2), np.zeros(2))),
            r"`affine` must be of 3 observables, .* but has shape \(2,\)",
        ),
    ],
)
def test_what_cannot_be_undone_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument .*{message}"):
        make()(PAIR, OBSERVABLES, ROWS, [])


# ----------------------------------------------------------------------------- any in any place


@pytest.fixture(scope="module")
def trained() -> Trained:
    return calculator()


@pytest.fixture(scope="module")
def every(trained: Trained) -> dict[str, Executor]:
    num_qubits = trained.circuit.num_qubits
    noisy = aer(4000, device(0), seed=0)
    return {
        "exact": exact,
        "sampled": sampled(4000),
        "aer": aer(4000, seed=0),
        "mitigated": mitigated(noisy, measured_readout(noisy, num_qubits)),
    }


NAMES = ("exact", "sampled", "aer", "mitigated")


@pytest.mark.parametrize("name", NAMES)
def test_layers_take_it(name: str, trained: Trained, every: dict[str, Executor]) -> None:
    circuit, observables = trained.circuit, trained.observables
    features = np.full((2, 3, circuit.num_inputs), 0.5, np.float32)
    features[1, 2] = 0.25
    layer = qnn_jax.linen.QuantumLayer(circuit, observables, every[name])
    values = layer.apply(
        {"params": {"weights": jnp.asarray(trained.weights)}}, features, rngs={"shots": KEY}
    )
    wanted = exact(circuit, observables, features.reshape(6, -1), trained.weights).values
    atol = 1e-5 if name == "exact" else 0.1
    np.testing.assert_allclose(values.reshape(wanted.shape), wanted, atol=atol)
    other = qnn_jax.nnx.QuantumLayer(circuit, observables, executor=every[name], rngs=nnx.Rngs(0))
    other.weights = nnx.Param(jnp.asarray(trained.weights))
    found = other(features, nnx.Rngs(shots=1))
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=atol)


@pytest.mark.parametrize("name", NAMES)
def test_a_trained_model_takes_it(name: str, trained: Trained, every: dict[str, Executor]) -> None:
    points = np.random.default_rng(0).uniform(0, 1, (20, 2)).astype(np.float32)
    predicted = trained.predict(points, every[name], KEY)
    again = trained.decide(every[name](
        trained.circuit, trained.observables, trained.encode(points), trained.weights, KEY
    ).values)[:, 0]  # fmt: skip
    np.testing.assert_allclose(predicted, again, atol=1e-6)
    assert np.abs(predicted - trained.predict(points)).max() < 0.3


@pytest.mark.slow
def test_an_evaluation_takes_them_all(trained: Trained, every: dict[str, Executor]) -> None:
    test = chosen(trained.splits().test, 200)
    others = {name: executor for name, executor in every.items() if name != "exact"}
    rows = evaluate(trained, others, test, key=KEY)
    assert [row.name for row in rows] == list(NAMES)
    for row in rows[1:]:
        assert 0 < np.abs(row.values - rows[0].values).max() < 0.2, row.name


def in_a_layer(trained: Trained) -> None:
    layer = qnn_jax.linen.QuantumLayer(PAIR, OBSERVABLES, "aer")
    layer.apply({"params": {"weights": jnp.zeros(0)}}, ROWS)


def in_a_model(trained: Trained) -> None:
    trained.predict(ROWS, "aer")


def in_an_evaluation(trained: Trained) -> None:
    evaluate(trained, {"Aer": "aer"}, trained.splits().test)


@pytest.mark.parametrize("place", [in_a_layer, in_a_model, in_an_evaluation])
def test_what_is_no_executor_is_refused(place, trained: Trained) -> None:
    with pytest.raises(InputError, match=r"^Argument `executor` must be an executor, .* is 'aer'"):
        place(trained)
