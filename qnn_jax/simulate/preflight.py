"""Is there memory enough? Asked before anything is allocated, also of batches and gradients.

How many samples a circuit is run for, and whether it is differentiated backwards, only JAX's
transformations know. So the state passes a primitive that does nothing but ask (`watched`): its
batching rule multiplies, its transpose counts what the gradient holds.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from qnn_jax.circuits.checks import at_least, one_of
from qnn_jax.circuits.circuit import Circuit, circuit_of
from qnn_jax.errors import InputError
from qnn_jax.simulate.atoms import Block, Patch
from qnn_jax.simulate.planner import Plan, plan_state

#: How many states (of a real and an imaginary part) live at once: measured on compiled programs,
#: rounded up (`tests/simulate/test_preflight.py` compares).
_STATES_FORWARD = 4
STATES_ADJOINT = 8
#: What reverse mode keeps: so many states of each step with angles, and so many times the matrices
#: that a sample has of its own, large ones by layers and small ones gate by gate.
_STATES_A_STEP = 2
_OF_MATRICES, _OF_SMALL_MATRICES = 6, 2
#: Batches of fewer amplitudes than this always fit.
_FITS = 2**24
#: The most qubits: amplitudes are numbered by 32-bit integers.
_MOST_QUBITS = 30
#: Where Linux says how much memory a container may use, in its second and its first version.
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def bytes_needed(
    circuit: Circuit,
    gradient: Literal["adjoint", "reverse"] | None = None,
    itemsize: int = 4,
    batch: int = 1,
) -> int:
    """An upper estimate of the memory that a batch takes, in bytes.

    Args:
        circuit: the circuit.
        gradient: None for values alone; else how their gradient is taken.
        itemsize: bytes of a real number: 4, or 8 under x64.
        batch: how many samples, of shared weights.

    Raises:
        InputError: where `gradient`, `itemsize` or `batch` is none of these.
    """
    circuit = circuit_of(circuit)
    if gradient is not None:
        one_of("gradient", gradient, ("adjoint", "reverse"))
    if itemsize not in (4, 8):
        raise InputError(f"Argument `itemsize` must be 4 or 8, but is {itemsize!r}.")
    batch = at_least("batch", batch, 1)
    # Small registers are dominated by the tables of angles and matrices, not by their states.
    tables = 16 * itemsize * circuit.num_angles + 2**17 * itemsize
    states = _STATES_FORWARD if gradient is None else STATES_ADJOINT
    if gradient == "reverse":
        found = plan_state(circuit, batch > 1)
        states = states_kept(found, batch > 1)
        data = sum(array.size for s in found.segments for d in s.data for array in d)
        tables = 2 * tables + itemsize * data
    return _bytes(circuit.num_qubits, batch, states, itemsize) + tables


def states_kept(plan: Plan, shared: bool = False, by_gates: bool = False) -> int:
    """How many states' memory the gradient of a plan takes in reverse mode, for each sample.

    Args:
        plan: the plan.
        shared: samples share what is made of weights alone.
        by_gates: the plan is done gate by gate, and of a repeat only its beginning is kept.
    """
    steps, matrices = 0, 0.0
    for segment in plan.segments:
        for atom, reads_inputs in zip(segment.atoms, segment.reads_inputs, strict=True):
            if not atom.num_angles:
                continue
            steps += segment.repeats
            if isinstance(atom, Block | Patch) and (reads_inputs or not shared):
                bits = atom.num_bits + (not atom.real)
                matrices += segment.repeats * 4**bits / (2 << plan.num_qubits)
    if by_gates:
        longest = max((len(segment.atoms) for segment in plan.segments), default=0)
        steps = longest + sum(segment.repeats for segment in plan.segments)
        return math.ceil(STATES_ADJOINT + steps + _OF_SMALL_MATRICES * matrices)
    return math.ceil(STATES_ADJOINT + _STATES_A_STEP * steps + _OF_MATRICES * matrices)


def _bytes(num_qubits: int, batch: int, states: int, itemsize: int) -> int:
    return batch * states * 2 * itemsize * 2**num_qubits


def memory_bytes() -> int:
    """The memory of the device that JAX computes on, in bytes; of a container what it may use."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in _CONTAINER_LIMITS:
        try:
            limit = file.read_text().strip()
        except OSError:
            continue
        there = min(there, int(limit)) if limit.isdecimal() else there  # else "max"
    return there


def check_memory(
    num_qubits: int, batch: int = 1, states: int = _STATES_FORWARD, itemsize: int | None = None
) -> None:
    """Refuse what cannot fit.

    Args:
        num_qubits: of the circuit.
        batch: how many samples.
        states: how many states of each live at once.
        itemsize: bytes of a real number; by default those of JAX's default dtype.

    Raises:
        InputError: where it takes more memory than there is.
    """
    if batch << num_qubits < _FITS:
        return
    needed = _bytes(num_qubits, batch, states, itemsize or jnp.zeros(()).dtype.itemsize)
    there = memory_bytes()
    if batch > 1 and jax.default_backend() != "cpu":
        there *= jax.local_device_count()  # over which a batch may be spread
    if num_qubits <= _MOST_QUBITS and needed <= there:
        return
    several = f" in a batch of {batch}" if batch > 1 else ""
    slope = " for their gradient" if states > _STATES_FORWARD else ""
    way_out = (
        f"states of more than {_MOST_QUBITS} qubits are not supported"
        if num_qubits > _MOST_QUBITS
        else "take the batch in parts, as jax.lax.map(..., batch_size=...) does"
        if batch > 1
        else 'gradient="adjoint" takes less'
        if states > STATES_ADJOINT
        else "each qubit less halves it"
    )
    raise InputError(
        f"Argument `circuit` must fit into memory, but its {num_qubits} qubits{several} take about "
        f"{needed / 2**30:.3g} GiB{slope} and there are {there / 2**30:.3g} GiB; {way_out}."
    )


def watched(state: Float[Array, "c amplitudes"], backwards: int) -> Float[Array, "c amplitudes"]:
    """The same state; its batches and its gradient are refused where they cannot fit.

    Args:
        state: what a plan has prepared.
        backwards: how many states live at once where the gradient is taken.
    """
    found: Array = _watched_p.bind(
        state,
        num_qubits=state.shape[1].bit_length() - 1,
        batch=1,
        states=_STATES_FORWARD,
        backwards=backwards,
    )
    return found


def _ask(aval: Any, *, num_qubits: int, batch: int, states: int, backwards: int) -> Any:
    del backwards
    check_memory(num_qubits, batch, states, aval.dtype.itemsize)
    return aval


def _batch(arguments: Any, axes: Any, *, batch: int, **others: int) -> Any:
    (state,), (axis,) = arguments, axes
    return _watched_p.bind(state, batch=batch * state.shape[axis], **others), axis


def _transpose(cotangent: Any, _: Any, **asked: int) -> Any:
    return [_watched_p.bind(cotangent, **{**asked, "states": asked["backwards"]})]


_watched_p: Any = Primitive("watched_state")
_watched_p.def_impl(_ask)
_watched_p.def_abstract_eval(_ask)
mlir.register_lowering(_watched_p, lambda _, state, **asked: [state])
batching.primitive_batchers[_watched_p] = _batch
ad.deflinear2(_watched_p, _transpose)
