"""Twins of a training: what a device's errors and shots do to a score, and training with them.

All twins are a task's own network with the same seeds and batches. They differ in where the circuit
runs in training, and are scored by Aer on the transpiled circuit, with shots and a device's errors.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qnn_jax.circuits.checks import at_least
from qnn_jax.configs import ExecutionConfig
from qnn_jax.errors import InputError
from qnn_jax.tasks.defaults import TaskDefaults
from qnn_jax.training.execution import check_execution, execution
from qnn_jax.training.task import HYBRID, Folders, Member, Metric, Report, Splits, Trainer

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Array, Float

    from qnn_jax.studies.ablation import Data

#: Shots of the scores where training takes none.
SHOTS = 1024
#: Training examples whose exact values recalibration fits.
ANCHORS = 128
NOISE_AWARE, RECALIBRATED, BLIND, IDEAL = "noise-aware", "recalibrated", "blind", "ideal"
_EXACT = ExecutionConfig()


@dataclass(frozen=True)
class NoiseTwins(TaskDefaults):
    """A task whose members are its own network, trained with errors and shots and without.

    Attributes:
        task: its `execution` says what the hybrid is trained with, and all are scored with.
        images: most test examples of the scores, drawn at random, since Aer takes milliseconds for
            each.
    """

    task: Any
    images: int = 500

    name: ClassVar[str] = "noise-twins"
    numbers: ClassVar[frozenset[str]] = frozenset()

    @property
    def metric(self) -> Metric:  # type: ignore[override]
        """That of the task."""
        found: Metric = self.task.metric
        return found

    @property
    def trainer(self) -> Trainer:
        """That of the task."""
        found: Trainer = self.task.trainer
        return found

    @property
    def execution(self) -> ExecutionConfig:  # type: ignore[override]
        """Where the hybrid's circuit runs in training."""
        return execution(self.task)

    @property
    def shots(self) -> int:
        """Of the scores."""
        return self.execution.shots or SHOTS

    def check(self) -> None:
        """Check the settings before JAX loads."""
        self.task.check()
        at_least("images", self.images, 1)
        check_execution(self.execution)
        if self.execution.executor == "exact":
            raise InputError(
                "Argument `executor` must be noisy or sampled for twins of the training, but is "
                "exact, with which all of them are alike."
            )

    def load(self, folders: Folders, seed: int, report: Report) -> Splits:
        """The data of the task, with fewer test examples."""
        from qnn_jax.studies.evaluation import chosen

        splits = self.task.load(folders, seed, report)
        test = chosen(splits.test, min(self.images, len(splits.test.targets)))
        return dataclasses.replace(splits, test=test)

    def sized(self, count: int) -> NoiseTwins:
        """The same of the task on `count` examples."""
        return dataclasses.replace(self, task=self.task.sized(count))

    def members(self) -> tuple[Member, ...]:
        """The hybrid as the task trains it, and twins that know less of the device."""
        own = next(member for member in self.task.members() if member.name == HYBRID)
        config = self.execution
        errors = f"the errors of {config.noise}"
        shots = f"{config.shots:,} shots" if config.shots else ""
        known = " and ".join(filter(None, (config.noise and errors, shots)))
        # Name, execution, description, what the hybrid has in addition. Only those that apply.
        twins = [(HYBRID, config, f"trained with {known}", "")]
        if config.noise:
            what = (
                "trained exactly; scale and shift of each measured value are then fitted on "
                f"{ANCHORS} training examples and undone (arXiv:2110.11331)"
            )
            worth = f"training with {known} in place of recalibration"
            twins.append((RECALIBRATED, _EXACT, what, worth))
        what = "trained exactly, and nothing is done about the device"
        twins.append((BLIND, _EXACT, what, f"training with {known}"))
        if config.noise and config.shots:
            without = dataclasses.replace(config, shots=None)
            what = f"trained with {errors}, but without shots"
            twins.append((NOISE_AWARE, without, what, "shots in training, besides the errors"))
        worth = f"training with {known} on the device, in place of exact training without a device"
        twins.append((IDEAL, _EXACT, "trained exactly and scored exactly: no device", worth))
        return tuple(
            Member(name, own.network, what, worth, own.frozen, execution=execution)
            for name, execution, what, worth in twins
        )

    def loss(
        self, outputs: Float[Array, "batch outputs"], targets: Array
    ) -> Float[Array, " batch"]:
        """That of the task."""
        found: Float[Array, " batch"] = self.task.loss(outputs, targets)
        return found

    def augment(self, key: Array, inputs: Array) -> Array:
        """That of the task."""
        found: Array = self.task.augment(key, inputs)
        return found


@dataclass(frozen=True)
class OnAer:
    """Scores of trained twins by Aer, as `qnn_jax.studies.ablation.ablate` takes them.

    Twins of one seed have the same seed of Aer.

    Attributes:
        twins: whose members are scored.
    """

    twins: NoiseTwins

    @property
    def about(self) -> str:
        """How it is scored, in a sentence."""
        device = self.twins.execution.noise
        where = f"with the errors of {device} on its transpiled circuit" if device else "no errors"
        return (
            f"All but `{IDEAL}` are scored by Aer with {self.twins.shots:,} shots for each example "
            f"and basis, {where}; twins of one seed share the seed of Aer."
        )

    def __call__(
        self, member: Member, params: Any, data: Data, seeds: np.ndarray
    ) -> Float[np.ndarray, " seeds"]:
        """The score of every seed."""
        import jax
        import numpy as np

        scores = []
        for number, seed in enumerate(seeds.tolist()):
            own = jax.tree.map(lambda leaf, k=number: leaf[k], params)
            scores.append(self._score(member.name, own, data, number, seed))
        return np.array(scores)

    def _score(self, name: str, params: Any, data: Data, number: int, seed: int) -> float:
        import numpy as np

        from qnn_jax.bridge import aer
        from qnn_jax.executors import exact, fit_affine, mitigated
        from qnn_jax.tasks.trained import Trained

        trained: Trained = Trained(self.twins.task, params)
        train, test = data.of_seed(number)
        executor = aer(self.twins.shots, self.twins.execution.noise, seed % 2**20)
        if name == IDEAL:
            executor = exact
        if name == RECALIBRATED:
            anchors = trained.encode(np.asarray(train.inputs)[:ANCHORS])
            calibration = aer(self.twins.shots, self.twins.execution.noise, 2**20 + seed % 2**20)
            affine = fit_affine(
                trained.run(anchors, calibration), np.asarray(trained.run(anchors, exact).values)
            )
            executor = mitigated(executor, affine=affine)
        outputs = trained.outputs(np.asarray(test.inputs), executor)
        return float(np.mean(trained.task.metric.of_each(outputs, np.asarray(test.targets))))
