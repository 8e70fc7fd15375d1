"""Packed copies against each copy alone."""

import numpy as np
import pytest
from qiskit import transpile
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import Statevector
from qiskit.transpiler import CouplingMap

import qnn_jax
from qnn_jax.bridge import angle_columns, to_qiskit
from qnn_jax.bridge.packing import pack, packed_rows, places, unpacked

CIRCUIT = qnn_jax.zz_feature_map(2, reps=1) + qnn_jax.real_amplitudes(2, reps=1)
LINE = GenericBackendV2(
    12, ["rz", "sx", "x", "cz"], coupling_map=CouplingMap.from_line(12), seed=4, noise_info=True
)


@pytest.fixture(scope="module")
def isa():
    table = to_qiskit(CIRCUIT)
    table.measure_all()
    return transpile(table, LINE, optimization_level=3, seed_transpiler=0)


def test_each_copy_is_the_circuit_with_its_own_row(isa) -> None:
    random = np.random.default_rng(0)
    inputs, weights = random.normal(size=(3, 2)), random.normal(size=4)
    rows = np.stack([np.asarray(qnn_jax.angles(CIRCUIT, x, weights)) for x in inputs])
    rows = rows[:, list(angle_columns(CIRCUIT).values())]
    found = places(isa, LINE.target, 3)
    packed = pack(isa, found)

    def shares(row: np.ndarray) -> list[np.ndarray]:
        bound = packed.assign_parameters(row)
        measured = {
            bound.find_bit(item.clbits[0]).registers[0]: bound.find_bit(item.qubits[0]).index
            for item in bound.data
            if item.operation.name == "measure"
        }
        state = Statevector(bound.remove_final_measurements(inplace=False))
        return [
            state.probabilities([measured[register, bit] for bit in range(2)])
            for register in packed.cregs
        ]

    wanted = [np.asarray(qnn_jax.probabilities(CIRCUIT, x, weights)) for x in inputs]
    row = packed_rows(rows, 3)[0]
    np.testing.assert_allclose(shares(row), wanted, atol=1e-5)
    # The broken twin: parameters ordered row by row in place of copy by copy.
    assert np.abs(np.array(shares(row.reshape(3, -1).T.ravel())) - wanted).max() > 0.01


def test_places_are_disjoint_with_an_idle_qubit_between_and_the_first_is_the_transpiled(
    isa,
) -> None:
    found = places(isa, LINE.target, 3)
    assert set(found[0].qubits) == set(isa.layout.final_index_layout())
    for k, place in enumerate(found):
        for other in found[:k]:
            assert min(abs(a - b) for a in place.qubits for b in other.qubits) >= 2
    assert all(0 < place.infidelity < 1 for place in found)
    assert 3 <= len(places(isa, LINE.target, 7)) <= 4  # twelve qubits in pairs with gaps


@pytest.mark.parametrize("count", [1, 4, 5, 8])
def test_rows_come_back_in_their_order(count: int) -> None:
    rows = np.arange(2.0 * count).reshape(count, 2)
    packed = packed_rows(rows, 4)
    assert packed.shape == (-(-count // 4), 8)
    np.testing.assert_array_equal(unpacked(packed.reshape(len(packed), 4, 2), count), rows)
