"""All tasks by name, the default size of each one's ablation, and those of the noise study."""

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


class NoiseSetting(NamedTuple):
    """What the noise study trains: a task where shots or errors may matter.

    Attributes:
        task: as it trains exactly.
        size: training examples; 0 leaves them to the study.
        shots: whether it also trains with shots alone.
        errors: whether it trains with the errors of devices.
        depth: the field that says how deep the circuit is, where the study varies that and sets
            the epochs.
    """

    task: Any
    size: int = 0
    shots: bool = False
    errors: bool = True
    depth: str = ""


#: By name: a regression, the calculator, the hybrid of the main job, and a circuit without a
#: classical network (as QuantumNAT has it, arXiv:2110.11331).
NOISE_SETTINGS: Mapping[str, NoiseSetting] = MappingProxyType(
    {
        "regression": NoiseSetting(Sine(), 256, shots=True),
        "calculator": NoiseSetting(Calculator(training=_FEW_STARTS), 256, shots=True, errors=False),
        "hybrid": NoiseSetting(Fashion(training=TrainingConfig(epochs=5))),
        "circuit": NoiseSetting(Pooled(), depth="blocks"),
    }
)


def effort(name: str, quick: bool) -> Effort:
    """A task's ablation, full or quick; on all examples if `ABLATIONS` does not have the task."""
    return ABLATIONS.get(name, (Effort(TASKS[name]()), Effort(TASKS[name](), (0,), 8)))[quick]
