import dataclasses

import jax
import numpy as np
import pytest
from simulator_references import qiskit_state, random_angle, random_circuit, values, x64

from qnn_jax import Circuit, Op, expectations, real_amplitudes, statevector, w, x, zz_feature_map
from qnn_jax.circuits import GATES
from qnn_jax.circuits.angles import evaluate
from qnn_jax.circuits.observables import observables_on
from qnn_jax.simulate import (
    batch_last,
    kernels,
    layers,
    matrices,
    planner,
    state_last,
    uniform,
)
from qnn_jax.simulate.angle_table import evaluate as evaluate_all
from qnn_jax.simulate.gate_forms import lower, real_frame
from qnn_jax.simulate.gf2 import Toffoli
from qnn_jax.simulate.matrices import embed
from qnn_jax.simulate.state_last import run
from qnn_jax.simulate.steps import UniformStep
from qnn_jax.simulate.tuning import CPU, using

RANDOM = [(n, seed) for n in range(1, 7) for seed in range(2)]


@pytest.mark.slow_but_one
@pytest.mark.parametrize(("num_qubits", "seed"), RANDOM)
def test_random_circuits_prepare_qiskits_state(num_qubits, seed):
    circuit = random_circuit(seed, num_qubits, (15, 60)[seed])
    inputs, weights = values(seed, circuit)
    with x64(True):
        state = np.asarray(statevector(circuit, inputs, weights))
    assert state.dtype == np.complex128
    np.testing.assert_allclose(state, qiskit_state(circuit, inputs, weights), atol=1e-12)


@pytest.mark.parametrize("num_qubits", [3, 6])
def test_float32_states_are_qiskits_to_1e_5(num_qubits):
    circuit = random_circuit(7, num_qubits, 60)
    inputs, weights = values(7, circuit)
    state = np.asarray(statevector(circuit, inputs, weights))
    assert state.dtype == np.complex64
    np.testing.assert_allclose(state, qiskit_state(circuit, inputs, weights), atol=1e-5)


LAYERED = {
    "zz and real amplitudes": zz_feature_map(7) + real_amplitudes(7, reps=4),
    "circular and sca": zz_feature_map(6, entanglement="circular")
    + real_amplitudes(6, reps=3, entanglement="sca"),
    "re-uploading with far pairs": Circuit(
        8,
        tuple(
            op
            for layer in range(3)
            for q in range(8)
            for op in (
                Op("rx", q, x[q]),
                Op("u", q, [w[layer], w[3], x[q]]),
                Op("crx", (q, (q + 3) % 8), w[layer]),
            )
        ),
    ),
    "bricks": Circuit(
        7,
        tuple(Op("rxx", (q, q + 1), w[q]) for layer in range(4) for q in range(layer % 2, 6, 2)),
    ),
    "nothing": Circuit(6),
    "diagonals and index maps alone": Circuit(
        6, (Op("x", 5), Op("rz", 5, w[0]), Op("cx", (5, 0)), Op("swap", (0, 3)), Op("y", 1))
    ),
}


@pytest.mark.parametrize("name", LAYERED)
def test_layered_circuits_prepare_qiskits_state(name):
    circuit = LAYERED[name]
    inputs, weights = values(3, circuit)
    with x64(True):
        state = statevector(circuit, inputs, weights)
    np.testing.assert_allclose(state, qiskit_state(circuit, inputs, weights), atol=1e-12)


def runs(seed, num_qubits):
    """Layers of short runs of gates on one qubit, most layers of one kind, then pairs of some kind.

    Whether diagonals end in blocks or with the phases, alone or in a real frame, is the planner's.
    """
    rng = np.random.default_rng(seed)
    ops = []
    for _ in range(3):
        run = rng.choice(["rx", "ry", "rz", "h", "s", "p", "x", "y", "u"], int(rng.integers(1, 4)))
        odd = rng.choice(["rz", "sx", "t"], 2)
        for q in range(num_qubits):
            for name in odd if rng.random() < 0.15 else run:
                angles = [random_angle(rng) for _ in range(GATES[name].num_angles)]
                ops.append(Op(str(name), q, angles))
        pair = str(rng.choice(["cx", "rzz", "cz", "crx", "rxx", "none"]))
        for q in range(num_qubits - 1) if pair != "none" else ():
            angles = [random_angle(rng) for _ in range(GATES[pair].num_angles)]
            ops.append(Op(pair, (q, q + 1), angles))
    return Circuit(num_qubits, tuple(ops), 3, 5)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_qubits", [2, 3, 4, 5, 8, 9])
