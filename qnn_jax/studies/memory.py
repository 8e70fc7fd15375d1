"""How many members fit into a device's memory, computed before anything is allocated."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var, jaxprs_in_params

from qnn_jax.errors import InputError
from qnn_jax.simulate.preflight import memory_bytes
from qnn_jax.training.epochs import fit_epoch, init_state
from qnn_jax.training.task import Examples, Task

#: Members that share a CPU's caches best: with twice as many, each takes a third more time.
_CPU_AT_ONCE = 4
#: XLA copies some arrays to change their layout, which the program does not show.
_COPIES = 2


def member_bytes(task: Task, names: tuple[str, ...], train: Examples, validation: Examples) -> int:
    """An upper estimate of the memory of a member in training, in bytes.

    The maximum of the memory in use at once in the program of an epoch as written: every array
    from its computation to its last use. XLA fuses operations and needs less.
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
    """The maximum number of bytes in use at once in a program, without its arguments."""
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
        # An unused result is freed at once.
        now -= _size([var.aval for var in equation.outvars if var not in last])
    return most


def _size(arrays: Any) -> int:
    return sum(
        array.size * getattr(array.dtype, "itemsize", 8)
        for array in arrays
        if hasattr(array, "dtype")
    )


def at_once(needed: int, members: int, wanted: int) -> int:
    """How many members a device trains in parallel.

    `needed` are the bytes of one, `members` how many a device has; where `wanted` is 0, as many as
    memory and caches allow.

    Raises:
        InputError: if not even one fits.
    """
    # Half of the total memory, not of the free one: a resumed scan must get the same result.
    there = memory_bytes() // 2 // (jax.local_device_count() if _on_cpu() else 1)
    fit = there // needed
    if fit < 1:
        raise InputError(
            f"Argument `task` must fit into memory, but a single member needs about "
            f"{needed / 2**30:.3g} GiB and a device may use {there / 2**30:.3g} GiB: use smaller "
            "batches or fewer qubits."
        )
    most = wanted or (_CPU_AT_ONCE if _on_cpu() else members)
    return max(1, min(members, most, fit))


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"
