"""The effects of `import qnn_jax`."""

import importlib
import subprocess
import sys

import pytest

import qnn_jax


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, qnn_jax; dir(qnn_jax); "
        "heavy = {'jax', 'flax', 'qiskit', 'tensorflow_datasets', 'matplotlib'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_layers_load_neither_qiskit_nor_tfds_nor_matplotlib() -> None:
    code = (
        "import sys, qnn_jax.linen, qnn_jax.nnx, qnn_jax.models, qnn_jax.training.epochs; "
        "import qnn_jax.tasks.trained; "
        "heavy = {'qiskit', 'tensorflow_datasets', 'matplotlib', 'tyro'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tasks_are_read_and_checked_without_jax() -> None:
    code = (
        "import sys, qnn_jax.tasks, qnn_jax.tasks.stored, qnn_jax.training; "
        "[task().check() for task in qnn_jax.tasks.TASKS.values() if task.name != 'tabular']; "
        "heavy = {'jax', 'flax', 'optax', 'scipy', 'qiskit', 'matplotlib'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_lazy_name_is_there() -> None:
    for package in (qnn_jax.tasks, qnn_jax.training):
        for name in package.__all__:
            assert getattr(package, name) is not None
        with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
            package.nonsense  # noqa: B018


def test_every_public_name_is_there() -> None:
    for name in qnn_jax.__all__:
        assert getattr(qnn_jax, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        qnn_jax.nonsense  # noqa: B018


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
