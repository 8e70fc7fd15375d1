"""Secrets stay on this machine: no redirect is followed, and repeated secrets are not shown."""

import contextlib
import json
import re
import threading
import time
import traceback

import pytest
import requests
from ibm_server import TOKEN, Echo, encodings
from test_submission import HOUR, LIST, LOOK, MODEL, POST, RESULT

from qnn_jax.errors import InputError
from qnn_jax.hardware import ibm, jobs, redaction, submission, transport
from qnn_jax.hardware import ledger as ledger_module
from qnn_jax.hardware.jobs import DeviceStoppedError, ServiceError
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.submission import Clock, Patience, run_chunks

LOGIN = "POST /identity/token"
METRICS = r"GET /jobs/\w+/metrics"
# Every address that the client requests in one evaluation.
AT_LOGIN = [
    LOGIN,
    "POST /v3/resources/search",
    "GET /api/v1/open",
    "GET /backends",
    "GET /backends/ibm_fez/configuration",
    "GET /backends/ibm_fez/properties",
]
LATER = [
    "GET /backends/ibm_fez/status",
    "GET /instances/usage",
    POST,
    LIST,
    LOOK,
    RESULT,
    "POST /sessions",
    r"(GET|PATCH) /sessions/\w+",
]
PATIENCE = Patience(outage=HOUR)
CODES = (301, 302, 303, 307, 308)


