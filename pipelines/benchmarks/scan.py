"""An epoch of a scan's member, compared with an epoch of a single run and a scan on stock layers.

It runs in its own process, since a scan on a CPU has one device for each core, and the number of
devices of a process cannot be changed.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.benchmarks.training import Measured, epoch_data, interleaved
from qnn_jax.configs import TrainingConfig
from qnn_jax.errors import InputError
from qnn_jax.training.task import HYBRID

_MEMBERS = 16
#: Members that a device trains in parallel: their activations fit into a core's caches.
_AT_ONCE = 4
_IMAGES = 1920  # 30 steps: a scan on stock layers needs minutes for a whole epoch


def scan(rounds: int, data_dir: Path | None, manual_dir: Path | None) -> dict[str, Any]:
    """Seconds of a member's epoch: alone, in a scan of 16, and in one on stock layers."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scan.json"
        words = [str(rounds), str(data_dir or ""), str(manual_dir or ""), str(out)]
        command = [sys.executable, "-m", "pipelines.benchmarks.scan", *words]
        if status := subprocess.run(command, check=False).returncode:
            sys.exit(status)  # the error was printed
        found: dict[str, Any] = json.loads(out.read_text())
    return found


def _measure(rounds: int, data_dir: Path | None, manual_dir: Path | None) -> dict[str, Any]:
    import jax

    # For a CPU only; this must be set before JAX initialises its devices.
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from qnn_jax.training import (
        fit_epoch,
        fit_population_epoch,
        init_population,
        init_state,
    )

    devices = jax.devices()
    mesh = Mesh(np.array(devices[: math.gcd(len(devices), _MEMBERS)]), ("members",))
    train, one = epoch_data(_IMAGES, data_dir, manual_dir)
    few, names = min(_AT_ONCE, _MEMBERS // mesh.size), (HYBRID,)
    everywhere = jax.device_put((jnp.asarray(0), train, one), NamedSharding(mesh, PartitionSpec()))
    key, epoch = jax.random.key(0), jnp.asarray(0)
    keys = jax.vmap(jax.random.key)(jnp.arange(_MEMBERS))
    settings = TrainingConfig(epochs=rounds)
    hybrid = Measured(training=settings)
    stock = Measured(training=settings, what="stock")
    numbers = {
        "training.learning_rate": jnp.full(_MEMBERS, 5e-3),
        "training.weight_decay": jnp.full(_MEMBERS, 0.1),
    }

    def alone(task: Measured) -> Callable[[], Any]:
        state = init_state(task, names, key, train.inputs[:1])
        compiled = fit_epoch.lower(task, names, state, key, epoch, train, one).compile()
        return lambda: compiled(jax.tree.map(jnp.copy, state), key, epoch, train, one)

    def together(task: Measured, order: Any) -> Callable[[], Any]:
        state = init_population(task, names, keys, numbers, train.inputs[:1], mesh)
        compiled = fit_population_epoch.lower(
            task, names, state, order, numbers, *everywhere, mesh=mesh, at_once=few
        ).compile()
        given = jax.device_put((order, numbers), compiled.input_shardings[0][1:3])
        return lambda: compiled(jax.tree.map(jnp.copy, state), *given, *everywhere)

    name = f"a scan of {_MEMBERS}"
    programs: Mapping[str, tuple[int, Callable[[], Any]]] = {
        "a single run": (1, alone(hybrid)),
        name: (_MEMBERS, together(hybrid, key)),
        f"{name} seeds": (_MEMBERS, together(hybrid, keys)),
        f"{name}, stock nn.Conv": (_MEMBERS, together(stock, key)),
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
