"""IBM's machines as a `Device`. The only file that uses qiskit-ibm-runtime (0.51).

The client reports "check your token" for every failure, waits for answers without a limit, repeats
submissions by itself, follows redirects, and ignores errors while it lists machines. So
every call of it runs in `transport.carry`, and its failure is classified by the server's answer.
"""

import difflib
import hashlib
import logging
import math
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any, TypeVar

import requests
from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import Batch, QiskitRuntimeService
from qiskit_ibm_runtime.accounts import AccountNotFoundError, InvalidAccountError
from qiskit_ibm_runtime.exceptions import IBMInputValueError
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.options_models import SamplerOptions
from qiskit_ibm_runtime.utils import validate_isa_circuits, validate_rzz_pubs

from qnn_jax.bridge.target_backend import TargetBackend
from qnn_jax.errors import InputError
from qnn_jax.hardware.jobs import (
    Allowance,
    Chunk,
    DamagedResultError,
    DeviceStoppedError,
    Job,
    JobMissingError,
    LoginError,
    Pub,
    RefusedError,
    RegisterCounts,
    ServiceError,
    UnreachableError,
    check_rep_delay,
    count,
)
from qnn_jax.hardware.ledger import is_job_id
from qnn_jax.hardware.redaction import clean, environment_token
from qnn_jax.hardware.transport import NestedError, Outcome, carry

T = TypeVar("T")

# The client logs to stderr what it then raises, or what is reported here in a sentence.
if "QISKIT_IBM_RUNTIME_LOG_LEVEL" not in os.environ:
    logging.getLogger("qiskit_ibm_runtime").setLevel(logging.CRITICAL)

_SECONDS = 120.0  # for any request
_SUBMISSION = 5  # times as long, because it uploads megabytes
_LOGIN_REQUESTS = 6  # of one login, each with its own deadline
_LOGIN_WAITS = (1.0, 4.0)  # between attempts of the first login
_SITE = "https://quantum.cloud.ibm.com"

# IBM's error registry: 1200 not authorized, 1201 invalid credentials.
_LOGIN_CODES = {1200, 1201}
# Errors that a new login does not solve, whatever the status code.
_USED_UP = re.compile("usage limit|no more time|allowance|quota", re.IGNORECASE)
# In all other states the job is still waiting.
_STATUS = {"DONE": "completed", "ERROR": "failed", "CANCELLED": "cancelled", "RUNNING": "running"}


def connect(
    backend_name: str | None = None,
    instance: str | None = None,
    url: str | None = None,
    fractional_gates: bool = False,
    seconds: float = _SECONDS,
) -> "IbmDevice":
    """Log in to IBM Quantum and look up a backend; None selects the one with the shortest queue.

    Token, and instance and url if they are None, come from QISKIT_IBM_TOKEN,
    QISKIT_IBM_INSTANCE and QISKIT_IBM_URL, or from the account saved by
    `QiskitRuntimeService.save_account`. `seconds` is the deadline of every request.
    """
    device = IbmDevice(backend_name or "", instance, url, fractional_gates, seconds)
    for wait in (*_LOGIN_WAITS, None):
        try:
            device.log_in()
        except LoginError as error:
            raise InputError(
                f"IBM does not accept the token of this account ({error}): create one at {_SITE} "
                "and put it into QISKIT_IBM_TOKEN."
            ) from None
        except RefusedError as error:
            raise InputError(
                f"IBM refuses this account ({error}): look at its instances at {_SITE}, or name "
                "another one in QISKIT_IBM_INSTANCE."
            ) from None
        except UnreachableError as error:
            if wait is None:
                raise InputError(
                    f"IBM Quantum cannot be reached ({error}): look at the network and at "
                    f"{_SITE}, and run again."
                ) from None
            time.sleep(wait)
        else:
            break
    return device


