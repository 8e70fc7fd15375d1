"""`jax.shard_map` with its default checks, on two devices made of this processor."""

import subprocess
import sys
import textwrap

CODE = """
    import os
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=2"
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import Mesh, PartitionSpec as P
    from pipelines.benchmarks import cases
    from qnn_jax import expectations

    mesh = Mesh(np.array(jax.devices()), ("batch",))
    rng = np.random.default_rng(0)

    def check(circuit, gradient, own_weights):
        n = circuit.num_qubits
        inputs = jnp.asarray(rng.normal(size=(4, circuit.num_inputs)))
        shape = (4, circuit.num_weights)[0 if own_weights else 1:]
        weights = jnp.asarray(rng.normal(size=shape))

        def values(i, v):
            def one(i, v):
                return expectations(circuit, ("Z" * n, "X" * n), i, v, gradient)
            return jax.vmap(one, (0, 0 if own_weights else None))(i, v)

        spec = P("batch") if own_weights else P()
        split = jax.shard_map(values, mesh=mesh, in_specs=(P("batch"), spec), out_specs=P("batch"))
        for function in (values, jax.jit(split)):
            def total(i, v):
                return jnp.sum(jnp.sin(function(i, v)))
            found = jax.jit(jax.value_and_grad(total, (0, 1)))(inputs, weights)
            if function is values:
                wanted = found
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)

    check(cases.feature_map_and_ansatz(3, 2), "auto", False)
    check(cases.feature_map_and_ansatz(4, 2), "adjoint", False)
    check(cases.efficient_su2(3, 2), "auto", True)
"""


def test_devices_share_a_batch():
    code = textwrap.dedent(CODE)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
