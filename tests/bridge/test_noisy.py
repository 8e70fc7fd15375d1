"""A device's errors in XLA: the reference is Aer's density matrix of the same circuit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from qiskit import transpile
from qiskit.quantum_info import Kraus, SuperOp
from qiskit_aer.noise import NoiseModel as AerNoiseModel
from qiskit_aer.noise import QuantumError, ReadoutError, depolarizing_error
from test_noise import probabilities

import qnn_jax
from qnn_jax import Circuit, InputError, Op, bridge, real_amplitudes, w, x, zz_feature_map
from qnn_jax.bridge import aer_executor, channels, noise
from qnn_jax.circuits.bases import bases_of
from qnn_jax.circuits.observables import observables_on

KEY = jax.random.key(0)
DEVICES = ("FakeFez", "FakeMarrakesh", "FakeKingston", "FakeSantiagoV2", "FakeYorktownV2")


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def without_cutoff(model: AerNoiseModel) -> AerNoiseModel:
    """The same channels as Kraus operators.

    Aer leaves out terms of an error that are less likely than 1e-10, so that its states lose up to
    1e-9 of their trace with each gate; of Kraus operators it leaves out none.
    """
    found = AerNoiseModel(model.basis_gates)
    for error in model.to_dict()["errors"]:
        where = error.get("gate_qubits")
        if error["type"] == "roerror":
            found.add_readout_error(ReadoutError(error["probabilities"]), where[0])
        elif set(error["operations"]) - {"reset", "measure", "delay"}:
            kraus = Kraus(SuperOp(QuantumError.from_dict(error)))
            whole = QuantumError([(kraus.to_instruction(), 1.0)])
            found.add_quantum_error(whole, error["operations"], where[0])
    return found


def by_aer(circuit, observables, inputs, weights, device, change=without_cutoff) -> np.ndarray:
    """Expectation values of rows of inputs: what `bridge.aer` would count, without its shots."""
    bases = bases_of(observables)
    job = aer_executor.prepared(circuit, bases, channels.checked_noise(device))
    table = aer_executor.table_of(circuit, inputs, weights)
    model = change(job.simulator.options.noise_model)
    found = np.zeros((len(inputs), len(observables)))
    for isa, basis in zip(job.circuits, bases, strict=True):
        for row, angles in enumerate(table):
            numbers = {p: angles[job.columns[p.name]] for p in isa.parameters}
            seen = probabilities(isa.assign_parameters(numbers), model)
            for mask, coefficients in zip(basis.parities, basis.coefficients, strict=True):
                signs = [1 - 2 * ((k & mask).bit_count() % 2) for k in range(len(seen))]
                found[row] += seen @ np.array(signs) * np.array(coefficients)
    return found


CIRCUIT = zz_feature_map(2) + real_amplitudes(2, reps=1)
OBSERVABLES = observables_on(2, ("ZI", {"YX": 2.0, "IZ": 0.5}))
WEIGHTS, INPUTS = np.array([0.3, -0.8, 0.5, 1.1]), np.array([[0.3, 0.9], [1.0, -0.4]])


def check_device(make, name: str) -> None:
    found = make(name)(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS)
    wanted = by_aer(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS, name)
    np.testing.assert_allclose(found.values, wanted, rtol=0, atol=1e-9)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("name", ["FakeFez", "FakeYorktownV2"])
def test_values_are_those_of_aer(name: str) -> None:
    check_device(bridge.noisy, name)


def test_other_devices_and_none_are_rejected() -> None:
    for broken in (lambda name: bridge.noisy("FakeManilaV2"), lambda name: qnn_jax.executors.exact):
        with pytest.raises(AssertionError):
            check_device(broken, "FakeYorktownV2")


def test_single_precision_is_near() -> None:
    wanted = bridge.noisy("FakeYorktownV2")(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS).values
    with jax.enable_x64(False):
        rows, weights = INPUTS.astype(np.float32), WEIGHTS.astype(np.float32)
        found = bridge.noisy("FakeYorktownV2")(CIRCUIT, OBSERVABLES, rows, weights).values
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def symbolic(num_qubits: int, seed: int) -> Circuit:
    """A random circuit whose angles are expressions of inputs and weights."""
    rng = np.random.default_rng(seed)
    ops, count = [], 0
    for _ in range(3 * num_qubits):
        kind = rng.integers(4)
        pair = tuple(int(q) for q in rng.permutation(num_qubits)[:2])
        angle = [x[int(rng.integers(2))], w[count], w[count] * x[0] + 0.5][rng.integers(3)]
        count += 1
        if kind == 0 and len(pair) == 2:
            ops.append(Op(str(rng.choice(["cx", "cz", "swap"])), pair))
        elif kind == 1 and len(pair) == 2:
            ops.append(Op(str(rng.choice(["rzz", "cry", "rxx"])), pair, angle))
        elif kind == 2:
            ops.append(Op(str(rng.choice(["h", "sx", "t"])), pair[0]))
        else:
            ops.append(Op(str(rng.choice(["rx", "ry", "rz", "p"])), pair[0], angle))
    return Circuit(num_qubits, tuple(ops), num_inputs=2, num_weights=count)


def check_random(name: str, num_qubits: int, seed: int) -> None:
    circuit = symbolic(num_qubits, seed)
    rng = np.random.default_rng(seed)
    labels = {"".join(rng.choice(list("IXYZ"), num_qubits)) for _ in range(2)}
    sums = observables_on(num_qubits, [{label: 1.0 + k for k, label in enumerate(sorted(labels))}])
    inputs, weights = rng.uniform(-2, 2, (1, 2)), rng.uniform(-2, 2, circuit.num_weights)
    found = bridge.noisy(name)(circuit, sums, inputs, weights).values
    np.testing.assert_allclose(
        found, by_aer(circuit, sums, inputs, weights, name), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(("name", "seed"), [("FakeSantiagoV2", 1), ("FakeFez", 17)])
def test_a_random_circuit_is_routed_as_aers(name: str, seed: int) -> None:
    """The second has a swap and two bases; the transpiler leaves the swap out of both."""
    check_random(name, 4, seed)


def test_bases_whose_gates_the_transpiler_removes_do_not_choose_the_layout() -> None:
    """The CZ is none before a measurement of Z, but is one before those of X."""
    circuit = Circuit(2, (Op("ry", 0, x[0]), Op("ry", 1, w[0]), Op("cz", (0, 1))))
    sums = observables_on(2, ("ZZ", "XX"))
    run = bridge.noisy("FakeFez")(circuit, sums, INPUTS[:, :1], WEIGHTS[:1])
    assert len(run.record.simulated) == 2
    wanted = by_aer(circuit, sums, INPUTS[:, :1], WEIGHTS[:1], "FakeFez")
    np.testing.assert_allclose(run.values, wanted, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("num_qubits", [1, 2, 3, 4])
def test_random_circuits_on_all_devices(name: str, num_qubits: int) -> None:
    for seed in range(20):
        check_random(name, num_qubits, seed)
        jax.clear_caches()


@pytest.mark.slow
def test_gradients_are_finite_differences() -> None:
    executor, name = bridge.noisy("FakeYorktownV2"), "FakeYorktownV2"

    def value(inputs, weights):
        return executor(CIRCUIT, OBSERVABLES, inputs[None], weights).values[0, 1]

    of_inputs, of_weights = jax.grad(value, (0, 1))(jnp.asarray(INPUTS[0]), jnp.asarray(WEIGHTS))
    for number, found in ((0, of_inputs[0]), (1, of_weights[1]), (2, of_weights[3])):
        step = 1e-4 * np.eye(6)[[0, 3, 5][number]]
        up, down = (
            by_aer(CIRCUIT, OBSERVABLES, INPUTS[:1] + s * step[:2], WEIGHTS + s * step[2:], name)[
                0, 1
            ]
            for s in (1, -1)
        )
        assert found == pytest.approx((up - down) / 2e-4, abs=1e-6)


@pytest.mark.slow
def test_shots_are_those_of_aer() -> None:
    """The scatter of both around the exact values, in one executor's standard errors."""
    exactly = bridge.noisy("FakeYorktownV2")(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS).values
    rows = np.repeat(INPUTS, 200, 0)
    run = bridge.noisy("FakeYorktownV2", shots=500)(CIRCUIT, OBSERVABLES, rows, WEIGHTS, KEY)
    theirs = bridge.aer(500, "FakeYorktownV2", seed=1)(CIRCUIT, OBSERVABLES, rows, WEIGHTS)
    for found in (run, theirs):
        z = (found.values - np.repeat(exactly, 200, 0)) / found.stderr
        assert np.abs(z.mean(0)).max() < 4 / 20
        assert np.abs(z.std(0) - 1).max() < 0.2
    assert run.record.layout == theirs.record.layout
    assert run.record.backend == "FakeYorktownV2"
    slope = jax.jit(
        jax.grad(
            lambda v: bridge.noisy("FakeYorktownV2", 500)(
                CIRCUIT, OBSERVABLES, INPUTS, v, KEY
            ).values.sum()
        )
    )(jnp.asarray(WEIGHTS))
    assert np.all(np.isfinite(slope))


