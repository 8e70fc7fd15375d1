"""What the table of sharded states stands beside its own numbers."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from pipelines.benchmarks import sharded
from qnn_jax import Circuit, Op, expectations, real_amplitudes


@pytest.mark.parametrize("name", ["real_amplitudes full", "feature map + ansatz", "QAOA ring"])
def test_gate_by_gate_is_the_same_circuit(name: str) -> None:
    circuit, _ = sharded.circuits(4, 1)[name]
    types = (AxisType.Auto,) * 3
    mesh = jax.make_mesh((1, 1, 1), ("a", "b", "c"), types, devices=jax.devices()[:1])
    rng = np.random.default_rng(0)
    inputs, weights = (rng.normal(size=m) for m in (circuit.num_inputs, circuit.num_weights))
    wanted = expectations(circuit, "ZZZZ", inputs, weights)[0]
    found = jax.jit(sharded.by_gates(circuit, mesh))(np.float32(inputs), np.float32(weights))
    assert found == pytest.approx(float(wanted), abs=1e-5)


def test_pairwise_exchange_counts_gates_that_turn_fixed_qubits() -> None:
    # Of four qubits one is over devices: two RY and one CX turn it.
    assert sharded.pairwise(real_amplitudes(4, reps=1, entanglement="linear"), 1) == 3
    free = Circuit(4, (Op("cz", (0, 3)), Op("rz", 3, 0.1), Op("cx", (3, 0)), Op("h", 0)))
    assert sharded.pairwise(free, 1) == 0


def test_the_large_table_is_arithmetic() -> None:
    row = sharded._arithmetic(34, 5)
    assert row["devices"] == 32
    assert row["state"] == 32 * 2**30 // 8
    assert row["sent"] == row["exchanges"] * row["state"] * 31 // 32
    assert row["seconds"]["InfiniBand NDR"] == pytest.approx(row["sent"] / 50e9)
