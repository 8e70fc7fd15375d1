"""The ledger: appended, synced, and refused in a sentence if it is damaged."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.hardware.ledger import Entry, Ledger

MODEL, OTHER = "a" * 64, "b" * 64
ONE, TWO = "1" * 64, "2" * 64
SENT = {"device": "ibm_fez", "account": "0123", "simulated": False}
COUNTS = [{"c0": np.array([[3, 1]]), "c1": np.array([[0, 4]])}, {"c": np.array([[4, 0], [2, 2]])}]
SHAPES, SHOTS = [{"c0": (1, 2), "c1": (1, 2)}, {"c": (2, 2)}], 4


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path, MODEL)


def fill(ledger):
    ledger.record_plan("question", [ONE, TWO], {"layout": [2, 3], "rows": np.arange(2)})
    ledger.append("intent", ONE, tag="t1", **SENT)
    ledger.append("submitted", ONE, job="j1")
    ledger.append("failed", ONE, job="j1", reason="cold")
    ledger.append("submitted", ONE, job="j2")
    ledger.append("intent", TWO, tag="t2", **SENT)
    ledger.keep_counts(ONE, COUNTS, job="j2", usage_seconds=None)
    ledger.append("usage", ONE, job="j2", seconds=3.0)
    return ledger


def test_nothing_is_written_before_the_first_line(ledger, tmp_path):
    assert ledger.entry(ONE) == Entry(ONE)
    assert ledger.plan("question") is None
    assert not list(tmp_path.iterdir())


def test_it_reads_back_what_it_wrote(ledger, tmp_path):
    fill(ledger)
    for found in (ledger, Ledger(tmp_path, MODEL), Ledger.existing(tmp_path)):
        assert found.entry(ONE).status == "done"
        assert found.entry(ONE).jobs == ["j1", "j2"]
        assert found.entry(ONE).failed == {"j1": "cold"}
        assert found.entry(ONE).done["usage_seconds"] == 3.0
        assert found.entry(TWO).status == "intent"
        assert found.entry(TWO).job is None
        assert found.plan("question")["chunks"] == [ONE, TWO]
        assert found.plan("question")["details"] == {"layout": [2, 3], "rows": [0, 1]}
        np.testing.assert_equal(found.counts(ONE, SHAPES, SHOTS), COUNTS)


def test_statuses_follow_the_lines(ledger):
    ledger.record_plan("question", [ONE], {})
    seen = [ledger.entry(ONE).status]
    for event, fields in (
        ("intent", {"tag": "t", **SENT}),
        ("submitted", {"job": "j1"}),
        ("failed", {"job": "j1", "reason": "cold"}),
        ("submitted", {"job": "j2"}),
    ):
        ledger.append(event, ONE, **fields)
        seen.append(ledger.entry(ONE).status)
    assert seen == ["planned", "intent", "submitted", "failed", "submitted"]


def test_requests_are_kept(ledger, tmp_path):
    ledger.keep_request(ONE, {"values": np.arange(3.0)})
    ledger.keep_request(ONE, {"values": np.arange(4.0)})  # the digest says that it is the same
    assert ledger.request(ONE)["values"].tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"Cannot read .*request.npz .*: move .* away to measure"):
        ledger.request(TWO)


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_last_line_is_dropped_and_then_overwritten(ledger, tmp_path, cut):
    fill(ledger)
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-cut])
    again = Ledger(tmp_path, MODEL)
    assert again.entry(ONE).done["usage_seconds"] is None
    again.append("usage", ONE, job="j2", seconds=4.0)
    assert Ledger(tmp_path, MODEL).entry(ONE).done["usage_seconds"] == 4.0
    assert all(json.loads(line) for line in ledger.path.read_text().splitlines())


EVENTS = "field `event` must be one of model, plan, intent, submitted, failed, done, usage"
# By message, a line in place of the fourth, which is ONE's `submitted`.
BROKEN_LINES = {
    "it holds no JSON object": [
        *(b"", b"{", b"\xff", b"[" * 10**5, b'{"at": ' + b"9" * 5000 + b"}"),
        *(b"[1]", b"null", b"7"),
    ],
    f"{EVENTS}, but is '?'": [b'{"event": "?"}'],
    f"{EVENTS}, but is ['?']": [b'{"event": ["?"]}'],
    f"{EVENTS}, but is None": [b"{}"],
    "field `event` must be 'model' in the first line and nowhere else": [
        json.dumps({"event": "model", "at": 0, "weights": MODEL}).encode()
    ],
}


@pytest.mark.parametrize(("said", "line"), [(k, v) for k in BROKEN_LINES for v in BROKEN_LINES[k]])
def test_a_broken_line_is_refused(ledger, tmp_path, said, line):
    lines = fill(ledger).path.read_bytes().splitlines()
    lines[3] = line
    ledger.path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(InputError) as caught:
        Ledger(tmp_path, MODEL)
    assert str(caught.value) == (
        f"Ledger {ledger.path} is damaged at line 4, because {said}: delete that line; jobs are "
        "found again by their tags."
    )


WRONG = [None, True, "x", "", -1, 0.5, [], [1], {}, {"a": 1}, 10**400, float("nan"), "../up", "é\n"]
#: Valid values although they are in WRONG: any text, and null for unknown values.
RIGHT = {
    "key": ["x", "", "../up", "é\n"], "tag": ["x", "", "../up", "é\n"],
    "reason": ["x", "", "../up", "é\n"], "device": ["x", "", "../up", "é\n"],
    "account": ["x", "", "../up", "é\n"], "simulated": [True], "details": [{}, {"a": 1}],
    "chunks": [[]], "at": [0.5], "seconds": [None, 0.5], "usage_seconds": [None, 0.5],
    "job": ["x"], "pubs": [], "counts": [], "sha256": [], "weights": [], "chunk": [],
}  # fmt: skip


def test_every_field_of_every_line_is_looked_at(ledger, tmp_path):
    """A line with one wrong field is refused with the field's name, and other lines are not."""
    lines = [json.loads(line) for line in fill(ledger).path.read_bytes().splitlines()]
    seen = set()
    for number, line in enumerate(lines):
        for name in sorted(set(line) - {"event"}):
            seen.add((line["event"], name))
            for value in WRONG:
                changed = [*lines]
                changed[number] = {**line, name: value}
                text = "".join(json.dumps(item) + "\n" for item in changed)
                ledger.path.write_text(text)
                if any(value is right or value == right for right in RIGHT[name]) and not (
                    isinstance(value, bool) and name != "simulated"
                ):
                    Ledger(tmp_path)
                    continue
                with pytest.raises(InputError) as caught:
                    Ledger(tmp_path)
                said = f"is damaged at line {number + 1}, because field `{name}` must be "
                assert said in str(caught.value), (name, value)
                assert "\n" not in str(caught.value)
                assert len(str(caught.value)) < 600
            missing = [{k: v for k, v in line.items() if k != name} if item is line else item
                       for item in lines]  # fmt: skip
            ledger.path.write_text("".join(json.dumps(item) + "\n" for item in missing))
            if name == "usage_seconds":
                Ledger(tmp_path)
            else:
                with pytest.raises(InputError, match=f"field `{name}` must be .* but is missing"):
                    Ledger(tmp_path)
    assert {event for event, _ in seen} == {
        "model", "plan", "intent", "submitted", "failed", "done", "usage"
    }  # fmt: skip


