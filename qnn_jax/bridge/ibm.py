"""IBM's machines as a `Device`. The only file that knows qiskit-ibm-runtime (0.51).

The client says "check your token" whatever has failed, waits for answers without end, repeats
submissions on its own, and swallows errors while it looks for machines. So every request runs
here under a deadline, is sent once, and its failure is told apart by what the server said.
"""

import difflib
import hashlib
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests
from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import Batch, QiskitRuntimeService
from qiskit_ibm_runtime.accounts import AccountNotFoundError, InvalidAccountError
from qiskit_ibm_runtime.exceptions import (
    IBMInputValueError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobTimeoutError,
)
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.options_models import SamplerOptions
from qiskit_ibm_runtime.utils import validate_isa_circuits, validate_rzz_pubs
from requests.adapters import HTTPAdapter

from qnn_jax.bridge.jobs import (
    Allowance,
    Chunk,
    DamagedResultError,
    Job,
    JobMissingError,
    LoginError,
    Pub,
    RefusedError,
    RegisterCounts,
    UnreachableError,
    count,
)
from qnn_jax.errors import InputError

T = TypeVar("T")

# The client logs to stderr what it then raises, or what is said here in a sentence.
if "QISKIT_IBM_RUNTIME_LOG_LEVEL" not in os.environ:
    logging.getLogger("qiskit_ibm_runtime").setLevel(logging.CRITICAL)

_SECONDS = 120.0  # for any request
_SUBMISSION = 5  # times as long, for it sends megabytes
_CONNECT_SECONDS = 10.0
_LOGIN_WAITS = (1.0, 4.0)  # between attempts of the first login
_TOKENS = "https://quantum.cloud.ibm.com"

# What the client raises when a completed job's result is torn, empty or not there yet.
_DAMAGE = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    RuntimeJobFailureError,
    RuntimeJobTimeoutError,
    RuntimeInvalidStateError,
)
_STATUS = {
    "DONE": "completed",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "RUNNING": "running",
}  # all others are ways to wait


def connect(
    backend_name: str | None = None,
    instance: str | None = None,
    url: str | None = None,
    fractional_gates: bool = False,
    seconds: float = _SECONDS,
) -> "IbmDevice":
    """Log in to IBM Quantum and look a backend up; None takes the one with the shortest queue.

    Token, and instance and url where they are None, come from QISKIT_IBM_TOKEN,
    QISKIT_IBM_INSTANCE and QISKIT_IBM_URL, or from the account that
    `QiskitRuntimeService.save_account` has saved. `seconds` is the deadline of every request.
    Raises InputError if there is no token or IBM does not take it, if there is no such instance
    or backend, or if IBM cannot be reached.
    """
    device = IbmDevice(backend_name, instance, url, fractional_gates, seconds)
    for wait in (*_LOGIN_WAITS, None):
        try:
            device.log_in()
        except LoginError as error:
            raise InputError(
                f"IBM does not accept the token of this account ({error}): create one at {_TOKENS} "
                "and put it into QISKIT_IBM_TOKEN."
            ) from None
        except UnreachableError as error:
            if wait is None:
                raise InputError(
                    f"IBM Quantum cannot be reached ({error}): look at the network and at "
                    f"{_TOKENS}, and run again."
                ) from None
            time.sleep(wait)
        else:
            break
    return device


