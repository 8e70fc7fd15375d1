"""The common parts of all commands: presets, one-sentence errors, exit codes, output streams."""

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
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from pipelines import STARTED
from qnn_jax.bridge.certificate import CertificationError
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.errors import InputError, MissingRunError, TrainingFailedError
from qnn_jax.hardware.redaction import clean
from qnn_jax.tasks.table import TASKS

Config = TypeVar("Config")
#: The message after Ctrl-C; `again` is the whole command.
_STOPPED = "Stopped. Every finished epoch is saved; this continues from there:\n  {again}"
_LEAST_COLUMNS = 40
# XLA's messages for a failed allocation, at once and at run time.
_OUT_OF_MEMORY = re.compile("RESOURCE_EXHAUSTED|Out of memory")
# Not what tyro and tqdm write: colours, and moves of the cursor up and in its line.
_UNSAFE = re.compile("\x1b(?!\\[[\\d;]*[ACDGKm])|[\x07\x08\x80-\x9f]")
_BROKEN_PIPE = 141  # a shell's exit status of a program that was ended by SIGPIPE
# Replacements of characters that an ASCII or Latin-1 console cannot show.
_LOOK_ALIKES = {
    "→": "->", "…": "...", "×": "x", "±": "+-", "µ": "u", "⟨": "<", "⟩": ">", "π": "pi",
    "θ": "theta", "²": "^2", "·": ".", "−": "-", "─": "-", "│": "|",
}  # fmt: skip


#: The config of this process's command line: errors name its flags.
_flags: list[type[Any]] = []


def read(config_type: type[Config], arguments: Sequence[str] | None) -> Config:
    """Parse a command line, of the process by default, into a config; all commands use this."""
    _flags[:] = [config_type]
    return tyro.cli(config_type, args=arguments, prog=program())


def with_flags(sentence: str, config_type: type[Any]) -> str:
    """A message of the library with this command's flags in place of the argument names.

    `batch_size` becomes `--batch-size`, `num_qubits` `--model.num-qubits` if that is the flag,
    and `resume=False` `--no-resume`. Other names are not changed.
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


def in_flags(error: Exception) -> str:
    """An error's message with the flags of the command line that was read last."""
    return with_flags(str(error), _flags[0]) if _flags else str(error)


def _flags_of(config_type: type[Any], prefix: str = "") -> dict[str, str]:
    """Flags without dashes by the names of fields, as tyro derives them from a dataclass."""
    flags: dict[str, str] = {}
    hints = get_type_hints(config_type, include_extras=True)
    for name in (field.name for field in dataclasses.fields(config_type)):
        kind, inner = hints[name], f"{prefix}{name}."
        if get_origin(kind) is Annotated:
            kind, *notes = get_args(kind)
            if any(getattr(note, "name", None) == "" for note in notes):
                inner = prefix  # its fields have no prefix
        if dataclasses.is_dataclass(kind):
            flags |= _flags_of(kind, inner)  # type: ignore[arg-type]
        else:
            flags[prefix + name] = (prefix + name).replace("_", "-")
    return flags


def chosen(arguments: Sequence[str], flag: str, usual: str) -> str:
    """The word after a flag that determines the defaults of other flags."""
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
    """Print that a finished run is not repeated."""
    print(f"The run {path} is finished: this is its result; --no-resume runs it again.")


def tell_saved(what: object) -> None:
    """Print what a stopped command has saved, and how it continues."""
    print(f"{what}; the same command continues from there:\n  {again()}")


def tell_stopping() -> None:
    """Print the message for the first Ctrl-C."""
    print(
        "\nStopping after the current step is saved; press Ctrl-C again to stop at once.",
        file=sys.stderr,
        flush=True,
    )


def program() -> str:
    """The name of this command: `python -m pipelines.train_fashion`."""
    return f"python -m pipelines.{Path(sys.argv[0]).stem}"


