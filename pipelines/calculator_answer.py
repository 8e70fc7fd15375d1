"""One question to a trained calculator: `python -m pipelines.train_calculator --ask 0.3 0.4`."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pipelines import trained
from pipelines.train_calculator import CalculatorConfig
from qnn_jax.errors import InputError
from qnn_jax.executor import exact, sampled
from qnn_jax.operations import operation


def answer(results_dir: Path, name: str, ask: tuple[float, float], shots: int) -> int:
    """Print truth, exact prediction and a prediction from shots; the exit status.

    Raises:
        InputError: where the run is not there, not finished, or no calculator.
    """
    path = results_dir / name
    if not (path / "summary.json").exists():
        raise InputError(
            f"Argument `--run` must name a finished calculator in {results_dir}, but is {name!r}; "
            "train it with make train-calculator."
        )
    config = trained.finished(results_dir, name).config
    if not isinstance(config, CalculatorConfig):
        raise InputError(f"Argument `--run` must name a calculator, but {path} is a classifier.")
    run = trained.load(results_dir, name)
    calculates = operation(config.operation)
    inputs = jnp.asarray([ask], jnp.float32)
    # As on a device, every call measures anew.
    key = jax.random.key(int.from_bytes(os.urandom(4), "big"))
    weights = jnp.asarray(run.weights)
    values = np.asarray(exact(run.circuit, run.observables, inputs, weights).values)
    measured = sampled(shots)(run.circuit, run.observables, inputs, weights, key)
    truth = float(calculates(np.array([ask]))[0])
    prediction = float(run.head(values)[0, 0])
    # The head is linear: its gain turns the error of <O> into that of the result.
    gain = float(run.head(np.ones((1, 1)))[0, 0] - run.head(np.zeros((1, 1)))[0, 0])
    drawn = float(run.head(np.asarray(measured.values))[0, 0])
    error = abs(gain) * float(measured.stderr[0, 0])
    if not all(0 <= value <= 1 for value in ask):
        print(
            f"Warning: {path} was trained on a and b between 0 and 1; outside of that its answer "
            "is a guess."
        )
    a, b = ask
    print(f"{calculates.text} at a = {a:g}, b = {b:g}")
    print(f"  truth              {truth:.6f}")
    print(f"  circuit, exact     {prediction:.6f}   off by {prediction - truth:+.6f}")
    digits = f"{drawn:.4f} ± {error:.4f}"
    print(f"  with {shots:,} shots   {digits}   off by {drawn - truth:+.4f}")
    return 0
