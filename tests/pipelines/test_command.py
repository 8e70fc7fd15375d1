"""Commands start and end in one place, `command.run`, in any environment."""

import dataclasses
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import tyro
from as_programs import REPOSITORY, bare_environment

from pipelines import command
from qnn_jax.errors import InputError
from qnn_jax.tasks import TASKS

ASCII = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


def program(body: str) -> list[str]:
    """A command whose main has this body, one statement a line."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    code = f"import os, sys, time\nfrom pipelines import command\ndef main():\n{lines}"
    return [sys.executable, "-c", f"{code}command.run(main, 'Stopped here.')"]


def run(
    words: list[str], shell: str = '"$@"', code: str = "utf-8", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program, in a shell if its streams are redirected."""
    return subprocess.run(
        ["bash", "-c", shell, "bash", *words],
        cwd=REPOSITORY,
        env=bare_environment(**environment),
        capture_output=True,
        encoding=code,
        timeout=120,
    )


def start(words: list[str], **environment: str) -> subprocess.Popen:
    # The command must not ignore signals that pytest's shell ignores.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            words,
            cwd=REPOSITORY,
            env=bare_environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


# Encodings


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        (ASCII, "a -> b x 2 \\u2297 pi gr\\xfcn"),
        ({"PYTHONIOENCODING": "latin-1"}, "a -> b × 2 \\u2297 pi grün"),
        ({"PYTHONIOENCODING": "utf-8"}, "a → b × 2 ⊗ π grün"),
    ],
    ids=["ascii", "latin-1", "utf-8"],
)
def test_a_console_gets_replacements_for_unsupported_characters(environment, shown: str) -> None:
    words = ascii("a → b × 2 ⊗ π grün")
    body = f"print({words})\nraise command.InputError({words})"
    done = run(program(body), code=environment.get("PYTHONIOENCODING", "ascii"), **environment)
    assert done.returncode == 2
    assert done.stdout == f"{shown}\n"
    assert done.stderr == f"Error: {shown}\n"


def test_help_and_wrong_flags_need_no_unicode() -> None:
    words = [sys.executable, "-m", "pipelines.train_fashion"]
    asked = run([*words, "--help"], code="ascii", **ASCII)
    assert asked.returncode == 0, asked.stderr
    assert "--model.channels" in asked.stdout
    assert asked.stderr == ""
    wrong = run([*words, "--epochz", "3"], code="ascii", **ASCII)
    assert wrong.returncode == 2
    assert "--epochz" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_help_ends_on_a_console_of_few_columns() -> None:
    words = [sys.executable, "-m", "pipelines.train_fashion", "--help"]
    done = run(words, COLUMNS="5", TERM="dumb")
    assert done.returncode == 0
    assert "--model.channels" in done.stdout


# Arguments of the library and flags of a command


@dataclasses.dataclass(frozen=True)
class Inner:
    num_qubits: int = 2
    run: str = "inner"


@dataclasses.dataclass(frozen=True)
class Whole:
    run: str = "outer"
    resume: bool = True
    batch_size: int = 4
    model: Inner = Inner()
    training: Annotated[Inner, tyro.conf.arg(name="")] = Inner()


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Argument `batch_size` must be 2.", "Argument `--batch-size` must be 2."),
        ("Arguments `run` and `model.run` differ.", "Arguments `--run` and `--model.run` differ."),
        ("start over with `resume=False`", "start over with `--no-resume`"),
        ("`observables` is no flag, nor is `Z0`", "`observables` is no flag, nor is `Z0`"),
        ("`--batch-size` is one", "`--batch-size` is one"),
    ],
)
def test_arguments_become_flags(told: str, shown: str) -> None:
    assert command.with_flags(told, Whole) == shown


