"""What a device is asked to run, and what any device answers to: values and one protocol."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from qiskit import QuantumCircuit, qpy

from qnn_jax.errors import InputError
from qnn_jax.hardware.redaction import clean

# By classical register, in Qiskit's order: counts["c"][row, k] shots read the number k.
RegisterCounts = dict[str, np.ndarray[Any, Any]]

_WIDEST_REGISTER = 16  # bits: counts are kept as one number per outcome


class ServiceError(Exception):
    """What a service did, in words that hold no credential and no control character."""

    def __init__(self, message: str) -> None:
        super().__init__(clean(message))


class UnreachableError(ServiceError):
    """No answer, or none that makes sense, or 'not now': 429, 5xx. Asking again may help.

    `maybe_done` is false where the request cannot have been carried out; `retry_after` is what
    the service asked for, in seconds.
    """

    def __init__(
        self, message: str, *, maybe_done: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done
        self.retry_after = retry_after


class LoginError(ServiceError):
    """The service does not know us (any more): `Device.renew`, then ask again."""


class RefusedError(ServiceError):
    """The service has understood the request and will not do it."""


class JobMissingError(ServiceError):
    """The service knows no job of that id."""


class DamagedResultError(ServiceError):
    """The result of a finished job came torn or is none of this chunk."""


class DeviceStoppedError(ServiceError):
    """The device did not deliver, through no fault of the input; what was sent stays on file.

    One sentence, which says how to come back. Exit status 1.
    """


@dataclass(frozen=True)
class Options:
    """How a device runs a chunk.

    `rep_delay` is the pause between shots in seconds (None: the device's own),
    `dynamical_decoupling` a sequence that the device inserts into idle times.
    """

    rep_delay: float | None = None
    init_qubits: bool = True
    dynamical_decoupling: Literal["XX", "XpXm", "XY4"] | None = None


@dataclass(frozen=True, eq=False)
class Pub:
    """One circuit of the device's own gates, measured, and the rows that it is run with.

    `values` has shape (rows, parameters), its columns in the order of `circuit.parameters`.
    Raises InputError if it has not.
    """

    circuit: QuantumCircuit
    values: np.ndarray[Any, Any]

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, np.float64)
        object.__setattr__(self, "values", values)
        columns = self.circuit.num_parameters
        if values.ndim != 2 or values.shape[1] != columns or not len(values):
            raise InputError(
                f"Argument `values` must have at least one row of {columns} columns, one for each "
                f"parameter of the circuit, but has shape {values.shape}."
            )
        if not np.isfinite(values).all():
            raise InputError("Argument `values` must be finite, but holds nan or inf.")
        wide = [r.name for r in self.circuit.cregs if r.size > _WIDEST_REGISTER]
        if wide or not self.circuit.cregs:
            raise InputError(
                "Argument `circuit` must measure into classical registers of at most "
                f"{_WIDEST_REGISTER} bits, but has {wide or 'none'}: give each group of qubits a "
                "register of its own."
            )

    @property
    def rows(self) -> int:
        """The number of times that the circuit runs, each with all shots."""
        return len(self.values)

    @property
    def registers(self) -> dict[str, int]:
        """The size in bits of every classical register."""
        return {register.name: register.size for register in self.circuit.cregs}

    def content(self) -> list[Any]:
        """What the circuit does, as JSON: no names of circuits, no global phase."""
        find = self.circuit.find_bit
        steps = []
        for step in self.circuit.data:
            if step.operation.name in ("if_else", "while_loop", "for_loop", "switch_case", "box"):
                raise InputError(
                    "Argument `circuit` must have no control flow, but has "
                    f"`{step.operation.name}`: devices get plain gates and measurements."
                )
            angles = [
                float(p).hex() if isinstance(p, int | float) else str(p)
                for p in step.operation.params
            ]
            qubits = [find(qubit).index for qubit in step.qubits]
            clbits = [find(clbit).index for clbit in step.clbits]
            steps.append([step.operation.name, angles, qubits, clbits])
        parameters = [parameter.name for parameter in self.circuit.parameters]
        return [parameters, self.registers, steps]


@dataclass(frozen=True, eq=False)
class Chunk:
    """What becomes one job: PUBs that share `shots` and `options`.

    The same chunk is never paid for twice: `digest` is what job and ledger know it by. Who wants
    the same measurement once more raises `repetition`.
    """

    pubs: tuple[Pub, ...]
    shots: int
    options: Options = field(default_factory=Options)
    repetition: int = 0

    def __post_init__(self) -> None:
        if not self.pubs:
            raise InputError("Argument `pubs` must have at least one PUB, but is empty.")
        if self.shots < 1:
            raise InputError(f"Argument `shots` must be at least 1, but is {self.shots}.")

    @property
    def executions(self) -> int:
        """Rows times shots: what IBM counts and charges."""
        return self.shots * sum(pub.rows for pub in self.pubs)

    def digest(self, device: str) -> str:
        """sha256 of everything that decides the counts but chance: 64 hexadecimal digits."""
        options: list[object] = [self.options.init_qubits, self.options.dynamical_decoupling]
        if self.options.rep_delay is not None:
            options.append(float(self.options.rep_delay).hex())
        head = [device, self.shots, options, self.repetition, [p.content() for p in self.pubs]]
        digest = hashlib.sha256(json.dumps(head).encode())
        for pub in self.pubs:
            digest.update(str(pub.values.shape).encode())
            digest.update(pub.values.astype("<f8").tobytes())
        return digest.hexdigest()

    def to_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """All of the chunk as numeric arrays, for a ledger."""
        circuits = io.BytesIO()
        qpy.dump([pub.circuit for pub in self.pubs], circuits)
        head = json.dumps([self.shots, vars(self.options), self.repetition]).encode()
        return {
            "head": np.frombuffer(head, np.uint8),
            "circuits": np.frombuffer(circuits.getvalue(), np.uint8),
            **{f"values{i}": pub.values for i, pub in enumerate(self.pubs)},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray[Any, Any]]) -> "Chunk":
        """The chunk that `to_arrays` was called of; its digest is the same."""
        shots, options, repetition = json.loads(arrays["head"].tobytes())
        circuits = qpy.load(io.BytesIO(arrays["circuits"].tobytes()))
        pubs = tuple(Pub(c, arrays[f"values{i}"]) for i, c in enumerate(circuits))
        return cls(pubs, shots, Options(**options), repetition)


@dataclass(frozen=True)
class Job:
    """A job as its device sees it at this moment."""

    id: str
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    reason: str = ""

    @property
    def live(self) -> bool:
        """Whether it may still be carried out, and charged."""
        return self.status in ("queued", "running")


@dataclass(frozen=True)
class Allowance:
    """Seconds of quantum computer that a plan grants and has used; None: no limit is told."""

    consumed: float
    limit: float | None

    @property
    def left(self) -> float | None:
        """Seconds that are left."""
        return None if self.limit is None else max(self.limit - self.consumed, 0.0)


class Device(Protocol):
    """Where chunks run. Requests raise the errors above and nothing else that is foreseeable."""

    name: str
    simulated: bool
    #: Seconds for which a job that was accepted may be missing from `find`.
    lag: float

    @property
    def account(self) -> str:
        """A digest of whose jobs these are; another account does not see them."""
        ...

    @property
    def calibration_date(self) -> str | None:
        """When the device was last calibrated: ISO 8601."""
        ...

    def ready(self) -> None:
        """Raise InputError if no job should be sent now: device down, allowance used up."""
        ...

    def check(self, chunk: Chunk) -> None:
        """Raise InputError if the device cannot run `chunk`."""
        ...

    def submit(self, chunk: Chunk, tag: str, batch: str | None = None) -> str:
        """Send `chunk` once, tagged; return the job's id."""
        ...

    def find(self, tag: str) -> list[Job]:
        """All jobs with that tag, the oldest first."""
        ...

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        ...

    def counts(self, job_id: str, chunk: Chunk) -> list[RegisterCounts]:
        """What a completed job has measured, one item a PUB."""
        ...

    def usage(self, job_id: str) -> float | None:
        """Seconds charged; None while they are being counted."""
        ...

    def calibrated(self, job_id: str) -> str | None:
        """When the device had last been calibrated as it began the job: ISO 8601."""
        ...

    def cancel(self, job_id: str) -> None:
        """Cancel a job; one that is over stays as it is."""
        ...

    def open_batch(self) -> str | None:
        """Begin a batch that several jobs share; None where there is no such thing."""
        ...

    def close_batch(self, batch: str) -> None:
        """Let no more jobs into the batch; those inside run."""
        ...

    def renew(self) -> None:
        """Log in anew before the next request."""
        ...


def count(bits: Mapping[str, Any], pub: Pub, shots: int) -> RegisterCounts:
    """Turn Qiskit's BitArrays, by register, into counts of shape (rows, 2**bits).

    Raises DamagedResultError if they are not `shots` shots of every row of `pub`.
    """
    counts: RegisterCounts = {}
    for register, size in pub.registers.items():
        array = bits.get(register)
        if array is None or (array.num_shots, array.num_bits) != (shots, size):
            raise DamagedResultError(f"register {register} is not there in full")
        packed = array.array.reshape(-1, shots, array.array.shape[-1])
        if len(packed) != pub.rows:
            raise DamagedResultError(f"register {register} has {len(packed)} of {pub.rows} rows")
        outcomes = np.zeros(packed.shape[:2], np.int64)
        for byte in range(packed.shape[-1]):  # the first byte is the most significant
            outcomes = outcomes << 8 | packed[..., byte]
        outcomes += (np.arange(pub.rows) << size)[:, None]
        counts[register] = np.bincount(outcomes.ravel(), minlength=pub.rows << size).reshape(
            pub.rows, 1 << size
        )
    return counts


def join_counts(chunks: Sequence[Sequence[RegisterCounts]], pub: int) -> RegisterCounts:
    """The counts of one PUB that was split by rows over several chunks."""
    parts = [chunk[pub] for chunk in chunks]
    return {register: np.concatenate([part[register] for part in parts]) for register in parts[0]}
