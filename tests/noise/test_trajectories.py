"""Trajectories: their mean is the exact noisy state, and what they cannot do is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from noise.test_density import CIRCUIT, INPUTS, OBSERVABLES, WEIGHTS, model
from qiskit.quantum_info import Kraus, SuperOp, random_quantum_channel

from qnn_jax import Circuit, InputError, Op, bridge, w
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import noisy
from qnn_jax.noise import NoiseModel, amplitude_damping, depolarizing, trajectories
from qnn_jax.noise.trajectories import kraus_of
from qnn_jax.noise.transfer import transfer_of_kraus

KEY = jax.random.key(5)
SUMS = observables_on(4, OBSERVABLES)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("num_qubits", [1, 2])
def test_kraus_operators_give_the_channel_back(num_qubits: int) -> None:
    channel = random_quantum_channel(2**num_qubits, rank=3, seed=1)
    transfer = transfer_of_kraus(np.array(Kraus(channel).data))
    found = kraus_of(transfer, twirl=False)
    assert len(found) == 3
    wanted = SuperOp(channel).data
    np.testing.assert_allclose(SuperOp(Kraus(list(found))).data, wanted, atol=1e-7)
    paulis = transfer_of_kraus(kraus_of(transfer, twirl=True))
    np.testing.assert_allclose(paulis, np.diag(np.diag(transfer)), atol=1e-7)


def check_trajectories(shots, key=KEY) -> None:
    wanted = noisy(model(), method="exact")(CIRCUIT, SUMS, INPUTS, WEIGHTS).values
    executor = noisy(model(), shots, method="trajectories", trajectories=1500)
    run = executor(CIRCUIT, SUMS, INPUTS, WEIGHTS, key)
    assert run.record.method == "trajectories"
    assert np.all(run.stderr < 0.1)
    assert np.all(np.abs(run.values - wanted) < 4 * run.stderr)


@pytest.mark.slow
def test_the_mean_of_trajectories_is_exact() -> None:
    check_trajectories(None)


@pytest.mark.slow
def test_each_shot_is_a_trajectory() -> None:
    check_trajectories(1500)


@pytest.mark.slow
def test_operators_that_do_not_ask_the_state_are_rejected(monkeypatch) -> None:
    """As if damping did not mind whether the qubit is excited."""

    def happened(operators, state, axes, draw):
        weights = np.einsum("kij,kij->k", operators.conj(), operators).real
        chosen = (draw * weights.sum() >= np.cumsum(weights)).sum()
        after = trajectories.applied(jnp.asarray(operators)[chosen], state, axes)
        return after / jnp.sqrt(jnp.sum(jnp.abs(after) ** 2))

    monkeypatch.setattr(trajectories, "_happened", happened)
    jax.clear_caches()
    with pytest.raises(AssertionError):
        check_trajectories(None)
    jax.clear_caches()


DAMPED = NoiseModel({"ry": amplitude_damping(0.3), "cx": depolarizing(0.2, 2)})
PAIR = Circuit(2, (Op("ry", 0, w[0]), Op("cx", (0, 1)), Op("ry", 1, w[1])))


@pytest.mark.slow
def test_twirled_trajectories_are_random_paulis_and_differentiable() -> None:
    paulis = NoiseModel(
        {place[0]: np.diag(np.diag(channel)) for place, channel in DAMPED.gates.items()}
    )

    def value(weights, executor, key=None):
        return executor(PAIR, ("ZI",), np.zeros((1, 0)), weights, key).values[0, 0]

    at = jnp.array([0.4, 1.1])
    wanted = jax.value_and_grad(value)(at, noisy(paulis))
    executor = noisy(DAMPED, method="trajectories", trajectories=50, twirl=True)
    run = jax.jit(jax.vmap(lambda key: jax.value_and_grad(value)(at, executor, key)))
    found = run(jax.random.split(KEY, 100))
    for one, other in zip(found, wanted, strict=True):
        assert np.all(np.abs(one.mean(0) - other) < 4 * one.std(0) / 10)
    # It is another noise than the model's.
    assert abs(value(at, noisy(DAMPED)) - wanted[0]) > 0.02


@pytest.mark.slow
def test_the_size_chooses_the_method() -> None:
    chain = Circuit(13, tuple(Op("cx", (q, q + 1)) for q in range(12)))
    executor = noisy(NoiseModel({"cx": depolarizing(0.01, 2)}), trajectories=2)
    with jax.enable_x64(False):
        few = executor(chain, ("Z0 Z1",), np.zeros((1, 0)), [], KEY)
        many = executor(chain, ("Z12",), np.zeros((1, 0)), [], KEY)
    assert (few.record.method, many.record.method) == ("exact", "trajectories")
    jitted = jax.jit(lambda key: executor(chain, ("Z0 Z1",), np.zeros((1, 0)), [], key))
    assert jitted(KEY).record.method == "exact"
    device = bridge.noisy("FakeManilaV2", method="trajectories", trajectories=2)
    assert device(PAIR, ("ZI",), np.zeros((1, 0)), [0.1, 0.2], KEY).record.method == "trajectories"


def test_what_trajectories_cannot_do_is_refused() -> None:
    def value(weights, **changes):
        executor = noisy(DAMPED, method="trajectories", trajectories=2, **changes)
        return executor(PAIR, ("ZI",), np.zeros((1, 0)), weights, KEY).values[0, 0]

    biased = r"^Argument `method` must be 'exact' to be differentiated, since the gradient of traj"
    with pytest.raises(InputError, match=biased):
        jax.grad(value)(jnp.zeros(2))
    with pytest.raises(InputError, match=biased):
        jax.grad(lambda v: value(v, shots=3, twirl=True))(jnp.zeros(2))

    def of_rate(rate):
        executor = noisy(NoiseModel({"ry": amplitude_damping(rate)}), method="trajectories")
        return executor(PAIR, ("ZI",), np.zeros((1, 0)), [0.1, 0.2], KEY).values[0, 0]

    with pytest.raises(InputError, match=r"must be 'exact' where numbers of the noise model are"):
        jax.grad(of_rate)(0.1)
    with pytest.raises(InputError, match=r"^Argument `key` of `noisy` must be a random key"):
        noisy(DAMPED, method="trajectories")(PAIR, ("ZI",), np.zeros((1, 0)), [0.1, 0.2])
    with pytest.raises(InputError, match=r"^Argument `twirl` must be False unless `method`"):
        noisy(DAMPED, twirl=True)
    with pytest.raises(InputError, match=r"^Argument `trajectories` must be an integer of"):
        noisy(DAMPED, trajectories=1)
    with pytest.raises(InputError, match=r"^Argument `method` must be one of 'auto', 'exact'"):
        noisy(DAMPED, method="density")
