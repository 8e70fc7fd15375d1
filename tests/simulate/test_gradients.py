import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from simulator_references import random_circuit, values, x64

from qnn_jax import Circuit, Op, expectations, real_amplitudes, w, x, zz_feature_map
from qnn_jax.circuits import efficient_su2
from qnn_jax.simulate import state_last
from qnn_jax.simulate.observables import measure
from qnn_jax.simulate.planner import plan
from qnn_jax.simulate.state_last import run
from qnn_jax.simulate.statevector import observables_on
from qnn_jax.simulate.tuning import CPU, using
from qnn_jax.simulate.xla import on_states

CIRCUITS = {
    "zz, real amplitudes, 2": zz_feature_map(2) + real_amplitudes(2, reps=2),
    "zz, real amplitudes, 6": zz_feature_map(6) + real_amplitudes(6, reps=3),
    "random, 3": random_circuit(1, 3, 18),
    "random, 5": random_circuit(2, 5, 14),
    "random, 5, uniform steps": random_circuit(3, 5, 40),
    "becomes complex while it repeats": Circuit(
        3,
        tuple(
            Op(*one)
            for layer in range(3)
            for q in range(3)
            for one in (("ry", q, w[3 * layer + q]), ("rz", q, x[q]), ("cx", (q, (q + 1) % 3)))
        ),
    ),
}


def loss_of(circuit, gradient):
    n = circuit.num_qubits
    terms = ["Z" * n, {"X" + "Y" * (n - 1): 0.5, "Z" + "I" * (n - 1): -1.0}]

    def loss(inputs, weights):
        return expectations(circuit, terms, inputs, weights, gradient) @ jnp.array([1.0, 2.0])

    return loss


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow) if n in ("random, 3", "random, 5") else n
        for n in CIRCUITS
    ],
)
def test_reverse_adjoint_and_finite_differences_agree(name):
    circuit = CIRCUITS[name]
    with x64(True):
        inputs, weights = map(jnp.array, values(0, circuit))
        along = tuple(map(jnp.array, values(1, circuit)))
        slopes, curvatures = [], []
        for gradient in ("reverse", "adjoint"):
            slope_of = jax.grad(loss_of(circuit, gradient), (0, 1))
            both = jax.jit(lambda *at, of=slope_of: jax.jvp(of, at[:2], at[2:]))
            slope, curvature = both(inputs, weights, *along)
            slopes.append(np.concatenate(slope))
            curvatures.append(np.concatenate(curvature))
        loss = loss_of(circuit, "reverse")
        step = 1e-4

        def at(k):
            return float(loss(inputs + k * step * along[0], weights + k * step * along[1]))

        slope = (at(-2) - 8 * at(-1) + 8 * at(1) - at(2)) / (12 * step)
        curvature = (-at(-2) + 16 * at(-1) - 30 * at(0) + 16 * at(1) - at(2)) / (12 * step**2)
    direction = np.concatenate(along)
    np.testing.assert_allclose(slopes[1], slopes[0], atol=1e-11)
    np.testing.assert_allclose(curvatures[1], curvatures[0], atol=1e-10)
    np.testing.assert_allclose(slopes[0] @ direction, slope, atol=1e-8)
    np.testing.assert_allclose(curvatures[0] @ direction, curvature, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["reverse", "adjoint"])
@pytest.mark.parametrize("name", ["zz, real amplitudes, 6", "becomes complex while it repeats"])
def test_forward_mode_is_reverse_mode(name, gradient):
    """Also of a map, and a map of it: the adjoint method has rules of its own for all of these."""
    circuit = CIRCUITS[name]
    with x64(True):
        inputs, weights = map(jnp.array, values(0, circuit))
        loss = loss_of(circuit, gradient)
        wanted = jax.jit(jax.grad(loss_of(circuit, "reverse"), (0, 1)))(inputs, weights)
        forward = jax.jit(jax.jacfwd(loss, (0, 1)))(inputs, weights)
        for ours, theirs in zip(forward, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)
        many = jax.vmap(jax.vmap(loss, (None, 0)), (0, None))
        rows, columns = jnp.stack([inputs, 2 * inputs]), jnp.stack([weights, -weights, 3 * weights])
        along = jnp.cos(columns)
        _, tangents = jax.jit(lambda v: jax.jvp(lambda v: many(rows, v), (v,), (along,)))(columns)
        np.testing.assert_allclose(tangents[0, 0], along[0] @ wanted[1], atol=1e-12)
        both = jax.jit(jax.grad(lambda i, v: jnp.sum(jnp.sin(many(i, v))), (0, 1)))(rows, columns)
        right = loss_of(circuit, "reverse")
        one = jax.grad(lambda i, v: jnp.sin(right(i, v)), (0, 1))
        pairs = [[one(i, v) for v in columns] for i in rows]
        np.testing.assert_allclose(both[0][0], sum(pair[0] for pair in pairs[0]), atol=1e-11)
        np.testing.assert_allclose(both[1][2], sum(line[2][1] for line in pairs), atol=1e-11)


