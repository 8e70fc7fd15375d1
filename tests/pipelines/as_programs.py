"""Commands as their users run them: as programs, without the user's environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def bare_environment(**more: str) -> dict[str, str]:
    """No HOME, no display, C locale: the environment of a batch job; XLA's flags stay."""
    kept = {name: os.environ[name] for name in ("PATH", "XLA_FLAGS") if name in os.environ}
    return {**kept, "LC_ALL": "C", **more}


def run(name: str, *flags: object, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"pipelines.{name}", *map(str, flags)],
        cwd=cwd,
        env=bare_environment(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        timeout=500,
    )


def check_bad_flags(name: str, bad: list[tuple[tuple, str]], tmp_path: Path) -> None:
    """All in one process, in which an import of jax or qiskit is an error."""
    for package in ("jax", "qiskit"):
        (tmp_path / f"{package}.py").write_text(f"raise SystemExit('{package} was imported')")
    code = (
        "import io, json, sys\n"
        "from contextlib import redirect_stderr\n"
        f"from pipelines import command, {name} as asked\n"
        "for flags in json.loads(sys.argv[1]):\n"
        "    told = io.StringIO()\n"
        "    with redirect_stderr(told):\n"
        "        status = command._status_of(lambda: asked.main(flags))\n"
        "    print(json.dumps([status, told.getvalue()]))\n"
    )
    asked = [[*map(str, flags), "--results-dir", str(tmp_path / "results")] for flags, _ in bad]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asked)],
        cwd=REPOSITORY,
        env=bare_environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for (flags, words), (status, told) in zip(bad, answers, strict=True):
        assert status == 2, (flags, told)
        assert words in " ".join(told.split()).replace("│ ", ""), (flags, told)
        assert "Traceback" not in told
    assert not (tmp_path / "results").exists()
