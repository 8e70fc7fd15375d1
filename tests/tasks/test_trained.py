"""A trained model: saved, loaded in another process, and refused if files are damaged."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_models
import toy_tasks
from toy_tasks import Dots, Wave

from qnn_jax.configs import CalculatorModelConfig, LeastSquaresConfig, ModelConfig
from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.executors import Expectations, exact, sampled
from qnn_jax.runs import RunDirectory, checkpoints, read_npz, write_npz_atomic
from qnn_jax.runs.loop import StoppedError
from qnn_jax.tasks import Calculator, Trained, fit, load, newest, train
from qnn_jax.tasks.stored import NOT_OF_THE_RUN, Seeds, config_of, model_sha256, stored
from qnn_jax.training import HYBRID
from qnn_jax.training.task import Folders

TASK = Calculator(
    model=CalculatorModelConfig(layers=1),
    training=LeastSquaresConfig(epochs=2, batch_size=32, restarts=2),
    baseline_2022=0,
)
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """A calculator trained in a run's folder."""
    results = tmp_path_factory.mktemp("results")
    config = config_of(TASK, Seeds(3), "adding")
    with RunDirectory.open(results, "adding", config, resume_may_change=NOT_OF_THE_RUN) as run:
        return train(TASK, seed=3, run=run), run.path


@pytest.fixture(scope="module")
def wave() -> Trained:
    return train(Wave(), seed=1)


def test_a_run_leaves_a_model_that_predicts_the_same(whole) -> None:
    trained, path = whole
    again = load(path)
    points = trained.splits().test.inputs[:50]
    assert again.task == TASK
    assert again.seeds == Seeds(3)
    assert np.array_equal(again.predict(points), trained.predict(points))
    told = {k: v for k, v in again.summary.items() if k != "model_sha256"}
    assert told == json.loads(json.dumps(trained.summary))
    # The stored files reproduce its metric.
    test = again.splits().test
    errors = np.abs(again.predict(test.inputs) - test.targets)
    assert errors.mean() == pytest.approx(again.summary["test_mean_l1"], rel=1e-5)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert set(rows[0]) == {"epoch", HYBRID, "mlp_equal_size", "seconds"}
    manifest = json.loads((path / "manifest.json").read_text())
    digest = hashlib.sha256((path / "weights.npz").read_bytes()).hexdigest()
    assert manifest["weights_sha256"] == digest
    assert manifest["data"]["sha256"] == again.splits().checksum


@pytest.mark.slow
def test_predictions_are_encode_the_circuit_and_decide(wave) -> None:
    points = np.array([[-0.5], [0.0], [0.9]])
    weights, head = wave.weights, wave.params["head"]
    angle = weights[0] * points[:, 0] + weights[1]
    wanted = head["kernel"][0, 0] * np.cos(angle) + head["bias"][0]
    np.testing.assert_allclose(wave.predict(points), wanted, atol=1e-5)
    np.testing.assert_array_equal(wave.encode(points), points.astype(np.float32))
    found = wave.expectations(points)
    np.testing.assert_allclose(np.asarray(found.values)[:, 0], np.cos(angle), atol=1e-5)
    np.testing.assert_array_equal(wave.decide(found.values), wave.outputs(points))
    many = wave.predict(points, sampled(100_000), jax.random.key(0))
    assert 0 < np.abs(many - wanted).max() < 0.02

    def blind(circuit, observables, inputs, weights, key=None) -> Expectations:
        zeros = jnp.zeros((len(inputs), len(observables)))
        return Expectations(zeros, zeros)

    # The head gets the executor's values: an executor that returns 0 leaves the bias.
    np.testing.assert_allclose(wave.predict(points, blind), head["bias"][0], rtol=1e-6)


