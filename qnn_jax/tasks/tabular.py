"""Data of one's own: a table (CSV, Parquet), or arrays and images (NPZ), to classify or regress.

What a network and a prediction must know of the table (its columns, categories and classes) is
part of the task, `form`, and so of config.json: a run can be rebuilt without the file.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypedDict

import numpy as np

from qnn_jax.circuits import Circuit, checks
from qnn_jax.configs import ModelConfig, TrainingConfig, check_training
from qnn_jax.data.prepared import PREFIX, read_prepared
from qnn_jax.data.tables import RawTable, finite, number, read_arrays, read_table, some
from qnn_jax.errors import InputError
from qnn_jax.tasks.features import EncoderKind, FeatureTask, Kind, Shape, stratified
from qnn_jax.training.task import Examples, Folders, Report, Splits

#: Optimiser steps that few rows get in all.
LEAST_STEPS = 1000
#: A text column of more different values names its rows rather than describes them.
MOST_CATEGORIES = 100
#: Whole numbers with so few different values are taken for classes.
_MOST_CLASSES = 20
# What the seeds of random draws stand for.
_TEST, _SPLIT = 8, 9


@dataclass(frozen=True)
class Column:
    """A column that the network reads.

    Attributes:
        name: in the file.
        categories: its values where it is text, each of which becomes a column of 0 and 1; of
            numbers none.
    """

    name: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """What a table must look like, and what its target is.

    Attributes:
        kind: whether targets are classes or values.
        class_names: of a classification, in the order of their numbers.
        columns: that are read, in the file's order; none of arrays.
        dropped: columns that have one value only.
        example: the shape of an example.
        count: rows to train and validate on.
        images: whether examples are images, of bytes.
        center: the mean of the targets of a regression, test rows aside.
        scale: their standard deviation.
    """

    kind: Kind
    class_names: tuple[str, ...]
    columns: tuple[Column, ...]
    dropped: tuple[str, ...]
    example: tuple[int, ...]
    count: int = 0
    images: bool = False
    center: float = 0.0
    scale: float = 1.0


class Scaling(TypedDict):
    """What features are shifted by and divided by, of the training part: in summary.json."""

    mean: list[float]
    scale: list[float]


class _Told(TypedDict):
    scaling: Scaling


class Prediction(NamedTuple):
    """What a trained model makes of a table.

    Attributes:
        header: names of the columns: the target's, then one for each class.
        rows: of text.
    """

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class Tabular(FeatureTask):
    """Learn a column of a table, or what an array `y` says of an array `x`, with a hybrid network.

    Few rows are gone through several times an epoch, so often that there are 1,000 optimiser steps
    in all, unless `training.passes` says how often.

    Attributes:
        data: a .csv, .tsv or .parquet file with names in its first line, or an .npz file with
            arrays x and y, and x_test and y_test where the test examples are given. x may hold
            images (count, height, width[, channels]) of bytes. Or tfds:NAME, a dataset of
            tensorflow-datasets, which is kept in the folder TFDS_DATA_DIR.
        target: the column to predict; "y" of an .npz file.
        kind: classification or regression; "auto" takes text, and whole numbers of few different
            values, for classes.
        categorical: columns of numbers that stand for categories.
        exclude: columns to leave out.
        impute: put the mean of the training part in place of missing numbers, and no category in
            place of missing text; else missing values are refused.
        test_share: of the rows, to test on: the same for all seeds.
        validation_share: of the rows, to watch training by.
        train_count: rows to train on; 0 takes all that are left.
        circuit: a file of OpenQASM (.qasm) or of a Circuit (.json), or module:function, which is
            called for a Circuit; by default the model's.
        observables: what is measured, as Pauli labels.
        encoder: "auto" has layers in front of the circuit, of images convolutions; "dense" none of
            these; "none" lets the features themselves enter the circuit.
        twin: train the classical twins alongside.
        model: the network.
        training: how it is trained.
        form: what the table looks like; found by `prepared`.
    """

    data: str = ""
    target: str = ""
    kind: Literal["auto", "classification", "regression"] = "auto"
    categorical: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    impute: bool = False
    test_share: float = 0.2
    validation_share: float = 0.1
    train_count: int = 0
    circuit: str = ""
    observables: tuple[str, ...] = ()
    encoder: EncoderKind = "auto"
    twin: bool = True
    model: ModelConfig = ModelConfig(
        channels=(),
        hidden=(32,),
        feature_center=0.0,
        num_qubits=4,
        feature_map="dense_angle",
        feature_map_reps=1,
        observables="pairs",
    )
    training: TrainingConfig = TrainingConfig(
        epochs=60, batch_size=32, weight_decay=0.01, shift=0, flip=False
    )
    form: Form | None = field(default=None, metadata={"flag": False})

    name: ClassVar[str] = "tabular"
    reads_files: ClassVar[bool] = True

    @property
    def run_name(self) -> str:
        """That of the data: petals of petals.csv, glue-cola of tfds:glue/cola."""
        if self.data.startswith(PREFIX):
            return self.data.removeprefix(PREFIX).replace("/", "-")
        return Path(self.data).stem

    def prepared(self) -> Tabular:
        """The task with everything that files decide: the form of the table, and the circuit.

        Only here a file's circuit is read, or a function called for one; what comes out holds the
        circuit itself.

        Raises:
            InputError: where a file cannot be read, or does not hold what is asked for.
        """
        self._check_fields()
        path = self.data
        if not path.startswith(PREFIX):
            path = str(checks.path_of("data", path).absolute())
        whole = replace(self, data=path, circuit=read_circuit(self.circuit), form=None)
        whole = replace(whole, form=whole.found)
        if self.training.passes > 1 or not self.training.epochs:
            return whole
        return whole._with_steps(self.train_count or whole.found.count)

    def _with_steps(self, count: int) -> Tabular:
        """The same with as many passes an epoch as `LEAST_STEPS` in all take.

        The learning rate's schedule so keeps its shape.
        """
        size = max(1, min(self.training.batch_size, count))
        steps = max(1, self.training.epochs * (count // size))
        return replace(self, training=replace(self.training, passes=-(-LEAST_STEPS // steps)))

    @property
    def found(self) -> Form:
        """What the table looks like: as stored, else as the file is now."""
        if self.form is not None:
            return self.form
        return _form(
            _file(self.data, None), self.target, self.kind, self.categorical, self.exclude,
            self.impute, self.test_share,
        )  # fmt: skip

    @property
    def shape(self) -> Shape:
        """What the network must know of the data."""
        form = self.found
        return Shape(form.kind, len(form.class_names), form.example, form.center, form.scale)

    def _check_fields(self) -> None:
        if not self.data:
            raise InputError(
                "Argument `data` must be a .csv, .parquet or .npz file or tfds:NAME, but is not "
                "given."
            )
        checks.one_of("kind", self.kind, ("auto", "classification", "regression"))
        checks.one_of("encoder", self.encoder, ("auto", "dense", "none"))
        for name in ("test_share", "validation_share"):
            checks.real(name, getattr(self, name), least=0, below=1)
        if self.test_share + self.validation_share >= 1:
            raise InputError(
                "Arguments `test_share` and `validation_share` must leave rows to train on, but "
                f"are {self.test_share} and {self.validation_share}."
            )
        if not self.test_share:
            raise InputError("Argument `test_share` must be above 0, but is 0.")
        checks.at_least("train_count", self.train_count, 0)

    def check(self) -> None:
        """Refuse what cannot be trained, before JAX loads."""
        self._check_fields()
        self.check_network()
        count = self.found.count
        left = count - self._validating(count)
        if self.train_count > left:
            raise InputError(
                f"Argument `train_count` must be at most {left}, the rows that are left to "
                f"train on, but is {self.train_count}."
            )
        check_training(self.training, self.train_count or left)

    def load(self, folders: Folders, seed: int, report: Report) -> Splits:
        """The rows, scaled by their training part; the seed decides which of them validate."""
        form = self.found
        parts, file = self._unscaled(folders, seed)
        scaling = _scaling(parts[0].inputs, form)

        def scaled(part: Examples) -> Examples:
            return Examples(_scaled(part.inputs, scaling, form), part.targets)

        train, validation, test = map(scaled, parts)
        return Splits(
            train,
            validation,
            test,
            f"{Path(self.data).name}, {self.target or 'y'}",
            file.checksum,
            form.class_names,
            "images" if form.images else "rows",
        )

    def _unscaled(self, folders: Folders, seed: int) -> tuple[list[Examples], _File]:
        """Rows to train, to validate and to test on, as they are in the file; and the file."""
        if self.data.startswith(PREFIX) and folders.data_dir is not None and folders.prepare:
            raise InputError(
                "Argument `data_dir` must be left out with tfds:NAME, whose folder is the variable "
                f"TFDS_DATA_DIR, but is {folders.data_dir}."
            )
        file, form = _file(self.data, folders.manual_dir), self.found
        whole, test = _examples(file, self, form)
        if test is None:
            tested = _tested(whole.targets, form, self.test_share)
            rest = np.setdiff1d(np.arange(len(whole.targets)), tested)
            test = Examples(whole.inputs[tested], whole.targets[tested])
            whole = Examples(whole.inputs[rest], whole.targets[rest])
        return [*self._parts(whole, form, seed), test], file

    def _validating(self, count: int) -> int:
        """How many of the rows that are not tested validate."""
        return min(round(self.validation_share / (1 - self.test_share) * count), count - 1)

    def _parts(self, whole: Examples, form: Form, seed: int) -> tuple[Examples, Examples]:
        """Training and validation, each with its share of every class."""
        count = len(whole.targets)
        classes = whole.targets if form.class_names else np.zeros(count, int)
        order = stratified(classes, np.random.default_rng((_SPLIT, seed)))
        validating = self._validating(count)
        validation, train = order[:validating], order[validating:]
        train = train[: self.train_count or len(train)]
        missing = set(range(len(form.class_names))) - set(np.unique(whole.targets[train]).tolist())
        if form.class_names and missing:
            raise InputError(
                "Argument `train_count` must leave a row of each class to train on, but of "
                f"{form.class_names[min(missing)]!r} there is none among {len(train)}."
            )
        train = np.sort(train)
        return (
            Examples(whole.inputs[train], whole.targets[train]),
            Examples(whole.inputs[validation], whole.targets[validation]),
        )

    def sized(self, count: int) -> Tabular:
        """The same on `count` rows, none of which validate; all of them where that is 0."""
        whole = replace(self, train_count=count, validation_share=0.0, twin=True)
        if not count:
            return whole
        size = min(self.training.batch_size, count)
        return replace(whole, training=replace(self.training, batch_size=size))._with_steps(count)

    def details(self, trained: Any, splits: Splits, seed: int) -> Mapping[str, Any]:
        """The scaling, which predictions need, and of a regression the share that is explained."""
        form = self.found
        # `load` has scaled the rows by the same numbers already.
        train = self._unscaled(trained.folders, trained.seeds.split)[0][0]
        scaling = _scaling(train.inputs, form)
        told: dict[str, Any] = {"scaling": scaling, "kind": form.kind, "target": self.target or "y"}
        if form.kind == "regression":
            errors = trained.predict(splits.test.inputs) - splits.test.targets
            spread = splits.test.targets - splits.test.targets.mean()
            told["test_r2"] = float(1 - (errors**2).sum() / max((spread**2).sum(), 1e-30))
        return told

    def notices(self) -> list[str]:
        """What was found out about the data and is worth saying."""
        form = self.found
        asked = "" if self.kind == "auto" else ", as asked for"
        what = (
            f"{len(form.class_names)} classes ({', '.join(form.class_names[:10])}): classification"
            if form.class_names
            else "numbers: regression"
        )
        lines = [f"target     {self.target or 'y'} has {what}{asked}"]
        texts = [column.name for column in form.columns if column.categories]
        if texts:
            lines.append(f"categories {', '.join(texts)}, one column of 0 and 1 for each value")
        if form.dropped:
            lines.append(f"dropped    {', '.join(form.dropped)}: one value only")
        return lines


class _File(NamedTuple):
    """A file of data: a table, or arrays."""

    table: RawTable | None
    arrays: Mapping[str, np.ndarray]
    path: Path
    checksum: str

    def __hash__(self) -> int:
        return hash((self.path, self.checksum))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _File):
            return NotImplemented
        return (self.path, self.checksum) == (other.path, other.checksum)


def _file(data: str, elsewhere: Path | None) -> _File:
    """The file of a task; where it is gone, the one of its name in the folder `manual_dir`."""
    if data.startswith(PREFIX):
        return _read_prepared(data)
    path = checks.path_of("data", data)
    if not path.exists() and elsewhere is not None and (elsewhere / path.name).exists():
        path = elsewhere / path.name
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(
            f"Argument `data` must be a file that can be read, but is {data!r} ({error.strerror})."
        ) from None
    return _read(path, found.st_mtime_ns, found.st_size)


# Kept from one call to the next, since an ablation splits the same rows by many seeds.
@functools.lru_cache(maxsize=2)
def _read(path: Path, changed: int, size: int) -> _File:
    if path.suffix.lower() == ".npz":
        arrays, checksum = read_arrays(path)
        return _File(None, arrays, path, checksum)
    table = read_table(path)
    return _File(table, {}, path, table.checksum)


@functools.lru_cache(maxsize=2)
def _read_prepared(data: str) -> _File:
    arrays, checksum = read_prepared(data.removeprefix(PREFIX))
    return _File(None, arrays, Path(data), checksum)


@functools.lru_cache(maxsize=8)
def _form(
    file: _File,
    target: str,
    kind: str,
    categorical: tuple[str, ...],
    exclude: tuple[str, ...],
    impute: bool,
    test_share: float,
) -> Form:
    """Find out what a file holds, and refuse what cannot be learned."""
    if file.table is None:
        form, values = _form_of_arrays(file, target, kind)
    else:
        form, values = _form_of_table(file.table, target, kind, categorical, exclude, impute)
    if "x_test" not in file.arrays:
        values = np.delete(values, _tested(values, form, test_share))
    form = replace(form, count=len(values))
    if form.class_names:
        return form
    scale = float(np.std(values))
    if not scale:
        raise InputError(
            f"Argument `target` must name a column whose values differ, but {target or 'y'!r} is "
            f"{values[0]:g} throughout."
        )
    return replace(form, center=float(np.mean(values)), scale=scale)


def _form_of_table(
    table: RawTable,
    target: str,
    kind: str,
    categorical: tuple[str, ...],
    exclude: tuple[str, ...],
    impute: bool,
) -> tuple[Form, np.ndarray]:
    if not target:
        raise InputError(
            f"Argument `target` must name the column to predict, one of {some(table.columns)}, "
            "but is not given."
        )
    goal = table.column(target, "target")
    for name in (*categorical, *exclude):
        table.column(name, "categorical" if name in categorical else "exclude")
    if target in exclude:
        raise InputError(f"Argument `exclude` must not name the target, but has {target!r}.")
    for row, value in enumerate(goal):
        if value is None:
            raise InputError(
                f"Argument `target` must name a column without missing values, but there is none "
                f"in {table.where(target, row)}; remove such rows."
            )
    found, class_names, values = _goal(goal, kind, target, table)
    columns, dropped = [], []
    for name, cells in table.columns.items():
        if name == target or name in exclude:
            continue
        column = _column(table, name, cells, name in categorical)
        if len({cell for cell in cells if cell is not None}) > 1:
            columns.append(column)
        else:
            dropped.append(name)
    if not columns:
        raise InputError(
            f"File {table.path} must have a column beside {target!r} whose values differ, but has "
            "none."
        )
    form = Form(
        found,
        class_names,
        tuple(columns),
        tuple(dropped),
        (sum(len(column.categories) or 1 for column in columns),),
    )
    _matrix(table, form, impute)  # refuses what is missing
    return form, values


def _goal(
    cells: Sequence[Any], kind: str, target: str, table: RawTable
) -> tuple[Kind, tuple[str, ...], np.ndarray]:
    """What kind of target a column is, the names of its classes, and class numbers or values."""
    numbers = [number(cell) for cell in cells]
    numeric = all(one is not None for one in numbers)
    if kind == "auto":
        whole = numeric and all(math.isfinite(one) and one == int(one) for one in numbers)  # type: ignore[arg-type]
        few = whole and len({float(one) for one in numbers}) <= _MOST_CLASSES  # type: ignore[arg-type]
        kind = "regression" if numeric and not few else "classification"
    if kind == "regression":
        for row, one in enumerate(numbers):
            if one is None or not math.isfinite(one):
                raise InputError(
                    f"Argument `target` must name a column of finite numbers for a regression, but "
                    f"has {cells[row]!r} in {table.where(target, row)}."
                )
        return "regression", (), np.array(numbers, np.float32)
    # Of numbers, 1 and 1.0 are one class, and 10 comes after 9.
    keys: Sequence[Any] = numbers if numeric else cells
    by_key: dict[Any, str] = {}
    for key, cell in zip(keys, cells, strict=True):
        by_key.setdefault(key, cell)
    place = {key: k for k, key in enumerate(sorted(by_key))}
    labels = np.array([place[key] for key in keys], np.int32)
    names = tuple(by_key[key] for key in place)
    _check_classes(labels, names, target)
    return "classification", names, labels


def _check_classes(labels: np.ndarray, names: tuple[str, ...], target: str) -> None:
    if len(names) < 2:
        raise InputError(
            f"Argument `target` must name a column of at least two classes, but {target!r} has "
            f"{names[0]!r} only."
        )
    counts = np.bincount(labels, minlength=len(names))
    if counts.min() < 3:
        few = int(counts.argmin())
        raise InputError(
            "Argument `target` must name a column with at least 3 rows of each class, to train, "
            f"validate and test on, but {target!r} has {counts[few]} of {names[few]!r}; of a "
            "regression say so by `kind`."
        )


def _column(table: RawTable, name: str, cells: Sequence[Any], categorical: bool) -> Column:
    """A column of numbers or of categories; where some are the one and some the other, neither."""
    different = {cell for cell in cells if cell is not None}
    texts = {cell for cell in different if number(cell) is None}
    if not texts and not categorical:
        # Before a column that is infinite throughout is left out as one that never differs.
        for row, cell in enumerate(cells):
            if math.isinf(number(cell) or 0):
                raise InputError(
                    f"Column {name!r} must hold finite numbers, but has {cell!r} in "
                    f"{table.where(name, row)}; correct it."
                )
        return Column(name)
    if len(texts) < len(different) and not categorical:
        row = next(row for row, cell in enumerate(cells) if cell in texts)
        raise InputError(
            f"Column {name!r} must hold numbers or text throughout, but beside numbers has "
            f"{cells[row]!r} in {table.where(name, row)}; correct it, or name the column in "
            "`categorical` or in `exclude`."
        )
    if len(different) > MOST_CATEGORIES:
        raise InputError(
            f"Column {name!r} must have at most {MOST_CATEGORIES} different texts, each of which "
            f"becomes a column, but has {len(different)}; leave it out by `exclude`."
        )
    return Column(name, tuple(sorted(different)))


def _matrix(table: RawTable, form: Form, impute: bool) -> np.ndarray:
    """The features of each row, shape (rows, features); NaN is a number to be imputed."""
    blocks = []
    for column in form.columns:
        cells = table.columns[column.name]
        if None in cells and not impute:
            raise InputError(
                f"Column {column.name!r} must have no missing values, but there is one in "
                f"{table.where(column.name, cells.index(None))}; fill it in, or let `impute` "
                "do so."
            )
        if column.categories:
            place = {name: k for k, name in enumerate(column.categories)}
            block = np.zeros((len(cells), len(place)))
            for row, cell in enumerate(cells):
                if cell is None:
                    continue
                if cell not in place:
                    raise InputError(
                        f"Column {column.name!r} must hold categories of the training table "
                        f"({some(place)}), but has {cell!r} in {table.where(column.name, row)}."
                    )
                block[row, place[cell]] = 1
            blocks.append(block)
            continue
        numbers = [number(cell) for cell in cells]
        for row, one in enumerate(numbers):
            if one is None or math.isinf(one):
                raise InputError(
                    f"Column {column.name!r} must hold finite numbers, but has {cells[row]!r} in "
                    f"{table.where(column.name, row)}; correct it."
                )
        blocks.append(np.array(numbers, float)[:, None])
    return np.concatenate(blocks, axis=1)


def _form_of_arrays(file: _File, target: str, kind: str) -> tuple[Form, np.ndarray]:
    arrays = file.arrays
    if target not in ("", "y"):
        raise InputError(
            f"Argument `target` must be left out for an .npz file, whose target is y, but is "
            f"{target!r}."
        )
    for name in ("x", "y"):
        if name not in arrays:
            raise InputError(
                f"File {file.path} must have arrays x and y, but has {some(arrays) or 'none'}."
            )
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise InputError(f"File {file.path} must have both x_test and y_test, or neither.")
    for name, other in (("x", "y"), ("x_test", "y_test")):
        if name not in arrays:
            continue
        inputs, targets = arrays[name], arrays[other]
        if not 2 <= inputs.ndim <= 4 or not inputs.size:
            raise InputError(
                f"Array `{name}` must have shape (count, features) or (count, height, width[, "
                f"channels]), but has {inputs.shape}."
            )
        if inputs.shape[1:] != arrays["x"].shape[1:]:
            raise InputError(
                f"Array `{name}` must have examples of shape {arrays['x'].shape[1:]}, as x has, "
                f"but has {inputs.shape[1:]}."
            )
        if targets.shape != inputs.shape[:1]:
            raise InputError(
                f"Array `{other}` must have shape ({len(inputs)},), one for each example, but has "
                f"{targets.shape}."
            )
    x = finite(arrays["x"], "x")
    images = x.ndim > 2 and x.dtype == np.uint8
    if x.ndim > 2 and not images:
        raise InputError(
            "Array `x` must hold images of bytes (uint8), but is of dtype "
            f"{arrays['x'].dtype}; a table has shape (count, features)."
        )
    if not np.ptp(x.reshape(len(x), -1), axis=0).any():
        raise InputError("Array `x` must have a feature whose values differ, but has none.")
    # As text, and so by the same rules as a column of a table.
    every = _as_texts(arrays["y"]) + _as_texts(arrays.get("y_test", np.zeros(0)))
    stand_in = RawTable(file.path, {"y": every}, range(len(every)), file.checksum, "example")
    found, names, values = _goal(every, kind, "y", stand_in)
    form = Form(found, names, (), (), x.shape[1:], images=images)
    return form, values[: len(x)]


def _as_texts(values: np.ndarray) -> list[str]:
    return [
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for value in values.tolist()
    ]


def _examples(file: _File, task: Tabular, form: Form) -> tuple[Examples, Examples | None]:
    """All examples in the file's order, not scaled yet, and the test examples where given."""
    if file.table is not None:
        table = file.table
        _check_columns(table, form, task.target)
        inputs = _matrix(table, form, task.impute)
        return Examples(inputs, _targets(table.columns[task.target], form, table)), None
    arrays = file.arrays

    def part(x: str, y: str) -> Examples:
        return Examples(_array(arrays[x], x, form), _targets(_as_texts(arrays[y]), form, file))

    return part("x", "y"), part("x_test", "y_test") if "x_test" in arrays else None


