"""Exact noise in XLA, against Qiskit's density matrices, gate by gate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from qiskit.quantum_info import DensityMatrix, SparsePauliOp, SuperOp
from qiskit_aer.noise import (
    amplitude_damping_error,
    depolarizing_error,
    pauli_error,
    thermal_relaxation_error,
)
from reference import in_qiskit

import qnn_jax.linen
from qnn_jax import Circuit, InputError, Op, w, x
from qnn_jax.circuits.bases import bases_of, measured_in
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import exact, noisy
from qnn_jax.noise import (
    Idle,
    NoiseModel,
    amplitude_damping,
    density,
    depolarizing,
    pauli,
)

KEY = jax.random.key(1)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


#: Constant gates, gates of weights, of inputs and of both; on one to four qubits; some after the
#: last one that a measured qubit sees.
CIRCUIT = Circuit(
    4,
    (
        Op("h", 0),
        Op("ry", 1, x[0]),
        Op("sx", 3),
        Op("cx", (0, 1)),
        Op("rz", 1, w[0] * x[1]),
        Op("cx", (1, 0)),
        Op("crx", (1, 2), w[1]),
        Op("rzz", (2, 1), x[0] - x[1]),
        Op("u", 2, (w[2], 0.3, w[0])),
        Op("ccx", (0, 1, 2)),
        Op("rx", 0, w[3]),
        Op("swap", (2, 3)),
        Op("c3sx", (3, 0, 2, 1)),
        Op("ry", 3, w[1]),
        Op("global_phase", (), w[0]),
        Op("cx", (0, 1)),
        Op("x", 2),
    ),
)
WEIGHTS, INPUTS = np.array([0.7, -1.2, 0.4, 2.0]), np.array([[0.3, -0.9], [1.4, 0.2]])
OBSERVABLES = ("IIZX", {"ZIIZ": 1.0, "IZII": -0.5}, "YIXI")
READ = {0: [[0.97, 0.06], [0.03, 0.94]], (2, 3): np.full((4, 4), 0.05) + 0.8 * np.eye(4)}


def model(rate=0.1) -> NoiseModel:
    return NoiseModel(
        {
            "cx": depolarizing(rate, 2),
            ("cx", (1, 0)): pauli({"XI": 0.2, "IY": rate}),
            "ry": amplitude_damping(2 * rate),
            "rzz": amplitude_damping(0.1),
            ("x", (3,)): amplitude_damping(0.9),
            "h": depolarizing(0.05),
            "u": depolarizing(0.02),
        },
        READ,
    )


def errors(rate=0.1):
    """The same as Qiskit's errors, on a gate and its qubits."""

    def of(op: Op):
        if op.gate == "cx" and op.qubits == (1, 0):
            left = 1 - 0.2 - rate
            return [(pauli_error([("XI", 0.2), ("IY", rate), ("II", left)]), op.qubits)]
        if op.gate == "rzz":
            return [(amplitude_damping_error(0.1), (qubit,)) for qubit in op.qubits]
        found = {
            "cx": depolarizing_error(rate, 2),
            "ry": amplitude_damping_error(2 * rate),
            "h": depolarizing_error(0.05, 1),
            "u": depolarizing_error(0.02, 1),
        }.get(op.gate)
        return [] if found is None else [(found, op.qubits)]

    return of


def reference(circuit, observables, inputs, weights, of, read) -> np.ndarray:
    """Qiskit's state after each gate and error, measured in each basis, bits misread."""
    total = np.zeros(len(observables))
    for basis in bases_of(observables):
        whole = measured_in(circuit, basis)
        state = DensityMatrix.from_label("0" * circuit.num_qubits)
        for op in whole.ops:
            one = Circuit(circuit.num_qubits, (op,), circuit.num_inputs, circuit.num_weights)
            state = state.evolve(in_qiskit(one, inputs, weights))
            for error, qubits in of(op):
                state = state.evolve(SuperOp(error), list(qubits))
        tensor = state.probabilities().reshape((2,) * circuit.num_qubits)
        n = circuit.num_qubits
        for place, matrix in read.items():
            axes = [n - 1 - q for q in reversed(place if isinstance(place, tuple) else (place,))]
            matrix = np.asarray(matrix).reshape((2,) * (2 * len(axes)))
            columns = list(range(len(axes), 2 * len(axes)))
            tensor = np.moveaxis(
                np.tensordot(matrix, tensor, (columns, axes)), range(len(axes)), axes
            )
        signs = [
            [1 - 2 * ((i & mask).bit_count() % 2) for mask in basis.parities] for i in range(2**n)
        ]
        total += tensor.ravel() @ np.array(signs) @ np.array(basis.coefficients)
    return total


