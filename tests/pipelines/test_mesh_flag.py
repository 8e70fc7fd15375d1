"""--mesh of the training commands."""

from pathlib import Path

import jax
import pytest

from pipelines import train_calculator
from qnn_jax.errors import InputError


def test_a_mesh_that_cannot_be_is_refused(tmp_path: Path) -> None:
    folder = ["--results-dir", str(tmp_path)]
    with pytest.raises(InputError) as caught:
        train_calculator.main([*folder, "--mesh", "four"])
    assert str(caught.value) == (
        "Argument `--mesh` must be like data=4,state=2 or state=2, but is 'four'."
    )
    there = jax.device_count()
    with pytest.raises(InputError) as caught:
        train_calculator.main([*folder, "--mesh", f"data={there},state=2"])
    assert str(caught.value) == (
        f"Argument `--mesh` must have at most {there} devices in all, as many as JAX finds, but "
        f"has {2 * there}; XLA_FLAGS=--xla_force_host_platform_device_count={2 * there} "
        "makes so many of a CPU."
    )
    assert not list(tmp_path.iterdir())
