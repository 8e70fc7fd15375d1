"""Exactly one paid job per chunk, through the real client, whatever fails on the way."""

import dataclasses
import math
import types

import numpy as np
import pytest
from circuits_on_fez import make_chunk
from ibm_server import CRN, TOKEN

from qnn_jax.bridge import ibm, submission
from qnn_jax.bridge.jobs import DeviceStoppedError
from qnn_jax.bridge.submission import Clock, Patience, run_chunks
from qnn_jax.errors import InputError
from qnn_jax.runs.ledger import Ledger

MODEL = "a" * 64
POST, LIST, LOOK, RESULT = "POST /jobs", "GET /jobs", r"GET /jobs/\w+", r"GET /jobs/\w+/results"
HOUR = 3600.0
PATIENCE = Patience()


@pytest.fixture(scope="session")
def expected(chunks):
    """What an undisturbed server counts, straight from its simulator."""
    from ibm_server import simulate
    from qiskit_ibm_runtime.decoders.defaults import DEFAULT_DECODERS

    counts = []
    for chunk in chunks:
        result = simulate(_payload(chunk), seed=7)
        for decoder in DEFAULT_DECODERS["executor"]:
            result = decoder.decode(result) if decoder.is_applicable(result) else result
        counts.append(
            [
                np.array([[bits.get_int_counts(r).get(k, 0) for k in range(4)] for r in range(n)])
                for bits, n in ((item.data.c, item.data.c.shape[0]) for item in result)
            ]
        )
    return counts


def _payload(chunk):
    import json

    from qiskit_ibm_runtime.executor_sampler.prepare import prepare
    from qiskit_ibm_runtime.options_models import SamplerOptions
    from qiskit_ibm_runtime.quantum_program.params_converters import (
        QUANTUM_PROGRAM_PARAMS_CONVERTERS,
    )

    pubs = [(pub.circuit, pub.values) for pub in chunk.pubs]
    program, options = prepare(pubs, SamplerOptions(), chunk.shots)
    program._semantic_role = "sampler_v2"
    params = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"].encoder(program, options)
    return json.dumps(params.model_dump(mode="json"))


@dataclasses.dataclass
class Run:
    """Runs of one user, on the same folder and with a new login unless told otherwise."""

    server: object
    clock: object
    folder: object
    told: list = dataclasses.field(default_factory=list)

    def __call__(self, chunks, folder=None, patience=PATIENCE, seconds=20.0, device=None):
        folder = folder or self.folder
        folder.mkdir(exist_ok=True)
        self.device = device or ibm.connect("ibm_fez", seconds=seconds)
        return run_chunks(
            self.device, chunks, Ledger(folder, MODEL), patience=patience, tell=self.told.append,
            clock=Clock(self.clock.now, self.clock.sleep),
        )  # fmt: skip


@pytest.fixture
def run(server, fast_clock, tmp_path):
    return Run(server, fast_clock, tmp_path / "run")


def check_exactly_once(run, chunks, expected, patience=PATIENCE, seconds=20.0):
    """The contract: see the module's first line. Returns how many runs it took."""
    server, runs = run.server, 0
    while True:
        runs += 1
        try:
            counts = run(chunks, patience=patience, seconds=seconds)
            break
        except DeviceStoppedError:
            assert runs < 4
    for found, wanted in zip(counts, expected, strict=True):
        for pub, array in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(pub["c"], array)
    run.clock.sleep(10 * HOUR)  # what is live still is carried out, and paid for
    paid = sorted(job.body["tags"][0] for job in server.completed())
    assert paid == sorted(submission.tag(chunk.digest("ibm_fez")) for chunk in chunks)
    submissions = server.count(POST)
    anew = run(chunks, folder=run.folder / "elsewhere", device=run.device)
    again = run(chunks, device=types.SimpleNamespace(name="ibm_fez"))  # which answers nothing
    assert server.count(POST) == submissions
    for one, two, three in zip(counts, again, anew, strict=True):
        np.testing.assert_equal(one, two)
        np.testing.assert_equal(one, three)
    assert not server.invalid + server.crashes
    assert not server.api_keys_seen
    for file in run.folder.rglob("*"):
        assert file.is_dir() or TOKEN.encode() not in file.read_bytes()
    assert TOKEN not in "".join(run.told)
    return runs


