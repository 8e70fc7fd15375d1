"""Connect all processes of a scan over TCP before JAX connects them.

If the port is taken or a process is missing, JAX's own start-up ends the process by a signal, which
Python code cannot handle. So the processes first connect here, on the port that JAX then uses: each
sends the number of processes and its own index, and all continue once process 0 has received all.
"""

from __future__ import annotations

import itertools
import re
import socket
import time
from contextlib import ExitStack, suppress
from typing import Any

from qnn_jax.circuits.checks import at_least
from qnn_jax.errors import InputError, TrainingFailedError

_HELLO = "qnn_jax scan: process {process} of {processes}\n"
_HELLO_PATTERN = re.compile(rb"qnn_jax scan: process (\d{1,9}) of (\d{1,9})\n")
_GO, _LONGEST = b"go\n", 100
_SECONDS_TO_SPEAK = 5.0  # a client that connects and sends nothing is not part of the scan
_PAUSE = 0.2


def check_meeting(
    devices: int, coordinator: str | None, num_processes: int, process_id: int
) -> None:
    """Check the arguments before JAX loads; they are those of `cluster.join`."""
    at_least("devices", devices, 0)
    at_least("num_processes", num_processes, 1)
    at_least("process_id", process_id, 0)
    if process_id >= num_processes and coordinator != "auto":
        raise InputError(
            f"Argument `process_id` must be below `num_processes`, {num_processes}, but is "
            f"{process_id}."
        )
    if num_processes > 1 and coordinator is None:
        raise InputError(
            "Argument `coordinator` must be given for several processes, as in 10.0.0.1:54100, "
            "but is not."
        )
    host, _, port = (coordinator or "auto").rpartition(":")
    if (host, port) != ("", "auto") and not (
        host and port.isdecimal() and len(port) < 6 and 0 < int(port) < 2**16
    ):
        raise InputError(
            f"Argument `coordinator` must be HOST:PORT or auto, but is {coordinator!r}."
        )


def meet(coordinator: str, processes: int, process: int, seconds: float) -> None:
    """Return once all processes have connected.

    Raises:
        InputError: if the port is not free, the host is unknown, or another process has another
            number of processes, or the same index as this one.
        TrainingFailedError: if not all connect in time.
    """
    deadline = time.monotonic() + seconds
    host, _, port = coordinator.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"Argument `coordinator` must name a host that is known here, but is "
            f"{coordinator!r} ({error})."
        ) from None
    family, address = found[0][0], found[0][4]
    try:
        if process:
            _come(family, address, processes, process, deadline)
        else:
            _wait_for_all(family, address, processes, deadline)
    except TimeoutError as missing:
        raise TrainingFailedError(
            f"Not all processes of the scan connected at {coordinator} within {seconds:g} s "
            f"({missing}); start all of them with the same arguments and the same `coordinator`, "
            "each with its own `process_id`."
        ) from None


def _wait_for_all(family: int, address: Any, processes: int, deadline: float) -> None:
    """Process 0: wait for all others, then release them."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        # A half-closed connection of an earlier scan must not block the port; a listener must.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(processes)
        except OSError as error:
            raise InputError(
                "Argument `coordinator` must be a free port of the machine of process 0, but "
                f"{address[0]}:{address[1]} cannot be taken ({error.strerror}); give all processes "
                "another one."
            ) from None
        there: dict[int, socket.socket] = {}
        while missing := _missing(there, processes):
            # A process that connected and gave up just before the deadline counts as missing.
            never = [number for number in missing if number not in there] or missing
            listener.settimeout(_left(deadline, f"{_named(never)} did not connect"))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue  # the deadline has passed, which _left reports
            stack.enter_context(connection)
            said = _line(connection, min(deadline, time.monotonic() + _SECONDS_TO_SPEAK))
            if (hello := _HELLO_PATTERN.fullmatch(said)) is None:
                connection.close()
                continue
            number, theirs = int(hello[1]), int(hello[2])
            if theirs != processes:
                refusal = (
                    "Argument `num_processes` must be the same in all processes, but is "
                    f"{processes} in process 0 and {theirs} in process {number}."
                )
                _send(connection, f"{refusal}\n".encode())
                raise InputError(refusal)
            if number in there and not _is_closed(there[number]):
                refusal = (
                    "Argument `process_id` must be another one in each process, but is "
                    f"{number} in two of them."
                )
                _send(connection, f"{refusal}\n".encode())
                continue
            there[number] = connection
        for connection in there.values():
            _send(connection, _GO)


def _missing(there: dict[int, socket.socket], processes: int) -> list[int]:
    """The processes that have not connected, or have disconnected."""
    return [n for n in range(1, processes) if n not in there or _is_closed(there[n])]


def _come(family: int, address: Any, processes: int, process: int, deadline: float) -> None:
    """Any other process: connect to process 0 and wait until it releases this one."""
    reason = "process 0 cannot be reached"
    for attempt in itertools.count():
        time.sleep(_PAUSE if attempt else 0)  # process 0 may not have started, or be restarting
        left = _left(deadline, reason)
        with socket.socket(family) as connection, suppress(OSError):
            connection.settimeout(left)
            connection.connect(address)
            if connection.getsockname() == connection.getpeername():
                continue  # a free port of this machine can be connected to itself
            reason = "another process did not connect"
            _send(connection, _HELLO.format(process=process, processes=processes).encode())
            answer = _line(connection, deadline)
            if answer == _GO:
                return
            if answer.startswith(b"Argument `"):
                raise InputError(answer.decode(errors="replace").strip())
            if answer:
                raise InputError(
                    "Argument `coordinator` must be where process 0 of the scan waits, but at "
                    f"{address[0]}:{address[1]} something else answers."
                )


def _left(deadline: float, reason: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(reason)
    return left


def _line(connection: socket.socket, deadline: float) -> bytes:
    """The text up to the end of the line; less if it ends early, pauses or is too long."""
    said = b""
    with suppress(OSError):
        while not said.endswith(b"\n") and len(said) < 4 * _LONGEST:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            if not (more := connection.recv(_LONGEST)):
                break
            said += more
    return said


def _send(connection: socket.socket, words: bytes) -> None:
    with suppress(OSError):  # a process that has ended by now is detected later
        connection.sendall(words)


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other side has disconnected; it never sends a second line."""
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _named(numbers: list[int]) -> str:
    return f"process{'es' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
