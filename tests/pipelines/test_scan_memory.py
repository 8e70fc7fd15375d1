"""The memory of a member by formula, beside what XLA says of the compiled program."""

import jax
import jax.numpy as jnp
import pytest

from pipelines.scan_memory import at_once, member_bytes
from qnn_jax.errors import InputError
from qnn_jax.models import HybridClassifier, ModelConfig
from qnn_jax.simulate.preflight import memory_bytes
from qnn_jax.training import (
    Examples,
    Knobs,
    Task,
    TrainingConfig,
    fit_population_epoch,
    init_population,
)


def test_the_formula_bounds_what_xla_takes() -> None:
    images = jax.ShapeDtypeStruct((1000, 28, 28), jnp.uint8)
    data = Examples(images, jax.ShapeDtypeStruct((1000,), jnp.int32))
    config = TrainingConfig(epochs=2, batch_size=64)
    task = Task.of({"hybrid": HybridClassifier(ModelConfig(), 2)}, config, 1000)
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    state = jax.eval_shape(
        lambda keys: init_population(task, keys, Knobs(), jnp.zeros((1, 28, 28), jnp.uint8)), keys
    )
    program = fit_population_epoch.lower(
        task, state, keys, Knobs(), jnp.asarray(0), data, data
    ).compile()
    taken = program.memory_analysis().temp_size_in_bytes / 2
    assert taken <= member_bytes(task, images) <= 20 * taken


def test_as_many_at_once_as_fit() -> None:
    assert at_once(1, 100, 7) == 7
    assert at_once(1, 3, 7) == 3
    half = memory_bytes() // 2 // jax.local_device_count()
    assert at_once(half // 2, 100, 7) == 2
    assert 1 <= at_once(1, 100, 0) <= 100
    with pytest.raises(
        InputError, match=r"a single member takes about .* GiB and a device may use"
    ):
        at_once(half + 1, 100, 0)
