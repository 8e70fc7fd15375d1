"""Learn a device in one job, tune through its twin, evaluate; simulated and by IBM's client."""

import dataclasses
import json

import numpy as np
import pytest
from qiskit.providers.fake_provider import GenericBackendV2
from reference_models import calculator

from pipelines import eval_hardware, learn_device, tune
from pipelines.benchmarks.hidden_device import HiddenDevice
from qnn_jax import Circuit, Op, real_amplitudes, zz_feature_map
from qnn_jax.bridge.noise import calibration_date
from qnn_jax.configs import ExecutionConfig
from qnn_jax.errors import InputError
from qnn_jax.executors import exact
from qnn_jax.hardware import Ledger
from qnn_jax.hardware.learning import LearnSettings, check_device
from qnn_jax.hardware.learning import learn_device as learn
from qnn_jax.hardware.measurement import Visit
from qnn_jax.hardware.twin import DeviceTwin, save_twin
from qnn_jax.hardware.twin_file import read_twin, write_twin
from qnn_jax.noise import Experiment
from qnn_jax.studies.tuning import Tuning, rows_of_models, tune_on_device, weights_as_inputs
from qnn_jax.training.execution import executor_of

MODEL = "a" * 64
SETTINGS = LearnSettings(settings=160, budget_seconds=20)


@pytest.fixture(scope="module")
def adding():
    return calculator()


@pytest.fixture(scope="module")
def splits(adding):
    return adding.splits()


@pytest.fixture(scope="module")
def inputs(adding, splits):
    return adding.encode(splits.train.inputs[:300])


@pytest.fixture(scope="module")
def learned(adding, inputs, tmp_path_factory):
    """A device with hidden coherent errors, and its twin in a file."""
    folder = tmp_path_factory.mktemp("learned")
    device = HiddenDevice("FakeFez", 0)
    told = []
    visit = Visit(device, Ledger(folder, MODEL), tell=told.append)
    found = learn(visit, adding.circuit, adding.weights, inputs, SETTINGS, "k" * 32)
    return (
        device,
        found,
        save_twin(found.twin, folder / "device.json"),
        folder / "device.json",
        told,
    )


def test_a_device_with_hidden_errors_is_learned_in_one_job(adding, learned, inputs):
    device, found, twin, path, told = learned
    assert len(found.twin.content["job_ids"]) == 1
    assert not twin.before.explained
    assert twin.after.explained, str(twin.after)
    assert twin.after.ratio < 1.2 < twin.before.ratio
    text = "\n".join(told)
    assert "20 s" in text
    assert "left to the prior: " in text
    # The same call finds its job.
    visit = Visit(device, Ledger(path.parent, MODEL))
    again = learn(visit, adding.circuit, adding.weights, inputs, SETTINGS, "k" * 32)
    assert again.twin.content["job_ids"] == found.twin.content["job_ids"]
    np.testing.assert_allclose(again.fit.values, found.fit.values, atol=1e-5)
    # No path, and the same bytes are read back.
    assert str(path.parent) not in path.read_text()
    np.testing.assert_array_equal(
        twin.noise.channel(*next(iter(twin.noise.gates))),
        found.twin.noise.channel(*next(iter(twin.noise.gates))),
    )


def test_a_twin_is_an_executor_of_its_circuit_alone(adding, learned, splits):
    _, _, twin, path, _ = learned
    executor = executor_of(ExecutionConfig("noisy", noise=str(path)))
    assert executor == twin.executor()
    # The twin that is not in a file has an identity, too: Flax caches programs by executor.
    assert learned[1].twin.executor() == executor
    assert twin.executor(published=True) != executor
    rows = adding.encode(splits.test.inputs[:200])
    truth = adding.run(rows, exact).values
    by_twin = adding.run(rows, executor)
    assert by_twin.record.backend == "FakeFez"
    assert by_twin.record.layout == twin.content["layout"]
    assert 0.02 < float(np.sqrt(np.mean((by_twin.values - truth) ** 2))) < 0.5
    # The published errors are far smaller than the hidden ones.
    by_published = adding.run(rows, twin.executor(published=True))
    errors = [np.sqrt(np.mean((v.values - truth) ** 2)) for v in (by_published, by_twin)]
    assert errors[0] < 0.5 * errors[1]
    other = Circuit(2, (Op("h", 0),))
    with pytest.raises(
        InputError, match=r"must be a device.json of the circuit that runs, but Fake"
    ):
        executor(other, ("ZZ",), np.zeros((1, 0)), [])
    with pytest.raises(
        InputError, match="`observables` must have letters I and Z only on a learned"
    ):
        executor(adding.circuit, ("XZ",), rows[:1], adding.weights)
    with pytest.raises(InputError, match=r"must be a device.json of the qubits \(1, 2\) that the"):
        twin.check_qubits((1, 2))


