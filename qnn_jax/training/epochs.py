"""One jitted program per epoch: for one training, or for a population of them in parallel.

A population is the single training mapped over a leading axis: seeds, and numbers of the task.
Settings that are not numbers (depth, width, another form of loss) need another task and program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Int

from qnn_jax.circuits.checks import at_least, of_type, shown
from qnn_jax.errors import InputError
from qnn_jax.simulate.angle_table import checked_numbers
from qnn_jax.training.execution import execution, placed
from qnn_jax.training.least_squares import LeastSquares
from qnn_jax.training.programs import (
    check_epoch,
    check_examples,
    check_inputs,
    checked_array,
    program,
)
from qnn_jax.training.task import Examples, Member, Task, replaced

#: Numbers in which the members of a population differ, by their names in the task
#: ("training.learning_rate"): one for all, or one for each, shape (members,).
Numbers = Mapping[str, Any]


def chosen(task: Task, names: Sequence[str]) -> tuple[Member, ...]:
    """The members of a task with these names, in the task's order, where the task runs them."""
    members = {member.name: member for member in task.members()}
    for name in names:
        if not isinstance(name, str) or name not in members:
            raise InputError(
                f"Argument `names` must be members of the task ({', '.join(members)}), but has "
                f"{shown(name)}."
            )
    return tuple(placed(task, member) for name, member in members.items() if name in names)


def with_numbers(task: Any, numbers: Numbers) -> Any:
    """The task with other numbers in some fields; they may be traced."""
    for name, value in numbers.items():
        if name not in task.numbers:
            raise InputError(
                f"Argument `numbers` must name fields out of {', '.join(sorted(task.numbers))}, "
                f"but names {name!r}."
            )
        task = replaced(task, name, value)
    return task


def _check(given: dict[str, Any]) -> None:
    """Check the arguments, by their names, of any of the programs below."""
    task, names = given["task"], given["names"]
    of_type("task", task, Task, "a Task, as those of qnn_jax.tasks are,")
    # A static argument of jit must be hashable, so a list is refused.
    of_type("names", names, tuple, "a tuple of names of the task's members")
    chosen(task, names)
    name, rule, ndim = "key", "one random key, as jax.random.key(0) is", (0, 0)
    if "keys" in given:
        name, rule, ndim = "keys", "random keys, shape (members,)", (1, 1)
        if "state" in given:
            rule, ndim = "a random key or several, shape (members,)", (0, 1)
    keys = checked_array(name, given[name], rule, jax.dtypes.prng_key, ndim)
    members = keys.size
    if "state" in given:
        check_epoch(given["epoch"])
        for part in ("train", "validation"):
            check_examples(part, given[part])
        task.trainer.check(len(given["train"].inputs))
        members = _members_of(task, names, given["state"], given["train"].inputs, keys.dtype)
        if members is None and "keys" in given:
            raise InputError("Argument `state` must be of a population, but is of one training.")
        if members is not None and "key" in given:
            raise InputError(
                f"Argument `state` must be of one training, but is of a population of {members}."
            )
    else:
        check_inputs(given["inputs"])
    if "keys" in given:
        _check_numbers(task, members, keys, given["numbers"], given["mesh"])
    if given.get("at_once") is not None:
        given["at_once"] = at_least("at_once", given["at_once"], 1)


@program(_check, static_argnames=("task", "names"))
def init_state(task: Task, names: tuple[str, ...], key: Array, inputs: Array) -> Any:
    """Fresh states of members, from one key.

    This is one program, since Flax runs a network to initialise it: operation by operation this
    takes seconds, while XLA removes computations that the parameters do not depend on.
    """
    return task.trainer.init(task, chosen(task, names), key, inputs)


def _members_of(
    task: Task, names: tuple[str, ...], state: Any, inputs: Any, key_type: Any
) -> int | None:
    """The number of a population that a state is of, None of one training; or refuse it."""
    key = jax.ShapeDtypeStruct((), key_type)
    example = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    wanted = jax.eval_shape(functools.partial(init_state.jitted, task, names), key, example)
    extra: set[Any] = {None}
    structure: Any = jax.tree.structure(wanted)
    if structure == jax.tree.structure(state):
        leaves = zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True)
        extra = {_axes_in_front(leaf, one.shape) for leaf, one in leaves}
    members = extra.pop()
    if members is None or extra or len(members) > 1:
        raise InputError(
            "Argument `state` must be a state of the task's members "
            f"{', '.join(names)} and of such inputs, as init_state or init_population gives it, "
            f"but is {shown(state)}."
        )
    return members[0] if members else None


