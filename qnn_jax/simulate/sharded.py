"""States over several devices: the plan of `exchanges`, run on a mesh by `jax.shard_map`.

Each device does the steps on its 2**(n - p) amplitudes. All that is sent are the exchanges of the
plan, one sum of the values over the devices and, of a gradient, one of the parameters' cotangents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jax.sharding import PartitionSpec
from jaxtyping import Array, Complex, Float, Int

from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import PauliSum, masks
from qnn_jax.simulate import tuning
from qnn_jax.simulate.angle_table import usual_promotion
from qnn_jax.simulate.exchanges import Readout
from qnn_jax.simulate.gf2 import Affine, columns_of
from qnn_jax.simulate.kernels import apply, device_signs, move, parameters
from qnn_jax.simulate.meshes import SAME, Spread
from qnn_jax.simulate.observables import combined, moments, place_of
from qnn_jax.simulate.planner import Plan, plan_over_devices
from qnn_jax.simulate.preflight import STATES_ADJOINT, check_memory, states_kept, watched
from qnn_jax.simulate.state_last import run
from qnn_jax.simulate.steps import Shards
from qnn_jax.simulate.tuning import Tuning


def expectations_over(
    circuit: Circuit,
    observables: tuple[PauliSum, ...],
    spread: Spread,
    inputs: Float[Array, "*batch inputs"],
    weights: Array,
    gradient: str,
) -> Float[Array, "*batch observables"]:
    """Expectation values of a sample, or of a batch over the data axis."""
    batch = len(inputs) if inputs.ndim == 2 else None
    parts = spread.mesh.shape[spread.data] if batch and spread.data else 1
    if batch and batch % parts:  # every device takes as many
        inputs = jnp.concatenate([inputs, jnp.repeat(inputs[-1:], -batch % parts, 0)])
    values = over(_expectations, circuit, spread, (observables, gradient), inputs, weights)
    return values[:batch] if batch else values


def over(
    program: Callable[..., Any], circuit: Circuit, spread: Spread, asked: Any, *arrays: Array
) -> Any:
    """Refuse what cannot fit, then run one of the programs below on a mesh.

    Args:
        program: `_expectations`, `state`, `variances` or `sample`.
        circuit: the circuit.
        spread: the mesh.
        asked: the program's third argument; None for `state`.
        arrays: inputs, weights, and a key for `sample`.
    """
    check_memory(circuit.num_qubits, arrays[0].dtype.itemsize, devices=spread.num_devices)
    return program(circuit, spread, asked, tuning.current(), *spread.known(*arrays))


def _program(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled once for each circuit, mesh, what is asked for, and thresholds."""
    return jax.jit(usual_promotion(function), static_argnums=(0, 1, 2, 3))


@_program
def state(
    circuit: Circuit, spread: Spread, _: None, limits: Tuning, inputs: Array, weights: Array
) -> Complex[Array, " amplitudes"]:
    """The state, shape (2**n,), each device with its part in Qiskit's order."""
    del limits
    found, _ = plan_over_devices(circuit, None, spread.state, spread.num_bits)

    def one(inputs: Array, weights: Array) -> Array:
        state = watched(run(found, inputs, weights), states_kept(found), spread.num_devices)
        return lax.complex(state[0], state[1] if len(state) == 2 else jnp.zeros_like(state[0]))

    return spread.run(one, inputs, weights, out=PartitionSpec(spread.state))


@_program
def _expectations(
    circuit: Circuit,
    spread: Spread,
    asked: tuple[tuple[PauliSum, ...], str],
    limits: Tuning,
    inputs: Array,
    weights: Array,
) -> Array:
    del limits
    observables, gradient = asked
    found, behind = plan_over_devices(circuit, observables, spread.state, spread.num_bits)
    backwards = STATES_ADJOINT if gradient == "adjoint" else states_kept(found)

    def one(inputs: Array, weights: Array) -> Array:
        state = run(found, inputs, weights, gradient)
        return _measured(found, behind, watched(state, backwards, spread.num_devices))

    if inputs.ndim == 1:
        return spread.run(one, inputs, weights)
    along = PartitionSpec(spread.data)
    return spread.run(jax.vmap(one, (0, None)), inputs, weights, of_inputs=along, out=along)


@_program
def variances(
    circuit: Circuit,
    spread: Spread,
    observables: tuple[PauliSum, ...],
    limits: Tuning,
    inputs: Array,
    weights: Array,
) -> Float[Array, " observables"]:
    """The variances of observables."""
    del limits
    # Of all of the circuit: the light cone is that of O, and this is about O².
    found, _ = plan_over_devices(circuit, observables, spread.state, spread.num_bits, True)

    def one(inputs: Array, weights: Array) -> Array:
        state = run(found, inputs, weights)
        state = jnp.concatenate([state, jnp.zeros_like(state)])[:2]
        values = []
        for observable in observables:
            moved = _applied(found, observable, state)
            mean = lax.psum(jnp.sum(state * moved), spread.state)
            # The norm of (O - <O>)|ψ>: no difference of large numbers.
            rest = moved - mean * state
            values.append(lax.psum(jnp.sum(rest * rest), spread.state))
        return jnp.stack(values)

    return spread.run(one, inputs, weights)


