"""A run's folder from someone else: links, pipes, and files with false headers."""

import hashlib
import io
import os
import socket
import stat
import tracemalloc
import zipfile

import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.runs import (
    RunDirectory,
    checkpoints,
    read_json,
    read_npz,
    write_bytes_atomic,
    write_json_atomic,
    write_npz_atomic,
)
from qnn_jax.runs.files import npz_bytes, open_regular

CONFIG = {"rate": 0.1}


@pytest.fixture
def run(tmp_path):
    """The folder of a run with one checkpoint."""
    with RunDirectory.open(tmp_path, "run", CONFIG) as opened:
        opened.append_metrics(1, {"loss": 1.0})
        checkpoints.save(opened.checkpoints, 1, {}, fingerprint=opened.fingerprint)
        write_json_atomic(opened.path / "summary.json", {"task": "fashion"})
        write_npz_atomic(opened.path / "weights.npz", {"w": np.ones(2)})
        assert opened.figures.is_dir()
    return opened.path


@pytest.fixture
def precious(tmp_path):
    """The user's files elsewhere, which must not change."""
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "file").write_text("mine")
    (folder / "epoch-000001.npz").write_text("mine")
    (folder / ".mine.tmp").write_text("mine")
    yield folder
    assert {p.name: p.read_text() for p in folder.iterdir()} == {
        "file": "mine",
        "epoch-000001.npz": "mine",
        ".mine.tmp": "mine",
    }


def use(results):
    """Everything that commands do with a run's folder."""
    with RunDirectory.open(results, "run", CONFIG) as run:
        latest = checkpoints.latest(run.checkpoints)
        if latest:
            checkpoints.load(latest, {}, fingerprint=run.fingerprint)
        run.truncate_metrics(1)
        run.append_metrics(2, {})
        checkpoints.save(run.checkpoints, 2, {}, fingerprint=run.fingerprint, keep=1)
        write_bytes_atomic(run.figures / "curves.png", b"png")
    with RunDirectory.existing(results, "run") as run:
        read_npz(run.path / "weights.npz")
        write_json_atomic(run.path / "summary.json", {})


NAMES = (
    ".lock",
    "config.json",
    "summary.json",
    "metrics.jsonl",
    "weights.npz",
    "checkpoints/epoch-000001.npz",
)


def replace_by_link(path, target):
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def replace_by_pipe(path, _):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def replace_by_socket(path, _):
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as bound:
        before = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            bound.bind(path.name)
        finally:
            os.chdir(before)


