"""The programs of `make bench`, without other simulators and without real clocks."""

import dataclasses
import json
import math
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from pipelines import bench
from pipelines.benchmarks import cases, forward, peers, programs, simulator, table
from pipelines.benchmarks.cases import Cell
from pipelines.benchmarks.neutral import angle_table, angles_of
from pipelines.benchmarks.simulator import Limits, difference, measure, measure_problem
from pipelines.benchmarks.workers import Worker, WorkerError, WorkerTimeoutError
from qnn_jax import Circuit
from qnn_jax.circuits.angles import evaluate
from qnn_jax.errors import InputError

CELL = Cell("efficient_su2", 1, 2, 1)
PROBLEM = cases.problem(CELL.circuit)
ANSWER = {"values": [0.5], "inputs_gradient": [], "weights_gradient": [0.25, -0.5]}


class Fake:
    """An engine that answers at once and records requests in a log shared with others."""

    def __init__(self, name, log, answer=ANSWER, seconds=1.0, fails=None):
        self.name, self.log, self.answer, self.seconds, self.fails = (
            name,
            log,
            answer,
            seconds,
            fails,
        )
        self.versions = {name: "1.0"}

    def start(self):
        pass

    def stop(self):
        pass

    def ask(self, request, seconds):
        self.log.append((self.name, request["ask"]))
        if self.fails:
            raise self.fails
        if request["ask"] == "time":
            return {"seconds": self.seconds}
        return {"first_call_seconds": 1.0, "temp_bytes": 8, "steps": 3, **self.answer}


def asked(log, what):
    return [name for name, ask in log if ask == what]


# The circuits and their neutral form


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_every_engine_gets_the_angles_of_the_circuit(family):
    circuit = cases.FAMILIES[family](3, 2)
    problem = cases.problem(circuit)
    inputs, weights = problem["inputs"], problem["weights"]
    found = angle_table(
        np, json.loads(problem["circuit"]), np.array(inputs), np.array(weights, float)
    )
    expected = [evaluate(angle, inputs, weights) for angle in circuit.angles]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_angles_of_all_shapes_keep_their_places():
    angles = [0.5, ["x", 1], ["mul", 2.0, ["x", 0]], ["w", 0], ["mul", ["w", 1], ["x", 0]], 0.25]
    angles += [["mul", ["mul", 2.0, ["sub", math.pi, ["x", 0]]], ["sub", math.pi, ["x", 1]]]]
    random.Random(0).shuffle(angles)
    circuit = {"ops": [{"gate": "ry", "qubits": [0], "angles": [angle]} for angle in angles]}
    inputs, weights = [0.3, 0.7], [1.1, 1.3]

    def plain(angle):
        if not isinstance(angle, list):
            return angle
        if angle[0] in ("x", "w"):
            return {"x": inputs, "w": weights}[angle[0]][angle[1]]
        left, right = map(plain, angle[1:])
        return left * right if angle[0] == "mul" else left - right

    found = angle_table(np, circuit, np.array(inputs), np.array(weights))
    np.testing.assert_allclose(found, [plain(angle) for angle in angles_of(circuit)])


def test_circuits_are_the_same_in_every_run():
    code = (
        "from pipelines.benchmarks import cases; import json; "
        "print(json.dumps([cases.problem(f(4, 5)) for f in cases.FAMILIES.values()]))"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}  # here it is another one
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout) == [cases.problem(f(4, 5)) for f in cases.FAMILIES.values()]


def test_a_batch_is_over_inputs_where_there_are_any():
    assert Cell("re-uploading", 64, 2, 1).batched == "inputs"
    assert Cell("efficient_su2", 64, 2, 1).batched == "weights"
    assert np.shape(cases.problem(CELL.circuit, "weights", 64)["weights"]) == (64, 8)


# Comparison