def test_an_old_twin_is_warned_of_with_both_dates(learned):
    twin = learned[2]
    date = twin.content["calibration_date"]
    assert twin.age_warning(date) is None
    assert twin.age_warning(None) is None
    undated = dataclasses.replace(twin, content={**twin.content, "calibration_date": None})
    assert undated.age_warning("2099-01-01") is None
    assert calibration_date(GenericBackendV2(2, seed=0)) is None
    warning = twin.age_warning("2099-01-01")
    assert date in warning
    assert "2099-01-01" in warning


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"measured": [5]},
            ".* a different local qubit below 1 for each of the 1 in `layout`",
        ),
        ({"measured": [0, 0], "layout": [0, 1]}, "`measured` must name a different local qubit"),
        (
            {"layout": [0, 1]},
            ".* a different local qubit below 1 for each of the 2 in `layout`",
        ),
        ({"transpiled": {"num_qubits": 2}}, "`transpiled` must have as many qubits as `qubits`"),
        ({"transpiled": {"ops": 3}}, "Argument `text` must be JSON written by Circuit.to_json"),
        (
            {"noise": {"gates": [{"gate": "sx", "qubits": [0], "matrix": [[1.0], []]}]}},
            "Argument `matrix of sx` must have rows of one length, but is",
        ),
    ],
)
def test_a_sealed_file_of_others_is_checked(change, message, tmp_path):
    check = dict.fromkeys(("chi_square", "degrees", "p_value", "ratio", "left"), 1.0)
    whole = {
        **dict.fromkeys(("device", "circuit_sha256"), "a"),
        **{key: [0] for key in ("measured", "layout", "qubits")},
        **{key: {"gates": [], "readout": []} for key in ("noise", "published")},
        **{key: {"settings": 1, **check} for key in ("before", "after")},
        **{"format": 2, "simulated": True, "calibration_date": None, "job_ids": []},
        "transpiled": json.loads(Circuit(1).to_json()),
        "parameters": [{"name": "a", "kind": "a", "value": 1.0, "stderr": 1.0, "spread": 1.0}],
        "covariance": [[1.0]],
    }
    path = tmp_path / "device.json"
    write_twin(path, whole)
    DeviceTwin.load(path)
    for name, value in change.items():
        whole[name] = {**whole[name], **value} if isinstance(value, dict) else value
    write_twin(path, whole)
    with pytest.raises(InputError, match=rf"device.json cannot be used \({message}"):
        DeviceTwin.load(path)


def test_a_changed_file_is_refused(learned, tmp_path):
    content, _ = read_twin(learned[3])
    path = tmp_path / "device.json"
    with pytest.raises(InputError, match=r"`noise` must name a device.json that exists, but"):
        executor_of(ExecutionConfig("noisy", noise=str(path)))
    changed = json.loads(learned[3].read_text())
    changed["noise"]["readout"][0]["matrix"][0][0] += 1e-6
    path.write_text(json.dumps(changed))
    with pytest.raises(InputError, match=r"must be a device.json of format 2 as it was written"):
        DeviceTwin.load(path)
    # Sealed again, it is read, but its readout matrix is no longer stochastic.
    wrong = {**content, "noise": {**content["noise"], "readout": changed["noise"]["readout"]}}
    wrong["noise"]["readout"][0]["matrix"][0][0] += 0.1
    write_twin(path, {name: value for name, value in wrong.items() if name != "sha256"})
    with pytest.raises(InputError, match=r"device.json cannot be used \(Argument `readout` must"):
        DeviceTwin.load(path)
    write_twin(path, {**content, "covariance": [[1.0]]})
    with pytest.raises(InputError, match=r"cannot be used \(Argument `covariance` must have shape"):
        DeviceTwin.load(path)
    write_twin(path, {n: v for n, v in content.items() if n not in ("sha256", "layout")})
    with pytest.raises(InputError, match="lacks the field `layout`"):
        DeviceTwin.load(path)


