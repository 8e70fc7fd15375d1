"""Run twice by test_sharded.py: a state over the devices of two processes.

python one_of_two_processes.py HOST:PORT NUMBER [leave]
"""

import json
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax
import numpy as np
from jax.sharding import AxisType

import qnn_jax

address, number = sys.argv[1], int(sys.argv[2])
jax.distributed.initialize(
    address, num_processes=2, process_id=number, heartbeat_timeout_seconds=10
)
mesh = jax.make_mesh((8,), ("state",), (AxisType.Auto,))
circuit = qnn_jax.efficient_su2(6, reps=1, entanglement="linear")
weights = np.linspace(0.1, 1.3, circuit.num_weights).astype(np.float32)


def value(weights):
    return qnn_jax.expectations(circuit, ["ZIIIIZ"], [], weights, mesh=mesh)[0]


found, slope = jax.jit(jax.value_and_grad(value))(weights)
row = {"value": float(found), "slope": np.asarray(slope).tolist()}
eager, slope = jax.value_and_grad(value)(weights)
row |= {"eager": float(eager), "eager_slope": np.asarray(slope).tolist()}
outcomes = qnn_jax.sample(circuit, [], weights, 20, jax.random.key(1), mesh=mesh)
row["sample"] = np.asarray(outcomes).tolist()
row["variance"] = float(qnn_jax.variances(circuit, ["ZIIIIZ"], [], weights, mesh=mesh)[0])
print(json.dumps(row), flush=True)
if "leave" in sys.argv:
    if number == 1:
        os._exit(0)
    while True:
        jax.block_until_ready(jax.jit(value)(weights))
