"""IBM Quantum on this machine: its REST API for the real client, with faults on request.

Environment variables direct the client here (`IbmServer.environment`). Payloads are checked by
IBM's own schemas and run by Aer. The answers have the form that qiskit-ibm-runtime 0.51
reads; they have not been compared with a live server.
"""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import html
import http.server
import itertools
import json
import re
import threading
import time
import traceback
import urllib.parse
from pathlib import Path

import jwt
import qiskit_ibm_runtime.fake_provider.backends as fakes
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.executor.version_2_0 import (
    MetadataModel,
    ParamsModel,
    QuantumProgramResultItemModel,
    QuantumProgramResultModel,
)
from ibm_quantum_schemas.executor.version_2_0.models import ItemMetadataModel
from pydantic import ValidationError
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider.executor.run_quantum_program import run_quantum_program
from qiskit_ibm_runtime.options_models import SimulatorOptions
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS

CRN = f"crn:v1:bluemix:public:quantum-computing:us-east:a/{'0' * 32}:{'1' * 8}-0000::"
TOKEN = "canary-3f9a1c77e2"  # must never be printed or stored


@dataclasses.dataclass
class Fault:
    """Applies a fault to the next `times` requests whose "METHOD path" `where` matches.

    With `after`, the request is carried out first. `kind` is a status, or "drop" (the connection),
    "hang" (no answer until the server ends), "cut" (the body stops half way), an `Answer`, an
    `Echo` or a function of the body. With `until`, it lasts to that time of the server's clock,
    for any number of requests.
    """

    where: str
    kind: object
    times: int = 1
    after: bool = False
    headers: dict = dataclasses.field(default_factory=dict)
    until: float | None = None


@dataclasses.dataclass
class Answer:
    """A status and a body chosen by the test."""

    status: int
    body: bytes


@dataclasses.dataclass
class Echo:
    """Answers `status` and repeats all secrets, in a body of `form` and in headers."""

    status: int
    form: str = "json"

    def answer(self, secrets):
        text = "; ".join(secrets)
        if self.form == "html":
            return f"<html><body>{html.escape(text)}</body></html>".encode()
        if self.form == "escaped":  # letter by letter, which a search in the bytes does not find
            text = "".join(f"\\u{ord(letter):04x}" for letter in text)
            return f'{{"errors": [{{"message": "{text}", "code": 9999}}]}}'.encode()
        if self.form == "parts":
            return json.dumps({"error": dict.fromkeys(secrets, secrets)}).encode()
        return json.dumps({"errors": [{"message": text, "code": 9999}]}).encode()


def encodings(secret):
    """The forms in which a credential is sent or may be repeated."""
    yield from (secret, f"Bearer {secret}", f"apikey={urllib.parse.quote_plus(secret)}")
    yield from (json.dumps(f"{secret} é")[1:-1], html.escape(secret), repr(secret))
    for before in ("", "u", "user:"):
        yield base64.b64encode(f"{before}{secret}".encode()).decode()


