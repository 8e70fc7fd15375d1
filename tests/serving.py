"""Servers of tests, each in a thread."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import TypeVar

Server = TypeVar("Server", bound=http.server.HTTPServer)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Answer requests until the block ends, and those that hang then."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            if over := getattr(server, "over", None):
                over.set()
            server.shutdown()
            thread.join()
