"""All devices of all processes as one axis, over which the members of a scan are distributed.

Members are independent, so devices do not communicate while they train. After every epoch all
processes exchange their metrics; this detects that another process has ended.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.studies.meeting import check_meeting, meet

_SECONDS_TO_MEET = 120
_HEARTBEAT_SECONDS = 10
_SECONDS_TO_PART = 600  # the first process evaluates and draws while the others wait
_LOST = ("gloo", "coordination", "heartbeat", "connection", "unavailable", "deadline", "barrier")


class Cluster:
    """The devices of all processes.

    Attributes:
        mesh: all devices in one axis.
        processes: how many processes there are.
        first: whether this is the process that writes files and prints.
    """

    def __init__(self) -> None:
        self.mesh = Mesh(np.array(jax.devices()), ("members",), axis_types=(AxisType.Auto,))
        self.processes, self.first = jax.process_count(), jax.process_index() == 0

    def spread(self, tree: Any) -> Any:
        """Distribute arrays with a leading member axis over the devices."""
        return self._put(tree, PartitionSpec("members"))

    def repeat(self, tree: Any) -> Any:
        """Copy whole arrays to every device."""
        return self._put(tree, PartitionSpec())

    def _put(self, tree: Any, spec: PartitionSpec) -> Any:
        sharding = NamedSharding(self.mesh, spec)

        def put(leaf: Any) -> jax.Array:
            array = np.asarray(leaf)
            return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

        return jax.tree.map(put, tree)

    def keys(self, seeds: np.ndarray | jax.Array) -> jax.Array:
        """A random key for each seed, distributed; one key for all without a member axis."""
        if not seeds.ndim:
            return jax.random.key(jnp.asarray(seeds)) if self.processes == 1 else self._key(seeds)
        make = jax.jit(
            jax.vmap(jax.random.key),
            out_shardings=NamedSharding(self.mesh, PartitionSpec("members")),
        )
        return make(self.spread(seeds))

    def _key(self, seed: np.ndarray | jax.Array) -> jax.Array:
        same = NamedSharding(self.mesh, PartitionSpec())
        return jax.jit(jax.random.key, out_shardings=same)(self.repeat(seed))

    def gather(self, tree: Any) -> Any:
        """Arrays of all devices as NumPy arrays, in every process."""
        if self.processes == 1:
            return jax.tree.map(np.asarray, tree)
        return multihost_utils.process_allgather(tree, tiled=True)

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process."""
        if self.processes == 1:
            return flag
        return bool(np.any(multihost_utils.process_allgather(np.array(flag))))

    def told_by_first(self, tell: Callable[[], Any]) -> Any:
        """The first process's result, a value with a form in JSON, in every process.

        Raises:
            InputError: in every process, if the first one raises it.
        """
        if self.processes == 1:
            return tell()
        error, value = None, None
        if self.first:
            try:
                value = tell()
            except InputError as refused:
                error = str(refused)
        text = json.dumps([error, value]).encode()
        length = int(multihost_utils.broadcast_one_to_all(np.array(len(text))))
        padded = np.zeros(length, np.uint8)
        if self.first:
            padded[:] = np.frombuffer(text, np.uint8)
        error, value = json.loads(
            np.asarray(multihost_utils.broadcast_one_to_all(padded)).astype(np.uint8).tobytes()
        )
        if error is not None:
            raise InputError(error)
        return value

    def arrays_of_first(self, tree: Any) -> Any:
        """The first process's arrays in every process; shapes must be equal."""
        if self.processes == 1:
            return tree
        return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))


@contextmanager
def join(
    devices: int = 0,
    coordinator: str | None = None,
    num_processes: int = 1,
    process_id: int = 0,
    start: Callable[[], object] = jax.devices,
) -> Iterator[Cluster]:
    """Connect to the other processes, if there are any, and disconnect at the end.

    Must be called before JAX initialises its devices.

    `coordinator` is host:port of process 0, or "auto"; None for a single process. `start`
    initialises the devices once their number is known; 0 `devices` are one per core.

    Raises:
        InputError: if these arguments are inconsistent.
        TrainingFailedError: if not all processes connect.
    """
    check_meeting(devices, coordinator, num_processes, process_id)
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", devices or cores())
    if coordinator is None:
        start()
        yield Cluster()
        return
    _meet(coordinator, num_processes, process_id)
    start()
    try:
        yield Cluster()
    except (InputError, TrainingFailedError):
        raise
    except Exception as error:
        _leave_at_once(error)
    jax.distributed.shutdown()


def _meet(coordinator: str, processes: int, process: int) -> None:
    options: dict[str, Any] = {
        "initialization_timeout": _SECONDS_TO_MEET,
        "heartbeat_timeout_seconds": _HEARTBEAT_SECONDS,
        "shutdown_timeout_seconds": _SECONDS_TO_PART,
    }
    # A process that dies between `meet` and the end of `initialize` ends the others with XLA's own
    # message and SIGABRT: the native client aborts where its connection or a heartbeat fails.
    # jaxlib's client has a callback for missed heartbeats, but `jax.distributed.initialize` of
    # 0.10.2 does not pass one on, and Python code does not run while `initialize` waits.
    # JAX's handler for SIGTERM would replace the one of the commands.
    jax.config.update("jax_enable_preemption_service", False)
    if coordinator != "auto":
        meet(coordinator, processes, process, _SECONDS_TO_MEET)
        # The coordinator listens on the given address, not on every interface.
        listen = coordinator if process == 0 else None
        options |= {
            "coordinator_address": coordinator,
            "num_processes": processes,
            "process_id": process,
            "coordinator_bind_address": listen,
        }
    try:
        jax.distributed.initialize(**options)
    except (RuntimeError, ValueError) as error:
        raise TrainingFailedError(
            f"Not all processes of the scan connected within {_SECONDS_TO_MEET} s "
            f"({str(error).splitlines()[0]}); start all of them with the same arguments and the "
            "same `coordinator`, each with its own `process_id`."
        ) from error


def _leave_at_once(error: Exception) -> None:
    """End this process: a normal exit would wait for the others."""
    if any(word in str(error).lower() for word in _LOST):
        sys.stderr.write(
            "Stopped: another process of the scan has ended, so this one cannot continue "
            f"({str(error).splitlines()[0][:200]}); every finished epoch is saved, and the same "
            "commands continue from there.\n"
        )
    else:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def cores() -> int:
    """The cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