@pytest.mark.slow
def test_second_derivatives_are_the_same_in_every_order():
    circuit = CIRCUITS["zz, real amplitudes, 2"]
    with x64(True):
        inputs, weights = map(jnp.array, values(0, circuit))
        wanted = jax.hessian(loss_of(circuit, "reverse"), 1)(inputs, weights)
        loss = loss_of(circuit, "adjoint")
        for outer in (jax.jacfwd, jax.jacrev):
            for inner in (jax.jacfwd, jax.jacrev):
                found = jax.jit(outer(inner(loss, 1), 1))(inputs, weights)
                np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_forward_mode_needs_no_word_from_12_qubits_on():
    circuit = zz_feature_map(12, reps=1) + real_amplitudes(12, reps=1)
    inputs, weights = values(0, circuit)

    def value(v):
        return expectations(circuit, "Z" * 12, inputs, v)[0]

    along = np.cos(weights)
    _, tangent = jax.jvp(value, (jnp.array(weights),), (jnp.array(along, jnp.float32),))
    step = 1e-2
    apart = float(value(weights + step * along)) - float(value(weights - step * along))
    np.testing.assert_allclose(tangent, apart / (2 * step), atol=1e-3)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("name", ["zz, real amplitudes, 6", "random, 5, uniform steps"])
@pytest.mark.parametrize("fault", [None, "inverse is not the inverse", "cotangent left behind"])
def test_a_wrong_step_back_is_noticed(fault, name, monkeypatch):
    """The adjoint gradient is that of uncomputing: breaking the inverse steps breaks it."""
    circuit = CIRCUITS[name]
    sums = observables_on(circuit.num_qubits, "ZIZIZZ"[: circuit.num_qubits])
    right = state_last.apply

    def broken(step, parameter, state, inverse=False):
        skip = fault == "inverse is not the inverse" and hasattr(step, "affine")
        return right(step, parameter, state, inverse and not skip)

    if fault == "cotangent left behind":
        undo = state_last._undo

        def stuck(*arguments):
            (state, _), gradient = undo(*arguments)
            return (state, arguments[-2][1][: arguments[-1]]), gradient

        monkeypatch.setattr(state_last, "_undo", stuck)
    elif fault:
        monkeypatch.setattr(state_last, "apply", broken)
    with x64(True):
        inputs, weights = map(jnp.array, values(0, circuit))

        def by(gradient):
            def value(v):
                return measure(sums, run(plan(circuit), inputs, v, gradient))[0]

            return jax.jit(jax.grad(value))(weights)

        difference = abs(np.asarray(by("adjoint")) - np.asarray(by("reverse"))).max()
    assert (difference > 1e-3) if fault else (difference < 1e-11)


def test_gradients_are_those_of_the_parameter_shift():
    """Each weight in one Pauli rotation: half the difference of two values, π apart."""
    circuit = zz_feature_map(4, reps=1) + real_amplitudes(4, reps=2)
    with x64(True):
        inputs, weights = map(jnp.array, values(0, circuit))
        loss = loss_of(circuit, "adjoint")
        shifted = weights + np.pi / 2 * np.array([[[1]], [[-1]]]) * np.eye(len(weights))
        plus, minus = jax.vmap(jax.vmap(lambda v: loss(inputs, v)))(shifted)
        wanted = np.asarray((plus - minus) / 2)
        gradient = np.asarray(jax.jit(jax.grad(loss, 1))(inputs, weights))
    np.testing.assert_allclose(gradient, wanted, atol=1e-12)
    assert np.max(abs(gradient)) > 1e-2