@pytest.mark.slow
def test_another_process_loads_a_task_of_ones_own(wave, tmp_path: Path) -> None:
    points = np.linspace(-1, 1, 7)[:, None]
    wave.save(tmp_path / "own" / "wave")
    code = (
        "import sys, numpy as np, qnn_jax.tasks as tasks, toy_tasks\n"
        "trained = tasks.load(sys.argv[1], task=toy_tasks.Wave)\n"
        "assert trained.task == toy_tasks.Wave()\n"
        "print(trained.predict(np.linspace(-1, 1, 7)[:, None]).tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "own" / "wave"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == wave.predict(points).tobytes().hex()


def test_a_task_that_is_not_ours_must_be_given(wave, tmp_path: Path) -> None:
    wave.save(tmp_path / "wave")
    with pytest.raises(
        InputError,
        match=r"must be of a task out of fashion, .*, pooled, sine, but is of 'wave'",
    ):
        load(tmp_path / "wave")
    with pytest.raises(InputError, match=r"config\.json"):
        load(
            tmp_path / "wave",
            task=dataclasses.make_dataclass("Wave", [], namespace={"name": "wave"}),
        )


def test_the_result_includes_twins_and_references(whole) -> None:
    trained, _ = whole
    summary = trained.summary
    assert set(summary["baselines"]) == {"mlp_equal_size", "constant", "linear_regression"}
    assert summary["baseline_parameters"] == {
        "mlp_equal_size": 9, "constant": 1, "linear_regression": 3,
    }  # fmt: skip
    low, high = summary["test_interval"]
    assert low < summary["test_mean_l1"] < high
    assert summary["parameters"] == {"classical": 2, "quantum": 6}
    assert "Student's paired test" in summary["verdict"]
    assert (summary["test_count"], summary["train_count"], summary["epochs"]) == (10_000, 64, 2)
    shots = summary["test_mean_l1_shots_4096"]
    assert shots == pytest.approx(summary["shots_4096_expected"], rel=0.05)


@pytest.mark.slow
def test_a_classification_is_judged_by_mcnemar() -> None:
    trained = train(dataclasses.replace(Dots(), train_count=64))
    summary = trained.summary
    assert summary["classes"] == ("part 0", "part 1")
    assert 0 <= summary["test_accuracy"] <= 1
    assert set(summary["baselines"]) == {"classical"}
    assert "McNemar" in summary["verdict"]
    test = trained.splits().test
    right = trained.predict(test.inputs) == test.targets
    assert right.mean() == pytest.approx(summary["test_accuracy"])


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    model = dataclasses.replace(TASK.model, weight_bound=3e38)
    with pytest.raises(
        TrainingFailedError,
        match=r"^Training of hybrid failed, because the loss of every restart became (nan|inf) in "
        r"epoch 1: start from smaller weights; no epoch is saved\.$",
    ):
        train(dataclasses.replace(TASK, model=model))


def test_a_stopped_training_ends_with_the_same_bits(whole, tmp_path: Path) -> None:
    config, lines = config_of(TASK, Seeds(3), "adding"), []
    with RunDirectory.open(tmp_path, "adding", config, True, NOT_OF_THE_RUN) as run:
        with pytest.raises(StoppedError, match="Saved 1 of 2"):
            train(TASK, seed=3, run=run, tell=lines.append, stop=lambda: True)
        assert not (run.path / "weights.npz").exists()
    assert any(line.startswith("epoch 1/2   loss ") for line in lines)
    with RunDirectory.open(tmp_path, "adding", config, True, NOT_OF_THE_RUN) as run:
        train(TASK, seed=3, run=run, tell=lines.append)
    assert sum(line.startswith("epoch 1/2") for line in lines) == 1, "finished epochs are kept"
    assert f"Resuming {run.path}." in lines
    assert (run.path / "weights.npz").read_bytes() == (whole[1] / "weights.npz").read_bytes()


def test_no_epochs_is_evaluation_only() -> None:
    task = dataclasses.replace(TASK, training=dataclasses.replace(TASK.training, epochs=0))
    assert train(task).summary["seconds"]["epochs"] == []


@pytest.mark.parametrize("name", ["seed", "order_seed", "split_seed"])
def test_seeds_must_be_seeds(name: str) -> None:
    with pytest.raises(InputError, match=rf"^Argument `{name}` must be an integer between 0 and"):
        train(TASK, **{name: -1})


# Changed files


@pytest.mark.parametrize("name", ["seed", "order_seed", "split_seed"])
def test_seeds_in_a_file_must_be_seeds(name: str, tmp_path: Path) -> None:
    folder = copy(Path(__file__).parents[2] / "results/reference/calculator", tmp_path)
    stored(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: 2**32}))
    sign(folder)
    message = f"config.json cannot be used .Argument `{name}` must be an integer between 0 and"
    with pytest.raises(InputError, match=message):
        stored(folder)


def copy(folder: Path, tmp_path: Path, name: str = "copy") -> Path:
    return Path(shutil.copytree(folder, tmp_path / name))