def _array(values: np.ndarray, name: str, form: Form) -> np.ndarray:
    if values.shape[1:] != form.example:
        raise InputError(
            f"Array `{name}` must have examples of shape {form.example}, but has "
            f"{values.shape[1:]}."
        )
    return finite(values, name) if form.images else finite(values, name).astype(float)


def _targets(cells: Sequence[Any], form: Form, file: Any) -> np.ndarray:
    if not form.class_names:
        values = np.array([number(cell) for cell in cells], float)
        if not np.isfinite(values).all():
            raise InputError(f"File {file.path} must have finite targets, but has others.")
        return values.astype(np.float32)
    place = {name: k for k, name in enumerate(form.class_names)}
    by_number = {number(name): k for name, k in place.items() if number(name) is not None}
    try:
        labels = [place[cell] if cell in place else by_number[number(cell)] for cell in cells]
    except KeyError as unknown:
        raise InputError(
            f"File {file.path} must have targets out of {some(place)}, but has another ({unknown})."
        ) from None
    return np.array(labels, np.int32)


def _check_columns(table: RawTable, form: Form, target: str, needs_target: bool = True) -> None:
    """Refuse a table of other columns than those of the run, by their names."""
    wanted = [column.name for column in form.columns] + ([target] if needs_target else [])
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise InputError(
            f"File {table.path} must have the columns of the table that the run was trained on, "
            f"but lacks {some(missing)}; it has {some(table.columns)}."
        )


