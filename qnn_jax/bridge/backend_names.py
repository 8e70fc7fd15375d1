"""The names of Qiskit's fake backends, read without Qiskit: flags are checked before it loads."""

from __future__ import annotations

import difflib
import functools
import re
from importlib.util import find_spec
from pathlib import Path

from qnn_jax.circuits.checks import of_type
from qnn_jax.errors import InputError


@functools.cache
def fake_backend_names() -> tuple[str, ...]:
    """All names in the installed qiskit-ibm-runtime; none where it is not installed."""
    package = find_spec("qiskit_ibm_runtime")
    if package is None or not package.submodule_search_locations:
        return ()
    backends = Path(package.submodule_search_locations[0]) / "fake_provider/backends/__init__.py"
    return tuple(sorted(re.findall(r"^from \S+ import (Fake\w+)", backends.read_text(), re.M)))


def check_fake_backend(name: str, argument: str = "noise") -> str:
    """Refuse what names no fake backend, and offer what is near.

    >>> check_fake_backend("FakeFezz")
    Traceback (most recent call last):
    ...
    qnn_jax.errors.InputError: Argument `noise` must name one of Qiskit's fake backends, but is \
'FakeFezz'; did you mean FakeFez?
    """
    names = fake_backend_names()
    of_type(argument, name, str, "the name of a fake backend")
    if name in names:
        return name
    if not names:
        raise InputError(
            f"Argument `{argument}` must name a fake backend of the package qiskit-ibm-runtime, "
            f"but is {name!r} and that is not installed; pip install 'qnn-jax[bridge]'."
        )
    # Whatever the case, and "fez" or "ibm_fez" too.
    plain = {re.sub(r"^fake|v2$", "", known.lower()): known for known in names}
    wanted = re.sub(r"^(fake|ibm)_?|v2$", "", str(name).lower())
    near = [plain[match] for match in difflib.get_close_matches(wanted, plain, n=3)]
    hint = (
        f"; did you mean {' or '.join(near)}?"
        if near
        else "; FakeFez and FakeKingston are two of them."
    )
    raise InputError(
        f"Argument `{argument}` must name one of Qiskit's fake backends, but is {name!r}{hint}"
    )
