"""How many members fit into a device's memory, asked before anything is allocated."""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import jaxprs_in_params

from qnn_jax.errors import InputError
from qnn_jax.simulate.preflight import bytes_needed, memory_bytes
from qnn_jax.training import Task
from qnn_jax.training.fit import EVALUATION_BATCH

#: Members that share a CPU's caches best: twice as many cost a third more time each.
_CPU_AT_ONCE = 4
#: Training keeps what the forward pass computed and as much again for its gradient.
_FORWARD_AND_BACK = 2


def member_bytes(task: Task, images: Any) -> int:
    """An upper estimate of what a member takes while it trains, in bytes.

        16 P + 4 max(2 B A, V A) + max(B, V) C

    P parameters, each with its gradient and Adam's two moments; A numbers computed for an image, B
    images a step and V images that are evaluated at once; C bytes of a circuit's state.

    Args:
        task: what is trained.
        images: training images, for their shape.
    """
    total = 0
    one = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    for _, model in task.members:
        params = jax.eval_shape(model.init, jax.random.key(0), one)
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        numbers = _numbers(jax.make_jaxpr(model.apply)(params, one).jaxpr)
        step = _FORWARD_AND_BACK * task.config.batch_size
        quantum = 0
        if getattr(model, "middle", None) == "quantum":
            circuit = model.config.circuit()
            quantum = max(step, EVALUATION_BATCH) * (16 * 2**circuit.num_qubits)
            quantum += bytes_needed(circuit, "adjoint")
        total += 16 * size + 4 * max(step, EVALUATION_BATCH) * numbers + quantum
    return total


def _numbers(jaxpr: Any) -> int:
    """All numbers that a program computes, those of its parts included."""
    total = 0
    for equation in jaxpr.eqns:
        inner = list(jaxprs_in_params(equation.params))
        total += (
            sum(map(_numbers, inner)) if inner else sum(int(v.aval.size) for v in equation.outvars)
        )
    return total


def at_once(needed: int, members: int, wanted: int) -> int:
    """Members that a device steps side by side.

    Args:
        needed: bytes that a member takes.
        members: how many a device has.
        wanted: what the user asks for; 0 for what memory and caches allow.

    Raises:
        InputError: where not even one fits.
    """
    # Half of the memory, not what happens to be free: a resumed scan must do the same again.
    there = memory_bytes() // 2 // (jax.local_device_count() if _on_cpu() else 1)
    fit = there // needed
    if fit < 1:
        raise InputError(
            f"Argument `--batch-size` and the model must fit into memory, but a single member "
            f"takes about {needed / 2**30:.3g} GiB and a device may use {there / 2**30:.3g} GiB: "
            "lower --batch-size or --model.num-qubits."
        )
    most = wanted or (_CPU_AT_ONCE if _on_cpu() else members)
    return max(1, min(members, most, fit))


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"
