"""How many members fit into a device's memory, asked before anything is allocated."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var, jaxprs_in_params

from qnn_jax.errors import InputError
from qnn_jax.simulate.preflight import memory_bytes
from qnn_jax.training.epochs import fit_epoch, init_state
from qnn_jax.training.task import Examples, Task

#: Members that share a CPU's caches best: twice as many cost a third more time each.
_CPU_AT_ONCE = 4
#: XLA copies some arrays to lay them out otherwise, which the program does not say.
_COPIES = 2


def member_bytes(task: Task, names: tuple[str, ...], train: Examples, validation: Examples) -> int:
    """An upper estimate of what a member takes while it trains, in bytes.

    The most that is alive at once in the program of an epoch, as it is written: every array from
    where it is computed to where it is last read. XLA fuses many and so takes less.

    Args:
        task: what is trained.
        names: the members of the task that train.
        train: examples, for their shapes.
        validation: the same.
    """
    data = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (train, validation))
    key = jax.eval_shape(jax.random.key, 0)
    inputs = data[0].inputs
    one = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    state = jax.eval_shape(lambda key, one: init_state(task, names, key, one), key, one)
    epoch = jax.ShapeDtypeStruct((), jnp.int32)
    program = fit_epoch.trace(task, names, state, key, epoch, *data)
    return _COPIES * (_size(jax.tree.leaves(state)) + _alive(program.jaxpr.jaxpr))


def _alive(jaxpr: Any) -> int:
    """The most bytes that are alive at once within a program, its arguments aside."""
    last: dict[Any, int] = {}
    for place, equation in enumerate(jaxpr.eqns):
        last |= {var: place for var in equation.invars if isinstance(var, Var)}
    last |= dict.fromkeys((v for v in jaxpr.outvars if isinstance(v, Var)), len(jaxpr.eqns))
    given = {*jaxpr.invars, *jaxpr.constvars}
    ends: dict[int, list[Any]] = {}
    for var, place in last.items():
        if var not in given:
            ends.setdefault(place, []).append(var)
    now = most = 0
    for place, equation in enumerate(jaxpr.eqns):
        now += _size([var.aval for var in equation.outvars])
        inner = max(map(_alive, jaxprs_in_params(equation.params)), default=0)
        most = max(most, now + inner)
        now -= _size([var.aval for var in ends.get(place, ())])
        # What nobody reads is gone at once.
        now -= _size([var.aval for var in equation.outvars if var not in last])
    return most


def _size(arrays: Any) -> int:
    return sum(
        array.size * getattr(array.dtype, "itemsize", 8)
        for array in arrays
        if hasattr(array, "dtype")
    )


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
            f"Argument `task` must fit into memory, but a single member takes about "
            f"{needed / 2**30:.3g} GiB and a device may use {there / 2**30:.3g} GiB: take smaller "
            "batches or fewer qubits."
        )
    most = wanted or (_CPU_AT_ONCE if _on_cpu() else members)
    return max(1, min(members, most, fit))


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"