# Its repr shows neither the instance nor the address, in which there may be a password.
@dataclass(eq=False, repr=False)
class IbmDevice:
    """One IBM backend, see `Device` and `connect`. It logs in when first needed."""

    name: str
    _instance: str | None
    _url: str | None
    _fractional: bool
    _seconds: float
    _service: Any = None
    _backend: Any = None
    _described: TargetBackend | None = None
    _account: str = ""

    simulated = False
    lag = 30.0  # a guess: the service does not document it

    # Properties

    @property
    def backend(self) -> BackendV2:
        """The target for transpilation: a description, without requests to the service."""
        self.log_in()
        assert self._described is not None
        return self._described

    @property
    def account(self) -> str:
        """A digest of the instance's CRN."""
        self.log_in()
        return self._account

    @property
    def calibration_date(self) -> str | None:
        """When IBM last updated the backend's properties."""
        return self._ask(lambda: _date(self._backend.properties()))

    @property
    def default_rep_delay(self) -> float:
        """The backend's own pause between shots, in seconds."""
        return self._ask(lambda: _seconds(self._backend.configuration().default_rep_delay))

    @property
    def rep_delay_range(self) -> tuple[float, float]:
        """The shortest and longest allowed pause between shots, in seconds."""

        def look() -> tuple[float, float]:
            low, high = self._backend.configuration().rep_delay_range
            return _seconds(low), _seconds(high)

        return self._ask(look)

    def allowance(self) -> Allowance:
        """The plan's allowance and its use so far."""

        def look() -> Allowance:
            usage = self._service.usage()
            limit = usage.get("usage_limit_seconds") or usage.get("usage_allocation_seconds")
            limit = None if limit is None else _seconds(limit)
            consumed = _seconds(usage.get("usage_consumed_seconds") or 0.0)
            if usage.get("usage_limit_reached"):  # possibly the account's, not this instance's
                limit = min(consumed, limit or consumed)
            return Allowance(consumed, limit)

        return self._ask(look)

    # Checks

    def ready(self) -> None:
        """Raise InputError if the backend is down or the plan's allowance is used up."""

        def look() -> Any:
            status = self._backend.status()
            if not status.operational and not status.status_msg:
                # The client fills in what an answer lacks.
                raise UnreachableError(
                    "the answer does not say whether the backend is in operation"
                )
            return status

        status = self._ask(look)
        if not status.operational:
            others = self._ask(lambda: self._service.backends(operational=True))
            names = ", ".join(other.name for other in others if other.name != self.name)
            raise InputError(
                f"Backend {self.name} is not in operation (IBM says "
                f"{_short(status.status_msg)!r}): wait, or name another one "
                f"({names or 'there is none now'})."
            )
        allowance = self.allowance()
        if allowance.left == 0:
            raise InputError(
                f"The plan's allowance is used up ({allowance.consumed:.0f} of "
                f"{allowance.limit:.0f} s): wait until IBM renews it, or name another instance in "
                "QISKIT_IBM_INSTANCE."
            )

    def check(self, chunk: Chunk) -> None:
        """Raise InputError unless every PUB uses the backend's gates, working qubits and pauses.

        The client does not check this, and the job would fail only after hours in the queue.
        """

        def check_all() -> None:
            for number, pub in enumerate(chunk.pubs):
                try:
                    validate_isa_circuits([pub.circuit], self._backend.target)
                    self._backend.check_faulty(pub.circuit)
                    validate_rzz_pubs([_coerced(pub)])
                except (IBMInputValueError, ValueError) as error:
                    said = _short(error).strip("'\"").partition(". ")[0]
                    raise InputError(
                        f"PUB {number} cannot run on {self.name} ({said}): transpile it again for "
                        "this backend."
                    ) from None

        self._ask(check_all)
        check_rep_delay(chunk, self.rep_delay_range, self.name)

    # Requests

    def submit(self, chunk: Chunk, tag: str, batch: str | None = None) -> str:
        """Send `chunk` as one job, or into an open batch; return its id."""

        def send() -> str:
            mode = self._backend if batch is None else Batch.from_id(batch, self._service)
            job = Sampler(mode, _options(chunk, tag)).run([_coerced(pub) for pub in chunk.pubs])
            return _id(job.job_id())

        return self._ask(send, _SUBMISSION * self._seconds, of_job=True)

    def find(self, tag: str) -> list[Job]:
        """All jobs of this account with that tag, oldest first."""

        def look() -> list[Job]:
            found = self._service.jobs(limit=20, job_tags=[tag], descending=False)
            return [_job(job) for job in found]

        return self._ask(look)

    def job(self, job_id: str) -> Job:
        """The current state of the job."""
        return self._ask(lambda: _job(self._service.job(job_id)), of_job=True)

    def counts(self, job_id: str, chunk: Chunk) -> list[RegisterCounts]:
        """The counts of a completed job."""

        def fetch() -> list[RegisterCounts]:
            try:
                results = self._service.job(job_id).result(timeout=1.0)
                if results is None or len(results) != len(chunk.pubs):
                    raise DamagedResultError("it is empty or of other PUBs")
                return [
                    count(dict(result.data.items()), pub, chunk.shots)
                    for result, pub in zip(results, chunk.pubs, strict=True)
                ]
            except DamagedResultError:
                raise
            except Exception as error:
                if _failed_request(error) is not None:
                    raise
                # The client raises arbitrary errors if a result is incomplete or not there yet.
                raise DamagedResultError(type(error).__name__) from error

        return self._ask(fetch, of_job=True)

    def usage(self, job_id: str) -> float | None:
        """Seconds that IBM has charged; None if not known yet."""

        def look() -> float | None:
            usage = self._service.job(job_id).metrics().get("usage") or {}
            counted = usage.get("status", "pending") != "pending"
            seconds = usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds"))
            return _seconds(seconds) if counted and seconds is not None else None

        try:
            return self._ask(look, of_job=True)
        except (JobMissingError, RefusedError):
            return None

    def calibrated(self, job_id: str) -> str | None:
        """When IBM had last updated the backend's properties before the job began."""
        return self._ask(lambda: _date(self._service.job(job_id).properties()), of_job=True)

    def cancel(self, job_id: str) -> None:
        """Cancel a job; a finished one is not changed."""
        try:
            self._ask(lambda: self._service.job(job_id).cancel())
        except RefusedError:
            if self.job(job_id).live:
                raise

    def open_batch(self) -> str | None:
        """Open a batch: unlike a session it bills the jobs' time only."""
        self.log_in()
        return self._ask(lambda: _id(Batch(self._backend).session_id))

    def close_batch(self, batch: str) -> None:
        """Close the batch to new jobs; those inside still run."""
        self._ask(lambda: Batch.from_id(batch, self._service).close(), of_job=True)

    def renew(self) -> None:
        """Log in again before the next request, with the current environment variables."""
        self._service = self._backend = self._described = None

    # Implementation

    def log_in(self) -> None:
        """Log in and look up the backend, unless this is done already."""
        if self._service is None:
            found = self._guarded(self._login, self._seconds, times=_LOGIN_REQUESTS)
            self._service, self._backend, self._described, self._account = found
            self.name = self._described.name

    def _ask(
        self, request: Callable[[], T], seconds: float | None = None, of_job: bool = False
    ) -> T:
        self.log_in()
        return self._guarded(request, seconds or self._seconds, of_job)

    def _guarded(
        self, request: Callable[[], T], seconds: float, of_job: bool = False, times: int = 1
    ) -> T:
        """Run `request` under a deadline; convert failures to this package's errors.

        Everything from the service passes here, and all of its text is cleaned.
        """
        with warnings.catch_warnings():
            # Otherwise the client continues with the API key itself in place of a login.
            warnings.filterwarnings("error", message="Unable to retrieve IBM Cloud access")
            # `ready` reports these warnings in a sentence.
            warnings.filterwarnings("ignore", message="This instance has met its usage limit")
            warnings.filterwarnings("ignore", message="There is currently no more time")
            warnings.filterwarnings("ignore", message="The backend .* currently has a status")
            outcome = carry(request, seconds, times)
        error = _explained(outcome, seconds)
        if error is None:
            return outcome.value  # type: ignore[return-value]
        failed_login = any(isinstance(e, ApiException | UserWarning) for e in _chain(outcome.error))
        if (
            failed_login  # a token manager that has failed once refuses for the next minute
            or outcome.carrier.redirect is not None
            or isinstance(error, LoginError)
            or isinstance(outcome.error, TimeoutError)
        ):
            self.renew()
        if isinstance(error, JobMissingError) and not of_job:
            # A backend that a login has found, or that is in the list, exists.
            error = UnreachableError(str(error))
        # Outside of any `except`: the client's error may hold what ours does not.
        raise error

    def _login(self) -> tuple[Any, Any, TargetBackend, str]:
        try:
            # "auto" does not report its choice.
            service = QiskitRuntimeService(instance=self._asked_instance or "auto", **self._token())
        except AccountNotFoundError:
            raise InputError(
                f"Argument `backend` names {self.name or 'a machine of IBM'}, which needs an "
                f"account: put a token from {_SITE} into QISKIT_IBM_TOKEN, or name a fake backend "
                "to simulate one."
            ) from None
        except IBMInputValueError:
            raise InputError(
                f"Instance {self._named_instance()!r} does not belong to this account: name one "
                f"from {_SITE}/instances in QISKIT_IBM_INSTANCE, or none."
            ) from None
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
        account = hashlib.sha256(service.active_instance().encode()).hexdigest()[:16]
        if not re.fullmatch(r"[A-Za-z][\w.-]{0,99}", backend.name, re.ASCII) or (
            self.name and backend.name != self.name
        ):
            raise UnreachableError("it describes another backend than the one that was asked for")
        described = TargetBackend(
            backend.target,
            backend.name,
            backend.backend_version,
            backend.get_translation_stage_plugin(),
        )
        return service, backend, described, account

    def _token(self) -> dict[str, Any]:
        """The environment's token and its settings; empty for a saved account."""
        token = environment_token()
        if token is not None:
            return {"token": token, "url": self._url or os.environ.get("QISKIT_IBM_URL")}
        if self._url is not None:
            raise InputError("Argument `url` needs a token: put one into QISKIT_IBM_TOKEN.")
        return {}

    @property
    def _asked_instance(self) -> str | None:
        return self._instance or os.environ.get("QISKIT_IBM_INSTANCE")

    def _named_instance(self) -> str:
        return self._asked_instance or "of this account"

    def _no_backend(self, service: Any) -> Exception:
        """Return why there is no such backend, which the client hides."""
        service.usage()  # raises if login or network is the reason
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
            f"Argument `backend` must be one of this account's backends ({', '.join(names)}), "
            f"but is {self.name!r}{f': did you mean {near[0]}?' if near else '.'}"
        )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all its causes; the client hides causes by `from None`."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _failed_request(error: BaseException | None) -> BaseException | None:
    """The failed request that caused `error`, if there is one."""
    failed = (e for e in _chain(error) if isinstance(e, ApiException | requests.RequestException))
    return next(failed, None)


