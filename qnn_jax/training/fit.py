"""Training: a pure function from state to state, one jitted program an epoch.

Several members (a model and its twins) train side by side in one program: they see the same
batches in the same order, and their parameters never meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.errors import FlaxError
from jaxtyping import Array, Bool, Float, Int, Shaped

from qnn_jax.circuits.checks import at_least, flag, of_type, shown
from qnn_jax.circuits.checks import function as checked_function
from qnn_jax.configs import TrainingConfig, check_training
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import checked_numbers
from qnn_jax.simulate.measurement import checked_key
from qnn_jax.training.programs import (
    check_epoch,
    check_examples,
    check_images,
    check_members,
    check_params,
    program,
)

# What fold_in numbers stand for, so that no two random draws share a key.
_INIT, _EPOCHS, _ORDER, _DROPOUT, _SHIFT, _FLIP, _STEPS = range(7)
#: Images that are evaluated at once; more only costs memory.
EVALUATION_BATCH = 500


class Examples(NamedTuple):
    """Examples with their labels (count,) of integers.

    `images` are images (count, height, width) or a table of features (count, features), as the
    model takes them.
    """

    images: Shaped[Array, "count ..."]
    labels: Int[Array, " count"]


class State(NamedTuple):
    """What training carries from epoch to epoch: each member's parameters, and the optimiser's."""

    params: dict[str, Any]
    optimizer: Any


class EpochMetrics(NamedTuple):
    """What an epoch tells, by member.

    Attributes:
        losses: the training loss of every step, shape (steps,).
        accuracy: share of the training images that were right when they were trained on.
        gradient_norm: mean over the steps.
        validation_loss: after the epoch.
        validation_accuracy: after the epoch.
        finite: whether every parameter is a finite number after the epoch.
    """

    losses: dict[str, Float[Array, " steps"]]
    accuracy: dict[str, Float[Array, ""]]
    gradient_norm: dict[str, Float[Array, ""]]
    validation_loss: dict[str, Float[Array, ""]]
    validation_accuracy: dict[str, Float[Array, ""]]
    finite: dict[str, Bool[Array, ""]]


@dataclass(frozen=True)
class Task:
    """What is trained: members by name, and how. A value, so that jit takes it as static.

    Attributes:
        members: pairs of name and model; a model maps images to logits.
        config: how to train.
        steps: optimiser steps an epoch.
    """

    members: tuple[tuple[str, nn.Module], ...]
    config: TrainingConfig
    steps: int

    @staticmethod
    def of(members: Mapping[str, nn.Module], config: TrainingConfig, train_count: int) -> Task:
        """Check the numbers against the data.

        Raises:
            InputError: where the batch is empty or larger than the data, or epochs are negative.
        """
        check_members(members)
        check_training(config, train_count)
        return Task(tuple(members.items()), config, train_count // config.batch_size)

    def schedule(self) -> optax.Schedule:
        """The learning rate by step."""
        config = self.config
        if config.schedule == "constant":
            return optax.constant_schedule(config.learning_rate)
        total = max(self.steps * config.epochs, 2)
        peak, warmup = config.learning_rate, min(self.steps, total // 2)
        # optax.warmup_cosine_decay_schedule in its parts, since it takes no traced peak.
        parts = [
            optax.linear_schedule(peak / 10, peak, warmup),
            optax.cosine_decay_schedule(peak, total - warmup),
        ]
        return optax.join_schedules(parts, [warmup])

    def optimizer(self) -> optax.GradientTransformation:
        """Adam with the schedule, and decoupled weight decay.

        Every parameter decays, circuit weights too: to spare biases and angles made no difference
        on validation splits.
        """
        return optax.adamw(self.schedule(), weight_decay=self.config.weight_decay)


def first_state(task: Task, key: Array, images: Shaped[Array, "count ..."]) -> State:
    """`init_state` before jit: what a population maps over."""
    init_key = jax.random.fold_in(key, _INIT)
    params = {name: model.init(init_key, images[:1])["params"] for name, model in task.members}
    return State(params, task.optimizer().init(params))


def one_epoch(
    task: Task,
    state: State,
    key: Array,
    epoch: Int[Array, ""],
    train: Examples,
    validation: Examples,
) -> tuple[State, EpochMetrics]:
    """`fit_epoch` before jit: what a population maps over."""
    config, optimizer = task.config, task.optimizer()
    epoch_key = jax.random.fold_in(jax.random.fold_in(key, _EPOCHS), epoch)
    steps_key = jax.random.fold_in(epoch_key, _STEPS)
    order = jax.random.permutation(jax.random.fold_in(epoch_key, _ORDER), train.labels.size)
    batches = order[: task.steps * config.batch_size].reshape(task.steps, config.batch_size)

    def step(state: State, at: tuple[Array, Array]) -> tuple[State, Any]:
        indices, number = at
        step_key = jax.random.fold_in(steps_key, number)
        images = augment(step_key, train.images[indices], config.shift, config.flip)
        labels = train.labels[indices]

        def total_loss(params: dict[str, Any]) -> Any:
            losses, right = {}, {}
            for name, model in task.members:
                logits: Array = model.apply(  # type: ignore[assignment]
                    {"params": params[name]},
                    images,
                    train=True,
                    rngs={"dropout": jax.random.fold_in(step_key, _DROPOUT)},
                )
                losses[name] = example_losses(logits, labels, config).mean()
                right[name] = (predictions(logits) == labels).mean()
            # Members share no parameter, so the gradient of the sum is each one's own gradient.
            return sum(losses.values()), (losses, right)

        gradients, (losses, right) = jax.grad(total_loss, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        norms = {name: optax.tree.norm(gradients[name]) for name, _ in task.members}
        return State(params, optimizer_state), (losses, right, norms)

    state, (losses, right, norms) = jax.lax.scan(step, state, (batches, jnp.arange(task.steps)))
    values = evaluate(task, state.params, validation)
    metrics = EpochMetrics(
        losses,
        jax.tree.map(jnp.mean, right),
        jax.tree.map(jnp.mean, norms),
        {name: value[0] for name, value in values.items()},
        {name: value[1] for name, value in values.items()},
        {name: _all_finite(state.params[name]) for name, _ in task.members},
    )
    return state, metrics


def _check_task(task: Task) -> tuple[str, ...]:
    """Refuse what is no task; give back the names of its members."""
    of_type("task", task, Task, "a Task, as Task.of gives it,")
    return tuple(name for name, _ in task.members)


def _check_init(task: Task, key: Array, images: Array) -> None:
    _check_task(task)
    checked_key("key", key)
    check_images(images)


def check_state(task: Task, state: State) -> None:
    """Refuse a state that is not one of the task."""
    names = _check_task(task)
    of_type("state", state, State, "a State, as init_state gives it,")
    if not isinstance(state.params, Mapping) or set(state.params) != set(names):
        raise InputError(
            f"Argument `state` must be of the task's models {', '.join(names)}, but its parameters "
            f"are {shown(state.params)}."
        )


def _check_epoch(
    task: Task, state: State, key: Array, epoch: Array, train: Examples, validation: Examples
) -> None:
    check_state(task, state)
    checked_key("key", key)
    check_run(task, epoch, train, validation)


def check_run(task: Task, epoch: Array, train: Examples, validation: Examples) -> None:
    """Refuse what cannot be an epoch of the task."""
    check_epoch(epoch)
    check_examples("train", train)
    check_examples("validation", validation)
    needed = task.steps * task.config.batch_size
    if len(train.labels) < needed:
        raise InputError(
            f"Argument `train` must have the {needed} examples of an epoch of the task, but has "
            f"{len(train.labels)}."
        )


@program(_check_init, static_argnames="task")
def init_state(task: Task, key: Array, images: Shaped[Array, "count ..."]) -> State:
    """Fresh parameters of all members, from one key: members of one shape start alike.

    One program, since Flax runs a model to initialise it: operation by operation that takes
    seconds, while XLA drops what the parameters do not depend on.
    """
    return first_state(task, key, images)


@program(_check_epoch, static_argnames="task", donate_argnames="state")
def fit_epoch(
    task: Task,
    state: State,
    key: Array,
    epoch: Int[Array, ""],
    train: Examples,
    validation: Examples,
) -> tuple[State, EpochMetrics]:
    """One pass over the training images in an order that follows from the key and the epoch.

    Args:
        task: what to train.
        state: the state after `epoch` finished epochs; its buffers are reused.
        key: the run's key; every draw is a fold_in of it, so a resumed run repeats it exactly.
        epoch: how many epochs are finished.
        train: the training images.
        validation: images to evaluate on after the epoch; there may be none.
    """
    return one_epoch(task, state, key, epoch, train, validation)


def _all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def evaluate(
    task: Task, params: Mapping[str, Any], examples: Examples
) -> dict[str, tuple[Array, Array]]:
    """Mean loss and accuracy by member, without augmentation or dropout; NaN for no examples."""
    check_params(params, _check_task(task))
    check_examples("examples", examples)
    values = {}
    for name, model in task.members:
        logits = all_logits(model, params[name], examples.images)
        loss = example_losses(logits, examples.labels, task.config).mean()
        values[name] = (loss, (predictions(logits) == examples.labels).mean())
    return values


def all_logits(
    model: nn.Module, params: Any, images: Shaped[Array, "count ..."]
) -> Float[Array, "count logits"]:
    """Logits of many images, a few hundred at a time."""
    of_type("model", model, nn.Module, "a Flax module")
    check_images(images)
    if not isinstance(params, Mapping):
        raise InputError(
            f"Argument `params` must hold the model's parameters, but is {shown(params)}."
        )
    try:
        return in_batches(lambda batch: model.apply({"params": params}, batch), images)
    except FlaxError as error:
        raise InputError(
            f"Argument `params` must be the parameters of the model, but Flax says: {error}"
        ) from None


def in_batches(function: Callable[[Array], Any], images: Array) -> Array:
    """Apply a function of a batch to many images, a few hundred at a time, to bound memory."""
    checked_function("function", function)
    images = checked_numbers("images", images)
    if not images.ndim:
        raise InputError("Argument `images` must have shape (count, …), but has shape ().")
    whole = len(images) // EVALUATION_BATCH
    batches = images[: whole * EVALUATION_BATCH].reshape(whole, EVALUATION_BATCH, *images.shape[1:])
    rest = function(images[whole * EVALUATION_BATCH :])
    mapped = jax.lax.map(function, batches).reshape(-1, *rest.shape[1:]) if whole else rest[:0]
    return jnp.concatenate([mapped, rest])


def example_losses(
    logits: Float[Array, "batch logits"], labels: Int[Array, " batch"], config: TrainingConfig
) -> Float[Array, " batch"]:
    """The loss of every example."""
    binary = logits.shape[-1] == 1
    if config.loss == "mse":
        return jnp.square(jax.nn.sigmoid(logits[:, 0]) - labels)
    smoothing = config.label_smoothing
    if binary:
        targets = labels * (1 - smoothing) + smoothing / 2
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], targets)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets)


def predictions(logits: Float[Array, "batch logits"]) -> Int[Array, " batch"]:
    """The predicted classes: the sign of a single logit, the largest of several."""
    logits = checked_numbers("logits", logits)
    if logits.ndim != 2 or not logits.shape[1]:
        raise InputError(
            f"Argument `logits` must have shape (batch, logits), but has shape {logits.shape}."
        )
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, axis=-1)


def augment(
    key: Array, images: Shaped[Array, "batch ..."], shift: int, flip: bool
) -> Shaped[Array, "batch ..."]:
    """Move each image by up to `shift` pixels each way, and mirror it or not.

    Raises:
        InputError: where either is asked for, and what is given are no images.
    """
    key, flip = checked_key("key", key), flag("flip", flip)
    check_images(images)
    shift = at_least("shift", shift, 0, max(images.shape))
    if not shift and not flip:
        return images
    if images.ndim != 3:
        raise InputError(
            "Arguments `shift` and `flip` of a TrainingConfig must be 0 and False for examples "
            f"that are no images (count, height, width), but are {shift} and {flip} for examples "
            f"of shape {images.shape}."
        )
    batch, height, width = images.shape
    if shift:
        padded = jnp.pad(images, ((0, 0), (shift, shift), (shift, shift)))
        corners = jax.random.randint(jax.random.fold_in(key, _SHIFT), (batch, 2), 0, 2 * shift + 1)

        def crop(image: Array, corner: Array) -> Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1]), (height, width))

        images = jax.vmap(crop)(padded, corners)
    if flip:
        mirrored: Bool[Array, " batch"] = jax.random.bernoulli(
            jax.random.fold_in(key, _FLIP), shape=(batch,)
        )
        images = jnp.where(mirrored[:, None, None], images[:, :, ::-1], images)
    return images
