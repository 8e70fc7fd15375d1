"""jobs.jsonl: measurements that were requested, jobs that were sent, and their results.

Each action is written to disk before it is carried out. So after a crash at any moment the jobs
can be found again, and none of them is paid for twice. Imports no Qiskit.
"""

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.hardware.redaction import clean, cleaned
from qnn_jax.hardware.rules import (
    COUNT,
    FLAG,
    OBJECT,
    TEXT,
    Rule,
    Rules,
    is_number,
    list_of,
    or_null,
    shown,
    wrong_field,
)
from qnn_jax.runs.files import (
    arrays_of,
    decode_json,
    encode_json,
    explained,
    normalised,
    open_regular,
    read_bytes,
    read_npz,
    read_sealed,
    sync_folder,
    write_npz_atomic,
)

#: The largest ledger that is read: some hundred thousand jobs.
MOST_BYTES = 256 * 2**20


def is_job_id(value: object) -> bool:
    """Whether `value` can be a job's id: it is used in URLs, the ledger and messages."""
    return (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", value) is not None
        and clean(value) == value
    )


_DIGEST: Rule = (
    "64 hexadecimal digits",
    lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None,
)
_SECONDS: Rule = ("seconds", is_number)
_JOB: Rules = {"chunk": _DIGEST, "job": ("a job's id", is_job_id)}
_SENT: Rules = {
    "device?": TEXT,
    "simulated?": FLAG,
    "calibration_date?": or_null(TEXT),
    "estimated_seconds?": or_null(_SECONDS),
}
# By event, the fields of its line besides `event` and `at`.
_FIELDS: Mapping[str, Rules] = {
    "model": {"weights": _DIGEST},
    "plan": {
        "key": TEXT,
        "chunks": list_of("64 hexadecimal digits each", _DIGEST),
        "details": OBJECT,
    },
    "intent": {
        "chunk": _DIGEST,
        "tag": TEXT,
        "device": TEXT,
        "account": TEXT,
        "simulated": FLAG,
        **_SENT,
        "shots?": COUNT,
        "executions?": COUNT,
    },
    "submitted": {**_JOB, "attached?": FLAG},
    "failed": {**_JOB, "reason": TEXT},
    "done": {
        **_JOB,
        "counts": TEXT,
        "sha256": _DIGEST,
        "pubs": COUNT,
        **_SENT,
        "waited_seconds?": or_null(_SECONDS),
        "usage_seconds?": or_null(_SECONDS),
    },
    "usage": {**_JOB, "seconds": or_null(_SECONDS)},
}


