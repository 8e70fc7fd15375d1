"""Folded circuits are the circuit, and their RZZ stay within the machines' range."""

import jax
import numpy as np
import pytest
from qiskit.quantum_info import Operator
from reference import distance

import qnn_jax
from qnn_jax import Circuit, Op, w, x
from qnn_jax.bridge import to_qiskit
from qnn_jax.bridge.fractional import folded, folded_angles, with_rzz

CIRCUITS = {
    "the seed's": qnn_jax.zz_feature_map(2) + qnn_jax.real_amplitudes(2, reps=2),
    "three qubits": qnn_jax.zz_feature_map(3, reps=1) + qnn_jax.real_amplitudes(3, reps=1),
    "other neighbours of CX": Circuit(
        2,
        (
            Op("cx", (0, 1)), Op("p", 0, x[0]), Op("cx", (0, 1)), Op("cx", (1, 0)),
            Op("rz", 0, w[0]), Op("cx", (1, 0)), Op("rzz", (0, 1), 0.3), Op("ry", 1, x[1]),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("circuit", CIRCUITS.values(), ids=CIRCUITS)
def test_the_folded_circuit_is_the_circuit(circuit: Circuit) -> None:
    random = np.random.default_rng(0)
    merged = with_rzz(circuit)
    inputs, weights = (
        random.uniform(-4, 4, (4, circuit.num_inputs)),
        random.normal(size=circuit.num_weights),
    )
    with jax.enable_x64(True):
        table = np.array([qnn_jax.angles(merged, row, weights) for row in inputs])
    bound = folded_angles(merged, table)
    made = folded(merged)
    named = to_qiskit(circuit)
    for k, row in enumerate(inputs):
        values = {p: bound[p.name][k] for p in made.parameters}
        with jax.enable_x64(True):
            angles = np.asarray(qnn_jax.angles(circuit, row, weights))
        columns = list(qnn_jax.bridge.angle_columns(circuit).values())
        wanted = Operator(named.assign_parameters(angles[columns])).data
        assert distance(Operator(made.assign_parameters(values)).data, wanted) < 1e-12
        # The broken twin: no flip where the angle is negative.
        unflipped = {p: 0.0 if p.name.endswith("_flip") else v for p, v in values.items()}
        if any(values[p] for p in values if p.name.endswith("_flip")):
            assert distance(Operator(made.assign_parameters(unflipped)).data, wanted) > 1e-6
    for name, angle in bound.items():
        if f"{name}_flip" in bound:
            assert ((angle >= 0) & (angle <= np.pi / 2)).all()
    assert any((bound[name] > 0).any() for name in bound if name.endswith("_flip"))


def test_only_the_pattern_is_merged() -> None:
    gates = [op.gate for op in with_rzz(CIRCUITS["other neighbours of CX"]).ops]
    assert gates == ["cx", "p", "cx", "rzz", "rzz", "ry"]