def _axes_in_front(leaf: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The lengths of the axes in front of an array's expected shape; None for another array."""
    found: tuple[int, ...] | None = getattr(leaf, "shape", None)
    split = len(found or ()) - len(shape)
    return found[:split] if found is not None and split >= 0 and found[split:] == shape else None


@program(_check, static_argnames=("task", "names"), donate_argnames="state")
def fit_epoch(
    task: Task,
    names: tuple[str, ...],
    state: Any,
    key: Array,
    epoch: Int[Array, ""],
    train: Examples,
    validation: Examples,
) -> tuple[Any, dict[str, dict[str, Array]]]:
    """One epoch of some members of a task; see `Trainer.epoch`. The state's buffers are reused."""
    return task.trainer.epoch(task, chosen(task, names), state, key, epoch, train, validation)


@program(_check, static_argnames=("task", "names", "mesh"))
def init_population(
    task: Task,
    names: tuple[str, ...],
    keys: Array,
    numbers: Numbers,
    inputs: Array,
    mesh: Mesh | None = None,
) -> Any:
    """Fresh states of a population; each equals `init_state` of the member's key and numbers.

    Args:
        task: the task to learn.
        names: the members of the task that train; all start from the same key.
        keys: one for each member of the population, shape (members,).
        numbers: in which they differ.
        inputs: training examples, for their shape.
        mesh: devices over which the population is distributed, all its axes alike; None for one.

    Raises:
        InputError: if a length is not that of `keys`, or not a multiple of the devices.
    """

    def one(key: Array, numbers: Numbers) -> Any:
        own = with_numbers(task, numbers)
        return own.trainer.init(own, chosen(own, names), key, inputs[:1])

    return _mapped(one, (keys, dict(numbers)), mesh)


@program(
    _check,
    static_argnames=("task", "names", "mesh", "at_once"),
    donate_argnames="state",
)
def fit_population_epoch(
    task: Task,
    names: tuple[str, ...],
    state: Any,
    keys: Array,
    numbers: Numbers,
    epoch: Int[Array, ""],
    train: Examples,
    validation: Examples,
    mesh: Mesh | None = None,
    at_once: int | None = None,
) -> tuple[Any, dict[str, dict[str, Array]]]:
    """`fit_epoch` of a population. Its members are independent: a NaN stays in its member.

    Args:
        task: the task to learn.
        names: the members of the task that train.
        state: after `epoch` finished epochs; its buffers are reused.
        keys: one for each, shape (members,), or a single key, with which all see the same batches.
        numbers: in which they differ.
        epoch: how many epochs are finished.
        train: the training examples, the same for all.
        validation: examples to evaluate on after the epoch; may be empty.
        mesh: devices over which the population is distributed, all its axes alike; None for one.
        at_once: how many members a device trains in parallel, in sequential chunks; by default
            all. A few use the caches of a CPU best; memory may not allow more.

    Returns:
        The states and the metrics of the epoch, with a leading axis.

    Raises:
        InputError: if a length is not that of the state, or not a multiple of the devices.
    """

    def one(
        state: Any, key: Array, numbers: Numbers, epoch: Array, train: Any, validation: Any
    ) -> Any:
        own = with_numbers(task, numbers)
        return own.trainer.epoch(own, chosen(own, names), state, key, epoch, train, validation)

    at_once = 1 if _crashes_together(task, names) else at_once
    return _mapped(one, (state, keys, dict(numbers)), mesh, at_once, (epoch, train, validation))


def _crashes_together(task: Task, names: tuple[str, ...]) -> bool:
    """Do jaxlib 0.10's CPU programs of several members at once end in a segmentation fault?

    They do for some sums over more than seven axes, and the shots of least squares have an axis for
    members, one for restarts and points, and those of the state (`qnn_jax.simulate.xla`).
    """
    sampled = any(
        (member.execution or execution(task)).executor != "exact" for member in chosen(task, names)
    )
    return sampled and isinstance(task.trainer, LeastSquares)


def _mapped(
    function: Callable[..., Any],
    by_member: tuple[Any, ...],
    mesh: Mesh | None,
    at_once: int | None = None,
    shared: tuple[Any, ...] = (),
) -> Any:
    """Apply `function` to each member's part of `by_member` and to everything that is shared.

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
    # Under shard_map every device runs the program of its own members, without communication.
    # Its check refuses loops that begin with constants, as those of `LeastSquares` and of trainers
    # of one's own may, and there is nothing to check without communication.
    members, same = PartitionSpec(mesh.axis_names), PartitionSpec()
    return jax.shard_map(
        all_of_a_device,
        mesh=mesh,
        in_specs=(members, same, same),
        out_specs=members,
        check_vma=False,
    )(split, whole, shared)


def _in_chunks(function: Callable[[list[Array]], Any], split: list[Array], at_once: int) -> Any:
    """Apply `function` to a few members at a time, in equal chunks; the last one is padded."""
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


def _check_numbers(
    task: Task, members: int, keys: Any, numbers: Numbers, mesh: Mesh | None
) -> None:
    """Check that the numbers may vary within a program, and that lengths fit."""
    of_type("numbers", numbers, Mapping, "a mapping from fields of the task to numbers")
    with_numbers(task, numbers)
    if mesh is not None:
        of_type("mesh", mesh, Mesh, "a jax.sharding.Mesh or None")
    for name, value in numbers.items():
        if not isinstance(value, jax.core.Tracer | jax.ShapeDtypeStruct):
            checked_numbers(name, value)
    for name, value in (("keys", keys), *numbers.items()):
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