@dataclass
class Entry:
    """What the ledger has on one chunk, from the latest lines."""

    digest: str
    intent: dict[str, Any] | None = None
    jobs: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    done: dict[str, Any] | None = None

    @property
    def job(self) -> str | None:
        """The job that may deliver, if one has been sent and has not failed."""
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
    """`folder/jobs.jsonl` and `folder/jobs/` with requests and counts as .npz.

    One process at a time writes it; lines of another one are detected before anything is sent.
    Lines are appended and synced, never changed. An incomplete last line, after a crash, is
    dropped. `model` is the sha256 of the trained model that the jobs evaluate.
    """

    def __init__(self, folder: Path, model: str | None = None) -> None:
        """Read the ledger without writing.

        Raises InputError if a line before the last is damaged, if the ledger belongs to another
        model than `model`, or if `model` is not a sha256. Without `model` it can be read
        for any model.
        """
        self.folder = folder
        self.path = folder / "jobs.jsonl"
        self.entries: dict[str, Entry] = {}
        self._plans: dict[str, dict[str, Any]] = {}
        self._size = self._count = 0
        self.model: str | None = None
        if model is not None and not _DIGEST[1](model):
            raise InputError(
                "Argument `model` must be the sha256 of the model's weights, 64 hexadecimal "
                f"digits, but is {shown(model)}."
            )
        for line in self._lines():
            self._take(line)
        if model is not None and self.model is not None and self.model != model:
            raise InputError(
                f"Ledger {self.path} belongs to another model (weights {self.model[:12]} there, "
                f"{model[:12]} now): move it and {folder / 'jobs'} away to keep its results, or "
                "give another folder."
            )
        self._wanted_model = model

    @classmethod
    def existing(cls, folder: Path) -> Self:
        """Open an existing ledger, of any model, for status, collect and cancel.

        Raises InputError if there is none, otherwise as the constructor does.
        """
        ledger = cls(folder)
        if ledger.model is None:
            raise InputError(
                f"Folder {folder} has no ledger of jobs; evaluate the run on a device first."
            )
        ledger._wanted_model = ledger.model
        return ledger

    def entry(self, digest: str) -> Entry:
        """What the ledger has on a chunk; an empty entry if nothing."""
        return self.entries.get(digest) or Entry(digest)

    def append(self, event: str, digest: str = "", /, **fields: object) -> None:
        """Write one line to disk. Raises InputError if that fails."""
        if self.model is None and event != "model":
            if self._wanted_model is None:
                raise ValueError("A ledger that was opened without a model cannot be begun.")
            self.append("model", weights=self._wanted_model)
        line = cleaned(normalised({"event": event, "chunk": digest, "at": time.time(), **fields}))
        if not digest:
            del line["chunk"]
        if wrong := _wrong_field(line):
            raise ValueError(f"A line `{event}` has a wrong field: {wrong}.")
        data = (encode_json(line) + "\n").encode()
        with (
            explained(f"write {len(data)} bytes to {self.path}", "make room there and run again"),
            open_regular(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, private=True) as file,
        ):
            file.seek(self._size)
            if b"\n" in file.readall():
                raise InputError(
                    f"Ledger {self.path} has been written by another process meanwhile: wait for "
                    "its end and run again."
                )
            file.truncate(self._size)  # remove an incomplete last line, or this one is damaged too
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        if self._size == 0:
            sync_folder(self.folder)
        self._size += len(data)
        self._take(line)

    # Content of a chunk

    def keep_request(self, digest: str, arrays: Mapping[str, Any]) -> None:
        """Store all of a chunk, so that it can be sent again."""
        path = self._file(digest, "request")
        if not path.exists():
            write_npz_atomic(path, arrays, private=True)

    def request(self, digest: str) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays given to `keep_request`. Raises InputError if they are gone or damaged."""
        return read_npz(
            self._file(digest, "request"), f"move {self.path} away to measure everything again"
        )

    # Plans

    def record_plan(
        self, key: str, chunks: Iterable[str], details: Mapping[str, object]
    ) -> dict[str, Any]:
        """Record that the chunks with these digests belong to the measurement `key`.

        The next run with this key continues with them, instead of a new plan on that day's
        calibration. The requests must be stored before.
        """
        self.append("plan", key=key, chunks=list(chunks), details=dict(details))
        return self._plans[key]

    def plan(self, key: str) -> dict[str, Any] | None:
        """The latest plan under `key`: its `chunks` and `details`, and the number of its `line`."""
        return self._plans.get(key)

    # Results

    def keep_counts(
        self, digest: str, counts: list[dict[str, np.ndarray[Any, Any]]], **fields: object
    ) -> None:
        """Store the counts of a chunk and close its entry with `fields`."""
        arrays = {f"{i}.{name}": a for i, item in enumerate(counts) for name, a in item.items()}
        path = self._file(digest, "counts")
        sha256 = write_npz_atomic(path, arrays, private=True)
        self.append(
            "done", digest, counts=_counts(digest), sha256=sha256, pubs=len(counts), **fields
        )

    def counts(
        self, digest: str, shapes: Sequence[Mapping[str, tuple[int, int]]], shots: int
    ) -> list[dict[str, np.ndarray[Any, Any]]]:
        """The counts of a chunk that is done: by PUB, by register, shape (rows, outcomes).

        Raises InputError if the file is gone, damaged, not the recorded one, or does not hold
        counts of these `shapes` with `shots` in each row.
        """
        done = self.entry(digest).done
        if done is None:
            raise ValueError(f"Chunk {digest[:12]} is not done.")
        path = self._file(digest, "counts")
        way_out = f"delete the line of {path.name} in {self.path} to fetch it from its job again"

        def wrong(what: str) -> InputError:
            return InputError(f"File {path} {what}: {way_out}.")

        data = read_sealed(path, way_out)
        if hashlib.sha256(data).hexdigest() != done["sha256"]:
            raise wrong(f"is not the one recorded in {self.path}")
        arrays = arrays_of(data, path, way_out)
        if done["pubs"] != len(shapes):
            raise wrong(
                f"must hold the counts of {len(shapes)} PUBs, but {self.path} says {done['pubs']}"
            )
        wanted = {
            f"{i}.{name}": s for i, by_name in enumerate(shapes) for name, s in by_name.items()
        }
        if arrays.keys() != wanted.keys():
            raise wrong(f"must hold the arrays {_names(wanted)}, but holds {_names(arrays)}")
        for name, array in arrays.items():
            if array.shape != wanted[name] or array.dtype.kind not in "iu":
                raise wrong(
                    f"must hold integer counts of shape {wanted[name]} under {clean(name)!r}, but "
                    f"they are of shape {array.shape} and dtype {array.dtype}"
                )
            if (array < 0).any() or (array > shots).any() or (array.sum(axis=1) != shots).any():
                raise wrong(
                    f"must hold counts of {shots} shots in each row of {clean(name)!r}, but one "
                    "row has others"
                )
        return [
            {name: arrays[f"{i}.{name}"] for name in by_name} for i, by_name in enumerate(shapes)
        ]

    def _file(self, digest: str, kind: str) -> Path:
        folder = self.folder / "jobs"
        with explained(f"make the folder {folder}", "give a folder that can be written"):
            folder.mkdir(mode=0o700, exist_ok=True)  # readable for its owner alone
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise InputError(
                    f"Folder {folder} must be a folder of its own, but is a link: put the folder "
                    "that it points to in its place, or give another folder."
                )
        return self.folder / f"jobs/{digest[:32]}.{kind}.npz"

    def _lines(self) -> list[dict[str, Any]]:
        way_out = "make it readable, or move it away, because jobs are found again by their tags"
        data = read_bytes(self.path, way_out, MOST_BYTES) or b""
        whole = data[: data.rfind(b"\n") + 1]
        self._size = len(whole)
        # Not by `splitlines`, which splits at other characters too.
        texts = whole.split(b"\n")[:-1]
        return [_parse(self.path, number, text) for number, text in enumerate(texts, start=1)]

    def _take(self, line: dict[str, Any]) -> None:
        self._count += 1
        event, digest = line["event"], line.get("chunk")
        if event == "model":
            self.model = line["weights"]
        elif event == "plan":
            self._plans[line["key"]] = {**line, "line": self._count}
            for planned in line["chunks"]:
                self.entries.setdefault(planned, Entry(planned))
        elif digest:
            entry = self.entries.setdefault(digest, Entry(digest))
            if event == "intent":
                entry.intent = line
            elif event == "submitted":
                entry.jobs = [job for job in entry.jobs if job != line["job"]] + [line["job"]]
                entry.failed.pop(line["job"], None)  # it was wrongly recorded as failed
            elif event == "failed":
                entry.failed[line["job"]] = line["reason"]
            elif event == "done":
                entry.done = line
            elif event == "usage" and entry.done:
                entry.done["usage_seconds"] = line["seconds"]


def _names(arrays: Mapping[str, object]) -> str:
    return shown(sorted(map(clean, arrays)))


def _counts(digest: str) -> str:
    return f"jobs/{digest[:32]}.counts.npz"


def _parse(path: Path, number: int, text: bytes) -> dict[str, Any]:
    """A line of the ledger, with the fields of its event. Raises InputError otherwise."""
    line = cleaned(decode_json(text, finite=False))
    wrong = _wrong_field(line)
    if not wrong and (number == 1) != (line["event"] == "model"):
        wrong = "field `event` must be 'model' in the first line and nowhere else"
    if wrong:
        way_out = "delete that line" if number > 1 else "move it away"
        raise InputError(
            f"Ledger {path} is damaged at line {number}, because {wrong}: {way_out}; jobs are "
            "found again by their tags."
        )
    return dict(line)


def _wrong_field(line: object) -> str:
    """What is wrong with a line, as text; empty if it is valid."""
    if not isinstance(line, dict):
        return "it holds no JSON object"
    event = line.get("event")
    if not isinstance(event, str) or event not in _FIELDS:
        return f"field `event` must be one of {', '.join(_FIELDS)}, but is {shown(event)}"
    if wrong := wrong_field(line, {**_FIELDS[event], "at": _SECONDS}):
        return f"field `{wrong[0]}` {wrong[1]}"
    if event == "done" and line["counts"] != _counts(line["chunk"]):
        return f"field `counts` must be {_counts(line['chunk'])!r}, but is {shown(line['counts'])}"
    return ""