@pytest.mark.usefixtures("no_account")
def test_a_twin_of_another_circuit_does_not_replace_the_run_s_own(runs, learned, tmp_path):
    device, _, twin, path, _ = learned
    own = runs / "adding/device.json"
    own.write_bytes(path.read_bytes())
    other = {**twin.content, "circuit_sha256": "0" * 64}
    write_twin(tmp_path / "other.json", other)
    where = {"run": "adding", "results_dir": runs, "backend": "FakeFez"}
    for more in ({}, {"on_device": True, "budget_seconds": 10}):
        with pytest.raises(InputError, match=r"`noise` must be a device.json of the circuit"):
            tune.tune(
                tune.TuneConfig(**where, device_twin=tmp_path / "other.json", **more), device=device
            )
    assert own.read_bytes() == path.read_bytes()
    # Of other qubits or gates, a check is refused before its job is sent.
    for name, wrong, said in (
        (
            "layout",
            list(range(2)),
            r"must be a device.json of the qubits \(0, 1\) that the circuit",
        ),
        ("circuit_sha256", "0" * 64, "must be a device.json of the circuit that runs"),
    ):
        write_twin(own, {**twin.content, name: wrong})
        config = learn_device.LearnConfig(**where, update=True, budget_seconds=20)
        with pytest.raises(InputError, match=said):
            learn_device.learn(config, device=device)
    ledger = runs / "adding/jobs.jsonl"
    assert not ledger.exists() or '"intent"' not in ledger.read_text()


def test_a_twin_of_other_gates_checks_nothing(learned):
    twin = learned[2]
    other = Experiment(Circuit(2, (Op("sx", 0),)), (0, 1), np.zeros((1, 0)), [[1, 1, 1, 1]])
    with pytest.raises(InputError, match="`twin` must be of the gates that the circuit has now"):
        twin.check([other])


@pytest.mark.slow
def test_drift_is_noticed(adding, learned, inputs, tmp_path):
    device, _, twin, *_ = learned
    asked = (adding.circuit, adding.weights, inputs)
    settings = LearnSettings(budget_seconds=20)
    same = check_device(Visit(device, Ledger(tmp_path, MODEL)), *asked, settings, "u" * 32, twin)
    assert same.settings == 32
    assert same.explained, str(same)
    drifted = HiddenDevice("FakeFez", 0, hidden=9)
    # The same job would be found, not sent again.
    again = dataclasses.replace(settings, repetition=1)
    other = check_device(Visit(drifted, Ledger(tmp_path, MODEL)), *asked, again, "v" * 32, twin)
    assert not other.explained