def test_arguments_become_the_flags_that_the_command_line_has() -> None:
    from pipelines import training
    from pipelines.train_fashion import FashionFlags
    from qnn_jax.tasks import Fashion

    training.parse(Fashion.presets(), FashionFlags(), [])
    (flags,) = command._flags
    for name in ("num_qubits", "batch_size", "no_twin", "results_dir"):
        told = f"Argument `{name}` must be another."
        flag = re.search("--[a-z.-]+", command.with_flags(told, flags))
        if name == "no_twin":
            assert flag is None
            continue
        assert flag[0].endswith(name.replace("_", "-"))
        # tyro itself must know it.
        with pytest.raises(SystemExit):
            tyro.cli(flags, args=[flag[0]])  # lacks its value, but is not an unknown flag
    done = run([sys.executable, "-m", "pipelines.train_fashion", "--model.num-qubits", "500"])
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Argument `--model.num-qubits` must be at most ")


# Streams

PRINTS = "for number in range(100_000): print(number)\nreturn 0"


def test_a_full_device_is_a_sentence() -> None:
    done = run(program(PRINTS), '"$@" > /dev/full')
    assert done.returncode == 1
    assert done.stderr == "Stopped: the output cannot be written (No space left on device).\n"
    assert run(program(PRINTS), '"$@" > /dev/full 2> /dev/full').returncode == 1
    asked = run([sys.executable, "-m", "pipelines.train_fashion", "--help"], '"$@" > /dev/full')
    assert (asked.returncode, asked.stderr) == (1, done.stderr)


def test_output_lost_at_exit_is_reported() -> None:
    done = run(program("print('no end of the line', end='')\nreturn 0"), '"$@" > /dev/full')
    assert done.returncode == 1
    assert done.stderr == "Stopped: the output cannot be written (No space left on device).\n"


def test_a_closed_pipe_ends_the_command_silently() -> None:
    done = run(program(PRINTS), '"$@" | head -1; exit ${PIPESTATUS[0]}')
    assert (done.returncode, done.stdout, done.stderr) == (141, "0\n", "")


def test_closed_streams_are_no_fault_and_no_file_takes_their_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    body = (
        f"file = open({str(path)!r}, 'w')\n"
        "print('to nobody', flush=True)\n"
        "os.write(1, b'from C')\n"
        "print('nobody either', file=sys.stderr)\n"
        "file.close()\nreturn 7"
    )
    done = run(program(body), '"$@" 0<&- 1>&- 2>&-')
    assert done.returncode == 7
    assert path.read_bytes() == b""
    for flags, status in (("--help", 0), ("--epochz", 2)):
        words = [sys.executable, "-m", "pipelines.train_calculator", flags]
        assert run(words, '"$@" 0<&- 1>&- 2>&-').returncode == status


def test_lines_come_at_once() -> None:
    with start(program("print('now')\ntime.sleep(60)\nreturn 0")) as process:
        assert process.stdout.readline() == "now\n"
        process.kill()


@pytest.mark.parametrize(
    "body",
    [
        "open('/nowhere/file')",  # an error of a file, not of the output
        "raise RuntimeError('a fault of ours')",
    ],
)
def test_bugs_keep_their_traceback(body: str) -> None:
    done = run(program(body))
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


# Environment variables of libraries


