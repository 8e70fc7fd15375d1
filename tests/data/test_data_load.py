"""From archives to arrays: whole, once, and safe against whatever goes wrong."""

import dataclasses
import gzip
import hashlib
import json
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_source import make_tiny

from qnn_jax.data import FASHION_MNIST, ImageDataset, load_fashion_mnist, progress_bar
from qnn_jax.data.fashion_mnist import load_images
from qnn_jax.data.source import Archive
from qnn_jax.errors import InputError


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def stages(heard):
    """Return the reported activities, each once, by its first word."""
    return list(dict.fromkeys(what.split()[0] for what, _, _ in heard))


def cache_in(data_dir, source):
    return data_dir / source.folder / "arrays.u8"


class Ear(list):
    """A report that records its calls."""

    def __call__(self, *what):
        self.append(what)


@pytest.fixture
def prepared(tiny, tmp_path):
    data_dir = tmp_path / "data"
    load_images(tiny.source, data_dir, tiny.folder)
    return data_dir


# Prepared files


def test_first_load_prepares_and_later_loads_do_not(tiny, tmp_path, capfd):
    first, second = Ear(), Ear()
    data_dir = tmp_path / "new" / "data"
    tiny.check(load_images(tiny.source, data_dir, tiny.folder, first))
    assert first == [("Unpacking Tiny-MNIST", 0, 0)]
    made = files(data_dir)
    digest = tiny.source.contents_sha256
    assert made == [f"tiny-mnist-{digest[:16]}/arrays.u8"]  # the data once, and no lock
    dataset = load_images(tiny.source, data_dir, None, second)
    tiny.check(dataset)
    assert second == []
    assert files(data_dir) == made
    assert dataset.name == "Tiny-MNIST"
    assert dataset.class_names == FASHION_MNIST.class_names
    assert dataset.checksum == tiny.source.contents_sha256
    assert capfd.readouterr() == ("", "")


def test_the_arrays_are_read_only(tiny, prepared):
    dataset = load_images(tiny.source, prepared)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(dataset, name)[0] = 0


def test_each_source_has_a_cache_of_its_own(tiny, tmp_path):
    """Also those of one title: other pixels, other sizes."""
    data_dir = tmp_path / "data"
    several = [tiny, make_tiny(tmp_path / "b", seed=8), make_tiny(tmp_path / "c", shape=(5, 9))]
    for one in several:
        one.check(load_images(one.source, data_dir, one.folder))
    assert len(files(data_dir)) == 3
    for one in several:
        one.check(load_images(one.source, data_dir))
    # The cache of one in the place of another's, which has the same size, is no use.
    shutil.copy(cache_in(data_dir, several[1].source), cache_in(data_dir, tiny.source))
    tiny.check(load_images(tiny.source, data_dir, tiny.folder))


def test_what_other_programs_keep_there_is_left_alone(tiny, tmp_path):
    stock = tmp_path / "data" / "fashion_mnist" / "3.0.1" / "dataset_info.json"
    stock.parent.mkdir(parents=True)
    stock.write_text("{}")
    load_images(tiny.source, tmp_path / "data", tiny.folder)
    assert stock.read_text() == "{}"


# Another process


def start(tiny, data_dir, *, manual=True, kill_at=None, file_limit=None):
    """Load in another process, which prints its reports and kills itself at `kill_at`."""
    source = dataclasses.asdict(tiny.source)
    folder = str(tiny.folder) if manual else None
    argument = json.dumps([source, str(data_dir), folder, kill_at, file_limit])
    command = [sys.executable, Path(__file__).with_name("tiny_loader.py"), argument]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def test_loading_imports_neither_tfds_nor_jax(tiny, prepared):
    said, _ = start(tiny, prepared, manual=False).communicate()
    assert said == "loaded []\n"


def test_processes_that_prepare_at_once_all_succeed(tiny, tmp_path):
    processes = [start(tiny, tmp_path / "data") for _ in range(3)]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum("Unpacking" in text for text in said) == 1
    tiny.check(load_images(tiny.source, tmp_path / "data"))


