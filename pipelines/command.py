"""What all commands share: presets, one-sentence errors, exit codes, whatever the environment."""

from __future__ import annotations

import codecs
import dataclasses
import errno
import io
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from pipelines import STARTED
from qnn_jax.bridge.certificate import CertificationError
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.hardware.redaction import clean

Config = TypeVar("Config")
#: What Ctrl-C answers; `again` is the whole command.
_STOPPED = "Stopped. Every finished epoch is saved; this goes on from there:\n  {again}"
_LEAST_COLUMNS = 40
# XLA says the first where it allocates at once, the second where it finds out later.
_OUT_OF_MEMORY = re.compile("RESOURCE_EXHAUSTED|Out of memory")
_BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE has ended
# What a console of ASCII or Latin-1 shows in place of our characters.
_LOOK_ALIKES = {
    "→": "->", "…": "...", "×": "x", "±": "+-", "µ": "u", "⟨": "<", "⟩": ">", "π": "pi",
    "θ": "theta", "²": "^2", "·": ".", "−": "-", "─": "-", "│": "|",
}  # fmt: skip


def parse(
    config_type: type[Config], presets: Mapping[Any, Config], argv: list[str] | None
) -> Config:
    """Read a command line into a config; the other defaults follow `--preset`."""
    arguments = sys.argv[1:] if argv is None else argv
    # An unknown preset is left to tyro, which names the choices.
    default = presets.get(chosen(arguments, "--preset", "default"), presets["default"])
    return read(config_type, arguments, default)


#: What the command line of this process was read into: its errors name the flags of that.
_flags: list[type[Any]] = []


def read(
    config_type: type[Config], arguments: Sequence[str], default: Any = tyro.MISSING_NONPROP
) -> Config:
    """Words of a command line as a config; every command's are read here."""
    _flags[:] = [config_type]
    return tyro.cli(config_type, default=default, args=arguments, prog=program())


def with_flags(sentence: str, config_type: type[Any]) -> str:
    """A sentence of the library with this command's flags in place of the arguments it names.

    `batch_size` becomes `--batch-size`, `num_qubits` `--model.num-qubits` where that is the flag,
    and `resume=False` `--no-resume`. What is no flag of the command stays.
    """
    whole = _flags_of(config_type)
    # `model.num_qubits` is also called `num_qubits`, unless that is a flag of its own.
    flags = {**{name.rpartition(".")[2]: flag for name, flag in whole.items()}, **whole}

    def flag(found: re.Match[str]) -> str:
        name, negated = found[1], found[2]
        if name not in flags:
            return found[0]
        group, _, last = flags[name].rpartition(".")
        return f"`--{group and group + '.'}{'no-' if negated else ''}{last}`"

    return re.sub(r"`([\w.]+)(=False)?`", flag, sentence)


def _in_flags(error: Exception) -> str:
    return with_flags(str(error), _flags[0]) if _flags else str(error)


def _flags_of(config_type: type[Any], prefix: str = "") -> dict[str, str]:
    """Flags without their dashes by the names of fields, as tyro makes them of a dataclass."""
    flags: dict[str, str] = {}
    hints = get_type_hints(config_type, include_extras=True)
    for name in (field.name for field in dataclasses.fields(config_type)):
        kind, inner = hints[name], f"{prefix}{name}."
        if get_origin(kind) is Annotated:
            kind, *notes = get_args(kind)
            if any(getattr(note, "name", None) == "" for note in notes):
                inner = prefix  # its fields stand without a prefix
        if dataclasses.is_dataclass(kind):
            flags |= _flags_of(kind, inner)  # type: ignore[arg-type]
        else:
            flags[prefix + name] = (prefix + name).replace("_", "-")
    return flags


def chosen(arguments: Sequence[str], flag: str, usual: str) -> str:
    """The word after a flag that decides where other flags start."""
    found = usual
    for position, word in enumerate(arguments):
        if word.startswith(f"{flag}="):
            found = word.partition("=")[2]
        elif word == flag and position + 1 < len(arguments):
            found = arguments[position + 1]
    return found


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def tell_finished(path: Path) -> None:
    """Say that a run is not done again."""
    print(f"The run {path} is finished: this is its result; --no-resume does it anew.")


def tell_stopping() -> None:
    """Answer the first Ctrl-C."""
    print(
        "\nStopping once what is being done is saved; Ctrl-C again stops at once.",
        file=sys.stderr,
        flush=True,
    )


def program() -> str:
    """How this command is called: `python -m pipelines.train_fashion`."""
    return f"python -m pipelines.{Path(sys.argv[0]).stem}"


