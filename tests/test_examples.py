"""The examples run unchanged."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
OWN_TASK = REPOSITORY / "examples/own_task.py"


@pytest.mark.slow
def test_a_task_of_ones_own_goes_all_the_way(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, OWN_TASK, tmp_path / "sine"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    exact, noisy = map(float, re.search(r"noisy Aer: (\S+) (\S+)", done.stdout).groups())
    assert exact < 0.02
    assert exact < noisy < 0.3
    assert len(done.stdout.splitlines()) >= 2
    assert (tmp_path / "sine/weights.npz").is_file()


def test_it_is_short_and_uses_the_library_alone() -> None:
    text = OWN_TASK.read_text("utf-8")
    _, _, code = text.partition("import MEAN_L1\n")
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 20, len(lines)
    assert "pipelines" not in text
