"""An epoch of a scan's member, beside the epoch of a single run and a scan on stock layers.

A process of its own, since a scan on a CPU has one device for each core, and the number of devices
is settled once in a process.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.benchmarks.training import interleaved, stock_network
from qnn_jax.errors import InputError

if TYPE_CHECKING:
    import flax.linen as nn

_MEMBERS = 16
_IMAGES = 1920  # 30 steps: a scan on stock layers needs minutes for a whole epoch


def scan(rounds: int, data_dir: Path | None, manual_dir: Path | None) -> dict[str, Any]:
    """Seconds of a member's epoch: alone, in a scan of 16, and in one on stock layers."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scan.json"
        words = [str(rounds), str(data_dir or ""), str(manual_dir or ""), str(out)]
        command = [sys.executable, "-m", "pipelines.benchmarks.scan", *words]
        if status := subprocess.run(command, check=False).returncode:
            sys.exit(status)  # it has said why
        found: dict[str, Any] = json.loads(out.read_text())
    return found


def _measure(rounds: int, data_dir: Path | None, manual_dir: Path | None) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from pipelines.scan_devices import join
    from pipelines.scan_memory import at_once, member_bytes
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

    with join(0, None, 1, 0) as cluster:
        with progress_bar() as progress:
            dataset = load_fashion_mnist(data_dir, manual_dir, progress).select((0, 1))
        train = split(dataset, 0, 0, _IMAGES).train
        one = Examples(train.images[:1], train.labels[:1])  # the epoch alone is to be measured
        everywhere = cluster.repeat((jnp.int32(0), train, one))
        key, epoch, mesh = jax.random.key(0), jnp.asarray(0), cluster.mesh
        keys = cluster.keys(jnp.arange(_MEMBERS))
        same_batches = cluster.keys(jnp.asarray(0))
        numbers = {"learning_rate": 5e-3, "weight_decay": 0.1}
        knobs = Knobs(**{name: jnp.full(_MEMBERS, value) for name, value in numbers.items()})
        hybrid = HybridClassifier(ModelConfig(), 2)
        tasks = {
            network: Task.of({"network": network}, TrainingConfig(epochs=rounds), _IMAGES)
            for network in (hybrid, stock_network())
        }
        needed = member_bytes(tasks[hybrid], train.images)
        few = at_once(needed, _MEMBERS // mesh.size, 0)

        def alone(network: nn.Module) -> Callable[[], Any]:
            state = init_state(tasks[network], key, train.images)
            compiled = fit_epoch.lower(tasks[network], state, key, epoch, train, one).compile()
            return lambda: compiled(jax.tree.map(jnp.copy, state), key, epoch, train, one)

        def together(network: nn.Module, order: Any) -> Callable[[], Any]:
            task, mine = tasks[network], cluster.spread(knobs)
            images = cluster.repeat(train.images[:1])
            state = init_population(task, keys, mine, images, mesh)
            compiled = fit_population_epoch.lower(
                task, state, order, mine, *everywhere, mesh=mesh, at_once=few
            ).compile()
            return lambda: compiled(jax.tree.map(jnp.copy, state), order, mine, *everywhere)

        name = f"a scan of {_MEMBERS}"
        programs: Mapping[str, tuple[int, Callable[[], Any]]] = {
            "a single run": (1, alone(hybrid)),
            name: (_MEMBERS, together(hybrid, same_batches)),
            f"{name} seeds": (_MEMBERS, together(hybrid, keys)),
            f"{name}, stock nn.Conv": (_MEMBERS, together(list(tasks)[1], same_batches)),
        }
        seconds = interleaved({name: program for name, (_, program) in programs.items()}, rounds)
    by_member = {which: seconds[which] / members for which, (members, _) in programs.items()}
    print(
        f"\nA member's epoch of {_IMAGES:,} images, batch 64, on {platform.machine()}, "
        f"jax {jax.__version__}, {mesh.size} devices ({jax.default_backend()}), {few} members at "
        f"once each; median of {rounds} rounds\n"
    )
    print(f"{'within':<28}{'epoch s':>10}{'scan / it':>13}")
    rows = {}
    for which, value in by_member.items():
        ratio = by_member[name] / value
        rows[which] = {"member_epoch_seconds": value, "scan_over_this": ratio}
        print(f"{which:<28}{value:>10.4f}{ratio:>13.2f}")
    return {"jax": jax.__version__, "device": jax.devices()[0].device_kind, "epochs": rows}


if __name__ == "__main__":
    from qnn_jax.runs import write_json_atomic

    _rounds, _data, _manual, _out = sys.argv[1:]
    try:
        _found = _measure(
            int(_rounds),
            Path(_data) if _data else None,
            Path(_manual) if _manual else None,
        )
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    write_json_atomic(Path(_out), _found)
