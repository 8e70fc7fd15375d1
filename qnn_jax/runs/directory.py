"""`results/<run>/`: one folder has all files of a run, and one process at a time locks it."""

import hashlib
import io
import json
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from qnn_jax.circuits.checks import of_type
from qnn_jax.errors import InputError
from qnn_jax.runs import checkpoints
from qnn_jax.runs.files import (
    JSON_BYTES,
    MOST_BYTES,
    decode_json,
    encode_json,
    explained,
    normalised,
    open_regular,
    read_bytes,
    read_json,
    refuse_other_names,
    refuse_special,
    remove,
    remove_torn,
    write_bytes_atomic,
    write_json_atomic,
)
from qnn_jax.runs.schema import from_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

_OTHER_RUN = "give another `run` name, or `resume=False` to start over"
#: The folders inside a run's folder.
_FOLDERS = ("checkpoints", "figures", "jobs")


@dataclass(frozen=True)
class RunDirectory:
    """A run's folder, locked for this process until `close` or the end of a `with` block.

    `config` is the content of config.json, `fingerprint` identifies it in checkpoints. `fresh` is
    true if there was no earlier run or it has been removed, `finished` if summary.json has the
    result of this very configuration.

    An epoch ends with `append_metrics`, then `checkpoints.save(run.checkpoints, ...)`. Resuming
    begins with `checkpoints.load`, then `truncate_metrics`. So metrics.jsonl has every epoch
    exactly once, wherever the process was killed.
    """

    path: Path
    config: dict[str, Any]
    fingerprint: str
    fresh: bool
    finished: bool
    _lock: "BaseFileLock" = field(repr=False)

    @classmethod
    def open(
        cls,
        results_dir: Path,
        name: str,
        config: Mapping[str, object],
        resume: bool = True,
        resume_may_change: Iterable[str] = (),
    ) -> Self:
        """Lock `results_dir/name` for training; create both folders if necessary.

        An existing run is resumed if `resume` and if its configuration equals `config`, except
        the top-level fields in `resume_may_change`; without `resume` its files are removed, only
        those that this class and `checkpoints` write. A failed check has changed no file. Raises
        InputError if `name` is not a plain name, the folder cannot be created or written, another
        process has locked it, files in it do not belong to a run, or the configuration differs.
        """
        wanted, may_change = normalised(config), frozenset(resume_may_change)
        path = _run_path(results_dir, name)
        for folder in (path.parent, path):
            with explained(
                f"make the folder {folder}",
                "give a `results_dir` that can be written, in a folder that exists",
            ):
                folder.mkdir(exist_ok=True)
        lock = _locked(path)
        try:
            started = (path / "config.json").exists()
            goes_on = started and resume
            refuse_files_of_others(path)
            earlier = read_json(path / "config.json", _OTHER_RUN) if goes_on else None
            summary = read_json(path / "summary.json") if goes_on else None
            if differing := differences(wanted if earlier is None else earlier, wanted, may_change):
                # Before its first checkpoint a run has nothing that could be lost.
                if summary is not None or checkpoints.epochs(path / "checkpoints"):
                    raise InputError(
                        f"Run {path} has another configuration ({'; '.join(differing)}): "
                        f"{_OTHER_RUN}."
                    )
                goes_on = False
            # All checks have passed: files change from here on.
            _remove_torn(path)
            for file in [] if goes_on else _outcomes(path):
                remove(file)
            if earlier != wanted:
                write_json_atomic(path / "config.json", wanted)
        except BaseException:
            lock.release()
            raise
        return cls(
            path,
            wanted,
            fingerprint=fingerprint(wanted, may_change),
            fresh=not goes_on,
            # A run that is extended to more epochs also has a summary: that of fewer epochs.
            finished=summary is not None
            and all(summary[k] == wanted[k] for k in may_change & summary.keys() & wanted.keys()),
            _lock=lock,
        )

    @classmethod
    def existing(cls, results_dir: Path, name: str) -> Self:
        """Lock the existing run `results_dir/name` to evaluate it.

        It has no `fingerprint`, since only training loads checkpoints.
        Raises InputError, which lists the existing runs, if it does not exist; else as `open`.
        """
        path = _run_path(results_dir, name)
        config = read_json(path / "config.json", _OTHER_RUN)
        if config is None:
            there = sorted(found.parent.name for found in results_dir.glob("*/config.json"))
            raise InputError(
                f"Argument `run` must name a run in {results_dir} "
                f"({', '.join(there) or 'which has none yet'}), but is {name!r}."
            )
        lock = _locked(path)
        try:
            _remove_torn(path)
        except BaseException:
            lock.release()
            raise
        finished = (path / "summary.json").exists()
        return cls(path, config, "", fresh=False, finished=finished, _lock=lock)

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def checkpoints(self) -> Path:
        """The folder for `checkpoints.save`, which creates it."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The file of metrics, one line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def figures(self) -> Path:
        """The folder for figures, created on first use."""
        folder = self.path / "figures"
        with explained(f"make the folder {folder}", "give another `results_dir`"):
            folder.mkdir(exist_ok=True)
        return folder

    def append_metrics(self, epoch: int, metrics: Mapping[str, object]) -> None:
        """Append one line to metrics.jsonl: `epoch`, then `metrics`; nan and inf become null."""
        line = (encode_json(normalised({"epoch": epoch, **metrics})) + "\n").encode()
        path = self.metrics
        with (
            explained(f"write {len(line)} bytes to {path}", "make room there and run again"),
            # With a buffer, a failed write could leave a part of the line.
            io.BufferedWriter(open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)) as file,
        ):
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def read_metrics(self, kind: type[Any] = dict[str, Any]) -> list[Any]:
        """Return the lines of metrics.jsonl except an incomplete last one after a crash.

        Raises InputError if any other line is not an object with an `epoch`, or not of the `kind`
        that `from_json` takes.
        """
        text = read_bytes(self.metrics, "delete it or make it readable", MOST_BYTES) or b""
        rows = []
        for number, line in enumerate(text.split(b"\n")[:-1], start=1):
            row = decode_json(line) if len(line) <= JSON_BYTES else None
            if not isinstance(row, dict) or type(row.get("epoch")) is not int:
                raise InputError(
                    f"File {self.metrics} is damaged at line {number}: delete that line or the "
                    "file."
                )
            what = f"File {self.metrics}, line {number},"
            rows.append(from_json(kind, row, what, "delete that line or the file"))
        return rows

    def truncate_metrics(self, after_epoch: int) -> None:
        """Drop the lines of epochs later than `after_epoch`, and an incomplete last one."""
        kept = [encode_json(row) for row in self.read_metrics() if row["epoch"] <= after_epoch]
        if self.metrics.exists():
            write_bytes_atomic(self.metrics, "".join(f"{row}\n" for row in kept).encode())


def differences(
    earlier: Mapping[str, Any], now: Mapping[str, Any], may_change: Iterable[str] = ()
) -> list[str]:
    """List the differences of two JSON objects, such as ``optimizer.rate: 0.1 there, 0.2 now``.

    Top-level fields in `may_change` are left out. Used for configurations and manifest versions.
    """
    of_type("earlier", earlier, Mapping, "a JSON object")
    of_type("now", now, Mapping, "a JSON object")
    found = []
    for key in [key for key in {**earlier, **now} if key not in may_change]:
        old, new = earlier.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{key}.{deeper}" for deeper in differences(old, new)]
        elif old != new or (key in earlier) != (key in now):
            there = json.dumps(old) if key in earlier else "absent"
            here = json.dumps(new) if key in now else "absent"
            found.append(f"{key}: {there} there, {here} now")
    return found


def fingerprint(config: Mapping[str, Any], may_change: Collection[str] = ()) -> str:
    """The sha256 of a configuration as JSON, without the top fields in `may_change`."""
    of_type("config", config, Mapping, "a JSON object")
    settled = {key: value for key, value in config.items() if key not in may_change}
    return hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()


def check_name(name: str) -> None:
    """Raise InputError if `name` is not a valid name of a run."""
    of_type("run", name, str, "a name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            "Argument `run` must be 1 to 100 letters, digits, dots, dashes or underscores with "
            f"a letter or digit first, but is {name!r}."
        )


def _run_path(results_dir: Path, name: str) -> Path:
    check_name(name)
    return results_dir / name


def _locked(path: Path) -> "BaseFileLock":
    """Take the lock of a run. It ends with the process, so none is left behind."""
    # Imported here, since it takes a tenth of a second that `--help` does not need.
    from filelock import FileLock, Timeout

    file = path / ".lock"
    lock = FileLock(
        file,
        blocking=False,
        thread_local=False,  # one thread may open a run and another one close it
        fallback_to_soft=False,  # such a lock would outlive a process that is killed
        on_acquired=lambda descriptor: _sign(file, descriptor),
    )
    way_out = "give a `results_dir` on a disk that can be written and has file locks"
    refuse_special(file)
    with explained(f"lock {path}", way_out):
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"Run {path} is in use by {_holder(file)}: wait for its end, or give another `run` "
                "name."
            ) from None
    try:
        for name in _FOLDERS:
            refuse_special(path / name)
    except BaseException:
        lock.release()
        raise
    return lock


def _sign(file: Path, descriptor: int) -> None:
    """Say in the lock's file, which this process holds, who that is."""
    refuse_other_names(file, descriptor)
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")  # for the eye only
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename} since {now}".encode(), 0)