def again() -> str:
    """This command with all its flags, for a shell in this folder."""
    python = os.path.relpath(sys.executable)
    python = sys.executable if python.startswith("..") else python
    return shlex.join([python, "-m", f"pipelines.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def same_folders(config: Any) -> list[str]:
    """The flags of a command's folders that differ from the defaults, for the next command."""
    flags = []
    for name, usual in (("results_dir", Path("results")), ("data_dir", None), ("manual_dir", None)):
        value = getattr(config, name, usual)
        if value != usual:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    return flags


def countdown(what: str, every: float = 5.0) -> Callable[[int, int], None]:
    """A report (done, total) in lines on standard error, at most one in so many seconds.

    Shorter activities print nothing. It starts again when nothing is done.
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
    """`make train-fashion ARGS="--seed 1"`, for a shell."""
    return f"make {target} ARGS={shlex.quote(shlex.join(flags))}" if flags else f"make {target}"


def has_target(task: str) -> bool:
    """Is there a make target named after a task? `make train` trains the others."""
    return find_spec(f"pipelines.train_{task}") is not None


def train(task: str, words: Sequence[str]) -> str:
    """The command that trains a task with these flags."""
    if has_target(task):
        return make(f"train-{task}", words)
    return make("train", ["--task", task, *words])


def seconds() -> float:
    """Seconds since the command began."""
    return time.monotonic() - STARTED


def check_seed(flag: str, value: int, count: int = 1) -> None:
    """Check that a value is a seed with `count` - 1 seeds above it."""
    checked_seed(flag, value)
    try:
        checked_seed(flag, value + count - 1)
    except InputError:
        raise InputError(
            f"Argument `{flag}` must leave room for {count - 1} seeds above it, up to "
            f"{2**32 - 1}, but is {value}."
        ) from None


def start_jax(find_devices: bool = True) -> None:
    """Load JAX and initialise its devices, before other code needs them.

    Args:
        find_devices: whether to initialise them; their number cannot be changed afterwards.

    Raises:
        InputError: if the environment requires what JAX does not have, such as JAX_PLATFORMS=cuda
            without CUDA.
    """
    try:
        import jax

        if find_devices:
            jax.devices()
    except Exception as error:  # RuntimeError, ValueError or AssertionError, without a common class
        asked = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("JAX_")]
        reason = str(error).split("\n", 1)[0].strip().rstrip(".") or "no such device is here"
        raise InputError(
            f"JAX must be able to start, but cannot ({reason}): "
            + (
                f"unset or correct {', '.join(sorted(asked))}."
                if asked
                else "make setup installs it."
            )
        ) from error


def run(main: Callable[[], int], stopped: str = _STOPPED) -> None:
    """Run a command as a program, in any environment; all commands start and end here.

    Status 0, or 2 for bad input, 1 for a failure, 130 after Ctrl-C, 75 after SIGTERM, 141 if
    the output is no longer read. Each but 0 and 141 comes with a sentence; other exceptions are
    bugs and keep their traceback.

    Args:
        main: parses, works and returns the status.
        stopped: the message after Ctrl-C outside of training loops, which save first; "{again}" in
            it is replaced by the command.
    """
    from qnn_jax.runs import ImmediateStop

    _prepare_streams()
    # tyro's help does not terminate on a console of a few columns.
    if shutil.get_terminal_size().columns < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)
    # A variable of Jupyter's cells that is inherited, with which matplotlib cannot be imported.
    os.environ["MPLBACKEND"] = "agg"
    with ImmediateStop(stopped.format(again=again())):
        status = _status_of(main)
    sys.exit(status)


def _status_of(main: Callable[[], int]) -> int | str | None:
    """Run it, report its exceptions, and check that all output was written."""
    try:
        try:
            status: int | str | None = main()
        except SystemExit as end:  # from tyro, after --help and after wrong flags
            status = end.code
        except MissingRunError as error:
            example = train(next(iter(TASKS)), [])
            status = _answer(f"Error: {in_flags(error).removesuffix('.')} ({example}).", 2)
        except InputError as error:
            status = _answer(f"Error: {in_flags(error)}", 2)
        except (TrainingFailedError, CertificationError) as error:
            status = _answer(f"Stopped: {in_flags(error)}", 1)
        except (MemoryError, RuntimeError) as error:
            # XLA's own class is a RuntimeError, and JAX may not be loaded here.
            if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
                raise
            reason = str(error).split("\n", 1)[0].removeprefix("RESOURCE_EXHAUSTED: ").rstrip(".")
            status = _answer(
                f"Stopped: the memory does not suffice ({reason or 'out of memory'}); use fewer "
                "qubits or smaller batches, or a machine with more memory.",
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
    # A message may quote files and services, and a terminal executes escape sequences.
    print("\n".join(map(clean, sentence.split("\n"))), file=sys.stderr)
    return status


class _OutputLostError(Exception):
    """Standard output or standard error cannot be written any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.errno, self.strerror = error.errno, error.strerror


class _Output(io.FileIO):
    """A standard stream whose first error is distinct from those of files; then it discards all."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # Otherwise Python would write again at exit, and print an error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            raise _OutputLostError(error) from None


class _Text(io.TextIOWrapper):
    """A standard stream that passes colours and cursor moves, but no other control sequence.

    Results name what files of others hold, and a terminal executes what it is sent.
    """

    def write(self, text: str) -> int:
        return super().write(_UNSAFE.sub("", text))


def _prepare_streams() -> None:
    """Ensure that standard output and error exist, in any encoding, with line buffering."""
    # Without this, the next opened file would become the standard output of C code.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    codecs.register_error("qnn_jax.look_alikes", _look_alike)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        output = _Text(
            io.BufferedWriter(_Output(number, "w", closefd=False)),
            encoding="utf-8" if stream is None else stream.encoding,  # None where it was closed
            errors="qnn_jax.look_alikes",
            # Whole lines at once, also into a pipe: an immediate stop flushes nothing.
            line_buffering=True,
        )
        setattr(sys, name, output)


def _look_alike(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace characters that the encoding lacks by plain ones."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    piece = error.object[error.start : error.end]
    plain = "".join(
        _LOOK_ALIKES.get(one, one.encode("ascii", "backslashreplace").decode()) for one in piece
    )
    return plain, error.end