@pytest.mark.parametrize(
    "broken",
    [
        {"values": [0.51]},
        {"weights_gradient": [0.25, -0.49]},
        {"weights_gradient": [-0.25, 0.5]},
        {"weights_gradient": [0.25]},
        {"values": [math.nan]},
    ],
)
def test_comparison_refuses_a_wrong_result(broken):
    assert difference({**ANSWER, **broken}, ANSWER) > 1


def test_a_wrong_engine_is_reported_and_not_timed():
    log = []
    wrong = {**ANSWER, "values": [0.6]}
    workers = {"qnn_jax": Fake("qnn_jax", log), "wrong": Fake("wrong", log, wrong, seconds=0.1)}
    (row,) = measure([CELL], workers, Limits(rounds=2))
    assert row["engines"]["wrong"]["outcome"] == "differs"
    assert asked(log, "time") == ["qnn_jax"] * 2
    assert "ratio_seconds" not in row
    assert "wrong differs: " in table.line(row, list(workers))


# The order of measuring


def test_engines_take_turns_in_every_round():
    log = []
    workers = {name: Fake(name, log) for name in ("qnn_jax", "a", "b")}
    measure_problem(PROBLEM, workers, Limits(rounds=3))
    assert asked(log, "time") == ["qnn_jax", "a", "b"] * 3
    assert {ask for _, ask in log[:3]} == {"prepare"}  # all are compared before any is timed


def test_ratios_are_to_the_best_peer():
    log = []
    workers = {
        name: Fake(name, log, seconds=seconds)
        for name, seconds in (("qnn_jax", 2.0), ("slow", 9.0), ("fast", 3.0))
    }
    (row,) = measure([CELL], workers, Limits(rounds=1))
    assert row["best_seconds"] == "fast"
    assert row["ratio_seconds"] == 1.5
    assert row["engines"]["qnn_jax"]["seconds"] == 2.0


def test_a_stopped_engine_skips_larger_circuits_of_the_family():
    cells = [Cell("random", 1, 4, 10), Cell("random", 1, 4, 50), Cell("random", 1, 2, 50)]
    for infer, asks in ((True, 2), (False, 3)):
        log = []
        workers = {"qnn_jax": Fake("qnn_jax", []), "slow": Fake("slow", log, fails=TIMEOUT)}
        rows = list(measure(cells, workers, Limits(rounds=1, infer=infer)))
        assert [row["engines"]["slow"]["outcome"] for row in rows] == ["> 60 s"] * 3
        assert len(log) == asks
    assert "inferred" not in rows[1]["engines"]["slow"]


TIMEOUT = WorkerTimeoutError()


def test_cells_after_the_deadline_are_marked():
    log = []
    workers = {"qnn_jax": Fake("qnn_jax", log)}
    (row,) = measure([CELL], workers, Limits(deadline=time.monotonic() - 1))
    assert row["engines"]["qnn_jax"] == {"outcome": "not run"}
    assert not log


# The processes


def fake_process(tmp_path: Path, body: str) -> Worker:
    """A worker whose program answers `versions` and executes `body` for other requests."""
    script = tmp_path / "fake.py"
    script.write_text(
        "import json, sys, time\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        "    reply = {'fake': '1.0'}\n"
        "    if request['ask'] != 'versions':\n"
        + textwrap.indent(textwrap.dedent(body), " " * 8)
        + "\n    print(json.dumps(reply), flush=True)\n"
    )
    return Worker([sys.executable, script])


def test_a_worker_that_takes_too_long_is_stopped_and_starts_anew(tmp_path):
    worker = fake_process(tmp_path, "time.sleep(request['sleep'])")
    try:
        began = time.monotonic()
        with pytest.raises(WorkerTimeoutError):
            worker.ask({"ask": "prepare", "sleep": 60}, 0.2)
        assert time.monotonic() - began < 30
        assert worker.ask({"ask": "prepare", "sleep": 0}, 30) == {"fake": "1.0"}
        assert worker.versions == {"fake": "1.0"}
    finally:
        worker.stop()