def test_runs_of_gates_on_one_qubit_prepare_qiskits_state(num_qubits, seed):
    circuit = runs(10 * num_qubits + seed, num_qubits)
    inputs, weights = values(seed, circuit)
    with x64(True):
        state = statevector(circuit, inputs, weights)
    np.testing.assert_allclose(state, qiskit_state(circuit, inputs, weights), atol=1e-12)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_qubits", [4, 9])
def test_plans_of_large_registers_prepare_qiskits_state(num_qubits, seed):
    limits = dataclasses.replace(CPU, two_matrices_up_to=2, equal_up_to=2, phases_from=2)
    circuit = runs(seed, num_qubits)
    inputs, weights = values(seed, circuit)
    with x64(True), using(limits):
        found = planner.plan_state(circuit, False)
        state = np.asarray(jax.jit(lambda i, v: run(found, i, v))(inputs, weights))
    state = state[0] + 1j * (state[1] if len(state) == 2 else 0)
    np.testing.assert_allclose(state, qiskit_state(circuit, inputs, weights), atol=1e-12)


@pytest.mark.parametrize(
    ("ops", "wanted"),
    [
        ("ry rz cx ry rz", "permutation, complex matrix, complex matrix"),
        ("h p cz ry", "diagonal, real matrix, real matrix"),
        ("rx cz rx cz", "diagonal, real matrix, real matrix, diagonal"),
        ("rx ry rz cx rz ry rz", "permutation, complex matrix, complex matrix"),
    ],
)
def test_what_becomes_of_runs(ops, wanted):
    """Runs are small matrices, their last diagonals phases where such follow."""
    gates = []
    for name in ops.split():
        if GATES[name].num_qubits == 2:
            gates += [Op(name, (q, q + 1)) for q in range(3)]
        else:
            gates += [Op(name, q, [w[q]] * GATES[name].num_angles) for q in range(4)]
    lines = str(planner.plan(Circuit(4, tuple(gates)))).splitlines()
    steps = [line.strip().split(" on bits")[0] for line in lines if line.startswith("    ")]
    assert ", ".join(s.split(":")[0].split(" of ")[0] for s in steps) == wanted


def test_in_large_registers_diagonals_after_real_gates_are_phases():
    ops = [Op(gate, q, w[q]) for _ in range(2) for q in range(4) for gate in ("ry", "rz")]
    circuit = Circuit(4, (*ops[:8], Op("cx", (0, 1)), Op("cx", (2, 3)), *ops[8:]))
    assert "diagonal of" not in str(planner.plan(circuit))
    with using(dataclasses.replace(CPU, phases_from=4)):
        text = str(planner.plan(circuit))
    assert "diagonal of" in text
    assert "complex" not in text