def sign(folder: Path) -> None:
    """Make the summary consistent with the changed files, as an attacker could."""
    config = json.loads((folder / "config.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    weights = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    summary["model_sha256"] = model_sha256(config, weights)
    (folder / "summary.json").write_text(json.dumps(summary))


def test_other_weights_or_another_configuration_are_refused(whole, tmp_path: Path) -> None:
    folder = copy(whole[1], tmp_path)
    (folder / "manifest.json").unlink()  # nobody needs it
    load(folder)
    files = {name: (folder / name).read_bytes() for name in ("weights.npz", "config.json")}
    arrays = read_npz(folder / "weights.npz")
    write_npz_atomic(
        folder / "weights.npz", {**arrays, "quantum/weights": arrays["quantum/weights"] + 1e-3}
    )
    with pytest.raises(InputError, match=r"^Run .*copy must have the config\.json and the weights"):
        load(folder)
    (folder / "weights.npz").write_bytes(files["weights.npz"])
    config = json.loads(files["config.json"])
    config["fields"]["operation"] = "mean"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"one of them is another .*: restore the file, or train"):
        load(folder)
    # Names and folders are not part of the model, nor is the form of the JSON.
    config = json.loads(files["config.json"]) | {"run": "x", "data_dir": "d", "scan": "s"}
    (folder / "config.json").write_text(json.dumps(config))
    load(folder)
    # A run of a version without `model_sha256`.
    summary = json.loads((folder / "summary.json").read_text())
    del summary["model_sha256"]
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=r"summary\.json lacks the field `model_sha256`: restore"):
        load(folder)


def test_weights_of_another_network_are_refused(whole, tmp_path: Path) -> None:
    path = copy(whole[1], tmp_path) / "weights.npz"
    arrays = read_npz(path)
    for changed in (
        {"quantum/weights": np.zeros(8, np.float32)},
        {"quantum/weights": arrays["quantum/weights"].astype(int)},
        {"quantum/weights": arrays["quantum/weights"].astype(np.float16)},
        {"quantum/weights": np.full_like(arrays["quantum/weights"], np.nan)},
        {"quantum": np.zeros(1, np.float32)},
        {"head/kernel": np.zeros((2, 1), np.float32)},
        {"head": np.zeros(1, np.float32)},
    ):
        write_npz_atomic(path, {**arrays, **changed})
        sign(path.parent)
        with pytest.raises(InputError, match=r"must hold the finite weights of the model in conf"):
            load(path.parent)


def test_an_invalid_value_in_a_file_is_reported_with_the_file(whole, tmp_path: Path) -> None:
    folder = copy(whole[1], tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["fields"]["training"]["restarts"] = 0
    (folder / "config.json").write_text(json.dumps(config))
    sign(folder)
    with pytest.raises(InputError) as error:
        load(folder)
    assert str(error.value) == (
        f"File {folder / 'config.json'} cannot be used (Argument `restarts` must be between 1 and "
        "1000, but is 0.): restore the file, or train the run again with `resume=False`."
    )


@pytest.mark.slow
def test_features_too_large_for_float32_are_reported() -> None:
    for gain, told in ((1.0, False), (300.0, True)):
        model = ModelConfig(channels=(), hidden=(), bound="none", feature_gain=gain)
        said: list[str] = []
        train(
            dataclasses.replace(toy_tasks.changed(Dots(), epochs=1), model=model), tell=said.append
        )
        warnings = [line for line in said if line.startswith("Warning: ")]
        assert any("radians, which float32 knows to about" in line for line in warnings) == told


def places(value: object, at: tuple = ()) -> Iterator[tuple]:
    """The places in JSON, from the outside in."""
    yield at
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*at, key))


def changes(text: str) -> Iterator[str]:
    """JSON with one place changed, removed or one field too many."""
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


def refusal(folder: Path) -> str:
    """Why a run cannot be read; empty if it can. Any other exception is a bug."""
    try:
        stored(folder)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_files_that_are_changed_by_hand_end_in_one_sentence(
    whole, tmp_path: Path, name: str
) -> None:
    folder = copy(whole[1], tmp_path)
    text = (folder / name).read_text()
    if name == "summary.json":
        kept = json.loads(text)
        text = json.dumps({key: kept[key] for key in ("task", "model_sha256", "test_interval")})
    before, outcomes = json.loads(text), []
    for changed in changes(text):
        (folder / name).write_text(changed)
        outcomes.append((changed, refusal(folder)))
    refusals = [told for _, told in outcomes if told]
    assert len(refusals) > 20
    for told in refusals:
        assert told.startswith(("File ", "Run ", "Argument `run` must name a finished run"))
        assert len(told.splitlines()) == 1
    # Fields that are not part of the model may have any value of their kind.
    free = {"run", "data_dir", "manual_dir"} if name == "config.json" else {"test_interval", "more"}
    for found in (json.loads(changed) for changed, told in outcomes if not told):
        assert {key for key in before | found if before.get(key) != found.get(key)} <= free


