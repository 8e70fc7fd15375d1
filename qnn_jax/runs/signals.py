"""Stop between epochs when asked, at once when asked twice."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

# What a shell expects after Ctrl-C; EX_TEMPFAIL, which tells a scheduler to run the job again.
_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}


class GracefulStop:
    """Within the `with` block, Ctrl-C and SIGTERM only set `requested`.

    The training loop asks for it between epochs, saves, and leaves with `exit_code` (130 after
    Ctrl-C, 75 after SIGTERM, 0 if nothing was requested). A second Ctrl-C ends the process with
    130 at once. `notify` is called once, from another thread, when the first signal arrives. To
    be entered in the main thread, else ValueError; a signal that is ignored stays ignored.
    """

    def __init__(self, notify: Callable[[], None] | None = None) -> None:
        self.exit_code = 0
        self._notify = notify
        self._handlers: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """True from the first signal on."""
        return self.exit_code != 0

    def __enter__(self) -> Self:
        for number in _EXIT_CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._on_signal)
        # Python runs handlers between bytecodes of the main thread, which may be inside one long
        # XLA call; the bytes in this pipe come at once.
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
        os.close(self._write_end)  # ends the watcher
        self._watcher.join()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.exit_code = self.exit_code or _EXIT_CODES[signal.Signals(number)]

    def _watch(self, read_end: int) -> None:
        interrupts, notify = 0, self._notify
        while received := os.read(read_end, 1):
            interrupts += received[0] == signal.SIGINT
            if interrupts == 2:
                os._exit(_EXIT_CODES[signal.SIGINT])
            if notify and received[0] in _EXIT_CODES:
                notify()
                notify = None
        os.close(read_end)