def check_exact(make, rate=0.1) -> None:
    sums = observables_on(4, OBSERVABLES)
    found = make(CIRCUIT, sums, INPUTS, WEIGHTS).values
    wanted = [reference(CIRCUIT, sums, row, WEIGHTS, errors(rate), READ) for row in INPUTS]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


def test_values_are_those_of_qiskits_density_matrix() -> None:
    check_exact(noisy(model()))


def test_single_precision_is_near() -> None:
    sums = observables_on(4, OBSERVABLES)
    wanted = noisy(model())(CIRCUIT, sums, INPUTS, WEIGHTS).values
    with jax.enable_x64(False):
        found = noisy(model())(
            CIRCUIT, sums, INPUTS.astype(np.float32), WEIGHTS.astype(np.float32)
        ).values
        assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def changed(**fields) -> NoiseModel:
    whole = model()
    return NoiseModel(**{"gates": whole.gates, "readout": whole.readout, **fields})


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    "broken",
    [
        lambda: model(0.1001),
        lambda: changed(readout={}),
        lambda: changed(
            readout={(0,): np.transpose(READ[0]) / np.sum(READ[0], 1), (2, 3): READ[2, 3]}
        ),
        lambda: changed(gates={**model().gates, ("cx", (1, 0)): pauli({"IX": 0.2, "YI": 0.1})}),
        lambda: changed(gates={k: v for k, v in model().gates.items() if k[0] != "rzz"}),
    ],
)
def test_other_models_are_rejected(broken) -> None:
    with pytest.raises(AssertionError):
        check_exact(noisy(broken()))


@pytest.mark.slow
def test_noise_before_the_gate_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = density.factors_of

    def turned(circuit, noise):
        return factors(circuit, noise)[::-1]

    monkeypatch.setattr(density, "factors_of", turned)
    with pytest.raises(AssertionError):
        check_exact(noisy(model()))


