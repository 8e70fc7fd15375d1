"""Continue a run's training through the noise of its device, which `make learn-device` learned.

    make tune ARGS="--run fashion"
    make tune ARGS="--run fashion --parts all"                         # the encoder as well
    make tune ARGS="--run fashion --on-device --budget-seconds 60 --dry-run" # job by job

Two models are tuned: with the learned errors, and with the published ones for comparison. They go
to RESULTS_DIR/RUN/tuned, and `make eval-hardware` evaluates them beside the run's own.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines import command
from pipelines.hardware import DeviceFlags, check_twin, chosen_run, opened, tell_dry
from qnn_jax.circuits.checks import at_least, one_of, real
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.hardware.accounts import introduction
from qnn_jax.hardware.cost import qpu_seconds, shot_seconds
from qnn_jax.hardware.plan import pauses
from qnn_jax.hardware.twin_file import read_twin
from qnn_jax.runs import RunDirectory, write_bytes_atomic
from qnn_jax.tasks.stored import stored

if TYPE_CHECKING:
    from qnn_jax.circuits import Circuit

#: What only one of the two ways of tuning reads.
_THROUGH_TWIN = ("parts", "steps", "learning_rate")
_ON_DEVICE = ("max_jobs", "shots", "budget_seconds", "dry_run")
#: How long a job waits in the queue of a public machine, in minutes: measured in 2022.
QUEUE_MINUTES = 8


@dataclasses.dataclass(frozen=True)
class TuneConfig(DeviceFlags):
    """Continue a run's training through its device's learned noise."""

    seed: int = 0
    """Random seed of the batches."""
    device_twin: Path | None = None
    """The learned device; default: device.json in the run's folder."""
    parts: Literal["circuit", "all"] = "circuit"
    """"circuit" trains the circuit's weights and the head, "all" the encoder as well."""
    steps: int = 400
    """Steps of Adam."""
    learning_rate: float = 0.01
    """Adam's first learning rate; it falls to zero as a cosine."""
    batch_size: int | None = None
    """Training examples of a step; default: 256, with --on-device 32."""
    on_device: bool = False
    """Tune on the device itself by SPSA, one job a step."""
    max_jobs: int = 20
    """The most jobs of --on-device."""
    shots: int = 1024
    """Of each row of --on-device."""
    budget_seconds: float | None = None
    """Seconds of quantum computer time for --on-device in all; needed there."""
    dry_run: bool = False
    """Print the cost of --on-device and stop."""


def check(config: TuneConfig) -> None:
    """Check everything that needs neither JAX nor Qiskit."""
    config.check_device()
    command.check_seed("--seed", config.seed)
    for name in ("steps", "batch_size", "max_jobs", "shots"):
        if getattr(config, name) is not None:
            at_least(name, getattr(config, name), 1)
    real("learning_rate", config.learning_rate, above=0)
    one_of("parts", config.parts, ("circuit", "all"))
    for name in _THROUGH_TWIN if config.on_device else _ON_DEVICE:
        value = getattr(config, name)
        if value != getattr(TuneConfig, name):
            raise InputError(
                f"Argument `{name}` must be left out {'with' if config.on_device else 'without'} "
                f"`on_device`, where it has no effect, but is {value}."
            )
    if config.on_device:
        if config.budget_seconds is None:
            raise InputError(
                "Argument `budget_seconds` must be given with `on_device`, but is not."
            )
        real("budget_seconds", config.budget_seconds, above=0)


def main(argv: list[str] | None = None) -> int:
    """Parse, check, tune; the exit status."""
    config = command.read(TuneConfig, argv)
    check(config)
    config = dataclasses.replace(config, run=chosen_run(config))
    read_twin(config.device_twin or config.path / "device.json", "device_twin")
    command.start_jax()
    return tune(config)


def tune(config: TuneConfig, clock: Any = None, device: Any = None) -> int:
    """Tune the run; the exit status. Tests give a clock and a device."""
    with opened(config) as run:
        (_on_device if config.on_device else _through_twin)(config, run, clock, device)
    return 0


def _twin(config: TuneConfig, run: RunDirectory, circuit: Circuit) -> Any:
    """The run's device.json; one from elsewhere takes its place if it is of the run's circuit."""
    from qnn_jax.hardware.twin import DeviceTwin

    own = run.path / "device.json"
    twin = DeviceTwin.load(config.device_twin or own)
    twin.check_circuit(circuit)
    if config.device_twin is not None and config.device_twin.resolve() != own.resolve():
        write_bytes_atomic(own, config.device_twin.read_bytes())
        command.say(f"{config.device_twin} is now {own}.")
    return twin


