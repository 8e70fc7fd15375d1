"""Run directories: atomic, locked, resumable bit for bit after kill -9. Imports no JAX."""

from qnn_jax.runs import checkpoints
from qnn_jax.runs.directory import (
    RunDirectory,
    check_name,
    differences,
    fingerprint,
    refuse_files_of_others,
)
from qnn_jax.runs.files import (
    arrays_of,
    read_bytes,
    read_json,
    read_npz,
    read_sealed,
    write_bytes_atomic,
    write_json_atomic,
    write_npz_atomic,
)
from qnn_jax.runs.schema import from_json, read_as
from qnn_jax.runs.signals import GracefulStop, ImmediateStop

__all__ = [
    "GracefulStop",
    "ImmediateStop",
    "RunDirectory",
    "arrays_of",
    "check_name",
    "checkpoints",
    "differences",
    "fingerprint",
    "from_json",
    "read_as",
    "read_bytes",
    "read_json",
    "read_npz",
    "read_sealed",
    "refuse_files_of_others",
    "write_bytes_atomic",
    "write_json_atomic",
    "write_npz_atomic",
]