@pytest.mark.slow
def test_gradients_are_finite_differences() -> None:
    """In weights, inputs and a rate, of the reference."""
    sums = observables_on(4, OBSERVABLES)[1:2]

    def value(inputs, weights, rate):
        return noisy(model(rate))(CIRCUIT, sums, inputs[None], weights).values[0, 0]

    found = jax.grad(value, (0, 1, 2))(jnp.asarray(INPUTS[0]), jnp.asarray(WEIGHTS), 0.1)
    point = np.array([*INPUTS[0], *WEIGHTS, 0.1])

    def at(p):
        return reference(CIRCUIT, sums, p[:2], p[2:6], errors(p[6]), READ)[0]

    steps = 1e-5 * np.eye(7)
    wanted = [(at(point + step) - at(point - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(np.concatenate([*found[:2], [found[2]]]), wanted, rtol=0, atol=1e-6)


def test_without_errors_it_is_exact_and_takes_jit_and_vmap() -> None:
    sums = observables_on(4, OBSERVABLES)
    clean = noisy(NoiseModel())
    wanted = exact(CIRCUIT, sums, INPUTS, WEIGHTS).values
    np.testing.assert_allclose(clean(CIRCUIT, sums, INPUTS, WEIGHTS).values, wanted, atol=1e-12)

    def values(weights):
        return clean(CIRCUIT, sums, INPUTS, weights).values

    many = jnp.stack([WEIGHTS, -WEIGHTS])
    found = jax.jit(jax.vmap(values))(many)
    np.testing.assert_allclose(found[0], wanted, atol=1e-12)
    np.testing.assert_allclose(found[1], values(many[1]), atol=1e-12)


@pytest.mark.slow
def test_shots_scatter_around_the_noisy_values() -> None:
    sums = observables_on(4, OBSERVABLES)
    wanted = noisy(model())(CIRCUIT, sums, INPUTS, WEIGHTS).values
    inputs = np.repeat(INPUTS, 300, 0)
    run = noisy(model(), shots=200)(CIRCUIT, sums, inputs, WEIGHTS, KEY)
    z = (run.values - np.repeat(wanted, 300, 0)) / run.stderr
    assert np.abs(z.mean(0)).max() < 4 / np.sqrt(600)
    assert np.abs(z.std(0) - 1).max() < 0.15


@pytest.mark.slow_but_one
@pytest.mark.parametrize("gradient", ["pathwise", "shift"])
def test_gradients_through_shots_have_the_exact_mean(gradient: str) -> None:
    circuit = Circuit(2, (Op("ry", 0, x[0]), Op("crx", (0, 1), w[0]), Op("ry", 1, w[0])))
    noise = NoiseModel({"crx": depolarizing(0.1, 2)}, READ[0])

    def value(weights, shots, key=None):
        return noisy(noise, shots, gradient)(
            circuit, ("ZI", "XI"), INPUTS[:1, :1], weights, key
        ).values.sum()

    keys = jax.random.split(KEY, 4000)
    found = jax.jit(jax.vmap(lambda key: jax.grad(lambda v: value(v, 20, key))(jnp.ones(1))))(keys)[
        :, 0
    ]
    wanted = jax.grad(lambda v: value(v, None))(jnp.ones(1))[0]
    assert abs(found.mean() - wanted) < 4 * found.std() / np.sqrt(4000)


def test_qubits_that_wait_relax() -> None:
    """A schedule by hand: as late as possible, 1 µs a gate on one qubit and 3 µs a CX."""
    idle = Idle({"cx": 3e-6, "x": 1e-6, "h": 1e-6}, (20e-6, 30e-6, 40e-6), (10e-6, 50e-6, 8e-6))
    circuit = Circuit(
        3, (Op("x", 0), Op("h", 1), Op("h", 2), Op("cx", (0, 1)), Op("x", 1), Op("cx", (1, 2)))
    )
    # From the end: cx(1, 2) from 3 to 0, x(1) from 4 to 3, cx(0, 1) from 7 to 4, h(2) from 4 to 3,
    # x(0) and h(1) from 8 to 7. So qubit 2 waits 4 µs first, qubit 0 waits 4 µs at the end.
    state = DensityMatrix.from_label("000")

    def relax(qubit, micros):
        t1, t2 = idle.t1[qubit] * 1e6, idle.t2[qubit] * 1e6
        return SuperOp(thermal_relaxation_error(t1, t2, micros)), [qubit]

    def gate(op):
        return in_qiskit(Circuit(3, (op,)), [], [])

    state = state.evolve(gate(circuit.ops[0])).evolve(gate(circuit.ops[1]))
    state = state.evolve(*relax(2, 4)).evolve(gate(circuit.ops[2]))
    for op in circuit.ops[3:]:
        state = state.evolve(gate(op))
    state = state.evolve(*relax(0, 4))
    labels = ("IIZ", "IZI", "ZII", "ZZZ")
    found = noisy(NoiseModel(idle=idle))(circuit, labels, np.zeros((1, 0)), []).values[0]
    wanted = [state.expectation_value(SparsePauliOp(label)).real for label in labels]
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    none = noisy(NoiseModel())(circuit, labels, np.zeros((1, 0)), []).values[0]
    assert np.abs(found - none).max() > 0.1


def test_a_layer_takes_it() -> None:
    layer = qnn_jax.linen.QuantumLayer(CIRCUIT, OBSERVABLES, noisy(model(), 100))
    params = {"params": {"weights": jnp.asarray(WEIGHTS)}}
    out = jax.jit(layer.apply)(params, jnp.asarray(INPUTS), rngs={"shots": KEY})
    assert out.shape == (2, 3)


def test_bad_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit, rows = Circuit(2, (Op("rx", 0, w[0]),)), np.zeros((1, 0))
    with pytest.raises(InputError, match=r"^Argument `noise` must be a NoiseModel .* is 'FakeFez'"):
        noisy("FakeFez")
    with pytest.raises(InputError, match=r"`noise` must be of the circuit's 2 qubits, but is of 3"):
        noisy(NoiseModel(num_qubits=3))(circuit, ("ZI",), rows, [0.1])
    with pytest.raises(InputError, match=r"^Argument `key` of `noisy` must be a random key"):
        noisy(NoiseModel(), shots=3)(circuit, ("ZI",), rows, [0.1])
    with pytest.raises(InputError, match=r"^Argument `shots` must be an integer of at least 1"):
        noisy(NoiseModel(), shots=0)
    with pytest.raises(InputError, match=r"^Argument `gradient` must be one of"):
        noisy(NoiseModel(), 3, "exact")

    def rate(p):
        executor = noisy(NoiseModel({"rx": depolarizing(p)}), 3, "shift")
        return executor(circuit, ("IZ",), rows, [0.1], KEY).values[0, 0]

    with pytest.raises(InputError, match=r"must be 'pathwise' for derivatives in the numbers of a"):
        jax.grad(rate)(0.1)
    monkeypatch.setattr(density, "memory_bytes", lambda: 2**30)
    many = Circuit(15, tuple(Op("cx", (q, q + 1)) for q in range(14)))
    with pytest.raises(
        InputError, match=r"15 qubits in a batch of 1 take about 32 GiB and there are"
    ):
        noisy(NoiseModel(), method="exact")(many, ("Z" * 15,), rows, [])
    # Only what the measured qubits depend on counts.
    noisy(NoiseModel())(many, ("Z0",), rows, [])


def test_a_batch_of_nothing_has_no_values() -> None:
    found = noisy(model())(CIRCUIT, OBSERVABLES, np.zeros((0, 2)), WEIGHTS)
    assert found.values.shape == found.stderr.shape == (0, 3)
