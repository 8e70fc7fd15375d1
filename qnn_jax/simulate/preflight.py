"""Is there memory enough? Asked before anything is allocated, also of batches and gradients.

The formula is in `check_memory`. A check at the entry sees one sample and no gradient: only JAX's
transformations know the size of a batch, and whether reverse mode follows. So the state passes an
operation of JAX that does nothing but ask (`watched`): its batching rule multiplies, its transpose
counts what the gradient holds. It knows one call of a circuit, and nothing of a scan around it.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, partial_eval
from jaxtyping import Array, Float

from qnn_jax.circuits.checks import at_least, one_of
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.errors import InputError
from qnn_jax.memory import MAX_SIMULATED_QUBITS, machine_bytes
from qnn_jax.simulate.planner import Plan, plan_state
from qnn_jax.simulate.steps import MatrixStep, UniformStep

#: How many states (of a real and an imaginary part) live at once: measured on compiled programs,
#: rounded up (`tests/simulate/test_preflight.py` compares).
_STATES_FORWARD = 4
STATES_ADJOINT = 8
#: What reverse mode keeps: so many states of each step with angles, and so many times the matrices
#: that a sample has of its own, large ones by layers and small ones gate by gate.
_STATES_A_STEP = 2
_OF_MATRICES, _OF_SMALL_MATRICES = 6, 2
#: So many bytes always fit.
_FITS = 2**28


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
    circuit = checked_circuit(circuit)
    if gradient is not None:
        one_of("gradient", gradient, ("adjoint", "reverse"))
    itemsize = at_least("itemsize", itemsize, 4, 8)
    if itemsize not in (4, 8):
        raise InputError(f"Argument `itemsize` must be 4 or 8, but is {itemsize}.")
    batch = at_least("batch", batch, 1)
    # Small registers are dominated by the tables of angles and matrices, not by their states.
    tables = 16 * itemsize * circuit.num_angles + 2**18 * itemsize
    states = _STATES_FORWARD if gradient is None else STATES_ADJOINT
    if gradient == "reverse":
        found = plan_state(circuit, batch > 1)
        states = states_kept(found, batch > 1)
        data = sum(array.size for s in found.scans for d in s.data for array in d)
        tables = 2 * tables + itemsize * data
    return _bytes(circuit.num_qubits, batch, states, itemsize) + tables


def states_kept(plan: Plan, shared: bool = False, by_gates: bool = False) -> int:
    """How many states' memory the gradient of a plan takes in reverse mode, for each sample.

    Samples may share what is made of weights alone. Done gate by gate, only the beginning of a
    repeat is kept.
    """
    steps, matrices = 0, 0.0
    for scan in plan.scans:
        for step, reads_inputs in zip(scan.steps, scan.reads_inputs, strict=True):
            if not step.num_angles:
                continue
            steps += scan.repeats
            if isinstance(step, MatrixStep | UniformStep) and (reads_inputs or not shared):
                bits = step.num_bits + (not step.real)
                matrices += scan.repeats * 4**bits / (2 << plan.num_qubits)
    if by_gates:
        longest = max((len(scan.steps) for scan in plan.scans), default=0)
        steps = longest + sum(scan.repeats for scan in plan.scans)
        return math.ceil(STATES_ADJOINT + steps + _OF_SMALL_MATRICES * matrices)
    return math.ceil(STATES_ADJOINT + _STATES_A_STEP * steps + _OF_MATRICES * matrices)


def _bytes(num_qubits: int, batch: int, states: int, itemsize: int) -> int:
    return batch * states * 2 * itemsize * 2**num_qubits


def memory_bytes() -> int:
    """The memory of the device that JAX computes on, in bytes; of a container what it may use."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    return machine_bytes()


