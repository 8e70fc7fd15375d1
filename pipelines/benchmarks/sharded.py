"""What states over eight devices send: planned, compiled, and by two other ways.

Nothing is timed: eight devices made of one processor say nothing of speed. Counted are collectives
and bytes of the compiled programs, and their memory. Beside them stand

- GSPMD: the same circuit gate by gate on a state of shape (2,)*n, left to XLA's partitioner, with
  the state's first three axes over the devices;
- pairwise exchange, by formula: every gate that is not diagonal sends a device's whole state where
  it turns one of three fixed qubits.

The last table is arithmetic: bytes of the plans, over published speeds of links.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

_DEVICES = 8
_BITS = 3
_QUBITS = 20
_REPS = 4
#: Bytes a second that a device sends: half of the 900 GB/s of both directions of NVLink on an H100
#: (NVIDIA's data sheet), and a port of NDR InfiniBand of 400 Gbit/s.
LINKS = {"NVLink 4": 450e9, "InfiniBand NDR": 50e9}
#: Qubits, and the bits of a device's number with which a device holds 2**30 amplitudes or fewer.
_LARGE = ((30, 3), (34, 5), (38, 9))


def sharded() -> dict[str, Any]:
    """Count, and print the tables."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={_DEVICES}"
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.benchmarks.sharded"],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    print(
        f"\nOf {_QUBITS} qubits over {_DEVICES} devices of one processor, in float32; sent bytes "
        "are in states of a device (KiB in brackets)\n"
    )
    print(
        f"{'circuit':<24}{'layers':>7}{'exchanges':>10}{'sent':>16}{'bound':>7}{'gradient':>16}"
        f"{'memory':>8}{'GSPMD':>18}{'pairwise':>9}"
    )
    for row in found["circuits"]:
        print(
            f"{row['circuit']:<24}{row['layers']:>7}{row['exchanges']:>10}"
            f"{_both(row['sent'], row['state']):>16}{row['bound']:>7.2f}"
            f"{_both(row['gradient_sent'], row['state']):>16}{row['gradient_memory']:>8.2f}"
            f"{_both(row['gspmd_sent'], row['state']):>18}{row['pairwise']:>9}"
        )
    print(
        "\nbound: (layers + 1)·7/8. memory: of the adjoint gradient on a device, in its states. "
        "GSPMD and pairwise: values alone."
    )
    print(f"\nBy arithmetic, not measured: efficient_su2 of {_REPS} repeats, values alone\n")
    print(f"{'qubits':>7}{'devices':>9}{'state of each':>15}{'sent by each':>14}", end="")
    print("".join(f"{name:>18}" for name in LINKS))
    for row in found["arithmetic"]:
        seconds = "".join(f"{row['seconds'][name]:>16.3g} s" for name in LINKS)
        print(
            f"{row['qubits']:>7}{row['devices']:>9}{row['state'] / 2**30:>11.3g} GiB"
            f"{row['sent'] / 2**30:>10.3g} GiB{seconds}"
        )
    return found


def _both(sent: int, state: int) -> str:
    return f"{sent / state:.2f} ({sent / 1024:.0f})"


def circuits(num_qubits: int, reps: int) -> dict[str, tuple[Any, int]]:
    """Circuits and the number of their rotation layers."""
    from qnn_jax import (
        Circuit,
        Op,
        efficient_su2,
        random_circuit,
        real_amplitudes,
        w,
        zz_feature_map,
    )

    ring = [Op("h", k) for k in range(num_qubits)]
    for j in range(reps):
        ring += [Op("rzz", (k, (k + 1) % num_qubits), w[2 * j]) for k in range(num_qubits)]
        ring += [Op("rx", k, w[2 * j + 1]) for k in range(num_qubits)]
    ansatz = real_amplitudes(num_qubits, reps=reps)
    return {
        "real_amplitudes linear": (
            real_amplitudes(num_qubits, reps=reps, entanglement="linear"),
            reps + 1,
        ),
        "real_amplitudes full": (
            real_amplitudes(num_qubits, reps=reps, entanglement="full"),
            reps + 1,
        ),
        "efficient_su2": (efficient_su2(num_qubits, reps=reps), reps + 1),
        "feature map + ansatz": (zz_feature_map(num_qubits, reps=1) + ansatz, reps + 2),
        "QAOA ring": (Circuit(num_qubits, tuple(ring)), reps + 1),
        "random": (random_circuit(num_qubits, 3 * reps, seed=1, trainable=True), 3 * reps),
    }