def test_a_configuration_that_means_harm_ends_in_one_sentence_too(whole, tmp_path: Path) -> None:
    folder = copy(whole[1], tmp_path)
    text = (folder / "config.json").read_text()
    refusals = []
    for changed in changes(text):
        (folder / "config.json").write_text(changed)
        try:
            sign(folder)
        except (ValueError, RecursionError, TypeError, AttributeError):
            continue  # it is not a configuration at all
        refusals.append(refusal(folder))
    assert any("cannot be used (Argument `" in told for told in refusals)
    assert not any("one of them is another" in told for told in refusals)


def test_a_run_that_is_not_there_is_refused(whole, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^Argument `run` must name a finished run in .*none yet"):
        load(tmp_path / "fashion")
    with pytest.raises(InputError, match=r"^Argument `results_dir` must hold a finished run, but"):
        newest(tmp_path)
    copy(whole[1], tmp_path)
    with pytest.raises(
        InputError, match=r"must name a finished run in .* \(copy\), but is 'other'"
    ):
        load(tmp_path / "other")


def test_the_newest_run_of_each_task_is_found(whole, tmp_path: Path) -> None:
    for age, name in enumerate(("older", "newer")):
        os.utime(copy(whole[1], tmp_path, name) / "summary.json", (age, age))
    assert newest(tmp_path) == {"calculator": "newer"}


def test_exact_is_the_usual_executor(wave) -> None:
    points = np.zeros((2, 1))
    assert np.array_equal(wave.predict(points), wave.predict(points, exact))


# ---------------------------------------------------------------- folders that a file only names


def fashion_run(folder: Path, **fields: object) -> Path:
    """A finished run of Fashion, with fields of its config.json edited as an attacker could."""
    run = folder / "run"
    reference_models.fashion().save(run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, **fields}))
    return run


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("there", ["nothing", "empty", "damaged", "records", "a pipe"])
def test_nothing_is_prepared_in_a_folder_that_only_the_runs_file_names(tmp_path, there) -> None:
    trap = tmp_path / "trap"
    if there != "nothing":
        (trap / "fashion_mnist_idx").mkdir(parents=True)
    cache = trap / "fashion_mnist_idx" / "arrays-1.0.0.u8"
    if there == "damaged":
        cache.write_bytes(bytes(10))
    elif there == "records":
        (trap / "fashion_mnist_idx" / "1.0.0").mkdir()
        (trap / "fashion_mnist_idx" / "1.0.0" / "dataset_info.json").write_text("{}")
    elif there == "a pipe":
        os.mkfifo(cache)
    path = fashion_run(tmp_path, data_dir=str(trap), manual_dir=str(tmp_path / "archives"))
    before = tree(tmp_path)
    with pytest.raises(
        InputError,
        match="^Argument `data_dir` must name the folder for the data, because the one that the "
        f"run's files name, {trap}, does not have Fashion-MNIST prepared, and nothing is written",
    ):
        load(path).splits()
    assert tree(tmp_path) == before
    # The twin: the same folder from the user's own hand is prepared, or would be.
    assert load(path).folders.given(trap, None) == Folders(trap)


def test_an_archive_folder_that_only_the_runs_file_names_is_not_read(tmp_path) -> None:
    path = fashion_run(tmp_path, data_dir=None, manual_dir="/dev/zero")
    assert load(path).folders == Folders()
    assert load(path).folders.given(None, tmp_path) == Folders(None, tmp_path)


def test_data_that_are_still_where_the_runs_file_says_are_read(tmp_path, data_dir) -> None:
    trained = load(fashion_run(tmp_path, data_dir=str(data_dir)))
    before = tree(data_dir)
    assert len(trained.splits().test.targets) == 2000
    assert tree(data_dir) == before
    with_archives = trained.folders.given(None, tmp_path)
    assert with_archives == Folders(data_dir, tmp_path, prepare=False)


def test_a_damaged_manifest_of_a_resumed_run_is_a_sentence(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path, "run", {}) as run:
        checkpoints.save(run.checkpoints, 1, {}, fingerprint=run.fingerprint)
        (run.path / "manifest.json").write_text('{"versions": 3}')
        message = r"manifest.json has 3 at `versions`, which must be an object: delete it\.$"
        with pytest.raises(InputError, match=message):
            fit.keep_manifest(run, {"versions": {}}, print)