def test_the_cap_is_recorded(tmp_path):
    worker = fake_process(tmp_path, "time.sleep(60)")
    try:
        entries = measure_problem(
            PROBLEM, {"qnn_jax": Fake("qnn_jax", []), "slow": worker}, Limits(1, cap_seconds=0.2)
        )
    finally:
        worker.stop()
    assert entries["slow"] == {"outcome": "> 0.2 s"}
    assert entries["qnn_jax"]["outcome"] == "measured"


def test_errors_and_sudden_ends_are_reported(tmp_path):
    worker = fake_process(tmp_path, "reply = {'error': 'no such gate'}")
    with pytest.raises(WorkerError, match="no such gate"):
        worker.ask({"ask": "prepare"}, 30)
    worker.stop()
    worker = fake_process(tmp_path, "sys.exit(3)")
    with pytest.raises(WorkerError, match="ended with status 3"):
        worker.ask({"ask": "prepare"}, 30)
    worker.stop()


def test_the_peers_half_imports_nothing_of_ours():
    """It runs where qnn_jax is not installed."""
    program = (
        "import sys\n"
        "import pipelines.benchmarks.worker\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('qnn_jax', 'jax', 'tyro')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=peers.ROOT, check=True
    )
    assert found.stdout.strip() == "[]"


# The command


def test_peers_that_cannot_be_had_are_a_sentence(tmp_path):
    with pytest.raises(
        peers.NoPeersError, match=r"^Peers are left out, because .* is not there\.$"
    ):
        peers.python_of_peers(tmp_path / "no.lock", tmp_path / "env")
    lock = tmp_path / "bad.lock"
    lock.write_text("== no requirement\n")
    with pytest.raises(peers.NoPeersError, match=r"cannot be built \(.+\)\.$"):
        peers.python_of_peers(lock, tmp_path / "env")


def test_the_lock_pins_the_peers_and_no_index():
    lock = peers.LOCK.read_text()
    for requirement in peers.REQUIREMENTS:
        assert f"\n{requirement} " in f"\n{lock}"
    assert "://" not in lock


def test_ours_alone_is_marked_and_no_error(tmp_path, monkeypatch, capsys):
    def none():
        raise peers.NoPeersError("Peers are left out, because there is no network.")

    monkeypatch.setattr(simulator, "python_of_peers", none)
    monkeypatch.setattr(simulator, "Worker", lambda command: Fake(command[-1], []))
    flags = ["--only", "simulator", "--rounds", "1", "--results-dir", str(tmp_path)]
    assert bench.main(flags) == 0
    printed = capsys.readouterr().out
    assert "because there is no network" in printed
    assert "OURS ALONE" in printed
    found = json.loads((tmp_path / "bench" / "simulator.json").read_text())
    assert found["peers"] == "Peers are left out, because there is no network."
    assert list(found["versions"]) == ["qnn_jax"]
    assert len(found["cells"]) == len(cases.DEFAULT_CELLS)


def test_cells_of_some_sizes_and_depths_can_be_chosen(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simulator, "Worker", lambda command: Fake(command[-1], []))
    flags = ["--only", "simulator", "--rounds", "1", "--no-peers", "--results-dir", str(tmp_path)]
    assert bench.main([*flags, "--num-qubits", "4", "16", "--depths", "10"]) == 0
    found = json.loads((tmp_path / "bench" / "simulator_selected.json").read_text())
    cells = {(c["family"], c["batch"], c["num_qubits"], c["depth"]) for c in found["cells"]}
    some = {(4, 1), (4, 64), (16, 1)}
    assert cells == {(family, b, n, 10) for family in cases.FAMILIES for n, b in some}
    assert not (tmp_path / "bench" / "simulator.json").exists()


@pytest.mark.parametrize("flag", ["num-qubits", "depths"])
def test_cells_that_the_table_lacks_are_refused(flag, tmp_path):
    with pytest.raises(InputError, match=f"`--{flag}` must be among .*, but has 3"):
        bench.main([f"--{flag}", "3", "--results-dir", str(tmp_path)])


