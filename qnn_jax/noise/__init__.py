"""Channels and the noise of devices as values, and their simulation. No Qiskit here."""

from qnn_jax.noise.channels import (
    amplitude_damping,
    coherent,
    compose,
    depolarizing,
    kraus,
    pauli,
    phase_damping,
    thermal_relaxation,
)
from qnn_jax.noise.learning import Experiment, LearnedNoise, learn_noise
from qnn_jax.noise.model import Idle, NoiseModel

__all__ = [
    "Experiment",
    "Idle",
    "LearnedNoise",
    "NoiseModel",
    "amplitude_damping",
    "coherent",
    "compose",
    "depolarizing",
    "kraus",
    "learn_noise",
    "pauli",
    "phase_damping",
    "thermal_relaxation",
]
