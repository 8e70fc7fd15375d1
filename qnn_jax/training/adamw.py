"""Gradient descent: AdamW on shuffled batches, one pass over the training examples per epoch.

Members see the same batches in the same order, and their parameters are independent.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool

from qnn_jax.configs import TrainingConfig, check_training
from qnn_jax.errors import InputError
from qnn_jax.linen import QuantumLayer
from qnn_jax.training.batches import in_batches
from qnn_jax.training.task import Examples, Member, Metric, Task

# Numbers for fold_in, so that no two random draws share a key. 4 and 5 are used by
# `losses.augment`, which gets the key of a step.
_INIT, _EPOCHS, _ORDER, _DROPOUT, _STEPS, _SHOTS = 0, 1, 2, 3, 6, 7


class AdamWState(NamedTuple):
    """The training state between epochs: each member's parameters, and the optimiser's state."""

    params: dict[str, Any]
    optimizer: Any


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (arXiv:1711.05101) and a schedule of the learning rate.

    Every parameter decays, circuit weights too: excluding biases and angles made no difference on
    validation splits.
    """

    config: TrainingConfig

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return self.config.epochs

    def check(self, train_count: int) -> None:
        """Check the settings."""
        check_training(self.config, train_count)

    def steps(self, train_count: int) -> int:
        """Optimiser steps per epoch; the last, incomplete batch is left out."""
        return train_count * self.config.passes // self.config.batch_size

    def batch(self, train_count: int) -> int:
        """Training examples per step."""
        return self.config.batch_size

    def schedule(self, train_count: int) -> optax.Schedule:
        """The learning rate by step."""
        config, steps = self.config, self.steps(train_count)
        if config.schedule == "constant":
            return optax.constant_schedule(config.learning_rate)
        total = max(steps * config.epochs, 2)
        peak, warmup = config.learning_rate, min(steps, total // 2)
        # optax.warmup_cosine_decay_schedule in its parts, since it accepts no traced peak.
        parts = [
            optax.linear_schedule(peak / 10, peak, warmup),
            optax.cosine_decay_schedule(peak, total - warmup),
        ]
        return optax.join_schedules(parts, [warmup])

    def _optimizer(
        self, members: Sequence[Member], train_count: int
    ) -> optax.GradientTransformation:
        decay = self.config.weight_decay
        optimizer = optax.adamw(self.schedule(train_count), weight_decay=decay)
        frozen = {member.name for member in members if member.frozen}
        if not frozen:
            return optimizer

        def is_frozen(params: Any) -> Any:
            def of(path: Any, _: Any) -> bool:
                names = [getattr(entry, "key", None) for entry in path]
                return names[0] in frozen and "quantum" in names

            return jax.tree.map_with_path(of, params)

        return optax.chain(optimizer, optax.transforms.freeze(is_frozen))

    def _outputs(
        self, network: Any, params: Any, inputs: Array, rngs: Mapping[str, Array]
    ) -> tuple[Any, Array | float]:
        """The outputs in training, and what each example's variance adds to its loss.

        Raises:
            InputError: where the variance counts and an observable is not one Pauli string.
        """
        weight = self.config.variance_weight
        apply = functools.partial(network.apply, {"params": params}, inputs, train=True, rngs=rngs)
        if isinstance(weight, float | int) and weight == 0:  # a traced one may be anything
            return apply(), 0.0
        outputs, found = apply(capture_intermediates=_is_quantum)
        values = jax.tree.leaves(found.get("intermediates", {}))
        if not values:  # a twin without a circuit
            return outputs, 0.0
        sums = [one for one in network.observables if [c for _, c in one.terms] != [1.0]]
        if sums or len(values) > 1:
            what = f"measures {sums[0]}" if sums else f"has {len(values)} quantum layers"
            raise InputError(
                "Argument `variance_weight` must be 0 unless every observable is one Pauli string "
                f"of one quantum layer, but the network {what}."
            )
        return outputs, weight * (1 - jnp.square(values[0])).mean(-1)

    def init(self, task: Task, members: Sequence[Member], key: Array, inputs: Array) -> AdamWState:
        """Fresh parameters of all members from one key."""
        del task
        own = jax.random.fold_in(key, _INIT)
        keys = {"params": own, "shots": own}  # shots of an output that nobody looks at
        params = {m.name: m.network.init(keys, inputs[:1])["params"] for m in members}
        return AdamWState(params, self._optimizer(members, 1).init(params))

    def epoch(
        self,
        task: Task,
        members: Sequence[Member],
        state: AdamWState,
        key: Array,
        epoch: Array,
        train: Examples,
        validation: Examples,
    ) -> tuple[AdamWState, dict[str, dict[str, Array]]]:
        """One pass in an order that follows from the key and the epoch."""
        count, size, metric = train.targets.size, self.config.batch_size, task.metric
        steps, optimizer = self.steps(count), self._optimizer(members, count)
        epoch_key = jax.random.fold_in(jax.random.fold_in(key, _EPOCHS), epoch)
        steps_key = jax.random.fold_in(epoch_key, _STEPS)
        passes = self.config.passes
        order = jax.random.permutation(jax.random.fold_in(epoch_key, _ORDER), count * passes)
        if passes > 1:
            order = order % count
        batches = order[: steps * size].reshape(steps, size)

        def step(state: AdamWState, at: tuple[Array, Array]) -> tuple[AdamWState, Any]:
            indices, number = at
            step_key = jax.random.fold_in(steps_key, number)
            inputs = task.augment(step_key, train.inputs[indices])
            targets = train.targets[indices]
            weights = None if train.weights is None else train.weights[indices]

            def total_loss(params: dict[str, Any]) -> Any:
                losses, scores = {}, {}
                for member in members:
                    rngs = {
                        "dropout": jax.random.fold_in(step_key, _DROPOUT),
                        "shots": jax.random.fold_in(step_key, _SHOTS),
                    }
                    outputs, loss = self._outputs(member.network, params[member.name], inputs, rngs)
                    losses[member.name] = _mean(task.loss(outputs, targets) + loss, weights)
                    scores[member.name] = _mean(metric.of_each(outputs, targets), weights)
                # Members share no parameter, so the gradient of the sum has each one's gradient.
                return sum(losses.values()), (losses, scores)

            gradients, (losses, scores) = jax.grad(total_loss, has_aux=True)(state.params)
            updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
            params = optax.apply_updates(state.params, updates)
            norms = {name: optax.tree.norm(gradient) for name, gradient in gradients.items()}
            return AdamWState(params, optimizer_state), (losses, scores, norms)

        state, (losses, scores, norms) = jax.lax.scan(step, state, (batches, jnp.arange(steps)))
        told = {}
        for member in members:
            name, params = member.name, state.params[member.name]
            own = jax.random.fold_in(epoch_key, _SHOTS)
            outputs = in_batches(member.network, params, validation.inputs, own)
            loss = _mean(task.loss(outputs, validation.targets), validation.weights)
            finite = _all_finite(params)
            if validation.targets.size:
                finite &= jnp.isfinite(loss)
            told[name] = {
                "losses": losses[name],
                metric.name: scores[name].mean(),
                "gradient_norm": norms[name].mean(),
                "validation_loss": loss,
                f"validation_{metric.name}": _mean(
                    metric.of_each(outputs, validation.targets), validation.weights
                ),
                "finite": finite,
            }
        return state, told

    def parameters(self, state: AdamWState) -> dict[str, Any]:
        """The parameters of each member."""
        return state.params

    def row(self, told: Mapping[str, Any], metric: Metric) -> dict[str, float]:
        """Numbers of an epoch, with the mean loss in place of the loss of every step."""
        del metric
        rest = {k: float(v) for k, v in told.items() if k not in ("losses", "finite")}
        return {"loss": float(np.mean(told["losses"])), **rest}

    def failure(self, told: Mapping[str, Any], epoch: int, train_count: int) -> str | None:
        """The step at which the loss, or after the last step a parameter, was not finite."""
        losses = np.asarray(told["losses"])
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            step, what = int(bad[0]), f"loss became {losses[bad[0]]}"
        elif not told["finite"]:
            step, what = self.steps(train_count) - 1, "parameters became too large"
        else:
            return None
        rate = float(self.schedule(train_count)(epoch * self.steps(train_count) + step))
        return (
            f"the {what} at step {step + 1} of epoch {epoch + 1} (learning rate {rate:.3g}): train "
            "with a lower `learning_rate`"
        )


def _is_quantum(module: Any, method: str) -> bool:
    return isinstance(module, QuantumLayer) and method == "__call__"


def _mean(values: Array, weights: Array | None) -> Array:
    """The mean over examples, weighted where they have weights; 0 where all of these are 0."""
    if weights is None:
        return values.mean()
    total = weights.sum()
    return (values * weights).sum() / jnp.where(total > 0, total, 1)


def _all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