def test_text_from_outside_is_stored_and_read_without_control_characters(ledger, tmp_path):
    ledger.append("failed", ONE, job="j1", reason="\x1b[31mred\x1b]0;title\x07 \u202edaed\x00")
    assert ledger.entry(ONE).failed == {"j1": "red daed "}
    assert b"\\u001b" not in ledger.path.read_bytes()
    with ledger.path.open("a") as file:
        line = {"event": "failed", "at": 0, "chunk": TWO, "job": "j2", "reason": "\x1b[2Jgone"}
        file.write(json.dumps(line) + "\n")
    assert Ledger(tmp_path).entry(TWO).failed == {"j2": "gone"}


# Possible objects in the place of a file, if a folder comes from someone else


@pytest.fixture
def victim(tmp_path):
    file = tmp_path / "elsewhere" / "precious.txt"
    file.parent.mkdir()
    file.write_text("not to be lost")
    return file


def _link(path, victim):
    path.symlink_to(victim)


def _dangling_link(path, victim):
    path.symlink_to(victim.parent / "new.txt")


def _hard_link(path, victim):
    path.hardlink_to(victim)


def _pipe(path, victim):
    os.mkfifo(path)


def _folder(path, victim):
    path.mkdir()


def _device(path, victim):
    path.symlink_to("/dev/zero")


PLACED = {
    _link: "File {} must be the run's own, but is a symbolic link: put the file itself",
    _dangling_link: "File {} must be the run's own, but is a symbolic link: put",
    _hard_link: "File {} must have no other name, since it is written in place, but is hard linked",
    _pipe: "File {} must be the run's own, but is a named pipe: put",
    _folder: r"Cannot read {} \(Is a directory\): make it readable, or move it away",
    _device: "File {} must be the run's own, but is a symbolic link: put",
}


@pytest.mark.parametrize("place", PLACED, ids=lambda place: place.__name__)
def test_what_lies_in_the_ledgers_place_is_left_alone(tmp_path, victim, place):
    victim.write_text("")  # otherwise a hard link to it would not be a ledger
    folder = tmp_path / "run"
    folder.mkdir()
    place(folder / "jobs.jsonl", victim)
    with pytest.raises(InputError, match=PLACED[place].format(folder / "jobs.jsonl")):
        fill(Ledger(folder, MODEL))
    assert victim.read_text() == ""
    assert [file.name for file in victim.parent.iterdir()] == ["precious.txt"]


def test_a_link_in_the_place_of_the_folder_of_counts_is_not_followed(ledger, tmp_path, victim):
    (tmp_path / "jobs").symlink_to(victim.parent, target_is_directory=True)
    with pytest.raises(InputError, match=r"Folder .*/jobs must be a folder of its own, but is a"):
        ledger.keep_request(ONE, {"values": np.arange(3.0)})
    assert list(victim.parent.iterdir()) == [victim]


