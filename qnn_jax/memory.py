"""How much memory this machine has for us. No JAX here: commands ask before it loads."""

from __future__ import annotations

import os
import resource
from pathlib import Path

#: The most qubits that are simulated: amplitudes are numbered by 32-bit integers.
MAX_SIMULATED_QUBITS = 30
#: Where Linux says how much memory a container may use, in its second and its first version.
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
#: Where Linux says how many pages this process has reserved.
_OWN_PAGES = Path("/proc/self/statm")


def machine_bytes() -> int:
    """The memory of this machine in bytes; of a container what it may use.

    Under a limit of the shell (`ulimit -v`) what is left of it, as Python and JAX reserve some.
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
