"""The learned twin of a device: its noise on one transpiled circuit, as a file and an executor."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qnn_jax.bridge.certificate import circuit_hash
from qnn_jax.circuits import Circuit
from qnn_jax.circuits.arrays import as_numbers, finite_array
from qnn_jax.circuits.bases import bases_of
from qnn_jax.circuits.circuit import checked_circuit
from qnn_jax.circuits.observables import Observables, observables_on
from qnn_jax.errors import InputError
from qnn_jax.executors import Executor, Expectations
from qnn_jax.executors.noise import NoisyRun, run_noisy
from qnn_jax.executors.shots import measured_at
from qnn_jax.executors.statevector import checked_batch
from qnn_jax.hardware.twin_file import (
    AGAIN,
    FORMAT,
    ChannelJson,
    NoiseJson,
    TwinJson,
    read_twin,
    seal_of,
    write_twin,
)
from qnn_jax.noise import Experiment, NoiseModel
from qnn_jax.noise.learning import Check, LearnedNoise, NoiseFamily, check_noise


@dataclass(frozen=True, eq=False)
class DeviceTwin:
    """What is known of a device's noise on one circuit.

    Attributes:
        content: of device.json, checked.
        seal: its sha256; twins of the same seal are the same.
        transpiled: the circuit in the device's gates.
        noise: the learned model of the qubits in use.
        published: the model with which the fit began.
        covariance: of the fitted parameters, shape (parameters, parameters).
    """

    content: TwinJson
    seal: str
    transpiled: Circuit
    noise: NoiseModel
    published: NoiseModel
    covariance: np.ndarray

    @classmethod
    def load(cls, path: Path | str) -> DeviceTwin:
        """Read a device.json.

        Raises:
            InputError: if it does not exist, or is damaged, changed or of another format.
        """
        content, seal = read_twin(path, "path")
        try:
            count, size = len(content["qubits"]), len(content["parameters"])
            transpiled = Circuit.from_json(json.dumps(content["transpiled"]))
            places = content["measured"]
            asked = len(content["layout"])
            if (
                len(set(places)) < len(places)
                or not set(places) <= set(range(count))
                or len(places) != asked
            ):
                raise InputError(
                    f"`measured` must name a different local qubit below {count} for each of the "
                    f"{asked} in `layout`, but is {places}"
                )
            if transpiled.num_qubits != count:
                raise InputError(
                    f"`transpiled` must have as many qubits as `qubits` names, {count}, but has "
                    f"{transpiled.num_qubits}"
                )
            return cls(
                content,
                seal,
                transpiled,
                _noise_of(content["noise"], count),
                _noise_of(content["published"], count),
                finite_array("covariance", content["covariance"], (size, size)),
            )
        except InputError as error:
            raise InputError(f"File {path} cannot be used ({error}): {AGAIN}.") from None

    @property
    def before(self) -> Check:
        """How the published model predicts the held-out settings."""
        return Check(**self.content["before"])

    @property
    def after(self) -> Check:
        """How the learned model does."""
        return Check(**self.content["after"])

    def check_circuit(self, circuit: Circuit) -> None:
        """Refuse another circuit than that which was learned, by an InputError."""
        if circuit_hash(checked_circuit(circuit)) != self.content["circuit_sha256"]:
            raise InputError(
                "Argument `noise` must be a device.json of the circuit that runs, but "
                f"{self.content['device']} was learned for another circuit (sha256 "
                f"{self.content['circuit_sha256'][:12]}): learn it for this one with `make "
                "learn-device`."
            )

    def family(self, experiments: Sequence[Experiment]) -> NoiseFamily:
        """The family that was fitted, for these circuits; their counts are not read.

        Raises:
            InputError: if the circuit has other gates than when it was learned.
        """
        measured = sorted({qubit for one in experiments for qubit in one.qubits})
        circuits = [one.circuit for one in experiments]
        family = NoiseFamily(self.published, circuits, measured, self.content["qubits"])
        fitted = self.content["parameters"]
        if [one.name for one in family.parameters] != [one["name"] for one in fitted]:
            raise InputError(
                "Argument `twin` must be of the gates that the circuit has now, but it was "
                f"transpiled to others when {self.content['device']} was learned: {AGAIN}."
            )
        return family

    def check(self, experiments: Sequence[Experiment]) -> Check:
        """How well the twin predicts other counts of its circuit, of the same qubits.

        Raises:
            InputError: if the circuit has other gates than when it was learned.
        """
        values = np.array([one["value"] for one in self.content["parameters"]])
        return check_noise(self.family(experiments), values, experiments, self.covariance)

    def check_qubits(self, qubits: Sequence[int]) -> None:
        """Refuse other qubits of the device, by an InputError."""
        if tuple(qubits) != self.content["qubits"]:
            raise InputError(
                f"Argument `noise` must be a device.json of the qubits {tuple(qubits)} that the "
                f"circuit runs on, but is of {self.content['qubits']}: {AGAIN}."
            )

    def age_warning(self, calibration_date: str | None) -> str | None:
        """A warning if the device was calibrated after it was learned; else None."""
        learned = self.content["calibration_date"]
        if calibration_date is None or learned is None or calibration_date <= learned:
            return None
        return (
            f"Warning: the twin of {self.content['device']} is older than the device's last "
            f"calibration: it was learned on the calibration of {learned}, the last one is of "
            f"{calibration_date}; `make learn-device ARGS=--update` tells whether it still holds."
        )

    def executor(self, shots: int | None = None, published: bool = False) -> Executor:
        """The circuit with the learned errors, in XLA, as `qnn_jax.executors.noisy` runs it.

        Args:
            shots: None takes expectation values.
            published: with the published errors instead.

        Returns:
            An executor for the circuit that was learned and observables with letters I and Z.
        """
        return _TwinExecutor(self.seal, published, NoisyRun(shots), self)


@dataclass(frozen=True)
class _TwinExecutor:
    seal: str
    published: bool
    run: NoisyRun
    # Flax hashes the executor of a layer; the seal identifies the twin.
    twin: DeviceTwin = dataclasses.field(compare=False, repr=False)

    def __call__(
        self, circuit: Circuit, observables: Observables, inputs: Any, weights: Any, key: Any = None
    ) -> Expectations:
        twin = self.twin
        twin.check_circuit(circuit)
        sums = observables_on(circuit.num_qubits, observables)
        bases = bases_of(sums)
        if any(set(basis.label) - set("IZ") for basis in bases):
            raise InputError(
                "Argument `observables` must have letters I and Z only on a learned device, which "
                f"was measured in no other basis, but they need {[b.label for b in bases]}."
            )
        inputs, weights = checked_batch(circuit, inputs, weights)
        places = twin.content["measured"]
        parts = tuple(measured_at(twin.transpiled, places, basis) for basis in bases)
        noise = twin.published if self.published else twin.noise
        found = run_noisy(parts, noise, self.run, inputs, weights, key)
        record = dataclasses.replace(
            found.record,
            backend=twin.content["device"],
            calibration=twin.content["calibration_date"],
            layout=twin.content["layout"],
            simulated=twin.content["qubits"],
        )
        return found._replace(record=record)


def make_twin(
    found: LearnedNoise,
    about: TwinJson,
    transpiled: Circuit,
) -> DeviceTwin:
    """The twin of a fit; `about` has what the fit does not know."""
    noise = found.noise
    parameters = [
        {**one._asdict(), "value": float(value), "stderr": float(stderr)}
        for one, value, stderr in zip(
            found.family.parameters, found.values, found.stderr, strict=True
        )
    ]
    content = {
        **about,
        "format": FORMAT,
        "transpiled": json.loads(transpiled.to_json()),
        "noise": _json_of(noise),
        "published": _json_of(found.family.published),
        "parameters": parameters,
        "covariance": found.covariance.tolist(),
        "before": found.before._asdict(),
        "after": found.after._asdict(),
    }
    seal, published = seal_of(content), found.family.published
    covariance = found.covariance
    return DeviceTwin(content, seal, transpiled, noise, published, covariance)  # type: ignore[arg-type]


def save_twin(twin: DeviceTwin, path: Path) -> DeviceTwin:
    """Write device.json; return what is read back."""
    write_twin(path, twin.content)
    return DeviceTwin.load(path)


def _json_of(noise: NoiseModel) -> Any:
    readout = {("measure", qubits): matrix for qubits, matrix in noise.readout.items()}
    return {
        kind: [
            {"gate": gate, "qubits": list(qubits), "matrix": np.asarray(matrix).tolist()}
            for (gate, qubits), matrix in channels.items()
            if qubits is not None
        ]
        for kind, channels in (("gates", noise.gates), ("readout", readout))
    }


def _noise_of(content: NoiseJson, num_qubits: int) -> NoiseModel:
    def matrix(one: ChannelJson) -> np.ndarray:
        return as_numbers(f"matrix of {one['gate']}", one["matrix"])

    gates = {(one["gate"], one["qubits"]): matrix(one) for one in content["gates"]}
    readout = {one["qubits"]: matrix(one) for one in content["readout"]}
    return NoiseModel(gates, readout, num_qubits=num_qubits)