# name: what goes wrong, as a function of the server and its clock's time.
SCENARIOS = {
    "nothing": lambda s, now: None,
    "500 before accepting": lambda s, now: s.spoil(POST, 500, times=3),
    "503 for an hour": lambda s, now: s.spoil(POST, 503, until=now + HOUR),
    "429": lambda s, now: s.spoil(POST, 429, times=2),
    "429 that says when": lambda s, now: s.spoil(POST, 429, headers={"Retry-After": "75"}),
    "502 after accepting": lambda s, now: s.spoil(POST, 502, after=True),
    "dropped before accepting": lambda s, now: s.spoil(POST, "drop"),
    "dropped after accepting": lambda s, now: s.spoil(POST, "drop", after=True),
    "answer cut short": lambda s, now: s.spoil(POST, "cut"),
    "accepted twice": lambda s, now: setattr(s, "copies", 2),
    "dropped after accepting, and the list lags": lambda s, now: (
        s.spoil(POST, "drop", after=True),
        setattr(s, "lag", 25.0),
    ),
    "accepted twice, and the list lags": lambda s, now: (
        setattr(s, "copies", 2),
        setattr(s, "lag", 40.0),
    ),
    "login lost when submitting": lambda s, now: s.spoil(POST, 401),
    "login lost when polling": lambda s, now: s.spoil(LOOK, 401, times=2),
    "poll 404": lambda s, now: s.spoil(LOOK, 404, times=3),
    "poll 429": lambda s, now: s.spoil(LOOK, 429, times=3),
    "polls dropped": lambda s, now: s.spoil(LOOK, "drop", times=9),
    "silence for hours": lambda s, now: s.spoil(r"GET /jobs.*", 500, until=now + 2 * HOUR),
    "empty list": lambda s, now: s.spoil(LIST, lambda _: b'{"jobs": [], "count": 0}', times=2),
    "list that is no JSON": lambda s, now: s.spoil(LIST, lambda body: body[:-9]),
    "result cut short": lambda s, now: s.spoil(RESULT, "cut", times=2),
    "result torn": lambda s, now: s.spoil(RESULT, lambda body: body[: len(body) // 2], times=2),
    "result empty": lambda s, now: s.spoil(RESULT, lambda _: b"", times=2),
    "result of one PUB": lambda s, now: s.spoil(RESULT, _first_pub),
    "result 500": lambda s, now: s.spoil(RESULT, 500, times=8),
    "result not there yet": lambda s, now: s.spoil(RESULT, 404, times=2),
    "job failed": lambda s, now: s.outcomes.append("Failed"),
    "job cancelled": lambda s, now: s.outcomes.append("Cancelled"),
    "usage not told": lambda s, now: s.spoil(r"GET /jobs/\w+/metrics", 500),
    "half an hour in the queue": lambda s, now: setattr(s, "seconds", HOUR / 2),
}
SENDING_AGAIN = {"job failed", "job cancelled"}
# Those that another one comes close to.
SLOW = {
    "500 before accepting",
    "429",
    "dropped before accepting",
    "answer cut short",
    "accepted twice",
    "dropped after accepting",
    "login lost when submitting",
    "poll 429",
    "polls dropped",
    "list that is no JSON",
    "result torn",
    "result 500",
    "result not there yet",
    "job cancelled",
}


def _first_pub(body):
    import json

    result = json.loads(body)
    return json.dumps({**result, "data": result["data"][:1]}).encode()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in SCENARIOS]
)
def test_one_chunk(name, run, chunks, expected):
    run.server.seconds = 100.0
    SCENARIOS[name](run.server, run.clock.now())
    runs = check_exactly_once(run, chunks[:1], expected[:1])
    assert runs == (2 if name in SENDING_AGAIN else 1)
    assert all(f.times <= 0 or (f.until or math.inf) < run.clock.now() for f in run.server.faults)


@pytest.mark.slow
@pytest.mark.parametrize("second", SCENARIOS)
@pytest.mark.parametrize(
    "first", ["dropped after accepting", "accepted twice", "silence for hours"]
)
def test_two_chunks_and_two_faults(first, second, run, chunks, expected):
    """Jobs outlast dropped polls: a duplicate that ends meanwhile is one that nobody cancels."""
    run.server.seconds = 1000.0
    SCENARIOS[first](run.server, run.clock.now())
    SCENARIOS[second](run.server, run.clock.now())
    check_exactly_once(run, chunks, expected)


@pytest.mark.parametrize("where", [POST, LOOK, RESULT])
def test_a_server_that_hangs_is_given_up_and_asked_again(where, run, chunks, expected):
    run.server.spoil(where, "hang", after=True)
    check_exactly_once(run, chunks[:1], expected[:1], seconds=0.3)


def test_several_chunks_share_one_batch(run, chunks, expected):
    check_exactly_once(run, chunks, expected)
    (session,) = run.server.sessions.values()
    assert session["mode"] == "batch"
    assert not session["accepting_jobs"]
    assert all(job.body["session_id"] for job in run.server.jobs.values())