def _explained(outcome: Outcome[Any], seconds: float) -> BaseException | None:
    """The error to raise, from the server's answer or from a local failure; None for a success."""
    error = outcome.error
    if outcome.carrier.redirect is not None:  # whatever the client has made of it
        return DeviceStoppedError(
            f"IBM's service points to the host {outcome.carrier.redirect}, which is not followed, "
            "since the token or the circuits would go there: look at QISKIT_IBM_URL and at the "
            "network, and run the same command again, which continues with the jobs that are sent."
        )
    if error is None:
        return None
    if isinstance(error, InputError | ServiceError):
        error.__cause__ = error.__context__ = None  # the client's, which may contain secrets
        return error
    if isinstance(error, TimeoutError):
        return UnreachableError(f"no answer within {seconds:.0f} s")
    failed = _failed_request(error)
    # bool() of an error response is False.
    name = "http_response" if isinstance(failed, ApiException) else "response"
    if (response := getattr(failed, name, None)) is not None:
        return _meaning(response)
    if isinstance(failed, requests.Timeout):
        unsent = isinstance(failed, requests.ConnectTimeout)
        return UnreachableError(f"no answer within {seconds:.0f} s", maybe_done=not unsent)
    if isinstance(failed, requests.exceptions.InvalidJSONError | NestedError):
        return UnreachableError("its answer cannot be read")
    if failed is not None:
        # A connection that was never opened has sent nothing.
        unsent = "NewConnectionError" in str(failed)
        return UnreachableError(type(failed).__name__, maybe_done=not unsent)
    if isinstance(error, InvalidAccountError) and error.__cause__ is None:
        return InputError(
            f"The account cannot be used ({_short(error)}): save it again by "
            "QiskitRuntimeService.save_account, or put a token into QISKIT_IBM_TOKEN."
        )
    if isinstance(error, Exception) and outcome.carrier.answered:
        return UnreachableError(f"its answer makes no sense: {type(error).__name__}")
    return error if clean(repr(error)) == repr(error) else RuntimeError(clean(repr(error)))