@pytest.mark.parametrize("flag", ["rounds", "cap-seconds", "minutes"])
def test_bad_numbers_are_refused(flag, tmp_path):
    with pytest.raises(InputError, match=f"`--{flag}` must be .*, but is 0"):
        bench.main([f"--{flag}", "0", "--results-dir", str(tmp_path)])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--only", "training", "--seeds", "3"],
            "`--seeds` .* is 3; .* classification or twin does",
        ),
        (["--families", "two curves"], "`--families` must be left out where no table reads it"),
        (["--only", "sharded", "--rounds", "2"], "`--rounds` must be left out where"),
        (["--only", "noise", "--full"], "`--full` .* is True; --only simulator does"),
        (["--only", "evaluation", "--no-peers"], "`--peers` .* False; --only simulator or noise"),
        (["--only", "scan", "--cap-seconds", "9"], "`--cap-seconds` .* noise or forward does"),
    ],
)
def test_flags_that_no_table_reads_are_refused(flags, message):
    with pytest.raises(InputError, match=f"^Argument {message}"):
        bench.main(flags)


def test_every_flag_is_known_to_a_table():
    fields = {field.name for field in dataclasses.fields(bench.BenchConfig)}
    assert set(bench.READ_BY) == fields - {"only", "results_dir"}
    (tables, _) = get_args(get_type_hints(bench.BenchConfig)["only"])
    assert {name for read in bench.READ_BY.values() for name in read} <= set(get_args(tables))


# Our own engine and the closed form, in this process


def test_our_engine_and_the_closed_form_find_the_same():
    from pipelines.benchmarks.engines import ENGINES
    from qnn_jax.models import ModelConfig

    problem = cases.problem(ModelConfig().circuit(), "inputs", 3)
    results = {}
    for name in ("qnn_jax", "closed form"):
        program = ENGINES[name][0](problem)
        program.run(2)
        results[name] = program.results()
    assert difference(results["closed form"], results["qnn_jax"]) <= 1
    assert np.shape(results["qnn_jax"]["inputs_gradient"]) == (3, 2)
    # Against finite differences: a sum over the batch, at the shared weights.
    from qnn_jax import statevector

    circuit, step = ModelConfig().circuit(), 1e-2

    def total(first_weight):
        weights = np.array([first_weight, *problem["weights"][1:]], np.float32)
        return sum(
            float(np.abs(statevector(circuit, np.float32(x), weights)) ** 2 @ [1, -1, -1, 1])
            for x in problem["inputs"]
        )

    first = problem["weights"][0]
    slope = (total(first + step) - total(first - step)) / (2 * step)
    assert slope == pytest.approx(results["qnn_jax"]["weights_gradient"][0], abs=2e-3)


def test_our_noisy_engine_finds_what_errors_leave():
    """A depolarised RY: ⟨Z⟩ = (1 - 4p/3) cos(w x)."""
    from pipelines.benchmarks.engines import ENGINES, ERROR
    from qnn_jax import Op, w, x

    problem = cases.problem(Circuit(1, (Op("ry", 0, w[0] * x[0]),)), "inputs", 3)
    program = ENGINES["qnn_jax noisy"][0](problem)
    program.run(2)
    found = program.results()
    (weight,), points = problem["weights"], np.array(problem["inputs"])[:, 0]
    shrunk = 1 - 4 * ERROR / 3
    np.testing.assert_allclose(found["values"], shrunk * np.cos(weight * points), atol=1e-6)
    slopes = -shrunk * np.sin(weight * points)
    np.testing.assert_allclose(found["weights_gradient"], [slopes @ points], atol=1e-5)
    inputs_gradient = np.array(found["inputs_gradient"])[:, 0]
    np.testing.assert_allclose(inputs_gradient, weight * slopes, atol=1e-5)


