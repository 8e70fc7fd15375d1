"""One paid job per chunk, whatever fails: the network, the service, or this process.

A job carries its chunk's digest as a tag, and the ledger says what was intended before it is
done. Who is in doubt (after a dropped answer, after a crash) asks the service for the tag, long
enough for its list to catch up, before anything is sent again. Waiting is ours, not the client's:
every request is repeated until it is answered, and every wait has an end.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

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
    """Where time comes from, so that tests need not wait."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Patience:
    """Seconds: `first` to `most` between questions, doubling; the rest are ends of waits.

    `outage` is how long the service may be silent, `queue` how long a job may wait and run.
    `attempts` bounds what more time does not mend: logins in a row, results that come damaged.
    """

    first: float = 1.0
    most: float = 60.0
    outage: float = 24 * 3600.0
    queue: float = 14 * 24 * 3600.0
    attempts: int = 8


def _silent(_: str) -> None:
    pass


def keep_chunk(device: Device, chunk: Chunk, ledger: Ledger) -> str:
    """Keep all that `chunk` is beside the ledger; return its digest."""
    digest = chunk.digest(device.name)
    ledger.keep_request(digest, chunk.to_arrays())
    return digest


def kept_chunk(digest: str, ledger: Ledger) -> Chunk:
    """The chunk that `keep_chunk` kept. Raises InputError if its file is gone or damaged."""
    return Chunk.from_arrays(ledger.request(digest))


def run_chunks(
    device: Device,
    chunks: Sequence[Chunk],
    ledger: Ledger,
    *,
    estimates: Sequence[float | None] | None = None,
    patience: Patience = Patience(),
    clock: Clock = Clock(),
    tell: Callable[[str], None] = _silent,
) -> list[list[RegisterCounts]]:
    """Have every chunk measured exactly once; return counts by chunk, PUB and register.

    What the ledger has is not asked for again; a job that is under way, sent by this run or an
    earlier one, is waited for; only what has none is sent, several chunks as one batch.
    `estimates` are predicted seconds by chunk, for the ledger; `tell` gets a line of progress now
    and then. KeyboardInterrupt may come at any moment: the same call goes on from there.
    Raises InputError if a chunk cannot be run on the device or sent now, DeviceStoppedError if a
    job failed, or the service was silent for too long.
    """
    digests = [chunk.digest(device.name) for chunk in chunks]
    work = _Work(device, ledger, patience, clock, tell)
    predicted = dict(zip(digests, estimates or [None] * len(chunks), strict=True))
    missing = {
        digest: chunk
        for digest, chunk in zip(digests, chunks, strict=True)
        if ledger.entry(digest).done is None
    }
    if missing:
        work.send_all(missing, predicted)
        work.collect_all(missing, predicted)
    return [ledger.counts(digest) for digest in digests]


def collect(
    device: Device,
    ledger: Ledger,
    *,
    patience: Patience = Patience(),
    clock: Clock = Clock(),
    tell: Callable[[str], None] = _silent,
) -> list[str]:
    """Wait for all jobs that were sent, fetch their counts and what was charged; send nothing.

    Returns the digests that were fetched. Raises as `run_chunks` does.
    """
    work = _Work(device, ledger, patience, clock, tell)
    pending = {}
    for digest, entry in work.sent_to_device():
        if entry.done is None and (entry.job or work.attach(digest)):
            pending[digest] = kept_chunk(digest, ledger)
    work.collect_all(pending, {})
    for digest, entry in work.sent_to_device():
        if entry.done is not None and entry.done.get("usage_seconds") is None:
            work.note_usage(digest, entry.done["job"])
    return list(pending)


def status(device: Device, ledger: Ledger, patience: Patience = Patience()) -> dict[str, str]:
    """By digest, how each chunk sent to this device stands: done, or what its job says just now."""
    work = _Work(device, ledger, patience, Clock(), _silent)
    found = {}
    for digest, entry in work.sent_to_device():
        jobs = work.jobs(digest) if entry.done is None else []
        found[digest] = ", ".join(f"{job.status} ({job.id})" for job in jobs) or entry.status
    return found


