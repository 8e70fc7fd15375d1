"""All tasks by name, and what an ablation of each has time for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from qnn_jax.configs import LeastSquaresConfig, TrainingConfig
from qnn_jax.tasks.calculator import Calculator
from qnn_jax.tasks.fashion import Fashion

#: The tasks that a run in a folder may have.
TASKS: Mapping[str, type[Any]] = MappingProxyType(
    {task.name: task for task in (Fashion, Calculator)}
)


class Effort(NamedTuple):
    """What an ablation over many seeds has time for.

    Attributes:
        task: with so many epochs.
        sizes: numbers of training examples; 0 is all.
        seeds: how many.
    """

    task: Any
    sizes: tuple[int, ...] = (0,)
    seeds: int = 20


_FEW_STARTS = LeastSquaresConfig(epochs=20, restarts=8)
#: By task the whole answer and a quick look: eight seeds, since of fewer no difference to six twins
#: could pass the test.
ABLATIONS: Mapping[str, tuple[Effort, Effort]] = MappingProxyType(
    {
        Fashion.name: (
            Effort(Fashion(training=TrainingConfig(epochs=20)), (50, 200, 1000, 0)),
            Effort(Fashion(training=TrainingConfig(epochs=5)), (50, 200), 8),
        ),
        Calculator.name: (
            Effort(Calculator(training=_FEW_STARTS), (10, 30, 100, 300)),
            Effort(Calculator(training=replace(_FEW_STARTS, epochs=10)), (10, 100), 8),
        ),
    }
)


def effort(name: str, quick: bool) -> Effort:
    """Of a task's ablation, whole or quick; all examples where `ABLATIONS` does not have it."""
    return ABLATIONS.get(name, (Effort(TASKS[name]()), Effort(TASKS[name](), (0,), 8)))[quick]