@pytest.mark.parametrize("moment", ["Unpacking Tiny-MNIST", "fsync"])
def test_a_killed_preparation_is_begun_anew(tiny, tmp_path, moment):
    data_dir = tmp_path / "data"
    process = start(tiny, data_dir, kill_at=moment)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not cache_in(data_dir, tiny.source).exists()
    assert any(name.endswith(".tmp") for name in files(data_dir)) == (moment == "fsync")
    tiny.check(load_images(tiny.source, data_dir, tiny.folder))
    assert files(data_dir) == [f"{tiny.source.folder}/arrays.u8"]


# Damage


def flip(data):
    return data[:1000] + bytes((data[1000] ^ 1,)) + data[1001:]


DAMAGE = {
    "flipped": flip,
    "truncated": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_told_and_replaced(tiny, prepared, damage):
    cache = cache_in(prepared, tiny.source)
    whole = cache.read_bytes()
    cache.write_bytes(DAMAGE[damage](whole))
    heard = Ear()
    tiny.check(load_images(tiny.source, prepared, tiny.folder, heard))
    assert heard[0][0] == f"Replacing '{cache}', which is damaged"
    assert stages(heard) == ["Replacing", "Unpacking"]
    assert cache.read_bytes() == whole


# Archives from a folder


def spoil_and_message(path):
    """Yield ways to damage an archive, and the expected message."""
    data = path.read_bytes()
    return {
        "html": (b"<html><body>404</body></html>", "is an HTML page"),
        "empty": (b"", "is empty"),
        "truncated": (data[:-5], f"is truncated to {len(data) - 5} of {len(data)} bytes"),
        "longer": (data + b"x", "is longer than"),
        "zip": (b"PK" + data[2:], "is no gzip archive"),
        "flipped": (flip(data) if len(data) > 1000 else data[:-1] + b"\7", "has the sha256"),
        "of another dataset": (gzip.compress(data), "is longer than"),
    }


@pytest.mark.parametrize(
    "how", ["html", "empty", "truncated", "longer", "zip", "flipped", "of another dataset"]
)
@pytest.mark.parametrize("which", [0, 3])
def test_a_wrong_archive_is_named(tiny, tmp_path, how, which, one_sentence):
    path = tiny.folder / tiny.names[which]
    data, message = spoil_and_message(path)[how]
    path.write_bytes(data)
    begin = time.monotonic()
    with pytest.raises(InputError, match=message) as caught:
        load_images(tiny.source, tmp_path / "data", tiny.folder)
    assert time.monotonic() - begin < 1
    text = one_sentence(caught)
    assert text.startswith("Argument `manual_dir` must ")
    assert f"'{path}'" in text
    assert not (tmp_path / "data").exists()


def test_missing_archives_are_named_and_not_downloaded(tiny, server, tmp_path, one_sentence):
    server.offer(tiny)
    for name in tiny.names[1:3]:
        (tiny.folder / name).unlink()
    with pytest.raises(InputError, match=f"lacks {tiny.names[1]} and {tiny.names[2]}") as caught:
        load_images(tiny.served_at(server.address), tmp_path / "data", tiny.folder)
    assert str(tiny.folder) in one_sentence(caught)
    assert server.requests == []
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("name", "what"), [("absent", "does not exist"), ("file", "is no folder")])
def test_a_manual_dir_that_is_no_folder_is_named(tiny, tmp_path, name, what, one_sentence):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"but '{tmp_path / name}' {what}") as caught:
        load_images(tiny.source, tmp_path / "data", tmp_path / name)
    text = one_sentence(caught)
    assert all(archive in text for archive in tiny.names)
    assert not (tmp_path / "data").exists()


def test_an_archive_that_may_not_be_read_is_named(
    tiny, tmp_path, open_folder, unprivileged, one_sentence
):
    shutil.copytree(tiny.folder, open_folder / "archives")
    closed = open_folder / "archives" / tiny.names[2]
    closed.chmod(0)
    with (
        unprivileged(),
        pytest.raises(InputError, match=f"'{closed}' cannot be read .Permission denied") as caught,
    ):
        load_images(tiny.source, tmp_path / "data", open_folder / "archives")
    assert one_sentence(caught).startswith("Argument `manual_dir` must ")


