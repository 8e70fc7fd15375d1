"""States over devices: the same numbers as on one, and no more sent than was planned.

What runs does so in one process with eight devices made of this processor (`over_devices.py`).
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, Mesh

import qnn_jax
from pipelines.benchmarks.collectives import Collective, collectives, total
from qnn_jax import Circuit, Op, efficient_su2, real_amplitudes, zz_feature_map
from qnn_jax.errors import InputError
from qnn_jax.executors import exact, sampled

HERE = Path(__file__).parent
EIGHT = AbstractMesh((8,), ("amplitudes",))
TINY = efficient_su2(4)


@pytest.fixture(scope="module")
def found():
    return checked("quick")


@pytest.fixture(scope="module")
def found_slowly():
    return checked("slow")


def checked(which):
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        [sys.executable, HERE / "over_devices.py", which],
        capture_output=True,
        text=True,
        timeout=900,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["name"]: row for row in rows}


def of(found, name):
    assert "found" in found[name], found[name]["error"]
    return found[name]["found"]


def check_small(differences, most):
    assert all(one < most for one in differences), differences  # max() would pass over a NaN


def check_values(differences):
    for own in differences.values():
        check_small(own, 1e-12)


#: Exchanges of the circuits that are no row of equal layers.
IRREGULAR = {"random": 3}


def check_communication(rows):
    for name, row in rows.items():
        layers, forward = row["layers"], row["forward"]
        # One for each layer but the first, whose product state is made in place.
        wanted = IRREGULAR.get(name, layers - 1)
        assert forward["exchanges"] == forward["planned"] == wanted <= layers + 1, name
        assert forward["moving"] == forward["exchanges"], name
        assert 0 < forward["largest"] <= 7 / 8, name
        assert forward["states"] == forward["planned_states"] <= (layers + 1) * 7 / 8, name
        assert forward["gathers"] == 0, name
        assert forward["sums"] == 1, name
        if "gradient" in row:
            gradient = row["gradient"]
            assert gradient["gathers"] == 0, name
            # Sums over devices are of values and of angles, never of amplitudes.
            assert gradient["others"] <= 8 * 200, name
            assert gradient["moving"] == 3 * wanted, name
            assert gradient["states"] <= 3 * forward["states"], name


def test_values_and_gradients_are_those_of_one_device(found):
    check_values(of(found, "values"))


def test_a_layer_takes_one_exchange(found):
    check_communication(of(found, "communication"))


@pytest.mark.slow
def test_more_circuits(found_slowly):
    check_values(of(found_slowly, "more_values"))
    check_communication(of(found_slowly, "more_communication"))
    for differences in of(found_slowly, "single").values():
        check_small(differences, 1e-6)
    assert of(found_slowly, "samples") == 1.0
    check_small(of(found_slowly, "explicit"), 1e-12)


@pytest.mark.slow
def test_a_device_takes_a_part_of_the_memory(found_slowly):
    assert all(2 < states <= 6 * 1.1 for states in of(found_slowly, "memory"))


def test_broken_schedules_are_seen(found):
    broken = of(found, "broken")
    assert broken["right"] == 2
    assert broken["more"] > 3  # of two repeats: three layers
    assert broken["wrong"] > 1e-3


def test_samples_and_states_share_a_mesh(found):
    check_small(of(found, "both"), 1e-12)


@pytest.mark.parametrize("layers", [1, 2, 5, 12])
@pytest.mark.parametrize("n", [10, 16, 30])
def test_exchanges_grow_with_the_layers_only(n, layers):
    for kind in ("linear", "reverse_linear", "full", "circular", "pairwise"):
        circuit = real_amplitudes(n, reps=layers, entanglement=kind)
        planned = qnn_jax.plan(circuit, "Z" * n, mesh=EIGHT)
        assert planned.num_exchanges <= layers + 2, kind
        state = 4 * 2 ** (n - 3)  # real, in float32
        assert planned.bytes_sent <= (layers + 2) * 7 / 8 * state
    circuit = zz_feature_map(n, reps=layers)
    assert qnn_jax.plan(circuit, "Z" * n, mesh=EIGHT).num_exchanges <= layers + 1


def test_what_costs_nothing_across_devices():
    n = 8
    start = [Op("h", k) for k in range(n)]
    free = [Op("cz", (k, (k + 1) % n)) for k in range(n)] + [Op("cx", (n - 1, 0)), Op("x", n - 1)]
    free += [Op("rz", k, 0.1 * k) for k in range(n)] + [
        Op("swap", (0, n - 1)),
        Op("cp", (7, 0), 1.0),
    ]
    planned = qnn_jax.plan(Circuit(n, (*start, *free)), ["X" * n, "Z" * n], mesh=EIGHT)
    assert planned.num_exchanges <= 1  # for what is measured
    controlled = [Op("crx", (n - 1, 0), 0.3)]
    planned = qnn_jax.plan(Circuit(n, (*start, *controlled)), "Z" * n, mesh=EIGHT)
    assert planned.num_exchanges == 0
    assert "by the device's number" in str(planned)


def test_the_plan_shows_what_is_sent():
    planned = qnn_jax.plan(efficient_su2(12, reps=3, entanglement="linear"), "Z" * 12, mesh=EIGHT)
    text = str(planned)
    assert "devices: 8 along 'amplitudes', each with 2^9 amplitudes" in text
    assert "communication: 3 all-to-all, 0 collective-permute" in text
    assert "all-to-all among 8 devices: each sends 7/8 of its state, 3.5 KiB" in text
    assert planned.bytes_sent == 3 * 7 * 2**9
    assert text.endswith("\n  all-reduce of 4 bytes: one number for each Pauli string")
    assert qnn_jax.plan(TINY).bytes_sent == 0


PROGRAM = """
%body (p: f32[8]) -> f32[8] {
  %x = f32[8]{0} collective-permute(%p), source_target_pairs={{0,1},{1,0}}
}

