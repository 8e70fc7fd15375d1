"""Tasks as values: the types that every task and every trainer share.

A task is a frozen dataclass (`qnn_jax.tasks` has some). Trainers, studies and reports use only the
protocol below and never check which task it is. Imports no JAX, so that a command line is
checked before JAX loads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from qnn_jax.circuits import checks
from qnn_jax.errors import InputError

if TYPE_CHECKING:
    import flax.linen as nn
    from jaxtyping import Array, Float
    from matplotlib.figure import Figure

    from qnn_jax.circuits import Circuit
    from qnn_jax.configs import ExecutionConfig

#: The name of a task's own network among its members.
HYBRID = "hybrid"
#: Called with progress: the activity, how much of it is done, the total (0: unknown).
Report = Callable[[str, int, int], None]


class Examples(NamedTuple):
    """Inputs (count, …) and the targets of a network (count,).

    Targets are class numbers (integers) or values (floating-point numbers). Weights (count,) say
    how much the loss of each example counts; without them all count alike.
    """

    inputs: Any
    targets: Any
    weights: Any = None

    def equals(self, other: Examples) -> bool:
        """Whether these are the same numbers."""
        return all(a is b or np.array_equal(a, b) for a, b in zip(self, other, strict=True))


@dataclass(frozen=True, eq=False)
class Splits:
    """The data of a run: for training, for choices, and for the final score only.

    Attributes:
        train: for training.
        validation: for monitoring and choices; may be empty.
        test: never used for a choice.
        name: of the data, for messages.
        checksum: sha256 of the data.
        class_names: of a classification; empty for a regression.
        examples: what one example is, in the plural: "images".
    """

    train: Examples
    validation: Examples
    test: Examples
    name: str
    checksum: str
    class_names: tuple[str, ...] = ()
    examples: str = "examples"

    @property
    def title(self) -> str:
        """The name with the two classes, or their number."""
        names = self.class_names
        if len(names) == 2:
            return f"{self.name}, {' against '.join(names)}"
        return f"{self.name}, {len(names)} classes" if names else self.name

    def __str__(self) -> str:
        """Name, classes and counts in a line."""
        parts = (("train", self.train), ("validation", self.validation), ("test", self.test))
        counts = " + ".join(f"{len(part.targets):,} {name}" for name, part in parts)
        classes = f": {' / '.join(self.class_names)}" if self.class_names else ""
        return f"{self.name}{classes}; {counts} {self.examples}"


@dataclass(frozen=True)
class Folders:
    """The folders of data, and of archives that need no download.

    Attributes:
        data_dir: prepared data; by default TFDS_DATA_DIR, else ~/tensorflow_datasets.
        manual_dir: official archives; by default QNN_JAX_MANUAL_DIR, else they are downloaded.
        prepare: whether data may be written into `data_dir`. Not where only the files of a run
            name that folder, because the run may be somebody else's: then the data must be there.
    """

    data_dir: Path | None = None
    manual_dir: Path | None = None
    prepare: bool = True

    def given(self, data_dir: Path | None, manual_dir: Path | None) -> Folders:
        """These folders, those that the user gives now in their places."""
        return Folders(
            data_dir or self.data_dir,
            manual_dir or self.manual_dir,
            self.prepare or data_dir is not None,
        )


class Member(NamedTuple):
    """A network to train: a task's own, or a twin for comparison.

    Attributes:
        name: `HYBRID` for the task's own.
        network: a Flax module, inputs to outputs (count, outputs).
        what: description of the network, as part of a sentence.
        worth_of: what the hybrid has and this network lacks, as part of a sentence.
        frozen: keep the circuit's weights at their initial values.
        alongside: train it in every run, together with the task's own network.
        execution: where its circuit runs in training; None where the task's does.
    """

    name: str
    network: nn.Module
    what: str = ""
    worth_of: str = ""
    frozen: bool = False
    alongside: bool = False
    execution: ExecutionConfig | None = None


def class_numbers(outputs: Any) -> Any:
    """Class numbers, shape (count,), of logits (count, outputs), arrays of NumPy or of JAX.

    A single logit is the second class if it is positive; of several the largest counts.
    """
    if outputs.shape[-1] == 1:
        return (outputs[:, 0] > 0).astype("int32")
    return outputs.argmax(axis=-1).astype("int32")


def mean_interval_of(of_each: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean: Wilson's of right or wrong (bool), else Student's."""
    from qnn_jax.stats import mean_interval, wilson_interval

    if of_each.dtype == bool:
        return wilson_interval(int(of_each.sum()), of_each.size)
    return mean_interval(of_each)