@pytest.mark.slow
def test_memory_of_the_adjoint_does_not_grow_with_depth():
    sizes = {}
    for gradient, reps in (("adjoint", 5), ("adjoint", 40), ("reverse", 40)):
        circuit = zz_feature_map(14, reps=1) + real_amplitudes(14, reps=reps)
        loss = jax.grad(
            lambda v, c=circuit, g=gradient: expectations(c, "Z" * 14, jnp.ones(14), v, g)[0]
        )
        compiled = jax.jit(loss).lower(jnp.zeros(circuit.num_weights)).compile()
        sizes[gradient, reps] = compiled.memory_analysis().temp_size_in_bytes / (8 * 2**14)
    assert sizes["adjoint", 40] - sizes["adjoint", 5] < 1
    assert sizes["reverse", 40] > 40 * 2


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("zz and real amplitudes", None),
        ("zz and real amplitudes", "equal blocks"),
        ("efficient_su2", None),
        ("efficient_su2", "indices of both parts"),
        ("re-uploading", None),
    ],
)
def test_the_adjoint_of_20_qubits_takes_less_than_six_states(name, fault):
    """Compiled, not run; blocks of equal size repeat a matrix as large as a state."""
    limits = {
        None: CPU,
        "equal blocks": dataclasses.replace(CPU, equal_up_to=20),
        "indices of both parts": dataclasses.replace(CPU, one_row_gather_from=2**30),
    }[fault]
    if name == "re-uploading":
        turns = [Op(g, q, w[q] * x[q]) for q in range(20) for g in ("rx", "ry", "rz")]
        turns += [Op(g, q, w[20 + q]) for q in range(20) for g in ("ry", "rz")]
        circuit = Circuit(20, (*turns, *(Op("cx", (q, (q + 1) % 20)) for q in range(20)))).repeat(
            10
        )
    elif name == "efficient_su2":
        circuit = efficient_su2(20, reps=10, entanglement="linear")
    else:
        circuit = zz_feature_map(20, reps=1) + real_amplitudes(20, reps=10)
    loss = jax.value_and_grad(lambda *at: expectations(circuit, "Z" * 20, *at)[0], (0, 1))
    some = jnp.ones(circuit.num_inputs), jnp.ones(circuit.num_weights)
    with using(limits):
        compiled = jax.jit(loss).lower(*some).compile()
    states = compiled.memory_analysis().temp_size_in_bytes / (8 * 2**20)
    assert (states < 6) == (fault is None)
    assert 4 < states < 7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zz, real amplitudes, 6", "random, 5, uniform steps"])
def test_batches_are_loops(name):
    circuit = CIRCUITS[name]
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(3, circuit.num_inputs))
    weights = rng.normal(size=(3, circuit.num_weights))
    for gradient in ("reverse", "adjoint"):
        one = jax.jit(jax.grad(loss_of(circuit, gradient), (0, 1)))
        single = [one(inputs[k], weights[k]) for k in range(3)]
        if gradient == "reverse":
            both = jax.jit(jax.vmap(one))(inputs, weights)
            for part in range(2):
                wanted = [s[part] for s in single]
                np.testing.assert_allclose(both[part], wanted, rtol=1e-4, atol=5e-5)
        else:
            shared = jax.jit(jax.vmap(one, (0, None)))(inputs, weights[0])
            np.testing.assert_allclose(shared[0][0], single[0][0], rtol=1e-4, atol=5e-5)


FUSED = zz_feature_map(3, reps=1) + real_amplitudes(3, reps=1) + zz_feature_map(3, reps=1)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("circuit", [FUSED, CIRCUITS["random, 3"]], ids=["fused", "random"])
@pytest.mark.parametrize("batched", ["inputs", "weights", "both", "models of inputs"])
def test_whatever_is_batched_gives_the_same(batched, circuit):
    """The plan depends on what differs in the batch; values, slopes and their tangents do not."""
    rng = np.random.default_rng(0)
    label = "XYZ"
    with x64(True):
        inputs = jnp.asarray(rng.normal(size=(2, circuit.num_inputs)))
        weights = jnp.asarray(rng.normal(size=(2, circuit.num_weights)))

        def slopes(i, v):
            return jax.grad(lambda *at: expectations(circuit, label, *at)[0], (0, 1))(i, v)

        def mapped(function):
            if batched == "models of inputs":
                return jax.vmap(jax.vmap(function, (0, None)), (None, 0))
            return jax.vmap(
                function,
                (None if batched == "weights" else 0, None if batched == "inputs" else 0),
            )

        pairs = {
            "inputs": ([0, 1], [0, 0]),
            "weights": ([0, 0], [0, 1]),
            "both": ([0, 1], [0, 1]),
            "models of inputs": ([0, 1, 0, 1], [0, 0, 1, 1]),
        }[batched]
        x_of = inputs if batched != "weights" else inputs[0]
        w_of = weights if batched != "inputs" else weights[0]
        # The gradient of a map and the map of a gradient take different ways.
        many = mapped(lambda i, v: expectations(circuit, label, i, v)[0])
        summed = jax.jit(jax.grad(lambda *at: many(*at).sum(), (0, 1)))(x_of, w_of)
        each = jax.jit(mapped(slopes))(x_of, w_of)
        one = jax.jit(slopes)
        wanted = [one(inputs[a], weights[b]) for a, b in zip(*pairs, strict=True)]
        text = str(jax.make_jaxpr(many)(x_of, w_of))
    by_gates = batched in ("weights", "both") or circuit is not FUSED
    assert ("take_rows" in text) == by_gates
    for part in range(2):
        rows = np.array([pair[part] for pair in wanted])
        found = np.asarray(each[part])
        np.testing.assert_allclose(found.reshape(rows.shape), rows, atol=1e-12)
        np.testing.assert_allclose(
            np.asarray(summed[part]).sum(0) if summed[part].ndim == 2 else summed[part],
            rows.sum(0),
            atol=1e-12,
        )


