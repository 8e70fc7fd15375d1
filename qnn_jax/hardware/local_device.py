"""A simulator on this machine with the interface of a quantum computer."""

import uuid
from typing import Any

from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer.primitives import SamplerV2

from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.hardware.jobs import Chunk, Job, JobMissingError, Pub, RegisterCounts, count


class SimulatedDevice:
    """A `Device` that runs chunks on `simulator`, in this process, when they are submitted.

    `simulator` is an AerSimulator, with or without a noise model, and `backend` the target of
    transpilation (by default the simulator). Jobs end with the process. The same `seed` gives the
    same counts for the same chunk, whatever ran before.
    """

    simulated = True
    lag = 0.0
    account = "local"

    def __init__(
        self, simulator: Any, *, name: str, seed: int, backend: Any = None,
        calibration_date: str | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.backend = simulator if backend is None else backend
        self.calibration_date = calibration_date
        self._simulator = simulator
        self._seed = checked_seed("seed", seed)
        self._jobs: dict[str, tuple[str, list[RegisterCounts]]] = {}

    def ready(self) -> None:
        """Does nothing: it is always ready."""

    def check(self, chunk: Chunk) -> None:
        """Does nothing: the simulator raises its own errors."""

    def submit(self, chunk: Chunk, tag: str, batch: str | None = None) -> str:
        """Run `chunk`; return the job's id."""
        digest = int(chunk.digest(self.name)[:8], 16)
        counts = []
        for number, pub in enumerate(chunk.pubs):
            seed = (self._seed * 1_000_003 + digest + number) % 2**31
            counts.append(self._measure(pub, chunk.shots, seed))
        job_id = f"simulated-{uuid.uuid4().hex[:12]}"
        self._jobs[job_id] = (tag, counts)
        return job_id

    def _measure(self, pub: Pub, shots: int, seed: int) -> RegisterCounts:
        sampler = SamplerV2.from_backend(self._simulator, seed=seed)
        result = sampler.run([SamplerPub.coerce((pub.circuit, pub.values, shots))])
        return count(dict(result.result()[0].data.items()), pub, shots)

    def find(self, tag: str) -> list[Job]:
        """The jobs of this process with that tag."""
        return [Job(i, "completed") for i, (its_tag, _) in self._jobs.items() if its_tag == tag]

    def job(self, job_id: str) -> Job:
        """A job of this process; it is completed."""
        if job_id not in self._jobs:
            raise JobMissingError("simulated jobs end with their process")
        return Job(job_id, "completed")

    def counts(self, job_id: str, chunk: Chunk) -> list[RegisterCounts]:
        """The job's counts."""
        return self._jobs[job_id][1]

    def usage(self, job_id: str) -> float:
        """Nothing is charged."""
        return 0.0

    def calibrated(self, job_id: str) -> str | None:
        """The snapshot's date."""
        return self.calibration_date

    def cancel(self, job_id: str) -> None:
        """Does nothing: all jobs are finished."""

    def open_batch(self) -> None:
        """There are no batches here."""

    def close_batch(self, batch: str) -> None:
        """There are no batches here."""

    def renew(self) -> None:
        """There is no login here."""
