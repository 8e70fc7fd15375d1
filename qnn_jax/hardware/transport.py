"""Send every request of IBM's client once, with a deadline, to the intended host only.

The client sends from several places: sessions with retries for the service, plain ones for the
list of instances, and a new session for every login, which cannot be configured. All of them
call `requests.Session.get_adapter` for the adapter that sends their requests. While `carry` runs,
this returns `Carrier` in the thread of `carry`, and the original adapter in all other threads. So
the user's own sessions are not affected, and no request of the client bypasses `Carrier`.
"""

import base64
import binascii
import io
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Generic, NamedTuple, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter

from qnn_jax.hardware.redaction import clean, cleaned, keep_secret

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_LOGIN_PATH = "/identity/token"
# Secret fields of a login's form and of its answer.
_SENT = ("apikey", "password", "passcode", "client_secret", "refresh_token")
_GIVEN = ("access_token", "refresh_token", "delegated_refresh_token", "ims_token")

_here = threading.local()
_lock = threading.Lock()
_carried = 0
_usual: Callable[..., Any] = requests.Session.get_adapter


class RedirectError(requests.RequestException):
    """The service redirects to another address, which is not followed."""


class NestedError(requests.RequestException):
    """An answer is nested so deeply that parsing it would crash the interpreter."""


class Carrier(HTTPAdapter):
    """Sends every request once, waits `seconds` for it, and follows no redirect.

    After `deadline` (of time.monotonic) it sends nothing.

    Every credential that is sent or received is registered as secret, and the answers are cleaned,
    so that whatever the client makes of them can be printed and stored. `answered` is true after
    any answer, `redirect` is the host of a redirect.
    """

    def __init__(self, seconds: float, deadline: float) -> None:
        super().__init__(max_retries=0)
        self.seconds = seconds
        self.deadline = deadline
        self.answered = False
        self.redirect: str | None = None

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send `request`; raise RequestException unless an answer arrives that is no redirect."""
        left = self.deadline - time.monotonic()
        if left <= 0:  # the client requests page after page of a list that never ends
            raise requests.ReadTimeout("the deadline has passed")
        _learn(request, kwargs.get("proxies") or {})
        if _header(request, "Authorization").startswith("apikey "):
            # The client's fallback after a failed login.
            raise requests.RequestException("the key itself is not sent in place of a login")
        left = min(left, self.seconds)
        kwargs["timeout"] = (min(_CONNECT_SECONDS, left), left)
        response = super().send(request, *args, **kwargs)
        self.answered = True
        if 300 <= response.status_code < 400:
            self.redirect = _host(request.url, response.headers.get("Location", ""))
            response.close()
            raise RedirectError(self.redirect, request=request)
        return self._cleaned(request, response)

    def _cleaned(self, request: Any, response: requests.Response) -> requests.Response:
        try:
            data = _cleaned_body(request, response)
        except RecursionError:
            raise NestedError("nested too deeply", request=request) from None
        headers = {name: clean(value) for name, value in response.headers.items()}
        reason = clean(response.reason or "")
        if (data, headers, reason) == (
            response.content,
            dict(response.headers),
            response.reason or "",
        ):
            return response
        about_the_old = ("content-encoding", "content-length", "transfer-encoding")
        made = urllib3.HTTPResponse(
            body=io.BytesIO(data),
            headers={name: v for name, v in headers.items() if name.lower() not in about_the_old},
            status=response.status_code,
            reason=reason,
            preload_content=False,
        )
        return self.build_response(request, made)


class Outcome(NamedTuple, Generic[T]):
    """The result of `carry`: a value or an error, and the carrier of its requests."""

    value: T | None
    error: BaseException | None
    carrier: Carrier


def carry(request: Callable[[], T], seconds: float, times: int = 1) -> Outcome[T]:
    """Call `request` in its own thread, where a `Carrier` sends all requests of `requests`.

    Each answer may take `seconds`, the whole call `times` as long. The error is TimeoutError if it
    has not ended by then. A thread that hangs is abandoned; its later requests also go through the
    `Carrier`.
    """
    carrier = Carrier(seconds, time.monotonic() + times * seconds)
    outcome: list[Outcome[T]] = []

    def run() -> None:
        with _carrying(carrier):
            try:
                outcome.append(Outcome(request(), None, carrier))
            except BaseException as error:
                outcome.append(Outcome(None, error, carrier))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(times * seconds + 1.0)  # the carrier's own deadline comes first
    return outcome[0] if outcome else Outcome(None, TimeoutError(), carrier)


@contextmanager
def _carrying(carrier: Carrier) -> Iterator[None]:
    global _carried, _usual
    with _lock:
        if _carried == 0:
            _usual = requests.Session.get_adapter
            requests.Session.get_adapter = _get_adapter  # type: ignore[assignment, method-assign]
        _carried += 1
    _here.carrier = carrier
    try:
        yield
    finally:
        del _here.carrier
        carrier.close()
        with _lock:
            _carried -= 1
            if _carried == 0:
                requests.Session.get_adapter = _usual  # type: ignore[method-assign]


def _get_adapter(session: requests.Session, url: str) -> Any:
    carrier = getattr(_here, "carrier", None)
    return _usual(session, url) if carrier is None else carrier


def _learn(request: Any, proxies: Mapping[str, str]) -> None:
    """Register the credentials of a request as secret, in every form in which they are sent."""
    for name in ("Authorization", "Proxy-Authorization"):
        scheme, _, credential = _header(request, name).partition(" ")
        keep_secret(credential)
        if scheme.lower() == "basic":
            with suppress(binascii.Error):
                pair = base64.b64decode(credential).decode("utf-8", "replace")
                keep_secret(pair.partition(":")[2])
    body = request.body.decode("latin-1") if isinstance(request.body, bytes) else request.body
    if isinstance(body, str) and "form" in _header(request, "Content-Type"):
        for name, values in urllib.parse.parse_qs(body).items():
            for value in values if name in _SENT else ():
                keep_secret(value)
    for url in (request.url, *proxies.values()):
        keep_secret(urllib.parse.unquote(urllib.parse.urlsplit(url).password or ""))


def _header(request: Any, name: str) -> str:
    value = request.headers.get(name) or ""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _cleaned_body(request: Any, response: requests.Response) -> bytes:
    """The body without credentials and control characters; a login's answer keeps its tokens."""
    data: bytes = response.content or b""
    try:
        told = json.loads(data)
    except ValueError:  # not JSON, or not even text
        text = data.decode("utf-8", "replace")
        shown = clean(text)
        return data if shown == text else shown.encode()
    given: dict[str, Any] = {}
    if response.ok and isinstance(told, dict) and _LOGIN_PATH in (request.url or ""):
        given = {name: told[name] for name in _GIVEN if isinstance(told.get(name), str)}
        for token in given.values():
            keep_secret(token)
    shown = cleaned(told)
    if given:
        shown |= given
    return data if shown == told else json.dumps(shown).encode()


def _host(asked: str | None, location: str) -> str:
    """The host of a redirect, without the rest of its address, which may be secret."""
    try:
        host = urllib.parse.urlsplit(urllib.parse.urljoin(asked or "", location)).hostname
    except ValueError:
        host = None
    return clean(host or "")[:100] or "without a name"
