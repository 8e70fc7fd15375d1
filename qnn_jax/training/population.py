"""Whole trainings side by side: one jitted program trains a population for an epoch.

A population is the single training of `fit`, mapped over a leading axis: seeds, and the numbers of
a configuration. What is no number (depth, width, a loss of another form) is another task, and so
another program.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, Shaped

from qnn_jax.circuits.checks import at_least, of_type
from qnn_jax.configs import ModelConfig
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import checked_numbers
from qnn_jax.training.fit import (
    EpochMetrics,
    Examples,
    State,
    Task,
    check_run,
    check_state,
    first_state,
    one_epoch,
)
from qnn_jax.training.programs import check_images, checked_array, program

#: A knob: one number for all, one for each member, or None, the task's own.
Knob = float | Float[Array, ""] | Float[Array, " members"] | None


class Knobs(NamedTuple):
    """The numbers in which members may differ, each under its name in the configuration.

    The first three are those of `TrainingConfig`. The others are those of the `ModelConfig` that
    a hybrid model has as its `config`; models without one have no such number.
    """

    learning_rate: Knob = None
    weight_decay: Knob = None
    label_smoothing: Knob = None
    weight_bound: Knob = None
    feature_scale: Knob = None
    feature_center: Knob = None
    feature_gain: Knob = None

    def of_one(self, task: Task) -> Task:
        """The task with these numbers in place of its own; traced numbers will do."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        of_training = {name: given.pop(name) for name in _TRAINING_KNOBS & given.keys()}
        members = task.members
        if given:
            members = tuple((name, _with_numbers(model, given)) for name, model in members)
        return Task(members, dataclasses.replace(task.config, **of_training), task.steps)


_TRAINING_KNOBS = {"learning_rate", "weight_decay", "label_smoothing"}


def _with_numbers(model: Any, numbers: dict[str, Any]) -> Any:
    config = getattr(model, "config", None)
    if not isinstance(config, ModelConfig):
        return model
    return model.clone(config=dataclasses.replace(config, **numbers))


def _check_init(
    task: Task, keys: Array, knobs: Knobs, images: Array, mesh: Mesh | None = None
) -> None:
    of_type("task", task, Task, "a Task, as Task.of gives it,")
    checked_array("keys", keys, "random keys, shape (members,)", jax.dtypes.prng_key, (1, 1))
    _check(keys.size, keys, knobs, mesh)
    check_images(images)


@program(_check_init, static_argnames=("task", "mesh"))
def init_population(
    task: Task,
    keys: Array,
    knobs: Knobs,
    images: Shaped[Array, "count ..."],
    mesh: Mesh | None = None,
) -> State:
    """Fresh states of a population: that of a member is `init_state` of its key and numbers.

    Args:
        task: what to train; it may hold several models, which start from the same key.
        keys: one a member, shape (members,).
        knobs: the numbers in which members differ.
        images: training images, for their shape.
        mesh: devices to spread the members over, all its axes alike; none for one device.

    Raises:
        InputError: where a length is not that of `keys`, or not a multiple of the devices.
    """

    def one(key: Array, knobs: Knobs) -> State:
        return first_state(knobs.of_one(task), key, images[:1])

    return _mapped(one, (keys, knobs), mesh)


def _check_fit(
    task: Task,
    state: State,
    keys: Array,
    knobs: Knobs,
    epoch: Array,
    train: Examples,
    validation: Examples,
    mesh: Mesh | None = None,
    at_once: int | None = None,
) -> None:
    check_state(task, state)
    rule = "a random key or several, shape (members,)"
    checked_array("keys", keys, rule, jax.dtypes.prng_key, (0, 1))
    members = {leaf.shape[:1] for leaf in jax.tree.leaves(state) if hasattr(leaf, "shape")}
    if len(members) != 1 or members == {()}:
        raise InputError(
            "Argument `state` must be of a population, as init_population gives it, but its arrays "
            "have no leading member axis in common."
        )
    ((count,),) = members
    _check(count, keys, knobs, mesh)
    check_run(task, epoch, train, validation)
    if at_once is not None:
        at_least("at_once", at_once, 1)


