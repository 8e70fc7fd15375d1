"""The ledger: appended, synced, and refused in a sentence where it cannot be trusted."""

import json
import subprocess
import sys

import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.runs.ledger import Entry, Ledger

MODEL, OTHER = "a" * 64, "b" * 64
ONE, TWO = "1" * 64, "2" * 64
COUNTS = [{"c0": np.array([[3, 1]]), "c1": np.array([[0, 4]])}, {"c": np.array([[4, 0], [2, 2]])}]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path, MODEL)


def fill(ledger):
    ledger.record_plan("question", [ONE, TWO], {"layout": [2, 3], "rows": np.arange(2)})
    ledger.append("intent", ONE, tag="t1")
    ledger.append("submitted", ONE, job="j1")
    ledger.append("failed", ONE, job="j1", reason="cold")
    ledger.append("submitted", ONE, job="j2")
    ledger.append("intent", TWO, tag="t2")
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
        np.testing.assert_equal(found.counts(ONE), COUNTS)


def test_statuses_follow_the_lines(ledger):
    ledger.record_plan("question", [ONE], {})
    seen = [ledger.entry(ONE).status]
    for event, fields in (
        ("intent", {"tag": "t"}),
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


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[1]", b'{"event": "done"}', b'{"event": "?"}', b"\xff"]
)
def test_a_torn_middle_line_is_refused(ledger, tmp_path, line):
    lines = fill(ledger).path.read_bytes().splitlines()
    lines[3] = line
    ledger.path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(InputError) as caught:
        Ledger(tmp_path, MODEL)
    assert str(caught.value) == (
        f"Ledger {ledger.path} is damaged at line 4: delete that line, for jobs are found again by "
        "their tags."
    )


def test_a_torn_first_line_is_refused_with_another_way_out(ledger, tmp_path):
    lines = fill(ledger).path.read_bytes().splitlines()
    ledger.path.write_bytes(b"\n".join(lines[1:]) + b"\n")
    with pytest.raises(InputError, match="damaged at line 1: move it away, for jobs are found"):
        Ledger(tmp_path, MODEL)


def test_another_models_ledger_is_refused(ledger, tmp_path):
    fill(ledger)
    with pytest.raises(InputError, match=r"that of another model \(weights a{12} there, b{12} now"):
        Ledger(tmp_path, OTHER)


def test_two_writers_are_told_apart(ledger, tmp_path):
    stale = Ledger(tmp_path, MODEL)
    fill(ledger)
    whole = ledger.path.read_bytes()
    with pytest.raises(InputError, match="written by another process meanwhile: wait for its end"):
        stale.append("intent", TWO, tag="t")
    assert ledger.path.read_bytes() == whole


def test_no_ledger_to_look_at(tmp_path):
    with pytest.raises(InputError, match=r"has no ledger of jobs: make eval-hardware sends"):
        Ledger.existing(tmp_path)
    assert not list(tmp_path.iterdir())


def test_counts_that_were_exchanged_are_refused(ledger, tmp_path):
    fill(ledger)
    ledger.keep_counts(TWO, COUNTS[:1], job="j3")
    one, two = (tmp_path / ledger.entry(d).done["counts"] for d in (ONE, TWO))
    one.write_bytes(two.read_bytes())
    with pytest.raises(InputError, match=r"is not the one that .* means: delete the line of"):
        ledger.counts(ONE)
    one.write_bytes(one.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"is damaged, for it fails its own sha256: delete"):
        ledger.counts(ONE)


def test_a_full_disk_leaves_a_ledger_that_reads(ledger, tmp_path):
    fill(ledger)
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom qnn_jax.runs.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\nledger._wanted_model = ledger.model\n"
        "size = ledger.path.stat().st_size + 30\n"
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "ledger.append('intent', '2' * 64, tag='t')\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "InputError: Cannot write" in run.stderr
    assert "make room there and run again" in run.stderr
    assert Ledger(tmp_path, MODEL).entry(TWO).intent["tag"] == "t2"


def test_importing_it_loads_no_qiskit():
    code = (
        "import sys, qnn_jax.runs.ledger as _\n"
        "assert not {'qiskit', 'jax', 'requests'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
