"""Failures of the service give one sentence with the way out, not 'check your token'."""

import os
import re
import warnings

import pytest
from circuits_on_fez import QUBITS, make_chunk
from ibm_server import CRN, TOKEN, Answer
from qiskit import QuantumCircuit
from test_secrets import AT_LOGIN
from test_submission import ODD

from qnn_jax.errors import InputError
from qnn_jax.hardware import ibm
from qnn_jax.hardware.jobs import Allowance, Chunk, Pub, UnreachableError


def test_a_backend_tells_what_a_preflight_needs(server):
    device = ibm.connect("ibm_fez")
    assert device.name == "ibm_fez"
    assert not device.simulated
    assert device.backend.num_qubits == 5
    assert device.calibration_date == "2025-02-26T15:16:25+00:00"
    assert device.default_rep_delay == pytest.approx(250e-6)  # seconds, told in microseconds
    assert device.rep_delay_range == pytest.approx((0.0, 500e-6))
    assert device.allowance() == Allowance(consumed=12.0, limit=600.0)
    assert device.allowance().left == 588.0
    assert len(device.account) == 16
    assert device.account not in CRN
    assert CRN not in repr(device)


def test_an_accounts_limit_counts_as_the_instances(server):
    server.limit_reached = True
    device = ibm.connect("ibm_fez")
    assert device.allowance().left == 0.0
    with pytest.raises(InputError, match="allowance is used up"):
        device.ready()


def test_no_name_takes_the_shortest_queue(server):
    server.backends = {"ibm_fez": "maintenance", "ibm_marrakesh": "active"}
    assert ibm.connect().name == "ibm_marrakesh"


def test_instances_go_by_name_too(server, monkeypatch):
    monkeypatch.delenv("QISKIT_IBM_INSTANCE")
    accounts = {ibm.connect("ibm_fez", instance=i).account for i in (None, "ours", CRN)}
    assert len(accounts) == 1


def _wrong_token(server, monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "mistyped")


def _expired_token(server, monkeypatch):
    server.token, server.login_error = "newer", "Provided API key has expired."


def _echoing_server(server, monkeypatch):
    server.token, server.login_error = "newer", f"The key {TOKEN} is unknown."


def _backend_down(server, monkeypatch):
    server.backends["ibm_fez"] = "maintenance"


def _used_up(server, monkeypatch):
    server.used = 600.0


def _no_connection(server, monkeypatch):
    for name in ("QISKIT_IBM_URL", "IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/experimental")


