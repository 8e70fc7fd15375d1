"""Remove this process's credentials and control characters from external text.

A service may repeat the API key that it was sent, and a terminal executes escape sequences from
any source. So text from a service or a foreign file passes `clean` once when it is
received, and again when it is stored or raised. Imports neither Qiskit nor requests.
"""

import base64
import bisect
import html
import json
import os
import re
import threading
import unicodedata
import urllib.parse
from collections.abc import Iterator
from typing import Any

from qnn_jax.errors import InputError

#: Replaces a credential.
MARK = "…"
#: Shorter credentials are not replaced, as they could be ordinary words; IBM's have 44 characters.
SHORTEST = 8

# Terminal escape sequences: CSI (colours, cursor), strings up to their end (titles, links), others.
_ESCAPES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
    "|(?:\x1b[]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]?"
)
# Logins expire within hours; the API key is sent with each, so it is never the oldest.
_MOST = 64
_kept: dict[str, set[str]] = {}  # the forms of each credential, oldest first
_forms: list[str] = []  # all forms, longest first, so that no part of one remains
_lock = threading.Lock()


def keep_secret(credential: str | None) -> None:
    """Register `credential`, so that `clean` removes it: as it is, stripped, and encoded.

    The encodings are those in which a credential is sent or repeated: URLs and forms, JSON, HTML
    and base64, the latter also inside a longer text.
    """
    global _forms
    with _lock:
        for secret in {credential or "", (credential or "").strip()}:
            if len(secret) >= SHORTEST:
                _kept[secret] = _kept.pop(secret, set()) or set(_encodings(secret))
        for oldest in list(_kept)[:-_MOST]:
            del _kept[oldest]
        _forms = sorted(set().union(*_kept.values()), key=len, reverse=True)


def environment_token() -> str | None:
    """QISKIT_IBM_TOKEN without surrounding white space, registered as secret; None if not set.

    Raises InputError if it cannot be an API key; the message does not show it.
    """
    given = os.environ.get("QISKIT_IBM_TOKEN")
    if not given:
        return None
    keep_secret(given)
    token = given.strip()
    if not re.fullmatch("[!-~]+", token):
        raise InputError(
            "Environment variable `QISKIT_IBM_TOKEN` must hold one API key, of printable ASCII "
            "characters without blanks between them, but holds others: copy the key again, or "
            "unset the variable."
            if token
            else "Environment variable `QISKIT_IBM_TOKEN` must hold an API key, but is blank: put "
            "one into it, or unset it."
        )
    return token


def clean(text: str) -> str:
    r"""Remove credentials and terminal escape sequences; other control characters become blanks.

    Raises no error for any text. Its length is not limited.

    >>> keep_secret("my-key-0123")
    >>> clean("the key my-key-0123 is \x1b[31munknown\x1b[0m\r\n")
    'the key … is unknown  '
    """
    text = _ESCAPES.sub("", text)
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_printable, text))
    forms = _forms
    # Most texts are shorter than most forms.
    for form in forms[bisect.bisect_left(forms, -len(text), key=lambda form: -len(form)) :]:
        if form in text:
            text = text.replace(form, MARK)
    return text


def cleaned(value: Any) -> Any:
    """`value`, as read from JSON, with all its strings and keys cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): cleaned(item) for key, item in value.items()}
    return value


def _encodings(secret: str) -> Iterator[str]:
    yield secret
    for quote in (urllib.parse.quote, urllib.parse.quote_plus):
        yield quote(secret)
        yield quote(secret, safe="")
    for ascii_only in (True, False):
        yield json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
    yield html.escape(secret)
    yield repr(secret)[1:-1]
    data = secret.encode("utf-8", "replace")
    for before in range(3):  # bytes before it in its group of three
        code = base64.b64encode(bytes(before) + data).decode()
        # The characters that depend only on the secret.
        core = code[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
        yield core
        yield core.translate(str.maketrans("+/", "-_"))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    # Cf: characters without width, which change the writing direction or hide text.
    return "" if unicodedata.category(character) == "Cf" else " "
