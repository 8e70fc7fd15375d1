"""What importing the bridge promises, and where its packages are missing."""

import subprocess
import sys

import pytest

import qnn_jax
import qnn_jax.bridge


def test_importing_the_bridge_loads_neither_qiskit_nor_jax():
    code = (
        "import sys, qnn_jax; qnn_jax.bridge; dir(qnn_jax.bridge); "
        "from qnn_jax.bridge import Certificate; "
        "heavy = {'jax', 'qiskit', 'qiskit_aer', 'torch'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    assert qnn_jax.bridge is sys.modules["qnn_jax.bridge"]
    for name in qnn_jax.bridge.__all__:
        assert callable(getattr(qnn_jax.bridge, name))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        qnn_jax.bridge.nonsense  # noqa: B018


def test_without_qiskit_the_way_out_is_named():
    code = (
        "import sys; sys.modules['qiskit'] = None\n"
        "import qnn_jax\n"
        "try:\n    qnn_jax.bridge.to_qiskit\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'qnn-jax[bridge]'" in done.stdout
    assert "'qiskit" in done.stdout
