"""Training where the circuit runs elsewhere: with shots, with the errors of a device."""

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax
import numpy as np
import pytest
from toy_tasks import Dots, Wave, changed

from pipelines import training as commands
from pipelines.flags import words_of
from pipelines.train_fashion import FashionFlags
from qnn_jax import Circuit, InputError, bridge
from qnn_jax.configs import ExecutionConfig
from qnn_jax.executors import exact, sampled
from qnn_jax.tasks import Calculator, Fashion, train
from qnn_jax.training import HYBRID, Member, execution
from qnn_jax.training.execution import check_execution, executor_of, in_words, placed


@dataclass(frozen=True)
class DotsElsewhere(Dots):
    execution: ExecutionConfig = ExecutionConfig("sampled", 64)
    name: ClassVar[str] = "dots-elsewhere"


@dataclass(frozen=True)
class WaveElsewhere(Wave):
    execution: ExecutionConfig = ExecutionConfig("noisy", None, "FakeYorktownV2")
    name: ClassVar[str] = "wave-elsewhere"


def same(one, other) -> bool:
    return all(map(np.array_equal, jax.tree.leaves(one.params), jax.tree.leaves(other.params)))


@pytest.mark.slow
def test_training_with_shots_repeats_and_is_not_that_without() -> None:
    few = changed(DotsElsewhere(), epochs=4)
    found, again, other = train(few, seed=1), train(few, seed=1), train(few, seed=1, order_seed=2)
    assert same(found, again)
    assert not same(found, other)
    assert not same(found, train(changed(Dots(), epochs=4), seed=1))
    assert found.summary["test_accuracy"] > 0.8
    assert found.summary["device"] == "circuit simulated with 64 shots, without noise"


@pytest.mark.slow
def test_every_step_and_the_validation_have_shots_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, ...]] = []

    def watching(circuit, observables, inputs, weights, key):
        jax.debug.callback(
            lambda k: seen.append(tuple(np.asarray(k).tolist())), jax.random.key_data(key)
        )
        return sampled(8)(circuit, observables, inputs, weights, key)

    monkeypatch.setattr(execution, "executor_of", lambda config: watching)
    task = changed(DotsElsewhere(execution=ExecutionConfig("sampled", 8)), epochs=2)
    train(task, seed=3)
    jax.effects_barrier()
    steps = task.trainer.steps(len(task.load(None, 3, None).train.targets))
    # Of the one member with a circuit: its initialisation, each step, both validations, the test.
    assert len(set(seen)) == 1 + 2 * steps + 2 + 1


@pytest.mark.slow
def test_training_that_knows_its_device_errs_less_on_it() -> None:
    blind, aware = train(changed(Wave(), epochs=4)), train(changed(WaveElsewhere(), epochs=4))
    splits = aware.splits()
    device = bridge.noisy("FakeYorktownV2")

    def error(trained, executor) -> float:
        predicted = trained.predict(splits.test.inputs, executor)
        return float(np.abs(predicted - splits.test.targets).mean())

    assert error(blind, exact) < 1e-3
    assert error(aware, device) < 0.2 * error(blind, device)
    # What a run says is what the device would do.
    assert aware.summary["test_mean_l1"] == pytest.approx(error(aware, device), abs=1e-5)
    assert "errors of FakeYorktownV2, without shots" in aware.summary["device"]


@pytest.mark.slow
def test_least_squares_takes_shots() -> None:
    task = changed(WaveElsewhere(execution=ExecutionConfig("sampled", 2000)), epochs=4)
    found = train(task, seed=1)
    assert same(found, train(task, seed=1))
    assert 1e-4 < found.summary["test_mean_l1"] < 0.05


_MANY = """
import jax, jax.numpy as jnp
from qnn_jax.configs import ExecutionConfig, LeastSquaresConfig
from qnn_jax.tasks import Calculator
from qnn_jax.training import HYBRID, Folders, fit_population_epoch, init_population

training = LeastSquaresConfig(epochs=1, restarts=8, batch_size=0)
task = Calculator(
    points=30, baseline_2022=0, training=training, execution=ExecutionConfig("sampled", 64)
)
train = task.load(Folders(), 0, print).train
keys = jax.random.split(jax.random.key(0), 3)
state = init_population(task, (HYBRID,), keys, {}, train.inputs)
_, told = fit_population_epoch(task, (HYBRID,), state, keys, {}, jnp.asarray(0), train, train)
print(told[HYBRID]["loss"].shape, bool(jnp.isfinite(told[HYBRID]["loss"]).all()))
"""


@pytest.mark.slow
def test_members_restarts_and_points_take_shots() -> None:
    """In a process of its own: jaxlib 0.10's CPU code of sums over many axes can end it."""
    done = subprocess.run([sys.executable, "-c", _MANY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "(3, 8) True"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (("exact", 8), "`shots` must be left out where `executor` is exact, but is 8"),
        (("exact", None, "FakeFez"), "`noise` must be left out where `executor` is exact, but is"),
        (("sampled",), "`shots` must be given where `executor` is sampled"),
        (("sampled", 0), "`shots` must be an integer of at least 1, but is 0"),
        (("sampled", 8, "FakeFez"), "`noise` must be left out where `executor` is sampled"),
        (("noisy", 8), "`noise` must name a fake backend or a device.json where `executor` is"),
        (("noisy", 8, "a\0.json"), "`noise` must be a path, but is"),
        (("noisy", 8, "FakeFezz"), "`noise` must name one of .* did you mean FakeFez"),
        (("aer", 8), "`executor` must be one of 'exact', 'sampled', 'noisy', but is 'aer'"),
    ],
)
@pytest.mark.parametrize("make", [Fashion, Calculator])
def test_what_names_no_executor_is_refused(make, config, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument {message}"):
        make(execution=ExecutionConfig(*config)).check()


def test_a_network_that_takes_no_executor_is_refused() -> None:
    class Fixed(nn.Module):
        circuit: Circuit = Circuit(1)

    with pytest.raises(InputError, match=r"`executor` must be exact for a network without a field"):
        placed(DotsElsewhere(), Member(HYBRID, Fixed(), "fixed"))
    assert placed(Dots(), Member(HYBRID, Fixed(), "fixed")).network == Fixed()


def test_flags_say_where_the_circuit_runs() -> None:
    flags = ["--executor", "noisy", "--noise", "FakeFez", "--shots", "1024"]
    task, _ = commands.parse({"default": Fashion()}, FashionFlags(), flags)
    assert task == Fashion(execution=ExecutionConfig("noisy", 1024, "FakeFez"))
    assert sorted(words_of(task, Fashion())) == sorted(flags)
    assert executor_of(task.execution) is executor_of(task.execution)
    assert in_words(task.execution) == "simulated with the errors of FakeFez, with 1,024 shots"
    check_execution(task.execution)
