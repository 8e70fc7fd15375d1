"""Stop between epochs on the first signal, at once on the second; or at once in any case."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Self

# The exit codes: a shell's convention for Ctrl-C; EX_TEMPFAIL, so that a scheduler reruns the job.
_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}


class _SignalWatch:
    """Within the `with` block, a thread handles Ctrl-C and SIGTERM as soon as they arrive.

    Must be entered in the main thread, else ValueError; an ignored signal stays ignored.
    """

    def __init__(self) -> None:
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _EXIT_CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._on_signal)
        # Python runs handlers between bytecodes of the main thread, which may be inside one long
        # XLA call; the bytes in this pipe arrive immediately.
        read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._outer_wakeup = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, args=(read_end,), daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._outer_wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._write_end)  # ends the watching thread
        self._watcher.join()

    def _watch(self, read_end: int) -> None:
        while received := os.read(read_end, 1):
            if received[0] in _EXIT_CODES:
                self._arrived(signal.Signals(received[0]))
        os.close(read_end)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Runs in the main thread, possibly later."""

    def _arrived(self, number: signal.Signals) -> None:
        """Runs in the watching thread, at once."""
        raise NotImplementedError


class GracefulStop(_SignalWatch):
    """Within the `with` block, Ctrl-C and SIGTERM only set `requested`.

    The training loop checks it between epochs, saves, and exits with `exit_code` (130 after
    Ctrl-C, 75 after SIGTERM, 0 if nothing was requested). A second Ctrl-C ends the process with
    130 at once. `notify` is called once, from another thread, when the first signal arrives.
    Must be entered in the main thread, else ValueError; an ignored signal stays ignored.
    """

    def __init__(self, notify: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.exit_code = 0
        self._notify = notify
        self._interrupts = 0

    @property
    def requested(self) -> bool:
        """True after the first signal."""
        return self.exit_code != 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.exit_code = self.exit_code or _EXIT_CODES[signal.Signals(number)]

    def _arrived(self, number: signal.Signals) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts == 2:
            os._exit(_EXIT_CODES[signal.SIGINT])
        notify, self._notify = self._notify, None
        if notify:
            notify()


class ImmediateStop(_SignalWatch):
    """Within the `with` block, Ctrl-C and SIGTERM end the process at once, with 130 or 75.

    `words` are written to standard error before. No exception is raised: KeyboardInterrupt is lost
    inside a callback of JAX, and a normal interpreter exit while XLA's threads are running
    ends in a segmentation fault. So nothing is unwound, as after SIGKILL: use this only where
    files are complete at every moment. Must be entered in the main thread, else ValueError; an
    ignored signal stays ignored.
    """

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def _arrived(self, number: signal.Signals) -> None:
        with suppress(OSError):  # standard error may be closed
            # Not print: the main thread may hold the lock of a stream. Bytes of a command line
            # that are not UTF-8 are written unchanged.
            os.write(2, f"{self._words}\n".encode("utf-8", "surrogateescape"))
        os._exit(_EXIT_CODES[number])
