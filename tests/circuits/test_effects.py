"""Every weight of a library circuit changes the state, by Qiskit; repr and drawing in notebooks."""

import html
import re
from functools import partial

import numpy as np
import pytest
from flax import nnx
from qiskit.quantum_info import Statevector, state_fidelity
from reference import in_qiskit, random_vectors

import qnn_jax
from qnn_jax import Circuit, Op, PauliSum, plan, w, x
from qnn_jax.circuits import library

#: On |0…0>, with the weights that change nothing there, as their docstrings say.
ANSATZE = {
    "real_amplitudes": (partial(qnn_jax.real_amplitudes, 3, 2), set()),
    "efficient_su2": (partial(qnn_jax.efficient_su2, 3, reps=2), set()),
    "n_local": (partial(qnn_jax.n_local, 3, ["ry", "rz"], "crx", "linear", 1), set()),
    "qaoa_ansatz": (partial(qnn_jax.qaoa_ansatz, {"ZZI": 1.0, "IZZ": 0.5}, 2), set()),
    "pauli_evolution": (partial(qnn_jax.pauli_evolution, {"XX": 1.0, "ZI": 0.5}, w[0]), set()),
    "data_reuploading": (partial(qnn_jax.data_reuploading, 2, 3, 2), set()),
    "data_reuploading, one qubit": (partial(qnn_jax.data_reuploading, 1, 1, 4), set()),
    "strongly_entangling_layers": (partial(qnn_jax.strongly_entangling_layers, 3, 2), {0, 3, 6}),
    "qcnn": (partial(qnn_jax.qcnn, 4), set()),
    "qcnn, two qubits": (partial(qnn_jax.qcnn, 2), {2}),
    "excitation_preserving": (
        partial(qnn_jax.excitation_preserving, 3, "fsim", reps=1),
        set(range(12)),
    ),
}


#: A product state where no rotation is without effect.
def turned(num_qubits: int) -> Circuit:
    gates = (
        Op(gate, q, 0.7 + 0.4 * q + 0.3 * k)
        for k, gate in enumerate(("ry", "rz"))
        for q in range(num_qubits)
    )
    return Circuit(num_qubits, tuple(gates))


def idle(circuit: Circuit) -> set[int]:
    """The weights that leave the state as it is, up to a phase, which no expectation sees."""
    inputs, weights = random_vectors(circuit, seed=2)
    found = set()
    state = Statevector(in_qiskit(circuit, inputs, weights))
    for j in range(circuit.num_weights):
        shift = 0.4 * (np.arange(len(weights)) == j)
        moved = Statevector(in_qiskit(circuit, inputs, weights + shift))
        if state_fidelity(state, moved) > 1 - 1e-9:
            found.add(j)
    return found


def test_every_circuit_with_weights_is_in_the_table() -> None:
    without = {"amplitude_encoding", "angle_encoding", "iqp", "pauli_feature_map", "quantum_volume"}
    without |= {"random_circuit", "random_iqp", "z_feature_map", "zz_feature_map"}
    circuits = {name for name in library.__all__ if name in qnn_jax.__all__}
    assert circuits - without == {name.partition(",")[0] for name in ANSATZE}


@pytest.mark.parametrize("name", ANSATZE)
def test_every_weight_changes_the_state(name: str) -> None:
    make, on_zero = ANSATZE[name]
    circuit = make()
    assert circuit.num_weights
    assert idle(circuit) == on_zero
    assert not idle(turned(circuit.num_qubits) + circuit)


def test_a_rotation_about_z_after_zero_is_found_idle() -> None:
    assert idle(qnn_jax.data_reuploading(1, 1, reps=2, rotations=["rz", "ry", "rz"])) == {0, 1}


# What a value looks like.


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (2 * x[0] - w[1] / 3, "2*x[0] - w[1]/3"),
        (x[0] * 0.123456789, "x[0]*0.123456789"),
        (Op("rx", 0, 0.5).angles[0], "Number(0.5)"),
        (Op("h", 2), "Op('h', 2)"),
        (Op("cx", (0, 1)), "Op('cx', (0, 1))"),
        (Op("u", 0, (x[0], 0.5, w[1])), "Op('u', 0, (x[0], 0.5, w[1]))"),
        (Op("unitary", 0, matrix=[[0, 1], [1, 0]]), "Op('unitary', 0, matrix=<2 × 2>)"),
        (PauliSum((("ZI", 0.5), ("XX", 1.0))), "PauliSum(0.5·ZI + 1.0·XX)"),
        (
            Circuit(2, (Op("h", 0), Op("cx", (0, 1))), num_inputs=1),
            "Circuit(num_qubits=2, ops=[Op('h', 0), Op('cx', (0, 1))], num_inputs=1, "
            "num_weights=0)",
        ),
        (
            qnn_jax.real_amplitudes(2),
            "Circuit(num_qubits=2, ops=[Op('ry', 0, w[0]), Op('ry', 1, w[1]), Op('cx', (0, 1)), "
            "… 8 more], num_inputs=0, num_weights=8)",
        ),
        (
            plan(qnn_jax.real_amplitudes(2, reps=1)),
            "<Plan for 2 qubits: 2 steps; print it to see them>",
        ),
    ],
)
def test_values_are_shown_in_one_line(value: object, wanted: str) -> None:
    assert repr(value) == wanted


def test_no_value_is_shown_in_kilobytes() -> None:
    long = sum((w[k] * x[k] for k in range(1, 60)), start=w[0] * x[0])
    many = PauliSum(tuple(("Z" * 8, 1.0) for _ in range(500)))
    for value in (long, Op("rx", 0, long), Circuit(1, (Op("u", 0, (long,) * 3),) * 50), many):
        assert len(repr(value)) < 1000
    for layer in (
        qnn_jax.linen.QuantumLayer(qnn_jax.zz_feature_map(4), ("ZZZZ",)),
        qnn_jax.nnx.QuantumLayer(qnn_jax.zz_feature_map(4), ("ZZZZ",), rngs=nnx.Rngs(0)),
    ):
        assert len(repr(layer)) < 700


def test_a_notebook_shows_the_drawing() -> None:
    circuit = Circuit(2, (Op("rx", 0, 0.123456789), Op("cx", (0, 1))))
    shown = circuit._repr_html_()
    assert re.fullmatch(r"<pre style=\"[^\"]*white-space: pre;[^\"]*\">[^<>]*</pre>", shown)
    assert html.unescape(re.sub("<.*?>", "", shown)) == str(circuit)
    assert str(circuit).splitlines()[0] == "q0: ─RX(0.123457)─●─"
    thousands = qnn_jax.real_amplitudes(3, reps=2000)._repr_html_()
    assert thousands.count("\n") == 200
    assert "more lines; print shows them all</pre>" in thousands
    drawn = plan(qnn_jax.real_amplitudes(2))
    assert html.unescape(re.sub("</?pre.*?>", "", drawn._repr_html_())) == str(drawn)
