import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from qnn_jax.runs import GracefulStop, ImmediateStop

BOTH = pytest.mark.parametrize("stopping", [GracefulStop, lambda: ImmediateStop("Stopped.")])
LOOP = """
import signal, sys, time
from qnn_jax.runs import GracefulStop
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the caller of pytest ignored
with GracefulStop(notify=lambda: print("stopping", flush=True)) as stop:
    print("ready", flush=True)
    for _ in range(600):
        time.sleep(0.1)
        if stop.requested:
            break
    print("saved", flush=True)
sys.exit(stop.exit_code)
"""

# One call into C for a minute, which releases the GIL but not the main thread, like XLA.
STUCK = """
import hashlib, signal
from qnn_jax.runs import GracefulStop
signal.signal(signal.SIGINT, signal.default_int_handler)
with GracefulStop(notify=lambda: print("stopping", flush=True)):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)
"""


def started(code):
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_ends_the_loop_after_its_epoch(number, code):
    with started(LOOP) as process:
        process.send_signal(number)
        assert process.communicate(timeout=20)[0] == "stopping\nsaved\n"
    assert process.returncode == code


def test_a_second_interrupt_ends_the_process_at_once_even_inside_a_long_call():
    with started(STUCK) as process:
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)  # no interrupt, so it does not count
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == 130
    assert time.monotonic() - begin < 10


# Code after a `with` block of the other kind, and a message that is not UTF-8.
NESTED = """
import signal, time
from qnn_jax.runs import GracefulStop, ImmediateStop
signal.signal(signal.SIGINT, signal.default_int_handler)
with ImmediateStop("Stopped \\udcff."):
    with GracefulStop() as stop:
        pass
    print("ready", flush=True)
    try:
        time.sleep(60)
    finally:
        print("unwound", flush=True)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_an_immediate_stop_unwinds_nothing(number, code, tmp_path):
    with open(tmp_path / "error", "wb") as error:
        process = subprocess.Popen(
            [sys.executable, "-c", NESTED], stdout=subprocess.PIPE, stderr=error, text=True
        )
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == code
    assert (tmp_path / "error").read_bytes() == b"Stopped \xff.\n"


@BOTH
def test_handlers_and_threads_are_as_before_afterwards(stopping):
    def mine(*_):
        pass

    numbers = (signal.SIGINT, signal.SIGTERM)
    outer = [signal.signal(number, mine) for number in numbers]
    try:
        threads, files = threading.active_count(), len(os.listdir("/dev/fd"))
        with suppress(KeyError), stopping():
            assert signal.getsignal(signal.SIGINT) is not mine
            raise KeyError
        assert [signal.getsignal(number) for number in numbers] == [mine, mine]
        assert threading.active_count() == threads
        assert len(os.listdir("/dev/fd")) == files
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        for number, handler in zip(numbers, outer, strict=True):
            signal.signal(number, handler)


def test_the_first_signal_sets_the_exit_code():
    with GracefulStop() as stop:
        assert not stop.requested
        assert stop.exit_code == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.exit_code == 75


@BOTH
def test_a_signal_that_is_ignored_stays_ignored(stopping):
    outer = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping() as stop:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            assert not getattr(stop, "requested", False)
    finally:
        signal.signal(signal.SIGINT, outer)


@BOTH
def test_only_the_main_thread_may_enter(stopping):
    caught = []

    def enter():
        try:
            stopping().__enter__()
        except ValueError as error:
            caught.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])