@pytest.mark.parametrize(
    "fault", [None, "low bits high", "parts of a complex one", "angles of another"]
)
def test_a_wrong_block_is_noticed(fault, monkeypatch):
    layer = [Op(gate, q, w[q]) for q in (0, 1, 3, 4) for gate in ("ry", "rz")]
    chain = [Op("cx", (q, q + 1)) for q in range(4)]
    far = [Op("crx", (0, 2), w[1]), Op("ry", 1, w[2])]
    circuit = Circuit(5, (*layer, *chain, *layer, *far, *chain))
    inputs, weights = values(0, circuit)
    if fault == "low bits high":
        right = matrices._kron_of_two
        monkeypatch.setattr(matrices, "_kron_of_two", lambda high, low: right(low, high))
    elif fault == "angles of another":
        block = planner.matrix_step
        monkeypatch.setattr(
            planner, "matrix_step", lambda *rest: (block(*rest)[0], block(*rest)[1][::-1])
        )
    elif fault:
        whole = kernels._as_real
        conjugate = np.array([1, -1])[:, None, None]
        monkeypatch.setattr(kernels, "_as_real", lambda matrix: whole(matrix * conjugate))
    with x64(True):
        found = planner.plan_state.__wrapped__(circuit, False)
        state = np.asarray(jax.jit(lambda i, v: run(found, i, v))(inputs, weights))
    error = abs(state[0] + 1j * state[1] - qiskit_state(circuit, inputs, weights)).max()
    assert (error > 1e-3) if fault else (error < 1e-12)


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    ("num_qubits", "fault"),
    [
        *((n, None) for n in (1, 2, 4)),
        *((4, fault) for fault in ("wrong bit", "forgotten move", "too long a turn")),
        *((4, fault) for fault in ("a run the other way round", "the first layer upside down")),
    ],
)
def test_batches_of_weights_gate_by_gate(num_qubits, fault, monkeypatch):
    circuit = random_circuit(3, num_qubits, 30)
    found = planner._plan_by_gates(num_qubits, planner._lowered(circuit))
    inputs, weights = map(np.array, zip(values(0, circuit), values(1, circuit), strict=True))
    if fault == "wrong bit":
        right = batch_last._gate
        monkeypatch.setattr(
            batch_last,
            "_gate",
            lambda g, *rest: right(dataclasses.replace(g, bits=g.bits[::-1]), *rest),
        )
    elif fault == "a run the other way round":
        monkeypatch.setattr(
            batch_last,
            "_product",
            lambda a, b, of=batch_last._product: of(*((a, b) if len(b[0]) == 1 else (b, a))),
        )
    elif fault == "the first layer upside down":
        monkeypatch.setattr(
            batch_last, "_kron", lambda high, low, of=batch_last._kron: of(low, high)
        )
    elif fault == "forgotten move":
        monkeypatch.setattr(batch_last._State, "moved", lambda state, affine: state)
    elif fault:
        right_sum = batch_last.repeat_rows
        monkeypatch.setattr(
            batch_last, "repeat_rows", lambda row, rows: right_sum(row, rows=rows) * 1.01
        )

    def states(w):
        expressions = found.from_weights + found.from_inputs
        rows = jax.vmap(lambda i, v: evaluate_all(expressions, i, v), 0, -1)(inputs, w)
        return batch_last.run_batch_last(found, rows)

    with x64(True):
        state = np.asarray(jax.jit(states)(weights))
        state = state[0] + 1j * (state[1] if len(state) == 2 else 0)
    wanted = [qiskit_state(circuit, *one) for one in zip(inputs, weights, strict=True)]
    error = abs(state.T - wanted).max()
    assert (error > 1e-3) if fault else (error < 1e-12)


@pytest.mark.parametrize("fault", [None, "other bits"])
def test_permutations_in_batches_of_weights(fault, monkeypatch):
    first = [Op("ry", q, w[q]) for q in range(4)]
    middle = [Op("ccx", (2, 0, 3)), Op("cswap", (1, 3, 0)), Op("rx", 1, w[4])]
    circuit = Circuit(4, (*first, *middle, Op("rccx", (1, 2, 0)), Op("ccx", (3, 1, 2))))
    weights = np.array([values(seed, circuit)[1] for seed in range(2)])
    if fault:
        of = Toffoli.on_bits
        monkeypatch.setattr(Toffoli, "on_bits", lambda toffoli, bits: of(toffoli, bits[::-1]))
    found = planner._plan_by_gates(4, planner._lowered(circuit))
    with x64(True):
        state = np.asarray(jax.jit(lambda v: batch_last.run_batch_last(found, v))(weights.T))
    wanted = [qiskit_state(circuit, [], one) for one in weights]
    error = abs((state[0] + 1j * state[1]).T - wanted).max()
    assert (error > 1e-3) if fault else (error < 1e-12)


@pytest.mark.parametrize("first", [0, 7])
def test_programs_of_large_registers_are_short(first):
    """Lowered only: also where one qubit is turned and all others are in |0>."""
    lengths = []
    for num_qubits in (15, 27):
        chain = [Op("cx", (q, q + 1)) for q in range(num_qubits - 1)]
        circuit = Circuit(num_qubits, (Op("ry", first, w[0]), *chain))
        loss = jax.jit(lambda v, c=circuit: expectations(c, "X" * c.num_qubits, [], v)[0])
        lengths.append(len(loss.lower(np.ones(1)).as_text()))
    assert lengths[1] < 2 * lengths[0]


def is_uniform(plan):
    return any(isinstance(step, UniformStep) for scan in plan.scans for step in scan.steps)


