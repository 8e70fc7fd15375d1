"""One paid job per chunk after any failure of the network, the service or this process.

A job carries its chunk's digest as a tag, and the ledger records each action before it is carried
out. After an ambiguous failure (a dropped answer, a crash) the service is queried for the tag, long
enough for its list to be up to date, before anything is sent again. The waiting is implemented
here, not by the client: every request is repeated until it is answered, and every wait has a limit.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.hardware.jobs import (
    Chunk,
    DamagedResultError,
    Device,
    DeviceStoppedError,
    Job,
    JobMissingError,
    LoginError,
    RefusedError,
    RegisterCounts,
    ServiceError,
    UnreachableError,
)
from qnn_jax.hardware.ledger import Entry, Ledger

T = TypeVar("T")

_TAG = "qnn-jax-"
_CANCELLED = "cancelled by us"


@dataclass(frozen=True)
class Clock:
    """The source of time, so that tests need not wait."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Patience:
    """Seconds: `first` to `most` between queries, doubling; the others are limits of waits.

    `outage` is how long the service may not answer, `queue` how long a job may wait and run.
    `attempts` limits retries that time does not solve: logins in a row, damaged results.
    """

    first: float = 1.0
    most: float = 60.0
    outage: float = 24 * 3600.0
    queue: float = 14 * 24 * 3600.0
    attempts: int = 8


def keep_chunk(device: Device, chunk: Chunk, ledger: Ledger) -> str:
    """Store all of `chunk` in the ledger's folder; return its digest."""
    digest = chunk.digest(device.name)
    ledger.keep_request(digest, chunk.to_arrays())
    return digest


def kept_chunk(digest: str, ledger: Ledger) -> Chunk:
    """The chunk stored by `keep_chunk`. Raises InputError if its file is gone or damaged."""
    return Chunk.from_arrays(ledger.request(digest))


def run_chunks(
    device: Device,
    chunks: Sequence[Chunk],
    ledger: Ledger,
    *,
    estimates: Sequence[float | None] | None = None,
    patience: Patience = Patience(),
    clock: Clock = Clock(),
    tell: Callable[[str], None] = silent,
) -> list[list[RegisterCounts]]:
    """Measure every chunk exactly once; return counts by chunk, PUB and register.

    Results in the ledger are not requested again; jobs in progress, sent by this run or an earlier
    one, are waited for; only chunks without a job are sent, several as one batch.
    `estimates` are predicted seconds by chunk, for the ledger; `tell` is called with lines of
    progress. KeyboardInterrupt may come at any moment: the same call then continues.
    Raises InputError if a chunk cannot be run on the device or sent now, DeviceStoppedError if a
    job failed, or the service did not answer for too long.
    """
    by_digest = [(chunk.digest(device.name), chunk) for chunk in chunks]
    work = _Work(device, ledger, patience, clock, tell)
    each = zip(by_digest, estimates or [None] * len(chunks), strict=True)
    predicted = {digest: seconds for (digest, _), seconds in each}
    missing = {digest: chunk for digest, chunk in by_digest if ledger.entry(digest).done is None}
    if missing:
        work.send_all(missing, predicted)
        work.collect_all(missing, predicted)
    return [ledger.counts(digest, chunk.shapes, chunk.shots) for digest, chunk in by_digest]


def collect(
    device: Device,
    ledger: Ledger,
    *,
    clock: Clock = Clock(),
    tell: Callable[[str], None] = silent,
) -> list[str]:
    """Wait for all jobs that were sent, fetch their counts and charges; send nothing.

    Returns the digests of the fetched chunks. Raises as `run_chunks` does.
    """
    work = _Work(device, ledger, clock=clock, tell=tell)
    pending = {}
    for digest, entry in work.sent_to_device():
        if entry.done is None and (entry.job or work.attach(digest)):
            pending[digest] = kept_chunk(digest, ledger)
    work.collect_all(pending, {})
    for digest, entry in work.sent_to_device():
        if entry.done is not None and entry.done.get("usage_seconds") is None:
            work.note_usage(digest, entry.done["job"])
    return list(pending)


def status(device: Device, ledger: Ledger) -> dict[str, str]:
    """The status of each chunk sent to this device, by digest: done, or that of its job now."""
    work = _Work(device, ledger)
    found = {}
    for digest, entry in work.sent_to_device():
        jobs = work.jobs(digest) if entry.done is None else []
        found[digest] = ", ".join(f"{job.status} ({job.id})" for job in jobs) or entry.status
    return found


