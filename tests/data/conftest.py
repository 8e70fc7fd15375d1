"""Fixtures of the data tests."""

import contextlib
import os
import re
import tempfile
from pathlib import Path

import pytest
from loopback import Server
from serving import serving
from tiny_source import make_tiny

_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def tiny(tmp_path):
    return make_tiny(tmp_path / "archives")


@pytest.fixture
def official():
    """The folder with the official archives, if this machine has them."""
    named = os.environ.get("QNN_JAX_MANUAL_DIR")
    folder = Path(named) if named else _REPOSITORY.parent / "shared" / "fashion-mnist"
    if not (folder / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"the official archives of Fashion-MNIST are not in {folder}")
    return folder


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, request):
    """Remove the user's environment variables."""
    if "official" in request.fixturenames:
        request.getfixturevalue("official")  # which still needs them
    for variable in ("QNN_JAX_MANUAL_DIR", "TFDS_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def unprivileged():
    """A context to run as nobody if the tests run as root, for whom no permissions apply."""

    @contextlib.contextmanager
    def context():
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            if user == 0:
                os.seteuid(0)

    return context


@pytest.fixture
def open_folder():
    """A folder that the user nobody can access, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        Path(name).chmod(0o755)


@pytest.fixture
def one_sentence():
    """Check that an exception's text is one sentence; return it."""

    def check(caught):
        text = str(caught.value)
        assert "\n" not in text
        assert text.endswith(".")
        assert not re.search(r"\.\s+[A-Z]", text), f"more than one sentence: {text}"
        return text

    return check


@pytest.fixture
def server():
    with serving(Server()) as running:
        yield running
