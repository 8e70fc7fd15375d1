"""What all commands share: presets, one-sentence errors, exit codes."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tyro

from pipelines import STARTED
from qnn_jax.bridge.certificate import CertificationError
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.errors import InputError, TrainingFailedError

Config = TypeVar("Config")


def parse(
    config_type: type[Config], presets: Mapping[Any, Config], argv: list[str] | None
) -> Config:
    """Read a command line into a config; the other defaults follow `--preset`."""
    arguments = sys.argv[1:] if argv is None else argv
    chosen = "default"
    for position, word in enumerate(arguments):
        if word.startswith("--preset="):
            chosen = word.partition("=")[2]
        elif word == "--preset" and position + 1 < len(arguments):
            chosen = arguments[position + 1]
    # An unknown preset is left to tyro, which names the choices.
    default = presets.get(chosen, presets["default"])
    return tyro.cli(config_type, default=default, args=arguments, prog=program())


def program() -> str:
    """How this command is called: `python -m pipelines.train_fashion`."""
    return f"python -m pipelines.{Path(sys.argv[0]).stem}"


def again() -> str:
    """This command with all its flags, to be pasted into a shell in this folder."""
    python = os.path.relpath(sys.executable)
    python = sys.executable if python.startswith("..") else python
    return shlex.join([python, "-m", f"pipelines.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def seconds() -> float:
    """Seconds since the command began."""
    return time.monotonic() - STARTED


def check_seed(flag: str, value: int, count: int = 1) -> None:
    """Refuse what is no seed, or has not `count` - 1 seeds above it."""
    checked_seed(flag, value)
    try:
        checked_seed(flag, value + count - 1)
    except InputError:
        raise InputError(
            f"Argument `{flag}` must leave room for {count - 1} seeds above it, up to "
            f"{2**32 - 1}, but is {value}."
        ) from None


def run(main: Callable[[], int]) -> None:
    """Run a command as a program: input errors are one sentence and status 2."""
    try:
        status = main()
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        status = 2
    except (TrainingFailedError, CertificationError) as error:
        print(f"Stopped: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print(
            f"Stopped. Every finished epoch is saved; this goes on from there:\n  {again()}",
            file=sys.stderr,
        )
        status = 130
    sys.exit(status)
