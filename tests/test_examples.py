"""The examples run unchanged."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
OWN_TASK = REPOSITORY / "examples/own_task.py"
BREAST_CANCER = REPOSITORY / "examples/breast_cancer.py"


def printed(script: Path, folder: Path, *arguments: Path) -> str:
    """What a script prints that runs in another folder."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_task_of_ones_own_goes_all_the_way(tmp_path: Path) -> None:
    text = printed(OWN_TASK, tmp_path, tmp_path / "sine")
    exact, noisy = map(float, re.search(r"noisy Aer: (\S+) (\S+)", text).groups())
    assert exact < 0.02
    assert exact < noisy < 0.3
    assert len(text.splitlines()) >= 2
    assert (tmp_path / "sine/weights.npz").is_file()


def test_it_is_short_and_uses_the_library_alone() -> None:
    text = OWN_TASK.read_text("utf-8")
    _, _, code = text.partition("import MEAN_L1\n")
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 20, len(lines)
    assert "pipelines" not in text


@pytest.mark.slow
def test_a_newcomer_gets_a_score_of_a_device(tmp_path: Path) -> None:
    text = printed(BREAST_CANCER, tmp_path)
    found = re.findall(r"^(exact|FakeFez): (\S+) \((\S+) to (\S+)\)$", text, re.MULTILINE)
    assert [row[0] for row in found] == ["exact", "FakeFez"]
    for name, *numbers in found:
        accuracy, low, high = map(float, numbers)
        assert low < accuracy < high, name
        # The classes are told apart, and 143 rows leave an interval of a few points.
        assert accuracy > 0.9, name
        assert 0.01 < high - low < 0.15, name


def test_a_newcomer_needs_few_lines() -> None:
    lines = [line for line in BREAST_CANCER.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) <= 15, len(lines)


@pytest.mark.slow
def test_a_circuit_over_eight_devices() -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "examples/sharded.py", "--qubits", "10"],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "communication: 2 all-to-all, 0 collective-permute" in done.stdout
    assert re.search(r"value -?0\.\d{6}, norm of the gradient \d\.\d{6}", done.stdout)