def cancel(device: Device, ledger: Ledger) -> list[str]:
    """Cancel every job of this device that has not delivered; return the ids of the live ones.

    Jobs are also looked up by tag, so those missing in the ledger are cancelled too.
    """
    work = _Work(device, ledger)
    cancelled = []
    for digest, entry in work.sent_to_device():
        if entry.done is None:
            for job in filter(lambda job: job.live, work.jobs(digest)):
                work.cancel(job.id)
                now = work.look(job.id)
                if now is None or now.status != "completed":  # a completed one can be collected
                    ledger.append("failed", digest, job=job.id, reason=_CANCELLED)
                    cancelled.append(job.id)
    return cancelled


def tag(digest: str) -> str:
    """The tag of a chunk's jobs: 40 characters."""
    return _TAG + digest[:32]


@dataclass(frozen=True, repr=False)
class _Work:
    device: Device
    ledger: Ledger
    patience: Patience = Patience()
    clock: Clock = Clock()
    tell: Callable[[str], None] = silent

    def sent_to_device(self) -> list[tuple[str, Entry]]:
        """The chunks that were sent, or may have been, to this device.

        Raises InputError if they went through another account, whose jobs are not visible.
        """
        found = []
        for digest, entry in self.ledger.entries.items():
            if entry.intent is not None and entry.intent["device"] == self.device.name:
                self._check_account(digest, entry.intent)
                found.append((digest, entry))
        return found

    def _check_account(self, digest: str, intent: dict[str, Any]) -> None:
        if intent["account"] != self._account():
            raise InputError(
                f"Chunk {digest[:12]} was sent through another IBM instance: name that one "
                "in QISKIT_IBM_INSTANCE, since this one cannot see its job."
            )

    # Sending

    def send_all(self, chunks: dict[str, Chunk], predicted: dict[str, float | None]) -> None:
        """Ensure that every chunk has one job."""
        unsent = {digest: chunk for digest, chunk in chunks.items() if not self.attach(digest)}
        for digest, chunk in unsent.items():
            self.insist(partial(self.device.check, chunk), "check the circuits")
            self.ledger.keep_request(digest, chunk.to_arrays())
        if unsent:
            self.insist(self.device.ready, "query the device's status")
        batch = self.insist(self.device.open_batch, "open a batch") if len(unsent) > 1 else None
        for digest, chunk in unsent.items():
            self._intend(
                digest,
                shots=chunk.shots,
                executions=chunk.executions,
                estimated_seconds=predicted.get(digest),
            )
            self._send(digest, chunk, batch)
        if batch is not None:
            try:
                self.insist(lambda: self.device.close_batch(batch), "close the batch")
            except (JobMissingError, DeviceStoppedError) as error:
                self.tell(f"the batch stays open until it expires, which costs nothing ({error})")

    def attach(self, digest: str) -> bool:
        """Whether the chunk has a job that may deliver, which is then in the ledger."""
        entry = self.ledger.entry(digest)
        if entry.intent is None:
            # A run in another folder may have sent the same chunk: one query costs nothing.
            return self._adopt(digest) is not None
        self._check_account(digest, entry.intent)
        if entry.job is not None:
            job = self.look(entry.job)
            if job is not None and (job.live or job.status == "completed"):
                self.tell(f"job {job.id} is {job.status}: continuing with it")
                return True
            self._write_off(digest, job)
        # At most the lag, even if the clock was set back since.
        sent = min(entry.intent["at"], self.clock.now())
        return self._settle(digest, sent + self.device.lag)

    def _settle(self, digest: str, until: float) -> bool:
        """Query for the chunk's job until the service's list must contain it."""
        wait = self.patience.first / 2
        while True:
            if self._adopt(digest) is not None:
                return True
            left = until - self.clock.now()
            if left <= 0:
                return False
            self.tell("the last submission may have succeeded: waiting for the list of jobs")
            self.clock.sleep(min(wait, left))
            wait *= 2

    def _send(self, digest: str, chunk: Chunk, batch: str | None) -> None:
        def submit(batch: str | None) -> str | None:
            """The job's id; None if it is in the ledger already, after an ambiguous failure."""
            try:
                return self.device.submit(chunk, tag(digest), batch)
            except UnreachableError as error:
                if error.maybe_done and self._settle(digest, self.clock.now() + self.device.lag):
                    return None
                raise
            except (RefusedError, JobMissingError) as error:
                if batch is None:
                    raise InputError(
                        f"{self.device.name} refuses the job ({error}): nothing was sent."
                    ) from None
                self.tell(f"the batch accepts no more jobs ({error}): sending this one alone")
            return self.insist(lambda: submit(None), "submit")

        job_id = self.insist(lambda: submit(batch), "submit")
        if job_id is not None:
            self.ledger.append("submitted", digest, job=job_id)
            self.tell(f"job {job_id} is sent")
            self._adopt(digest)

    def _intend(self, digest: str, **fields: object) -> None:
        self.ledger.append(
            "intent",
            digest,
            tag=tag(digest),
            device=self.device.name,
            account=self._account(),
            simulated=self.device.simulated,
            calibration_date=self.insist(
                lambda: self.device.calibration_date, "query the calibration"
            ),
            **fields,
            at=self.clock.now(),
        )

    def _adopt(self, digest: str) -> Job | None:
        """Record the first job that has delivered, or may, as the chunk's; cancel the others."""
        entry = self.ledger.entry(digest)
        # A live job counts even if it was recorded as failed: sending another would pay twice.
        jobs = [
            job
            for job in self.jobs(digest)
            if job.status == "completed" or entry.failed.get(job.id) != _CANCELLED
        ]
        kept = next((job for job in jobs if job.status == "completed"), None) or next(
            (job for job in jobs if job.live), None
        )
        if kept is None:
            return None
        if entry.intent is None:
            self._intend(digest)
        if self.ledger.entry(digest).job != kept.id:
            self.ledger.append("submitted", digest, job=kept.id, attached=True)
            self.tell(f"job {kept.id} is {kept.status}: continuing with it")
        for job in jobs:
            if job.live and job.id != kept.id:
                self.cancel(job.id)
                self.tell(f"job {job.id} was a duplicate and is cancelled")
        return kept

    # Collecting

    def collect_all(self, chunks: dict[str, Chunk], predicted: dict[str, float | None]) -> None:
        """Wait until every chunk's counts are in the ledger."""
        start, wait, told = self.clock.now(), self.patience.first, ""
        pending, lost = dict(chunks), []
        while pending:
            states = []
            for digest in list(pending):
                job = self._look_at(digest)
                states.append("lost" if job is None else job.status)
                if job is not None and job.status == "completed":
                    self._fetch(digest, pending.pop(digest), job, predicted.get(digest))
                elif job is None or not job.live:
                    lost.append(self._write_off(digest, job))
                    del pending[digest]
            if not pending:
                break
            if (now := ", ".join(states)) != told:
                self.tell(f"waiting: {now}")
                told, wait = now, self.patience.first
            if self.clock.now() + wait - start > self.patience.queue:
                raise DeviceStoppedError(
                    f"Jobs have not ended within {_words(self.patience.queue)}: run the same "
                    "command again to continue waiting."
                )
            self.clock.sleep(wait)
            wait = min(wait * 2, self.patience.most)
        if lost:
            raise DeviceStoppedError(
                f"{'; '.join(lost)}: run the same command again to send what is missing."
            )

    def _look_at(self, digest: str) -> Job | None:
        """The current state of the chunk's job; each query also looks for duplicates."""
        kept = self._adopt(digest)
        job_id = self.ledger.entry(digest).job
        return kept if kept is not None or job_id is None else self.look(job_id)

    def _write_off(self, digest: str, job: Job | None) -> str:
        job_id = self.ledger.entry(digest).job or "?"
        reason = "unknown to the device" if job is None else job.reason or job.status
        self.ledger.append("failed", digest, job=job_id, reason=reason)
        status = "is lost" if job is None else f"has {job.status}"
        return f"Job {job_id} {status} ({reason})".replace("has cancelled", "was cancelled")

    def _fetch(self, digest: str, chunk: Chunk, job: Job, seconds: float | None) -> None:
        wait = self.patience.first
        for attempt in range(self.patience.attempts):
            try:
                counts = self.insist(lambda: self.device.counts(job.id, chunk), "fetch the result")
                break
            except (DamagedResultError, JobMissingError) as error:
                self.tell(f"the result of job {job.id} is damaged ({error}): fetching it again")
                if attempt + 1 == self.patience.attempts:
                    raise DeviceStoppedError(
                        f"The result of job {job.id} was damaged {attempt + 1} times ({error}): "
                        "run the same command again to fetch it, which costs nothing."
                    ) from None
                self.clock.sleep(wait)
                wait = min(wait * 2, self.patience.most)
        self.ledger.keep_counts(
            digest,
            counts,
            job=job.id,
            device=self.device.name,
            simulated=self.device.simulated,
            calibration_date=self._calibrated(job.id),
            estimated_seconds=seconds,
            waited_seconds=self._waited(digest),
        )
        self.tell(f"job {job.id} has delivered")
        self.note_usage(digest, job.id)

    def note_usage(self, digest: str, job_id: str) -> None:
        """Record the charge, if it is available now; the counts are stored already."""
        for _ in range(3):  # IBM's accounting lags behind the job's end
            try:
                seconds = self.device.usage(job_id)
            except ServiceError as error:
                self.tell(f"the cost of job {job_id} is not available now ({error})")
                return
            if seconds is not None:
                self.ledger.append("usage", digest, job=job_id, seconds=seconds)
                return
            self.clock.sleep(self.patience.first)

    def _calibrated(self, job_id: str) -> str | None:
        """The calibration that the job ran on, if available now; the counts do not wait for it."""
        try:
            return self.device.calibrated(job_id)
        except ServiceError as error:
            self.tell(f"the calibration of job {job_id} is not available now ({error})")
            return None

    def _waited(self, digest: str) -> float | None:
        intent = self.ledger.entry(digest).intent
        # A clock that was set back must not lose a result that has been paid for.
        return None if intent is None else max(0.0, self.clock.now() - intent["at"])

    # Queries

    def jobs(self, digest: str) -> list[Job]:
        """All jobs of the chunk, oldest first, from the service's list and the ledger."""
        jobs = self.insist(lambda: self.device.find(tag(digest)), "look up jobs")
        known = self.ledger.entry(digest).job
        if known is not None and known not in [job.id for job in jobs]:
            unlisted = self.look(known)
            jobs = jobs if unlisted is None else [unlisted, *jobs]
        return jobs

    def cancel(self, job_id: str) -> None:
        """Cancel a job unless it is finished."""
        self.insist(lambda: self.device.cancel(job_id), f"cancel job {job_id}")

    def _account(self) -> str:
        return self.insist(lambda: self.device.account, "log in")

    def look(self, job_id: str) -> Job | None:
        """The current state of the job; None if the service repeatedly does not find it."""
        end = self.clock.now() + self.device.lag
        while True:
            try:
                return self.insist(lambda: self.device.job(job_id), "query the job's status")
            except JobMissingError:
                if self.clock.now() >= end:
                    return None
                self.clock.sleep(self.patience.first)

    def insist(self, request: Callable[[], T], about: str) -> T:
        """Repeat a request until it is answered.

        It is idempotent, or settles what may have been done before it fails, as `_send`'s does.
        """
        start, wait, logins = self.clock.now(), self.patience.first, 0
        while True:
            try:
                return request()
            except LoginError as error:
                logins += 1
                self._login_again(logins, error)
            except UnreachableError as error:
                wait = self._pause(start, wait, error, about)
            except RefusedError as error:
                raise DeviceStoppedError(
                    f"{self.device.name} refuses the request to {about} ({error}): run the same "
                    "command again later."
                ) from None

    def _login_again(self, logins: int, error: LoginError) -> None:
        if logins >= self.patience.attempts:
            raise InputError(
                f"{self.device.name} does not accept the login any more ({error}): put a new token "
                "into QISKIT_IBM_TOKEN and run the same command again, which continues with the "
                "jobs that are sent."
            ) from None
        self.tell("the login has expired: logging in again")
        self.clock.sleep(self.patience.first * (2 ** (logins - 1) - 1))
        self.device.renew()

    def _pause(self, start: float, wait: float, error: UnreachableError, about: str) -> float:
        """Sleep before the next attempt, or give up; return the wait after that."""
        pause = wait if error.retry_after is None else max(error.retry_after, 1.0)
        if self.clock.now() + pause - start > self.patience.outage:
            raise DeviceStoppedError(
                f"{self.device.name} has not answered for {_words(self.patience.outage)} "
                f"({error}): run the same command again to continue with the jobs that are sent."
            ) from None
        self.tell(f"no answer to the attempt to {about} ({error}): again in {pause:.0f} s")
        self.clock.sleep(pause)
        return min(wait * 2, self.patience.most)


def _words(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