def cancel(device: Device, ledger: Ledger, patience: Patience = Patience()) -> list[str]:
    """Cancel every job of this device that has not delivered; return the ids of the live ones.

    Jobs are looked up by tag as well, so one that the ledger missed goes too.
    """
    work = _Work(device, ledger, patience, Clock(), _silent)
    cancelled = []
    for digest, entry in work.sent_to_device():
        if entry.done is None:
            for job in filter(lambda job: job.live, work.jobs(digest)):
                work.cancel(job.id)
                now = work.look(job.id)
                if now is None or now.status != "completed":  # else it was quicker: collect it
                    ledger.append("failed", digest, job=job.id, reason=_CANCELLED)
                    cancelled.append(job.id)
    return cancelled


def tag(digest: str) -> str:
    """The tag of a chunk's jobs: 40 characters."""
    return _TAG + digest[:32]


class _Work:
    def __init__(
        self,
        device: Device,
        ledger: Ledger,
        patience: Patience,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self.device = device
        self.ledger = ledger
        self.patience = patience
        self.clock = clock
        self.tell = tell

    def sent_to_device(self) -> list[tuple[str, Entry]]:
        """The chunks that were sent, or may have been, to this device.

        Raises InputError where they went through another account, which would not show them.
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
                f"Chunk {digest[:12]} was sent through another instance of IBM's: name that one "
                "in QISKIT_IBM_INSTANCE, since this one cannot see its job."
            )

    # Sending

    def send_all(self, chunks: dict[str, Chunk], predicted: dict[str, float | None]) -> None:
        """See to it that every chunk has one job."""
        unsent = {digest: chunk for digest, chunk in chunks.items() if not self.attach(digest)}
        for digest, chunk in unsent.items():
            self.insist(partial(self.device.check, chunk), "check the circuits")
            self.ledger.keep_request(digest, chunk.to_arrays())
        if unsent:
            self.insist(self.device.ready, "ask whether the device is in operation")
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
        """Whether the chunk has a job that may deliver; the ledger knows it then."""
        entry = self.ledger.entry(digest)
        if entry.intent is None:
            # A run in another folder may have asked the same: one look costs nothing.
            return self._adopt(digest) is not None
        self._check_account(digest, entry.intent)
        if entry.job is not None:
            job = self.look(entry.job)
            if job is not None and (job.live or job.status == "completed"):
                self.tell(f"job {job.id} is {job.status}: going on with it")
                return True
            reason = "unknown to the device" if job is None else job.reason or job.status
            self.ledger.append("failed", digest, job=entry.job, reason=reason)
        # No longer than the lag, though the clock was set back since.
        sent = min(entry.intent["at"], self.clock.now())
        return self._settle(digest, sent + self.device.lag)

    def _settle(self, digest: str, until: float) -> bool:
        """Look for the chunk's job until the service's list must have it."""
        wait = self.patience.first / 2
        while True:
            if self._adopt(digest) is not None:
                return True
            left = until - self.clock.now()
            if left <= 0:
                return False
            self.tell("the last submission may have got through: waiting for the list of jobs")
            self.clock.sleep(min(wait, left))
            wait *= 2

    def _send(self, digest: str, chunk: Chunk, batch: str | None) -> None:
        start, wait, logins = self.clock.now(), self.patience.first, 0
        while True:
            try:
                job_id = self.device.submit(chunk, tag(digest), batch)
                break
            except (RefusedError, JobMissingError) as error:
                if batch is None:
                    raise InputError(
                        f"{self.device.name} refuses the job ({error}): nothing was sent."
                    ) from None
                self.tell(f"the batch takes no more jobs ({error}): sending this one alone")
                batch = None
            except LoginError as error:
                logins += 1
                self._login_again(logins, error)
            except UnreachableError as error:
                if error.maybe_done and self._settle(digest, self.clock.now() + self.device.lag):
                    return
                wait = self._pause(start, wait, error, "submit")
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
            calibration_date=self._calibration_date(),
            **fields,
            at=self.clock.now(),
        )

    def _adopt(self, digest: str) -> Job | None:
        """Note the first job that delivers, or may, as the chunk's; cancel the others."""
        entry = self.ledger.entry(digest)
        # A live job counts although it was written off: to send another would be to pay twice.
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
            self.tell(f"job {kept.id} is {kept.status}: going on with it")
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
                    "command again to go on waiting."
                )
            self.clock.sleep(wait)
            wait = min(wait * 2, self.patience.most)
        if lost:
            raise DeviceStoppedError(
                f"{'; '.join(lost)}: run the same command again to send what is missing anew."
            )

    def _look_at(self, digest: str) -> Job | None:
        """The chunk's job as it is now; every look is one for duplicates, too."""
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
                self.tell(f"the result of job {job.id} came damaged ({error}): fetching it again")
                if attempt + 1 == self.patience.attempts:
                    raise DeviceStoppedError(
                        f"The result of job {job.id} came damaged {attempt + 1} times ({error}): "
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
        """Note what was charged, if that can be had now; the counts are safe already."""
        for _ in range(3):  # IBM counts for a while after the job's end
            try:
                seconds = self.device.usage(job_id)
            except ServiceError as error:
                self.tell(f"what job {job_id} has cost cannot be had now ({error})")
                return
            if seconds is not None:
                self.ledger.append("usage", digest, job=job_id, seconds=seconds)
                return
            self.clock.sleep(self.patience.first)

    def _calibrated(self, job_id: str) -> str | None:
        """The calibration that the job ran on, if that can be had now; counts must not wait."""
        try:
            return self.device.calibrated(job_id)
        except ServiceError as error:
            self.tell(f"the calibration that job {job_id} ran on cannot be had now ({error})")
            return None

    def _waited(self, digest: str) -> float | None:
        intent = self.ledger.entry(digest).intent
        # A clock that was set back meanwhile must not cost a result that has been paid for.
        return None if intent is None else max(0.0, self.clock.now() - intent["at"])

    # Asking

    def jobs(self, digest: str) -> list[Job]:
        """All jobs of the chunk, the oldest first: what is listed, and what the ledger knows of."""
        jobs = self.insist(lambda: self.device.find(tag(digest)), "look up jobs")
        known = self.ledger.entry(digest).job
        if known is not None and known not in [job.id for job in jobs]:
            unlisted = self.look(known)
            jobs = jobs if unlisted is None else [unlisted, *jobs]
        return jobs

    def cancel(self, job_id: str) -> None:
        """Cancel a job unless it is over."""
        self.insist(lambda: self.device.cancel(job_id), f"cancel job {job_id}")

    def _account(self) -> str:
        return self.insist(lambda: self.device.account, "log in")

    def _calibration_date(self) -> str | None:
        return self.insist(lambda: self.device.calibration_date, "ask for the calibration")

    def look(self, job_id: str) -> Job | None:
        """The job as it is now; None if the service goes on not knowing it."""
        end = self.clock.now() + self.device.lag
        while True:
            try:
                return self.insist(lambda: self.device.job(job_id), "ask how the job stands")
            except JobMissingError:
                if self.clock.now() >= end:
                    return None
                self.clock.sleep(self.patience.first)

    def insist(self, request: Callable[[], T], about: str) -> T:
        """Repeat a request that does no harm when repeated until it is answered."""
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
                    f"{self.device.name} refuses to {about} ({error}): run the same command again "
                    "later."
                ) from None

    def _login_again(self, logins: int, error: LoginError) -> None:
        if logins >= self.patience.attempts:
            raise InputError(
                f"{self.device.name} does not accept the login any more ({error}): put a new token "
                "into QISKIT_IBM_TOKEN and run the same command again, which goes on with the "
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
                f"({error}): run the same command again to go on with the jobs that are sent."
            ) from None
        self.tell(f"no answer ({error}) when trying to {about}: again in {pause:.0f} s")
        self.clock.sleep(pause)
        return min(wait * 2, self.patience.most)


def _words(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