class IbmDevice:
    """One backend of IBM's, see `Device` and `connect`. It logs in when first needed."""

    simulated = False
    lag = 30.0  # a guess, for the service does not say

    def __init__(
        self,
        backend_name: str | None,
        instance: str | None = None,
        url: str | None = None,
        fractional_gates: bool = False,
        seconds: float = _SECONDS,
    ) -> None:
        self.name = backend_name or ""
        self._instance = instance
        self._url = url
        self._fractional = fractional_gates
        self._seconds = seconds
        self._service: Any = None
        self._backend: Any = None

    # What it is

    @property
    def backend(self) -> Any:
        """The BackendV2 to transpile for."""
        self.log_in()
        return self._backend

    @property
    def account(self) -> str:
        """A digest of the instance's CRN."""
        self.log_in()
        return hashlib.sha256(self._service.active_instance().encode()).hexdigest()[:16]

    @property
    def calibration_date(self) -> str | None:
        """When IBM last updated the backend's properties."""
        properties = self._ask(lambda: self.backend.properties())
        return properties.last_update_date.isoformat() if properties else None

    @property
    def default_rep_delay(self) -> float:
        """The backend's own pause between shots, in seconds."""
        return float(self.backend.configuration().default_rep_delay)

    @property
    def rep_delay_range(self) -> tuple[float, float]:
        """The shortest and longest pause between shots that it takes, in seconds."""
        low, high = self.backend.configuration().rep_delay_range
        return float(low), float(high)

    def allowance(self) -> Allowance:
        """What the plan grants and has used."""
        usage = self._ask(lambda: self._service.usage())
        limit = usage.get("usage_limit_seconds") or usage.get("usage_allocation_seconds")
        consumed = float(usage.get("usage_consumed_seconds") or 0.0)
        if usage.get("usage_limit_reached"):  # the account's limit, maybe, not this instance's
            limit = min(consumed, limit or consumed)
        return Allowance(consumed, None if limit is None else float(limit))

    # What it refuses

    def ready(self) -> None:
        """Raise InputError if the backend is down or the plan's allowance is used up."""
        status = self._ask(lambda: self.backend.status())
        if not status.operational:
            others = self._ask(self._others)
            raise InputError(
                f"Backend {self.name} is not in operation (IBM says {status.status_msg!r}): wait, "
                f"or name another one ({', '.join(others) or 'there is none now'})."
            )
        allowance = self.allowance()
        if allowance.left == 0:
            raise InputError(
                f"The plan's allowance is used up ({allowance.consumed:.0f} of "
                f"{allowance.limit:.0f} s): wait until IBM renews it, or name another instance in "
                "QISKIT_IBM_INSTANCE."
            )

    def check(self, chunk: Chunk) -> None:
        """Raise InputError unless every PUB is of the backend's gates, on sound qubits, in range.

        The client leaves these checks to the queue, which takes hours to refuse.
        """
        self._ask(lambda: self.backend.properties())  # which `check_faulty` reads
        for number, pub in enumerate(chunk.pubs):
            try:
                validate_isa_circuits([pub.circuit], self.backend.target)
                self.backend.check_faulty(pub.circuit)
                validate_rzz_pubs([_coerced(pub)])
            except (IBMInputValueError, ValueError) as error:
                raise InputError(
                    f"PUB {number} cannot run on {self.name} ({_first(error)}): transpile it anew "
                    "for this backend."
                ) from None
        delay = chunk.options.rep_delay
        low, high = self.rep_delay_range
        if delay is not None and not low <= delay <= high:
            raise InputError(
                f"Argument `rep_delay` must be between {low:g} and {high:g} s on {self.name}, "
                f"but is {delay:g}."
            )

    # Requests

    def submit(self, chunk: Chunk, tag: str, batch: str | None = None) -> str:
        """Send `chunk` as one job, or into an open batch; return its id."""

        def send() -> str:
            mode = self._backend if batch is None else Batch.from_id(batch, self._service)
            job = Sampler(mode, _options(chunk, tag)).run([_coerced(pub) for pub in chunk.pubs])
            return job.job_id()

        return self._ask(send, _SUBMISSION * self._seconds, of_job=True)

    def find(self, tag: str) -> list[Job]:
        """All jobs of this account with that tag, the oldest first."""

        def look() -> list[Job]:
            found = self._service.jobs(limit=20, job_tags=[tag], descending=False)
            return [_job(job) for job in found]

        return self._ask(look)

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        return self._ask(lambda: _job(self._service.job(job_id)), of_job=True)

    def counts(self, job_id: str, chunk: Chunk) -> list[RegisterCounts]:
        """What a completed job has measured."""

        def fetch() -> list[RegisterCounts]:
            try:
                results = self._service.job(job_id).result(timeout=1.0)
            except _DAMAGE as error:
                raise DamagedResultError(type(error).__name__) from error
            if results is None or len(results) != len(chunk.pubs):
                raise DamagedResultError("it is empty or of other PUBs")
            return [
                count(dict(result.data.items()), pub, chunk.shots)
                for result, pub in zip(results, chunk.pubs, strict=True)
            ]

        return self._ask(fetch, of_job=True)

    def usage(self, job_id: str) -> float | None:
        """Seconds that IBM has charged; None while it is still counting."""
        try:
            metrics = self._ask(lambda: self._service.job(job_id).metrics(), of_job=True)
        except (JobMissingError, RefusedError):
            return None
        usage = metrics.get("usage") or {}
        counted = usage.get("status", "pending") != "pending"
        seconds = usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds"))
        return float(seconds) if counted and seconds is not None else None

    def cancel(self, job_id: str) -> None:
        """Cancel a job; one that is over stays as it is."""
        try:
            self._ask(lambda: self._service.job(job_id).cancel())
        except RefusedError:
            if self.job(job_id).live:
                raise

    def open_batch(self) -> str | None:
        """Begin a batch: it bills the jobs' time only, unlike a session."""
        self.log_in()
        return self._ask(lambda: Batch(self._backend).session_id)

    def close_batch(self, batch: str) -> None:
        """Let no more jobs into the batch; those inside run."""
        self._ask(lambda: Batch.from_id(batch, self._service).close(), of_job=True)

    def renew(self) -> None:
        """Log in anew before the next request, with what the environment says by then."""
        self._service = self._backend = None

    # Within

    def log_in(self) -> None:
        """Log in and look the backend up, unless that is done."""
        if self._service is None:
            service, backend = self._guarded(self._login, None, self._seconds)
            self._service, self._backend, self.name = service, backend, backend.name

    def _ask(
        self, request: Callable[[], T], seconds: float | None = None, of_job: bool = False
    ) -> T:
        self.log_in()
        try:
            return self._guarded(request, self._service, seconds or self._seconds)
        except JobMissingError as error:
            if of_job:
                raise
            # What a login has found, or a list has named, is there.
            raise UnreachableError(str(error)) from None

    def _guarded(self, request: Callable[[], T], service: Any, seconds: float) -> T:
        """Carry `request` out under a deadline; raise what went wrong as one of our errors."""
        deadline = time.monotonic() + seconds
        for session in _sessions(service) if service else ():
            session.get_adapter("https://").deadline = deadline
        try:
            with warnings.catch_warnings():
                # Otherwise the client goes on with the API key itself in place of a login.
                warnings.filterwarnings("error", message="Unable to retrieve IBM Cloud access")
                # What it warns of besides, `ready` says in a sentence.
                warnings.filterwarnings("ignore", message="This instance has met its usage limit")
                warnings.filterwarnings("ignore", message="There is currently no more time")
                warnings.filterwarnings("ignore", message="The backend .* currently has a status")
                return _within(request, seconds)
        except (InputError, DamagedResultError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self.renew()
                raise UnreachableError(f"no answer within {seconds:.0f} s") from None
            raise
        except Exception as error:
            told = _explain(error)
            if isinstance(told, LoginError) or any(
                isinstance(e, ApiException | UserWarning) for e in _chain(error)
            ):
                self.renew()  # a token manager that has failed once blocks the next minute
            if told is None:
                raise
            raise told from None

    def _login(self) -> tuple[Any, Any]:
        try:
            # "auto" keeps quiet about its choice, and lets the environment choose.
            service = QiskitRuntimeService(instance=self._instance or "auto", **self._login_url())
        except AccountNotFoundError:
            raise InputError(
                f"Argument `--backend` names {self.name or 'a machine of IBM'}, which needs an "
                f"account: put a token from {_TOKENS} into QISKIT_IBM_TOKEN, or leave --backend "
                "out to simulate."
            ) from None
        except IBMInputValueError:
            raise self._no_instance() from None
        for session in _sessions(service):
            adapter = _Once(time.monotonic() + self._seconds)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
        try:
            if self.name:
                backend = service.backend(self.name, use_fractional_gates=self._fractional)
            else:
                backend = service.least_busy(use_fractional_gates=self._fractional)
        except QiskitBackendNotFoundError:
            raise self._no_backend(service) from None
        except IBMInputValueError as error:
            raise InputError(
                f"Backend {self.name} cannot be used ({_short(error)}): leave fractional gates out."
            ) from None
        return service, backend

    def _login_url(self) -> dict[str, Any]:
        if self._url is None:
            return {}
        token = os.environ.get("QISKIT_IBM_TOKEN")
        if not token:
            raise InputError(
                "Argument `url` needs a token beside it: put one into QISKIT_IBM_TOKEN."
            )
        return {"url": self._url, "token": token}

    def _named_instance(self) -> str:
        return self._instance or os.environ.get("QISKIT_IBM_INSTANCE") or "of this account"

    def _no_backend(self, service: Any) -> Exception:
        """Why there is no such backend, which the client hides."""
        service.usage()  # raises if it is the login, or the network
        listed = service._backends_info_per_instance
        names = [info["name"] for infos in listed.values() for info in infos]
        names = [name for name in dict.fromkeys(names) if not name.startswith("mock_")]
        if self.name in names or not listed:
            return UnreachableError("the backend's description cannot be read")
        if not names or not self.name:
            return InputError(
                f"Instance {self._named_instance()} has no backend in operation now: wait, or name "
                "another instance in QISKIT_IBM_INSTANCE."
            )
        near = difflib.get_close_matches(self.name, names, cutoff=0.3)
        return InputError(
            f"Argument `--backend` must be one of this account's backends ({', '.join(names)}), "
            f"but is {self.name!r}{f': did you mean {near[0]}?' if near else '.'}"
        )

    def _no_instance(self) -> InputError:
        return InputError(
            f"Instance {self._named_instance()!r} is none of this account's: name one that "
            f"{_TOKENS}/instances lists in QISKIT_IBM_INSTANCE, or none."
        )

    def _others(self) -> list[str]:
        backends = self._service.backends(operational=True)
        return [backend.name for backend in backends if backend.name != self.name]


class _Once(HTTPAdapter):
    """Sends every request once, and gives up at `deadline` (of time.monotonic)."""

    def __init__(self, deadline: float) -> None:
        super().__init__(max_retries=0)
        self.deadline = deadline

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        left = self.deadline - time.monotonic()
        if left <= 0:  # the client asks for page after page of a list that never ends
            raise requests.ReadTimeout("the deadline has passed")
        kwargs["timeout"] = (min(_CONNECT_SECONDS, left), left)
        return super().send(request, *args, **kwargs)


def _sessions(service: Any) -> list[Any]:
    return [client._session for client in service._api_clients.values()]


def _within(request: Callable[[], T], seconds: float) -> T:
    """The outcome of `request`, or TimeoutError; a thread that hangs is left behind."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((request(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds + 1.0)  # the sessions' own deadline comes first
    if not outcome:
        raise TimeoutError
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that it came from; the client hides causes by `from None`."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explain(error: BaseException) -> Exception | None:
    """What the server meant; None if it was not the server."""
    for cause in _chain(error):
        if isinstance(cause, ApiException):
            response = cause.http_response
            at_login = response is not None and "/identity/token" in response.request.url
            return _meaning(cause.status_code, str(cause.message), response, at_login)
        if isinstance(cause, requests.RequestException):
            if cause.response is not None:
                response = cause.response
                return _meaning(response.status_code, _said(response), response, False)
            # A connection that was never made has carried nothing.
            unsent = "NewConnectionError" in str(cause) or isinstance(
                cause, requests.ConnectTimeout
            )
            return UnreachableError(type(cause).__name__, maybe_done=not unsent)
    if any(isinstance(cause, InvalidAccountError) for cause in _chain(error)):
        return LoginError("no instance can be read")
    return None


def _meaning(status: int, said: str, response: Any, at_login: bool) -> Exception:
    words = f"status {status}{f': {_short(said)}' if said else ''}"
    if status in (401, 403) or (at_login and status == 400):
        return LoginError(words)
    if status == 404:
        return JobMissingError(words)
    if status in (408, 425, 429) or status >= 500:
        return UnreachableError(
            words, maybe_done=status >= 500 or status == 408, retry_after=_retry_after(response)
        )
    return RefusedError(words)


def _said(response: Any) -> str:
    try:
        body = response.json()
        told = body.get("error") or (body.get("errors") or [{}])[0]
        return str(told.get("message", "") if isinstance(told, dict) else told)
    except (ValueError, AttributeError, IndexError, KeyError):
        return ""


def _retry_after(response: Any) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (AttributeError, KeyError, ValueError):  # none, or a date, which is as good as none
        return None


def _short(text: object) -> str:
    """One line of what a server or client said, without the token should it echo that."""
    line = " ".join(str(text).split()).rstrip(".")
    token = os.environ.get("QISKIT_IBM_TOKEN")
    return (line.replace(token, "…") if token else line)[:200]


def _first(text: object) -> str:
    """The first sentence of what the client said."""
    return _short(text).strip("'\"").partition(". ")[0]


def _job(job: Any) -> Job:
    try:
        status = job.status()
    except Exception:
        status = job._status
        if status not in job.JOB_FINAL_STATES:
            raise
        # Of a failed job the client asks the result as well, which may not be there.
    reason = (job.error_message() or job._reason or "") if status == "ERROR" else ""
    return Job(job.job_id(), _STATUS.get(status, "queued"), _short(reason))  # type: ignore[arg-type]


def _coerced(pub: Pub) -> SamplerPub:
    return SamplerPub.coerce((pub.circuit, pub.values))


def _options(chunk: Chunk, tag: str) -> SamplerOptions:
    options = SamplerOptions()
    options.default_shots = chunk.shots
    options.environment.job_tags = [tag]
    options.execution.init_qubits = chunk.options.init_qubits
    options.execution.rep_delay = chunk.options.rep_delay
    if chunk.options.dynamical_decoupling:
        options.dynamical_decoupling.enable = True
        options.dynamical_decoupling.sequence_type = chunk.options.dynamical_decoupling
    return options