@pytest.mark.slow
def test_a_map_of_gradients_is_done_as_the_gradient_of_a_map():
    """With the batch last, where weights differ; also of second derivatives, and of inputs."""
    circuit = zz_feature_map(3, reps=1) + real_amplitudes(3, reps=2)
    rng = np.random.default_rng(0)
    with x64(True):
        inputs = jnp.asarray(rng.normal(size=(4, circuit.num_inputs)))
        weights = jnp.asarray(rng.normal(size=(4, circuit.num_weights)))

        def value(i, v):
            return expectations(circuit, "ZZZ", i, v)[0]

        slope = jax.grad(value, (0, 1))
        mapped = jax.jit(jax.vmap(slope))
        summed = jax.jit(jax.grad(lambda i, v: jax.vmap(value)(i, v).sum(), (0, 1)))
        for function in (mapped, summed):
            assert "take_rows" in str(jax.make_jaxpr(function)(inputs, weights))
        for ours, theirs in zip(mapped(inputs, weights), summed(inputs, weights), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)
        of_weights = jax.vmap(jax.grad(value, 1), (None, 0))(inputs[0], weights)
        of_inputs = jax.vmap(jax.grad(value, 1), (0, None))(inputs, weights[0])
        np.testing.assert_allclose(of_weights[2], slope(inputs[0], weights[2])[1], atol=1e-12)
        np.testing.assert_allclose(of_inputs[2], slope(inputs[2], weights[0])[1], atol=1e-12)
        curvature = jax.jit(jax.vmap(jax.hessian(value, 1)))(inputs[:2], weights[:2])
        step = 1e-5 * jnp.eye(circuit.num_weights)[1]
        apart = slope(inputs[0], weights[0] + step)[1] - slope(inputs[0], weights[0] - step)[1]
        np.testing.assert_allclose(curvature[0, 1], apart / 2e-5, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("num_qubits", [4, 8])
def test_a_large_batch_of_gradients(num_qubits):
    """Sums of 64 samples go to a library of jaxlib 0.10 that crashes for some shapes."""
    layer = [(gate, q) for gate in ("ry", "rz") for q in range(num_qubits)]
    ops = [
        Op(gate, q, w[2 * num_qubits * reps + k])
        for reps in range(3)
        for k, (gate, q) in enumerate(layer)
    ]
    chain = [Op("cx", (q, q + 1)) for q in range(num_qubits - 1)]
    size = len(layer)
    circuit = Circuit(
        num_qubits, (*ops[:size], *chain, *ops[size : 2 * size], *chain, *ops[2 * size :])
    )
    weights = jax.random.normal(jax.random.key(0), (64, circuit.num_weights))
    slope = jax.grad(lambda v: expectations(circuit, ["Z" * num_qubits], [], v)[0])
    together, alone = jax.jit(jax.vmap(slope))(weights), jax.jit(slope)
    nested = jax.jit(jax.vmap(jax.vmap(slope)))(weights.reshape(2, 32, -1))
    for k in (0, 17, 63):
        np.testing.assert_allclose(together[k], alone(weights[k]), atol=1e-5)
        np.testing.assert_allclose(nested[k // 32, k % 32], alone(weights[k]), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (2, 40, 40, 3), (1, 2, 4, 1), (40, 2, 40, 1)])
def test_products_with_states_in_every_mode(shape):
    with x64(True):
        rows, lead, size, below = shape
        keys = jax.random.split(jax.random.key(0), 4)
        matrix, along = jax.random.normal(keys[0], (2, rows, size))
        states, beside = jax.random.normal(keys[1], (2, lead, size, below))

        def by_einsum(m, s):
            return jnp.einsum("kj,ajl->akl", m, s, precision="highest")

        def modes(f):
            def scalar(m, s):
                return jnp.sum(jnp.sin(f(m, s)))

            of_both = jax.grad(scalar, (0, 1))
            batch = jnp.stack([matrix, along, 2 * matrix])
            yield jax.jit(f)(matrix, states)
            yield jax.jvp(of_both, (matrix, states), (along, beside))
            yield jax.vmap(of_both, (0, None))(batch, states)
            yield jax.vmap(of_both, (None, 0))(matrix, jnp.stack([states, beside]))
            yield jax.vmap(jax.vmap(of_both, (0, None)), (None, 0))(
                batch, jnp.stack([states, beside])
            )

        for ours, theirs in zip(modes(on_states), modes(by_einsum), strict=True):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), ours, theirs)


def test_weights_stay_unbatched_under_vmap_over_inputs():
    circuit = zz_feature_map(2) + real_amplitudes(2, reps=2)
    batch = jax.vmap(lambda i, v: expectations(circuit, "ZZ", i, v), (0, None))
    text = str(jax.make_jaxpr(batch)(jnp.ones((64, 2)), jnp.ones(6)))
    sines = [line.split("=")[0] for line in text.splitlines() if "= sin" in line]
    assert sines
    # Batched: the phases of the two feature maps and nothing else.
    assert sum("[64" in line for line in sines) == 2


def test_blocks_of_weights_stay_unbatched_beside_equal_ones_of_inputs():
    def layer(angle):
        ops = [Op("ry", q, angle[q]) for q in range(7)]
        return [*ops, *(Op("cx", (q, q + 1)) for q in range(6))]

    circuit = Circuit(7, tuple(3 * (layer(x) + layer(w))))
    found = plan(circuit)
    states = jax.vmap(lambda i, v: run(found, i, v), (0, None))
    text = str(jax.make_jaxpr(states)(jnp.ones((64, 7)), jnp.ones(7)))
    sines = {
        line.split("=")[0].split(":")[1].strip() for line in text.splitlines() if "= sin" in line
    }
    # In the two repeats four angles of weights and four of inputs: not eight of both.
    assert {"f32[8,1]", "f32[64,8,1]"} <= sines


@pytest.mark.slow_but_one
@pytest.mark.parametrize(("gates", "by_gates"), [(("ry", "rz"), False), (("ry",), True)])
def test_a_batch_of_weights_goes_by_blocks_where_these_have_many_angles(gates, by_gates):
    ops = [Op(gate, q, w[2 * q + k]) for q in range(7) for k, gate in enumerate(gates)]
    ops += [Op("cx", (q, q + 1)) for q in range(6)]
    circuit = Circuit(7, tuple(ops))
    weights = jax.random.normal(jax.random.key(0), (3, circuit.num_weights))
    many = jax.vmap(lambda v: expectations(circuit, "X" * 7, [], v)[0])
    assert ("take_rows" in str(jax.make_jaxpr(many)(weights))) == by_gates
    slopes = jax.jit(jax.grad(lambda v: many(v).sum()))(weights)
    one = jax.jit(jax.grad(lambda v: expectations(circuit, "X" * 7, [], v)[0]))
    np.testing.assert_allclose(slopes, [one(v) for v in weights], atol=1e-5)


@pytest.mark.slow_but_one
@pytest.mark.parametrize("axes", [None, (0, None), (None, 0)])
@pytest.mark.parametrize("name", ["zz, real amplitudes, 2", "zz, real amplitudes, 7", "uniform"])
def test_users_may_forbid_rank_promotion(name, axes):
    """Lowered only: what promotes ranks does so while it is traced."""
    more = {
        "zz, real amplitudes, 7": zz_feature_map(7) + real_amplitudes(7, reps=2),
        "uniform": CIRCUITS["random, 5, uniform steps"],
    }
    circuit = more.get(name) or CIRCUITS[name]
    n = circuit.num_qubits

    def of_one(inputs, weights):
        return expectations(circuit, ["Z" * n, "X" * n], inputs, weights)[0]

    value = of_one if axes is None else jax.vmap(of_one, axes)
    lead = [() if axes is None or axis is None else (2,) for axis in axes or (None, None)]
    arrays = [
        jnp.ones((*shape, count))
        for shape, count in zip(lead, (circuit.num_inputs, circuit.num_weights), strict=True)
    ]
    with jax.numpy_rank_promotion("raise"):
        jax.jit(jax.grad(lambda *at: value(*at).sum(), (0, 1))).lower(*arrays)