class Trap(http.server.ThreadingHTTPServer):
    """Another host, the target of redirects. It records requests in `received`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _TrapHandler)
        self.received = []

    @property
    def address(self):
        return f"http://localhost:{self.server_address[1]}"


class _TrapHandler(http.server.BaseHTTPRequestHandler):
    def respond(self):
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append((self.command, self.path, str(self.headers), data))
        body = b'{"access_token": "theirs", "id": "theirs", "jobs": [], "count": 0}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815

    def log_message(self, *_):
        pass


@dataclasses.dataclass
class ServerJob:
    id: str
    body: dict
    created: float
    seconds: float
    outcome: str
    size: int  # of the submission, in bytes
    over: str | None = None  # the final status once it is known

    def status(self, now):
        if self.over is None and now >= self.created + self.seconds:
            self.over = self.outcome
        if self.over is not None:
            return self.over
        return "Running" if now > self.created + self.seconds / 2 else "Queued"


class IbmServer(http.server.ThreadingHTTPServer):
    """On `clock`, a job takes `seconds`, and the list misses it for `lag`."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, seed=7):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seed = seed
        self.over = threading.Event()
        self.lock = threading.RLock()
        self._results = {}
        self.reset()

    def reset(self):
        """Forget all jobs, faults and logins."""
        self.clock = time.time
        self.token, self.login_error = TOKEN, "Provided API key could not be found."
        self.logins = set()
        self.jobs, self.faults, self.requests = {}, [], []
        self.invalid, self.crashes = [], []
        self.sessions = {}
        self.outcomes = []  # of the next jobs; Completed once it is empty
        self.copies = 1  # jobs that one submission makes
        self.seconds, self.lag = 0.0, 0.0
        self.backends = {"ibm_fez": "active", "ibm_marrakesh": "active"}
        self.used, self.limit, self.limit_reached = 12.0, 600.0, False
        self.reason = "The qubits are cold."  # of a job that fails
        self.calibrations = []  # ISO dates; without any, that of the machine's description
        self.api_keys_seen = 0  # requests that carried the API key instead of a login
        self._ids = itertools.count(1)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def environment(self, home, **changes):
        """The environment variables that direct the client here."""
        return {
            "QISKIT_IBM_TOKEN": TOKEN,
            "QISKIT_IBM_INSTANCE": CRN,
            "QISKIT_IBM_URL": f"{self.address}/experimental",  # the client leaves this URL as it is
            "IAM_URL": self.address,
            "GLOBAL_SEARCH_URL": self.address,
            "GLOBAL_CATALOG_URL": f"{self.address}/api/v1",
            "NO_PROXY": "*",
            "HOME": str(home),
            "USAGE_DATA_OPT_OUT": "True",  # else the client inspects the stack at each request
            **changes,
        }

    def spoil(self, where, kind, **fields):
        self.faults.append(Fault(where, kind, **fields))

    def count(self, where):
        """How many requests there were whose "METHOD path" matches."""
        return sum(bool(re.fullmatch(where, request)) for request in self.requests)

    def completed(self):
        """The jobs that have run, and were paid for."""
        return [j for j in self.jobs.values() if j.status(self.clock()) == "Completed"]

    def live(self):
        return [j for j in self.jobs.values() if j.status(self.clock()) in ("Queued", "Running")]

    def secrets(self):
        """All secrets: the API key and every login that was issued for it."""
        return [form for secret in (self.token, *self.logins) for form in encodings(secret)]

    def revoke(self):
        """Invalidate all logins issued so far."""
        self.logins.clear()

    def handle_error(self, request, client_address):
        """Record errors of this server that no test has requested."""
        self.crashes.append(traceback.format_exc())

    # API methods: (status, JSON or text)

    def login(self, form):
        if form.get("apikey") != [self.token]:
            return 400, {"errorCode": "BXNIM0415E", "errorMessage": self.login_error}
        now = int(time.time())
        claims = {"iat": now, "exp": now + 3600, "n": next(self._ids)}
        login = jwt.encode(claims, "k" * 32, algorithm="HS256")
        self.logins.add(login)
        return 200, {
            "access_token": login, "refresh_token": "none", "token_type": "Bearer",
            "expires_in": 3600, "expiration": claims["exp"],
        }  # fmt: skip

    def submit(self, body, size):
        try:
            assert body["program_id"] == "executor", body["program_id"]
            ParamsModel.model_validate(body["params"])
        except (ValidationError, AssertionError, KeyError) as error:
            self.invalid.append(str(error))
            return 400, {"errors": [{"message": "The payload is invalid.", "code": 1200}]}
        if body.get("session_id") and not self.sessions[body["session_id"]]["accepting_jobs"]:
            return 400, {"errors": [{"message": "The session is closed.", "code": 1217}]}
        for _ in range(self.copies):
            job_id = f"job{next(self._ids):04d}"
            outcome = self.outcomes.pop(0) if self.outcomes else "Completed"
            self.jobs[job_id] = ServerJob(job_id, body, self.clock(), self.seconds, outcome, size)
        return 200, {"id": job_id, "backend": body["backend"]}

    def list_jobs(self, query):
        tags = set(query.get("tags", []))
        found = [
            job
            for job in self.jobs.values()
            if tags <= set(job.body.get("tags", [])) and self.clock() >= job.created + self.lag
        ]
        if query.get("sort") != ["ASC"]:
            found.reverse()
        offset, limit = (int(query.get(k, [d])[0]) for k, d in (("offset", 0), ("limit", 20)))
        page = found[offset : offset + limit]
        return 200, {"jobs": [self.describe(job) for job in page], "count": len(found)}

    def describe(self, job):
        status = job.status(self.clock())
        reason = {"reason": self.reason, "reason_code": 1517}
        return {
            "id": job.id, "backend": job.body["backend"], "program": {"id": "executor"},
            "state": {"status": status, **(reason if status == "Failed" else {})},
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(job.created)),
            "tags": job.body.get("tags", []), "session_id": job.body.get("session_id"),
            "private": False, "estimated_running_time_seconds": 3.0,
        }  # fmt: skip

    def results(self, job):
        if job.status(self.clock()) != "Completed":
            return 404, {"errors": [{"message": "Job result not found.", "code": 1291}]}
        params = json.dumps(job.body["params"])
        key = hashlib.sha256(params.encode()).hexdigest(), self.seed
        with self.lock:
            if key not in self._results:
                self._results[key] = simulate(params, self.seed)
        return 200, self._results[key]

    def answer(self, method, path, query, data):
        """Route one request."""
        body = json.loads(data) if data else {}
        head, _, rest = path.strip("/").partition("/")
        last = rest.rpartition("/")[2]
        if head == "backends" and not rest:
            rows = [
                {"name": n, "status": {"name": "online" if s == "active" else "offline"},
                 "qubits": 156, "queue_length": i, "physical_qubits": 156}
                for i, (n, s) in enumerate(self.backends.items())
            ]  # fmt: skip
            return 200, {"devices": rows}
        if head == "backends":
            name = rest.partition("/")[0]
            if name not in self.backends:
                return 404, {"errors": [{"message": "Backend not found.", "code": 1217}]}
            if last == "status":
                status = self.backends[name]
                return 200, {
                    "state": status in ("active", "paused"), "status": status,
                    "length_queue": 3, "backend_version": "1.0",
                }  # fmt: skip
            told = description(name, {"configuration": "conf", "properties": "props"}[last])
            if last == "properties" and self.calibrations:
                before = query.get("updated_before", ["9999"])[0]
                dates = [date for date in self.calibrations if date <= before]
                told = {**told, "last_update_date": max(dates, default=self.calibrations[0])}
            return 200, told
        if (head, rest) == ("instances", "usage"):
            return 200, {
                "usage_consumed_seconds": self.used, "usage_limit_seconds": self.limit,
                "usage_limit_reached": self.limit_reached or self.used >= self.limit,
            }  # fmt: skip
        if head == "sessions":
            return self.answer_session(method, rest.partition("/")[0], body)
        if head == "jobs" and not rest:
            return self.submit(body, len(data)) if method == "POST" else self.list_jobs(query)
        job = self.jobs.get(rest.partition("/")[0])
        if head != "jobs" or job is None:
            return 404, {"errors": [{"message": "Not found.", "code": 1291}]}
        if last == "results":
            return self.results(job)
        if last == "cancel":
            if job.status(self.clock()) not in ("Queued", "Running"):
                return 409, {
                    "errors": [{"message": "Job already in terminal state.", "code": 1293}]
                }
            job.over = "Cancelled"
            return 204, ""
        if last == "metrics":
            done = job.status(self.clock()) == "Completed"
            usage = {"quantum_seconds": 3, "qpu_charge_time_seconds": 3, "status": "complete"}
            began = job.created + job.seconds / 2
            times = {"running": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began))}
            return 200, {
                "timestamps": times if done else {},
                "usage": usage if done else {"status": "pending"},
            }
        return 200, self.describe(job)

    def answer_session(self, method, session_id, body):
        if method == "POST":
            session_id = f"batch{next(self._ids)}"
            self.sessions[session_id] = {**body, "accepting_jobs": True, "state": "open"}
            return 200, {"id": session_id}
        session = self.sessions[session_id]
        if method == "PATCH":
            session.update(body)
        return 200, {
            "id": session_id, "backend_name": session["backend"], "mode": session["mode"],
            "state": session["state"], "accepting_jobs": session["accepting_jobs"],
        }  # fmt: skip


