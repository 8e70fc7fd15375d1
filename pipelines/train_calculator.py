"""Train a two-qubit circuit to calculate with two numbers, and compare it with the 2022 model.

    make train-calculator
    make train-calculator ARGS="--operation 'a*b + sin(a)' --run product"
    python -m pipelines.train_calculator --ask 0.8586 0.4095 --shots 4096

The default learns addition, in well under a minute on two cores, with an error of about 2e-4.
"""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TypedDict

from pipelines import command, training
from pipelines.flags import TrackedFlags
from qnn_jax.configs import ExecutionConfig
from qnn_jax.errors import InputError
from qnn_jax.runs.schema import from_json
from qnn_jax.tasks import Calculator
from qnn_jax.tasks.stored import RESTORE

#: Shots of an answer, where the command line does not say.
SHOTS = 4096


class _Head(TypedDict):
    head_gain: float


@dataclasses.dataclass(frozen=True)
class CalculatorFlags(TrackedFlags):
    """Flags of this command in addition to the task's own fields."""

    run: str = "calculator"
    """Name of the run; its files go to RESULTS_DIR/RUN."""
    ask: tuple[float, float] | None = None
    """Do not train: evaluate the finished run for these a and b."""


def main(argv: list[str] | None = None) -> int:
    """Parse, train or answer; the exit status."""
    task, flags = training.parse({"default": Calculator()}, CalculatorFlags(), argv)
    return training.train(task, flags) if flags.ask is None else answer(task, flags)


def answer(task: Calculator, flags: CalculatorFlags) -> int:
    """Print truth, exact prediction and a prediction from shots; the exit status."""
    from qnn_jax.tasks.stored import stored

    assert flags.ask is not None
    shots = SHOTS if task.execution.shots is None else task.execution.shots
    if shots < 2:
        raise InputError(f"Argument `--shots` must be at least 2, but is {shots}.")
    if not all(map(math.isfinite, flags.ask)):
        raise InputError(f"Argument `--ask` must be two finite numbers, but is {flags.ask}.")
    if task != Calculator(execution=ExecutionConfig(shots=task.execution.shots)):
        raise InputError(
            "Flags of training must be left out with --ask, which evaluates a finished run; "
            "name that run with --run."
        )
    path = flags.results_dir / flags.run
    stored(path, {Calculator.name: Calculator})
    command.start_jax()
    import jax
    import numpy as np

    from qnn_jax.executors import exact, sampled
    from qnn_jax.tasks import load

    trained = load(path)
    calculates, point = trained.task.calculates, np.array([flags.ask], np.float32)
    # As on a device, every call measures again.
    key = jax.random.key(int.from_bytes(os.urandom(4), "big"))
    truth = float(calculates(point.astype(float))[0])
    prediction = float(trained.predict(point, exact)[0])
    measured = trained.expectations(point, sampled(shots), key)
    drawn = float(trained.decide(measured.values)[0, 0])
    # The head is linear: the error of the result is that of <O> times the gain.
    told = from_json(_Head, dict(trained.summary), f"File {path / 'summary.json'}", RESTORE)
    error = abs(told["head_gain"]) * float(measured.stderr[0, 0])
    if not all(0 <= value <= 1 for value in flags.ask):
        print(
            f"Warning: {path} was trained on a and b between 0 and 1; outside of that its result "
            "is not reliable."
        )
    a, b = flags.ask
    print(f"{calculates.text} at a = {a:g}, b = {b:g}")
    print(f"  truth              {truth:.6f}")
    print(f"  circuit, exact     {prediction:.6f}   off by {prediction - truth:+.6f}")
    digits = f"{drawn:.4f} ± {error:.4f}"
    print(f"  with {shots:,} shots   {digits}   off by {drawn - truth:+.4f}")
    return 0


if __name__ == "__main__":
    command.run(main)
