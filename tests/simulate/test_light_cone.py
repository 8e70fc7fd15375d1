import jax
import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp, Statevector
from simulator_references import qiskit_state, random_circuit, values, x64

from qnn_jax import Circuit, Op, expectations, w, x
from qnn_jax.circuits.observables import observables_on
from qnn_jax.simulate import light_cone as module
from qnn_jax.simulate.gf2 import Affine
from qnn_jax.simulate.light_cone import visible
from qnn_jax.simulate.planner import _lowered, plan, plan_to_measure

FREE = ("cx", "swap", "x", "y", "cz", "rz", "h", "rzz", "t", "ccx", "dcx", "ry")


def ending_in_free_gates(seed, num_qubits):
    """Any gates, then those that permute basis states or turn phases, few others among them."""
    rng = np.random.default_rng(seed)
    start = random_circuit(seed, num_qubits, 6)
    ops = list(start.ops)
    for name in rng.choice(
        FREE, 14, p=[0.3, 0.1, 0.1, 0.1, 0.1, 0.06, 0.02, *[0.05] * 3, 0.05, 0.02]
    ):
        several = 3 if name == "ccx" else 2 if name in ("cx", "swap", "cz", "rzz", "dcx") else 1
        places = rng.permutation(num_qubits)[:several].tolist()
        if len(places) == several:
            ops.append(Op(str(name), places, w[1] if name in ("rz", "rzz", "ry") else ()))
    return Circuit(num_qubits, tuple(ops), start.num_inputs, start.num_weights)


def from_qiskit(circuit, observable, inputs, weights):
    terms = SparsePauliOp.from_list(list(observable.items()))
    state = Statevector(qiskit_state(circuit, inputs, weights))
    return state.expectation_value(terms).real


OBSERVABLES = [
    {"IIZI": 1.0},
    {"ZZZZ": 1.0, "IZII": -0.5},
    {"IXZI": 2.0, "ZIIZ": 1.0},
    {"YIIZ": 1.0},
]


@pytest.mark.parametrize("fault", [None, "phases that are seen", "no sign", "another string"])
def test_what_is_left_out_changes_no_value(fault, monkeypatch):
    if fault == "phases that are seen":
        monkeypatch.setattr(module, "masks", lambda label, of=module.masks: (0, *of(label)[1:]))
    elif fault == "no sign":
        pull = Affine.pull
        monkeypatch.setattr(
            module,
            "on_bits",
            lambda *rest, of=module.on_bits: type(
                "Unsigned", (), {"pull": lambda _, mask: (pull(of(*rest), mask)[0], 0)}
            )(),
        )
    elif fault:
        monkeypatch.setattr(
            module, "on_bits", lambda affine, *rest, of=module.on_bits: of(affine.inverse(), *rest)
        )
    worst, left_out = 0.0, 0
    for seed in range(12):
        circuit = ending_in_free_gates(seed, 4)
        inputs, weights = values(seed, circuit)
        for terms in OBSERVABLES:
            (asked,) = observables_on(4, terms)
            gates = _lowered(circuit)
            kept, (behind,) = visible(gates, (asked,))
            left_out += len(gates) - len(kept)
            shorter = Circuit(
                4,
                tuple(
                    Op("unitary", g.qubits, matrix=g.form.matrix(_angle(g, inputs, weights)))
                    for g in kept
                ),
            )
            wanted = from_qiskit(circuit, terms, inputs, weights)
            found = from_qiskit(shorter, dict(behind.terms), inputs, weights)
            worst = max(worst, abs(found - wanted))
    assert left_out > 200
    assert (worst > 1e-3) if fault else (worst < 1e-9)


def _angle(gate, inputs, weights):
    from qnn_jax.circuits.angles import evaluate

    return 0.0 if gate.angle is None else evaluate(gate.angle, list(inputs), list(weights))


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["reverse", "adjoint"])
def test_values_and_gradients_of_what_is_seen_are_those_of_all(gradient):
    for seed in range(2):
        circuit = ending_in_free_gates(seed, 4)
        inputs, weights = values(seed, circuit)
        for terms in OBSERVABLES[1:3]:
            with x64(True):

                def value(i, v, circuit=circuit, terms=terms):
                    return expectations(circuit, terms, i, v, gradient=gradient)[0]

                found = float(value(inputs, weights))
                slopes = jax.tree.map(np.asarray, jax.grad(value, (0, 1))(inputs, weights))
            wanted = from_qiskit(circuit, terms, inputs, weights)
            assert abs(found - wanted) < 1e-12
            for part, own in enumerate(slopes):
                for k in range(len(own)):
                    up, down = ([inputs.copy(), weights.copy()] for _ in range(2))
                    up[part][k] += 1e-5
                    down[part][k] -= 1e-5
                    apart = from_qiskit(circuit, terms, *up) - from_qiskit(circuit, terms, *down)
                    assert abs(own[k] - apart / 2e-5) < 1e-8


def test_a_weight_that_nobody_sees_has_a_gradient_of_zero():
    circuit = Circuit(2, (Op("ry", 0, w[0]), Op("ry", 1, w[1]), Op("rz", 0, w[2] * x[0])))
    assert not plan_to_measure(circuit, observables_on(2, "IZ"), False)[0].scans
    slope = jax.grad(lambda v: expectations(circuit, "IZ", [0.3], v)[0])(np.ones(3))
    np.testing.assert_allclose(slope, [-np.sin(1.0), 0, 0], atol=1e-6)


def test_the_last_phases_and_index_map_are_left_out():
    layer = [Op(gate, q, w[3 * q + k]) for q in range(5) for k, gate in enumerate(("ry", "rz"))]
    ring = [Op("cx", (q, (q + 1) % 5)) for q in range(5)]
    circuit = Circuit(5, (*layer, *ring))
    assert plan(circuit).scans
    part, (behind,) = plan_to_measure(circuit, observables_on(5, "ZIIII"), False)
    assert not part.scans
    assert plan(circuit, "ZIIII") is part  # which `print` shows
    assert behind.terms == (("ZZZZZ", 1.0),)
    # An X sees phases, and what is on the qubits beside it is still left out.
    assert plan_to_measure(circuit, observables_on(5, "XIIII"), False)[0].scans


def test_layers_that_repeat_are_kept_whole():
    layer = [Op(gate, q, w[0]) for q in range(4) for gate in ("ry", "rz")]
    chain = [Op("cx", (q, q + 1)) for q in range(3)]
    circuit = Circuit(4, tuple(6 * (layer + chain) + layer))
    asked = observables_on(4, "ZZZZ")
    assert plan_to_measure(circuit, asked, False) == (plan(circuit), asked)
