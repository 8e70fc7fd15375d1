"""A device cut down to the qubits in use must be the same device. Aer's own model is the judge."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from qnn_jax import InputError
from qnn_jax.bridge import noise
from qnn_jax.bridge.backend_names import check_fake_backend, fake_backend_names


def lopsided(num_qubits: int) -> QuantumCircuit:
    """A circuit whose outcomes have all different probabilities; every clbit its own qubit."""
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(0.4 + 0.5 * qubit, qubit)
        if qubit:
            circuit.cx(qubit - 1, qubit)
            circuit.rz(0.3 * qubit, qubit)
            circuit.cx(qubit - 1, qubit)
            circuit.sx(qubit)
    circuit.measure_all()
    return circuit


def probabilities(circuit: QuantumCircuit, model: NoiseModel) -> np.ndarray:
    """The exact probabilities of all outcomes, readout errors included."""
    qubits = {
        circuit.find_bit(item.clbits[0]).index: circuit.find_bit(item.qubits[0]).index
        for item in circuit.data
        if item.operation.name == "measure"
    }
    order = [qubits[clbit] for clbit in range(len(qubits))]
    bare = circuit.remove_final_measurements(inplace=False)
    bare.save_probabilities(order)
    simulator = AerSimulator(noise_model=model, method="density_matrix", max_parallel_threads=1)
    found = np.asarray(simulator.run(bare).result().data()["probabilities"])
    errors = {
        tuple(error["gate_qubits"][0]): np.array(error["probabilities"])
        for error in model.to_dict()["errors"]
        if error["type"] == "roerror"
    }
    tensor = found.reshape((2,) * len(order))
    for clbit, qubit in enumerate(order):
        if (qubit,) in errors:
            axis = len(order) - 1 - clbit
            misread = np.tensordot(errors[(qubit,)].T, tensor, (1, axis))
            tensor = np.moveaxis(misread, 0, axis)
    return tensor.ravel()


def check_cut(name: str, num_qubits: int, cut=noise.cut) -> None:
    backend = noise.fake_backend(name)
    (isa,) = noise.transpiled([lopsided(num_qubits)], backend)
    small = cut([isa], backend.target)
    assert small.circuits[0].num_qubits == len(small.qubits) == num_qubits
    wanted = probabilities(isa, NoiseModel.from_backend(backend))
    found = probabilities(small.circuits[0], noise.noise_model(small.target))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


def test_a_cut_device_has_the_probabilities_of_the_whole() -> None:
    check_cut("FakeManilaV2", 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["FakeFez", "FakeKingston"])
def test_a_cut_heron_has_the_probabilities_of_the_whole(name: str) -> None:
    check_cut(name, 2)


def with_errors_of_other_qubits(circuits, target: Target) -> noise.Sublattice:
    right = noise.cut(circuits, target)
    turned = Target(num_qubits=right.target.num_qubits, dt=right.target.dt)
    turned.qubit_properties = right.target.qubit_properties[::-1]
    last = len(right.qubits) - 1
    for name in right.target.operation_names:
        gates = {
            tuple(last - q for q in where): found for where, found in right.target[name].items()
        }
        turned.add_instruction(right.target.operation_from_name(name), gates, name=name)
    return right._replace(target=turned)


def without_readout_errors(circuits, target: Target) -> noise.Sublattice:
    right = noise.cut(circuits, target)
    for where in list(right.target["measure"]):
        right.target.update_instruction_properties("measure", where, None)
    return right


@pytest.mark.parametrize("broken", [with_errors_of_other_qubits, without_readout_errors])
def test_errors_of_other_qubits_and_missing_ones_are_seen(broken) -> None:
    with pytest.raises(AssertionError, match="Mismatched"):
        check_cut("FakeManilaV2", 3, broken)


def infidelity(target: Target, pair: tuple[int, int]) -> float:
    gate = target["cz"][pair].error
    return 1 - (1 - gate) ** 6 * np.prod([1 - target["measure"][(q,)].error for q in pair])


def test_the_layout_follows_gate_and_readout_errors() -> None:
    backend = noise.fake_backend("FakeFez")
    (isa,) = noise.transpiled([lopsided(2)], backend)
    every = [infidelity(backend.target, pair) for pair in backend.target["cz"]]
    chosen = noise.cut([isa], backend.target).qubits
    pair = chosen if chosen in backend.target["cz"] else chosen[::-1]
    assert infidelity(backend.target, pair) <= np.quantile(every, 0.05)


def test_all_circuits_share_the_layout_of_the_first() -> None:
    backend = noise.fake_backend("FakeManilaV2")
    turned = lopsided(2).remove_final_measurements(inplace=False)
    turned.h(0)
    turned.measure_all()
    small = noise.cut(noise.transpiled([lopsided(2), turned], backend), backend.target)
    assert len(small.qubits) == 2


def test_names_are_those_of_the_installed_package() -> None:
    import qiskit_ibm_runtime.fake_provider as provider

    assert len(fake_backend_names()) > 60
    assert all(hasattr(provider, name) for name in fake_backend_names())
    assert noise.calibration_date(noise.fake_backend("FakeFez")) == "2025-02-26"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("FakeFes", "did you mean FakeFez"),
        ("fez", "did you mean FakeFez"),
        ("ibm_kingston", "did you mean FakeKingston"),
        ("FakeManila", "did you mean FakeManilaV2"),
        ("xqzw", "FakeFez and FakeKingston are two of them"),
    ],
)
def test_an_unknown_backend_is_refused_with_near_names(name: str, near: str) -> None:
    wanted = f"^Argument `noise` must name one of Qiskit's fake backends, but is '{name}'.*{near}"
    with pytest.raises(InputError, match=wanted):
        check_fake_backend(name)


def test_too_few_qubits_are_refused() -> None:
    with pytest.raises(InputError, match=r"must have at most 5 qubits to run on .*, but has 6"):
        noise.transpiled([lopsided(6)], noise.fake_backend("FakeManilaV2"))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda circuit: circuit.h(3), "`h` on qubit 3"),
        (lambda circuit: circuit.cx(0, 4), "`cx` on qubits 0, 4"),
    ],
)
def test_a_gate_outside_the_target_is_named(build, named: str) -> None:
    backend = noise.fake_backend("FakeManilaV2")
    circuit = QuantumCircuit(5)
    circuit.sx(1)
    build(circuit)
    with pytest.raises(InputError, match=f"must consist of gates of .* but has {named}"):
        noise.check_gates(circuit, backend.target, backend.name)


def test_what_cannot_be_transpiled_is_one_sentence() -> None:
    from qiskit.circuit import Gate

    circuit = QuantumCircuit(2)
    circuit.append(Gate("mystery", 2, []), [0, 1])
    with pytest.raises(InputError, match=r"must be a circuit that .* can run, but Qiskit cannot"):
        noise.transpiled([circuit], noise.fake_backend("FakeManilaV2"))
