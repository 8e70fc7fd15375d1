"""2,000 images with 1,024 shots each: the executors compared with the usual ways in Qiskit.

Slow ways run once, and the slowest with a part of the images and scaled seconds, which the table
notes. The results of a way are compared with exact values before its time counts.
"""

from __future__ import annotations

import math
import os
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

IMAGES, SHOTS = 2000, 1024
NOISY = "FakeFez"
ROUNDS = 3  # at most: a round takes most of a minute


class Way(NamedTuple):
    """A way of running the test set.

    Attributes:
        run: from inputs (count, 2) to <ZZ>, shape (count,).
        images: how many it gets.
        noisy: whether it includes a device's errors.
        once: its first and only call is measured, including compilation.
        remark: its limitations.
    """

    run: Callable[[np.ndarray], np.ndarray]
    images: int = IMAGES
    noisy: bool = False
    once: bool = False
    remark: str = ""


def evaluation(rounds: int) -> dict[str, Any]:
    """Run every way in turn, round after round, and print the medians."""
    inputs = np.random.default_rng(0).uniform(2.2, 4.1, (IMAGES, 2)).astype(np.float32)
    ways, truth = every_way(inputs)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    deviations: dict[str, float] = {}
    for number in range(1 + min(rounds, ROUNDS)):
        for name, way in ways.items():
            if way.once and number:
                continue
            wall, cpu = time.monotonic(), time.process_time()
            found = way.run(inputs[: way.images])
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
            if number or way.once:  # otherwise the first round compiles, transpiles and builds
                scale = IMAGES / way.images
                seconds[name].append((wall * scale, cpu * scale))
            deviations[name] = float(np.sqrt(np.mean((found - truth[: way.images]) ** 2)))
            # 1,024 shots deviate by at most 1/32; the errors of a device are about as large.
            if not deviations[name] < (0.12 if way.noisy else 0.04):
                raise RuntimeError(f"{name} is {deviations[name]:.3f} away from the exact values.")
    print(
        f"{IMAGES:,} images with {SHOTS:,} shots, <ZZ> of the 2-qubit circuit; qiskit-aer "
        f"{version('qiskit-aer')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; median "
        f"of {min(rounds, ROUNDS)} rounds\n"
    )
    print(f"{'way':<36}{'wall s':>11}{'CPU s':>11}{'rms':>8}")
    rows = {}
    for name, way in ways.items():
        wall, cpu = (statistics.median(each) for each in zip(*seconds[name], strict=True))
        part = f"scaled up from {way.images:,}" if way.images < IMAGES else ""
        remark = "; ".join(filter(None, (way.remark, "once" if way.once else "", part)))
        rows[name] = {
            "seconds": wall,
            "cpu_seconds": cpu,
            "rms": deviations[name],
            "images": way.images,
            "remark": remark,
        }
        print(f"{name:<36}{wall:>11.3f}{cpu:>11.3f}{deviations[name]:>8.4f}   {remark}", flush=True)
    return {
        "images": IMAGES,
        "shots": SHOTS,
        "versions": {name: version(name) for name in ("qiskit", "qiskit-aer", "jax")},
        "load": os.getloadavg()[0],
        "ways": rows,
    }


def every_way(inputs: np.ndarray) -> tuple[dict[str, Way], np.ndarray]:
    """All ways by name, and the exact values of <ZZ>."""
    import jax
    from qiskit import transpile
    from qiskit.primitives import BackendEstimatorV2
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_aer import AerSimulator
    from qiskit_aer.primitives import EstimatorV2, SamplerV2

    from qnn_jax.bridge.aer_executor import THREADS, aer, table_of
    from qnn_jax.bridge.export import angle_columns, to_qiskit
    from qnn_jax.bridge.noise import fake_backend
    from qnn_jax.circuits.observables import observables_on
    from qnn_jax.executors import Executor, exact, sampled
    from qnn_jax.models import ModelConfig

    circuit = ModelConfig().circuit()
    observables = observables_on(2, "ZZ")
    weights = jax.numpy.asarray(np.random.default_rng(1).uniform(-1, 1, circuit.num_weights))
    key = jax.random.key(0)
    bare = to_qiskit(circuit)
    measured = bare.copy()
    measured.measure_all()
    columns = list(angle_columns(circuit).values())
    zz = SparsePauliOp("ZZ")
    # All use our thread settings: Aer's own are slow on a shared machine.
    ideal, device = AerSimulator(**THREADS), fake_backend(NOISY)
    precision = 1 / math.sqrt(SHOTS)
    isa = transpile(bare, device, optimization_level=3, seed_transpiler=0)

    def ours(executor: Executor) -> Callable[[np.ndarray], np.ndarray]:
        def run(part: np.ndarray) -> np.ndarray:
            values = executor(circuit, observables, jax.numpy.asarray(part), weights, key).values
            return np.asarray(values)[:, 0]

        return run

    def rows(part: np.ndarray) -> np.ndarray:
        return table_of(circuit, part, weights)[:, columns]

    def parity(counts: dict[str, int]) -> float:
        return sum((-1) ** key.count("1") * n for key, n in counts.items()) / SHOTS

    def one_job_each(backend: Any, ready: Any) -> Callable[[np.ndarray], np.ndarray]:
        def run(part: np.ndarray) -> np.ndarray:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return np.array(
                    [
                        parity(
                            backend.run(ready.assign_parameters(row), shots=SHOTS)
                            .result()
                            .get_counts()
                        )
                        for row in rows(part)
                    ]
                )

        return run

    def estimator(primitive: Any, ready: Any) -> Callable[[np.ndarray], np.ndarray]:
        observable = zz if ready.layout is None else zz.apply_layout(ready.layout)

        def run(part: np.ndarray) -> np.ndarray:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                job = primitive.run([(ready, observable, rows(part))], precision=precision)
                return np.asarray(job.result()[0].data.evs)

        return run

    def sampler(part: np.ndarray) -> np.ndarray:
        found = (
            SamplerV2.from_backend(ideal)
            .run([(measured, rows(part))], shots=SHOTS)
            .result()[0]
            .data.meas
        )
        return np.array([parity(found.get_counts(k)) for k in range(len(part))])

    ready = transpile(measured, device, optimization_level=3, seed_transpiler=0)
    ways = {
        "ours: sampled": Way(ours(sampled(SHOTS))),
        "ours: aer": Way(ours(aer(SHOTS, seed=0))),
        f"ours: aer, {NOISY}": Way(ours(aer(SHOTS, NOISY, seed=0)), noisy=True),
        "Aer, one job a circuit": Way(one_job_each(ideal, measured), 100),
        "Aer's SamplerV2, one PUB": Way(sampler),
        "Aer's EstimatorV2, one PUB": Way(
            estimator(EstimatorV2(), bare), remark="no shots: exact plus normal noise"
        ),
        "BackendEstimatorV2 on Aer": Way(estimator(BackendEstimatorV2(backend=ideal), bare), 500),
        f"{NOISY}, one job a circuit": Way(one_job_each(device, ready), 1, True, True),
        f"BackendEstimatorV2 on {NOISY}": Way(
            estimator(BackendEstimatorV2(backend=device), isa), noisy=True, once=True
        ),
    }
    truth = np.asarray(exact(circuit, observables, jax.numpy.asarray(inputs), weights).values)
    return ways, truth[:, 0]
