"""jobs.jsonl: what was asked of a quantum computer, what was sent and what came back.

A line is on the disk before the deed that it announces, so that a process which dies at any
moment leaves enough to find its jobs and to pay for none of them twice. Imports no Qiskit.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.runs.files import encode_json, explained, normalised, read_npz, write_npz_atomic

_EVENTS = ("model", "plan", "intent", "submitted", "failed", "done", "usage")


@dataclass
class Entry:
    """What the ledger knows of one chunk, by the latest lines."""

    digest: str
    intent: dict[str, Any] | None = None
    jobs: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    done: dict[str, Any] | None = None

    @property
    def job(self) -> str | None:
        """The job that is to deliver, if one has been sent and has not failed."""
        open_jobs = [job for job in self.jobs if job not in self.failed]
        return open_jobs[-1] if open_jobs else None

    @property
    def status(self) -> str:
        """One of done, submitted, failed, intent, planned."""
        if self.done:
            return "done"
        if self.job:
            return "submitted"
        if self.failed:
            return "failed"
        return "intent" if self.intent else "planned"


class Ledger:
    """`folder/jobs.jsonl` and, beside it, `folder/jobs/`: requests and counts as .npz.

    One process at a time writes it: hold the run's lock (`RunDirectory`). Lines are appended and
    synced, never changed. A last line that a crash tore is dropped. `model` is the sha256 of the
    weights that the jobs evaluate.
    """

    def __init__(self, folder: Path, model: str | None = None) -> None:
        """Read the ledger; write nothing yet.

        Raises InputError if a line before the last is damaged, or if the ledger is that of
        another model than `model`. Without `model` it is open for reading whatever its model.
        """
        self.folder = folder
        self.path = folder / "jobs.jsonl"
        self.entries: dict[str, Entry] = {}
        self._plans: dict[str, dict[str, Any]] = {}
        self._size = 0
        self.model: str | None = None
        for line in self._lines():
            self._take(line)
        if model is not None and self.model is not None and self.model != model:
            raise InputError(
                f"Ledger {self.path} is that of another model (weights {self.model[:12]} there, "
                f"{model[:12]} now): move it and {folder / 'jobs'} away to keep its results, or "
                "give another --run name."
            )
        self._wanted_model = model

    @classmethod
    def existing(cls, folder: Path) -> Self:
        """Open a ledger that must be there, whatever its model, for status, collect and cancel.

        Raises InputError if there is none, else as the constructor does.
        """
        ledger = cls(folder)
        if ledger.model is None:
            raise InputError(
                f"Folder {folder} has no ledger of jobs: make eval-hardware sends the first one."
            )
        ledger._wanted_model = ledger.model
        return ledger

    def entry(self, digest: str) -> Entry:
        """What is known of a chunk; an empty entry if nothing is."""
        return self.entries.get(digest) or Entry(digest)

    def append(self, event: str, digest: str = "", /, **fields: object) -> None:
        """Put one line on the disk. Raises InputError if that fails."""
        if self.model is None and event != "model":
            if self._wanted_model is None:
                raise ValueError("A ledger that was opened without a model cannot be begun.")
            self.append("model", weights=self._wanted_model)
        line = normalised({"event": event, "chunk": digest, "at": time.time(), **fields})
        if not digest:
            del line["chunk"]
        data = (encode_json(line) + "\n").encode()
        with (
            explained(f"write {len(data)} bytes to {self.path}", "make room there and run again"),
            open(self.path, "a+b") as file,
        ):
            file.seek(self._size)
            if b"\n" in file.read():
                raise InputError(
                    f"Ledger {self.path} has been written by another process meanwhile: wait for "
                    "its end and run again."
                )
            file.truncate(self._size)  # a torn last line goes, lest it tear this one as well
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if self._size == 0:
            _sync(self.folder)
        self._size += len(data)
        self._take(line)

    # What a chunk is

    def keep_request(self, digest: str, arrays: Mapping[str, Any]) -> None:
        """Keep all that a chunk is, so that it can be sent again without its maker."""
        path = self._file(digest, "request")
        if not path.exists():
            write_npz_atomic(path, arrays)

    def request(self, digest: str) -> dict[str, np.ndarray[Any, Any]]:
        """What `keep_request` was given. Raises InputError if it is gone or damaged."""
        return read_npz(
            self._file(digest, "request"), f"move {self.path} away to measure everything anew"
        )

    # What belongs together

    def record_plan(
        self, key: str, chunks: Iterable[str], details: Mapping[str, object]
    ) -> dict[str, Any]:
        """Note that the chunks with these digests answer the question `key`, and how.

        The next run with this key goes on with them, rather than with what it would choose on
        that day's calibration. The requests are to be kept before.
        """
        self.append("plan", key=key, chunks=list(chunks), details=dict(details))
        return self._plans[key]

    def plan(self, key: str) -> dict[str, Any] | None:
        """The latest plan under `key`: its `chunks` and `details`."""
        return self._plans.get(key)

    # What came back

    def keep_counts(
        self, digest: str, counts: list[dict[str, np.ndarray[Any, Any]]], **fields: object
    ) -> None:
        """Keep the counts of a chunk and close its entry with `fields`."""
        arrays = {f"{i}.{name}": a for i, item in enumerate(counts) for name, a in item.items()}
        path = self._file(digest, "counts")
        sha256 = write_npz_atomic(path, arrays)
        file = str(path.relative_to(self.folder))
        self.append("done", digest, counts=file, sha256=sha256, pubs=len(counts), **fields)

    def counts(self, digest: str) -> list[dict[str, np.ndarray[Any, Any]]]:
        """The counts of a chunk that is done: by PUB, by classical register.

        Raises InputError if the file is gone, damaged or not the one that the ledger means.
        """
        done = self.entry(digest).done
        if done is None:
            raise ValueError(f"Chunk {digest[:12]} is not done.")
        path = self.folder / done["counts"]
        way_out = f"delete the line of {path.name} in {self.path} to fetch it from its job again"
        arrays = read_npz(path, way_out)
        if hashlib.sha256(path.read_bytes()).hexdigest() != done["sha256"]:
            raise InputError(f"File {path} is not the one that {self.path} means: {way_out}.")
        found: list[dict[str, np.ndarray[Any, Any]]] = [{} for _ in range(done["pubs"])]
        for name, array in arrays.items():
            pub, register = name.split(".", 1)
            found[int(pub)][register] = array
        return found

    def _file(self, digest: str, kind: str) -> Path:
        folder = self.folder / "jobs"
        with explained(f"make the folder {folder}", "give another --results-dir"):
            folder.mkdir(exist_ok=True)
        return folder / f"{digest[:32]}.{kind}.npz"

    def _lines(self) -> list[dict[str, Any]]:
        with explained(f"read {self.path}", "make it readable"):
            data = self.path.read_bytes() if self.path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        self._size = len(whole)
        return [_parse(self.path, n, text) for n, text in enumerate(whole.splitlines(), start=1)]

    def _take(self, line: dict[str, Any]) -> None:
        event, digest = line["event"], line.get("chunk")
        if event == "model":
            self.model = line["weights"]
        elif event == "plan":
            self._plans[line["key"]] = line
            for planned in line["chunks"]:
                self.entries.setdefault(planned, Entry(planned))
        elif digest:
            entry = self.entries.setdefault(digest, Entry(digest))
            if event == "intent":
                entry.intent = line
            elif event == "submitted":
                entry.jobs = [job for job in entry.jobs if job != line["job"]] + [line["job"]]
                entry.failed.pop(line["job"], None)  # it was found alive after all
                entry.failed.pop(line["job"], None)  # it was given up too early
            elif event == "failed":
                entry.failed[line["job"]] = line["reason"]
            elif event == "done":
                entry.done = line
            elif event == "usage" and entry.done:
                entry.done["usage_seconds"] = line["seconds"]


def _parse(path: Path, number: int, text: bytes) -> dict[str, Any]:
    needed = {
        "model": {"weights"},
        "plan": {"key", "chunks", "details"},
        "submitted": {"chunk", "job"},
        "failed": {"chunk", "job", "reason"},
        "done": {"chunk", "job", "counts", "sha256", "pubs"},
        "intent": {"chunk", "tag"},
        "usage": {"chunk", "job", "seconds"},
    }
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if (
        not isinstance(line, dict)
        or line.get("event") not in _EVENTS
        or not needed[line["event"]] <= line.keys()
        or (number == 1) != (line["event"] == "model")
    ):
        way_out = "delete that line" if number > 1 else "move it away"
        raise InputError(
            f"Ledger {path} is damaged at line {number}: {way_out}, for jobs are found again by "
            "their tags."
        )
    return line


def _sync(folder: Path) -> None:
    """Make a new file's name outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
