"""The effects of `import qnn_jax`."""

import importlib
import subprocess
import sys

import pytest

import qnn_jax

#: By statements, what they do not import.
LIGHT = {
    "import qnn_jax; dir(qnn_jax)": "jax flax qiskit tensorflow_datasets matplotlib",
    "import qnn_jax.circuits; from qnn_jax import zz_feature_map; print(zz_feature_map(2))": (
        "jax numpy qiskit matplotlib tensorflow_datasets"
    ),
    "import qnn_jax.linen, qnn_jax.nnx, qnn_jax.models, qnn_jax.training.epochs": (
        "qiskit tensorflow_datasets matplotlib tyro"
    ),
    "import qnn_jax.tasks.trained": "qiskit tensorflow_datasets matplotlib tyro",
    "import qnn_jax.tasks.stored, qnn_jax.training; "
    "[task().check() for task in qnn_jax.tasks.TASKS.values() if task.name != 'tabular']": (
        "jax flax optax scipy qiskit matplotlib"
    ),
    "import qnn_jax; qnn_jax.bridge; dir(qnn_jax.bridge); from qnn_jax.bridge import Certificate": (
        "jax qiskit qiskit_aer torch"
    ),
    "import qnn_jax.hardware.ledger": "jax qiskit requests",
}


@pytest.mark.parametrize("statements", LIGHT)
def test_importing_loads_nothing_heavy(statements: str) -> None:
    code = f"import sys; {statements}; print({{*{LIGHT[statements].split()}}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("package", [qnn_jax, qnn_jax.bridge, qnn_jax.tasks, qnn_jax.training])
def test_every_lazy_name_is_there(package) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


def test_what_is_elsewhere_is_pointed_to() -> None:
    for name, places in qnn_jax._ELSEWHERE.items():
        for place in places.split(" or "):
            assert hasattr(importlib.import_module(place), name)
        with pytest.raises(
            ImportError, match=rf"'{name}' .* in {places}: from qnn_jax\.\w+ import"
        ):
            getattr(qnn_jax, name)
    with pytest.raises(ImportError, match=r"it is in qnn_jax\.linen or qnn_jax\.nnx: from"):
        from qnn_jax import QuantumLayer  # noqa: F401
    with pytest.raises(AttributeError, match="module 'qnn_jax' has no attribute 'nothing'"):
        qnn_jax.nothing  # noqa: B018


def test_without_qiskit_the_way_out_is_named() -> None:
    code = (
        "import sys; sys.modules['qiskit'] = None\n"
        "import qnn_jax\n"
        "try:\n    qnn_jax.bridge.to_qiskit\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'qnn-jax[bridge]'" in done.stdout
    assert "'qiskit" in done.stdout
