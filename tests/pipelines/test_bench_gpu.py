"""The script for a GPU: its own reference, and that it needs nothing but JAX and NumPy."""

import json
import subprocess
import sys

import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp, Statevector
from simulate.simulator_references import qiskit_state

from pipelines.benchmarks import gpu
from qnn_jax import Circuit, Op, w, x

LABELS = ("ZZZZ", "XIYI", "IIIZ")
FACTORS = (1.0, 2.0, -3.0)


def by_qiskit(circuit, inputs, weights):
    state = Statevector(qiskit_state(circuit, inputs, weights))
    return np.array([state.expectation_value(SparsePauliOp(label)).real for label in LABELS])


@pytest.mark.parametrize("family", gpu.FAMILIES)
@pytest.mark.parametrize("fault", [None, "bits of a gate the other way round"])
def test_the_reference_is_qiskits(family, fault, monkeypatch):
    if fault:
        right = gpu.applied
        monkeypatch.setattr(gpu, "applied", lambda m, qubits, s: right(m, qubits[::-1], s))
    circuit = gpu.FAMILIES[family](4)
    inputs, weights = (rows[0] for rows in gpu.numbers_of(circuit))
    values, *slopes = gpu.reference(circuit, LABELS, FACTORS, inputs, weights)
    wrong = np.max(abs(values - by_qiskit(circuit, inputs, weights)))
    for part, own in enumerate(slopes):
        for k in range(0, len(own), 3):
            up, down = ([inputs.copy(), weights.copy()] for _ in range(2))
            up[part][k] += 1e-5
            down[part][k] -= 1e-5
            apart = (by_qiskit(circuit, *up) - by_qiskit(circuit, *down)) @ FACTORS / 2e-5
            wrong = max(wrong, abs(own[k] - apart))
    assert (wrong > 1e-3) if fault else (wrong < 1e-7)


def test_a_derivative_goes_through_the_expression():
    circuit = Circuit(1, (Op("ry", 0, w[0] * x[0] * x[0]),))
    _, by_inputs, by_weights = gpu.reference(
        circuit, ("Z",), (1.0,), np.array([0.5]), np.array([2.0])
    )
    np.testing.assert_allclose(by_inputs, [-np.sin(0.5) * 2.0], atol=1e-8)
    np.testing.assert_allclose(by_weights, [-np.sin(0.5) * 0.25], atol=1e-8)


@pytest.mark.slow
def test_a_wrong_value_fails(monkeypatch):
    right = gpu.expectations
    monkeypatch.setattr(gpu, "expectations", lambda *given: right(*given) * 1.001)
    monkeypatch.setattr(gpu, "FAMILIES", {"random": gpu.FAMILIES["random"]})
    rows = list(gpu.checks((3,)))
    failed = {row["what"] for row in rows if not row["passed"]}
    assert {"expectations, adjoint", "gradient, batch of weights"} <= failed
    assert "statevector" not in failed


@pytest.mark.slow
def test_it_runs_with_nothing_but_jax(tmp_path):
    output = tmp_path / "gpu.json"
    code = (
        "import sys; from pipelines.benchmarks import gpu;"
        f"status = gpu.main(['--small', '--seconds', '1', '--output', {str(output)!r}]);"
        "assert not {'tyro', 'rich', 'qiskit', 'flax', 'optax'} & set(sys.modules);"
        "sys.exit(status)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
    found = json.loads(output.read_text())
    assert found["checks"]
    assert all(row["passed"] for row in found["checks"])
    assert found["copy_bytes_per_second"] > 0
