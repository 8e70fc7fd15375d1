"""A web server on this machine that fails on request."""

import dataclasses
import http.server
import threading


class Server(http.server.ThreadingHTTPServer):
    """Answers each request for a file with the next of `answers[name]`, repeating the last one."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = {}
        self.requests = []
        self.over = threading.Event()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def offer(self, tiny):
        """Answer with the archives of `tiny`."""
        for name in tiny.names:
            self.answers[name] = [Answer((tiny.folder / name).read_bytes())]

    def handle_error(self, request, client_address):
        """Ignore clients that have disconnected."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """`body` with `status`; the header has `length`; `stall` sends nothing after it."""

    body: bytes = b""
    status: int = 200
    length: int | None = None
    stall: bool = False


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        self.server.requests.append(name)
        answers = self.server.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(answer.status)
        length = len(answer.body) if answer.length is None else answer.length
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()
        if answer.stall:
            self.server.over.wait()

    def log_message(self, *_):
        pass