@_program
def sample(
    circuit: Circuit,
    spread: Spread,
    shots: int,
    limits: Tuning,
    inputs: Array,
    weights: Array,
    key: Array,
) -> tuple[Int[Array, " shots"], Float[Array, ""]]:
    """Outcomes, and the sum of all probabilities."""
    del limits
    found, _ = plan_over_devices(circuit, None, spread.state, spread.num_bits)

    def one(inputs: Array, weights: Array, key: Array) -> tuple[Array, Array]:
        state = run(found, inputs, weights)
        cumulative = jnp.cumsum(jnp.sum(state * state, 0))
        me = lax.axis_index(spread.state)
        totals = jnp.zeros((spread.num_devices,), state.dtype).at[me].set(cumulative[-1])
        ends = jnp.cumsum(lax.psum(totals, spread.state))
        start = jnp.where(me == 0, 0, ends[me - 1])
        # The same numbers on every device; scaled by the total, as on one.
        drawn = random.uniform(key, (shots,), state.dtype) * ends[-1]
        device = jnp.minimum(jnp.searchsorted(ends, drawn, side="right"), len(ends) - 1)
        place = place_of(drawn - start, cumulative) + me * len(cumulative)
        own = jnp.where(device == me, place.astype(jnp.int32), 0)
        outcome = lax.psum(own, spread.state)
        # NaN compares with nothing, so the search would end at some outcome that looks sure.
        return jnp.where(jnp.isfinite(ends[-1]), outcome, -1), ends[-1]

    return spread.run(one, inputs, weights, key, out=(SAME, SAME))


def _shards(plan: Plan) -> Shards:
    assert plan.shards is not None
    return plan.shards


def _before(readout: Readout, state: Array, inverse: bool = False) -> Array:
    """The steps before some strings are measured."""
    steps = reversed(readout.steps) if inverse else readout.steps
    for step in steps:
        state = apply(step, parameters(step, jnp.zeros((0,), state.dtype)), state, inverse)
    return state


def _in_layout(
    readout: Readout, labels: Sequence[str], shards: Shards, dtype: Any
) -> tuple[list[tuple[int, int, int]], Float[Array, " labels"]]:
    """Strings on the local bits, and their signs on this device."""
    back = readout.layout.inverse()
    pulled = [back.pull(masks(label)[1]) for label in labels]
    strings = [
        (
            readout.layout(masks(label)[0]) ^ readout.layout.offset,
            shards.local(mask),
            masks(label)[2],
        )
        for label, (mask, _) in zip(labels, pulled, strict=True)
    ]
    fixed = jnp.asarray(np.array([1 - 2 * sign for _, sign in pulled]), dtype)
    return strings, device_signs(shards, [mask for mask, _ in pulled], dtype) * fixed


def _measured(plan: Plan, observables: Sequence[PauliSum], state: Array) -> Array:
    """Expectation values: sums on each device, then one sum over the devices."""
    shards = _shards(plan)
    order: list[str] = []
    values = []
    for readout in plan.readouts:
        state = _before(readout, state)
        labels = sorted(readout.labels, key=lambda label: masks(label)[0] != 0)
        if labels:
            strings, signs = _in_layout(readout, labels, shards, state.dtype)
            values.append(moments(strings, state) * signs)
            order += labels
    table = lax.psum(jnp.concatenate(values), shards.axis)
    return combined(observables, order, table)


def _applied(plan: Plan, observable: PauliSum, state: Array) -> Array:
    """O|ψ>, real and imaginary part, in the layout of the state."""
    shards = _shards(plan)
    coefficients = dict(observable.terms)
    units = tuple(1 << q for q in range(shards.local_bits))
    index = jnp.arange(state.shape[-1], dtype=jnp.uint32)
    states = []
    for readout in plan.readouts:
        state = _before(readout, state)
        own = [label for label in readout.labels if label in coefficients]
        total = jnp.zeros_like(state)
        strings, signs = _in_layout(readout, own, shards, state.dtype)
        for label, (flips, mask, num_y), sign in zip(own, strings, signs, strict=True):
            columns = jnp.asarray(columns_of(Affine(units, flips)))
            odd = (lax.population_count(index & np.uint32(mask)) & 1).astype(state.dtype)
            # P|i> = i^y (-1)^|i & signs| |i ^ flips>.
            turned = move(state * (1 - 2 * odd), columns, columns)
            for _ in range(num_y % 4):
                turned = jnp.stack([-turned[1], turned[0]])
            total = total + coefficients[label] * sign * turned
        states.append(total)
    out = states.pop()
    for readout in reversed(plan.readouts[1:]):
        out = _before(readout, out, inverse=True) + states.pop()
    return _before(plan.readouts[0], out, inverse=True)