def with_interval(value: float, interval: Sequence[float] | np.ndarray, form: str = ".3f") -> str:
    """A number with its interval, as text: 0.512 (0.498 to 0.526)."""
    low, high = interval
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


@dataclass(frozen=True)
class Metric:
    """The definition of a test score: a number for each example, and the mean.

    `ACCURACY` and `MEAN_L1` are two; a task of your own may have another one:

    >>> squared = Metric(
    ...     "mse", "test squared error", "less", lambda outputs, y: (outputs[:, 0] - y) ** 2
    ... )
    >>> each = squared.of_each(np.array([[1.0], [2.0]]), np.array([1.0, 0.0]))
    >>> squared.score(each.mean(), squared.interval(each))
    '2 (-23.41 to 27.41)'

    Attributes:
        name: in JSON, an identifier: summary.json has the score as `test_<name>`.
        title: on pictures and in tables.
        better: whether "more" or "less" is better.
        of_each: maps outputs (count, outputs) and targets (count,) to the score of each example,
            (count,): numbers, or bool for right or wrong. It gets arrays of NumPy and of JAX.
        classes: whether outputs are logits and predictions are class numbers; else predictions are
            the first output.
        interval: the 95 % interval of the mean over examples, from the scores of each.
        bounds: range of scores and of their intervals.
        scale: factor from a score's unit to that of a difference, `unit`.
        unit: of a difference; by default the title without "test".
        form: format of a score.
        difference_form: format of a difference.

    Raises:
        InputError: if one of them cannot be used.
    """

    name: str
    title: str
    better: Literal["more", "less"]
    of_each: Callable[[Any, Any], Any]
    classes: bool = False
    interval: Callable[[np.ndarray], tuple[float, float]] = mean_interval_of
    bounds: tuple[float, float] = (-math.inf, math.inf)
    scale: float = 1.0
    unit: str = ""
    form: str = ".4g"
    difference_form: str = ".2g"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise InputError(
                f"Argument `name` must be an identifier, such as 'mse', but is "
                f"{checks.shown(self.name)}."
            )
        if not isinstance(self.title, str) or not self.title:
            raise InputError(f"Argument `title` must be a text, but is {checks.shown(self.title)}.")
        checks.one_of("better", self.better, ("more", "less"))
        checks.of_type("unit", self.unit, str, "a text")
        checks.function("of_each", self.of_each)
        checks.flag("classes", self.classes)
        checks.function("interval", self.interval)
        checks.real("scale", self.scale, above=0)
        pair = self.bounds if isinstance(self.bounds, tuple) and len(self.bounds) == 2 else (0, 0)
        if not all(type(bound) in (int, float) for bound in pair) or not pair[0] < pair[1]:
            raise InputError(
                "Argument `bounds` must be a tuple of two numbers, the lower one first, but is "
                f"{checks.shown(self.bounds)}."
            )
        if not self.unit:
            object.__setattr__(self, "unit", self.quantity)
        for name in ("form", "difference_form"):
            try:
                format(0.5, getattr(self, name))
            except (TypeError, ValueError):
                raise InputError(
                    f"Argument `{name}` must be a format of a number, such as '.4g', but is "
                    f"{checks.shown(getattr(self, name))}."
                ) from None

    @property
    def heading(self) -> str:
        """The title at the beginning of a sentence."""
        return self.title[0].upper() + self.title[1:]

    @property
    def quantity(self) -> str:
        """The metric on any examples: the title without "test"."""
        return self.title.removeprefix("test ")

    @property
    def sign(self) -> int:
        """1 if more is better, -1 if less is."""
        return 1 if self.better == "more" else -1

    @property
    def axis(self) -> Literal["log", "logit", "linear"]:
        """The axis of a picture: errors near 0 and shares near 1 are stretched."""
        low, high = self.bounds
        if self.better == "less" and low >= 0:
            return "log"
        return "logit" if self.better == "more" and (low, high) == (0, 1) else "linear"

    def predictions(self, outputs: Any) -> Any:
        """Class numbers or values, shape (count,), of outputs (count, outputs)."""
        return class_numbers(outputs) if self.classes else outputs[:, 0]

    def score(self, mean: float, interval: Sequence[float]) -> str:
        """A mean with its interval, as text."""
        return with_interval(mean, interval, self.form)

    def lead(self, gain: float, interval: Sequence[float]) -> str:
        """A difference with its interval, as text; no zero is negative."""
        ends = [end + 0.0 for end in interval]
        return with_interval(gain + 0.0, ends, f"+{self.difference_form}")


