"""Data of one's own: what a table is taken for, how it is split and scaled, what is refused."""

import dataclasses
import io
import json
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from qnn_jax import Circuit, Op, w, x
from qnn_jax.configs import ModelConfig, TrainingConfig
from qnn_jax.errors import InputError
from qnn_jax.models import HybridFeatures
from qnn_jax.runs import from_json
from qnn_jax.tasks import TASKS, Seeds, Tabular, load, predict_file, train
from qnn_jax.tasks.defaults import HYBRID_NUMBERS
from qnn_jax.tasks.stored import config_of
from qnn_jax.tasks.tabular import Column, probabilities, read_circuit
from qnn_jax.training import HYBRID, Folders, Task

ROWS = 60
SMALL = ModelConfig(channels=(), hidden=(), num_qubits=2, ansatz_reps=1, feature_map="z")
TWO = Circuit(2, (Op("ry", 0, x[0]), Op("ry", 1, x[1]), Op("cx", (0, 1)), Op("ry", 1, w[0])))


def rows() -> list[dict[str, object]]:
    """A number of the row, a size, a color, a constant; three species, one of which is rare."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(ROWS):
        species = "ant" if k < 30 else "bee" if k < 50 else "wasp"
        size = {"ant": 0.0, "bee": 2.0, "wasp": 4.0}[species] + 0.3 * rng.normal()
        color = "red" if k % 3 else "blue"
        found.append(
            {"row": k, "size": size, "color": color, "planet": "earth", "species": species}
        )
    return [found[k] for k in rng.permutation(ROWS)]


def text_of(table: list[dict[str, object]], delimiter: str = ",") -> str:
    lines = [delimiter.join(table[0])]
    return "\n".join([*lines, *(delimiter.join(map(str, row.values())) for row in table)]) + "\n"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "insects.csv"
    path.write_text(text_of(rows()))
    return path


def tabular(path: Path, **fields) -> Tabular:
    return Tabular(str(path), "species", **{"model": SMALL, **fields})


def test_a_table_is_taken_for_what_it_is(csv: Path) -> None:
    task = tabular(csv).prepared()
    form = task.form
    assert form.class_names == ("ant", "bee", "wasp")
    assert form.columns == (Column("row"), Column("size"), Column("color", ("blue", "red")))
    assert form.dropped == ("planet",)
    assert form.example == (4,)
    assert form.count == 48
    assert "dropped    planet: one value only" in task.notices()
    assert any("ant, bee, wasp): classification" in line for line in task.notices())
    # 34 training rows in batches of 32, 60 epochs: 1,000 steps need 17 passes.
    assert task.training.passes == -(-1000 // 60)
    assert isinstance(task, Task)
    task.check()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_kind_of_file_does_not_matter(tmp_path: Path, csv: Path, delimiter: str) -> None:
    wanted = tabular(csv).prepared()
    other, packed = tmp_path / "other.csv", tmp_path / "packed.parquet"
    other.write_bytes(b"\xef\xbb\xbf" + text_of(rows(), delimiter).encode())
    parquet.write_table(pyarrow.Table.from_pylist(rows()), packed)
    for path in (other, packed):
        task = tabular(path).prepared()
        assert task.form == wanted.form
        for one, two in zip(
            task.load(Folders(), 0, print).train,
            wanted.load(Folders(), 0, print).train,
            strict=True,
        ):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        ([0.5 + k for k in range(30)], "regression", ()),
        ([k % 3 for k in range(30)], "classification", ("0", "1", "2")),
        ([9 + k % 2 for k in range(30)], "classification", ("9", "10")),
        ([float(k % 2) for k in range(30)], "classification", ("0.0", "1.0")),
        (list(range(30)), "regression", ()),
        ([("no", "yes")[k % 2] for k in range(30)], "classification", ("no", "yes")),
    ],
)
def test_the_target_says_what_is_learned(tmp_path: Path, values, kind, classes) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text_of([{"a": k * k, "species": v} for k, v in enumerate(values)]))
    task = tabular(path).prepared()
    assert (task.form.kind, task.form.class_names) == (kind, classes)
    assert task.metric.name == ("accuracy" if classes else "mean_l1")
    if kind == "classification" and values[0] != "no":
        assert tabular(path, kind="regression").prepared().form.kind == "regression"
    elif kind == "regression":
        rest = np.asarray(values)
        assert abs(task.form.center - rest.mean()) < rest.std()
        assert 0.5 < task.form.scale / rest.std() < 2


def test_rows_are_parted_by_class_and_scaled_by_the_training_part(csv: Path) -> None:
    task = tabular(csv).prepared()
    raw = {row["row"]: row for row in rows()}
    splits = task.load(Folders(), 3, print)
    parts = (splits.train, splits.validation, splits.test)
    assert [len(part.targets) for part in parts] == [42, 6, 12]
    # Shares of the three classes: 30, 20 and 10 of 60.
    assert np.bincount(splits.test.targets).tolist() == [6, 4, 2]
    assert np.bincount(splits.train.targets).tolist() == [21, 14, 7]
    # The first feature is the number of the row: scaled back, it says which row this is.
    summary = {}
    for seed in (3, 4):
        trained = dataclasses.make_dataclass("T", ["folders", "seeds", "predict"])(
            Folders(), Seeds(seed), None
        )
        summary[seed] = task.details(trained, splits, 0)["scaling"]
    mean, scale = (np.array(summary[3][name]) for name in ("mean", "scale"))
    numbers = [np.rint(part.inputs[:, 0] * scale[0] + mean[0]).astype(int) for part in parts]
    assert sorted(np.concatenate(numbers).tolist()) == list(range(ROWS))
    for part, of_part in zip(parts, numbers, strict=True):
        species = [splits.class_names[k] for k in part.targets]
        assert species == [raw[k]["species"] for k in of_part]
        colors = np.rint(part.inputs[:, 2:] * scale[2:] + mean[2:]).tolist()
        assert colors == [[float(raw[k]["color"] == c) for c in ("blue", "red")] for k in of_part]
    sizes = np.array([raw[k]["size"] for k in numbers[0]])
    np.testing.assert_allclose([mean[1], scale[1]], [sizes.mean(), sizes.std()], rtol=1e-6)
    # Other seeds validate by other rows, and so scale otherwise, but test by the same.
    assert summary[4] != summary[3]
    other = task.load(Folders(), 4, print)
    assert other.test.targets.tolist() == splits.test.targets.tolist()
    assert other.checksum == splits.checksum


def test_a_task_is_json_and_needs_no_file_to_be_rebuilt(csv: Path) -> None:
    task = tabular(csv, circuit=TWO.to_json(), observables=("ZI", "IZ")).prepared()
    written = json.loads(json.dumps(config_of(task, Seeds(3)), default=str))
    csv.unlink()
    again = from_json(TASKS["tabular"], written["fields"], "File f", "mend it")
    assert again == task
    again.check()
    members = again.members()
    assert members[0].name == HYBRID
    assert members[0].network.circuit == TWO
    assert [m.name for m in members if m.alongside] == ["classical", "linear"]
    assert hash(again) == hash(task)
    with pytest.raises(InputError, match=r"^Argument `data` must be a file that can be read"):
        again.load(Folders(), 0, print)


def test_the_folder_of_archives_is_looked_into(csv: Path, tmp_path: Path) -> None:
    task = tabular(csv).prepared()
    wanted = task.load(Folders(), 0, print)
    (tmp_path / "elsewhere").mkdir()
    csv.rename(tmp_path / "elsewhere" / csv.name)
    found = task.load(Folders(None, tmp_path / "elsewhere"), 0, print)
    np.testing.assert_array_equal(found.train.inputs, wanted.train.inputs)


def test_missing_values_are_refused_or_become_the_mean(csv: Path) -> None:
    table = rows()
    table[0]["size"], table[1]["color"] = "NA", ""
    csv.write_text(text_of(table))
    with pytest.raises(
        InputError, match=r"Column 'size' must have no missing values, .* line 2 of .*`impute`"
    ):
        tabular(csv).prepared()
    task = tabular(csv, impute=True).prepared()
    splits = task.load(Folders(), 0, print)
    every = np.concatenate([p.inputs for p in (splits.train, splits.validation, splits.test)])
    assert np.isfinite(every).all()
    assert (every[:, 1] == 0).sum() == 1
    # Neither blue nor red: both columns are below their means.
    assert (every[:, 2:].max(axis=1) < 0).sum() == 1


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        ({}, {"target": "spezies"}, r"`target` must be a column .* did you mean 'species'"),
        ({}, {"target": ""}, "`target` must name the column to predict, one of row, size"),
        ({}, {"categorical": ("colour",)}, r"`categorical` must be .* did you mean 'color'\?"),
        ({}, {"exclude": ("species",)}, "`exclude` must not name the target"),
        ({}, {"exclude": ("row", "size", "color")}, "must have a column beside 'species' whose"),
        (
            {},
            {"data": ""},
            "`data` must be a .csv, .parquet or .npz file or tfds:NAME, but is not given",
        ),
        ({}, {"data": "/nowhere.csv"}, "`data` must be a file that can be read, but is .*No such"),
        ({}, {"test_share": 0.0}, "`test_share` must be above 0"),
        ({}, {"test_share": 0.7, "validation_share": 0.3}, "must leave rows to train on"),
        ({}, {"kind": "clustering"}, "`kind` must be one of"),
        ({}, {"encoder": "conv"}, "`encoder` must be one of"),
        ({}, {"kind": "regression"}, "`target` must name a column of finite numbers .* line 2 of"),
        ({}, {"categorical": ("row", "size")}, None),
        ({(0, "size"): "big"}, {}, "Column 'size' .* beside numbers has 'big' in .*line 2 of"),
        ({(0, "size"): "inf"}, {}, "Column 'size' must hold finite numbers, but has 'inf' in"),
        ({(k, "size"): "inf" for k in range(ROWS)}, {}, "Column 'size' must hold finite numbers"),
        ({(3, "species"): ""}, {}, "`target` .* without missing values, .* line 5 of"),
        ({(3, "species"): "fly"}, {}, "`target` .* at least 3 rows of each class, .* 1 of 'fly'"),
        ({(k, "species"): "fly" for k in range(ROWS)}, {}, "two classes, but 'species' has 'fly'"),
        ({(k, "color"): f"c{k}x" for k in range(ROWS)}, {}, None),
        ({}, {"train_count": 50}, "`train_count` must be at most 42"),
        (
            {},
            {"training": TrainingConfig(1, 43, shift=0, flip=False)},
            "`batch_size` must be between 1 and 42",
        ),
        (
            {},
            {"train_count": 2, "training": TrainingConfig(1, 2, shift=0, flip=False)},
            "`train_count` must leave a row of each class .* 'wasp'",
        ),
        ({}, {"circuit": Circuit(1, (Op("ry", 0, w[0]),)).to_json()}, "`circuit` must read at"),
        ({}, {"circuit": TWO.to_json(), "encoder": "none"}, "`circuit` .* features, 4, .* reads 2"),
        ({}, {"observables": ("ZZZ",)}, "`observables` must have labels of 2 letters"),
        ({}, {"training": TrainingConfig(shift=1, flip=False)}, "`shift` and `flip` must be 0 and"),
        (
            {},
            {"training": TrainingConfig(loss="mse", shift=0, flip=False)},
            "`loss` must be cross-entropy for more than two classes, but is mse and there are 3",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused(csv: Path, change, fields, message) -> None:
    table = rows()
    for (row, name), value in change.items():
        table[row][name] = value
    csv.write_text(text_of(table))

    def all_of_it() -> None:
        task = dataclasses.replace(tabular(csv), **fields).prepared()
        task.check()
        task.load(Folders(), 0, print)

    if message is None:
        return all_of_it()
    with pytest.raises(InputError, match=message):
        all_of_it()
    return None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "must have names in its first line, but is empty"),
        ("a.csv", b"a,b\n", "must have rows below its names"),
        ("a.csv", b"a,b\n1,2\n3\n", "must have 2 values in each line, .* line 3 has 1"),
        ("a.csv", b"a,a\n1,2\n", "must have each column once, but has 'a' 2 times"),
        ("a.csv", b"a,\n1,2\n", "must have a name for each column .* column 1 has none"),
        ("a.csv", b"1,2\n3,4\n", "must have names in its first line, but has the numbers 1, 2"),
        ("a.csv", b"a,b\n1,\xff\n", "must be text in UTF-8, but its byte 6 is not"),
        ("a.csv", b"a,b\n1,\0\n", "must be a table of text, but holds zero bytes"),
        ("a.csv", b'a,b\n"1,2\n', "must be a table of comma-separated values, but line"),
        ("a.xlsx", b"a,b\n", r"must be a file .csv, .tsv, .parquet or .npz, but is"),
        ("a.parquet", b"a,b\n1,2\n", "must be a Parquet file, but is not"),
        ("a.npz", b"a,b\n1,2\n", "must be an .npz of arrays of numbers or text, but is not"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, name, content, message) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        Tabular(str(tmp_path / name), "" if name.endswith("npz") else "b").prepared()


def arrays(path: Path, **changes) -> Path:
    rng = np.random.default_rng(1)
    found = {"x": rng.integers(0, 256, (40, 8, 9), np.uint8), "y": np.arange(40) % 2, **changes}
    np.savez(path, **{name: a for name, a in found.items() if a is not None})
    return path


def test_an_array_that_claims_more_than_is_there_is_refused(tmp_path: Path) -> None:
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(InputError, match=r"must be an .npz of arrays .*, but is n"):
        Tabular(str(tmp_path / "a.npz")).prepared()


def test_arrays_that_unpack_to_too_much_are_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100_000, 2)), y=np.zeros(100_000))
    monkeypatch.setattr("qnn_jax.data.tables.MOST_BYTES", 2**20)
    with pytest.raises(InputError, match=r"but is not .it unpacks to more than 1048576 bytes"):
        Tabular(str(tmp_path / "a.npz")).prepared()


@pytest.mark.parametrize(
    "path", ["a\0.csv", "~nobody-0123/a.csv", "x" * 5000 + ".csv", "\ud800.csv"]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    for make in (
        lambda: Tabular(path).prepared(),
        lambda: Tabular("a.csv", circuit=path.replace("csv", "json")).prepared(),
        lambda: load(path),
    ):
        with pytest.raises(InputError, match=r"^Argument `(data|circuit|path)` must be a path"):
            make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": None}, "must have arrays x and y, but has x"),
        ({"x_test": np.zeros((2, 8, 9), np.uint8)}, "must have both x_test and y_test, or neither"),
        ({"x": np.zeros(40)}, r"Array `x` must have shape .* but has \(40,\)"),
        ({"y": np.zeros(3)}, r"Array `y` must have shape \(40,\)"),
        ({"x": np.zeros((40, 8, 9))}, "Array `x` must hold images of bytes"),
        (
            {"x": np.full((40, 3), np.nan)},
            r"Array `x` must hold finite numbers, but has nan at \(0, 0\)\.",
        ),
        ({"x": np.ones((40, 3))}, "Array `x` must have a feature whose values differ"),
        ({"x": np.full((40, 3), "a")}, "Array `x` must hold real numbers, but is of dtype <U1"),
        ({"y": np.array([{}] * 40, object)}, "must be an .npz of arrays of numbers or text"),
        (
            {"x_test": np.zeros((2, 8, 8), np.uint8), "y_test": np.zeros(2)},
            r"Array `x_test` must have examples of shape \(8, 9\), as x has, but has \(8, 8\)",
        ),
    ],
)
def test_arrays_that_cannot_be_learned_are_refused(tmp_path: Path, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        Tabular(str(arrays(tmp_path / "a.npz", **changes))).prepared()


def test_images_go_through_convolutions_that_have_room(tmp_path: Path) -> None:
    colored = np.random.default_rng(0).integers(0, 256, (40, 16, 17, 3), np.uint8)
    test = {"x_test": colored[:7], "y_test": np.arange(7) % 2}
    few = TrainingConfig(batch_size=16, shift=0, flip=False)
    for changes, channels in (({}, (8,)), ({"x": colored, **test}, (8, 16))):
        path = arrays(tmp_path / "a.npz", **changes)
        task = Tabular(str(path), model=SMALL, training=few).prepared()
        task.check()
        assert task.config.channels == channels
        splits = task.load(Folders(), 0, print)
        assert splits.train.inputs.dtype == np.uint8
        network = task.members()[0].network
        shape = jax.eval_shape(
            lambda network=network, splits=splits: network.init_with_output(
                jax.random.key(0), jnp.asarray(splits.train.inputs[:4])
            )[0]
        ).shape
        assert shape == (4, 1)
    assert len(splits.test.targets) == 7
    np.testing.assert_array_equal(splits.test.inputs, colored[:7])
    with pytest.raises(InputError, match="`target` must be left out for an"):
        dataclasses.replace(task, target="z", form=None).prepared()


def test_circuits_are_read_once_and_stored_as_data(tmp_path: Path, monkeypatch) -> None:
    from qnn_jax.bridge import to_qasm3

    (tmp_path / "two.json").write_text(TWO.to_json())
    (tmp_path / "two.qasm").write_text(to_qasm3(TWO))
    (tmp_path / "of_my_own.py").write_text(
        "from qnn_jax import Circuit, Op, w, x\n"
        "def two():\n    return Circuit(2, (Op('ry', 0, x[0]), Op('ry', 1, x[1]), "
        "Op('cx', (0, 1)), Op('ry', 1, w[0])))\n"
        "def qiskit():\n    from qnn_jax.bridge import to_qiskit\n"
        "    return to_qiskit(two(), 'named')\n"
        "def three():\n    return 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("of_my_own", None)
    for text in (
        str(tmp_path / "two.json"),
        str(tmp_path / "two.qasm"),
        "of_my_own:two",
        "of_my_own:qiskit",
        TWO.to_json(),
    ):
        assert Circuit.from_json(read_circuit(text)) == TWO
    for text, message in (
        ("of_my_own:three", "returns a Circuit or a QuantumCircuit, but of_my_own:three returns 3"),
        ("of_my_own:four", "that can be imported, but of_my_own:four cannot"),
        ("nowhere:four", "that can be imported, but nowhere:four cannot"),
        ("circuit", r"be a \.qasm or \.json file or module:function, but is 'circuit'"),
        ("nowhere.qasm", "be a file that can be read, but is 'nowhere.qasm' .No such"),
    ):
        with pytest.raises(InputError, match=f"^Argument `circuit` must (.* )?{message}"):
            read_circuit(text)


def test_a_stored_configuration_calls_nothing(csv: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "evil.py").write_text(f"def made():\n    open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    task = dataclasses.replace(tabular(csv).prepared(), circuit="evil:made")
    with pytest.raises(InputError):
        task.check()
    assert not (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tabular")
    (folder / "insects.csv").write_text(text_of(rows()))
    task = tabular(
        folder / "insects.csv",
        exclude=("row",),
        twin=False,
        training=TrainingConfig(epochs=30, batch_size=16, learning_rate=0.05, shift=0, flip=False),
    )
    return train(task.prepared(), seed=2), folder


@pytest.mark.slow
def test_a_model_predicts_other_tables_without_its_own(trained, tmp_path: Path) -> None:
    model, folder = trained
    assert model.summary["test_accuracy"] >= 11 / 12
    model.save(folder / "run")
    again = load(folder / "run")
    # Of other columns' order, one that was left out, and without the target.
    new = [{"color": r["color"], "size": r["size"], "planet": "mars"} for r in rows()]
    (tmp_path / "new.csv").write_text(text_of(new))
    (folder / "insects.csv").rename(folder / "gone.csv")
    header, found = predict_file(again, tmp_path / "new.csv")
    (folder / "gone.csv").rename(folder / "insects.csv")
    assert header == ("species", *(f"probability of {n}" for n in ("ant", "bee", "wasp")))
    right = np.mean([row[0] == one["species"] for row, one in zip(found, rows(), strict=True)])
    assert right > 0.9
    shares = np.array([[float(share) for share in row[1:]] for row in found])
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=3e-6)
    assert [header[1 + k].split()[-1] for k in shares.argmax(axis=1)] == [row[0] for row in found]
    # The same as the model says of its own, scaled test rows.
    test = model.splits().test
    names = [model.task.form.class_names[k] for k in model.predict(test.inputs)]
    at = {(round(r["size"], 6), r["color"]): row[0] for r, row in zip(rows(), found, strict=True)}
    scaling = model.summary["scaling"]
    raw = test.inputs * np.array(scaling["scale"]) + np.array(scaling["mean"])
    sizes = {round(r["size"], 6): r for r in rows()}
    for name, row in zip(names, raw, strict=True):
        near = min(sizes, key=lambda size: abs(size - row[0]))
        assert at[near, sizes[near]["color"]] == name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("size"), "but lacks size; it has row, color"),
        (lambda r: r.update(weight=1), "but has weight beside them"),
        (lambda r: r.update(color="green"), r"categories .*\(blue, red\), but has 'green' in .*2"),
        (lambda r: r.update(size="big"), "Column 'size' must hold finite numbers, but has 'big'"),
        (lambda r: r.update(size=""), "Column 'size' must have no missing values"),
    ],
)
def test_other_tables_are_refused(trained, tmp_path: Path, change, message: str) -> None:
    table = rows()
    for row in table:
        change(row)
    (tmp_path / "new.csv").write_text(text_of(table))
    with pytest.raises(InputError, match=message):
        predict_file(trained[0], tmp_path / "new.csv")
    np.savez(tmp_path / "new.npz", x=np.zeros((2, 4)))
    with pytest.raises(InputError, match="must be a table with the columns that the run was"):
        predict_file(trained[0], tmp_path / "new.npz")


@pytest.mark.slow
def test_values_are_learned_in_their_own_unit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (200, 2))
    values = 3000 + 400 * np.cos(inputs[:, 0] * 2) * inputs[:, 1]
    np.savez(tmp_path / "a.npz", x=inputs, y=values)
    training = TrainingConfig(80, 32, 0.03, weight_decay=0, shift=0, flip=False)
    model = ModelConfig(channels=(), hidden=(8,), num_qubits=2)
    task = Tabular(str(tmp_path / "a.npz"), twin=False, model=model, training=training).prepared()
    smoothed = dataclasses.replace(training, label_smoothing=0.1)
    with pytest.raises(InputError, match=r"^Arguments `loss` and `label_smoothing` must be left"):
        dataclasses.replace(task, training=smoothed).check()
    assert HYBRID_NUMBERS - task.numbers == {"training.label_smoothing"}
    found = train(task, seed=1)
    assert found.summary["test_r2"] > 0.8
    assert found.summary["test_mean_l1"] < 80
    np.savez(tmp_path / "new.npz", x=inputs[:5])
    header, rows = predict_file(found, tmp_path / "new.npz")
    assert header == ("y",)
    assert np.abs([float(row[0]) for row in rows] - values[:5]).mean() < 150


def test_features_may_enter_the_circuit_themselves() -> None:
    network = HybridFeatures(SMALL, TWO, ("ZZ", "IZ"), 2, dense=False, center=5.0, scale=2.0)
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)), jnp.float32)
    params = network.init(jax.random.key(0), inputs)["params"]
    assert set(params) == {"quantum", "head"}
    angles = network.apply({"params": params}, inputs, method="encode")
    np.testing.assert_allclose(angles, np.pi + np.tanh(inputs), atol=1e-6)
    # <ZZ> behind CX is <IZ> of qubit 1 turned: by hand, in double precision.
    theta, weight = np.asarray(angles, float), float(params["quantum"]["weights"][0])
    zero = np.cos(theta[:, 0])
    # CX: Z1 → Z0 Z1; RY(w) on qubit 1 after it mixes Z1 with X1, whose mean is that of sin.
    z1 = np.cos(weight) * zero * np.cos(theta[:, 1]) - np.sin(weight) * np.sin(theta[:, 1])
    z01 = np.cos(weight) * np.cos(theta[:, 1]) - np.sin(weight) * zero * np.sin(theta[:, 1])
    head = params["head"]
    wanted = np.stack([z01, zero], 1) @ np.asarray(head["kernel"], float) + np.asarray(head["bias"])
    found = network.apply({"params": params}, inputs)
    np.testing.assert_allclose(found, 5 + 2 * wanted, atol=1e-5)
    assert z1.shape == (3,)


def test_probabilities_are_those_of_the_logits() -> None:
    logits = np.array([[0.0, 1.0, 2.0]], np.float32)
    wanted = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
    np.testing.assert_allclose(probabilities(logits)[0], wanted, rtol=1e-6)
    assert probabilities(logits).dtype == np.float32
    np.testing.assert_allclose(probabilities(np.array([[np.log(3.0)]])), [[0.25, 0.75]])


def test_csv_text_is_read_as_csv(tmp_path: Path) -> None:
    text = io.StringIO()
    text.write('"a, b",t\n' + "".join(f'"{k}",{"u" if k % 2 else "v"}\n\n' for k in range(20)))
    (tmp_path / "q.csv").write_text(text.getvalue())
    form = Tabular(str(tmp_path / "q.csv"), "t").prepared().form
    assert form.columns == (Column("a, b"),)


@pytest.mark.parametrize(("kind", "inputs"), [("angle", 3), ("dense_angle", 6)])
def test_angle_maps_turn_each_qubit_and_are_uploaded_again(kind, inputs: int) -> None:
    once = ModelConfig(num_qubits=3, feature_map=kind, feature_map_reps=1, ansatz_reps=1).circuit()
    assert (once.num_inputs, once.num_weights) == (inputs, 6)
    turns = [(op.gate, op.qubits, op.angles) for op in once.ops[:inputs]]
    wanted = [("ry", (q,), (x[q],)) for q in range(3)]
    wanted += [("rz", (q,), (x[3 + q],)) for q in range(3)] if inputs == 6 else []
    assert turns == wanted
    twice = ModelConfig(num_qubits=3, feature_map=kind, feature_map_reps=2, ansatz_reps=1).circuit()
    assert twice == once.repeat(2)


def test_a_score_has_an_interval(tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("a,y\n" + "".join(f"{k},{k % 3}.5\n" for k in range(5)))
    batches = TrainingConfig(batch_size=1, shift=0, flip=False)
    task = Tabular(str(path), "y", kind="regression", model=SMALL, training=batches).prepared()
    assert len(task.load(Folders(), 0, print).test.targets) == 2
    rows = np.arange(10.0)[:, None]
    np.savez(tmp_path / "a.npz", x=rows, y=rows[:, 0], x_test=rows[:1], y_test=rows[:1, 0])
    task = Tabular(str(tmp_path / "a.npz"), kind="regression", model=SMALL, training=batches)
    with pytest.raises(InputError, match=r"`task` must have at least 2 test .* but has 1"):
        train(task.prepared())
