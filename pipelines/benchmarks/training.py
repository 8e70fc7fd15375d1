"""An epoch of training: the hybrid network compared with networks without a circuit."""

from __future__ import annotations

import dataclasses
import functools
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qnn_jax.configs import TrainingConfig
from qnn_jax.tasks.fashion import Fashion
from qnn_jax.training.task import HYBRID, Examples, Folders, Member

if TYPE_CHECKING:
    import flax.linen as nn


@functools.cache
def stock_network() -> nn.Module:
    """The same network without a circuit, with Flax's stock layers."""
    import flax.linen as nn
    import jax.numpy as jnp

    class StockNetwork(nn.Module):
        @nn.compact
        def __call__(self, images: Any, train: bool = False) -> Any:
            hidden = (images.astype(jnp.float32) / 255 - 0.5)[..., None] / 0.5
            for channels in (2, 16):
                hidden = nn.relu(nn.Conv(channels, (5, 5), padding="VALID")(hidden))
                hidden = nn.max_pool(hidden, (2, 2), strides=(2, 2))
            hidden = nn.relu(nn.Dense(64)(hidden.reshape(hidden.shape[0], -1)))
            return nn.Dense(1)(nn.Dense(2)(hidden))

    return StockNetwork()


@dataclasses.dataclass(frozen=True)
class Measured(Fashion):
    """Fashion with one network alone.

    Attributes:
        what: "quantum", "bypass", or "stock" for stock layers without a circuit.
    """

    what: str = "quantum"

    def members(self) -> tuple[Member, ...]:
        """That network."""
        from qnn_jax.models import HybridClassifier

        middle: Any = self.what
        if self.what == "stock":
            return (Member(HYBRID, stock_network()),)
        return (Member(HYBRID, HybridClassifier(self.model, 2, middle)),)


def epoch_data(
    images: int, data_dir: Path | None, manual_dir: Path | None
) -> tuple[Examples, Examples]:
    """The first `count` training images, all if it is 0, and a single one for validation.

    Only the epoch is measured.
    """
    import jax
    import jax.numpy as jnp

    from qnn_jax.data import progress_bar

    task = Fashion(train_images=images, validation_images=0)
    with progress_bar() as progress:
        train = task.load(Folders(data_dir, manual_dir), 0, progress).train
    train = jax.tree.map(jnp.asarray, train)
    return train, Examples(train.inputs[:1], train.targets[:1])


def training(rounds: int, data_dir: Path | None, manual_dir: Path | None) -> dict[str, Any]:
    """An epoch of the hybrid network compared with the same network without its circuit."""
    import jax
    import jax.numpy as jnp

    from qnn_jax.training import fit_epoch, init_state

    train, one = epoch_data(0, data_dir, manual_dir)
    key, epoch, names = jax.random.key(0), jnp.asarray(0), (HYBRID,)
    networks = {
        "hybrid": "quantum",
        "without circuit": "bypass",
        "stock, without circuit": "stock",
    }
    compile_seconds: dict[str, float] = {}
    programs: dict[str, Callable[[], Any]] = {}
    for name, what in networks.items():
        task = Measured(training=TrainingConfig(epochs=rounds), what=what)
        state = init_state(task, names, key, train.inputs[:1])
        began = time.monotonic()
        compiled = fit_epoch.lower(task, names, state, key, epoch, train, one).compile()
        compile_seconds[name] = time.monotonic() - began

        def run(compiled: Any = compiled, state: Any = state) -> Any:
            # Each call reuses the state's buffers, so each gets its own copy.
            copied = jax.tree.map(jnp.copy, state)
            return compiled(copied, key, epoch, train, one)

        programs[name] = run
    medians = interleaved(programs, rounds)
    print(
        f"An epoch of {train.targets.size:,} images, batch 64, on {platform.machine()}, "
        f"jax {jax.__version__}, {jax.default_backend()}; median of {rounds} rounds\n"
    )
    print(f"{'network':<26}{'compile s':>10}{'epoch s':>10}{'hybrid / it':>13}")
    rows = {}
    for name in networks:
        ratio = medians["hybrid"] / medians[name]
        rows[name] = {
            "compile_seconds": compile_seconds[name],
            "epoch_seconds": medians[name],
            "hybrid_over_this": ratio,
        }
        print(f"{name:<26}{compile_seconds[name]:>10.2f}{medians[name]:>10.3f}{ratio:>13.2f}")
    return {"jax": jax.__version__, "device": jax.devices()[0].device_kind, "networks": rows}


def interleaved(programs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each program; all run in turn in every round."""
    import statistics

    import jax

    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        jax.block_until_ready(program())  # the first call is not measured
    for _ in range(rounds):
        for name, program in programs.items():
            began = time.monotonic()
            jax.block_until_ready(program())
            seconds[name].append(time.monotonic() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}
