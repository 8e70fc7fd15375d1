"""What tuning through a learned twin repairs, on simulated devices with hidden errors.

A cell is a setting and a number, which draws the training, the device's hidden errors and its
counts. In each cell the network is trained exactly, one job of counts by Aer learns the device, and
the network is tuned through the learned errors, through the published ones, and on the device by
SPSA. All are scored with the exact expectation values of the true device: what they miss there is
systematic error, without any shot noise. The file is written after each cell, and a later call
continues from there.

The true device's expectation values and SPSA's jobs, of which hundreds are needed, are computed in
XLA, with the hidden errors taken from Aer's noise model.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from pipelines.benchmarks.hidden_device import HiddenDevice
from qnn_jax.bridge import noise_model
from qnn_jax.bridge.noise import Sublattice, sublattice
from qnn_jax.circuits import Circuit
from qnn_jax.circuits.bases import bases_of
from qnn_jax.circuits.observables import observables_on
from qnn_jax.configs import LeastSquaresConfig, TrainingConfig
from qnn_jax.errors import InputError
from qnn_jax.executors import Estimate, Executor, Expectations, exact, fit_affine, mitigated
from qnn_jax.executors.noise import NoisyRun, run_noisy
from qnn_jax.executors.shots import measured_at
from qnn_jax.hardware import DeviceTwin, LearnSettings, Ledger, Visit, learn_device
from qnn_jax.noise import NoiseModel
from qnn_jax.runs import write_json_atomic
from qnn_jax.stats import mean_interval, paired_t_test
from qnn_jax.studies.tuning import Tuning, tune, tune_on_device, weights_as_inputs
from qnn_jax.tasks import Calculator, Trained, train
from qnn_jax.tasks.pooled import Pooled
from qnn_jax.tasks.sine import Sine
from qnn_jax.training.task import Folders, Metric, Splits

#: Two chips with CZ and one with CX.
BACKENDS = ("FakeFez", "FakeMarrakesh", "FakeSantiagoV2")
#: The calibration job, and the anchors of the correction of scale and shift: training examples, as
#: many as in `make eval-hardware`. Both have the same number of shots.
BUDGET_SECONDS, SHOTS, ANCHORS = 40.0, 4096, 100
#: SPSA's learning rate, the best of 0.005, 0.02, 0.05, 0.1 and 0.3 on one device; after how many
#: jobs it is looked at, and their shots.
RATE, JOBS, JOB_SHOTS = 0.02, (20, 80, 320), 1024
#: None and corrections of a device, by their names in `qnn_jax.studies.hardware.ROWS`.
WAYS = ("plain", "recalibrated", "tuned_published", "tuned_learned", "tuned_device")


class Setting(NamedTuple):
    """Where a device's systematic error matters.

    Attributes:
        task: what is learned.
        tuning: through the twin.
        jobs: the most of SPSA.
    """

    task: Any
    tuning: Tuning = Tuning()
    jobs: int = JOBS[-1]


SETTINGS: Mapping[str, Setting] = {
    "calculator": Setting(
        Calculator(
            training=LeastSquaresConfig(epochs=10, batch_size=128, restarts=8), baseline_2022=0
        )
    ),
    "pooled": Setting(
        Pooled(
            train_images=1000,
            validation_images=0,
            training=TrainingConfig(
                epochs=20, batch_size=16, learning_rate=0.02, weight_decay=0.0, shift=0, flip=False
            ),
        ),
        Tuning(steps=200, batch_size=64),
        80,
    ),
    "sine": Setting(Sine()),
}


@dataclass(frozen=True, eq=False)
class TrueDevice:
    """A device's true probabilities as an executor of whole jobs.

    Attributes:
        transpiled: the circuit in its gates.
        measured: the qubits that are read.
        noise: its true errors.
        key: of its counts.
        shots: None for exact expectation values.
        jobs: those that were drawn, by their inputs: as the ledger does, it keeps them.
    """

    transpiled: Circuit
    measured: tuple[int, ...]
    noise: NoiseModel
    key: Any
    shots: int | None = JOB_SHOTS
    jobs: dict[bytes, Expectations] = field(default_factory=dict)

    @property
    def exactly(self) -> Executor:
        """The same without shots."""
        return replace(self, shots=None)

    def __call__(
        self, circuit: Circuit, observables: Any, inputs: Any, weights: Any, key: Any = None
    ) -> Expectations:
        """The job of these inputs."""
        del key
        whole = self.transpiled if circuit.num_weights else weights_as_inputs(self.transpiled)
        bases = bases_of(observables_on(circuit.num_qubits, observables))
        parts = tuple(measured_at(whole, self.measured, basis) for basis in bases)
        if self.shots is None:
            return run_noisy(parts, self.noise, NoisyRun(), inputs, weights, None)
        name = np.asarray(inputs).tobytes()
        if name not in self.jobs:
            draw = jax.random.fold_in(self.key, len(self.jobs))
            run = NoisyRun(self.shots)
            self.jobs[name] = run_noisy(parts, self.noise, run, inputs, weights, draw)
        return self.jobs[name]


def true_device(device: HiddenDevice, found: DeviceTwin, key: Any) -> TrueDevice:
    """The probabilities of the device behind a twin, hidden errors included."""
    qubits = found.content["qubits"]
    where = Sublattice((), qubits, sublattice(device.backend.target, qubits))
    noise = noise_model(device.noise(where), range(len(qubits)))
    return TrueDevice(found.transpiled, found.content["measured"], noise, key)


def measured_cell(setting: Setting, number: int, folders: Folders) -> dict[str, Any]:
    """Train, learn, tune in all ways, and score on the true device."""
    times = {}
    began = time.process_time()

    def done(what: str) -> None:
        nonlocal began
        times[what] = time.process_time() - began
        began = time.process_time()

    name = BACKENDS[number % len(BACKENDS)]
    device = HiddenDevice(name, number, number)
    trained = train(setting.task, number, folders=folders)
    splits = trained.splits(folders)
    done("train")
    with tempfile.TemporaryDirectory() as folder:
        learned = learn_device(
            Visit(device, Ledger(Path(folder), "0" * 64)),
            trained.circuit,
            trained.weights,
            trained.encode(splits.train.inputs[:1000]),
            LearnSettings(shots=SHOTS, budget_seconds=BUDGET_SECONDS, seed=number),
            "learn",
        )
    assert learned is not None
    found = learned.twin
    done("learn")
    models = {"plain": trained}
    for way in ("published", "learned"):
        executor = found.executor(published=way == "published")
        models[f"tuned_{way}"] = tune(trained, splits, executor, setting.tuning).trained
        done(way)
    truth = true_device(device, found, jax.random.key(number))
    goal = score(models["tuned_learned"], splits, truth)
    jobs, scores, models["tuned_device"] = by_spsa(trained, splits, truth, setting, goal)
    done("on the device")
    rows = {way: score(model, splits, truth) for way, model in models.items()}
    anchors = trained.encode(splits.train.inputs[:ANCHORS])
    seen, known = (trained.run(anchors, one) for one in (replace(truth, shots=SHOTS), exact))
    affine = fit_affine(
        Estimate(np.asarray(seen.values), np.asarray(seen.stderr)), np.asarray(known.values)
    )
    rows["recalibrated"] = score(trained, splits, mitigated(truth.exactly, affine=affine))
    rows["exact"] = score(trained, splits, exact)
    done("score")
    return {
        "backend": name,
        **rows,
        "learn_seconds_predicted": sum(
            (entry.intent or {})["estimated_seconds"] for entry in learned.entries
        ),
        "held_out_before": found.before.ratio,
        "held_out_after": found.after.ratio,
        "p_value": found.after.p_value,
        "jobs": jobs,
        "spsa": scores,
        "cpu_seconds": times,
    }


def score(trained: Trained, splits: Splits, executor: Executor | TrueDevice) -> float:
    """The metric of up to a thousand test examples; of a true device without shots."""
    if isinstance(executor, TrueDevice):
        executor = executor.exactly
    every = max(1, len(splits.test.targets) // 1000)
    outputs = trained.outputs(splits.test.inputs[::every], executor)
    targets = np.asarray(splits.test.targets[::every])
    return float(np.mean(trained.task.metric.of_each(outputs, targets)))


def by_spsa(
    trained: Trained, splits: Splits, device: TrueDevice, setting: Setting, goal: float
) -> tuple[int | None, dict[str, float], Trained]:
    """The number of jobs after which SPSA is as good as `goal`, its scores, and its last model."""
    sign = trained.task.metric.sign
    scores: dict[str, float] = {}
    reached = None
    for jobs in JOBS:
        if jobs > setting.jobs or reached is not None:
            break
        model = tune_on_device(trained, splits, device, jobs=jobs, learning_rate=RATE).trained
        scores[str(jobs)] = score(model, splits, device)
        if sign * scores[str(jobs)] >= sign * goal:
            reached = jobs
    return reached, scores, model


def excess(cell: Mapping[str, Any], way: str, metric: Metric) -> float:
    """How much worse a way is than the exact circuit before it was tuned."""
    return float(metric.sign * (cell["exact"] - cell[way]))


def summary(cells: Sequence[Mapping[str, Any]], metric: Metric) -> dict[str, Any]:
    """Means over cells, the parts that are removed, and paired tests of the learned twin."""
    left = {way: np.array([excess(cell, way, metric) for cell in cells]) for way in WAYS}
    rows = {}
    for way, values in left.items():
        rows[way] = {
            "score": float(np.mean([cell[way] for cell in cells])),
            "excess": float(values.mean()),
            "excess_interval": mean_interval(values) if len(values) > 1 else None,
            "removed": float(1 - values.mean() / left["plain"].mean()),
        }
    jobs = [cell["jobs"] for cell in cells]
    return {
        "cells": len(cells),
        "metric": metric.name,
        "exact": float(np.mean([cell["exact"] for cell in cells])),
        "rows": rows,
        "removed_of_recalibrated": float(
            1 - left["tuned_learned"].mean() / left["recalibrated"].mean()
        ),
        # Paired by cells; one has no spread.
        "p": {
            way: paired_t_test(left["tuned_learned"], left[way]) if len(cells) > 1 else None
            for way in WAYS
            if way != "tuned_learned"
        },
        # Jobs of SPSA for what one job and the twin give; None: more than were tried.
        "jobs": jobs,
        "most_jobs": max(int(jobs) for cell in cells for jobs in cell["spsa"]),
        "learn_seconds_predicted": max(cell["learn_seconds_predicted"] for cell in cells),
        "held_out_before": [cell["held_out_before"] for cell in cells],
        "held_out_after": [cell["held_out_after"] for cell in cells],
    }


def twin(
    path: Path,
    seeds: int,
    data_dir: Path | None,
    manual_dir: Path | None,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Run the cells that the file lacks, print the tables, return the file's content."""
    for name in names:
        if name not in SETTINGS:
            raise InputError(
                f"Argument `families` must be among {', '.join(SETTINGS)}, but has {name}."
            )
    found = json.loads(path.read_text("utf-8")) if path.exists() else {"cells": {}, "table": {}}
    folders = Folders(data_dir, manual_dir)
    for name, setting in SETTINGS.items():
        if names and name not in names:
            continue
        cells = found["cells"].setdefault(name, {})
        for number in range(seeds):
            if str(number) in cells:
                continue
            began = time.monotonic()
            cells[str(number)] = measured_cell(setting, number, folders)
            found["table"][name] = summary(list(cells.values()), setting.task.metric)
            write_json_atomic(path, found)
            print(f"{name}, {number}: {time.monotonic() - began:.0f} s", flush=True)
    for name, table in found["table"].items():
        print(f"\n{name}, {table['cells']} devices, {table['metric']}: exact {table['exact']:.4f}")
        for way, row in table["rows"].items():
            print(
                f"  {way:<16} {row['score']:.4f}, systematic {row['excess']:.4f}, "
                f"removed {row['removed']:.0%}"
            )
        jobs = ", ".join(str(n) if n else f"more than {table['most_jobs']}" for n in table["jobs"])
        print(f"  SPSA needs as many jobs: {jobs}")
    return dict(found)