def test_noise_is_measured_alone_without_peers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simulator, "Worker", lambda command: Fake(command[-1], []))
    flags = ["--only", "noise", "--rounds", "1", "--no-peers", "--results-dir", str(tmp_path)]
    assert bench.main(flags) == 0
    assert "because of --no-peers" in capsys.readouterr().out
    found = json.loads((tmp_path / "bench" / "noise.json").read_text())
    shapes = [(cell["num_qubits"], cell["batch"], cell["depth"]) for cell in found["cells"]]
    assert shapes == [(4, 64, 3), (6, 16, 3)]
    assert found["cells"][0]["engines"]["qnn_jax"]["outcome"] == "measured"


def test_our_forward_engine_finds_qiskits_value():
    from qiskit.quantum_info import Pauli, Statevector

    from pipelines.benchmarks.engines import ENGINES
    from qnn_jax.bridge import to_qiskit

    circuit = cases.u_and_cx(4, 2)
    problem = cases.problem(circuit)
    program = ENGINES["qnn_jax forward"][0](problem)
    program.run(2)
    (found,) = program.results()["values"]
    qiskit = to_qiskit(circuit, "named")
    state = Statevector(qiskit.assign_parameters(problem["weights"]))
    assert abs(found) > 1e-2
    assert found == pytest.approx(state.expectation_value(Pauli("ZZZZ")).real, abs=1e-5)


def test_gates_of_forward_engines_are_those_of_the_circuit():
    from qiskit.circuit.library import UGate

    from pipelines.benchmarks.forward_engines import gates_of, matrix_of_u

    circuit = cases.u_and_cx(3, 2)
    problem = cases.problem(circuit)
    num_qubits, gates = gates_of(problem)
    assert num_qubits == 3
    assert [qubits for qubits, _ in gates] == [op.qubits for op in circuit.ops]
    angles = [angle for _, own in gates for angle in own]
    assert angles == problem["weights"]  # in the order of the gates
    np.testing.assert_allclose(matrix_of_u(angles[:3]), UGate(*angles[:3]).to_matrix(), atol=1e-12)
    with pytest.raises(ValueError, match="the gate 'ry' is neither U nor CX"):
        gates_of(PROBLEM)


def test_values_are_measured_alone_without_peers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simulator, "Worker", lambda command: Fake(command[-1], []))
    monkeypatch.setattr(forward, "SIZES", ((4, 2),))
    flags = ["--only", "forward", "--rounds", "1", "--no-peers", "--results-dir", str(tmp_path)]
    assert bench.main(flags) == 0
    assert "one pass over the state: copy" in capsys.readouterr().out
    (cell,) = json.loads((tmp_path / "bench" / "forward.json").read_text())["cells"]
    assert (cell["num_qubits"], cell["depth"], cell["gates"]) == (4, 2, 12)
    assert cell["engines"]["qnn_jax"]["outcome"] == "measured"
    assert all(seconds > 0 for seconds in cell["passes"].values())


class Sleeper:
    """A program whose steps take a given time on its own clock."""

    temp_bytes = None

    def __init__(self, seconds_of_a_step):
        self.seconds_of_a_step, self.clock = seconds_of_a_step, 0.0

    def run(self, steps):
        self.clock += 1e-3 + steps * self.seconds_of_a_step


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(1e-6, 1000, 1000), (5e-4, 100, 200), (1e-2, 4, 10), (1, 1, 1)]
)
def test_a_round_has_a_thousand_steps_or_takes_a_tenth_of_a_second(
    seconds, least, most, monkeypatch
):
    program = Sleeper(seconds)
    monkeypatch.setattr(programs.time, "monotonic", lambda: program.clock)
    assert least <= programs.enough_steps(program) <= most


def test_a_program_that_does_not_fit_is_not_run():
    program = Sleeper(1)
    program.temp_bytes = 2**30
    with pytest.raises(programs.OutOfMemoryError, match=r"needs 1\.0 GiB"):
        programs.first_call(lambda: program, 2**29)
    assert program.clock == 0
