"""Training over a mesh gives the same model as on one device, and resumes on any other mesh."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh
from toy_tasks import Dots

from qnn_jax.configs import ExecutionConfig
from qnn_jax.errors import InputError
from qnn_jax.tasks import train

TESTS = Path(__file__).parents[1]

CODE = """
    import os
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    import json, pathlib, sys
    import jax, numpy as np
    from jax.sharding import AxisType
    from toy_tasks import Dots
    from qnn_jax.executors import statevector
    from qnn_jax.configs import ModelConfig, TrainingConfig
    from qnn_jax.runs import RunDirectory
    from qnn_jax.runs.loop import StoppedError
    from qnn_jax.tasks import train
    from qnn_jax.tasks.stored import NOT_OF_THE_RUN, Seeds, config_of

    task = Dots(
        model=ModelConfig(channels=(), hidden=(8,), num_qubits=4),
        training=TrainingConfig(epochs=2, batch_size=16, learning_rate=0.03, shift=0, flip=False),
    )

    def mesh(data, state):
        return jax.make_mesh((data, state), ("data", "state"), (AxisType.Auto,) * 2)

    seen, real = [], statevector.expectations_over

    def noted(circuit, sums, spread, *rest):
        seen.append(sorted(spread.mesh.shape.items()))
        return real(circuit, sums, spread, *rest)

    statevector.expectations_over = noted
    one = train(task, 3)
    assert not seen
    many = train(task, 3, mesh=mesh(4, 2))
    states = train(task, 3, mesh=jax.make_mesh((4,), ("any",), devices=jax.devices()[:4]))
    folder = pathlib.Path(sys.argv[1])
    config = config_of(task, Seeds(3), "dots")
    with RunDirectory.open(folder, "dots", config, resume_may_change=NOT_OF_THE_RUN) as run:
        try:
            train(task, 3, mesh=mesh(4, 2), run=run, stop=lambda: True)
        except StoppedError:
            pass
        again = train(task, 3, mesh=mesh(2, 4), run=run)

    def away(trained):
        pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(trained.params), strict=True)
        return max(float(np.max(np.abs(a - b))) for a, b in pairs)

    points = one.splits().test.inputs[:10]
    print(json.dumps({
        "seen": sorted(map(dict, {tuple(shape) for shape in seen}), key=str),
        "many": away(many),
        "states": away(states),
        "again": away(again),
        "predicted": float(np.max(np.abs(one.predict(points) - again.predict(points)))),
        "metrics": [t.summary["test_accuracy"] for t in (one, many, states, again)],
    }))
"""


@pytest.mark.slow
def test_the_same_model_on_any_mesh(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE), tmp_path],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["seen"] == [{"data": 2, "state": 4}, {"data": 4, "state": 2}, {"state": 4}]
    assert found["many"] < 1e-4
    assert found["states"] < 1e-4
    assert found["again"] < 1e-4
    assert found["predicted"] < 1e-4
    assert len(set(found["metrics"])) == 1


@dataclasses.dataclass(frozen=True)
class Sampled(Dots):
    execution: ExecutionConfig = ExecutionConfig("sampled", shots=10)


def test_what_a_training_cannot_run_on():
    types = (AxisType.Auto, AxisType.Auto)
    devices = np.array(jax.devices()[:1]).reshape(1, 1)
    with pytest.raises(InputError, match=r"`mesh` must be a jax.sharding.Mesh or None, but is 4"):
        train(Dots(), mesh=4)
    with pytest.raises(InputError, match=r'called "data" and "state", but has \(\'a\', \'b\'\)\.'):
        train(Dots(), mesh=Mesh(devices, ("a", "b"), axis_types=types))
    with pytest.raises(InputError, match="`mesh` must be left out where `executor` is sampled: "):
        train(Sampled(), mesh=Mesh(devices, ("data", "state"), axis_types=types))


@pytest.mark.slow
def test_a_training_over_a_mesh_is_tracked():
    devices = np.array(jax.devices()[:1]).reshape(1, 1)
    mesh = Mesh(devices, ("data", "state"), axis_types=(AxisType.Auto, AxisType.Auto))
    rows = []
    task = dataclasses.replace(
        Dots(), training=dataclasses.replace(Dots().training, epochs=2), train_count=32
    )
    train(task, mesh=mesh, track=rows.append)
    assert [row["epoch"] for row in rows] == [1, 2]
