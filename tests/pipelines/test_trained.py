"""A finished run, read back: its numbers must come out of its files again."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipelines import train_calculator, train_fashion, trained
from qnn_jax.errors import InputError
from qnn_jax.executor import exact
from qnn_jax.runs import fingerprint, from_json, read_npz, write_npz_atomic

REFERENCE = Path(__file__).parents[2] / "results/reference"


@pytest.fixture(scope="module")
def fashion(data_dir: Path) -> trained.Trained:
    return trained.load(REFERENCE, "fashion", data_dir)


def test_the_circuit_and_the_head_give_the_test_accuracy_of_the_run(
    fashion: trained.Trained,
) -> None:
    summary = json.loads((REFERENCE / "fashion/summary.json").read_text())
    run = exact(fashion.circuit, fashion.observables, fashion.test.inputs, fashion.weights)
    score = fashion.score(np.asarray(run.values), fashion.test.targets)
    assert score.value == summary["test_accuracy"]
    assert list(score.interval) == pytest.approx(summary["test_interval"])
    assert len(fashion.train.targets) == summary["train_count"]
    # The broken twin: the circuit with the inputs of other images.
    other = fashion.score(np.roll(np.asarray(run.values), 1, axis=0), fashion.test.targets)
    assert other.value < 0.7


def copy(tmp_path: Path, name: str = "copy") -> Path:
    return Path(shutil.copytree(REFERENCE / "fashion", tmp_path / name))


def sign(folder: Path) -> None:
    """Make the summary one of the files that are there, as someone could who means harm."""
    config = json.loads((folder / "config.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    task = summary["task"]
    not_of_it = {"fashion": train_fashion, "calculator": train_calculator}[task].NOT_OF_THE_RUN
    weights = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    summary["model_sha256"] = trained.model_sha256(task, fingerprint(config, not_of_it), weights)
    (folder / "summary.json").write_text(json.dumps(summary))


def test_the_reference_runs_belong_together() -> None:
    for name in ("fashion", "calculator"):
        found = trained.finished(REFERENCE, name)
        manifest = json.loads((REFERENCE / name / "manifest.json").read_text())
        assert hashlib.sha256(found.weights).hexdigest() == manifest["weights_sha256"]
        assert found.task == name
    assert trained.finished(REFERENCE, "fashion").config == train_fashion.FashionConfig()
    calculator = train_calculator.CalculatorConfig()
    assert trained.finished(REFERENCE, "calculator").config == calculator


def test_other_weights_or_another_configuration_are_refused(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    (folder / "manifest.json").unlink()  # nobody needs it
    trained.finished(tmp_path, "copy")
    files = {name: (folder / name).read_bytes() for name in ("weights.npz", "config.json")}
    arrays = read_npz(folder / "weights.npz")
    write_npz_atomic(
        folder / "weights.npz", {**arrays, "quantum/weights": arrays["quantum/weights"] + 1e-3}
    )
    with pytest.raises(InputError, match=r"^Run .*copy must have the config\.json and the weights"):
        trained.finished(tmp_path, "copy")
    (folder / "weights.npz").write_bytes(files["weights.npz"])
    config = json.loads(files["config.json"])
    config["classes"] = ["T-shirt/top", "Sandal"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"one of them is another .*: restore the file, or train"):
        trained.finished(tmp_path, "copy")
    # Names and folders are no part of the model, nor is the form of the JSON.
    config = json.loads(files["config.json"]) | {"run": "x", "data_dir": "d", "scan": "s"}
    (folder / "config.json").write_text(json.dumps(config))
    trained.finished(tmp_path, "copy")
    # A run from before summaries said so.
    summary = json.loads((folder / "summary.json").read_text())
    del summary["model_sha256"]
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=r"summary\.json lacks the field `model_sha256`: restore"):
        trained.finished(tmp_path, "copy")


def test_weights_of_another_shape_are_refused_before_data_are_read(tmp_path: Path) -> None:
    path = copy(tmp_path) / "weights.npz"
    arrays = read_npz(path)
    for changed in (
        {"quantum/weights": np.zeros(8, np.float32)},
        {"quantum/weights": arrays["quantum/weights"].astype(int)},
        {"quantum": np.zeros(1, np.float32)},
    ):
        write_npz_atomic(path, {**arrays, **changed})
        sign(path.parent)
        with pytest.raises(InputError, match=r"must hold the finite weights of the model in conf"):
            trained.load(tmp_path, "copy", tmp_path / "no data")
    assert not (tmp_path / "no data").exists()


def test_a_value_that_no_run_can_have_is_told_with_its_file(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["training"]["batch_size"] = 0
    (folder / "config.json").write_text(json.dumps(config))
    sign(folder)
    with pytest.raises(InputError) as error:
        trained.finished(tmp_path, "copy")
    assert str(error.value) == (
        f"File {folder / 'config.json'} cannot be used (Argument `--batch-size` must be between 1 "
        "and 11000, the number of training images, but is 0.): restore the file, or train the run "
        "again with --no-resume."
    )


def places(value: object, at: tuple = ()) -> Iterator[tuple]:
    """Where something stands in JSON, from the outside in."""
    yield at
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*at, key))


def changes(text: str) -> Iterator[str]:
    """JSON with one place changed, lost or one field too many."""
    for at in places(json.loads(text)):
        for value in (None, True, -1, 0.5, 1e308, "", "x", "\0", [], {}, [[]], "lost", "more"):
            whole = json.loads(text)
            if not at:
                yield json.dumps(value)
                continue
            around = whole
            for key in at[:-1]:
                around = around[key]
            if value == "lost":
                del around[at[-1]]
            elif value == "more" and isinstance(around, dict):
                around["more"] = 1
            else:
                around[at[-1]] = value
            yield json.dumps(whole)
    yield from ("", "{", "[" * 100_000, '{"a":' * 100_000, "1" * 5000, text[:-40])


def refusal(results: Path, name: str) -> str:
    """Why a run cannot be read; empty if it can. Any other exception is a fault of ours."""
    try:
        trained.finished(results, name)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("task", ["fashion", "calculator"])
@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_files_that_are_changed_by_hand_end_in_one_sentence(
    tmp_path: Path, task: str, name: str
) -> None:
    folder = Path(shutil.copytree(REFERENCE / task, tmp_path / task))
    text = (folder / name).read_text()
    if name == "summary.json":
        kept = json.loads(text)
        text = json.dumps({key: kept[key] for key in ("task", "model_sha256", "test_interval")})
    before, outcomes = json.loads(text), []
    for changed in changes(text):
        (folder / name).write_text(changed)
        outcomes.append((changed, refusal(tmp_path, task)))
    refusals = [told for _, told in outcomes if told]
    assert len(refusals) > 20
    for told in refusals:
        assert told.startswith(("File ", "Run ", "Argument `--run` must name a run of"))
        assert len(told.splitlines()) == 1
    # What is no part of the model may be anything of its kind.
    free = {"run", "data_dir", "manual_dir"} if name == "config.json" else {"test_interval", "more"}
    for found in (json.loads(changed) for changed, told in outcomes if not told):
        assert {key for key in before | found if before.get(key) != found.get(key)} <= free


@pytest.mark.parametrize("task", ["fashion", "calculator"])
def test_a_configuration_that_means_harm_ends_in_one_sentence_too(
    tmp_path: Path, task: str
) -> None:
    folder = Path(shutil.copytree(REFERENCE / task, tmp_path / task))
    text = (folder / "config.json").read_text()
    refusals = []
    for changed in changes(text):
        (folder / "config.json").write_text(changed)
        try:
            sign(folder)
        except (ValueError, RecursionError, TypeError, AttributeError):
            continue  # it is no configuration at all
        refusals.append(refusal(tmp_path, task))
    assert any("cannot be used (Argument `--" in told for told in refusals)
    assert not any("one of them is another" in told for told in refusals)


def test_what_is_told_again_of_a_finished_run_is_checked() -> None:
    from pipelines import ablate_run, calculator_run, training_run

    for module, name in (
        (training_run, "fashion"),
        (calculator_run, "calculator"),
        (ablate_run, "ablate"),
    ):
        path = REFERENCE / name / "summary.json"
        summary = json.loads(path.read_text())
        assert set(from_json(module._Told, summary, "File f", "mend it")) == set(summary)
        for field in module._Told.__annotations__:
            lost = {key: value for key, value in summary.items() if key != field}
            with pytest.raises(InputError, match=f"^File f lacks the field `{field}`: mend it"):
                from_json(module._Told, lost, "File f", "mend it")
    for line in (REFERENCE / "fashion/metrics.jsonl").read_text().splitlines():
        from_json(training_run._TwinRow, json.loads(line), "File f", "mend it")
    for line in (REFERENCE / "calculator/metrics.jsonl").read_text().splitlines():
        from_json(calculator_run._Row, json.loads(line), "File f", "mend it")


def test_a_run_that_is_not_there_or_not_of_a_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train one with make train-fashion or make train-calc"):
        trained.load(tmp_path, "fashion")
    with pytest.raises(InputError, match=r"must hold a finished run, but .* has none"):
        trained.newest(tmp_path)
    folder = copy(tmp_path)
    (folder / "summary.json").write_text('{"task": "scan"}')
    with pytest.raises(InputError, match=r"but .*copy is one of 'scan'"):
        trained.load(tmp_path, "copy")


def test_the_newest_run_of_each_task_is_found(tmp_path: Path) -> None:
    for age, name in enumerate(("older", "newer")):
        os.utime(copy(tmp_path, name) / "summary.json", (age, age))
    assert trained.newest(tmp_path) == {"fashion": "newer"}
