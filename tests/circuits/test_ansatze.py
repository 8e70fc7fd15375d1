"""The circuits that Qiskit has no function for, against closed forms and formulas of others."""

import cmath
import math

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, Pauli, SparsePauliOp, Statevector
from reference import in_qiskit, random_vectors
from scipy.linalg import expm

from qnn_jax.circuits import (
    GATES,
    Circuit,
    Op,
    amplitude_encoding,
    angle_encoding,
    data_reuploading,
    qcnn,
    quantum_volume,
    random_circuit,
    random_iqp,
    strongly_entangling_layers,
    w,
    x,
)
from qnn_jax.errors import InputError

NONE = np.array([])
SEED = "^Argument `seed` must be an integer between 0 and 4294967295, "


def state(circuit: Circuit, inputs: object = NONE, weights: object = NONE) -> np.ndarray:
    return Statevector(in_qiskit(circuit, np.asarray(inputs), np.asarray(weights))).data


# Strongly entangling layers: PennyLane's Rot and its default ranges, written out in numpy.


def rot(phi: float, theta: float, omega: float) -> np.ndarray:
    """The matrix that PennyLane's documentation gives for Rot."""
    cos, sin = math.cos(theta / 2), math.sin(theta / 2)
    plus, minus = (phi + omega) / 2, (phi - omega) / 2
    return np.array(
        [
            [cmath.exp(-1j * plus) * cos, -cmath.exp(1j * minus) * sin],
            [cmath.exp(-1j * minus) * sin, cmath.exp(1j * plus) * cos],
        ]
    )


def pennylanes_layers(weights: np.ndarray, ranges: list[int]) -> np.ndarray:
    """The unitary for an array (layers, qubits, 3) of weights, wire q being Qiskit's qubit q."""
    num_qubits = weights.shape[1]
    size = 2**num_qubits
    unitary = np.eye(size, dtype=complex)
    for layer, step in zip(weights, ranges, strict=True):
        for q, angles in enumerate(layer):
            high, low = np.eye(2 ** (num_qubits - 1 - q)), np.eye(2**q)
            unitary = np.kron(np.kron(high, rot(*angles)), low) @ unitary
        for q in range(num_qubits):
            target = (q + step) % num_qubits
            images = [i ^ (i >> q & 1) << target for i in range(size)]
            unitary = unitary[images] if step else unitary  # CX is its own inverse
    return unitary


@pytest.mark.parametrize(
    ("num_qubits", "ranges"),
    [(1, [0, 0]), (2, [1, 1, 1]), (3, [1, 2, 1, 2]), (4, [1, 2, 3, 1]), (5, [1, 2])],
)
def test_strongly_entangling_layers_are_pennylanes(num_qubits: int, ranges: list[int]) -> None:
    ours = strongly_entangling_layers(num_qubits, len(ranges))
    assert ours.num_weights == 3 * num_qubits * len(ranges)
    _, weights = random_vectors(ours, seed=3)
    wanted = pennylanes_layers(weights.reshape(len(ranges), num_qubits, 3), ranges)
    assert np.abs(Operator(in_qiskit(ours, NONE, weights)).data - wanted).max() < 1e-13
    broken = in_qiskit(ours, NONE, weights[::-1])
    assert np.abs(Operator(broken).data - wanted).max() > 0.1
    if num_qubits > 2:
        chosen = [num_qubits - 1] * len(ranges)
        other = strongly_entangling_layers(num_qubits, len(ranges), chosen)
        wanted = pennylanes_layers(weights.reshape(len(ranges), num_qubits, 3), chosen)
        assert np.abs(Operator(in_qiskit(other, NONE, weights)).data - wanted).max() < 1e-13


def test_strongly_entangling_layers_take_other_gates() -> None:
    ops = strongly_entangling_layers(3, imprimitive="cz").ops
    assert [op.qubits for op in ops if op.gate == "cz"] == [(0, 1), (1, 2), (2, 0)]


# QCNN: block by block with Qiskit.