def check_memory(
    num_qubits: int,
    itemsize: int,
    states: int = _STATES_FORWARD,
    samples: int = 1,
    derivatives: int = 1,
    devices: int = 1,
) -> None:
    """Refuse what takes more memory than there is.

    Args:
        num_qubits: of the circuit.
        itemsize: bytes of a real number.
        states: how many states of a sample live at once.
        samples: how many samples there are.
        derivatives: in how many directions, or of how many values, they are taken at once.
        devices: over how many the state is spread.
    """
    most = MAX_SIMULATED_QUBITS + devices.bit_length() - 1
    if num_qubits > most:
        where = f" on {devices} devices" if devices > 1 else ""
        raise InputError(
            f"Argument `circuit` must have at most {most} qubits to be simulated{where}, "
            f"but has {num_qubits}: its state has 2**{num_qubits} amplitudes."
        )
    # What a sample keeps serves all its derivatives.
    each = _STATES_FORWARD if states == _STATES_FORWARD else STATES_ADJOINT
    needed = _bytes(num_qubits, samples, states + each * (derivatives - 1), itemsize)
    if needed <= _FITS:
        return
    there = memory_bytes()
    if devices > 1:
        if jax.default_backend() == "cpu":
            there //= jax.local_device_count()  # which share this machine
        if needed > there * devices:
            fit = 1 << max(math.ceil(needed / max(there, 1)) - 1, 1).bit_length()
            raise InputError(
                f"Argument `mesh` must have devices enough, but the {num_qubits} qubits take about "
                f"{needed / devices / 2**30:.3g} GiB on each of {devices} and one has "
                f"{there / 2**30:.3g} GiB; {fit} would fit."
            )
        return
    if samples * derivatives > 1 and jax.default_backend() != "cpu":
        there *= jax.device_count()  # over which a batch may be spread
    if needed <= there:
        return
    slope = states > _STATES_FORWARD
    if derivatives > 1:
        way_out = "take fewer derivatives at once"
    elif samples > 1:
        one = "jax.grad(f)" if slope else "f"
        way_out = f"take it in parts, as jax.lax.map({one}, ..., batch_size=...) does"
    elif states > STATES_ADJOINT:
        way_out = 'gradient="adjoint" takes less'
    else:
        way_out = "each qubit less halves it"
    raise InputError(
        f"Argument `circuit` must fit into memory, but its {num_qubits} qubits"
        f"{f' in a batch of {samples}' if samples > 1 else ''}"
        f"{f' with {derivatives} derivatives' if derivatives > 1 else ''} take about "
        f"{needed / 2**30:.3g} GiB{' for their gradient' if slope else ''} and there are "
        f"{there / 2**30:.3g} GiB; {way_out}."
    )


def watched(
    state: Float[Array, "c amplitudes"], backwards: int, devices: int = 1
) -> Float[Array, "c amplitudes"]:
    """The same state; its batches and its derivatives are refused where they cannot fit.

    In a gradient `backwards` states live at once. `state` may be one device's part of a state that
    is spread over `devices`.
    """
    num_qubits = (state.shape[1] * devices).bit_length() - 1
    asked = {"states": _STATES_FORWARD, "samples": 1, "derivatives": 1, "devices": devices}
    return _watched_p.bind(state, state[:, :0], num_qubits=num_qubits, backwards=backwards, **asked)


# Its second operand holds nothing, but is batched where the state is. So where only the first one
# is, a tangent or a cotangent, these are derivatives of one sample.


def _ask(state: Any, _: Any, *, backwards: int, **asked: int) -> Any:
    """Of values and of types: ask, and give back what came."""
    del backwards
    check_memory(itemsize=state.dtype.itemsize, **asked)
    return state


def _batch(operands: Any, axes: Any, **asked: int) -> Any:
    (state, sample), (axis, axis_of_sample) = operands, axes
    size = sample.shape[axis_of_sample] if axis is None else state.shape[axis]
    if jax.export.is_symbolic_dim(size):  # nobody knows how many
        return state, axis
    of_what = "derivatives" if axis_of_sample is None else "samples"
    asked[of_what] *= size
    if axis_of_sample is not None:  # of no numbers, before and after
        sample = sample.reshape(np.delete(sample.shape, axis_of_sample).tolist())
    return _watched_p.bind(state, sample, **asked), axis


def _jvp(primals: Any, tangents: Any, **asked: int) -> Any:
    (state, sample), (tangent, _) = primals, tangents
    out = _watched_p.bind(state, sample, **asked)
    if isinstance(tangent, ad.Zero):
        return out, tangent
    if isinstance(tangent, _UNKNOWN):  # what the transpose needs is kept from now on
        _watched_p.bind(state, sample, **{**asked, "states": asked["backwards"]})
    return out, _watched_p.bind(tangent, sample, **asked)


def _transpose(cotangent: Any, _: Any, sample: Any, **asked: int) -> Any:
    if isinstance(cotangent, ad.Zero):
        return cotangent, None
    asked["states"] = asked["backwards"]
    return _watched_p.bind(cotangent, sample, **asked), None


#: The type of tangents while JAX only notes what to do with them.
_UNKNOWN: Any = getattr(partial_eval, "JaxprTracer", ())
_watched_p: Any = Primitive("watched_state")
_watched_p.def_impl(_ask)
_watched_p.def_abstract_eval(_ask)
mlir.register_lowering(_watched_p, lambda _, state, sample, **asked: [state])
batching.primitive_batchers[_watched_p] = _batch
ad.primitive_jvps[_watched_p] = _jvp
ad.primitive_transposes[_watched_p] = _transpose
