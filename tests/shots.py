"""The contract of every executor with shots. Qiskit is the reference."""

import functools

import numpy as np
from qiskit.quantum_info import SparsePauliOp, Statevector
from reference import in_qiskit

from qnn_jax import Circuit, Op, real_amplitudes, zz_feature_map
from qnn_jax.circuits.observables import observables_on
from qnn_jax.executors import Executor

CIRCUIT = zz_feature_map(2) + real_amplitudes(2, reps=1)
WEIGHTS = np.array([0.3, -0.8, 0.5, 1.1], np.float32)
OBSERVABLES = observables_on(2, ("ZZ", "IZ", "XI", {"YX": 2.0, "ZI": 0.5}))
STRINGS = ("ZZ", "IZ", "XI", "YX", "ZI")
SHOTS = 500


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(-2, 2, (count, 2)).astype(np.float32)


@functools.cache
def expected(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact values, and the variances of one shot in each of the bases ZZ, XI and YX."""
    values, variances = [], []
    for row in rows(count):
        state = Statevector(in_qiskit(CIRCUIT, row, WEIGHTS))
        zz, iz, xi, yx, zi = (
            state.expectation_value(SparsePauliOp(string)).real for string in STRINGS
        )
        values.append([zz, iz, xi, 2 * yx + 0.5 * zi])
        variances.append([1 - zz**2, 1 - iz**2, 1 - xi**2, 4 * (1 - yx**2) + 0.25 * (1 - zi**2)])
    return np.array(values), np.array(variances)


def check_shots(make, key=None) -> None:
    """`make(shots)` is an executor: right values, spread and errors, and fresh shots."""
    executor: Executor = make(SHOTS)
    inputs = rows(300)
    run = executor(CIRCUIT, OBSERVABLES, inputs, WEIGHTS, key)
    values, variances = expected(300)
    assert run.values.shape == run.stderr.shape == (300, 4), "shape"
    wanted = np.sqrt(variances / SHOTS)
    z = (np.asarray(run.values) - values) / wanted
    # 300 rows: the standard error of the mean of z is 0.06, that of its spread 0.04.
    assert np.abs(z.mean(0)).max() < 0.25, f"values: {z.mean(0)}"
    assert np.abs(z.std(0) - 1).max() < 0.18, f"spread: {z.std(0)}"
    ratio = np.median(np.asarray(run.stderr) / wanted, 0)
    assert np.abs(ratio - 1).max() < 0.05, f"errors: {ratio}"
    equal = executor(CIRCUIT, OBSERVABLES, np.repeat(inputs[:1], 300, 0), WEIGHTS, key)
    assert len(np.unique(np.asarray(equal.values)[:, 0])) > 20, "fresh shots for every row"


def check_one_shot(make, key=None) -> None:
    """`make(1)` measures once: strings that commute are read from one outcome."""
    strings = observables_on(2, ("ZZ", "IZ", "ZI"))
    zz, iz, zi = np.asarray(make(1)(CIRCUIT, strings, rows(50), WEIGHTS, key).values).T
    assert np.array_equal(zz, iz * zi), "one shot for all that commutes"
    assert len(np.unique(zz)) == len(np.unique(zi)) == 2, "one shot is one outcome"


def check_order(make, key=None) -> None:
    """Labels mean the same qubits as Qiskit's, in all bases; certain outcomes are certain."""
    circuit = Circuit(3, (Op("x", 0), Op("h", 1), Op("rx", 2, np.pi / 2)))
    labels = ("IIZ", "ZII", "IXI", "YXZ", "YII", "IZI", "III")
    run = make(400)(circuit, observables_on(3, labels), np.zeros((2, 0)), np.zeros(0), key)
    found = np.asarray(run.values)
    certain = [0, 2, 3, 4, 6]
    np.testing.assert_allclose(found[:, certain], [[-1, 1, 1, -1, 1]] * 2, atol=1e-6)
    np.testing.assert_allclose(np.asarray(run.stderr)[:, certain], 0, atol=1e-6)
    assert np.abs(found[:, [1, 5]]).max() < 0.3