def convolved_and_pooled(qubits: int, layers: list[tuple[str, list[tuple[int, int]]]]) -> object:
    """Blocks written out, each with fresh weights."""
    rng = np.random.default_rng(5)
    weights, circuit = [], QuantumCircuit(qubits)
    for kind, pairs in layers:
        for a, b in pairs:
            one, two, three = rng.uniform(-3, 3, 3)
            if kind == "pooling":
                weights += [one, two]
                circuit.crz(one, a, b)
                circuit.crx(two, a, b)
                continue
            # exp(-i(αXX + βYY + γZZ)/2) as one matrix: XX, YY and ZZ commute.
            weights += [one, two, three]
            paulis = SparsePauliOp(["XX", "YY", "ZZ"], [one, two, three]).to_matrix()
            circuit.unitary(expm(-0.5j * paulis), [a, b])
    return circuit, np.array(weights)


QCNN_LAYERS = {
    2: [("convolution", [(0, 1)]), ("pooling", [(0, 1)])],
    3: [
        ("convolution", [(0, 1), (2, 0), (1, 2)]),
        ("pooling", [(0, 1)]),
        ("convolution", [(1, 2)]),
        ("pooling", [(1, 2)]),
    ],
    4: [
        ("convolution", [(0, 1), (2, 3), (1, 2), (3, 0)]),
        ("pooling", [(0, 2), (1, 3)]),
        ("convolution", [(2, 3)]),
        ("pooling", [(2, 3)]),
    ],
}


@pytest.mark.parametrize("num_qubits", QCNN_LAYERS)
def test_qcnn_block_by_block(num_qubits: int) -> None:
    theirs, weights = convolved_and_pooled(num_qubits, QCNN_LAYERS[num_qubits])
    ours = qcnn(num_qubits, weights="fresh")
    assert ours.num_weights == len(weights)
    difference = Operator(in_qiskit(ours, NONE, weights)).data - Operator(theirs).data
    assert np.abs(difference).max() < 1e-13
    # Shared weights: the same circuit where all blocks of a layer get the same numbers.
    shared = qcnn(num_qubits)
    sizes = [3 if kind == "convolution" else 2 for kind, _ in QCNN_LAYERS[num_qubits]]
    assert shared.num_weights == sum(sizes)
    _, few = random_vectors(shared, seed=6)
    layers = zip(np.split(few, np.cumsum(sizes)[:-1]), QCNN_LAYERS[num_qubits], strict=True)
    many = np.concatenate([np.tile(part, len(pairs)) for part, (_, pairs) in layers])
    difference = state(shared, weights=few) - state(ours, weights=many)
    assert np.abs(difference).max() < 1e-13


@pytest.mark.parametrize("num_qubits", [2, 3, 5, 8])
def test_the_last_qubit_of_a_qcnn_hears_every_weight(num_qubits: int) -> None:
    circuit = angle_encoding(num_qubits) + qcnn(num_qubits)
    inputs, weights = random_vectors(circuit, seed=1)

    def heard_on(qubit: int) -> np.ndarray:
        label = ["I"] * num_qubits
        label[-1 - qubit] = "Z"
        observable = Pauli("".join(label))
        values = []
        for shift in (0, *(0.3 * np.eye(len(weights)))):
            bound = in_qiskit(circuit, inputs, weights + shift)
            values.append(Statevector(bound).expectation_value(observable).real)
        return np.abs(np.array(values[1:]) - values[0]) > 1e-6

    assert heard_on(num_qubits - 1).all()
    assert not heard_on(0).all()  # qubit 0 was pooled away before the last layers


# Encodings.


def test_angle_encoding_is_a_product_state() -> None:
    inputs = [0.3, -1.2, 2.0]
    for rotation in ("rx", "ry"):
        wanted = np.ones(1)
        for value in reversed(inputs):
            wanted = np.kron(wanted, np.array(GATES[rotation].matrix(np, value))[:, 0])
        assert np.abs(state(angle_encoding(3, rotation), inputs) - wanted).max() < 1e-14


