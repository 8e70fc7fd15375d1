"""Nonlinear least squares: Levenberg-Marquardt from several random starts in parallel.

For networks with one real output and few parameters, where it converges in tens of steps to a
precision that gradient descent does not reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from qnn_jax.configs import LeastSquaresConfig, check_least_squares
from qnn_jax.errors import InputError
from qnn_jax.training.task import Examples, Member, Metric, Task

_INIT, _SHOTS = 0, 1  # numbers for fold_in of the run's key
#: Steps of an epoch.
STEPS = 8


class Descent(NamedTuple):
    """The training state of one member between epochs.

    Attributes:
        params: parameters in Flax's form, with a leading axis of restarts.
        damping: Levenberg's λ of every restart, shape (restarts,).
        chosen_by: the error by which a restart is chosen, shape (restarts,): the metric on the
            validation examples, or the loss if there are none.
    """

    params: Any
    damping: Float[Array, " restarts"]
    chosen_by: Float[Array, " restarts"]


@dataclass(frozen=True)
class LeastSquares:
    """Levenberg-Marquardt (Levenberg 1944, Marquardt 1963) for networks with one real output.

    A step solves min |J d + r|² + λ|d|² by QR, whose error grows with the condition number of J,
    not with its square as for the normal equations. A step is accepted if it lowers the error,
    and λ is decreased or increased accordingly. If the network has a method `constrain` (parameters
    to the nearest allowed ones), it is applied in every step.
    """

    config: LeastSquaresConfig

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return self.config.epochs

    def check(self, train_count: int) -> None:
        """Check the settings."""
        check_least_squares(self.config, train_count)

    def steps(self, train_count: int) -> int:
        """Steps per epoch, for any number of examples."""
        return STEPS

    def batch(self, train_count: int) -> int:
        """Training examples per step."""
        return self.config.batch_size or train_count

    def init(
        self, task: Task, members: Sequence[Member], key: Array, inputs: Array
    ) -> dict[str, Descent]:
        """Fresh parameters of all restarts of all members."""
        del task
        restarts = self.config.restarts
        keys = jax.random.split(jax.random.fold_in(key, _INIT), restarts)

        def fresh(network: Any) -> Descent:
            def init(key: Array) -> Any:
                # Shots of an output that nobody looks at.
                return network.init({"params": key, "shots": key}, inputs[:1])["params"]

            params = jax.vmap(init)(keys)
            return Descent(params, jnp.full((restarts,), 1e-2), jnp.full((restarts,), jnp.inf))

        return {member.name: fresh(member.network) for member in members}

    def epoch(
        self,
        task: Task,
        members: Sequence[Member],
        state: dict[str, Descent],
        key: Array,
        epoch: Array,
        train: Examples,
        validation: Examples,
    ) -> tuple[dict[str, Descent], dict[str, dict[str, Array]]]:
        """Some steps on the next `batch_size` examples, on all of them if it is 0."""
        if train.weights is not None:
            raise InputError(
                "Argument `train.weights` must be left out for least squares, but is given; AdamW "
                "takes them."
            )
        # The same shots in all steps of an epoch, so that their errors can be compared.
        shots = jax.random.fold_in(jax.random.fold_in(key, _SHOTS), epoch)
        metric, size = task.metric, self.config.batch_size
        if size:
            place = (epoch * size + jnp.arange(size)) % train.targets.size
            train = Examples(train.inputs[place], train.targets[place])
        after, told = {}, {}
        for member in members:
            model = _Flat.of(member, state[member.name].params, shots)
            before = jax.vmap(model.ravel)(state[member.name].params)
            flat, damping, loss = self._descend(model, before, state[member.name].damping, train)
            held = loss
            if validation.targets.size:
                outputs = model.outputs(flat, validation.inputs)[..., None]
                scores = jax.vmap(lambda o: metric.of_each(o, validation.targets))(outputs)
                held = -metric.sign * scores.mean(axis=1)
            after[member.name] = Descent(jax.vmap(model.unravel)(flat), damping, held)
            told[member.name] = {
                "loss": loss,
                f"validation_{metric.name}": -metric.sign * held,
                "finite": jnp.any(jnp.isfinite(loss) & jnp.isfinite(held)),
            }
        return after, told

    def _descend(
        self, model: _Flat, flat: Array, damping: Array, train: Examples
    ) -> tuple[Array, Array, Array]:
        """Parameters, damping and loss of every restart after some steps on the same examples."""
        (restarts, size), points, dtype = flat.shape, train.targets.size, flat.dtype
        rate = jnp.asarray(self.config.learning_rate, dtype)

        def residuals(flat: Array) -> tuple[Array, Array, Array]:
            # One lane for each point of each restart: the gradient of the sum of all outputs is
            # then the whole Jacobian, at the cost of one gradient.
            lanes = jnp.repeat(flat[:, None], points, axis=1)
            every, pull = jax.vjp(lambda lanes: model.of_lanes(lanes, train.inputs), lanes)
            (jacobian,) = pull(jnp.ones_like(every))
            residual = every - train.targets
            return residual, jacobian, jnp.square(residual).mean(axis=1)

        def step(carry: Any, _: None) -> tuple[Any, None]:
            flat, damping, residual, jacobian, loss = carry
            ridge = jnp.sqrt(damping * points)[:, None, None] * jnp.eye(size, dtype=dtype)
            q, r = jnp.linalg.qr(jnp.concatenate([jacobian, ridge], axis=1))
            right = jnp.einsum("rpk,rp->rk", q[:, :points], -residual)
            moves = jax.scipy.linalg.solve_triangular(r, right[..., None])[..., 0]
            tried = model.constrained(flat + rate * moves)
            new_residual, new_jacobian, new_loss = residuals(tried)
            # Comparison with NaN is false, so a step with a NaN loss is not accepted.
            better = new_loss < loss
            return (
                jnp.where(better[:, None], tried, flat),
                jnp.clip(jnp.where(better, damping / 3, damping * 2), 1e-9, 1e3),
                jnp.where(better[:, None], new_residual, residual),
                jnp.where(better[:, None, None], new_jacobian, jacobian),
                jnp.where(better, new_loss, loss),
            ), None

        # The first pass has no slope yet, so it does not move: it evaluates, and is accepted.
        nowhere = (
            flat,
            3 * damping,
            jnp.zeros((restarts, points), dtype),
            jnp.zeros((restarts, points, size), dtype),
            jnp.full((restarts,), jnp.inf, dtype),
        )
        (flat, damping, _, _, loss), _ = jax.lax.scan(step, nowhere, None, length=1 + STEPS)
        return flat, damping, loss

    def parameters(self, state: dict[str, Descent]) -> dict[str, Any]:
        """The parameters of each member's restart with the lowest validation error."""

        def best(descent: Descent) -> Any:
            error = jnp.where(jnp.isfinite(descent.chosen_by), descent.chosen_by, jnp.inf)
            return jax.tree.map(lambda leaf: leaf[jnp.argmin(error)], descent.params)

        return {name: best(descent) for name, descent in state.items()}

    def row(self, told: Mapping[str, Any], metric: Metric) -> dict[str, float]:
        """The best and the median restart of an epoch."""
        row = {}
        for name, values in told.items():
            if name == "finite":
                continue
            finite = values[np.isfinite(values)]
            more = name == f"validation_{metric.name}" and metric.better == "more"
            best = np.max if more else np.min
            row[name] = float(best(finite)) if finite.size else np.nan
            row[f"{name}_median"] = float(np.median(finite)) if finite.size else np.nan
        return row

    def failure(self, told: Mapping[str, Any], epoch: int, train_count: int) -> str | None:
        """The failure that no restart has a finite loss."""
        del train_count
        if told["finite"]:
            return None
        return (
            f"the loss of every restart became {float(told['loss'][0])} in epoch {epoch + 1}: "
            "start from smaller weights"
        )