def _tested(targets: np.ndarray, form: Form, share: float) -> np.ndarray:
    """The rows to test on: the same whatever the seed, with their share of each class."""
    count = len(targets)
    if count < 5:
        raise InputError(
            f"Argument `data` must have at least 5 rows, to train, validate and test on, but has "
            f"{count}."
        )
    classes = targets if form.class_names else np.zeros(count, int)
    order = stratified(classes, np.random.default_rng(_TEST))
    # Two at least, since the score of a single one has no interval.
    return np.sort(order[: min(max(2, round(share * count)), count - 2)])


def _scaling(inputs: np.ndarray, form: Form) -> Scaling:
    """Mean and standard deviation of each feature over rows; images of bytes need none."""
    if form.images:
        return {"mean": [], "scale": []}
    there = np.isfinite(inputs)
    counts = np.maximum(there.sum(axis=0), 1)
    known = np.where(there, inputs, 0.0)
    mean = known.sum(axis=0) / counts
    scale = np.sqrt((np.where(there, inputs - mean, 0.0) ** 2).sum(axis=0) / counts)
    # What does not vary among these rows stays about 0, and what is nearly constant does not blow
    # up: single precision knows seven digits.
    scale = np.where(scale > 1e-7 * np.maximum(np.abs(mean), 1e-30), scale, 1.0)
    return {"mean": mean.tolist(), "scale": scale.tolist()}