@functools.cache
def description(name, kind, qubits=5):
    """IBM's description of a machine from the client's package, reduced to few qubits."""
    short = name.partition("_")[2]
    file = Path(fakes.__path__[0]) / short / f"{kind}_{short}.json"
    told = {**json.loads(file.read_text()), "backend_name": name}
    if kind == "props":
        told["qubits"] = told["qubits"][:qubits]
        told["gates"] = [g for g in told["gates"] if max(g["qubits"]) < qubits]
        return told
    told["n_qubits"] = qubits
    for part in (told, *told["gates"]):
        if "coupling_map" in part:  # some gates have none
            part["coupling_map"] = [edge for edge in part["coupling_map"] if max(edge) < qubits]
    return told


def simulate(params, seed):
    """Run an executor's program as IBM would; return the answer in IBM's schema."""
    converter = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"]
    model = converter.model.model_validate_json(params)
    program, _ = converter.decoder(model)
    options = SimulatorOptions(seed_simulator=seed)
    result = run_quantum_program(AerSimulator(), program, options)
    data = [
        QuantumProgramResultItemModel(
            results={name: CompressedTensorModel.from_numpy(bits) for name, bits in item.items()},
            metadata=ItemMetadataModel(),
        )
        for item in result
    ]
    return QuantumProgramResultModel(
        data=data,
        metadata=MetadataModel(chunk_timing=[]),
        passthrough_data=model.quantum_program.passthrough_data,
        semantic_role=model.quantum_program.semantic_role,
    ).model_dump_json()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle_one_request(self):
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def respond(self):
        url = urllib.parse.urlsplit(self.path)
        path = url.path.removeprefix("/experimental")
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server, fault = self.server, None
        with server.lock:
            request = f"{self.command} {path}"
            server.requests.append(request)
            for candidate in server.faults:
                if candidate.until is not None:
                    active = server.clock() < candidate.until
                else:
                    active = candidate.times > 0
                if active and re.fullmatch(candidate.where, request):
                    candidate.times -= 1
                    fault = candidate
                    break
            status, body = 500, {}
            if fault is None or fault.after or callable(fault.kind) or fault.kind == "cut":
                status, body = self.carry_out(path, urllib.parse.parse_qs(url.query), data)
        text = body if isinstance(body, str) else json.dumps(body)
        self.send(fault, status, text.encode())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815

    def carry_out(self, path, query, data):
        server = self.server
        if path == "/identity/token":
            return server.login(urllib.parse.parse_qs(data.decode()))
        scheme, _, login = self.headers.get("Authorization", "").partition(" ")
        server.api_keys_seen += scheme == "apikey"
        if login not in server.logins:
            return 401, {"errors": [{"message": "Unauthorized.", "code": 1200}]}
        if path == "/v3/resources/search":
            plan = {"service_plan_unique_id": "open", "tags": [], "doc": {"extensions": {"a": 1}}}
            return 200, {"items": [{"crn": CRN, "name": "ours", **plan}]}
        if path == "/api/v1/open":
            overview = {"overview_ui": {"en": {"display_name": "Open"}}}
            return 200, {**overview, "metadata": {"pricing": {"type": "free"}}}
        return server.answer(self.command, path, query, data)

    def send(self, fault, status, body):
        length, kind = None, fault.kind if fault else None
        if kind == "hang":
            self.server.over.wait()
        if kind in ("hang", "drop"):
            self.close_connection = True
            return
        if kind == "cut":
            length, body = len(body), body[: len(body) // 2]
            self.close_connection = True
        elif isinstance(kind, Echo):
            secrets = self.server.secrets()
            status, body = kind.status, kind.answer(secrets)
            self.send_response(status, secrets[0])
            for number, secret in enumerate(secrets):
                self.send_header(f"X-Echo-{number}", secret.encode("ascii", "replace").decode())
        elif isinstance(kind, Answer):
            status, body = kind.status, kind.body
        elif callable(kind):
            body = kind(body)
        elif kind is not None:
            status, body = kind, b'{"errors": [{"message": "A fault on order.", "code": 9999}]}'
        if not isinstance(kind, Echo):
            self.send_response(status)
        for name, value in (fault.headers if fault else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def log_message(self, *_):
        pass
