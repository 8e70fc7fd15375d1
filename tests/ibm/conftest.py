"""One loopback server for all tests of this folder, and a clock without real waits."""

import numpy as np
import pytest
from fast_clock import FastClock
from serving import serving


@pytest.fixture(scope="session")
def running_server():
    from ibm_server import IbmServer

    with serving(IbmServer()) as running:
        yield running


@pytest.fixture
def fast_clock():
    return FastClock()


@pytest.fixture
def server(running_server, fast_clock, tmp_path, monkeypatch):
    """The server in its initial state, with the fast clock and its environment variables."""
    running_server.reset()
    running_server.clock = fast_clock.now
    for name, value in running_server.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return running_server


@pytest.fixture(scope="session")
def chunks():
    """Two chunks, the same in all tests, since the server caches its simulations."""
    from circuits_on_fez import make_chunk

    return [make_chunk(rows) for rows in (np.linspace(0, 3, 4), np.linspace(1, 2, 3))]


@pytest.fixture
def trap():
    """Another host on this machine, for redirects."""
    from ibm_server import Trap

    with serving(Trap()) as running:
        yield running


@pytest.fixture(scope="session")
def trained():
    """The reference model of Fashion-MNIST: two classes, two qubits, one logit."""
    from reference_models import fashion

    return fashion()


@pytest.fixture
def results(tmp_path, trained):
    """A folder of runs with the run `fashion`."""
    folder = tmp_path / "results"
    trained.save(folder / "fashion")
    return folder


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE", "QISKIT_IBM_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