def _holder(file: Path) -> str:
    """Who holds the lock, as its file says; it may come from someone else."""
    with open_regular(file, os.O_RDONLY) as lock:
        text = os.pread(lock.fileno(), 200, 0).decode("utf-8", "replace")
    return "".join(filter(str.isprintable, text)) or "another process"


def _remove_torn(path: Path) -> None:
    for folder in (path, *(path / name for name in _FOLDERS)):
        remove_torn(folder)


def refuse_files_of_others(path: Path) -> None:
    """Raise InputError if the folder `path` holds results of a run but no config.json."""
    of_type("path", path, Path, "a pathlib.Path")
    if (path / "config.json").exists():
        return
    for file in filter(Path.exists, _outcomes(path)):
        raise InputError(
            f"Folder {path} has a {file.name} but no config.json, so it may not be a run of "
            "qnn_jax: give another `run` name."
        )


def _outcomes(path: Path) -> list[Path]:
    """The files that a restart removes, in an order that leaves a valid run at every moment."""
    # The summary first, so that a run never looks finished without its weights; the metrics after
    # the checkpoints, so that a checkpoint always has its epochs' lines; config.json stays.
    return [
        path / "summary.json",
        path / "weights.npz",
        *checkpoints.epochs(path / "checkpoints").values(),
        path / "metrics.jsonl",
        path / "manifest.json",
        path / "report.html",
    ]
