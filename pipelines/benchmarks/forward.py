"""Values alone of circuits that do not repeat: qnn_jax and simulators in C++, in one run.

Layers of U on every qubit and of CX on random pairs. As in the table of the simulator, each engine
has a process of its own, first calls and steps are timed apart, and results that differ are not
timed. Beside them is what one pass over a state takes here: a copy, the permutation and the matrix
product of a uniform step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.benchmarks import cases, table
from pipelines.benchmarks.simulator import Limits, short_table

#: Qubits and depth.
SIZES = ((12, 10), (16, 10), (20, 10), (24, 5))
PEERS = ("qsim", "aer", "qulacs")


def forward(rounds: int, cap_seconds: float, peers: bool) -> dict[str, Any]:
    """Run the table and print it; return all numbers as a JSON object."""

    def cells() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for qubits, depth in SIZES:
            circuit = cases.u_and_cx(qubits, depth)
            problem = cases.problem(circuit)
            # Small angles, or the value is too close to 0 to be compared.
            problem["weights"] = [0.1 * weight for weight in problem["weights"]]
            about = {"family": "U and CX", "batch": 1, "num_qubits": qubits, "depth": depth}
            yield about | {"gates": len(circuit.ops)}, problem

    def beside(row: dict[str, Any]) -> None:
        row["passes"] = passes(row["num_qubits"], rounds)
        each = (f"{name} {table.duration(s)}" for name, s in row["passes"].items())
        print(f"    one pass over the state: {', '.join(each)}", flush=True)

    limits = Limits(rounds, cap_seconds)
    wanted = PEERS if peers else ()
    return short_table(cells(), " forward", wanted, limits, "Value alone", beside)


def passes(num_qubits: int, rounds: int) -> dict[str, float]:
    """The least seconds of one pass over a state of float32 numbers, by what is done in it."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from pipelines.benchmarks.tuning import timed
    from qnn_jax.simulate.gf2 import bit_permutation, columns_of
    from qnn_jax.simulate.kernels import apply
    from qnn_jax.simulate.steps import PermutationStep, UniformStep

    generator = np.random.default_rng(0)
    state = jnp.ones((1, 2 << num_qubits), jnp.float32)
    turn = bit_permutation(tuple(map(int, generator.permutation(num_qubits + 1))))
    columns = jnp.asarray(np.stack([columns_of(turn.inverse()), columns_of(turn)]), jnp.int32)
    matrix = jnp.asarray(generator.normal(size=(32, 32)), jnp.float32)
    programs = {
        "copy": jax.jit(lambda state: state + 1),
        "permutation": jax.jit(lambda state: apply(PermutationStep(None), columns, state)),
        "matrix on 4 qubits": jax.jit(lambda s: apply(UniformStep(4, 1, False), matrix, s)),
    }
    calls: dict[str, Callable[[], Any]] = {
        name: functools.partial(run, state) for name, run in programs.items()
    }
    return timed(calls, rounds)