%cond (p: f32[8]) -> pred[] {
  %c = pred[] constant(true)
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %t = (f32[1,4]{1,0}, f32[1,4]{1,0}) all-to-all(%a, %b), replica_groups={{0,1},{2,3}}
  %w = f32[8]{0} while(%a), condition=%cond, body=%body, COUNT
  %g = f32[32]{0} all-gather(%a), replica_groups=[1,4]<=[4]
}
"""


def test_collectives_in_loops_count_as_often_as_they_run():
    text = PROGRAM.replace("COUNT", 'backend_config={"known_trip_count":{"n":"5"}}')
    assert collectives(text) == [
        Collective("all-to-all", 32, 16, 1),
        Collective("collective-permute", 32, 32, 5),
        Collective("all-gather", 128, 96, 1),
    ]
    assert total(collectives(text), "all-to-all", "collective-permute") == (6, 176)
    with pytest.raises(ValueError, match="How often does this loop run"):
        collectives(PROGRAM.replace("COUNT", ""))


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (
            AbstractMesh((3,), ("state",)),
            "Argument `mesh` must have a power of two of devices along 'state', but has 3.",
        ),
        (
            EIGHT,
            "Argument `mesh` must have at most 4 devices along 'amplitudes' for 4 qubits, so that "
            "each has two of them, but has 8.",
        ),
        (
            AbstractMesh((2, 2), ("data", "model")),
            'Argument `mesh` must have one axis, or two that are called "data" and "state", but '
            "has ('data', 'model').",
        ),
        (
            7,
            'Argument `mesh` must be a jax.sharding.Mesh, "ambient" or None, but is 7.',
        ),
        (
            "ambient",
            'Argument `mesh` is "ambient" and must be set, but is not; set it with '
            "jax.set_mesh(mesh).",
        ),
    ],
)
def test_a_mesh_that_does_not_fit(mesh, message):
    weights = [0.0] * TINY.num_weights
    key = qnn_jax.simulate.measurement.random.key(0)
    for call in (
        lambda: qnn_jax.plan(TINY, mesh=mesh),
        lambda: qnn_jax.statevector(TINY, [], weights, mesh=mesh),
        lambda: qnn_jax.expectations(TINY, "ZZZZ", [], weights, mesh=mesh),
        lambda: qnn_jax.variances(TINY, "ZZZZ", [], weights, mesh=mesh),
        lambda: qnn_jax.sample(TINY, [], weights, 5, key, mesh=mesh),
        lambda: exact(TINY, "ZZZZ", [[]], weights, mesh=mesh),
        lambda: qnn_jax.linen.QuantumLayer(TINY, ("ZZZZ",), mesh=mesh),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == message


def test_other_things_that_do_not_fit():
    wide = Circuit(5, (Op("ccx", (0, 1, 2)),))
    with pytest.raises(InputError, match="at most 4 devices along 'amplitudes' for 5 qubits and a"):
        qnn_jax.plan(wide, mesh=EIGHT)
    five = efficient_su2(5)
    with pytest.raises(InputError, match="`observables` must have labels of 5 letters"):
        qnn_jax.expectations(five, "ZZ", [], [0.0] * five.num_weights, mesh=EIGHT)
    with pytest.raises(InputError, match="`executor` must take `mesh`, as exact does, to run"):
        qnn_jax.linen.QuantumLayer(five, ("ZZZZZ",), sampled(10), mesh=EIGHT)


def test_a_mesh_to_run_on_has_devices():
    circuit = efficient_su2(5)
    weights = [0.0] * circuit.num_weights
    with pytest.raises(InputError, match="`mesh` must have devices to run on, but is AbstractMesh"):
        qnn_jax.expectations(circuit, "ZZZZZ", [], weights, mesh=EIGHT)
    with pytest.raises(InputError, match="a power of two of devices along 'state', but has 0"):
        qnn_jax.plan(circuit, mesh=Mesh(np.array([]), ("state",)))
    one, other = (
        jax.make_mesh((1,), (name,), (AxisType.Auto,), devices=jax.devices()[:1])
        for name in ("state", "other")
    )
    with jax.set_mesh(one), pytest.raises(InputError, match=r"must be the mesh of jax\.set_mesh"):
        qnn_jax.expectations(circuit, "ZZZZZ", [], weights, mesh=other)


def test_memory_names_how_many_devices_would_fit(monkeypatch):
    circuit = real_amplitudes(26, reps=1)
    weights = jax.ShapeDtypeStruct((circuit.num_weights,), np.float32)

    def value(weights):
        return qnn_jax.expectations(circuit, "Z" * 26, [], weights, mesh=EIGHT)[0]

    monkeypatch.setattr("qnn_jax.simulate.preflight.memory_bytes", lambda: 2**26)
    with jax.sharding.use_abstract_mesh(EIGHT):
        with pytest.raises(
            InputError,
            match=r"`mesh` must have devices enough, but the 26 qubits take about 0.25 GiB on each "
            r"of 8 and one has 0.0625 GiB; 32 would fit.",
        ):
            jax.eval_shape(value, weights)
        monkeypatch.setattr("qnn_jax.simulate.preflight.memory_bytes", lambda: 2**28)
        jax.eval_shape(value, weights)  # fits, but its gradient takes twice as much
        with pytest.raises(InputError, match=r"0.5 GiB on each of 8 and one has 0.25 GiB; 16 wo"):
            jax.eval_shape(jax.grad(value), weights)


@contextlib.contextmanager
def two_processes(*words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    script = HERE / "one_of_two_processes.py"
    started = [
        subprocess.Popen(
            [sys.executable, script, address, str(number), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(2)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_two_processes_hold_one_state():
    with two_processes() as started:
        ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    rows = [json.loads(out.splitlines()[-1]) for out, _ in ended]
    circuit = efficient_su2(6, reps=1, entanglement="linear")
    weights = np.linspace(0.1, 1.3, circuit.num_weights).astype(np.float32)

    def value(weights):
        return qnn_jax.expectations(circuit, ["ZIIIIZ"], [], weights)[0]

    wanted, slope = jax.value_and_grad(value)(weights)
    outcomes = qnn_jax.sample(circuit, [], weights, 20, jax.random.key(1))
    variance = qnn_jax.variances(circuit, ["ZIIIIZ"], [], weights)[0]
    assert rows[0] == rows[1]
    for name in ("value", "eager"):
        assert rows[0][name] == pytest.approx(float(wanted), abs=1e-6)
    for name in ("slope", "eager_slope"):
        np.testing.assert_allclose(rows[0][name], slope, atol=1e-6)
    assert rows[0]["sample"] == outcomes.tolist()
    assert rows[0]["variance"] == pytest.approx(float(variance), abs=1e-6)


@pytest.mark.slow
def test_a_lost_process_ends_the_other():
    with two_processes("leave") as (first, second):
        second.communicate(timeout=300)
        began = time.monotonic()
        _, told = first.communicate(timeout=60)
        assert time.monotonic() - began < 60
    assert first.returncode != 0
    assert any(word in told.lower() for word in ("gloo", "heartbeat", "coordination")), told