def _meaning(response: Any) -> Exception:
    """The error for an answer that is not a success, or cannot be read."""
    status, (said, code) = response.status_code, _said(response)
    words = f"status {status}{f': {said}' if said else ''}"
    if status < 400:
        return UnreachableError(f"its answer cannot be read, {words}")
    at_login = "/identity/token" in (response.request.url or "")
    if status in (401, 402, 403, 429) and _USED_UP.search(said):
        return RefusedError(words)
    if status == 401 or (status == 403 and code in _LOGIN_CODES) or (at_login and status == 400):
        return LoginError(words)
    if status == 404:
        return JobMissingError(words)
    if status in (408, 425, 429) or status >= 500:
        return UnreachableError(
            words, maybe_done=status >= 500 or status == 408, retry_after=_retry_after(response)
        )
    return RefusedError(words)


def _said(response: Any) -> tuple[str, int | None]:
    """The message in an answer and its code; empty if there is none, as in HTML."""
    try:
        body = response.json()
        told = body.get("error") or (body.get("errors") or [body])[0]
        if isinstance(told, str):
            return _short(told), None
        message = told.get("message") or told.get("errorMessage") or ""
        code = told.get("code")
        return _short(message), code if isinstance(code, int) else None
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, RecursionError):
        return "", None


def _retry_after(response: Any) -> float | None:
    try:
        seconds = float(response.headers["Retry-After"])
    except (KeyError, ValueError):  # none, or a date, which is treated as none
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _short(text: object) -> str:
    """One line of a message from server or client."""
    return " ".join(clean(str(text)).split()).rstrip(".")[:200]


