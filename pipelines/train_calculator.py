"""Train a two-qubit circuit to calculate with two numbers, beside the model of the 2022 project.

    make train-calculator
    make train-calculator ARGS="--operation 'a*b + sin(a)' --run product"
    python -m pipelines.train_calculator --ask 0.8586 0.4095

The default adds, takes well under a minute on two cores and errs by about 1e-4.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Annotated

import tyro

from pipelines import command
from qnn_jax.configs import CalculatorModelConfig, CalculatorTrainingConfig, check_calculator
from qnn_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class CalculatorConfig:
    """Train a two-qubit circuit to calculate, or ask a trained one."""

    operation: str = "add"
    """add, subtract, multiply, mean, sin-sum, or an expression of a and b, each in [0, 1]."""
    run: str = "calculator"
    """Name of the run; its files go to RESULTS_DIR/RUN."""
    results_dir: Path = Path("results")
    """Folder of all runs."""
    seed: int = 0
    """Of the initial weights and of all points."""
    resume: bool = True
    """Go on with an interrupted run of this name; --no-resume starts over."""
    seed_models: int = 100
    """How many times the model of 2022 is trained, each time with other weights and samples."""
    ask: tuple[float, float] | None = None
    """Do not train: let the finished run answer for these a and b."""
    shots: int = 4096
    """Shots of an answer."""
    model: CalculatorModelConfig = CalculatorModelConfig()
    training: Annotated[CalculatorTrainingConfig, tyro.conf.arg(name="")] = (
        CalculatorTrainingConfig()
    )


# These say where and whether, not what: a run goes on under other values of them.
NOT_OF_THE_RUN = ("run",)
NOT_IN_JSON = ("resume", "results_dir", "ask", "shots")


def check(config: CalculatorConfig) -> None:
    """Everything that can be refused, which is all, before JAX loads."""
    from qnn_jax.operations import operation
    from qnn_jax.runs import check_name

    check_name(config.run)
    if config.shots < 2:
        raise InputError(f"Argument `--shots` must be at least 2, but is {config.shots}.")
    if config.ask is not None:
        if not all(map(math.isfinite, config.ask)):
            raise InputError(f"Argument `--ask` must be two finite numbers, but is {config.ask}.")
        if config.operation != CalculatorConfig.operation:
            raise InputError(
                "Argument `--operation` must be left out with --ask, which asks the run for what "
                f"it was trained on, but is {config.operation!r}; name that run with --run."
            )
        return
    operation(config.operation)
    check_calculator(config.model, config.training)
    command.check_seed("--seed", config.seed)
    if not 1 <= config.seed_models <= 100_000:
        raise InputError(
            f"Argument `--seed-models` must be between 1 and 100000, but is {config.seed_models}."
        )


def main(argv: list[str] | None = None) -> int:
    """Parse, check, train or answer; the exit status."""
    config = command.parse(CalculatorConfig, {"default": CalculatorConfig()}, argv)
    check(config)
    command.start_jax()
    if config.ask is not None:
        from pipelines.calculator_answer import answer

        return answer(config.results_dir, config.run, config.ask, config.shots)
    as_json = {k: v for k, v in dataclasses.asdict(config).items() if k not in NOT_IN_JSON}
    from pipelines.calculator_run import train

    return train(config, as_json, NOT_OF_THE_RUN)


if __name__ == "__main__":
    command.run(main)
