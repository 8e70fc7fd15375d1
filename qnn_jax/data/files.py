"""Files that are either whole or absent, and a lock that dies with its holder."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def write_atomically(path: Path, *chunks: bytes | memoryview) -> None:
    """Write `chunks` to `path`, which at no moment holds less than all of them.

    A process killed on the way leaves at most `<path>.part`, which the next call replaces; two
    processes that write the same path at once need a lock. Links of either name are replaced, not
    followed.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            # Without it a power cut can leave the new name on an empty file.
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the file `path` as a lock among processes; `waiting` is called if another has it.

    The kernel frees the lock when its holder dies, however it dies. The file is removed at the
    end, so whoever gets the lock makes sure that it is still the file of that name.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_file(descriptor, path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