def test_circuits_that_do_not_repeat_are_done_by_uniform_steps():
    assert is_uniform(planner.plan(random_circuit(1, 6, 60)))
    assert is_uniform(planner.plan(LAYERED["re-uploading with far pairs"]))
    assert not is_uniform(planner.plan(LAYERED["zz and real amplitudes"]))
    assert not is_uniform(planner.plan(random_circuit(0, 5, 10)))


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("num_qubits", [1, 2, 5])
def test_uniform_steps_prepare_qiskits_state(num_qubits, real):
    """Also where a plan by layers would do: few gates, few qubits, real gates alone."""
    ops = [Op("ry", q, w[q % 5]) for q in range(num_qubits)] + [Op("h", 0), Op("x", 0)]
    ops += [Op("cx", (q, q + 1)) for q in range(num_qubits - 1)]
    ops += [Op("ry", q, x[0]) for q in range(0, num_qubits, 2)]
    ops += [] if real else [Op("global_phase", (), 0.3), Op("rx", 0, x[1]), Op("s", 0)]
    circuit = Circuit(num_qubits, tuple(ops), 3, 5)
    inputs, weights = values(4, circuit)
    with x64(True), using(dataclasses.replace(CPU, longest_plan=-1)):
        found = planner.plan_state(circuit, False)
        assert is_uniform(found)
        state = np.asarray(jax.jit(lambda i, v: run(found, i, v))(inputs, weights))
    assert len(state) == (1 if real else 2)
    state = state[0] + 1j * (0 if real else state[1])
    np.testing.assert_allclose(state, qiskit_state(circuit, inputs, weights), atol=1e-12)


def u_and_cx(num_qubits, depth):
    """U on every qubit, then CX on far pairs that differ from layer to layer."""
    rng, ops = np.random.default_rng(num_qubits), []
    for k in range(depth):
        numbers = 3 * num_qubits * k + np.arange(3 * num_qubits).reshape(-1, 3)
        ops += [Op("u", q, tuple(w[int(j)] for j in row)) for q, row in enumerate(numbers)]
        ops += [Op("cx", pair) for pair in rng.permutation(num_qubits).reshape(-1, 2).tolist()]
    return Circuit(num_qubits, tuple(ops))


@pytest.mark.parametrize(
    ("changed", "num_angles"),
    [
        ({"longest_plan": -1}, 6),
        ({"longest_plan": 1000, "uniform_small_up_to": 5, "uniform_large_from": 6}, 27),
    ],
)
def test_a_uniform_step_takes_several_u(changed, num_angles):
    """U is one rotation; large registers take more of them, in place of complex blocks."""
    circuit = u_and_cx(6, 8)
    _, weights = values(0, circuit)
    with x64(True), using(dataclasses.replace(CPU, **changed)):
        found = planner.plan_state(circuit, False)
        state = np.asarray(jax.jit(lambda v: run(found, np.zeros(0), v))(weights))
    (step,) = [s for scan in found.scans for s in scan.steps if isinstance(s, UniformStep)]
    assert step.num_angles == num_angles
    wanted = qiskit_state(circuit, [], weights)
    np.testing.assert_allclose(state[0] + 1j * state[1], wanted, atol=1e-12)


def test_a_plan_by_layers_stays_where_it_is_shorter():
    changed = {"longest_plan": 1000, "uniform_small_up_to": 5, "uniform_large_from": 6}
    with using(dataclasses.replace(CPU, **changed)):
        assert not is_uniform(planner.plan_state(u_and_cx(6, 1), False))
        assert not is_uniform(planner.plan_state(LAYERED["zz and real amplitudes"], False))


def test_a_batch_of_weights_keeps_the_uniform_steps_of_a_large_register():
    changed = {"longest_plan": 1000, "uniform_small_up_to": 5, "uniform_large_from": 6}
    circuit = u_and_cx(6, 3)
    (observable,) = observables_on(6, ["Z" * 6])
    with using(dataclasses.replace(CPU, **changed)):
        assert is_uniform(planner.plan_to_measure(circuit, (observable,), False)[0])
        assert planner.plan_by_gates(circuit, (observable,)) is None
    with using(dataclasses.replace(CPU, longest_plan=-1)):
        assert planner.plan_by_gates(circuit, (observable,)) is not None


