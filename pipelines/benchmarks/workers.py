"""A process that answers lines of JSON with lines of JSON, within a time limit."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Importing another simulator takes seconds; after this time it counts as hanging.
START_SECONDS = 180.0
ROOT = Path(__file__).parents[2]


class WorkerError(Exception):
    """The engine reported an error, or its process ended."""


class WorkerTimeoutError(Exception):
    """There was no answer in time; the process has been stopped."""


class Worker:
    """One engine's process, started on first use and again after it was stopped."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self.command = [str(word) for word in command]
        self.versions: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The reply to a request.

        Raises:
            WorkerTimeoutError: after `seconds`; the process is stopped then.
            WorkerError: if the engine reports an error, or its process has ended.
        """
        if self._process is None:
            self.start()
        return self._ask(request, seconds)

    def start(self) -> None:
        """Start the process and wait until it has imported what it needs; not timed."""
        if self._process is not None:
            return
        environment = {
            # The other simulators' wheels compute on the CPU, so ours does too.
            "JAX_PLATFORMS": "cpu",
            **os.environ,
            "PYTHONPATH": str(ROOT),
            # First calls must compile.
            "JAX_ENABLE_COMPILATION_CACHE": "false",
        }
        lines: queue.Queue[str] = queue.Queue()
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment,
            text=True,
        )
        self._process, self._lines = process, lines
        assert process.stdout is not None
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        self.versions = self._ask({"ask": "versions"}, START_SECONDS)

    def stop(self) -> None:
        """End the process in any state."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._lines.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            self.stop()
            raise WorkerTimeoutError from None
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            self.stop()
            raise WorkerError(f"its process ended with status {status}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply


def _read(stream: Any, lines: queue.Queue[str]) -> None:
    """Pass every line on, and an empty one at the end."""
    try:
        for line in stream:
            lines.put(line)
    except ValueError:
        pass  # closed while it was read: the process has been stopped
    lines.put("")
