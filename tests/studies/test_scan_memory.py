"""The memory of a member by formula, compared with XLA's for the compiled program."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from qnn_jax.configs import LeastSquaresConfig, TrainingConfig
from qnn_jax.errors import InputError
from qnn_jax.simulate.preflight import memory_bytes
from qnn_jax.studies.memory import at_once, member_bytes
from qnn_jax.tasks import Calculator, Fashion
from qnn_jax.training.epochs import fit_population_epoch, init_population
from qnn_jax.training.task import HYBRID, Examples

IMAGES = Examples(
    jax.ShapeDtypeStruct((1000, 28, 28), jnp.uint8), jax.ShapeDtypeStruct((1000,), jnp.int32)
)
POINTS = Examples(
    jax.ShapeDtypeStruct((1000, 2), jnp.float32), jax.ShapeDtypeStruct((1000,), jnp.float32)
)
FASHION = Fashion(training=TrainingConfig(epochs=2, batch_size=64))
CALCULATOR = Calculator(training=LeastSquaresConfig(epochs=2, batch_size=64, restarts=16))


@pytest.mark.parametrize(("task", "data"), [(FASHION, IMAGES), (CALCULATOR, POINTS)])
@pytest.mark.slow
def test_the_formula_bounds_what_xla_takes(task, data: Examples) -> None:
    names = (HYBRID,)
    keys = jax.eval_shape(lambda: jax.vmap(jax.random.key)(jnp.arange(2)))
    one = jax.ShapeDtypeStruct((1, *data.inputs.shape[1:]), data.inputs.dtype)
    state = jax.eval_shape(lambda k, x: init_population(task, names, k, {}, x), keys, one)
    epoch = jax.ShapeDtypeStruct((), jnp.int32)
    program = fit_population_epoch.lower(task, names, state, keys, {}, epoch, data, data).compile()
    taken = program.memory_analysis().temp_size_in_bytes / 2
    assert taken <= member_bytes(task, names, data, data) <= 20 * taken


@pytest.mark.slow
def test_larger_batches_and_more_networks_take_more() -> None:
    def of(task, *names: str) -> int:
        return member_bytes(task, names, IMAGES, IMAGES)

    large = dataclasses.replace(FASHION.training, batch_size=1000)
    deep = dataclasses.replace(FASHION.model, num_qubits=12)
    assert of(dataclasses.replace(FASHION, model=deep), HYBRID) > 2 * of(FASHION, HYBRID)
    assert of(FASHION, HYBRID, "classical") > of(FASHION, HYBRID)
    assert of(dataclasses.replace(FASHION, training=large), HYBRID) > 1.5 * of(FASHION, HYBRID)


def test_as_many_at_once_as_fit() -> None:
    assert at_once(1, 100, 7) == 7
    assert at_once(1, 3, 7) == 3
    half = memory_bytes() // 2 // jax.local_device_count()
    assert at_once(half // 2, 100, 7) == 2
    assert 1 <= at_once(1, 100, 0) <= 100
    with pytest.raises(
        InputError, match=r"a single member needs about .* GiB and a device may use"
    ):
        at_once(half + 1, 100, 0)