#: The share of examples whose class is right.
ACCURACY = Metric(
    "accuracy",
    "test accuracy",
    "more",
    lambda outputs, targets: class_numbers(outputs) == targets,
    classes=True,
    bounds=(0.0, 1.0),
    scale=100.0,
    unit="points",
    form=".4f",
    difference_form=".2f",
)
#: The mean absolute error.
MEAN_L1 = Metric(
    "mean_l1",
    "test mean L1",
    "less",
    lambda outputs, targets: abs(outputs[:, 0] - targets),
    bounds=(0.0, math.inf),
    form=".2e",
)


class Reference(NamedTuple):
    """A model without a trainer in this library: the median, linear regression, an older project's.

    Attributes:
        value: its metric on the test examples.
        interval: the 95 % interval.
        parameters: how many it has.
        what: description, as part of a sentence.
        predicted: its outputs for the test inputs, shape (count,), if they are drawn.
    """

    value: float
    interval: tuple[float, float]
    parameters: int
    what: str = ""
    predicted: np.ndarray | None = None


class Result(NamedTuple):
    """A further result of a task's own network beside the exact one, such as with shots.

    Attributes:
        name: of the result: "4,096 shots".
        value: the metric on the test examples.
        interval: the 95 % interval.
        line: the result as a line of text, for the command line.
    """

    name: str
    value: float
    interval: tuple[float, float]
    line: str


class Explanation(NamedTuple):
    """A section of a run's page that the task adds, to explain the result.

    Attributes:
        title: of the section.
        paragraphs: its text.
        pictures: names of pictures of the page that are shown here.
        own: further pictures of the task that are shown here: the name, a circuit or a function
            that draws, and the caption of each.
    """

    title: str
    paragraphs: Sequence[str]
    pictures: Sequence[str] = ()
    own: Sequence[tuple[str, Circuit | Callable[[], Figure], str]] = ()


def written(number: Any, form: str = "g") -> str:
    """A number of a task as text, for `Member.what`; in a scan's program it has no value yet."""
    return format(number, form) if isinstance(number, int | float) else "varied"


