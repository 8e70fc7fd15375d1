"""Exactly one paid job per chunk, through the real client, after any failure."""

import dataclasses
import datetime
import math
import types

import numpy as np
import pytest
from circuits_on_fez import make_chunk
from ibm_server import TOKEN

from qnn_jax.errors import InputError
from qnn_jax.hardware import ibm, submission
from qnn_jax.hardware.jobs import DeviceStoppedError, UnreachableError
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.submission import Clock, Patience, run_chunks

MODEL = "a" * 64
POST, LIST, LOOK, RESULT = "POST /jobs", "GET /jobs", r"GET /jobs/\w+", r"GET /jobs/\w+/results"
HOUR = 3600.0
PATIENCE = Patience()


@pytest.fixture(scope="session")
def expected(chunks):
    """The counts without faults, directly from the server's simulator."""
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
    """Runs of one user, by default in the same folder and with a new login."""

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
    run.clock.sleep(10 * HOUR)  # live jobs still run, and are paid for
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


# name: the fault, as a function of the server and its clock's time.
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
# Faults that are combined with another one, or resemble one that is not slow.
SLOW = {
    "500 before accepting",
    "503 for an hour",
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
    "result empty",
    "result 500",
    "result not there yet",
    "job cancelled",
    "usage not told",
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
    """Jobs outlast dropped polls: a duplicate that ends meanwhile is not cancelled by anyone."""
    run.server.seconds = 1000.0
    SCENARIOS[first](run.server, run.clock.now())
    SCENARIOS[second](run.server, run.clock.now())
    check_exactly_once(run, chunks, expected)


@pytest.mark.parametrize("where", [POST, LOOK, RESULT])
def test_a_request_to_a_hanging_server_times_out_and_is_retried(where, run, chunks, expected):
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

# The contract must reject a submission without any one part of the algorithm. By name: the fault,
# how long jobs take, the method that is replaced and its replacement.
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


def test_collect_continues_a_run_interrupted_in_the_queue(run, chunks, expected):
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
    for digest, chunk, wanted in zip(fetched, chunks, expected, strict=True):
        counts = ledger.counts(digest, chunk.shapes, chunk.shots)
        np.testing.assert_array_equal(counts[0]["c"], wanted[0])
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


def test_a_clock_that_is_set_back_loses_no_result_and_no_time(run, chunks, expected):
    run.server.seconds = math.inf
    with pytest.raises(DeviceStoppedError):
        run(chunks[:1], patience=Patience(queue=60.0))
    (job,) = run.server.jobs.values()
    job.over = "Cancelled"
    run.server.seconds = 0.0
    run.clock.at -= 10 * HOUR
    before = run.clock.now()
    run(chunks[:1])
    assert run.clock.now() - before < 0.1 * HOUR
    (entry,) = Ledger(run.folder, MODEL).entries.values()
    assert entry.done["waited_seconds"] >= 0
    assert len(run.server.completed()) == 1


def test_collect_queries_a_missing_charge_again(run, chunks):
    run.server.spoil(r"GET /jobs/\w+/metrics", 500, times=2)  # the calibration's, the charge's
    run(chunks[:1])
    ledger = Ledger(run.folder, MODEL)
    (entry,) = ledger.entries.values()
    assert "usage_seconds" not in entry.done
    assert entry.done["calibration_date"] is None
    assert submission.collect(run.device, ledger) == []
    assert Ledger(run.folder, MODEL).entry(entry.digest).done["usage_seconds"] == 3.0


def test_cancel_cancels_also_what_the_ledger_missed(run, chunks):
    run.server.seconds, run.server.copies = HOUR, 2
    device, ledger = ibm.connect("ibm_fez"), Ledger(run.folder.parent, MODEL)
    digest = submission.keep_chunk(device, chunks[0], ledger)
    sent = {"device": device.name, "account": device.account, "simulated": False}
    ledger.append("intent", digest, tag=submission.tag(digest), **sent)
    device.submit(chunks[0], submission.tag(digest))
    (told,) = submission.status(device, ledger).values()
    assert told == ", ".join(f"queued ({job})" for job in run.server.jobs)
    assert sorted(submission.cancel(device, ledger)) == sorted(run.server.jobs)
    assert not run.server.live()
    (told,) = submission.status(device, ledger).values()
    assert told == ", ".join(f"cancelled ({job})" for job in run.server.jobs)


# Invalid answers: the next request, or the next run, finds the job.

METRICS = r"GET /jobs/\w+/metrics"
ODD = {
    "HTML": b"<html><body>Sign in to the \x1b[31mnetwork</body></html>",
    "nothing": b"",
    "null": b"null",
    "a list": b'["jobs", "id"]',
    "a number": b"7",
    "an empty object": b"{}",
    "other types": b'{"id": 7, "backend": [], "state": "x", "jobs": {"a": 1}, "count": "x", '
    b'"usage": [], "status": {}, "state": 3, "length_queue": "x", "timestamps": 1, '
    b'"usage_limit_seconds": "x", "usage_consumed_seconds": {}}',
    "a nest": b'{"id": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a long number": b'{"id": ' + b"9" * 5000 + b"}",
    "bytes": bytes(range(128, 256)),
}
ODD_AT = (POST, LIST, LOOK, RESULT, METRICS, "GET /instances/usage", r"GET /backends/\w+/status")


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        pytest.param(w, k, marks=[pytest.mark.slow] * ((i - j) % len(ODD_AT) != 0))
        for i, w in enumerate(ODD_AT)
        for j, k in enumerate(ODD)
    ],
)
def test_odd_answers(where, kind, run, chunks, expected):
    device = ibm.connect("ibm_fez")  # before the fault, which does not concern the login
    run.server.seconds = 100.0
    run.server.spoil(where, lambda _: ODD[kind], times=2)
    run_chunks(
        device, chunks[:1], Ledger(run.folder.parent, MODEL), tell=run.told.append,
        clock=Clock(run.clock.now, run.clock.sleep),
    )  # fmt: skip
    assert run.server.faults[0].times < 2
    assert all(line.isprintable() for line in run.told)
    check_exactly_once(run, chunks[:1], expected[:1])