def evaluate(server, clock, folder, chunks, told, patience=PATIENCE):
    """A user's run; the waits of the login are left out."""
    folder.mkdir(exist_ok=True)
    device = ibm.connect("ibm_fez")
    return run_chunks(
        device, chunks, Ledger(folder, MODEL), patience=patience, tell=told.append,
        clock=Clock(clock.now, clock.sleep),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(ibm, "_LOGIN_WAITS", (0.0,))


def check_redirect(server, trap, clock, folder, chunks, where, code):
    """The contract: nothing arrives elsewhere, one sentence names the host, and no job is lost."""
    address = f"{trap.address}/steal?key=value"
    server.spoil(where, code, times=10**6, headers={"Location": address})
    with pytest.raises(DeviceStoppedError) as caught:
        evaluate(server, clock, folder, chunks, [])
    assert trap.received == []
    text = str(caught.value)
    assert re.fullmatch(
        r"IBM's service points to the host localhost, which is not followed, .* run the same "
        r"command again, which continues with the jobs that are sent\.",
        text,
    ), text
    server.faults.clear()
    evaluate(server, clock, folder, chunks, [])
    assert len(server.completed()) == len(server.jobs) == len(chunks)
    assert not server.api_keys_seen


@pytest.mark.parametrize(("where", "code"), [(LOGIN, 301), (LOGIN, 308), (POST, 302), (POST, 307)])
def test_requests_with_key_or_circuits_follow_no_redirect(
    where, code, server, trap, fast_clock, tmp_path, chunks
):
    check_redirect(server, trap, fast_clock, tmp_path / "run", chunks[:1], where, code)


@pytest.mark.parametrize("where", ["POST /v3/resources/search", "GET /instances/usage", RESULT])
def test_no_request_follows_a_redirect(where, server, trap, fast_clock, tmp_path, chunks):
    check_redirect(server, trap, fast_clock, tmp_path / "run", chunks, where, 307)


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("where", AT_LOGIN + LATER)
def test_no_request_follows_any_redirect(where, code, server, trap, fast_clock, tmp_path, chunks):
    check_redirect(server, trap, fast_clock, tmp_path / "run", chunks, where, code)


def test_a_redirect_after_the_submission_is_reported_and_costs_nothing(
    server, trap, fast_clock, tmp_path, chunks
):
    headers = {"Location": trap.address}
    server.spoil(METRICS, 302, times=10**6, headers=headers)
    told = []
    evaluate(server, fast_clock, tmp_path / "run", chunks[:1], told)
    assert any("points to the host localhost" in line for line in told)
    server.faults.clear()
    server.spoil(r"POST /jobs/\w+/cancel", 302, times=10**6, headers=headers)
    server.seconds = HOUR
    device, ledger = ibm.connect("ibm_fez"), Ledger(tmp_path, MODEL)
    digest = submission.keep_chunk(device, chunks[1], ledger)
    sent = {"device": device.name, "account": device.account, "simulated": False}
    ledger.append("intent", digest, tag=submission.tag(digest), **sent)
    device.submit(chunks[1], submission.tag(digest))
    with pytest.raises(DeviceStoppedError, match="points to the host localhost"):
        submission.cancel(device, ledger)
    assert trap.received == []


@pytest.mark.parametrize(
    "location", ["", "//[", "https://", "http://\x1b[31mred.example/", f"http://{TOKEN}.example/"]
)
def test_a_redirect_to_anything_is_one_clean_sentence(location, server):
    device = ibm.connect("ibm_fez")
    server.spoil("GET /instances/usage", 302, headers={"Location": location})
    with pytest.raises(DeviceStoppedError, match=r"points to the host .*, which is not") as caught:
        device.allowance()
    assert str(caught.value).isprintable()
    assert TOKEN not in str(caught.value)


def _as_ever(carrier):
    """The client's behaviour without `carry`."""
    return contextlib.nullcontext()


@pytest.mark.parametrize("where", [LOGIN, POST])
def test_the_contract_rejects_the_client_without_carry(
    where, server, trap, fast_clock, tmp_path, chunks, monkeypatch
):
    monkeypatch.setattr(transport, "_carrying", _as_ever)
    with pytest.raises(Exception):  # noqa: B017, PT011 - the client's, or the contract's
        check_redirect(server, trap, fast_clock, tmp_path / "run", chunks[:1], where, 307)
    assert trap.received
    if where == LOGIN:
        assert TOKEN.encode() in trap.received[0][3]


def test_other_sessions_of_the_process_are_left_alone(server, trap):
    """Also while the client waits for an answer."""
    usual = requests.Session.get_adapter
    device = ibm.connect("ibm_fez")
    mine = requests.Session()
    server.spoil("GET /elsewhere", 302, times=10, headers={"Location": f"{trap.address}/there"})
    server.spoil("GET /jobs", "hang")

    def wait():
        with pytest.raises(ServiceError):
            device.find("any")

    waiting = threading.Thread(target=wait, daemon=True)
    device._seconds = 1.0
    waiting.start()
    while requests.Session.get_adapter is usual:
        time.sleep(0.01)
    assert mine.get(f"{server.address}/elsewhere").status_code == 200
    assert mine.get_adapter("http://") is mine.adapters["http://"]
    waiting.join()
    assert requests.get(f"{server.address}/elsewhere").status_code == 200
    assert [path for _, path, _, _ in trap.received] == ["/there", "/there"]
    assert requests.Session.get_adapter is usual


def test_the_backend_to_transpile_for_asks_nothing(server):
    from qiskit import QuantumCircuit, transpile

    device = ibm.connect("ibm_fez")
    asked = len(server.requests)
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.cx(0, 2)
    circuit.cx(2, 1)
    circuit.measure(range(3), range(3))
    found, wanted = (
        transpile(circuit, backend, optimization_level=3, seed_transpiler=1)
        for backend in (device.backend, device._backend)
    )
    assert found == wanted
    assert device.backend.operation_names
    assert len(server.requests) == asked
    with pytest.raises(AttributeError):
        device.backend.no_such_attribute  # noqa: B018


# Secrets that the server repeats


def forget(monkeypatch):
    """As in a process without credentials so far."""
    monkeypatch.setattr(redaction, "_kept", {})
    monkeypatch.setattr(redaction, "_forms", [])


def shown(error):
    """Everything that Python shows of an error."""
    chain = []
    while error is not None:
        chain += [str(error), repr(error), repr(vars(error))]
        chain += traceback.format_exception(error)
        error = error.__cause__ or error.__context__
    return "\n".join(chain)


def check_silence(server, clock, folder, chunks, capfd, spoil):
    """The contract: no secret is printed, stored, reported or raised."""
    told, texts = [], []
    for _ in range(2):
        spoil(server)
        with contextlib.suppress(KeyboardInterrupt):
            try:
                evaluate(server, clock, folder, chunks, told, Patience(outage=60.0, attempts=2))
            except (InputError, ServiceError) as error:
                texts.append(shown(error))
    out = capfd.readouterr()
    texts += [*told, out.out, out.err]
    texts += [str(path) for path in folder.rglob("*")]
    files = [path for path in folder.rglob("*") if path.is_file()]
    texts += [path.read_text() for path in files if path.suffix in (".json", ".jsonl")]
    assert "\x1b" not in "\n".join(texts)
    # Circuits are stored as binary QPY: any byte may occur there, but no secret.
    everything = "\n".join([*texts, *(path.read_bytes().decode("latin-1") for path in files)])
    for secret in (server.token, *server.logins):
        for form in encodings(secret):
            core = form.removeprefix("Bearer ").removeprefix("apikey=")[2:-4]
            assert core not in everything, form
    return everything


MAIN = [LOGIN, "GET /backends", "GET /instances/usage", POST, LIST, LOOK, RESULT]
WHERE = [*AT_LOGIN, *LATER, METRICS]
KINDS = [(400, "json"), (401, "escaped"), (403, "html"), (200, "json"), (500, "parts")]


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        # The most important addresses with one kind each; the others are slow.
        pytest.param(w, k, marks=[pytest.mark.slow] * ((i - j) % len(KINDS) != 0 or w not in MAIN))
        for i, w in enumerate(WHERE)
        for j, k in enumerate(KINDS)
    ],
)
def test_secrets_that_the_server_repeats_are_not_shown(
    where, kind, server, fast_clock, tmp_path, chunks, capfd
):
    def spoil(server):
        server.spoil(where, Echo(*kind), times=10**6)

    check_silence(server, fast_clock, tmp_path / "run", chunks[:1], capfd, spoil)
    server.faults.clear()
    evaluate(server, fast_clock, tmp_path / "run", chunks[:1], [])
    assert len(server.completed()) == 1


