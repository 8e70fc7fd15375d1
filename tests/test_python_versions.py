"""A smoke run under another Python, if one is installed, with its JAX version from the lock."""

import glob
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ARCHIVES = Path(os.environ.get("QNN_JAX_MANUAL_DIR", REPOSITORY.parent / "shared/fashion-mnist"))


def interpreter(version: str) -> str | None:
    """A working Python of this version; a version manager's shim may exist and fail."""
    pattern = f"~/.pyenv/versions/{version}*/bin/python{version}"
    for path in (shutil.which(f"python{version}"), *glob.glob(os.path.expanduser(pattern))):
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            return path
    return None


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_the_main_job_runs_under_another_python(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} that runs")
    if not ARCHIVES.is_dir():
        pytest.skip(f"the official archives of Fashion-MNIST are not in {ARCHIVES}")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        target = checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, target)
    flags = f"--epochs 2 --train-images 512 --data-dir {tmp_path} --manual-dir {ARCHIVES}"
    done = subprocess.run(
        ["make", "train-fashion", f"PY={python}", f"ARGS={flags}"],
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Python {version}." in done.stdout
    manifest = json.loads((checkout / "results/fashion/manifest.json").read_text())
    assert manifest["versions"]["jax"].startswith("0.12.")
