import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from qnn_jax.runs import GracefulStop

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

# One call into C for a minute, which lets go of the GIL but never of the main thread, as XLA does.
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


def test_handlers_and_threads_are_as_before_afterwards():
    def mine(*_):
        pass

    numbers = (signal.SIGINT, signal.SIGTERM)
    outer = [signal.signal(number, mine) for number in numbers]
    try:
        threads, files = threading.active_count(), len(os.listdir("/dev/fd"))
        with suppress(KeyError), GracefulStop() as stop:
            assert signal.getsignal(signal.SIGINT) is not mine
            assert not stop.requested
            raise KeyError
        assert [signal.getsignal(number) for number in numbers] == [mine, mine]
        assert threading.active_count() == threads
        assert len(os.listdir("/dev/fd")) == files
        assert signal.set_wakeup_fd(-1) == -1
        assert stop.exit_code == 0
    finally:
        for number, handler in zip(numbers, outer, strict=True):
            signal.signal(number, handler)


def test_the_first_signal_sets_the_exit_code():
    with GracefulStop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.exit_code == 75


def test_a_signal_that_is_ignored_stays_ignored():
    outer = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with GracefulStop() as stop:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, outer)


def test_only_the_main_thread_may_enter():
    caught = []

    def enter():
        try:
            GracefulStop().__enter__()
        except ValueError as error:
            caught.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])
