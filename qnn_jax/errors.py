"""Errors and warnings whose messages are meant for users."""

from __future__ import annotations

import re

#: Maximum number of characters of a message; the middle of a longer one is left out.
_LONGEST = 800


class InputError(ValueError):
    """An argument cannot be used.

    The message is one sentence that names the argument, the rule, the value and the way out:
    ``Argument `shots` must be at least 1, but is 0.`` Pipelines print it without a traceback and
    exit with status 2; any other exception is a fault of this library and keeps its traceback.

    Values of several lines, such as arrays, are put on one line, and long ones are shortened.

    >>> InputError("Argument `shots` must be at least 1, but is 0.").argument
    'shots'
    """

    def __init__(self, message: str) -> None:
        text = " ".join(message.split()) if "\n" in message else message
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
        super().__init__(text)

    @property
    def argument(self) -> str | None:
        """The argument that the message names; None if it names none."""
        found = re.match(r"Arguments? `([^`]+)`", str(self))
        return found and found[1]


class MissingRunError(InputError):
    """A finished run is needed, and there is none; commands add the one that trains one."""


class LargeAngleWarning(UserWarning):
    """Angles are so large that float32 represents them with few decimals.

    Results may be wrong in the second or third decimal. Given where values are known: outside
    `jax.jit` and JAX's other transformations, once for each circuit.
    """


class TrainingFailedError(Exception):
    """Training cannot continue, and the input is not the reason: one sentence, exit status 1."""
