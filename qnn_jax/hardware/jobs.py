"""What a device runs, as values, and the protocol that every device implements."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from qiskit import QuantumCircuit, qpy

from qnn_jax.errors import InputError
from qnn_jax.hardware.redaction import clean

# By classical register, in Qiskit's order: counts["c"][row, k] shots measured the number k.
RegisterCounts = dict[str, np.ndarray[Any, Any]]

_WIDEST_REGISTER = 16  # bits: counts are kept as one number per outcome


class ServiceError(Exception):
    """The service's error, as a message without credentials and control characters."""

    def __init__(self, message: str) -> None:
        super().__init__(clean(message))


class UnreachableError(ServiceError):
    """No answer, an answer that cannot be read, or a temporary error (429, 5xx). Retrying may help.

    `maybe_done` is false if the request cannot have been carried out; `retry_after` is the wait
    that the service requested, in seconds.
    """

    def __init__(
        self, message: str, *, maybe_done: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done
        self.retry_after = retry_after


class LoginError(ServiceError):
    """The login is not valid (any more): call `Device.renew`, then retry."""


class RefusedError(ServiceError):
    """The service has rejected the request; retrying does not help."""


class JobMissingError(ServiceError):
    """The service has no job with that id."""


class DamagedResultError(ServiceError):
    """The result of a finished job is incomplete or belongs to another chunk."""


class DeviceStoppedError(ServiceError):
    """The device did not deliver, and the input is not the reason; submitted jobs stay on file.

    One sentence, which says how to continue. Exit status 1.
    """


@dataclass(frozen=True, eq=False)
class Pub:
    """One circuit of the device's own gates, measured, and the rows to run it with.

    `values` has shape (rows, parameters), its columns in the order of `circuit.parameters`.
    Raises InputError otherwise.
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
        """How many times the circuit runs, each with all shots."""
        return len(self.values)

    @property
    def registers(self) -> dict[str, int]:
        """The size in bits of each classical register."""
        return {register.name: register.size for register in self.circuit.cregs}

    def content(self) -> list[Any]:
        """The circuit's operations as JSON, without circuit names and global phase."""
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
    """The content of one job: PUBs that share `shots` and `rep_delay`.

    `rep_delay` is the pause between shots in seconds; None: the device's own. The same chunk is
    never paid for twice: job and ledger identify it by `digest`. To repeat the same measurement,
    increase `repetition`.
    """

    pubs: tuple[Pub, ...]
    shots: int
    rep_delay: float | None = None
    repetition: int = 0

    def __post_init__(self) -> None:
        if not self.pubs:
            raise InputError("Argument `pubs` must have at least one PUB, but is empty.")
        if self.shots < 1:
            raise InputError(f"Argument `shots` must be at least 1, but is {self.shots}.")

    @property
    def executions(self) -> int:
        """Rows times shots, which IBM counts and charges."""
        return self.shots * sum(pub.rows for pub in self.pubs)

    @property
    def shapes(self) -> list[dict[str, tuple[int, int]]]:
        """By PUB, by register, the shape (rows, outcomes) of its counts."""
        return [
            {name: (pub.rows, 1 << size) for name, size in pub.registers.items()}
            for pub in self.pubs
        ]

    def digest(self, device: str) -> str:
        """sha256 of everything that determines the counts' distribution: 64 hexadecimal digits."""
        # The first two are of options that earlier versions had.
        options: list[object] = [True, None]
        if self.rep_delay is not None:
            options.append(float(self.rep_delay).hex())
        head = [device, self.shots, options, self.repetition, [p.content() for p in self.pubs]]
        digest = hashlib.sha256(json.dumps(head).encode())
        for pub in self.pubs:
            digest.update(str(pub.values.shape).encode())
            digest.update(pub.values.astype("<f8").tobytes())
        return digest.hexdigest()

    def to_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The whole chunk as numeric arrays, for a ledger."""
        circuits = io.BytesIO()
        qpy.dump([pub.circuit for pub in self.pubs], circuits)
        head = json.dumps([self.shots, {"rep_delay": self.rep_delay}, self.repetition]).encode()
        return {
            "head": np.frombuffer(head, np.uint8),
            "circuits": np.frombuffer(circuits.getvalue(), np.uint8),
            **{f"values{i}": pub.values for i, pub in enumerate(self.pubs)},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray[Any, Any]]) -> "Chunk":
        """The chunk of these `to_arrays`, with the same digest."""
        shots, options, repetition = json.loads(arrays["head"].tobytes())
        circuits = qpy.load(io.BytesIO(arrays["circuits"].tobytes()))
        pubs = tuple(Pub(c, arrays[f"values{i}"]) for i, c in enumerate(circuits))
        return cls(pubs, shots, options["rep_delay"], repetition)


@dataclass(frozen=True)
class Job:
    """The current state of a job."""

    id: str
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    reason: str = ""

    @property
    def live(self) -> bool:
        """Whether it may still run, and be charged."""
        return self.status in ("queued", "running")


@dataclass(frozen=True)
class Allowance:
    """Seconds of quantum computer that a plan grants and has used; None: no known limit."""

    consumed: float
    limit: float | None

    @property
    def left(self) -> float | None:
        """Seconds that are left."""
        return None if self.limit is None else max(self.limit - self.consumed, 0.0)


class Device(Protocol):
    """Where chunks run. Requests raise the errors above and no other expected ones.

    The methods with a body are right for a device that is always ready and has no batches.
    """

    name: str
    simulated: bool
    #: Seconds for which `find` may miss a job that was accepted.
    lag: float

    @property
    def account(self) -> str:
        """A digest of the account; jobs are not visible to another account."""

    @property
    def calibration_date(self) -> str | None:
        """When the device was last calibrated: ISO 8601."""

    def ready(self) -> None:
        """Raise InputError if the device is down or the allowance is used up."""
        return

    def check(self, chunk: Chunk) -> None:
        """Raise InputError if the device cannot run `chunk`."""

    def submit(self, chunk: Chunk, tag: str, batch: str | None = None) -> str:
        """Send `chunk` once, tagged; return the job's id."""
        raise NotImplementedError

    def find(self, tag: str) -> list[Job]:
        """All jobs with that tag, oldest first."""
        raise NotImplementedError

    def job(self, job_id: str) -> Job:
        """The current state of the job."""
        raise NotImplementedError

    def counts(self, job_id: str, chunk: Chunk) -> list[RegisterCounts]:
        """The counts of a completed job, one item for each PUB."""
        raise NotImplementedError

    def usage(self, job_id: str) -> float | None:
        """Seconds charged; None if not known yet."""

    def calibrated(self, job_id: str) -> str | None:
        """When the device had last been calibrated before the job began: ISO 8601."""

    def cancel(self, job_id: str) -> None:
        """Cancel a job; a finished one is not changed."""
        return

    def open_batch(self) -> str | None:
        """Open a batch that several jobs share; None if the device has no batches."""
        return None

    def close_batch(self, batch: str) -> None:
        """Close the batch to new jobs; those inside still run."""
        return

    def renew(self) -> None:
        """Log in again before the next request."""
        return


def check_rep_delay(chunk: Chunk, allowed: tuple[float, float], name: str) -> None:
    """Raise InputError unless the device `name` allows the pause between shots."""
    low, high = allowed
    if chunk.rep_delay is not None and not low <= chunk.rep_delay <= high:
        raise InputError(
            f"Argument `rep_delay` must be between {low:g} and {high:g} s on {name}, but is "
            f"{chunk.rep_delay:g}."
        )


def count(bits: Mapping[str, Any], pub: Pub, shots: int) -> RegisterCounts:
    """Turn Qiskit's BitArrays, by register, into counts of shape (rows, 2**bits).

    Raises DamagedResultError if they are not `shots` shots of every row of `pub`.
    """
    counts: RegisterCounts = {}
    for register, size in pub.registers.items():
        array = bits.get(register)
        if array is None or (array.num_shots, array.num_bits) != (shots, size):
            raise DamagedResultError(f"register {register} is missing or incomplete")
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