def test_a_noise_model_of_aer_will_do() -> None:
    model = AerNoiseModel(["rx", "ry", "rz", "cx", "h", "id"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cx"])
    model.add_quantum_error(depolarizing_error(0.2, 2), "cx", [1, 0])
    model.add_readout_error(ReadoutError([[0.97, 0.03], [0.15, 0.85]]), [1])
    circuit = Circuit(2, (Op("ry", 0, x[0]), Op("cx", (0, 1)), Op("cx", (1, 0)), Op("rx", 1, w[0])))
    sums = observables_on(2, ("ZI", "IZ"))
    found = bridge.noisy(model)(circuit, sums, INPUTS[:, :1], WEIGHTS[:1]).values
    wanted = by_aer(circuit, sums, INPUTS[:, :1], WEIGHTS[:1], model, lambda m: m)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)
    both = bridge.noise_model(model, (0, 1))
    assert repr(both) == "NoiseModel(cx, readout)"
    assert both.channel("cx", (1, 0))[1, 1] == pytest.approx(0.8)
    assert both.channel("cx", (0, 1))[1, 1] == pytest.approx(0.9)
    turned = bridge.noise_model(model, (1, 0))
    assert turned.channel("cx", (0, 1))[1, 1] == pytest.approx(0.8)
    np.testing.assert_allclose(turned.read(0), [[0.97, 0.15], [0.03, 0.85]])


def test_a_virtual_rz_has_no_error() -> None:
    model = bridge.noise_model("FakeFez", (136, 143))
    assert model.channel("rz", (0,)) is None
    assert model.channel("sx", (0,)) is not None
    assert model.channel("cz", (0, 1)).shape == (16, 16)
    assert model.num_qubits == 2


def test_waiting_qubits_relax_as_in_a_scheduled_circuit_of_aer() -> None:
    circuit = Circuit(
        3, (Op("ry", 0, w[0]), Op("cx", (0, 1)), Op("ry", 2, w[1]), Op("cx", (1, 2)), Op("sx", 2))
    )
    sums, name = observables_on(3, ("IIZ", "IZI", "ZZI")), "FakeSantiagoV2"
    weights, rows = np.array([0.8, 1.9]), np.zeros((1, 0))
    backend = noise.fake_backend(name)
    job = aer_executor.transpiled_for(circuit, bases_of(sums), backend)
    model = noise.noise_model(job.target)
    table = aer_executor.table_of(circuit, rows, weights)[0]
    (isa,) = job.circuits
    bound = isa.assign_parameters({p: table[job.columns[p.name]] for p in isa.parameters})
    placed = transpile(
        bound,
        target=job.target,
        optimization_level=0,
        initial_layout=range(isa.num_qubits),
        scheduling_method="alap",
    )
    assert placed.count_ops()["delay"] > 2
    seen = probabilities(placed, model)
    wanted = [
        seen @ [1 - 2 * ((k & mask).bit_count() % 2) for k in range(8)]
        for mask in (0b001, 0b010, 0b110)
    ]
    found = bridge.noisy(name, idle=True)(circuit, sums, rows, weights).values[0]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7)
    without = bridge.noisy(name)(circuit, sums, rows, weights).values[0]
    assert np.abs(without - found).max() > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bridge.noisy("FakeFezz"), "`device` must name one of .*did you mean FakeFez"),
        (lambda: bridge.noisy(None), "`device` must be a device, but is None"),
        (lambda: bridge.noisy(3), "`device` must be the name of a fake backend, a backend or a"),
        (lambda: bridge.noisy(AerNoiseModel(), idle=True), "`idle` must be False for a NoiseModel"),
        (lambda: bridge.noise_model("Fez", (0,)), "`source` must name one of .*did you mean"),
        (lambda: bridge.noise_model("FakeManilaV2", (0, 5)), "`qubits` must be below 5"),
        (lambda: bridge.noise_model("FakeManilaV2", (0, 0)), "`qubits` must name different"),
        (lambda: bridge.noise_model(None, (0,)), "`source` must be the name of a fake backend"),
        (
            lambda: bridge.noise_model(AerNoiseModel(), (0,), idle=True),
            "`idle` must be False for a NoiseModel",
        ),
        (
            lambda: bridge.noisy("FakeManilaV2", 3)(CIRCUIT, OBSERVABLES, INPUTS, WEIGHTS),
            "`key` of `noisy` must be a random key",
        ),
        (
            lambda: bridge.noisy("FakeManilaV2")(
                Circuit(6), observables_on(6, "Z0"), np.zeros((1, 0)), []
            ),
            "`circuit` must have at most 5 qubits",
        ),
    ],
)
def test_bad_input_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument {message}"):
        make()
