"""Files are whole or absent; a lock has one holder."""

import os
import threading
import time

import pytest

from qnn_jax.data.files import locked, write_atomically


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old", memoryview(b" text"))
    assert path.read_bytes() == b"old text"

    def full(_):
        raise OSError("full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old text"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_has_one_holder_at_a_time(tmp_path):
    """Though each holder removes the file, so that later ones make it anew."""
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
    precious, path, lock = (tmp_path / name for name in ("precious", "file", "lock"))
    precious.write_text("mine")
    for link in (path, path.with_name("file.part"), lock):
        link.symlink_to(precious)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()
    with pytest.raises(OSError, match="symbolic links"), locked(lock, lambda: None):
        pass
    assert precious.read_text() == "mine"
