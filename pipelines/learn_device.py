"""Learn how a device really runs a trained circuit: one job, and a noise model fitted to it.

    make learn-device ARGS="--run fashion"                     # simulated, without an account
    make learn-device ARGS="--run fashion --dry-run"           # what it would cost
    make learn-device ARGS="--run fashion --backend ibm_fez"   # needs QISKIT_IBM_TOKEN
    make learn-device ARGS="--run fashion --update"            # a small job: does it still hold?

Writes device.json into the run's folder, for `make tune` and for `--noise`. The same command finds
its job again and continues; nothing is paid twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from pipelines import command
from pipelines.hardware import DeviceFlags, chosen_run, opened, settings_of, tell_dry
from qnn_jax.errors import InputError
from qnn_jax.hardware.accounts import introduction
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.plan import LearnSettings
from qnn_jax.hardware.twin_file import read_twin
from qnn_jax.runs import RunDirectory
from qnn_jax.tasks.stored import stored


@dataclasses.dataclass(frozen=True)
class LearnConfig(DeviceFlags):
    """Measure a device on a run's circuit in one job, and fit a noise model to the counts."""

    seed: int = 0
    """Random seed of the settings, the transpiler, and a simulated device."""
    settings: int | None = None
    """Settings of angles and bases, at least 16; default: up to 256, as many as fit the budget."""
    shots: int = 1024
    """Of each setting, at least 16."""
    rep_delay: float | None = None
    """Pause between shots in seconds; default: the backend's, or chosen to fit the budget."""
    budget_seconds: float | None = None
    """Seconds of quantum computer time to spend; default: a tenth of what the plan has left."""
    repetition: int = 0
    """Another number measures again."""
    dry_run: bool = False
    """Print the cost and stop."""
    update: bool = False
    """Spend a small job, one for each calibration of the device, to tell whether device.json still
    holds; it is not changed."""

    @property
    def measurement(self) -> LearnSettings:
        """Size and options of the job."""
        return settings_of(LearnSettings, self)


def main(argv: list[str] | None = None) -> int:
    """Parse, check, learn; the exit status."""
    config = command.read(LearnConfig, argv)
    config.check_device()
    _ = config.measurement  # checks the ranges
    config = dataclasses.replace(config, run=chosen_run(config))
    if config.update:
        read_twin(config.path / "device.json", "update")
    command.start_jax()
    return learn(config)


def learn(config: LearnConfig, clock: Any = None, device: Any = None) -> int:
    """Learn or check the device; the exit status. Tests give a clock and a device."""
    with opened(config) as run:
        _learn(config, run, clock, device)
    return 0


def _learn(config: LearnConfig, run: RunDirectory, clock: Any, device: Any) -> None:
    from qnn_jax.hardware.learning import DETAILS, check_device, learn_device
    from qnn_jax.hardware.measurement import Visit, planned_device
    from qnn_jax.hardware.submission import Clock
    from qnn_jax.hardware.twin import DeviceTwin, save_twin
    from qnn_jax.studies.hardware import key_of

    path, ledger = run.path / "device.json", Ledger(run.path, stored(run.path).model)
    settings, asked = config.measurement, [config.where.simulated, config.where]
    key, twin = key_of(settings, "learn", *asked), None
    if device is None:
        planned = None if config.update else planned_device(ledger, key, DETAILS)
        device = config.where.open(config.seed, planned=planned)
    command.say(introduction(device))
    if config.update:
        twin = DeviceTwin.load(path)
        if twin.content["device"] != device.name:
            raise InputError(
                f"Argument `backend` must be {twin.content['device']}, of which {path} is, but is "
                f"{device.name}."
            )
        # Each calibration of the device is checked by a job of its own, as is each layout.
        date = hashlib.sha256(str(device.calibration_date).encode()).hexdigest()
        settings = dataclasses.replace(settings, repetition=config.repetition + int(date[:6], 16))
        key = key_of(settings, "update", *asked, twin.content["layout"])
    trained, splits = config.loaded(config.path)
    inputs = trained.encode(splits.train.inputs[:1000])
    visit = Visit(device, ledger, Clock() if clock is None else clock, command.say)
    job = (visit, trained.circuit, trained.weights, inputs, settings, key)
    if twin is not None:
        found = check_device(*job, twin, config.dry_run)
        if found is not None:
            holds = "still holds" if found.explained else "no longer holds; learn the device again"
            print(f"The twin {holds}: {found}")
    else:
        learned = learn_device(*job, config.dry_run)
        if learned is not None:
            from qnn_jax.report.figures import save  # late: matplotlib
            from qnn_jax.report.hardware import predicted_and_measured

            picture = run.figures / "device.png"
            save(predicted_and_measured(learned), picture)
            twin = save_twin(learned.twin, path)
            print(f"\nPublished errors   {twin.before}\nLearned errors     {twin.after}")
            if not twin.after.explained:
                print("The model does not explain this device: do not rely on its twin.")
            print(f"Written to {path}; look at {picture}")
            flags = ["--run", str(config.run), *command.same_folders(config)]
            print(f"\nNext: {command.make('tune', flags)}")
    if config.dry_run:
        tell_dry()


if __name__ == "__main__":
    command.run(main, "Stopped. A job that is sent keeps running; this finds it again:\n  {again}")