def amplitude_angles(vector: list[complex], phases: bool) -> list[float]:
    """The contract of `amplitude_encoding`, in plain Python."""
    num_qubits = len(vector).bit_length() - 1
    radii: list[list[float]] = []
    means: list[list[float]] = []
    for level in range(num_qubits):
        size = len(vector) >> level + 1
        halves = [vector[k * size : (k + 1) * size] for k in range(2 << level)]
        norms = [math.sqrt(sum(abs(v) ** 2 for v in half)) for half in halves]
        if level == num_qubits - 1 and not phases:
            norms = [float(v.real) for v in vector]
        mean = [sum(cmath.phase(v) for v in half) / size for half in halves]
        pairs = range(0, len(halves), 2)
        radii.append([2 * math.atan2(norms[p + 1], norms[p]) for p in pairs])
        means.append([mean[p + 1] - mean[p] for p in pairs])
    angles = [angle for tree in ((radii, means) if phases else (radii,)) for angle in walsh(tree)]
    return angles + ([sum(map(cmath.phase, vector)) / len(vector)] if phases else [])


def walsh(tree: list[list[float]]) -> list[float]:
    return [
        sum((-1) ** (p & (i ^ i >> 1)).bit_count() * a for p, a in enumerate(level)) / len(level)
        for level in tree
        for i in range(len(level))
    ]


@pytest.mark.parametrize("num_qubits", range(1, 6))
def test_amplitude_encoding_prepares_any_vector(num_qubits: int) -> None:
    rng = np.random.default_rng(num_qubits)
    size = 2**num_qubits
    sparse = np.zeros(size)
    sparse[-1] = -2.0
    for vector in (rng.normal(size=size), np.ones(size), sparse):
        circuit = amplitude_encoding(num_qubits)
        angles = amplitude_angles(vector.tolist(), phases=False)
        assert (circuit.num_inputs, circuit.num_weights) == (len(angles), 0) == (size - 1, 0)
        wanted = vector / np.linalg.norm(vector)
        assert np.abs(state(circuit, angles) - wanted).max() < 1e-14
        if size > 2:
            assert np.abs(state(circuit, angles[::-1]) - wanted).max() > 1e-3
    vector = rng.normal(size=size) + 1j * rng.normal(size=size)
    circuit = amplitude_encoding(num_qubits, phases=True)
    angles = amplitude_angles(vector.tolist(), phases=True)
    assert circuit.num_inputs == len(angles) == 2 * size - 1
    assert np.abs(state(circuit, angles) - vector / np.linalg.norm(vector)).max() < 1e-13
    # A multiplexer has a CX a rotation, but for the first one of the tree.
    gates = [op.gate for op in amplitude_encoding(num_qubits).ops]
    assert (gates.count("ry"), gates.count("cx")) == (size - 1, size - 2)


def test_data_reuploading_on_one_qubit_adds_its_angles() -> None:
    circuit = data_reuploading(1, 1, reps=3, rotations=["ry"])
    weights = np.array([0.3, -0.7, 1.1, 0.2, -0.4, 0.9])
    angle = sum(weights[::2]) * 1.7 + sum(weights[1::2])
    wanted = [math.cos(angle / 2), math.sin(angle / 2)]
    assert state(circuit, [1.7], weights) == pytest.approx(wanted, abs=1e-14)


def test_data_reuploading_gate_by_gate() -> None:
    circuit = data_reuploading(2, reps=2, rotations=["ry", "rz"])
    slots = [Op(gate, q, w[2 * k] * x[k % 2] + w[2 * k + 1]) for k, (q, gate) in enumerate(
        [(q, gate) for _ in range(2) for q in range(2) for gate in ("ry", "rz")])]  # fmt: skip
    assert circuit.ops == (*slots[:4], Op("cz", (0, 1)), *slots[4:])
    assert (circuit.num_inputs, circuit.num_weights) == (2, 16)
    three = data_reuploading(2, 3, reps=1)
    assert [angle for angle in three.angles if str(x[1]) in str(angle)] == [
        w[2] * x[1] + w[3],
        w[8] * x[1] + w[9],
    ]


# Random circuits.


def test_random_circuits_follow_their_seed() -> None:
    for make in (
        lambda seed: quantum_volume(3, seed=seed),
        lambda seed: random_circuit(4, 5, seed=seed),
        lambda seed: random_iqp(4, seed=seed),
    ):
        assert make(1) == make(1) != make(2)
    # Written down once: the same on every machine and every Python.
    first = [(op.gate, op.qubits) for op in random_circuit(3, 2, seed=0).ops]
    assert first == [("id", (2,)), ("id", (0,)), ("z", (1,)), ("cswap", (1, 2, 0))]
    entry = quantum_volume(2, 1, seed=0).ops[0].matrix[0][0]
    assert entry == pytest.approx(-0.08848736332489167 - 0.1513695660035456j, abs=1e-12)