def test_pictures_do_not_depend_on_the_environments_backend(tmp_path: Path) -> None:
    body = (
        "from matplotlib.figure import Figure\n"
        f"Figure().savefig({str(tmp_path / 'picture.png')!r})\n"
        "return 0"
    )
    backend = "module://matplotlib_inline.backend_inline"
    done = run(program(body), MPLBACKEND=backend)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "picture.png").stat().st_size > 0
    broken = run([sys.executable, "-c", "import matplotlib"], MPLBACKEND="nowhere")
    assert broken.returncode == 1, "the environment's backend would be refused, so this proves it"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("JAX_PLATFORMS", "cuda", "no such device is here"),
        ("JAX_PLATFORMS", "nonsense", "'nonsense'"),
        ("JAX_ENABLE_X64", "maybe", "invalid truth value 'maybe'"),
    ],
)
def test_a_jax_that_cannot_start_is_a_sentence(name: str, value: str, reason: str) -> None:
    done = run(program("command.start_jax()"), **{name: value})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: JAX must be able to start, but cannot (")
    assert reason in line
    assert line.endswith(f": unset or correct {name}={value}.")


@pytest.mark.parametrize(
    "body",
    [
        "import jax.numpy as jnp\nreturn jnp.zeros((2**45,)).sum()",
        "import numpy as np\nreturn np.ones(2**50)",
    ],
    ids=["jax", "numpy"],
)
def test_too_little_memory_is_a_sentence(body: str) -> None:
    done = run(program(body))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Stopped: the memory does not suffice (")
    assert line.endswith("use fewer qubits or smaller batches, or a machine with more memory.")


EVERY = ("train", "predict", "train_fashion", "train_calculator", "scan", "ablate", "diagnose",
         "eval_aer", "eval_hardware", "learn_device", "tune", "report", "bench")  # fmt: skip


def test_help_and_wrong_flags_load_nothing_heavy() -> None:
    """All commands in one process, since their imports take most of the time."""
    code = (
        "import importlib, sys\n"
        f"for name in {EVERY}:\n"
        "    main = importlib.import_module(f'pipelines.{name}').main\n"
        "    for flags in (['--help'], ['--flagz', '3'], ['--seed', '4294967296']):\n"
        "        try: status = main(flags)\n"
        "        except SystemExit as end: status = end.code\n"
        "        except ValueError as error: status = 2\n"
        "        assert status == (0 if flags == ['--help'] else 2), (name, flags, status)\n"
        "loaded = {'jax', 'flax', 'qiskit', 'matplotlib', 'tensorflow_datasets'} & {*sys.modules}\n"
        "assert not loaded, loaded\n"
    )
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr


# Signals

# One call into C for a minute, like XLA's compilation.
STUCK = "import hashlib\nprint('ready')\nhashlib.pbkdf2_hmac('sha256', b'', b'', 100_000_000)"
# Callbacks of the garbage collector swallow exceptions, and JAX has one.
COLLECTING = (
    "import gc\ngc.callbacks.append(lambda *_: sum(range(2000)))\nprint('ready')\n"
    "while True: gc.collect(0)"
)


@pytest.mark.parametrize(
    ("body", "sent", "status"),
    [
        (STUCK, signal.SIGINT, 130),
        (STUCK, signal.SIGTERM, 75),
        (COLLECTING, signal.SIGINT, 130),
    ],
    ids=["stuck", "stuck-term", "collecting"],
)
def test_a_signal_ends_a_command_at_once(body: str, sent: signal.Signals, status: int) -> None:
    with start(program(body)) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (status, "", "Stopped here.\n")


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_during_imports_ends_it_too(
    tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    (tmp_path / "tyro.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)")
    words = [sys.executable, "-m", "pipelines.train_fashion"]
    with start(words, PYTHONPATH=str(tmp_path)) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == status


def test_what_ctrl_c_answers_can_be_pasted(tmp_path: Path) -> None:
    (tmp_path / "jax.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)")
    words = [sys.executable, "-m", "pipelines.train_calculator", "--run", "mine", "--epochs", "3"]
    with start(words, PYTHONPATH=str(tmp_path)) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    first, second = error.splitlines()
    assert first == "Stopped. Every finished epoch is saved; this continues from there:"
    assert shlex.split(second)[1:] == words[1:]


def test_importing_the_commands_leaves_signals_alone() -> None:
    code = (
        "from signal import SIGINT, SIGTERM, getsignal\n"
        "before = getsignal(SIGINT), getsignal(SIGTERM)\n"
        "import pipelines, pipelines.train_fashion\n"
        "assert before == (getsignal(SIGINT), getsignal(SIGTERM))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


# Seeds


@pytest.mark.parametrize("value", [-1, 2**32, 2**63, 2**64])
def test_seeds_beyond_32_bits_are_refused(value: int) -> None:
    with pytest.raises(
        InputError,
        match=rf"^Argument `--seed` must be an integer between 0 and 4294967295, but is {value}\.$",
    ):
        command.check_seed("--seed", value)


def test_seeds_that_follow_must_be_some_too() -> None:
    command.check_seed("--seed", 2**32 - 20, 20)
    with pytest.raises(
        InputError,
        match=r"^Argument `--seed` must leave room for 19 seeds above it, up to 4294967295, but is "
        r"4294967277\.$",
    ):
        command.check_seed("--seed", 2**32 - 19, 20)


def test_every_command_with_a_seed_refuses_what_would_wrap() -> None:
    from pipelines import (
        ablate,
        diagnose,
        eval_aer,
        eval_hardware,
        learn_device,
        scan,
        train_calculator,
        train_fashion,
        tune,
    )

    for main, flags in (
        (train_fashion.main, ("--seed", "--order-seed", "--split-seed")),
        (scan.main, ("--seed", "--order-seed", "--split-seed")),
        (train_calculator.main, ("--seed",)),
        (ablate.main, ("--seed",)),
        (diagnose.main, ("--seed",)),
        (eval_aer.main, ("--seed",)),
        (eval_hardware.main, ("--seed",)),
        (learn_device.main, ("--seed",)),
        (tune.main, ("--seed",)),
    ):
        for flag in flags:
            with pytest.raises(InputError, match="` must be an integer between 0 and 429") as error:
                main([flag, "4294967296"])
            assert f"`{flag}`" in command.in_flags(error.value)
    with pytest.raises(InputError, match="leave room for 19 seeds"):
        ablate.main(["--seed", "4294967290"])
    with pytest.raises(InputError, match="leave room for 5 seeds"):
        eval_aer.main(["--seed", "4294967295"])
    with pytest.raises(InputError, match="a seed from 0 to 4294967295, but one is '4294967296'"):
        scan.main(["--axis", "seed=0,4294967296"])


def test_the_time_is_that_of_a_clock_that_never_runs_backwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    before = command.seconds()
    assert 0 < before <= command.seconds() < os.times().elapsed


def test_results_carry_no_control_sequence_but_colours_to_the_terminal() -> None:
    title, colour, link = "\x1b]0;title\x07", "\x1b[1;31mred\x1b[0m", "\x1b]8;;file:x\x1b\\link"
    body = f"print({title + colour + link + chr(0x9B)!r}); print({title!r}, file=sys.stderr)"
    done = run(program(body))
    assert done.stdout == "]0;title\x1b[1;31mred\x1b[0m]8;;file:x\\link\n"
    assert done.stderr == "]0;title\n"


def test_sentences_carry_no_escape_sequences_to_the_terminal() -> None:
    """They may quote files and services."""
    body = "from qnn_jax.errors import InputError\nraise InputError('a \\x1b[31mred\\x07 file')"
    done = run(program(body))
    assert done.returncode == 2
    assert done.stderr.startswith("Error: a red")
    assert not set(done.stderr) & {"\x1b", "\x07"}


def test_memory_that_xla_finds_missing_later_is_one_sentence() -> None:
    done = run(program("raise RuntimeError('INTERNAL: Out of memory allocating 8 bytes')"))
    assert done.returncode == 1
    assert done.stderr.startswith("Stopped: the memory does not suffice (INTERNAL: Out of memory")


def test_a_missing_run_comes_with_the_command_that_trains_one(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pipelines.report", "--results-dir", str(tmp_path)]
    ended = run(words)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"Error: Argument `--results-dir` must hold a finished run, but {tmp_path} has none; "
        "train one first (make train-fashion).\n"
    )


def test_a_task_is_trained_by_the_target_of_its_name_or_by_train() -> None:
    assert [command.train(name, []) for name in TASKS] == [
        "make train-fashion",
        "make train-calculator",
        "make train ARGS='--task tabular'",
        "make train ARGS='--task pooled'",
        "make train ARGS='--task sine'",
    ]
