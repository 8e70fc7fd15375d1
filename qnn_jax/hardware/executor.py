"""A device as an executor: each call is one job, which is found again and never paid for twice."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from qnn_jax.bridge.aer_executor import check_values
from qnn_jax.bridge.certificate import circuit_hash
from qnn_jax.circuits import Circuit
from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.checks import at_least, qubits_of
from qnn_jax.circuits.circuit import checked_circuit
from qnn_jax.circuits.observables import Observables, observables_on
from qnn_jax.errors import InputError
from qnn_jax.executors import Counts, Executor, Expectations
from qnn_jax.executors.counts import diagonal
from qnn_jax.executors.statevector import checked_batch
from qnn_jax.hardware.accounts import Where, introduction
from qnn_jax.hardware.circuits import Exact, Question
from qnn_jax.hardware.ledger import Ledger
from qnn_jax.hardware.measurement import (
    Measured,
    Outcome,
    Visit,
    carry_out,
    keep_plan,
    planned,
    planned_device,
    preflight,
)
from qnn_jax.hardware.plan import DETAILS, Settings, check_details
from qnn_jax.hardware.rules import Rules
from qnn_jax.hardware.submission import Clock
from qnn_jax.runs.files import explained

#: Identifies an executor's ledger; its measurements are distinguished by the digests of the chunks.
MODEL = hashlib.sha256(b"qnn_jax.hardware.device").hexdigest()


class DeviceRecord(NamedTuple):
    """The record of a measurement on a device.

    Attributes:
        device: its name.
        simulated: true if no quantum computer ran.
        job_ids: of the completed jobs.
        counts: of the inputs; there is one basis.
        measured: expectation values as counted, with the readout errors inverted, and with scale
            and shift corrected; the executor returns the last one that is available.
        layouts: the device's qubits of each copy of the circuit.
        calibration_date: the device's last calibration before the last job began.
        shots: of each row.
        seconds_predicted: quantum computer time by IBM's formula.
        seconds_used: charged for each job; None if not reported yet.
        details: of the plan.
    """

    device: str
    simulated: bool
    job_ids: tuple[str, ...]
    counts: tuple[Counts, ...]
    measured: Measured
    layouts: tuple[tuple[int, ...], ...]
    calibration_date: str | None
    shots: int
    seconds_predicted: float
    seconds_used: tuple[float | None, ...]
    details: dict[str, Any]


def device(
    backend: Any,
    *,
    folder: Path | str,
    shots: int = 1024,
    readout: bool = True,
    anchors: Any = None,
    rep_delay: float | None = None,
    copies: int | None = None,
    budget_seconds: float | None = None,
    recompile: bool = False,
    fractional_gates: bool = False,
    seed: int = 0,
    repetition: int = 0,
    layout: Sequence[int] | None = None,
    clock: Clock = Clock(),  # noqa: B008
    tell: Callable[[str], None] = lambda line: None,
) -> Executor:
    """An IBM quantum computer, or a simulated one, as an executor.

    A call transpiles the circuit once, verifies that the transpiled circuit is equivalent, sends
    all inputs as one job (more if IBM's limits require it), waits, and returns. The same call, also
    in another process and after a crash, finds its job and its counts in `folder` and sends
    nothing: `key` has no effect, another `repetition` measures again.

    Args:
        backend: "ibm_fez", "least-busy", "auto" or "FakeFez" (see `Where`); or a device, as
            `Where.open` returns it.
        folder: for the ledger, requests, counts and the certificate; created if necessary.
        shots: of each input.
        readout: measure the readout errors in the same job and invert them.
        anchors: inputs in radians, shape (anchors, num_inputs), which run in the same job; their
            exact values correct the scale and shift caused by noise. At least 3.
        rep_delay: pause between shots in seconds; None: chosen to fit the budget.
        copies: of the circuit, side by side on the device; None: chosen to fit the budget.
        budget_seconds: quantum computer time for a call; None: a tenth of what the plan has left.
        recompile: each bound 2-qubit circuit into one template of 3 CZ.
        fractional_gates: let the device use its RX and RZZ gates.
        seed: random seed of the transpiler and of a simulated device.
        repetition: another number measures again.
        layout: the device's qubit for each of the circuit's; None: those with the lowest errors.
        clock: source of the time.
        tell: called with lines of progress.

    Returns:
        An executor for concrete arrays and observables with letters I and Z; it raises an error
        under `jax.jit`, `jax.vmap` and `jax.grad`. Its `record` is a `DeviceRecord`.

    Raises:
        InputError: for a bad number or an unknown backend; from the executor if the device cannot
            run the circuit or the budget does not suffice.
        DeviceStoppedError: from the executor, if the device does not deliver; repeating the call
            continues.
        CertificationError: from the executor, if the circuit to be sent is not equivalent.
    """
    at_least("shots", shots, 1)
    known = None
    if anchors is not None:
        known = finite_array("anchors", anchors, ("anchors?", "num_inputs?"))
    settings = Settings(
        shots=shots,
        rep_delay=rep_delay,
        copies=copies,
        budget_seconds=budget_seconds,
        anchors=0 if known is None else len(known),
        readout=readout,
        recompile=recompile,
        fractional_gates=fractional_gates,
        seed=seed,
        repetition=repetition,
    )
    if isinstance(backend, str):
        Where(backend).check()
    places = None if layout is None else qubits_of(layout)
    return _Device(backend, Path(folder), settings, known, places, clock, tell)


@dataclass(frozen=True, eq=False)
class _Device:
    backend: Any
    folder: Path
    settings: Settings
    anchors: np.ndarray | None
    layout: tuple[int, ...] | None
    clock: Clock
    tell: Callable[[str], None]
    opened: dict[str | None, Any] = dataclasses.field(default_factory=dict)

    def __call__(
        self, circuit: Circuit, observables: Observables, inputs: Any, weights: Any, key: Any = None
    ) -> Expectations:
        check_values("hardware.device", inputs, weights)
        question = self._question(circuit, observables, inputs, weights)
        with explained(f"make the folder {self.folder}", "give a folder that can be written"):
            self.folder.mkdir(parents=True, exist_ok=True)
        ledger, name = Ledger(self.folder, MODEL), self._key(question)
        plan = planned(ledger, name)
        visit = Visit(self._open(planned_device(ledger, name)), ledger, self.clock, self.tell)
        if plan is None:
            settings = dataclasses.replace(self.settings, images=len(question.inputs))
            ready = preflight(visit, question, settings, layout=self.layout)
            plan = keep_plan(visit, name, ready.chunks, {**ready.details, **_numbered(question)})
        details = check_details(plan, ledger.path, _rules(question))
        exact = Exact(circuit, question.observables, question.weights)
        outcome = carry_out(visit, plan, question.observables, exact.values(question.anchors))
        best = outcome.measured.best
        record = _record(details, outcome)
        return Expectations(jnp.asarray(best.values), jnp.asarray(best.stderr), record)

    def _open(self, name: str | None) -> Any:
        """The device of an earlier plan, else the requested one."""
        if not isinstance(self.backend, str):
            return self.backend
        if name not in self.opened:
            settings = self.settings
            opened = Where(self.backend).open(settings.seed, settings.fractional_gates, name)
            self.tell(introduction(opened))
            self.opened[name] = opened
        return self.opened[name]

    def _question(self, circuit: Circuit, observables: Any, inputs: Any, weights: Any) -> Question:
        sums = diagonal(observables_on(checked_circuit(circuit).num_qubits, observables))
        rows, angles = (np.asarray(part) for part in checked_batch(circuit, inputs, weights))
        if not len(rows):
            raise InputError("Argument `inputs` must have at least one row, but has none.")
        anchors = np.empty((0, circuit.num_inputs), rows.dtype)
        if self.anchors is not None:
            shape = ("anchors?", circuit.num_inputs)
            anchors = finite_array("anchors", self.anchors, shape).astype(rows.dtype)
        return Question(circuit, sums, angles, rows, anchors)

    def _key(self, question: Question) -> str:
        """Identifies the measurement: the same key finds the same jobs."""
        named = isinstance(self.backend, str)
        settings = dataclasses.asdict(self.settings)
        del settings["budget_seconds"]  # what may be spent does not change what is measured
        told = [
            # The least busy machine changes from day to day.
            [self.backend, Where(self.backend).simulated] if named else self.backend.name,
            settings,
            circuit_hash(question.circuit),
            [one.terms for one in question.observables],
        ]
        if self.layout is not None:
            told.append(self.layout)
        digest = hashlib.sha256(json.dumps(told).encode())
        for array in (question.weights, question.inputs, question.anchors):
            digest.update(str((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]


def _numbered(question: Question) -> dict[str, list[int]]:
    """Row selection: all rows run."""
    return {"test": [*range(len(question.inputs))], "anchors": [*range(len(question.anchors))]}


def _rules(question: Question) -> Rules:
    """The conditions that a stored plan for this measurement must satisfy."""
    numbered = {
        field: (f"the numbers of {len(rows)} rows", functools.partial(operator.eq, rows))
        for field, rows in _numbered(question).items()
    }
    return {**DETAILS, **numbered}


def _record(details: dict[str, Any], outcome: Outcome) -> DeviceRecord:
    done = [entry.done or {} for entry in outcome.entries]
    return DeviceRecord(
        details["device"],
        details["simulated"],
        tuple(outcome.job_ids),
        (Counts.of_table(outcome.counts[: len(details["test"])]),),
        outcome.measured,
        tuple(tuple(qubits) for qubits, _ in details["places"]),
        next(iter(outcome.calibrations[::-1]), None),
        details["plan"]["shots"],
        details["plan"]["seconds"],
        tuple(line.get("usage_seconds") for line in done),
        details,
    )
