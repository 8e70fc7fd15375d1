"""Evaluate a trained run on an IBM quantum computer, in one job.

    make eval-hardware                                    # simulated, if you have no account
    make eval-hardware ARGS="--dry-run"                   # what it would cost
    make eval-hardware ARGS="--backend ibm_fez"           # needs QISKIT_IBM_TOKEN
    make eval-hardware ARGS="--action status"             # also: collect, cancel

The same command finds its jobs again and continues; nothing is sent, or paid, twice.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Literal, TypedDict

from pipelines import command
from pipelines.hardware import (
    DeviceFlags,
    check_twin,
    chosen_run,
    opened,
    settings_of,
    tell_dry,
)
from qnn_jax.circuits.checks import at_least
from qnn_jax.hardware.accounts import introduction, simulated
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.plan import Settings
from qnn_jax.runs import RunDirectory, read_as, write_json_atomic, write_npz_atomic
from qnn_jax.tasks.stored import stored

Action = Literal["evaluate", "status", "collect", "cancel"]


@dataclasses.dataclass(frozen=True)
class HardwareConfig(DeviceFlags):
    """Evaluate a trained run on a quantum computer, or on a simulated one."""

    action: Action = "evaluate"
    """"status" prints the state of the run's jobs, "collect" fetches finished results and sends
    nothing, "cancel" cancels jobs that have not delivered."""
    seed: int = 0
    """Random seed for the choice of images and anchors, the transpiler, and a simulated device."""
    images: int | None = None
    """Test examples, as many of each class; default: 2,000 at most, or what fits the
    budget."""
    shots: int | None = None
    """Of each example; default: up to 1024, as many as fit the budget."""
    rep_delay: float | None = None
    """Pause between shots in seconds; default: the backend's, or chosen to fit the budget."""
    copies: int | None = None
    """Copies of the circuit side by side on the device; default: 1, or chosen to fit the budget."""
    budget_seconds: float | None = None
    """Seconds of quantum computer time to spend; default: a tenth of what the plan has left."""
    dry_run: bool = False
    """Print the cost and stop."""
    anchors: int | None = None
    """Training examples in the same job, to correct scale and shift; 0: none. Default: 100, or all
    if there are fewer."""
    readout: bool = True
    """Measure the readout errors in the same job and invert them."""
    recompile: bool = False
    """Recompile each bound 2-qubit circuit into one template of 3 CZ."""
    fractional_gates: bool = False
    """Let the backend use its RX and RZZ gates, if it has them."""
    two_stage: bool = False
    """A quarter of the shots first, the rest only on examples whose sign is not settled."""

    tuned: bool = True
    """Evaluate the models of `make tune` in the same job, if there are any; --no-tuned leaves them
    out."""

    @property
    def settings(self) -> Settings:
        """Settings of the measurement."""
        return settings_of(Settings, self)


class _Earlier(TypedDict):
    """The fields of an earlier eval-hardware.json that decide whether it is replaced."""

    device: str


def check(config: HardwareConfig) -> None:
    """Check everything that needs neither JAX nor Qiskit."""
    config.check_device()
    if config.images is not None:
        at_least("images", config.images, 2)
    _ = config.settings  # checks the ranges


def main(argv: list[str] | None = None) -> int:
    """Parse, check, evaluate; the exit status."""
    config = command.read(HardwareConfig, argv)
    check(config)
    config = dataclasses.replace(config, run=chosen_run(config))
    command.start_jax()
    return evaluate(config)


def evaluate(config: HardwareConfig, clock: Any = None, device: Any = None) -> int:
    """Run `config.action`; return the exit status. Tests give a clock and a device."""
    from qnn_jax.hardware.submission import Clock

    clock = Clock() if clock is None else clock
    with opened(config) as run:
        if config.action == "evaluate":
            _evaluate(config, run, clock, device)
        else:
            _manage(config, Ledger.existing(run.path), clock)
    return 0


