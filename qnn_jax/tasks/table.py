"""All tasks by name, and the default size of each one's ablation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from qnn_jax.configs import LeastSquaresConfig, TrainingConfig
from qnn_jax.tasks.calculator import Calculator
from qnn_jax.tasks.fashion import Fashion
from qnn_jax.tasks.pooled import Pooled
from qnn_jax.tasks.sine import Sine
from qnn_jax.tasks.tabular import Tabular

#: The tasks that a stored run may have.
TASKS: Mapping[str, type[Any]] = MappingProxyType(
    {task.name: task for task in (Fashion, Calculator, Tabular, Pooled, Sine)}
)


class Effort(NamedTuple):
    """The default size of an ablation.

    Attributes:
        task: with its number of epochs.
        sizes: numbers of training examples; 0 is all.
        seeds: their number.
    """

    task: Any
    sizes: tuple[int, ...] = (0,)
    seeds: int = 20


_FEW_STARTS = LeastSquaresConfig(epochs=20, restarts=8)
#: By task the full and the quick ablation. Both have at least eight seeds: with fewer, no
#: difference to six twins could pass the test.
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
    """A task's ablation, full or quick; on all examples if `ABLATIONS` does not have the task."""
    return ABLATIONS.get(name, (Effort(TASKS[name]()), Effort(TASKS[name](), (0,), 8)))[quick]
