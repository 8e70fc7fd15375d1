"""The public API refuses wrong values in one sentence, and accepts right ones in every form.

The calls run in their own process, so that a call that never ends, or ends the process, is a
finding as well.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from public_calls import BROKEN, CALLS, COSTLY, NO_CALLS

HERE = Path(__file__).parent
MODULES = (
    "qnn_jax",
    "qnn_jax.circuits",
    "qnn_jax.circuits.library",
    "qnn_jax.simulate",
    "qnn_jax.executors",
    "qnn_jax.noise",
    "qnn_jax.initializers",
    "qnn_jax.diagnostics",
    "qnn_jax.linen",
    "qnn_jax.nnx",
    "qnn_jax.models",
    "qnn_jax.training",
    "qnn_jax.data",
    "qnn_jax.runs",
    "qnn_jax.stats",
    "qnn_jax.bridge",
    "qnn_jax.hardware",
    "qnn_jax.tasks",
    "qnn_jax.estimators",
)


def found(*flags: str, seconds: float) -> list[str]:
    """The findings of `try_calls.py`."""
    done = subprocess.run(
        [sys.executable, str(HERE / "try_calls.py"), *flags],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def quick() -> list[str]:
    return found("--quick", seconds=900)


def of_broken(line: str) -> bool:
    return line.partition("(")[0] in BROKEN


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_table(module: str) -> None:
    short = module.removeprefix("qnn_jax.")
    for name in importlib.import_module(module).__all__:
        known = {name, f"{short}.{name}", f"Circuit.{name}"} & (CALLS.keys() | NO_CALLS.keys())
        assert known, f"{module}.{name} is in neither CALLS nor NO_CALLS of public_calls.py"


def test_the_table_names_what_is_there() -> None:
    assert set(COSTLY) <= CALLS.keys()


def test_wrong_calls_are_refused_and_right_ones_taken(quick: list[str]) -> None:
    assert [line for line in quick if not of_broken(line)] == []


@pytest.mark.slow
def test_also_where_each_call_takes_seconds() -> None:
    assert [line for line in found(seconds=9000) if not of_broken(line)] == []


def test_functions_without_checks_are_found(quick: list[str]) -> None:
    lines = [line for line in quick if of_broken(line)]
    assert {line.partition("(")[0] for line in lines} == BROKEN.keys()
    assert any("no answer within" in line for line in lines if line.startswith("_hangs"))
    assert any("without the name" in line for line in lines if line.startswith("_names_nothing"))
    assert any("bytes" in line for line in lines if line.startswith("_reads_bytes"))