@runtime_checkable
class Trainer(Protocol):
    """How members are trained: pure functions of states that are pytrees.

    Implementations are frozen dataclasses of numbers. `init` and `epoch` run under `jax.jit` and
    `jax.vmap`; members are independent in them.
    """

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        ...

    def check(self, train_count: int) -> None:
        """Refuse settings that do not fit the number of training examples.

        Raises:
            InputError: one sentence.
        """
        ...

    def steps(self, train_count: int) -> int:
        """Optimiser steps per epoch."""
        ...

    def batch(self, train_count: int) -> int:
        """Training examples per step."""
        ...

    def init(self, task: Task, members: Sequence[Member], key: Array, inputs: Array) -> Any:
        """A fresh state, the same for any number of training examples.

        Members whose parameters have the same shapes start alike.

        Args:
            task: the task to learn.
            members: to train.
            key: of all random draws.
            inputs: at least one example, for its shape.
        """
        ...

    def epoch(
        self,
        task: Task,
        members: Sequence[Member],
        state: Any,
        key: Array,
        epoch: Array,
        train: Examples,
        validation: Examples,
    ) -> tuple[Any, dict[str, dict[str, Array]]]:
        """The state after one more epoch, and the metrics of each member.

        Args:
            task: the task to learn.
            members: to train.
            state: after `epoch` finished epochs.
            key: of the run; every draw is a `fold_in` of it, so a resumed run repeats it exactly.
            epoch: how many epochs are finished, a traced integer.
            train: all training examples.
            validation: examples to evaluate on after the epoch; may be empty.

        Returns:
            The state, and by member its metrics by name, including `finite`: whether the member
            can continue.
        """
        ...

    def parameters(self, state: Any) -> dict[str, Any]:
        """The parameters of each member in the state, in Flax's form."""
        ...

    def row(self, told: Mapping[str, Any], metric: Metric) -> dict[str, float]:
        """A member's metrics of an epoch, as NumPy arrays, for metrics.jsonl."""
        ...

    def failure(self, told: Mapping[str, Any], epoch: int, train_count: int) -> str | None:
        """Why a member cannot continue, as the start of a sentence and its remedy; else None."""
        ...


@runtime_checkable
class Task(Protocol):
    """The problem to learn, and the method.

    Implementations are frozen dataclasses of numbers, strings and other such dataclasses: they
    are compared by value, are static arguments of `jax.jit`, and are stored in config.json.

    Attributes:
        name: of the kind of task, in config.json.
    """

    name: ClassVar[str]

    @property
    def numbers(self) -> frozenset[str]:
        """Fields that may differ within one program of a scan: "training.learning_rate".

        All others change the program. They may be traced where the program calls `members`,
        `loss`, `augment` and `trainer`; `written` formats them. Most tasks have them as a class
        variable.
        """
        ...

    @property
    def metric(self) -> Metric:
        """What a result is; most tasks have it as a class variable."""
        ...

    @property
    def trainer(self) -> Trainer:
        """The trainer of its networks."""
        ...

    def check(self) -> None:
        """Check the settings before JAX loads.

        Raises:
            InputError: one sentence.
        """
        ...

    def load(self, folders: Folders, seed: int, report: Report) -> Splits:
        """The data, split by the seed."""
        ...

    def sized(self, count: int) -> Task:
        """The same task on `count` training examples, on all if it is 0, for an ablation."""
        ...

    def members(self) -> tuple[Member, ...]:
        """The task's own network, `HYBRID`, and then the twins."""
        ...

    def loss(
        self, outputs: Float[Array, "batch outputs"], targets: Array
    ) -> Float[Array, " batch"]:
        """The loss of each example."""
        ...

    def augment(self, key: Array, inputs: Array) -> Array:
        """A batch's inputs as used in training."""
        ...

    def references(self, splits: Splits, seed: int) -> Mapping[str, Reference]:
        """Further models for comparison besides the twins, by name; often none."""
        ...

    def details(self, trained: Any, splits: Splits, seed: int) -> Mapping[str, Any]:
        """The fields of summary.json of this task in addition to the common ones; often none."""
        ...

    def results(self, summary: Mapping[str, Any]) -> Sequence[Result]:
        """Further results of its own network in summary.json, for pages; often none."""
        ...

    def explanations(self, trained: Any, splits: Splits) -> Sequence[Explanation]:
        """Sections of a run's page that explain the result; often none."""
        ...


def trained_names(task: Task) -> tuple[str, ...]:
    """The names of the task's own network and of the twins that train alongside."""
    return tuple(m.name for m in task.members() if m.name == HYBRID or m.alongside)


def replaced(value: Any, name: str, new: Any) -> Any:
    """The dataclass with another value of a field, whose name may have dots: "model.layers"."""
    first, _, rest = name.partition(".")
    return replace(value, **{first: replaced(getattr(value, first), rest, new) if rest else new})
