"""Where the circuit of a network runs in training: a task's field `execution`. No JAX here."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from qnn_jax.bridge.backend_names import check_fake_backend
from qnn_jax.circuits.checks import at_least, of_type, one_of
from qnn_jax.configs import ExecutionConfig
from qnn_jax.errors import InputError
from qnn_jax.hardware.twin_file import is_twin_file, read_twin

if TYPE_CHECKING:
    from qnn_jax.executors import Executor
    from qnn_jax.training.task import Member


def check_execution(config: Any) -> None:
    """Refuse what names no executor, in one sentence, before JAX loads."""
    of_type("execution", config, ExecutionConfig, "an ExecutionConfig")
    kinds = get_args(get_type_hints(ExecutionConfig)["executor"])
    executor = one_of("executor", config.executor, kinds)
    if config.shots is not None:
        at_least("shots", config.shots, 1)
    if executor == "exact" and config.shots is not None:
        raise InputError(
            "Argument `shots` must be left out where `executor` is exact, but is "
            f"{config.shots}; sampled takes shots, and so does noisy."
        )
    if executor == "sampled" and config.shots is None:
        raise InputError(
            "Argument `shots` must be given where `executor` is sampled, but is not; 1024 is usual."
        )
    if executor == "noisy" and config.noise is None:
        raise InputError(
            "Argument `noise` must name a fake backend or a device.json where `executor` is noisy, "
            "but is left out; FakeFez is one."
        )
    if executor != "noisy" and config.noise is not None:
        raise InputError(
            f"Argument `noise` must be left out where `executor` is {executor}, but is "
            f"{config.noise!r}; the executor noisy takes it."
        )
    if config.noise is not None and is_twin_file(config.noise):
        read_twin(config.noise)
    elif config.noise is not None:
        check_fake_backend(config.noise)


@functools.cache
def executor_of(config: ExecutionConfig) -> Executor:
    """The executor that a configuration names."""
    from qnn_jax.executors import exact, sampled

    check_execution(config)
    if config.noise is not None and is_twin_file(config.noise):
        from qnn_jax.hardware.twin import DeviceTwin

        return DeviceTwin.load(config.noise).executor(config.shots)
    if config.executor == "noisy":
        from qnn_jax.bridge import noisy

        return noisy(config.noise, config.shots)
    return exact if config.shots is None else sampled(config.shots)


def execution(task: Any) -> ExecutionConfig:
    """Where a task's circuits run in training: exactly, where it does not say."""
    return getattr(task, "execution", ExecutionConfig())


def placed(task: Any, member: Member) -> Member:
    """A member whose circuit, if it has one, runs where the task, or the member itself, says.

    Under `jax.set_mesh` of a mesh with an axis "state" its states are spread over that axis, and
    samples over "data". The mesh is of the machine, not of the task: it changes no number.

    Raises:
        InputError: where the member's network cannot be given an executor.
    """
    config = member.execution or execution(task)
    network: Any = member.network
    if not hasattr(network, "circuit"):
        return member
    spread = _is_spread()
    if spread and config.executor != "exact":
        raise InputError(
            f"Argument `mesh` must be left out where `executor` is {config.executor}: only exact "
            "states are spread over devices."
        )
    if config.executor == "exact" and not spread:
        return member
    if not hasattr(network, "executor"):
        raise InputError(
            f"Argument `executor` must be exact for a network without a field `executor`, as "
            f"{type(network).__name__} is, but is {config.executor}."
        )
    executor = _over_ambient_mesh() if spread else executor_of(config)
    return member._replace(network=network.clone(executor=executor))


def _is_spread() -> bool:
    import jax
    from jax.sharding import AxisType

    mesh = jax.sharding.get_abstract_mesh()
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    return kinds.get("state", AxisType.Manual) != AxisType.Manual


@functools.cache
def _over_ambient_mesh() -> Executor:
    from qnn_jax.executors import exact

    return functools.partial(exact, mesh="ambient")


def in_words(config: ExecutionConfig) -> str:
    """What is simulated, as part of a sentence."""
    shots = "" if config.shots is None else f"with {config.shots:,} shots"
    if config.executor == "noisy":
        return f"simulated with the errors of {config.noise}, {shots or 'without shots'}"
    if config.executor == "sampled":
        return f"simulated {shots}, without noise"
    return "simulated exactly (statevector, no shots, no noise)"
