"""A lock among processes that waits, and ends with its holder."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the file `path` as a lock among processes; `waiting` is called if another has it.

    The kernel frees the lock when its holder dies, however it dies. Links are not followed. The
    file is removed at the end, so that in a shared folder no file of one user is in another's way.
    """
    # Imported here, since data that are cached need no lock.
    from filelock import FileLock, Timeout

    # Without flock a lock would be a mere file, which outlives a process that is killed.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        # A waiting process creates the removed file again.
        path.unlink(missing_ok=True)
        lock.release()