@pytest.mark.slow
def test_a_budget_too_small_is_refused(adding, inputs, tmp_path):
    device = HiddenDevice("FakeFez", 0)
    told = []

    def ask(**settings):
        visit = Visit(device, Ledger(tmp_path, MODEL), tell=told.append)
        return learn(
            visit, adding.circuit, adding.weights, inputs, LearnSettings(**settings), "b" * 32, True
        )

    with pytest.raises(InputError, match=r"`budget_seconds` must cover the 3 s of quantum"):
        ask(budget_seconds=2.1)
    with pytest.raises(
        InputError, match=r"must allow enough shots to determine .*sx 143, over-rotation.* times"
    ):
        ask(settings=16, shots=16, budget_seconds=20)
    assert ask(settings=160, budget_seconds=20) is None
    assert not Ledger(tmp_path, MODEL).entries
    assert any(line.startswith("unknowns") for line in told)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"settings": 15}, "`settings` must be an integer of at least 16, but is 15"),
        ({"shots": 1}, "`shots` must be an integer of at least 16, but is 1"),
        ({"budget_seconds": 0}, "`budget_seconds` must be above 0, but is 0"),
        ({"budget_seconds": "20"}, "`budget_seconds` must be a number of seconds, but is '20'"),
        ({"rep_delay": True}, "`rep_delay` must be a number of seconds, but is True"),
        ({"seed": -1}, "`seed` must be"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        LearnSettings(**wrong)


def test_weights_as_inputs_are_the_same_circuit(adding, inputs):
    moved = weights_as_inputs(adding.circuit)
    other = adding.weights + 0.1
    rows = rows_of_models([inputs[:3], inputs[:3]], [adding.weights, other])
    found = exact(moved, adding.observables, rows, np.zeros(0, np.float32)).values
    for k, weights in enumerate((adding.weights, other)):
        own = exact(adding.circuit, adding.observables, inputs[:3], weights).values
        np.testing.assert_allclose(found[k::2], own, atol=1e-6)


def test_tuning_on_the_device_goes_downhill(adding, splits):
    """SPSA from spoiled weights on an exact executor; a head alone cannot repair them."""
    params = dict(adding.params)
    params["quantum"] = {"weights": adding.weights + 0.15}
    spoiled = dataclasses.replace(adding, params=params)
    told = []
    found = tune_on_device(
        spoiled, splits, exact, jobs=60, learning_rate=0.02, shift=0.05, tell=told.append
    )
    assert len(told) == 60
    assert found.losses[-10:].mean() < 0.5 * found.losses[:5].mean()
    assert not np.array_equal(found.trained.weights, spoiled.weights)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "`steps` must be an integer of at least 1, but is 0"),
        ({"learning_rate": 0}, "`learning_rate` must be above 0, but is 0"),
        ({"parts": "head"}, "`parts` must be"),
    ],
)
def test_tunings_out_of_range_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        Tuning(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--dry-run"], "`dry_run` must be left out without `on_device`, where it has no effect"),
        (["--shots", "64"], "`shots` must be left out without `on_device`, .* but is 64"),
        (["--on-device", "--steps", "9"], "`steps` must be left out with `on_device`, .* is 9"),
        (["--on-device"], "`budget_seconds` must be given with `on_device`, but is not"),
        (["--on-device", "--budget-seconds", "0"], "`budget_seconds` must be above 0, but is 0"),
        (["--batch-size", "0"], "`batch_size` must be an integer of at least 1, but is 0"),
    ],
)
def test_flags_that_a_tuning_does_not_read_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        tune.main(wrong)


@pytest.fixture
def runs(tmp_path, adding):
    adding.save(tmp_path / "results/adding")
    return tmp_path / "results"