# By name: what is wrong, the arguments of `connect`, the message.
REFUSALS = {
    "wrong token": (
        _wrong_token,
        {},
        r"IBM does not accept the token of this account \(status 400: Provided API key could not "
        r"be found\): create one at https://\S+ and put it into QISKIT_IBM_TOKEN\.",
    ),
    "expired token": (_expired_token, {}, r"Provided API key has expired\): create one"),
    "token echoed": (_echoing_server, {}, r"The key … is unknown"),
    "no such backend": (
        None,
        {"backend_name": "ibm_fes"},
        r"Argument `backend` must be one of this account's backends \(ibm_fez, ibm_marrakesh\), "
        r"but is 'ibm_fes': did you mean ibm_fez\?",
    ),
    "no such instance": (
        None,
        {"instance": "theirs"},
        r"Instance 'theirs' does not belong to this account: name one from .*/instances",
    ),
    "no such instance by CRN": (
        None,
        {"instance": CRN.replace("1", "2")},
        r"Instance 'crn:\S+' does not belong to this account",
    ),
    "backend down": (
        _backend_down,
        {},
        r"Backend ibm_fez is not in operation \(IBM says 'maintenance'\): wait, or name another "
        r"one \(ibm_marrakesh\)\.",
    ),
    "allowance used up": (
        _used_up,
        {},
        r"The plan's allowance is used up \(600 of 600 s\): wait until IBM renews it",
    ),
    "no instance with a backend": (
        lambda server, _: server.backends.clear(),
        {},
        r"Instance \S+ has no backend in operation now: wait, or",
    ),
    "service down": (
        lambda server, _: server.spoil(".*", 503, times=10**6),
        {},
        r"IBM Quantum cannot be reached \(status 503.*\): look at the network",
    ),
    "list of backends down": (
        lambda server, _: server.spoil("GET /backends", 404, times=10**6),
        {},
        r"IBM Quantum cannot be reached \(the backend's description cannot be read\)",
    ),
    "no connection": (_no_connection, {}, r"IBM Quantum cannot be reached \(ConnectionError\)"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name, server, monkeypatch):
    spoil, arguments, said = REFUSALS[name]
    if spoil:
        spoil(server, monkeypatch)
    monkeypatch.setattr(ibm, "_LOGIN_WAITS", (0.0,))
    with pytest.raises(InputError) as caught:
        ibm.connect(**{"backend_name": "ibm_fez", **arguments}).ready()
    text = str(caught.value)
    assert re.search(said, text), text
    assert TOKEN not in text
    assert "\n" not in text
    assert text[-1] in ".?"
    assert not server.api_keys_seen


def test_temporary_login_failures_are_retried(server, monkeypatch):
    monkeypatch.setattr(ibm, "_LOGIN_WAITS", (0.0,))
    server.spoil("POST /v3/resources/search", 503)
    assert ibm.connect("ibm_fez").name == "ibm_fez"


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        pytest.param(w, k, marks=[pytest.mark.slow] * ((i - j) % len(AT_LOGIN) != 0))
        for i, w in enumerate(AT_LOGIN)
        for j, k in enumerate(ODD)
    ],
)
def test_odd_answers_at_login(where, kind, server, monkeypatch):
    """Each gives one sentence within the time of a few requests; none asks for another token."""
    monkeypatch.setattr(ibm, "_LOGIN_WAITS", ())
    server.spoil(where, lambda _: ODD[kind], times=10**6)
    try:
        device = ibm.connect("ibm_fez")
    except InputError as error:
        text = str(error)
        assert text.isprintable()
        assert text[-1] in ".?"
        assert len(text) < 500
        assert "create one" not in text
        assert TOKEN not in text
    else:  # optional information: the plan's name, and error rates if there are none
        assert where == "GET /api/v1/open" or (
            where == "GET /backends/ibm_fez/properties"
            and kind in ("null", "an empty object", "a list")
        )
        assert device.name == "ibm_fez"
    server.faults.clear()
    assert ibm.connect("ibm_fez").name == "ibm_fez"
    assert not server.api_keys_seen


def test_a_refused_account_gets_the_services_message(server, monkeypatch):
    body = b'{"errors": [{"message": "Instance is suspended.", "code": 1234}]}'
    server.spoil("POST /v3/resources/search", Answer(403, body), times=10**6)
    with pytest.raises(InputError, match=r"refuses this account \(status 403: Instance is suspend"):
        ibm.connect("ibm_fez")


def test_a_saved_account_that_is_damaged_says_so(server, tmp_path, monkeypatch):
    file = tmp_path / "saved.json"
    file.write_text('{"mine": {"channel": "ibm_quantum_platform", "token": 7}}')
    client = "qiskit_ibm_runtime.accounts.management"
    monkeypatch.setattr(f"{client}._DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(file))
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE", "QISKIT_IBM_URL"):
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match=r"The account cannot be used \(.*\): save it again"):
        ibm.connect("ibm_fez")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("POST /identity/token", "no answer within 0 s"),
        ("POST /v3/resources/search", "no answer within 0 s"),
        ("GET /backends", "the backend's description cannot be read"),  # the client hides why
    ],
)
def test_a_hanging_login_times_out(where, said, server, monkeypatch):
    monkeypatch.setattr(ibm, "_LOGIN_WAITS", ())
    server.spoil(where, "hang", times=10**6)
    with pytest.raises(InputError, match=said):
        ibm.connect("ibm_fez", seconds=0.2)


def test_an_endless_list_times_out(server, monkeypatch):
    """The client requests page after page while the count exceeds the rows."""
    device = ibm.connect("ibm_fez")
    device._seconds = 0.5
    server.spoil("GET /jobs", lambda _: b'{"jobs": [], "count": 3}', times=10**6)
    with pytest.raises(UnreachableError):
        device.find("any")
    asked = server.count("GET /jobs")
    with pytest.raises(UnreachableError):
        device.find("any")
    assert server.count("GET /jobs") > asked > 1


