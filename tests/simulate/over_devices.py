"""Run by test_sharded.py in a process with eight devices made of this processor.

Each check returns numbers; they are printed as one line of JSON, and the test compares them.
"""

import json
import os
import sys
import traceback

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
)

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType

import qnn_jax
from pipelines.benchmarks.collectives import collectives, total
from qnn_jax import Circuit, Op, w
from qnn_jax.simulate import exchanges
from qnn_jax.simulate.exchanges import Scheduler

MESH = jax.make_mesh((8,), ("state",), axis_types=(AxisType.Auto,))
BOTH = jax.make_mesh((4, 2), ("data", "state"), axis_types=(AxisType.Auto,) * 2)
ANY = jax.make_mesh((8,), ("any",), axis_types=(AxisType.Auto,))
LINEAR = qnn_jax.real_amplitudes(7, reps=2, entanglement="linear")
QUICK = ("values", "communication", "broken", "both")
RNG = np.random.default_rng(0)


def controlled(n):
    """Controls on all qubits, gates on three, and permutations between devices."""
    ops = [Op("ry", k, 0.3 + 0.2 * k) for k in range(n)]
    ops += [Op("crx", (k, (k + 1) % n), w[k]) for k in range(n)]
    ops += [Op("ccx", (0, n - 1, 2)), Op("cswap", (n - 1, 1, 2)), Op("cz", (n - 1, 0))]
    ops += [Op("x", n - 1), Op("cry", (n - 1, 0), w[0]), Op("ccx", (n - 1, n - 2, 0))]
    return Circuit(n, tuple(ops))


def ring(n, layers):
    """The alternating operator ansatz of QAOA on a ring."""
    ops = [Op("h", k) for k in range(n)]
    for j in range(layers):
        ops += [Op("rzz", (k, (k + 1) % n), w[2 * j]) for k in range(n)]
        ops += [Op("rx", k, w[2 * j + 1]) for k in range(n)]
    return Circuit(n, tuple(ops))


def values(circuit):
    """The largest difference of each function from that of one device."""
    n = circuit.num_qubits
    labels = [
        "Z" * n,
        "X" * n,
        "Y" + "I" * (n - 1),
        "I" * (n - 1) + "X",
        {"ZX" + "I" * (n - 2): 0.5},
    ]
    inputs = jnp.asarray(RNG.normal(size=circuit.num_inputs))
    weights = jnp.asarray(RNG.normal(size=circuit.num_weights))

    @jax.jit
    def difference(inputs, weights):
        found = []
        for of in (
            lambda **on: qnn_jax.statevector(circuit, inputs, weights, **on),
            lambda **on: qnn_jax.expectations(circuit, labels, inputs, weights, **on),
            lambda **on: qnn_jax.variances(circuit, labels[:3], inputs, weights, **on),
        ):
            found.append(jnp.max(jnp.abs(of() - of(mesh=MESH))))
        for gradient in ("adjoint", "reverse"):

            def of(inputs, weights, gradient=gradient, **on):
                every = qnn_jax.expectations(circuit, labels, inputs, weights, gradient, **on)
                return jnp.sum(jnp.sin(every) * jnp.arange(1.0, 6))

            one = jax.grad(of, (0, 1))(inputs, weights)
            many = jax.grad(lambda i, v, of=of: of(i, v, mesh=MESH), (0, 1))(inputs, weights)
            both = [jnp.concatenate([jnp.ravel(a) for a in g]) for g in (one, many)]
            found.append(jnp.max(jnp.abs(both[0] - both[1]), initial=0.0))
        return jnp.stack(found)

    return np.asarray(difference(inputs, weights)).tolist()


def check_values():
    return {"controlled": values(controlled(6))}


def check_more_values():
    cases = {
        "linear": LINEAR,
        "circular": qnn_jax.efficient_su2(7, reps=2, entanglement="circular"),
        "feature map": qnn_jax.zz_feature_map(6, reps=1) + qnn_jax.real_amplitudes(6, reps=1),
        "random": qnn_jax.random_circuit(7, 4, seed=1, trainable=True),
        "small": qnn_jax.random_circuit(5, 4, 2, seed=3, trainable=True),
    }
    return {name: values(circuit) for name, circuit in cases.items()}


def check_single():
    """In float32 and on 16 qubits, where the gradient is the adjoint one by default."""
    n = 16
    cases = {
        "efficient_su2": qnn_jax.efficient_su2(n, reps=3, entanglement="linear"),
        "feature map": qnn_jax.zz_feature_map(n, reps=1, entanglement="linear")
        + qnn_jax.real_amplitudes(n, reps=2),
        "random": qnn_jax.random_circuit(n, 6, seed=1, trainable=True),
    }
    labels = ["Z" + "I" * (n - 1), "I" * (n - 2) + "ZZ", "I" * (n - 1) + "X"]

    def differences(circuit):
        rng = np.random.default_rng(0)
        # Near π, where the factors π - x of a ZZ feature map do not multiply what is rounded.
        inputs = jnp.asarray(rng.uniform(2, 4, circuit.num_inputs), jnp.float32)
        weights = jnp.asarray(rng.normal(size=circuit.num_weights), jnp.float32)

        def of(inputs, weights, **on):
            every = qnn_jax.expectations(circuit, labels, inputs, weights, **on)
            return jnp.sum(every * jnp.asarray([1.0, 0.5, 0.25])), every

        both = []
        for on in ({}, {"mesh": MESH}):
            slope = jax.grad(lambda i, v, on=on: of(i, v, **on), (0, 1), has_aux=True)
            slopes, every = jax.jit(slope)(inputs, weights)
            both.append([np.asarray(every), np.concatenate([np.asarray(s) for s in slopes])])
        pairs = list(zip(*both, strict=True))
        return [float(np.max(abs(a - b)) / max(1, np.max(abs(a)))) for a, b in pairs]

    with jax.enable_x64(False):
        return {name: differences(circuit) for name, circuit in cases.items()}


