"""The wheel: it installs qnn_jax, with its templates, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def test_the_wheel_installs_qnn_jax_only(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2
    assert "qnn_jax" in tops
    assert any(top.endswith(".dist-info") for top in tops)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "qnn_jax"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    there = {name for name in listed.stdout.splitlines() if (REPOSITORY / name).is_file()}
    assert {name for name in names if name.startswith("qnn_jax/")} == there
    assert "qnn_jax/report/templates/page.html.j2" in names
    assert "qnn_jax/py.typed" in names