class _Flat(NamedTuple):
    """A network with one output as a function of a row of parameters.

    Attributes:
        member: the network's member.
        ravel: converts parameters into a row.
        unravel: converts a row into parameters.
        key: of shots, if the network draws any.
    """

    member: Member
    ravel: Callable[[Any], Array]
    unravel: Callable[[Array], Any]
    key: Array

    @staticmethod
    def of(member: Member, params: Any, key: Array) -> _Flat:
        """Create it from parameters with a leading axis, for their shapes."""
        _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], params))
        return _Flat(member, lambda tree: ravel_pytree(tree)[0], unravel, key)

    def _predict(self, row: Array, inputs: Array, key: Array) -> Array:
        params = self.unravel(row)
        if self.member.frozen:
            params = {**params, "quantum": jax.lax.stop_gradient(params["quantum"])}
        outputs: Any = self.member.network.apply(
            {"params": params}, inputs[None], rngs={"shots": key}
        )
        return outputs[0, 0]

    def of_lanes(self, lanes: Array, inputs: Array) -> Array:
        """Outputs (restarts, points) if each point of each restart has its own row."""
        (restarts, points), keys = lanes.shape[:2], jax.random.split(self.key, len(inputs))
        # One axis for both: see `qnn_jax.simulate.xla` on sums over seven axes.
        rows = lanes.reshape(restarts * points, -1)
        every = jnp.tile(inputs, (restarts, 1)), jnp.tile(keys, restarts)
        return jax.vmap(self._predict)(rows, *every).reshape(restarts, points)

    def outputs(self, flat: Array, inputs: Array) -> Array:
        """Outputs (restarts, points) of rows (restarts, parameters)."""
        network: Any = self.member.network

        def one(row: Array) -> Array:
            params = {"params": self.unravel(row)}
            return network.apply(params, inputs, rngs={"shots": self.key})[:, 0]

        return jax.vmap(one)(flat)

    def constrained(self, flat: Array) -> Array:
        """The nearest allowed parameters, for each row."""
        constrain = getattr(self.member.network, "constrain", None)
        if constrain is None:
            return flat
        return jax.vmap(lambda row: self.ravel(constrain(self.unravel(row))))(flat)
