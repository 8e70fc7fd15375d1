"""What is learned, as a value: the types that every task and every trainer share.

A task is a frozen dataclass (`qnn_jax.tasks` has ours). Trainers, studies and reports know it by
the protocol below and never ask which one it is. No JAX here, so that a command line is checked
before JAX loads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import flax.linen as nn
    from jaxtyping import Array, Float

    from qnn_jax.circuits import Circuit

#: The name of a task's own network among its members.
HYBRID = "hybrid"
#: Hears of progress: what is done, how much of it is done, how much there is (0: unknown).
Report = Callable[[str, int, int], None]


class Examples(NamedTuple):
    """Inputs (count, …) and what a network should make of them (count,).

    Targets are class numbers (integers) or values (floating-point numbers).
    """

    inputs: Any
    targets: Any


@dataclass(frozen=True, eq=False)
class Splits:
    """The data of a run: to train on, to choose by, and for the final number only.

    Attributes:
        train: what the trainer sees.
        validation: what it is watched and chosen by; there may be none.
        test: what no choice may look at.
        name: of the data, for people.
        checksum: sha256 of the data.
        class_names: of a classification; none of a regression.
        examples: what one example is, in the plural: "images".
    """

    train: Examples
    validation: Examples
    test: Examples
    name: str
    checksum: str
    class_names: tuple[str, ...] = ()
    examples: str = "examples"


@dataclass(frozen=True)
class Folders:
    """Where data are kept, and where archives lie that need no download.

    Attributes:
        data_dir: prepared data; by default TFDS_DATA_DIR, else ~/tensorflow_datasets.
        manual_dir: official archives; by default QNN_JAX_MANUAL_DIR, else they are downloaded.
    """

    data_dir: Path | None = None
    manual_dir: Path | None = None


class Member(NamedTuple):
    """A network that is trained: a task's own, or a twin that it is compared with.

    Attributes:
        name: `HYBRID` for the task's own.
        network: a Flax module, inputs to outputs (count, outputs).
        what: what stands in it, as part of a sentence.
        worth_of: what the hybrid's lead over it is the worth of.
        frozen: leave the circuit's weights as they are drawn.
        alongside: train it in every run, beside the task's own.
    """

    name: str
    network: nn.Module
    what: str = ""
    worth_of: str = ""
    frozen: bool = False
    alongside: bool = False


@dataclass(frozen=True)
class Metric:
    """What a test score is; numbers of each example, and their mean.

    Attributes:
        name: in JSON.
        title: on pictures and in tables.
        better: whether more of it or less of it is better.
        bounds: what no score exceeds, and so no interval of one need.
        scale: from a score's unit to that of a difference, `unit`.
        unit: of a difference.
        form: how a score is written.
        difference_form: how a difference is written.
    """

    name: Literal["accuracy", "mean_l1"]
    title: str
    better: Literal["more", "less"]
    bounds: tuple[float, float]
    scale: float
    unit: str
    form: str
    difference_form: str

    @property
    def heading(self) -> str:
        """The title where a sentence begins."""
        return self.title[0].upper() + self.title[1:]

    @property
    def quantity(self) -> str:
        """What is measured, on whatever examples: the title without "test"."""
        return self.title.removeprefix("test ")

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.better == "more" else -1

    def predictions(self, outputs: Any) -> Any:
        """Class numbers or values, shape (count,), of outputs (count, outputs).

        A single logit is the second class where it is positive; of several the largest counts.
        Takes arrays of NumPy and of JAX.
        """
        if self.name == "mean_l1":
            return outputs[:, 0]
        if outputs.shape[-1] == 1:
            return (outputs[:, 0] > 0).astype("int32")
        return outputs.argmax(axis=-1).astype("int32")

    def of_each(self, outputs: Any, targets: Any) -> Any:
        """The score of each example, shape (count,): right or not, or the absolute error."""
        predicted = self.predictions(outputs)
        return predicted == targets if self.name == "accuracy" else abs(predicted - targets)

    def interval(self, of_each: np.ndarray) -> tuple[float, float]:
        """The 95 % interval of the mean over examples: Wilson's, or Student's."""
        from qnn_jax.stats import mean_interval, wilson_interval

        if self.name == "accuracy":
            return wilson_interval(int(of_each.sum()), of_each.size)
        return mean_interval(of_each)

    def score(self, mean: float, interval: Sequence[float]) -> str:
        """A mean with its interval, in words."""
        low, high = interval
        return f"{mean:{self.form}} ({low:{self.form}} to {high:{self.form}})"

    def lead(self, gain: float, interval: Sequence[float]) -> str:
        """A difference with its interval, in words."""
        mean, low, high = (f"{n + 0.0:+{self.difference_form}}" for n in (gain, *interval))
        return f"{mean} ({low} to {high})"


ACCURACY = Metric("accuracy", "test accuracy", "more", (0.0, 1.0), 100.0, "points", ".4f", ".2f")
MEAN_L1 = Metric("mean_l1", "test mean L1", "less", (0.0, math.inf), 1.0, "mean L1", ".2e", ".2g")


class Reference(NamedTuple):
    """A model that no trainer of ours trains: the median, linear regression, an older project's.

    Attributes:
        value: its metric on the test examples.
        interval: the 95 % interval.
        parameters: how many it has.
        what: what it is, as part of a sentence.
        predicted: what it makes of the test inputs, shape (count,), where that is worth a picture.
    """

    value: float
    interval: tuple[float, float]
    parameters: int
    what: str = ""
    predicted: np.ndarray | None = None


class Explanation(NamedTuple):
    """A section of a run's page that belongs to the task: why the result is as it is.

    A task may have a method `explanations(trained, splits) -> Sequence[Explanation]`.

    Attributes:
        title: of the section.
        paragraphs: its text.
        pictures: names of pictures of the page that are shown here.
        circuits: further circuits to draw here: name, circuit and caption of each.
    """

    title: str
    paragraphs: Sequence[str]
    pictures: Sequence[str] = ()
    circuits: Sequence[tuple[str, Circuit, str]] = ()


def written(number: Any, form: str = "g") -> str:
    """A number of a task in words, for `Member.what`; in a scan's program it has no value yet."""
    return format(number, form) if isinstance(number, int | float) else "varied"