@pytest.mark.parametrize(
    ("replace", "kind"),
    [
        (replace_by_link, "a symbolic link"),
        (replace_by_pipe, "a named pipe"),
        (replace_by_socket, "a socket"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_links_pipes_and_devices_are_named(run, precious, name, replace, kind):
    replace(run / name, precious / "file")
    with pytest.raises(InputError) as error:
        use(run.parent)
    assert str(error.value) == (
        f"File {run / name} must be the run's own, but is {kind}: put the file itself in its "
        "place, or delete it."
    )


def test_a_link_to_nothing_is_not_followed_either(run, tmp_path):
    for name in ("metrics.jsonl", ".lock"):
        replace_by_link(run / name, tmp_path / "new")
        with pytest.raises(InputError, match="but is a symbolic link"):
            use(tmp_path)
        (run / name).unlink()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["checkpoints", "figures", "jobs"])
def test_a_folder_that_is_a_link_is_not_entered(run, precious, name):
    if (run / name).exists():
        (run / name).rename(run / f"{name}-before")
    (run / name).symlink_to(precious, target_is_directory=True)
    for call in (
        lambda: RunDirectory.open(run.parent, "run", CONFIG),
        lambda: RunDirectory.open(run.parent, "run", CONFIG, resume=False),
        lambda: RunDirectory.existing(run.parent, "run"),
    ):
        with pytest.raises(InputError, match=rf"{name} must be the run's own, but is a symbolic"):
            call()


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
def test_what_is_written_in_place_has_no_other_name(run, precious, name):
    (run / name).unlink()
    os.link(precious / "file", run / name)
    match = rf"{name} must have no other name.*hard linked elsewhere"
    with pytest.raises(InputError, match=match), RunDirectory.open(run.parent, "run", CONFIG) as r:
        r.append_metrics(2, {})


def test_writing_replaces_a_link_and_not_what_it_stands_for(run, precious):
    for name in ("config.json", "weights.npz", "figures/curves.png"):
        replace_by_link(run / name, precious / "file")
        write_bytes_atomic(run / name, b"new")
        assert not (run / name).is_symlink()
        assert (run / name).read_bytes() == b"new"


def test_a_link_in_place_of_a_temporary_name_is_not_followed(run, precious):
    temporary = run / f".config.json.{os.getpid()}.tmp"
    temporary.symlink_to(precious / "file")
    write_bytes_atomic(run / "config.json", b"new")
    assert (run / "config.json").read_bytes() == b"new"
    assert not temporary.is_symlink()


def test_the_users_own_link_to_a_run_or_to_all_runs_is_followed(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    (tmp_path / "results").symlink_to(tmp_path, target_is_directory=True)
    with RunDirectory.open(tmp_path / "results", "link", CONFIG) as opened:
        assert not opened.fresh
        write_bytes_atomic(opened.figures / "a.png", b"")
    assert (run / "figures/a.png").exists()


@pytest.mark.parametrize("opened", ["open", "existing"])
def test_what_a_kill_has_left_half_written_is_removed_from_all_folders(run, opened):
    (run / "jobs").mkdir()
    torn = [run / f / ".a.b.12.tmp" for f in ("", "checkpoints", "figures", "jobs")]
    for file in torn:
        file.touch()
    if opened == "open":
        RunDirectory.open(run.parent, "run", CONFIG).close()
    else:
        RunDirectory.existing(run.parent, "run").close()
    assert not any(file.exists() for file in torn)


def test_private_files_are_for_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        write_bytes_atomic(tmp_path / "a", b"", private=True)
        write_npz_atomic(tmp_path / "b", {}, private=True)
        open_regular(tmp_path / "c", os.O_RDWR | os.O_CREAT, private=True).close()
        write_bytes_atomic(tmp_path / "d", b"")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "abcd"]
    assert modes == [0o600, 0o600, 0o600, 0o666]


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "\xff", '{"a": 1e', "[" * 100_000, '{"a":' * 100_000, '{"a": NaN}', "1" * 5000],
)
def test_invalid_json_is_one_sentence(tmp_path, text):
    (tmp_path / "f.json").write_bytes(text.encode("latin1"))
    with pytest.raises(
        InputError, match=r"f\.json is damaged, because it holds no JSON object: mend"
    ):
        read_json(tmp_path / "f.json", "mend it")


def test_a_file_is_no_larger_than_it_should_be(tmp_path):
    with open(tmp_path / "f.json", "wb") as file:
        file.truncate(2**40)  # takes no space on the disk
    with pytest.raises(InputError, match=r"f\.json must have at most 16777216 bytes, but has 1099"):
        read_json(tmp_path / "f.json")
    (tmp_path / "f.json").rename(tmp_path / "w.npz")
    with pytest.raises(InputError, match=r"w\.npz must have at most 1073741824 bytes"):
        read_npz(tmp_path / "w.npz")
    path = checkpoints.save(tmp_path / "c", 1, {"w": np.ones(3)}, fingerprint="f")
    with open(path, "r+b") as file:
        file.truncate(2**25)
    with pytest.raises(InputError, match=r"epoch-000001\.npz must have at most .* bytes"):
        checkpoints.load(path, {"w": np.ones(3)}, fingerprint="f")


def test_the_bound_of_an_npz_is_above_its_size(tmp_path):
    for arrays in ({}, {"é" * 50: np.ones((3, 4))}, {f"{i}/w": np.float32(i) for i in range(99)}):
        write_npz_atomic(tmp_path / "w.npz", arrays)
        assert (tmp_path / "w.npz").stat().st_size <= npz_bytes(arrays)


def seal(path, contents):
    """Add a valid checksum to bytes, which anyone can do."""
    path.write_bytes(contents + hashlib.sha256(contents).hexdigest().encode())


def zipped(compression=zipfile.ZIP_STORED, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
        archive.comment = b"0" * 64
    return buffer.getvalue()[:-64]


def npy(array, pickled=False):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("executed",))


