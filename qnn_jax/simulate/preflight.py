"""Is there memory enough? Asked before anything is allocated."""

from __future__ import annotations

import os
from typing import Literal

import jax
import jax.numpy as jnp

from qnn_jax.circuits.circuit import Circuit
from qnn_jax.errors import InputError
from qnn_jax.simulate.planner import plan

#: How many states (of a real and an imaginary part) live at once: measured on compiled programs,
#: rounded up (`tests/simulate/test_preflight.py` compares).
_STATES_FORWARD = 4
_STATES_ADJOINT = 8
#: What reverse mode keeps of each step.
_STATES_A_STEP = 3


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
    """
    # Small registers are dominated by the tables of angles and matrices, not by their states.
    tables = 16 * itemsize * circuit.num_angles + 2**17 * itemsize
    states = _STATES_FORWARD if gradient is None else _STATES_ADJOINT
    if gradient == "reverse":
        segments = plan(circuit).segments
        states += _STATES_A_STEP * sum(len(s.atoms) * s.repeats for s in segments)
        tables = 2 * tables + itemsize * sum(
            array.size for s in segments for d in s.data for array in d
        )
    return batch * states * 2 * itemsize * 2**circuit.num_qubits + tables


def memory_bytes() -> int:
    """The memory of the device that JAX computes on, in bytes."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(circuit: Circuit, batch: int = 1) -> None:
    """Refuse a circuit whose state cannot fit, once for each sample of a batch.

    Raises:
        InputError: where running it takes more memory than the device has.
    """
    if batch << circuit.num_qubits < 2**24:
        return
    itemsize = jnp.zeros(()).dtype.itemsize
    needed, there = bytes_needed(circuit, itemsize=itemsize, batch=batch), memory_bytes()
    if needed > there or circuit.num_qubits > 30:
        raise InputError(
            f"Argument `circuit` must fit into memory, but its {circuit.num_qubits} qubits "
            f"{f'in a batch of {batch} ' if batch > 1 else ''}take "
            f"about {needed / 2**30:.3g} GiB and there are {there / 2**30:.3g} GiB "
            "(states of more than 30 qubits are not supported)."
        )