def test_quantum_volume_pairs_qubits_at_random() -> None:
    for num_qubits in (2, 5, 6):
        circuit = quantum_volume(num_qubits, 99, seed=1)
        width = num_qubits // 2
        assert len(circuit.ops) == 99 * width
        layers = [circuit.ops[k * width : (k + 1) * width] for k in range(99)]
        for layer in layers:
            assert len({q for op in layer for q in op.qubits}) == 2 * width
        pairs = {op.qubits for op in circuit.ops}
        assert len(pairs) == num_qubits * (num_qubits - 1)
    assert len(quantum_volume(4, seed=1).ops) == 8


def moments(unitaries: np.ndarray) -> list[float]:
    """Averages that the Haar measure on 4 × 4 matrices knows: |tr|², |tr|⁴, |u00|⁴."""
    traces = np.abs(np.trace(unitaries, axis1=1, axis2=2))
    return [np.mean(traces**2), np.mean(traces**4), np.mean(np.abs(unitaries[:, 0, 0]) ** 4)]


def test_random_unitaries_are_haar_distributed() -> None:
    unitaries = np.array([op.matrix for op in quantum_volume(24, 1000, seed=7).ops])
    assert np.abs(np.linalg.det(unitaries) - 1).max() < 1e-12
    # Exact: 1, 2 and 2 / (4 · 5); standard errors of 12,000 samples are 0.01, 0.05 and 0.001.
    assert moments(unitaries) == pytest.approx([1, 2, 0.1], abs=0.15)
    assert moments(unitaries)[2] == pytest.approx(0.1, abs=0.004)
    # A broken twin: orthonormal, but real.
    real, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3000, 4, 4)))
    assert moments(real)[1] != pytest.approx(2, abs=0.15)
    assert moments(real)[2] != pytest.approx(0.1, abs=0.004)


def test_random_circuit_uses_every_qubit_in_every_layer() -> None:
    circuit = random_circuit(7, 200, seed=3)
    counts = [sum(q in op.qubits for op in circuit.ops) for q in range(7)]
    assert counts == [200] * 7
    used = {op.gate for op in circuit.ops}
    assert used == set(GATES) - {"global_phase"}
    assert all(len(op.qubits) <= 2 for op in random_circuit(7, 20, 2, seed=3).ops)
    numbers = random_circuit(3, 10, seed=4)
    trained = random_circuit(3, 10, seed=4, trainable=True)
    assert (numbers.num_weights, trained.num_weights) == (0, numbers.num_angles)
    assert [op.qubits for op in numbers.ops] == [op.qubits for op in trained.ops]
    weights = [angle.value for angle in numbers.angles]
    assert np.abs(state(numbers) - state(trained, weights=weights)).max() < 1e-14
    assert random_circuit(3, 0, seed=4).ops == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: strongly_entangling_layers(3, 1, [3]), r"`ranges` .* from 1 to 2, .* is \[3\]"),
        (lambda: strongly_entangling_layers(3, 2, [1]), r"`ranges` must be 2 .* but is \[1\]"),
        (lambda: strongly_entangling_layers(3, 1, 1), "`ranges` must be 1 .* but is 1"),
        (lambda: strongly_entangling_layers(3, imprimitive="rzz"), "without angles, .* 'rzz'"),
        (lambda: angle_encoding(2, "cx"), "`rotation` must name one-qubit gates .* names 'cx'"),
        (lambda: angle_encoding(2, ["ry"]), r"`rotation` must name .* but names \['ry'\]"),
        (lambda: data_reuploading(1, 4), "`num_inputs` must be at most 3, .* but is 4"),
        (lambda: data_reuploading(1, rotations=["u"]), "`rotations` must name .* but names 'u'"),
        (lambda: random_circuit(2, 1, seed=-1), SEED + "but is -1"),
        (lambda: random_circuit(2, 1, 5, seed=0), "`max_operands` must be at most 4, but is 5"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
