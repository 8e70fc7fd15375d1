"""The memory available on this machine. Imports no JAX: commands call it before JAX loads."""

from __future__ import annotations

import os
import resource
from pathlib import Path

#: Maximum number of simulated qubits: amplitudes have 32-bit indices.
MAX_SIMULATED_QUBITS = 30
#: The memory limit of a Linux container (cgroups v2 and v1).
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
#: The number of pages that Linux has reserved for this process.
_OWN_PAGES = Path("/proc/self/statm")


def machine_bytes() -> int:
    """The memory of this machine in bytes, or a container's limit.

    Under a limit of the shell (`ulimit -v`) the rest of it, as Python and JAX already use some.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    there = os.sysconf("SC_PHYS_PAGES") * page
    for file in _CONTAINER_LIMITS:
        try:
            limit = file.read_text().strip()
        except OSError:
            continue
        there = min(there, int(limit)) if limit.isdecimal() else there  # else "max"
    of_shell, _ = resource.getrlimit(resource.RLIMIT_AS)
    if of_shell != resource.RLIM_INFINITY:
        try:
            used = int(_OWN_PAGES.read_text().split()[0]) * page
        except OSError:
            used = 0
        there = min(there, max(of_shell - used, 0))
    return there