def test_manual_dir_comes_before_its_variable(tiny, tmp_path, monkeypatch, one_sentence):
    monkeypatch.setenv("QNN_JAX_MANUAL_DIR", str(tmp_path / "absent"))
    with pytest.raises(InputError, match="variable QNN_JAX_MANUAL_DIR") as caught:
        load_images(tiny.source, tmp_path / "data")
    assert "`manual_dir`" in one_sentence(caught)
    tiny.check(load_images(tiny.source, tmp_path / "data", tiny.folder))
    monkeypatch.setenv("QNN_JAX_MANUAL_DIR", str(tiny.folder))
    tiny.check(load_images(tiny.source, tmp_path / "other"))
    with pytest.raises(InputError, match="does not exist"):
        load_images(tiny.source, tmp_path / "data", tmp_path / "absent")


def test_what_is_prepared_needs_no_manual_variable_any_more(tiny, prepared, monkeypatch):
    monkeypatch.setenv("QNN_JAX_MANUAL_DIR", str(prepared / "absent"))
    tiny.check(load_images(tiny.source, prepared))


def test_an_invalid_archive_with_the_right_checksum_is_reported(tiny, tmp_path, one_sentence):
    """This would be an error in the table of checksums: magic number, counts."""
    path = tiny.folder / tiny.names[1]
    data = gzip.compress(b"\0\0\x08\1" + (29).to_bytes(4, "big") + bytes(29))
    path.write_bytes(data)
    archive = Archive(path.name, len(data), hashlib.sha256(data).hexdigest())
    source = dataclasses.replace(tiny.source, train_labels=archive)
    with pytest.raises(InputError, match="hold 30 images and 29 labels") as caught:
        load_images(source, tmp_path / "data", tiny.folder)
    one_sentence(caught)
    assert files(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_shape": (14, 56)}, "images of 14×56 pixels, but holds 28×28"),
        ({"test_count": 19}, "'t10k-images.*' must hold 19 entries, but holds 20"),
        ({"contents_sha256": "0" * 64}, "must hold the data that `contents_sha256` stands for"),
    ],
)
def test_a_source_that_says_something_else_is_told(tiny, tmp_path, changes, message, one_sentence):
    source = dataclasses.replace(tiny.source, **changes)
    with pytest.raises(InputError, match=message) as caught:
        load_images(source, tmp_path / "data", tiny.folder)
    one_sentence(caught)
    assert files(tmp_path / "data") == []


# Archives from the network


def test_downloads_where_there_is_no_folder(tiny, server, tmp_path):
    server.offer(tiny)
    heard = Ear()
    tiny.check(load_images(tiny.served_at(server.address), tmp_path / "data", None, heard))
    assert stages(heard) == ["Downloading", "Unpacking"]
    kept = tmp_path / "data" / tiny.source.folder / "archives"
    assert files(kept) == sorted(tiny.names)


def test_a_missing_network_is_reported_in_time(tiny, tmp_path, one_sentence):
    begin = time.monotonic()
    with pytest.raises(InputError, match="cannot be downloaded") as caught:
        load_images(tiny.source, tmp_path / "data")
    assert time.monotonic() - begin < 4  # it is refused; test_data_fetch.py tests silence
    text = one_sentence(caught)
    assert all(name in text for name in tiny.names)
    assert "`manual_dir`" in text
    assert str(tmp_path / "data") in text
    assert files(tmp_path / "data") == []


# The data folder


def test_data_dir_comes_before_its_variable_and_that_before_home(tiny, tmp_path, monkeypatch):
    def load(argument=None):
        load_images(tiny.source, argument, tiny.folder)
        return {name for name in ("a", "b", "c") if (tmp_path / name).exists()}

    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "b"))
    assert load(tmp_path / "a") == {"a"}
    assert load() == {"a", "b"}
    monkeypatch.setenv("TFDS_DATA_DIR", "")
    assert load() == {"a", "b", "c"}
    assert cache_in(tmp_path / "c" / "tensorflow_datasets", tiny.source).is_file()