def test_job_data_are_for_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        ledger = fill(Ledger(tmp_path, MODEL))
        ledger.keep_request(ONE, {"values": np.arange(3.0)})
    finally:
        os.umask(before)
    assert ledger.path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o700
    kept = list((tmp_path / "jobs").iterdir())
    assert kept
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


def test_counts_of_another_place_are_not_read(ledger, tmp_path):
    """`counts` names a file; a foreign ledger may name any file."""
    lines = fill(ledger).path.read_text().splitlines()
    done = {**json.loads(lines[-2]), "counts": "../../other.npz"}
    ledger.path.write_text("\n".join([*lines[:-2], json.dumps(done), ""]))
    with pytest.raises(
        InputError, match=r"line 8, because field `counts` must be 'jobs/1{32}.counts"
    ):
        Ledger(tmp_path)


@pytest.mark.parametrize("pubs", [10**18, 1, 0])
def test_counts_of_more_or_fewer_pubs_are_refused(ledger, pubs):
    fill(ledger).entries[ONE].done["pubs"] = pubs
    with pytest.raises(InputError, match=rf"the counts of 2 PUBs, but .*jobs.jsonl says {pubs}: "):
        ledger.counts(ONE, SHAPES, SHOTS)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"d": np.array([[3, 1]])}, r"must hold the arrays \['0.c'\], but holds \['0.d'\]: delete"),
        ({"c": np.array([[3, 1]]), "d": np.array([[4, 0]])}, r"but holds \['0.c', '0.d'\]: delete"),
        ({}, r"must hold the arrays \['0.c'\], but holds \[\]: delete"),
        ({"c": np.array([[3.0, 1.0]])}, r"integer counts of shape \(1, 2\) .* and dtype float64"),
        ({"c": np.array([[True, False]])}, "and dtype bool: delete the line of"),
        ({"c": np.array(4)}, r"under '0\.c', but they are of shape \(\) and dtype int64"),
        ({"c": np.array([[2, 1, 1, 0]])}, r"are of shape \(1, 4\) and"),
        ({"c": np.array([[4, 0], [4, 0]])}, r"are of shape \(2, 2\) and"),
        ({"c": np.array([[3, 2]])}, "counts of 4 shots in each row of '0.c', but one row has othe"),
        ({"c": np.array([[5, -1]])}, "counts of 4 shots in each row"),
        ({"c": np.array([[2**63, 2**63 + 4]], np.uint64)}, "counts of 4 shots in each row"),
    ],
)
def test_counts_that_are_not_the_chunks_are_refused(ledger, counts, said):
    fill(ledger)
    ledger.keep_counts(TWO, [counts], job="j3")
    with pytest.raises(InputError, match=said):
        ledger.counts(TWO, [{"c": (1, 2)}], SHOTS)


def test_another_models_ledger_is_refused(ledger, tmp_path):
    fill(ledger)
    with pytest.raises(InputError, match=r"to another model \(weights a{12} there, b{12} now"):
        Ledger(tmp_path, OTHER)


def test_what_is_no_sha256_is_no_model(tmp_path):
    with pytest.raises(InputError, match=r"`model` must be the sha256 .*, but is 'none'\."):
        Ledger(tmp_path, "none")


def test_a_second_writer_is_detected(ledger, tmp_path):
    stale = Ledger(tmp_path, MODEL)
    fill(ledger)
    whole = ledger.path.read_bytes()
    with pytest.raises(InputError, match="written by another process meanwhile: wait for its end"):
        stale.append("intent", TWO, tag="t", **SENT)
    assert ledger.path.read_bytes() == whole


def test_no_ledger_to_look_at(tmp_path):
    with pytest.raises(InputError, match=r"has no ledger of jobs; evaluate the run on a device"):
        Ledger.existing(tmp_path)
    assert not list(tmp_path.iterdir())


def test_counts_that_were_exchanged_are_refused(ledger, tmp_path):
    fill(ledger)
    ledger.keep_counts(TWO, COUNTS[:1], job="j3")
    one, two = (tmp_path / ledger.entry(d).done["counts"] for d in (ONE, TWO))
    one.write_bytes(two.read_bytes())
    with pytest.raises(InputError, match=r"is not the one recorded in .*: delete the line of"):
        ledger.counts(ONE, SHAPES, SHOTS)
    one.write_bytes(one.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"is damaged, because its sha256 does not match: delete"):
        ledger.counts(ONE, SHAPES, SHOTS)


def test_a_full_disk_leaves_a_ledger_that_reads(ledger, tmp_path):
    fill(ledger)
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from qnn_jax.hardware.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\nledger._wanted_model = ledger.model\n"
        "size = ledger.path.stat().st_size + 30\n"
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "ledger.append('usage', '2' * 64, job='j3', seconds=3.0)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "InputError: Cannot write" in run.stderr
    assert "make room there and run again" in run.stderr
    assert Ledger(tmp_path, MODEL).entry(TWO).intent["tag"] == "t2"
