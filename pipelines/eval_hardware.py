"""Evaluate a trained run on a quantum computer of IBM's, in one visit of the queue.

    make eval-hardware                                    # simulated, if you have no account
    make eval-hardware ARGS="--dry-run"                   # what it would cost
    make eval-hardware ARGS="--backend ibm_fez"           # needs QISKIT_IBM_TOKEN
    make eval-hardware ARGS="--action status"             # also: collect, cancel

The same command again finds its jobs and goes on; nothing is sent, or paid, twice.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Literal

from pipelines import command
from pipelines.trained import finished, newest
from qnn_jax.errors import InputError
from qnn_jax.redaction import environment_token

Action = Literal["evaluate", "status", "collect", "cancel"]


@dataclasses.dataclass(frozen=True)
class HardwareConfig:
    """Evaluate a trained run on a quantum computer, or on a simulated one."""

    action: Action = "evaluate"
    """"status" says how the run's jobs stand, "collect" fetches what is ready and sends nothing,
    "cancel" cancels what has not delivered."""
    run: str | None = None
    """Name of the run; default: the newest that is finished."""
    results_dir: Path = Path("results")
    """Folder of all runs."""
    seed: int = 0
    """Of the choice of images and anchors, of the transpiler, and of a simulated device."""
    backend: str = "auto"
    """A backend of IBM's, "least-busy", or "auto": least-busy where there is an account, else a
    simulated FakeFez. "Fake..." simulates that one."""
    instance: str | None = None
    """Name or CRN of the IBM Quantum instance; default: QISKIT_IBM_INSTANCE."""
    url: str | None = None
    """Of the service; default: QISKIT_IBM_URL, else IBM's."""
    images: int | None = None
    """Test images, as many of each class, or points of a calculator; default: all images or 1,000
    points, or what fits the budget."""
    shots: int | None = None
    """Of each image; default: up to 1024, as many as fit the budget."""
    rep_delay: float | None = None
    """Pause between shots in seconds; default: the backend's, or as short as the budget asks."""
    copies: int | None = None
    """Copies of the circuit side by side on the device; default: 1, or as the budget asks."""
    budget_seconds: float | None = None
    """Seconds of quantum computer to spend; default: a tenth of what the plan has left."""
    dry_run: bool = False
    """Say what it would cost and stop."""
    anchors: int = 100
    """Training examples that run in the same job to recalibrate scale and shift; 0: without."""
    readout: bool = True
    """Measure the readout errors in the same job and invert them."""
    recompile: bool = False
    """Recompile each bound 2-qubit circuit into one template of 3 CZ."""
    fractional_gates: bool = False
    """Let the backend use its RX and RZZ gates, where it has them."""
    two_stage: bool = False
    """A quarter of the shots first, the rest only on images whose sign is not settled."""
    data_dir: Path | None = None
    """Where prepared data are kept; default: TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    manual_dir: Path | None = None
    """A folder with the four official archives; default: QNN_JAX_MANUAL_DIR."""


def is_simulated(config: HardwareConfig) -> bool:
    """Whether no machine is asked for: a fake backend named, or "auto" and no account."""
    if config.backend != "auto":
        return config.backend.startswith("Fake")
    asked = (
        config.instance
        or config.url
        or os.environ.get("QISKIT_IBM_INSTANCE")
        or os.environ.get("QISKIT_IBM_URL")
    )
    return not asked and not _has_account()


def _has_account() -> bool:
    """Whether there is a token, or a saved account (IBM's client leaves files without any).

    Raises:
        InputError: where the file of saved accounts is damaged.
    """
    if environment_token():
        return True
    saved = Path(os.path.expanduser("~")) / ".qiskit/qiskit-ibm.json"
    try:
        return saved.is_file() and bool(json.loads(saved.read_text("utf-8")))
    except (OSError, ValueError, RecursionError):
        raise InputError(
            f"File {saved} must hold saved IBM Quantum accounts as JSON, but cannot be read: "
            "delete it, or put a token into QISKIT_IBM_TOKEN."
        ) from None


def _simulated(backend: str) -> str:
    """The fake backend that stands for a machine of IBM's, `ibm_fez`'s being `FakeFez`."""
    from qnn_jax.bridge.backend_names import check_fake_backend

    name = "Fake" + "".join(part.capitalize() for part in backend.split("_")[1:])
    try:
        return f"--backend {check_fake_backend(name, '--backend')}"
    except InputError:
        return "--backend FakeFez"


def check(config: HardwareConfig) -> None:
    """Everything that can be refused before JAX and Qiskit load."""
    from qnn_jax.bridge.backend_names import check_fake_backend
    from qnn_jax.runs import check_name

    if config.run is not None:
        check_name(config.run)
    if config.backend.startswith("Fake"):
        check_fake_backend(config.backend, "--backend")
        if config.instance or config.url:
            raise InputError(
                "Argument `--backend` must name a machine of IBM's beside --instance or --url, but "
                f"is {config.backend!r}, which is simulated here."
            )
    elif not is_simulated(config) and not _has_account():
        raise InputError(
            "Argument `--backend` must come with an IBM Quantum account where a machine, an "
            f"instance or a URL is named, but is {config.backend!r} and there is no token: put one "
            f"into QISKIT_IBM_TOKEN, or simulate the machine with {_simulated(config.backend)}."
        )
    for flag, value, least in (
        ("--images", config.images, 2),
        ("--shots", config.shots, 1),
        ("--copies", config.copies, 1),
    ):
        if value is not None and value < least:
            raise InputError(f"Argument `{flag}` must be at least {least}, but is {value}.")
    command.check_seed("--seed", config.seed)
    if config.recompile and config.fractional_gates:
        raise InputError(
            "Argument `--recompile` must be left out with --fractional-gates, for the template has "
            "CZ gates, but both are set."
        )
    for flag, seconds in (
        ("--rep-delay", config.rep_delay),
        ("--budget-seconds", config.budget_seconds),
    ):
        if seconds is not None and not 0 < seconds < float("inf"):
            raise InputError(f"Argument `{flag}` must be above 0 seconds, but is {seconds}.")
    if config.anchors and config.anchors < 3:
        raise InputError(
            f"Argument `--anchors` must be 0 or at least 3, to fit a line, but is {config.anchors}."
        )


def main(argv: list[str] | None = None) -> int:
    """Parse, check, evaluate; the exit status."""
    config = command.parse(HardwareConfig, {"default": HardwareConfig()}, argv)
    check(config)
    if config.run is None:
        config = dataclasses.replace(config, run=_newest(config.results_dir))
    finished(config.results_dir, config.run or "")
    command.start_jax()
    from pipelines.hardware.run import evaluate

    return evaluate(config)


def _newest(results_dir: Path) -> str:
    names = newest(results_dir).values()
    return max(names, key=lambda name: (results_dir / name / "summary.json").stat().st_mtime)


if __name__ == "__main__":
    command.run(
        main, "Stopped. Jobs that are sent go on without us; this finds them again:\n  {again}"
    )