def test_a_missing_home_folder_is_reported(tiny, monkeypatch, one_sentence):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: {}["nobody"])
    with pytest.raises(InputError, match=r"Argument `data_dir` must .* no home folder") as caught:
        load_images(tiny.source, None, tiny.folder)
    one_sentence(caught)


def test_a_data_dir_that_is_a_file_is_reported(tiny, tmp_path, one_sentence):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="Argument `data_dir` must be a folder") as caught:
            load_images(tiny.source, path, tiny.folder)
        assert str(tmp_path / "file") in one_sentence(caught)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_data_dir_that_cannot_be_written_is_reported(
    tiny, server, open_folder, unprivileged, one_sentence
):
    server.offer(tiny)
    open_folder.chmod(0o555)
    for path in (open_folder, open_folder / "data"):
        with (
            unprivileged(),
            pytest.raises(InputError, match=r"`data_dir` must .* Permission denied") as caught,
        ):
            load_images(tiny.served_at(server.address), path)
        assert str(path) in one_sentence(caught)
    assert server.requests == []
    assert list(open_folder.iterdir()) == []


def test_prepared_data_need_no_right_to_write(tiny, open_folder, unprivileged):
    load_images(tiny.source, open_folder, tiny.folder)
    open_folder.chmod(0o555)
    with unprivileged():
        tiny.check(load_images(tiny.source, open_folder))


def test_a_full_disk_is_reported_and_leaves_no_complete_looking_file(tiny, tmp_path):
    _, error = start(tiny, tmp_path / "data", file_limit=20_000).communicate()
    *_, last = error.splitlines()
    assert "InputError: Argument `data_dir` must " in last
    assert last.endswith("File too large.")
    assert files(tmp_path / "data") == []
    tiny.check(load_images(tiny.source, tmp_path / "data", tiny.folder))


# The bar


def test_the_bar_draws_lines_on_standard_error_and_only_if_there_is_a_wait(tiny, tmp_path, capfd):
    for _ in range(2):
        with progress_bar() as report:
            load_images(tiny.source, tmp_path / "data", tiny.folder, report)
        out, err = capfd.readouterr()
        assert out == ""
        if _ == 0:
            assert err.splitlines() == ["Unpacking Tiny-MNIST"]
    assert err == ""


# Real data


def test_official_fashion_mnist(official, tmp_path):
    begin = time.monotonic()
    dataset = load_fashion_mnist(tmp_path / "data", official)
    first = time.monotonic() - begin
    begin = time.monotonic()
    again = load_fashion_mnist(tmp_path / "data")
    later = time.monotonic() - begin
    assert first < 30
    assert later < 1.5  # 0.1 on an idle machine
    for name, offset in (("train-images-idx3", 16), ("train-labels-idx1", 8)):
        raw = gzip.decompress((official / f"{name}-ubyte.gz").read_bytes())[offset:]
        field = "train_images" if "images" in name else "train_labels"
        assert getattr(dataset, field).tobytes() == raw
        assert getattr(again, field).tobytes() == raw
    for name, offset in (("t10k-images-idx3", 16), ("t10k-labels-idx1", 8)):
        raw = gzip.decompress((official / f"{name}-ubyte.gz").read_bytes())[offset:]
        assert getattr(dataset, "test_" + name.split("-")[1]).tobytes() == raw
    assert isinstance(dataset, ImageDataset)
    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.test_images.shape == (10_000, 28, 28)
    assert np.bincount(dataset.train_labels).tolist() == [6000] * 10
    pair = dataset.select(("T-shirt/top", "Trouser"))
    assert (len(pair.train_labels), len(pair.test_labels)) == (12_000, 2_000)
    # The shirt is the first of the published pictures that shows one.
    np.testing.assert_array_equal(pair.train_images[0], dataset.train_images[1])