def _seconds(value: Any) -> float:
    """A number of seconds. Raises ValueError for anything else that a service may send."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    if not math.isfinite(value) or value < 0:
        raise ValueError("no number of seconds")
    return float(value)


def _date(properties: Any) -> str | None:
    """When the properties were last updated, in UTC, so that equal times are equal strings."""
    if properties is None:
        return None
    return str(properties.last_update_date.astimezone(UTC).isoformat())


def _id(value: object) -> str:
    """The id of a job or batch. Raises UnreachableError if it is not a valid one."""
    if not is_job_id(value):
        raise UnreachableError("its answer has no valid id")
    return str(value)


def _job(job: Any) -> Job:
    job_id = _id(job.job_id())  # first, because it becomes part of the URL of later requests
    try:
        status = job.status()
    except Exception:
        status = job._status
        if status not in job.JOB_FINAL_STATES:
            raise
        # For a failed job the client also requests the result, which may not exist.
    reason = (job.error_message() or job._reason or "") if status == "ERROR" else ""
    told = _STATUS.get(status, "queued") if isinstance(status, str) else "queued"
    return Job(job_id, told, _short(reason))  # type: ignore[arg-type]


def _coerced(pub: Pub) -> SamplerPub:
    return SamplerPub.coerce((pub.circuit, pub.values))


def _options(chunk: Chunk, tag: str) -> SamplerOptions:
    options = SamplerOptions()
    options.default_shots = chunk.shots
    options.environment.job_tags = [tag]
    options.execution.init_qubits = True  # as the cost's formula assumes
    options.execution.rep_delay = chunk.rep_delay
    return options
