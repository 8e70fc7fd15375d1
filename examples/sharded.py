"""One circuit over several devices: its value, its gradient, and what the devices send.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python examples/sharded.py --qubits 12
sbatch examples/sharded.slurm --qubits 33
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from qnn_jax import efficient_su2, expectations, plan


def main() -> None:
    """Run on all devices of all processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qubits", type=int, default=12)
    parser.add_argument("--distributed", action="store_true", help="several processes, as in Slurm")
    flags = parser.parse_args()
    if flags.distributed:
        jax.distributed.initialize(heartbeat_timeout_seconds=30)  # for a process that is lost
    mesh = jax.make_mesh((jax.device_count(),), ("state",), (AxisType.Auto,))
    circuit = efficient_su2(flags.qubits, reps=2, entanglement="linear")
    weights = np.random.default_rng(0).normal(size=circuit.num_weights).astype(np.float32)
    label = "Z" * flags.qubits

    def value(weights: jax.Array) -> jax.Array:
        return expectations(circuit, label, [], weights, mesh=mesh)[0]

    found, slope = jax.jit(jax.value_and_grad(value))(weights)
    if jax.process_index() == 0:
        print(plan(circuit, label, mesh=mesh))
        print(f"value {float(found):.6f}, norm of the gradient {float(jnp.linalg.norm(slope)):.6f}")


if __name__ == "__main__":
    main()