def _through_twin(config: TuneConfig, run: RunDirectory, clock: Any, device: Any) -> None:
    from qnn_jax.studies.evaluation import chosen, evaluate
    from qnn_jax.studies.tuning import Tuning, save_tuned
    from qnn_jax.studies.tuning import tune as continue_training

    del clock, device
    trained, splits = config.loaded(config.path)
    twin = _twin(config, run, trained.circuit)
    about = "a SIMULATED " if twin.content["simulated"] else ""
    command.say(f"Twin of {about}{twin.content['device']}, qubits {twin.content['layout']}")
    command.say(f"Held-out settings: {twin.after}")
    settings = Tuning(
        config.steps, config.learning_rate, config.batch_size or 256, config.parts, config.seed
    )
    model, examples = stored(run.path).model, chosen(splits.test, None, config.seed)
    rows = {"not tuned": evaluate(trained, {"twin": twin.executor()}, examples)[1]}
    for name, published in (("published", True), ("learned", False)):
        began = time.monotonic()
        executor = twin.executor(published=published)
        tuned = continue_training(trained, splits, executor, settings)
        rows[f"tuned, {name}"] = evaluate(tuned.trained, {"twin": twin.executor()}, examples)[1]
        save_tuned(
            tuned.trained,
            run.path,
            f"tuned_{name}",
            model,
            twin,
            tuning=dataclasses.asdict(settings),
            losses=[float(tuned.losses[0]), float(tuned.losses[-1])],
        )
        command.say(f"Tuned with the {name} errors in {time.monotonic() - began:.1f} s")
    metric = trained.task.metric
    print(f"\nThrough the learned twin, without shots, {len(examples.targets):,} test examples:")
    for name, row in rows.items():
        print(f"  {name:<18} {metric.title} {metric.score(row.value, row.interval)}")
    _next(config)


def _next(config: TuneConfig) -> None:
    flags = ["--run", str(config.run), *command.same_folders(config)]
    print(f"\nNext: {command.make('eval-hardware', flags)}")


def _on_device(config: TuneConfig, run: RunDirectory, clock: Any, device: Any) -> None:
    from qnn_jax.hardware import Settings
    from qnn_jax.hardware import device as device_executor
    from qnn_jax.hardware.circuits import transpiled
    from qnn_jax.hardware.submission import Clock
    from qnn_jax.studies.tuning import save_tuned, tune_on_device, weights_as_inputs

    assert config.budget_seconds is not None
    trained, splits = config.loaded(config.path)
    twin = _twin(config, run, trained.circuit)
    if device is None:
        device = config.where.open(config.seed)
    command.say(introduction(device))
    check_twin(twin, device, "which was learned")
    batch, layout = config.batch_size or 32, twin.content["layout"]
    executions = 2 * batch * config.shots
    pause = pauses(device.default_rep_delay, device.rep_delay_range)[-1]
    isa = transpiled(weights_as_inputs(trained.circuit), device, Settings(seed=config.seed), layout)
    each = qpu_seconds(executions, pause, shot_seconds(isa, device.backend.target))
    wait = config.max_jobs * QUEUE_MINUTES / 60
    command.say(
        f"{config.max_jobs} jobs of {executions:,} executions, {config.max_jobs * each:.0f} s of "
        f"quantum computer predicted, {wait:.1f} hours of waiting at {QUEUE_MINUTES} minutes a job"
    )
    if config.max_jobs * each > config.budget_seconds:
        raise InputError(
            f"Argument `budget_seconds` must cover the {config.max_jobs * each:.0f} s of "
            f"{config.max_jobs} jobs, but is {config.budget_seconds:g}; lower `max_jobs`, "
            "`batch_size` or `shots`."
        )
    if config.dry_run:
        tell_dry()
        return
    executor = device_executor(
        device,
        folder=run.path / "on-device",
        shots=config.shots,
        readout=False,
        rep_delay=pause,
        copies=1,
        budget_seconds=each * 1.5,
        seed=config.seed,
        layout=layout,
        clock=Clock() if clock is None else clock,
        tell=silent,
    )
    found = tune_on_device(
        trained,
        splits,
        executor,
        jobs=config.max_jobs,
        batch_size=batch,
        seed=config.seed,
        tell=command.say,
    )
    save_tuned(
        found.trained, run.path, "tuned_device", stored(run.path).model, twin, jobs=config.max_jobs
    )
    _next(config)


if __name__ == "__main__":
    command.run(main, "Stopped. Jobs that are sent keep running; this finds them again:\n  {again}")
