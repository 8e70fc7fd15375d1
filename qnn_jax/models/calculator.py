"""Regressors of two numbers: the calculator's circuit, an MLP of its size, and the seed's model.

Everything here is laid out in lanes (`qnn_jax.simulate.populations`): parameters of shape
(parameters, lanes), inputs (2, lanes), outputs (lanes,). So the gradient of the sum of all outputs
is the whole Jacobian, one lane a row, for the price of one gradient; and that makes least squares
cheap.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from qnn_jax.circuits import Circuit, real_amplitudes, x, zz_feature_map
from qnn_jax.circuits.angles import Expression
from qnn_jax.operations import MAX_GAIN
from qnn_jax.simulate.angle_table import evaluate
from qnn_jax.simulate.populations import lane_expectations

#: What the head reads.
OBSERVABLE = "ZZ"
#: Levenberg-Marquardt steps of an epoch.
STEPS = 8
_SEED_RATE = 5e-3
_INIT, _TRAIN, _TEST = range(3)


def seed_circuit() -> Circuit:
    """The circuit of the 2022 project: 2 inputs, 6 weights."""
    return zz_feature_map(2) + real_amplitudes(2, reps=2)


class Regressor(Protocol):
    """A function of inputs (2, lanes) and parameters (num_parameters, lanes)."""

    @property
    def num_parameters(self) -> int:
        """How many parameters it has."""
        ...

    def initial(
        self, key: Array, restarts: int, middle: float
    ) -> Float[Array, "parameters restarts"]:
        """Random parameters, for targets around `middle`."""
        ...

    def bounded(self, params: Float[Array, "parameters lanes"]) -> Float[Array, "parameters lanes"]:
        """The nearest parameters that are allowed."""
        ...

    def __call__(
        self, params: Float[Array, "parameters lanes"], inputs: Float[Array, "2 lanes"]
    ) -> Float[Array, " lanes"]:
        """The outputs."""
        ...


@dataclass(frozen=True)
class CircuitRegressor:
    """gain · <ZZ> + bias: the weights of the circuit, then the gain, then the bias."""

    circuit: Circuit
    weight_bound: float

    @property
    def num_parameters(self) -> int:
        """The circuit's weights and the head's two."""
        return self.circuit.num_weights + 2

    def initial(
        self, key: Array, restarts: int, middle: float
    ) -> Float[Array, "parameters restarts"]:
        """Uniform weights, and a head that points at the middle of the targets."""
        shape, bound = (self.circuit.num_weights, restarts), self.weight_bound
        weights = jax.random.uniform(key, shape, minval=-bound, maxval=bound)
        head = jnp.broadcast_to(jnp.array([[1.0], [middle]]), (2, restarts))
        return jnp.concatenate([weights, head])

    def bounded(self, params: Float[Array, "parameters lanes"]) -> Float[Array, "parameters lanes"]:
        """The gain within ± MAX_GAIN, or shots could not tell results apart."""
        return params.at[-2].set(jnp.clip(params[-2], -MAX_GAIN, MAX_GAIN))

    def __call__(
        self, params: Float[Array, "parameters lanes"], inputs: Float[Array, "2 lanes"]
    ) -> Float[Array, " lanes"]:
        """Exact expectation values, through the head."""
        values = lane_expectations(self.circuit, OBSERVABLE, inputs, params[:-2])
        return params[-2] * values + params[-1]


@dataclass(frozen=True)
class MLPRegressor:
    """2 → width tanh → 1, the classical layer of about the same number of parameters."""

    width: int

    @property
    def num_parameters(self) -> int:
        """Kernels and biases."""
        return 4 * self.width + 1

    def initial(
        self, key: Array, restarts: int, middle: float
    ) -> Float[Array, "parameters restarts"]:
        """Standard normal kernels, which suit inputs between 0 and 1."""
        kernels = jax.random.normal(key, (4 * self.width, restarts))
        return jnp.concatenate([kernels, jnp.full((1, restarts), middle)])

    def bounded(self, params: Float[Array, "parameters lanes"]) -> Float[Array, "parameters lanes"]:
        """Nothing is forbidden."""
        return params

    def __call__(
        self, params: Float[Array, "parameters lanes"], inputs: Float[Array, "2 lanes"]
    ) -> Float[Array, " lanes"]:
        """The outputs."""
        by_a, by_b, shift, out = params[:-1].reshape(4, self.width, -1)
        hidden = jnp.tanh(by_a * inputs[0] + by_b * inputs[1] + shift)
        return jnp.sum(out * hidden, axis=0) + params[-1]


class Fit(NamedTuple):
    """The state of a training, and what a step leaves behind.

    Attributes:
        params: of every restart.
        damping: Levenberg's λ of every restart.
    """

    params: Float[Array, "parameters restarts"]
    damping: Float[Array, " restarts"]


def start(regressor: Regressor, key: Array, restarts: int, middle: float) -> Fit:
    """A fresh state."""
    return Fit(regressor.initial(key, restarts, middle), jnp.full((restarts,), 1e-2))


class EpochErrors(NamedTuple):
    """What an epoch tells of every restart.

    Attributes:
        loss: mean squared error on the points of the epoch, after it.
        validation_l1: mean absolute error on the validation points, after it.
    """

    loss: Float[Array, " restarts"]
    validation_l1: Float[Array, " restarts"]


@functools.partial(jax.jit, static_argnums=0)
def fit_points(
    regressors: tuple[Regressor, ...],
    fits: tuple[Fit, ...],
    inputs: Float[Array, "points 2"],
    targets: Float[Array, " points"],
    validation_inputs: Float[Array, "held 2"],
    validation_targets: Float[Array, " held"],
    rate: Float[Array, ""],
) -> tuple[tuple[Fit, ...], tuple[EpochErrors, ...]]:
    """Some steps of every restart of every regressor on the same points.

    A step solves min |J d + r|² + λ|d|² by QR, whose error grows with the condition of J and not
    with its square, as that of the normal equations would; it is taken where it lowers the error,
    and λ falls or rises accordingly (Levenberg 1944, Marquardt 1963).

    Args:
        regressors: what to train.
        fits: their states.
        inputs: the points to train on.
        targets: their values.
        validation_inputs: points to watch it by.
        validation_targets: their values.
        rate: share of the solved step that is taken.
    """
    after, told = [], []
    for regressor, fit in zip(regressors, fits, strict=True):
        new, loss = _descend(regressor, fit, inputs, targets, rate)
        held = mean_l1(regressor, new.params, validation_inputs, validation_targets)
        after.append(new)
        told.append(EpochErrors(loss, held))
    return tuple(after), tuple(told)


def mean_l1(
    regressor: Regressor,
    params: Float[Array, "parameters restarts"],
    inputs: Float[Array, "points 2"],
    targets: Float[Array, " points"],
) -> Float[Array, " restarts"]:
    """The mean absolute error of every restart."""
    return jnp.abs(outputs(regressor, params, inputs) - targets).mean(axis=1)


def outputs(
    regressor: Regressor,
    params: Float[Array, "parameters restarts"],
    inputs: Float[Array, "points 2"],
) -> Float[Array, "restarts points"]:
    """The outputs of every restart at every point."""
    restarts, points = params.shape[1], len(inputs)
    lanes = jnp.repeat(params, points, axis=1), jnp.tile(inputs.T, (1, restarts))
    return regressor(*lanes).reshape(restarts, points)


def _descend(
    regressor: Regressor, fit: Fit, inputs: Array, targets: Array, rate: Array
) -> tuple[Fit, Array]:
    restarts, points = fit.params.shape[1], len(inputs)
    tiled = jnp.tile(inputs.T, (1, restarts))
    size = regressor.num_parameters

    def residuals(params: Array) -> tuple[Array, Array, Array]:
        every, pull = jax.vjp(
            lambda lanes: regressor(lanes, tiled), jnp.repeat(params, points, axis=1)
        )
        (slopes,) = pull(jnp.ones_like(every))
        jacobian = slopes.reshape(size, restarts, points).transpose(1, 2, 0)
        residual = every.reshape(restarts, points) - targets
        return residual, jacobian, jnp.square(residual).mean(axis=1)

    def step(carry: tuple[Fit, Array, Array, Array], _: None) -> tuple[tuple, None]:  # type: ignore[type-arg]
        (params, damping), residual, jacobian, loss = carry
        ridge = jnp.sqrt(damping * points)[:, None, None] * jnp.eye(size)
        q, r = jnp.linalg.qr(jnp.concatenate([jacobian, ridge], axis=1))
        right = jnp.einsum("rpk,rp->rk", q[:, :points], -residual)
        moves = jax.scipy.linalg.solve_triangular(r, right[..., None])[..., 0]
        tried = regressor.bounded(params + rate * moves.T)
        new_residual, new_jacobian, new_loss = residuals(tried)
        # A loss that is no number is never lower, so a step into nowhere is not taken.
        better = new_loss < loss
        damping = jnp.clip(jnp.where(better, damping / 3, damping * 2), 1e-9, 1e3)
        kept = Fit(jnp.where(better, tried, params), damping)
        residual = jnp.where(better[:, None], new_residual, residual)
        jacobian = jnp.where(better[:, None, None], new_jacobian, jacobian)
        return (kept, residual, jacobian, jnp.where(better, new_loss, loss)), None

    # The first pass has no slope yet and so moves nothing: it evaluates, and is always taken.
    nowhere = (
        Fit(fit.params, 3 * fit.damping),
        jnp.zeros((restarts, points)),
        jnp.zeros((restarts, points, size)),
        jnp.full((restarts,), jnp.inf),
    )
    (fit, _, _, loss), _ = jax.lax.scan(step, nowhere, None, length=1 + STEPS)
    return fit, loss


@functools.partial(jax.jit, static_argnames=("expression", "epochs", "steps", "tests"))
def train_seed_models(
    keys: Array,
    expression: Expression = x[0] + x[1],
    epochs: int = 10,
    steps: int = 200,
    tests: int = 50,
) -> tuple[Float[Array, "parameters seeds"], Float[Array, "epochs seeds"]]:
    """The seed's model, trained as the 2022 project did, once for every key, side by side.

    <ZZ> of `seed_circuit` on (a, b) in [0, 1]², unscaled, through a Linear(1, 1); squared error,
    Adam 5e-3, batches of one, fresh samples in every epoch. Weights start uniform in [-1, 1], which
    is what TorchConnector and PyTorch's Linear(1, 1) draw from.

    Args:
        keys: one a training, shape (seeds,).
        expression: what is to be learnt, a as x[0] and b as x[1]; the seed added.
        epochs: how many.
        steps: samples, and so optimiser steps, of an epoch.
        tests: fresh samples that an epoch is judged by.

    Returns:
        The parameters (six weights, gain, bias) and the mean absolute error after every epoch.
    """
    model, optimizer = CircuitRegressor(seed_circuit(), 1.0), optax.adam(_SEED_RATE)

    def drawn(purpose: int, count: int, epoch: Array) -> Array:
        def one(key: Array) -> Array:
            own = jax.random.fold_in(jax.random.fold_in(key, purpose), epoch)
            return jax.random.uniform(own, (count, 2))

        return jax.vmap(one, out_axes=-1)(keys)

    def truth(inputs: Array) -> Array:
        (values,) = jax.vmap(lambda point: evaluate((expression,), point, point[:0]), -1, -1)(
            inputs
        )
        return values

    def loss(params: Array, inputs: Array) -> Array:
        return jnp.sum(jnp.square(model(params, inputs) - truth(inputs)))

    def epoch(carry: tuple[Array, optax.OptState], number: Array) -> tuple[tuple, Array]:  # type: ignore[type-arg]
        def step(carry: tuple[Array, optax.OptState], inputs: Array) -> tuple[tuple, None]:  # type: ignore[type-arg]
            params, state = carry
            # Lanes do not meet, so the gradient of the sum is each one's own.
            updates, state = optimizer.update(jax.grad(loss)(params, inputs), state)
            return (optax.apply_updates(params, updates), state), None

        carry, _ = jax.lax.scan(step, carry, drawn(_TRAIN, steps, number))
        errors = jax.lax.map(
            lambda inputs: jnp.abs(model(carry[0], inputs) - truth(inputs)),
            drawn(_TEST, tests, number),
        )
        return carry, errors.mean(axis=0)

    def initial(key: Array) -> Array:
        return jax.random.uniform(
            jax.random.fold_in(key, _INIT), (model.num_parameters,), minval=-1, maxval=1
        )

    params = jax.vmap(initial, out_axes=-1)(keys)
    (params, _), errors = jax.lax.scan(epoch, (params, optimizer.init(params)), jnp.arange(epochs))
    return params, errors


@functools.partial(jax.jit, static_argnums=0)
def errors_of_many(
    regressor: Regressor,
    params: Float[Array, "parameters members"],
    inputs: Float[Array, "points 2"],
    targets: Float[Array, " points"],
) -> Float[Array, " members"]:
    """The mean absolute error of every member on the same points, point by point: many members."""

    def add(total: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
        here = jnp.broadcast_to(point[0][:, None], (2, params.shape[1]))
        return total + jnp.abs(regressor(params, here) - point[1]), None

    total, _ = jax.lax.scan(add, jnp.zeros(params.shape[1]), (inputs, targets))
    return total / len(inputs)
