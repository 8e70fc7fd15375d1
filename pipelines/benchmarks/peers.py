r"""The environment of the other simulators: `.bench/`, from requirements-peers.lock.

Their requirements are separate from the project's environment. To resolve the lock again:

    python -m pipelines.benchmarks.peers | uv pip compile - --universal --python-version 3.11 \
        --generate-hashes --no-annotate --no-header --output-file requirements-peers.lock
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements-peers.lock"
FOLDER = ROOT / ".bench"
#: Their versions, and a JAX version that all of them support.
REQUIREMENTS = (
    "tensorcircuit-ng==1.10.0",
    "pennylane==0.45.1",
    "pennylane-lightning==0.45.0",
    "qujax==1.1.0",
    "qiskit-machine-learning==0.9.1",
    "qiskit-aer==0.18.2",
    "qsimcirq==0.22.1",
    "qulacs==0.6.14",
    "jax==0.10.2",
    "jaxlib==0.10.2",
)
PEERS = ("tensorcircuit", "pennylane", "lightning", "qujax")


class NoPeersError(Exception):
    """The environment cannot be built; the message says why in one sentence."""


def python_of_peers(lock: Path = LOCK, folder: Path = FOLDER) -> Path:
    """The interpreter of the other simulators; builds its environment first if necessary.

    Raises:
        NoPeersError: if that fails.
    """
    python = folder / "bin" / "python"
    if not lock.is_file():
        raise NoPeersError(f"Peers are left out, because {lock} is not there.")
    # Another lock or another interpreter needs another environment.
    seal = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    stamp = folder / ".stamp"
    if python.exists() and stamp.is_file() and stamp.read_text() == seal:
        return python
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise NoPeersError("Peers are left out, because uv is not installed; run `make setup`.")
    print(f"Setting up {folder.name} for the peers (once, about a minute and 1 GB) …", flush=True)
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    for words in (
        ("venv", "--clear", "--python", sys.executable, folder),
        ("pip", "install", "--python", python, "--require-hashes", "--requirements", lock),
    ):
        done = subprocess.run(
            [uv, *map(str, words), "--quiet"], capture_output=True, text=True, env=environment
        )
        if done.returncode:
            reason = " ".join(done.stderr.split())[:300] or f"status {done.returncode}"
            raise NoPeersError(
                f"Peers are left out, because their environment cannot be built ({reason})."
            )
    stamp.write_text(seal)
    return python


if __name__ == "__main__":
    print("\n".join(REQUIREMENTS))