IDS = [None, 7, True, "", "../backends", "a b", "job\x1b[31m", [], {"a": 1}, "x" * 300, TOKEN]


@pytest.mark.parametrize(
    "job_id",
    [
        pytest.param(i, marks=[pytest.mark.slow] * (i not in (None, "../backends", TOKEN)))
        for i in IDS
    ],
    ids=repr,
)
def test_a_submission_with_an_invalid_id_is_found_by_its_tag(job_id, run, chunks, expected):
    import json

    def other_id(body):
        return json.dumps({**json.loads(body), "id": job_id}).encode()

    run.server.spoil(POST, other_id)
    check_exactly_once(run, chunks[:1], expected[:1])
    assert run.server.count(POST) == 1


def test_a_job_with_an_invalid_listed_id_is_not_queried(run, chunks):
    import json

    def other_ids(body):
        found = json.loads(body)
        jobs = [{**job, "id": "../instances/usage"} for job in found["jobs"]]
        return json.dumps({**found, "jobs": jobs}).encode()

    device = ibm.connect("ibm_fez")
    device.submit(chunks[0], "a")
    run.server.spoil(LIST, other_ids)
    asked = len(run.server.requests)
    with pytest.raises(UnreachableError, match="no valid id"):
        device.find("a")
    assert run.server.requests[asked:] == [LIST]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(k, marks=[pytest.mark.slow] * (k not in ("HTML", "a list", "other types")))
        for k in ODD
    ],
)
def test_an_invalid_charge_is_ignored(kind, run, chunks):
    run.server.spoil(METRICS, lambda _: ODD[kind], times=10**6)
    run(chunks[:1])
    (entry,) = Ledger(run.folder, MODEL).entries.values()
    assert entry.done.get("usage_seconds") is None
    assert entry.done["calibration_date"] is None or kind in ("an empty object", "a list")


OTHER_SECONDS = [True, [3], {"a": 3}, 10**400, math.inf]


