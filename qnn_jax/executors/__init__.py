"""Executors: the places where a circuit's expectation values are taken.

An executor is any callable of the type `Executor`. Layers, networks, `Trained` and evaluations
take any of them, and nothing else of a model knows where its circuit runs. Further ones need
Qiskit: `qnn_jax.bridge.aer`. Importing this package loads no JAX.
"""

from typing import TYPE_CHECKING

from qnn_jax.executors.counts import Counts, Estimate, estimate
from qnn_jax.executors.executor import Executor, Expectations
from qnn_jax.executors.mitigation import Affine, fit_affine, mitigated
from qnn_jax.executors.readout import Readout, calibration_states, fit_readout
from qnn_jax.executors.shot_noise import flip_probabilities, shots_to_settle
from qnn_jax.lazy import lazy

if TYPE_CHECKING:
    from qnn_jax.executors.noise import NoisyRecord, noisy
    from qnn_jax.executors.shots import sampled
    from qnn_jax.executors.statevector import exact

__all__ = [
    "Affine",
    "Counts",
    "Estimate",
    "Executor",
    "Expectations",
    "NoisyRecord",
    "Readout",
    "calibration_states",
    "estimate",
    "exact",
    "fit_affine",
    "fit_readout",
    "flip_probabilities",
    "mitigated",
    "noisy",
    "sampled",
    "shots_to_settle",
]


# These run in JAX, which loads when they are asked for.
__getattr__, *_ = lazy(
    __name__,
    {"noise": ("NoisyRecord", "noisy"), "shots": ("sampled",), "statevector": ("exact",)},
)


def __dir__() -> list[str]:
    return sorted(__all__)
