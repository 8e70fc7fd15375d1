"""An epoch of a scan's member, beside the epoch of a single run and a scan on stock layers."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.benchmarks.training import interleaved, stock_network

if TYPE_CHECKING:
    import flax.linen as nn

_MEMBERS = 16
_IMAGES = 1920  # 30 steps: a scan on stock layers needs minutes for a whole epoch


def scan(rounds: int, data_dir: Path | None, manual_dir: Path | None) -> dict[str, Any]:
    """Seconds of a member's epoch: alone, in a scan of 16, and in one on stock layers."""
    import jax
    import jax.numpy as jnp

    from pipelines.training_run import split
    from qnn_jax.data import load_fashion_mnist, progress_bar
    from qnn_jax.models import HybridClassifier, ModelConfig
    from qnn_jax.training import (
        Examples,
        Knobs,
        Task,
        TrainingConfig,
        fit_epoch,
        fit_population_epoch,
        init_population,
        init_state,
    )

    with progress_bar() as progress:
        dataset = load_fashion_mnist(data_dir, manual_dir, progress).select((0, 1))
    train = split(dataset, 0, 0, _IMAGES).train
    one = Examples(train.images[:1], train.labels[:1])  # the epoch alone is to be measured
    keys, epoch = jax.vmap(jax.random.key)(jnp.arange(_MEMBERS)), jnp.asarray(0)
    knobs = Knobs(learning_rate=jnp.full(_MEMBERS, 5e-3), weight_decay=jnp.full(_MEMBERS, 0.1))

    def task(network: nn.Module) -> Task:
        return Task.of({"network": network}, TrainingConfig(epochs=rounds), _IMAGES)

    def alone(network: nn.Module) -> Callable[[], Any]:
        state = init_state(task(network), keys[0], train.images)
        compiled = fit_epoch.lower(task(network), state, keys[0], epoch, train, one).compile()
        return lambda: compiled(jax.tree.map(jnp.copy, state), keys[0], epoch, train, one)

    def together(network: nn.Module) -> Callable[[], Any]:
        state = init_population(task(network), keys, knobs, train.images)
        compiled = fit_population_epoch.lower(
            task(network), state, keys, knobs, epoch, train, one
        ).compile()
        return lambda: compiled(jax.tree.map(jnp.copy, state), keys, knobs, epoch, train, one)

    hybrid = HybridClassifier(ModelConfig(), 2)
    programs: Mapping[str, tuple[int, Callable[[], Any]]] = {
        "a single run": (1, alone(hybrid)),
        f"a scan of {_MEMBERS}": (_MEMBERS, together(hybrid)),
        f"a scan of {_MEMBERS}, stock nn.Conv": (_MEMBERS, together(stock_network())),
    }
    seconds = interleaved({name: program for name, (_, program) in programs.items()}, rounds)
    by_member = {name: seconds[name] / members for name, (members, _) in programs.items()}
    mine = by_member[f"a scan of {_MEMBERS}"]
    print(
        f"\nA member's epoch of {_IMAGES:,} images, batch 64, on {platform.machine()}, "
        f"jax {jax.__version__}, {jax.default_backend()}; median of {rounds} rounds\n"
    )
    print(f"{'within':<28}{'epoch s':>10}{'scan / it':>13}")
    rows = {}
    for name, value in by_member.items():
        rows[name] = {"member_epoch_seconds": value, "scan_over_this": mine / value}
        print(f"{name:<28}{value:>10.3f}{mine / value:>13.2f}")
    return {"jax": jax.__version__, "device": jax.devices()[0].device_kind, "epochs": rows}
