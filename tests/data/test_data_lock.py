"""A lock has one holder."""

import threading
import time

import pytest

from qnn_jax.data.lock import locked


def test_a_lock_has_one_holder_at_a_time(tmp_path):
    """Even if each holder removes the file, so that later ones create it again."""
    path = tmp_path / "lock"
    inside, most, entered = 0, 0, 0

    def work():
        nonlocal inside, most, entered
        for _ in range(40):
            with locked(path, lambda: None):
                inside += 1
                time.sleep(0)  # let others try
                most = max(most, inside)
                entered += 1
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, entered) == (1, 240)
    assert not path.exists()


def test_a_lock_tells_who_has_to_wait_and_outlives_an_error(tmp_path):
    path = tmp_path / "lock"
    waited = threading.Event()

    def second():
        with locked(path, waited.set):
            pass

    thread = threading.Thread(target=second)

    def first():
        with locked(path, lambda: None):
            thread.start()
            assert waited.wait(10)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        first()
    thread.join(10)
    assert not thread.is_alive()
    assert not path.exists()


def test_links_are_not_followed(tmp_path):
    precious, lock = tmp_path / "precious", tmp_path / "lock"
    precious.write_text("mine")
    lock.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"), locked(lock, lambda: None):
        pass
    assert precious.read_text() == "mine"
