"""Default methods of a task, so that a task of your own is short."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from qnn_jax.configs import ExecutionConfig, LeastSquaresConfig
from qnn_jax.errors import InputError
from qnn_jax.training.task import (
    HYBRID,
    Explanation,
    Member,
    Metric,
    Reference,
    Result,
    Splits,
    Trainer,
)

if TYPE_CHECKING:
    from jaxtyping import Array, Float

#: The `numbers` of a task with a `ModelConfig` as `model` and a `TrainingConfig` as `training`.
HYBRID_NUMBERS = frozenset(
    {
        "training.learning_rate",
        "training.weight_decay",
        "training.label_smoothing",
        "training.variance_weight",
        "model.weight_bound",
        "model.feature_scale",
        "model.feature_center",
        "model.feature_gain",
    }
)
Own = TypeVar("Own", bound="TaskDefaults")


class TaskDefaults:
    """Defaults of a task; `load` and `network`, or `members`, must be defined.

    A task is a frozen dataclass that inherits from this class and has the class variables `name`
    and `metric` and a field `training`: a `TrainingConfig` for AdamW, or a `LeastSquaresConfig` for
    Levenberg-Marquardt, which suits few parameters and one real output. An optional field
    `execution` is an `ExecutionConfig`: where its circuit runs in training. An optional field
    `train_count` is how many examples `load` keeps for training, all if it is 0.
    `examples/own_task.py` is a complete example.
    """

    name: ClassVar[str]
    metric: ClassVar[Metric]
    numbers: ClassVar[frozenset[str]] = frozenset({"training.learning_rate"})
    #: Whether a trained model predicts the rows of another file (`qnn_jax.tasks.predict_file`).
    reads_files: ClassVar[bool] = False
    training: Any
    execution: ExecutionConfig = ExecutionConfig()

    @property
    def trainer(self) -> Trainer:
        """AdamW or Levenberg-Marquardt, by the type of `training`."""
        if isinstance(self.training, LeastSquaresConfig):
            from qnn_jax.training.least_squares import LeastSquares

            return LeastSquares(self.training)
        from qnn_jax.training.adamw import AdamW

        return AdamW(self.training)

    @classmethod
    def presets(cls: type[Own]) -> Mapping[str, Own]:
        """Tasks whose values a command takes as defaults, by name; here the "default" only."""
        return {"default": cls()}

    def prepared(self: Own) -> Own:
        """The task as commands train it: with what files decide filled in; here as it is."""
        return self

    @property
    def run_name(self) -> str:
        """The name of a run that is given none."""
        return self.name

    def notices(self) -> Sequence[str]:
        """Lines that a command prints before it trains; here none."""
        return ()

    def check(self) -> None:
        """Does nothing; the trainer checks its settings once the data are loaded."""

    def sized(self: Own, count: int) -> Own:
        """The same task with another `train_count`.

        Raises:
            InputError: if the task has no such field.
        """
        fields = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        if "train_count" not in fields:
            raise InputError(
                "Argument `task` must have a field `train_count` or a method `sized` to be trained "
                f"on fewer examples, but has the fields {', '.join(fields)}."
            )
        return dataclasses.replace(self, train_count=count)  # type: ignore[type-var]

    def network(self) -> Any:
        """The task's own network, a Flax module that is a `HybridNetwork`."""
        raise NotImplementedError(f"{type(self).__name__} must define `network` or `members`.")

    def members(self) -> tuple[Member, ...]:
        """The task's own network without twins."""
        return (Member(HYBRID, self.network(), "the network of this task"),)

    def loss(
        self, outputs: Float[Array, "batch outputs"], targets: Array
    ) -> Float[Array, " batch"]:
        """The squared error for values; for classes the loss given in `training`."""
        from qnn_jax.training.losses import class_losses, squared_errors

        if not self.metric.classes:
            return squared_errors(outputs, targets)
        return class_losses(outputs, targets, self.training.loss, self.training.label_smoothing)

    def augment(self, key: Array, inputs: Array) -> Array:
        """Images shifted and mirrored at random, as given in `training`; others unchanged."""
        if isinstance(self.training, LeastSquaresConfig):
            return inputs
        from qnn_jax.training.losses import augment

        return augment(key, inputs, self.training.shift, self.training.flip)

    def references(self, splits: Splits, seed: int) -> Mapping[str, Reference]:
        """None: the result is compared with the twins only."""
        return {}

    def details(self, trained: Any, splits: Splits, seed: int) -> Mapping[str, Any]:
        """No further fields."""
        return {}

    def results(self, summary: Mapping[str, Any]) -> Sequence[Result]:
        """No further results."""
        return ()

    def explanations(self, trained: Any, splits: Splits) -> Sequence[Explanation]:
        """No sections."""
        return ()