def test_a_batch_that_has_ended_is_done_without(run, chunks, expected):
    run.server.spoil("GET /sessions/.*", lambda body: body, times=1)
    run.server.spoil(POST, 400)
    check_exactly_once(run, chunks, expected)
    assert any("sending this one alone" in line for line in run.told)


def _one_look(work, digest, until):
    return work._adopt(digest) is not None


def _no_look_for_duplicates(work, digest):
    return work.look(work.ledger.entry(digest).job)


LAGS = "and the list lags"

# The contract must reject whoever leaves out any part of the algorithm. By name: the scenario, how
# long jobs take in it, the method that is left out and what is there instead.
BROKEN = {
    "no look after a drop": ("dropped after accepting", 0.0, "_settle", lambda *_: False),
    "one look only": (f"dropped after accepting, {LAGS}", 0.0, "_settle", _one_look),
    "duplicates are left": ("accepted twice", 100.0, "cancel", lambda *_: None),
    "one look for duplicates": (
        f"accepted twice, {LAGS}",
        100.0,
        "_look_at",
        _no_look_for_duplicates,
    ),
    "no look at all": ("nothing", 100.0, "jobs", lambda *_: []),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_contract_rejects_broken_submissions(name, run, chunks, expected, monkeypatch):
    scenario, run.server.seconds, method, broken = BROKEN[name]
    SCENARIOS[scenario](run.server, run.clock.now())
    monkeypatch.setattr(submission._Work, method, broken)
    with pytest.raises(AssertionError):
        check_exactly_once(run, chunks[:1], expected[:1])


def test_the_ledger_tells_all(run, chunks):
    device = ibm.connect("ibm_fez")
    ledger = Ledger(run.folder.parent, MODEL)
    run_chunks(device, chunks[:1], ledger, estimates=[2.5], clock=Clock(sleep=run.clock.sleep))
    (entry,) = Ledger.existing(run.folder.parent).entries.values()
    assert entry.status == "done"
    assert entry.intent["executions"] == chunks[0].executions == 8 * 64
    assert (entry.done["estimated_seconds"], entry.done["usage_seconds"]) == (2.5, 3.0)
    assert entry.done["device"] == "ibm_fez"
    assert entry.done["calibration_date"].startswith("2025-02-26")
    kept = submission.kept_chunk(entry.digest, ledger)
    assert kept.digest("ibm_fez") == entry.digest == chunks[0].digest("ibm_fez")


def test_interrupted_while_queueing_goes_on_by_collect(run, chunks, expected):
    run.server.seconds = 100.0

    def interrupt(line):
        if line.startswith("waiting"):
            raise KeyboardInterrupt

    device, ledger = ibm.connect("ibm_fez"), Ledger(run.folder.parent, MODEL)
    clock = Clock(run.clock.now, run.clock.sleep)
    with pytest.raises(KeyboardInterrupt):
        run_chunks(device, chunks, ledger, clock=clock, tell=interrupt)
    assert set(submission.status(device, ledger).values()) == {
        f"queued ({job})" for job in run.server.jobs
    }
    fetched = submission.collect(device, Ledger.existing(run.folder.parent), clock=clock)
    assert len(fetched) == 2
    ledger = Ledger.existing(run.folder.parent)
    for digest, wanted in zip(fetched, expected, strict=True):
        np.testing.assert_array_equal(ledger.counts(digest)[0]["c"], wanted[0])
    assert set(submission.status(device, ledger).values()) == {"done"}
    assert run.server.count(POST) == 2


def test_what_is_sent_is_collected_though_nothing_more_can_be_sent(run, chunks, expected):
    run.server.seconds = math.inf
    with pytest.raises(DeviceStoppedError):
        run(chunks[:1], patience=Patience(queue=60.0))
    for job in run.server.jobs.values():
        job.seconds = 100.0
    run.server.used, run.server.backends["ibm_fez"] = 600.0, "maintenance"
    counts = run(chunks[:1])
    np.testing.assert_array_equal(counts[0][0]["c"], expected[0][0])
    with pytest.raises(InputError, match="is not in operation"):
        run(chunks)


def test_collect_asks_again_what_was_charged(run, chunks):
    run.server.spoil(r"GET /jobs/\w+/metrics", 500)
    run(chunks[:1])
    ledger = Ledger(run.folder, MODEL)
    (entry,) = ledger.entries.values()
    assert "usage_seconds" not in entry.done
    assert submission.collect(run.device, ledger) == []
    assert Ledger(run.folder, MODEL).entry(entry.digest).done["usage_seconds"] == 3.0


def test_cancel_cancels_also_what_the_ledger_missed(run, chunks):
    run.server.seconds, run.server.copies = HOUR, 2
    device, ledger = ibm.connect("ibm_fez"), Ledger(run.folder.parent, MODEL)
    digest = submission.keep_chunk(device, chunks[0], ledger)
    sent = {"tag": submission.tag(digest), "device": device.name, "account": device.account}
    ledger.append("intent", digest, **sent)
    device.submit(chunks[0], submission.tag(digest))
    (told,) = submission.status(device, ledger).values()
    assert told == ", ".join(f"queued ({job})" for job in run.server.jobs)
    assert sorted(submission.cancel(device, ledger)) == sorted(run.server.jobs)
    assert not run.server.live()
    (told,) = submission.status(device, ledger).values()
    assert told == ", ".join(f"cancelled ({job})" for job in run.server.jobs)


# What cannot succeed ends in a sentence.


def test_an_outage_has_an_end(run, chunks):
    run.server.spoil(POST, 500, times=10**6)
    with pytest.raises(DeviceStoppedError, match=r"has not answered for 0:05:00 \(status 500"):
        run(chunks[:1], patience=Patience(outage=HOUR / 12))


def test_a_queue_has_an_end(run, chunks):
    run.server.seconds = math.inf
    with pytest.raises(DeviceStoppedError, match=r"not ended within 0:20:00: run the same"):
        run(chunks[:1], patience=Patience(queue=HOUR / 3))
    assert run.server.count(POST) == 1


def test_a_result_that_stays_damaged_is_not_paid_for_again(run, chunks):
    run.server.spoil(RESULT, lambda _: b"{}", times=10**6)
    with pytest.raises(DeviceStoppedError, match=r"came damaged 8 times \(.*costs nothing"):
        run(chunks[:1])
    run.server.faults.clear()
    run(chunks[:1])
    assert run.server.count(POST) == 1


def test_a_failed_job_says_why(run, chunks):
    run.server.outcomes.append("Failed")
    with pytest.raises(DeviceStoppedError, match=r"Job job\d+ has failed \(.*qubits are cold"):
        run(chunks[:1])


def test_a_login_that_stays_refused_names_the_way_back(run, chunks):
    run.server.seconds = 100.0
    run.server.spoil(LOOK, 401, times=10**6)
    with pytest.raises(InputError, match=r"put a new token into QISKIT_IBM_TOKEN and run the same"):
        run(chunks[:1], patience=Patience(attempts=3))
    run.server.faults.clear()
    run(chunks[:1])
    assert run.server.count(POST) == 1


def test_a_new_token_is_taken_up_from_the_environment(run, chunks, expected, monkeypatch):
    run.server.seconds = 100.0
    run.server.spoil(LOOK, 401)
    told = run.told.append

    def change(line):
        told(line)
        if line.startswith("the login has expired"):
            run.server.token = "another"
            run.server.revoke()
            monkeypatch.setenv("QISKIT_IBM_TOKEN", "another")

    clock = Clock(run.clock.now, run.clock.sleep)
    ledger = Ledger(run.folder.parent, MODEL)
    counts = run_chunks(ibm.connect("ibm_fez"), chunks[:1], ledger, clock=clock, tell=change)
    np.testing.assert_array_equal(counts[0][0]["c"], expected[0][0])
    assert run.server.token == "another"


def test_the_main_job_fits_into_100_kilobytes(run):
    """2,000 images and the calibration rows."""
    chunk = make_chunk(np.random.default_rng(0).uniform(0, 7, 2000), shots=1024)
    device = ibm.connect("ibm_fez")
    device.submit(chunk, "a")
    (job,) = run.server.jobs.values()
    assert job.size <= 100_000
    assert not run.server.invalid


def test_a_refused_job_is_no_ambiguity(run, chunks):
    run.server.spoil(POST, 422)
    with pytest.raises(
        InputError, match=r"ibm_fez refuses the job \(status 422: A fault on order\)"
    ):
        run(chunks[:1])
    assert not run.server.jobs


def test_another_instance_cannot_see_the_job(run, chunks, monkeypatch):
    run.server.seconds = math.inf
    with pytest.raises(DeviceStoppedError):
        run(chunks[:1], patience=Patience(queue=60.0))
    monkeypatch.setattr(ibm.IbmDevice, "account", "another")
    with pytest.raises(InputError, match="through another instance of IBM's"):
        run(chunks[:1])


def test_repetition_asks_again(run, chunks):
    run(chunks[:1])
    run([make_chunk(np.linspace(0, 3, 4), repetition=1)])
    assert run.server.count(POST) == 2


def test_the_environment_of_these_tests_leads_nowhere_else(server):
    assert server.address.startswith("http://127.0.0.1")
    assert CRN.count(":") == 9