@program(_check_fit, static_argnames=("task", "mesh", "at_once"), donate_argnames="state")
def fit_population_epoch(
    task: Task,
    state: State,
    keys: Array,
    knobs: Knobs,
    epoch: Int[Array, ""],
    train: Examples,
    validation: Examples,
    mesh: Mesh | None = None,
    at_once: int | None = None,
) -> tuple[State, EpochMetrics]:
    """`fit_epoch` of every member, in one program. Members do not meet: a NaN stays where it is.

    Args:
        task: what to train.
        state: the members' states after `epoch` finished epochs; its buffers are reused.
        keys: one a member, shape (members,), or a single key, by which all see the same batches.
            The order of the images, their augmentation and dropout follow from it; a member is
            the single run of its seed where `init_population` had the same keys.
        knobs: the numbers in which members differ.
        epoch: how many epochs are finished.
        train: the training images, the same for all.
        validation: images to evaluate on after the epoch; there may be none.
        mesh: devices to spread the members over, all its axes alike; none for one device.
        at_once: how many members a device steps side by side, one such chunk after the other; by
            default all. A few share the caches of a CPU best; memory may allow no more.

    Returns:
        The states, and the metrics with a leading member axis.

    Raises:
        InputError: where a length is not that of the state, or not a multiple of the devices.
    """

    def one(
        state: State, key: Array, knobs: Knobs, epoch: Array, train: Examples, validation: Examples
    ) -> tuple[State, EpochMetrics]:
        return one_epoch(knobs.of_one(task), state, key, epoch, train, validation)

    return _mapped(one, (state, keys, knobs), mesh, at_once, (epoch, train, validation))


def _mapped(
    function: Callable[..., Any],
    by_member: tuple[Any, ...],
    mesh: Mesh | None,
    at_once: int | None = None,
    shared: tuple[Any, ...] = (),
) -> Any:
    """`function` of each member's part of `by_member` and of all that is shared.

    A number (or one key) in `by_member` has no member axis, and is the same for all.
    """
    leaves, structure = jax.tree.flatten(by_member)
    split = [leaf for leaf in leaves if getattr(leaf, "ndim", 0)]
    whole = [leaf for leaf in leaves if not getattr(leaf, "ndim", 0)]

    def all_of_a_device(split: list[Array], whole: list[Any], shared: tuple[Any, ...]) -> Any:
        def one(parts: list[Array]) -> Any:
            own, same = iter(parts), iter(whole)
            merged = [next(own if getattr(leaf, "ndim", 0) else same) for leaf in leaves]
            return function(*jax.tree.unflatten(structure, merged), *shared)

        return _in_chunks(jax.vmap(one), split, at_once or len(split[0]))

    if mesh is None:
        return all_of_a_device(split, whole, shared)
    # Under shard_map every device runs the program of its own members: nothing to talk about.
    members, same = PartitionSpec(mesh.axis_names), PartitionSpec()
    return jax.shard_map(
        all_of_a_device,
        mesh=mesh,
        in_specs=(members, same, same),
        out_specs=members,
        check_vma=False,
    )(split, whole, shared)


def _in_chunks(function: Callable[[list[Array]], Any], split: list[Array], at_once: int) -> Any:
    """`function` of a few members at a time, in equal chunks: the last member fills the last."""
    members = len(split[0])
    chunks = -(-members // at_once)
    size = -(-members // chunks)
    if chunks == 1:
        return function(split)

    def cut(leaf: Array) -> Array:
        filling = jnp.repeat(leaf[-1:], chunks * size - members, axis=0)
        return jnp.concatenate([leaf, filling]).reshape(chunks, size, *leaf.shape[1:])

    done = jax.lax.map(function, [cut(leaf) for leaf in split])
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:members], done)


def _check(members: int, keys: Array, knobs: Knobs, mesh: Mesh | None) -> None:
    """Refuse lengths that do not fit."""
    of_type("knobs", knobs, Knobs, "Knobs")
    if mesh is not None:
        of_type("mesh", mesh, Mesh, "a jax.sharding.Mesh or None")
    for name, value in (("keys", keys), *knobs._asdict().items()):
        if name != "keys" and value is not None and not isinstance(value, jax.core.Tracer):
            checked_numbers(name, value)
        shape = getattr(value, "shape", ())
        if shape not in ((), (members,)):
            raise InputError(
                f"Argument `{name}` must have shape () or ({members},), one for each member, but "
                f"has {shape}."
            )
    if mesh is not None and members % mesh.size:
        raise InputError(
            f"Argument `mesh` must have a number of devices that divides the {members} members, "
            f"but has {mesh.size}."
        )
