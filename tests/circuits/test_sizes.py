"""What is too large is refused before it is built."""

import pytest

from qnn_jax import circuits, expectations, memory
from qnn_jax.circuits import Circuit, Op, w
from qnn_jax.configs import ModelConfig, check_model
from qnn_jax.errors import InputError

HUGE = 10**9
PAIR = Circuit(2, (Op("cx", (0, 1)), Op("ry", 0, w[0])))
GATES = "`ops` of a circuit must hold at most 500000 gates, but would hold at least "
QUBITS = "`num_qubits` must be at most 5000, but is "


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Circuit(HUGE), QUBITS + "1000000000"),
        (lambda: PAIR.on((0, 1), HUGE), QUBITS),
        (lambda: PAIR.on((0, HUGE)), QUBITS),
        (lambda: PAIR.repeat(HUGE), GATES + "2000000000"),
        (lambda: PAIR.repeat(10**400), GATES + "more than a million million; take fewer"),
        (lambda: PAIR.power(-HUGE), GATES),
        (lambda: PAIR.controlled(HUGE), "`num_controls` must be at most 5000"),
        (lambda: PAIR.controlled(100), GATES),
        (lambda: Circuit(1, (Op("h", 0),) * 500_001), GATES + "500001"),
        (lambda: circuits.real_amplitudes(HUGE), QUBITS),
        (lambda: circuits.real_amplitudes(2, HUGE), GATES),
        (lambda: circuits.real_amplitudes(2000, 3, "full"), GATES),
        (lambda: circuits.n_local(1, [], [], reps=HUGE), GATES),
        (lambda: circuits.efficient_su2(2, reps=HUGE), GATES),
        (lambda: circuits.excitation_preserving(5000), GATES),
        (lambda: circuits.zz_feature_map(5000), GATES),
        (lambda: circuits.zz_feature_map(HUGE), QUBITS),
        (lambda: circuits.zz_feature_map(2, HUGE), GATES),
        (lambda: circuits.pauli_feature_map(60, paulis=["Z" * 30]), GATES),
        (lambda: circuits.strongly_entangling_layers(2, HUGE), GATES),
        (lambda: circuits.qcnn(HUGE), QUBITS),
        (lambda: circuits.angle_encoding(HUGE), QUBITS),
        (lambda: circuits.amplitude_encoding(100), GATES),
        (lambda: circuits.data_reuploading(2, reps=HUGE), GATES),
        (lambda: circuits.quantum_volume(2, HUGE, seed=0), GATES),
        (lambda: circuits.random_circuit(2, HUGE, seed=0), GATES),
        (lambda: circuits.random_iqp(5000, seed=0), GATES),
        (lambda: circuits.pauli_evolution("ZZ", reps=HUGE), GATES),
        (lambda: circuits.qaoa_ansatz("ZZ", HUGE), GATES),
        (
            lambda: expectations(Circuit(1100), ["Z" * 1100], [], []),
            "`circuit` must have at most 30 qubits to be simulated, but has 1100: its state has",
        ),
        (lambda: expectations(Circuit(31), ["Z" * 31], [], []), "at most 30 qubits"),
        (lambda: Circuit(1, (Op("rx", 0, w[HUGE]),)), r"`ops` must use w\[999999\] at most, but"),
        (lambda: Circuit(1, (), HUGE), "`num_inputs` must be at most 1000000, but is 1000000000"),
        (lambda: PAIR.shift_weights(HUGE), "`by` must be at most 999999, but is 1000000000"),
    ],
)
def test_what_is_too_large_is_refused_at_once(make, message: str) -> None:
    # Each of them would take minutes to be built.
    with pytest.raises(InputError, match=message):
        make()


def test_a_circuit_for_hardware_is_not_too_large() -> None:
    assert len(circuits.real_amplitudes(1121, 3).ops) == 4 * 1121 + 3 * 1120
    assert Circuit(5000).num_qubits == 5000
    assert Circuit(1, (Op("rx", 0, w[999_999]),)).num_weights == 1_000_000


def test_a_config_must_fit_into_the_machine(monkeypatch) -> None:
    monkeypatch.setattr("qnn_jax.configs.machine_bytes", lambda: 2**20)
    message = r"must be at most 17, but is 18: more than 2\*\*17 amplitudes do not fit into"
    with pytest.raises(InputError, match=message):
        check_model(ModelConfig(num_qubits=18))
    check_model(ModelConfig(num_qubits=17))


def test_a_limit_of_the_shell_is_the_memory_that_counts(monkeypatch) -> None:
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (2**40, 2**40))
    free = memory.machine_bytes()
    pages = int(memory._OWN_PAGES.read_text().split()[0])
    assert free < 2**40
    limit = pages * memory.os.sysconf("SC_PAGE_SIZE") + 2**22
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (limit, limit))
    assert 0 < memory.machine_bytes() <= 2**23