def by_gates(circuit: Any, mesh: Any) -> Callable[..., Any]:
    """<Z…Z> gate by gate on a tensor of 2 x 2 x … numbers, as XLA's partitioner may do it."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    from qnn_jax.simulate.angle_table import evaluate
    from qnn_jax.simulate.gate_forms import features, lower

    n = circuit.num_qubits
    over = NamedSharding(mesh, PartitionSpec(*mesh.axis_names))
    signs = np.array([1.0, -1.0], np.float32)

    def value(inputs: Any, weights: Any) -> Any:
        state = jnp.zeros((2,) * n, jnp.complex64).at[(0,) * n].set(1)
        state = jax.lax.with_sharding_constraint(state, over)
        for op in circuit.ops:
            for gate in lower(op):
                angle = 0.0 if gate.angle is None else evaluate((gate.angle,), inputs, weights)[0]
                stack = jnp.stack([jnp.asarray(f, jnp.float32) for f in features(jnp, angle)])
                matrix = jnp.tensordot(
                    stack.astype(jnp.complex64),
                    jnp.asarray(gate.form.coefficients, jnp.complex64),
                    1,
                )
                # Axis j is qubit n - 1 - j; the highest bit of the matrix comes first.
                axes = [n - 1 - q for q in reversed(gate.qubits)]
                k = len(axes)
                tensor = matrix.reshape((2,) * (2 * k))
                state = jnp.tensordot(tensor, state, (list(range(k, 2 * k)), axes))
                state = jnp.moveaxis(state, list(range(k)), axes)
                state = jax.lax.with_sharding_constraint(state, over)
        found = jnp.abs(state) ** 2
        for _ in range(n):
            found = jnp.tensordot(found, signs, ([found.ndim - 1], [0]))
        return found

    return value


def pairwise(circuit: Any, num_bits: int) -> int:
    """How often a device sends its whole state in pairwise exchange."""
    from qnn_jax.simulate.exchanges import is_control
    from qnn_jax.simulate.gate_forms import lower

    top = set(range(circuit.num_qubits - num_bits, circuit.num_qubits))
    return sum(
        any(q in top and not is_control(gate.form, k) for k, q in enumerate(gate.qubits))
        for op in circuit.ops
        for gate in lower(op)
        if gate.form.phases is None
    )


def _count(name: str, circuit: Any, layers: int) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    from jax.sharding import AxisType

    import qnn_jax
    from pipelines.benchmarks.collectives import collectives, total

    n = circuit.num_qubits
    one = jax.make_mesh((_DEVICES,), ("state",), (AxisType.Auto,))
    cube = jax.make_mesh((2,) * _BITS, ("a", "b", "c"), (AxisType.Auto,) * _BITS)
    shapes = [
        jax.ShapeDtypeStruct((m,), jnp.float32) for m in (circuit.num_inputs, circuit.num_weights)
    ]

    def of(inputs: Any, weights: Any) -> Any:
        label = "Z" * n
        return qnn_jax.expectations(circuit, label, inputs, weights, "adjoint", mesh=one)[0]

    def sent(function: Callable[..., Any]) -> tuple[dict[str, tuple[int, int]], Any]:
        compiled = jax.jit(function).lower(*shapes).compile()
        found = collectives(compiled.as_text() or "")
        kinds = sorted({c.kind for c in found})
        return {kind: total(found, kind) for kind in kinds}, compiled.memory_analysis()

    forward, _ = sent(of)
    gradient, memory = sent(jax.grad(of, (0, 1)))
    gspmd, _ = sent(by_gates(circuit, cube))
    state = 8 * 2**n // _DEVICES
    needed = memory.temp_size_in_bytes + memory.output_size_in_bytes + memory.argument_size_in_bytes
    return {
        "circuit": name,
        "layers": layers,
        "state": state,
        "exchanges": forward.get("all-to-all", (0, 0))[0],
        "planned": qnn_jax.plan(circuit, "Z" * n, mesh=one).bytes_sent,
        "sent": sum(size for _, size in forward.values()),
        "bound": (layers + 1) * 7 / 8,
        "gradient_sent": sum(size for _, size in gradient.values()),
        "gradient_memory": needed / state,
        "gspmd_sent": sum(size for _, size in gspmd.values()),
        "pairwise": pairwise(circuit, _BITS),
        "collectives": {"forward": forward, "gradient": gradient, "gspmd": gspmd},
    }


def _arithmetic(num_qubits: int, num_bits: int) -> dict[str, Any]:
    from jax.sharding import AbstractMesh

    from qnn_jax import plan

    circuit, _ = circuits(num_qubits, _REPS)["efficient_su2"]
    mesh = AbstractMesh((2**num_bits,), ("state",))
    found = plan(circuit, "Z" * num_qubits, mesh=mesh)
    return {
        "qubits": num_qubits,
        "devices": 2**num_bits,
        "state": 8 * 2 ** (num_qubits - num_bits),
        "exchanges": found.num_exchanges,
        "sent": found.bytes_sent,
        "seconds": {name: found.bytes_sent / speed for name, speed in LINKS.items()},
    }


def main() -> None:
    """What the process with eight devices does."""
    rows = [
        _count(name, circuit, layers)
        for name, (circuit, layers) in circuits(_QUBITS, _REPS).items()
    ]
    print(json.dumps({"circuits": rows, "arithmetic": [_arithmetic(*size) for size in _LARGE]}))


if __name__ == "__main__":
    main()
