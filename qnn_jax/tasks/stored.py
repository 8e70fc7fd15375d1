"""The files of a finished run, checked before JAX is needed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from qnn_jax.circuits import checks
from qnn_jax.errors import InputError, MissingRunError
from qnn_jax.runs import fingerprint, from_json, read_as, read_json, read_sealed
from qnn_jax.tasks.table import TASKS
from qnn_jax.training.task import Folders, Task

#: The way out if a file of a finished run has been changed or is damaged.
RESTORE = "restore the file, or train the run again with `resume=False`"
#: Fields of a configuration that do not affect the result.
NOT_OF_THE_RUN = ("run", "data_dir", "manual_dir")


class Seeds(NamedTuple):
    """The random seeds of a run.

    Attributes:
        seed: of the initial parameters; default of the other seeds.
        order_seed: of the order of the examples, their augmentation and dropout.
        split_seed: of the validation split.
    """

    seed: int = 0
    order_seed: int | None = None
    split_seed: int | None = None

    def checked(self) -> Seeds:
        """These seeds; an InputError names one that cannot be."""
        for name, value in self._asdict().items():
            checks.seed(name, value or 0)
        return self

    @property
    def order(self) -> int:
        """Random seed of the order of the examples."""
        return self.seed if self.order_seed is None else self.order_seed

    @property
    def split(self) -> int:
        """Random seed of the validation split."""
        return self.seed if self.split_seed is None else self.split_seed


class Stored(NamedTuple):
    """A finished run.

    Attributes:
        path: its folder.
        task: the task that was learned.
        seeds: of the run.
        folders: of its data; nothing is written there.
        summary: the content of summary.json.
        model: its `model_sha256`.
        weights: the bytes of weights.npz.
    """

    path: Path
    task: Task
    seeds: Seeds
    folders: Folders
    summary: Mapping[str, Any]
    model: str
    weights: bytes


@dataclasses.dataclass(frozen=True)
class _Run:
    """The content of a run's config.json besides its task."""

    seed: int
    order_seed: int | None
    split_seed: int | None
    run: str
    data_dir: Path | None
    manual_dir: Path | None


class _Config(TypedDict):
    task: str
    fields: dict[str, Any]


class _Summary(TypedDict):
    task: str


class _ModelSummary(TypedDict):
    model_sha256: str


def config_of(
    task: Task,
    seeds: Seeds,
    run: str = "run",
    folders: Folders = Folders(),  # noqa: B008
) -> dict[str, Any]:
    """The content of config.json."""
    return {
        "task": task.name,
        "fields": dataclasses.asdict(task),  # type: ignore[call-overload]
        **seeds._asdict(),
        "run": run,
        "data_dir": folders.data_dir,
        "manual_dir": folders.manual_dir,
    }


def model_sha256(config_json: Mapping[str, Any], weights_sha256: str) -> str:
    """The sha256 of a trained model: of its task, its training settings and its weights."""
    settled = {name: value for name, value in config_json.items() if name != "scan"}
    text = json.dumps([fingerprint(settled, NOT_OF_THE_RUN), weights_sha256])
    return hashlib.sha256(text.encode()).hexdigest()


def newest(results_dir: Path, known: Mapping[str, type[Any]] = TASKS) -> dict[str, str]:
    """The name of the newest finished run of each task, by the task's name.

    Raises:
        InputError: if there is no finished run.
    """
    found = sorted(results_dir.glob("*/summary.json"), key=lambda path: path.lstat().st_mtime)
    names: dict[str, str] = {}
    for path in found:
        summary = read_as(path, _Summary, RESTORE)
        if summary is not None and summary["task"] in known:
            names[summary["task"]] = path.parent.name
    if not names:
        raise no_run(results_dir)
    return names


def newest_of_all(results_dir: Path) -> str:
    """The name of the newest finished run of any task."""
    names = newest(results_dir).values()
    return max(names, key=lambda name: (results_dir / name / "summary.json").lstat().st_mtime)


def no_run(results_dir: Path) -> MissingRunError:
    """The error that a folder holds no finished run."""
    return MissingRunError(
        f"Argument `results_dir` must hold a finished run, but {results_dir} has none; train one "
        "first."
    )


def stored(path: Path, known: Mapping[str, type[Any]] = TASKS) -> Stored:
    """Read a finished run and check that its files belong together.

    `known` are the allowed classes of its task, by name: no name in a file is imported.

    Raises:
        InputError: if there is no such run, it is not finished, or a file of it is damaged or has
            been changed.
    """
    summary = read_as(path / "summary.json", _Summary, RESTORE)
    config_json = read_json(path / "config.json", RESTORE)
    if summary is None or config_json is None:
        there = sorted(found.parent.name for found in path.parent.glob("*/summary.json"))
        raise MissingRunError(
            f"Argument `run` must name a finished run in {path.parent} "
            f"({', '.join(there) or 'which has none yet'}), but is {path.name!r}; train one first."
        )
    where = f"File {path / 'config.json'}"
    config = from_json(_Config, config_json, where, RESTORE)
    if config["task"] not in known:
        raise InputError(
            f"{where} must be of a task out of {', '.join(known)}, but is of {config['task']!r}: "
            "give load(path, task=…) the class of that task."
        )
    weights = read_sealed(path / "weights.npz")
    model = model_sha256(config_json, hashlib.sha256(weights).hexdigest())
    what = f"File {path / 'summary.json'}"
    told = from_json(_ModelSummary, summary, what, RESTORE)["model_sha256"]
    if told != model or summary["task"] != config["task"]:
        raise InputError(
            f"Run {path} must have the config.json and the weights.npz that its summary.json is "
            f"about, but one of them is another (model {told[:12]} there, {model[:12]} now): "
            f"{RESTORE}."
        )
    task: Any = from_json(known[config["task"]], config["fields"], where, RESTORE)
    rest = {k: v for k, v in config_json.items() if k not in ("task", "fields", "scan")}
    run = from_json(_Run, rest, where, RESTORE)
    seeds = Seeds(run.seed, run.order_seed, run.split_seed)
    try:
        task.check()
        seeds.checked()
    except InputError as error:
        raise InputError(f"{where} cannot be used ({error}): {RESTORE}.") from None
    # Archives are only read to prepare data, which needs a folder that the user names.
    folders = Folders(run.data_dir, prepare=run.data_dir is None)
    return Stored(path, task, seeds, folders, dict(summary), model, weights)
