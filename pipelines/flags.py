"""Flags that several commands share, and a task's own fields as flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import tyro

from pipelines import command
from qnn_jax.circuits.checks import one_of
from qnn_jax.tasks.stored import Seeds
from qnn_jax.tasks.table import TASKS
from qnn_jax.training.task import Folders

if TYPE_CHECKING:
    from qnn_jax.tasks.trained import Trained
    from qnn_jax.training.task import Splits


@dataclasses.dataclass(frozen=True)
class ResultsFlags:
    """The folder of results."""

    results_dir: Path = Path("results")
    """Folder of all runs."""


@dataclasses.dataclass(frozen=True)
class DataFlags:
    """The folders of data."""

    data_dir: Path | None = None
    """Folder of prepared data; default: TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    manual_dir: Path | None = None
    """A folder with the official archives, used instead of a download; default:
    QNN_JAX_MANUAL_DIR."""

    @property
    def folders(self) -> Folders:
        """Both."""
        return Folders(self.data_dir, self.manual_dir)

    def loaded(self, path: Path) -> tuple[Trained, Splits]:
        """The model of a finished run, and its data."""
        from qnn_jax.data import progress_bar
        from qnn_jax.tasks import load

        trained = load(path)
        folders = trained.folders.given(self.data_dir, self.manual_dir)
        with progress_bar() as progress:
            return trained, trained.splits(folders, progress)


@dataclasses.dataclass(frozen=True)
class RunFlags(DataFlags, ResultsFlags):
    """Flags of every training command."""

    run: str = "run"
    """Name of the run; its files go to RESULTS_DIR/RUN."""
    seed: int = 0
    """Random seed of the initial parameters, the order of the examples and the validation split."""
    order_seed: int | None = None
    """Random seed of the order of the examples, augmentation and dropout; default: --seed."""
    split_seed: int | None = None
    """Random seed of the validation split; default: --seed."""
    resume: bool = True
    """Resume an interrupted run of this name; --no-resume starts over."""
    mesh: str | None = None
    """Devices, as data=4,state=2 or state=2: samples are spread over the first axis, the state of
    each over the second. The results are those of one device, and a run resumes on any mesh."""

    @property
    def seeds(self) -> Seeds:
        """All three, checked."""
        return Seeds(self.seed, self.order_seed, self.split_seed).checked()


@dataclasses.dataclass(frozen=True)
class TrackedFlags(RunFlags):
    """Flags of the commands that train one run."""

    track: Literal["tensorboard", "mlflow"] | None = None
    """Write the curves for TensorBoard too, into RESULTS_DIR/RUN/tensorboard, or for MLflow, into
    MLFLOW_TRACKING_URI, by default the database RESULTS_DIR/mlflow.db."""


#: The task of commands that are given none.
DEFAULT_TASK = next(iter(TASKS))


@dataclasses.dataclass(frozen=True)
class TaskFlag:
    """The task of commands that take any."""

    task: Annotated[str, tyro.conf.arg(metavar="|".join(TASKS))] = DEFAULT_TASK
    """The task; all flags of its training are flags here."""


def chosen_task(arguments: Sequence[str], *others: str) -> str:
    """The task of a command line, on which all other flags depend."""
    chosen = command.chosen(arguments, "--task", DEFAULT_TASK)
    return one_of("--task", chosen, (*TASKS, *others))


#: Fields of a task whose own fields are flags without a prefix.
BARE = ("training", "execution")


def flagged(task_type: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a task, or of a dataclass within it, that are flags."""
    return [one for one in dataclasses.fields(task_type) if one.metadata.get("flag", True)]


def task_flags(task_type: type[Any]) -> type[Any]:
    """A task's fields as a dataclass for tyro: the fields of `BARE` have no prefix."""
    hints = get_type_hints(task_type, include_extras=True)
    fields = []
    for field in flagged(task_type):
        kind = hints[field.name]
        if field.name in BARE:
            kind = Annotated[kind, tyro.conf.arg(name="")]
        fields.append((field.name, kind, dataclasses.field(default=field.default)))
    return dataclasses.make_dataclass(
        f"{task_type.__name__}Flags",
        fields,
        frozen=True,
        namespace={"__doc__": task_type.__doc__},
    )


def words_of(value: Any, default: Any, prefix: str = "") -> list[str]:
    """The flags with which `task_flags` reads a task, without those that equal its default."""
    words: list[str] = []
    for field in flagged(value):
        mine, usual = getattr(value, field.name), getattr(default, field.name)
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(mine):
            words += words_of(mine, usual, prefix if name in BARE else f"{prefix}{name}.")
        elif mine == usual:
            continue
        elif isinstance(mine, bool):
            words.append(f"--{prefix}{'' if mine else 'no-'}{name}")
        elif isinstance(mine, tuple):
            words += [f"--{prefix}{name}", *map(str, mine)]
        else:
            words += [f"--{prefix}{name}", str(mine)]
    return words
