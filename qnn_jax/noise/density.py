"""The exact simulation of noise: a state as the real vector of its numbers Tr(Pρ), 4**n of them.

Every channel is a real matrix there, so a gate and its error are one product, and neighbours on
one or two qubits are fused. Qubits are kept in clusters, one tensor each, until a gate joins them;
what no measured qubit depends on is left out, as channels preserve the trace. The batch is the last
axis of what depends on the inputs; what does not is computed once.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from qnn_jax.circuits.angles import Number, symbols
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError
from qnn_jax.noise.model import Idle, NoiseModel
from qnn_jax.noise.transfer import constant_transfer, features, gate_transfer
from qnn_jax.simulate.angle_table import evaluate
from qnn_jax.simulate.batch_last import take_rows, times_rows
from qnn_jax.simulate.preflight import memory_bytes
from qnn_jax.simulate.xla import materialize

#: How many vectors of a sample live at once: the state, what becomes of it, and its gradient.
_VECTORS = 4
#: Shorter waits than this are rounding, in seconds.
_ROUNDING = 1e-15
#: |0>: the numbers of I and Z are 1.
_ZERO = np.array([1.0, 0, 0, 1])
#: From the numbers of I and Z to the probabilities of 0 and 1, and back.
_TO_PROBABILITIES = np.array([[1.0, 1], [1, -1]]) / 2


class Factor(NamedTuple):
    """A channel of the circuit."""

    qubits: tuple[int, ...]  # it acts on
    matrix: Any  # a constant one (of NumPy, or traced), or None where it depends on symbols
    op: Op | None = None  # the gate, or None of an error


def outcome_probabilities(
    circuit: Circuit,
    qubits: tuple[int, ...],
    inputs: Float[Array, "batch inputs"],
    weights: Float[Array, " weights"],
    noise: NoiseModel,
) -> Float[Array, "batch outcomes"]:
    """The probabilities of what is read, readout errors included.

    Bit k of an outcome is `qubits[k]`. Raises InputError where the vectors do not fit into memory.
    """
    if not len(inputs):
        return jnp.zeros((0, 2 ** len(qubits)), inputs.dtype)
    read = noise.read_with(qubits)
    factors = factors_of(circuit, noise)
    kept, cone = light_cone(factors, read)
    check_memory(len(cone), len(inputs), inputs.dtype.itemsize)
    runs = _runs(kept)
    with jax.default_matmul_precision("highest"):
        matrices = _matrices([run for _, run in runs], inputs, weights)
        state = _State(len(inputs), inputs.dtype)
        for (places, _), (matrix, batched) in zip(runs, matrices, strict=True):
            state.apply(places, matrix, batched)
        numbers = state.read(read, noise)
        for group, matrix in noise.read_together().items():
            if set(group) <= set(read):
                axes = tuple(read.index(qubit) for qubit in reversed(group))
                numbers = applied(jnp.asarray(matrix, numbers.dtype), numbers, axes)
        numbers = numbers.sum(tuple(range(len(qubits), len(read))))
    # Axis k is bit k: the last bit is the slowest axis of an outcome's number.
    order = [*reversed(range(len(qubits))), len(qubits)]
    return jnp.transpose(numbers, order).reshape(2 ** len(qubits), -1).T


def check_memory(num_qubits: int, batch: int, itemsize: int) -> None:
    """Refuse what cannot fit, and name the method that would."""
    needed = _VECTORS * batch * itemsize * 4**num_qubits
    there = memory_bytes()
    if needed > max(there, 2**28):
        raise InputError(
            f"Argument `circuit` must fit into memory for exact noise, but the vectors of its "
            f"{num_qubits} qubits in a batch of {batch} take about {needed / 2**30:.3g} GiB and "
            f"there are {there / 2**30:.3g} GiB; method='trajectories' takes "
            f"{batch * 2 * itemsize * 2**num_qubits / 2**30:.3g} GiB a trajectory."
        )


def factors_of(circuit: Circuit, noise: NoiseModel) -> list[Factor]:
    """Gates, what follows them, and what qubits do while they wait, in order."""
    found: list[Factor] = []
    ops = [op for op in circuit.ops if op.qubits]
    idle = noise.idle
    waits = _waits(ops, circuit.num_qubits, idle) if idle else [[] for _ in range(len(ops) + 1)]

    def wait(number: int) -> None:
        if idle is not None:
            found.extend(Factor((q,), idle.channel(q, seconds)) for q, seconds in waits[number])

    for number, op in enumerate(ops):
        wait(number)
        if all(isinstance(angle, Number) for angle in op.angles):
            found.append(Factor(op.qubits, constant_transfer(op), op))
        else:
            found.append(Factor(op.qubits, None, op))
        error = noise.channel(op.gate, op.qubits)
        if error is not None and len(error) == 4:
            found += [Factor((qubit,), error) for qubit in op.qubits]
        elif error is not None:
            found.append(Factor(op.qubits, error))
    wait(len(ops))
    return found


def _waits(ops: Sequence[Op], num_qubits: int, idle: Idle) -> list[list[tuple[int, float]]]:
    """How long qubits wait before each gate, and before they are measured, all at the same time.

    Every gate is as late as possible.
    """
    # How long before the measurement a qubit's next gate begins.
    begins = [0.0] * num_qubits
    spans: list[tuple[float, float]] = []
    for op in reversed(ops):
        end = max(begins[qubit] for qubit in op.qubits)
        spans.append((end + idle.duration(op.gate, op.qubits), end))
        for qubit in op.qubits:
            begins[qubit] = spans[-1][0]
    free = [max(begins)] * num_qubits
    found = []
    for op, (begin, end) in zip(ops, reversed(spans), strict=True):
        found.append([(qubit, free[qubit] - begin) for qubit in op.qubits])
        for qubit in op.qubits:
            free[qubit] = end
    found.append(list(enumerate(free)))
    return [[(qubit, gap) for qubit, gap in gaps if gap > _ROUNDING] for gaps in found]


def light_cone(factors: Sequence[Factor], qubits: Sequence[int]) -> tuple[list[Factor], set[int]]:
    """The factors that measured qubits depend on, and the qubits these are on."""
    cone, kept = set(qubits), []
    for factor in reversed(factors):
        if cone & set(factor.qubits):
            cone |= set(factor.qubits)
            kept.append(factor)
    return kept[::-1], cone


def _runs(factors: Sequence[Factor]) -> list[tuple[tuple[int, ...], list[Factor]]]:
    """Factors in a row on one qubit together, any other alone; each with its qubits, in order."""
    runs: list[tuple[tuple[int, ...], list[Factor]]] = []
    open_runs: dict[int, list[Factor]] = {}
    for factor in factors:
        own = open_runs.get(factor.qubits[0]) if len(factor.qubits) == 1 else None
        if own is not None:
            own.append(factor)
            continue
        runs.append((factor.qubits, [factor]))
        for qubit in factor.qubits:
            open_runs.pop(qubit, None)
        if len(factor.qubits) == 1:
            open_runs[factor.qubits[0]] = runs[-1][1]
    return runs


@dataclass
class _Term:
    """A factor of a run: what comes before and after a gate with symbols is in its coefficients."""

    op: Op | None  # the gate, or None of a constant
    matrix: Any  # of a constant, else the coefficients of a `GateTransfer`

    def __matmul__(self, earlier: _Term) -> _Term | None:
        """One term for both, if one of them is constant and neither is traced."""
        both_known = isinstance(self.matrix, np.ndarray) and isinstance(earlier.matrix, np.ndarray)
        if not both_known or (self.op is not None and earlier.op is not None):
            return None
        return _Term(self.op or earlier.op, self.matrix @ earlier.matrix)


def _terms(factors: Sequence[Factor]) -> list[_Term]:
    """A run as few terms."""
    terms: list[_Term] = []
    for factor in factors:
        term = _Term(None, factor.matrix)
        if factor.op is not None and factor.matrix is None:
            term = _Term(factor.op, gate_transfer(factor.op.gate).coefficients)
        joined = term @ terms[-1] if terms else None
        if joined is None:
            terms.append(term)
        else:
            terms[-1] = joined
    return terms


def _matrices(
    runs: Sequence[Sequence[Factor]], inputs: Array, weights: Array
) -> list[tuple[Any, bool]]:
    """The matrix of each run and whether its last axis is the batch; alike runs at once."""
    terms = [_terms(run) for run in runs]
    known = _evaluated(
        {(r, k): t for r, run in enumerate(terms) for k, t in enumerate(run)}, inputs, weights
    )
    found: list[Any] = [None] * len(runs)
    alike: dict[tuple[bool, ...], list[int]] = {}
    for number, run in enumerate(terms):
        if len(run) == 1:
            found[number] = known[number, 0]
        else:
            alike.setdefault(tuple(known[number, k][1] for k in range(len(run))), []).append(number)
    for flags, members in alike.items():
        product: Any = None
        for k, batched in enumerate(flags):
            parts = [jnp.asarray(known[number, k][0], inputs.dtype) for number in members]
            product = _later((jnp.stack(parts), batched), product)
        for number, matrix in zip(members, _each(product[0]), strict=True):
            found[number] = matrix, product[1]
    return found


def _each(stack: Array) -> list[Array]:
    """The parts of a stack. The gradient of indices would be a sum over padded parts."""
    return [part[0] for part in lax.split(stack, (1,) * len(stack))]


def _later(left: tuple[Array, bool], right: tuple[Array, bool] | None) -> tuple[Array, bool]:
    """Products of two stacks of matrices, of each sample where one of them is batched."""
    if right is None:
        return left
    (one, first), (other, second) = left, right
    if not (first or second):
        return one @ other, False
    batch = (one if first else other).shape[-1]
    one, other = (
        a if batched else jnp.broadcast_to(a[..., None], (*a.shape, batch))
        for a, batched in (left, right)
    )
    return materialize(times_rows(one[:, None], other[:, None])[:, 0]), True


def _evaluated(
    terms: dict[tuple[int, int], _Term], inputs: Array, weights: Array
) -> dict[tuple[int, int], tuple[Any, bool]]:
    """The matrix of each term and whether it is batched; gates of the same frequencies at once."""
    found: dict[tuple[int, int], tuple[Any, bool]] = {}
    kinds: dict[Any, list[tuple[int, int]]] = {}
    for place, term in terms.items():
        if term.op is None:
            found[place] = term.matrix, False
            continue
        reads_inputs = any(s.vector == "x" for angle in term.op.angles for s in symbols(angle))
        frequencies = gate_transfer(term.op.gate).frequencies
        kinds.setdefault((frequencies, term.matrix.shape, reads_inputs), []).append(place)
    for (frequencies, shape, batched), places in kinds.items():
        ops: list[Op] = [terms[place].op for place in places]  # type: ignore[misc]
        expressions = tuple(angle for op in ops for angle in op.angles)
        rows = inputs if batched else jnp.zeros((1, *inputs.shape[1:]), inputs.dtype)
        # The batch last: neighbours of one number are those of other samples.
        table = jax.vmap(lambda row, e=expressions: evaluate(e, row, weights), out_axes=-1)(rows)
        table = table.reshape(len(ops), len(frequencies), -1)
        waves = features(jnp, table[:, 0], frequencies[0])
        for number, own in enumerate(frequencies[1:], 1):
            more = features(jnp, table[:, number], own)
            waves = (waves[..., None] * more[..., None, :]).reshape(*waves.shape[:-1], -1)
        waves = materialize(jnp.moveaxis(waves, -1, 0))
        constants = np.stack([terms[place].matrix for place in places])
        constants = constants.reshape(len(ops), len(waves), -1, 1)
        parts = [
            jnp.asarray(constants[:, k], inputs.dtype) * waves[k][:, None]
            for k in range(len(waves))
            if constants[:, k].any()
        ]
        many = materialize(functools.reduce(operator.add, parts))
        for place, matrix in zip(places, _each(many), strict=True):
            own_matrix = matrix.reshape(*shape[-2:], -1)
            found[place] = (own_matrix, True) if batched else (own_matrix[..., 0], False)
    return found


@dataclass
class _Cluster:
    """Qubits that a gate has joined: a tensor with an axis of 4 for each, then maybe the batch."""

    qubits: list[int]
    tensor: Any
    batched: bool


class _State:
    """The clusters, and channels that wait to be fused with the next one on their qubits."""

    def __init__(self, batch: int, dtype: Any) -> None:
        self._batch, self._dtype = batch, dtype
        self._clusters: dict[int, _Cluster] = {}
        #: Of a qubit, done after the block that it may be in: a matrix, and whether it is batched.
        self._pending: dict[int, tuple[Any, bool]] = {}
        #: Of two qubits, by each of them: the qubits in order, and the matrix.
        self._blocks: dict[int, tuple[tuple[int, ...], Any]] = {}

    def apply(self, qubits: tuple[int, ...], matrix: Any, batched: bool) -> None:
        """One more run; it is fused into a block of two qubits where no input is in it."""
        if len(qubits) == 1:
            self._pending[qubits[0]] = matrix, batched
            return
        if not batched and len(qubits) == 2:
            self._join(qubits, matrix)
            return
        for qubit in qubits:
            self._settle(qubit)
        self._contract(qubits, matrix, batched)

    def _join(self, qubits: tuple[int, ...], matrix: Any) -> None:
        for qubit in qubits:  # a block is of no sample alone
            if self._pending.get(qubit, (None, False))[1]:
                self._settle(qubit)
        block = self._blocks.get(qubits[0])
        same = block is not None and set(block[0]) == set(qubits)
        if not same:
            for qubit in qubits:
                self._close(qubit)
        one, other = (self._pending.pop(qubit, (None, False))[0] for qubit in qubits)
        if one is not None or other is not None:
            parts = [np.eye(4) if part is None else part for part in (other, one)]
            matrix = self._times(matrix, _of(*parts).kron(*parts))
        if same and block is not None:
            places, earlier = block
            if places != qubits:
                earlier = earlier.reshape(4, 4, 4, 4).transpose(1, 0, 3, 2).reshape(16, 16)
            matrix = self._times(matrix, earlier)
        for qubit in qubits:
            self._blocks[qubit] = qubits, matrix

    def _close(self, qubit: int) -> None:
        """Apply the block that a qubit is in; what waits behind it goes on waiting."""
        block = self._blocks.pop(qubit, None)
        if block is not None:
            qubits, matrix = block
            for other in qubits:
                self._blocks.pop(other, None)
            self._contract(qubits, matrix, False)

    def _settle(self, qubit: int) -> None:
        self._close(qubit)
        waiting = self._pending.pop(qubit, None)
        if waiting is not None:
            self._contract((qubit,), *waiting)

    def _times(self, left: Any, right: Any) -> Any:
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            return left @ right
        return jnp.asarray(left, self._dtype) @ jnp.asarray(right, self._dtype)

    def _cluster(self, qubits: Sequence[int]) -> _Cluster:
        """The one cluster of these qubits, joined where they are in several."""
        joined = functools.reduce(self._outer, self._clusters_of(qubits))
        for qubit in joined.qubits:
            self._clusters[qubit] = joined
        return joined

    def _clusters_of(self, qubits: Sequence[int]) -> list[_Cluster]:
        every = (self._clusters.setdefault(q, _Cluster([q], _ZERO, False)) for q in qubits)
        return list({id(cluster): cluster for cluster in every}.values())

    def _outer(self, one: _Cluster, other: _Cluster) -> _Cluster:
        m = _of(one.tensor, other.tensor)
        left, right = one.tensor, other.tensor
        batched = one.batched or other.batched
        if batched:
            left = left if one.batched else left[..., None]
            right = right if other.batched else right[..., None]
            left = left.reshape(*left.shape[:-1], *(1,) * len(other.qubits), left.shape[-1])
        else:
            left = left.reshape(*left.shape, *(1,) * len(other.qubits))
        return _Cluster([*one.qubits, *other.qubits], m.multiply(left, right), batched)

    def _contract(self, qubits: tuple[int, ...], matrix: Any, batched: bool) -> None:
        cluster = self._cluster(qubits)
        count, old = len(qubits), cluster.tensor
        axes = [cluster.qubits.index(qubit) for qubit in reversed(qubits)]
        rest = [qubit for qubit in cluster.qubits if qubit not in qubits]
        if batched:
            if not cluster.batched:
                old = old[..., None]
            old = jnp.moveaxis(jnp.asarray(old, self._dtype), axes, range(count))
            old = jnp.broadcast_to(old, (*old.shape[:-1], self._batch))
            old = old.reshape(4**count, -1, self._batch)
            new = materialize(times_rows(matrix[None], old[None])[0])
            new = new.reshape(*(4,) * (count + len(rest)), -1)
        elif (source := _permutation(matrix)) is not None and cluster.batched:
            old = jnp.moveaxis(old, axes, range(count)).reshape(4**count, -1)
            scale = jnp.asarray(matrix[range(4**count), source], self._dtype)
            new = scale[:, None] * take_rows(old, source.tolist(), np.argsort(source).tolist())
            new = new.reshape(*(4,) * (count + len(rest)), -1)
        else:
            m = _of(matrix, old)
            if m is jnp:
                matrix, old = (jnp.asarray(a, self._dtype) for a in (matrix, old))
            own = matrix.reshape((4,) * (2 * count))
            new = m.tensordot(own, old, (list(range(count, 2 * count)), axes))
        joined = _Cluster([*reversed(qubits), *rest], new, cluster.batched or batched)
        for qubit in joined.qubits:
            self._clusters[qubit] = joined

    def read(self, qubits: Sequence[int], noise: NoiseModel) -> Array:
        """Probabilities of the bits of qubits, an axis of 2 for each, and the batch behind them."""
        for qubit in list(self._blocks):
            self._close(qubit)
        for qubit in qubits:
            if self._pending.get(qubit, (None, False))[1]:
                self._settle(qubit)
        together = {qubit for group in noise.read_together() for qubit in group}
        done: list[_Cluster] = []
        for cluster in self._clusters_of(qubits):
            tensor, names = cluster.tensor, list(cluster.qubits)
            for qubit in cluster.qubits:
                axis = names.index(qubit)
                if qubit not in qubits:  # its trace
                    tensor = tensor[(slice(None),) * axis + (0,)]
                    names.remove(qubit)
                    continue
                rows: Any = _TO_PROBABILITIES
                waiting, _ = self._pending.get(qubit, (None, False))
                matrix = None if qubit in together else noise.read(qubit)
                if matrix is not None:
                    rows = self._times(matrix, rows)
                rows = self._times(rows, (np.eye(4) if waiting is None else waiting)[::3])
                if isinstance(rows, np.ndarray) and not rows[:, 1:3].any():
                    tensor = tensor[(slice(None),) * axis + (slice(None, None, 3),)]
                    rows = rows[:, ::3]
                m = _of(rows, tensor)
                if m is jnp:
                    rows, tensor = (jnp.asarray(a, self._dtype) for a in (rows, tensor))
                tensor = m.moveaxis(m.tensordot(rows, tensor, ([1], [axis])), 0, axis)
            done.append(_Cluster(names, tensor, cluster.batched))
        whole = functools.reduce(self._outer, done)
        tensor = jnp.asarray(whole.tensor, self._dtype)
        if not whole.batched:
            tensor = jnp.broadcast_to(tensor[..., None], (*tensor.shape, self._batch))
        return jnp.transpose(tensor, [*(whole.qubits.index(q) for q in qubits), len(qubits)])


def _permutation(matrix: Any) -> np.ndarray | None:
    """Which column each row takes, where a constant matrix has one number in each of both.

    So has a Clifford gate with Pauli errors.
    """
    if not isinstance(matrix, np.ndarray):
        return None
    there = matrix != 0
    if (there.sum(0) != 1).any() or (there.sum(1) != 1).any():
        return None
    return np.argmax(there, 1)


def _of(*arrays: Any) -> Any:
    """The namespace in which arrays are computed with: constants in NumPy, while JAX traces."""
    return np if all(isinstance(array, np.ndarray) for array in arrays) else jnp


def applied(matrix: Array, tensor: Array, axes: tuple[int, ...]) -> Array:
    """A matrix on some axes of 2; the last of them is the lowest bit of its numbers."""
    count = len(axes)
    own = matrix.reshape((2,) * (2 * count))
    moved = jnp.tensordot(own, tensor, (list(range(count, 2 * count)), list(axes)))
    return jnp.moveaxis(moved, range(count), axes)