def _evaluate(config: HardwareConfig, run: RunDirectory, clock: Any, device: Any) -> None:
    from qnn_jax.hardware.measurement import planned_device
    from qnn_jax.studies.hardware import EVALUATION, evaluate_on_device, key_of
    from qnn_jax.studies.tuning import tuned_models

    began = time.monotonic()
    model = stored(run.path).model
    ledger, settings = Ledger(run.path, model), config.settings
    tuned = tuned_models(run.path, model) if config.tuned else None
    asked: list[Any] = [config.where.simulated, config.where]
    if tuned is not None:
        settings = dataclasses.replace(settings, copies=settings.copies or 1)
        asked += [one.summary["model_sha256"] for one in tuned.models.values()]
    key = key_of(settings, *asked)
    planned = planned_device(ledger, key, EVALUATION)
    if device is None:
        device = config.where.open(config.seed, config.fractional_gates, planned)
    command.say(introduction(device))
    if tuned is not None:
        way_out = "; --no-tuned evaluates the run's own model alone"
        check_twin(tuned.twin, device, "for which the run is tuned", way_out)
    trained, splits = config.loaded(config.path)
    found = evaluate_on_device(
        trained,
        splits,
        device,
        settings,
        ledger,
        key=key,
        dry_run=config.dry_run,
        tuned={} if tuned is None else tuned.models,
        layout=None if tuned is None else tuned.twin.content["layout"],
        clock=clock,
        tell=command.say,
    )
    if found is None and planned is not None:
        return
    if found is None:
        tell_dry()
        return
    name = _write(run, found)
    print("", *found.lines(), sep="\n")
    seconds = time.monotonic() - began
    print(f"{seconds:.1f} s in all; look at {run.figures / f'{name}.png'}")


def _write(run: RunDirectory, found: Any) -> str:
    """Write arrays, picture, and last the JSON; a simulation never replaces a machine's result."""
    earlier = read_as(run.path / "eval-hardware.json", _Earlier, "move it away")
    name = "eval-hardware"
    if found.result["device"] == "simulated" and earlier and earlier["device"] != "simulated":
        name = "eval-hardware-simulated"
        print(f"The result of {earlier['device']} is kept; this one is {name}.json.")
    write_npz_atomic(run.path / f"{name}.npz", found.arrays())
    from qnn_jax.report.figures import save  # late: matplotlib
    from qnn_jax.report.hardware import scores_and_values

    save(scores_and_values(found), run.figures / f"{name}.png")
    write_json_atomic(run.path / f"{name}.json", found.result)
    return name


def _manage(config: HardwareConfig, ledger: Ledger, clock: Any) -> None:
    """Status, collect or cancel, on every device in the ledger, whatever the flags say."""
    from qnn_jax.hardware.measurement import Visit
    from qnn_jax.hardware.submission import cancel, collect, status

    intents = [entry.intent for entry in ledger.entries.values() if entry.intent]
    names = {intent["device"]: bool(intent["simulated"]) for intent in intents}
    if not names:
        print(f"Nothing was sent yet, according to {ledger.path}.")
    for name, is_simulated in names.items():
        device = simulated(name, config.seed) if is_simulated else config.where.machine(name)
        command.say(introduction(device))
        if config.action == "cancel":
            ids = cancel(device, ledger)
            print(f"Cancelled {', '.join(ids)}." if ids else f"No job was left on {name}.")
        elif config.action == "collect":
            visit = Visit(device, ledger, clock, command.say)
            fetched = collect(device, ledger, clock=clock, tell=visit.progress)
            print(f"Fetched {len(fetched)} results; make eval-hardware evaluates them.")
        else:
            for digest, state in status(device, ledger).items():
                print(f"{digest[:12]}  {state}")


if __name__ == "__main__":
    command.run(main, "Stopped. Jobs that are sent keep running; this finds them again:\n  {again}")