def _echo_in_reason(server):
    server.outcomes += ["Failed"] * 2
    server.reason = f"\x1b[31m\x07the key {TOKEN} of {'; '.join(server.secrets())}"


def test_a_jobs_reason_is_stored_clean(server, fast_clock, tmp_path, chunks, capfd):
    folder = tmp_path / "run"
    seen = check_silence(server, fast_clock, folder, chunks[:1], capfd, _echo_in_reason)
    assert "the key … of" in seen
    (line, *_) = [s for s in (folder / "jobs.jsonl").read_text().splitlines() if '"failed"' in s]
    assert json.loads(line)["reason"].isprintable()


@pytest.mark.slow_but_one
@pytest.mark.parametrize("given", [f"\t{TOKEN} \r\n", f" {TOKEN}", f"{TOKEN}\n"])
def test_blanks_around_the_token_do_no_harm(
    given, server, fast_clock, tmp_path, chunks, capfd, monkeypatch
):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", given)
    forget(monkeypatch)
    check_silence(server, fast_clock, tmp_path / "run", chunks[:1], capfd, _echo_in_reason)
    server.login_error, server.token = f"unknown: {TOKEN}", "newer-key-0000"
    with pytest.raises(InputError, match=r"unknown: ?…") as caught:
        ibm.connect("ibm_fez")
    assert TOKEN not in shown(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f"{TOKEN} {TOKEN}", "must hold one API key, of printable ASCII characters without blanks"),
        (f"{TOKEN}\n{TOKEN}", "must hold one API key"),
        (f"{TOKEN}\x1b[0m", "must hold one API key"),
        ("ключ-который-не-ключ", "must hold one API key"),
        (" \n", "must hold an API key, but is blank: put one into it, or unset it"),
    ],
)
def test_an_invalid_token_is_refused_and_not_shown(given, said, server, monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", given)
    with pytest.raises(InputError, match=f"`QISKIT_IBM_TOKEN` {said}") as caught:
        ibm.connect("ibm_fez")
    assert TOKEN not in shown(caught.value)
    assert given.strip() not in shown(caught.value) or not given.strip()
    assert not server.requests


def test_a_saved_accounts_token_is_as_secret(
    server, fast_clock, tmp_path, chunks, capfd, monkeypatch
):
    import os

    from qiskit_ibm_runtime import QiskitRuntimeService

    file = tmp_path / "saved.json"
    QiskitRuntimeService.save_account(
        token=TOKEN, url=os.environ["QISKIT_IBM_URL"], filename=str(file), set_as_default=True
    )
    client = "qiskit_ibm_runtime.accounts.management"
    monkeypatch.setattr(f"{client}._DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(file))
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_URL"):
        monkeypatch.delenv(name)
    forget(monkeypatch)
    check_silence(server, fast_clock, tmp_path / "run", chunks[:1], capfd, _echo_in_reason)
    server.spoil(LIST, Echo(400), times=10**6)
    with pytest.raises(ServiceError, match="…; Bearer …; apikey=…") as caught:
        ibm.connect("ibm_fez").find("any")
    assert TOKEN not in shown(caught.value)


def test_an_error_of_the_clients_own_is_shown_clean(server, monkeypatch):
    device = ibm.connect("ibm_fez")

    def fail(*_, **__):
        raise LookupError(f"with {TOKEN}")

    monkeypatch.setattr(device._service, "jobs", fail)
    with pytest.raises(RuntimeError, match=r"LookupError.*with …") as caught:
        device.find("any")
    assert TOKEN not in shown(caught.value)


def test_backends_that_are_named_after_a_secret_or_an_escape_sequence(server):
    server.backends = {f"ibm_{TOKEN}": "active", "ibm_\x1b[31mred": "active"}
    with pytest.raises(InputError, match=r"\(ibm_…, ibm_red\)") as caught:
        ibm.connect("ibm_fez")
    assert str(caught.value).isprintable()


def test_the_contract_rejects_code_that_shows_secrets(
    server, fast_clock, tmp_path, chunks, capfd, monkeypatch
):
    for module in (transport, jobs, ledger_module, ibm):
        for name in ("clean", "cleaned"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda value: value)
    with pytest.raises(AssertionError):
        check_silence(server, fast_clock, tmp_path / "run", chunks[:1], capfd, _echo_in_reason)


@pytest.mark.parametrize("secret", ["k3y-with+and/&<é>\"'", "canary-3f9a1c77e2", "a" * 44])
def test_every_form_of_a_secret_is_taken_out(secret, monkeypatch):
    forget(monkeypatch)
    text = "; ".join(encodings(secret))
    redaction.keep_secret(secret)
    found = redaction.clean(text)
    for form in encodings(secret):
        assert form.removeprefix("Bearer ").removeprefix("apikey=")[3:-4] not in found
    assert redaction.clean(f"before {secret} after") == "before … after"


def test_a_key_that_is_sent_again_is_not_forgotten_for_many_logins(monkeypatch):
    forget(monkeypatch)
    for number in range(200):
        redaction.keep_secret(TOKEN)
        redaction.keep_secret(f"login-number-{number:04d}")
    assert redaction.clean(f"{TOKEN} login-number-0199 login-number-0000") == (
        "… … login-number-0000"
    )
    assert len(redaction._forms) < 2000


def test_short_words_are_no_secrets(monkeypatch):
    forget(monkeypatch)
    for word in ("", "key", "another", None):
        redaction.keep_secret(word)
    assert redaction.clean("another key") == "another key"