def _scaled(inputs: np.ndarray, scaling: Scaling, form: Form) -> np.ndarray:
    """Features in units of the training part; an imputed number is its mean, which is 0."""
    if form.images:
        return inputs
    moved = (inputs - np.array(scaling["mean"])) / np.array(scaling["scale"])
    return np.nan_to_num(moved, nan=0.0).astype(np.float32)


def read_circuit(text: str) -> str:
    """The JSON of a circuit that is named: by a file, by module:function, or by JSON itself."""
    if not text:
        return ""
    if text.lstrip().startswith("{"):
        return Circuit.from_json(text).to_json()
    path = checks.path_of("circuit", text)
    if path.suffix.lower() in (".qasm", ".qasm3", ".json"):
        try:
            content = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise InputError(
                f"Argument `circuit` must be a file that can be read, but is {text!r} ({reason})."
            ) from None
        if path.suffix.lower() == ".json":
            return Circuit.from_json(content).to_json()
        from qnn_jax.bridge import from_qasm

        return from_qasm(content).to_json()
    module, colon, name = text.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), name)):
        raise InputError(
            "Argument `circuit` must be a .qasm or .json file or module:function, but is "
            f"{checks.shown(text)}."
        )
    return _called(module, name).to_json()


def _called(module: str, name: str) -> Any:
    """What a function of a module returns; the module may lie in this folder, as with python -m."""
    import importlib

    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"Argument `circuit` must name a function that can be imported, but {module}:{name} "
            f"cannot ({error})."
        ) from None
    made = function() if callable(function) else function
    if (circuit := as_circuit(made)) is not None:
        return circuit
    raise InputError(
        f"Argument `circuit` must name a function that returns a Circuit or a QuantumCircuit, but "
        f"{module}:{name} returns {checks.shown(made)}."
    )