def check_samples():
    circuit = qnn_jax.real_amplitudes(6, reps=2)
    weights = RNG.normal(size=circuit.num_weights)
    key = jax.random.key(3)
    one = qnn_jax.sample(circuit, [], weights, 500, key)
    return float(jnp.mean(one == qnn_jax.sample(circuit, [], weights, 500, key, mesh=MESH)))


def program(circuit, gradient=False, mesh=MESH, dtype=jnp.float32):
    """The compiled program of one value, or of its gradient."""
    n = circuit.num_qubits
    label = "Z" * n

    def of(inputs, weights):
        return qnn_jax.expectations(circuit, [label], inputs, weights, "adjoint", mesh=mesh)[0]

    shapes = (jax.ShapeDtypeStruct((m,), dtype) for m in (circuit.num_inputs, circuit.num_weights))
    with jax.enable_x64(dtype == jnp.float64):
        return jax.jit(jax.grad(of, (0, 1)) if gradient else of).lower(*shapes).compile()


def sent(circuit, gradient=False, mesh=MESH):
    """What a program sends, in states of a device, and what the plan says of values."""
    state = 8 * 2**circuit.num_qubits // 8
    found = collectives(program(circuit, gradient, mesh).as_text())
    plan = qnn_jax.plan(circuit, "Z" * circuit.num_qubits, mesh=mesh)
    moving, size = total(found, "all-to-all", "collective-permute")
    return {
        "exchanges": total(found, "all-to-all")[0],
        "planned": plan.num_exchanges,
        "moving": moving,
        "states": size / state,
        "planned_states": plan.bytes_sent / state,
        "largest": max((c.sent for c in found if c.kind == "all-to-all"), default=0) / state,
        "gathers": total(found, "all-gather", "reduce-scatter")[0],
        "sums": total(found, "all-reduce")[0],
        "others": max((c.size for c in found if c.kind == "all-reduce"), default=0),
    }


def check_communication():
    """Of values; layers are scanned, and exchanges within a loop count as often as it runs."""
    n = 12
    cases = {
        "linear": (qnn_jax.real_amplitudes(n, reps=5, entanglement="linear"), 6),
        "efficient_su2": (qnn_jax.efficient_su2(n, reps=9, entanglement="linear"), 10),
        "feature map": (qnn_jax.zz_feature_map(n, reps=2), 2),
    }
    return {
        name: {"layers": layers, "forward": sent(circuit)}
        for name, (circuit, layers) in cases.items()
    }


def check_more_communication():
    """Of gradients, too."""
    n = 12
    cases = {
        "linear": (qnn_jax.real_amplitudes(n, reps=4, entanglement="linear"), 5),
        "reverse linear": (qnn_jax.real_amplitudes(n, reps=4, entanglement="reverse_linear"), 5),
        "full": (qnn_jax.real_amplitudes(n, reps=4, entanglement="full"), 5),
        "efficient_su2": (qnn_jax.efficient_su2(n, reps=5, entanglement="linear"), 6),
        "ring": (ring(n, 4), 5),
        "feature map": (qnn_jax.zz_feature_map(n, reps=2), 2),
        "random": (qnn_jax.random_circuit(n, 8, seed=1, trainable=True), 8),
    }
    return {
        name: {"layers": layers, "forward": sent(circuit), "gradient": sent(circuit, True)}
        for name, (circuit, layers) in cases.items()
    }


def check_memory():
    """Of the adjoint gradient of 20 qubits, in states of a device."""
    found = []
    for circuit in (
        qnn_jax.efficient_su2(20, reps=3, entanglement="linear"),
        ring(20, 4),
        qnn_jax.random_circuit(20, 12, seed=1, trainable=True),
    ):
        memory = program(circuit, gradient=True).memory_analysis()
        taken = memory.temp_size_in_bytes + memory.output_size_in_bytes
        found.append((taken + memory.argument_size_in_bytes) / (8 * 2**20 / 8))
    return found


