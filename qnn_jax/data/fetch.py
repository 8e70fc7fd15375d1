"""Download the four archives into a folder."""

import contextlib
import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path

from qnn_jax.data.archives import fault_of, read_archive
from qnn_jax.data.source import Archive, Report, Source
from qnn_jax.errors import InputError
from qnn_jax.runs.files import replace_file

_CHUNK = 1 << 16
_TRIES = 3


def download(
    source: Source,
    folder: Path,
    report: Report,
    *,
    timeout: float = 4.0,
    patience: float = 12.0,
) -> tuple[bytes, ...]:
    """Download the archives that are missing in `folder`; return all, verified, in order.

    Each address is tried three times. A try ends after `timeout` seconds without data, and the
    whole download after `patience` seconds without a byte from any address. A file appears in
    `folder` only complete and verified, so a second call continues where the first one stopped.
    Raises InputError, in one sentence with the way out, if an archive cannot be downloaded.
    """
    contents = []
    for archive in source.archives:
        path = folder / archive.name
        data, fault = read_archive(path, archive) if path.is_file() else (b"", "is missing")
        if fault:
            try:
                data = _fetch(source, archive, report, timeout, patience)
            except _DownloadError as error:
                raise InputError(
                    f"{source.title} cannot be downloaded because {error}: put the four archives "
                    f"{source.archive_names} into a folder and name it with `manual_dir`, or "
                    f"into '{folder}'."
                ) from error
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
        contents.append(data)
    return tuple(contents)


class _DownloadError(Exception):
    """An archive cannot be downloaded; the message is a clause with the reason."""


class _WrongContentError(_DownloadError):
    """The address answers, but not with the archive: retrying does not help."""


def _fetch(
    source: Source, archive: Archive, report: Report, timeout: float, patience: float
) -> bytes:
    addresses = list(source.addresses)
    give_up = time.monotonic() + patience
    faults: dict[str, _DownloadError] = {}  # the official address comes first

    def hear(done: int) -> None:
        nonlocal give_up
        give_up = time.monotonic() + patience
        report(f"Downloading {archive.name}", done, archive.size)

    for attempt in range(_TRIES):
        if attempt > 0:
            pause = timeout / 16 * 2**attempt  # half a second, then a whole one
            time.sleep(max(0.0, min(pause, give_up - time.monotonic())))
        for address in tuple(addresses):
            wait = min(timeout, give_up - time.monotonic())
            if wait <= 0:
                break
            url = address + archive.name
            try:
                with contextlib.closing(_open(url, wait)) as response:
                    return _receive(response, url, archive, hear)
            except _WrongContentError as error:
                faults[address] = error
                addresses.remove(address)
            except _DownloadError as error:
                faults[address] = error
            except urllib.error.HTTPError as error:
                error.close()
                faults[address] = _DownloadError(f"{url} answers with status {error.code}")
                if error.code < 500 and error.code not in (408, 429):
                    addresses.remove(address)
            except (OSError, http.client.HTTPException) as error:
                cause = error.reason if isinstance(error, urllib.error.URLError) else error
                faults[address] = _DownloadError(f"{url} is out of reach ({cause!s})")
        if not addresses:
            break
    raise next(iter(faults.values()))


def _open(url: str, timeout: float) -> HTTPResponse:
    """Open `url`, with a limit that also covers looking up the name and trying its addresses.

    The timeout of a socket covers neither, and behind some firewalls they take minutes; so a
    thread sends the request, and is abandoned after the limit.
    """
    answers: queue.SimpleQueue[HTTPResponse | Exception] = queue.SimpleQueue()
    late = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "qnn_jax"})
        try:
            answer = urllib.request.urlopen(request, timeout=timeout)
        except Exception as error:
            answer = error
        if late.is_set():
            if not isinstance(answer, Exception):
                answer.close()
            return
        answers.put(answer)

    threading.Thread(target=ask, name="qnn_jax download", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        late.set()
        raise TimeoutError("no answer in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _receive(
    response: HTTPResponse, url: str, archive: Archive, hear: Callable[[int], None]
) -> bytes:
    data = bytearray()
    # One byte more than expected is enough to detect another file of any length.
    while chunk := response.read1(min(_CHUNK, archive.size + 1 - len(data))):
        data += chunk
        hear(len(data))
    fault = fault_of(archive, bytes(data), len(data))
    if fault is None:
        return bytes(data)
    looks_right = data[:2] == b"\x1f\x8b" or not data
    kind = _DownloadError if looks_right and len(data) < archive.size else _WrongContentError
    raise kind(f"what {url} sends {fault}")
