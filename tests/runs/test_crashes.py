import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    script = Path(__file__).with_name("crashes.py")
    folder = tmp_path_factory.mktemp("crashes")
    done = subprocess.run(
        [sys.executable, script, folder], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_kill_at_any_line_of_a_save_leaves_the_old_or_the_new_checkpoint(outcomes):
    counts = outcomes["save_at_every_line"]
    assert isinstance(counts, dict), counts
    assert counts["kills before"] > 20
    assert counts["kills after"] > 3


@pytest.mark.slow
def test_a_kill_in_the_midst_of_writing_leaves_a_checkpoint_that_loads(outcomes):
    counts = outcomes["save_and_die_while_writing"]
    assert isinstance(counts, dict), counts
    assert counts["kills"] == 10  # most of them leave an incomplete temporary file


@pytest.mark.slow
def test_a_kill_while_starting_over_leaves_a_run_that_can_go_on(outcomes):
    counts = outcomes["start_over_at_every_line"]
    assert isinstance(counts, dict), counts
    assert counts["kills before"] > 50
    assert counts["kills after"] > 3


def test_a_full_disk_is_one_sentence_and_leaves_the_earlier_checkpoint(outcomes):
    messages = outcomes["disk_full"]
    assert isinstance(messages, list), messages
    for message, file in zip(messages, ("epoch-000002.npz", "metrics.jsonl"), strict=True):
        assert message.startswith("Cannot write ")
        assert f"{file} (File too large): make room" in message
        assert "\n" not in message