def check_both():
    """A batch over one axis, states over the other, by the executor and both layers."""
    circuit = qnn_jax.zz_feature_map(5, reps=1) + qnn_jax.real_amplitudes(5, reps=1)
    labels = ("ZZIII", "IIXZZ")
    inputs = jnp.asarray(RNG.normal(size=(6, 5)))  # four devices share six samples
    weights = jnp.asarray(RNG.normal(size=circuit.num_weights))

    def difference(of):
        @jax.jit
        def both(inputs, weights):
            one = jax.value_and_grad(of(None), (0, 1))(inputs, weights)
            many = jax.value_and_grad(of(BOTH), (0, 1))(inputs, weights)
            pairs = zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True)
            return jnp.max(jnp.stack([jnp.max(jnp.abs(a - b)) for a, b in pairs]))

        return float(both(inputs, weights))

    def by_executor(mesh):
        def of(inputs, weights):
            on = {} if mesh is None else {"mesh": mesh}
            values = qnn_jax.executors.exact(circuit, labels, inputs, weights, **on).values
            return jnp.sum(jnp.sin(values) * jnp.arange(12.0).reshape(6, 2))

        return of

    def by_linen(mesh):
        layer = qnn_jax.linen.QuantumLayer(circuit, labels, mesh=mesh)
        return lambda x, v: jnp.sum(layer.apply({"params": {"weights": v}}, x) ** 2)

    def by_nnx(mesh):
        def of(inputs, weights):
            layer = qnn_jax.nnx.QuantumLayer(circuit, labels, mesh=mesh, rngs=nnx.Rngs(0))
            layer.weights[...] = weights
            return jnp.sum(layer(inputs) ** 2)

        return of

    def ambient(mesh):
        def of(inputs, weights):
            values = jax.vmap(
                lambda x: qnn_jax.expectations(
                    circuit, labels, x, weights, mesh=None if mesh is None else "ambient"
                )
            )(inputs)
            return jnp.sum(values**2)

        return of

    found = [difference(of) for of in (by_executor, by_linen, by_nnx)]
    with jax.set_mesh(ANY):
        found.append(difference(ambient))
    return found


def check_explicit():
    """Meshes as jax.make_mesh makes them by default, with explicit axes: given, set, and of two."""
    mesh, both = jax.make_mesh((8,), ("state",)), jax.make_mesh((4, 2), ("data", "state"))
    circuit = qnn_jax.real_amplitudes(5, reps=1, entanglement="linear")
    weights = jnp.asarray(RNG.normal(size=circuit.num_weights))

    def slopes(weights, mesh):
        def of(v):
            if mesh is both:
                batch = qnn_jax.executors.exact(circuit, "Z" * 5, jnp.zeros((4, 0)), v, mesh=mesh)
                return jnp.sum(batch.values) / 4
            return qnn_jax.expectations(circuit, "Z" * 5, [], v, mesh=mesh)[0]

        value, slope = jax.value_and_grad(of)(weights)  # outside jax.jit, and within
        _, along = jax.jvp(of, (weights,), (jnp.ones_like(weights),))
        jitted = jax.jit(jax.grad(of))(weights)
        return np.array([np.append(slope, [value, along]), np.append(jitted, [value, slope.sum()])])

    one = slopes(weights, None)
    found = [slopes(weights, given) for given in (mesh, both)]
    typed = jax.device_put(weights, jax.NamedSharding(mesh, jax.P()))
    found.append(slopes(typed, mesh))
    with jax.set_mesh(mesh):
        found.append(slopes(weights, "ambient"))
    alone = jax.make_mesh((8, 1), ("data", "state"))  # a state on each device
    found.append(slopes(weights, alone))
    return [float(abs(one - many).max()) for many in found]


def check_broken():
    """One exchange more for each, and amplitudes moved the wrong way before and behind them."""
    circuit = LINEAR
    chosen, step = Scheduler.choose, exchanges.PermutationStep

    def twice(self, remaining, first, at):
        chosen(self, remaining, first, at)
        self.exchange([0], [next(1 << q for q in self._local_qubits() if 1 << q not in first)])

    def turned(affine, shards):
        return step(affine.inverse(), shards)

    found = {}
    qnn_jax.clear_caches()
    Scheduler.choose = twice
    found["more"] = sent(circuit)["exchanges"]
    Scheduler.choose = chosen
    qnn_jax.clear_caches()
    exchanges.PermutationStep = turned
    weights = jnp.asarray(RNG.normal(size=circuit.num_weights))
    one = qnn_jax.statevector(circuit, [], weights)
    many = qnn_jax.statevector(circuit, [], weights, mesh=MESH)
    found["wrong"] = float(jnp.max(jnp.abs(np.asarray(one) - np.asarray(many))))
    exchanges.PermutationStep = step
    qnn_jax.clear_caches()
    found["right"] = sent(circuit)["exchanges"]
    return found


def main(which):
    jax.config.update("jax_enable_x64", True)
    every = [name for name in globals() if name.startswith("check_")]
    quick = [f"check_{name}" for name in QUICK]
    asked = {"quick": quick, "slow": [name for name in every if name not in quick]}
    asked |= {name: [name] for name in every}
    for name in asked[which]:
        try:
            print(json.dumps({"name": name[6:], "found": globals()[name]()}), flush=True)
        except Exception:
            print(json.dumps({"name": name[6:], "error": traceback.format_exc()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