@pytest.mark.parametrize(
    "seconds",
    ["3", -1, math.nan, *(pytest.param(value, marks=pytest.mark.slow) for value in OTHER_SECONDS)],
)
def test_invalid_seconds_are_not_recorded(seconds, run, chunks):
    import json

    usage = {"status": "complete", "qpu_charge_time_seconds": seconds}
    run.server.spoil(METRICS, lambda _: json.dumps({"usage": usage}).encode(), times=10**6)
    run(chunks[:1])
    (entry,) = Ledger(run.folder, MODEL).entries.values()
    assert "usage_seconds" not in entry.done


# Permanent failures give a sentence.


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
    with pytest.raises(DeviceStoppedError, match=r"was damaged 8 times \(.*costs nothing"):
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
            run.server.token = "another-key-5b1e"
            run.server.revoke()
            monkeypatch.setenv("QISKIT_IBM_TOKEN", "another-key-5b1e")

    clock = Clock(run.clock.now, run.clock.sleep)
    ledger = Ledger(run.folder.parent, MODEL)
    counts = run_chunks(ibm.connect("ibm_fez"), chunks[:1], ledger, clock=clock, tell=change)
    np.testing.assert_array_equal(counts[0][0]["c"], expected[0][0])
    assert run.server.token == "another-key-5b1e"


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


USED_UP = {
    "a 403": (403, "You have reached the usage limit of this instance.", 4317),
    "a 401": (401, "Usage limit reached.", 1200),
    "a 429": (429, "There is no more time available for this plan.", 1202),
    "no right": (403, "Your role does not allow this action.", 1234),
}


def refusal(status, message, code):
    import json

    from ibm_server import Answer

    return Answer(status, json.dumps({"errors": [{"message": message, "code": code}]}).encode())


@pytest.mark.parametrize("name", USED_UP)
def test_an_allowance_that_is_used_up_asks_for_no_token(name, run, chunks):
    said = USED_UP[name][1].rstrip(".")
    run.server.spoil(POST, refusal(*USED_UP[name]))
    with pytest.raises(InputError, match="ibm_fez refuses the job") as caught:
        run(chunks[:1])
    assert said in str(caught.value)
    assert "token" not in str(caught.value)
    run.server.spoil(LIST, refusal(*USED_UP[name]), times=10**6)
    with pytest.raises(DeviceStoppedError, match="refuses the request to look up jobs") as caught:
        run(chunks[:1])
    assert said in str(caught.value)
    assert "token" not in str(caught.value)


def test_a_403_about_the_credentials_is_a_login(run, chunks, expected):
    run.server.spoil(LIST, refusal(403, "Invalid credentials.", 1201))
    check_exactly_once(run, chunks[:1], expected[:1])
    assert any("logging in again" in line for line in run.told)


@pytest.mark.slow
def test_a_machine_that_was_calibrated_in_the_queue(run, chunks):
    """The counts are those of the calibration at the job's start, not of its plan or end."""
    hours = [run.clock.now() + HOUR * n for n in (-1, 1, 5)]
    dates = [
        datetime.datetime.fromtimestamp(at, datetime.UTC).replace(microsecond=0).isoformat()
        for at in hours
    ]
    run.server.calibrations = dates[:1]
    run.server.seconds = 4 * HOUR  # it begins after two of them

    def recalibrated(line):
        run.server.calibrations = dates

    device, ledger = ibm.connect("ibm_fez"), Ledger(run.folder.parent, MODEL)
    clock = Clock(run.clock.now, run.clock.sleep)
    run_chunks(device, chunks[:1], ledger, clock=clock, tell=recalibrated)
    (entry,) = ledger.entries.values()
    assert entry.intent["calibration_date"] == dates[0]
    assert entry.done["calibration_date"] == dates[1]


def test_another_instance_cannot_see_the_job(run, chunks, monkeypatch):
    run.server.seconds = math.inf
    with pytest.raises(DeviceStoppedError):
        run(chunks[:1], patience=Patience(queue=60.0))
    monkeypatch.setattr(ibm.IbmDevice, "account", "another")
    with pytest.raises(InputError, match="through another IBM instance"):
        run(chunks[:1])


def test_another_repetition_measures_again(run, chunks):
    run(chunks[:1])
    run([make_chunk(np.linspace(0, 3, 4), repetition=1)])
    assert run.server.count(POST) == 2
