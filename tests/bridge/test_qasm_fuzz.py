"""Damaged OpenQASM texts: each is read or refused in words, soon and without a sound.

Small texts of our own are damaged by a seeded generator: tokens and characters are deleted,
doubled, swapped and replaced. The contract is `fault`; texts that broke it stay in `FOUND`.
"""

import contextlib
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from qnn_jax import InputError
from qnn_jax.bridge import from_qasm

SEEDS = [path.read_text() for path in sorted((Path(__file__).parent / "qasm").glob("fuzz_*.qasm"))]
PIECES = [
    *"()[]{};,.:@/*-+=~!<>&|^%\"'$#\\ \n\t0123456789aqxUe_πθ\x00\ufeff€",
    *("++", "->", "**", "//", "/*", "*/", "ctrl @", "inv @", "pow(0.5) @", "negctrl(3) @", "gate"),
    *("qubit", "qreg", "input", "const", "let", "measure", "reset", "barrier", "gphase(1)", "pi"),
    *("true", "1/2", "1/0", "1e999", "-1", "0", "q", "q[0]", "U(1,2,3)", "float", "int[3]", "sin("),
    *("log(-1)", "[0:1]", "{0, 1}", "mod(", "**-2", "if (c == 1)", "im", "ns", "9" * 30),
    *("OPENQASM 2.0;", "OPENQASM 3.0;", 'include "stdgates.inc";'),
]
#: What the fuzz test found.
FOUND = [
    "/* a" * 5000 + "qubit q;",  # the lexer looked for an end from every /* on
    "",  # the visitor wants a first token
    "/* a */",
    "OPENQASM 2.0; qreg q[99999999999999999999];",  # a panic of Qiskit's parser
]
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


class _TooSlow(BaseException):
    """The time is up. No Exception, so that nobody takes it for one of their own."""


def damaged(generator):
    """A seed with a few small damages."""
    text = generator.choice(SEEDS)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 6))):
        parts = _TOKEN.findall(text) if generator.random() < 0.7 else list(text)
        if not parts:
            break
        here, there = (generator.randrange(len(parts)) for _ in range(2))
        kind = generator.choice(("delete", "double", "swap", "replace", "insert", "cut", "move"))
        if kind == "delete":
            del parts[here]
        elif kind == "double":
            parts[here] *= generator.choice((2, 2, 3, 100))
        elif kind == "swap":
            parts[here], parts[there] = parts[there], parts[here]
        elif kind == "replace":
            parts[here] = generator.choice(PIECES)
        elif kind == "insert":
            parts.insert(here, f" {generator.choice(PIECES)} ")
        elif kind == "cut":
            del parts[here : here + generator.randrange(20)]
        else:
            parts[there:there] = parts[here : here + generator.randrange(20)]
        text = "".join(parts)
    return text


def fault(read, text, capfd, seconds=10.0):
    """What is wrong with how a text is read, or None."""

    def up(signum, frame):
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        read(text)
    except InputError as error:
        if not re.fullmatch(r"Argument `(text|inputs)` .*\.", str(error)):
            return f"no sentence: {error}"
    except _TooSlow:
        return f"takes more than {seconds} s"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    written = "".join(capfd.readouterr())
    return f"writes {written!r}" if written else None


def faults(number, seed, capfd, seconds):
    """The faults among so many damaged texts, or among those that the time is enough for."""
    generator = random.Random(seed)
    end = time.monotonic() + seconds
    found = {}
    for _ in range(number):
        if time.monotonic() > end:
            break
        text = damaged(generator)
        if (wrong := fault(from_qasm, text, capfd)) is not None:
            found[text] = wrong
    return found


@pytest.mark.parametrize("text", FOUND, ids=range(len(FOUND)))
def test_texts_that_were_faults_once(text, capfd):
    assert fault(from_qasm, text, capfd) is None


def test_the_undamaged_texts_hold_the_contract_and_half_of_them_are_read(capfd):
    assert [fault(from_qasm, text, capfd) for text in SEEDS] == [None] * len(SEEDS)
    read = 0
    for text in SEEDS:
        with contextlib.suppress(InputError):
            from_qasm(text)
            read += 1
    assert read >= 2


def test_damaged_texts_are_read_or_refused(capfd):
    assert faults(1_500, 0, capfd, 25) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_damaged_texts_are_read_or_refused(seed, capfd):
    assert faults(20_000, seed, capfd, 180) == {}


def _prints(text):
    print(text)


def _raises(text):
    raise KeyError(text)


def _panics(text):
    raise type("PanicException", (BaseException,), {})(text)


def _hangs(text):
    while True:
        pass


def _mumbles(text):
    raise InputError("no")


def _warns(text):
    print("line 1:1 token recognition error", file=sys.stderr)


@pytest.mark.parametrize(
    ("read", "wrong"),
    [
        (_prints, "writes 'a"),
        (_warns, "writes 'line"),
        (_raises, "KeyError"),
        (_panics, "PanicException"),
        (_hangs, "takes more"),
        (_mumbles, "no sentence"),
    ],
)
def test_the_contract_rejects_what_breaks_it(read, wrong, capfd):
    assert fault(read, "a", capfd, seconds=0.2).startswith(wrong)