@pytest.mark.slow_but_one
@pytest.mark.parametrize("gates", [15, 60])
@pytest.mark.parametrize("fault", [None, "swapped qubits", "wrong phase", "dropped gate"])
def test_the_comparison_rejects_a_broken_plan(fault, gates, monkeypatch):
    circuit = random_circuit(5, 6, gates)
    inputs, weights = values(5, circuit)
    if fault == "swapped qubits":
        right = layers.on_bits
        for module in (layers, uniform):
            monkeypatch.setattr(module, "on_bits", lambda a, b, n: right(a, b[::-1], n))
    elif fault == "wrong phase":
        right = layers.spread
        monkeypatch.setattr(layers, "spread", lambda v, p: right(v, p) ^ (v == 1 and 1))
        three = uniform.three_of
        monkeypatch.setattr(uniform, "three_of", lambda form: (1.0, three(form)[1]))
    elif fault == "dropped gate":
        right = state_last.apply
        monkeypatch.setattr(
            state_last,
            "apply",
            lambda a, p, s, i=False: s if hasattr(a, "affine") else right(a, p, s),
        )
    with x64(True):
        plan = planner.plan_state.__wrapped__(circuit, False)
        assert is_uniform(plan) == (gates == 60)
        state = jax.jit(lambda i, v: run(plan, i, v))(inputs, weights)
    state = np.asarray(state)
    error = abs(state[0] + 1j * state[1] - qiskit_state(circuit, inputs, weights)).max()
    assert (error > 1e-3) if fault else (error < 1e-12)


@pytest.mark.parametrize("name", GATES)
def test_primitives_multiply_to_the_gate(name):
    row = GATES[name]
    angles = [0.7, -1.1, 2.3, 0.4][: row.num_angles]
    for symbolic in (False, True):
        given = [w[k] for k in range(row.num_angles)] if symbolic else angles
        op = Op(name, tuple(range(row.num_qubits)), given)
        product = np.eye(2**row.num_qubits)
        for instruction in lower(op):
            theta = 0.0
            if instruction.angle is not None:
                theta = evaluate(instruction.angle, [], angles)
            form = instruction.form
            matrix = form.matrix(theta)
            if form.phases is not None:
                i = np.arange(len(matrix))
                total = sum(
                    (slope * theta + offset)
                    * (1 - 2 * (np.bitwise_count(i & mask).astype(int) & 1))
                    for mask, slope, offset in form.phases
                ) + np.zeros(len(matrix))
                np.testing.assert_allclose(np.diag(np.exp(1j * total)), matrix, atol=1e-12)
            frame = real_frame(form)
            if frame is not None:
                before, middle, after = (f.matrix(theta) for f in frame)
                np.testing.assert_allclose(after @ middle @ before, matrix, atol=1e-12)
            product = embed(matrix, instruction.qubits, row.num_qubits) @ product
        expected = np.array([[complex(e) for e in r] for r in row.matrix(np, *angles)])
        np.testing.assert_allclose(product, expected, atol=1e-12)


def test_depth_does_not_lengthen_the_program():
    programs = [
        planner.plan(zz_feature_map(8, reps=1) + real_amplitudes(8, reps=reps)) for reps in (10, 50)
    ]
    lengths = [sum(len(s.steps) for s in p.scans) for p in programs]
    assert lengths[0] == lengths[1] < 15
    assert max(s.repeats for s in programs[1].scans) == 50
    assert "50 x:" in str(programs[1])


def test_the_number_of_gates_does_not_lengthen_the_program_either():
    lengths = []
    for gates in (60, 240):
        circuit = random_circuit(1, 6, gates)
        lower = jax.jit(lambda i, v, c=circuit: statevector(c, i, v)).lower
        lengths.append(len(lower(np.ones(3), np.ones(5)).as_text().splitlines()))
    assert lengths[1] < 1.25 * lengths[0]


@pytest.mark.parametrize("name", GATES)
def test_primitives_of_one_angle_use_it_or_its_half(name):
    row = GATES[name]
    op = Op(name, tuple(range(row.num_qubits)), [w[k] for k in range(row.num_angles)])
    for instruction in lower(op):
        if instruction.angle is not None:
            scale, (one, cos, sin) = uniform.three_of(instruction.form)
            matrix = one + np.cos(0.7 * scale) * cos + np.sin(0.7 * scale) * sin
            np.testing.assert_allclose(matrix, instruction.form.matrix(0.7), atol=1e-12)


def test_equal_circuits_share_one_plan_and_one_trace():
    from qnn_jax.simulate.statevector import _expectations, _state

    first, second = (zz_feature_map(3) + real_amplitudes(3) for _ in range(2))
    assert first is not second
    statevector(first, np.ones(3), np.ones(12))
    size = _state._cache_size()
    statevector(second, np.zeros(3), np.zeros(12))
    assert _state._cache_size() == size
    assert planner.plan(first) is planner.plan(second)
    expectations(first, "ZZZ", np.ones(3), np.ones(12))
    size = _expectations._cache_size()
    expectations(second, ["ZZZ"], np.zeros(3), np.zeros(12))
    assert _expectations._cache_size() == size
