"""The file of a device's learned noise: device.json, sealed by a sha256. Loads no JAX."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypedDict

from qnn_jax.circuits.checks import path_of
from qnn_jax.errors import InputError
from qnn_jax.runs.files import normalised, read_json, write_json_atomic
from qnn_jax.runs.schema import from_json

#: Raised when the content changes its meaning.
FORMAT = 2
#: The way out if the file is missing or has been changed.
AGAIN = "make it again with `make learn-device`"


class ChannelJson(TypedDict):
    """A channel: what follows a gate on these qubits; or the readout matrix of a qubit."""

    gate: str
    qubits: tuple[int, ...]
    matrix: list[list[float]]


class NoiseJson(TypedDict):
    """A noise model's numbers."""

    gates: list[ChannelJson]
    readout: list[ChannelJson]


class ParameterJson(TypedDict):
    """A parameter with its standard deviations: after the fit, and of the prior."""

    name: str
    kind: str
    value: float
    stderr: float
    spread: float


class CheckJson(TypedDict):
    """A prediction of held-out settings, as `qnn_jax.noise.learning.Check`."""

    settings: int
    chi_square: float
    degrees: float
    p_value: float
    ratio: float
    left: float


class TwinJson(TypedDict):
    """The content of device.json."""

    format: int  # `FORMAT`
    device: str  # its name
    simulated: bool  # whether no quantum computer ran
    calibration_date: str | None  # the device's last calibration before it was learned, if known
    job_ids: tuple[str, ...]  # of the job that measured it
    circuit_sha256: str  # of the circuit that it is for
    transpiled: dict[str, Any]  # that circuit in the device's gates, as JSON
    measured: tuple[int, ...]  # the local qubit of each qubit of the circuit
    layout: tuple[int, ...]  # the device's qubit of each qubit of the circuit
    qubits: tuple[int, ...]  # the device's number of each local qubit
    noise: NoiseJson  # the learned model, on local qubits
    published: NoiseJson  # the model with which the fit began
    parameters: list[ParameterJson]  # of the fit
    covariance: list[list[float]]  # of their values
    before: CheckJson  # how the published model predicts held-out settings
    after: CheckJson  # how the learned model does


def is_twin_file(noise: str) -> bool:
    """Whether a name of noise is a path to such a file."""
    return noise.endswith(".json")


def seal_of(content: Any) -> str:
    """The sha256 of a content without its seal."""
    kept = {name: value for name, value in normalised(content).items() if name != "sha256"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def write_twin(path: Path, content: TwinJson) -> None:
    """Write it, sealed."""
    write_json_atomic(path, {**content, "sha256": seal_of(content)})


def read_twin(path: Path | str, argument: str = "noise") -> tuple[TwinJson, str]:
    """The content of such a file, which was not changed, and its seal."""
    path = path_of(argument, path)
    found = read_json(path, AGAIN)
    if found is None:
        raise InputError(
            f"Argument `{argument}` must name a device.json that exists, but {path} does not; "
            f"{AGAIN}."
        )
    seal = seal_of(found)
    if found.get("format") != FORMAT or found.get("sha256") != seal:
        raise InputError(
            f"File {path} must be a device.json of format {FORMAT} as it was written, but its "
            f"format or its sha256 is another: {AGAIN}."
        )
    return from_json(TwinJson, found, f"File {path}", AGAIN), seal