def as_circuit(given: Any) -> Circuit | None:
    """A Circuit as it is, one of Qiskit's converted; None of what is neither."""
    if isinstance(given, Circuit):
        return given
    if hasattr(given, "num_qubits") and hasattr(given, "parameters"):
        from qnn_jax.bridge import from_qiskit

        return from_qiskit(given)
    return None


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """The probability of each class, shape (count, classes), of logits; in their precision."""
    from scipy.special import expit, softmax

    outputs = np.asarray(outputs)
    if outputs.shape[1] > 1:
        return np.asarray(softmax(outputs, axis=1))
    second = expit(outputs[:, 0])
    return np.stack([1 - second, second], axis=1)


def own_data(task: Any) -> Tabular:
    """The task, if it can read rows of a file."""
    if not isinstance(task, Tabular):
        raise InputError(
            f"Argument `run` must name a model of your own data, but is of {task.name}."
        )
    return task


def predict_file(
    trained: Any, path: Path | str, executor: Any = None, key: Any = None
) -> Prediction:
    """What a trained model of a `Tabular` task says of every row of another file.

    Args:
        trained: the model.
        path: a table with the columns that it was trained on (the target's may be missing), or an
            .npz file with an array x.
        executor: where the circuit runs; by default the exact statevector.
        key: a random key, for executors that draw.

    Raises:
        InputError: where the columns differ, or a value cannot be used.
    """
    from qnn_jax.executors import exact
    from qnn_jax.runs import from_json

    task = own_data(trained.task)
    form, file = task.found, _file(str(path), None)
    told = from_json(_Told, dict(trained.summary), "File summary.json", "train the run again")
    if file.table is not None:
        if not form.columns:
            raise InputError(
                f"Argument `data` must be an .npz file with an array x, as the run was trained on, "
                f"but is {str(path)!r}."
            )
        _check_predicted(file.table, form, task)
        inputs = _matrix(file.table, form, task.impute)
    else:
        if form.columns:
            raise InputError(
                "Argument `data` must be a table with the columns that the run was trained on, but "
                f"is {str(path)!r}."
            )
        if "x" not in file.arrays:
            raise InputError(
                f"File {path} must have an array x, but has {some(file.arrays) or 'none'}."
            )
        inputs = _array(file.arrays["x"], "x", form)
    scaled = _scaled(inputs, told["scaling"], form)
    outputs = trained.outputs(scaled, exact if executor is None else executor, key)
    found = np.asarray(task.metric.predictions(outputs))
    target = task.target or "y"
    if not form.class_names:
        return Prediction((target,), [(f"{value:.7g}",) for value in found.tolist()])
    shares = probabilities(outputs)
    header = (target, *(f"probability of {name}" for name in form.class_names))
    rows = [
        (form.class_names[label], *(f"{share:.6f}" for share in row))
        for label, row in zip(found.tolist(), shares.tolist(), strict=True)
    ]
    return Prediction(header, rows)


def _check_predicted(table: RawTable, form: Form, task: Tabular) -> None:
    _check_columns(table, form, task.target, needs_target=False)
    known = {column.name for column in form.columns} | {task.target}
    known |= {*form.dropped, *task.exclude}
    extra = [name for name in table.columns if name not in known]
    if extra:
        raise InputError(
            f"File {table.path} must have the columns of the table that the run was trained on, "
            f"but has {some(extra)} beside them; remove what the run does not know."
        )
