"""A run is a directory: atomic, locked, resumable bit for bit after kill -9. Imports no JAX."""

from qnn_jax.runs import checkpoints
from qnn_jax.runs.directory import RunDirectory, check_name, differences
from qnn_jax.runs.files import (
    read_json,
    read_npz,
    write_bytes_atomic,
    write_json_atomic,
    write_npz_atomic,
)
from qnn_jax.runs.signals import GracefulStop, ImmediateStop

__all__ = [
    "GracefulStop",
    "ImmediateStop",
    "RunDirectory",
    "check_name",
    "checkpoints",
    "differences",
    "read_json",
    "read_npz",
    "write_bytes_atomic",
    "write_json_atomic",
    "write_npz_atomic",
]