def test_a_login_that_ibm_withdraws_is_never_replaced_by_the_key_itself(server):
    device = ibm.connect("ibm_fez")
    server.spoil("POST /identity/token", 500, times=3)
    server.revoke()
    device.renew()
    with pytest.raises(UnreachableError, match="status 500"):
        device.find("any")
    server.faults.clear()
    assert device.find("any") == []
    assert not server.api_keys_seen


def test_no_token_at_all(server, tmp_path, monkeypatch):
    # The client has read HOME when it was imported, maybe by another test.
    client = "qiskit_ibm_runtime.accounts.management"
    monkeypatch.setattr(f"{client}._DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(tmp_path / "none.json"))
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    with pytest.raises(InputError) as caught:
        ibm.connect("ibm_fez")
    assert str(caught.value) == (
        "Argument `backend` names ibm_fez, which needs an account: put a token from "
        "https://quantum.cloud.ibm.com into QISKIT_IBM_TOKEN, or name a fake backend to simulate "
        "one."
    )


def test_a_url_by_argument(server, monkeypatch):
    url = os.environ["QISKIT_IBM_URL"]
    monkeypatch.delenv("QISKIT_IBM_URL")
    assert ibm.connect("ibm_fez", url=url).name == "ibm_fez"
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    with pytest.raises(InputError, match="Argument `url` needs a token:"):
        ibm.connect("ibm_fez", url=url)


# Jobs that would be refused after hours in the queue are refused before.


def _unknown_gate():
    made = QuantumCircuit(5, 2)
    made.h(2)
    made.measure(QUBITS, (0, 1))
    return made


def _far_qubits():
    made = QuantumCircuit(5, 2)
    made.cz(0, 4)
    made.measure((0, 4), (0, 1))
    return made


@pytest.mark.parametrize("made", [_unknown_gate(), _far_qubits()], ids=["gate", "qubits"])
def test_circuits_of_other_gates_are_refused(made, server):
    chunk = Chunk((Pub(made, [[]]),), shots=10)
    with pytest.raises(InputError, match=r"PUB 0 cannot run on ibm_fez \(.*\): transpile it again"):
        ibm.connect("ibm_fez").check(chunk)


def test_faulty_qubits_are_refused(server, monkeypatch):
    import ibm_server

    sound = ibm_server.description

    def faulty(name, kind):
        told = dict(sound(name, kind))
        if kind == "props":
            state = {"date": "2025-02-26T00:00:00Z", "name": "operational", "unit": "", "value": 0}
            told["qubits"] = [q + [state] * (i == 3) for i, q in enumerate(told["qubits"])]
        return told

    ibm.connect("ibm_fez").check(make_chunk([0.0]))
    monkeypatch.setattr(ibm_server, "description", faulty)
    with pytest.raises(InputError, match=r"\(The instruction sx on qubits \(3,\) is not supp"):
        ibm.connect("ibm_fez").check(make_chunk([0.0]))


def test_rep_delay_out_of_range_is_refused(server):
    chunk = make_chunk([0.0], rep_delay=0.25)
    with pytest.raises(InputError, match=r"`rep_delay` must be between 0 and 0.0005 s on ibm_fez"):
        ibm.connect("ibm_fez").check(chunk)


def test_options_arrive(server):
    from qnn_jax.hardware.submission import tag

    chunk = make_chunk([0.1], rep_delay=20e-6)
    ibm.connect("ibm_fez").submit(chunk, tag(chunk.digest("ibm_fez")))
    (job,) = server.jobs.values()
    assert job.body["params"]["options"]["rep_delay"] == pytest.approx(20e-6)
    assert job.body["params"]["options"]["init_qubits"] is True
    assert job.body["params"]["quantum_program"]["shots"] == 64
    assert not job.body.get("private")


def test_no_deprecated_call_is_made(server, recwarn):
    warnings.simplefilter("always")
    device = ibm.connect("ibm_fez")
    device.counts(device.submit(make_chunk([0.1]), "a"), make_chunk([0.1]))
    assert not [w for w in recwarn if issubclass(w.category, DeprecationWarning)]
