"""Certificates: the proof, kept beside the results, that Qiskit runs the circuit that JAX trained.

Reading and comparing one needs neither Qiskit nor JAX; `certify` makes it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from qnn_jax.circuits.checks import of_type
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.circuits.observables import Observables, observables_on
from qnn_jax.errors import InputError
from qnn_jax.runs.files import decode_json
from qnn_jax.runs.schema import from_json

#: The packages whose versions a certificate holds for.
PACKAGES = ("qnn-jax", "jax", "qiskit", "qiskit-aer", "qiskit-ibm-runtime")


class CertificationError(Exception):
    """Two ways of running a circuit gave different results: no evaluation may trust them.

    Attributes:
        step: the first step that failed.
    """

    def __init__(self, step: str, message: str) -> None:
        super().__init__(f"Certification failed at step {step!r}: {message}")
        self.step = step


@dataclass(frozen=True)
class Certificate:
    """What `certify` compared, and how far apart it was.

    Attributes:
        circuit: sha256 of the circuit's JSON.
        observables: the terms of each observable, label and coefficient.
        backend: the name of the device that the circuit was transpiled for, or None.
        layout: the device's qubit for each qubit of the circuit.
        columns: the column of the angle table for each Parameter of the table form, in order.
        deviations: the worst difference of each step; that of "aer" is in expectation values of
            Pauli strings, within the bound of `shots` shots.
        draws: how many points of inputs and weights were compared.
        shots: of Aer, for each point and basis.
        seed: of the points and of Aer.
        versions: of the packages that were compared.
    """

    circuit: str
    observables: tuple[tuple[tuple[str, float], ...], ...]
    backend: str | None
    layout: tuple[int, ...]
    columns: tuple[int, ...]
    deviations: Mapping[str, float]
    draws: int
    shots: int
    seed: int
    versions: Mapping[str, str]

    def covers(
        self,
        circuit: Circuit,
        observables: Observables,
        backend: str | None = None,
        layout: Sequence[int] | None = None,
    ) -> bool:
        """Is it about this circuit, these observables, this device and the installed versions?

        Args:
            circuit: what is to run.
            observables: all of them must have been certified.
            backend: the device's name; None asks for none, as the exact simulator.
            layout: the device's qubits, where they are known.
        """
        return self._gap(circuit, observables, backend, layout) is None

    def check(
        self,
        circuit: Circuit,
        observables: Observables,
        backend: str | None = None,
        layout: Sequence[int] | None = None,
    ) -> None:
        """Refuse to run what is not covered; the arguments are those of `covers`.

        Raises:
            InputError: which says what the certificate is not about.
        """
        gap = self._gap(circuit, observables, backend, layout)
        if gap:
            raise InputError(
                f"Argument `certificate` must cover what is run, but {gap}; "
                "certify(circuit, observables, backend) makes a new one."
            )

    def _gap(
        self,
        circuit: Circuit,
        observables: Observables,
        backend: str | None,
        layout: Sequence[int] | None,
    ) -> str | None:
        if circuit_hash(circuit) != self.circuit:
            return "it is about another circuit"
        for one in observables_on(circuit.num_qubits, observables):
            if one.terms not in self.observables:
                return f"observable {str(one)!r} was not compared"
        if backend is not None and _plain(backend) != _plain(self.backend or ""):
            return f"it is about the device {self.backend!r}, not {backend!r}"
        if layout is not None and tuple(layout) != self.layout:
            return f"it is about the qubits {self.layout}, not {tuple(layout)}"
        for name, installed in installed_versions().items():
            if self.versions.get(name) != installed:
                return f"it was made with {name} {self.versions.get(name)}, not {installed}"
        return None

    def to_json(self) -> str:
        """JSON that `Certificate.from_json` reads back as an equal value."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Certificate:
        """Read a certificate that `to_json` wrote; refuse any other text."""
        of_type("text", text, str, "JSON written by Certificate.to_json")
        return from_json(
            Certificate,
            decode_json(text),
            "Argument `text` must be JSON written by Certificate.to_json, but",
            "certify(circuit, observables, backend) makes a new one",
        )

    def __str__(self) -> str:
        where = f" on {self.backend} qubits {', '.join(map(str, self.layout))}"
        steps = (f"  {step:<13}{worst:.1e}" for step, worst in self.deviations.items())
        return "\n".join(
            [
                f"circuit {self.circuit[:12]}{where if self.backend else ''}: "
                f"{self.draws} draws, {self.shots} shots; worst deviations",
                *steps,
            ]
        )


def _plain(name: str) -> str:
    """FakeFez, the class, calls itself fake_fez."""
    return name.replace("_", "").lower()


def circuit_hash(circuit: Circuit) -> str:
    """The sha256 of a circuit's JSON: equal circuits have equal hashes, in every process."""
    return hashlib.sha256(circuit.to_json().encode()).hexdigest()


def installed_versions() -> dict[str, str]:
    """The installed versions of `PACKAGES`."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