@pytest.mark.slow
@pytest.mark.usefixtures("no_account")
def test_learn_tune_and_evaluate(runs, capsys):
    """The three commands on a device with hidden errors: all rows, and the learned one is best."""
    device = HiddenDevice("FakeFez", 0)
    where = {"run": "adding", "results_dir": runs, "backend": "FakeFez"}
    config = learn_device.LearnConfig(**where, settings=160, budget_seconds=20)
    assert learn_device.learn(dataclasses.replace(config, dry_run=True), device=device) == 0
    assert "Nothing was sent" in capsys.readouterr().out
    assert learn_device.learn(config, device=device) == 0
    told = capsys.readouterr().out
    assert "held-out settings: explained" in told
    assert "does not explain" not in told
    assert (runs / "adding/figures/device.png").stat().st_size > 10_000
    assert tune.tune(tune.TuneConfig(**where, steps=150)) == 0
    assert "tuned, learned" in capsys.readouterr().out
    evaluation = eval_hardware.HardwareConfig(
        **where, images=100, shots=8192, anchors=40, budget_seconds=1000
    )
    assert eval_hardware.evaluate(evaluation, device=device) == 0
    told = capsys.readouterr().out
    found = json.loads((runs / "adding/eval-hardware.json").read_text())
    assert len(found["job_ids"]) == 1
    assert found["test_count"] == 100
    errors = {
        name: found[name]["mean_l1"]
        for name in ("plain", "recalibrated", "tuned_published", "tuned_learned")
    }
    assert errors["tuned_learned"] < 0.5 * errors["plain"]
    assert errors["tuned_learned"] < errors["tuned_published"]
    assert set(found["tests"]) == {"plain", "recalibrated", "tuned_published"}
    assert "tuned on the learned twin against measured" in told
    assert "Warning" not in told
    device.calibration_date = "2099-01-01"
    assert eval_hardware.evaluate(evaluation, device=device) == 0
    assert "the last one is of 2099-01-01" in capsys.readouterr().out
    for wrong, said in (
        ({"two_stage": True}, "`two_stage` must be False where"),
        ({"recompile": True}, "`recompile` must be False where tuned models are evaluated"),
        ({"copies": 2}, "`copies` must be 1 where tuned models are evaluated"),
        ({"backend": "FakeMarrakesh"}, "`backend` must be FakeFez, for which the run is tuned"),
    ):
        with pytest.raises(InputError, match=said):
            eval_hardware.evaluate(dataclasses.replace(evaluation, **wrong))
    # Learned again, the twin is another, and what was tuned for the earlier one is not evaluated.
    again = dataclasses.replace(config, settings=64, repetition=1)
    assert learn_device.learn(again, device=device) == 0
    with pytest.raises(InputError, match=r"must hold the run's model, tuned for its device.json"):
        eval_hardware.evaluate(evaluation, device=device)


@pytest.mark.slow
@pytest.mark.usefixtures("no_account")
def test_tuning_on_the_device_sends_one_job_a_step(runs, learned, capsys):
    device, _, twin, path, _ = learned
    config = tune.TuneConfig(
        run="adding", results_dir=runs, backend="FakeFez", device_twin=path, on_device=True,
        max_jobs=2, batch_size=4, shots=64, budget_seconds=10,
    )  # fmt: skip
    assert tune.tune(dataclasses.replace(config, dry_run=True), device=device) == 0
    told = capsys.readouterr().out
    assert "2 jobs of 512 executions" in told
    assert "Nothing was sent" in told
    for _ in range(2):  # the second time it finds its jobs
        assert tune.tune(config, device=device) == 0
        assert len(Ledger.existing(runs / "adding/on-device").entries) == 2
    summary = json.loads((runs / "adding/tuned/tuned_device/summary.json").read_text())
    assert (summary["jobs"], summary["twin_sha256"]) == (2, twin.seal)
    with pytest.raises(InputError, match=r"`budget_seconds` must cover the \d+ s of 900 jobs"):
        tune.tune(dataclasses.replace(config, max_jobs=900), device=device)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "num_qubits"), [("FakeMarrakesh", 3), ("FakeSantiagoV2", 4)])
def test_wider_circuits_and_other_gates(name, num_qubits, tmp_path):
    circuit = zz_feature_map(num_qubits, 1, "linear") + real_amplitudes(num_qubits, 1)
    random = np.random.default_rng(0)
    weights = random.uniform(-1, 1, circuit.num_weights)
    inputs = random.uniform(0, 3, (50, num_qubits))
    settings = LearnSettings(settings=256, budget_seconds=60)
    visit = Visit(HiddenDevice(name, 0), Ledger(tmp_path, MODEL))
    found = learn(visit, circuit, weights, inputs, settings, "w" * 32)
    assert not found.fit.before.explained
    assert found.fit.after.explained, str(found.fit.after)
    assert found.fit.after.ratio < 1.2


@pytest.mark.slow
def test_crosstalk_is_reported_as_unexplained(adding, inputs, tmp_path):
    """The neighbour turns with each √X: no channel of one gate."""
    visit = Visit(HiddenDevice("FakeFez", 0, size=0.0, crosstalk=0.08), Ledger(tmp_path, MODEL))
    found = learn(visit, adding.circuit, adding.weights, inputs, SETTINGS, "c" * 32)
    assert not found.fit.after.explained
    assert "NOT explained" in str(found.fit.after)