@runtime_checkable
class Trainer(Protocol):
    """How members are trained: pure functions of states that are pytrees.

    Implementations are frozen dataclasses of numbers. `init` and `epoch` run under `jax.jit` and
    `jax.vmap`; members do not meet in them.
    """

    @property
    def epochs(self) -> int:
        """How many there are."""
        ...

    def check(self, train_count: int) -> None:
        """Refuse numbers that so many training examples do not allow.

        Raises:
            InputError: one sentence.
        """
        ...

    def steps(self, train_count: int) -> int:
        """Steps of the optimiser in an epoch."""
        ...

    def batch(self, train_count: int) -> int:
        """Training examples of a step."""
        ...

    def init(self, task: Task, members: Sequence[Member], key: Array, inputs: Array) -> Any:
        """A fresh state, the same for any number of examples to train on.

        Members whose parameters have the same shapes start alike.

        Args:
            task: what is learned.
            members: who trains.
            key: of all that is drawn.
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
        """The state after one more epoch, and what it tells of each member.

        Args:
            task: what is learned.
            members: who trains.
            state: after `epoch` finished epochs.
            key: of the run; every draw is a `fold_in` of it, so a resumed run repeats it exactly.
            epoch: how many epochs are finished, a traced integer.
            train: all training examples.
            validation: what to evaluate on after the epoch; there may be none.

        Returns:
            The state, and by member numbers by name, `finite` among them: whether the member can
            go on.
        """
        ...

    def parameters(self, state: Any) -> dict[str, Any]:
        """The parameters of each member that the state stands for, as Flax takes them."""
        ...

    def row(self, told: Mapping[str, Any]) -> dict[str, float]:
        """What metrics.jsonl keeps of what an epoch told of a member, as arrays of NumPy."""
        ...

    def failure(self, told: Mapping[str, Any], epoch: int, train_count: int) -> str | None:
        """Why a member cannot go on, as the begin of a sentence and its remedy; None if it can."""
        ...


@runtime_checkable
class Task(Protocol):
    """What is learned, and how.

    Implementations are frozen dataclasses of numbers, strings and other such dataclasses: they
    are compared by value, are static arguments of `jax.jit`, and are what config.json holds.

    Attributes:
        name: of the kind of task, in config.json.
        metric: what a result is.
        numbers: fields that may differ within one program of a scan, with dots:
            "training.learning_rate". All others change the program. They may be traced where the
            program calls `members`, `loss`, `augment` and `trainer`; `written` puts them in words.
    """

    name: ClassVar[str]
    metric: ClassVar[Metric]
    numbers: ClassVar[frozenset[str]]

    @property
    def trainer(self) -> Trainer:
        """How its networks are trained."""
        ...

    def check(self) -> None:
        """Refuse what cannot be trained, before JAX loads.

        Raises:
            InputError: one sentence.
        """
        ...

    def load(self, folders: Folders, seed: int, report: Report) -> Splits:
        """The data, split by the seed."""
        ...

    def sized(self, count: int) -> Task:
        """The same task on `count` training examples, all where that is 0: for an ablation."""
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
        """Inputs of a batch as training sees them."""
        ...

    def references(self, splits: Splits, seed: int) -> Mapping[str, Reference]:
        """Models beside the twins that the result is compared with, by name; often none."""
        ...

    def details(self, trained: Any, splits: Splits, seed: int) -> Mapping[str, Any]:
        """What summary.json holds of this task beside what it holds of all; often nothing."""
        ...