def again() -> str:
    """This command with all its flags, to be pasted into a shell in this folder."""
    python = os.path.relpath(sys.executable)
    python = sys.executable if python.startswith("..") else python
    return shlex.join([python, "-m", f"pipelines.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def same_folders(config: Any) -> list[str]:
    """The flags of a command's folders that are not the usual ones, for the command after it."""
    flags = []
    for name, usual in (("results_dir", Path("results")), ("data_dir", None), ("manual_dir", None)):
        value = getattr(config, name, usual)
        if value != usual:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    return flags


def countdown(what: str, every: float = 5.0) -> Callable[[int, int], None]:
    """A report (done, total) in lines on standard error, one in so many seconds.

    Nothing is said of what is done sooner. It begins anew where nothing is done.
    """
    began = said = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal began, said
        now = time.monotonic()
        if not done:
            began = said = now
        if 0 < done < total and now - said >= every:
            left = (now - began) / done * (total - done)
            told = f"{what}: {done:,} of {total:,} runs, about {left:.0f} s left"
            print(told, file=sys.stderr, flush=True)
            said = now

    return report


def make(target: str, flags: Sequence[str]) -> str:
    """`make train-fashion ARGS="--seed 1"`, to be pasted into a shell."""
    return f"make {target} ARGS={shlex.quote(shlex.join(flags))}" if flags else f"make {target}"


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


def start_jax(find_devices: bool = True) -> None:
    """Load JAX and find its devices, before anything else needs them.

    Args:
        find_devices: whether to; afterwards nothing can be said about their number any more.

    Raises:
        InputError: where the environment asks for what JAX cannot give, such as JAX_PLATFORMS=cuda
            without CUDA.
    """
    try:
        import jax

        if find_devices:
            jax.devices()
    except Exception as error:  # RuntimeError, ValueError, AssertionError: JAX has no class for it
        asked = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("JAX_")]
        reason = str(error).split("\n", 1)[0].strip().rstrip(".") or "no such device is here"
        raise InputError(
            f"JAX must be able to start, but cannot ({reason}): "
            + (f"unset or mend {', '.join(sorted(asked))}." if asked else "make setup installs it.")
        ) from error


def run(main: Callable[[], int], stopped: str = _STOPPED) -> None:
    """Run a command as a program, in any environment; the one place where commands begin and end.

    Status 0, or 2 for bad input, 1 for what failed, 130 after Ctrl-C, 75 after SIGTERM, 141 where
    nobody reads the output any more. Each but 0 and 141 comes with a sentence; anything else is a
    fault of ours and keeps its traceback.

    Args:
        main: parses, works and returns the status.
        stopped: what Ctrl-C answers outside of training loops, which save first; "{again}" in it
            becomes the command.
    """
    from qnn_jax.runs import ImmediateStop

    _prepare_streams()
    # tyro's help never ends on a console of a few columns.
    if shutil.get_terminal_size().columns < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)
    # Jupyter's cells pass their own on, without which matplotlib refuses to be imported.
    os.environ["MPLBACKEND"] = "agg"
    with ImmediateStop(stopped.format(again=again())):
        status = _status_of(main)
    sys.exit(status)


def _status_of(main: Callable[[], int]) -> int | str | None:
    """Run it, answer what it raises, and see that all output has arrived."""
    try:
        try:
            status: int | str | None = main()
        except SystemExit as end:  # tyro's, after --help and after wrong flags
            status = end.code
        except InputError as error:
            status = _answer(f"Error: {_in_flags(error)}", 2)
        except (TrainingFailedError, CertificationError) as error:
            status = _answer(f"Stopped: {_in_flags(error)}", 1)
        except (MemoryError, RuntimeError) as error:
            # XLA's own class is a RuntimeError, and JAX need not be loaded to be asked for it.
            if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
                raise
            reason = str(error).split("\n", 1)[0].removeprefix("RESOURCE_EXHAUSTED: ").rstrip(".")
            status = _answer(
                f"Stopped: the memory does not suffice ({reason or 'out of memory'}); take fewer "
                "qubits or smaller batches, or a machine with more.",
                1,
            )
        sys.stdout.flush()
        sys.stderr.flush()
    except _OutputLostError as lost:
        if lost.errno == errno.EPIPE:
            return _BROKEN_PIPE
        with suppress(_OutputLostError):
            _answer(f"Stopped: the output cannot be written ({lost.strerror}).", 1)
        return 1
    return status


def _answer(sentence: str, status: int) -> int:
    # A sentence may quote files and services, and a terminal obeys escape sequences.
    print("\n".join(map(clean, sentence.split("\n"))), file=sys.stderr)
    return status


class _OutputLostError(Exception):
    """Standard output or standard error takes nothing any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.errno, self.strerror = error.errno, error.strerror


class _Output(io.FileIO):
    """A standard stream whose errors are told from those of files, once; then it takes all."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # Else Python would try once more when it ends, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            raise _OutputLostError(error) from None


def _prepare_streams() -> None:
    """Have something to write to, in whatever encoding, line by line."""
    # Without this, the next file to be opened would be the standard output of C code.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    codecs.register_error("qnn_jax.look_alikes", _look_alike)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        output = io.TextIOWrapper(
            io.BufferedWriter(_Output(number, "w", closefd=False)),
            encoding="utf-8" if stream is None else stream.encoding,  # None where it was closed
            errors="qnn_jax.look_alikes",
            # Whole lines at once, also into a pipe: an immediate stop flushes nothing.
            line_buffering=True,
        )
        setattr(sys, name, output)


def _look_alike(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what the encoding lacks by plain characters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    piece = error.object[error.start : error.end]
    plain = "".join(
        _LOOK_ALIKES.get(one, one.encode("ascii", "backslashreplace").decode()) for one in piece
    )
    return plain, error.end
