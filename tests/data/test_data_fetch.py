"""The download succeeds, or fails in time with one sentence that gives the reason."""

import hashlib
import socket
import threading
import time

import pytest
from loopback import Answer

from qnn_jax.data.fetch import download
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError

HTML = b"<!DOCTYPE html><html><title>Please log in</title></html>"


def get(source, folder, report=silent):
    return download(source, folder, report, timeout=0.3, patience=1.2)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def test_downloads_verifies_keeps_and_reports(tiny, server, tmp_path):
    server.offer(tiny)
    heard = []
    source = tiny.served_at(server.address)
    data = get(source, tmp_path / "a/b", lambda *what: heard.append(what))
    assert data == tuple((tiny.folder / name).read_bytes() for name in tiny.names)
    assert contents(tmp_path / "a/b") == contents(tiny.folder)
    for archive in source.archives:
        assert (f"Downloading {archive.name}", archive.size, archive.size) in heard
    assert get(source, tmp_path / "a/b") == data
    assert server.requests == tiny.names  # the second call made no request


def test_a_damaged_file_from_before_is_replaced(tiny, server, tmp_path):
    server.offer(tiny)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / tiny.names[1]).write_bytes(b"\x1f\x8b damaged")
    get(tiny.served_at(server.address), tmp_path / "kept")
    assert contents(tmp_path / "kept") == contents(tiny.folder)


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(status=500),
        Answer(status=503),
        Answer(status=429),
        Answer(b"\x1f\x8b short", length=10_000),
        Answer(b"\x1f\x8b", length=10_000, stall=True),
        Answer(b"", length=10_000, stall=True),
    ],
    ids=["500", "503", "429", "short", "stalls later", "stalls at once"],
)
def test_a_temporary_failure_is_retried(tiny, server, tmp_path, trouble):
    server.offer(tiny)
    server.answers[tiny.names[0]].insert(0, trouble)
    get(tiny.served_at(server.address), tmp_path / "kept")
    assert contents(tmp_path / "kept") == contents(tiny.folder)
    assert server.requests.count(tiny.names[0]) == 2


@pytest.mark.parametrize(
    ("trouble", "tries", "reason"),
    [
        (Answer(status=500), 3, "answers with status 500"),
        (Answer(status=404), 1, "answers with status 404"),
        (Answer(HTML), 1, "sends is an HTML page"),
        (Answer(b"PK\3\4 wrong"), 1, r"sends is no gzip archive \(it begins with b'PK"),
        (Answer(b"\x1f\x8b short", length=99), 3, "sends is truncated to 8 of"),
        # A server that would never end is disconnected as soon as it has sent too much.
        (Answer(b"\x1f\x8b" + bytes(10**5), 200, 10**7, True), 1, "sends is longer than the"),
        (Answer(b"\x1f\x8b", length=10_000, stall=True), 3, "is out of reach .*timed out"),
    ],
    ids=["500", "404", "html", "zip", "short", "long", "stalls"],
)
def test_a_permanent_failure_is_reported(
    tiny, server, tmp_path, trouble, tries, reason, one_sentence
):
    server.offer(tiny)
    server.answers[tiny.names[2]] = [trouble]
    with pytest.raises(InputError, match=reason) as caught:
        get(tiny.served_at(server.address), tmp_path / "kept")
    text = one_sentence(caught)
    assert server.address + tiny.names[2] in text
    assert "`manual_dir`" in text
    assert str(tmp_path / "kept") in text
    assert all(name in text for name in tiny.names)
    assert server.requests.count(tiny.names[2]) == tries
    # Complete files are kept, and nothing else.
    assert sorted(contents(tmp_path / "kept")) == sorted(tiny.names[:2])


def test_a_wrong_checksum_is_reported(tiny, server, tmp_path, one_sentence):
    server.offer(tiny)
    right = (tiny.folder / tiny.names[0]).read_bytes()
    wrong = right[:-1] + bytes((right[-1] ^ 1,))
    server.answers[tiny.names[0]] = [Answer(wrong)]
    with pytest.raises(InputError) as caught:
        get(tiny.served_at(server.address), tmp_path / "kept")
    text = one_sentence(caught)
    assert hashlib.sha256(wrong).hexdigest() in text
    assert hashlib.sha256(right).hexdigest() in text
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("trouble", [Answer(HTML), Answer(status=404), Answer(status=500)])
def test_a_mirror_replaces_a_failed_address(tiny, server, tmp_path, trouble):
    server.offer(tiny)
    for name in tiny.names:
        server.answers[f"bad/{name}"] = [trouble]
    get(tiny.served_at(server.address + "bad/", server.address), tmp_path / "kept")
    assert contents(tmp_path / "kept") == contents(tiny.folder)


def test_the_official_address_is_reported(tiny, server, tmp_path):
    for name in tiny.names:
        server.answers[name] = [Answer(status=404)]
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9/.*Connection refused"):
        get(tiny.served_at("http://127.0.0.1:9/", server.address), tmp_path / "kept")


def test_names_that_are_never_found_cost_no_more_than_patience(tiny, tmp_path, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    source = tiny.served_at("http://a.invalid/", "http://b.invalid/", "http://c.invalid/")
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"a\.invalid/.* out of reach .*no answer"):
        get(source, tmp_path / "kept")
    assert time.monotonic() - begin < 1.8
    over.set()


def test_silence_of_every_address_costs_no_more_than_patience(tiny, server, tmp_path):
    silence = [Answer(b"", length=10_000, stall=True)]
    server.answers = {f"{i}/{tiny.names[0]}": silence for i in range(4)}
    begin = time.monotonic()
    with pytest.raises(InputError, match="out of reach"):
        get(tiny.served_at(*(f"{server.address}{i}/" for i in range(4))), tmp_path / "kept")
    assert time.monotonic() - begin < 1.8
