"""Shots inside XLA: what a quantum computer would count, and gradients through them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from qnn_jax.circuits.angles import Expression, Number, x
from qnn_jax.circuits.bases import Basis, bases_of, measured_in
from qnn_jax.circuits.checks import at_least, one_of
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import Observables, PauliSum, observables_on
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError
from qnn_jax.executors.counts import shot_values
from qnn_jax.executors.executor import Executor, Expectations
from qnn_jax.executors.statevector import checked_batch
from qnn_jax.noise.transfer import shift_rule
from qnn_jax.simulate import probabilities
from qnn_jax.simulate.angle_table import evaluate, usual_promotion
from qnn_jax.simulate.measurement import MOST_SHOTS, checked_key

#: How a gradient goes through shots.
ShotGradient: TypeAlias = Literal["pathwise", "shift", "none"]
#: So many shots are held at once: a chunk of the batch that stays in a core's cache.
_CHUNK = 2**16
#: Up to so many outcomes each shot is compared with all, which is faster than a search.
_FEW_OUTCOMES = 32
#: So many numbers of a table (outcomes × observables) are held; larger ones are made row by row.
_TABLE = 2**20
#: So many amplitudes of shifted circuits are held at once.
_SHIFTED = 2**20
# What fold_in numbers of the key stand for: shots of the values, and of their Jacobian.
_VALUES, _JACOBIAN = 0, 1


class Measurement(NamedTuple):
    """One circuit that is measured, as a value."""

    circuit: Circuit  # it ends in the gates that take the basis to that of Z
    qubits: tuple[int, ...]  # which are measured; bit k of an outcome is `qubits[k]`
    basis: Basis  # what is read off an outcome; its parities are masks of these bits


#: The probabilities of outcomes, shape (batch, 2**len(qubits)), of a circuit for inputs (batch,
#: inputs) and weights; the last argument is what else they depend on, a pytree.
Distribution: TypeAlias = Callable[[Circuit, tuple[int, ...], Array, Array, Any], Array]


def sampled(shots: int, gradient: ShotGradient = "pathwise") -> Executor:
    """Shots inside XLA: what an ideal quantum computer would count, drawn from exact probabilities.

    Args:
        shots: how often each input is measured in each basis, at least 1.
        gradient: how derivatives go through the shots. "pathwise" moves the counts with the
            probabilities p that they were drawn from, as if their noise, of covariance
            (diag(p) - ppᵀ) / shots, was Gaussian: the gradient of the expected loss, exact for
            losses linear or quadratic in the values, for others with a bias that falls as
            1 / shots². It costs what the gradient of `exact` costs. "shift" gives the Jacobian
            that a device could measure: parameter-shift rules (arXiv:2107.12390) with shots of
            their own, independent of the values, so its mean is the exact Jacobian; the same
            random numbers serve all shifts, and standard errors count as constants. Both are for
            first derivatives. "none" refuses.

    Returns:
        An executor that needs a `key` (the same key, the same shots), and works under `jax.jit`
        and `jax.vmap`. Observables that commute qubit by qubit are read off the same shots, so
        they are correlated as on a device; the others have shots of their own. Standard errors
        come from the shots, so they are 0 where all shots agree, and infinite for a single shot.
        Under jit values and errors are NaN where an angle is not finite.

    Raises:
        InputError: where `shots` is below 1 or `gradient` is none of these; from the executor,
            where there is no key, an angle is not finite (outside jit), a gate has no shift rule,
            or it is differentiated with "none".

    >>> from qnn_jax.circuits import Op
    >>> plus = Circuit(1, (Op("h", 0),))
    >>> run = sampled(10_000)(plus, ("Z",), jnp.zeros((1, 0)), [], random.key(0))
    >>> bool(abs(run.values[0, 0]) < 5 * run.stderr[0, 0]), f"{run.stderr[0, 0]:.3f}"
    (True, '0.010')
    """
    return _Sampled(
        at_least("shots", shots, 1, MOST_SHOTS),
        one_of("gradient", gradient, get_args(ShotGradient)),
    )


@dataclass(frozen=True)
class _Sampled:
    shots: int
    gradient: str

    def __call__(
        self, circuit: Circuit, observables: Observables, inputs: Any, weights: Any, key: Any = None
    ) -> Expectations:
        key = key_for_shots("sampled", key)
        sums = observables_on(checked_circuit(circuit).num_qubits, observables)
        inputs, weights = checked_batch(circuit, inputs, weights)
        parts = measurements(circuit, sums)
        return Expectations(
            *measured(_ideal, parts, self.shots, self.gradient, inputs, weights, None, key)
        )


def key_for_shots(name: str, key: Any) -> Array:
    """The key of an executor with shots, which must be given."""
    if key is None:
        raise InputError(
            f"Argument `key` of `{name}` must be a random key, but is None; in a layer give "
            'apply(..., rngs={"shots": key}) to Flax linen, layer(..., rngs=nnx.Rngs(0)) to '
            "nnx."
        )
    return checked_key("key", key)


def measurements(circuit: Circuit, observables: Sequence[PauliSum]) -> tuple[Measurement, ...]:
    """What is measured for observables: a circuit for each basis, on the qubits that matter."""
    return tuple(
        measured_at(measured_in(circuit, basis), range(circuit.num_qubits), basis)
        for basis in bases_of(observables)
    )


def measured_at(circuit: Circuit, places: Sequence[int], basis: Basis) -> Measurement:
    """A circuit that ends in a basis, measured on the qubits that this basis measures.

    `places` is its qubit for each qubit of the basis: the circuit may be a transpiled one.
    """
    qubits = tuple(q for q, letter in enumerate(reversed(basis.label)) if letter != "I") or (0,)
    masks = tuple(
        sum((mask >> qubit & 1) << k for k, qubit in enumerate(qubits)) for mask in basis.parities
    )
    local = Basis(basis.label, masks, basis.coefficients)
    return Measurement(circuit, tuple(places[qubit] for qubit in qubits), local)


def _ideal(
    circuit: Circuit, qubits: tuple[int, ...], inputs: Array, weights: Array, extra: Any
) -> Array:
    """The probabilities of the statevector."""
    del extra
    return jax.vmap(lambda row: probabilities(circuit, row, weights, qubits))(inputs)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
@usual_promotion
def measured(
    distribution: Distribution,
    parts: tuple[Measurement, ...],
    shots: int,
    gradient: str,
    inputs: Array,
    weights: Array,
    extra: Any,
    key: Array,
) -> tuple[Array, Array]:
    """Means over the shots of each part and their standard errors, shape (batch, observables).

    `gradient` is a `ShotGradient`; probabilities may depend on `extra`, too.
    """
    moments = []
    for number, part in enumerate(parts):
        own = random.fold_in(key, number)
        if gradient == "shift":
            moments.append(_by_shifts(distribution, part, shots, inputs, weights, extra, own))
        else:
            exact = distribution(part.circuit, part.qubits, inputs, weights, extra)
            if gradient == "none":
                exact = _without_gradient(exact)
            drawn = _frequencies(exact, shots, random.fold_in(own, _VALUES))
            moments.append(moments_of(part.basis, _moving(drawn, exact)))
    mean, variance = jax.tree.map(lambda *terms: sum(terms), *moments)
    # Of a single shot nothing is known.
    return mean, root(variance / (shots - 1)) if shots > 1 else variance + jnp.inf


def _frequencies(exact: Array, shots: int, key: Array) -> Array:
    """How often outcomes were drawn, as parts of 1, of probabilities (batch, outcomes)."""
    exact = lax.stop_gradient(exact)
    batch, outcomes = exact.shape

    def one(row: tuple[Array, Array]) -> Array:
        cumulative = jnp.cumsum(row[0])
        # Scaled by the total, so that rounding leaves no outcome beyond the last.
        drawn = random.uniform(row[1], (shots,), exact.dtype) * cumulative[-1]
        if outcomes <= _FEW_OUTCOMES:
            below = (drawn[:, None] < cumulative).sum(0, dtype=np.int32)
        else:
            below = jnp.searchsorted(jnp.sort(drawn), cumulative, side="left").astype(np.int32)
        below = below.at[-1].set(shots)
        shares = jnp.diff(below, prepend=0).astype(exact.dtype) / shots
        # NaN compares with nothing, so all shots would have one outcome, which looks certain.
        return jnp.where(jnp.isfinite(cumulative[-1]), shares, jnp.nan)

    # A key for every row, so that chunks make no difference; the last chunk is filled up, since a
    # remainder would be compiled as a program of its own.
    rows = exact, random.split(key, batch)
    size = max(1, min(batch, _CHUNK // shots))
    found = lax.map(jax.vmap(one), jax.tree.map(lambda a: a[_chunks(batch, size)], rows))
    return found.reshape(-1, outcomes)[:batch]


def _chunks(count: int, size: int) -> np.ndarray:
    """The numbers below `count` in chunks of `size`, the last one filled up with others."""
    places = np.arange(-(-count // size) * size, dtype=np.int32).reshape(-1, size)
    return places % max(count, 1)


def _moving(drawn: Array, exact: Array) -> Array:
    """What was drawn, which now moves with its probabilities p: the values are unchanged.

    The noise e = drawn - p is √p·z - p·(√p·z) with a z that stands still, orthogonal to √p; so its
    covariance is diag(p) - ppᵀ wherever p goes. No division by p that is not held off zero: what
    is as rare as rounding is not drawn.
    """
    still = lax.stop_gradient(exact)
    step = exact - still
    seen = drawn / jnp.maximum(still, float(np.finfo(exact.dtype).eps))
    moved = step * (seen - 1) / 2
    return drawn + step + moved - still * moved.sum(1, keepdims=True)


def moments_of(basis: Basis, shares: Array) -> tuple[Array, Array]:
    """Mean and variance of what a basis adds to each observable, shapes (batch, observables).

    `shares` are those of each outcome, shape (batch, outcomes).
    """
    outcomes, dtype = shares.shape[1], shares.dtype
    coefficients = np.array(basis.coefficients)

    def moments(values: Array) -> tuple[Array, Array]:
        mean = shares @ values
        spread = jnp.square(values - mean[:, None])
        return mean, (shares[..., None] * spread).sum(1)

    with jax.default_matmul_precision("highest"):
        number = jnp.arange(outcomes)
        if outcomes * coefficients.size <= _TABLE:
            return moments(shot_values(basis, number, dtype=dtype))

        def one(column: Array) -> tuple[Array, Array]:
            def add(total: Array, string: tuple[Array, Array]) -> tuple[Array, None]:
                odd = lax.population_count(number & string[0]) & 1
                return total + string[1] * (1 - 2 * odd).astype(dtype), None

            masks = jnp.asarray(np.array(basis.parities), number.dtype)
            values, _ = lax.scan(add, jnp.zeros(outcomes, dtype), (masks, column))
            return moments(values[:, None])

        found = lax.map(one, jnp.asarray(coefficients.T, dtype))
    mean, variance = (part[..., 0].T for part in found)
    return mean, variance


def root(variance: Array) -> Array:
    """The square root, with the derivative 0 at 0."""
    some = variance > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1)), variance * 0)


def undifferentiable(message: str) -> Callable[[Any], Any]:
    """The identity, whose derivative is refused with a message."""

    @jax.custom_jvp
    def same(values: Any) -> Any:
        return values

    @same.defjvp
    def refuse(*_: Any) -> Any:
        raise InputError(message)

    return same


_without_gradient = undifferentiable(
    "Argument `gradient` of an executor with shots must be 'pathwise' or 'shift' to be "
    "differentiated, but is 'none'."
)


# ------------------------------------------------------------------------------ parameter shifts


@functools.lru_cache(maxsize=256)
def _with_angles_as_inputs(circuit: Circuit) -> tuple[Circuit, tuple[Expression, ...], Any]:
    """The circuit with an input in place of each angle that is no number; what these are; shifts.

    The shifts are three arrays: numbers of angles, by how much, and factors.
    """
    ops: list[Op] = []
    expressions: list[Expression] = []
    rows: list[tuple[int, float, float]] = []
    for op in circuit.ops:
        angles: list[Expression] = []
        for number, angle in enumerate(op.angles):
            if isinstance(angle, Number):
                angles.append(angle)
                continue
            rule = shift_rule(op.gate, number)
            rows += [(len(expressions), shift, factor) for shift, factor in rule]
            angles.append(x[len(expressions)])
            expressions.append(angle)
        ops.append(Op(op.gate, op.qubits, tuple(angles), op.matrix))
    bare = Circuit(circuit.num_qubits, tuple(ops), num_inputs=len(expressions), num_weights=0)
    kinds = (int, float, float)
    columns: Any = tuple(np.array([row[k] for row in rows], kind) for k, kind in enumerate(kinds))
    return bare, tuple(expressions), columns


def _by_shifts(
    distribution: Distribution,
    part: Measurement,
    shots: int,
    inputs: Array,
    weights: Array,
    extra: Any,
    key: Array,
) -> tuple[Array, Array]:
    """Mean and variance of shots, differentiated by shift rules in the angles of all gates.

    Inputs and weights are in the angles, which JAX differentiates: so a parameter may be shared by
    gates, and stand in an expression.
    """
    bare, expressions, shifts = _with_angles_as_inputs(part.circuit)
    angles = jax.vmap(lambda row: evaluate(expressions, row, weights))(inputs)
    own = _Shifted(distribution, part._replace(circuit=bare), shots, shifts)
    return _shifted(own, angles, extra, random.key_data(key), random.key_impl(key))


@dataclass(frozen=True, eq=False)
class _Shifted:
    """Shots of a circuit whose inputs are its angles, and their Jacobian from other shots."""

    distribution: Distribution
    part: Measurement
    shots: int
    shifts: tuple[np.ndarray, np.ndarray, np.ndarray]

    def run(self, angles: Array, extra: Any, key: Array) -> tuple[Array, Array]:
        exact = self.distribution(
            self.part.circuit, self.part.qubits, angles, jnp.zeros(0, angles.dtype), extra
        )
        return moments_of(self.part.basis, _frequencies(exact, self.shots, key))

    def slope(self, angles: Array, extra: Any, key: Array, tangents: Array) -> Array:
        """The Jacobian times tangents (batch, angles)."""
        columns, shifts, factors = self.shifts
        count = len(columns)
        size = max(1, _SHIFTED // max(1, len(angles) * 2**self.part.circuit.num_qubits))
        places = _chunks(count, min(size, max(count, 1)))

        def one(place: Array) -> Array:
            shift = jnp.asarray(shifts, angles.dtype)[place]
            moved = angles.at[:, jnp.asarray(columns)[place]].add(shift)
            # The same key for all: what shots have in common cancels in the difference.
            return self.run(moved, extra, key)[0]

        means = lax.map(jax.vmap(one), places)
        means = means.reshape(-1, *means.shape[2:])[:count]
        scaled = tangents.T[columns] * jnp.asarray(factors, angles.dtype)[:, None]
        return jnp.einsum("sbo,sb->bo", means, scaled, precision="highest")


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 4))
def _shifted(
    own: _Shifted, angles: Array, extra: Any, key: Array, impl: Any
) -> tuple[Array, Array]:
    of_values = random.fold_in(random.wrap_key_data(key, impl=impl), _VALUES)
    return own.run(angles, extra, of_values)


def _shifted_jvp(
    own: _Shifted, impl: Any, primals: Any, tangents: Any
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    angles, extra, key = primals
    out = _shifted(own, angles, extra, key, impl)
    if any(not isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(tangents[1])):
        raise InputError(
            "Argument `gradient` must be 'pathwise' for derivatives in the numbers of a noise "
            "model, but is 'shift', which has rules for the angles of gates only."
        )
    if isinstance(tangents[0], SymbolicZero):
        return out, jax.tree.map(jnp.zeros_like, out)
    of_jacobian = random.fold_in(random.wrap_key_data(key, impl=impl), _JACOBIAN)
    slope = own.slope(*lax.stop_gradient((angles, extra)), of_jacobian, tangents[0])
    return out, (slope, jnp.zeros_like(out[1]))


_shifted.defjvp(_shifted_jvp, symbolic_zeros=True)
