"""Settings of all tests, and the real data, prepared once."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# What is imported and collected stays to the end: no search for garbage has to walk through it.
gc.disable()
# Compilation makes the first example slow; a test must not fail for that reason.
settings.register_profile("ours", deadline=None, derandomize=True)
settings.load_profile("ours")

REPOSITORY = Path(__file__).parents[1]
#: Programs that tests run in processes of their own: importing them sets the number of devices.
collect_ignore = ["simulate/over_devices.py", "simulate/one_of_two_processes.py"]
#: Examples in docstrings that take more than a few seconds, since they train.
SLOW_EXAMPLES = (
    "qnn_jax.estimators.QuantumClassifier",
    "qnn_jax.estimators.QuantumRegressor",
    "qnn_jax.studies.diagnosis.diagnose",
    "qnn_jax.studies.scan.scan",
    "qnn_jax.tasks.fit.train",
    "qnn_jax.tasks.trained.Trained",
)
ARCHIVES = Path(os.environ.get("QNN_JAX_MANUAL_DIR", REPOSITORY.parent / "shared/fashion-mnist"))


@pytest.hookimpl(tryfirst=True)  # before pytest drops what `-m` leaves out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow are all cases but the first of a test marked `slow_but_one`, and examples that train."""
    seen = set()
    for item in items:
        if item.name in SLOW_EXAMPLES:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow_but_one") is None:
            continue
        test = item.nodeid.partition("[")[0]
        if test in seen:
            item.add_marker(pytest.mark.slow)
        seen.add(test)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ARCHIVES / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"the official archives of Fashion-MNIST are not in {ARCHIVES}")
    from qnn_jax.data import load_fashion_mnist

    folder = tmp_path_factory.mktemp("tfds")
    load_fashion_mnist(folder, ARCHIVES)
    return folder