def claiming(header):
    data = npy(np.zeros(4))
    text = header.encode().ljust(len(data) - 32 - 10 - 1) + b"\n"
    return data[:10] + text + data[-32:]


SEALED = {
    "no zip": b"PK" + b"\0" * 100,
    "nothing": b"",
    "objects": zipped(w=npy(np.array([Bomb()]), pickled=True)),
    "text": zipped(w=npy(np.array(["abc"]))),
    "records": zipped(w=npy(np.zeros(2, [("a", "f4")]))),
    "zip bomb": zipped(zipfile.ZIP_DEFLATED, w=npy(np.zeros(2**24))),
    "no array": zipped(w=b"abc"),
    "huge": zipped(w=claiming("{'descr': '<f8', 'fortran_order': False, 'shape': (10**9,)}")),
    "large": zipped(
        w=claiming("{'descr': '<f8', 'fortran_order': False, 'shape': (1073741824,), }")
    ),
    "negative": zipped(w=claiming("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -2), }")),
    "many digits": zipped(
        w=claiming(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({'9' * 25},), }}")
    ),
    "dtype": zipped(w=claiming("{'descr': '<f3', 'fortran_order': False, 'shape': (8,), }")),
    "deep": zipped(w=claiming("(" * 80)),
    "minus": zipped(w=claiming("-" * 80 + "1")),
    "code": zipped(w=claiming("__import__('os').mkdir('executed')")),
    "truncated": zipped(w=npy(np.zeros(100)))[:-40],
}


@pytest.mark.parametrize("what", SEALED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_invalid_files_with_a_valid_checksum_give_one_sentence(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    seal(tmp_path / "w.npz", SEALED[what])
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"w\.npz was not written by qnn_jax \(.*\): mend it"):
            read_npz(tmp_path / "w.npz", "mend it")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert not (tmp_path / "executed").exists()


def test_two_arrays_of_one_name_are_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w.npy", npy(np.ones(1)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("w.npy", npy(np.ones(1)))
        archive.comment = b"0" * 64
    seal(tmp_path / "w.npz", buffer.getvalue()[:-64])
    with pytest.raises(InputError, match="two of its arrays have one name"):
        read_npz(tmp_path / "w.npz")


def test_arrays_can_be_written(tmp_path):
    write_npz_atomic(tmp_path / "w.npz", {"w": np.asfortranarray(np.ones((2, 3)))})
    found = read_npz(tmp_path / "w.npz")["w"]
    found[0, 0] = 2.0
    assert found.sum() == 7


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ("{}", "lacks the field `epoch`"),
        ("", "has null, which must be an object"),
        ("[" * 5000, "has null, which must be an object"),
        ('{"epoch": "1", "fingerprint": "f"}', 'has "1" at `epoch`'),
        ('{"epoch": 1, "fingerprint": []}', "has a list at `fingerprint`"),
    ],
)
def test_metadata_of_checkpoints_is_checked(tmp_path, meta, words):
    path = tmp_path / "epoch-000001.npz"
    write_npz_atomic(path, {"checkpoint.json": np.frombuffer(meta.encode(), np.uint8)})
    with pytest.raises(InputError) as error:
        checkpoints.load(path, {}, fingerprint="f")
    assert words in str(error.value)
    assert str(error.value).startswith(f"File {path}, at its checkpoint.json, ")
    assert str(error.value).endswith("delete it or give `resume=False` to start over.")


def test_a_line_of_metrics_is_checked(run):
    with RunDirectory.open(run.parent, "run", CONFIG) as opened:
        assert opened.read_metrics(dict[str, float]) == [{"epoch": 1.0, "loss": 1.0}]
        with pytest.raises(InputError, match=r"metrics\.jsonl, line 1, has 1 at `epoch`, which"):
            opened.read_metrics(dict[str, str])


def test_the_lock_holders_name_has_no_escape_sequences(run):
    with RunDirectory.open(run.parent, "run", CONFIG):
        (run / ".lock").write_bytes(b"\x1b]0;title\x07me")
        with pytest.raises(InputError, match=r"is in use by \]0;titleme: wait"):
            RunDirectory.open(run.parent, "run", CONFIG)
