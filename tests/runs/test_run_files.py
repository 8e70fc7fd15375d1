import json

import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.runs import (
    read_json,
    read_npz,
    write_bytes_atomic,
    write_json_atomic,
    write_npz_atomic,
)


def test_bytes_replace_what_was_there(tmp_path):
    file = tmp_path / "file"
    for data in (b"one", b"", b"three"):
        write_bytes_atomic(file, data)
        assert file.read_bytes() == data
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_is_interrupted_leaves_the_old_file_alone(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_bytes_atomic(file, b"old")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_file_and_folder_reach_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    import os

    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr("os.fsync", lambda fd: (order.append(os.fstat(fd).st_ino), fsync(fd)))
    monkeypatch.setattr("os.replace", lambda a, b: (order.append("rename"), replace(a, b)))
    write_bytes_atomic(tmp_path / "file", b"data")
    assert order == [(tmp_path / "file").stat().st_ino, "rename", tmp_path.stat().st_ino]


@pytest.mark.parametrize("place", ["missing/file", "plain/file", "folder"])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, place):
    (tmp_path / "plain").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=rf"^Cannot write 4 bytes to .*{place} \(.*\): make room"):
        write_bytes_atomic(tmp_path / place, b"data")
    assert not list(tmp_path.glob(".*"))


def test_json_is_standard_and_reads_back(tmp_path):
    file = tmp_path / "file.json"
    value = {
        "path": tmp_path,
        "array": np.arange(3, dtype=np.float32),
        "number": np.int64(3),
        "pair": (1, 0.1),
        "nan": [np.nan, float("-inf")],
        "nested": {"a": None, "b": True, "c": "é\ud800"},
    }
    write_json_atomic(file, value)

    def refuse(constant):
        raise AssertionError(constant)

    json.loads(file.read_text(), parse_constant=refuse)
    assert read_json(file) == {
        "path": str(tmp_path),
        "array": [0.0, 1.0, 2.0],
        "number": 3,
        "pair": [1, 0.1],
        "nan": [None, None],
        "nested": {"a": None, "b": True, "c": "é\ud800"},
    }


def test_what_has_no_form_in_json_is_named(tmp_path):
    with pytest.raises(TypeError, match="of type object has no form in JSON"):
        write_json_atomic(tmp_path / "file.json", {"x": object()})
    assert not list(tmp_path.iterdir())


def test_json_that_is_not_there_is_none(tmp_path):
    assert read_json(tmp_path / "file.json") is None


ARRAYS = {
    "params/kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "file": np.float64(0.1),
    "allow_pickle": np.array([True, False]),
    "a": np.array([1, 2], np.uint32),
    "a.npy": np.array([3 + 4j]),
    "": np.zeros((0, 3), np.int8),
}


def test_arrays_read_back_bit_for_bit_with_any_name(tmp_path):
    write_npz_atomic(tmp_path / "w.npz", ARRAYS)
    found = read_npz(tmp_path / "w.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=False)
        assert found[name].shape == array.shape


def test_numpy_reads_the_file_as_well(tmp_path):
    write_npz_atomic(tmp_path / "w.npz", ARRAYS)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["params/kernel"], ARRAYS["params/kernel"])


def test_the_sha256_is_that_of_the_file_and_follows_from_the_arrays_alone(tmp_path, monkeypatch):
    import hashlib
    import time

    digest = write_npz_atomic(tmp_path / "w.npz", ARRAYS)
    assert digest == hashlib.sha256((tmp_path / "w.npz").read_bytes()).hexdigest()
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    in_c_order = {name: array.copy(order="C") for name, array in ARRAYS.items()}
    assert write_npz_atomic(tmp_path / "again.npz", in_c_order) == digest


def test_every_flipped_bit_and_every_truncation_is_noticed(tmp_path):
    whole, broken = tmp_path / "whole.npz", tmp_path / "broken.npz"
    write_npz_atomic(whole, {"w": np.arange(10.0), "b": np.float32(1)})
    data = whole.read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        broken.write_bytes(flipped)
        with pytest.raises(InputError, match=r"broken\.npz is damaged.*: mend it\.$"):
            read_npz(broken, "mend it")
    for length in range(len(data)):
        broken.write_bytes(data[:length])
        with pytest.raises(InputError, match="is damaged"):
            read_npz(broken)
    broken.write_bytes(data + b"\n")
    with pytest.raises(InputError, match="is damaged"):
        read_npz(broken)


@pytest.mark.parametrize("array", [np.array([None]), np.array(["a"]), np.zeros(2, "V2")])
def test_dtypes_that_npz_cannot_hold_are_refused(tmp_path, array):
    with pytest.raises(TypeError, match=r"Array `x` has dtype .*, which \.npz cannot hold"):
        write_npz_atomic(tmp_path / "w.npz", {"x": array})
    assert not list(tmp_path.iterdir())


def test_an_npz_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"^Cannot read .*w\.npz \(No such file.*: train this"):
        read_npz(tmp_path / "w.npz")
